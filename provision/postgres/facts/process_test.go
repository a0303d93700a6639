package facts

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// children are the pids and titles of the postmaster's processes.
func (s *server) children() map[int]string {
	found := map[int]string{}
	proc, err := os.Open("/proc")
	s.must(err)
	defer proc.Close()
	names, err := proc.Readdirnames(0)
	s.must(err)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if parent, _ := status(pid); parent == s.pid {
			title, _ := os.ReadFile("/proc/" + name + "/cmdline") // empty when it has gone meanwhile
			found[pid] = strings.Trim(string(title), "\x00 ")
		}
	}
	return found
}

// status is a process's parent, 0 when it is gone, and its state as /proc shows it.
func status(pid int) (parent int, state string) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, ""
	}
	// The name in parentheses may contain anything, also parentheses.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return 0, ""
	}
	parent, _ = strconv.Atoi(fields[1])
	return parent, fields[0]
}

// find is the pid of the child whose title begins with "postgres: " and the kind given, 0 without one.
func (s *server) find(kind string) int {
	for pid, title := range s.children() {
		if strings.HasPrefix(title, "postgres: "+kind) {
			return pid
		}
	}
	return 0
}

// child waits for a process of a kind.
func (s *server) child(kind string) (pid int) {
	s.Helper()
	s.until(s.name+" has a "+kind, func() bool {
		pid = s.find(kind)
		return pid != 0
	})
	return pid
}

// sender waits for the WAL sender that serves an application name.
func (s *server) sender(name string) (pid int) {
	s.Helper()
	s.until(s.name+" has a WAL sender for "+name, func() bool {
		pid, _ = strconv.Atoi(s.ask("select max(pid) from pg_stat_replication where application_name = '" + name + "'"))
		return pid != 0
	})
	return pid
}

// freeze stops a process, as a hung host or a stalled disk would, and sees it stopped.
func (s *server) freeze(pid int) {
	s.Helper()
	s.frozen = append(s.frozen, pid)
	s.must(syscall.Kill(pid, syscall.SIGSTOP))
	s.until("the process stands still", func() bool {
		_, state := status(pid)
		return state == "T"
	})
}

// quiet freezes the background writer, the only process that writes WAL unasked: a record now and then,
// which would let two standbys end at different places.
func (s *server) quiet() *server {
	s.Helper()
	s.freeze(s.child("background writer"))
	return s
}

// thaw lets a frozen process go on.
func (s *server) thaw(pid int) {
	s.Helper()
	s.frozen = slices.DeleteFunc(s.frozen, func(f int) bool { return f == pid })
	s.must(syscall.Kill(pid, syscall.SIGCONT))
}

// thawAll lets all frozen processes go on, after the server was told to end: they see that first.
func (s *server) thawAll() {
	for _, pid := range s.frozen {
		_ = syscall.Kill(pid, syscall.SIGCONT) // it may be gone
	}
	s.frozen = nil
}
