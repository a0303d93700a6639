package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest     = regexp.MustCompile("`(Test[A-Z]\\w+)`")
	namedIncident = regexp.MustCompile("`([a-z]+\\.txt): ([^`]+)`")
	namedScenario = regexp.MustCompile("`lab: ([^`]+)`")
	testFunc      = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	comment       = regexp.MustCompile(`(?m)^# (.*)$`)
)

// evidence is what a page can name as proof: tests, incidents by file, scenarios of the lab.
type evidence struct {
	tests     map[string]bool
	incidents map[string]string // the comments of a file, one after the other
	scenarios string            // the source of their list
}

// missing are the proofs that a page names and that are not there.
func (e evidence) missing(page string) (missing []string) {
	for _, match := range namedTest.FindAllStringSubmatch(page, -1) {
		if !e.tests[match[1]] {
			missing = append(missing, match[1])
		}
	}
	for _, match := range namedIncident.FindAllStringSubmatch(page, -1) {
		if !strings.Contains(e.incidents[match[1]], match[2]) {
			missing = append(missing, match[1]+": "+match[2])
		}
	}
	for _, match := range namedScenario.FindAllStringSubmatch(page, -1) {
		if !strings.Contains(e.scenarios, `{Name: "`+match[1]+`"`) {
			missing = append(missing, "lab: "+match[1])
		}
	}
	return missing
}

// TestNamedProofsExist: what the pages say is shown by a test has that test.
func TestNamedProofsExist(t *testing.T) {
	have := evidence{tests: map[string]bool{}, incidents: map[string]string{}}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		test := strings.HasSuffix(path, "_test.go")
		incident := filepath.Dir(path) == filepath.Join(root, "node/ha/testdata") && strings.HasSuffix(path, ".txt")
		if !test && !incident {
			return nil
		}
		text, err := os.ReadFile(path)
		if test {
			for _, match := range testFunc.FindAllStringSubmatch(string(text), -1) {
				have.tests[match[1]] = true
			}
			return err
		}
		var lines []string
		for _, match := range comment.FindAllStringSubmatch(string(text), -1) {
			lines = append(lines, match[1])
		}
		have.incidents[filepath.Base(path)] = strings.Join(lines, " ")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(root, "lab/scenario/list.go"))
	if err != nil {
		t.Fatal(err)
	}
	have.scenarios = string(list)
	named := 0
	for name, text := range pages(t) {
		for _, missing := range have.missing(text) {
			t.Errorf("%s: %s does not exist", name, missing)
		}
		named += len(namedTest.FindAllString(text, -1))
	}
	if named < 25 {
		t.Errorf("only %d tests are named: the pattern misses them", named)
	}
}

// TestMissingProofsAreFound plants mistakes.
func TestMissingProofsAreFound(t *testing.T) {
	have := evidence{
		tests: map[string]bool{"TestThere": true}, incidents: map[string]string{"act.txt": "One. Two goes on."},
		scenarios: `{Name: "power loss", MostGap: calm}`,
	}
	page := "`TestThere` `act.txt: Two goes on` `lab: power loss` `TestGone` `act.txt: Three` `rule.txt: One` `lab: power`"
	if got := strings.Join(have.missing(page), "; "); got != "TestGone; act.txt: Three; rule.txt: One; lab: power" {
		t.Errorf("missing: %s", got)
	}
}
