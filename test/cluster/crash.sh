#!/bin/bash
# A server that crashes under load, several times and in several ways: a backend and other processes of it are killed, it is
# shut down at once, it is killed as a whole. After each recovery there is no broken reference, by PostgreSQL's own means;
# what clients were told was committed is there; prepared transactions are there, hold the keys that they have used or
# deleted, and end either way; tables and indexes are sound for pg_amcheck; the rules act.
#
# Guards: the extension keeps nothing outside of PostgreSQL's own tables and row locks.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. Exit 0 if all is well.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

load_seconds=${CRASH_SECONDS:-4} # of load before each crash
trap 'rm -f "$SCRATCH/load"; end_servers' EXIT

start() { start_server server max_prepared_transactions=50 deadlock_timeout=50ms checkpoint_timeout=30s max_wal_size=32MB wal_keep_size=0 shared_preload_libraries=integrity; }
make_server server
start
use_server server
sql >"$SCRATCH/setup.log" 2>&1 <<'SQL' || { cat "$SCRATCH/setup.log"; exit 1; }
CREATE EXTENSION integrity;
-- Keys 1 to 100 stay. The others come and go.
CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k SELECT generate_series(1, 500);
INSERT INTO k SELECT generate_series(9001, 9004);
CREATE TABLE kept (id int PRIMARY KEY, removed int[], nulled int[]);    -- rows stay, elements above 100 may go
CREATE TABLE loose (id serial PRIMARY KEY, rowed int[], unset int[], emptied int[], held int[]);
CREATE INDEX ON kept USING gin (removed);
CREATE INDEX ON kept USING gin (nulled);
CREATE INDEX ON loose USING gin (rowed);
CREATE INDEX ON loose USING gin (unset);
CREATE INDEX ON loose USING gin (emptied);
CREATE INDEX ON loose USING gin (held);
SELECT integrity.add_reference('kept', 'removed', 'k', on_delete => 'remove element', on_update => 'cascade'),
       integrity.add_reference('kept', 'nulled', 'k', on_delete => 'null element', on_update => 'cascade'),
       integrity.add_reference('loose', 'rowed', 'k', on_delete => 'delete row', on_update => 'cascade'),
       integrity.add_reference('loose', 'unset', 'k', on_delete => 'set null', on_update => 'cascade'),
       integrity.add_reference('loose', 'emptied', 'k', on_delete => 'remove element', on_empty => 'delete row', on_update => 'cascade'),
       integrity.add_reference('loose', 'held', 'k', "deferrable" => true, initially_deferred => true);
-- These four are for the transactions that are prepared before the first crash.
BEGIN; INSERT INTO kept VALUES (-1, '{9001}', NULL); PREPARE TRANSACTION 'uses, commits';
BEGIN; INSERT INTO kept VALUES (-2, '{9002}', NULL); PREPARE TRANSACTION 'uses, rolls back';
BEGIN; DELETE FROM k WHERE id = 9003; PREPARE TRANSACTION 'deletes, commits';
BEGIN; DELETE FROM k WHERE id = 9004; PREPARE TRANSACTION 'deletes, rolls back';
SQL

