#!/bin/bash
# The life of a physical standby. While it is one, health, report, listing and gate work and what would write is refused
# clearly. It is promoted while the primary has deletes with cascades under way and is killed: what had arrived is whole, the
# rules act at once, in sessions that were connected before too, and rules can be declared, validated and repaired.
#
# Guards: nothing that a backend remembers of rules depends on whether the server is in recovery.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes two servers of its own. Exit 0 if all is well.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

error() { (sql -c '\set VERBOSITY verbose' -c "$1" 2>&1 || true) | sed -n 's/^ERROR: *//p' | head -n 1; }
follows() { # the standby has what the primary has
	local lsn tries=300
	use_server primary
	lsn=$(sql -c "SELECT pg_current_wal_lsn()")
	use_server standby
	until [ "$(sql -c "SELECT pg_last_wal_replay_lsn() >= '$lsn'")" = t ]; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || die "the standby does not follow"
		sleep 0.1
	done
}

make_server primary
start_server primary deadlock_timeout=50ms max_prepared_transactions=10
make_server_folder standby
use_server primary
"$PGBIN/pg_basebackup" -D "$SCRATCH/standby/data" -R -X stream -c fast --no-sync
start_server standby deadlock_timeout=50ms max_prepared_transactions=10 max_standby_streaming_delay=-1
use_server primary
sql >/dev/null <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION integrity;
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE r (id serial PRIMARY KEY, removed int[], nulled int[], held int[], one int REFERENCES k ON DELETE CASCADE);
CREATE TABLE rows (id serial PRIMARY KEY, rowed int[]);
CREATE TABLE more (id serial PRIMARY KEY, ids int[]);
CREATE INDEX ON r USING gin (removed);
CREATE INDEX ON r USING gin (nulled);
INSERT INTO k SELECT generate_series(1, 1000);
SELECT integrity.add_reference('r', 'removed', 'k', on_delete => 'remove element', on_update => 'cascade'),
       integrity.add_reference('r', 'nulled', 'k', on_delete => 'null element', on_update => 'cascade'),
       integrity.add_reference('r', 'held', 'k'),
       integrity.add_reference('rows', 'rowed', 'k', on_delete => 'delete row', on_update => 'cascade'),
       integrity.add_reference('more', 'ids', 'k', on_delete => 'remove element', not_valid => true);
INSERT INTO r (removed, nulled, held, one) SELECT ARRAY[g, g + 1], ARRAY[g + 2, g], ARRAY[g % 10 + 1], g FROM generate_series(1, 900) g;
INSERT INTO rows (rowed) SELECT ARRAY[g, g + 5] FROM generate_series(1, 900) g;
SET session_replication_role = replica;
INSERT INTO more (ids) VALUES ('{1,99997}');
RESET session_replication_role;
SELECT FROM integrity.repair('more', dry_run => false);
SET session_replication_role = replica;
INSERT INTO more (ids) VALUES ('{1,99999}'), ('{99998}');
SQL
follows

# ---------------------------------------------------------------- as a standby
is 'standby: health' "$(sql -c "SELECT rules, ok, broken, unknown, references_broken FROM integrity.health()")" '6|5|1|0|2'
is 'standby: broken_references' "$(sql -c "SELECT string_agg(value, ' ' ORDER BY value) FROM integrity.broken_references('more', 'more_ids_fkey')")" '99998 99999'
is 'standby: assert_clean' "$(error "SELECT integrity.assert_clean()")" '23000: 1 of 6 rules are not clean: 1 broken, 0 unknown'
is 'standby: tap' "$(sql -c "SELECT count(*) FROM integrity.tap() AS t (line) WHERE line LIKE 'not ok%'")" 1
is 'standby: report_html' "$(sql -c "SELECT integrity.report_html() LIKE '%99999%'")" t
is 'standby: what is declared' "$(sql -c "SELECT count(*) FROM integrity.reference WHERE enforced AND guarded")" 6
for each in "SELECT FROM integrity.repair('more', dry_run => false)" "SELECT FROM integrity.repair('more')" \
	"CALL integrity.repair_in_batches('more', 'more_ids_fkey')" "SELECT FROM integrity.undo(1, dry_run => false)" "SELECT FROM integrity.undo(1)" "SELECT integrity.record_report()" \
	"SELECT integrity.accept('more', 'more_ids_fkey')" "SELECT integrity.add_reference('more', 'ids', 'k', rule_name => 'x')" \
	"SELECT integrity.validate_reference('more', 'more_ids_fkey')" "SELECT integrity.drop_reference('more', 'more_ids_fkey')" \
	"SELECT integrity.add_guards('k')" "SELECT integrity.alter_table('k', 'ADD x int')" "SELECT integrity.forget(now())" \
	"DELETE FROM k WHERE id = 1"; do
	got=$(error "$each")
	case $got in
		25006:*) echo "ok: standby: $each: $got" ;;
		55000:*recovery* | 0A000:*recovery*) echo "ok: standby: $each: $got" ;;
		*) fail "standby: $each: got '$got'" ;;
	esac
