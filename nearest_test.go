package pgctl_test

import (
	"testing"

	"github.com/pgctl/pgctl"
)

func TestNearest(t *testing.T) {
	names := []string{"shop", "billing", "list", "status", "switchover"}
	for name, want := range map[string]string{
		"shpo": "shop", "shop": "shop", "biling": "billing", "stauts": "status", "lst": "list", "xyz": "", "": "",
		"switch-over": "switchover", "STATUS": "status", "statuses of everything": "", "somethingelse": "",
	} {
		if got := pgctl.Nearest(name, names); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
