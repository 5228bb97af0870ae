SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- undo() on tables with deferrable constraints: what is in the way of a row is known when the row is written, not at
-- the commit. Guards: one such row is left alone, and listed, a dry run says the same, and all others come back; a
-- commit that fails would take back everything, each time anew.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA undo_deferred;
SET search_path = undo_deferred, public;
CREATE TABLE s (id int PRIMARY KEY);
INSERT INTO s VALUES (1);

-- A primary key, another unique constraint, one of exclusion.
CREATE TABLE p (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a int[], word text UNIQUE DEFERRABLE INITIALLY DEFERRED,
  span int4range, CONSTRAINT apart EXCLUDE USING gist (span WITH &&) DEFERRABLE INITIALLY DEFERRED);
SELECT integrity.add_reference('p', 'a', 's', on_delete => 'delete row', not_valid => true);
SET session_replication_role = replica;
INSERT INTO p SELECT g, '{1,9}', 'w' || g, int4range(10 * g, 10 * g + 10) FROM generate_series(1, 4) g;
RESET session_replication_role;
SELECT DISTINCT run_id AS run FROM integrity.repair('p', dry_run => false) \gset
INSERT INTO p VALUES (1, '{1}', 'mine', NULL), (12, '{1}', 'w2', NULL), (13, '{1}', 'other', '[32,33)');
SELECT outcome, rows, row_key, reason FROM integrity.undo(:run);
SELECT outcome, rows, row_key, reason FROM integrity.undo(:run, false);
SELECT * FROM p ORDER BY id;
-- deferred everywhere else, and for the same transaction afterwards
BEGIN;
DELETE FROM p WHERE id = 12;
SELECT outcome, rows, row_key, reason FROM integrity.undo(:run, false);
INSERT INTO p VALUES (4, '{1}', 'again', NULL);
UPDATE p SET id = 14 WHERE word = 'again';
COMMIT;
SELECT id, word FROM p ORDER BY id;
-- Rows that swap a unique value come back in one statement.
DELETE FROM integrity.run;
TRUNCATE p;
SET session_replication_role = replica;
INSERT INTO p VALUES (1, '{1}', 'y', NULL), (2, '{1}', 'x', NULL);
RESET session_replication_role;
INSERT INTO integrity.run (kind) VALUES ('repair') RETURNING run_id AS run \gset
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, row_key, before, after) VALUES
  (:run, 'p', 'p_a_fkey', 'p', '{"id": 1}', '{"id": "1", "a": "{1}", "word": "x", "span": null}', '{"word": "y"}'),
  (:run, 'p', 'p_a_fkey', 'p', '{"id": 2}', '{"id": "2", "a": "{1}", "word": "y", "span": null}', '{"word": "x"}');
SELECT outcome, rows, row_key, reason FROM integrity.undo(:run, false);
SELECT id, word FROM p ORDER BY id;

-- A constraint trigger.
CREATE TABLE q (id int PRIMARY KEY, a int[]);
SELECT integrity.add_reference('q', 'a', 's', on_delete => 'delete row', not_valid => true);
SET session_replication_role = replica;
INSERT INTO q SELECT g, '{1,9}' FROM generate_series(1, 3) g;
RESET session_replication_role;
SELECT DISTINCT run_id AS run FROM integrity.repair('q', dry_run => false) \gset
CREATE FUNCTION odd_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.id % 2 = 0 THEN RAISE check_violation USING MESSAGE = 'an even number'; END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER odd_only AFTER INSERT OR UPDATE ON q DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION odd_only();
SELECT outcome, rows, row_key, reason FROM integrity.undo(:run);
SELECT outcome, rows, row_key, reason FROM integrity.undo(:run, false);
SELECT * FROM q ORDER BY id;

DELETE FROM integrity.run;
RESET search_path;
DROP SCHEMA undo_deferred CASCADE;
