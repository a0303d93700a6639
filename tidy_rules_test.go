package pgctl_test

import (
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rule is one check, with mistakes planted to prove that it catches.
type rule struct {
	name   string
	check  func(*tree)
	plants []plant
}

// plant is a small tree: one file, perhaps another beside it (and), and how many findings it gives.
type plant struct {
	file, text, and string
	found           int
	says            string
}

var rules = []rule{
	{"imports of our own packages", ownImports, ownImportPlants},
	{"libraries where they belong", libraries, libraryPlants},
	{"pure packages", pure, purePlants},
	{"sizes", sizes, sizePlants},
	{"package documentation", packageDocs, packageDocPlants},
	{"documented names", nameDocs, nameDocPlants},
	{"budget of the vocabulary", budget, budgetPlants},
	{"no init", noInit, noInitPlants},
	{"words", words, wordPlants},
	{"no local replacements", noReplace, noReplacePlants},
	{"skips say what is missing", skips, skipPlants},
}

// mayImport says which of our own packages those in a folder may import, beside the vocabulary and what
// lies below the folder itself. The longest matching folder counts.
var mayImport = map[string][]string{
	".":               {},
	"cmd":             {"."},
	"node":            {"node/ha", "node/placement", "node/rollout", "node/voters"},
	"node/ha":         {},
	"node/placement":  {},
	"node/rollout":    {},
	"node/voters":     {},
	"node/api":        {},
	"node/api/client": {"node/api"},
	"node/api/server": {"node/api"},
	"node/ui":         {"node/api"},
	"node/peer":       {},
	"node/discovery":  {},
	"node/gossip":     {},
	"raftstore":       {},
	"provision":       {},
	"monitor":         {},
	"pamoauth":        {},
	"lab":             {"node/api", "node/api/client", "packaging", "provision/pki"},
	"docs":            {},
	"examples":        {},
	"packaging":       {},
	"internal":        {}, // planted: every package may ask whether a rule is to be broken
	"tests":           {"node/api", "node/api/client"},
}

// under says whether a folder is another one or lies below it.
func under(dir, parent string) bool {
	return parent == "." || dir == parent || strings.HasPrefix(dir, parent+"/")
}

// unit is the folder that bounds what packages may import of each other: provision and node hold
// adapters that do not know each other, elsewhere it is the entry of the table.
func unit(dir, entry string) string {
	if entry == "provision" {
		if parts := strings.Split(dir, "/"); len(parts) > 1 {
			return parts[0] + "/" + parts[1]
		}
	}
	return entry
}

func ownImports(t *tree) {
	for _, s := range t.source(false) {
		dir, entry := s.dir(), ""
		for candidate := range mayImport {
			known := dir == candidate || candidate != "." && candidate != "node" && under(dir, candidate)
			if known && len(candidate) > len(entry) {
				entry = candidate
			}
		}
		if entry == "" {
			t.report(s.syntax.Package, "the table of imports does not know the folder %s: enter it in "+
				"docs/DESIGN.md and in mayImport", dir)
			continue
		}
		for imported, at := range s.imports() {
			own := imported == module || strings.HasPrefix(imported, module+"/")
			if !own || allowedImport(s, entry, strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")) {
				continue
			}
			t.report(at, "%s may not import %s: hand over a function or an interface in cmd", dir, imported)
		}
	}
}

func allowedImport(s *source, entry, imported string) bool {
	serving := under(imported, "node/api/server") || under(imported, "node/ui")
	file := path.Base(s.path)
	switch {
	case imported == "internal/planted":
		return true
	case imported == "": // the vocabulary
		return entry != "pamoauth"
	case entry == "cmd":
		return !serving || strings.HasPrefix(file, "daemon") || strings.HasPrefix(file, "dev")
	case entry == "node":
		return slices.Contains(mayImport[entry], imported)
	case entry != "." && under(imported, unit(s.dir(), entry)):
		return true
	}
	return slices.Contains(mayImport[entry], imported)
}

// belongs says which folders may import a library; tests may use pgx everywhere.
var belongs = map[string][]string{
	"github.com/urfave/cli":            {"cmd"},
	"github.com/BurntSushi/toml":       {"cmd"},
	"github.com/hashicorp/raft":        {"raftstore"},
	"github.com/hashicorp/raft-boltdb": {"raftstore"},
	"github.com/hashicorp/go-memdb":    {"raftstore"},
	"github.com/hashicorp/memberlist":  {"node/gossip"},
	"github.com/jackc/pgx":             {"provision/postgres", "monitor", "lab", "tests"},
	"github.com/miekg/dns":             {"node/discovery"},
	"golang.org/x/crypto/ssh":          {"provision"},
	"github.com/prometheus/procfs":     {"monitor"},
}

func libraries(t *tree) {
	for _, s := range t.source(true) {
		for imported, at := range s.imports() {
			if s.dir() == "." && !s.test() && strings.Contains(imported, ".") && imported != module+"/internal/planted" {
				t.report(at, "the root package imports the standard library only, not %s", imported)
			}
			for library, folders := range belongs {
				if !under(imported, library) || s.test() && library == "github.com/jackc/pgx" ||
					slices.ContainsFunc(folders, func(f string) bool { return under(s.dir(), f) }) {
					continue
				}
				t.report(at, "%s belongs in %s, not in %s", library, strings.Join(folders, ", "), s.dir())
			}
		}
	}
}

var (
	pureFolders = []string{".", "node/ha", "node/placement", "node/rollout", "node/voters"}
	pureFiles   = regexp.MustCompile(`^raftstore/(clusters|command|events|fsm|hosts|instances|leadership|secrets|settings|state|tx)\.go$`)
	impure      = regexp.MustCompile(`^(os|os/.*|net|net/(http|rpc|smtp).*|math/rand.*|crypto/rand|syscall|io/ioutil)$`)
	clocks      = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}
)

