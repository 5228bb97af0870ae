# What the tests in this folder share. To be sourced by bash, before all else.
# shellcheck shell=bash
#
# test/run gives PGBIN, SCRATCH and TOP. A test says what is wrong with fail() or is(), and ends with finish_test, which
# makes the exit status of it. Its servers are ended with it, however it ends.
: "${PGBIN:?}" "${SCRATCH:?}" "${TOP:?}"
# shellcheck source=test/lib.sh
. "$TOP/test/lib.sh"

failures=0
fail() {
	echo "FAILED: $*"
	failures=$((failures + 1))
}
# is <what> <got> <wanted>
is() { if [ "$2" = "$3" ]; then echo "ok: $1"; else fail "$1: got '$2', wanted '$3'"; fi; }

finish_test() {
	if [ "$failures" -gt 0 ]; then
		echo "$(basename "$0" .sh): $failures failed"
		exit 1
	fi
	echo "$(basename "$0" .sh): ok"
	exit 0
}

sql() { "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -v SHOW_CONTEXT=never "$@"; }

end_servers() {
	local folder
	for folder in "$SCRATCH"/*/data; do
		if [ -e "$folder/postmaster.pid" ]; then stop_server "$(basename "$(dirname "$folder")")" immediate 2>/dev/null || true; fi
	done
}
trap end_servers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
