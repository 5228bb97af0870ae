# What test/run and demo/run share, and what a test in test/cluster may use: find or install PostgreSQL, build
# in a scratch copy, start and stop throw-away servers, leave nothing behind. To be sourced by bash.
# shellcheck shell=bash
#
# A server of ours lives in $SCRATCH/<name>/, listens on a Unix socket in there and nowhere else, and runs as
# the user "postgres" if we are root, as ourselves otherwise. Servers that were there before are never touched.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "$*" >&2; }
die() {
	complain "$(basename "$0"): $*"
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "this needs root or sudo: $*"
	fi
}

# ---------------------------------------------------------------- the scratch folder, and leaving no trace

# Makes $SCRATCH and sees to it that it goes away again, and all that runs in it, however this script ends.
# Root's TMPDIR may be closed to the user "postgres", so root uses /tmp.
open_scratch() {
	local parent=${TMPDIR:-/tmp}
	[ "$(id -u)" -ne 0 ] || parent=/tmp
	SCRATCH=$(mktemp -d "$parent/integrity.XXXXXX")
	trap leave EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	chmod 755 "$SCRATCH"
	mkdir -m 1777 "$SCRATCH/tmp"
	export TMPDIR="$SCRATCH/tmp" SCRATCH
	# Whatever the caller's environment says of PostgreSQL is about other servers.
	local name
	for name in ${!PG@}; do
		case $name in PG_CONFIG | PG_MAJOR | PG_OLDER) ;; *) unset "$name" ;; esac
	done
	export LC_ALL=C.UTF-8
}

leave() {
	local status=$?
	trap - EXIT
	trap '' HUP INT TERM
	set +e
	[ -z "${WATCHED:-}" ] || kill -TERM -- "-$WATCHED" 2>/dev/null
	kill_servers
	# An interrupted program may still be writing for a moment.
	local try
	for try in 1 2 3 4 5; do
		rm -rf "$SCRATCH" 2>/dev/null && break
		sleep "0.$try"
	done
	if declare -F at_exit >/dev/null; then at_exit "$status"; fi
	exit "$status"
}

# Ends every server whose data lies in $SCRATCH. A process is one of them only if it works in that very folder.
kill_servers() {
	local file pid data signal
	for signal in QUIT KILL; do
		while IFS= read -r file; do
			data=$(dirname "$file")
			pid=$(head -n 1 "$file" 2>/dev/null)
			[ "$(readlink "/proc/$pid/cwd")" = "$data" ] || continue
			kill "-$signal" "$pid" 2>/dev/null
			local tries=50
			while [ -d "/proc/$pid" ] && [ "$tries" -gt 0 ]; do
				sleep 0.1
				tries=$((tries - 1))
			done
		done < <(find "$SCRATCH" -name postmaster.pid 2>/dev/null)
	done
}

# watched <log> <command>...: runs it so that an interrupt ends it at once, with all that it started; bash itself
# would wait for it. Its output is appended to the log, or shown if that is "-". Only the program's output is
# redirected: leave() runs in the midst of this and has something to say.
WATCHED=
watched() {
	local log=$1 status=0
	shift
	if [ "$log" = - ]; then
		setsid "$@" <&0 &
	else
		setsid "$@" <&0 >>"$log" 2>&1 &
	fi
	WATCHED=$!
	wait "$WATCHED" || status=$?
	WATCHED=
	return "$status"
}

# ---------------------------------------------------------------- PostgreSQL and the tools

has_server() { [ -x "/usr/lib/postgresql/$1/bin/postgres" ]; }
has_development() {
	[ -x "/usr/lib/postgresql/$1/bin/pg_config" ] && [ -x "/usr/lib/postgresql/$1/lib/pgxs/src/test/regress/pg_regress" ]
}
installed_majors() { find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | grep -E '^[0-9]+$' | sort -rn; }

# The major version to use: what the caller says, the newest that is there as a whole, the newest server, and
# on a machine that has none what the distribution's own "postgresql" is.
choose_major() {
	local major
	if [ -n "${PG_MAJOR:-}" ]; then
		say "$PG_MAJOR"
		return
	fi
	for major in $(installed_majors); do
		if has_server "$major" && has_development "$major"; then
			say "$major"
			return
		fi
	done
	for major in $(installed_majors); do
		if has_server "$major"; then
			say "$major"
			return
		fi
	done
	refresh_packages >&2
	major=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
	[ -n "$major" ] || die "no PostgreSQL here, and no package of it: install one, or say PG_CONFIG=/path/to/pg_config"
	say "$major"
}

