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
-- Nor below one that is attached, nor under a rule that is not valid, whose rows nobody looks at.
SELECT integrity.add_reference('unruled', 'ids', 'k', not_valid => true);
SELECT integrity.add_reference('unruled', 'ids', 'k', enforced => false);
CREATE TABLE later (a int, ids int[]) PARTITION BY LIST (a);
SELECT integrity.add_reference('later', 'ids', 'k', not_valid => true);
ALTER TABLE later ATTACH PARTITION rp2 FOR VALUES IN (2);
ALTER TABLE later ATTACH PARTITION unruled FOR VALUES IN (2);

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
ALTER EVENT TRIGGER integrity_keep_keys ENABLE ALWAYS;
SELECT * FROM seen;
ALTER EVENT TRIGGER integrity_complete_rule ENABLE ALWAYS;
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
-- There may be two, and the rule is tied to one of them.
CREATE UNIQUE INDEX k_again ON k (id);
SELECT * FROM seen;
DROP INDEX k_again;
-- Of two it is the primary key, or the older one: an index that was made for a while goes without taking rules along.
CREATE TABLE two_keys (id int PRIMARY KEY, other int UNIQUE);
CREATE UNIQUE INDEX two_keys_id_later ON two_keys (id);
CREATE UNIQUE INDEX two_keys_other_later ON two_keys (other);
CREATE TABLE two_lists (ids int[], others int[]);
SELECT integrity.add_reference('two_lists', 'ids', 'two_keys'), integrity.add_reference('two_lists', 'others', 'two_keys', 'other');
DROP INDEX two_keys_id_later, two_keys_other_later;
DROP TABLE two_lists, two_keys;
-- Whether another row has a deleted key is asked of the index that there is.
CREATE TABLE ik (id int PRIMARY KEY); CREATE TABLE it (ids int[]);
SELECT integrity.add_reference('it', 'ids', 'ik');
INSERT INTO ik VALUES (1); INSERT INTO it VALUES ('{1}');
CREATE UNIQUE INDEX ik_again ON ik (id);
DELETE FROM ik;
DROP INDEX ik_again;
DELETE FROM ik;
-- A referenced table that comes to inherit from another: its guards fit for that, and act.
CREATE TABLE ancestor (id int NOT NULL);
ALTER TABLE ik INHERIT ancestor;
DELETE FROM ik;
DELETE FROM ancestor;
DROP TABLE it, ik, ancestor;
-- pg_upgrade makes the triggers before the extension has its event triggers: rules are tied when those are added to it, once.
CREATE VIEW tied AS SELECT tgrelid::regclass AS referencing, count(d.*) FROM pg_trigger t
  LEFT JOIN pg_depend d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND d.refobjid = 'k_pkey'::regclass
 WHERE tgrelid IN ('t'::regclass, 'rp'::regclass) AND tgfoid = 'integrity.check_reference'::regproc GROUP BY 1;
SET allow_system_table_mods = on;
DELETE FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND refobjid = 'k_pkey'::regclass
   AND objid IN (SELECT oid FROM pg_trigger WHERE tgrelid = 't'::regclass);
RESET allow_system_table_mods;
SELECT * FROM tied ORDER BY referencing::text;
ALTER EXTENSION integrity DROP EVENT TRIGGER integrity_complete_rule;
SELECT * FROM tied ORDER BY referencing::text;
ALTER EXTENSION integrity ADD EVENT TRIGGER integrity_complete_rule;
SELECT * FROM tied ORDER BY referencing::text;
SELECT * FROM seen;
-- What a trigger that is no rule depends on is left to it.
CREATE TRIGGER no_rule BEFORE UPDATE ON t FOR EACH ROW WHEN (NEW.ids <> ARRAY[(NULL::k).id])
  EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE TABLE another (ids int[]);
SELECT integrity.add_reference('another', 'ids', 'k');
SELECT t.tgname FROM pg_depend d JOIN pg_trigger t ON t.oid = d.objid AND d.classid = 'pg_trigger'::regclass
 WHERE d.refclassid = 'pg_type'::regclass AND d.refobjid = 'k'::regtype;
DROP TRIGGER no_rule ON t;
DROP TABLE another;

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

