//go:build mutations

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/pgctl/pgctl/internal/planted"
)

// folders hold scripts: tests that pass without the bug.
var folders = []string{"node/ha", "node"}

var failure = regexp.MustCompile(`--- FAIL: (\S+)`)

// scripts runs the tests of the decisions and of the leases with the bug in them; TestMain there plants it.
func scripts(bug planted.Bug) (string, bool) {
	for _, folder := range folders {
		binary := filepath.Join(os.TempDir(), "pgctl-mutations-"+filepath.Base(folder))
		build := exec.Command("go", "test", "-c", "-tags", "mutations", "-o", binary, "./"+folder)
		build.Stderr = os.Stderr
		if build.Run() != nil {
			continue
		}
		test := exec.Command(binary, "-test.failfast")
		test.Dir = folder
		test.Env = append(os.Environ(), "PGCTL_PLANTED="+string(bug))
		output, err := test.CombinedOutput()
		_ = os.Remove(binary) // it is built anew in a moment, or not needed any more
		if failed := failure.FindAllSubmatch(output, -1); err != nil && failed != nil {
			return "the run of " + folder + " (" + string(failed[len(failed)-1][1]) + ")", true
		}
	}
	return "", false
}
