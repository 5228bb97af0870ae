#!/bin/bash
# pg_dump and restore of the run log: runs, figures, images and sequences are there, and undo works where they were restored.
# Guards: the tables of the log are configuration of the extension, or a dump would leave them out; tables are named so that
# the restored log means the same ones, whatever their OIDs; rows about temporary and dropped tables are left out, for their
# numbers could be those of any table there; the sequences go on where they were, or new runs would clash with old ones.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes a server of its own.
# Exit 0 if all is well; else 1, after printing every difference.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

files=$SCRATCH/files

sql() { "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -v SHOW_CONTEXT=never -d "$1" "${@:2}"; }
mkdir "$files"
make_server server
start_server server
use_server server

fresh() { sql postgres -c "CREATE DATABASE $1 TEMPLATE template0"; }

fresh regress_log_source
sql regress_log_source >"$files/source.log" 2>&1 <<'SQL' || { cat "$files/source.log"; echo "FAILED: making the source database"; exit 1; }
SET client_min_messages = warning;
CREATE EXTENSION integrity;
CREATE ROLE regress_log_owner;
CREATE SCHEMA "The School" AUTHORIZATION regress_log_owner;
SET ROLE regress_log_owner;
SET search_path = "The School", public;
CREATE TABLE student (id int PRIMARY KEY);
CREATE TABLE parent (id int PRIMARY KEY, children int[], one int CONSTRAINT one REFERENCES student ON DELETE SET NULL, seen timestamptz, note text);
CREATE TABLE split (id int, topics int[], PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (0) TO (100);
CREATE TABLE dropped (ids int[]);
INSERT INTO student VALUES (1), (2);
INSERT INTO parent VALUES (1, '{1,70,2}', 1, '2024-06-01 12:00+02', E'tab\t\\ "quoted"'), (2, '{71}', NULL, NULL, NULL), (3, '{1}', 2, NULL, '');
INSERT INTO split VALUES (1, '{72,1}'), (2, '{2}');
INSERT INTO dropped VALUES ('{73}');
SELECT integrity.add_reference('parent', 'children', 'student', on_delete => 'remove element', on_empty => 'delete row', not_valid => true, rule_name => 'kids');
SELECT integrity.add_reference('split', 'topics', 'student', on_delete => 'set null', not_valid => true, rule_name => 'topics');
SELECT integrity.add_reference('dropped', 'ids', 'student', on_delete => 'set null', not_valid => true, rule_name => 'ids');
CREATE TABLE before AS SELECT md5((SELECT string_agg(p::text, '|' ORDER BY id) FROM parent p) || (SELECT string_agg(s::text, '|' ORDER BY id) FROM split s)) AS hash;
SELECT * FROM integrity.repair(dry_run => false);
DROP TABLE dropped;
-- one run that was undone, one of a temporary table, one without changes
SELECT run_id FROM integrity.undo(1, false);
SELECT run_id FROM integrity.undo(2, false);
CREATE TEMP TABLE passing (ids int[]);
INSERT INTO integrity.run (kind) VALUES ('repair');
BEGIN;
SELECT integrity.open_run(max(run_id)) FROM integrity.run;
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, before) SELECT max(run_id), 'passing', 'ids', 'passing', '{"ids": "{1}"}' FROM integrity.run;
COMMIT;
INSERT INTO integrity.run_rule (run_id, referencing_table, rule_name, status) SELECT max(run_id), 'passing', 'ids', 'ok' FROM integrity.run;
SQL

# The log, with tables by name; what is about tables that are no more, or temporary, does not count.
log() {
  sql "$1" -c "SET search_path = pg_catalog" -c "TABLE integrity.run ORDER BY run_id" \
    -c "SELECT r.* FROM integrity.run_rule r JOIN pg_class c ON c.oid = r.referencing_table AND c.relpersistence = 'p' ORDER BY 1, 2::text, 3" \
    -c "SELECT r.* FROM integrity.change r JOIN pg_class c ON c.oid = r.changed_table AND c.relpersistence = 'p' ORDER BY run_id, change_id"
}
# no more than that was restored
count() { sql "$1" -c "SELECT (SELECT count(*) FROM integrity.run_rule), (SELECT count(*) FROM integrity.change)"; }
shows() {  # shows <database> <value> <query>
  local value
  value=$(sql "$1" -c "SET search_path = \"The School\", public" -c "$3" 2>&1 | tail -n 1) || true
  [ "$value" = "$2" ] || fail "$1: $3: got '$value', expected '$2'"
}
works() {  # the restored log is the same, and undo takes the repair back there
  local db=$1
  log "$db" >"$files/got"
  diff -u --label source --label "$db" "$files/want" "$files/got" || fail "$db: the run log differs"
  [ "$(count "$db")" = "$persistent" ] || fail "$db: $(count "$db") rows of the log, expected $persistent"
  shows "$db" "parent split_1" "SELECT string_agg(DISTINCT changed_table::text, ' ') FROM integrity.change"
  # runs 1 and 3: the repair is in force again; as its table's owner, who is no superuser
  shows "$db" "restored 3 " "SET ROLE regress_log_owner; SELECT string_agg(concat_ws(' ', outcome, n, reason), ' ' ORDER BY outcome) || ' ' FROM (SELECT outcome, sum(rows) AS n, max(reason) AS reason FROM integrity.undo(1, false) GROUP BY 1) u"
  shows "$db" "t" "SELECT md5((SELECT string_agg(p::text, '|' ORDER BY id) FROM parent p) || (SELECT string_agg(s::text, '|' ORDER BY id) FROM split s)) = hash FROM before"
  # numbers go on
  shows "$db" "t t" "SELECT concat_ws(' ', max(run_id) > $last_run, min(run_id) FILTER (WHERE kind = 'undo' AND run_id > $last_run) > $last_run) FROM integrity.run"
  shows "$db" "0" "SELECT count(*) - count(DISTINCT change_id) FROM integrity.change"
  # and others still do not see the images
  shows "$db" "0" "CREATE ROLE regress_log_other; SET ROLE regress_log_other; SELECT count(*) FROM integrity.change"
  sql "$db" -c "DROP ROLE regress_log_other"
}

log regress_log_source >"$files/want"
shows regress_log_source "repair 1 f" "SELECT concat_ws(' ', kind, run_id, undoes IS NOT NULL) FROM integrity.run WHERE run_id = 1"
shows regress_log_source "3" "SELECT count(*) FROM integrity.change WHERE run_id = 1 AND changed_table IN (SELECT oid FROM pg_class)"
last_run=$(sql regress_log_source -c "SELECT max(run_id) FROM integrity.run")
persistent=$(sql regress_log_source -c "SELECT (SELECT count(*) FROM integrity.run_rule r JOIN pg_class c ON c.oid = r.referencing_table AND c.relpersistence = 'p'),
  (SELECT count(*) FROM integrity.change r JOIN pg_class c ON c.oid = r.changed_table AND c.relpersistence = 'p')")
"$PGBIN/pg_dump" -f "$files/plain.sql" regress_log_source 2>"$files/dump.log"
[ ! -s "$files/dump.log" ] || { cat "$files/dump.log"; fail "pg_dump has something to say"; }
"$PGBIN/pg_dump" -Fc -f "$files/custom.dump" regress_log_source

restored() {
  local db=$1
  shift
  if "$@" >"$files/restore.log" 2>&1; then return 0; fi
  cat "$files/restore.log"
  fail "$db: restore failed"
  return 1
}

fresh regress_log_plain
if restored regress_log_plain sql regress_log_plain -f "$files/plain.sql"; then works regress_log_plain; fi

fresh regress_log_custom
# other OIDs than in the source
sql regress_log_custom -c "CREATE TABLE other (id int); CREATE TABLE another (id int)"
if restored regress_log_custom "$PGBIN/pg_restore" -e -j 4 -d regress_log_custom "$files/custom.dump"; then works regress_log_custom; fi

# The schema alone has an empty log, and its numbers start anew.
fresh regress_log_schema
if restored regress_log_schema "$PGBIN/pg_restore" -e --schema-only -d regress_log_schema "$files/custom.dump"; then
  shows regress_log_schema 0 "SELECT count(*) FROM integrity.run"
  if restored regress_log_schema env PGOPTIONS="-c session_replication_role=replica" \
    "$PGBIN/pg_restore" -e --data-only -d regress_log_schema "$files/custom.dump"; then works regress_log_schema; fi
fi

finish_test
