-- Input that looks corrupt: NULL elements, six dimensions, bounds, an array of a million elements out of line; and tables that
-- cannot be looked at: a foreign server that is down. Guards: the same elements are counted, taken out and put back,
-- to the letter; what was not looked at is unknown, with the reason, and the rest is reported.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE SCHEMA odd;
SET search_path = odd, public;
CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k SELECT generate_series(1, 1000);
CREATE TABLE t (id int PRIMARY KEY, ids int[]);
ALTER TABLE t ALTER ids SET STORAGE EXTERNAL;
INSERT INTO t VALUES (1, '{NULL,NULL,1,NULL,5000}'), (2, '{NULL}'), (3, '{}'), (4, NULL),
  (5, '{{{{{{1,5001},{NULL,2}}}}}}'), (6, '[-3:-1]={5002,1,5002}'), (7, '[0:1][5:6]={{1,2},{5003,NULL}}');
-- a million elements: every thousandth one is broken, every seventh NULL
INSERT INTO t SELECT 8, array_agg(CASE WHEN g % 1000 = 999 THEN 1000000 + g WHEN g % 7 = 0 THEN NULL ELSE g % 1000 + 1 END ORDER BY g)
  FROM generate_series(1, 1000000) g;
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element', not_valid => true);
CREATE TABLE old AS SELECT * FROM t;
-- By plain SQL, and by the report.
SELECT count(e) AS checked, count(e) FILTER (WHERE e > 1000) AS broken, count(DISTINCT id) FILTER (WHERE e > 1000) AS rows_broken
  FROM t, unnest(ids) e;
SELECT references_checked, references_broken, rows_broken, status FROM integrity_report('t');
SELECT references_broken, rows_changed, rows_deleted FROM integrity.repair('t');
SELECT references_broken, rows_changed, rows_deleted FROM integrity.repair('t', dry_run => false);
SELECT * FROM t WHERE id < 8 ORDER BY id;
SELECT t.ids = (SELECT array_agg(e ORDER BY n) FROM unnest(o.ids) WITH ORDINALITY AS u (e, n) WHERE e IS NULL OR e <= 1000) AS as_it_should_be,
       cardinality(t.ids) FROM t JOIN old o USING (id) WHERE id = 8;
SELECT references_broken, status FROM integrity_report('t');
SELECT count(*) FROM integrity.repair('t');
SELECT outcome, rows FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
SELECT count(*) AS different FROM (SELECT id, ids::text FROM t EXCEPT SELECT id, ids::text FROM old) d;
-- NULL in its place keeps the dimensions; deleting the rows and getting them back changes nothing.
SELECT references_broken, rows_changed, rows_deleted FROM integrity.repair('t', action => 'null element', dry_run => false);
SELECT id, ids, (SELECT array_dims(o.ids) = array_dims(t.ids) FROM old o WHERE o.id = t.id) AS same_dimensions FROM t WHERE id IN (5, 6, 7) ORDER BY id;
SELECT outcome, rows FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
SELECT references_broken, rows_changed, rows_deleted FROM integrity.repair('t', action => 'delete row', dry_run => false);
SELECT outcome, rows FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
SELECT count(*) AS different FROM (SELECT id, ids::text FROM t EXCEPT SELECT id, ids::text FROM old) d;

-- A partition on a server that is down. (Foreign partitions are refused, unless somebody turns the event trigger off.)
CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA public;
CREATE SERVER down FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '/nonexistent', port '1');
CREATE USER MAPPING FOR CURRENT_USER SERVER down;
CREATE TABLE far (id int, ids int[]) PARTITION BY LIST (id);
CREATE TABLE far_here PARTITION OF far FOR VALUES IN (1);
SELECT integrity.add_reference('far', 'ids', 'k', enforced => false, on_delete => 'remove element');
ALTER EVENT TRIGGER integrity_complete_rule DISABLE;
CREATE FOREIGN TABLE far_there PARTITION OF far FOR VALUES IN (2) SERVER down;
ALTER EVENT TRIGGER integrity_complete_rule ENABLE ALWAYS;
INSERT INTO far VALUES (1, '{77777}');
SELECT rule_name, status, rows_checked, advice LIKE 'could not connect to server "down"%' AS reason
  FROM integrity_report() WHERE referenced_table = 'k'::regclass ORDER BY 1;
SELECT integrity.health() IS NOT NULL AS healthy_enough;
DROP SCHEMA odd CASCADE;
DROP EXTENSION postgres_fdw CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
