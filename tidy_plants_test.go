package pgctl_test

import "strings"

// The planted mistakes, and beside them things that only look like one (found: 0).

// header is a documented package with an import.
func header(name, imported string) string {
	return "// Package " + name + " is planted.\npackage " + name + "\n\nimport _ \"" + imported + "\"\n"
}

var ownImportPlants = []plant{
	{file: "node/ha/a.go", text: header("ha", module), found: 0},
	{file: "node/ha/b.go", text: header("ha", module+"/raftstore"), found: 1, says: "may not import"},
	{file: "node/ha/sim/a.go", text: header("sim", module+"/node/ha"), found: 0},
	{file: "cluster.go", text: header("pgctl", module+"/node"), found: 1, says: "may not import"},
	{file: "node/a.go", text: header("node", module+"/node/ha"), found: 0},
	{file: "node/b.go", text: header("node", module+"/node/gossip"), found: 1, says: "may not import"},
	{file: "node/elsewhere/a.go", text: header("elsewhere", module), found: 1, says: "does not know"},
	{file: "raftstore/a.go", text: header("raftstore", module+"/node/api"), found: 1, says: "may not import"},
	{file: "provision/postgres/sync/a.go", text: header("sync", module+"/provision/postgres/config"), found: 0},
	{file: "provision/postgres/a.go", text: header("postgres", module+"/provision/process"), found: 1, says: "may not"},
	{file: "node/api/client/a.go", text: header("client", module+"/node/api"), found: 0},
	{file: "node/api/client/b.go", text: header("client", module+"/node/api/server"), found: 1, says: "may not import"},
	{file: "node/api/a.go", text: header("api", module+"/provision/manifest"), found: 1, says: "may not import"},
	{file: "cmd/pgctl/daemon.go", text: header("main", module+"/node/api/server"), found: 0},
	{file: "cmd/pgctl/list.go", text: header("main", module+"/node/api/server"), found: 1, says: "may not import"},
	{file: "pamoauth/a.go", text: header("pamoauth", module), found: 1, says: "may not import"},
	{file: "somewhere/a.go", text: header("somewhere", "fmt"), found: 1, says: "does not know"},
}

var libraryPlants = []plant{
	{file: "cmd/pgctl/main.go", text: header("main", "github.com/urfave/cli/v2"), found: 0},
	{file: "node/api/a.go", text: header("api", "github.com/urfave/cli/v2"), found: 1, says: "belongs in cmd"},
	{file: "raftstore/a.go", text: header("raftstore", "github.com/hashicorp/raft"), found: 0},
	{file: "raftstore/b.go", text: header("raftstore", "github.com/hashicorp/memberlist"), found: 1, says: "belongs in"},
	{file: "node/a.go", text: header("node", "github.com/hashicorp/raft"), found: 1, says: "belongs in raftstore"},
	{file: "node/b.go", text: header("node", "github.com/BurntSushi/toml"), found: 1, says: "belongs in cmd"},
	{file: "node/peer/a.go", text: header("peer", "github.com/jackc/pgx/v5"), found: 1, says: "belongs in"},
	{file: "node/peer/a_test.go", text: header("peer", "github.com/jackc/pgx/v5"), found: 0},
	{file: "lsn.go", text: header("pgctl", "golang.org/x/sync/errgroup"), found: 1, says: "standard library only"},
}

var purePlants = []plant{
	{file: "node/ha/clock.go", text: "package ha\nimport \"time\"\nvar _ = time.Now()", found: 1, says: "reads the clock"},
	{file: "node/ha/age.go", text: "package ha\nimport \"time\"\nvar _ = time.Second", found: 0},
	{file: "node/ha/clock_test.go", text: "package ha\nimport \"time\"\nvar _ = time.Now()", found: 0},
	{file: "raftstore/fsm.go", text: "package raftstore\nimport \"time\"\nvar _ = time.Since(x)", found: 1, says: "clock"},
	{file: "raftstore/store.go", text: "package raftstore\nimport \"time\"\nvar _ = time.Since(x)", found: 0},
	{file: "raftstore/events.go", text: header("raftstore", "math/rand/v2"), found: 1, says: "chance"},
	{file: "node/placement/a.go", text: header("placement", "crypto/rand"), found: 1, says: "no I/O"},
	{file: "node/voters/a.go", text: header("voters", "os"), found: 1, says: "no I/O"},
	{file: "node/rollout/a.go", text: header("rollout", "net"), found: 1, says: "no I/O"},
	{file: "node/rollout/b.go", text: header("rollout", "net/netip"), found: 0},
	{file: "lsn.go", text: "package pgctl\nfunc f() { go f() }", found: 1, says: "no goroutines"},
}

