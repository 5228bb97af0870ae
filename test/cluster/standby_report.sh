#!/bin/bash
# On a physical standby the report says what it says on the primary: in a read-only transaction, by workers too, with keys
# in parts, and by query. So do broken_references() and the view of progress; what would write is refused.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes two servers of its own. Exit 0 if all is well; else 1.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"


make_server primary
start_server primary autovacuum=off
make_server_folder standby
use_server primary
"$PGBIN/pg_basebackup" -D "$SCRATCH/standby/data" -R -X stream -c fast --no-sync
start_server standby autovacuum=off

sql >/dev/null <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION integrity;
CREATE TABLE key (id int PRIMARY KEY, word text UNIQUE, bits bit(4) UNIQUE);
INSERT INTO key SELECT g, 'w' || g, CASE WHEN g < 9 THEN g::bit(4) END FROM generate_series(1, 30000) g;
CREATE TABLE sparse_key (id bigint PRIMARY KEY);
INSERT INTO sparse_key SELECT g * 1000003::bigint FROM generate_series(1, 60000) g;
CREATE TABLE ref (n int PRIMARY KEY, ids int[], words text[], bits bit(4)[], sparse bigint[], one int);
INSERT INTO ref SELECT g, ARRAY[g, g + 10000], ARRAY['w' || g * 2], ARRAY[(g % 16)::bit(4)], ARRAY[g * 3 * 1000003::bigint, NULL, -g % 7], g
  FROM generate_series(1, 25000) g;
ALTER TABLE ref ADD FOREIGN KEY (one) REFERENCES key;
SELECT integrity.add_reference('ref', 'ids', 'key', not_valid => true), integrity.add_reference('ref', 'words', 'key', 'word', not_valid => true),
       integrity.add_reference('ref', 'bits', 'key', 'bits', not_valid => true), integrity.add_reference('ref', 'sparse', 'sparse_key', not_valid => true);
SET session_replication_role = replica;
DELETE FROM key WHERE id BETWEEN 100 AND 199;
VACUUM ANALYZE;
SQL

# What has been written until now is on the standby.
lsn=$(sql -c "SELECT pg_current_wal_lsn()")
use_server standby
tries=300
until [ "$(sql -c "SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= '$lsn'")" = t ]; do
	tries=$((tries - 1))
	[ "$tries" -gt 0 ] || die "the standby does not follow"
	sleep 0.1
done

figures="rule_name, rows_checked, rows_broken, references_checked, references_broken, values_broken, sample, status"
report="SELECT $figures FROM integrity_report() ORDER BY 1"
listing="SELECT md5(string_agg(b::text, ' ')), count(*) FROM integrity.broken_references('ref', 'ref_ids_fkey') AS b"
on() { # <server> <settings>: the report and a listing
	use_server "$1"
	sql -c "BEGIN READ ONLY" -c "$2" -c "$report" -c "$listing" -c "COMMIT" 2>&1
}
truth=$(on primary "SET max_parallel_maintenance_workers = 0")
# Some hold, some do not, and none is unknown.
[ "$(grep -c '|broken$' <<<"$truth")" = 5 ] || fail "on the primary: $truth"
for settings in "SET max_parallel_maintenance_workers = 0" \
	"SET max_parallel_maintenance_workers = 2; SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off" \
	"SET maintenance_work_mem = '1MB'"; do
	got=$(on standby "$settings")
	[ "$got" = "$truth" ] || fail "on the standby, $settings: $(diff <(echo "$truth") <(echo "$got"))"
done
use_server standby
launched=$(sql -c "SET client_min_messages = debug1; SET max_parallel_maintenance_workers = 2; SET min_parallel_table_scan_size = 0; SELECT status FROM integrity_report('ref') LIMIT 1" 2>&1)
grep -q 'with 2 of 2 parallel workers' <<<"$launched" || fail "no workers on the standby: $launched"
[ "$(sql -c "SELECT count(*) FROM integrity.progress")" = 0 ] || fail "progress on the standby"
refused=$(sql -c "SELECT integrity.validate_reference('ref', 'ref_ids_fkey')" 2>&1 || true)
grep -q 'during recovery\|read-only' <<<"$refused" || fail "validation on the standby: $refused"

finish_test
