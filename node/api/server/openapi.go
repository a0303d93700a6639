package server

import (
	_ "embed"
	"net/http"
	"strconv"

	"github.com/pgctl/pgctl/node/api"
)

//go:embed openapi.yaml
var openAPIDocument []byte

// openAPI serves the description of this API.
func (s *server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	m := s.now()
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set(api.HeaderIndex, strconv.FormatUint(m.Index, 10))
	w.Header().Set(api.HeaderAge, strconv.FormatInt(m.AgeMs, 10))
	_, _ = w.Write(openAPIDocument) // a client that is gone needs no answer
	return nil
}
