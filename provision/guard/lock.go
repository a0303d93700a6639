package guard

import (
	"bufio"
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockMemory keeps every page that this process uses from here on in memory, and stops the collector: what
// comes after must not allocate. On fault: pages that are not used cost nothing, and those that only the
// start of the program used are let go before. Without the privilege (CAP_IPC_LOCK, or a limit that is high
// enough) it fails, and the caller goes on unlocked.
func LockMemory() error {
	// Without huge pages: each would make 2 MB resident for the sake of a few bytes. Kernels that cannot
	// do that have none.
	_ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0)
	debug.SetGCPercent(-1)
	debug.FreeOSMemory()
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
		forget(maps)
	}
	return os.NewSyscallError("mlockall", unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT))
}

// forget unmaps the pages of the program's code and constants; the kernel maps those anew that are used.
func forget(maps []byte) {
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		f := strings.Fields(lines.Text()) // from-to, permissions, offset, device, inode, path
		if len(f) < 6 || f[1] != "r-xp" && f[1] != "r--p" || !strings.HasPrefix(f[5], "/") {
			continue
		}
		first, last, _ := strings.Cut(f[0], "-")
		from, err1 := strconv.ParseUint(first, 16, 64)
		to, err2 := strconv.ParseUint(last, 16, 64)
		if err1 == nil && err2 == nil { // what it refuses stays mapped
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(from), uintptr(to-from), unix.MADV_DONTNEED)
		}
	}
}

// rehearse goes through everything that a kill needs, so that it is in memory before memory is short.
func (g *Guard) rehearse() {
	nobody := record{Inode: ^uint64(0)}
	g.hunter.hunt(&nobody)
	g.hunter.kill(victim{pid: g.hunter.self}) // of another start: nothing is sent
}