-- 7. What goes with a table, a schema or a type, and what stays.
CREATE ROLE regress_commands_owner;
CREATE ROLE regress_commands_other;
CREATE SCHEMA commands_parts AUTHORIZATION regress_commands_owner;
GRANT USAGE ON SCHEMA commands, commands_parts TO regress_commands_owner, regress_commands_other;
CREATE TABLE dk (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE commands_parts.dk1 PARTITION OF dk FOR VALUES FROM (0) TO (10);
CREATE TABLE commands_parts.dk2 PARTITION OF dk FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
CREATE TABLE commands_parts.dk3 PARTITION OF commands_parts.dk2 FOR VALUES FROM (10) TO (20);
CREATE TABLE dt (ids int[]);
SELECT integrity.add_reference('dt', 'ids', 'dk');
INSERT INTO dk VALUES (1), (11);
INSERT INTO dt VALUES ('{1,11}');
-- A partition that has partitions.
DROP TABLE commands_parts.dk2;
-- Whoever owns the schema may drop what is in it, but is not shown keys that are not for him to read.
SET ROLE regress_commands_owner;
\set VERBOSITY default
DROP TABLE commands_parts.dk1;
RESET ROLE;
GRANT SELECT ON commands_parts.dk1 TO regress_commands_owner;
SET ROLE regress_commands_owner;
DROP TABLE commands_parts.dk1;
\set VERBOSITY terse
RESET ROLE;
-- Whoever may not do it is told so, and nothing of who refers to the keys.
ALTER EXTENSION plpgsql ADD TABLE commands_parts.dk1;
CREATE ACCESS METHOD commands_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE dk4 (id int NOT NULL PRIMARY KEY) USING commands_heap;
ALTER TABLE dk ATTACH PARTITION dk4 FOR VALUES FROM (20) TO (30);
INSERT INTO dk VALUES (21);
INSERT INTO dt VALUES ('{21}');
SET ROLE regress_commands_other;
\set VERBOSITY sqlstate
DROP TABLE commands_parts.dk2;
ALTER TABLE commands_parts.dk1 SET UNLOGGED;
DROP SCHEMA commands_parts CASCADE;
DROP EXTENSION plpgsql CASCADE;
DROP ACCESS METHOD commands_heap CASCADE;
DROP OWNED BY regress_commands_owner CASCADE;
\set VERBOSITY terse
RESET ROLE;
ALTER EXTENSION plpgsql DROP TABLE commands_parts.dk1;
-- DROP OWNED takes privileges away as well, and not what they are for.
REVOKE USAGE ON SCHEMA commands, commands_parts FROM regress_commands_other;
GRANT SELECT ON commands_parts.dk1 TO regress_commands_other;
DROP OWNED BY regress_commands_other CASCADE;
-- With a type goes a column, not its table: neither the partition, nor the rule of the referencing table.
CREATE TYPE commands_parts.pair AS (a int);
ALTER TABLE dt ADD COLUMN p commands_parts.pair;
DROP SCHEMA commands_parts CASCADE;
CREATE SCHEMA commands_types;
CREATE TYPE commands_types.pair AS (a int);
ALTER TABLE dk ADD COLUMN p commands_types.pair;
DROP SCHEMA commands_types CASCADE;
SELECT * FROM dk ORDER BY id;
SELECT count(*) FROM integrity.reference WHERE referencing_table = 'dt'::regclass;
DROP TABLE dt;
DROP SCHEMA commands_parts CASCADE;
DROP TABLE dk;
DROP ACCESS METHOD commands_heap;
DROP OWNED BY regress_commands_owner;
DROP ROLE regress_commands_owner, regress_commands_other;

-- A new partition of a partition that is referenced, though the table above is not, has guards as well.
CREATE TABLE top (id int) PARTITION BY RANGE (id);
CREATE TABLE middle PARTITION OF top FOR VALUES FROM (0) TO (20) PARTITION BY RANGE (id);
ALTER TABLE middle ADD PRIMARY KEY (id);
CREATE TABLE to_middle (ids int[]);
SELECT integrity.add_reference('to_middle', 'ids', 'middle');
CREATE TABLE leaf PARTITION OF middle FOR VALUES FROM (0) TO (10);
INSERT INTO top VALUES (1);
INSERT INTO to_middle VALUES ('{1}');
TRUNCATE leaf;
-- PostgreSQL makes the rules of a new partition itself. They do not depend on the row type of the keys' table either.
CREATE TABLE twice (a int, ids int[], more int[]) PARTITION BY LIST (a);
SELECT integrity.add_reference('twice', 'ids', 'middle'), integrity.add_reference('twice', 'more', 'middle');
CREATE TABLE twice1 PARTITION OF twice FOR VALUES IN (1);
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'twice1'::regclass;
SELECT count(*) FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND refclassid = 'pg_type'::regclass AND refobjid = 'middle'::regtype;

DROP SCHEMA commands CASCADE;
DROP FOREIGN DATA WRAPPER commands_fdw CASCADE;
