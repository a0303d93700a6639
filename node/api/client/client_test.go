package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/apitest"
	"github.com/pgctl/pgctl/node/api/client"
	"github.com/pgctl/pgctl/node/api/server"
)

// dial makes a client that the test closes.
func dial(t *testing.T, config client.Config) *client.Client {
	t.Helper()
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestCalls: every call reaches its handler and comes back.
func TestCalls(t *testing.T) {
	w := apitest.New()
	c := dial(t, apitest.Start(t, w))
	ctx := t.Context()
	calls := map[string]func() error{
		"clusters": func() error { _, err := c.Clusters(ctx, client.Read{Consistent: true}); return err },
		"put": func() error {
			d, err := c.Cluster(ctx, "shop", client.Read{})
			if err != nil {
				return err
			}
			_, err = c.PutCluster(ctx, d.Cluster)
			return err
		},
		"endpoints": func() error { _, err := c.Endpoints(ctx, "shop", api.Target{User: "a"}, client.Read{}); return err },
		"statuses":  func() error { _, err := c.Statuses(ctx, client.Read{}); return err },
		"hosts":     func() error { _, err := c.Hosts(ctx, client.Read{}); return err },
		"servers":   func() error { _, err := c.Servers(ctx); return err },
		"version":   func() error { _, err := c.Version(ctx); return err },
		"view":      func() error { _, err := c.View(ctx, "shop"); return err },
		"rotate":    func() error { _, err := c.Rotate(ctx, "shop", "app"); return err },
		"apply": func() error {
			_, err := c.Apply(ctx, "new.yaml", []byte(`[{name: new, version: 15}]`), false)
			return err
		},
		"switch": func() error { _, err := c.Switchover(ctx, "shop", "shop-2"); return err },
		"failover": func() error {
			_, err := c.Failover(ctx, "shop", api.Move{To: "shop-3", AllowDataLoss: true})
			return err
		},
		"settings": func() error {
			old, err := c.Setting(ctx, "defaults")
			if err != nil {
				return err
			}
			_, err = c.PutSetting(ctx, "defaults", json.RawMessage(`2`), &old.Revision)
			return err
		},
		"snapshot": func() error {
			var b bytes.Buffer
			if _, err := c.SaveSnapshot(ctx, &b); err != nil {
				return err
			}
			_, err := c.RestoreSnapshot(ctx, &b)
			return err
		},
	}
	for name, call := range calls {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"..", ".", "a/b", "ä"} {
		if _, err := c.Cluster(ctx, name, client.Read{}); pgctl.CodeOf(err) != pgctl.CodeNotFound ||
			!strings.Contains(err.Error(), "no cluster") {
			t.Errorf("cluster %q: %v", name, err)
		}
	}
}

// TestAddresses: those that do not answer are passed over, and a refusal is not asked for twice.
func TestAddresses(t *testing.T) {
	w := apitest.New()
	config := apitest.Start(t, w)
	config.Addresses = []string{closedPort(t), config.Addresses[0]}
	c := dial(t, config)
	if _, err := c.Switchover(t.Context(), "shop", ""); err != nil {
		t.Errorf("an order that cannot have arrived is given to the next: %v", err)
	}
	if _, err := c.Cluster(t.Context(), "none", client.Read{}); pgctl.CodeOf(err) != pgctl.CodeNotFound {
		t.Errorf("%v", err)
	}
	config.Addresses = []string{closedPort(t), closedPort(t)}
	_, err := dial(t, config).Clusters(t.Context(), client.Read{})
	if pgctl.CodeOf(err) != pgctl.CodeUnavailable || !strings.Contains(err.Error(), config.Addresses[1]) {
		t.Errorf("%v", err)
	}
}

// TestOrdersAreGivenOnce: a daemon that takes an order and hangs up may have carried it out.
func TestOrdersAreGivenOnce(t *testing.T) {
	var orders, reads atomic.Int32
	dir := t.TempDir()
	authority := apitest.NewAuthority(t, dir)
	hangUp := authority.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			orders.Add(1)
		} else {
			reads.Add(1)
		}
		panic(http.ErrAbortHandler)
	}))
	second := authority.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			orders.Add(1)
		}
		_, _ = w.Write([]byte(`{}`))
	}))
	c := dial(t, client.Config{Addresses: []string{hangUp, second}, CA: filepath.Join(dir, "ca.pem")})
	if _, err := c.Switchover(t.Context(), "shop", ""); pgctl.CodeOf(err) != pgctl.CodeUnavailable || orders.Load() != 1 {
		t.Errorf("%d orders: %v", orders.Load(), err)
	}
	if _, err := c.Apply(t.Context(), "x.yaml", nil, false); err != nil || orders.Load() != 3 {
		t.Errorf("apply can be repeated: %d, %v", orders.Load(), err)
	}
	if _, err := c.Clusters(t.Context(), client.Read{}); err != nil {
		t.Errorf("reads can be repeated: %v", err)
	}
}