# writer <number>: inserts rows and appends to them, one committed statement after the other, and keeps a record of what
# came back. A row comes back when its transaction is committed: psql prints what is complete.
writer() {
	local first=$(($1 * 1000000)) session=0
	while [ -e "$SCRATCH/load" ]; do
		session=$((session + 1))
		awk -v first=$((first + session * 10000)) -v seed="$1$session" 'BEGIN {
			srand(seed)
			for (i = 1; i < 10000; i++) {
				key = int(rand() * 100) + 1
				printf "INSERT INTO kept VALUES (%d, ARRAY[%d, %d], ARRAY[%d]) RETURNING id, %d;\n", first + i, key, int(rand() * 500) + 1, int(rand() * 500) + 1, key
				key = int(rand() * 100) + 1
				printf "UPDATE kept SET removed = removed || %d WHERE id = %d RETURNING id, %d;\n", key, first + i, key
			}
		}' >"$SCRATCH/writer.$1.sql"
		"$PGBIN/psql" -X -q -A -t -f "$SCRATCH/writer.$1.sql" >>"$SCRATCH/committed.$1" 2>/dev/null &
		echo $! >"$SCRATCH/writer.$1.pid"
		wait $! || true
		sleep 0.1
	done
}
# Keys that come, are changed and go, with every action; two-phase commits, of which one in five is left as it is.
cat >"$SCRATCH/keys.sql" <<'SQL'
\set key random(101, 500)
\set many random(1, 8)
\set other random(1, 100)
INSERT INTO k SELECT generate_series(:key, :key + :many) ON CONFLICT DO NOTHING;
INSERT INTO loose (rowed, unset, emptied) SELECT ARRAY[:key, :other], ARRAY[:key], ARRAY[:key] FROM k WHERE id = :key;
DELETE FROM k WHERE id BETWEEN :key AND :key + :many;
SQL
cat >"$SCRATCH/changes.sql" <<'SQL'
\set key random(101, 500)
\set other random(501, 600)
BEGIN;
INSERT INTO k VALUES (:key) ON CONFLICT DO NOTHING;
INSERT INTO loose (held, unset) VALUES (ARRAY[:key], ARRAY[:key]);
DELETE FROM loose WHERE :key = ANY (held);
UPDATE k SET id = :other WHERE id = :key AND NOT EXISTS (SELECT FROM k WHERE id = :other);
DELETE FROM k WHERE id = :other;
END;
SQL
cat >"$SCRATCH/prepared.sql" <<'SQL'
\set key random(101, 500)
\set fate random(1, 5)
BEGIN;
INSERT INTO k VALUES (:key + 10000 * (1 + :client_id)) ON CONFLICT DO NOTHING;
INSERT INTO loose (rowed, emptied) VALUES (ARRAY[:key + 10000 * (1 + :client_id)], ARRAY[:key + 10000 * (1 + :client_id)]);
DELETE FROM loose WHERE id IN (SELECT id FROM loose WHERE id % 10 = 0 LIMIT 1 FOR UPDATE SKIP LOCKED);
PREPARE TRANSACTION 'load :client_id';
\if :fate < 4
COMMIT PREPARED 'load :client_id';
\else
ROLLBACK PREPARED 'load :client_id';
\endif
SQL
# bench <script> <clients>: again and again, for an error ends pgbench; a deadlock and a key that somebody uses are errors too.
bench() {
	while [ -e "$SCRATCH/load" ]; do
		"$PGBIN/pgbench" -n -c "$2" -T 60 --max-tries=100 -f "$SCRATCH/$1.sql" >"$SCRATCH/$1.log" 2>&1 &
		echo $! >"$SCRATCH/$1.pid"
		wait $! || true
		# What a crash or an error has left prepared would be in the way of the next.
		if [ "$1" = prepared ]; then
			sql -c "SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE gid LIKE 'load%'" 2>/dev/null |
				while IFS= read -r each; do sql -c "$each" 2>/dev/null || true; done || true
		fi
		sleep 0.1
	done
}
start_load() {
	touch "$SCRATCH/load"
	jobs=()
	for each in 1 2; do writer "$each" & jobs+=($!); done
	bench keys 2 & jobs+=($!)
	bench changes 1 & jobs+=($!)
	bench prepared 2 & jobs+=($!)
}
stop_load() {
	local file pid
	rm -f "$SCRATCH/load"
	for file in "$SCRATCH"/*.pid; do
		pid=$(cat "$file")
		kill "$pid" 2>/dev/null || true
	done
	wait "${jobs[@]}" 2>/dev/null || true
}
wait_for_server() {
	local tries=300
	until [ "$(sql -c 'SELECT 1' 2>/dev/null)" = 1 ]; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || die "the server does not come back: $(tail -n 5 "$SCRATCH/server/log")"
		sleep 0.1
	done
}
broken() {
	sql <<'SQL'
SELECT count(*) FROM (SELECT unnest(removed) FROM kept UNION ALL SELECT unnest(nulled) FROM kept UNION ALL SELECT unnest(rowed) FROM loose
  UNION ALL SELECT unnest(unset) FROM loose UNION ALL SELECT unnest(emptied) FROM loose UNION ALL SELECT unnest(held) FROM loose) AS e (id)
 WHERE id IS NOT NULL AND NOT EXISTS (SELECT FROM k WHERE k.id = e.id);
SQL
}
# Each line of the record is a row and an element that it was given. The keys of those are never deleted.
lost() {
	sort -u "$SCRATCH"/committed.* | grep -E '^[0-9]+\|[0-9]+$' >"$SCRATCH/committed"
	sql <<SQL
CREATE TEMP TABLE committed (id int, element int);
\copy committed FROM '$SCRATCH/committed' (DELIMITER '|')
SELECT count(*) FROM committed c WHERE NOT EXISTS (SELECT FROM kept WHERE kept.id = c.id AND c.element = ANY (kept.removed));
SQL
}
after() { # <what>
	wait_for_server
	is "$1: broken references" "$(broken)" 0
	is "$1: committed appends that are lost" "$(lost)" 0
	is "$1: prepared transactions" "$(sql -c "SELECT count(*) FROM pg_prepared_xacts WHERE gid NOT LIKE 'load%'")" 4
	echo "  $(wc -l <"$SCRATCH/committed") committed appends, $(sql -c "SELECT count(*) FROM pg_prepared_xacts") prepared transactions," \
		"$(sql -c "SELECT last_value FROM loose_id_seq") other rows"
}
postmaster() { head -n 1 "$SCRATCH/server/data/postmaster.pid"; }
process() { # <condition>: waits until there is one, for a session may be between two statements
	local pid=
	until [ -n "$pid" ]; do pid=$(sql -c "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ($1) LIMIT 1"); done
	echo "$pid"
}

start_load
sleep "$load_seconds"
kill -9 "$(process "state = 'active' AND query LIKE 'DELETE FROM k%' OR query LIKE 'INSERT INTO kept%'")"
sleep 1
after 'kill -9 of a backend'

sleep "$load_seconds"
kill -9 "$(process "backend_type = 'checkpointer'")"
sleep 1
after 'kill -9 of the checkpointer'

sleep "$load_seconds"
stop_server server immediate
start
after 'immediate shutdown'

sleep "$load_seconds"
pid=$(postmaster)
# shellcheck disable=SC2046
kill -9 "$pid" $(pgrep -P "$pid") 2>/dev/null || true
while pgrep -P "$pid" >/dev/null || kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
rm -f "$SCRATCH/server/data/postmaster.pid"
start
after 'kill -9 of all of it'
stop_load
is 'at rest: broken references' "$(broken)" 0

# What was prepared before the first crash still holds its keys, and ends as it is told to.
state() { # <statement>: its SQLSTATE
	# shellcheck disable=SC2016
	sql -c "SET lock_timeout = '300ms'" -c "SET client_min_messages = error" -c '\set VERBOSITY sqlstate' -c "$1" 2>&1 | sed -n 's/^ERROR: *//p'
}
is 'a key that a prepared transaction uses' "$(state 'DELETE FROM k WHERE id = 9001')" 55P03
is 'the same, to be rolled back' "$(state 'DELETE FROM k WHERE id = 9002')" 55P03
is 'a key that a prepared transaction deletes' "$(state "INSERT INTO kept VALUES (-3, '{9003}')")" 55P03
is 'the same, to be rolled back' "$(state "INSERT INTO kept VALUES (-3, '{9004}')")" 55P03
sql -c "COMMIT PREPARED 'uses, commits'" -c "ROLLBACK PREPARED 'uses, rolls back'" -c "COMMIT PREPARED 'deletes, commits'" \
	-c "ROLLBACK PREPARED 'deletes, rolls back'"
