package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/postgres/control"
	"github.com/pgctl/pgctl/provision/process"
	"github.com/pgctl/pgctl/raftstore"
)

// stopUnassigned stops the Postgres servers of instances that were given to other hosts, or removed, while
// this host could not hear of it: nobody else would. Their data stays.
func (d *daemon) stopUnassigned(ctx context.Context) {
	left := map[string]string{} // by folder: why it goes on, as last reported
	for ctx.Err() == nil {
		if !d.current.Load() { // on an older state an instance may look unassigned that is not
			_ = sleep(ctx, 200*time.Millisecond) // the loop ends with ctx
			continue
		}
		index := d.store.State().Index()
		d.stopUnassignedOnce(ctx, left)
		waiting, cancel := context.WithTimeout(ctx, time.Minute)
		_, _ = d.store.Wait(waiting, index, raftstore.HostTopic(d.config.Name), raftstore.ClustersTopic) // a time-out only means another look
		cancel()
	}
}

func (d *daemon) stopUnassignedOnce(ctx context.Context, left map[string]string) {
	notes, err := filepath.Glob(filepath.Join(d.config.DataDir, "instances", "*", "????????", "state.json"))
	if err != nil {
		d.log.Warn("looking for instances that are not assigned", "error", err)
	}
	for _, path := range notes {
		folder := filepath.Dir(path)
		was, ok := readLocal(folder)
		if !ok || ctx.Err() != nil || !runsIn(folder) {
			continue
		}
		why, unassigned := unassigned(d.store.State(), d.config.Name, was) // after it was seen running: an agent starts nothing that is not assigned
		switch {
		case !unassigned:
			continue
		case why == "":
			d.stopLife(ctx, folder, was)
		case left[folder] != why:
			left[folder] = why
			d.noteLife(pgctl.Alarm, "instance.unassigned", was, "%s (life %s) is not assigned to this host, but its Postgres goes on: %s", was.Instance, was.Life, why)
		}
	}
}

// unassigned says whether a life that runs here should not, and why it is left running all the same: what
// the store does not know, or knows less of than the life itself, may be what applications work with.
func unassigned(state *raftstore.State, host string, was ha.Local) (why string, ok bool) {
	for i := range state.InstancesOf(host) {
		if i.Name == was.Instance {
			return "", false // another life of an instance of this host is put aside by whoever opens that
		}
	}
	l, led := state.Leadership(was.Cluster)
	if !led {
		return "the store does not know its cluster " + was.Cluster + "; declare it again, or stop it with pg_ctl", true
	}
	return newerThan(was, l), true
}

// newerThan says why a life may hold what the store has not heard of, or "".
func newerThan(was ha.Local, l pgctl.Leadership) string {
	epoch := was.Pledge
	if was.Rule != nil {
		epoch = max(epoch, was.Rule.Epoch)
	}
	switch {
	case was.SystemID != l.SystemID:
		return ""
	case epoch > l.Epoch:
		return "it knows of a later epoch than the store, which must have lost something; pgctl status " + l.Cluster + " says what to do"
	case l.Phase == pgctl.Unknown:
		return "the store was restored; pgctl status " + l.Cluster + " says what to do"
	}
	return ""
}

// readLocal reads what is kept of the life of a folder.
func readLocal(folder string) (was ha.Local, ok bool) {
	text, err := os.ReadFile(filepath.Join(folder, "state.json"))
	if err != nil || json.Unmarshal(text, &was) != nil {
		return ha.Local{}, false
	}
	return was, was.Format == 1 && string(was.Life) == filepath.Base(folder)
}

func runsIn(folder string) bool {
	_, _, _, running := (process.Local{}).Find(filepath.Join(folder, "pgdata"))
	return running
}

func (d *daemon) stopLife(ctx context.Context, folder string, was ha.Local) {
	pg, err := control.New(control.Options{
		Data: d.config.DataDir, Name: was.Instance, Cluster: was.Cluster, Life: was.Life, SocketDir: d.config.SocketDir,
		OSUser: d.config.PostgresUser, Processes: process.Local{}, Log: d.log,
	})
	if err == nil {
		_, err = pg.Stop(ctx, ha.StopPlanned)
	}
	if err != nil {
		d.log.Warn("an instance that is not assigned cannot be stopped yet", "instance", was.Instance, "life", was.Life, "error", err)
		return
	}
	d.noteLife(pgctl.Warning, "instance.stopped", was,
		"%s (life %s) is not assigned to this host any more: its Postgres was stopped, its data is kept in %s", was.Instance, was.Life, folder)
}

func (d *daemon) noteLife(severity pgctl.Severity, kind string, was ha.Local, format string, args ...any) {
	d.note(pgctl.Event{
		Severity: severity, Cluster: was.Cluster, Instance: was.Instance, Host: d.config.Name, Kind: kind,
		Message: fmt.Sprintf(format, args...),
	})
}
