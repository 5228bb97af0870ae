#!/bin/bash
# integrity.schedule() with the real pg_cron: a report is recorded by itself, and not any more after unschedule().
# Before that, what schedule() says where pg_cron is not loaded, not created, or in another database: each HINT
# is followed here, for it must lead to where the next one is.
# Guards: the job's name, command and database; a second call replacing the first; a role's job staying its own;
# functions of pg_cron found by the extension, not by the name of a schema.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes a server of its own. Waits for pg_cron, whose
# finest time is a minute up to 1.4. Exit 0 if all is well, 77 without pg_cron; else 1, after printing every difference.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

sql() { "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -v SHOW_CONTEXT=never -v VERBOSITY=verbose "$@" 2>&1; }
# is <what> <expected> <got>
is() {
	if [ "$2" = "$3" ]; then return; fi
	printf 'FAILED: %s\n  expected: %s\n  got:      %s\n' "$1" "$2" "$3"
	failures=$((failures + 1))
}
# like <what> <part>... <got>: every part occurs in it
like() {
	local what=$1 got=${*: -1} part
	for part in "${@:2:$#-2}"; do
		case $got in *"$part"*) ;; *)
			printf 'FAILED: %s\n  expected: ... %s ...\n  got:      %s\n' "$what" "$part" "$got"
			failures=$((failures + 1))
			;;
		esac
	done
}
trap 'echo "FAILED: line $LINENO"' ERR

make_server server
start_server server
use_server server
sql -c "CREATE DATABASE shop" -c "CREATE DATABASE cron_home"
sql -d shop -c "CREATE EXTENSION integrity" >/dev/null
export PGDATABASE=shop

# A schema that only looks like pg_cron's is never called.
sql <<'SQL'
CREATE SCHEMA cron;
CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RAISE ''called the wrong one''; END';
SQL
like "pg_cron not loaded" '0A000: pg_cron is not installed on this server' "apt-get install postgresql-" \
	"shared_preload_libraries = 'pg_cron'" "cron.database_name = 'shop'" "CREATE EXTENSION pg_cron" \
	"$(sql -c "SELECT integrity.schedule('* * * * *')" || true)"
like "pg_cron not loaded: unschedule" '0A000: pg_cron is not installed' "$(sql -c "SELECT integrity.unschedule()" || true)"
sql -c "DROP SCHEMA cron CASCADE" >/dev/null
stop_server server

if [ ! -e "$("$PGBIN/pg_config" --pkglibdir)/pg_cron.so" ]; then
	[ "$failures" -eq 0 ] || exit 1
	echo "no pg_cron for this PostgreSQL; only the error messages were tested"
	exit 77
fi

# ---------------------------------------------------------------- in another database

start_server server shared_preload_libraries=pg_cron cron.database_name=cron_home cron.use_background_workers=on
sql -d cron_home -c "CREATE EXTENSION pg_cron"
message=$(sql -c "SELECT integrity.schedule('5 4 * * *')" || true)
like "in another database" '0A000: pg_cron is in database "cron_home", not in this one' "Run there: SELECT cron.schedule_in_database(" "$message"
# The statement of the HINT does what it says, and so does that of unschedule().
sql -d cron_home -c "$(sed -n 's/^HINT: *Run there: //p' <<<"$message")" >/dev/null
is "the job as the HINT made it" "integrity_record_report_shop|5 4 * * *|SELECT integrity.record_report()|shop" \
	"$(sql -d cron_home -c "SELECT jobname, schedule, command, database FROM cron.job")"
message=$(sql -c "SELECT integrity.unschedule()" || true)
sql -d cron_home -c "$(sed -n 's/^HINT: *Run there: //p' <<<"$message")" >/dev/null
is "no job left" 0 "$(sql -d cron_home -c "SELECT count(*) FROM cron.job")"
stop_server server

# ---------------------------------------------------------------- in this database

start_server server shared_preload_libraries=pg_cron cron.database_name=shop cron.use_background_workers=on
sql -c "CREATE ROLE clerk LOGIN"
like "not created here, and the setting is not for everyone" '0A000: pg_cron is not installed in this database' \
	"$(sql -U clerk -c "SELECT integrity.schedule('5 4 * * *')" || true)"
like "not created here" '42704: extension "pg_cron" does not exist in this database' "CREATE EXTENSION pg_cron;" \
	"$(sql -c "SELECT integrity.schedule('5 4 * * *')" || true)"
