package hosts

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	rootCache = "/var/cache/pgctl-lab"
	suite     = "bookworm"
	rootLimit = 15 * time.Minute
)

// What every host has installed. PostgreSQL comes without a cluster of its own.
var rootPackages = []string{
	"systemd", "systemd-sysv", "dbus", "openssh-server", "iproute2", "procps", "ca-certificates", "postgresql-15",
}

// Units that only cost time in a lab.
var rootMasked = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
	"e2scrub_reap.service", "systemd-tmpfiles-clean.timer", "console-getty.service", "postgresql.service",
	"systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service",
}

const (
	noCluster = `mkdir -p "$1/etc/postgresql-common/createcluster.d" && ` +
		`echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.d/lab.conf"`
	maskUnits = `for unit in %s; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done`
)

// Root makes the root file system that all hosts share, or finds it in the cache, and returns its
// folder. Making it needs a Debian mirror and takes a minute. More are packages beside those that every
// lab has: such a root is another one.
func Root(ctx context.Context, more []string, say func(string, ...any)) (string, error) {
	packages := slices.Concat(rootPackages, more)
	args := []string{
		"--quiet", "--variant=minbase", "--format=directory", "--include=" + strings.Join(packages, ","),
		`--aptopt=Acquire::Languages "none"`, "--essential-hook=" + noCluster,
		"--customize-hook=" + fmt.Sprintf(maskUnits, strings.Join(rootMasked, " ")), suite,
	}
	// Another recipe makes another root; what hosts have written lies above the one they began with.
	sum := sha256.Sum256([]byte(strings.Join(args, "\n")))
	root := filepath.Join(rootCache, fmt.Sprintf("root-%x", sum[:6]))
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	if err := os.MkdirAll(rootCache, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(rootCache, ".root-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	say("making the root file system of the hosts (mmdebstrap, Debian %s): once, about a minute", suite)
	ctx, cancel := context.WithTimeout(ctx, rootLimit)
	defer cancel()
	made := filepath.Join(work, "root")
	if _, err := run(ctx, "mmdebstrap", append(args, made)...); err != nil {
		return "", err
	}
	return root, os.Rename(made, root) // whole, or not at all
}
