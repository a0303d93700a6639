// Package docs_test holds the documentation to the product: every command that it shows is one that the
// binary, the Makefile or scripts/ have, and every link leads somewhere.
package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository's, seen from this folder.
const root = ".."

var (
	fenced  = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")
	inline  = regexp.MustCompile("`(pgctl [^`…|]+|make [a-z ]+|scripts/[a-z-]+|examples/[a-z.-]+)`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	target  = regexp.MustCompile(`(?m)^([a-z-]+):`)
	option  = regexp.MustCompile(`(?:^|[\s,])(--?[a-zA-Z][a-zA-Z-]*)`)
)

// commands are the command lines that a page shows, without comments, continued lines joined.
func commands(text string) []string {
	var found []string
	for _, block := range fenced.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
			line, _, _ = strings.Cut(line, "# ")
			if line = strings.TrimSpace(line); line != "" {
				found = append(found, line)
			}
		}
	}
	text = fenced.ReplaceAllString(text, "")
	for _, span := range inline.FindAllStringSubmatch(strings.ReplaceAll(text, "\n", " "), -1) {
		found = append(found, span[1])
	}
	return found
}

// help prints what the binary says to `pgctl PATH --help`.
type help func(path []string) (string, error)

// section is the part of a help text below a heading, up to the next one; ending is how the heading ends,
// so that "OPTIONS:" finds "GLOBAL OPTIONS:" too.
func section(text, ending string) []string {
	var lines []string
	within := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasSuffix(line, ":") && !strings.HasPrefix(line, " "):
			within = strings.HasSuffix(line, ending)
		case within:
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// subcommands reads the names, with aliases, out of a help text.
func subcommands(text string) []string {
	var names []string
	for _, line := range section(text, "COMMANDS:") {
		list, _, _ := strings.Cut(line, "  ")
		for name := range strings.SplitSeq(list, ", ") {
			if name != "" && name != "help" && name != "h" && !strings.HasSuffix(name, ":") {
				names = append(names, name)
			}
		}
	}
	return names
}

// checkPgctl says what is wrong with a command line of pgctl, or "".
func checkPgctl(line string, ask help) string {
	words := strings.Fields(line)[1:]
	global, err := ask(nil)
	if err != nil {
		return err.Error()
	}
	var path []string
	text := global
	for len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		names := subcommands(text)
		if !slices.Contains(names, words[0]) {
			if len(names) > 0 {
				return fmt.Sprintf("there is no command %q after %q, only %s",
					words[0], strings.Join(append([]string{"pgctl"}, path...), " "), strings.Join(names, ", "))
			}
			break
		}
		path, words = append(path, words[0]), words[1:]
		if text, err = ask(path); err != nil {
			return err.Error()
		}
	}
	var known []string
	for _, line := range append(section(text, "OPTIONS:"), section(global, "OPTIONS:")...) {
		names, _, _ := strings.Cut(line, "  ")
		for _, match := range option.FindAllStringSubmatch(names, -1) {
			known = append(known, match[1])
		}
	}
	for _, word := range words {
		if word == "--" || word == "|" || word == ">" {
			break
		}
		name, _, _ := strings.Cut(word, "=")
		if strings.HasPrefix(name, "-") && name != "-" && !slices.Contains(known, name) {
			return fmt.Sprintf("%s has no option %s, only %s", strings.Join(path, " "), name, strings.Join(known, " "))
		}
	}
	return ""
}

// check says what is wrong with any command line of the documentation, or "".
func check(line, makefile string, ask help) string {
	words := strings.Fields(line)
	exists := func(path string) bool {
		_, err := os.Stat(filepath.Join(root, path))
		return err == nil
	}
	switch {
	case words[0] == "pgctl" || words[0] == "bin/pgctl":
		return checkPgctl(line, ask)
	case words[0] == "make":
		for _, name := range words[1:] {
			if strings.Contains(name, "=") {
				break
			}
			if !slices.ContainsFunc(target.FindAllStringSubmatch(makefile, -1), func(m []string) bool { return m[1] == name }) {
				return "the Makefile has no target " + name
			}
		}
	case strings.HasPrefix(words[0], "scripts/") || strings.HasPrefix(words[0], "examples/"):
		if !exists(words[0]) {
			return words[0] + " does not exist"
		}
	}
	return ""
}

