package server

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// openAPIDoc is the part of the document that is compared with the handlers.
type openAPIDoc struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	Security  *[]any              `json:"security"`
	Responses map[string]response `json:"responses"`
}

type response struct {
	Ref     string           `json:"$ref"`
	Content map[string]media `json:"content"`
}

type media struct {
	Schema schema `json:"schema"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       string            `json:"type"`
	Required   []string          `json:"required"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	OneOf      []schema          `json:"oneOf"`
}

// parseOpenAPI reads the document once; it is large.
var parseOpenAPI = sync.OnceValues(func() (doc openAPIDoc, err error) {
	err = yaml.Unmarshal(openAPIDocument, &doc)
	return doc, err
})

func readOpenAPI(t *testing.T) openAPIDoc {
	t.Helper()
	doc, err := parseOpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestOpenAPIHasExactlyTheRoutes(t *testing.T) {
	doc := readOpenAPI(t)
	var served, described []string
	for _, r := range routes() {
		path := strings.TrimPrefix(r.path, api.Prefix)
		served = append(served, r.method+" "+path)
		o := doc.Paths[path][strings.ToLower(r.method)]
		if public := o.Security != nil && len(*o.Security) == 0; public != (r.access == AccessPublic) {
			t.Errorf("%s %s: served without a certificate: %v, described so: %v", r.method, path, !public, public)
		}
		for _, status := range []string{"401", "403", "500", "503"} {
			if _, ok := o.Responses[status]; !ok && r.access != AccessPublic {
				t.Errorf("%s %s: status %s is not described", r.method, path, status)
			}
		}
	}
	for path, operations := range doc.Paths {
		for method := range operations {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		t.Errorf("served:\n%s\ndescribed:\n%s", strings.Join(served, "\n"), strings.Join(described, "\n"))
	}
}

func TestOpenAPIStatuses(t *testing.T) {
	doc := readOpenAPI(t)
	known := []string{"200", "403", "413"}
	for _, status := range statuses {
		known = append(known, jsonText(t, status))
	}
	for path, operations := range doc.Paths {
		for method, o := range operations {
			for status := range o.Responses {
				if !slices.Contains(known, status) {
					t.Errorf("%s %s: no handler answers %s", method, path, status)
				}
			}
		}
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestOpenAPISchemasAreTheGoTypes(t *testing.T) {
	doc := readOpenAPI(t)
	seen := map[string]bool{}
	for _, v := range []any{
		api.Clusters{},
		api.ClusterDetail{},
		api.Changed{},
		api.ApplyResult{},
		api.Move{},
		api.Order{},
		api.Password{},
		api.Hosts{},
		api.Servers{},
		api.Events{},
		api.Setting{},
		api.Settings{},
		api.Version{},
		api.Alive{},
		api.Endpoints{},
		api.Statuses{},
		api.Status{},
		pgctl.Error{},
	} {
		compareSchema(t, doc, reflect.TypeOf(v), seen)
	}
	for name := range doc.Components.Schemas {
		if !seen[name] {
			t.Errorf("schema %s describes nothing that is sent", name)
		}
	}
}

// compareSchema holds a type's fields and the schema of its name together, and all types below.
func compareSchema(t *testing.T, doc openAPIDoc, of reflect.Type, seen map[string]bool) {
	t.Helper()
	if seen[of.Name()] {
		return
	}
	seen[of.Name()] = true
	s, ok := doc.Components.Schemas[of.Name()]
	if !ok {
		t.Errorf("there is no schema %s", of.Name())
		return
	}
	required := []string{}
	properties := map[string]bool{}
	for _, f := range reflect.VisibleFields(of) {
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue // embedded: its fields are visible too
		}
		properties[name] = true
		if option != "omitempty" {
			required = append(required, name)
		}
		compareProperty(t, doc, of.Name()+"."+name, s.Properties[name], f.Type, seen)
	}
	slices.Sort(required)
	slices.Sort(s.Required)
	if !slices.Equal(required, s.Required) {
		t.Errorf("%s: required are %v, the schema says %v", of.Name(), required, s.Required)
	}
	for name := range s.Properties {
		if !properties[name] {
			t.Errorf("%s has no field %s", of.Name(), name)
		}
	}
}

// compareProperty compares one field's type.
func compareProperty(t *testing.T, doc openAPIDoc, name string, s schema, of reflect.Type, seen map[string]bool) {
	t.Helper()
	want := ""
	switch {
	case of == reflect.TypeFor[json.RawMessage]():
		return
	case of == reflect.TypeFor[time.Time](), of == reflect.TypeFor[pgctl.LSN]():
		want = "string"
	case of.Kind() == reflect.Pointer:
		if len(s.OneOf) > 0 {
			s = s.OneOf[0]
		}
		compareProperty(t, doc, name, s, of.Elem(), seen)
		return
	case of.Kind() == reflect.Struct:
		if s.Ref != "#/components/schemas/"+of.Name() {
			t.Errorf("%s is a %s, the schema says %q", name, of.Name(), s.Ref)
		}
		compareSchema(t, doc, of, seen)
		return
	case of.Kind() == reflect.Slice && s.Items != nil:
		compareProperty(t, doc, name+"[]", *s.Items, of.Elem(), seen)
		want = "array"
	case of.Kind() == reflect.Map:
		want = "object"
	case of.Kind() == reflect.String:
		want = "string"
	case of.Kind() == reflect.Bool:
		want = "boolean"
	default:
		want = "integer"
	}
	if s.Type != want {
		t.Errorf("%s is %s, the schema says %q", name, want, s.Type)
	}
}

// checkAnswer holds one answer against what the document says of its operation.
func checkAnswer(t *testing.T, doc openAPIDoc, method, pattern string, status int, contentType string, body []byte) {
	t.Helper()
	o := doc.Paths[strings.TrimPrefix(pattern, api.Prefix)][strings.ToLower(method)]
	described, ok := o.Responses[jsonText(t, status)]
	if !ok {
		t.Errorf("%s %s: status %d is not described", method, pattern, status)
		return
	}
	s := schema{Ref: "#/components/schemas/Error"}
	if status == http.StatusOK {
		m, ok := described.Content[contentType]
		if !ok {
			t.Errorf("%s %s: content type %s is not described", method, pattern, contentType)
			return
		}
		s = m.Schema
	}
	if contentType != "application/json" || s.Ref == "" {
		return
	}
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Errorf("%s %s: %v in %s", method, pattern, err, body)
	}
	for _, name := range doc.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")].Required {
		if _, ok := fields[name]; !ok {
			t.Errorf("%s %s: the answer lacks %s: %s", method, pattern, name, body)
		}
	}
}
