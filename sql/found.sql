-- A key that a command has found and locked is not looked up twice. Guards: it is forgotten when this
-- backend may have taken the key away itself, it belongs to one rule, and only equal values share it,
-- whatever is remembered of them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
CREATE SCHEMA found;
SET search_path = found, public;
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE other_k (id int PRIMARY KEY);
CREATE TABLE t (n int, ids int[], others int[]);
SELECT integrity.add_reference('t', 'ids', 'k');
SELECT integrity.add_reference('t', 'others', 'other_k');
INSERT INTO k SELECT generate_series(1, 50000);

-- The key goes in the same transaction, and in the next one.
BEGIN;
INSERT INTO t VALUES (1, '{1}'), (2, '{1}');
DELETE FROM t;
DELETE FROM k WHERE id = 1;
INSERT INTO t VALUES (3, '{1}');
\echo :SQLSTATE
ROLLBACK;
INSERT INTO t VALUES (1, '{2}'), (2, '{2}');
DELETE FROM t;
DELETE FROM k WHERE id = 2;
INSERT INTO t VALUES (3, '{2}');
\echo :SQLSTATE
-- Within one statement: a trigger that comes between two checks deletes the key, which the rule refuses for the second row.
CREATE FUNCTION take_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM found.t WHERE n = 1;
  DELETE FROM found.k WHERE id = 3;
  RETURN NULL;
END $$;
CREATE TRIGGER zz AFTER INSERT ON t FOR EACH ROW WHEN (NEW.n = 1) EXECUTE FUNCTION take_key();
INSERT INTO t VALUES (1, '{3}'), (2, '{3}');
\echo :SQLSTATE
SELECT count(*) FROM t;
DROP TRIGGER zz ON t;
-- What one rule has found says nothing to the other.
INSERT INTO t VALUES (1, '{5}', NULL), (2, NULL, '{5}');
\echo :SQLSTATE
-- More keys than can be remembered, in an order that comes back to the first ones; then one that is missing.
INSERT INTO t SELECT g, ARRAY[g, g + 1, 50001 - g] FROM generate_series(5, 49990) g;
INSERT INTO t SELECT g, ARRAY[g, g + 1, CASE WHEN g = 49000 THEN 50001 ELSE 5 END] FROM generate_series(5, 49999) g;
\echo :SQLSTATE
SELECT count(*) FROM t;

-- Texts: as long as what is remembered (27 bytes), longer, empty, one the beginning of the other.
CREATE TABLE words (w text PRIMARY KEY);
CREATE TABLE says (n int, words text[]);
SELECT integrity.add_reference('says', 'words', 'words');
INSERT INTO words SELECT repeat('a', n) FROM generate_series(0, 40) n WHERE n <> 20 AND n <> 30;
INSERT INTO says SELECT r, ARRAY(SELECT repeat('a', n) FROM generate_series(0, 40) n WHERE n <> 20 AND n <> 30) FROM generate_series(1, 3) r;
INSERT INTO says VALUES (4, ARRAY[repeat('a', 21), '']), (5, ARRAY[repeat('a', 20)]);
\echo :SQLSTATE
INSERT INTO says VALUES (4, ARRAY[repeat('a', 31), '']), (5, ARRAY[repeat('a', 30)]);
\echo :SQLSTATE
SELECT n, cardinality(words) FROM says ORDER BY n;
-- Many keys share a place: what is there must be the element itself, not one as long, nor one that begins with it. By UPDATE,
-- for which nothing is looked up ahead, so that all places are taken.
CREATE TABLE full_k (id int PRIMARY KEY, w text UNIQUE);
CREATE TABLE full_t (n int, ids int[], words text[]);
SELECT integrity.add_reference('full_t', 'ids', 'full_k', 'id');
SELECT integrity.add_reference('full_t', 'words', 'full_k', 'w');
INSERT INTO full_k SELECT g, 'w' || g FROM generate_series(1, 30000) g;
INSERT INTO full_t SELECT 1;
INSERT INTO full_t SELECT 2;
PREPARE full_ids(int) AS UPDATE full_t SET ids = CASE n WHEN 1 THEN ARRAY(SELECT id FROM full_k ORDER BY id) ELSE ARRAY[$1] END;
PREPARE full_words(text) AS UPDATE full_t SET words = CASE n WHEN 1 THEN ARRAY(SELECT w FROM full_k ORDER BY id) ELSE ARRAY[$1] END;
EXECUTE full_ids(30001);
\echo :SQLSTATE
EXECUTE full_ids(30002);
\echo :SQLSTATE
EXECUTE full_ids(1);
EXECUTE full_words('x5');
\echo :SQLSTATE
EXECUTE full_words('w');
\echo :SQLSTATE
EXECUTE full_words('w1');
SELECT n, cardinality(ids), cardinality(words) FROM full_t ORDER BY n;
-- A bulk insert looks keys up ahead of its rows' own checks: of a partitioned table, by text, with one missing far behind.
CREATE TABLE parts (w text PRIMARY KEY) PARTITION BY HASH (w);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE bulk (n int, words text[]);
SELECT integrity.add_reference('bulk', 'words', 'parts', on_delete => 'remove element');
INSERT INTO parts SELECT 'a longer word with number ' || g FROM generate_series(1, 9000) g;
INSERT INTO bulk SELECT g, ARRAY['a longer word with number ' || g, NULL, 'a longer word with number ' || 9001 - g] FROM generate_series(1, 9000) g;
INSERT INTO bulk SELECT g, ARRAY['a longer word with number ' || g] FROM generate_series(1, 9001) g;
\echo :SQLSTATE
SELECT count(*), count(DISTINCT words) FROM bulk;
-- What is looked up ahead is bounded, however much stands in the rows: here some 1,200,000 elements, in a few compressed arrays,
-- too many of them different to be known from the row before.
CREATE TABLE heavy_k (id int PRIMARY KEY);
CREATE TABLE heavy (ids int[]);
SELECT integrity.add_reference('heavy', 'ids', 'heavy_k');
INSERT INTO heavy_k SELECT generate_series(1, 9000);
INSERT INTO heavy SELECT ARRAY(SELECT id FROM heavy_k ORDER BY id) FROM generate_series(1, 140);
INSERT INTO heavy SELECT CASE WHEN i < 140 THEN ARRAY(SELECT id FROM heavy_k ORDER BY id) ELSE '{9001}' END FROM generate_series(1, 140) AS i;
\echo :SQLSTATE
SELECT count(*), sum(cardinality(ids)) FROM heavy;
-- What was looked up ahead is locked: not for other rows than those of the command, and rows of an earlier command do not count.
BEGIN;
INSERT INTO parts VALUES ('gone');
INSERT INTO bulk SELECT g, '{gone}' FROM generate_series(1, 1000) g;
DELETE FROM parts WHERE w = 'gone';
INSERT INTO bulk SELECT g, ARRAY['a longer word with number ' || g] FROM generate_series(1, 2000) g;
SELECT count(*) FROM bulk WHERE words = '{}';
COMMIT;
SELECT references_checked, references_broken, status FROM integrity_report('bulk');
DROP SCHEMA found CASCADE;
