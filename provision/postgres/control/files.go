package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

const (
	confName  = "postgresql.conf"
	hbaName   = "pg_hba.conf"
	identName = "pg_ident.conf"
	autoName  = "postgresql.auto.conf"
)

// WriteFiles has the configuration read by the server's own parser, puts it in place durably, and
// strips guarded settings from postgresql.auto.conf. True when something changed: a running server
// is then to be told by Reload. When a line is refused, nothing is changed, and the error
// (CodeInvalid) says which.
func (i *Instance) WriteFiles(ctx context.Context, f config.Files) (bool, error) {
	if ok, err := i.Exists(""); err != nil || !ok {
		return false, errors.Join(err, i.absent(ok))
	}
	stripped, err := i.stripAuto()
	if err != nil || i.has(f) {
		return stripped, err
	}
	i.read.Store(nil)
	i.noteEdits(f)
	if err := i.checkOnce(ctx, f.Conf); err != nil {
		return stripped, err
	}
	if err := i.writeHBA(ctx, f); err != nil {
		return stripped, err
	}
	_, err = i.write(i.file(confName), []byte(f.Conf))
	return true, err
}

func (i *Instance) file(name string) string { return filepath.Join(i.PGData(), name) }

func (i *Instance) absent(there bool) error {
	if there {
		return nil
	}
	return pgctl.Errorf(pgctl.CodeNotFound, "%s has no data directory", i.Name)
}

func (i *Instance) has(f config.Files) bool {
	for name, want := range map[string]string{confName: f.Conf, hbaName: f.HBA, identName: f.Ident} {
		if text, err := os.ReadFile(i.file(name)); err != nil || string(text) != want {
			return false
		}
	}
	return true
}

// ours are settings whose values only this product makes. A file that differs from one that was
// checked in these alone is not checked again: a failover changes them several times, and every start
// of the server program would cost it tens of milliseconds.
var ours = regexp.MustCompile(`(?m)^(synchronous_standby_names|primary_conninfo|primary_slot_name|restore_command|` +
	`max_standby_\w+_delay|pgctl\.config) .*\n`)

func (i *Instance) checkOnce(ctx context.Context, conf string) error {
	rest := ours.ReplaceAllString(conf, "")
	if checked := i.checked.Load(); checked != nil && *checked == rest {
		return nil
	}
	err := i.checkConf(ctx, conf)
	if err == nil {
		i.checked.Store(&rest)
	}
	return err
}

// checkConf lets the server program read a postgresql.conf, in a folder without any other.
func (i *Instance) checkConf(ctx context.Context, conf string) error {
	dir := filepath.Join(i.Folder(), "check")
	if err := i.folder(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, confName)
	if _, err := i.write(path, []byte(conf)); err != nil {
		return err
	}
	_, err := i.tool(ctx, dir, nil, "postgres", "-C", "port", "-D", dir)
	var failed *toolError
	if errors.As(err, &failed) && ctx.Err() == nil {
		return pgctl.Errorf(pgctl.CodeInvalid, "the server refuses the configuration: %s", failed.complaint())
	}
	return err
}

var complaintPattern = regexp.MustCompile(`(?:LOG|ERROR|FATAL|HINT|DETAIL|WARNING): +([^;]*)`)

// complaint is what the server said, without dates, and without what always stands there.
func (e *toolError) complaint() string {
	var parts []string
	for _, m := range complaintPattern.FindAllStringSubmatch(e.output, -1) {
		if !strings.HasPrefix(m[1], "skipping missing") && !strings.HasPrefix(m[1], "configuration file") {
			parts = append(parts, m[1])
		}
	}
	if len(parts) == 0 {
		return e.output
	}
	return strings.Join(parts, ": ")
}

