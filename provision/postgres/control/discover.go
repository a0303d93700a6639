package control

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

// BinFolders is where distributions install PostgreSQL, as globs.
var BinFolders = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin"}

var versionPattern = regexp.MustCompile(`^postgres \(PostgreSQL\) (([0-9]+)\.([0-9]+))`)

// Discover finds the installations of supported versions in folders (globs), the newest of each major
// version, sorted. What cannot be run there is left out.
func Discover(ctx context.Context, globs []string) []pgctl.PostgresVersion {
	newest, minors := map[int]pgctl.PostgresVersion{}, map[int]int{}
	for _, glob := range globs {
		found, err := filepath.Glob(filepath.Join(glob, "postgres"))
		if err != nil {
			continue
		}
		for _, path := range found {
			v, minor, err := versionOf(ctx, path)
			if err == nil && (newest[v.Major].Major == 0 || minor > minors[v.Major]) {
				newest[v.Major], minors[v.Major] = v, minor
			}
		}
	}
	var all []pgctl.PostgresVersion
	for major := config.OldestMajor; major <= config.NewestMajor; major++ {
		if v, ok := newest[major]; ok {
			all = append(all, v)
		}
	}
	return all
}

func versionOf(ctx context.Context, path string) (v pgctl.PostgresVersion, minor int, err error) {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return v, 0, err
	}
	m := versionPattern.FindStringSubmatch(string(out))
	if m == nil {
		return v, 0, fmt.Errorf("%s is of no released version: %s", path, out)
	}
	v = pgctl.PostgresVersion{Version: m[1], Bin: filepath.Dir(path)}
	if v.Major, err = strconv.Atoi(m[2]); err == nil {
		minor, err = strconv.Atoi(m[3])
	}
	return v, minor, err
}

// LoadCatalog asks the server program in a folder for its settings.
func LoadCatalog(ctx context.Context, bin string) (config.Catalog, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--describe-config").Output()
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", bin, err)
	}
	return config.ParseCatalog(string(out))
}
