-- repair(): every action on every kind of rule, and what it must leave alone.
-- Guards: order, NULLs, duplicates and bounds of arrays; other columns; the dry run, which
-- tells the figures of the real one; a second repair finds nothing; which action is taken.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never

SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
-- Quiet about missing GIN indexes.
CREATE SCHEMA mend;
SET search_path = mend;
CREATE TABLE k (id int PRIMARY KEY, code text UNIQUE);
INSERT INTO k VALUES (1, 'a'), (2, 'b'), (3, 'c');

-- Does the dry run what the run does? It is called twice, for a second dry run must find the same.
CREATE FUNCTION repair_and_compare(regclass, name DEFAULT NULL, text DEFAULT NULL) RETURNS TABLE (
  rule_name name, action text, refs bigint, changed bigint, deleted bigint)
LANGUAGE plpgsql AS $$
DECLARE
  dry text; again text; real text; runs bigint;
BEGIN
  SELECT count(*) INTO runs FROM integrity.run;
  SELECT string_agg(concat_ws('|', r.run_id, r.rule_name, r.action, r.references_broken, r.rows_changed, r.rows_deleted, r.dry_run), e'\n')
    INTO dry FROM integrity.repair($1, $2, $3) AS r;
  SELECT string_agg(concat_ws('|', r.run_id, r.rule_name, r.action, r.references_broken, r.rows_changed, r.rows_deleted, r.dry_run), e'\n')
    INTO again FROM integrity.repair($1, $2, $3, dry_run => true) AS r;
  IF runs <> (SELECT count(*) FROM integrity.run) THEN
    RAISE EXCEPTION 'the dry run has left a run behind';
  END IF;
  FOR rule_name, action, refs, changed, deleted, real IN
    SELECT r.rule_name, r.action, r.references_broken, r.rows_changed, r.rows_deleted,
           string_agg(concat_ws('|', r.rule_name, r.action, r.references_broken, r.rows_changed, r.rows_deleted, 't'), e'\n') OVER ()
      FROM integrity.repair($1, $2, $3, false) AS r
  LOOP
    RETURN NEXT;
  END LOOP;
  IF (dry, again) IS DISTINCT FROM (real, real) THEN
    RAISE EXCEPTION 'dry: %, again: %, real: %', dry, again, real;
  END IF;
  -- and a second repair finds nothing
  IF EXISTS (SELECT FROM integrity.repair($1, $2, $3, dry_run => false)) THEN
    RAISE EXCEPTION 'a second repair found something';
  END IF;
  IF EXISTS (SELECT FROM public.integrity_report($1) AS r WHERE r.status <> 'ok' AND ($2 IS NULL OR r.rule_name = $2)) THEN
    RAISE EXCEPTION 'the report is not ok';
  END IF;
END
$$;
-- What the last run that changed something has logged.
CREATE VIEW logged AS
SELECT rule_name, changed_table, row_key, before, after, broken FROM integrity.change
 WHERE run_id = (SELECT max(run_id) FROM integrity.change) ORDER BY rule_name, changed_table::text, before::text;

-- Each action on an array: nothing but the elements 9 and 8 may change. Row 1 keeps order, NULL and
-- the duplicate 1; 2 runs empty; 3 keeps its lower bound; 4 has two dimensions, where 9 becomes NULL;
-- 5 holds NULL beside the broken one; 6 is empty from the start and 7 null; 8 is whole.
CREATE TABLE pattern (id int PRIMARY KEY, ids int[], note text);
INSERT INTO pattern VALUES (1, '{3,9,1,NULL,8,1,9,2}', 'one'), (2, '{9}', 'two'), (3, '[0:2]={1,9,2}', 'three'),
  (4, '{{1,9},{2,3}}', 'four'), (5, '{NULL,9}', 'five'), (6, '{}', 'six'), (7, NULL, 'seven'), (8, '{2,1}', 'eight');

CREATE TABLE t (LIKE pattern INCLUDING ALL);
INSERT INTO t SELECT * FROM pattern;
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element', enforced => false, rule_name => 'keep');
SELECT * FROM repair_and_compare('t');
SELECT * FROM t ORDER BY id;
SELECT * FROM logged;
SELECT integrity.drop_reference('t', 'keep');

-- on_empty set null: only row 2 differs
TRUNCATE t; INSERT INTO t SELECT * FROM pattern;
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element', on_empty => 'set null', enforced => false, rule_name => 'none');
SELECT * FROM repair_and_compare('t', 'none');
SELECT id, ids FROM t ORDER BY id;
SELECT integrity.drop_reference('t', 'none');

