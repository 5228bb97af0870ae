#!/bin/bash
# The gate, TAP, the exporter's query and the page, each with the program that they are made for: psql's exit
# status, pg_prove, the snippet of docs/guide.md as a member of pg_monitor runs it, and an XML parser.
# Guards: names and values that are markup, TAP directives or line breaks; a snippet that drifts from the view;
# a page that is no XML, in a database that is not UTF-8 too; dump and restore of what was accepted and recorded.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes a server of its own.
# Exit 0 if all is well, 77 without pg_prove or xmllint; else 1, after printing every difference.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"
for tool in pg_prove xmllint; do
	command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done

is() { [ "$2" = "$3" ] || fail "$1: expected $2, got $3"; }
make_server server
start_server server
use_server server
sql -c "CREATE DATABASE shop TEMPLATE template0" -c "CREATE DATABASE latin TEMPLATE template0 ENCODING latin1 LOCALE 'C'" \
	-c "CREATE DATABASE restored TEMPLATE template0"

# Hostile in every way that a name or a value can be.
make_data() {
	sql -d "$1" <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION integrity;
CREATE TABLE key (id int PRIMARY KEY, word text UNIQUE);
INSERT INTO key VALUES (1, 'a');
CREATE TABLE "<b>&""' # SKIP
not ok" (id int PRIMARY KEY, "]]>
--><svg/onload=x>" int[], words text[], up int REFERENCES "<b>&""' # SKIP
not ok");
SELECT integrity.add_reference(relname::text::regclass, E']]>\n--><svg/onload=x>', 'key', not_valid => true, rule_name => E'# TODO \\ </script>\n1..0') FROM (SELECT quote_ident(relname) FROM pg_class WHERE relname ~ 'not ok$' AND relkind = 'r') t (relname) \g /dev/null
SELECT integrity.add_reference(relname::text::regclass, 'words', 'key', 'word', not_valid => true, rule_name => 'words') FROM (SELECT quote_ident(relname) FROM pg_class WHERE relname ~ 'not ok$' AND relkind = 'r') t (relname) \g /dev/null
SET session_replication_role = replica;
DO $$ BEGIN
  EXECUTE format('INSERT INTO %s VALUES (1, ''{1,2,3}'', %L)',
                 (SELECT oid::regclass FROM pg_class WHERE relname ~ 'not ok$' AND relkind = 'r'),
                 ARRAY[E'\x01\x1f\x7f', E'<![CDATA[ &nope; ', E'\r\nok 1\n', 'Bail out!', U&'stra\00DFe']);
END $$;
SQL
}
make_data shop
make_data latin
export PGDATABASE=shop

# ---------------------------------------------------------------- the gate

status=0
sql -c "SELECT integrity.assert_clean()" -c "SELECT 'gone on'" >"$SCRATCH/gate" 2>&1 || status=$?
[ "$status" -ne 0 ] || fail "the gate is open"
! grep -q 'gone on' "$SCRATCH/gate" || fail "psql went on after the gate"
grep -q '2 of 3 rules are not clean: 2 broken, 0 unknown' "$SCRATCH/gate" || fail "the gate says: $(cat "$SCRATCH/gate")"

# ---------------------------------------------------------------- TAP

# prove <what> <expected status>: with the lines of its summary in $SCRATCH/prove
echo "SELECT integrity.tap();" >"$SCRATCH/tap.sql"
prove() {
	local got=0
	pg_prove --psql-bin "$PGBIN/psql" --verbose "$SCRATCH/tap.sql" >"$SCRATCH/prove" 2>&1 || got=$?
	if { [ "$2" = 0 ] && [ "$got" -ne 0 ]; } || { [ "$2" != 0 ] && [ "$got" -eq 0 ]; } || grep -q 'Parse errors' "$SCRATCH/prove"; then
		fail "pg_prove: $1 (status $got)"
		cat "$SCRATCH/prove"
	fi
}
said() { grep -qE "$1" "$SCRATCH/prove" || { fail "pg_prove does not say: $1"; cat "$SCRATCH/prove"; }; }
prove "two rules are broken" 1
said 'Failed tests:  *1-2|Failed: 2|Failed 2/3'
sql -c "SELECT integrity.accept(referencing_table, rule_name) FROM integrity.reference WHERE kind = 'array reference'" >/dev/null
prove "both are accepted" 0
said 'Tests=3'
sql -c "SELECT integrity.assert_clean()" >/dev/null || fail "the gate is shut though all is accepted"
sql -c "SELECT integrity.accept(referencing_table, rule_name, 99) FROM integrity.reference WHERE rule_name = 'words'" >/dev/null
sql -c "SELECT set_config('session_replication_role', 'replica', false)" \
	-c "DO \$\$ BEGIN EXECUTE format('UPDATE %s SET words = NULL', (SELECT oid::regclass FROM pg_class WHERE relname ~ 'not ok\$')); END \$\$" >/dev/null
