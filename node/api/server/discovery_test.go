package server_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/apitest"
	"github.com/pgctl/pgctl/node/api/server"
)

// discover asks where to write.
func discover(t *testing.T, h http.Handler, query string) api.Endpoints {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/v1/clusters/shop/endpoints"+query, nil))
	var out api.Endpoints
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return out
}

func TestDiscovery(t *testing.T) {
	w := apitest.New()
	h := server.Public(w.Options())
	for range 2 { // made, and kept
		out := discover(t, h, "")
		if out.Leader == nil || out.Leader.Address != "10.0.0.11" || out.Leader.Port != 5432 || len(out.Standbys) != 2 ||
			*out.Standbys[1].LagBytes != 1024 || out.Epoch != 1 || out.Index != 7 || out.AgeMs != 40 {
			t.Fatalf("%+v", out)
		}
		if want := "postgresql://10.0.0.11:5432,10.0.0.12:5432,10.0.0.13:5432/postgres" +
			"?target_session_attrs=read-write&sslmode=require"; out.ReadWrite.URI != want {
			t.Errorf("%s\nwant %s", out.ReadWrite.URI, want)
		}
		if want := "jdbc:postgresql://10.0.0.12:5432,10.0.0.13:5432,10.0.0.11:5432/postgres" +
			"?targetServerType=preferSecondary&sslmode=require"; out.ReadOnly.JDBC != want {
			t.Errorf("%s\nwant %s", out.ReadOnly.JDBC, want)
		}
	}
	if out := discover(t, h, "?user=app&database=orders"); !strings.HasPrefix(out.ReadWrite.URI, "postgresql://app@10.0.0.11") {
		t.Errorf("for a user: %s", out.ReadWrite.URI)
	}
	if out := discover(t, h, ""); strings.Contains(out.ReadWrite.URI, "app") {
		t.Errorf("one user's answer was kept for all: %s", out.ReadWrite.URI)
	}
}

// TestDiscoveryFollows: an answer that was kept is not given once the state moved on.
func TestDiscoveryFollows(t *testing.T) {
	w := apitest.New()
	h := server.Public(w.Options())
	discover(t, h, "")
	for _, c := range []struct {
		name   string
		change func(*pgctl.Leadership)
		leader bool
	}{
		{"recruiting", func(l *pgctl.Leadership) { l.Phase, l.Leader, l.Epoch = pgctl.Recruiting, "", 2 }, false},
		{"promoting", func(l *pgctl.Leadership) { l.Phase, l.Leader = pgctl.Promoting, "shopaaa2" }, false},
		{"steady", func(l *pgctl.Leadership) { l.Phase, l.Rule.Leader = pgctl.Steady, "shopaaa2" }, true},
		{"unknown", func(l *pgctl.Leadership) { l.Phase = pgctl.Unknown }, false},
		{"new cluster", func(l *pgctl.Leadership) { l.Phase, l.Serving = pgctl.Steady, false }, false},
	} {
		index := w.Change(func(f *apitest.Facts) { c.change(f.Leaderships["shop"]) })
		out := discover(t, h, "")
		if out.Index != index || (out.Leader != nil) != c.leader {
			t.Errorf("%s: %+v", c.name, out)
		}
		if n := strings.Count(out.ReadWrite.URI, ":5432"); n != 3 {
			t.Errorf("%s: the string names %d instances: %s", c.name, n, out.ReadWrite.URI)
		}
		if c.leader && out.Leader.Instance != "shop-2" {
			t.Errorf("%s: %s leads", c.name, out.Leader.Instance)
		}
	}
}

// TestDiscoveryOfAClosedLeader: nobody is sent to a leader that is known to let no clients in.
func TestDiscoveryOfAClosedLeader(t *testing.T) {
	w := apitest.New()
	w.Beat(func(live []api.Live, _ map[string]time.Duration) { live[0].Open = false })
	if out := discover(t, server.Public(w.Options()), ""); out.Leader != nil {
		t.Errorf("leader %+v", out.Leader)
	}
	w = apitest.New()
	w.Deaf()
	if out := discover(t, server.Public(w.Options()), ""); out.Leader == nil {
		t.Error("without heartbeats the state decides")
	}
}

// BenchmarkDiscovery is one request over a kept connection, beside the least that net/http can do.
func BenchmarkDiscovery(b *testing.B) {
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1100)) })
	for name, h := range map[string]http.Handler{
		"pgctl": server.Public(apitest.New().Options()), "bare": bare,
	} {
		b.Run(name, func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
			done := make(chan error, 1)
			go func() { done <- s.Serve(listener) }()
			defer func() { _ = s.Close(); <-done }()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
			defer client.CloseIdleConnections()
			target := "http://" + listener.Addr().String() + "/v1/clusters/shop/endpoints"
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					response, err := client.Get(target)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// BenchmarkDiscoveryHandler is the handler alone.
func BenchmarkDiscoveryHandler(b *testing.B) {
	h := server.Public(apitest.New().Options())
	r := httptest.NewRequest("GET", "/v1/clusters/shop/endpoints", nil)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

// discard is a ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// unmoved is a world in which nothing about clusters or hosts ever changes.
type unmoved struct{ *apitest.World }

// Changed implements server.Reader.
func (unmoved) Changed(string) uint64 { return 1 }

// TestDiscoveryIsKept: what does not concern the cluster does not make its answer anew.
func TestDiscoveryIsKept(t *testing.T) {
	w := apitest.New()
	options := w.Options()
	options.State = unmoved{w}
	h := server.Public(options)
	first, began := discover(t, h, ""), time.Now()
	w.Change(func(*apitest.Facts) {})
	if again := discover(t, h, ""); again.Index != first.Index && time.Since(began) < 100*time.Millisecond {
		t.Errorf("made anew: index %d, was %d", again.Index, first.Index)
	}
}
