-- A repair by a superuser runs the triggers of a table's owner, with the owner's rights. Guards: what such a
-- trigger SETs is gone before anything of ours runs with the superuser's rights; a deferred trigger does not
-- wait until these are back; the trigger function of the run log serves nobody else.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE ROLE regress_mallory;
CREATE SCHEMA mallory AUTHORIZATION regress_mallory;
SET ROLE regress_mallory;
CREATE TABLE mallory.s (id int PRIMARY KEY);
CREATE TABLE mallory.p (id int PRIMARY KEY, a int[]);
INSERT INTO mallory.s VALUES (1);
INSERT INTO mallory.p VALUES (1, '{1,9}'), (2, '{9}');
SELECT integrity.add_reference('mallory.p', 'a', 'mallory.s', on_delete => 'remove element', not_valid => true);
CREATE TABLE mallory.ran (who name, what text);
-- 1. A search_path that stays, and an operator that waits for it.
CREATE FUNCTION mallory.set_path() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  SET search_path = mallory, pg_catalog;
  INSERT INTO mallory.ran VALUES (current_user, 'trigger');
  RETURN NEW;
END $$;
CREATE TRIGGER set_path BEFORE UPDATE ON mallory.p FOR EACH ROW EXECUTE FUNCTION mallory.set_path();
CREATE FUNCTION mallory.cat(bigint[], bigint) RETURNS bigint[] LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO mallory.ran VALUES (current_user, 'operator');
  RETURN pg_catalog.array_append($1, $2);
END $$;
CREATE OPERATOR mallory.|| (LEFTARG = bigint[], RIGHTARG = bigint, FUNCTION = mallory.cat);
-- 2. A deferred trigger.
CREATE FUNCTION mallory.late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO mallory.ran VALUES (current_user, 'deferred trigger');
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON mallory.p DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION mallory.late();
RESET ROLE;
SHOW search_path;
SELECT run_id AS run, rows_changed FROM integrity.repair('mallory.p', dry_run => false) \gset
SHOW search_path;
SELECT outcome, rows FROM integrity.undo(:run, dry_run => false);
SHOW search_path;
CALL integrity.repair_in_batches('mallory.p', 'p_a_fkey') \gset
SHOW search_path;
-- All of it ran as the owner.
SELECT who, what, count(*) FROM mallory.ran GROUP BY 1, 2 ORDER BY 1, 2;

-- 3. The trigger function that empties a run, on a table of one's own.
SET ROLE regress_mallory;
CREATE TABLE mallory.t (run_id bigint);
CREATE TRIGGER x AFTER DELETE ON mallory.t REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION integrity.empty_run();
\echo :SQLSTATE
RESET ROLE;
CREATE TRIGGER x AFTER DELETE ON mallory.t REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION integrity.empty_run();
INSERT INTO mallory.t VALUES (:run);
DELETE FROM mallory.t;
\echo :SQLSTATE
SELECT count(*) FROM integrity.change WHERE run_id = :run;

-- 4. Numbers of runs to come, and a forged undo of somebody else's run.
CREATE TABLE hostile_s (id int PRIMARY KEY);
CREATE TABLE hostile_p (id int, a int[]);
INSERT INTO hostile_s VALUES (1);
INSERT INTO hostile_p VALUES (1, '{1,9}');
SELECT integrity.add_reference('hostile_p', 'a', 'hostile_s', on_delete => 'delete row', enforced => false);
SELECT run_id AS run FROM integrity.repair('hostile_p', dry_run => false) \gset
SET ROLE regress_mallory;
INSERT INTO integrity.run (run_id, kind) OVERRIDING SYSTEM VALUE VALUES (:run + 1, 'repair');
\echo :SQLSTATE
INSERT INTO integrity.run (kind, undoes) VALUES ('undo', :run);
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, before, undoes)
SELECT (SELECT max(run_id) FROM integrity.run WHERE role_name = 'regress_mallory'), 'mallory.t', 'x', 'mallory.t', '{}', change_id
  FROM generate_series(1, 100000) AS change_id;
