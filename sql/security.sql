-- Security: who may declare a rule, whose rights its actions use, and what an error may tell.
-- Guards, section by section: privilege checks of add_reference() and of the event trigger,
-- the switch to the referencing table's owner, the row-security bypass, qualified names.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
RESET client_min_messages;
\set SHOW_CONTEXT never

CREATE ROLE regress_key_owner;   -- owns the referenced tables
CREATE ROLE regress_ref_owner;   -- owns the referencing tables
CREATE ROLE regress_deleter;     -- may read and delete keys, nothing else
CREATE ROLE regress_writer;      -- may write the referencing table, and not read the keys
CREATE ROLE regress_trigger;     -- holds REFERENCES and TRIGGER, owns nothing
CREATE SCHEMA vault;
GRANT USAGE ON SCHEMA vault TO PUBLIC;
GRANT CREATE ON SCHEMA vault TO regress_key_owner, regress_ref_owner;
SET search_path = vault, public;

SET ROLE regress_key_owner;
CREATE TABLE key (id int PRIMARY KEY, secret text);
INSERT INTO key SELECT g, 'secret ' || g FROM generate_series(1, 9) g;
GRANT SELECT, DELETE ON key TO regress_deleter;
SET ROLE regress_ref_owner;
CREATE TABLE ref (id int PRIMARY KEY, ids int[], changed_by text);
GRANT SELECT, INSERT, UPDATE ON ref TO regress_writer;
GRANT TRIGGER, SELECT, INSERT ON ref TO regress_trigger;
\set by_hand 'CREATE TRIGGER by_hand AFTER INSERT OR UPDATE ON ref FOR EACH ROW WHEN (integrity.refers(NEW.ids, (NULL::key).id)) EXECUTE FUNCTION integrity.check_reference()'

-- 1. REFERENCES on the key is needed: 42501 by the function, by hand, and with
--    check_function_bodies off too, which anyone may set.
SELECT integrity.add_reference('ref', 'ids', 'key');
\echo :SQLSTATE
:by_hand;
\echo :SQLSTATE
SET check_function_bodies = off;
:by_hand;
\echo :SQLSTATE
RESET check_function_bodies;
-- A trigger made inside CREATE SCHEMA is a rule like any other.
RESET ROLE;
SELECT current_database() AS db \gset
GRANT CREATE ON DATABASE :"db" TO regress_ref_owner;
SET ROLE regress_ref_owner;
CREATE SCHEMA vault_of_ref CREATE TABLE ref (ids int[])
  CREATE TRIGGER inside AFTER INSERT OR UPDATE ON ref FOR EACH ROW
    WHEN (integrity.refers(NEW.ids, (NULL::vault.key).id)) EXECUTE FUNCTION integrity.check_reference('on_delete=restrict');
\echo :SQLSTATE
RESET ROLE;
REVOKE CREATE ON DATABASE :"db" FROM regress_ref_owner;
SET ROLE regress_ref_owner;
-- So is it for a rule that is not valid, or not enforced.
SELECT integrity.add_reference('ref', 'ids', 'key', not_valid => true, enforced => false);
\echo :SQLSTATE
-- On another column it does not help.
SET ROLE regress_key_owner;
GRANT REFERENCES (secret) ON key TO regress_ref_owner;
SET ROLE regress_ref_owner;
SELECT integrity.add_reference('ref', 'ids', 'key');
\echo :SQLSTATE

-- 2. Ownership of the referencing table is needed; TRIGGER on it, with REFERENCES, is not enough.
SET ROLE regress_key_owner;
GRANT REFERENCES (id) ON key TO regress_ref_owner;
GRANT REFERENCES, TRIGGER ON key TO regress_trigger;
SET ROLE regress_trigger;
SELECT integrity.add_reference('ref', 'ids', 'key', on_delete => 'delete row');
\echo :SQLSTATE
:by_hand;
\echo :SQLSTATE
SET check_function_bodies = off;
:by_hand;
\echo :SQLSTATE
RESET check_function_bodies;

