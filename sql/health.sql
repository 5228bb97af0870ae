-- Health and gate: one figure, pass or fail, and what is accepted.
-- Guards: the score that never rounds up to 100, NULL where nothing was looked at, unknown failing
-- the gate, accepted numbers (more fails, fewer is said, 0 takes back), who may accept, TAP that a
-- harness reads as meant, one snapshot, and nothing of the extension's own tables being counted.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
RESET client_min_messages;
\set SHOW_CONTEXT never

-- No rule at all: no score, the gate passes and says that it looked at nothing, TAP skips.
-- (The extension's own tables have foreign keys; those are not counted.)
SELECT * FROM integrity.health();
SELECT integrity.assert_clean();
SELECT integrity.tap();

CREATE SCHEMA health;
SET search_path = health, public;
CREATE TABLE key (id int PRIMARY KEY);
CREATE TABLE list (id int PRIMARY KEY, ids int[]);
SELECT integrity.add_reference('list', 'ids', 'key');
-- A rule and no reference: 100.
SELECT * FROM integrity.health();

-- One of 99,999 references broken: 99.99, not 100.00.
INSERT INTO key SELECT g FROM generate_series(1, 100) g;
INSERT INTO list SELECT g, ARRAY(SELECT 1 + (g * n) % 100 FROM generate_series(1, 100) n) FROM generate_series(1, 1000) g;
SET session_replication_role = replica;
UPDATE list SET ids[7] = 999 WHERE id = 500;
UPDATE list SET ids[7] = NULL WHERE id = 501;
RESET session_replication_role;
SELECT * FROM integrity.health();
SELECT integrity.score(9000000000000000000, 1, 1) AS not_100, integrity.score(9000000000000000000, 0, 1) AS is_100,
       integrity.score(3, 3, 1) AS none_holds, integrity.score(0, 0, 0) AS not_looked_at;
-- One that cannot be looked at does not lower the score, and is counted. (Its unique index is made invalid.)
CREATE TABLE other (id int PRIMARY KEY, code int, ids int[]);
CREATE UNIQUE INDEX other_code ON other (code);
SELECT integrity.add_reference('other', 'ids', 'other', 'code');
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'other_code'::regclass;
SELECT * FROM integrity.health();

-- The gate: 23000; the broken one with figures, the unknown one with its reason.
SELECT integrity.assert_clean();
\echo :SQLSTATE
SELECT integrity.assert_clean('list');
\echo :SQLSTATE
-- A table that has no rule passes, and that nothing was looked at is said.
SELECT integrity.assert_clean('key');

-- Accept what there is: 1. The gate passes for it, and still not for the unknown one.
SELECT integrity.accept('list', 'list_ids_fkey');
SELECT integrity.assert_clean('list');
SELECT integrity.assert_clean();
SELECT referencing_table, rule_name, references_broken, role_name = current_user AS by_me FROM integrity.accepted;
-- What is unknown has no number of its own, but can be given one; unknown stays unknown.
SELECT integrity.accept('other', 'other_ids_fkey');
\echo :SQLSTATE
SELECT integrity.accept('other', 'other_ids_fkey', 5);
SELECT integrity.assert_clean('other');
\echo :SQLSTATE
SELECT integrity.accept('other', 'other_ids_fkey', 0);
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'other_code'::regclass;
SELECT integrity.assert_clean();
-- One more than accepted fails, and says both numbers.
SET session_replication_role = replica;
UPDATE list SET ids[8] = 998 WHERE id = 500;
RESET session_replication_role;
SELECT integrity.assert_clean();
\echo :SQLSTATE
-- More accepted than broken: passes, with the call that lowers the number, which is run here as printed.
SELECT integrity.accept('list', 'list_ids_fkey', 3);
SELECT integrity.assert_clean();
SELECT integrity.accept('health.list', 'list_ids_fkey', 2);
SELECT integrity.assert_clean();
-- Mended: still passes, and asks for 0. Taken back, it is silent.
UPDATE list SET ids[7] = 1, ids[8] = 1 WHERE id = 500;
SELECT integrity.assert_clean();
SELECT integrity.accept('list', 'list_ids_fkey');
SELECT count(*) AS accepted FROM integrity.accepted;
SELECT integrity.assert_clean();
-- Refused: 22004 twice, 22023, 42704. Taking back asks for no rule.
SELECT integrity.accept(NULL, 'list_ids_fkey', 1);
\echo :SQLSTATE
SELECT integrity.accept('list', NULL, 1);
\echo :SQLSTATE
SELECT integrity.accept('list', 'list_ids_fkey', -1);
\echo :SQLSTATE
SELECT integrity.accept('list', 'nothing', 1);
\echo :SQLSTATE
SELECT integrity.accept('list', 'nothing', 0);

-- TAP, with names that would be commands in it. A line break in a value, too.
CREATE TABLE "a # TODO \ b" (id int PRIMARY KEY, "line
break" int[], v text[], accepted int[]);
CREATE TABLE word (v text PRIMARY KEY);
SELECT integrity.add_reference('"a # TODO \ b"', E'line\nbreak', 'key', not_valid => true, rule_name => E'line\nbreak # SKIP');
SELECT integrity.add_reference('"a # TODO \ b"', 'v', 'word', not_valid => true, rule_name => 'words');
SELECT integrity.add_reference('"a # TODO \ b"', 'accepted', 'key', not_valid => true, rule_name => 'accepted');
SET session_replication_role = replica;
INSERT INTO "a # TODO \ b" VALUES (1, '{1,2,666}', E'{a,"b\n# c",d,e,f,g}', '{777}'), (2, '{667}', NULL, NULL);
RESET session_replication_role;
SELECT integrity.accept('"a # TODO \ b"', 'accepted');
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'other_code'::regclass;
\pset format unaligned
\pset tuples_only on
-- (Which statement the report advises is not for this test.)
SELECT regexp_replace(string_agg(l, E'\n' ORDER BY n), 'SELECT [*] FROM integrity\.(.*?)\);', 'ADVICE', 'g') FROM integrity.tap() WITH ORDINALITY AS t (l, n);
SELECT integrity.tap('list');
-- An accepted number that is too high is a TODO that passes.
SELECT integrity.accept('list', 'list_ids_fkey', 4);
SELECT integrity.tap('list');
\pset format aligned
\pset tuples_only off
SELECT integrity.accept('list', 'list_ids_fkey', 0);

-- A trigger and a foreign key of one name: the worse of the two is what is accepted, and both are judged.
CREATE TABLE twin (id int PRIMARY KEY, ids int[], one int);
SELECT integrity.add_reference('twin', 'ids', 'key', not_valid => true, rule_name => 'same');
ALTER TABLE twin ADD CONSTRAINT same FOREIGN KEY (one) REFERENCES key NOT VALID;
SET session_replication_role = replica;
INSERT INTO twin VALUES (1, '{501,502}', 503);
RESET session_replication_role;
SELECT integrity.accept('twin', 'same');
SELECT integrity.assert_clean('twin');
SELECT integrity.accept('twin', 'same', 1);
SELECT integrity.assert_clean('twin');

-- Who may accept: the owner of the table. Who may read a column of it sees what is accepted.
CREATE ROLE regress_health_owner;
CREATE ROLE regress_health_reader;
GRANT USAGE ON SCHEMA health TO PUBLIC;
GRANT SELECT, REFERENCES ON key TO regress_health_owner;
GRANT SELECT (id) ON key TO PUBLIC;
GRANT SELECT (ids) ON twin TO regress_health_reader;
ALTER TABLE twin OWNER TO regress_health_owner;
SET ROLE regress_health_reader;
SELECT integrity.accept('twin', 'same', 9);
\echo :SQLSTATE
-- Nor behind its back: 42501 each; an UPDATE finds no row.
INSERT INTO integrity.accepted (referencing_table, rule_name, references_broken) VALUES ('twin', 'other', 9);
\echo :SQLSTATE
UPDATE integrity.accepted SET references_broken = 9 WHERE rule_name = 'same';
DELETE FROM integrity.accepted;
SELECT rule_name, references_broken FROM integrity.accepted;
SET ROLE regress_health_owner;
SELECT integrity.accept('twin', 'same', 2);
SELECT role_name FROM integrity.accepted WHERE rule_name = 'same';
UPDATE integrity.accepted SET role_name = 'postgres' WHERE rule_name = 'same';
\echo :SQLSTATE
RESET ROLE;
-- A caller's row_security and search_path change nothing.
CREATE FUNCTION health.array_to_string(text[], text) RETURNS text LANGUAGE sql AS $$ SELECT 'mine' $$;
CREATE FUNCTION health.regexp_replace(text, text, text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'mine' $$;
CREATE FUNCTION health.never(name, name) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
CREATE OPERATOR health.= (FUNCTION = health.never, LEFTARG = name, RIGHTARG = name);
SET search_path = health, pg_catalog;
SET ROLE regress_health_reader;
SET row_security = off;
SELECT l FROM integrity.tap('twin') AS l WHERE l !~ '^# SELECT';
RESET row_security;
SET ROLE regress_health_owner;
SELECT integrity.accept('twin', 'same', 2);
RESET ROLE;
SET search_path = health, public;

-- A table that is renamed keeps its number; one that is dropped leaves a row that harms nobody,
-- and a table of its name starts anew.
ALTER TABLE twin RENAME TO triplet;
SELECT integrity.assert_clean('triplet');
DROP TABLE triplet;
SELECT count(*) AS stale FROM integrity.accepted AS a WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = a.referencing_table);
CREATE TABLE triplet (id int PRIMARY KEY, ids int[]);
SELECT integrity.add_reference('triplet', 'ids', 'key', not_valid => true, rule_name => 'same');
SET session_replication_role = replica;
INSERT INTO triplet VALUES (1, '{501}');
RESET session_replication_role;
SELECT integrity.assert_clean('triplet');

-- What only reads runs where nothing can be written. accept() writes: 25006.
BEGIN READ ONLY;
SELECT score, rules, broken, unknown FROM integrity.health();
SELECT count(*) FROM integrity.tap();
SAVEPOINT s;
SELECT integrity.assert_clean('triplet');
ROLLBACK TO s;
SELECT integrity.accept('triplet', 'same');
\echo :SQLSTATE
ROLLBACK;

-- A long list is cut at 100 lines.
SET client_min_messages = warning;
DO $$ BEGIN
  CREATE TABLE health.wide (id int PRIMARY KEY);
  INSERT INTO health.wide VALUES (1);
  FOR i IN 1 .. 103 LOOP
    EXECUTE format('ALTER TABLE health.wide ADD c%s int DEFAULT 12345, ADD FOREIGN KEY (c%s) REFERENCES health.key NOT VALID', i, i);
  END LOOP;
END $$;
DO $$
DECLARE detail text;
BEGIN
  PERFORM integrity.assert_clean('health.wide');
EXCEPTION WHEN integrity_constraint_violation THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RAISE WARNING '%: % lines, the last "%"', SQLERRM, cardinality(string_to_array(detail, E'\n')), substring(detail FROM '[^\n]*$');
END $$;

DELETE FROM integrity.accepted;
DROP SCHEMA health CASCADE;
DROP ROLE regress_health_owner, regress_health_reader;
RESET client_min_messages;
