package config

import (
	"fmt"
	"strings"
)

// Nobody is the value of synchronous_standby_names under which every commit waits and nobody can
// acknowledge it: what every instance runs with that is not an open leader.
const Nobody = `ANY 1 ("pgctl-nobody")`

// OpenSetting says "on" to every session of a server that lets clients in, as its pg_hba.conf does, and "off"
// to those of a closed one: a leader whose rule is proven, say, and that was not opened yet.
const OpenSetting = "pgctl.open"

// SyncNames is the value of synchronous_standby_names under which a commit waits for acks of the
// named standbys; empty for no acks.
func SyncNames(acks int, names []string) string {
	if acks <= 0 {
		return ""
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = `"` + strings.ReplaceAll(n, `"`, `""`) + `"`
	}
	return fmt.Sprintf("ANY %d (%s)", acks, strings.Join(quoted, ", "))
}