RESET ROLE;
SELECT outcome, rows, reason FROM integrity.undo(:run, dry_run => false);
TABLE hostile_p;
DROP TABLE hostile_p, hostile_s;
-- 5. A trigger that tries to become whoever has called the repair, or the undo.
SET ROLE regress_mallory;
CREATE TABLE mallory.q (id int PRIMARY KEY, a int[]);
INSERT INTO mallory.q VALUES (1, '{1,9}');
SELECT integrity.add_reference('mallory.q', 'a', 'mallory.s', on_delete => 'remove element', not_valid => true);
CREATE FUNCTION mallory.escape() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  BEGIN
    RESET ROLE;
  EXCEPTION WHEN OTHERS THEN
    INSERT INTO mallory.ran VALUES (current_user, SQLERRM);
  END;
  BEGIN
    SET SESSION AUTHORIZATION DEFAULT;
  EXCEPTION WHEN OTHERS THEN
    INSERT INTO mallory.ran VALUES (current_user, SQLERRM);
  END;
  INSERT INTO mallory.ran VALUES (current_user, 'escape');
  RETURN NEW;
END $$;
CREATE TRIGGER escape BEFORE UPDATE ON mallory.q FOR EACH ROW EXECUTE FUNCTION mallory.escape();
TRUNCATE mallory.ran;
RESET ROLE;
SELECT run_id AS run, rows_changed FROM integrity.repair('mallory.q', dry_run => false) \gset
SELECT outcome, rows FROM integrity.undo(:run, dry_run => false);
SELECT who, what, count(*) FROM mallory.ran GROUP BY 1, 2 ORDER BY 1, 2;

-- 6. Where PostgreSQL refuses SET ROLE, a statement as another owner is refused as well.
CREATE MATERIALIZED VIEW hostile_m AS SELECT integrity.execute_as_owner('mallory.q', 'SELECT ARRAY[$1]', 1::bigint) WITH NO DATA;
SELECT integrity.execute_as_owner('mallory.q', 'SELECT ARRAY[$1]', 1::bigint);
REFRESH MATERIALIZED VIEW hostile_m;
\echo :SQLSTATE
DROP MATERIALIZED VIEW hostile_m;
-- 7. Figures for a run of somebody else's, and one more image for a run of one's own that is finished.
SELECT max(run_id) AS run FROM integrity.run WHERE role_name = current_user \gset
SET ROLE regress_mallory;
INSERT INTO integrity.run_rule (run_id, referencing_table, rule_name, status) VALUES (:run, 'mallory.q', 'q_a_fkey', 'ok');
\echo :SQLSTATE
DROP TRIGGER escape ON mallory.q;
ALTER TABLE mallory.q DISABLE TRIGGER q_a_fkey;
UPDATE mallory.q SET a = '{1,9}';
ALTER TABLE mallory.q ENABLE TRIGGER q_a_fkey;
BEGIN;
SELECT run_id AS run FROM integrity.repair('mallory.q', dry_run => false) \gset
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, before) VALUES (:run, 'mallory.q', 'q_a_fkey', 'mallory.q', '{}');
\echo :SQLSTATE
ROLLBACK;
RESET ROLE;
-- 8. A run that has changed a table of somebody else's, too, is not undone by half.
SET ROLE regress_mallory;
CREATE TABLE mallory.m (id int PRIMARY KEY, a int[]);
INSERT INTO mallory.m VALUES (1, '{9}');
SELECT integrity.add_reference('mallory.m', 'a', 'mallory.s', on_delete => 'delete row', not_valid => true);
RESET ROLE;
CREATE TABLE hostile_c (id int PRIMARY KEY, m int REFERENCES mallory.m ON DELETE CASCADE);
INSERT INTO hostile_c VALUES (1, 1);
SELECT run_id AS run, rows_deleted FROM integrity.repair('mallory.m', dry_run => false) \gset
SET ROLE regress_mallory;
\set VERBOSITY terse
SELECT outcome, rows FROM integrity.undo(:run, dry_run => false);
\echo :SQLSTATE
RESET ROLE;
SELECT changed_table, outcome, rows FROM integrity.undo(:run, dry_run => false);
DROP TABLE hostile_c;
DROP SCHEMA mallory CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
DROP ROLE regress_mallory;