prove "one is mended and was accepted" 0
said 'TODO passed'
is "no rule" 0 "$(sql -d postgres -c "CREATE EXTENSION integrity" && PGDATABASE=postgres pg_prove --psql-bin "$PGBIN/psql" "$SCRATCH/tap.sql" >"$SCRATCH/prove" 2>&1; echo $?)"
said 'skipped: there is no rule'

# ---------------------------------------------------------------- the exporter

sql -c "CREATE ROLE exporter LOGIN" -c "GRANT pg_monitor TO exporter" -c "SELECT integrity.record_report()" >/dev/null
# shellcheck disable=SC2016
sed -n '/^```yaml$/,/^```$/p' "$TOP/docs/guide.md" >"$SCRATCH/queries.yaml"
query=$(sed -n 's/^  query: "\(.*\)"$/\1/p' "$SCRATCH/queries.yaml")
in_snippet=$(sed -n 's/^    - \([a-z_]*\): {usage: "\(LABEL\|GAUGE\|DISCARD\)".*/\1 \2/p' "$SCRATCH/queries.yaml")
# What a label and a gauge must be of, asked of the result of that very query.
in_view=$(sql -U exporter <<SQL
CREATE TEMP TABLE result AS $query;
SELECT attname || ' ' || CASE WHEN attname = 'status' THEN 'DISCARD' WHEN atttypid = 'text'::regtype THEN 'LABEL'
                              WHEN atttypid IN ('bigint'::regtype, 'integer'::regtype, 'double precision'::regtype) THEN 'GAUGE' END
  FROM pg_attribute WHERE attrelid = 'result'::regclass AND attnum > 0 ORDER BY attnum;
SQL
)
is "the snippet has the columns of the view" "$in_view" "$in_snippet"
is "a row per rule" 3 "$(sql -U exporter -c "SELECT count(*) FROM ($query) AS m WHERE age_seconds >= 0")"

# ---------------------------------------------------------------- the page

for database in shop latin postgres; do
	PGCLIENTENCODING=UTF8 sql -d "$database" -c "SELECT integrity.report_html()" -o "$SCRATCH/$database.html"
	xmllint --noout "$SCRATCH/$database.html" >"$SCRATCH/xmllint" 2>&1 || { fail "the page of $database is not well-formed"; cat "$SCRATCH/xmllint"; }
	! grep -qiE 'https?://|<[^>]* (src|href|on[a-z]+)=' "$SCRATCH/$database.html" || fail "the page of $database loads or runs something"
done
# The text of the page, as a browser would show it, has the names as they are.
text() { xmllint --xpath "string($2)" "$SCRATCH/$1.html"; }
is "the rule's name" "$(printf '# TODO \\ </script>\n1..0')" "$(text latin "(//tbody//b)[2]")"
is "a value of another script" 1 "$(xmllint --xpath "count(//td[contains(., 'straße')])" "$SCRATCH/latin.html")"
is "the statement" 2 "$(xmllint --xpath "count(//pre/code[starts-with(., 'SELECT * FROM integrity.')])" "$SCRATCH/latin.html")"
is "a head to each column, and to each row" "8 3" "$(xmllint --xpath "concat(count(//thead//th[@scope='col']), ' ', count(//tbody//th[@scope='row']))" "$SCRATCH/latin.html")"
is "title and description of each drawing" "2 2 2" "$(xmllint --xpath "concat(count(//svg), ' ', count(//svg/title), ' ', count(//svg/desc))" "$SCRATCH/shop.html")"

# ---------------------------------------------------------------- dump and restore

sql -c "CREATE TABLE dropped (id int PRIMARY KEY, up int REFERENCES dropped)" -c "SELECT integrity.accept('dropped', 'dropped_up_fkey', 5)" -c "DROP TABLE dropped" >/dev/null
what="SELECT referencing_table, rule_name, references_broken, since FROM integrity.accepted
       WHERE referencing_table IN (SELECT oid FROM pg_class) ORDER BY rule_name;
      SELECT run_id, r.role_name, r.started, referencing_table, rule_name, status, references_broken FROM integrity.run r JOIN integrity.run_rule USING (run_id) ORDER BY 1, 5"
"$PGBIN/pg_dump" -d shop -f "$SCRATCH/shop.sql" 2>"$SCRATCH/dump.log"
sql -d restored -f "$SCRATCH/shop.sql" >/dev/null
is "what was accepted and recorded" "$(sql -c "$what")" "$(sql -d restored -c "$what")"
is "nothing about a table that is gone" "2" "$(sql -d restored -c "SELECT count(*) FROM integrity.accepted")"
sql -d restored -c "SELECT integrity.record_report()" >/dev/null || fail "recording goes on after a restore"

finish_test
