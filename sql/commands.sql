SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- Commands that take keys away, or bring rows, without a row trigger firing. A native foreign key has hooks in them.
\set VERBOSITY terse
CREATE SCHEMA commands;
SET search_path = commands, public;
SET client_min_messages = warning;

-- 1. SET UNLOGGED and SET LOGGED: the keys of a permanent table must survive a crash. Native beside it.
CREATE TABLE k (id int PRIMARY KEY); CREATE TABLE t (ids int[]);
CREATE TABLE native_k (id int PRIMARY KEY); CREATE TABLE native_t (id int REFERENCES native_k);
SELECT integrity.add_reference('t', 'ids', 'k');
ALTER TABLE native_k SET UNLOGGED;
ALTER TABLE k SET UNLOGGED;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE native_t SET UNLOGGED; ALTER TABLE native_k SET UNLOGGED; ALTER TABLE native_t SET LOGGED;
ALTER TABLE t SET UNLOGGED; ALTER TABLE k SET UNLOGGED; ALTER TABLE t SET LOGGED;
\echo :LAST_ERROR_SQLSTATE
SELECT relname, relpersistence FROM pg_class WHERE relnamespace = 'commands'::regnamespace AND relkind = 'r' ORDER BY 1;
ALTER TABLE k SET LOGGED; ALTER TABLE t SET LOGGED;
-- A partition of a referenced table, and a table that refers to itself.
CREATE TABLE kp (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE kp1 PARTITION OF kp FOR VALUES FROM (0) TO (10);
CREATE TABLE kp2 PARTITION OF kp FOR VALUES FROM (10) TO (20);
CREATE TABLE tp (ids int[]);
SELECT integrity.add_reference('tp', 'ids', 'kp');
ALTER TABLE kp1 SET UNLOGGED;
CREATE TABLE self (id int PRIMARY KEY, ids int[]);
SELECT integrity.add_reference('self', 'ids', 'self');
ALTER TABLE self SET UNLOGGED;
ALTER TABLE self SET LOGGED;

-- 2. A partition can go with an extension, an access method, a schema or its owner.
INSERT INTO kp VALUES (1), (11);
INSERT INTO tp VALUES ('{1,11}');
ALTER EXTENSION plpgsql ADD TABLE kp1;
DROP EXTENSION plpgsql CASCADE;
\echo :LAST_ERROR_SQLSTATE
ALTER EXTENSION plpgsql DROP TABLE kp1;
CREATE ACCESS METHOD commands_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE kp3 (id int NOT NULL PRIMARY KEY) USING commands_heap;
ALTER TABLE kp ATTACH PARTITION kp3 FOR VALUES FROM (20) TO (30);
INSERT INTO kp VALUES (21);
INSERT INTO tp VALUES ('{21}');
DROP ACCESS METHOD commands_heap CASCADE;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM tp WHERE ids = '{21}';
DROP ACCESS METHOD commands_heap CASCADE;
SELECT * FROM kp ORDER BY id;
-- A role owns the schema and not the table in it.
CREATE ROLE regress_commands;
CREATE SCHEMA commands_owned AUTHORIZATION regress_commands;
CREATE TABLE commands_owned.kp4 PARTITION OF kp FOR VALUES FROM (30) TO (40);
INSERT INTO kp VALUES (31);
INSERT INTO tp VALUES ('{31}');
DROP OWNED BY regress_commands CASCADE;
\echo :LAST_ERROR_SQLSTATE
DROP SCHEMA commands_owned CASCADE;
\echo :LAST_ERROR_SQLSTATE
-- What goes together may go.
DROP TABLE tp, commands_owned.kp4;
DROP OWNED BY regress_commands CASCADE;
DROP ROLE regress_commands;
SELECT * FROM kp ORDER BY id;
-- The rule goes as well, with a type that its table depends on.
CREATE TYPE pair AS (a int);
CREATE TABLE tp (ids int[], p pair);
SELECT integrity.add_reference('tp', 'ids', 'kp');
INSERT INTO tp VALUES ('{11}');
DROP TABLE kp2;
DROP TABLE kp2, tp;

-- With what its partition key is compared by, from an operator class to a type that its function uses. Native loses the
-- foreign key then.
CREATE DOMAIN step AS int;
CREATE FUNCTION in_steps(int, int) RETURNS int LANGUAGE sql IMMUTABLE RETURN btint4cmp($1, $2::step);
CREATE OPERATOR FAMILY steps USING btree;
CREATE OPERATOR CLASS steps FOR TYPE int USING btree FAMILY steps AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 in_steps(int, int);
CREATE TABLE kp6 PARTITION OF kp FOR VALUES FROM (60) TO (70) PARTITION BY RANGE (id steps);
CREATE TABLE kp61 PARTITION OF kp6 FOR VALUES FROM (60) TO (70);
INSERT INTO kp VALUES (61);
CREATE TABLE ts (ids int[]);
SELECT integrity.add_reference('ts', 'ids', 'kp');
INSERT INTO ts VALUES ('{61}');
DROP OPERATOR CLASS steps USING btree CASCADE;
\echo :LAST_ERROR_SQLSTATE
DROP OPERATOR FAMILY steps USING btree CASCADE;
\echo :LAST_ERROR_SQLSTATE
DROP FUNCTION in_steps(int, int) CASCADE;
\echo :LAST_ERROR_SQLSTATE
DROP ROUTINE in_steps CASCADE;
\echo :LAST_ERROR_SQLSTATE
DROP DOMAIN step CASCADE;
\echo :LAST_ERROR_SQLSTATE
DROP TYPE step CASCADE;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM kp ORDER BY id;
-- Who may not drop it is told so, and neither locks nor looks at anything; what does not exist is the command's own affair.
GRANT USAGE ON SCHEMA commands TO pg_monitor;
SET ROLE pg_monitor;
DROP OPERATOR CLASS commands.steps USING btree CASCADE;
DROP DOMAIN commands.step CASCADE;
DROP FUNCTION int4eq(int, int) CASCADE;
DROP TYPE IF EXISTS commands.nothing CASCADE;
DROP FUNCTION nothing(commands.nothing);
RESET ROLE;
DROP FUNCTION int4eq(int, int) CASCADE;
DELETE FROM ts;
SET client_min_messages = warning;
DROP TYPE step CASCADE;
SELECT * FROM kp ORDER BY id;

-- 3. Rows are checked when they are attached, whatever the settings; foreign tables cannot be checked.
INSERT INTO k VALUES (1);
CREATE TABLE rp (a int, ids int[]) PARTITION BY LIST (a);
SELECT integrity.add_reference('rp', 'ids', 'k');
CREATE TABLE rp1 (a int, ids int[]);
INSERT INTO rp1 VALUES (1, '{99}');
SET check_function_bodies = off;
ALTER TABLE rp ATTACH PARTITION rp1 FOR VALUES IN (1);
\echo :LAST_ERROR_SQLSTATE
RESET check_function_bodies;
CREATE TABLE tp (ids int[]);
SELECT integrity.add_reference('tp', 'ids', 'kp');
SET check_function_bodies = off;
CREATE TABLE kp5 PARTITION OF kp FOR VALUES FROM (50) TO (60);
RESET check_function_bodies;
INSERT INTO kp VALUES (51);
INSERT INTO tp VALUES ('{51}');
TRUNCATE kp5;
CREATE FOREIGN DATA WRAPPER commands_fdw;
CREATE SERVER commands_server FOREIGN DATA WRAPPER commands_fdw;
CREATE FOREIGN TABLE rp2 PARTITION OF rp FOR VALUES IN (2) SERVER commands_server;
\echo :LAST_ERROR_SQLSTATE
CREATE FOREIGN TABLE rp2 (a int, ids int[]) SERVER commands_server;
ALTER TABLE rp ATTACH PARTITION rp2 FOR VALUES IN (2);
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE unruled (a int, ids int[]) PARTITION BY LIST (a);
CREATE FOREIGN TABLE unruled2 PARTITION OF unruled FOR VALUES IN (2) SERVER commands_server;
SELECT integrity.add_reference('unruled', 'ids', 'k');
\echo :LAST_ERROR_SQLSTATE

-- 4. A restore checks the rows, too. A rule that does not hold is kept, and is not valid.
CREATE TABLE restored (ids int[]);
INSERT INTO restored VALUES ('{1}'), ('{1,98}'), ('{1,NULL}');
SET check_function_bodies = off;
CREATE TRIGGER restored_ids_fkey AFTER INSERT OR UPDATE ON restored FOR EACH ROW
  WHEN (integrity.refers(NEW.ids, (NULL::k).id)) EXECUTE FUNCTION integrity.check_reference('on_delete=remove element');
CREATE TRIGGER no_nulls AFTER INSERT OR UPDATE ON restored FOR EACH ROW
  WHEN (integrity.refers(NEW.ids, (NULL::k).id)) EXECUTE FUNCTION integrity.check_reference('null_elements=reject', 'not valid');
DELETE FROM restored WHERE 98 = ANY (ids);
CREATE TRIGGER sound AFTER INSERT OR UPDATE ON restored FOR EACH ROW
  WHEN (integrity.refers(NEW.ids, (NULL::k).id)) EXECUTE FUNCTION integrity.check_reference();
CREATE TRIGGER null_found AFTER INSERT OR UPDATE ON restored FOR EACH ROW
  WHEN (integrity.refers(NEW.ids, (NULL::k).id)) EXECUTE FUNCTION integrity.check_reference('null_elements=reject');
RESET check_function_bodies;
SELECT rule_name, validated, enforced FROM integrity.reference WHERE referencing_table = 'restored'::regclass ORDER BY 1;
INSERT INTO restored VALUES ('{97}');
\echo :LAST_ERROR_SQLSTATE

-- 5. The event triggers are guards as well, and seen when they are disabled.
CREATE VIEW seen AS SELECT rule_name, enforced, (SELECT guarded FROM integrity.reference f WHERE f.rule_name = r.rule_name) AS guarded, advice
  FROM public.integrity_report('t') r;
CREATE INDEX ON t USING gin (ids);
SELECT * FROM seen;
ALTER EVENT TRIGGER integrity_keep_keys DISABLE;
SELECT * FROM seen;
ALTER EVENT TRIGGER integrity_complete_rule ENABLE REPLICA;
SELECT * FROM seen;
ALTER EVENT TRIGGER integrity_complete_rule ENABLE ALWAYS;
ALTER EVENT TRIGGER integrity_keep_keys ENABLE ALWAYS;
SELECT * FROM seen;

-- The dependency on the unique index is one, too.
SET allow_system_table_mods = on;
DELETE FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND refobjid = 'k_pkey'::regclass
   AND objid IN (SELECT oid FROM pg_trigger WHERE tgrelid = 't'::regclass);
RESET allow_system_table_mods;
SELECT * FROM seen;
SELECT integrity.add_guards('k');
SELECT * FROM seen;
ALTER TABLE k DROP CONSTRAINT k_pkey;

-- 6. From PostgreSQL 17 on a generated column may get another expression: every row refers to something else. Older ones
-- have nothing to show, and must say the same.
CREATE TABLE made (id int PRIMARY KEY, base int, ids int[] GENERATED ALWAYS AS (ARRAY[base]) STORED);
SELECT integrity.add_reference('made', 'ids', 'k');
INSERT INTO made VALUES (1, 1);
CREATE TABLE made_key (base int, id int GENERATED ALWAYS AS (base) STORED UNIQUE);
CREATE TABLE to_made (ids int[]);
SELECT integrity.add_reference('to_made', 'ids', 'made_key', 'id');
INSERT INTO made_key VALUES (1); INSERT INTO to_made VALUES ('{1}');
CREATE FUNCTION as_expected(statement text, expected text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('server_version_num')::int < 170000 THEN RETURN true; END IF;
  EXECUTE statement;
  RETURN expected = 'done';
EXCEPTION WHEN OTHERS THEN RETURN expected = SQLSTATE;
END $$;
SELECT as_expected('ALTER TABLE made ALTER COLUMN ids SET EXPRESSION AS (ARRAY[base + 1])', '23503');
SELECT as_expected('ALTER TABLE made ALTER COLUMN ids SET EXPRESSION AS (ARRAY[base * 1])', 'done');
-- A key's is the business of integrity.alter_table(), for a plain ALTER TABLE makes the index anew.
SELECT as_expected('ALTER TABLE made_key ALTER COLUMN id SET EXPRESSION AS (base + 1)', '2BP01');
SELECT as_expected($$SELECT integrity.alter_table('made_key', 'ALTER COLUMN id SET EXPRESSION AS (base + 1)')$$, '23503');
SELECT as_expected($$SELECT integrity.alter_table('made_key', 'ALTER COLUMN id SET EXPRESSION AS (base * 1)')$$, 'done');
SELECT ids FROM made; SELECT id FROM made_key;

DROP SCHEMA commands CASCADE;
DROP FOREIGN DATA WRAPPER commands_fdw CASCADE;
