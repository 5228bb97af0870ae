#!/bin/bash
# What a repair leaves behind when something goes wrong in the middle of it: nothing, or whole batches.
# Killed servers, cancels, timeouts, a deadlock, a full disk, a rule that goes away. After each, the table is as it
# was, or the run log holds exactly what was done to it: each row of integrity.change is in the table as its after
# image says, no other row has changed, and undo leads back to the first state.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. Exit 0 if all is well.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

rows=${ROWS:-120000}
sql() { "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -v SHOW_CONTEXT=never -d postgres "$@"; }
# is <what> <got> <wanted>

hash() { sql -c "SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM parents t"; }
broken() { sql -c "SELECT references_broken FROM integrity_report('parents')"; }
logged() { sql -c "SELECT count(*) FROM integrity.run WHERE kind = 'repair'" -c "SELECT count(*) FROM integrity.change"; }
crash() { # the postmaster and all of its children at once, as a machine that loses its power does
	local postmaster
	postmaster=$(head -n 1 "$SCRATCH/server/data/postmaster.pid")
	# shellcheck disable=SC2046
	kill -9 "$postmaster" $(pgrep -P "$postmaster") 2>/dev/null || true
	while pgrep -P "$postmaster" >/dev/null || kill -0 "$postmaster" 2>/dev/null; do sleep 0.05; done
	rm -f "$SCRATCH/server/data/postmaster.pid"
	start_server server
}
# wait_for <query that becomes t>
wait_for() {
	local i
	for ((i = 0; i < 600; i++)); do
		if [ "$(sql -c "$1")" = t ]; then return; fi
		sleep 0.05
	done
	fail "waited too long for: $1"
}
at_work="SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%dry_run => false%' AND pid <> pg_backend_pid() AND state = 'active' AND clock_timestamp() - query_start > '0.4 s')"

make_server server
start_server server
use_server server
sql >"$SCRATCH/setup.log" 2>&1 <<SQL || { cat "$SCRATCH/setup.log"; exit 1; }
CREATE EXTENSION integrity;
CREATE TABLE students (id int PRIMARY KEY);
INSERT INTO students SELECT generate_series(2, 20000, 2);
CREATE TABLE parents (id int PRIMARY KEY, name text, ids int[]);
-- every row holds a broken reference: the odd ones do not exist
INSERT INTO parents SELECT g, 'parent ' || g, ARRAY[2 * (g % 10000) + 2, 2 * (g % 100) + 1, NULL, 2] FROM generate_series(1, $rows) g;
SELECT integrity.add_reference('parents', 'ids', 'students', on_delete => 'remove element', not_valid => true);
CREATE INDEX ON parents USING gin (ids);
VACUUM ANALYZE;
SQL
rule=parents_ids_fkey
before=$(hash)
is 'all rows are broken' "$(broken)" "$rows"

# nothing_happened <after what>
nothing_happened() {
	is "$1: the table is as before" "$(hash)" "$before"
	is "$1: nothing is in the log" "$(logged | paste -sd ' ')" '0 0'
	is "$1: all is still broken" "$(broken)" "$rows"
}

sql -c "SELECT * FROM integrity.repair('parents', '$rule', dry_run => false)" >"$SCRATCH/kill.log" 2>&1 &
wait_for "$at_work"
crash
wait || true
nothing_happened 'kill -9 in a repair'

sql -c "SELECT * FROM integrity.repair('parents', '$rule', dry_run => false)" >"$SCRATCH/cancel.log" 2>&1 &
wait_for "$at_work"
sql -c "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%dry_run => false%' AND pid <> pg_backend_pid()" >/dev/null
wait || true
is 'cancel: the error' "$(grep -c 'canceling statement due to user request' "$SCRATCH/cancel.log")" 1
nothing_happened 'cancel'

sql -c "SET statement_timeout = '400ms'" -c "SELECT * FROM integrity.repair('parents', '$rule', dry_run => false)" >"$SCRATCH/timeout.log" 2>&1 || true
is 'statement_timeout: the error' "$(grep -c 'canceling statement due to statement timeout' "$SCRATCH/timeout.log")" 1
nothing_happened 'statement_timeout'

# The writer holds the last row and then wants the first one, which the repair has. The repair looks first.
mkfifo "$SCRATCH/writer"
sql <"$SCRATCH/writer" >"$SCRATCH/writer.log" 2>&1 &
writer=$!
exec 7>"$SCRATCH/writer"
echo "SET deadlock_timeout = '60s'; BEGIN; UPDATE parents SET name = name WHERE id = $rows;" >&7
wait_for "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'idle in transaction')"
sql -c "SET deadlock_timeout = '200ms'" -c "SELECT * FROM integrity.repair('parents', '$rule', dry_run => false)" >"$SCRATCH/deadlock.log" 2>&1 &
repair=$!
wait_for "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%dry_run => false%' AND wait_event_type = 'Lock')"
echo "UPDATE parents SET name = name WHERE id = 1; ROLLBACK;" >&7
exec 7>&-
wait "$repair" || true
wait "$writer" || fail 'deadlock: the writer is not the victim'
is 'deadlock: the error' "$(grep -c 'deadlock detected' "$SCRATCH/deadlock.log")" 1
nothing_happened 'deadlock'

# A disk that is full: no file may grow beyond 24 MB. The run log is the first to hit that.
stop_server server
(
	ulimit -f $((24 * 1024))
	start_server server
)
sql -c "SELECT * FROM integrity.repair('parents', '$rule', dry_run => false)" >"$SCRATCH/full.log" 2>&1 && fail 'full disk: the repair went through'
is 'full disk: the error' "$(grep -cE 'could not (extend|write)' "$SCRATCH/full.log")" 1
nothing_happened 'full disk'
stop_server server
start_server server

# The report has said what to do, and then the rule goes away.
is 'dropped rule: the error' "$(sql -c "BEGIN" -c "SELECT references_broken > 0 FROM integrity_report('parents')" \
	-c "SELECT integrity.drop_reference('parents', '$rule')" \
	-c "SELECT * FROM integrity.repair('parents', '$rule', dry_run => false)" 2>&1 | grep -c "rule \"$rule\" for table \"parents\" does not exist")" 1
