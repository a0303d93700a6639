package guard

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	victimsMost = 4096    // of one round; more are found in the next
	pidMost     = 1 << 22 // the kernel's own limit
)

// hunter finds and kills all processes of an instance without allocating. A process is named by pid and
// start time, and killed through a descriptor that cannot become another's: a pid that was used again is
// never hit.
type hunter struct {
	proc    int    // descriptor of /proc
	cgroups string // where the unified hierarchy is mounted; "" if it is not
	self    int32
	signal  unix.Signal
	entries [8192]byte
	path    [256]byte
	text    [4096]byte
	stat    unix.Stat_t
	known   [pidMost / 8]byte // one bit for each pid among the victims
	victims []victim
}

type victim struct {
	pid     int32
	started uint64
}

// process is what /proc/PID/stat says.
type process struct {
	pid, parent, session int32
	started              uint64
	dead                 bool
}

func newHunter() (*hunter, error) {
	fd, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	return &hunter{proc: fd, cgroups: unifiedHierarchy(), self: int32(os.Getpid()), signal: unix.SIGKILL, victims: make([]victim, 0, victimsMost)}, nil
}

func (h *hunter) close() { _ = unix.Close(h.proc) } // only read from

// hunt kills every process of the instance that it finds, and says how many these were and how many of
// them are left. Nothing found: the instance is gone.
func (h *hunter) hunt(r *record) (killed, found int) {
	for _, v := range h.victims {
		h.known[v.pid/8] = 0
	}
	h.victims = h.victims[:0]
	for grown := true; grown; { // children of children, in whatever order they are listed
		grown = h.gather(r)
	}
	if len(h.victims) == 0 {
		return 0, 0
	}
	h.killGroup(r)
	for _, v := range h.victims {
		if h.kill(v) {
			killed++
		}
	}
	return killed, len(h.victims)
}

// gather goes through all processes once and says whether it found new victims.
func (h *hunter) gather(r *record) (grown bool) {
	if _, err := unix.Seek(h.proc, 0, 0); err != nil {
		return false
	}
	for {
		n, err := unix.Getdents(h.proc, h.entries[:])
		if err != nil || n <= 0 {
			return grown
		}
		for at := 0; at < n; {
			size := int(h.entries[at+16]) | int(h.entries[at+17])<<8
			pid := number(h.entries[at+19 : at+size])
			at += size
			if pid <= 1 || pid >= pidMost || int32(pid) == h.self || h.isKnown(int32(pid)) || len(h.victims) == victimsMost {
				continue
			}
			if p, ok := h.read(int32(pid)); ok && !p.dead && h.belongs(p, r) {
				h.victims = append(h.victims, victim{p.pid, p.started})
				h.known[p.pid/8] |= 1 << (p.pid % 8)
				grown = true
			}
		}
	}
}

// belongs says whether a process is the instance's: its postmaster, a program of PostgreSQL that works in
// its directory, what these started, and what is left of their sessions.
func (h *hunter) belongs(p process, r *record) bool {
	return p.pid == r.PID && p.started == r.Started && r.PID > 0 ||
		h.isVictim(p.parent) || p.session != p.pid && h.isVictim(p.session) || h.worksIn(p.pid, r)
}

func (h *hunter) isKnown(pid int32) bool {
	return pid > 0 && pid < pidMost && h.known[pid/8]&(1<<(pid%8)) != 0
}

// isVictim says whether the process that has this pid now is one of the victims.
func (h *hunter) isVictim(pid int32) bool {
	if !h.isKnown(pid) {
		return false
	}
	p, ok := h.read(pid)
	for _, v := range h.victims {
		if v.pid == pid {
			return !ok || p.started == v.started // gone: its session keeps the pid from being used again
		}
	}
	return false
}

// worksIn says whether the process is a server of PostgreSQL in the instance's directory.
func (h *hunter) worksIn(pid int32, r *record) bool {
	if r.Inode == 0 {
		return false
	}
	fd, ok := h.open(pid, "/cwd", unix.O_PATH)
	if !ok {
		return false
	}
	err := unix.Fstat(fd, &h.stat)
	_ = unix.Close(fd) // only looked at
	if err != nil || h.stat.Dev != r.Device || h.stat.Ino != r.Inode {
		return false
	}
	h.name(pid, "/exe")
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(h.proc), uintptr(unsafe.Pointer(&h.path[0])),
		uintptr(unsafe.Pointer(&h.text[0])), uintptr(len(h.text)), 0, 0)
	if errno != 0 {
		return false
	}
	exe := bytes.TrimSuffix(h.text[:n], deleted)
	return bytes.HasSuffix(exe, server)
}

