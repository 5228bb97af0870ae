#!/bin/bash
# pg_dump from an older server, restore into a newer one, in each of the ways there are: the same rules, in the same state,
# with the same figures and run log, and they act.
#
# Run by test/run, which gives PGBIN, OLDER_PGBIN, SCRATCH and TOP. Exit 0 if all is well; else 1, with every difference.
# The ways are called by their names.
# shellcheck disable=SC2317
set -euo pipefail
: "${OLDER_PGBIN:?}"
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

newer=$PGBIN
# shellcheck source=test/cluster/school.sh
source "$TOP/test/cluster/school.sh"
# shellcheck source=test/across/history.sh
source "$TOP/test/across/history.sh"

what=(rules triggers ties members events rows report log)
old=regress_newer
PGBIN=$OLDER_PGBIN make_server old
PGBIN=$OLDER_PGBIN start_server old
use_server old
make_school $old
make_history $old
remember $old "${what[@]}"

"$OLDER_PGBIN/pg_dump" -f "$files/plain.sql" $old
"$newer/pg_dump" -f "$files/plain_newer.sql" $old
"$OLDER_PGBIN/pg_dump" -Fc -f "$files/custom.dump" $old
"$newer/pg_dump" -Fd -j 2 -f "$files/folder" $old
"$newer/pg_dump" --data-only -f "$files/data.sql" $old
"$newer/pg_dump" --data-only --disable-triggers -f "$files/data_quiet.sql" $old

make_server new
start_server new
use_server new
sql postgres -c "CREATE ROLE regress_across_owner"

# try <name> <command>...: a new database, filled by the command with -d <database> behind it, is the same and acts.
try() {
  local db=regress_newer_$1
  fresh "$db"
  if restored "$db" "${@:2}" -d "$db"; then
    same "$db" "${what[@]}"
    guarded_index "$db"
    undoes "$db"
    enforces "$db"
  fi
}
# In parallel, as the guide has it for partitioned tables.
in_sections() {
  local section dump=$1
  shift
  for section in pre-data data post-data; do "$PGBIN/pg_restore" -e -j 2 --section="$section" "$@" "$dump" || return 1; done
}
# --disable-triggers enables all triggers of a table in the end, those of rules that were not enforced too.
loaded_quietly() {
  "$PGBIN/pg_restore" -e --schema-only "$@" "$files/custom.dump" && "$PGBIN/psql" -X -q -v ON_ERROR_STOP=1 -f "$files/data_quiet.sql" \
    -c "ALTER TABLE school.parent DISABLE TRIGGER parent_off_fkey, DISABLE TRIGGER parent_off_loose_fkey, DISABLE TRIGGER parent_one_off_fkey" "$@"
}
try plain "$PGBIN/psql" -X -q -v ON_ERROR_STOP=1 -f "$files/plain.sql"
try plain_newer "$PGBIN/psql" -X -q -v ON_ERROR_STOP=1 -f "$files/plain_newer.sql"
try custom "$PGBIN/pg_restore" -e "$files/custom.dump"
try custom_sections in_sections "$files/custom.dump"
try folder in_sections "$files/folder"
try one "$PGBIN/pg_restore" -1 "$files/custom.dump"
try quietly loaded_quietly

# The data alone with the rules in force: what is broken stays out, and so does what comes before its keys. But
# whatever is in, is sound.
fresh regress_newer_loud
restored regress_newer_loud "$PGBIN/pg_restore" -e --schema-only -d regress_newer_loud "$files/custom.dump" || true
sql regress_newer_loud -v ON_ERROR_STOP=0 -f "$files/data.sql" >"$files/loud.log" 2>&1 || true
if grep 'ERROR:' "$files/loud.log" | grep -v 'violates foreign key constraint'; then fail "loud: another error"; fi
shows regress_newer_loud 0 "SELECT count(*) FROM public.integrity_report() WHERE enforced AND status <> 'ok'"
shows regress_newer_loud 40 "SELECT count(*) FROM student"

finish_test
