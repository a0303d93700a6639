package config

import "strings"

// NotLower are the settings that standbys must not have lower than their leader: raised on standbys
// first, lowered on the leader first.
var NotLower = []string{
	"max_connections", "max_worker_processes", "max_wal_senders",
	"max_prepared_transactions", "max_locks_per_transaction",
}

// Guarded maps the settings that only pgctl sets to the reason. See GuardedReason for those that are
// guarded by their prefix.
var Guarded = map[string]string{
	"synchronous_standby_names":     "it is the commit rule; set synchronous_node_count instead",
	"primary_conninfo":              "it follows from who leads",
	"primary_slot_name":             "it follows from who leads",
	"restore_command":               "pgctl decides what a standby may restore",
	"archive_mode":                  "it follows from whether pgctl archives",
	"archive_command":               "pgctl archives, without holes after a failover",
	"archive_library":               "pgctl archives, without holes after a failover",
	"archive_cleanup_command":       "pgctl decides how long WAL is kept",
	"recovery_end_command":          "it would stretch a promotion",
	"recovery_min_apply_delay":      "it would delay every instance, and a delayed one cannot lead; use spec.pgctl.instances",
	"promote_trigger_file":          "only pgctl promotes",
	"restart_after_crash":           "a leader that crashed must prove that it still leads",
	"fsync":                         "acknowledged commits would be lost",
	"full_page_writes":              "a power loss would corrupt data",
	"data_sync_retry":               "a failed fsync must not be forgotten",
	"wal_log_hints":                 "rewinding a former leader needs it",
	"hot_standby":                   "pgctl observes standbys through sessions",
	"listen_addresses":              "it follows from the host",
	"port":                          "the store gives it out",
	"unix_socket_directories":       "pgctl's own sessions use it",
	"cluster_name":                  "it is the instance's name",
	"data_directory":                "it follows from the instance's life",
	"config_file":                   "pgctl renders it",
	"hba_file":                      "pgctl renders it; use the manifest's pg_hba list",
	"ident_file":                    "pgctl renders it",
	"external_pid_file":             "pgctl finds the server by its data directory",
	"allow_alter_system":            "pgctl strips what ALTER SYSTEM would change behind its back",
	"password_encryption":           "sessions authenticate with SCRAM",
	"db_user_namespace":             "it would rename pgctl's own roles",
	"max_slot_wal_keep_size":        "it follows from the disk",
	"wal_keep_size":                 "it follows from the disk",
	"idle_replication_slot_timeout": "members' slots keep WAL while they are away",
	"sync_replication_slots":        "it follows from who leads",
	"include":                       "it would read another file",
	"include_dir":                   "it would read other files",
	"include_if_exists":             "it would read another file",
	"synchronized_standby_slots":    "it follows from the commit rule",
	"wal_receiver_timeout":          "a dead upstream must be noticed in time",
	"wal_sender_timeout":            "a dead standby must be noticed in time",
	"wal_receiver_status_interval":  "a stalled standby must be noticed in time",
	"wal_retrieve_retry_interval":   "a standby must reconnect in time",
	"tcp_user_timeout":              "a dead peer must be noticed in time",
	"log_destination":               "pgctl reads the server's messages from one file",
	"logging_collector":             "pgctl reads the server's messages from one file",
	"lc_messages":                   "pgctl reads the server's messages",
}

var guardedPrefixes = map[string]string{
	"ssl":             "pgctl issues the certificates",
	"recovery_target": "a recovery to a point in time makes a new cluster",
	"pgctl.":          "it is pgctl's own",
}

// GuardedReason says why users may not set the setting (in lower case); "" when they may.
func GuardedReason(name string) string {
	if reason, ok := Guarded[name]; ok {
		return reason
	}
	for prefix, reason := range guardedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return reason
		}
	}
	return ""
}
