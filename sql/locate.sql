-- Where the keys that a bulk insert refers to lie close together, the index is read along instead of being searched for each of them.
-- What is found there is but a place: the row has to be there for the check, and to be locked.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA locate;
SET search_path = locate, public;
\set SHOW_CONTEXT never
CREATE FUNCTION searches(index regclass, command text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  before bigint := pg_stat_get_xact_numscans(index);
BEGIN
  EXECUTE command;
  RETURN pg_stat_get_xact_numscans(index) - before;
END $$;
-- How many rows of a table this transaction has locked.
CREATE FUNCTION locked(keys regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  count bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM %s WHERE xmax = pg_current_xact_id()::xid', keys) INTO count;
  RETURN count;
END $$;

-- Every second number is a key. 4096 of them are looked for at a time.
CREATE TABLE key (id integer PRIMARY KEY) WITH (autovacuum_enabled = off);
INSERT INTO key SELECT generate_series(1, 20001, 2);
CREATE TABLE ref (ids integer[]);
SELECT integrity.add_reference('ref', 'ids', 'key');
BEGIN;
SELECT searches('key_pkey', 'INSERT INTO ref SELECT ARRAY[i, 20002 - i] FROM generate_series(1, 20001, 2) AS i') < 1000 AS read_along;
SELECT locked('key');
COMMIT;
INSERT INTO ref SELECT ARRAY[i, 20002 - i] FROM generate_series(-1, 20001, 2) AS i;
INSERT INTO ref SELECT ARRAY[i, 20004 - i] FROM generate_series(1, 20003, 2) AS i;
INSERT INTO ref SELECT ARRAY[i, CASE WHEN i = 15001 THEN 8190 ELSE 1 END] FROM generate_series(1, 20001, 2) AS i;
INSERT INTO ref SELECT ARRAY[i, CASE WHEN i = 15001 THEN 8192 ELSE 1 END] FROM generate_series(1, 20001, 2) AS i;
INSERT INTO ref SELECT ARRAY[i, CASE WHEN i = 15001 THEN 8194 ELSE 1 END] FROM generate_series(1, 20001, 2) AS i;
-- None of many in between is a key.
INSERT INTO ref SELECT ARRAY[i] FROM generate_series(1, 999, 2) AS i UNION ALL SELECT ARRAY[1]
  UNION ALL SELECT ARRAY[i] FROM generate_series(4, 6000, 2) AS i;
-- Few keys far from each other are searched for: the index is not read from one end to the other.
SELECT searches('key_pkey', 'INSERT INTO ref SELECT ARRAY[i, 20002 - i] FROM generate_series(1, 20001, 20) AS i') > 1000 AS searched_for;
SELECT count(*) FROM ref;

-- Rows that were written again, within their pages and not, cleaned up and not: each key is in the index many times, or its place leads elsewhere.
CREATE TABLE versions (id integer PRIMARY KEY, n integer, fill text) WITH (autovacuum_enabled = off, fillfactor = 50);
INSERT INTO versions SELECT i, 0, repeat('x', 100) FROM generate_series(1, 5000) AS i;
CREATE TABLE version_refs (ids integer[]);
SELECT integrity.add_reference('version_refs', 'ids', 'versions');
UPDATE versions SET n = 1 WHERE id % 2 = 0;
INSERT INTO version_refs SELECT ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
VACUUM versions;
INSERT INTO version_refs SELECT ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
CREATE INDEX ON versions (n);
UPDATE versions SET n = 2;
UPDATE versions SET n = 3 WHERE id % 3 = 0;
BEGIN;
SELECT searches('versions_pkey', 'INSERT INTO version_refs SELECT ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i') < 5000 AS read_along;
SELECT locked('versions');
COMMIT;
SELECT count(*) FROM version_refs;
-- Deleted, before and in the same transaction; and come again.
TRUNCATE version_refs;
DELETE FROM versions WHERE id = 3000;
INSERT INTO version_refs SELECT ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
INSERT INTO versions VALUES (3000, 4, '');
INSERT INTO version_refs SELECT ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
TRUNCATE version_refs;
BEGIN;
DELETE FROM versions WHERE id = 3000;
SAVEPOINT s;
INSERT INTO version_refs SELECT ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
ROLLBACK TO s;
INSERT INTO versions VALUES (3000, 5, '');
INSERT INTO version_refs SELECT ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
UPDATE versions SET id = 6000 WHERE id = 3000;
ROLLBACK;
BEGIN;
UPDATE versions SET id = 6000 WHERE id = 3000;
INSERT INTO version_refs SELECT ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
ROLLBACK;
SELECT count(*) FROM version_refs;
-- A place that has another row now.
DELETE FROM versions WHERE id = 3000;
VACUUM versions;
INSERT INTO versions SELECT i, 6, '' FROM generate_series(7000, 7300) AS i;
INSERT INTO version_refs SELECT ARRAY[i, 5001 - i] FROM generate_series(1, 5000) AS i;
SELECT count(*) FROM version_refs;

-- Integers of other sizes, and on both sides of 0.
CREATE TABLE smalls (id smallint PRIMARY KEY);
CREATE TABLE bigs (id bigint PRIMARY KEY);
INSERT INTO smalls SELECT generate_series(-2000, 2000);
INSERT INTO bigs SELECT generate_series(-2000, 2000);
INSERT INTO key SELECT generate_series(-2000, 2000) ON CONFLICT DO NOTHING;
CREATE TABLE mixed (n integer, small_key integer[], big_key integer[], small_element smallint[], big_element bigint[], big_to_small bigint[]);
SELECT integrity.add_reference('mixed', 'small_key', 'smalls'), integrity.add_reference('mixed', 'big_key', 'bigs'),
       integrity.add_reference('mixed', 'small_element', 'key'), integrity.add_reference('mixed', 'big_element', 'key'),
       integrity.add_reference('mixed', 'big_to_small', 'smalls');
CREATE FUNCTION other(column_name text, element bigint) RETURNS SETOF mixed LANGUAGE sql AS $$
  SELECT i, ARRAY[CASE WHEN column_name = 'small_key' AND i = 1500 THEN element ELSE -i END]::integer[],
         ARRAY[CASE WHEN column_name = 'big_key' AND i = 1500 THEN element ELSE -i END]::integer[],
         ARRAY[CASE WHEN column_name = 'small_element' AND i = 1500 THEN element ELSE -i END]::smallint[],
         ARRAY[CASE WHEN column_name = 'big_element' AND i = 1500 THEN element ELSE -i END]::bigint[],
         ARRAY[CASE WHEN column_name = 'big_to_small' AND i = 1500 THEN element ELSE -i END]::bigint[]
    FROM generate_series(-2000, 2000) AS i
$$;
INSERT INTO mixed SELECT * FROM other('', 0);
SELECT count(*) FROM mixed;
INSERT INTO mixed SELECT * FROM other('small_key', 2001);
INSERT INTO mixed SELECT * FROM other('small_key', 65536 + 1);
INSERT INTO mixed SELECT * FROM other('big_key', -2001);
INSERT INTO mixed SELECT * FROM other('small_element', -2001);
INSERT INTO mixed SELECT * FROM other('big_element', 2 + (1::bigint << 32));
INSERT INTO mixed SELECT * FROM other('big_to_small', 2 - (1::bigint << 32));
INSERT INTO mixed SELECT * FROM other('big_to_small', 65536 + 1);
SELECT count(*) FROM mixed;
-- The greatest numbers that there are.
INSERT INTO bigs SELECT 9223372036854775807 - i FROM generate_series(0, 1000) AS i;
INSERT INTO bigs SELECT -9223372036854775807 - 1 + i FROM generate_series(0, 1000) AS i;
CREATE TABLE big_refs (ids bigint[]);
SELECT integrity.add_reference('big_refs', 'ids', 'bigs');
INSERT INTO big_refs SELECT ARRAY[9223372036854775807 - i, -9223372036854775807 - 1 + i] FROM generate_series(0, 1000) AS i;
INSERT INTO big_refs SELECT ARRAY[9223372036854775807 - i] FROM generate_series(0, 1001) AS i;
INSERT INTO big_refs SELECT ARRAY[-9223372036854775807 - 1 + i] FROM generate_series(0, 1001) AS i;
SELECT count(*) FROM big_refs;

-- Other indexes: in descending order, with other columns, of a domain.
CREATE DOMAIN number AS integer;
CREATE TABLE descending (id integer NOT NULL);
CREATE UNIQUE INDEX ON descending (id DESC);
CREATE TABLE including (n integer, id integer NOT NULL, UNIQUE (id) INCLUDE (n));
CREATE TABLE of_domain (id number PRIMARY KEY);
INSERT INTO descending SELECT generate_series(1, 3000);
INSERT INTO including SELECT -i, i FROM generate_series(1, 3000) AS i;
INSERT INTO of_domain SELECT generate_series(1, 3000);
CREATE TABLE others (descending integer[], including integer[], of_domain integer[]);
SELECT integrity.add_reference('others', 'descending', 'descending', 'id'), integrity.add_reference('others', 'including', 'including', 'id'),
       integrity.add_reference('others', 'of_domain', 'of_domain');
INSERT INTO others SELECT NULL, ARRAY[i], ARRAY[i] FROM generate_series(1, 3000) AS i;
SELECT searches('descending_id_idx', 'INSERT INTO others SELECT ARRAY[i] FROM generate_series(1, 3000) AS i') < 1000 AS read_along;
INSERT INTO others SELECT ARRAY[i] FROM generate_series(1, 3001) AS i;
INSERT INTO others SELECT NULL, ARRAY[i] FROM generate_series(1, 3001) AS i;
INSERT INTO others SELECT NULL, NULL, ARRAY[i] FROM generate_series(1, 3001) AS i;
SELECT count(*) FROM others;

-- A place is one of a partition: other partitions have other rows there.
CREATE TABLE parted (id integer PRIMARY KEY) PARTITION BY HASH (id);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT i FROM generate_series(1, 10000) AS i WHERE i <> 7000;
CREATE TABLE parted_refs (ids integer[]);
SELECT integrity.add_reference('parted_refs', 'ids', 'parted');
BEGIN;
INSERT INTO parted_refs SELECT ARRAY[i] FROM generate_series(1, 10000) AS i WHERE i <> 7000;
SELECT locked('parted');
COMMIT;
INSERT INTO parted_refs SELECT ARRAY[i] FROM generate_series(1, 10000) AS i;
SELECT count(*) FROM parted_refs;
DROP SCHEMA locate CASCADE;
