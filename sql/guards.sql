SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- The guards of a referenced table where it is referenced by more than one of its columns, where a key becomes NULL, and where
-- its row comes back. Guards: each column has keys of its own, and each rule its own time to look.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA guards;
SET search_path = guards, public;
-- RESTRICT has an SQLSTATE and a message of its own from PostgreSQL 18 on.
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  rule text;
BEGIN
  EXECUTE statement;
  RETURN 'done';
EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
  GET STACKED DIAGNOSTICS rule = CONSTRAINT_NAME;
  RETURN 'refused by ' || rule;
END $$;
CREATE TABLE k (id int PRIMARY KEY, alt int UNIQUE, code text UNIQUE);
CREATE TABLE t (n int PRIMARY KEY, ids int[], alts int[], codes text[]);
SELECT integrity.add_reference('t', 'ids', 'k');
SELECT integrity.add_reference('t', 'alts', 'k', 'alt', on_delete => 'restrict');
SELECT integrity.add_reference('t', 'codes', 'k', 'code', on_delete => 'remove element', on_update => 'cascade');
INSERT INTO k VALUES (1, 2, 'aa'), (2, 1, 'bb'), (3, 4, 'cc'), (4, 3, 'dd');

-- One statement deletes several keys of each column, which are the same numbers.
INSERT INTO t VALUES (1, NULL, '{1}', NULL);
SELECT outcome($$DELETE FROM k WHERE id IN (1, 2)$$);
SELECT outcome('DELETE FROM k WHERE id IN (2, 1) AND alt = 2');
INSERT INTO k VALUES (1, 2, 'aa');
UPDATE t SET ids = '{3}', alts = NULL;
DELETE FROM k WHERE id IN (3, 4);
\echo :SQLSTATE
UPDATE t SET ids = NULL, codes = '{aa,bb,cc,dd}';
DELETE FROM k WHERE id IN (3, 4);
SELECT * FROM t;

-- An update of one key is no concern of those who refer to another key of the row.
UPDATE t SET ids = '{1}', alts = '{1}';
UPDATE k SET id = 20 WHERE id = 2;
UPDATE k SET alt = 20 WHERE id = 1;
UPDATE k SET id = 10 WHERE id = 1;
\echo :SQLSTATE
UPDATE k SET alt = 10 WHERE id = 20;
\echo :SQLSTATE
UPDATE k SET code = 'b2' WHERE id = 20;
-- A key that becomes NULL goes away; one that was NULL was no key.
UPDATE k SET alt = NULL WHERE id = 20;
\echo :SQLSTATE
UPDATE k SET alt = NULL WHERE id = 1;
UPDATE k SET alt = 2 WHERE id = 1;
UPDATE k SET code = NULL WHERE id = 20;
UPDATE k SET code = 'bb' WHERE id = 20;
SELECT * FROM k ORDER BY id;
SELECT * FROM t;
SELECT rule_name, references_checked, references_broken FROM public.integrity_report('t');

-- The row is deleted and comes back in one statement: NO ACTION holds, RESTRICT does not wait for that.
UPDATE t SET ids = '{1}', alts = NULL, codes = NULL;
WITH gone AS (DELETE FROM k WHERE id = 1 RETURNING *) INSERT INTO k SELECT * FROM gone;
UPDATE t SET ids = NULL, alts = '{2}';
SELECT outcome($$WITH gone AS (DELETE FROM k WHERE id = 1 RETURNING *) INSERT INTO k SELECT * FROM gone$$);
-- RESTRICT looks before another rule's action has taken the reference away, for one key and for several.
SELECT integrity.add_reference('t', 'alts', 'k', 'alt', on_delete => 'delete row', rule_name => 'a_second_rule');
SELECT outcome($$DELETE FROM k WHERE id = 1$$);
SELECT outcome('DELETE FROM k');
SELECT * FROM t;
DELETE FROM t;
-- A rule that cannot work stops TRUNCATE, too.
DELETE FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND refobjid = 'k_alt_key'::regclass;
ALTER TABLE k DROP CONSTRAINT k_alt_key;
TRUNCATE k;
\echo :SQLSTATE
DELETE FROM k;
\echo :SQLSTATE
SELECT integrity.drop_reference('t', 'a_second_rule');
SELECT integrity.drop_reference('t', 't_alts_fkey');
TRUNCATE k;
DROP SCHEMA guards CASCADE;
