SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- Who may read, write, undo and forget what is in the run log. Guards: images of a table's rows are a matter of its owner,
-- nobody can slip a change to another owner's undo, an undo is whole or refused, code of a table's owner runs with the owner's
-- rights and no others, and forget() takes nothing that is still needed.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DELETE FROM integrity.run;
CREATE ROLE regress_log_alice;
CREATE ROLE regress_log_bob;
CREATE ROLE regress_log_staff IN ROLE regress_log_alice;
CREATE ROLE regress_log_noinherit NOINHERIT IN ROLE regress_log_alice;
CREATE SCHEMA run_log;
GRANT USAGE, CREATE ON SCHEMA run_log TO regress_log_alice, regress_log_bob, regress_log_staff;
SET search_path = run_log, public;
CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k VALUES (1), (2);
GRANT SELECT, REFERENCES ON k TO regress_log_alice, regress_log_bob;

SET ROLE regress_log_alice;
CREATE TABLE a (id int PRIMARY KEY, ids int[], secret text);
CREATE TABLE a_child (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE);
INSERT INTO a VALUES (1, '{1,50}', 'alice only'), (2, '{51}', 'alice only'), (3, '{2}', 'whole');
INSERT INTO a_child VALUES (10, 2);
SELECT integrity.add_reference('a', 'ids', 'k', not_valid => true, on_delete => 'remove element', rule_name => 'ids');
SELECT run_id, rows_changed, rows_deleted FROM integrity.repair('a', 'ids', dry_run => false) \gset
SELECT outcome, rows, reason FROM integrity.undo(:run_id);

-- Others see that there was a run, and nothing of the rows; they cannot undo, change or forget it, nor write in its name.
SET ROLE regress_log_bob;
SELECT kind, role_name FROM integrity.run;
SELECT count(*) FROM integrity.change;
SELECT count(*) FROM integrity.run_rule;
SELECT * FROM integrity.undo(:run_id);
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.forget('infinity');
DELETE FROM integrity.run;
UPDATE integrity.run SET finished = NULL;
INSERT INTO integrity.run (kind, role_name) VALUES ('repair', 'regress_log_alice');
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, before) VALUES (:run_id, 'a', 'ids', 'a', '{"id": "66"}');
UPDATE integrity.change SET after = NULL;
UPDATE integrity.change SET before = NULL;
DELETE FROM integrity.change;
-- not by the functions that undo() uses either
SELECT integrity.write_unchecked('a', 'public', 'DELETE FROM run_log.a', 1);
SELECT integrity.check_restored('a', '(0,1)', NULL, NULL);
SELECT integrity.write_unchecked(NULL, 'public', 'SELECT 1', 1);
SELECT integrity.check_restored(NULL, NULL, NULL, NULL);

-- Nothing can be added to a run that is finished, not even about a table of one's own: it would bar the others from undoing it.
CREATE TABLE b (id int PRIMARY KEY, ids int[]);
INSERT INTO b VALUES (1, '{1}');
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, before) VALUES (:run_id, 'b', 'ids', 'b', '{}');
-- Changes of two owners in one run, as in one of a superuser: neither can undo it, a superuser can.
RESET ROLE;
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, row_key, before, after)
VALUES (:run_id, 'b', 'ids', 'b', '{"id": 1}', '{"id": "1", "ids": "{1,60}"}', '{"ids": "{1}"}');
SET ROLE regress_log_bob;
SELECT * FROM integrity.undo(:run_id);
SET ROLE regress_log_alice;
SELECT * FROM integrity.undo(:run_id);
SELECT count(*), bool_and(changed_table = 'a'::regclass) AS own FROM integrity.change;
RESET ROLE;
BEGIN;
SELECT changed_table, outcome, rows, reason FROM integrity.undo(:run_id, false);
SELECT * FROM b;
ROLLBACK;
-- A change cannot be moved to another table's owner.
SET ROLE regress_log_bob;
UPDATE integrity.change SET changed_table = 'a';
DELETE FROM integrity.change;