func pure(t *tree) {
	for _, s := range t.source(false) {
		if !slices.Contains(pureFolders, s.dir()) && !pureFiles.MatchString(s.path) {
			continue
		}
		for imported, at := range s.imports() {
			if impure.MatchString(imported) {
				t.report(at, "decisions do no I/O and draw no chance: take what %s would give as a value", imported)
			}
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.report(n.Pos(), "no goroutines in pure code: return what should be done")
			case *ast.SelectorExpr:
				if name, ok := n.X.(*ast.Ident); ok && name.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
					t.report(n.Pos(), "time.%s reads the clock: take a duration or an age as a value", n.Sel.Name)
				}
			}
			return true
		})
	}
}

func sizes(t *tree) {
	for _, s := range t.source(true) {
		if n := s.lines(); n > 400 {
			t.add(s.path, 401, "the file has "+strconv.Itoa(n)+" lines, 400 are allowed: split it by subject")
		}
		for _, d := range s.syntax.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || s.test() {
				continue
			}
			if n := t.set.Position(f.End()).Line - t.set.Position(f.Pos()).Line + 1; n > 70 {
				t.report(f.Pos(), "%s has %d lines, 70 are allowed: split it into steps with names", f.Name.Name, n)
			}
		}
	}
}

func packageDocs(t *tree) {
	all, docs := map[string][]*source{}, map[string][]*source{}
	for _, s := range t.source(true) {
		all[s.dir()] = append(all[s.dir()], s)
	}
	for dir, files := range all {
		if product := slices.DeleteFunc(slices.Clone(files), (*source).test); len(product) > 0 {
			files = product
		}
		for _, s := range files {
			if s.syntax.Doc != nil {
				docs[dir] = append(docs[dir], s)
			}
		}
		if len(docs[dir]) == 0 {
			t.report(files[0].syntax.Package, "no file of %s has a package comment: say what it is for", dir)
		}
		for _, s := range docs[dir][min(1, len(docs[dir])):] {
			t.report(s.syntax.Package, "%s has a package comment already, in %s: leave one", dir, docs[dir][0].path)
		}
	}
}