-- Nothing was left behind by any of these: no row.
SELECT tgrelid::regclass, tgname FROM pg_trigger
 WHERE tgrelid IN ('ref'::regclass, 'key'::regclass) AND NOT tgisinternal ORDER BY tgrelid::regclass::text, tgname;

-- 3. REFERENCES on the key column alone, no SELECT, no TRIGGER, no ownership: enough for the
--    owner of the referencing table, by hand and by function. The guards appear on the key's table.
SET ROLE regress_ref_owner;
:by_hand;
DROP TRIGGER by_hand ON ref;
SET client_min_messages = warning;  -- no GIN index, and none is wanted
SELECT integrity.add_reference('ref', 'ids', 'key', on_delete => 'remove element', on_update => 'cascade');
RESET client_min_messages;
SELECT rule_name, enforced, validated, guarded, problem FROM integrity.reference WHERE referencing_table = 'ref'::regclass;
INSERT INTO ref (id, ids) VALUES (1, '{1,2,3}'), (2, '{2,4}');

-- Only the owner may validate or drop: 42501 twice, then the rule is still there.
SET ROLE regress_trigger;
SELECT integrity.validate_reference('ref', 'ref_ids_fkey');
\echo :SQLSTATE
SELECT integrity.drop_reference('ref', 'ref_ids_fkey');
\echo :SQLSTATE
SET ROLE regress_key_owner;
SELECT integrity.drop_reference('ref', 'ref_ids_fkey');
\echo :SQLSTATE

-- 4. Actions run as the referencing table's owner. The trigger below writes down who it runs as:
--    regress_ref_owner for both, not the deleter, and not the superuser.
SET ROLE regress_ref_owner;
CREATE FUNCTION note_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.changed_by := current_user;
  RETURN NEW;
END $$;
CREATE TRIGGER note_user BEFORE UPDATE ON ref FOR EACH ROW EXECUTE FUNCTION note_user();
SET ROLE regress_deleter;
SELECT count(*) FROM ref;  -- may not even read it
\echo :SQLSTATE
DELETE FROM key WHERE id = 1;
RESET ROLE;
SELECT * FROM ref ORDER BY id;
UPDATE key SET id = 40 WHERE id = 4;
SELECT * FROM ref ORDER BY id;
-- And that owner cannot climb: 42501 out of its trigger, though a superuser deletes.
SET ROLE regress_ref_owner;
CREATE OR REPLACE FUNCTION note_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RESET ROLE;
  NEW.changed_by := current_user;
  RETURN NEW;
END $$;
RESET ROLE;
DELETE FROM key WHERE id = 2;
\echo :SQLSTATE
DROP TRIGGER note_user ON ref;
-- An owner who may not change the own table fails as native does: no rights come from the deleter.
REVOKE UPDATE ON ref FROM regress_ref_owner;
DELETE FROM key WHERE id = 2;
\echo :SQLSTATE
GRANT UPDATE ON ref TO regress_ref_owner;

-- 5. Errors hide what the user may not read. regress_writer cannot read the keys, yet the value
--    is its own: as native, the element shows, for it may read ref. Without SELECT on ref it does not.
SET ROLE regress_writer;
INSERT INTO ref (id, ids) VALUES (3, '{2,77}');
\echo :SQLSTATE
RESET ROLE;
REVOKE SELECT ON ref FROM regress_writer;
SET ROLE regress_writer;
INSERT INTO ref (id, ids) VALUES (3, '{2,77}');
\echo :SQLSTATE
RESET ROLE;
-- A deleter who may not read the key is told the tables and no value.
SET client_min_messages = warning;
DROP TRIGGER ref_ids_fkey ON ref;
SELECT integrity.add_reference('ref', 'ids', 'key', rule_name => 'ref_rule');
RESET client_min_messages;
SET ROLE regress_deleter;
DELETE FROM key WHERE id = 2;      -- may read: key and value
RESET ROLE;
REVOKE SELECT ON key FROM regress_deleter;
SET ROLE regress_deleter;
DELETE FROM key;                   -- may not: no value
\echo :SQLSTATE
RESET ROLE;
GRANT SELECT ON key TO regress_deleter;
-- The report and its rows: 'unknown' with a reason, and 42501, for who may not read ref.
SET ROLE regress_deleter;
SELECT rule_name, references_checked, sample, status, advice IS NOT NULL AS says_why FROM public.integrity_report('ref');
SELECT * FROM integrity.broken_references('ref', 'ref_rule');
\echo :SQLSTATE
RESET ROLE;

