package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

const (
	defaultEvents = 200
	maxEvents     = 1000
	keepAlive     = 15 * time.Second // an empty line this often says that the stream is alive
	writePatience = 30 * time.Second // a reader that takes nothing for so long is dropped
)

// events lists or follows the event log.
func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	after, err := number(query.Get("after"), "after")
	if err != nil {
		return err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if after, err = number(last, "Last-Event-ID"); err != nil {
			return err
		}
	}
	limit, err := number(query.Get("limit"), "limit")
	if err != nil {
		return err
	}
	if limit == 0 {
		limit = defaultEvents
	}
	follow, err := flag(query.Get("follow"), "follow")
	if err != nil {
		return err
	}
	cluster := query.Get("cluster")
	state, err := s.state(r, cluster)
	if err != nil {
		return err
	}
	// Events outlive their cluster, so a name is wrong only if there is nothing at all about it.
	list := state.Events(after, cluster, int(min(limit, maxEvents)))
	if _, ok := state.Cluster(cluster); cluster != "" && !ok && len(state.Events(0, cluster, 1)) == 0 {
		return notFound(state, cluster)
	}
	if follow {
		return s.follow(w, r, state, list, after)
	}
	m := meta(state)
	return answer(w, m, api.Events{Meta: m, Events: append([]pgctl.Event{}, list...)})
}

// follow writes events as they come, a line of JSON each, or as server-sent events, until the reader or
// the daemon goes away.
func (s *server) follow(w http.ResponseWriter, r *http.Request, state State, list []pgctl.Event, after uint64) error {
	sse := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	m := meta(state)
	w.Header().Set(api.HeaderIndex, fmt.Sprint(m.Index))
	w.Header().Set(api.HeaderAge, fmt.Sprint(m.AgeMs))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/x-ndjson")
	if sse {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	control, cluster := http.NewResponseController(w), r.URL.Query().Get("cluster")
	for {
		_ = control.SetWriteDeadline(time.Now().Add(writePatience)) // recorders in tests have none
		if err := writeEvents(w, list, sse); err != nil {
			return nil
		}
		if err := control.Flush(); err != nil {
			return nil
		}
		index, _ := state.Index()
		if len(list) > 0 {
			after = list[len(list)-1].Index
		} else {
			ctx, cancel := context.WithTimeout(r.Context(), keepAlive)
			err := s.Waiter.Wait(ctx, cluster, index)
			cancel()
			if r.Context().Err() != nil {
				return nil
			}
			if err != nil && ctx.Err() == nil {
				return nil // the daemon stops
			}
			after = max(after, 1)
		}
		var err error
		if state, err = s.State.State(r.Context(), false); err != nil {
			return nil
		}
		list = state.Events(after, cluster, maxEvents)
	}
}

// writeEvents writes them, or what keeps the connection alive when there are none.
func writeEvents(w http.ResponseWriter, list []pgctl.Event, sse bool) error {
	if len(list) == 0 {
		_, err := w.Write([]byte("\n"))
		return err
	}
	for _, e := range list {
		body, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if sse {
			_, err = fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Index, e.Kind, body)
		} else {
			_, err = fmt.Fprintf(w, "%s\n", body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// saveSnapshot streams the whole state.
func (s *server) saveSnapshot(w http.ResponseWriter, r *http.Request) error {
	m := s.now()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(api.HeaderIndex, fmt.Sprint(m.Index))
	w.Header().Set(api.HeaderAge, fmt.Sprint(m.AgeMs))
	counted := &counter{ResponseWriter: w}
	err := s.Snapshots.Save(r.Context(), counted)
	if err != nil && counted.written > 0 {
		s.Log.Error("snapshot broke off", "error", err)
		panic(http.ErrAbortHandler) // the reader must not take half of it for the whole
	}
	return err
}

// counter knows whether an answer has begun.
type counter struct {
	http.ResponseWriter
	written int64
}

// Write counts.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.written += int64(n)
	return n, err
}

// restoreSnapshot replaces the whole state.
func (s *server) restoreSnapshot(w http.ResponseWriter, r *http.Request) error {
	if err := s.Snapshots.Restore(r.Context(), r.Body); err != nil {
		return err
	}
	return changed(w, s.now().Index, "the state is restored; the leadership of every cluster is unknown until its "+
		"leader confirms it or an operator names one")
}