refresh_packages() {
	[ -e "$SCRATCH/refreshed" ] && return
	command -v apt-get >/dev/null || die "no apt-get here: install PostgreSQL, g++ and make yourself, and say PG_CONFIG=/path/to/pg_config"
	say "== apt-get update"
	as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
	touch "$SCRATCH/refreshed"
}

# has_package <package>: pg_cron is not packaged for every version of PostgreSQL. Asks for new lists only if there are none.
has_package() {
	command -v apt-cache >/dev/null || return 1
	[ -n "$(apt-cache show libc6 2>/dev/null)" ] || refresh_packages
	[ -n "$(apt-cache show "$1" 2>/dev/null)" ]
}

# install_packages <package>...: what is named here is missing. No cluster is made of a new server, and no
# package that is here already gets another version.
install_packages() {
	[ $# -gt 0 ] || return 0
	refresh_packages
	say "== apt-get install $*"
	local dir=/etc/postgresql-common/createcluster.d status=0
	as_root mkdir -p "$dir"
	as_root sh -c "echo 'create_main_cluster = false' >'$dir/integrity.conf'"
	# Not watched: an interrupted dpkg is worse than a late end.
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
		--no-install-recommends --no-upgrade -y install "$@" >"$SCRATCH/apt.log" 2>&1 || status=$?
	as_root rm -f "$dir/integrity.conf"
	if [ "$status" -ne 0 ]; then
		complain "$(tail -n 40 "$SCRATCH/apt.log")"
		die "apt-get could not install: $*"
	fi
}

# need <test|build>: sees to PostgreSQL and the tools, and sets PG_CONFIG, PGBIN and PG_MAJOR. PG_OLDER may name the
# major version of a second server, for the tests of the way from one to the other.
need() {
	local missing=()
	command -v g++ >/dev/null || missing+=(g++)
	command -v make >/dev/null || missing+=(make)
	if [ "$1" = test ]; then
		command -v readelf >/dev/null || missing+=(binutils)
		command -v cmake >/dev/null || missing+=(cmake)
		[ -e /usr/include/gtest/gtest.h ] || missing+=(libgtest-dev)
		command -v xmllint >/dev/null || missing+=(libxml2-utils)
		command -v pg_prove >/dev/null || missing+=(libtap-parser-sourcehandler-pgtap-perl)
	fi
	if [ -z "${PG_CONFIG:-}" ]; then
		PG_MAJOR=$(choose_major)
		PG_CONFIG=/usr/lib/postgresql/$PG_MAJOR/bin/pg_config
		has_server "$PG_MAJOR" || missing+=("postgresql-$PG_MAJOR")
		has_development "$PG_MAJOR" || missing+=("postgresql-server-dev-$PG_MAJOR")
		if [ "$1" = test ] && [ ! -e "/usr/lib/postgresql/$PG_MAJOR/lib/pg_cron.so" ] && has_package "postgresql-$PG_MAJOR-cron"; then
			missing+=("postgresql-$PG_MAJOR-cron")
		fi
	fi
	if [ "$1" = test ] && [ -n "${PG_OLDER:-}" ]; then
		has_server "$PG_OLDER" || missing+=("postgresql-$PG_OLDER")
		has_development "$PG_OLDER" || missing+=("postgresql-server-dev-$PG_OLDER")
	fi
	install_packages ${missing[@]+"${missing[@]}"}
	PGBIN=$("$PG_CONFIG" --bindir)
	PG_MAJOR=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
	export PG_CONFIG PGBIN PG_MAJOR
	as_server_user
	say "== $("$PG_CONFIG" --version)"
}

# ---------------------------------------------------------------- building

# copy_source <new folder>: the source tree, so that a read-only checkout will do and nothing is left in it.
copy_source() {
	mkdir "$1"
	tar -C "$TOP" --exclude=./.git --exclude=./build -cf - . | tar -C "$1" --no-same-owner -xf -
	chmod -R u+w "$1"
}
# copy_tree: to $SCRATCH/tree, ready to be built with $PG_CONFIG.
copy_tree() {
	copy_source "$SCRATCH/tree"
	make -s -C "$SCRATCH/tree" clean >/dev/null
}

# build_module <log>: also when it fails the log is there. In short tests without the bitcode for JIT, half of the work.
build_module() { watched "$1" make -C "$SCRATCH/tree" -j "$(nproc)" ${TEST_SHORT:+with_llvm=no}; }
install_module() { as_root make -s -C "$SCRATCH/tree" PG_CONFIG="$PG_CONFIG" ${TEST_SHORT:+with_llvm=no} install >"$1" 2>&1; }

# ---------------------------------------------------------------- a PostgreSQL of its own

# For what must not touch the installed PostgreSQL, and may run beside others that do: a copy in $SCRATCH/root. PostgreSQL finds its
# files by where its program is, so a copy with the same folders below another root works alone.
copy_postgresql() {
	local folder
	for folder in "$PGBIN" "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)"; do
		mkdir -p "$SCRATCH/root$folder"
		cp -a "$folder/." "$SCRATCH/root$folder/"
	done
	# What is installed may be of another version, and is not what is meant.
	rm -f "$SCRATCH/root$("$PG_CONFIG" --pkglibdir)/integrity.so" "$SCRATCH/root$("$PG_CONFIG" --sharedir)"/extension/integrity{.control,--*.sql}
	export PGBIN="$SCRATCH/root$PGBIN"
}

# What is built in $SCRATCH/tree goes to where the copy looks; a new session loads it.
install_in_copy() {
	local tree=$SCRATCH/tree root=$SCRATCH/root
	install -m 755 "$tree/integrity.so" "$root$("$PG_CONFIG" --pkglibdir)/" &&
		install -m 644 "$tree"/integrity.control "$tree"/integrity--*.sql "$tree"/upgrade/*.sql "$root$("$PG_CONFIG" --sharedir)/extension/"
}

# ---------------------------------------------------------------- servers

# A server does not run as root. AS_SERVER goes before a command that must run as the server's user.
AS_SERVER=()
as_server_user() {
	if [ "$(id -u)" -eq 0 ]; then
		AS_SERVER=(setpriv --reuid=postgres --regid=postgres --init-groups env "HOME=$SCRATCH/tmp" USER=postgres LOGNAME=postgres)
	fi
}

# give_to_server <path>...: the server's user may write there.
give_to_server() {
	if [ "$(id -u)" -eq 0 ]; then chown -R postgres:postgres "$@"; fi
}

# use_server <name>: psql and its like talk to this one from now on.
use_server() { export PGHOST="$SCRATCH/$1/socket" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres; }

# make_server <name> [<initdb option>...]: a new data folder, $SCRATCH/<name>/data.
make_server() {
	local name=$1
	shift
	make_server_folder "$name"
	"${AS_SERVER[@]}" "$PGBIN/initdb" -D "$SCRATCH/$name/data" -U postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
		--no-sync "$@" >"$SCRATCH/$name/initdb.log" 2>&1 || die "initdb failed: $(cat "$SCRATCH/$name/initdb.log")"
}

# Only the server's user, and root, gets at the socket: every connection is trusted.
make_server_folder() {
	mkdir -p "$SCRATCH/$1"
	mkdir -m 700 "$SCRATCH/$1/socket"
	give_to_server "$SCRATCH/$1"
}

# start_server <name> [<setting>=<value>...]
start_server() {
	local name=$1 setting options
	shift
	options="-c listen_addresses='' -c unix_socket_directories='$SCRATCH/$name/socket' -c port=5432 -c fsync=off"
	for setting in "$@"; do options+=" -c $(printf %q "$setting")"; done
	"${AS_SERVER[@]}" "$PGBIN/pg_ctl" -w -s -D "$SCRATCH/$name/data" -l "$SCRATCH/$name/log" -o "$options" start ||
		die "the server does not start: $(tail -n 20 "$SCRATCH/$name/log")"
}

# stop_server <name> [smart|fast|immediate]
stop_server() { "${AS_SERVER[@]}" "$PGBIN/pg_ctl" -w -s -D "$SCRATCH/$1/data" -m "${2:-fast}" stop; }
