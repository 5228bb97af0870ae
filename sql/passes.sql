-- One statement that deletes more keys than fit into one array: they are handled in several passes of 32 MB, each key once.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA passes;
SET search_path = passes, public;
CREATE FUNCTION long(i integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT rpad(i || ' ', 2000, 'x') $$;
CREATE TABLE key (id text PRIMARY KEY);
INSERT INTO key SELECT long(i) FROM generate_series(1, 20000) AS i;
CREATE TABLE ref (id integer PRIMARY KEY, ids text[]);
INSERT INTO ref SELECT i, ARRAY[long(i), long(20001 - i)] FROM generate_series(1, 100) AS i;
INSERT INTO ref SELECT 1000 + i, ARRAY[long(i * 200)] FROM generate_series(1, 100) AS i;
INSERT INTO ref VALUES (2000, ARRAY[long(1), long(9998), long(9999)]);
CREATE TABLE held (id integer, ids text[]);

-- No action: a reference to a key of the last pass is seen. Keys go in the order of their bytes: '9999 ' comes last.
SELECT integrity.add_reference('held', 'ids', 'key');
INSERT INTO held VALUES (1, ARRAY[long(9999)]);
\set VERBOSITY sqlstate
DELETE FROM key;
SELECT count(*) FROM key;
UPDATE held SET ids = ARRAY[long(1)];
DELETE FROM key;
SELECT integrity.drop_reference('held', 'held_ids_fkey');
-- Restrict.
SELECT integrity.add_reference('held', 'ids', 'key', on_delete => 'restrict');
UPDATE held SET ids = ARRAY[long(9998)];
\set VERBOSITY default
DO $$
BEGIN
  DELETE FROM key;
  RAISE 'not refused';
EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN NULL; -- the latter from PostgreSQL 18 on
END $$;
SELECT count(*) FROM key;
TRUNCATE held;

-- What changes data: a row with keys of two passes loses both.
SELECT integrity.add_reference('ref', 'ids', 'key', on_delete => 'remove element', on_empty => 'delete row');
DELETE FROM key WHERE id <> long(9999) AND id <> long(10000);
SELECT count(*) FROM key;
SELECT id, left(ids[1], 5) AS first, cardinality(ids) FROM ref ORDER BY id;
SELECT status, rows_checked, rows_broken FROM integrity_report('passes.ref');
SET client_min_messages = warning;
DROP SCHEMA passes CASCADE;
