# Shared by the scripts beside it: sourced, not run.
# shellcheck shell=bash

say() { printf '==> %s\n' "$*" >&2; }

fail() {
	printf 'error: %s\n' "$1" >&2
	shift
	for hint in "$@"; do printf '       %s\n' "$hint" >&2; done
	exit 1
}

# as_root runs a command as root: directly, or through sudo.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		fail "this needs root, and there is no sudo: $*" "Run it once as root, then again as you do now."
	fi
}

# as_postgres runs a command as the OS user that runs PostgreSQL in tests: postgres for root
# (PostgreSQL refuses root), otherwise whoever is here.
as_postgres() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

# apt_install installs Debian packages with progress lines and no questions.
apt_install() {
	command -v apt-get >/dev/null ||
		fail "these Debian packages are needed, and there is no apt-get here: $*" \
			"Install what corresponds to them with this system's package manager, then run this again."
	say "installing $* (apt-get, as root)"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update >&2
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends \
		-o Dpkg::Use-Pty=0 "$@" >&2
}

# postgres_bins prints the folders of the supported PostgreSQL versions that the distribution installed.
postgres_bins() {
	for major in 15 16 17 18; do
		if [ -x "/usr/lib/postgresql/$major/bin/initdb" ] && [ -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
			echo "/usr/lib/postgresql/$major/bin"
		fi
	done
}
