# What the scripts in test/instruments share. To be sourced by bash.
# shellcheck shell=bash
#
# Each of them puts the code under one instrument, works on a fresh Debian, and ends in a line that says "passed" or
# "FAILED", and in the exit status; 77 means skipped, and the last line says why.

# shellcheck source=test/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

INSTRUMENT=$(basename "$0")
findings=0
finding() {
	findings=$((findings + 1))
	say "FINDING $*"
}
show() { if [ -s "$1" ]; then tail -n "${2:-60}" "$1" | sed 's/^/    | /'; fi; }

# The last line, whatever happened. Called by leave() in test/lib.sh.
finished=
at_exit() {
	local status=$1
	if [ -z "$finished" ] && [ "$status" -eq 0 ]; then status=1; fi
	if [ "$findings" -gt 0 ] && [ "$status" -eq 0 ]; then status=1; fi
	if [ "$status" -eq 77 ]; then
		say "$INSTRUMENT: skipped: ${SKIPPED:-}"
	elif [ "$status" -eq 0 ]; then
		say "$INSTRUMENT: passed"
	else
		say "$INSTRUMENT: FAILED ($findings findings, exit status $status)"
	fi
	exit "$status"
}
finish() {
	finished=yes
	exit 0
}
skip_all() {
	SKIPPED="$*"
	exit 77
}

# packages <command or file>=<package>...: installs the packages of what is not there.
packages() {
	local pair missing=()
	for pair in "$@"; do
		case $pair in
			/*) [ -e "${pair%%=*}" ] || missing+=("${pair#*=}") ;;
			*) command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}") ;;
		esac
	done
	install_packages ${missing[@]+"${missing[@]}"}
}

# ---------------------------------------------------------------- a server that checks itself

# Fetches the source of the distribution's PostgreSQL into $SCRATCH/postgresql. The lists of source packages are
# made from the machine's own lists, in the scratch folder, so nothing of the machine is changed.
fetch_source() {
	local major=$1 folder=$SCRATCH/apt file version versions
	local options=(-o "Dir::State::lists=$folder/lists" -o "Dir::Etc::sourcelist=$folder/sources.list"
		-o "Dir::Etc::sourceparts=$folder/parts" -o "Dir::Cache=$folder/cache" -o "APT::Sandbox::User=$(id -un)")
	mkdir -p "$folder/lists/partial" "$folder/parts" "$folder/cache/archives/partial"
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
		[ -e "$file" ] || continue
		case $file in
			*.list) sed -n 's/^deb /deb-src /p' "$file" >"$folder/parts/$(basename "$file")" ;;
			*.sources) sed 's/^Types:.*/Types: deb-src/' "$file" >"$folder/parts/$(basename "$file")" ;;
		esac
	done
	: >"$folder/sources.list"
	# A repository without sources is an error to apt; what counts is whether ours is found.
	apt-get -qq "${options[@]}" update >"$folder/log" 2>&1 || true
	# A mirror may list a version and not have it; the one of the release itself will do.
	versions=$(apt-cache "${options[@]}" showsrc "postgresql-$major" 2>>"$folder/log" | sed -n 's/^Version: //p')
	for version in $versions; do
		if (cd "$folder" && apt-get -qq "${options[@]}" source --download-only "postgresql-$major=$version") >>"$folder/log" 2>&1; then
			break
		fi
	done
	file=$(find "$folder" -maxdepth 1 -name "postgresql-${major}_*.orig.tar.*" | head -n 1)
	if [ -z "$file" ]; then
		show "$folder/log" 10
		skip_all "no source package of postgresql-$major to be had here"
	fi
	mkdir "$SCRATCH/postgresql"
	tar -C "$SCRATCH/postgresql" --strip-components=1 --no-same-owner -xf "$file"
}