// writeHBA puts pg_hba.conf and pg_ident.conf in place; if the server runs and cannot read them, it
// puts the old ones back.
func (i *Instance) writeHBA(ctx context.Context, f config.Files) error {
	old, changed := map[string][]byte{}, false
	for name, text := range map[string]string{hbaName: f.HBA, identName: f.Ident} {
		before, err := os.ReadFile(i.file(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		old[name] = before
		wrote, err := i.write(i.file(name), []byte(text))
		if err != nil {
			return err
		}
		changed = changed || wrote
	}
	if _, _, _, running := i.Processes.Find(i.PGData()); !running || !changed {
		return nil // the lines were checked when they were rendered
	}
	var problem string
	err := i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `select coalesce(string_agg(p, '; '), '') from (
			select format('pg_hba.conf line %s: %s', line_number, error) p from pg_hba_file_rules where error is not null
			union all
			select format('pg_ident.conf line %s: %s', line_number, error) from pg_ident_file_mappings
			where error is not null) x`).Scan(&problem)
	})
	if err != nil || problem == "" {
		return nil // a server that cannot be asked reads the files itself, and keeps the old ones if they are bad
	}
	for name, text := range old {
		if _, err := i.write(i.file(name), text); err != nil {
			return err
		}
	}
	return pgctl.Errorf(pgctl.CodeInvalid, "the server refuses the configuration: %s", problem).At("hba")
}

// autoLine is a line that the server can read: blank, a comment, or a name with one value.
var autoLine = regexp.MustCompile(`^\s*(?:([A-Za-z_][A-Za-z0-9_.$]*)\s*(?:=\s*|\s)(?:'(?:[^'\\]|''|\\.)*'|[^'\s#]+)\s*)?(?:#.*)?$`)

// stripAuto removes guarded settings from what ALTER SYSTEM wrote; true when there were any.
func (i *Instance) stripAuto() (bool, error) {
	text, err := os.ReadFile(i.file(autoName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	kept, stripped := stripGuarded(string(text))
	if len(stripped) == 0 {
		return false, nil
	}
	i.repaired("removed from " + autoName + ", which ALTER SYSTEM writes: " + strings.Join(stripped, ", "))
	_, err = i.write(i.file(autoName), []byte(kept))
	return true, err
}

// stripGuarded leaves out guarded settings and lines that no server could read, and names them.
func stripGuarded(text string) (kept string, stripped []string) {
	for line := range strings.Lines(text) {
		m := autoLine.FindStringSubmatch(strings.TrimSpace(line))
		switch {
		case m == nil:
			stripped = append(stripped, fmt.Sprintf("the line %.80q", strings.TrimSpace(line)))
		case config.GuardedReason(strings.ToLower(m[1])) != "":
			stripped = append(stripped, m[1])
		default:
			kept += line
		}
	}
	return kept, stripped
}

// noteEdits says which of our files somebody else changed: their checksum is not that of their contents.
func (i *Instance) noteEdits(f config.Files) {
	var text [3]string
	var other []string
	for n, file := range []struct{ name, want string }{{confName, f.Conf}, {hbaName, f.HBA}, {identName, f.Ident}} {
		found, _ := os.ReadFile(i.file(file.name)) // one that is gone was changed, too
		if text[n] = string(found); text[n] != file.want {
			other = append(other, file.name)
		}
	}
	there := config.Files{Conf: text[0], HBA: text[1], Ident: text[2]}
	_, _, _, running := i.Processes.Find(i.PGData())
	if ours := strings.HasPrefix(there.Conf, config.Header); ours && there.Intact() || !ours && !running {
		return // one that was just made, or copied, has no files of ours yet
	}
	i.repaired("written anew, because they were changed by hand or broken: " + strings.Join(other, ", "))
}

func (i *Instance) repaired(what string) {
	i.Log.Warn("the configuration was put right", "instance", i.Name, "what", what)
	if i.Repaired != nil {
		i.Repaired(what)
	}
}

// CheckParameters has the server program read each parameter of a user, units and values of
// enumerations included; a *pgctl.Error for each that it refuses.
func (i *Instance) CheckParameters(ctx context.Context, params map[string]string) []error {
	var errs []error
	for name, value := range params {
		_, err := i.tool(ctx, "/", nil, "postgres", "-C", name, "-D", "/", "-c", "config_file=/dev/null",
			"-c", name+"="+value)
		var failed *toolError
		if errors.As(err, &failed) && ctx.Err() == nil {
			err = pgctl.Errorf(pgctl.CodeInvalid, "%s", failed.complaint()).At("parameters." + name)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Reload tells the postmaster to read its files again.
func (i *Instance) Reload(_ context.Context) error { return i.signal(hangup) }

// AwaitRead returns when the postmaster goes by the configuration that is in place: a session that begins
// then shows its checksum, and every later one is let in or refused by its pg_hba.conf.
func (i *Instance) AwaitRead(ctx context.Context) error {
	conf, err := os.ReadFile(i.file(confName))
	if err != nil {
		return err
	}
	wanted := config.Files{Conf: string(conf)}.Recorded()
	pid, _, _, _ := i.Processes.Find(i.PGData())
	seen := fmt.Sprint(pid, " ", wanted)
	if known := i.read.Load(); known != nil && *known == seen {
		return nil // and no others were put in place since
	}
	err = i.wait(ctx, func() (bool, error) {
		shown, err := i.Show(ctx, "pgctl.config")
		return shown == wanted, err
	})
	if err != nil {
		return fmt.Errorf("%s has not read its configuration: %w", i.Name, err)
	}
	i.read.Store(&seen)
	return nil
}

// HasRead says whether the server has read its settings since they were put in place.
func (i *Instance) HasRead(ctx context.Context) (bool, error) {
	info, err := os.Stat(i.file(confName))
	if err != nil {
		return false, err
	}
	var read bool
	err = i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `select pg_conf_load_time() >= $1`, info.ModTime()).Scan(&read)
	})
	return read, err
}

// PendingLower says whether one of config.NotLower waits for a restart with a lower value than it has:
// on a leader only a restart in place lowers it, since its standbys keep what it had.
func (i *Instance) PendingLower(ctx context.Context) (lower bool, err error) {
	err = i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `select exists (select from pg_settings s join pg_file_settings f using (name)
			where s.pending_restart and s.name = any ($1) and f.sourcefile = current_setting('config_file')
			and case when f.setting ~ '^[0-9]+$' then f.setting::bigint < s.setting::bigint end)`, config.NotLower).Scan(&lower)
	})
	return lower, err
}

