package manifest

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/pgctl/pgctl"
	"go.yaml.in/yaml/v3"
)

// place is a value in a document, with the way to it. Paths are rendered only when somebody needs one.
type place struct {
	parent *place
	name   string // the key, or "[3]"
	line   int    // where the value is used, for an alias too
	node   *yaml.Node
}

// newPlace follows an alias: one step is enough, the parser does not make aliases of aliases.
func newPlace(parent *place, name string, node *yaml.Node) *place {
	p := &place{parent: parent, name: name, line: node.Line, node: node}
	if node.Kind == yaml.AliasNode {
		p.node = node.Alias
	}
	return p
}

func (p *place) path() string {
	if p.parent == nil {
		return ""
	}
	above, name := p.parent.path(), shortened(p.name)
	if above == "" || strings.HasPrefix(name, "[") {
		return above + name
	}
	return above + "." + name
}

// shortened keeps messages readable whatever the input is.
func shortened(s string) string {
	if runes := []rune(s); len(runes) > 64 {
		s = string(runes[:63]) + "…"
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return '?'
		}
		return c
	}, s)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// isSet says whether a value asks for something: it is not null, false or empty.
func isSet(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.ScalarNode:
		return !isNull(n) && n.Value != "" && (n.ShortTag() != "!!bool" || strings.EqualFold(n.Value, "true"))
	default:
		return len(n.Content) > 0
	}
}

// structure reports what no reader of a document can make sense of, in ignored fields too: names that
// occur twice, keys that are not names, nesting without end. It does not follow aliases.
func (f *file) structure(p *place, depth int) {
	if depth > maxDepth {
		f.add(p.line, "", pgctl.Errorf(pgctl.CodeInvalid, "is nested deeper than %d levels", maxDepth))
		return
	}
	content := p.node.Content
	switch {
	case p.node.Kind == yaml.SequenceNode:
		for i, n := range content {
			f.below(p, "["+strconv.Itoa(i)+"]", n, depth)
		}
	case p.node.Kind == yaml.MappingNode:
		lines := make(map[string]int, len(content)/2)
		for i := 0; i+1 < len(content); i += 2 {
			key := content[i]
			at := &place{parent: p, name: key.Value, line: key.Line}
			first, twice := lines[key.Value]
			switch {
			case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
				f.add(key.Line, p.path(), pgctl.Errorf(pgctl.CodeInvalid, "has a key that is not a plain name").
					WithHint("write every field out; merge keys (<<) and compound keys are not supported"))
				continue
			case twice:
				f.add(key.Line, at.path(), pgctl.Errorf(pgctl.CodeInvalid, "is there twice, first in line %d", first).
					WithHint("remove one of them"))
				continue
			}
			lines[key.Value] = key.Line
			f.below(p, key.Value, content[i+1], depth)
		}
	}
}

func (f *file) below(parent *place, name string, n *yaml.Node, depth int) {
	if len(n.Content) > 0 {
		f.structure(newPlace(parent, name, n), depth+1)
	}
}

// The words for what a value is and should be.
const (
	aMapping = "a mapping (name: value)"
	aList    = "a list"
	aString  = "a string"
	aNumber  = "a whole number"
	aBoolean = "true or false"
)

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return aMapping
	case yaml.SequenceNode:
		return aList
	}
	switch n.ShortTag() {
	case "!!str":
		return aString
	case "!!int":
		return aNumber
	case "!!bool":
		return "a boolean"
	case "!!null":
		return "empty"
	case "!!float":
		return "a fraction"
	case "!!timestamp":
		return "a date"
	}
	return "of the type " + shortened(n.ShortTag())
}

func (r *reader) wrongType(p *place, want string) {
	r.problem(p, pgctl.Errorf(pgctl.CodeInvalid, "must be %s, not %s", want, kindOf(p.node)))
}

// children are the values of a mapping or list; false when it is something else, or too much.
func (r *reader) children(p *place, kind yaml.Kind) ([]*place, bool) {
	if p.node.Kind != kind {
		r.wrongType(p, map[yaml.Kind]string{yaml.MappingNode: aMapping, yaml.SequenceNode: aList}[kind])
		return nil, false
	}
	content := p.node.Content
	entries := len(content)
	if kind == yaml.MappingNode {
		entries /= 2
	}
	if entries > maxEntries {
		r.invalid(p, "has more than %d entries", maxEntries)
		return nil, false
	}
	var list []*place
	for i, n := range content {
		var child *place
		switch {
		case kind == yaml.SequenceNode:
			child = newPlace(p, "["+strconv.Itoa(i)+"]", n)
		case i%2 == 0:
			continue // a key
		default:
			child = newPlace(p, content[i-1].Value, n)
			if len(child.node.Content) > 0 {
				child.line = content[i-1].Line // where the field is, not where its first entry begins
			}
			r.lines[child.path()] = child.line
		}
		list = append(list, child)
		if r.file.expanded += 16 + len(child.node.Value); r.file.expanded > maxExpanded {
			r.invalid(p, "makes the file larger than %d KiB, aliases followed", maxExpanded>>10)
			return nil, false
		}
	}
	return list, true
}

func (r *reader) mapping(p *place) []*place { list, _ := r.children(p, yaml.MappingNode); return list }

func (r *reader) list(p *place) []*place { list, _ := r.children(p, yaml.SequenceNode); return list }

// scalar is the text of a string, number or boolean on one line; so as the file has it ("on", "1.10").
func (r *reader) scalar(p *place) (string, bool) {
	if p.node.Kind != yaml.ScalarNode || isNull(p.node) || p.node.ShortTag() == "!!binary" {
		r.wrongType(p, "a string or a number")
		return "", false
	}
	return p.node.Value, r.printable(p)
}

func (r *reader) text(p *place) (string, bool) {
	if p.node.Kind != yaml.ScalarNode || p.node.ShortTag() != "!!str" {
		e := pgctl.Errorf(pgctl.CodeInvalid, "must be %s, not %s", aString, kindOf(p.node))
		if p.node.Kind == yaml.ScalarNode && !isNull(p.node) {
			e = e.WithHint("put it in quotes")
		}
		r.problem(p, e)
		return "", false
	}
	return p.node.Value, r.printable(p)
}

func (r *reader) printable(p *place) bool {
	for _, c := range p.node.Value {
		if unicode.IsControl(c) && c != '\t' {
			r.problem(p, pgctl.Errorf(pgctl.CodeInvalid, "has a control character (%U); it must be one line of text", c))
			return false
		}
	}
	return true
}

func (r *reader) integer(p *place, low, high int64) (int64, bool) {
	if p.node.Kind != yaml.ScalarNode || p.node.ShortTag() != "!!int" {
		r.wrongType(p, aNumber)
		return 0, false
	}
	n, err := strconv.ParseInt(p.node.Value, 10, 64)
	if err != nil || n < low || n > high {
		r.problem(p, pgctl.Errorf(pgctl.CodeInvalid, "must be a whole number from %d to %d, not %s",
			low, high, shortened(p.node.Value)))
		return 0, false
	}
	return n, true
}

func (r *reader) boolean(p *place) (value, ok bool) {
	if p.node.Kind != yaml.ScalarNode || p.node.ShortTag() != "!!bool" {
		r.wrongType(p, aBoolean)
		return false, false
	}
	return strings.EqualFold(p.node.Value, "true"), true
}
