package control

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

// initOptions are the options of initdb that a manifest may set.
var initOptions = []string{
	"encoding", "locale", "lc-collate", "lc-ctype", "lc-monetary", "lc-numeric", "lc-time",
	"locale-provider", "icu-locale", "icu-rules", "builtin-locale", "text-search-config", "wal-segsize",
}

// Init makes the data directory with initdb, with checksums and AgentRole as the superuser; nothing
// when it exists. What a crash left halfway is made anew.
func (i *Instance) Init(ctx context.Context, options map[string]string) error {
	args := []string{
		"-D", i.fresh(), "-U", config.AgentRole, "--data-checksums",
		"--auth-local=peer", "--auth-host=scram-sha-256", "--no-instructions",
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(initOptions, name) {
			return pgctl.Errorf(pgctl.CodeInvalid, "initdb's option %s cannot be set", name).At("initdb."+name).
				WithHint("possible are %v", initOptions)
		}
		args = append(args, "--"+name+"="+options[name])
	}
	if options["encoding"] == "" {
		args = append(args, "--encoding=UTF8")
	}
	if options["locale"] == "" {
		args = append(args, "--locale=C.UTF-8")
	}
	return i.make(ctx, func() error {
		_, err := i.tool(ctx, i.fresh(), nil, "initdb", args...)
		return err
	})
}

// BaseBackup makes the data directory as a standby's, a copy of the source (made by EnsureSlots there
// is a slot for this life, which keeps the WAL from here on); nothing when it exists. The application
// name is not a member's, whatever the upstream says. progress, if not nil, is told bytes.
func (i *Instance) BaseBackup(
	ctx context.Context, from config.Upstream, slot string, progress func(done, total int64),
) error {
	from.Name, from.Bulk = "pgctl-copy", true
	args := []string{
		"-D", i.fresh(), "-d", config.Conninfo(from), "--wal-method=stream", "--checkpoint=fast",
		"--no-password", "--progress",
	}
	if slot != "" {
		args = append(args, "--slot="+slot)
	}
	return i.make(ctx, func() error {
		if _, err := i.tool(ctx, i.fresh(), progressWriter(progress), "pg_basebackup", args...); err != nil {
			return err
		}
		_, err := i.write(filepath.Join(i.fresh(), standbySignal), nil)
		return err
	})
}

// make has the data directory filled under another name, and gives it its own when it is complete and
// marked. A file beside it says that what lies there is ours to remove.
func (i *Instance) make(ctx context.Context, fill func() error) error {
	if done, err := i.Exists(""); done || err != nil {
		return err
	}
	if err := i.prepare(); err != nil {
		return i.explain(fmt.Errorf("folders of %s: %w", i.Name, err))
	}
	making := i.fresh() + ".ours"
	if exists(i.fresh()) && !exists(making) {
		return pgctl.Errorf(pgctl.CodeRefused, "%s was not made by pgctl", i.fresh()).WithHint("move it away")
	}
	if _, err := i.write(making, []byte(i.Life)); err != nil {
		return err
	}
	if err := i.Processes.KillAll(ctx, i.fresh()); err != nil { // of an earlier attempt
		return err
	}
	if err := os.RemoveAll(i.fresh()); err != nil {
		return err
	}
	if err := i.folder(i.fresh()); err != nil {
		return err
	}
	if err := fill(); err != nil {
		if os.RemoveAll(i.fresh()) == nil { // what cannot be removed yet is removed by the next attempt
			_ = remove(making)
		}
		return i.explain(fmt.Errorf("make the data directory of %s: %w", i.Name, err))
	}
	if err := i.mark(i.fresh()); err != nil {
		return err
	}
	if err := os.Rename(i.fresh(), i.PGData()); err != nil {
		return err
	}
	return remove(making) // and fsync of the folder
}

var progressPattern = regexp.MustCompile(`([0-9]+)/([0-9]+) kB`)

// progressWriter reads the lines of pg_basebackup --progress.
type progressWriter func(done, total int64)

func (p progressWriter) Write(text []byte) (int, error) {
	if p != nil {
		for line := range bytes.Lines(text) {
			if m := progressPattern.FindSubmatch(line); m != nil {
				done, err1 := strconv.ParseInt(string(m[1]), 10, 53)
				total, err2 := strconv.ParseInt(string(m[2]), 10, 53)
				if err1 == nil && err2 == nil {
					p(done<<10, total<<10)
				}
			}
		}
	}
	return len(text), nil
}
