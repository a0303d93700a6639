package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
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

// ask sends a request with a verified certificate.
func ask(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// pattern finds the route of a path, by trying the mux's own rules.
func pattern(t *testing.T, method, path string) string {
	t.Helper()
	mux := http.NewServeMux()
	for p := range server.Patterns() {
		mux.Handle(p, http.NotFoundHandler())
	}
	path, _, _ = strings.Cut(path, "?")
	_, p := mux.Handler(httptest.NewRequest(method, path, nil))
	return server.Patterns()[p]
}

func TestAnswers(t *testing.T) {
	const (
		put    = `{"name":"shop","spec":{"version":15,"instances":5,"durability":{"mode":"quorum"}},"port":0,"revision":3}`
		fresh  = `{"name":"new","spec":{"version":15,"instances":1,"durability":{"mode":"quorum"}},"port":0,"revision":0}`
		change = `[{name: shop, version: 15, instances: 3, parameters: {work_mem: 9MB}, size: 1Gi}]`
		same   = `[{name: shop, version: 15, instances: 3, parameters: {work_mem: 8MB}}]`
	)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		has                      string
	}{
		{"list", "GET", "/v1/clusters", "", 200, `"health":"well"`},
		{"consistent", "GET", "/v1/clusters?consistent=true", "", 200, `"ageMs":0`},
		{"bad flag", "GET", "/v1/clusters?consistent=maybe", "", 400, `"field":"consistent"`},
		{"bad wait", "GET", "/v1/clusters?wait=soon", "", 400, `"field":"wait"`},
		{"bad index", "GET", "/v1/clusters?wait=1s&index=-1", "", 400, `"field":"index"`},
		{"show", "GET", "/v1/clusters/shop", "", 200, `"role":"primary"`},
		{"wrong name", "GET", "/v1/clusters/shpo", "", 404, `did you mean shop?`},
		{"path in a name", "GET", "/v1/clusters/..%2F..%2Fetc", "", 404, `no cluster`},
		{"status", "GET", "/v1/clusters/shop/status", "", 200, `"problems":[]`},
		{"all statuses", "GET", "/v1/status", "", 200, `"clusters":[{`},
		{"endpoints", "GET", "/v1/clusters/shop/endpoints", "", 200, `"leader":{"instance":"shop-1"`},
		{"hosts", "GET", "/v1/hosts", "", 200, `"instances":["shop-1"],"heardMs":100`},
		{"servers", "GET", "/v1/servers", "", 200, `"role":"leader"`},
		{"events", "GET", "/v1/events", "", 200, `"kind":"host.slow"`},
		{"events after", "GET", "/v1/events?after=5", "", 200, `"events":[]`},
		{"events of nobody", "GET", "/v1/events?cluster=shp", "", 404, `did you mean shop?`},
		{"events limit", "GET", "/v1/events?limit=x", "", 400, `"field":"limit"`},
		{"put", "PUT", "/v1/clusters/shop", put, 200, `"instances":5`},
		{"put new", "PUT", "/v1/clusters/new", fresh, 200, `"port":5433`},
		{"put another name", "PUT", "/v1/clusters/other", put, 400, `"field":"name"`},
		{"put old revision", "PUT", "/v1/clusters/shop", strings.Replace(put, "revision\":3", "revision\":2", 1), 409, `revision 3`},
		{"put nonsense", "PUT", "/v1/clusters/shop", `{"name":"shop","sped":{}}`, 400, `sped`},
		{"put half", "PUT", "/v1/clusters/shop", `{"name":`, 400, `not the JSON`},
		{"put wrong type", "PUT", "/v1/clusters/shop", `{"name":"shop","spec":{"version":"15"}}`, 400, `"field":"spec.version"`},
		{"put two values", "PUT", "/v1/clusters/shop", put + put, 400, `more than one`},
		{"put deleted", "PUT", "/v1/clusters/shop", `{"name":"shop","deleted":{"at":"2026-01-01T00:00:00Z","keep":1}}`, 400, "deleted"},
		{"dry run", "POST", "/v1/apply?dryRun=true", change, 200, `"from":"8MB","to":"9MB","effect":"reload"`},
		{"apply", "POST", "/v1/apply", change, 200, `"warnings":["size is recorded, not enforced"],"revision":8`},
		{"apply the same", "POST", "/v1/apply", same, 200, `"action":"none"`},
		{"apply two", "POST", "/v1/apply", `[{name: a, version: 15}, {name: b, version: 16}]`, 200, `"name":"b","action":"create"`},
		{"apply twice the same", "POST", "/v1/apply", `[{name: a, version: 15}, {name: a, version: 16}]`, 400, `declared twice`},
		{"apply names the file", "POST", "/v1/apply?file=shop.yaml", `{`, 400, `"message":"shop.yaml:1: `},
		{"apply bad file name", "POST", "/v1/apply?file=a%0Ab", `{`, 400, `"message":"manifest:1: `},
		{"apply nothing", "POST", "/v1/apply", `[]`, 400, `declares nothing`},
		{"apply nonsense", "POST", "/v1/apply", `{`, 400, `"hint":"write a list"`},
		{"apply too old", "POST", "/v1/apply", `[{name: a, version: 9}]`, 400, `"field":"spec.postgresql.version"`},
		{"delete", "DELETE", "/v1/clusters/shop?keep=1d", "", 200, `kept for 1d`},
		{"delete bad keep", "DELETE", "/v1/clusters/shop?keep=7days", "", 400, `"field":"keep"`},
		{"delete at once", "DELETE", "/v1/clusters/shop?keep=0s", "", 200, `kept for 0s`},
		{"undelete what is there", "POST", "/v1/clusters/shop/undelete", "", 409, `not deleted`},
		{"switchover", "POST", "/v1/clusters/shop/switchover", `{"to":"shop-3"}`, 200, `ordered`},
		{"switchover to any", "POST", "/v1/clusters/shop/switchover", ``, 200, `ordered`},
		{"switchover to nobody", "POST", "/v1/clusters/shop/switchover", `{"to":"shop-33"}`, 404, `did you mean shop-3?`},
		{"lossy switchover", "POST", "/v1/clusters/shop/switchover", `{"allowDataLoss":true}`, 400, `use failover`},
		{"failover", "POST", "/v1/clusters/shop/failover", `{"to":"shop-2","allowDataLoss":true}`, 200, `ordered`},
		{"failover refused", "POST", "/v1/clusters/shop/failover", `{"to":"shop-2"}`, 422, `"code":"refused"`},
		{"failover to nobody", "POST", "/v1/clusters/shop/failover", `{}`, 400, `"field":"to"`},
		{"password", "GET", "/v1/clusters/shop/users/app/password", "", 200, `"password":"s3cret"`},
		{"password of nobody", "GET", "/v1/clusters/shop/users/root/password", "", 404, `it has: app`},
		{"rotate", "POST", "/v1/clusters/shop/users/app/password", "", 200, `s3cret-new`},
		{"view", "GET", "/v1/clusters/shop/view", "", 200, `"epoch":1`},
		{"setting", "GET", "/v1/settings/defaults", "", 200, `"value":{"version":15}`},
		{"no setting", "GET", "/v1/settings/none", "", 404, `no setting`},
		{"put setting", "PUT", "/v1/settings/defaults?revision=5", `{"version":16}`, 200, `"revision":8`},
		{"put old setting", "PUT", "/v1/settings/defaults?revision=4", `{}`, 409, `revision 5`},
		{"put new setting", "PUT", "/v1/settings/x?revision=0", `1`, 200, `"value":1`},
		{"put bad setting", "PUT", "/v1/settings/x", `text`, 400, `not JSON`},
		{"snapshot", "GET", "/v1/snapshot", "", 200, `snapshot of the world`},
		{"restore", "PUT", "/v1/snapshot", `snapshot of the world`, 200, `unknown`},
		{"restore nonsense", "PUT", "/v1/snapshot", `x`, 400, `no snapshot`},
		{"version", "GET", "/v1/version", "", 200, `"version":"1.0"`},
		{"health", "GET", "/v1/health", "", 200, `"status":"ok"`},
		{"openapi", "GET", "/v1/openapi.yaml", "", 200, `openapi: 3.1.0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := server.New(apitest.New().Options())
			w := ask(h, c.method, c.path, c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.has) {
				t.Fatalf("%d %s\nwanted %d with %s", w.Code, w.Body, c.status, c.has)
			}
			if c.status == 200 && (w.Header().Get(api.HeaderIndex) == "" || w.Header().Get(api.HeaderAge) == "") {
				t.Errorf("index or age is missing in %v", w.Header())
			}
			server.Described(t, c.method, pattern(t, c.method, c.path), w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
		})
	}
}

// TestErrors: whatever goes wrong has the one shape, also what the mux would answer by itself.
func TestErrors(t *testing.T) {
	w := apitest.New()
	h := server.New(w.Options())
	big := strings.Repeat("x", 1<<20+1)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code                     pgctl.Code
		has                      string
	}{
		{"method", "PATCH", "/v1/clusters/shop", "", 405, pgctl.CodeInvalid, "only"},
		{"path", "GET", "/v1/cluster/shop", "", 404, pgctl.CodeNotFound, "did you mean /v1/clusters/shop?"},
		{"far path", "GET", "/metrics", "", 404, pgctl.CodeNotFound, "openapi.yaml"},
		{"large manifest", "POST", "/v1/apply", big, 413, pgctl.CodeInvalid, "larger than 1024 KiB"},
		{"large body", "PUT", "/v1/clusters/shop", big, 413, pgctl.CodeInvalid, "larger"},
		{"large setting", "PUT", "/v1/settings/x", big, 413, pgctl.CodeInvalid, "larger"},
	} {
		got := ask(h, c.method, c.path, c.body)
		e := &pgctl.Error{}
		if err := json.Unmarshal(got.Body.Bytes(), e); err != nil {
			t.Fatalf("%s: %v in %s", c.name, err, got.Body)
		}
		if got.Code != c.status || e.Code != c.code || !strings.Contains(e.Error(), c.has) {
			t.Errorf("%s: %d %s", c.name, got.Code, got.Body)
		}
	}
	for err, status := range map[error]int{
		pgctl.Errorf(pgctl.CodeUnavailable, "no leader"): 503, errors.New("disk on fire"): 500,
	} {
		w.Fail(err)
		for _, path := range []string{"/v1/clusters?consistent=true", "/v1/clusters/shop/endpoints?consistent=1"} {
			if got := ask(h, "GET", path, ""); got.Code != status {
				t.Errorf("%v: %d %s", err, got.Code, got.Body)
			}
		}
		if got := ask(h, "GET", "/v1/clusters/shop", ""); got.Code != 200 {
			t.Errorf("local reads must go on: %d %s", got.Code, got.Body)
		}
	}
}

func TestDeletedCluster(t *testing.T) {
	h := server.New(apitest.New().Options())
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"DELETE", "/v1/clusters/shop", "", 200},
		{"DELETE", "/v1/clusters/shop", "", 200}, // again: a client that did not hear the answer
		{"POST", "/v1/apply", `[{name: shop, version: 15, instances: 3}]`, 409},
		{"GET", "/v1/clusters/shop/endpoints", "", 200},
		{"POST", "/v1/clusters/shop/undelete", "", 200},
		{"POST", "/v1/apply", `[{name: shop, version: 15, instances: 3}]`, 200},
	} {
		if w := ask(h, c.method, c.path, c.body); w.Code != c.status {
			t.Fatalf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
}

// TestCertificates: without one only discovery and what says nothing about anybody.
func TestCertificates(t *testing.T) {
	options := apitest.New().Options()
	for pattern, path := range server.Patterns() {
		method, _, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{name}", "shop", "{user}", "app", "{key}", "defaults").Replace(path)
		public := strings.HasSuffix(path, "/endpoints") || path == "/v1/version" || path == "/v1/health" ||
			path == "/v1/openapi.yaml"
		for _, state := range []*tls.ConnectionState{nil, {}} {
			r := httptest.NewRequest(method, path, nil)
			r.TLS = state
			w := httptest.NewRecorder()
			server.New(options).ServeHTTP(w, r)
			if public != (w.Code == 200) || !public && w.Code != http.StatusUnauthorized {
				t.Errorf("%s %s without a certificate: %d", method, path, w.Code)
			}
		}
		w := httptest.NewRecorder()
		server.Public(options).ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if public != (w.Code == 200) || !public && w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s %s on the discovery port: %d", method, path, w.Code)
		}
	}
}

// TestAccess: a reader's certificate reads, and nothing else.
func TestAccess(t *testing.T) {
	h := server.New(apitest.New().Options())
	for pattern, path := range server.Patterns() {
		method, _, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{name}", "shop", "{user}", "app", "{key}", "defaults").Replace(path)
		secret := strings.HasSuffix(path, "/password") || strings.HasSuffix(path, "/snapshot")
		r := httptest.NewRequest(method, path, nil)
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: "reader"}}}}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if may := method == http.MethodGet && !secret; may != (w.Code == 200) || !may && w.Code != http.StatusForbidden {
			t.Errorf("%s %s by a reader: %d %s", method, path, w.Code, w.Body)
		}
	}
	r := httptest.NewRequest("POST", "/v1/apply?dryRun=true", strings.NewReader("[{name: a, version: 15}]"))
	r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: "reader"}}}}}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("a dry run by a reader: %d %s", w.Code, w.Body)
	}
}

func TestWait(t *testing.T) {
	w := apitest.New()
	h := server.New(w.Options())
	if got := ask(h, "GET", "/v1/clusters/shop?index=7&wait=1ms", ""); got.Code != 200 {
		t.Fatalf("nothing happened in time: %d %s", got.Code, got.Body)
	}
	answered := make(chan string)
	go func() {
		answered <- ask(h, "GET", "/v1/clusters/shop/endpoints?index=7&wait=30s", "").Header().Get(api.HeaderIndex)
	}()
	select {
	case index := <-answered:
		t.Fatalf("answered at %s before anything happened", index)
	case <-time.After(20 * time.Millisecond):
	}
	w.Change(func(*apitest.Facts) {})
	if index := <-answered; index != "8" {
		t.Fatalf("index %s, want 8", index)
	}
}
