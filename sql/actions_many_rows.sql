-- The actions on many rows. (Apart from sql/actions, because what inserts many rows cannot run on a server that always drops its caches.)
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA many_rows;
SET search_path = many_rows, public;
--
-- Many keys at once: they are a constant of the plan then, for each action.
--
CREATE TABLE m_key (id int PRIMARY KEY); INSERT INTO m_key SELECT generate_series(1, 4000);
CREATE TABLE m (id int PRIMARY KEY, removed int[], emptied int[], nulled int[], refused int[]);
SELECT integrity.add_reference('m', 'removed', 'm_key', on_delete => 'remove element');
SELECT integrity.add_reference('m', 'emptied', 'm_key', on_delete => 'remove element', on_empty => 'delete row');
SELECT integrity.add_reference('m', 'nulled', 'm_key', on_delete => 'null element');
SELECT integrity.add_reference('m', 'refused', 'm_key');
INSERT INTO m SELECT n, ARRAY[n, 4000], CASE n % 2 WHEN 0 THEN ARRAY[n] ELSE ARRAY[n, 1] END, ARRAY[n, NULL, 4000] FROM generate_series(1, 4000) n;
UPDATE m SET refused = '{1005}' WHERE id = 4000;
DELETE FROM m_key WHERE id BETWEEN 1001 AND 2998;  -- 1005 is refused
\echo :LAST_ERROR_SQLSTATE
DELETE FROM m_key WHERE id BETWEEN 1006 AND 2499;
DELETE FROM m_key WHERE id BETWEEN 2500 AND 3800;  -- the same plans, other keys
SELECT count(*), sum(cardinality(removed)) AS removed, sum(cardinality(emptied)) AS emptied,
       sum(cardinality(array_positions(nulled, NULL))) AS nulled
  FROM m;
SELECT count(*) AS broken FROM m, unnest(removed || emptied || nulled || refused) e
 WHERE NOT EXISTS (SELECT FROM m_key WHERE m_key.id = e) AND e IS NOT NULL;

--
-- A setting with which anybody can make GIN indexes leave out rows by chance does not make an action overlook any.
--
CREATE TABLE f_key (id int PRIMARY KEY);
CREATE TABLE f (ids int[]); CREATE INDEX ON f USING gin (ids);
SELECT integrity.add_reference('f', 'ids', 'f_key', on_delete => 'remove element', on_update => 'cascade');
INSERT INTO f_key VALUES (1), (2);
INSERT INTO f SELECT '{1,2}' FROM generate_series(1, 10000);
VACUUM ANALYZE f;                                  -- what waits in the list of the index is never left out
SET gin_fuzzy_search_limit = 10; SET enable_seqscan = off;
SELECT count(*) < 10000 AS left_out FROM f WHERE ids @> '{1}';
DELETE FROM f_key WHERE id = 1;
UPDATE f_key SET id = 3 WHERE id = 2;
SHOW gin_fuzzy_search_limit;
RESET enable_seqscan; RESET gin_fuzzy_search_limit;
SELECT ids, count(*) FROM f GROUP BY ids;

RESET search_path;
DROP SCHEMA many_rows CASCADE;
RESET client_min_messages;
