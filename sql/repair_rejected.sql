-- A rule that rejects duplicate or NULL elements and is not valid: rows that hold them already can be edited, and so
-- repaired and undone; only more of them are refused. Guards: what an event adds is what it is judged by.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE SCHEMA rejected;
SET search_path = rejected, public;
CREATE TABLE s (id int PRIMARY KEY);
INSERT INTO s VALUES (1), (2), (3);
CREATE TABLE p (id int PRIMARY KEY, a int[]);
INSERT INTO p VALUES (1, '{1,9,9}'), (2, '{7,7}'), (3, '{1,1,9}'), (4, '{NULL,9,1}'), (5, '{NULL,1,NULL}');
SELECT integrity.add_reference('p', 'a', 's', on_delete => 'remove element', not_valid => true,
                               duplicate_elements => 'reject', null_elements => 'reject');
-- Edits: as many as there were, or fewer.
UPDATE p SET a = '{2,1,1}' WHERE id = 3;
UPDATE p SET a = '{1,1,1,2}' WHERE id = 3;
\echo :SQLSTATE
UPDATE p SET a = '{3,NULL,NULL}' WHERE id = 5;
UPDATE p SET a = '{3,NULL,NULL,NULL}' WHERE id = 5;
\echo :SQLSTATE
INSERT INTO p VALUES (6, '{1,1}');
\echo :SQLSTATE
UPDATE p SET a = '{1,1,9}' WHERE id = 3;
\echo :SQLSTATE
CREATE TABLE before AS SELECT * FROM p;
SELECT references_broken, rows_changed, rows_deleted FROM integrity.repair('p', dry_run => false);
SELECT * FROM p ORDER BY id;
SELECT outcome, rows, reason FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
SELECT * FROM p EXCEPT SELECT * FROM before;
-- Deleted rows come back as they were, too.
SELECT references_broken, rows_changed, rows_deleted FROM integrity.repair('p', action => 'delete row', dry_run => false);
SELECT outcome, rows, reason FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
SELECT * FROM before EXCEPT SELECT * FROM p;

-- A trigger and a foreign key of one name: nothing guesses which one is meant.
ALTER TABLE p ADD one int;
ALTER TABLE p ADD CONSTRAINT p_a_fkey FOREIGN KEY (one) REFERENCES s ON DELETE SET NULL NOT VALID;
SELECT kind, advice FROM integrity_report('p') ORDER BY kind;
SELECT integrity.repair('p', 'p_a_fkey');
\echo :SQLSTATE
SELECT * FROM integrity.broken_references('p', 'p_a_fkey');
\echo :SQLSTATE
SELECT integrity.validate_reference('p', 'p_a_fkey');
\echo :SQLSTATE
SELECT integrity.drop_reference('p', 'p_a_fkey');
\echo :SQLSTATE
ALTER TABLE rejected.p RENAME CONSTRAINT p_a_fkey TO p_a_fkey_native;
SELECT kind, status, advice FROM integrity_report('p') ORDER BY kind;
-- Advice for columns that cannot be NULL, or not be set, is to delete the row.
CREATE DOMAIN nn AS int NOT NULL;
CREATE DOMAIN nnn AS nn;
CREATE TABLE q (base int, made int GENERATED ALWAYS AS (base) STORED, dom nnn DEFAULT 1, "x, y" int NOT NULL DEFAULT 1, free int);
INSERT INTO q VALUES (9, DEFAULT, 9, 9, 9);
ALTER TABLE q ADD CONSTRAINT made FOREIGN KEY (made) REFERENCES s NOT VALID,
  ADD CONSTRAINT dom FOREIGN KEY (dom) REFERENCES s NOT VALID, ADD CONSTRAINT xy FOREIGN KEY ("x, y") REFERENCES s NOT VALID,
  ADD CONSTRAINT free FOREIGN KEY (free) REFERENCES s NOT VALID;
SELECT rule_name, status, advice FROM integrity_report('q') ORDER BY 1;
-- Each of them runs.
SELECT advice FROM integrity_report('q') ORDER BY rule_name \gexec
DROP SCHEMA rejected CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