-- Members of the owner's role may, where they could SET ROLE; each run is its own role's.
SET ROLE regress_log_staff;
SELECT outcome, rows, reason FROM integrity.undo(:run_id, false);
SELECT * FROM a ORDER BY id;
SELECT kind, role_name, finished IS NOT NULL AS finished FROM integrity.run ORDER BY run_id;
SET ROLE regress_log_noinherit;
SELECT count(*) FROM integrity.change;
SELECT * FROM integrity.undo(:run_id);

-- A superuser's undo runs the triggers, the checks of domains and the CHECK constraints of a table as its owner; row-level security
-- does not hide rows from it.
RESET ROLE;
DELETE FROM integrity.run;
SET ROLE regress_log_alice;
CREATE FUNCTION who(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF current_user <> 'regress_log_alice' THEN RAISE 'code of the owner run by % for a %', current_user, what; END IF;
  RETURN true;
END $$;
CREATE FUNCTION who() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM run_log.who(TG_OP || ' trigger'); RETURN NEW; END $$;
CREATE DOMAIN spy AS text CHECK (who('domain'));
CREATE TABLE c (id spy PRIMARY KEY, ids int[], s spy, CHECK (who('constraint')), gen boolean GENERATED ALWAYS AS (ids IS NULL) STORED);
CREATE TRIGGER b BEFORE INSERT OR UPDATE ON c FOR EACH ROW EXECUTE FUNCTION who();
CREATE TRIGGER a AFTER INSERT OR UPDATE ON c FOR EACH ROW EXECUTE FUNCTION who();
CREATE TRIGGER s AFTER INSERT OR UPDATE ON c FOR EACH STATEMENT EXECUTE FUNCTION who();
INSERT INTO c VALUES ('x', '{1,70}', 'y'), ('z', '{71}', NULL);
SELECT integrity.add_reference('c', 'ids', 'k', not_valid => true, on_delete => 'remove element', rule_name => 'ids');
ALTER TABLE c ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
RESET ROLE;
SELECT run_id FROM integrity.repair('c', 'ids', dry_run => false) \gset
SELECT outcome, rows, reason FROM integrity.undo(:run_id, false);
SELECT max(run_id) AS run_id FROM integrity.run \gset
SELECT outcome, rows, reason FROM integrity.undo(:run_id, false);
SELECT run_id FROM integrity.undo(:run_id) LIMIT 0;
ALTER TABLE c NO FORCE ROW LEVEL SECURITY;
SET row_security = off;
SET ROLE regress_log_alice;
INSERT INTO c VALUES ('w', '{1}', 'y');
UPDATE c SET ids = '{72}' WHERE id = 'w';
RESET ROLE;
RESET row_security;
SELECT id, ids, s FROM c ORDER BY id;

-- The checks are back for the owner, too, who is no superuser: native foreign keys came and went unchecked only in undo().
SET ROLE regress_log_alice;
INSERT INTO a_child VALUES (11, 99);
-- The owner may use what undo() uses; still only the statement's own rows of that table go unchecked.
SELECT integrity.write_unchecked('a_child', 'public', 'WITH i AS (INSERT INTO run_log.a_child VALUES ($1, 98) RETURNING id), '
  'j AS (INSERT INTO run_log.a VALUES ($1, ''{97}'') RETURNING id) SELECT ARRAY[id]::bigint[] FROM i', 12);
SELECT integrity.write_unchecked('a_child', 'public', 'WITH i AS (INSERT INTO run_log.a_child VALUES ($1, 98) RETURNING id) SELECT ARRAY[id]::bigint[] FROM i', 12);
SELECT integrity.check_restored('a_child', ctid, NULL, NULL) FROM a_child WHERE id = 12;
SELECT integrity.check_restored('a_child', ctid, NULL, '{"a_child_a_fkey": ["97"], "other": ["98"]}') FROM a_child WHERE id = 12;
SELECT integrity.check_restored('a_child', ctid, NULL, '{"a_child_a_fkey": ["97", 98, {}, null, "98"]}') FROM a_child WHERE id = 12;
SELECT integrity.check_restored('a_child', ctid, '{"id": "12", "a": "98"}', NULL) FROM a_child WHERE id = 12;
SELECT integrity.check_restored('a_child', ctid, '{"id": "12", "a": "97"}', '[]') FROM a_child WHERE id = 12;
SELECT integrity.check_restored('a_child', '(0,999)', NULL, NULL), integrity.check_restored('a_child', '(9999,1)', NULL, NULL);
UPDATE a_child SET a = 98 WHERE id = 12;
DELETE FROM a_child WHERE id = 12;
-- An error in the statement leaves nothing armed.
SELECT integrity.write_unchecked('a_child', 'public', 'no statement', 1);
SELECT integrity.write_unchecked('a_child', 'public', 'INSERT INTO run_log.a_child VALUES (12, 1/0)', 1);
INSERT INTO a_child VALUES (12, 98);
RESET ROLE;

-- forget(): own runs only, not those of others; an undo stays as long as what it took back.
DELETE FROM integrity.run;
SET ROLE regress_log_bob;
INSERT INTO integrity.run (kind, started) VALUES ('repair', '2020-01-01') RETURNING run_id AS bobs \gset
INSERT INTO integrity.run (kind, started, undoes) VALUES ('undo', '2020-01-02', :bobs) RETURNING run_id AS undo \gset
INSERT INTO integrity.run (kind, started, undoes) VALUES ('undo', '2020-01-03', :undo);
INSERT INTO integrity.run (kind, started) VALUES ('repair', '2022-01-01');
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, before) VALUES (:bobs, 'b', 'ids', 'b', '{}');
SET ROLE regress_log_alice;
INSERT INTO integrity.run (kind, started, undoes) VALUES ('undo', '2019-01-01', :bobs);
INSERT INTO integrity.run (kind, started) VALUES ('report', '2019-01-01');
SELECT integrity.forget('2021-01-01');
SET ROLE regress_log_bob;
SELECT integrity.forget('2020-01-01'), integrity.forget('2020-01-02 12:00'), integrity.forget(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.forget('2020-01-01') AS forgotten;
SELECT kind, role_name, undoes IS NOT NULL AS undoes FROM integrity.run ORDER BY run_id;
SELECT integrity.forget('2020-01-02 12:00') AS forgotten;
SELECT kind, role_name, started::date, undoes IS NOT NULL AS undoes FROM integrity.run ORDER BY run_id;
SELECT count(*) FROM integrity.change;
RESET ROLE;
SELECT integrity.forget('infinity') AS forgotten;
SELECT count(*) FROM integrity.run;

-- Temporary tables: undone in their own session.
CREATE TEMP TABLE tmp (id int, ids int[]);
INSERT INTO tmp VALUES (1, '{1,90}');
SELECT integrity.add_reference('tmp', 'ids', 'k', not_valid => true, on_delete => 'set null', rule_name => 'ids');
\echo :LAST_ERROR_SQLSTATE
WITH r AS (INSERT INTO integrity.run (kind) VALUES ('repair') RETURNING run_id), u AS (UPDATE tmp SET ids = NULL)
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, before, after)
SELECT run_id, 'tmp', 'ids', 'tmp', '{"id": "1", "ids": "{1,90}"}', '{"ids": null}' FROM r RETURNING run_id \gset
SELECT changed_table, outcome, rows, reason FROM integrity.undo(:run_id, false);
TABLE tmp;
DROP TABLE tmp;

DELETE FROM integrity.run;
RESET search_path;
DROP SCHEMA run_log CASCADE;
DROP ROLE regress_log_staff, regress_log_noinherit, regress_log_alice, regress_log_bob;
