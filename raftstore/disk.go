package raftstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/raftstore/raftlog"
	"go.etcd.io/bbolt"
)

// stallLimit is how long one write to the log may take before the disk counts as failed: a leader
// that cannot write would otherwise keep its followers quiet for ever.
const stallLimit = 20 * time.Second

// disk is the data folder: a lock, a version, the log and Raft's few durable values. The first write
// that fails ends the server: what is on disk is not known any more.
type disk struct {
	*raftlog.Log
	values  *raftboltdb.BoltStore // term and vote, which change with elections only
	lock    *os.File
	fail    func(error)
	running atomic.Bool // Raft's own goroutines call from now on
}

func openDisk(dir string, fail func(error)) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeUnavailable, "the data folder cannot be made: %v", err).
			WithHint("name one that the daemon may make and write to")
	}
	lock, err := LockFolder(dir)
	if err != nil {
		return nil, err
	}
	if err := checkVersion(dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	values, err := raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(dir, "raft.db"), MsgpackUseNewTimeFormat: true,
		BoltOptions: &bbolt.Options{
			Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
		},
	})
	if err != nil {
		return nil, errors.Join(pgctl.Errorf(pgctl.CodeUnavailable, "Raft's term and vote in %s cannot be read: %v", dir, err),
			lock.Close())
	}
	log, err := raftlog.Open(filepath.Join(dir, "log"))
	if err != nil {
		return nil, errors.Join(pgctl.Errorf(pgctl.CodeUnavailable, "the log in %s cannot be opened: %v", dir, err).
			WithHint("where it is damaged, this server must not go on with it; the others have what it had"), values.Close(), lock.Close())
	}
	return &disk{Log: log, values: values, lock: lock, fail: fail}, nil
}

// LockFolder makes sure that only one daemon uses a folder: CodeConflict when another one does. Closing
// what it returns gives the folder free; the kernel does so at the latest with the end of the process.
func LockFolder(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, pgctl.Errorf(pgctl.CodeUnavailable, "the data folder cannot be locked: %v", err).
			WithHint("it must be a folder of a local, writable file system, and the daemon's user must own it")
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(lock, 20))
		_ = lock.Close()
		return nil, pgctl.Errorf(pgctl.CodeConflict, "another daemon (process %s) uses the data folder %s", holder, dir).
			WithHint("stop it, or give this one a folder of its own")
	}
	if err := lock.Truncate(0); err == nil {
		_, _ = lock.WriteAt(fmt.Append(nil, os.Getpid()), 0)
	}
	return lock, nil
}

// Close closes the log and gives the folder free.
func (d *disk) Close() error { return errors.Join(d.Log.Close(), d.values.Close(), d.lock.Close()) }

// written looks at the outcome of a write.
func (d *disk) written(what string, err error) error {
	if err == nil {
		return nil
	}
	err = pgctl.Errorf(pgctl.CodeUnavailable, "%s cannot be written to disk: %v", what, err).
		WithHint("this server stops, so that the others go on without it; make room or replace the disk, then start it")
	d.fail(err)
	return err
}

// StoreLog writes one entry.
func (d *disk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

// StoreLogs writes entries, durably.
func (d *disk) StoreLogs(logs []*raft.Log) error {
	stall := time.AfterFunc(stallLimit, func() {
		_ = d.written("the log", fmt.Errorf("no answer within %v", stallLimit))
	})
	defer stall.Stop()
	return d.written("the log", d.Log.StoreLogs(logs))
}

// DeleteRange removes entries.
func (d *disk) DeleteRange(first, last uint64) error {
	return d.written("the log", d.Log.DeleteRange(first, last))
}

// Get reads one of Raft's durable values.
func (d *disk) Get(key []byte) ([]byte, error) { return d.values.Get(key) }

// GetUint64 reads one of Raft's durable values.
func (d *disk) GetUint64(key []byte) (uint64, error) { return d.values.GetUint64(key) }

// Set writes one of Raft's durable values.
func (d *disk) Set(key, value []byte) error {
	return d.vital(d.values.Set(key, value))
}

// SetUint64 writes one of Raft's durable values.
func (d *disk) SetUint64(key []byte, value uint64) error {
	return d.vital(d.values.SetUint64(key, value))
}

// vital ends Raft's main goroutine when its term or vote cannot be written: Raft would panic, and
// the process would end before it could say why.
func (d *disk) vital(err error) error {
	err = d.written("Raft's term and vote", err)
	if err != nil && d.running.Load() {
		runtime.Goexit()
	}
	return err
}

// snapshotDisk notices when snapshots cannot be written.
type snapshotDisk struct {
	raft.SnapshotStore
	disk *disk
}

// Create begins a snapshot.
func (d *snapshotDisk) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration,
	configurationIndex uint64, t raft.Transport,
) (raft.SnapshotSink, error) {
	sink, err := d.SnapshotStore.Create(version, index, term, c, configurationIndex, t)
	return &snapshotSink{sink, d.disk}, d.disk.written("a snapshot", err)
}

type snapshotSink struct {
	raft.SnapshotSink
	disk *disk
}

// Write writes a part.
func (s *snapshotSink) Write(p []byte) (int, error) {
	n, err := s.SnapshotSink.Write(p)
	return n, s.disk.written("a snapshot", err)
}

// Close completes it, durably.
func (s *snapshotSink) Close() error { return s.disk.written("a snapshot", s.SnapshotSink.Close()) }
