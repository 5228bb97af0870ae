-- A bulk insert looks the keys of rows up that lie ahead. A row of which every element was found is not looked at again when its own
-- check comes: only a row that was really read then, of the same command, in the same table, and while nothing else has happened.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA ahead;
SET search_path = ahead, public;
\set VERBOSITY terse
CREATE TABLE key (id integer PRIMARY KEY);
INSERT INTO key SELECT generate_series(1, 5000);
CREATE TABLE ref (n integer, ids integer[]);
SELECT integrity.add_reference('ref', 'ids', 'key');

-- One is missing: the first, the last, one in the middle, at each place in its array.
INSERT INTO ref SELECT i, ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
INSERT INTO ref SELECT i, ARRAY[i, 5001 - i] FROM generate_series(0, 5000) AS i;
INSERT INTO ref SELECT i, ARRAY[i, 5002 - i] FROM generate_series(1, 5001) AS i;
INSERT INTO ref SELECT i, ARRAY[i, CASE WHEN i = 3000 THEN 5001 ELSE 1 END] FROM generate_series(1, 5000) AS i;
SELECT count(*), sum(cardinality(ids)) FROM ref;
TRUNCATE ref;

-- Rows that come later and lie before: large ones do not fit into the room that is left in the first block.
ALTER TABLE ref ADD COLUMN fill text;
ALTER TABLE ref ALTER COLUMN fill SET STORAGE plain;
ALTER TABLE ref SET (autovacuum_enabled = off);
INSERT INTO ref SELECT i, '{1}', repeat('x', 600) FROM generate_series(1, 24) AS i;
DELETE FROM ref WHERE n IN (1, 2);
VACUUM ref;
INSERT INTO ref SELECT i, CASE WHEN i <= 2000 THEN ARRAY[i] ELSE '{5001}' END, CASE WHEN i <= 2000 THEN repeat('y', 4000) END
  FROM generate_series(1, 2001) AS i;
-- As it should be for this to say anything: the last row lies before all others.
BEGIN;
INSERT INTO ref SELECT i, ARRAY[CASE WHEN i <= 2000 THEN i ELSE 1 END], CASE WHEN i <= 2000 THEN repeat('y', 4000) END
  FROM generate_series(1, 2001) AS i;
SELECT ctid < (SELECT min(ctid) FROM ref WHERE fill LIKE 'y%') AS before FROM ref WHERE n = 2001;
ROLLBACK;
DROP TABLE ref;

-- Other tables: the blocks of one partition say nothing of another one's.
CREATE TABLE parted (n integer, ids integer[]) PARTITION BY LIST (n);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
SELECT integrity.add_reference('parted', 'ids', 'key');
INSERT INTO parted SELECT 1, ARRAY[i] FROM generate_series(1, 2000) AS i UNION ALL SELECT 2, '{5001}';
INSERT INTO parted SELECT 1 + i / 3000, ARRAY[CASE WHEN i = 5500 THEN 5001 ELSE 1 + i % 3000 END] FROM generate_series(0, 5999) AS i;
INSERT INTO parted SELECT 1 + i % 2, ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
INSERT INTO parted SELECT 1 + i % 2, ARRAY[i, 5001 - i] FROM generate_series(1, 5001) AS i;
SELECT count(*) FROM parted;

-- Other commands: what was put off is checked together in the end, rows of several commands in the same blocks.
CREATE TABLE late (n integer, ids integer[]);
SELECT integrity.add_reference('late', 'ids', 'key', "deferrable" => true, initially_deferred => true);
BEGIN;
INSERT INTO late SELECT i, ARRAY[i] FROM generate_series(1, 2000) AS i;
INSERT INTO late VALUES (0, '{5001}');
INSERT INTO late SELECT i, ARRAY[i] FROM generate_series(1, 2000) AS i;
COMMIT;
BEGIN;
INSERT INTO late SELECT i, ARRAY[i] FROM generate_series(1, 2000) AS i;
SAVEPOINT s;
INSERT INTO late VALUES (0, '{5001}');
ROLLBACK TO s;
INSERT INTO late SELECT i, ARRAY[i] FROM generate_series(1, 2000) AS i;
COMMIT;
SELECT count(*) FROM late;
-- A row that was written again: its first version counts no more, and what it has added is checked in the last one.
BEGIN;
INSERT INTO late SELECT i, ARRAY[CASE WHEN i = 1500 THEN 5001 ELSE i END] FROM generate_series(1, 2000) AS i;
UPDATE late SET n = -n WHERE ids = '{5001}';
COMMIT;
BEGIN;
INSERT INTO late SELECT i, ARRAY[CASE WHEN i = 1500 THEN 5001 ELSE i END] FROM generate_series(1, 2000) AS i;
UPDATE late SET ids = '{1}' WHERE ids = '{5001}';
COMMIT;
SELECT count(*) FROM late;
-- A key that goes between two of them.
BEGIN;
INSERT INTO late SELECT i, ARRAY[i] FROM generate_series(1, 2000) AS i;
DELETE FROM late WHERE n > 1000;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO late SELECT i, ARRAY[i] FROM generate_series(1, 2000) AS i;
SET session_replication_role = replica;
DELETE FROM key WHERE id = 2000;
SET session_replication_role = origin;
COMMIT;
SELECT count(*) FROM late;

-- Other things that happen meanwhile: a trigger of the same row takes a key that a later row was found with.
CREATE TABLE spare (id integer PRIMARY KEY);
INSERT INTO spare SELECT generate_series(1, 2000);
CREATE TABLE loose (n integer, ids integer[]);
SELECT integrity.add_reference('loose', 'ids', 'spare', rule_name => 'a_rule');
CREATE FUNCTION take_quietly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('session_replication_role', 'replica', true);
  DELETE FROM ahead.spare WHERE id = 1900;
  PERFORM set_config('session_replication_role', 'origin', true);
  RETURN NULL;
END $$;
CREATE TRIGGER b_take AFTER INSERT ON loose FOR EACH ROW WHEN (NEW.n = 1000) EXECUTE FUNCTION take_quietly();
INSERT INTO loose SELECT i, ARRAY[i] FROM generate_series(1, 2000) AS i;
SELECT count(*) FROM loose;
DROP SCHEMA ahead CASCADE;
