//go:build mutations

package node

import (
	"os"
	"testing"

	"github.com/pgctl/pgctl/internal/planted"
)

// TestMain plants the bug that make mutations asks about: the tests of this folder pass without it, and one
// fails with it.
func TestMain(m *testing.M) {
	planted.Sow(planted.Bug(os.Getenv("PGCTL_PLANTED")))
	os.Exit(m.Run())
}
