#!/bin/bash
# A long report can be watched and cancelled: integrity.progress tells others how far it is, and a cancel is heeded while
# keys are read, while rows are, within one array of millions, while millions of broken values are merged and sorted, and
# by workers. Afterwards no worker, no shared memory segment and no progress is left.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes a server of its own. Exit 0 if all is well; else 1.
# The times are printed. An idle machine needs less than 100 ms; the test allows a second, for machines that are not.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

make_server server
# With mmap a segment is a file, which can be counted.
start_server server autovacuum=off dynamic_shared_memory_type=mmap shared_buffers=128MB
use_server server

sql >/dev/null <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION integrity;
CREATE UNLOGGED TABLE key (id bigint PRIMARY KEY);
INSERT INTO key SELECT g * 1000003::bigint FROM generate_series(1, 1000000) g;
CREATE UNLOGGED TABLE ref (ids bigint[]);
INSERT INTO ref SELECT ARRAY[g * 1000003::bigint, (g * 7 % 1000000 + 1) * 1000003::bigint] FROM generate_series(1, 1000000::bigint) g;
CREATE UNLOGGED TABLE few (id numeric PRIMARY KEY);
INSERT INTO few SELECT generate_series(1, 100);
CREATE UNLOGGED TABLE long_array (ids int[]); ALTER TABLE long_array ALTER ids SET STORAGE EXTERNAL;
INSERT INTO long_array SELECT array_agg(g % 100 + 1) FROM generate_series(1, 10000000) g;
CREATE UNLOGGED TABLE wrong (ids numeric[]);
INSERT INTO wrong SELECT ARRAY[g + 0.5, g + 0.50] FROM generate_series(1000, 501000) g;
VACUUM ANALYZE;
SELECT integrity.add_reference('ref', 'ids', 'key', not_valid => true), integrity.add_reference('long_array', 'ids', 'few', not_valid => true),
       integrity.add_reference('wrong', 'ids', 'few', not_valid => true);
CREATE ROLE stranger; CREATE ROLE watcher IN ROLE pg_read_all_stats;
GRANT USAGE ON SCHEMA integrity TO PUBLIC;
-- How long does a session go on that is cancelled? NULL if it was not at work.
CREATE FUNCTION cancel(application text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
  victim int := (SELECT pid FROM pg_stat_activity WHERE application_name = application AND backend_type = 'client backend' AND state = 'active');
  start timestamptz;
BEGIN
  IF victim IS NULL THEN
    RETURN NULL;
  END IF;
  PERFORM pg_cancel_backend(victim);
  start := clock_timestamp();
  LOOP
    PERFORM pg_stat_clear_snapshot();
    EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = victim AND state = 'active');
    PERFORM pg_sleep(0.002);
  END LOOP;
  RETURN round((extract(epoch FROM clock_timestamp() - start) * 1000)::numeric, 1);
END $$;
-- What is seen of a session until it ends, by the current role.
CREATE FUNCTION watch(application text) RETURNS SETOF integrity.progress LANGUAGE plpgsql AS $$
BEGIN
  LOOP
    PERFORM pg_stat_clear_snapshot();
    RETURN QUERY SELECT * FROM integrity.progress;
    EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = application);
    PERFORM pg_sleep(0.005);
  END LOOP;
END $$;
SQL
segments() { find "$SCRATCH/server/data/pg_dynshmem" -type f | wc -l; }
segments_before=$(segments)

# victim <settings> <query>: in the background
victim() {
	PGAPPNAME=victim "$PGBIN/psql" -X -q -A -t -v SHOW_CONTEXT=never -c "$1" -c "$2" >"$SCRATCH/victim.out" 2>&1 &
	victim=$!
}
until_active() {
	local tries=500
	while kill -0 "$victim" 2>/dev/null &&
		[ "$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'victim' AND query ~ 'integrity' AND state = 'active'")" = 0 ]; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || die "the report does not start"
	done
}

# ---- progress

# Watched by three roles at once; with little memory, so that it takes several passes.
for setting in "0" "2; SET min_parallel_table_scan_size = 0"; do
	victim "SET maintenance_work_mem = '16MB'; SET max_parallel_maintenance_workers = $setting" "SELECT status FROM integrity_report('ref')"
	until_active
	for role in postgres stranger watcher; do
		sql -c "SET ROLE $role" -c "SELECT watch('victim')" >"$SCRATCH/seen.$role" &
		eval "watching_$role=$!"
	done
	# shellcheck disable=SC2154
	wait "$victim" "$watching_postgres" "$watching_stranger" "$watching_watcher" || fail "watching: $(cat "$SCRATCH/victim.out")"
	[ "$(cat "$SCRATCH/victim.out")" = ok ] || fail "the report says $(cat "$SCRATCH/victim.out")"
	result=$(sql <<-SQL
		CREATE TEMP TABLE seen (n int GENERATED ALWAYS AS IDENTITY, p integrity.progress);
		\\copy seen (p) FROM '$SCRATCH/seen.watcher' (DELIMITER '|')
		CREATE TEMP VIEW s AS SELECT n, (p).* FROM seen;
		-- one row at a time; both phases, with their tables; several parts, each of which grows and never passes its end
		SELECT count(DISTINCT pid), array_agg(DISTINCT phase ORDER BY phase), array_agg(DISTINCT relid::text ORDER BY relid::text),
		       array_agg(DISTINCT rule_name), max(parts) > 1, count(DISTINCT part) > 1, bool_and(part BETWEEN 1 AND parts),
		       bool_and(blocks_done BETWEEN 0 AND blocks_total), max(rules_total), max(rules_done), max(datname)
		  FROM s WHERE rule_name IS NOT NULL;
		SELECT bool_and(blocks_total = pg_relation_size(relid) / 8192) FROM s;
		SELECT bool_and(grows) FROM (SELECT blocks_done >= lag(blocks_done) OVER (PARTITION BY phase, parts, part ORDER BY n) AS grows FROM s) AS g;
		SELECT count(DISTINCT blocks_done) > 10, max(blocks_done::float8 / blocks_total) > 0.5 FROM s WHERE phase = 'checking references';
	SQL
	)
	expected='1|{"checking references","reading referenced keys"}|{key,ref}|{ref_ids_fkey}|t|t|t|t|1|0|postgres
