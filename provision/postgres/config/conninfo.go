package config

import (
	"fmt"
	"strings"
)

// Upstream is an instance to connect to as the replication role: to stream from, copy or rewind.
type Upstream struct {
	Host     string // an IP address, or a name that the certificate carries
	Port     int
	Name     string // application_name; for a member Life.MemberName(epoch)
	Passfile string
	CA       string
	Bulk     bool // a copy: a stall of a minute is no failure
}

// Conninfo is a libpq connection string for the upstream. A dead peer is noticed within seconds on
// both sides: the options speak to the sender's.
func Conninfo(u Upstream) string {
	milliseconds, seconds := "5000", "5s"
	if u.Bulk {
		milliseconds, seconds = "60000", "60s"
	}
	pairs := [][2]string{
		{"host", u.Host},
		{"port", fmt.Sprint(u.Port)},
		{"user", ReplicationRole},
		{"application_name", u.Name},
		{"passfile", u.Passfile},
		{"sslmode", "verify-ca"},
		{"sslrootcert", u.CA},
		{"connect_timeout", "2"},
		{"tcp_user_timeout", milliseconds},
		{"keepalives_idle", "2"},
		{"keepalives_interval", "1"},
		{"keepalives_count", "3"},
		{"options", "-c wal_sender_timeout=" + seconds + " -c tcp_user_timeout=" + seconds},
	}
	words := make([]string, len(pairs))
	for i, p := range pairs {
		words[i] = p[0] + "='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p[1]) + "'"
	}
	return strings.Join(words, " ")
}