// PendingRestart are the settings whose new values wait for a restart.
func (i *Instance) PendingRestart(ctx context.Context) ([]string, error) {
	return i.strings(ctx, `select name from pg_settings where pending_restart order by 1`)
}

// AuditSettings says what deviates from our files or weakens them: lines that the server could not
// apply, guarded settings from elsewhere, unsafe ones, and lowered synchronous_commit.
func (i *Instance) AuditSettings(ctx context.Context) ([]string, error) {
	return i.strings(ctx, fmt.Sprintf(`
		select format('%%s line %%s is not applied: %%s', sourcefile, sourceline, error)
			from pg_file_settings where error is not null and coalesce(name, '') not in
				(select name from pg_settings where context = 'postmaster')
		union all
		select format('%%s = %%s comes from %%s', name, setting, sourcefile) from pg_settings
			where sourcefile is not null and sourcefile <> current_setting('config_file') and name in (%s)
		union all
		select format('%%s is off', name) from pg_settings
			where name in ('fsync', 'full_page_writes') and setting = 'off'
		union all
		select format('%%s for role %%s in database %%s', s, coalesce(r.rolname, 'all'), coalesce(d.datname, 'all'))
			from pg_db_role_setting x left join pg_roles r on r.oid = setrole left join pg_database d on d.oid = setdatabase,
			unnest(setconfig) s where s ~ '^synchronous_commit=(off|local|remote_write)$'
		order by 1`, guardedList()))
}

func guardedList() string {
	var names []string
	for name := range config.Guarded {
		names = append(names, "'"+name+"'")
	}
	return strings.Join(names, ", ")
}
