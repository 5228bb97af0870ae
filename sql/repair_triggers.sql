-- Triggers that have their own ideas about what a repair does, and rows too large for a batch of a thousand. Guards:
-- what an AFTER trigger makes of a mended row is in the log, so that undo() knows the row again; a trigger that brings
-- deleted rows back does not keep the repair for ever; batches shrink where rows are large.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE SCHEMA repair_triggers;
SET search_path = repair_triggers, public;
CREATE TABLE s (id int PRIMARY KEY);
INSERT INTO s VALUES (1);
CREATE TABLE s2 (id int PRIMARY KEY);
CREATE TABLE p (id int PRIMARY KEY, a int[], b int[], n int DEFAULT 0);
INSERT INTO p VALUES (1, '{1,9}', '{7}'), (2, '{8}', NULL), (3, '{1}', '{7}'), (4, '{1}', NULL);
CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE repair_triggers.p SET n = n + 1 WHERE id = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER count_up AFTER UPDATE OF a, b ON p FOR EACH ROW EXECUTE FUNCTION count_up();
SELECT integrity.add_reference('p', 'a', 's', on_delete => 'remove element', not_valid => true);
SELECT integrity.add_reference('p', 'b', 's2', on_delete => 'set null', not_valid => true);
CREATE TABLE old AS SELECT * FROM p;
SELECT rule_name, references_broken, rows_changed FROM integrity.repair('p', dry_run => false);
SELECT * FROM p ORDER BY id;
SELECT rule_name, row_key, before, after, broken FROM integrity.change WHERE run_id > :before ORDER BY row_key;
SELECT outcome, rows, reason FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
-- but for n, which the trigger counts up once more
SELECT id, a, b FROM p EXCEPT SELECT id, a, b FROM old;

-- A trigger that inserts again what was deleted.
CREATE TABLE back (id int PRIMARY KEY, a int[]);
INSERT INTO back VALUES (1, '{9}');
CREATE FUNCTION come_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO repair_triggers.back VALUES (OLD.*);
  RETURN NULL;
END $$;
CREATE TRIGGER come_back AFTER DELETE ON back FOR EACH ROW EXECUTE FUNCTION come_back();
SELECT integrity.add_reference('back', 'a', 's', on_delete => 'delete row', enforced => false);
SELECT rows_deleted > 0 AS it_tried FROM integrity.repair('back');
SELECT * FROM back;

-- Rows of 2 MB: few of them in a batch.
CREATE TABLE large (id int PRIMARY KEY, one int, t text);
INSERT INTO large SELECT g, 9, repeat('x', 2000000) FROM generate_series(1, 40) g;
ALTER TABLE large ALTER t SET STORAGE EXTERNAL;
UPDATE large SET t = t || 'y';
ALTER TABLE large ADD CONSTRAINT large_one_fkey FOREIGN KEY (one) REFERENCES s ON DELETE SET NULL NOT VALID;
SELECT integrity.rows_of_a_batch('large') BETWEEN 1 AND 30 AS few, integrity.rows_of_a_batch('s') AS many, integrity.rows_of_a_batch('p') AS p;
-- No table, no crash, no wrong message.
CALL integrity.repair_in_batches(99999, 'x');
\echo :SQLSTATE
DROP SCHEMA repair_triggers CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