-- 6. Row-level security, also forced on the owners: they see no key and no row of ref;
--    still key 3 is found by the check, 78 is not found, and the reference holds the key.
ALTER TABLE key ENABLE ROW LEVEL SECURITY;
ALTER TABLE key FORCE ROW LEVEL SECURITY;
ALTER TABLE ref ENABLE ROW LEVEL SECURITY;
ALTER TABLE ref FORCE ROW LEVEL SECURITY;
CREATE POLICY write_only ON ref FOR INSERT WITH CHECK (true);
CREATE POLICY delete_all ON key FOR DELETE USING (true);
CREATE POLICY see_all ON key FOR SELECT TO regress_deleter USING (true);
SET ROLE regress_ref_owner;
SELECT (SELECT count(*) FROM ref) AS rows_seen;
INSERT INTO ref (id, ids) VALUES (4, '{3}');
INSERT INTO ref (id, ids) VALUES (5, '{78}');     -- under RLS: no value in the DETAIL
\echo :SQLSTATE
SET ROLE regress_deleter;
DELETE FROM key WHERE id = 3;
\echo :SQLSTATE
-- Every action reaches the hidden rows, run as an owner who cannot see them.
RESET ROLE;
TRUNCATE ref;
INSERT INTO ref VALUES (1, '{5,6,7,8}'), (2, '{5}'), (3, '{6,2}'), (4, '{7}'), (5, '{8,2}');
SELECT integrity.drop_reference('ref', 'ref_rule');
SET client_min_messages = warning;
BEGIN;
SELECT integrity.add_reference('ref', 'ids', 'key', on_delete => 'remove element', on_empty => 'delete row', rule_name => 'r');
SET LOCAL ROLE regress_deleter;
DELETE FROM key WHERE id = 5;      -- row 1 loses it, row 2 goes
RESET ROLE;
SELECT id, ids FROM ref ORDER BY id;
ROLLBACK;
BEGIN;
SELECT integrity.add_reference('ref', 'ids', 'key', on_delete => 'null element', rule_name => 'r');
SET LOCAL ROLE regress_deleter;
DELETE FROM key WHERE id = 6;      -- NULL in rows 1 and 3
RESET ROLE;
SELECT id, ids FROM ref ORDER BY id;
ROLLBACK;
BEGIN;
SELECT integrity.add_reference('ref', 'ids', 'key', on_delete => 'delete row', rule_name => 'r');
SET LOCAL ROLE regress_deleter;
DELETE FROM key WHERE id = 7;      -- rows 1 and 4 go
RESET ROLE;
SELECT id, ids FROM ref ORDER BY id;
ROLLBACK;
BEGIN;
SELECT integrity.add_reference('ref', 'ids', 'key', on_delete => 'set null', on_update => 'cascade', rule_name => 'r');
UPDATE key SET id = 50 WHERE id = 5;   -- 50 in rows 1 and 2
SET LOCAL ROLE regress_deleter;
DELETE FROM key WHERE id = 8;      -- rows 1 and 5 become NULL
RESET ROLE;
SELECT id, ids FROM ref ORDER BY id;
ROLLBACK;
-- Declaring and validating look at hidden rows too: 23503 for the element 79 that its owner cannot see.
INSERT INTO ref VALUES (6, '{79}');
SET ROLE regress_ref_owner;
SELECT integrity.add_reference('ref', 'ids', 'key', rule_name => 'r');
\echo :SQLSTATE
SELECT integrity.add_reference('ref', 'ids', 'key', rule_name => 'r', not_valid => true);
SELECT integrity.validate_reference('ref', 'r');
\echo :SQLSTATE
-- The report never says 'ok' for rows it was not shown: 'unknown' for this owner, 'broken' for a superuser.
SELECT rule_name, status FROM public.integrity_report('ref');
RESET ROLE;
SELECT rule_name, status, sample FROM public.integrity_report('ref');
RESET client_min_messages;
DELETE FROM ref WHERE id = 6;
ALTER TABLE key DISABLE ROW LEVEL SECURITY;
ALTER TABLE ref DISABLE ROW LEVEL SECURITY;

