package pgctl_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// The rules of docs/DESIGN.md that a machine can check. A rule that cannot fail is no rule: each has
// planted mistakes in tidy_rules_test.go, and TestTidyRulesCatch shows that it finds them.

const module = "github.com/pgctl/pgctl"

// source is one file of the tree; syntax is nil for what is not Go.
type source struct {
	path   string // from the root, with slashes
	text   string
	syntax *ast.File
}

func (s *source) dir() string  { return path.Dir(s.path) }
func (s *source) test() bool   { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) lines() int   { return strings.Count(s.text, "\n") }
func (s *source) parsed() bool { return s.syntax != nil }

// imports are the paths that a Go file imports, with their positions.
func (s *source) imports() map[string]token.Pos {
	found := map[string]token.Pos{}
	for _, spec := range s.syntax.Imports {
		found[strings.Trim(spec.Path.Value, `"`)] = spec.Pos()
	}
	return found
}

// tree is what the rules look at; findings collects what they say.
type tree struct {
	set      *token.FileSet
	files    []*source
	findings []string
}

// report adds a finding with the place it was found at and what to do.
func (t *tree) report(at token.Pos, format string, args ...any) {
	t.add(t.set.Position(at).Filename, t.set.Position(at).Line, fmt.Sprintf(format, args...))
}

func (t *tree) add(file string, line int, message string) {
	t.findings = append(t.findings, fmt.Sprintf("%s:%d: %s", file, line, message))
}

// source yields the Go files; those of tests too where tests is set.
func (t *tree) source(tests bool) []*source {
	return slices.DeleteFunc(slices.Clone(t.files), func(s *source) bool {
		return !s.parsed() || s.test() && !tests
	})
}

// load reads a tree, without what .gitignore names.
func load(files fs.FS) (*tree, error) {
	t := &tree{set: token.NewFileSet()}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains([]string{".git", "bin", "dist", "node_modules"}, name) {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || strings.HasSuffix(name, ".test") || strings.HasSuffix(name, ".prof") {
			return nil
		}
		text, err := fs.ReadFile(files, name)
		if err != nil || bytes.IndexByte(text[:min(len(text), 8000)], 0) >= 0 { // a picture, or what somebody built
			return err
		}
		s := &source{path: name, text: string(text)}
		if strings.HasSuffix(name, ".go") && !strings.Contains(name, "testdata/") {
			s.syntax, err = parser.ParseFile(t.set, name, text, parser.ParseComments|parser.SkipObjectResolution)
		}
		t.files = append(t.files, s)
		return err
	})
	return t, err
}

func TestTidy(t *testing.T) {
	loaded, err := load(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			loaded.findings = nil
			r.check(loaded)
			for _, finding := range loaded.findings {
				t.Error(finding)
			}
		})
	}
}

// TestTidyRulesCatch plants mistakes in small trees: each rule finds every one of its own, and nothing
// in what is right.
func TestTidyRulesCatch(t *testing.T) {
	for _, r := range rules {
		for _, plant := range r.plants {
			t.Run(r.name+"/"+plant.file, func(t *testing.T) {
				files := fstest.MapFS{plant.file: {Data: []byte(plant.text)}}
				if plant.and != "" {
					files[path.Join(path.Dir(plant.file), "other.go")] = &fstest.MapFile{Data: []byte(plant.and)}
				}
				loaded, err := load(files)
				if err != nil {
					t.Fatal(err)
				}
				r.check(loaded)
				if len(loaded.findings) != plant.found {
					t.Errorf("found %d mistakes instead of %d in\n%s\n%s",
						len(loaded.findings), plant.found, plant.text, strings.Join(loaded.findings, "\n"))
				}
				for _, finding := range loaded.findings {
					if !strings.Contains(finding, plant.says) {
						t.Errorf("%q does not say %q", finding, plant.says)
					}
				}
			})
		}
		if !slices.ContainsFunc(r.plants, func(p plant) bool { return p.found > 0 }) {
			t.Errorf("the rule %q has no planted mistake", r.name)
		}
	}
}
