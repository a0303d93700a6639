// Package roles creates the roles and databases that a cluster declares, on an open leader, and the
// role that its members replicate as. It never drops anything, and is safe to repeat.
package roles

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

// Spec is what a cluster declares.
type Spec struct {
	Users     map[string][]string // role → flags: SUPERUSER, CREATEDB, NOLOGIN …
	Passwords map[string]string   // role → password; roles without one cannot log in with one
	Databases map[string]string   // database → owner
}

// flags are what a manifest may say about a role, and the column of pg_roles that shows it.
var flags = map[string]string{
	"SUPERUSER": "rolsuper", "CREATEDB": "rolcreatedb", "CREATEROLE": "rolcreaterole", "INHERIT": "rolinherit",
	"LOGIN": "rolcanlogin", "REPLICATION": "rolreplication", "BYPASSRLS": "rolbypassrls",
}

// options are the wanted values by flag: LOGIN and INHERIT unless told otherwise, the rest not.
func options(user string, words []string) (map[string]bool, error) {
	field := "users." + user
	if user == config.AgentRole || user == config.ReplicationRole || strings.HasPrefix(user, "pg_") || user == "" {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "the role name %q is taken", user).At(field)
	}
	wanted := map[string]bool{}
	for flag := range flags {
		wanted[flag] = flag == "LOGIN" || flag == "INHERIT"
	}
	for _, word := range words {
		word = strings.ToUpper(word)
		flag := word
		if flags[flag] == "" {
			flag = strings.TrimPrefix(word, "NO")
		}
		if flags[flag] == "" {
			return nil, pgctl.Errorf(pgctl.CodeInvalid, "%q is no flag of a role", word).At(field).
				WithHint("flags are %s, each also with NO in front", strings.Join(slices.Sorted(maps.Keys(flags)), ", "))
		}
		wanted[flag] = flag == word
	}
	return wanted, nil
}

// Apply makes roles and databases as declared and says what it did, also when it fails midway. The
// session is control.Instance.Connect's, in database postgres.
func Apply(ctx context.Context, conn *pgx.Conn, s Spec) (did []string, err error) {
	for _, user := range slices.Sorted(maps.Keys(s.Users)) {
		done, err := applyRole(ctx, conn, user, s.Users[user], s.Passwords[user])
		did = append(did, done...)
		if err != nil {
			return did, fmt.Errorf("role %s: %w", user, err)
		}
	}
	for _, database := range slices.Sorted(maps.Keys(s.Databases)) {
		done, err := applyDatabase(ctx, conn, database, s.Databases[database])
		did = append(did, done...)
		if err != nil {
			return did, fmt.Errorf("database %s: %w", database, err)
		}
	}
	return did, nil
}

// role is what the server has of a role.
type role struct {
	has      map[string]bool // by flag
	verifier string
}

func find(ctx context.Context, conn *pgx.Conn, name string) (role, bool, error) {
	r := role{has: map[string]bool{}}
	columns, names := []string{"coalesce(rolpassword, '')"}, slices.Sorted(maps.Keys(flags))
	values := make([]bool, len(names))
	targets := []any{&r.verifier}
	for n, flag := range names {
		columns = append(columns, flags[flag])
		targets = append(targets, &values[n])
	}
	err := conn.QueryRow(ctx, "select "+strings.Join(columns, ", ")+" from pg_authid where rolname = $1", name).
		Scan(targets...)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, false, nil
	}
	for n, flag := range names {
		r.has[flag] = values[n]
	}
	return r, err == nil, err
}

func applyRole(ctx context.Context, conn *pgx.Conn, name string, words []string, password string) ([]string, error) {
	wanted, err := options(name, words)
	if err != nil {
		return nil, err
	}
	is, found, err := find(ctx, conn, name)
	if err != nil {
		return nil, err
	}
	var did []string
	var changes []string
	for _, flag := range slices.Sorted(maps.Keys(wanted)) {
		if !found || is.has[flag] != wanted[flag] {
			changes = append(changes, map[bool]string{true: flag, false: "NO" + flag}[wanted[flag]])
		}
	}
	if found && len(changes) > 0 {
		did = append(did, fmt.Sprintf("role %s: %s", name, strings.Join(changes, " ")))
	}
	if password != "" && !matches(is.verifier, password) {
		v, err := verifier(password)
		if err != nil {
			return nil, err
		}
		changes = append(changes, "PASSWORD '"+v+"'") // has no character to be escaped
		did = append(did, "role "+name+": password set")
	}
	verb := "alter"
	if !found {
		verb, did = "create", []string{"role " + name + " created"}
	}
	if len(changes) == 0 {
		return nil, nil
	}
	_, err = conn.Exec(ctx, verb+" role "+quote(name)+" "+strings.Join(changes, " "))
	if err != nil {
		return nil, err
	}
	return did, nil
}

func applyDatabase(ctx context.Context, conn *pgx.Conn, name, owner string) ([]string, error) {
	var is string
	err := conn.QueryRow(ctx, `select pg_get_userbyid(datdba) from pg_database where datname = $1`, name).Scan(&is)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		_, err = conn.Exec(ctx, "create database "+quote(name)+" owner "+quote(owner))
		return said(err, "database %s created, owner %s", name, owner)
	case err != nil || is == owner:
		return nil, err
	}
	_, err = conn.Exec(ctx, "alter database "+quote(name)+" owner to "+quote(owner))
	return said(err, "database %s: owner %s instead of %s", name, owner, is)
}

func said(err error, format string, args ...any) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf(format, args...)}, nil
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// rewindFunctions are what pg_rewind calls on its source.
var rewindFunctions = []string{
	"pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)",
	"pg_read_binary_file(text)", "pg_read_binary_file(text, bigint, bigint, boolean)",
}

// EnsureReplication makes the role that members stream, copy and rewind as, with the password and no
// more rights than that takes; true when something changed. On a primary, also a closed one.
func EnsureReplication(ctx context.Context, conn *pgx.Conn, password string) (bool, error) {
	name := config.ReplicationRole
	is, found, err := find(ctx, conn, name)
	if err != nil {
		return false, err
	}
	wanted := map[string]bool{"LOGIN": true, "REPLICATION": true, "INHERIT": true}
	same := found && matches(is.verifier, password)
	for flag := range flags {
		same = same && is.has[flag] == wanted[flag]
	}
	if same {
		return false, nil
	}
	v, err := verifier(password)
	if err != nil {
		return false, err
	}
	statements := []string{
		"alter role " + name + " nosuperuser nocreatedb nocreaterole inherit login replication nobypassrls" +
			" connection limit -1 valid until 'infinity' password '" + v + "'",
	}
	if !found {
		statements = append([]string{"create role " + name}, statements...)
	}
	for _, f := range rewindFunctions {
		statements = append(statements, "grant execute on function pg_catalog."+f+" to "+name)
	}
	_, err = conn.Exec(ctx, strings.Join(append([]string{"begin"}, append(statements, "commit")...), "; "))
	return err == nil, err
}
