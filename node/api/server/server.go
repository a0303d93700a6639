package server

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

const (
	maxBody    = 1 << 20 // of every request but a snapshot
	maxRestore = 1 << 30
	maxWait    = 60 * time.Second // that ?wait= may ask for
	maxWork    = 30 * time.Second // that any other request may take
)

// server holds the handlers.
type server struct {
	Options
	ready sync.Map // cluster → *discovery
}

// route is one operation of the API. openapi.yaml lists the same ones.
type route struct {
	method string
	path   string // with the prefix, in the notation of http.ServeMux
	access Access
	serve  func(*server, http.ResponseWriter, *http.Request) error
}

// routes are all operations.
func routes() []route {
	const cluster = "/clusters/{name}"
	list := []route{
		{"GET", "/clusters", AccessRead, (*server).clusters},
		{"GET", cluster, AccessRead, (*server).cluster},
		{"PUT", cluster, AccessChange, (*server).putCluster},
		{"DELETE", cluster, AccessChange, (*server).deleteCluster},
		{"POST", cluster + "/undelete", AccessChange, (*server).undelete},
		{"GET", cluster + "/endpoints", AccessPublic, (*server).endpoints},
		{"GET", cluster + "/status", AccessRead, (*server).status},
		{"GET", "/status", AccessRead, (*server).statuses},
		{"POST", cluster + "/switchover", AccessChange, (*server).switchover},
		{"POST", cluster + "/failover", AccessChange, (*server).failover},
		{"POST", cluster + "/orders", AccessChange, (*server).orders},
		{"GET", cluster + "/users/{user}/password", AccessSecrets, (*server).password},
		{"POST", cluster + "/users/{user}/password", AccessSecrets, (*server).rotate},
		{"GET", cluster + "/view", AccessRead, (*server).view},
		{"POST", "/apply", AccessRead, (*server).apply}, // a dry run; else it asks for more
		{"GET", "/hosts", AccessRead, (*server).hosts},
		{"GET", "/servers", AccessRead, (*server).servers},
		{"GET", "/events", AccessRead, (*server).events},
		{"GET", "/settings", AccessRead, (*server).settings},
		{"GET", "/settings/{key}", AccessRead, (*server).setting},
		{"PUT", "/settings/{key}", AccessChange, (*server).putSetting},
		{"GET", "/snapshot", AccessSecrets, (*server).saveSnapshot},
		{"PUT", "/snapshot", AccessSecrets, (*server).restoreSnapshot},
		{"GET", "/version", AccessPublic, (*server).version},
		{"GET", "/health", AccessPublic, (*server).health},
		{"GET", "/openapi.yaml", AccessPublic, (*server).openAPI},
	}
	for i := range list {
		list[i].path = api.Prefix + list[i].path
	}
	return list
}

// New serves the whole API. Everything but discovery, version, health and the OpenAPI document needs a
// client certificate that the TLS listener has verified (tls.VerifyClientCertIfGiven) and that Allows accepts.
func New(options Options) http.Handler { return handler(options, routes()) }

// Public serves only what needs no certificate, for a plain-HTTP listener.
func Public(options Options) http.Handler {
	var public []route
	for _, r := range routes() {
		if r.access == AccessPublic {
			public = append(public, r)
		}
	}
	return handler(options, public)
}

// handler puts the routes into a mux, and the errors of the mux into our shape.
func handler(options Options, list []route) http.Handler {
	s, mux := &server{Options: options}, http.NewServeMux()
	allowed := map[string][]string{}
	for _, r := range list {
		mux.HandleFunc(r.method+" "+r.path, s.wrap(r))
		allowed[r.path] = append(allowed[r.path], r.method)
	}
	for path, methods := range allowed {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			s.fail(w, r, &statusError{http.StatusMethodNotAllowed, pgctl.Errorf(pgctl.CodeInvalid,
				"%s is not possible here, only %s", r.Method, strings.Join(methods, ", "))})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		e := pgctl.Errorf(pgctl.CodeNotFound, "there is no %s", r.URL.Path)
		var paths []string
		for path := range allowed {
			paths = append(paths, path)
		}
		if near := nearestPath(r.URL.Path, paths); near != "" {
			_ = e.WithHint("did you mean %s?", near)
		} else {
			_ = e.WithHint("%s/openapi.yaml lists what there is", api.Prefix)
		}
		s.fail(w, r, e)
	})
	return mux
}

// wrap is what all handlers have in common: who may ask, how long, how much, and errors.
func (s *server) wrap(r route) http.HandlerFunc {
	if r.access == AccessPublic {
		return func(w http.ResponseWriter, request *http.Request) {
			if err := r.serve(s, w, request); err != nil {
				s.fail(w, request, err)
			}
		}
	}
	return func(w http.ResponseWriter, request *http.Request) {
		if err := s.allow(request, r.access); err != nil {
			s.fail(w, request, err)
			return
		}
		limit := int64(maxBody)
		if strings.HasSuffix(r.path, "/snapshot") {
			limit = maxRestore
		} else if r.path != api.Prefix+"/events" { // which may be followed for ever
			ctx, cancel := context.WithTimeout(request.Context(), maxWait+maxWork)
			defer cancel()
			request = request.WithContext(ctx)
		}
		request.Body = http.MaxBytesReader(w, request.Body, limit)
		if err := r.serve(s, w, request); err != nil {
			s.fail(w, request, err)
		}
	}
}

// nearestPath compares paths of as many parts, where a parameter is whatever stands in its place.
func nearestPath(path string, patterns []string) string {
	parts := strings.Split(path, "/")
	var candidates []string
	for _, pattern := range patterns {
		of := strings.Split(pattern, "/")
		if len(of) != len(parts) {
			continue
		}
		for i := range of {
			if strings.HasPrefix(of[i], "{") {
				of[i] = parts[i]
			}
		}
		candidates = append(candidates, strings.Join(of, "/"))
	}
	if near := pgctl.Nearest(path, candidates); near != path {
		return near
	}
	return ""
}
