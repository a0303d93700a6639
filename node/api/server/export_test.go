package server

import "testing"

// Patterns are all routes, in the mux's notation, and their paths.
func Patterns() map[string]string {
	out := map[string]string{}
	for _, r := range routes() {
		out[r.method+" "+r.path] = r.path
	}
	return out
}

// Described holds an answer against the OpenAPI document.
func Described(t *testing.T, method, pattern string, status int, contentType string, body []byte) {
	t.Helper()
	checkAnswer(t, readOpenAPI(t), method, pattern, status, contentType, body)
}