-- 7. REFERENCES taken away again: the rule's trigger checks it, so the insert fails with 42501. Also for the second row of a
--    statement that began with it.
CREATE FUNCTION take_references() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  REVOKE REFERENCES (id) ON vault.key FROM regress_ref_owner;
  RETURN NULL;
END $$;
ALTER FUNCTION take_references() SECURITY DEFINER;
CREATE TRIGGER zz AFTER INSERT ON ref FOR EACH ROW WHEN (NEW.id = 8) EXECUTE FUNCTION take_references();
SET ROLE regress_ref_owner;
INSERT INTO ref (id, ids) VALUES (8, '{2}'), (9, '{2}');
\echo :SQLSTATE
RESET ROLE;
DROP TRIGGER zz ON ref;
DROP FUNCTION take_references();
SET ROLE regress_key_owner;
REVOKE REFERENCES (id) ON key FROM regress_ref_owner;
SET ROLE regress_ref_owner;
INSERT INTO ref (id, ids) VALUES (7, '{2}');
\echo :SQLSTATE
--    Where nothing is added nothing is asked, neither of a row that changes otherwise nor of what a delete does to it. As native.
RESET ROLE;
CREATE TABLE lost_key (id int PRIMARY KEY);
INSERT INTO lost_key VALUES (1), (2), (3);
CREATE TABLE lost (ids int[], note text);
ALTER TABLE lost_key OWNER TO regress_key_owner;
GRANT REFERENCES ON lost_key TO regress_ref_owner;
ALTER TABLE lost OWNER TO regress_ref_owner;
SELECT integrity.add_reference('lost', 'ids', 'lost_key', on_delete => 'remove element');
INSERT INTO lost VALUES ('{1,2,3}');
REVOKE REFERENCES ON lost_key FROM regress_ref_owner;
SET ROLE regress_ref_owner;
UPDATE lost SET note = 'x';
UPDATE lost SET ids = '{3,1}';
UPDATE lost SET ids = '{3,1,2}';
\echo :SQLSTATE
SET ROLE regress_key_owner;
DELETE FROM lost_key WHERE id = 1;
RESET ROLE;
TABLE lost;
DROP TABLE lost, lost_key;
--    Nor do existing rows tell which keys there are: those of a partition that is attached, or of a rule that is validated.
RESET ROLE;
GRANT REFERENCES (id) ON key TO regress_ref_owner;
SET ROLE regress_ref_owner;
CREATE TABLE parts (a int, ids int[]) PARTITION BY LIST (a);
SELECT integrity.add_reference('parts', 'ids', 'key');
CREATE TABLE guesses (a int, ids int[]);
INSERT INTO guesses VALUES (1, '{2}'), (1, '{99}');
SELECT integrity.add_reference('guesses', 'ids', 'key', not_valid => true);
RESET ROLE;
REVOKE REFERENCES (id) ON key FROM regress_ref_owner;
SET ROLE regress_ref_owner;
SELECT integrity.validate_reference('guesses', 'guesses_ids_fkey');
\echo :SQLSTATE
ALTER TABLE parts ATTACH PARTITION guesses FOR VALUES IN (1);
\echo :SQLSTATE
DROP TABLE parts, guesses;
RESET ROLE;

