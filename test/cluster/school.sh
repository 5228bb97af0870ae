# A database with rules of every kind, and what a copy of it must have in common with it. To be sourced, after
# test/cluster/common.sh, by tests of dumps and upgrades. They have a server, and a folder $files.
# shellcheck shell=bash

files=$SCRATCH/files
mkdir "$files"

sql() { "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -v SHOW_CONTEXT=never -d "$1" "${@:2}"; }
fresh() {  # a new, empty database
  sql postgres -c "CREATE DATABASE $1 TEMPLATE template0"
}

make_school() {  # make_school <new database>
fresh "$1"
sql "$1" >"$files/school.log" 2>&1 <<'SQL' || { cat "$files/school.log"; echo "FAILED: making the database"; exit 1; }
SET client_min_messages = warning;
CREATE EXTENSION integrity;
CREATE SCHEMA school;
-- Not on the search_path of any restore, and nothing here is in public.
SET search_path = school, public;

-- Every word, on one referenced table.
CREATE TABLE student (id int PRIMARY KEY, code text UNIQUE);
INSERT INTO student SELECT g, 'c' || g FROM generate_series(1, 40) g;
CREATE TABLE parent (id int PRIMARY KEY, plain int[], held int[], removed int[], nulled int[], rowed int[],
                     unset int[], codes text[], strict int[], loose int[], off int[], off_loose int[],
                     late int[], later int[], one int, one_loose int, one_off int);
SELECT integrity.add_reference('parent', 'plain', 'student');
SELECT integrity.add_reference('parent', 'held', 'student', on_delete => 'restrict', on_update => 'restrict');
SELECT integrity.add_reference('parent', 'removed', 'student', on_delete => 'remove element', on_empty => 'set null', on_update => 'cascade');
SELECT integrity.add_reference('parent', 'nulled', 'student', on_delete => 'null element', on_update => 'cascade');
SELECT integrity.add_reference('parent', 'rowed', 'student', on_delete => 'delete row');
SELECT integrity.add_reference('parent', 'unset', 'student', on_delete => 'set null');
SELECT integrity.add_reference('parent', 'codes', 'student', 'code', on_delete => 'remove element', on_empty => 'delete row');
SELECT integrity.add_reference('parent', 'strict', 'student', null_elements => 'reject', duplicate_elements => 'reject');
SELECT integrity.add_reference('parent', 'loose', 'student', not_valid => true);
SELECT integrity.add_reference('parent', 'off', 'student', on_delete => 'delete row', enforced => false);
SELECT integrity.add_reference('parent', 'off_loose', 'student', enforced => false, not_valid => true);
SELECT integrity.add_reference('parent', 'late', 'student', "deferrable" => true);
SELECT integrity.add_reference('parent', 'later', 'student', "deferrable" => true, initially_deferred => true);
SELECT integrity.add_reference('parent', 'one', 'student', on_delete => 'set null');
SELECT integrity.add_reference('parent', 'one_loose', 'student', not_valid => true);
SELECT integrity.add_reference('parent', 'one_off', 'student', enforced => false);
INSERT INTO parent (id, plain, held, removed, nulled) VALUES (1, '{1,2}', '{3}', '{10,11}', '{10,12}');
INSERT INTO parent (id, rowed, unset, codes, strict) VALUES (2, '{13}', NULL, NULL, '{4,5}'), (3, NULL, '{14,1}', '{c15}', NULL);
INSERT INTO parent (id, late, later, one) VALUES (4, '{6}', '{7}', 16);
-- Broken rows under the rules that allow them: a restore that checks them fails.
ALTER TABLE parent DISABLE TRIGGER USER;
INSERT INTO parent (id, loose, off, off_loose, one_off) VALUES (5, '{901}', '{902}', '{903}', 904);
ALTER TABLE parent ENABLE TRIGGER USER;
ALTER TABLE parent DISABLE TRIGGER parent_off_fkey;
ALTER TABLE parent DISABLE TRIGGER parent_off_loose_fkey;
ALTER TABLE parent DISABLE TRIGGER parent_one_off_fkey;

-- Partitions on both sides.
CREATE TABLE topic (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE topic_low PARTITION OF topic FOR VALUES FROM (0) TO (10);
CREATE TABLE topic_high PARTITION OF topic FOR VALUES FROM (10) TO (20);
CREATE TABLE post (id int, topics int[], PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE post_0 PARTITION OF post FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE post_1 PARTITION OF post FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO topic VALUES (1), (2), (11), (12);
SELECT integrity.add_reference('post', 'topics', 'topic', on_delete => 'remove element');
INSERT INTO post VALUES (1, '{1,11}'), (2, '{11,2}'), (3, '{12}');

-- Two tables that refer to each other, and one that refers to itself.
CREATE TABLE hen (id int PRIMARY KEY, eggs int[]);
CREATE TABLE egg (id int PRIMARY KEY, hens int[]);
INSERT INTO hen VALUES (1, '{1}'), (2, NULL);
INSERT INTO egg VALUES (1, '{1,2}'), (2, NULL);
SELECT integrity.add_reference('hen', 'eggs', 'egg', on_delete => 'remove element');
SELECT integrity.add_reference('egg', 'hens', 'hen', on_delete => 'remove element');
CREATE TABLE node (id int PRIMARY KEY, next int[]);
INSERT INTO node VALUES (2, '{1,2}'), (1, '{2}');
SELECT integrity.add_reference('node', 'next', 'node', on_delete => 'null element');

-- Names that need quoting, another schema, and a rule written by hand.
CREATE SCHEMA "Mixed Case";
CREATE TABLE "Mixed Case"."The Key" ("Its Id" uuid PRIMARY KEY);
CREATE TABLE "Mixed Case"."The ""Ref""" (id int PRIMARY KEY, "Its Ids" uuid[]);
INSERT INTO "Mixed Case"."The Key" VALUES ('00000000-0000-0000-0000-000000000001'), ('00000000-0000-0000-0000-000000000002');
SELECT integrity.add_reference('"Mixed Case"."The ""Ref"""', 'Its Ids', '"Mixed Case"."The Key"',
                               on_delete => 'null element', rule_name => 'It''s "a" Rule');
INSERT INTO "Mixed Case"."The ""Ref""" VALUES (1, '{00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002}');
CREATE TABLE by_hand (id int PRIMARY KEY, keys bigint[]);
CREATE TRIGGER by_hand AFTER INSERT OR UPDATE ON by_hand FOR EACH ROW
  WHEN (integrity.refers(NEW.keys, (NULL::student).id)) EXECUTE FUNCTION integrity.check_reference('on_delete=set null');
INSERT INTO by_hand VALUES (1, '{17}');
SQL
shows "$1" t "SELECT count(*) >= 20 FROM integrity.reference"
shows "$1" 0 "SELECT count(*) FROM integrity.reference WHERE problem IS NOT NULL OR NOT guarded AND kind = 'array reference'"
}

# What must be the same on both sides. Triggers with their partition clones, but not the internal ones
# of native foreign keys, whose names hold oids.
rules() { sql "$1" -c "SET search_path = pg_catalog" -c "SELECT * FROM integrity.reference ORDER BY referencing_table::text, rule_name"; }
triggers() {
  sql "$1" -c "SET search_path = pg_catalog" -c "
    SELECT t.tgrelid::regclass, t.tgname, t.tgenabled, t.tgparentid <> 0, t.tgdeferrable, t.tginitdeferred, pg_get_triggerdef(t.oid)
      FROM pg_trigger t WHERE t.tgname !~ '^RI_ConstraintTrigger' ORDER BY t.tgrelid::regclass::text, t.tgname"
}
# The indexes that rules rely on: without these ties they could be dropped.
ties() {
  sql "$1" -c "SET search_path = pg_catalog" -c "
    SELECT t.tgrelid::regclass, t.tgname, d.refobjid::regclass, d.deptype
      FROM pg_trigger t JOIN pg_depend d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
           JOIN pg_class i ON i.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass AND i.relkind IN ('i', 'I')
     WHERE t.tgfoid = 'integrity.check_reference()'::regprocedure ORDER BY t.tgrelid::regclass::text, t.tgname"
}
# What belongs to the extension, and which of its tables a dump takes with it. (17 counts row types of tables too.)
members() {
  sql "$1" -c "SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
      FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
 WHERE d.deptype = 'e' AND e.extname = 'integrity' AND d.classid <> 'pg_type'::regclass ORDER BY 1" \
    -c "SELECT t::regclass, c FROM pg_extension e, unnest(e.extconfig, e.extcondition) u (t, c) WHERE e.extname = 'integrity' ORDER BY t::regclass::text"
}
events() { sql "$1" -c "SELECT evtname, evtevent, evtenabled, evttags FROM pg_event_trigger ORDER BY 1"; }
rows() {
  sql "$1" -c "SET search_path = school" -c "SELECT * FROM parent ORDER BY id" -c "SELECT * FROM post ORDER BY id" -c "SELECT * FROM hen ORDER BY id" \
    -c "SELECT * FROM egg ORDER BY id" -c "SELECT * FROM node ORDER BY id" -c "SELECT * FROM by_hand ORDER BY id" -c 'SELECT * FROM "Mixed Case"."The ""Ref"""' \
    -c "SELECT * FROM student ORDER BY id" -c "SELECT * FROM topic ORDER BY id"
}
remember() {  # remember <database> <what>...: how it is there
  local what
  for what in "${@:2}"; do "$what" "$1" >"$files/want.$what"; done
}
same() {  # same <database> <what>...: as it is remembered
  local what
  for what in "${@:2}"; do
    "$what" "$1" >"$files/got"
    diff -u --label "before: $what" --label "$1: $what" "$files/want.$what" "$files/got" || fail "$1: $what differ"
  done
}
# refused <database> <sqlstate> <statement>: the statement fails, with that SQLSTATE (one of a|b).
refused() {
  local state
  state=$(sql "$1" <<<"SET search_path = school;
    DO \$do\$ BEGIN
      EXECUTE \$stmt\$ $3 \$stmt\$;
      SET CONSTRAINTS ALL IMMEDIATE;
      RAISE WARNING 'state=accepted';
      RAISE SQLSTATE 'PT999';
    EXCEPTION WHEN OTHERS THEN RAISE WARNING 'state=%', SQLSTATE; END \$do\$" 2>&1 | sed -n 's/^.*state=//p' | head -n 1) || true
  [[ $state =~ ^($2)$ ]] || fail "$1: $3: got ${state:-nothing}, expected $2"
}
# shows <database> <value> <query>: the last line that the statements print.
shows() {
  local value
  value=$(sql "$1" -c "SET search_path = school" -c "$3" 2>&1 | tail -n 1) || true
  [ "$value" = "$2" ] || fail "$1: $3: got '$value', expected '$2'"
}

# enforces <database>: changes its rows, so it comes last.
enforces() {
  local db=$1 column
  for column in plain held removed nulled rowed unset strict loose late later; do
    refused "$db" 23503 "INSERT INTO parent (id, $column) VALUES (100, '{1,999}')"
  done
  refused "$db" 23503 "INSERT INTO parent (id, codes) VALUES (100, '{c1,c999}')"
  refused "$db" 23503 "INSERT INTO parent (id, one) VALUES (100, 999)"
  refused "$db" 23503 "INSERT INTO parent (id, one_loose) VALUES (100, 999)"
  refused "$db" 23502 "INSERT INTO parent (id, strict) VALUES (100, '{1,NULL}')"
  refused "$db" 23505 "INSERT INTO parent (id, strict) VALUES (100, '{1,1}')"
  for column in off off_loose; do  # not enforced: still comes in
    shows "$db" 1 "WITH i AS (INSERT INTO parent (id, $column) SELECT 1000 + count(*), '{999}' FROM parent RETURNING 1) SELECT count(*) FROM i"
  done
  refused "$db" 23503 "INSERT INTO post VALUES (10, '{1,999}')"
  refused "$db" 23503 "INSERT INTO post_0 SELECT g, '{999}' FROM generate_series(100, 110) g WHERE satisfies_hash_partition('post'::regclass, 2, 0, g)"
  refused "$db" 23503 "INSERT INTO hen VALUES (9, '{9}')"
  refused "$db" 23503 "INSERT INTO egg VALUES (9, '{9}')"
  refused "$db" 23503 "INSERT INTO node VALUES (9, '{9,8}')"
  refused "$db" 23503 "INSERT INTO by_hand VALUES (9, '{1,999}')"
  refused "$db" 23503 "INSERT INTO \"Mixed Case\".\"The \"\"Ref\"\"\" VALUES (9, '{00000000-0000-0000-0000-000000000009}')"
  # Keys that are held: no action, restrict, the two deferrable ones, TRUNCATE of all and of one partition.
  refused "$db" 23503 "DELETE FROM student WHERE id = 1"
  refused "$db" "23503|23001" "DELETE FROM student WHERE id = 3"  # 23001 for RESTRICT from PostgreSQL 18 on
  refused "$db" "23503|23001" "UPDATE student SET id = 300 WHERE id = 3"
  refused "$db" 23503 "DELETE FROM student WHERE id = 6"
  refused "$db" 23503 "DELETE FROM student WHERE id = 7"
  refused "$db" 0A000 "TRUNCATE student"
  refused "$db" 0A000 "TRUNCATE topic_high"
  # And every action.
  shows "$db" "{11}|{NULL,12}" "DELETE FROM student WHERE id = 10; SELECT removed, nulled FROM parent WHERE id = 1"
  shows "$db" "|{NULL,12}" "DELETE FROM student WHERE id = 11; SELECT removed, nulled FROM parent WHERE id = 1"
  shows "$db" "{NULL,120}" "UPDATE student SET id = 120 WHERE id = 12; SELECT nulled FROM parent WHERE id = 1"
  shows "$db" 0 "DELETE FROM student WHERE id = 13; SELECT count(*) FROM parent WHERE id = 2"
  shows "$db" "|{c15}" "DELETE FROM student WHERE id = 14; SELECT unset, codes FROM parent WHERE id = 3"
  shows "$db" 0 "DELETE FROM student WHERE id = 15; SELECT count(*) FROM parent WHERE id = 3"
  shows "$db" "" "DELETE FROM student WHERE id = 16; SELECT one FROM parent WHERE id = 4"
  shows "$db" "" "DELETE FROM student WHERE id = 17; SELECT keys FROM by_hand"
  shows "$db" "{1} {2} {12}" "DELETE FROM topic WHERE id = 11; SELECT string_agg(topics::text, ' ' ORDER BY id) FROM post"
  shows "$db" "{}" "DELETE FROM egg WHERE id = 1; SELECT eggs FROM hen WHERE id = 1"
  shows "$db" "{NULL,2}" "DELETE FROM node WHERE id = 1; SELECT next FROM node"
  shows "$db" "{00000000-0000-0000-0000-000000000001,NULL}" \
    "DELETE FROM \"Mixed Case\".\"The Key\" WHERE \"Its Id\"::text LIKE '%2'; SELECT \"Its Ids\" FROM \"Mixed Case\".\"The \"\"Ref\"\"\""
}

# restored <database> <command>...: the command must succeed without a word of error.
restored() {
  local db=$1
  shift
  if "$@" >"$files/restore.log" 2>&1; then return 0; fi
  cat "$files/restore.log"
  fail "$db: restore failed"
  return 1
}
