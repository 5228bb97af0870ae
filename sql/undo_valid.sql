-- Broken references that an undo brings back make their rule not valid again, if it was validated
-- meanwhile: an enforced and valid rule has no broken reference. Guards: array rules, foreign keys,
-- copies on partitions, the rules that are not concerned, the dry run, and the lock that validation waits for.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
CREATE SCHEMA undo_valid;
SET search_path = undo_valid, public;
CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k VALUES (1), (2);
CREATE TABLE t (id int, ids int[], one int, fine int[], PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (10);
CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);
INSERT INTO t VALUES (1, '{1,9}', 1, '{1}'), (11, '{2}', 9, '{2}');
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element', not_valid => true);
SELECT integrity.add_reference('t', 'fine', 'k', on_delete => 'remove element');
-- a foreign key of a partitioned table cannot be NOT VALID before 18; that of a partition can
ALTER TABLE t2 ADD CONSTRAINT t2_one_fkey FOREIGN KEY (one) REFERENCES k ON DELETE SET NULL NOT VALID;

SELECT run_id AS run FROM integrity.repair('t', dry_run => false) \gset
SELECT run_id AS run2 FROM integrity.repair('t2', dry_run => false) \gset
SELECT integrity.validate_reference('t', 't_ids_fkey');
SELECT integrity.validate_reference('t2', 't2_one_fkey');
CREATE VIEW valid AS
SELECT referencing_table, rule_name, validated FROM integrity.reference
 WHERE referencing_table IN ('t'::regclass, 't2'::regclass) ORDER BY 1, 2;
CREATE VIEW arguments AS
SELECT tgrelid::regclass AS "table", tgname, encode(tgargs, 'escape') AS arguments FROM pg_trigger
 WHERE tgname IN ('t_ids_fkey', 't_fine_fkey') ORDER BY tgname, tgrelid::regclass::text;
SELECT * FROM valid;
-- A dry run changes nothing.
SELECT outcome, rows FROM integrity.undo(:run);
SELECT * FROM valid;
-- Only the rule that gets something broken back, and each copy of it.
SELECT outcome, rows FROM integrity.undo(:run, dry_run => false);
SELECT * FROM valid;
SELECT * FROM arguments;
SELECT outcome, rows FROM integrity.undo(:run2, dry_run => false);
SELECT * FROM valid;
SELECT * FROM t ORDER BY id;
-- So validation fails, as it should, and a new row is checked all the same.
SELECT integrity.validate_reference('t', 't_ids_fkey');
\echo :SQLSTATE
INSERT INTO t VALUES (2, '{8}');
\echo :SQLSTATE
INSERT INTO t VALUES (12, '{1}', 8);
\echo :SQLSTATE
-- Not for anyone else's table, nor for what is no rule.
CREATE ROLE regress_undo_valid;
GRANT USAGE ON SCHEMA undo_valid TO regress_undo_valid;
SELECT oid AS rule FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname = 't_fine_fkey' \gset
SELECT oid AS fkey FROM pg_constraint WHERE conname = 't2_one_fkey' \gset
SELECT oid AS pkey FROM pg_constraint WHERE conname = 't_pkey' \gset
SET ROLE regress_undo_valid;
SELECT integrity.mark_not_valid(:rule, 0);
\echo :SQLSTATE
SELECT integrity.mark_not_valid(0, :fkey);
\echo :SQLSTATE
RESET ROLE;
SELECT integrity.mark_not_valid(0, :pkey);
\echo :SQLSTATE
SELECT integrity.mark_not_valid(0, 0);
\echo :SQLSTATE
DROP SCHEMA undo_valid CASCADE;
DELETE FROM integrity.run WHERE run_id IN (:run, :run2) OR undoes IN (:run, :run2);
DROP ROLE regress_undo_valid;