-- on_empty delete row: row 2 is deleted, row 5 is {NULL}, which is not empty; row 6 was empty before
TRUNCATE t; INSERT INTO t SELECT * FROM pattern;
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element', on_empty => 'delete row', enforced => false, rule_name => 'gone');
SELECT * FROM repair_and_compare('t', 'gone');
SELECT id, ids FROM t ORDER BY id;
SELECT * FROM logged WHERE after IS NULL;
SELECT integrity.drop_reference('t', 'gone');

TRUNCATE t; INSERT INTO t SELECT * FROM pattern;
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'null element', enforced => false, rule_name => 'nulls');
SELECT * FROM repair_and_compare('t', 'nulls');
SELECT id, ids FROM t ORDER BY id;
SELECT integrity.drop_reference('t', 'nulls');

TRUNCATE t; INSERT INTO t SELECT * FROM pattern;
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'set null', enforced => false, rule_name => 'whole');
SELECT * FROM repair_and_compare('t', 'whole');
SELECT id, ids FROM t ORDER BY id;
SELECT integrity.drop_reference('t', 'whole');

TRUNCATE t; INSERT INTO t SELECT * FROM pattern;
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'delete row', enforced => false, rule_name => 'row');
SELECT * FROM repair_and_compare('t', 'row');
SELECT id, ids FROM t ORDER BY id;
SELECT integrity.drop_reference('t', 'row');

-- A rule that says nothing: the error names it and what is possible, and nothing is changed for the
-- other rule of the table either.
TRUNCATE t; INSERT INTO t SELECT * FROM pattern;
SELECT integrity.add_reference('t', 'ids', 'k', enforced => false, rule_name => 'silent');
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element', enforced => false, rule_name => 'again');
SELECT * FROM integrity.repair('t', dry_run => false);
\echo :SQLSTATE
SELECT count(*) AS as_it_was FROM t JOIN pattern USING (id) WHERE t.ids IS NOT DISTINCT FROM pattern.ids;
SELECT integrity.drop_reference('t', 'again');
-- not an action for it; no action at all; an unknown rule; a rule without its table; no dry_run
SELECT * FROM integrity.repair('t', 'silent', 'set default');
\echo :SQLSTATE
SELECT * FROM integrity.repair('t', 'silent', 'cascade');
\echo :SQLSTATE
SELECT * FROM integrity.repair('t', 'absent');
\echo :SQLSTATE
SELECT * FROM integrity.repair(rule_name => 'silent');
\echo :SQLSTATE
SELECT * FROM integrity.repair('t', dry_run => NULL);
\echo :SQLSTATE
-- null elements are not for a rule that rejects them
SELECT integrity.drop_reference('t', 'silent');
SELECT integrity.add_reference('t', 'ids', 'k', null_elements => 'reject', enforced => false, rule_name => 'silent');
SELECT * FROM integrity.repair('t', 'silent', 'null element');
\echo :SQLSTATE
-- an explicit action goes before the rule's own
SELECT * FROM repair_and_compare('t', 'silent', 'remove element');
SELECT id, ids FROM t ORDER BY id;
DROP TABLE t;

-- Native foreign keys: ON DELETE CASCADE, SET NULL, SET DEFAULT. Column "note" is not touched.
CREATE TABLE n (id int PRIMARY KEY, c int, s int, d int DEFAULT 3, note text);
INSERT INTO n VALUES (1, 9, 1, 1, 'goes'), (2, 1, 9, 1, 'null'), (3, 1, 1, 9, 'default'), (4, 1, 9, 9, 'both'), (5, 9, 9, 9, 'goes too'),
  (6, NULL, NULL, NULL, 'nothing');
ALTER TABLE n ADD CONSTRAINT n_c FOREIGN KEY (c) REFERENCES k ON DELETE CASCADE NOT VALID;
ALTER TABLE n ADD CONSTRAINT n_s FOREIGN KEY (s) REFERENCES k ON DELETE SET NULL NOT VALID;
ALTER TABLE n ADD CONSTRAINT n_d FOREIGN KEY (d) REFERENCES k ON DELETE SET DEFAULT NOT VALID;
-- Row 4 is changed once and counts for two rules; row 5 is deleted and not changed before.
SELECT * FROM repair_and_compare('n');
SELECT * FROM n ORDER BY id;
SELECT * FROM logged;
-- A default without a key: PostgreSQL's own error, and nothing is changed.
ALTER TABLE n ALTER d SET DEFAULT 77;
SET session_replication_role = replica;
UPDATE n SET d = 9, s = 9 WHERE id = 2;
RESET session_replication_role;
SELECT * FROM integrity.repair('n', dry_run => false);
\echo :SQLSTATE
-- So with NULL in a column that is NOT NULL.
UPDATE n SET s = 1 WHERE s IS NULL;
ALTER TABLE n DROP CONSTRAINT n_d, ALTER s SET NOT NULL, ALTER s SET DEFAULT 2;
SELECT * FROM integrity.repair('n');
\echo :SQLSTATE
SELECT * FROM repair_and_compare('n', 'n_s', 'set default');
SELECT id, s FROM n ORDER BY id;
DROP TABLE n;