sql -c "CREATE EXTENSION pg_cron"
sql <<'SQL'
CREATE TABLE key (id int PRIMARY KEY);
CREATE TABLE list (id int PRIMARY KEY, ids int[]);
INSERT INTO key VALUES (1);
SELECT integrity.add_reference('list', 'ids', 'key', enforced => false) \g /dev/null
INSERT INTO list VALUES (1, '{1,2}');
SQL

is "nothing to unschedule" f "$(sql -c "SELECT integrity.unschedule()")"
# In the way of an unqualified name, and of nothing else.
job=$(sql -c "CREATE SCHEMA evil" -c "CREATE FUNCTION evil.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS 'SELECT -1::bigint'" \
	-c "SET search_path = evil, cron, public" -c "SELECT integrity.schedule('5 4 * * *')")
is "the job" "$job|integrity_record_report|5 4 * * *|SELECT integrity.record_report()|shop|postgres" \
	"$(sql -c "SELECT jobid, jobname, schedule, command, database, username FROM cron.job")"
like "a time that is none" 'invalid schedule' "$(sql -c "SELECT integrity.schedule('whenever')" || true)"
is "the job is still as it was" "5 4 * * *" "$(sql -c "SELECT schedule FROM cron.job")"

# Another role's job is its own; a superuser replaces it. Jobs of other names and databases stay.
sql -c "GRANT USAGE ON SCHEMA cron TO clerk" -c "GRANT SELECT ON key, list TO clerk" \
	-c "SELECT cron.schedule('other', '0 0 1 1 *', 'SELECT 1')" \
	-c "CREATE ROLE neighbour LOGIN" \
	-c "SELECT cron.schedule_in_database('integrity_record_report', '0 0 1 1 *', 'SELECT 1', 'postgres', 'neighbour')" >/dev/null
sql -U clerk -c "SELECT integrity.schedule('6 6 * * *')" >/dev/null
is "a job for each role" "clerk 6 6 * * *, postgres 5 4 * * *" \
	"$(sql -c "SELECT string_agg(username || ' ' || schedule, ', ' ORDER BY username) FROM cron.job WHERE jobname = 'integrity_record_report' AND database = 'shop'")"
is "only his own" t "$(sql -U clerk -c "SELECT integrity.unschedule()")"
sql -U clerk -c "SELECT integrity.schedule('6 6 * * *')" >/dev/null
is "the same job, at another time" "$job" "$(sql -c "SELECT integrity.schedule('* * * * *')")"
is "one job" "postgres * * * * *" \
	"$(sql -c "SELECT string_agg(username || ' ' || schedule, ', ') FROM cron.job WHERE jobname = 'integrity_record_report' AND database = 'shop'")"

# ---------------------------------------------------------------- and it runs

version=$(sql -c "SELECT extversion FROM pg_extension WHERE extname = 'pg_cron'")
if [ "$(printf '%s\n' 1.5 "$version" | sort -V | head -n 1)" = 1.5 ]; then
	sql -c "SELECT integrity.schedule('2 seconds')" >/dev/null
fi
reports="SELECT count(*) FROM integrity.run WHERE kind = 'report' AND finished IS NOT NULL"
for ((second = 0; second < 150; second++)); do
	[ "$(sql -c "$reports")" = 0 ] || break
	sleep 1
done
is "a report recorded by itself" "postgres list_ids_fkey broken 2 1" \
	"$(sql -c "SELECT concat_ws(' ', r.role_name, u.rule_name, u.status, u.references_checked, u.references_broken)
	             FROM integrity.run r JOIN integrity.run_rule u USING (run_id) WHERE r.kind = 'report' ORDER BY run_id LIMIT 1")"
is "it is in the metrics" "list_ids_fkey 1" "$(sql -c "SELECT rule_name || ' ' || references_broken FROM integrity.metrics")"
is "unscheduled" t "$(sql -c "SELECT integrity.unschedule()")"
is "the jobs of others are left" "integrity_record_report in postgres, other in shop" \
	"$(sql -c "SELECT string_agg(jobname || ' in ' || database, ', ' ORDER BY jobname) FROM cron.job")"
sql -c "SELECT cron.unschedule(jobid) FROM cron.job" >/dev/null
is "no job left" 0 "$(sql -c "SELECT count(*) FROM cron.job")"

[ "$failures" -eq 0 ] || exit 1
