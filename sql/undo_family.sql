SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- undo() of any run of a family: a repair, undos of it, undos of these. Guards: what one of them has put back or taken away
-- is not put back or taken away once more by another; rows without a key would be there twice, or one too many would go.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA undo_family;
SET search_path = undo_family, public;
CREATE TABLE s (id int PRIMARY KEY);
CREATE TABLE p (id int, a int[]);
INSERT INTO s VALUES (1);
SELECT integrity.add_reference('p', 'a', 's', on_delete => 'delete row', not_valid => true);
SET session_replication_role = replica;
-- two alike
INSERT INTO p VALUES (1, '{1,9}'), (2, '{8}'), (2, '{8}'), (3, '{1}');
RESET session_replication_role;
CREATE FUNCTION undo(run bigint) RETURNS TABLE (run_id bigint, outcome text, rows bigint, reason text, rows_before bigint) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT u.run_id, u.outcome, u.rows, u.reason, (SELECT count(*) FROM p) FROM integrity.undo(run, false) u;
END $$;

SELECT DISTINCT run_id AS r1 FROM integrity.repair('p', dry_run => false) \gset
SELECT max(run_id) AS r2, sum(rows) FILTER (WHERE outcome = 'restored') AS restored, max(rows_before) AS before FROM undo(:r1) \gset
\echo undo of 1: :restored restored, :before before
SELECT max(run_id) AS r3, sum(rows) FILTER (WHERE outcome = 'restored') AS restored, max(rows_before) AS before FROM undo(:r2) \gset
\echo undo of 2: :restored restored, :before before
SELECT max(run_id) AS r4, sum(rows) FILTER (WHERE outcome = 'restored') AS restored, max(rows_before) AS before FROM undo(:r1) \gset
\echo undo of 1: :restored restored, :before before
-- 4 has put back what 3 took away, and 1 before it; 4 is to be undone, which is what 2 did, too
SELECT outcome, rows, reason, rows_before FROM undo(:r3);
SELECT outcome, rows, reason, rows_before FROM undo(:r1);
BEGIN;
SELECT outcome, rows, reason, rows_before FROM undo(:r2);
SELECT outcome, rows, reason, rows_before FROM undo(:r4);
ROLLBACK;
SELECT max(run_id) AS r5, sum(rows) FILTER (WHERE outcome = 'restored') AS restored, max(rows_before) AS before FROM undo(:r4) \gset
\echo undo of 4: :restored restored, :before before
SELECT outcome, rows, reason, rows_before FROM undo(:r2);
-- again by 3, then there is nothing for 5, nor for 1
SELECT outcome, rows, reason, rows_before FROM undo(:r3);
SELECT outcome, rows, reason, rows_before FROM undo(:r5);
SELECT outcome, rows, reason, rows_before FROM undo(:r1);
SELECT * FROM p ORDER BY id;

-- A part of a run that came back later than the rest, by another undo: each row goes its own way.
DELETE FROM integrity.run;
SELECT DISTINCT run_id AS r1 FROM integrity.repair('p', dry_run => false) \gset
ALTER TABLE p ADD CONSTRAINT small CHECK (id < 2 OR id = 3) NOT VALID;
SELECT max(run_id) AS r2 FROM undo(:r1) \gset
ALTER TABLE p DROP CONSTRAINT small;
SELECT max(run_id) AS r3 FROM undo(:r2) \gset
SELECT * FROM p ORDER BY id;
SELECT outcome, rows, reason, rows_before FROM undo(:r1);
SELECT outcome, rows, reason, rows_before FROM undo(:r3);
-- row 1 was of 2 and is there: that can take it away again; the others were not
SELECT outcome, rows, reason, rows_before FROM undo(:r2);
SELECT * FROM p ORDER BY id;

-- The repair is forgotten: its undos still know of each other.
DELETE FROM integrity.run;
TRUNCATE p;
SET session_replication_role = replica;
INSERT INTO p VALUES (1, '{1,9}');
RESET session_replication_role;
SELECT DISTINCT run_id AS r1 FROM integrity.repair('p', dry_run => false) \gset
SELECT max(run_id) AS r2 FROM undo(:r1) \gset
SELECT max(run_id) AS r3 FROM undo(:r2) \gset
SELECT max(run_id) AS r4 FROM undo(:r1) \gset
DELETE FROM integrity.run WHERE run_id = :r1;
SELECT outcome, rows, reason, rows_before FROM undo(:r3);
SELECT outcome, rows, reason, rows_before FROM undo(:r4);
SELECT outcome, rows, reason, rows_before FROM undo(:r2);

-- A change of another table that claims to be the undo of this one is not believed; nor do runs that undo each other
-- in a circle keep undo() from ending.
CREATE TABLE other (id int);
INSERT INTO integrity.run (kind, undoes) VALUES ('undo', :r3) RETURNING run_id AS r6 \gset
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, before, undoes)
SELECT :r6, 'other', 'x', 'other', '{"id": "1"}', change_id FROM integrity.change WHERE run_id = :r3;
INSERT INTO integrity.run (kind, undoes) VALUES ('undo', :r6 + 2), ('undo', :r6 + 1);
SELECT outcome, rows, reason, rows_before FROM undo(:r3);
SELECT outcome, rows, reason, rows_before FROM undo(:r6 + 1);
SELECT * FROM p;

DELETE FROM integrity.run;
RESET search_path;
DROP SCHEMA undo_family CASCADE;