-- Three broken foreign keys in one row. A second UPDATE of it in one transaction would have PostgreSQL
-- check the third.
CREATE TABLE n3 (id int PRIMARY KEY, a int, b int, c int, ids int[]);
INSERT INTO n3 VALUES (1, 7, 8, 9, '{9,1}');
ALTER TABLE n3 ADD CONSTRAINT n3_a FOREIGN KEY (a) REFERENCES k ON DELETE SET NULL NOT VALID,
  ADD CONSTRAINT n3_b FOREIGN KEY (b) REFERENCES k ON DELETE SET NULL NOT VALID,
  ADD CONSTRAINT n3_c FOREIGN KEY (c) REFERENCES k ON DELETE SET NULL NOT VALID;
SELECT integrity.add_reference('n3', 'ids', 'k', on_delete => 'remove element', not_valid => true);
SELECT * FROM repair_and_compare('n3');
TABLE n3;
DROP TABLE n3;

-- Two rules on one array: what either holds for broken goes. 3 is in both.
CREATE TABLE k2 (id int PRIMARY KEY);
INSERT INTO k2 VALUES (2), (3);
CREATE TABLE two (id int, ids int[]);
SELECT integrity.add_reference('two', 'ids', 'k', on_delete => 'remove element', enforced => false, rule_name => 'one');
SELECT integrity.add_reference('two', 'ids', 'k2', on_delete => 'null element', enforced => false, rule_name => 'other');
INSERT INTO two VALUES (1, '{1,2,3,4,3}');
SELECT * FROM repair_and_compare('two');
TABLE two;
SELECT * FROM logged;
DROP TABLE two, k2;

-- Several columns. MATCH SIMPLE: broken is 2 only. MATCH FULL: 2 and the half null 3. SET NULL (b) spares a.
CREATE TABLE kk (a int, b text, PRIMARY KEY (a, b));
INSERT INTO kk VALUES (1, 'x');
CREATE TABLE mm (id int PRIMARY KEY, a int, b text, note text);
INSERT INTO mm VALUES (1, 1, 'x', ''), (2, 1, 'y', ''), (3, 1, NULL, ''), (4, NULL, NULL, '');
ALTER TABLE mm ADD CONSTRAINT simple FOREIGN KEY (a, b) REFERENCES kk ON DELETE SET NULL (b) NOT VALID;
SELECT * FROM repair_and_compare('mm');
SELECT * FROM mm ORDER BY id;
SELECT * FROM logged;
ALTER TABLE mm DROP CONSTRAINT simple;
UPDATE mm SET b = 'y' WHERE id = 2;
ALTER TABLE mm ADD CONSTRAINT "full" FOREIGN KEY (a, b) REFERENCES kk MATCH FULL ON DELETE SET NULL NOT VALID;
SELECT * FROM repair_and_compare('mm');
SELECT * FROM mm ORDER BY id;
SELECT * FROM logged;
DROP TABLE mm, kk;

-- One id under a rule that is not enforced; and the run log of it.
CREATE TABLE one (id int PRIMARY KEY, k int);
INSERT INTO one VALUES (1, 1), (2, 9), (3, 9), (4, 8);
SELECT integrity.add_reference('one', 'k', 'k', on_delete => 'set null', enforced => false);
SELECT run_id IS NOT NULL AS has_run, referencing_table, rule_name, action, references_broken, rows_changed, rows_deleted, dry_run
  FROM integrity.repair('one', action => 'delete row', dry_run => false);
SELECT r.kind, r.role_name = current_user AS mine, r.parameters, r.undoes, r.finished >= r.started AS finished,
       u.referencing_table, u.rule_name, u.action, u.status, u.rows_checked, u.rows_broken, u.references_checked AS refs,
       u.references_broken AS refs_broken, u.values_broken, u.references_broken_after AS after, u.rows_changed, u.rows_deleted
  FROM integrity.run r JOIN integrity.run_rule u USING (run_id)
 WHERE run_id = (SELECT max(run_id) FROM integrity.run) \gx
SELECT * FROM logged;
-- A repair that finds nothing is a run, too.
SELECT * FROM integrity.repair('one', dry_run => false);
SELECT u.rule_name, u.action, u.status, u.references_broken_after FROM integrity.run_rule u WHERE run_id = (SELECT max(run_id) FROM integrity.run);
DROP TABLE one;