# Builds a server with assertions, checks of its memory contexts and the requests to valgrind in it, and sets
# PG_CONFIG to it. CHECKED_PG may name one that was built so before.
checked_server() {
	if [ -n "${CHECKED_PG:-}" ]; then
		PG_CONFIG=$CHECKED_PG/bin/pg_config
		need build
		return
	fi
	local major=${PG_MAJOR:-15} log=$SCRATCH/postgresql.log
	packages gcc=gcc g++=g++ make=make bison=bison flex=flex pkg-config=pkg-config perl=perl bzip2=bzip2 \
		/usr/include/unicode/ucol.h=libicu-dev /usr/include/libxml2/libxml/parser.h=libxml2-dev /usr/include/valgrind/memcheck.h=valgrind
	say "== PostgreSQL $major from its source package, with assertions"
	fetch_source "$major"
	if ! (cd "$SCRATCH/postgresql" && ./configure --prefix="$SCRATCH/pg" --enable-cassert --enable-debug --with-icu --with-libxml \
		--without-readline --without-zlib CPPFLAGS=-DUSE_VALGRIND CFLAGS='-O1 -g') >"$log" 2>&1 ||
		! watched "$log" make -s -C "$SCRATCH/postgresql" -j "$(nproc)" all ||
		! watched "$log" make -s -C "$SCRATCH/postgresql" install ||
		! watched "$log" make -s -C "$SCRATCH/postgresql/src/test/isolation" install ||
		! watched "$log" make -s -C "$SCRATCH/postgresql/contrib" -j "$(nproc)" install; then
		show "$log"
		die "PostgreSQL cannot be built here"
	fi
	PG_CONFIG=$SCRATCH/pg/bin/pg_config
	need build
}

# ---------------------------------------------------------------- the module and the suites

# build_and_install [<make variable>=<value>...]
build_and_install() {
	local log=$SCRATCH/build.log
	if ! watched "$log" make -C "$SCRATCH/tree" -j "$(nproc)" with_llvm=no PG_CONFIG="$PG_CONFIG" "$@" ||
		! as_root make -s -C "$SCRATCH/tree" with_llvm=no PG_CONFIG="$PG_CONFIG" "$@" install >>"$log" 2>&1; then
		show "$log"
		die "the module cannot be built"
	fi
}

# regression_tests [<test to leave out>...]: the names of all others.
regression_tests() {
	make -s -C "$SCRATCH/tree" PG_CONFIG="$PG_CONFIG" list-regress | grep -vxF "$(printf '%s\n' openflights "$@")"
}
isolation_tests() { make -s -C "$SCRATCH/tree" PG_CONFIG="$PG_CONFIG" list-isolation; }

# suite <regression|isolation> <test>...: a test whose output differs is a finding.
suite() {
	local kind=$1 other=ISOLATION variable=REGRESS diffs=. name log=$SCRATCH/$1.log
	shift
	if [ "$kind" = isolation ]; then
		other=REGRESS variable=ISOLATION diffs=output_iso
	fi
	say "== $kind: $# tests"
	give_to_server "$SCRATCH/tree"
	watched "$log" "${AS_SERVER[@]}" make -C "$SCRATCH/tree" with_llvm=no PG_CONFIG="$PG_CONFIG" installcheck "$other=" \
		"$variable=$*" || true
	for name in "$@"; do
		if ! grep -qE "^(test )? *$name +\.\.\. ok( |$)|^ok [0-9]+ +[-+] $name( |$)" "$log"; then
			finding "$kind: $name"
			show "$SCRATCH/tree/$diffs/regression.diffs" 100
		fi
	done
	if [ "$#" -eq 0 ] || [ ! -s "$log" ]; then finding "$kind: no test was run"; fi
	show_crashes
}

# What a server says of itself when it is broken: a failed assertion, a signal, a warning of its memory contexts.
show_crashes() {
	local log
	for log in "$SCRATCH"/*/log; do
		if grep -nE 'TRAP:|PANIC|was terminated by signal|detected write past chunk end|problem in alloc set|resource was not closed|leak:' \
			"$log" >"$SCRATCH/crashes"; then
			finding "the server's log"
			show "$SCRATCH/crashes" 40
		fi
	done
}
