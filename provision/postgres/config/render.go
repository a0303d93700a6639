package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgctl/pgctl"
)

// The major versions of PostgreSQL that pgctl runs.
const (
	OldestMajor = 15
	NewestMajor = 18
)

// defaults are good for a small machine; the user's parameters go before them.
var defaults = map[string]string{
	"shared_buffers":                 "128MB",
	"max_connections":                "100",
	"superuser_reserved_connections": "5",
	"max_wal_senders":                "20",
	"max_replication_slots":          "20",
	"wal_level":                      "replica",
	"timezone":                       "UTC",
	"log_timezone":                   "UTC",
	"default_text_search_config":     "pg_catalog.english",
	"log_line_prefix":                "%m [%p] %q%u@%d %a ",
	"log_lock_waits":                 "on",
	"log_checkpoints":                "on",
	"checkpoint_completion_target":   "0.9",
}

// Header is how a rendered postgresql.conf begins.
const Header = "# Written by pgctl, from the cluster's manifest and state; changes here are overwritten.\n"

// Render makes the three files. It fails when a parameter or a pg_hba line of the user is refused.
func Render(s Settings) (Files, error) {
	if s.Major < OldestMajor || s.Major > NewestMajor {
		return Files{}, pgctl.Errorf(pgctl.CodeInvalid, "PostgreSQL %d is not supported", s.Major).At("version").
			WithHint("supported are %d to %d", OldestMajor, NewestMajor)
	}
	values, err := s.parameters()
	if err != nil {
		return Files{}, err
	}
	hba, err := s.hba()
	if err != nil {
		return Files{}, err
	}
	f := Files{HBA: hba, Ident: s.ident()}
	var b strings.Builder
	b.WriteString(Header)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&b, "%s = %s\n", name, quote(values[name]))
	}
	f.Conf = b.String()
	f.Conf += checksumLine + quote(f.Checksum()) + "\n"
	return f, nil
}

// parameters merges the defaults, the user's and ours, later ones winning.
func (s Settings) parameters() (map[string]string, error) {
	values := maps.Clone(defaults)
	for name, value := range s.Parameters {
		name = strings.ToLower(name)
		if err := checkValue(name, value); err != nil {
			return nil, err
		}
		values[name] = value
	}
	for _, name := range NotLower {
		value, set := values[name]
		n, err := strconv.ParseInt(strings.TrimSpace(or(value, strconv.Itoa(serverDefaults[name]))), 0, 32)
		if err == nil && (set || int(n) < s.AtLeast[name]) { // what is no plain number was for the server to judge
			values[name] = strconv.Itoa(max(int(n), s.AtLeast[name]))
		}
	}
	maps.Copy(values, s.ours())
	return values, nil
}

// serverDefaults are those of NotLower which defaults does not set; without one it is 0.
var serverDefaults = map[string]int{"max_worker_processes": 8, "max_locks_per_transaction": 64}

func (s Settings) ours() map[string]string {
	open := "off"
	if s.Open {
		open = "on"
	}
	ours := map[string]string{
		OpenSetting: open,

		"cluster_name":            s.Instance,
		"listen_addresses":        s.Listen,
		"port":                    strconv.Itoa(s.Port),
		"unix_socket_directories": s.SocketDir,

		"ssl":           "on",
		"ssl_cert_file": s.TLS.Cert,
		"ssl_key_file":  s.TLS.Key,
		"ssl_ca_file":   s.TLS.CA,

		"synchronous_standby_names": s.SyncNames,
		"primary_conninfo":          s.PrimaryConninfo,
		"primary_slot_name":         s.PrimarySlot,
		"restore_command":           s.RestoreCommand,
		"recovery_target_timeline":  "latest",
		"archive_mode":              s.archiveMode(),
		"archive_command":           s.ArchiveCommand,

		"restart_after_crash": "off",
		"fsync":               "on",
		"full_page_writes":    "on",
		"data_sync_retry":     "off",
		"wal_log_hints":       "on",
		"hot_standby":         "on",
		"password_encryption": "scram-sha-256",

		"max_slot_wal_keep_size":       or(s.SlotWALKeep, "4GB"),
		"wal_keep_size":                "128MB",
		"wal_retrieve_retry_interval":  "100ms",
		"wal_receiver_status_interval": "1s",
		"wal_receiver_timeout":         "5s",
		"wal_sender_timeout":           "5s",
		"tcp_user_timeout":             "5s",

		"log_destination":   "stderr",
		"logging_collector": "off",
		"lc_messages":       "C",
	}
	if s.ReplayDelay > 0 {
		ours["recovery_min_apply_delay"] = strconv.FormatInt(s.ReplayDelay.Milliseconds(), 10) + "ms"
	}
	if s.ReplayNow {
		ours["max_standby_streaming_delay"], ours["max_standby_archive_delay"] = "0", "0"
	}
	if s.Major >= 17 {
		ours["allow_alter_system"] = "off"
	}
	if s.Major >= 18 {
		ours["idle_replication_slot_timeout"] = "0"
	}
	return ours
}

// archiveMode is off for a server without a command: with it on, that server would keep all its WAL for
// ever, and write, send and sync the rest of a segment at each shutdown, which stretches switchovers.
func (s Settings) archiveMode() string {
	if s.ArchiveCommand == "" {
		return "off"
	}
	return "on"
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// quote writes a value as the lexer of configuration files reads it.
func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(value) + "'"
}
