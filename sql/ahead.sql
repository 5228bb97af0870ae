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

-- Other rules of the same table, with the same elements and other keys.
CREATE TABLE odd (id integer PRIMARY KEY);
INSERT INTO odd SELECT generate_series(1, 5000, 2);
CREATE TABLE both_refs (a integer[], b integer[]);
SELECT integrity.add_reference('both_refs', 'a', 'key'), integrity.add_reference('both_refs', 'b', 'odd');
INSERT INTO both_refs SELECT ARRAY[2 * i - 1], ARRAY[2 * i - 1] FROM generate_series(1, 2500) AS i;
INSERT INTO both_refs SELECT ARRAY[2 * i], ARRAY[2 * i - CASE WHEN i = 2000 THEN 0 ELSE 1 END] FROM generate_series(1, 2500) AS i;
INSERT INTO both_refs SELECT ARRAY[i], CASE WHEN i = 2 OR i % 2 = 1 THEN ARRAY[i] END FROM generate_series(2, 5000) AS i;
SELECT count(*) FROM both_refs;

-- A rule that rejects null elements looks at each row all the same.
CREATE TABLE strict (ids integer[]);
SELECT integrity.add_reference('strict', 'ids', 'key', null_elements => 'reject', duplicate_elements => 'reject');
INSERT INTO strict SELECT ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
INSERT INTO strict SELECT ARRAY[i, CASE WHEN i <> 4000 THEN 5001 - i END] FROM generate_series(1, 5000) AS i;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO strict SELECT ARRAY[i, CASE WHEN i <> 4000 THEN 5001 - i ELSE i END] FROM generate_series(1, 5000) AS i;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM strict;
CREATE TABLE once (ids integer[]);
SELECT integrity.add_reference('once', 'ids', 'key', duplicate_elements => 'reject');
INSERT INTO once SELECT ARRAY[i, CASE WHEN i <> 4000 THEN 5001 - i ELSE i END] FROM generate_series(1, 5000) AS i;

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
-- A row that a rolled back savepoint has deleted carries another number for its command, which may be that of a command to come.
CREATE TABLE pad (n integer);
CREATE FUNCTION check_now(i integer) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
  IF i = 1 THEN SET CONSTRAINTS ALL IMMEDIATE; RETURN 1; END IF;
  RETURN 9999;
END $$;
TRUNCATE late;
BEGIN;
INSERT INTO late SELECT i, ARRAY[i] FROM generate_series(1, 600) AS i;
INSERT INTO pad VALUES (1);
INSERT INTO pad VALUES (2);
SAVEPOINT s; DELETE FROM pad; ROLLBACK TO s; RELEASE s;
SAVEPOINT s; DELETE FROM pad; ROLLBACK TO s; RELEASE s;
SAVEPOINT s; DELETE FROM pad; ROLLBACK TO s; RELEASE s;
SAVEPOINT s; DELETE FROM pad; ROLLBACK TO s; RELEASE s;
SAVEPOINT s; DELETE FROM late; ROLLBACK TO s; RELEASE s;
SELECT DISTINCT cmin FROM late;
INSERT INTO late SELECT i, ARRAY[check_now(i)] FROM generate_series(1, 3) AS i;
COMMIT;
SELECT count(*) FROM late;
-- In the midst of an INSERT another row is updated: what was known of the rows that follow is known no more.
ALTER TABLE loose ADD UNIQUE (n);
INSERT INTO loose VALUES (1001, '{1}');
INSERT INTO loose SELECT i, ARRAY[i] FROM generate_series(1, 2000) AS i ON CONFLICT (n) DO UPDATE SET ids = excluded.ids;
SELECT count(*) FROM loose;
-- To look ahead in vain costs little. A native foreign key moves the command id with each row, more rules than are remembered
-- take turns, a trigger writes now and then: then keys are looked up once or twice for each row that refers to them, and not
-- for all rows each time. Two rules do not disturb each other: of each, the 300 keys of the first row, and all 5,000 ahead.
CREATE TABLE one (id integer PRIMARY KEY);
INSERT INTO one VALUES (1);
CREATE TABLE long AS
  SELECT i AS n, 1 AS one, ARRAY(SELECT 1 + (i * 300 + j) % 5000 FROM generate_series(1, 300) AS j) AS ids FROM generate_series(1, 100) AS i;
