// Package manifest turns declarations in the form of the Postgres operator's custom resource
// (acid.zalan.do/v1, kind postgresql; YAML or JSON, several documents a file) into pgctl.Cluster and
// back, and says what a change of a declaration would do. It does no I/O.
//
// A manifest that says something pgctl does not know, or could not honour without changing data,
// access or safety, is refused with every problem it has; what only Kubernetes can act on is accepted
// with a warning. docs/manifest.md lists every field.
package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pgctl/pgctl"
	"go.yaml.in/yaml/v3"
)

// MaxSize is the largest manifest file accepted, in bytes; whoever reads one may stop a byte later.
const MaxSize = 1 << 20

const (
	// What the values of a file may come to with aliases followed, in bytes with 16 for each value, so
	// that a few lines of aliases cannot stand for gigabytes. A file without them stays below it.
	maxExpanded = 4 * MaxSize
	maxEntries  = 10_000 // of one mapping or list that is read
	// The format itself needs eight levels; real pod templates in ignored fields about twenty.
	maxDepth = 100
	// More problems than that are one problem: not a manifest of ours.
	maxProblems = 100
)

// Options are what Parse takes from others.
type Options struct {
	// CheckParameters says what is wrong with server parameters of a major version: unknown names,
	// invalid values, settings that pgctl guards. The Field of an error is the parameter's name. With
	// nil, parameters are checked for their form only.
	CheckParameters func(version int, parameters map[string]string) []pgctl.Error
}

// Document is one cluster of a manifest file, with what was accepted but has no effect.
type Document struct {
	Cluster  pgctl.Cluster `json:"cluster"`
	Warnings []Warning     `json:"warnings,omitempty"`
}

// Warning is something a manifest says that has no effect here, or not the one it may seem to have.
type Warning struct {
	Path    string `json:"path"`
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// String is the warning on one line.
func (w Warning) String() string { return fmt.Sprintf("line %d: %s: %s", w.Line, w.Path, w.Message) }

// Parse reads the clusters that a file declares. It returns either all of them or Problems: everything
// that is wrong in the file, in the order of its lines. The name is only for messages.
func Parse(name string, data []byte, o Options) ([]Document, error) {
	f := &file{name: name, options: o, clusters: map[string]int{}}
	switch {
	case len(data) > MaxSize:
		f.add(0, "", pgctl.Errorf(pgctl.CodeInvalid, "is larger than %d KiB, the most there may be", MaxSize>>10).
			WithHint("split it into several files"))
	case !utf8.Valid(data):
		f.add(0, "", pgctl.Errorf(pgctl.CodeInvalid, "is not UTF-8 text"))
	case tagDirective.Match(data): // the parser takes time that grows with the square of their number
		f.add(0, "", pgctl.Errorf(pgctl.CodeInvalid, "has a %%TAG directive").
			WithHint("remove it; no tag means anything here"))
	default:
		f.parse(data)
	}
	if len(f.problems) > 0 {
		return nil, f.sorted()
	}
	return f.documents, nil
}

var tagDirective = regexp.MustCompile(`(^|[\n\r\x{85}\x{2028}\x{2029}\x{feff}])%TAG`)

// file is one Parse.
type file struct {
	name      string
	options   Options
	problems  Problems
	more      bool // problems beyond maxProblems
	documents []Document
	clusters  map[string]int // name → line where the file declares it
	expanded  int            // see maxExpanded; so far
}

func (f *file) parse(data []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		switch {
		case errors.Is(err, io.EOF):
			if len(f.documents)+len(f.problems) == 0 {
				f.add(0, "", pgctl.Errorf(pgctl.CodeInvalid, "holds no manifest").
					WithHint("it needs apiVersion, kind, metadata and spec"))
			}
			return
		case err != nil:
			f.syntax(err)
			return
		case len(root.Content) > 0 && !isNull(root.Content[0]):
			f.document(root.Content[0])
		}
	}
}

var syntaxPattern = regexp.MustCompile(`(?s)^yaml: (?:line ([0-9]+): )?(.*)$`)

// syntax reports what the YAML parser says, without its prefix.
func (f *file) syntax(err error) {
	line, text := 0, err.Error()
	if m := syntaxPattern.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", " ")
	f.add(line, "", pgctl.Errorf(pgctl.CodeInvalid, "is not valid YAML: %s", text).
		WithHint("look at this line and the one before: indentation, quotes, a missing colon or bracket"))
}

func (f *file) document(n *yaml.Node) {
	before := len(f.problems)
	f.structure(newPlace(nil, "", n), 0)
	if len(f.problems) > before {
		return // names that occur twice, or keys that are no names: what is meant is not clear
	}
	for _, item := range objects(n) {
		f.cluster(newPlace(nil, "", item))
	}
}

// objects are what a document declares: itself, or the items of a List, as kubectl writes several.
func objects(n *yaml.Node) []*yaml.Node {
	kind, items := "", (*yaml.Node)(nil)
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		switch n.Content[i].Value {
		case "kind":
			kind = n.Content[i+1].Value
		case "items":
			items = n.Content[i+1]
		}
	}
	if kind != "List" || items == nil || items.Kind != yaml.SequenceNode {
		return []*yaml.Node{n}
	}
	return items.Content
}

func (f *file) cluster(top *place) {
	before := len(f.problems)
	if before >= maxProblems {
		f.more = true
		return
	}
	r := &reader{file: f, lines: map[string]int{}}
	r.read(top)
	if len(f.problems) > before || f.more {
		return
	}
	if line, ok := f.clusters[r.cluster.Name]; ok {
		f.add(r.lineOf("metadata.name"), "metadata.name", pgctl.Errorf(pgctl.CodeInvalid,
			"%q is declared twice in this file, first in line %d", r.cluster.Name, line))
		return
	}
	f.clusters[r.cluster.Name] = r.lineOf("metadata.name")
	slices.SortStableFunc(r.warnings, func(a, b Warning) int { return cmp.Compare(a.Line, b.Line) })
	f.documents = append(f.documents, Document{Cluster: r.cluster, Warnings: r.warnings})
}
