package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api/apitest"
	"github.com/pgctl/pgctl/node/api/client"
	"github.com/pgctl/pgctl/node/api/server"
)

// start serves a world and returns a function that asks it over TLS.
func start(t *testing.T, w *apitest.World) func(ctx context.Context, path, accept string) *http.Response {
	t.Helper()
	config := apitest.Start(t, w)
	transport := &http.Transport{TLSClientConfig: apitest.TLS(t, config)}
	t.Cleanup(transport.CloseIdleConnections)
	return func(ctx context.Context, path, accept string) *http.Response {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+config.Addresses[0]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		response, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
}

// report adds an event to a world.
func report(w *apitest.World, cluster, kind string) {
	w.Change(func(f *apitest.Facts) {
		f.Events = append(f.Events, pgctl.Event{Index: f.At, At: apitest.Date, Cluster: cluster, Kind: kind})
	})
}

func TestFollow(t *testing.T) {
	w := apitest.New()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	response := start(t, w)(ctx, "/v1/events?follow=true&cluster=shop", "")
	if got := response.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("content type %s", got)
	}
	lines := bufio.NewScanner(response.Body)
	next := func() string {
		for lines.Scan() {
			if len(lines.Bytes()) == 0 {
				continue // still there
			}
			var e pgctl.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatalf("%v in %s", err, lines.Text())
			}
			return e.Kind
		}
		t.Fatal(lines.Err())
		return ""
	}
	if a, b := next(), next(); a != "cluster.created" || b != "leader.steady" {
		t.Fatalf("old events: %s, %s", a, b)
	}
	report(w, "other", "not.ours")
	report(w, "shop", "one")
	report(w, "shop", "two")
	if a, b := next(), next(); a != "one" || b != "two" {
		t.Fatalf("new events: %s, %s", a, b)
	}
}

func TestServerSentEvents(t *testing.T) {
	w := apitest.New()
	response := start(t, w)(t.Context(), "/v1/events?follow=true&after=3", "text/event-stream")
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type %s", got)
	}
	lines := bufio.NewScanner(response.Body)
	for _, want := range []string{"id: 5", "event: leader.steady", "data: {", "", "id: 5", "event: host.slow"} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Fatalf("%q, want %q", lines.Text(), want)
		}
	}
}

// TestSnapshotBrokenOff: half a snapshot must not look like a whole one.
func TestSnapshotBrokenOff(t *testing.T) {
	options := apitest.New().Options()
	options.Snapshots = halfway{}
	dir := t.TempDir()
	authority := apitest.NewAuthority(t, dir)
	authority.Issue(t, "me")
	c, err := client.New(client.Config{
		Addresses: []string{authority.Serve(t, server.New(options))},
		CA:        dir + "/ca.pem", Cert: dir + "/me.pem", Key: dir + "/me-key.pem",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.SaveSnapshot(t.Context(), io.Discard); err == nil {
		t.Fatalf("%d bytes without an error", n)
	}
}

// halfway breaks off in the middle of a snapshot.
type halfway struct{}

func (halfway) Save(_ context.Context, to io.Writer) error {
	if _, err := to.Write(make([]byte, 1<<16)); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

func (halfway) Restore(context.Context, io.Reader) error { return nil }