is 'committed: its key is taken out' "$(sql -c 'DELETE FROM k WHERE id = 9001' -c 'SELECT removed FROM kept WHERE id = -1')" '{}'
is 'rolled back: its key is free' "$(state 'DELETE FROM k WHERE id = 9002')" ''
is 'committed: its key is gone' "$(state "INSERT INTO kept VALUES (-3, '{9003}')")" 23503
is 'rolled back: its key is there' "$(state "INSERT INTO kept VALUES (-3, '{9004}')")" ''
# Those that the last crash has left from the load, in turns.
sql -c "SELECT CASE row_number() OVER (ORDER BY gid) % 2 WHEN 0 THEN 'COMMIT' ELSE 'ROLLBACK' END || format(' PREPARED %L', gid) FROM pg_prepared_xacts" |
	while IFS= read -r each; do sql -c "$each"; done
is 'all prepared transactions have ended' "$(sql -c 'SELECT count(*) FROM pg_prepared_xacts')" 0
is 'then: broken references' "$(broken)" 0
is 'the report says so' "$(sql -c "SELECT count(*), count(*) FILTER (WHERE status = 'ok'), sum(references_broken) FROM integrity_report()")" '6|6|0'
is 'the rules act: insert' "$(state "INSERT INTO kept VALUES (-9, '{77777}')")" 23503
is 'the rules act: deferred' "$(state "INSERT INTO loose (held) VALUES ('{77777}')")" 23503
sql -c "DELETE FROM k WHERE id > 100"
is 'the rules act: delete' "$(broken)" 0
"$PGBIN/pg_amcheck" --install-missing --heapallindexed --rootdescend --parent-check -d postgres >"$SCRATCH/amcheck.log" 2>&1 ||
	fail "pg_amcheck: status $?"
[ ! -s "$SCRATCH/amcheck.log" ] || fail "pg_amcheck: $(cat "$SCRATCH/amcheck.log")"
! grep -E 'PANIC' "$SCRATCH/server/log" || fail 'see above'
is 'crashes that were meant' "$(grep -c 'was terminated by signal' "$SCRATCH/server/log")" 2

finish_test