func TestWatch(t *testing.T) {
	w := apitest.New()
	c := dial(t, apitest.Start(t, w))
	answer := make(chan uint64)
	go func() {
		out, _ := c.Cluster(t.Context(), "shop", client.Read{Index: 7, Wait: 30 * time.Second})
		answer <- out.Index
	}()
	index := w.Change(func(*apitest.Facts) {})
	if got := <-answer; got != index {
		t.Errorf("%d, want %d", got, index)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := c.Cluster(ctx, "shop", client.Read{Index: 99, Wait: 30 * time.Second}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestFollow: a stream that breaks goes on, elsewhere, with nothing missing and nothing twice.
func TestFollow(t *testing.T) {
	w := apitest.New()
	dir := t.TempDir()
	authority := apitest.NewAuthority(t, dir)
	authority.Issue(t, "me")
	whole := server.New(w.Options())
	var streams atomic.Int32
	address := authority.Serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if streams.Add(1) <= 2 { // the first two break off after one event
			rw = &cut{ResponseWriter: rw, left: 1}
		}
		whole.ServeHTTP(rw, r)
	}))
	c := dial(t, client.Config{
		Addresses: []string{closedPort(t), address}, CA: filepath.Join(dir, "ca.pem"),
		Cert: filepath.Join(dir, "me.pem"), Key: filepath.Join(dir, "me-key.pem"),
	})
	var kinds []string
	enough := errors.New("enough")
	err := c.Follow(t.Context(), "", 0, func(e pgctl.Event) error {
		kinds = append(kinds, e.Kind)
		if len(kinds) == 3 {
			w.Change(func(f *apitest.Facts) { f.Events = append(f.Events, pgctl.Event{Index: f.At, Kind: "new"}) })
		}
		if len(kinds) == 4 {
			return enough
		}
		return nil
	})
	if got := strings.Join(kinds, " "); !errors.Is(err, enough) || got != "cluster.created leader.steady host.slow new" {
		t.Errorf("%s: %v", got, err)
	}
	if streams.Load() != 3 {
		t.Errorf("%d streams", streams.Load())
	}
}

// cut breaks the connection after some writes.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if c.left--; c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	n, err := c.ResponseWriter.Write(p)
	c.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

func TestBadConfig(t *testing.T) {
	good := apitest.Start(t, apitest.New())
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*client.Config){
		"addresses": func(c *client.Config) { c.Addresses = nil },
		"ca":        func(c *client.Config) { c.CA = junk },
		"cert":      func(c *client.Config) { c.Cert = junk },
	} {
		config := good
		change(&config)
		_, err := client.New(config)
		if e, ok := errors.AsType[*pgctl.Error](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	bad := good
	bad.Addresses = []string{"https://"}
	if _, err := client.New(bad); err == nil {
		t.Error("an address without a host")
	}
	bad = good
	bad.CA = apitest.Start(t, apitest.New()).CA
	_, err := dial(t, bad).Clusters(t.Context(), client.Read{})
	if pgctl.CodeOf(err) != pgctl.CodeUnauthorized {
		t.Errorf("another authority: %v", err)
	}
	bad = good
	bad.Cert, bad.Key = "", ""
	if _, err := dial(t, bad).Clusters(t.Context(), client.Read{}); pgctl.CodeOf(err) != pgctl.CodeUnauthorized {
		t.Errorf("no certificate: %v", err)
	}
	other := apitest.Start(t, apitest.New())
	bad.Cert, bad.Key = other.Cert, other.Key
	if _, err := dial(t, bad).Clusters(t.Context(), client.Read{}); pgctl.CodeOf(err) != pgctl.CodeUnauthorized {
		t.Errorf("a certificate of another authority: %v", err)
	}
}
