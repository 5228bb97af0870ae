#!/bin/bash
# ALTER EXTENSION integrity UPDATE: a database that comes from the first version, with rules and a run log in it, is the
# same as one that was made with this version. Every object of the extension is compared as pg_dump writes it for
# pg_upgrade, that is with all its members; a line left out of an upgrade script shows here.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes a server of its own.
# Exit 0 if all is well; else 1, after printing every difference.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

current=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$TOP/integrity.control")
sql() { "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -v SHOW_CONTEXT=never -d "$1" "${@:2}"; }
# shows <database> <value> <query>: the last line that the statements print.
shows() {
  local value
  value=$(sql "$1" -c "$3" 2>&1 | tail -n 1) || true
  [ "$value" = "$2" ] || fail "$1: $3: got '$value', expected '$2'"
}
make_server server
start_server server
use_server server

# What pg_dump says of a database, in an order of its own: OIDs, and the version that the comparison is about, left out.
contents() {
  "$PGBIN/pg_dump" --schema-only --binary-upgrade "$1" |
    sed -e '/binary_upgrade_set_next/d' -e '/^SET relfrozenxid/d' -e "/^WHERE oid = '[0-9]*';/d" -e '/^\\\(un\)\?restrict /d' \
      -e "/create_empty_extension('integrity'/d" -e '/^-- Dumped/d' |
    awk -v RS='\n\n\n' '{ gsub(/\n/, "\001"); print }' | LC_ALL=C sort | tr '\001' '\n'
}

# Rules of many kinds, and things to remember: runs, recorded reports, accepted numbers.
populate() {
  sql "$1" >/dev/null <<'SQL'
SET client_min_messages = warning;
CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k SELECT generate_series(1, 20);
CREATE TABLE t (id int PRIMARY KEY, removed int[], plain int[], late int[], loose int[], off int[]);
CREATE TABLE kp (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE kp1 PARTITION OF kp FOR VALUES FROM (0) TO (10);
CREATE TABLE tp (ids int[]);
SELECT integrity.add_reference('t', 'removed', 'k', on_delete => 'remove element', on_update => 'cascade');
SELECT integrity.add_reference('t', 'plain', 'k');
SELECT integrity.add_reference('t', 'late', 'k', "deferrable" => true);
SELECT integrity.add_reference('t', 'loose', 'k', not_valid => true);
SELECT integrity.add_reference('t', 'off', 'k', enforced => false);
SELECT integrity.add_reference('tp', 'ids', 'kp', on_delete => 'delete row');
INSERT INTO kp VALUES (1);
INSERT INTO tp VALUES ('{1}');
INSERT INTO t VALUES (1, '{1,2}', '{3}', '{4}', NULL, '{5,99}');
SELECT count(*) FROM integrity.repair('t', 't_off_fkey', 'remove element', false);
SELECT integrity.accept('t', 't_loose_fkey', 3);
SELECT integrity.record_report();
SQL
}

sql postgres -c "CREATE DATABASE fresh TEMPLATE template0" -c "CREATE DATABASE updated TEMPLATE template0"
sql fresh -c "SET client_min_messages = warning" -c "CREATE EXTENSION integrity"
populate fresh

# The oldest version that there is a way from; the module is the one of today.
sql updated -c "CREATE EXTENSION integrity VERSION '0.1.0'"
populate updated
# The first version's SQL with the module of today: it works until somebody runs the update.
shows updated "6|0" "SELECT count(*), count(*) FILTER (WHERE status = 'unknown') FROM public.integrity_report()"
shows updated "insert or update on table \"t\" violates foreign key constraint \"t_plain_fkey\"" "
  CREATE TEMP TABLE said (message text);
  DO \$\$ BEGIN INSERT INTO t (id, plain) VALUES (2, '{77}'); EXCEPTION WHEN foreign_key_violation THEN INSERT INTO said VALUES (SQLERRM); END \$\$;
  SELECT message FROM said"
# A rule that leaves UPDATEs to another trigger is none yet: there is no such trigger.
[[ "$(sql updated -c "CREATE TRIGGER by_hand AFTER INSERT ON t FOR EACH ROW WHEN (integrity.refers(NEW.plain, (NULL::k).id))
  EXECUTE FUNCTION integrity.check_reference()" 2>&1)" = *"does not fire on UPDATE"* ]] || fail "a rule without checks of UPDATEs was accepted"
# What only the first version's module has done: rules depend on the row type and not on the index.
sql updated -c "SET allow_system_table_mods = on" -c "DELETE FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND refobjid = 'k_pkey'::regclass" \
  -c "INSERT INTO pg_depend SELECT 'pg_trigger'::regclass, oid, 0, 'pg_type'::regclass, 'k'::regtype, 0, 'n' FROM pg_trigger WHERE tgrelid = 't'::regclass AND NOT tgisinternal"
sql updated -c "ALTER EXTENSION integrity UPDATE"
shows updated "0" "SELECT count(*) FROM integrity.reference WHERE NOT guarded"
shows updated "0" "SELECT count(*) FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND refclassid = 'pg_type'::regclass"
shows updated "$current" "SELECT extversion FROM pg_extension WHERE extname = 'integrity'"
# Rules that were declared before go on firing on UPDATE themselves; replaced as the change log says, they are like new ones.
broken="UPDATE t SET plain = '{77}' WHERE id = 1"
shows updated "0" "SELECT count(*) FROM pg_trigger WHERE tgfoid = 'integrity.check_update()'::regprocedure"
[[ "$(sql updated -c "$broken" 2>&1)" = *t_plain_fkey* ]] || fail "an UPDATE is not checked after the update of the extension"
sql updated -c "SET client_min_messages = warning" -c "
DO \$\$
DECLARE
  rule record;
BEGIN
  FOR rule IN SELECT tgrelid::regclass AS rel, tgname, tgenabled, pg_get_triggerdef(oid) AS definition FROM pg_trigger
               WHERE tgfoid = 'integrity.check_reference()'::regprocedure AND NOT tgdeferrable
  LOOP
    EXECUTE regexp_replace(replace(rule.definition, 'AFTER INSERT OR UPDATE', 'AFTER INSERT'), '^CREATE', 'CREATE OR REPLACE');
    IF rule.tgenabled = 'D' THEN
      EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', rule.rel, rule.tgname);
    END IF;
  END LOOP;
END \$\$"
[[ "$(sql updated -c "$broken" 2>&1)" = *t_plain_fkey* ]] || fail "an UPDATE is not checked after its rule was replaced"
shows updated "0" "SELECT count(*) FROM integrity.reference WHERE NOT guarded"

contents fresh >"$SCRATCH/fresh.sql"
contents updated >"$SCRATCH/updated.sql"
grep -q 'integrity.guard_delete' "$SCRATCH/fresh.sql" || fail "the comparison does not see the extension's members"
diff -u --label fresh --label updated "$SCRATCH/fresh.sql" "$SCRATCH/updated.sql" || fail "an updated database differs from a fresh one"

# Members, and what pg_dump takes of their rows.
members="SELECT pg_describe_object(d.classid, d.objid, 0), d.deptype FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid
  AND d.refclassid = 'pg_extension'::regclass WHERE e.extname = 'integrity' ORDER BY 1"
config="SELECT c::regclass, w FROM pg_extension, unnest(extconfig, extcondition) u (c, w) WHERE extname = 'integrity' ORDER BY 1"
for query in "$members" "$config"; do
  diff -u <(sql fresh -c "$query") <(sql updated -c "$query") || fail "members or configuration differ"
done

# What was there before still acts, and what was done can be undone.
shows updated "{5,99}" "SELECT FROM integrity.run r, integrity.undo(r.run_id, dry_run => false) WHERE r.kind = 'repair'; SELECT off FROM t"
shows updated "{2}" "DELETE FROM k WHERE id = 1; SELECT removed FROM t"
shows updated "3" "SELECT references_broken FROM integrity.accepted"
for database in fresh updated; do
  shows "$database" t "SELECT count(*) > 0 FROM integrity.run"
  sql "$database" -c "SET client_min_messages = warning" -c "DROP EXTENSION integrity CASCADE"
  shows "$database" 0 "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
done

finish_test
