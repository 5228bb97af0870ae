#!/bin/bash
# A dump of the data alone, loaded into a database that has the rules already. In the order of the dump it works or is refused,
# as with foreign keys; with --disable-triggers it works, in parallel too, broken references and all, and afterwards the rules
# act and the report tells what came in.
#
# Guards: ENABLE TRIGGER ALL, which pg_restore ends with, is no declaration: nothing is checked, and nothing waits for others.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. Exit 0 if all is well.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"


make_server server
start_server server
use_server server
sql -c "CREATE DATABASE source"
# The referencing table comes first in a dump, by its name; two tables refer to each other; native foreign keys beside.
sql -d source >/dev/null <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION integrity;
CREATE TABLE z_key (id int PRIMARY KEY, back int[]);
CREATE TABLE a_ref (id int PRIMARY KEY, ids int[], off int[], one int REFERENCES z_key);
CREATE TABLE part_ref (id int, ids int[]) PARTITION BY LIST (id);
CREATE TABLE part_ref_1 PARTITION OF part_ref FOR VALUES IN (1);
INSERT INTO z_key SELECT generate_series(1, 1000);
INSERT INTO a_ref SELECT g, ARRAY[g, g % 100 + 1], ARRAY[-g], g FROM generate_series(1, 1000) g;
INSERT INTO part_ref VALUES (1, '{5,6}');
UPDATE z_key SET back = ARRAY[id];
SELECT integrity.add_reference('a_ref', 'ids', 'z_key', on_delete => 'remove element'),
       integrity.add_reference('a_ref', 'off', 'z_key', enforced => false),
       integrity.add_reference('z_key', 'back', 'a_ref', on_delete => 'set null'),
       integrity.add_reference('part_ref', 'ids', 'z_key', "deferrable" => true, initially_deferred => true);
SET session_replication_role = replica;
UPDATE a_ref SET ids = '{1,55555}', one = 55555 WHERE id = 7;
SQL
"$PGBIN/pg_dump" -Fc -f "$SCRATCH/dump" source
state="SELECT referencing_table, rule_name, enforced, validated, guarded FROM integrity.reference ORDER BY referencing_table::text, 2"
rows="SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM (SELECT 'k', id, back::text, NULL, NULL FROM z_key UNION ALL SELECT 'r', id, ids::text, off::text, one FROM a_ref UNION ALL SELECT 'p', id, ids::text, NULL, NULL FROM part_ref) AS t"
figures="SELECT rule_name, references_checked, references_broken, status FROM integrity_report() ORDER BY 1"

for how in 'with triggers' '--disable-triggers' '--disable-triggers -j 2'; do
	sql -c "DROP DATABASE IF EXISTS target" -c "CREATE DATABASE target" 2>/dev/null
	"$PGBIN/pg_restore" -e --schema-only -d target "$SCRATCH/dump"
	options=(--data-only)
	[ "$how" = 'with triggers' ] || read -r -a options <<<"--data-only $how"
	status=0
	"$PGBIN/pg_restore" "${options[@]}" -d target "$SCRATCH/dump" >"$SCRATCH/restore.log" 2>&1 || status=$?
	if [ "$how" = 'with triggers' ]; then
		is "$how: refused by rule and foreign key alike" "$(grep -cE 'ERROR: .* violates foreign key constraint "(a_ref_ids_fkey|a_ref_one_fkey|z_key_back_fkey)"' "$SCRATCH/restore.log" | sed 's/[1-9][0-9]*/some/')" some
		is "$how: what is refused is not there" "$(sql -d target -c "SELECT sum(references_broken) FROM integrity_report()")" 0
		continue
	fi
	is "$how: status" "$status" 0
	is "$how: rows" "$(sql -d target -c "$rows")" "$(sql -d source -c "$rows")"
	# Enabled again are all: the rule that was not enforced is now, as pg_restore leaves it.
	is "$how: rules" "$(sql -d target -c "$state")" "$(sql -d source -c "$state" | sed '/a_ref_off_fkey/s/|f|/|t|/')"
	is "$how: report" "$(sql -d target -c "$figures")" "$(sql -d source -c "$figures")"
	is "$how: a broken one is refused" "$(sql -d target -c '\set VERBOSITY sqlstate' -c "INSERT INTO a_ref (id, ids) VALUES (0, '{77777}')" 2>&1)" 'ERROR:  23503'
	is "$how: a delete acts" "$(sql -d target -c "DELETE FROM a_ref WHERE id = 9" -c "DELETE FROM z_key WHERE id = 9" -c "SELECT count(*) FROM a_ref WHERE 9 = ANY (ids)")" 0
	is "$how: a held key stays" "$(sql -d target -c '\set VERBOSITY sqlstate' -c "DELETE FROM z_key WHERE id = 5" 2>&1)" 'ERROR:  23503'
done

finish_test