t
t
t|t'
	[ "$result" = "$expected" ] || fail "progress, $setting workers: $result"
	[ -s "$SCRATCH/seen.stranger" ] || fail "a stranger does not see that there is a scan"
	grep -qvE '^\([0-9]+,[0-9]+,postgres,,,,,,,,,\)$' "$SCRATCH/seen.stranger" && fail "a stranger sees $(sort -u "$SCRATCH/seen.stranger" | tail -n 1)"
done
[ "$(sql -c "SELECT count(*) FROM integrity.progress")" = 0 ] || fail "progress is left"

# ---- cancels

slowest=0
# cancelled <what> <settings> <query> <delay>...
cancelled() {
	local what=$1 settings=$2 query=$3 delay took hits=0
	shift 3
	for delay in "$@"; do
		victim "$settings" "$query"
		until_active
		sleep "$delay"
		took=$(sql -c "SELECT cancel('victim')")
		wait "$victim" || true
		if [ -z "$took" ]; then continue; fi
		hits=$((hits + 1))
		grep -q 'canceling statement due to user request' "$SCRATCH/victim.out" || fail "$what: $(cat "$SCRATCH/victim.out")"
		echo "$what, after $delay s: $took ms"
		if [ "${took%.*}" -ge 1000 ]; then fail "$what: took $took ms"; fi
		if [ "${took%.*}" -gt "$slowest" ]; then slowest=${took%.*}; fi
	done
	[ "$hits" -gt 0 ] || echo "$what: was too quick to be cancelled"
}
alone="SET max_parallel_maintenance_workers = 0"
workers="SET max_parallel_maintenance_workers = 2; SET min_parallel_table_scan_size = 0"
much="SET maintenance_work_mem = '1GB'"
cancelled "keys and rows" "$alone; $much" "SELECT status FROM integrity_report('ref')" 0 0.1 0.2 0.3 0.4 0.5
cancelled "keys and rows, workers" "$workers; $much" "SELECT status FROM integrity_report('ref')" 0.05 0.2 0.3 0.4 0.5
cancelled "validation, workers" "$workers; $much" "SELECT integrity.validate_reference('ref', 'ref_ids_fkey')" 0.1 0.3
cancelled "parts" "$alone; SET maintenance_work_mem = '8MB'" "SELECT status FROM integrity_report('ref')" 0.2 0.9
cancelled "one long array" "$alone; $much" "SELECT status FROM integrity_report('long_array')" 0.05 0.2 0.4
cancelled "listing of many" "$alone; $much" "SELECT count(*) FROM integrity.broken_references('wrong', 'wrong_ids_fkey')" 0.1 0.3
cancelled "many broken values" "$alone; $much" "SELECT status FROM integrity_report('wrong')" 0.1 0.3 0.4 0.5 0.6 0.7
cancelled "many broken values, workers" "$workers; $much" "SELECT status FROM integrity_report('wrong')" 0.2 0.3 0.4 0.5 0.6
cancelled "many broken values, by query" "$alone; SET maintenance_work_mem = '1MB'" "SELECT status FROM integrity_report('wrong')" 0.3 0.7
echo "the slowest cancel took $slowest ms"

timed=$(sql -c "$workers; SET maintenance_work_mem = '8MB'; SET statement_timeout = '100ms'" -c "SELECT status FROM integrity_report('ref')" 2>&1 || true)
grep -q 'canceling statement due to statement timeout' <<<"$timed" || fail "statement_timeout: $timed"

# A worker that is killed by its server's end, or terminated, takes the report with it, not the server.
victim "$workers; SET maintenance_work_mem = '8MB'" "SELECT status FROM integrity_report('ref')"
tries=200
until [ "$(sql -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'parallel worker'")" != 0 ]; do
	tries=$((tries - 1))
	[ "$tries" -gt 0 ] || die "no worker came"
done
wait "$victim" || true
grep -qE 'ok|terminat|lost connection|unknown' "$SCRATCH/victim.out" || fail "a terminated worker: $(cat "$SCRATCH/victim.out")"

[ "$(sql -c "SELECT count(*) FROM integrity.progress")" = 0 ] || fail "progress is left"
[ "$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'")" = 0 ] || fail "workers are left"
[ "$(segments)" = "$segments_before" ] || fail "$(segments) shared memory segments, before: $segments_before"
[ "$(sql -c "SELECT count(*) FROM pg_locks WHERE relation::regclass::text IN ('ref', 'key')")" = 0 ] || fail "locks are left"

finish_test