// pages are README.md and everything in docs/, by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, name := range append(names, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(text)
	}
	return found
}

func TestCommandsExist(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "pgctl")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "./cmd/pgctl")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	answers := map[string]string{}
	ask := func(path []string) (string, error) {
		key := strings.Join(path, " ")
		if _, asked := answers[key]; !asked {
			output, err := exec.Command(binary, append(slices.Clone(path), "--help")...).CombinedOutput()
			if err != nil {
				return "", fmt.Errorf("pgctl %s --help: %w\n%s", key, err, output)
			}
			answers[key] = string(output)
		}
		return answers[key], nil
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range pages(t) {
		for _, line := range commands(text) {
			if wrong := check(line, string(makefile), ask); wrong != "" {
				t.Errorf("%s: %s\n\t%s", name, line, wrong)
			}
		}
	}
}

func TestLinksLead(t *testing.T) {
	for name, text := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			if wrong := checkLink(filepath.Dir(name), name, match[1]); wrong != "" {
				t.Errorf("%s: (%s) %s", name, match[1], wrong)
			}
		}
	}
}

// checkLink says what is wrong with a link of a page in folder, or "". Links to elsewhere are not tried.
func checkLink(folder, page, to string) string {
	if strings.Contains(to, "://") {
		return ""
	}
	file, anchor, _ := strings.Cut(to, "#")
	if file == "" {
		file = page
	} else {
		file = filepath.Join(folder, file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	if anchor == "" {
		return ""
	}
	for _, match := range heading.FindAllStringSubmatch(string(text), -1) {
		slug := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(match[1]), "")
		if strings.ReplaceAll(slug, " ", "-") == anchor {
			return ""
		}
	}
	return "no heading of that page becomes #" + anchor
}

// TestChecksCatch plants mistakes.
func TestChecksCatch(t *testing.T) {
	answers := map[string]string{
		"": "NAME:\n   pgctl\n\nCOMMANDS:\n   show, s  one cluster\n   help, h  this\n\n   playground:\n     dev  three hosts\n\n" +
			"GLOBAL OPTIONS:\n   --output value, -o value  as\n",
		"show":   "NAME:\n   pgctl show\n\nOPTIONS:\n   --wait  until it --exists\n",
		"dev":    "COMMANDS:\n   up  start\n",
		"dev up": "NAME:\n   pgctl dev up\n",
	}
	ask := func(path []string) (string, error) { return answers[strings.Join(path, " ")], nil }
	for line, wrong := range map[string]string{
		"pgctl show shop":              "",
		"pgctl show shop -o json":      "",
		"pgctl show --wait shop":       "",
		"pgctl show shop -- --exists":  "",
		"pgctl show shop --exists":     "no option --exists",
		"pgctl dev up":                 "",
		"pgctl dev down":               "no command \"down\"",
		"pgctl shwo shop":              "no command \"shwo\"",
		"make all":                     "",
		"make every X=1":               "no target every",
		"scripts/no-such":              "does not exist",
		"curl http://127.0.0.1/ --now": "",
	} {
		got := check(line, "all: other\n", ask)
		if wrong == "" && got != "" || !strings.Contains(got, wrong) {
			t.Errorf("%s: got %q, want %q", line, got, wrong)
		}
	}
	page := "`pgctl a` and `make b`\n```sh\npgctl c \\\n  --d # why\n\n```\n```text\npgctl e\n```\n"
	if got, want := strings.Join(commands(page), ";"), "pgctl c    --d;pgctl a;make b"; got != want {
		t.Errorf("commands: got %q, want %q", got, want)
	}
	if checkLink(".", "docs_test.go", "no-such.md") == "" || checkLink(".", "ports.md", "#no-such") == "" ||
		checkLink(".", "README.md", "ports.md#ports") != "" {
		t.Error("links are not checked")
	}
}
