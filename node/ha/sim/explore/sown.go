//go:build mutations

package explore

import (
	"slices"

	"github.com/pgctl/pgctl/internal/planted"
)

// sown says whether a bug is planted.
func sown() bool { return slices.ContainsFunc(planted.All, planted.Bug.On) }
