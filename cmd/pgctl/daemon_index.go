package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/pgctl/pgctl/raftstore"
)

// indexPatience is how long the list of servers waits for one of them to say how far it is.
const indexPatience = 500 * time.Millisecond

// serveIndex says up to where this daemon has applied the log.
func (d *daemon) serveIndex(context.Context, string, json.RawMessage) (any, error) {
	return d.store.State().Index(), nil
}

// indexes asks all servers at once how far they are; one that does not answer in time is left out.
func (d *daemon) indexes(ctx context.Context, members []raftstore.ServerInfo) map[string]uint64 {
	ctx, cancel := context.WithTimeout(ctx, indexPatience)
	defer cancel()
	var mu sync.Mutex
	all := map[string]uint64{}
	var asking sync.WaitGroup
	for _, m := range members {
		host, known := d.store.State().Host(m.Name)
		if !known {
			continue
		}
		asking.Go(func() {
			var index uint64
			if err := d.peers.Call(ctx, host.API, "index", nil, &index); err != nil {
				d.log.Debug("a server does not say how far it is", "server", m.Name, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all[m.Name] = index
		})
	}
	asking.Wait()
	return all
}
