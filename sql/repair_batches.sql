-- repair_in_batches(): a commit per batch.
-- Guards: the same rows are changed as by repair(); an interruption keeps the batches before it, and
-- another call does the rest; no transaction block; nothing of the session's settings is lost.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never

SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE SCHEMA batch;
SET search_path = batch;
CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k VALUES (1), (2), (3);
CREATE TABLE t (id int PRIMARY KEY, ids int[]);
-- 250 rows lose an element, 50 run empty, 100 are whole
INSERT INTO t SELECT n, ARRAY[1, n + 3, 2] FROM generate_series(1, 250) AS n;
INSERT INTO t SELECT n, ARRAY[n] FROM generate_series(251, 300) AS n;
INSERT INTO t SELECT n, '{1,2,3}' FROM generate_series(301, 400) AS n;
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element', on_empty => 'delete row', enforced => false);
SELECT rule_name, references_broken, rows_changed, rows_deleted FROM integrity.repair('t');

-- In a transaction block and in a function: refused, and nothing was done.
BEGIN;
CALL integrity.repair_in_batches('t', 't_ids_fkey');
\echo :SQLSTATE
ROLLBACK;
CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$DECLARE run bigint; BEGIN CALL integrity.repair_in_batches('t', 't_ids_fkey', run_id => run); END$$;
SELECT f();
\echo :SQLSTATE
-- What is wrong with the call is told before anything is done.
CALL integrity.repair_in_batches('t', 'none');
CALL integrity.repair_in_batches(NULL, 'none');
CALL integrity.repair_in_batches('t', NULL);
CALL integrity.repair_in_batches('t', 't_ids_fkey', batch_rows => 0);
CALL integrity.repair_in_batches('t', 't_ids_fkey', batch_rows => NULL);
CALL integrity.repair_in_batches('t', 't_ids_fkey', 'mend');
CALL integrity.repair_in_batches('t', 't_ids_fkey', 'set default');
SELECT count(*) AS runs FROM integrity.run WHERE run_id > :before;

-- A trigger interrupts it in the midst. 100 rows in one batch, so 2 batches are done: 200 rows.
CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no further'; END$$;
CREATE TRIGGER stop BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.id = 222) EXECUTE FUNCTION stop();
CALL integrity.repair_in_batches('t', 't_ids_fkey', batch_rows => 100);
\echo :SQLSTATE
SELECT count(*) FILTER (WHERE ids = '{1,2}') AS mended, count(*) FILTER (WHERE ids <> '{1,2}' AND id <= 300) AS broken, count(*) AS rows FROM t;
SELECT r.parameters, r.finished, u.rule_name, u.action, u.references_broken, u.references_broken_after, u.rows_changed, u.rows_deleted
  FROM integrity.run r JOIN integrity.run_rule u USING (run_id) WHERE run_id > :before;
SELECT count(*), count(DISTINCT xmin::text) AS transactions FROM integrity.change WHERE run_id > :before;

-- Another call does the rest.
DROP TRIGGER stop ON t;
CALL integrity.repair_in_batches('t', 't_ids_fkey', batch_rows => 100) \gset
SELECT references_broken AS broken, rows_changed, rows_deleted, references_broken_after AS after FROM integrity.run_rule WHERE run_id = :run_id;
SELECT count(*) FILTER (WHERE ids = '{1,2}') AS mended, count(*) FILTER (WHERE ids = '{1,2,3}') AS whole, count(*) AS rows FROM t;
SELECT r.finished IS NOT NULL AS finished, u.references_broken, u.references_broken_after, u.rows_changed, u.rows_deleted
  FROM integrity.run r JOIN integrity.run_rule u USING (run_id) WHERE run_id > :before ORDER BY run_id;
SELECT count(*) FILTER (WHERE after IS NOT NULL) AS changed, count(*) FILTER (WHERE after IS NULL) AS deleted
  FROM integrity.change WHERE run_id > :before;
SELECT status FROM public.integrity_report('t');
-- A third finds nothing, and tells so; the search_path is what it was.
RESET client_min_messages;
CALL integrity.repair_in_batches('t', 't_ids_fkey') \gset
SET client_min_messages = warning;
CALL integrity.repair_in_batches('t', 't_ids_fkey', 'delete row') \gset
SELECT references_broken AS broken, rows_changed, rows_deleted, references_broken_after AS after FROM integrity.run_rule WHERE run_id = :run_id;
SHOW search_path;

-- Cascades, and one row in a batch.
CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE);
INSERT INTO c VALUES (1, 301), (2, 302), (3, 303);
UPDATE t SET ids = '{9}' WHERE id IN (301, 302);
CALL integrity.repair_in_batches('t', 't_ids_fkey', 'delete row', 1) \gset
SELECT references_broken AS broken, rows_changed, rows_deleted, references_broken_after AS after FROM integrity.run_rule WHERE run_id = :run_id;
TABLE c;

-- The rule is dropped between two batches: what is done stays, the rest is left alone.
UPDATE t SET ids = '{9,1}' WHERE id > 390;
CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM integrity.drop_reference('t', 't_ids_fkey'); RETURN NULL; END$$;
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO batch.marks VALUES (NEW.id); RETURN NULL; END$$;
CREATE TABLE marks (id int);
CREATE CONSTRAINT TRIGGER drop_it AFTER INSERT ON marks DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id = 392) EXECUTE FUNCTION drop_it();
CREATE TRIGGER mark AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION mark();
CALL integrity.repair_in_batches('t', 't_ids_fkey', batch_rows => 3);
\echo :SQLSTATE
SELECT count(*) FILTER (WHERE ids = '{1}') AS mended, count(*) FILTER (WHERE ids = '{9,1}') AS left_alone FROM t WHERE id > 390;
SELECT finished, rows_changed FROM integrity.run JOIN integrity.run_rule USING (run_id) WHERE run_id = (SELECT max(run_id) FROM integrity.run);

DROP SCHEMA batch CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
RESET client_min_messages;