-- 8. A hostile search_path. Schema trap comes before pg_catalog and holds operators, functions,
--    catalogs, types and tables that raise 'hijacked' or are empty. Nothing below may meet one.
--    (The test's own conditions name their operators, or they would.)
CREATE SCHEMA trap;
CREATE TYPE vault.mood AS ENUM ('good', 'bad');
DO $$
DECLARE t text; op text; f text; n int := 0;
BEGIN
  FOREACH t IN ARRAY ARRAY['int2', 'int4', 'int8', 'oid', 'tid', 'text', 'name', 'varchar', '"char"', 'bool', 'regclass',
                           'int4[]', 'int8[]', 'text[]', 'varchar[]', 'anyarray', 'vault.mood', 'vault.mood[]'] LOOP
    FOREACH op IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '&&', '@>', '<@', '||', '+', '-'] LOOP
      n := n + 1;
      EXECUTE format('CREATE FUNCTION trap.op%s(%s, %2$s) RETURNS bool LANGUAGE plpgsql
                      AS ''BEGIN RAISE EXCEPTION $x$hijacked: %s %2$s$x$; END''', n, t, op);
      EXECUTE format('CREATE OPERATOR trap.%s (LEFTARG = %s, RIGHTARG = %2$s, FUNCTION = trap.op%s)', op, t, n);
    END LOOP;
  END LOOP;
  FOREACH f IN ARRAY ARRAY['array_remove(anyarray, anyelement)', 'array_replace(anyarray, anyelement, anyelement)',
      'array_position(anyarray, anyelement)', 'array_append(anyarray, anyelement)', 'array_length(anyarray, int4)',
      'cardinality(anyarray)', 'unnest(anyarray)', 'format(text)', 'format(text, variadic text[])', 'quote_ident(text)',
      'quote_literal(text)', 'lower(text)', 'pg_get_triggerdef(oid)', 'pg_get_expr(pg_node_tree, oid)',
      'pg_get_userbyid(oid)', 'to_jsonb(anyelement)', 'now()', 'clock_timestamp()', 'current_setting(text)',
      'has_table_privilege(oid, text)', 'has_column_privilege(oid, int2, text)', 'pg_event_trigger_ddl_commands()'] LOOP
    EXECUTE format('CREATE FUNCTION trap.%s RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION $x$hijacked: %s$x$; END''',
                   f, CASE WHEN f LIKE '%anyelement%' THEN 'anyelement' ELSE 'text' END, f);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['pg_class', 'pg_trigger', 'pg_attribute', 'pg_constraint', 'pg_depend', 'pg_index', 'pg_type',
                           'pg_namespace', 'pg_proc', 'pg_extension', 'pg_opclass', 'pg_amop'] LOOP
    EXECUTE format('CREATE TABLE trap.%I ()', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['text', 'name', 'regclass', 'oid', 'jsonb', 'int4', 'int8', 'bool', 'tid', 'regtype'] LOOP
    EXECUTE format('CREATE DOMAIN trap.%I AS pg_catalog.int2 CHECK (false)', t);
  END LOOP;
END $$;
CREATE TABLE trap.key2 (id int PRIMARY KEY);
CREATE TABLE vault.key2 (id int PRIMARY KEY, code varchar UNIQUE, mood vault.mood UNIQUE);
CREATE TABLE vault.ref2 (id int PRIMARY KEY, ids int[], bigs bigint[], codes varchar[], moods vault.mood[]);
INSERT INTO vault.key2 VALUES (1, 'a', 'good'), (2, 'b', 'bad'), (3, 'c', NULL);
-- The trap works: an unqualified operator is caught. (Taken out, the rest would prove nothing.)
SET search_path = trap, pg_catalog;
SELECT 1 = 1;
SET client_min_messages = warning;  -- no GIN index, and none is wanted
-- Declaring: function and by hand, with existing rows to look at.
INSERT INTO vault.ref2 VALUES (1, '{1,2,3}', '{1,2}', '{a,b}', '{good,bad}'), (2, '{2}', '{3}', '{b}', '{bad}');
SELECT integrity.add_reference('vault.ref2', 'ids', 'vault.key2', on_delete => 'remove element', on_empty => 'set null', on_update => 'cascade');
SELECT integrity.add_reference('vault.ref2', 'bigs', 'vault.key2', on_delete => 'null element', on_update => 'cascade', not_valid => true);
CREATE TRIGGER codes AFTER INSERT OR UPDATE ON vault.ref2 FOR EACH ROW
  WHEN (integrity.refers(NEW.codes, (NULL::vault.key2).code)) EXECUTE FUNCTION integrity.check_reference('on_delete=delete row');
SELECT integrity.validate_reference('vault.ref2', 'ref2_bigs_fkey');
SELECT rule_name, referenced_table, referenced_column, validated, guarded, problem FROM integrity.reference
 WHERE referencing_table OPERATOR(pg_catalog.=) 'vault.ref2'::pg_catalog.regclass ORDER BY rule_name;
-- Checking, both the cheap path and the error.
INSERT INTO vault.ref2 VALUES (3, '{3,3}', '{3}', '{c}');
INSERT INTO vault.ref2 VALUES (4, '{3,9}');
\echo :SQLSTATE
INSERT INTO vault.ref2 (id, codes) VALUES (4, '{c,z}');
\echo :SQLSTATE
-- Actions: 1 becomes 11 everywhere; then 3 goes: out of ids, NULL in bigs, and row 3, which holds c, with it.
UPDATE vault.key2 SET id = 11 WHERE id OPERATOR(pg_catalog.=) 1;
SELECT * FROM vault.ref2 ORDER BY id;
DELETE FROM vault.key2 WHERE id OPERATOR(pg_catalog.=) 3;
SELECT * FROM vault.ref2 ORDER BY id;
SELECT rule_name, references_checked, references_broken, status FROM public.integrity_report('vault.ref2') ORDER BY rule_name;
SELECT integrity.drop_reference('vault.ref2', 'codes');
TRUNCATE vault.key2;
\echo :SQLSTATE
-- pg_catalog first is no shelter: for varchar and enums trap has the exact operator, and would win.
SET search_path = pg_catalog, trap;
SELECT 'a'::varchar = 'a'::varchar;
SELECT integrity.add_reference('vault.ref2', 'codes', 'vault.key2', 'code', on_update => 'cascade');
SELECT integrity.add_reference('vault.ref2', 'moods', 'vault.key2', 'mood', on_delete => 'remove element', on_update => 'cascade');
INSERT INTO vault.ref2 (id, codes, moods) VALUES (5, '{b}', '{bad}');
DELETE FROM vault.key2 WHERE id = 2;
\echo :SQLSTATE
UPDATE vault.key2 SET code = 'bb' WHERE id = 2;
UPDATE vault.ref2 SET codes = NULL;
DELETE FROM vault.key2 WHERE id = 2;
SELECT id, codes, moods FROM vault.ref2 ORDER BY id;
RESET client_min_messages;
SET search_path = vault, public;

-- 9. Code of one's own, to be run with another's rights. regress_ref_owner owns type num, and with it
--    its casts: functions that tell who runs them. No line of theirs may name the superuser below.
SET ROLE regress_key_owner;
CREATE TABLE numbers (id int PRIMARY KEY);
INSERT INTO numbers VALUES (1), (2), (3);
GRANT SELECT, REFERENCES ON numbers TO regress_ref_owner;
SET ROLE regress_ref_owner;
CREATE TYPE num AS ENUM ('1', '2', '3', '20');
CREATE FUNCTION num_to_int(num) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE INFO '** num_to_int as superuser **'; END IF;
  RETURN $1::text::int;
END $$;
CREATE FUNCTION int_to_num(int) RETURNS num LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE INFO '** int_to_num as superuser **'; END IF;
  RETURN $1::text::num;
END $$;
CREATE FUNCTION num_to_json(num) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE INFO '** num_to_json as superuser **'; END IF;
  RETURN to_json($1::text);
END $$;
CREATE CAST (num AS int) WITH FUNCTION num_to_int(num) AS IMPLICIT;
CREATE CAST (int AS num) WITH FUNCTION int_to_num(int) AS ASSIGNMENT;
CREATE CAST (num AS json) WITH FUNCTION num_to_json(num);
CREATE TABLE nums (num num PRIMARY KEY, many num[], one num, plain int[]);
-- A rule would call them for whoever writes on either side: 42804.
SELECT integrity.add_reference('nums', 'many', 'numbers', on_delete => 'remove element', on_update => 'cascade');
\echo :SQLSTATE
CREATE TRIGGER by_hand AFTER INSERT OR UPDATE ON nums FOR EACH ROW
  WHEN (integrity.refers(NEW.many, (NULL::numbers).id)) EXECUTE FUNCTION integrity.check_reference();
\echo :SQLSTATE
-- A native foreign key has its own way with them; the report calls them for their owner only, and
-- for others that reference is unknown.
ALTER TABLE nums ADD CONSTRAINT nums_one_fkey FOREIGN KEY (one) REFERENCES numbers;
SELECT integrity.add_reference('nums', 'plain', 'numbers', not_valid => true);
INSERT INTO nums (num, one) VALUES ('1', '1');
SELECT rule_name, references_checked, status FROM public.integrity_report('nums');
RESET ROLE;
INSERT INTO nums (num, plain) VALUES ('2', '{1}');
SELECT rule_name, references_checked, status, advice FROM public.integrity_report('nums');
SELECT * FROM integrity.broken_references('nums', 'nums_one_fkey');
\echo :SQLSTATE
-- The row is named by its key without the cast to json.
ALTER TABLE nums DISABLE TRIGGER nums_plain_fkey;
UPDATE nums SET plain = '{1,77}' WHERE num::text = '2';
ALTER TABLE nums ENABLE TRIGGER nums_plain_fkey;
SELECT row_key, position, value FROM integrity.broken_references('nums', 'nums_plain_fkey');

-- 10. Every trigger function called directly fails cleanly, by a user without rights: 39P01, or 42501
--     for those of the event triggers; never a crash, and no other SQLSTATE.
SET ROLE regress_deleter;
DO $$
DECLARE f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'integrity'::regnamespace
              AND p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) ORDER BY p.proname LOOP
    BEGIN
      EXECUTE format('SELECT %s', f);
      RAISE INFO '% ** ran **', f;
    EXCEPTION WHEN OTHERS THEN
      RAISE INFO '% % %', f, SQLSTATE, SQLERRM;
    END;
  END LOOP;
