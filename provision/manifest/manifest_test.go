package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
)

var update = flag.Bool("update", false, "write the golden files anew")

// checks stands for a server's own list of parameters.
var checks = Options{CheckParameters: func(version int, parameters map[string]string) []pgctl.Error {
	var list []pgctl.Error
	if _, ok := parameters["fsync"]; ok {
		list = append(list, *pgctl.Errorf(pgctl.CodeRefused, "is set by pgctl").At("fsync"))
	}
	if _, ok := parameters["shared_bufers"]; ok {
		list = append(list, *pgctl.Errorf(pgctl.CodeInvalid, "is not a parameter of PostgreSQL %d", version).
			At("shared_bufers").WithHint("did you mean shared_buffers?"))
	}
	return list
}}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew); got:\n%s", path, got)
	}
}

func inputs(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s (%v)", pattern, err)
	}
	return files
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGood(t *testing.T) {
	for _, path := range append(inputs(t, "testdata/good/*.yaml"), inputs(t, "testdata/good/*.json")...) {
		documents, err := Parse(filepath.Base(path), read(t, path), checks)
		if err != nil {
			t.Error(err)
			continue
		}
		var out strings.Builder
		for _, d := range documents {
			fmt.Fprintln(&out, "---")
			for _, w := range d.Warnings {
				fmt.Fprintln(&out, "#", w)
			}
			text, err := Encode(&d.Cluster)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(text)
		}
		golden(t, path+".golden", out.String())
	}
}

func TestBad(t *testing.T) {
	for _, path := range append(inputs(t, "testdata/bad/*.yaml"), inputs(t, "testdata/bad/*.json")...) {
		documents, err := Parse(filepath.Base(path), read(t, path), checks)
		if err == nil || documents != nil {
			t.Errorf("%s: %v, %v: want an error and nothing else", path, documents, err)
			continue
		}
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: a secret is in the message: %v", path, err)
		}
		golden(t, path+".golden", err.Error()+"\n")
	}
}

func TestExamples(t *testing.T) {
	for _, path := range inputs(t, "../../examples/*.yaml") {
		documents, err := Parse(path, read(t, path), Options{})
		if err != nil {
			t.Error(err)
		}
		for _, d := range documents {
			if len(d.Warnings) > 0 {
				t.Errorf("%s: %v", path, d.Warnings)
			}
		}
	}
}

func TestDocumented(t *testing.T) {
	text := string(read(t, "../../docs/manifest.md"))
	known := append(append(append([]string{}, userFlags...), initdbOptions...), versions...)
	for _, f := range fields {
		known = append(known, f.path)
	}
	for _, name := range known {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/manifest.md does not mention `%s`", name)
		}
	}
}

func TestTableIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range fields {
		above, _ := splitPath(f.path)
		if seen[f.path] || above != "" && !seen[above] {
			t.Errorf("%s is there twice, or before its section", f.path)
		}
		seen[f.path] = true
		explained := f.treatment == ignored || f.treatment == refused
		if (f.treatment == used) != (f.read != nil) || (f.note != "") != explained {
			t.Errorf("%s: a used field is read, others say why they are not", f.path)
		}
	}
}

func TestErrorsAreOurs(t *testing.T) {
	_, err := Parse("x.yaml", []byte("a: b"), Options{})
	var problems Problems
	if !errors.As(err, &problems) || problems[0].File != "x.yaml" || problems[0].Line != 1 {
		t.Errorf("%#v", err)
	}
	one, ok := errors.AsType[*pgctl.Error](err)
	if !ok || one.Code != pgctl.CodeInvalid || one.Message != err.Error() {
		t.Errorf("%+v", one)
	}
	_, err = Parse("x.yaml", []byte(head+"  clone: {cluster: a}\n"), Options{})
	if pgctl.CodeOf(err) != pgctl.CodeRefused {
		t.Errorf("%v: code %q", err, pgctl.CodeOf(err))
	}
	if text, err := json.Marshal(problems[0]); err != nil || !strings.Contains(string(text), `"field":"apiVersion"`) {
		t.Errorf("%s %v", text, err)
	}
}

const head = "apiVersion: acid.zalan.do/v1\nkind: postgresql\nmetadata: {name: big}\n" +
	"spec:\n  numberOfInstances: 1\n  postgresql: {version: 15}\n"

