// Package config renders the configuration files of one PostgreSQL instance, knows which settings
// are pgctl's own, and checks users' parameters against the server's catalogue. It is pure: strings
// in, strings out, so that what an instance will run with can be shown and tested without a server.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// The roles of pgctl in every cluster.
const (
	AgentRole       = "pgctl"             // superuser of the agents, over the local socket only
	ReplicationRole = "pgctl_replication" // members stream and rewind as this role, over TLS only
)

// TLS says where the files for encrypted connections lie, as absolute paths.
type TLS struct {
	Cert string
	Key  string
	CA   string
}

// Settings is everything that the configuration of an instance depends on.
type Settings struct {
	Major     int    // of PostgreSQL, 15 to 18
	Instance  string // becomes cluster_name
	Listen    string // an IP address
	Port      int
	SocketDir string
	TLS       TLS

	Parameters map[string]string // of the user; guarded names are refused
	AtLeast    map[string]int    // of a standby: what its leader has of NotLower; lower values are raised to it

	SyncNames       string // synchronous_standby_names: SyncNames(…), Nobody, or "" for waiting for nobody
	PrimaryConninfo string // "" for an instance that follows nobody
	PrimarySlot     string
	RestoreCommand  string
	ArchiveCommand  string        // "" is "archiving off"
	ReplayNow       bool          // replay waits for no query (max_standby_*_delay = 0): during elections
	ReplayDelay     time.Duration // by which it replays later; 0 for an instance that may lead
	SlotWALKeep     string        // max_slot_wal_keep_size, how much WAL absent members may hold; "" is 4GB

	Open           bool     // lets clients in; closed: only the agent and members
	Members        []string // addresses of the hosts that carry or may carry the cluster's instances
	HBA            []string // the user's pg_hba lines, instead of the default ones
	AllowedSources []string // CIDRs from which clients may come; the hosts and this machine always may
	DaemonUser     string   // OS user of the daemon; besides root it may be the agent
}

// Files is a rendered configuration: the whole text of each file.
type Files struct {
	Conf  string // postgresql.conf
	HBA   string // pg_hba.conf
	Ident string // pg_ident.conf
}

// Checksum names the contents. A server shows the checksum that it runs with as the setting pgctl.config,
// the last line of Conf.
func (f Files) Checksum() string {
	conf, _, _ := strings.Cut(f.Conf, checksumLine)
	h := sha256.New()
	for _, text := range []string{conf, f.HBA, f.Ident} {
		fmt.Fprintf(h, "%d\n%s", len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Intact says whether the files are as they were rendered: Conf ends with the checksum of them all.
func (f Files) Intact() bool {
	_, found, _ := strings.Cut(f.Conf, checksumLine)
	return found == quote(f.Checksum())+"\n"
}

// Recorded is the checksum in Conf's last line: what a server shows as pgctl.config once it has read it.
func (f Files) Recorded() string {
	_, found, _ := strings.Cut(f.Conf, checksumLine)
	return strings.Trim(found, "'\n")
}

const checksumLine = "pgctl.config = "
