package control

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

// marker is the file pgctl.life in the data directory: whose it is.
type marker struct {
	Version  int        `json:"version"`
	Life     pgctl.Life `json:"life"`
	Instance string     `json:"instance"`
	Cluster  string     `json:"cluster"`
	SystemID string     `json:"systemID"`
}

const (
	markerName    = "pgctl.life"
	markerVersion = 1
	standbySignal = "standby.signal"
)

// Exists says whether the data directory is there, complete and ours. It is CodeRefused when it is
// foreign: without our marker, of another life, or with another system identifier than systemID
// (any, when empty); and when a rewind was interrupted, which makes it useless.
func (i *Instance) Exists(systemID string) (bool, error) {
	if !exists(i.PGData()) {
		return false, nil
	}
	if exists(i.rewinding()) {
		return false, i.refused("a rewind was interrupted in it").
			WithHint("the instance needs a fresh copy under a new life")
	}
	found, err := systemIdentifier(i.PGData())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, i.refused("%v", err)
	}
	if err != nil {
		return false, err // it could not be looked at, which says nothing about it
	}
	if systemID != "" && found != systemID {
		return false, i.refused("it has the system identifier %s, the cluster %s", found, systemID)
	}
	text, err := os.ReadFile(filepath.Join(i.PGData(), markerName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, i.refused("it has no marker of pgctl")
	}
	if err != nil {
		return false, err
	}
	var m marker
	if err := json.Unmarshal(text, &m); err != nil || m.Version != markerVersion {
		return false, i.refused("its marker is not readable")
	}
	if want := i.marker(found); m != want {
		return false, i.refused("its marker names life %s of %s (%s), system identifier %s", m.Life, m.Instance,
			m.Cluster, m.SystemID)
	}
	return true, nil
}

func (i *Instance) refused(format string, args ...any) *pgctl.Error {
	return pgctl.Errorf(pgctl.CodeRefused, "%s is not the data of life %s of %s: %s", i.PGData(), i.Life, i.Name,
		fmt.Sprintf(format, args...)).WithHint("it is left as it is; move it away, or have the instance made anew")
}

func (i *Instance) marker(systemID string) marker {
	return marker{
		Version: markerVersion, Life: i.Life, Instance: i.Name, Cluster: i.Cluster, SystemID: systemID,
	}
}

// mark writes the marker into a data directory.
func (i *Instance) mark(dir string) error {
	id, err := systemIdentifier(dir)
	if err != nil {
		return err
	}
	text, err := json.Marshal(i.marker(id))
	if err != nil {
		return err
	}
	_, err = i.write(filepath.Join(dir, markerName), append(text, '\n'))
	return err
}

// systemIdentifier reads the first field of pg_control, which no version has moved.
func systemIdentifier(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, "global", "pg_control"))
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	var id uint64
	if err := binary.Read(f, binary.NativeEndian, &id); err != nil {
		return "", fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return strconv.FormatUint(id, 10), nil
}

// SetStandby writes or removes standby.signal: whether the next start follows or leads.
func (i *Instance) SetStandby(standby bool) error {
	if _, err := i.Exists(""); err != nil {
		return err
	}
	path := filepath.Join(i.PGData(), standbySignal)
	if !standby {
		return remove(path)
	}
	_, err := i.write(path, nil)
	return err
}

func passLine(password string) []byte {
	escaped := strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(password)
	return []byte("*:*:*:" + config.ReplicationRole + ":" + escaped + "\n")
}