CREATE FUNCTION look_ups(index regclass, command text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  before bigint := pg_stat_get_xact_tuples_fetched(index);
BEGIN
  EXECUTE command;
  RETURN pg_stat_get_xact_tuples_fetched(index) - before;
END $$;
CREATE TABLE beside_native (n integer, one integer REFERENCES one, ids integer[]);
SELECT integrity.add_reference('beside_native', 'ids', 'key');
-- (From 19 on native keys are checked many at a time, and disturb less.)
SELECT look_ups('key_pkey', 'INSERT INTO beside_native SELECT * FROM long') <= 30000 AS beside_native;
CREATE TABLE beside_rule (n integer, one integer, ids integer[], again integer[]);
SELECT integrity.add_reference('beside_rule', 'ids', 'key'), integrity.add_reference('beside_rule', 'again', 'key');
SELECT look_ups('key_pkey', 'INSERT INTO beside_rule SELECT *, ids FROM long') AS beside_rule;
CREATE TABLE beside_rules (n integer, one integer, ids integer[]);
SELECT count(integrity.add_reference('beside_rules', 'ids', 'key', rule_name => ('rule_' || i)::name)) FROM generate_series(1, 17) AS i;
SELECT look_ups('key_pkey', 'INSERT INTO beside_rules SELECT * FROM long') AS beside_rules;
CREATE TABLE noted (n integer);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ahead.noted VALUES (NEW.n); RETURN NULL; END $$;
CREATE TABLE beside_trigger (n integer, one integer, ids integer[]);
SELECT integrity.add_reference('beside_trigger', 'ids', 'key');
CREATE TRIGGER note AFTER INSERT ON beside_trigger FOR EACH ROW WHEN (NEW.n % 4 = 0) EXECUTE FUNCTION note();
SELECT look_ups('key_pkey', 'INSERT INTO beside_trigger SELECT * FROM long') < 2 * 30000 AS beside_trigger;

-- A table that refers to itself: what is found ahead are rows that are still to be checked, and they are locked by then.
CREATE TABLE self (id integer PRIMARY KEY, ids integer[]);
SELECT integrity.add_reference('self', 'ids', 'self');
SELECT look_ups('self_pkey', 'INSERT INTO self SELECT i, ARRAY[1 + i % 110000] FROM generate_series(1, 110000) AS i') < 110000 + 1000 AS self;
-- Few rows with many elements lie in one block, and not all of them are looked at together.
CREATE TABLE many (id uuid PRIMARY KEY);
INSERT INTO many SELECT lpad(i::text, 32, '0')::uuid FROM generate_series(1, 110000) AS i;
CREATE TABLE wide (ids uuid[]);
ALTER TABLE wide ALTER COLUMN ids SET STORAGE external;
SELECT integrity.add_reference('wide', 'ids', 'many');
SELECT look_ups('many_pkey', 'INSERT INTO wide SELECT (SELECT array_agg(id) FROM many) FROM generate_series(1, 4)') < 3 * 110000 + 100 AS wide;
INSERT INTO wide SELECT (SELECT array_agg(id) FROM many) || CASE WHEN i = 4 THEN '{00000000-0000-0000-0000-000000110001}'::uuid[] END
  FROM generate_series(1, 4) AS i;
SELECT count(*) FROM wide;

-- A row in the first block and the others at the end: what lies between is not read.
CREATE TABLE far (n integer, ids integer[], fill text) WITH (autovacuum_enabled = off);
ALTER TABLE far ALTER COLUMN fill SET STORAGE plain;
INSERT INTO far SELECT i, NULL, repeat('x', 8080) FROM generate_series(1, 1500) AS i;
SELECT integrity.add_reference('far', 'ids', 'key');
DELETE FROM far WHERE n = 1;
VACUUM far;
CREATE FUNCTION blocks_read() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  before bigint := pg_stat_get_xact_blocks_fetched('ahead.far'::regclass);
BEGIN
  INSERT INTO far SELECT i, ARRAY[i, 1000 + i, 2000 + i] FROM generate_series(1, 200) AS i;
  RETURN pg_stat_get_xact_blocks_fetched('ahead.far'::regclass) - before;
END $$;
SELECT blocks_read() < 1000 AS few_blocks;
DROP SCHEMA ahead CASCADE;