var (
	deleted = []byte(" (deleted)") // the kernel's mark of a program that was upgraded meanwhile
	server  = []byte("/postgres")
)

// kill sends SIGKILL to the very process that was found.
func (h *hunter) kill(v victim) bool {
	fd, err := unix.PidfdOpen(int(v.pid), 0)
	if err != nil && !errors.Is(err, unix.ENOSYS) {
		return false
	}
	old := err != nil // a kernel before 5.3: the look below is as near as it gets
	if p, ok := h.read(v.pid); !ok || p.started != v.started || p.dead {
		err = unix.ESRCH
	} else if old {
		err = unix.Kill(int(v.pid), h.signal)
	} else {
		err = unix.PidfdSendSignal(fd, h.signal, nil, 0)
	}
	if !old {
		_ = unix.Close(fd) // it was only for the signal
	}
	return err == nil
}

// killGroup kills the instance's control group at once, so that nobody in it can fork away.
func (h *hunter) killGroup(r *record) {
	group := upToZero(r.Group[:])
	if len(group) == 0 || h.cgroups == "" || bytes.Contains(group, dots) {
		return
	}
	p := append(append(append(h.text[:0], h.cgroups...), group...), "/cgroup.kill\x00"...)
	fd, errno := openRaw(unix.AT_FDCWD, p, unix.O_WRONLY)
	if errno != 0 {
		return // a kernel before 5.14, or no such group: one by one then
	}
	_, _ = unix.Write(fd, one) // whoever is left is killed one by one
	_ = unix.Close(fd)         // only written to
}

var (
	one  = []byte("1")
	dots = []byte("..")
)

// name puts a path below /proc into the buffer.
func (h *hunter) name(pid int32, what string) {
	b := appendNumber(h.path[:0], uint64(pid))
	_ = append(append(b, what...), 0)
}

func (h *hunter) open(pid int32, what string, flags uintptr) (int, bool) {
	h.name(pid, what)
	fd, errno := openRaw(h.proc, h.path[:], flags)
	return fd, errno == 0
}

// read looks at a process; false when it is gone.
func (h *hunter) read(pid int32) (process, bool) {
	fd, ok := h.open(pid, "/stat", unix.O_RDONLY)
	if !ok {
		return process{}, false
	}
	n, err := unix.Read(fd, h.text[:])
	_ = unix.Close(fd) // only read
	if err != nil {
		return process{}, false
	}
	p, ok := parseStat(h.text[:n])
	return p, ok && p.pid == pid
}

// parseStat reads a line of proc(5). The program's name, in parentheses, may contain anything.
func parseStat(line []byte) (p process, ok bool) {
	end := bytes.LastIndexByte(line, ')')
	if end < 0 || end+2 >= len(line) {
		return p, false
	}
	p.pid = int32(number(line))
	rest := line[end+2:]
	p.dead = rest[0] == 'Z' || rest[0] == 'X'
	const parent, session, started = 1, 3, 19 // counted from the state
	for field := 0; field <= started; field++ {
		switch field {
		case parent:
			p.parent = int32(number(rest))
		case session:
			p.session = int32(number(rest))
		case started:
			p.started = number(rest)
			return p, true
		}
		space := bytes.IndexByte(rest, ' ')
		if space < 0 {
			break
		}
		rest = rest[space+1:]
	}
	return p, false
}

// number reads the digits at the beginning; 0 when there are none.
func number(b []byte) (n uint64) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// unifiedHierarchy finds where control groups of the second version are mounted.
func unifiedHierarchy() string {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 2 && f[2] == "cgroup2" && len(f[1]) < 200 {
			return f[1]
		}
	}
	return ""
}

// groupOf is the control group of a process if it is the unit of that instance alone; killing any other
// one would hit strangers.
func groupOf(pid int, instance string) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		group, unified := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if unified && filepath.Base(group) == "pgctl-postgres@"+instance+".service" {
			return group
		}
	}
	return ""
}