var sizePlants = []plant{
	{file: "a/long.go", text: "package a\n" + strings.Repeat("\n", 400), found: 1, says: "401 lines"},
	{file: "a/long_test.go", text: "package a\n" + strings.Repeat("\n", 400), found: 1, says: "401 lines"},
	{file: "a/fits.go", text: "package a\n" + strings.Repeat("\n", 399), found: 0},
	{file: "a/f.go", text: "package a\nfunc f() {" + strings.Repeat("\n", 70) + "}", found: 1, says: "f has 71 lines"},
	{file: "a/g.go", text: "package a\nfunc g() {" + strings.Repeat("\n", 69) + "}", found: 0},
	{file: "a/f_test.go", text: "package a\nfunc f() {" + strings.Repeat("\n", 70) + "}", found: 0},
}

var packageDocPlants = []plant{
	{file: "a/a.go", text: "package a", found: 1, says: "no file of a has"},
	{file: "b/b.go", text: "// Package b is.\npackage b", and: "// Package b is too.\npackage b", found: 1, says: "already"},
	{file: "c/c.go", text: "// Package c is.\npackage c", and: "package c", found: 0},
	{file: "d/d_test.go", text: "package d", found: 1, says: "no file of d has"},
	{file: "e/e_test.go", text: "package e", and: "// Package e is.\npackage e", found: 0},
}

var nameDocPlants = []plant{
	{file: "a/f.go", text: "package a\nfunc F() {}", found: 1, says: "F has no doc comment"},
	{file: "a/documented.go", text: "package a\n\n// F does.\nfunc F() {}\nfunc f() {}\n", found: 0},
	{file: "a/method.go", text: "package a\ntype t int\nfunc (t) F() {}\n// T is.\ntype T[A any] int\nfunc (*T[A]) F() {}", found: 1, says: "F has"},
	{file: "a/type.go", text: "package a\ntype T struct{ Field int }", found: 1, says: "T has no doc comment"},
	{file: "a/group.go", text: "package a\n// These are.\nconst (\nA = 1\nB = 2\n)\nvar (\nC = 3\nD = 4 // is four\n)", found: 1, says: "C has"},
	{file: "a/f_test.go", text: "package a\nfunc F() {}", found: 0},
}

var budgetPlants = []plant{
	{file: "many.go", text: "package pgctl\n" + manyNames(81), found: 1, says: "81 exported names"},
	{file: "enough.go", text: "package pgctl\n" + manyNames(80), found: 0},
	{file: "node/many.go", text: "package node\n" + manyNames(81), found: 0},
}

// manyNames declares n functions with names of growing length.
func manyNames(n int) string {
	var text strings.Builder
	for i := range n {
		text.WriteString("func F" + strings.Repeat("f", i) + "() {}\n")
	}
	return text.String()
}

var noInitPlants = []plant{
	{file: "a/a.go", text: "package a\nfunc init() {}", found: 1, says: "init runs unasked"},
	{file: "a/b.go", text: "package a\ntype t int\nfunc (t) init() {}", found: 0},
}

var wordPlants = []plant{
	{file: "docs/a.md", text: "see\n/wor" + "k/main", found: 1, says: "docs/a.md:2"},
	{file: "a/a.go", text: "package a // TO" + "DO later", found: 1, says: "open work is an issue"},
	{file: "scripts/a", text: "FIX" + "ME\nX" + "XX\n", found: 2, says: "open work"},
	{file: "scripts/b", text: "mktemp /tmp/XXXXXX\nhttps://example.org/wor" + "k/x TODOS", found: 0},
}

var noReplacePlants = []plant{
	{file: "go.mod", text: "module a\nreplace b => ../b", found: 1, says: "go.mod:2"},
	{file: "lab/go.mod", text: "module a\nreplace b => /tmp/b", found: 1, says: "lab/go.mod:2"},
	{file: "tools/go.mod", text: "module a\nreplace b => example.org/b v1.0.0", found: 0},
}

var skipPlants = []plant{
	{file: "a/a_test.go", text: "package a\nfunc f() { t.Skip() }", found: 1, says: "says what is missing"},
	{file: "a/b_test.go", text: "package a\nfunc f() { t.SkipNow() }", found: 1, says: "says what is missing"},
	{file: "a/c_test.go", text: "package a\nfunc f() { t.Skip(\"flaky\") }", found: 1, says: "says what is missing"},
	{file: "a/d_test.go", text: "package a\nfunc f() { t.Skipf(\"needs PostgreSQL %d\", 17) }", found: 0},
}