func nameDocs(t *tree) {
	for _, s := range t.source(false) {
		for _, d := range s.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
					t.report(d.Pos(), "%s has no doc comment: what it does, units, bounds, errors", d.Name.Name)
				}
			case *ast.GenDecl:
				for _, name := range exported(d) {
					if d.Doc == nil && name.doc == nil {
						t.report(name.Pos(), "%s has no doc comment: what it means, units, bounds", name.Name)
					}
				}
			}
		}
	}
}

// exportedReceiver is true for functions, and for methods of exported types.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if generic, ok := of.(*ast.IndexExpr); ok {
		of = generic.X
	}
	name, ok := of.(*ast.Ident)
	return ok && name.IsExported()
}

// named is an exported name of a declaration with its own comment.
type named struct {
	*ast.Ident
	doc *ast.CommentGroup
}

func exported(d *ast.GenDecl) []named {
	var found []named
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() {
				found = append(found, named{spec.Name, spec.Doc})
			}
		case *ast.ValueSpec:
			doc := spec.Doc
			if doc == nil {
				doc = spec.Comment
			}
			for _, name := range spec.Names {
				if name.IsExported() {
					found = append(found, named{name, doc})
				}
			}
		}
	}
	return found
}

func budget(t *tree) {
	const allowed = 80
	names := map[string]token.Pos{}
	for _, s := range t.source(false) {
		if s.dir() != "." {
			continue
		}
		for _, d := range s.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.IsExported() {
					names[d.Name.Name] = d.Pos()
				}
			case *ast.GenDecl:
				for _, name := range exported(d) {
					names[name.Name] = name.Pos()
				}
			}
		}
	}
	if len(names) > allowed {
		last := slices.Max(slices.Collect(maps.Values(names)))
		t.report(last, "the vocabulary has %d exported names, %d are allowed: leave what is not a noun of "+
			"the domain to whoever makes it", len(names), allowed)
	}
}

func noInit(t *tree) {
	for _, s := range t.source(true) {
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.report(f.Pos(), "init runs unasked: use a value, or a function that somebody calls")
			}
		}
	}
}

var forbidden = regexp.MustCompile(`(^|[^\w.])/(work|farm)/|\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

func words(t *tree) {
	for _, s := range t.files {
		if path.Base(s.path) == "go.sum" || !forbidden.MatchString(s.text) {
			continue
		}
		for i, line := range strings.Split(s.text, "\n") {
			if found := forbidden.FindString(line); found != "" {
				t.add(s.path, i+1, strconv.Quote(found)+": no machine's paths here, and open work is an issue")
			}
		}
	}
}

var localReplace = regexp.MustCompile(`=>\s*(\.{0,2}/|[A-Za-z]:)`)

func noReplace(t *tree) {
	for _, s := range t.files {
		if path.Base(s.path) != "go.mod" {
			continue
		}
		for i, line := range strings.Split(s.text, "\n") {
			if localReplace.MatchString(line) {
				t.add(s.path, i+1, "replaced by a local folder that others do not have: require a version")
			}
		}
	}
}

var missing = regexp.MustCompile(`(?i)\b(no|not|missing|without|needs?|needed|lacks?|cannot|left out|only)\b.*\w`)

func skips(t *tree) {
	for _, s := range t.source(true) {
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			called, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !s.test() || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, called.Sel.Name) {
				return true
			}
			reason := ""
			if len(call.Args) > 0 {
				ast.Inspect(call.Args[0], func(n ast.Node) bool {
					if literal, ok := n.(*ast.BasicLit); ok {
						reason += literal.Value
					}
					return true
				})
			}
			if !missing.MatchString(reason) {
				t.report(call.Pos(), `a skip says what is missing, as in t.Skip("needs PostgreSQL 17, which is not here")`)
			}
			return true
		})
	}
}
