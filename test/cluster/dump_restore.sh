#!/bin/bash
# pg_dump and restore: the restored database has the same rules, in the same state, and they act.
# A rule is its trigger and nothing else, so the dump must carry it whole: words, bound columns, guards,
# enforced or not, valid or not. Taken out, each of these shows here: the guards being ordinary triggers
# (deletes do not act), the event trigger standing back while check_function_bodies is off (guards made
# twice, or a not valid rule refused for its broken rows), qualified names in the rule's WHEN (the restore
# runs with an empty search_path).
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes a server of its own.
# Exit 0 if all is well; else 1, after printing every difference.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

# shellcheck source=test/cluster/school.sh
source "$TOP/test/cluster/school.sh"
make_server server
start_server server
use_server server

source_db=regress_dump_source
make_school "$source_db"
remember "$source_db" rules triggers ties members events rows
"$PGBIN/pg_dump" -f "$files/plain.sql" "$source_db"
"$PGBIN/pg_dump" -Fc -f "$files/custom.dump" "$source_db"

fresh regress_dump_plain
if restored regress_dump_plain sql regress_dump_plain -f "$files/plain.sql"; then
  same regress_dump_plain rules triggers ties members events rows
  # A dump of the restored database is the same dump: nothing was added on the way.
  "$PGBIN/pg_dump" -f "$files/again.sql" regress_dump_plain
  diff -u <(sed '/^\\\(un\)\?restrict /d' "$files/plain.sql") <(sed '/^\\\(un\)\?restrict /d' "$files/again.sql") || fail "the dump of the restored database differs"
  enforces regress_dump_plain
fi

# In parallel, and section by section, as the guide has it for partitioned tables: else a rule on one may be made, and a partition
# loaded under it, before the index on its keys has those of all partitions.
# shellcheck disable=SC2317
in_sections() {
  for section in pre-data data post-data; do
    "$PGBIN/pg_restore" -e -j 2 --section="$section" -d "$1" "$2" || return 1
  done
}
fresh regress_dump_custom
if restored regress_dump_custom in_sections regress_dump_custom "$files/custom.dump"; then
  same regress_dump_custom rules triggers ties members events rows
  enforces regress_dump_custom
fi

# Over a database that has it all already: --clean drops rules, guards and extension in pg_restore's order.
# (The one error allowed is PostgreSQL 15's own: it drops a partition's primary key before the table's.)
"$PGBIN/pg_restore" --clean --if-exists -d regress_dump_custom "$files/custom.dump" >"$files/restore.log" 2>&1 || true
if grep 'ERROR:' "$files/restore.log" | grep -v 'cannot drop inherited constraint'; then
  fail "regress_dump_custom: restore over itself failed"
else
  same regress_dump_custom rules triggers ties members events rows
fi

# The schema alone: the same rules, and they act on what comes in by ordinary statements.
fresh regress_dump_schema
if restored regress_dump_schema "$PGBIN/pg_restore" -e --schema-only -d regress_dump_schema "$files/custom.dump"; then
  same regress_dump_schema rules triggers events
  refused regress_dump_schema 23503 "INSERT INTO parent (id, loose) VALUES (1, '{1}')"
  shows regress_dump_schema "{}" "INSERT INTO student VALUES (1, 'x'); INSERT INTO by_hand VALUES (1, '{1}'); DELETE FROM student; SELECT coalesce(keys, '{}') FROM by_hand"
  shows regress_dump_schema 0 "DELETE FROM by_hand; SELECT count(*) FROM student"
  # Then the data alone, broken rows and all, loaded as replication does it: no rule fires, none is changed.
  if restored regress_dump_schema env PGOPTIONS="-c session_replication_role=replica" \
    "$PGBIN/pg_restore" -e --data-only -d regress_dump_schema "$files/custom.dump"; then
    same regress_dump_schema rules triggers rows
    enforces regress_dump_schema
  fi
fi

# Rows that came in with triggers off. A foreign key is lost in the restore; a rule stays in force, and says that it is
# not valid. (pg_restore shows the server's warnings only with --verbose.)
fresh regress_dump_rotten
sql regress_dump_rotten -c "SET client_min_messages = warning" -c "CREATE EXTENSION integrity" -c "CREATE TABLE k (id int PRIMARY KEY)" \
  -c "CREATE TABLE t (ids int[], id int CONSTRAINT native REFERENCES k)" -c "SELECT FROM integrity.add_reference('t', 'ids', 'k')" \
  -c "SET session_replication_role = replica" -c "INSERT INTO k VALUES (1)" -c "INSERT INTO t VALUES ('{1,2}', 2)"
"$PGBIN/pg_dump" -Fc -f "$files/rotten.dump" regress_dump_rotten
fresh regress_dump_mourned
"$PGBIN/pg_restore" --verbose -j 2 -d regress_dump_mourned "$files/rotten.dump" >"$files/restore.log" 2>&1 || true
grep -q 'WARNING: *rule "t_ids_fkey" of table "t" is not valid' "$files/restore.log" || fail "no warning of a rule that does not hold"
shows regress_dump_mourned "t_ids_fkey|t|f|t|" "SELECT rule_name, enforced, validated, guarded, problem FROM integrity.reference"
refused regress_dump_mourned 23503 "INSERT INTO public.t VALUES ('{2}')"
shows regress_dump_mourned "1|broken" "SELECT references_broken, status FROM public.integrity_report()"

finish_test