-- Other types, a domain over an array of a domain, and names that need quotes.
CREATE DOMAIN short AS varchar(5) CHECK (VALUE <> '');
CREATE DOMAIN shorts AS short[] CHECK (cardinality(VALUE) > 0);
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE "K 2" ("The ""id""" text PRIMARY KEY, u uuid UNIQUE, m mood UNIQUE);
INSERT INTO "K 2" VALUES ('a', '00000000-0000-0000-0000-00000000000a', 'ok');
CREATE TABLE "T 2" ("r" int PRIMARY KEY, "Sp aced ""q" shorts, u uuid[], m mood[], v varchar(3)[]);
INSERT INTO "T 2" VALUES (1, '{A,a,b}', '{00000000-0000-0000-0000-00000000000b,00000000-0000-0000-0000-00000000000a}', '{ok,sad}', '{a,b}');
SELECT integrity.add_reference('"T 2"', 'Sp aced "q', '"K 2"', on_delete => 'remove element', enforced => false, rule_name => 'Rule "one"');
SELECT integrity.add_reference('"T 2"', 'u', '"K 2"', 'u', on_delete => 'remove element', enforced => false, rule_name => '%I %s $1');
SELECT integrity.add_reference('"T 2"', 'm', '"K 2"', 'm', on_delete => 'null element', enforced => false, rule_name => 'm''m');
SELECT integrity.add_reference('"T 2"', 'v', '"K 2"', on_delete => 'remove element', enforced => false, rule_name => 'v');
SELECT * FROM repair_and_compare('"T 2"');
TABLE "T 2";
SELECT * FROM logged;
-- A check of the domain that the mended array would fail fails the repair.
UPDATE "T 2" SET "Sp aced ""q" = '{z}';
SELECT * FROM integrity.repair('"T 2"');
\echo :SQLSTATE
DROP TABLE "T 2", "K 2";
DROP TYPE mood;
DROP DOMAIN shorts;
DROP DOMAIN short;

-- A trigger of the table's owner fires, finds its own search_path, and what it writes is in the log.
-- Row 2 is one whose changes a trigger refuses: not counted, not logged, and still broken.
CREATE TABLE u (id int PRIMARY KEY, ids int[], updated int DEFAULT 0);
CREATE TABLE audit (what text);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit VALUES (TG_OP || ' of ' || OLD.id);
  IF OLD.id = 2 THEN RETURN NULL; END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  NEW.updated := OLD.updated + 1;
  RETURN NEW;
END $$;
INSERT INTO u VALUES (1, '{9,1}'), (2, '{9,2}'), (3, '{9}'), (4, '{1}');
CREATE TRIGGER touch BEFORE UPDATE OR DELETE ON u FOR EACH ROW EXECUTE FUNCTION touch();
SELECT integrity.add_reference('u', 'ids', 'k', on_delete => 'remove element', on_empty => 'delete row', enforced => false);
SELECT rule_name, references_broken, rows_changed, rows_deleted FROM integrity.repair('u', dry_run => false);
SELECT * FROM u ORDER BY id;
-- A second pass has tried row 2 once more.
SELECT * FROM audit;
SELECT * FROM logged;
SELECT references_broken, references_broken_after, rows_changed, rows_deleted FROM integrity.run_rule
 WHERE run_id = (SELECT max(run_id) FROM integrity.run);
-- A trigger that changes something else, and puts the array back, for ever: one pass and no more.
CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.ids := OLD.ids; NEW.updated := OLD.updated + 1; RETURN NEW; END $$;
SELECT rule_name, references_broken, rows_changed, rows_deleted FROM integrity.repair('u', dry_run => false);
SELECT * FROM u ORDER BY id;
DROP TABLE u, audit;

-- In a transaction that is rolled back nothing remains, neither of the rows nor of the run.
CREATE TABLE b (ids int[]);
INSERT INTO b VALUES ('{1,9}');
SELECT integrity.add_reference('b', 'ids', 'k', on_delete => 'remove element', enforced => false);
SELECT count(*) AS runs FROM integrity.run \gset
BEGIN;
SELECT rule_name, references_broken, rows_changed FROM integrity.repair('b', dry_run => false);
TABLE b;
ROLLBACK;
TABLE b;
SELECT count(*) - :runs AS more_runs FROM integrity.run;
-- A table without a primary key and with equal rows: each is logged.
INSERT INTO b VALUES ('{1,9}'), ('{9}');
SELECT * FROM repair_and_compare('b');
SELECT * FROM logged;
DROP TABLE b;

DROP SCHEMA mend CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
RESET client_min_messages;