END $$;
RESET ROLE;

-- 11. What PUBLIC may call, use and read. Trigger functions (whoever restores a dump of own tables must
--     be able to make the triggers) and pure functions may be public; whatever reads or writes tables on a
--     user's behalf must check by itself, as tested above.
--     No function of the extension is SECURITY DEFINER without a search_path of its own: no row.
SELECT p.proname, p.prorettype::regtype AS returns, p.prosecdef AS definer,
       has_function_privilege('public', p.oid, 'EXECUTE') AS public_execute
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'integrity'
 ORDER BY 1, 2::text, pg_get_function_identity_arguments(p.oid);
SELECT p.proname FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'integrity'
 WHERE p.prosecdef AND NOT coalesce(p.proconfig::text LIKE '%search_path%', false);
SELECT has_schema_privilege('public', 'integrity', 'USAGE') AS usage,
       has_schema_privilege('public', 'integrity', 'CREATE') AS create,
       has_table_privilege('public', 'integrity.reference', 'SELECT') AS read_view,
       has_table_privilege('public', 'integrity.reference', 'INSERT, UPDATE, DELETE, TRIGGER') AS write_view;

SET client_min_messages = warning;
DROP SCHEMA trap, vault CASCADE;
DROP ROLE regress_key_owner, regress_ref_owner, regress_deleter, regress_writer, regress_trigger;
RESET client_min_messages;
