#!/bin/bash
# pg_upgrade with rules in place: the new server has the same rules, figures, run log and extension, and all of it acts.
# pg_upgrade makes an extension piece by piece, its event triggers last, and tables keep their numbers. So what
# belongs to a rule beyond its trigger is not made by the event trigger this time: the tie to the key's index.
#
# Run by test/run, which gives PGBIN, OLDER_PGBIN, SCRATCH and TOP. Exit 0 if all is well; else 1, with every difference.
set -euo pipefail
: "${OLDER_PGBIN:?}"
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

newer=$PGBIN
# shellcheck source=test/cluster/school.sh
source "$TOP/test/cluster/school.sh"
# shellcheck source=test/across/history.sh
source "$TOP/test/across/history.sh"

what=(rules triggers ties members grants events rows report log)
db=regress_upgrade
PGBIN=$OLDER_PGBIN
make_server old --data-checksums
start_server old
use_server old
make_school $db
make_history $db
remember $db "${what[@]}"
stop_server old

# pg_upgrade reads server options from nowhere, and writes into the current folder.
PGBIN=$newer
make_server new --data-checksums
cd "$files"
unset PGHOST PGPORT PGUSER PGDATABASE
if ! "$newer/pg_upgrade" --username=postgres --old-bindir="$OLDER_PGBIN" --new-bindir="$newer" --old-datadir="$SCRATCH/old/data" \
  --new-datadir="$SCRATCH/new/data" --socketdir="$SCRATCH/new/socket" >"$files/upgrade.log" 2>&1; then
  tail -n 40 "$files/upgrade.log"
  find "$SCRATCH/new/data/pg_upgrade_output.d" -name '*.log' -exec tail -n 20 {} + || true
  echo "FAILED: pg_upgrade"
  exit 1
fi

start_server new
use_server new
same $db "${what[@]}"
guarded_index $db
undoes $db
enforces $db

# The upgraded extension is the one that a new server would make.
fresh regress_upgrade_new
sql regress_upgrade_new -c "CREATE EXTENSION integrity"
remember regress_upgrade_new members grants events
same $db members grants events
sql $db -c "SET client_min_messages = error" -c "DROP EXTENSION integrity CASCADE" -c "CREATE EXTENSION integrity"
shows $db 0 "SELECT count(*) FROM integrity.reference WHERE kind <> 'foreign key'"

finish_test
