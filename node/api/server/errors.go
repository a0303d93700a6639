package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// statusError is an error whose status does not follow from its code.
type statusError struct {
	status int
	cause  *pgctl.Error
}

// Error is the cause's.
func (e *statusError) Error() string { return e.cause.Error() }

// Unwrap lets pgctl.CodeOf find the code.
func (e *statusError) Unwrap() error { return e.cause }

// statuses of the codes; docs/rest.md has the same table.
var statuses = map[pgctl.Code]int{
	pgctl.CodeInvalid:      http.StatusBadRequest,
	pgctl.CodeUnauthorized: http.StatusUnauthorized,
	pgctl.CodeNotFound:     http.StatusNotFound,
	pgctl.CodeConflict:     http.StatusConflict,
	pgctl.CodeRefused:      http.StatusUnprocessableEntity,
	pgctl.CodeUnavailable:  http.StatusServiceUnavailable,
	pgctl.CodeInternal:     http.StatusInternalServerError,
}

// fail answers with an error in the one shape that they have.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == context.Canceled {
		return // nobody reads the answer
	}
	status := 0
	if e, ok := errors.AsType[*statusError](err); ok {
		status = e.status
	}
	e, ok := errors.AsType[*pgctl.Error](err)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		e, ok = pgctl.Errorf(pgctl.CodeInvalid, "the body is larger than %d KiB", maxBody>>10).
			WithHint("apply a large manifest in several parts"), true
		status = http.StatusRequestEntityTooLarge
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e, ok = pgctl.Errorf(pgctl.CodeUnavailable, "it took too long").
			WithHint("try again; pgctl servers says whether the servers have a leader"), true
	}
	if !ok {
		s.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		e = pgctl.Errorf(pgctl.CodeInternal, "%v", err)
	}
	if status == 0 {
		status = statuses[e.Code]
	}
	if e.Code == pgctl.CodeUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body, _ := json.Marshal(e)
	_, _ = w.Write(append(body, '\n')) // a client that is gone needs no answer
}

// readJSON reads a body strictly: one value, known fields only. An empty body leaves the value as it is.
func readJSON(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return badBody(err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		e := pgctl.Errorf(pgctl.CodeInvalid, "the body is not the JSON that is expected here: %v", err).
			WithHint("%s/openapi.yaml describes it", api.Prefix)
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			_ = e.At(t.Field)
		}
		return e
	}
	if decoder.More() {
		return pgctl.Errorf(pgctl.CodeInvalid, "the body has more than one JSON value")
	}
	return nil
}

// badBody tells a body that is too large, or broke off, from our own faults.
func badBody(err error) error {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return err
	}
	return pgctl.Errorf(pgctl.CodeInvalid, "the body broke off: %v", err)
}

// notFound says that there is no such cluster, and which one was meant.
func notFound(state State, name string) error {
	e := pgctl.Errorf(pgctl.CodeNotFound, "there is no cluster %q", name)
	var names []string
	for c := range state.Clusters() {
		names = append(names, c.Name)
	}
	if near := pgctl.Nearest(name, names); near != "" {
		return e.WithHint("did you mean %s?", near)
	}
	return e.WithHint("pgctl list shows all clusters")
}