func TestHostile(t *testing.T) {
	many := func(s string) string { return strings.Repeat(s, 16<<10/len(s)) }
	var users strings.Builder
	for i := range 200 {
		fmt.Fprintf(&users, "    u%d: *f\n", i)
	}
	var databases strings.Builder
	for i := range 1_000 {
		fmt.Fprintf(&databases, "    d%d: nobody%d\n", i, i)
	}
	cases := map[string]struct{ text, says string }{
		"owners":     {head + "  databases:\n" + databases.String(), "not among spec.users"},
		"10 MB":      {strings.Repeat("# much\n", 10<<20/7), "larger than 1024 KiB"},
		"not text":   {"\xff\xfe", "not UTF-8"},
		"NUL":        {head + "  teamId: \"\\0\"\n", "control character"},
		"raw NUL":    {head + "  teamId: \x00\n", "not valid YAML"},
		"deep flow":  {head + "  sidecars: " + many("["), "not valid YAML"},
		"deep":       {head + "  sidecars: " + strings.Repeat("[", 300) + strings.Repeat("]", 300), "nested deeper"},
		"deep keys":  {head + "  sidecars: " + strings.Repeat("{a: ", 300) + strings.Repeat("}", 300), "nested deeper"},
		"cycle":      {head + "  users: &u {a: *u}\n", "must be a list"},
		"cycle list": {head + "  users: &u\n    a: &l [*l]\n", "must be a string"},
		"aliases": {
			head + "  users:\n    first: &f [" + strings.Repeat("login, ", 4_000) + "login]\n" + users.String(),
			"aliases followed",
		},
		"aliases of long text": {
			head + "  databases:\n    a: &a \"" + strings.Repeat("x", 64<<10) + "\"\n" +
				strings.ReplaceAll(users.String(), "*f", "*a"),
			"aliases followed",
		},
		"entries":    {head + "  patroni: {pg_hba: [" + strings.Repeat("a,", 10_001) + "]}\n", "more than 10000 entries"},
		"wide":       {head + "  sidecars: [" + many("[], ") + "]\n  x: 1\n", "not a known field"},
		"documents":  {many("---\n{}\n"), "more problems than these"},
		"unknown":    {head + many("  aaaaaaaa: 1\n"), "more problems than these"},
		"long name":  {head + "  " + many("x") + ": 1\n", "could not find"},
		"long key":   {"? " + many("x") + "\n: 1\n" + head, "xxx…: is not a known field"},
		"comments":   {many("#\n"), "holds no manifest"},
		"anchors":    {head + "  sidecars: [" + many("&a 1, ") + "]\n  x: 1\n", "not a known field"},
		"quoted":     {head + "  x: \"" + many(`\n`) + "\"\n", "not a known field"},
		"directives": {many("%TAG !a! b\n") + head, "%TAG directive"},
		"tag":        {head + "  teamId: !!binary aGk=\n", "must be"},
		"annotation": {strings.Replace(head, "big", "big, annotations: {a: "+strings.Repeat("x", 70_000)+"}", 1), "65536"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("hostile.yaml", []byte(c.text), Options{})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %.500v; want it to say %q", err, c.says)
			}
			if err != nil && len(err.Error()) > 64<<10 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			} else if testing.Verbose() {
				t.Log(took)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*", "testdata/bad/*", "../../examples/*.yaml"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		documents, err := Parse("fuzz", data, checks)
		if err != nil && (len(documents) > 0 || err.Error() == "") {
			t.Fatalf("%d documents, error %q", len(documents), err)
		}
		for _, d := range documents {
			again(t, &d.Cluster)
		}
	})
}

// again checks that a cluster comes back from its own manifest as it was.
func again(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, c *pgctl.Cluster,
) {
	t.Helper()
	text, err := Encode(c)
	if err != nil {
		t.Fatalf("%v", err)
	}
	documents, err := Parse("encoded", text, Options{})
	if err != nil || len(documents) != 1 {
		t.Fatalf("%v\n%s", err, text)
	}
	if !reflect.DeepEqual(documents[0].Cluster, *c) {
		t.Fatalf("got  %+v\nwant %+v\n%s", documents[0].Cluster, *c, text)
	}
	if second, err := Encode(&documents[0].Cluster); err != nil || !bytes.Equal(second, text) {
		t.Fatalf("%v: written differently the second time:\n%s", err, second)
	}
}
