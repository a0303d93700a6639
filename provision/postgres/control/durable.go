package control

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pgctl/pgctl"
)

// WriteDurable writes a file so that after a power loss it is there, either whole or as it was: into
// a file beside it, fsync, rename, fsync of the folder. Only its owner may read it.
func WriteDurable(path string, data []byte) error {
	return writeDurable(path, data, os.Getuid(), os.Getgid())
}

func writeDurable(path string, data []byte, uid, gid int) error {
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // follows no symbolic link
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// write makes a durable file of the instance's OS user; false when it had that content already.
func (i *Instance) write(path string, data []byte) (bool, error) {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return false, nil
	}
	return true, writeDurable(path, data, i.uid, i.gid)
}

// remove removes a file durably; nothing when it is not there.
func remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncFolder(filepath.Dir(path)))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// prepare makes the instance's folders. The upper ones can be passed by everybody, since Postgres runs
// as another user; its own one belongs to it.
func (i *Instance) prepare() error {
	own := []string{i.Folder(), filepath.Join(i.Folder(), "log"), filepath.Join(i.Folder(), "tls")}
	if !exists(i.SocketDir) {
		own = append(own, i.SocketDir)
	}
	if err := os.MkdirAll(filepath.Dir(i.Folder()), 0o755); err != nil {
		return err
	}
	for _, dir := range own {
		if err := i.folder(dir); err != nil {
			return err
		}
	}
	if err := os.Chmod(i.SocketDir, 0o755); err != nil && os.Getuid() == 0 { // clients reach the socket
		return err
	}
	return syncFolder(filepath.Dir(i.Folder()))
}

// folder makes one folder that only the instance's OS user may enter.
func (i *Instance) folder(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Lchown(dir, i.uid, i.gid)
}

// Secrets are what an instance proves with who it is: certificate, key and authority in PEM.
type Secrets struct {
	Password string // of the replication role
	Cert     []byte
	Key      []byte
	CA       []byte
}

// WriteSecrets puts password, certificate, key and authority in place, before the first start or base
// backup; true when something changed, which a running server is to be told by Reload.
func (i *Instance) WriteSecrets(s Secrets) (bool, error) {
	if err := i.prepare(); err != nil {
		return false, i.explain(fmt.Errorf("folders of %s: %w", i.Name, err))
	}
	if bytes.ContainsAny([]byte(s.Password), "\n\r\x00") {
		return false, pgctl.Errorf(pgctl.CodeInvalid, "the replication password contains a line break")
	}
	tls, changed := i.TLS(), false
	for path, data := range map[string][]byte{
		i.Passfile(): passLine(s.Password), tls.Cert: s.Cert, tls.Key: s.Key, tls.CA: s.CA,
	} {
		wrote, err := i.write(path, data)
		if err != nil {
			return changed, i.explain(fmt.Errorf("secrets of %s: %w", i.Name, err))
		}
		changed = changed || wrote
	}
	return changed, nil
}