done

# ---------------------------------------------------------------- promoted under load
# A session that has looked at the rules as a standby, and goes on after the promotion.
mkfifo "$SCRATCH/old_session"
"$PGBIN/psql" -X -q -A -t -v SHOW_CONTEXT=never <"$SCRATCH/old_session" >"$SCRATCH/old_session.log" 2>&1 &
exec 7>"$SCRATCH/old_session"
echo "SELECT sum(references_broken) FROM integrity_report(); SELECT count(*) FROM integrity.broken_references('r', 'r_removed_fkey');" >&7

use_server primary
sql -c "BEGIN" -c "INSERT INTO r (removed) VALUES ('{1000}')" -c "PREPARE TRANSACTION 'uses'"
follows
use_server primary
cat >"$SCRATCH/load.sql" <<'SQL'
\set key random(20, 900)
\set other random(1, 10)
DELETE FROM k WHERE id BETWEEN :key AND :key + 3;
INSERT INTO k SELECT generate_series(:key, :key + 3) ON CONFLICT DO NOTHING;
INSERT INTO r (removed, nulled, held) SELECT ARRAY[id, :other], ARRAY[id], ARRAY[:other] FROM k WHERE id = :key;
UPDATE k SET id = id + 2000 WHERE id = :key AND NOT EXISTS (SELECT FROM k WHERE id = :key + 2000);
SQL
"$PGBIN/pgbench" -n -c 3 -T 60 -f "$SCRATCH/load.sql" >"$SCRATCH/load.log" 2>&1 &
load=$!
sleep 3
postmaster=$(head -n 1 "$SCRATCH/primary/data/postmaster.pid")
written=$(sql -c "SELECT pg_current_wal_lsn()")
# shellcheck disable=SC2046
kill -9 "$postmaster" $(pgrep -P "$postmaster") 2>/dev/null || true
use_server standby
is 'promoted' "$(sql -c "SELECT pg_promote()")" t
kill "$load" 2>/dev/null || true
wait "$load" || true
echo "  $(sql -c "SELECT pg_size_pretty('$written'::pg_lsn - '0/3000000')") written before the end of the primary"

broken() {
	sql <<'SQL'
SELECT count(*) FROM (SELECT unnest(removed) FROM r UNION ALL SELECT unnest(nulled) FROM r UNION ALL SELECT unnest(held) FROM r UNION ALL
  SELECT one FROM r UNION ALL SELECT unnest(rowed) FROM rows) AS e (id) WHERE id IS NOT NULL AND NOT EXISTS (SELECT FROM k WHERE k.id = e.id);
SQL
}
is 'promoted: broken references' "$(broken)" 0
cat >&7 <<'SQL'
INSERT INTO r (removed) VALUES ('{1,77777}');
INSERT INTO k VALUES (5000);
INSERT INTO r (id, removed) VALUES (-5, '{1,5000}');
DELETE FROM k WHERE id = 5000;
SELECT removed FROM r WHERE id = -5;
DELETE FROM k WHERE id = 2;
SQL
exec 7>&-
wait
is 'a session from before: the report as a standby' "$(sed -n 1,2p "$SCRATCH/old_session.log" | paste -sd ' ')" '2 0'
is 'a session from before: insert' "$(grep -c 'insert or update on table "r" violates foreign key constraint "r_removed_fkey"' "$SCRATCH/old_session.log")" 1
is 'a session from before: delete acts' "$(grep -c '^{1}$' "$SCRATCH/old_session.log")" 1
is 'a session from before: delete is refused' "$(grep -c 'update or delete on table "k" violates foreign key constraint "r_held_fkey"' "$SCRATCH/old_session.log")" 1
is 'a key that a prepared transaction uses' "$(error "SET lock_timeout = '300ms'; DELETE FROM k WHERE id = 1000")" '55P03: canceling statement due to lock timeout'
sql -c "COMMIT PREPARED 'uses'" -c "DELETE FROM k WHERE id = 1000"
is 'and then' "$(broken)" 0
is 'repair' "$(sql -c "SELECT references_broken, rows_changed FROM integrity.repair('more', dry_run => false)")" '2|2'
is 'validate' "$(sql -c "SELECT integrity.validate_reference('more', 'more_ids_fkey')" -c "SELECT validated FROM integrity.reference WHERE rule_name = 'more_ids_fkey'" | paste -sd ' ')" ' t'
is 'undo' "$(sql -c "SELECT outcome, rows FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false)" 2>&1 | head -n 1)" 'restored|2'
is 'declare' "$(sql -c "SET client_min_messages = error" -c "SELECT integrity.add_reference('r', 'held', 'k', on_delete => 'restrict', rule_name => 'second')")" second
"$PGBIN/pgbench" -n -c 2 -t 200 -f "$SCRATCH/load.sql" >"$SCRATCH/load.log" 2>&1 || true
is 'load on the new primary' "$(broken)" 0
! grep -E 'PANIC|was terminated by signal|cache lookup failed' "$SCRATCH/standby/log" || fail 'see above'

finish_test
