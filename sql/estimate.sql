-- What the planner expects of integrity.contains_any(). The estimate of && takes many rare keys to be in nearly all rows, and then a
-- delete of a few hundred keys would read the whole table, however large.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA estimate;
SET search_path = estimate, public;
\set VERBOSITY terse
-- Each of 20,000 keys is in five of 20,000 arrays on average; 1 is in half of all arrays as well, and 5,000 rows have none.
CREATE TABLE ref (n integer PRIMARY KEY, ids integer[]) WITH (autovacuum_enabled = off);
INSERT INTO ref SELECT n, ARRAY(SELECT 1 + (n * 7919 + e * 104729) % 20000 FROM generate_series(1, 5) AS e) || CASE WHEN n % 2 = 0 THEN '{1}' ELSE '{}' END::integer[]
  FROM generate_series(1, 20000) AS n;
INSERT INTO ref SELECT 20000 + n FROM generate_series(1, 5000) AS n;
CREATE INDEX ref_ids ON ref USING gin (ids);
ANALYZE ref;
CREATE FUNCTION plan(condition text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT json) SELECT FROM ref WHERE ' || condition INTO plan;
  RETURN plan -> 0 -> 'Plan';
END $$;
CREATE FUNCTION rows(condition text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
  rows numeric;
BEGIN
  EXECUTE 'SELECT count(*) FROM ref WHERE ' || condition INTO rows;
  RETURN rows;
END $$;
-- By how much the estimate is off; and how the rows are found.
CREATE VIEW estimates AS
  SELECT what, rows(condition) AS rows, round((plan(condition) ->> 'Plan Rows')::numeric / rows(condition), 1) BETWEEN 0.6 AND 1.6 AS near,
         plan(condition) ->> 'Node Type' AS by
    FROM (VALUES (1, 'one rare key', 'integrity.contains_any(ids, ''{10000}''::int[])'),
                 (2, 'the common one', 'integrity.contains_any(ids, ''{1}''::int[])'),
                 (3, '400 rare keys', format('integrity.contains_any(ids, %L::int[])', ARRAY(SELECT k * 37 FROM generate_series(1, 400) AS k))),
                 (4, '400 rare ones and a null', format('integrity.contains_any(ids, %L::int[])', ARRAY(SELECT k * 37 FROM generate_series(1, 400) AS k) || NULL::int)),
                 (5, '200 rare ones and the common one', format('integrity.contains_any(ids, %L::int[])', ARRAY(SELECT k * 37 FROM generate_series(1, 200) AS k) || 1)),
                 (6, '20,000 keys', format('integrity.contains_any(ids, %L::int[])', ARRAY(SELECT k FROM generate_series(1, 20000) AS k)))) AS c (i, what, condition)
   ORDER BY i;
SELECT * FROM estimates;
-- Without the index, or with one that knows only some of the rows, there is nothing to go by but the estimate of &&.
DROP INDEX ref_ids;
CREATE INDEX ref_some ON ref USING gin (ids) WHERE n < 100;
SELECT plan(format('integrity.contains_any(ids, %L::int[])', ARRAY(SELECT k * 37 FROM generate_series(1, 400) AS k))) ->> 'Plan Rows'
     = plan(format('ids && %L', ARRAY(SELECT k * 37 FROM generate_series(1, 400) AS k))) ->> 'Plan Rows' AS as_overlap;
-- Keys that are not known yet, and a table that was never analyzed.
CREATE INDEX ref_ids ON ref USING gin (ids);
SELECT (plan('integrity.contains_any(ids, ARRAY(SELECT 1))') ->> 'Plan Rows')::numeric > 0 AS unknown_keys;
SELECT (plan('integrity.contains_any(ids, NULL::int[])') ->> 'Plan Rows')::numeric >= 0 AS no_keys;
SELECT (plan('integrity.contains_any(ids, ''{}''::int[])') ->> 'Plan Rows')::numeric >= 0 AS empty;
SELECT (plan('integrity.contains_any(ids || 1, ''{1}''::int[])') ->> 'Plan Rows')::numeric > 0 AS no_column;
CREATE TABLE fresh (ids integer[]);
CREATE INDEX ON fresh USING gin (ids);
INSERT INTO fresh VALUES ('{1}');
SELECT count(*) FROM fresh WHERE integrity.contains_any(ids, '{1,2}'::int[]);
-- Text, and a delete of many keys: by the index.
CREATE TABLE word (w text PRIMARY KEY);
INSERT INTO word SELECT 'word ' || n FROM generate_series(1, 20000) AS n;
CREATE TABLE words (n integer, ws text[]) WITH (autovacuum_enabled = off);
INSERT INTO words SELECT n, ARRAY(SELECT 'word ' || 1 + (n * 7919 + e * 104729) % 20000 FROM generate_series(1, 5) AS e) FROM generate_series(1, 20000) AS n;
CREATE INDEX ON words USING gin (ws);
ANALYZE words;
SELECT integrity.add_reference('words', 'ws', 'word', on_delete => 'remove element');
CREATE FUNCTION reads(command text) RETURNS TABLE (of_table bigint, of_index boolean) LANGUAGE plpgsql AS $$
DECLARE
  before_table bigint := pg_stat_get_xact_numscans('estimate.words'::regclass);
  before_index bigint := pg_stat_get_xact_numscans('estimate.words_ws_idx'::regclass);
BEGIN
  EXECUTE command;
  RETURN QUERY SELECT pg_stat_get_xact_numscans('estimate.words'::regclass) - before_table,
                      pg_stat_get_xact_numscans('estimate.words_ws_idx'::regclass) > before_index;
END $$;
SELECT * FROM reads($$DELETE FROM word WHERE split_part(w, ' ', 2)::int % 1000 = 0$$);
SELECT sum(cardinality(ws)) FROM words;
RESET search_path;
DROP SCHEMA estimate CASCADE;
RESET client_min_messages;
