package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/process"
	"github.com/pgctl/pgctl/raftstore"
)

// removePurged removes the data of clusters that the store says are purged, also what a host kept aside
// or finds when it comes back much later. Other data stays, whether the store knows it or not.
func (d *daemon) removePurged(ctx context.Context) {
	for ctx.Err() == nil {
		if !d.current.Load() { // on an older state a cluster may look purged that is not any more
			_ = sleep(ctx, 200*time.Millisecond) // the loop ends with ctx
			continue
		}
		state := d.store.State()
		d.removePurgedOf(ctx, state)
		waiting, cancel := context.WithTimeout(ctx, time.Minute)
		_, _ = d.store.Wait(waiting, state.Index(), raftstore.ClustersTopic) // a time-out only means another look
		cancel()
	}
}

func (d *daemon) removePurgedOf(ctx context.Context, state *raftstore.State) {
	folders, err := filepath.Glob(filepath.Join(d.config.DataDir, "instances", "*", "*", "state.json"))
	if err != nil {
		d.log.Warn("looking for purged data", "error", err)
	}
	for _, path := range folders {
		folder := filepath.Dir(path)
		was, ok := purgeable(state, folder)
		if !ok || ctx.Err() != nil {
			continue
		}
		if err := d.removeFolder(ctx, folder); err != nil {
			d.log.Warn("the data of a purged cluster cannot be removed yet", "folder", folder, "error", err)
			continue
		}
		d.note(pgctl.Event{
			Severity: pgctl.Info, Cluster: was.Cluster, Instance: was.Instance, Host: d.config.Name, Kind: "data.removed",
			Message: "the data of the purged cluster " + was.Cluster + " was removed: " + folder,
		})
	}
}

// purgeable says whether a folder holds a life of a purged cluster and nothing else: our own state file
// names the cluster, and, where there is data, the data itself has the same system identifier.
func purgeable(state *raftstore.State, folder string) (was ha.Local, ok bool) {
	info, err := os.Lstat(folder)
	if err != nil || !info.IsDir() {
		return was, false
	}
	text, err := os.ReadFile(filepath.Join(folder, "state.json"))
	if err != nil || json.Unmarshal(text, &was) != nil || was.Format != 1 || !state.IsPurged(was.Cluster, was.SystemID) {
		return was, false
	}
	if was.Instance != filepath.Base(filepath.Dir(folder)) || len(filepath.Base(folder)) < len(was.Life) ||
		filepath.Base(folder)[:len(was.Life)] != string(was.Life) {
		return was, false
	}
	marker, err := os.ReadFile(filepath.Join(folder, "pgdata", "pgctl.life"))
	if errors.Is(err, os.ErrNotExist) {
		_, err = os.Lstat(filepath.Join(folder, "pgdata"))
		return was, errors.Is(err, os.ErrNotExist) // half removed before: pgdata goes as a whole
	}
	var data struct{ Cluster, SystemID string }
	return was, err == nil && json.Unmarshal(marker, &data) == nil && data.Cluster == was.Cluster && data.SystemID == was.SystemID
}

// removeFolder ends what still works there, and removes. The data goes under another name first, and our
// state file last, so that a removal that broke off is found again.
func (d *daemon) removeFolder(ctx context.Context, folder string) error {
	data, gone := filepath.Join(folder, "pgdata"), filepath.Join(folder, "purged")
	if err := (process.Local{}).KillAll(ctx, data); err != nil {
		return err
	}
	if err := os.Rename(data, gone); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "state.json" {
			if err := os.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(folder)) // the instance's folder, when it is empty now
	return nil
}