nothing_happened 'dropped rule'

# In batches: what is done stays done, and is in the log. The same check after a kill, a cancel, and a dropped rule.
log_and_table_agree() { # <after what>
	local fixed left
	fixed=$(sql -c "SELECT count(*) FROM integrity.change")
	left=$(broken)
	is "$1: each row is repaired and logged, or neither" "$((fixed + left))" "$rows"
	is "$1: the rows are as the log says" "$(sql -c "SELECT count(*) FROM integrity.change c JOIN parents p ON p.id = (c.row_key ->> 'id')::int
		WHERE p.ids::text = c.after ->> 'ids' AND p.name = c.before ->> 'name'")" "$fixed"
	is "$1: no row is logged twice" "$(sql -c "SELECT count(DISTINCT row_key) FROM integrity.change")" "$fixed"
	if [ "$fixed" -eq 0 ] || [ "$left" -eq 0 ]; then fail "$1: it was not in the middle ($fixed done, $left left)"; fi
}
half_done="SELECT count(*) BETWEEN 2000 AND $rows / 2 FROM integrity.change"

sql -c "CALL integrity.repair_in_batches('parents', '$rule', batch_rows => 500)" >"$SCRATCH/batches1.log" 2>&1 &
wait_for "$half_done"
crash
wait || true
log_and_table_agree 'kill -9 in batches'

seen=$(sql -c "SELECT count(*) FROM integrity.change")
sql -c "CALL integrity.repair_in_batches('parents', '$rule', batch_rows => 500)" >"$SCRATCH/batches2.log" 2>&1 &
wait_for "SELECT count(*) > $seen + 2000 FROM integrity.change"
# Nobody waits longer than for a batch.
sql -c "SET lock_timeout = '5s'" -c "UPDATE parents SET name = name WHERE id = 1" || fail 'batches: a writer waits too long'
sql -c "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL integrity.repair_in_batches%'" >/dev/null
wait || true
log_and_table_agree 'cancel in batches'

sql -c "CALL integrity.repair_in_batches('parents', '$rule', batch_rows => 5000)" >"$SCRATCH/batches3.log" 2>&1 || { cat "$SCRATCH/batches3.log"; fail 'batches: called again'; }
is 'batches: all is repaired' "$(broken)" 0
is 'batches: three runs, one finished' "$(sql -c "SELECT count(*), count(finished) FROM integrity.run WHERE kind = 'repair'")" '3|1'
for run in $(sql -c "SELECT run_id FROM integrity.run WHERE kind = 'repair' ORDER BY run_id DESC"); do
	sql -c "SELECT * FROM integrity.undo($run, dry_run => false)" >"$SCRATCH/undo.log" 2>&1 || { cat "$SCRATCH/undo.log"; fail "undo of run $run"; }
done
is 'undo of all three: the table is as in the beginning' "$(hash)" "$before"

finish_test
