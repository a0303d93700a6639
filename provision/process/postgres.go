package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// parsePIDFile reads the pid and the status (starting, ready, standby, stopping) of a postmaster.pid; the
// status is empty as long as the file is not written to its end.
func parsePIDFile(text string) (pid int, status string, err error) {
	lines := strings.Split(text, "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid == 0 {
		return 0, "", fmt.Errorf("postmaster.pid begins with %q, not with a process id", lines[0])
	}
	if len(lines) > 7 {
		status = strings.TrimSpace(lines[7])
	}
	return max(pid, -pid), status, nil // a single-user server writes it negative
}

// Find finds the postmaster of a data directory, whoever started it: by its pid file, believed only
// if that process is a postgres which works in the directory. False when there is none.
func (Local) Find(dir string) (pid int, started uint64, status string, running bool) {
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return 0, 0, "", false
	}
	pid, status, err = parsePIDFile(string(text))
	if err != nil {
		return 0, 0, "", false
	}
	s, err := read(pid)
	if err != nil || !s.runs() || !worksIn(pid, resolve(dir)) {
		return 0, 0, "", false
	}
	return pid, s.started, status, true
}

// Frozen says whether the directory's postmaster was stopped by a signal or a debugger: it lives and does
// nothing.
func (Local) Frozen(dir string) bool {
	pid, started, _, running := Local{}.Find(dir)
	s, err := read(pid)
	return running && err == nil && s.started == started && (s.state == 'T' || s.state == 't')
}

// programs are those of PostgreSQL that work on a data directory, with it as their own directory.
var programs = map[string]bool{
	"postgres": true, "initdb": true, "pg_basebackup": true, "pg_rewind": true,
}

func resolve(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	return filepath.Clean(dir)
}

// worksIn says whether the process is a program of PostgreSQL in the directory. The kernel marks a
// directory or program that was removed meanwhile.
func worksIn(pid int, dir string) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	cwd, err := os.Readlink(proc + "/cwd")
	if err != nil || strings.TrimSuffix(cwd, " (deleted)") != dir {
		return false
	}
	exe, err := os.Readlink(proc + "/exe")
	return err == nil && programs[strings.TrimSuffix(filepath.Base(exe), " (deleted)")]
}

// KillAll sends SIGKILL to every program of PostgreSQL that works in the directory, to what they
// started, and to what is left of their sessions, until none is seen.
func (l Local) KillAll(ctx context.Context, dir string) error {
	dir = resolve(dir)
	sessions := map[int]bool{}
	for {
		victims, err := family(dir, sessions)
		if err != nil {
			return err
		}
		if len(victims) == 0 {
			return nil
		}
		for _, v := range victims {
			if err := l.Signal(v.pid, v.started, syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return fmt.Errorf("kill process %d of %s: %w", v.pid, dir, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes of %s survive SIGKILL: %w", len(victims), dir, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// family finds the directory's processes, their descendants, and the members of sessions which such
// processes lead or led; these are added to sessions.
func family(dir string, sessions map[int]bool) ([]stat, error) {
	all, err := list()
	if err != nil {
		return nil, err
	}
	in := map[int]bool{}
	for _, s := range all {
		if worksIn(s.pid, dir) {
			in[s.pid] = true
			if s.session == s.pid {
				sessions[s.pid] = true
			}
		}
	}
	for grown := true; grown; {
		grown = false
		for _, s := range all {
			if !in[s.pid] && (in[s.parent] || sessions[s.session]) {
				in[s.pid], grown = true, true
			}
		}
	}
	var found []stat
	for _, s := range all {
		if in[s.pid] && s.runs() && s.pid != os.Getpid() {
			found = append(found, s)
		}
	}
	return found, nil
}

func list() ([]stat, error) {
	names, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []stat
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		if s, err := read(pid); err == nil { // otherwise it ended meanwhile
			all = append(all, s)
		}
	}
	return all, nil
}

// arriving are the ends of the titles of sessions that no view of the server shows yet: what their client
// may do was decided, or is about to be, by the pg_hba.conf that the postmaster had when it forked them.
var arriving = []string{" initializing", " authentication", ") startup", "[local] startup"}

// EndArriving asks those children of the directory's postmaster to end that are sessions in the making, and
// returns them: pid and when it was started. One that has not read its client's first packet still has the
// postmaster's own title.
func (l Local) EndArriving(dir string) map[int]uint64 {
	return l.end(dir, func(pid int, own string) bool {
		text := title(pid)
		young := text == own && text != ""
		for _, suffix := range arriving {
			young = young || strings.HasSuffix(text, suffix)
		}
		return young
	})
}

// EndReceiver asks the WAL receiver of the directory's postmaster to end, and returns it: pid and when it
// was started. Empty when there is none.
func (l Local) EndReceiver(dir string) map[int]uint64 {
	return l.end(dir, func(pid int, _ string) bool { return strings.HasPrefix(kind(pid), "walreceiver") })
}

// Sending says whether the directory's postmaster has WAL senders.
func (l Local) Sending(dir string) bool {
	parent, _, _, running := l.Find(dir)
	return running && slices.ContainsFunc(children(parent), func(s stat) bool { return strings.HasPrefix(kind(s.pid), "walsender") })
}

// kind is the title of a server's process without what all of them begin with; "" for no such process.
func kind(pid int) string {
	text, titled := strings.CutPrefix(title(pid), "postgres: ")
	if _, after, named := strings.Cut(text, ": "); named { // cluster_name comes first
		text = after
	}
	if !titled {
		return ""
	}
	return text
}

// end asks those children of the directory's postmaster to end that are right; own is the postmaster's title.
func (l Local) end(dir string, right func(pid int, own string) bool) map[int]uint64 {
	parent, _, _, running := l.Find(dir)
	if !running {
		return nil
	}
	ended, own := map[int]uint64{}, title(parent)
	for _, s := range children(parent) {
		if right(s.pid, own) && l.Signal(s.pid, s.started, syscall.SIGTERM) == nil {
			ended[s.pid] = s.started
		}
	}
	return ended
}

// children are those of a process with a single thread, such as a postmaster. The kernel lists them, if it was
// built so; looking at every process of a host instead takes many times as long.
func children(parent int) (found []stat) {
	pid := strconv.Itoa(parent)
	text, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		all, _ := list() // without /proc there is nothing to be found
		return slices.DeleteFunc(all, func(s stat) bool { return s.parent != parent })
	}
	for field := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			continue
		}
		if s, err := read(child); err == nil && s.parent == parent { // otherwise it ended meanwhile
			found = append(found, s)
		}
	}
	return found
}

// title is a process' command line as it is now; "" when it is gone.
func title(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(text), "\x00 ")
}

// Progress moves with what a recovery or a rewind in the directory reads and writes, in bytes; 0 when
// neither is at work. Where no postmaster runs every process of the host is looked at.
func (l Local) Progress(dir string) (bytes uint64) {
	var all []stat
	if parent, _, _, running := l.Find(dir); running {
		all = children(parent)
	} else {
		all, _ = list() // without /proc there is nothing to be found
	}
	dir = resolve(dir)
	for _, s := range all {
		if text := title(s.pid); (strings.Contains(text, ": startup") || strings.Contains(text, "pg_rewind")) && worksIn(s.pid, dir) {
			bytes += moved(s.pid)
		}
	}
	return bytes
}

// moved is what a process has read and written, in bytes; 0 when it ended meanwhile.
func moved(pid int) (bytes uint64) {
	counters, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(counters)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil && (name == "rchar" || name == "wchar") {
			bytes += n
		}
	}
	return bytes
}
