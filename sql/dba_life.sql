-- A DBA's life: renames, drops, partitions coming and going, triggers switched off and on, rules
-- written by hand. Guards: the rule bound by tgqual (names follow, drops are refused), the event
-- trigger that completes hand-written rules, and the caches being flushed by each of these.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never

CREATE SCHEMA life;
SET search_path = life, public;
CREATE VIEW rules AS
SELECT referencing_table AS "table", rule_name, referencing_column AS col, referenced_table AS key_table,
       referenced_column AS key, on_delete, enforced, validated, guarded, problem
  FROM integrity.reference
 WHERE referencing_table IN (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                              WHERE n.nspname IN ('life', 'lived'));

CREATE TABLE student (id int PRIMARY KEY);
CREATE TABLE parent (id int PRIMARY KEY, kids int[]);
INSERT INTO student SELECT generate_series(1, 20);
INSERT INTO parent VALUES (1, '{1,2,3}'), (2, '{4}');
SELECT integrity.add_reference('parent', 'kids', 'student', on_delete => 'remove element');

-- What a DBA sees first.
\d parent
\d student
SELECT * FROM rules;

-- 1. Renames, each followed by a use of the rule in this same session: the plan and rule caches
--    of check and guard must notice. Every time 99 is refused under the new names, and a delete acts.
ALTER TABLE parent RENAME TO guardian;
INSERT INTO guardian VALUES (3, '{99}');
ALTER TABLE student RENAME TO pupil;
INSERT INTO guardian VALUES (3, '{99}');
ALTER TABLE guardian RENAME COLUMN kids TO pupils;
INSERT INTO guardian VALUES (3, '{99}');
DELETE FROM pupil WHERE id = 1;
ALTER TABLE pupil RENAME COLUMN id TO number;
INSERT INTO guardian VALUES (3, '{99}');
UPDATE pupil SET number = 30 WHERE number = 4;                 -- no action: names the new column
ALTER TRIGGER parent_kids_fkey ON guardian RENAME TO "Pupils exist";
INSERT INTO guardian VALUES (3, '{99}');
ALTER SCHEMA life RENAME TO lived;
INSERT INTO lived.guardian VALUES (3, '{99}');
DELETE FROM lived.pupil WHERE number = 2;
SELECT * FROM lived.guardian ORDER BY id;                      -- {3} and {4}: 1 and 2 were taken out
SELECT * FROM lived.rules;
ALTER SCHEMA lived RENAME TO life;
-- validate and drop take the new name.
SELECT integrity.validate_reference('guardian', 'Pupils exist');
SELECT integrity.drop_reference('guardian', 'Pupils exist');
DELETE FROM pupil WHERE number = 3;                            -- nothing holds it any more
SELECT * FROM guardian ORDER BY id;
DROP TABLE guardian, pupil;

-- A deferrable rule has a second trigger on the referenced table. Its rename must not open a hole:
-- the delete is refused, at COMMIT at the latest.
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE r (id int PRIMARY KEY, ks int[]);
INSERT INTO k VALUES (1), (2), (3);
INSERT INTO r VALUES (1, '{1}');
SELECT integrity.add_reference('r', 'ks', 'k', "deferrable" => true, initially_deferred => true, rule_name => 'late');
ALTER TRIGGER late ON r RENAME TO later;
BEGIN;
DELETE FROM k WHERE id = 1;
COMMIT;
\echo :SQLSTATE
SELECT * FROM k ORDER BY id;

-- 2. DROP TABLE. The referenced one is refused (2BP01) while the rule exists, as with a foreign key.
DROP TABLE k;
\echo :SQLSTATE
-- The referencing one goes quietly, and deletes, updates and TRUNCATE on the other work then.
DROP TABLE r;
SELECT count(*) AS rules FROM rules;
DELETE FROM k WHERE id = 1;
UPDATE k SET id = 22 WHERE id = 2;
TRUNCATE k;
-- CASCADE on the referenced one takes the rule, not the referencing table: 99 may come in then.
CREATE TABLE r (id int PRIMARY KEY, ks int[]);
SELECT integrity.add_reference('r', 'ks', 'k');
DROP TABLE k CASCADE;
INSERT INTO r VALUES (1, '{99}');
SELECT count(*) AS rules FROM rules;
DROP TABLE r;

-- 3. DROP COLUMN. A key column, its unique constraint and its index are held (2BP01);
--    so is the referencing column, for a trigger's WHEN names it. With CASCADE the rule goes too.
CREATE TABLE k (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE r (id int PRIMARY KEY, ks int[], codes text[]);
INSERT INTO k VALUES (1, 'a'), (2, 'b'), (3, 'c');
INSERT INTO r VALUES (1, '{1}', '{b}');
SELECT integrity.add_reference('r', 'ks', 'k');
SELECT integrity.add_reference('r', 'codes', 'k', 'code');
ALTER TABLE k DROP COLUMN code;
\echo :SQLSTATE
ALTER TABLE r DROP COLUMN codes;
\echo :SQLSTATE
-- The type of a bound column cannot change under the rule either.
\set VERBOSITY terse
ALTER TABLE k ALTER COLUMN code TYPE int USING 1;
\echo :SQLSTATE
\set VERBOSITY default
-- The unique constraint that the rule needs goes only with the rule, as with a foreign key; another one may go.
ALTER TABLE k DROP CONSTRAINT k_code_key;
\echo :SQLSTATE
DROP INDEX k_code_key;
\echo :SQLSTATE
CREATE UNIQUE INDEX k_code_other ON k (code);
DROP INDEX k_code_other;
BEGIN;
ALTER TABLE k DROP CONSTRAINT k_code_key CASCADE;
SELECT rule_name FROM rules;
ROLLBACK;
-- A unique constraint that is gone all the same (by one who tampers with the catalog): the rule has a problem, and
-- what it would have to look at is refused on both sides; never a check that silently passes or locks nothing.
BEGIN;
DELETE FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND refobjid = 'k_code_key'::regclass;
ALTER TABLE k DROP CONSTRAINT k_code_key;
SELECT rule_name, problem FROM rules WHERE col = 'codes';
SELECT rule_name, status FROM public.integrity_report('r') ORDER BY rule_name;
SAVEPOINT s;
INSERT INTO r VALUES (2, NULL, '{a}');
ROLLBACK TO s;
DELETE FROM k WHERE code = 'b';
ROLLBACK TO s;
UPDATE k SET code = 'x' WHERE code = 'b';
ROLLBACK TO s;
INSERT INTO r VALUES (2, '{2}', NULL);                         -- the other rule is not concerned
ROLLBACK;
-- Both ways with CASCADE. What is left still holds: key 1 for an update too, and the view tells the truth.
ALTER TABLE k DROP COLUMN code CASCADE;
SELECT rule_name, guarded FROM rules;
DELETE FROM k WHERE id = 1;
\echo :SQLSTATE
UPDATE k SET id = 11 WHERE id = 1;
\echo :SQLSTATE
TRUNCATE k;
\echo :SQLSTATE
ALTER TABLE r DROP COLUMN ks CASCADE;
SELECT count(*) AS rules FROM rules;
DELETE FROM k;
DROP TABLE r, k;

-- 4. DISABLE and ENABLE TRIGGER. Not enforced: 99 comes in, and key 1 goes though it is held.
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE r (id int PRIMARY KEY, ks int[]);
INSERT INTO k VALUES (1), (2), (3);
INSERT INTO r VALUES (1, '{1}');
SELECT integrity.add_reference('r', 'ks', 'k');
ALTER TABLE r DISABLE TRIGGER r_ks_fkey;
SELECT rule_name, enforced, guarded FROM rules;
INSERT INTO r VALUES (2, '{2,99}');
DELETE FROM k WHERE id = 1;
-- Still declared, still reported: 2 broken references.
SELECT rule_name, enforced, references_broken, status FROM public.integrity_report('r');
-- Enforced again: 98 is refused, key 2 is held.
ALTER TABLE r ENABLE TRIGGER r_ks_fkey;
INSERT INTO r VALUES (3, '{98}');
\echo :SQLSTATE
DELETE FROM k WHERE id = 2;
\echo :SQLSTATE
-- A guard that is disabled or dropped is told: guarded is false. CREATE OR REPLACE of the rule makes
-- a dropped one again.
ALTER TABLE k DISABLE TRIGGER integrity_guard_delete;
SELECT rule_name, enforced, guarded FROM rules;
ALTER TABLE k ENABLE TRIGGER integrity_guard_delete;
SELECT rule_name, enforced, guarded FROM rules;
DROP TRIGGER integrity_guard_update ON k;
SELECT rule_name, enforced, guarded FROM rules;
-- A trigger that merely calls a guard's function, on another event or under another condition, is no guard.
CREATE TRIGGER look_alike AFTER UPDATE OF id ON k FOR EACH ROW WHEN (false) EXECUTE FUNCTION integrity.guard_update();
CREATE TABLE k2 (id int PRIMARY KEY);
CREATE TABLE r2 (ks int[]);
CREATE TRIGGER look_alike AFTER DELETE ON k2 FOR EACH ROW WHEN (false) EXECUTE FUNCTION integrity.guard_delete();
INSERT INTO k2 VALUES (1);
INSERT INTO r2 VALUES ('{1}');
SELECT integrity.add_reference('r2', 'ks', 'k2');
SELECT rule_name, guarded FROM rules ORDER BY 1;
DELETE FROM k2;
\echo :SQLSTATE
DROP TABLE r2, k2;
DROP TRIGGER look_alike ON k;

-- 5. CREATE OR REPLACE TRIGGER of a rule: other words, at once, in the same session. With 'not valid'
--    the broken rows of 4 may stay; without, they are refused (23503) and the rule stays as it was.
CREATE OR REPLACE TRIGGER r_ks_fkey AFTER INSERT OR UPDATE ON r FOR EACH ROW
  WHEN (integrity.refers(NEW.ks, (NULL::k).id))
  EXECUTE FUNCTION integrity.check_reference('on_delete=null element', 'not valid');
SELECT rule_name, on_delete, validated, guarded FROM rules;
DELETE FROM k WHERE id = 2;
SELECT * FROM r ORDER BY id;
CREATE OR REPLACE TRIGGER r_ks_fkey AFTER INSERT OR UPDATE ON r FOR EACH ROW
  WHEN (integrity.refers(NEW.ks, (NULL::k).id)) EXECUTE FUNCTION integrity.check_reference();
\echo :SQLSTATE
SELECT rule_name, on_delete, validated, guarded FROM rules;
DELETE FROM r;
CREATE OR REPLACE TRIGGER r_ks_fkey AFTER INSERT OR UPDATE ON r FOR EACH ROW
  WHEN (integrity.refers(NEW.ks, (NULL::k).id)) EXECUTE FUNCTION integrity.check_reference();
SELECT rule_name, on_delete, validated, guarded FROM rules;
DROP TABLE r, k;

-- 6. Written by hand or by add_reference(): the same triggers on both tables (no row differs), the same
--    row in the view, and existing rows are checked.
CREATE TABLE k1 (id int PRIMARY KEY);
CREATE TABLE r1 (id int PRIMARY KEY, ks int[]);
CREATE TABLE k2 (id int PRIMARY KEY);
CREATE TABLE r2 (id int PRIMARY KEY, ks int[]);
INSERT INTO r1 VALUES (1, '{5}');
\set by_hand 'CREATE TRIGGER rule AFTER INSERT ON r1 FOR EACH ROW WHEN (integrity.refers(NEW.ks, (NULL::k1).id)) EXECUTE FUNCTION integrity.check_reference(\'on_delete=remove element\', \'on_empty=set null\')'
:by_hand;
\echo :SQLSTATE
INSERT INTO k1 VALUES (5), (6);
:by_hand;
SELECT integrity.add_reference('r2', 'ks', 'k2', on_delete => 'remove element', on_empty => 'set null', rule_name => 'rule');
SELECT replace(pg_get_triggerdef(oid), '1', '2'), tgenabled FROM pg_trigger WHERE tgrelid IN ('r1'::regclass, 'k1'::regclass)
EXCEPT ALL
SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE tgrelid IN ('r2'::regclass, 'k2'::regclass);
SELECT "table", on_delete, enforced, validated, guarded, problem FROM rules ORDER BY "table"::text;
DELETE FROM k1 WHERE id = 5;
SELECT * FROM r1;                                              -- NULL: acted on
DROP TRIGGER rule ON r1;                                       -- and by hand it goes
INSERT INTO r1 VALUES (2, '{77}');
DROP TABLE r1, k1, r2, k2;

-- 7. Partitions on both sides.
CREATE TABLE k (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE k_low PARTITION OF k FOR VALUES FROM (0) TO (10);
CREATE TABLE k_high PARTITION OF k FOR VALUES FROM (10) TO (20);
CREATE TABLE r (id int PRIMARY KEY, ks int[]) PARTITION BY RANGE (id);
CREATE TABLE r_low PARTITION OF r FOR VALUES FROM (0) TO (10);
CREATE TABLE r_high PARTITION OF r FOR VALUES FROM (10) TO (20);
INSERT INTO k VALUES (1), (2), (11), (12);
INSERT INTO r VALUES (1, '{1,11}'), (11, '{2}');
SELECT integrity.add_reference('r', 'ks', 'k');
SELECT * FROM rules;                                           -- one rule, not one per partition
INSERT INTO r_high VALUES (12, '{99}');                        -- the clone on a partition checks
DELETE FROM k_high WHERE id = 11;                              -- the clone on a partition holds
-- TRUNCATE of the whole, and of one leaf, is refused (0A000), as native.
TRUNCATE k;
TRUNCATE k_high;
\echo :SQLSTATE
-- A referencing partition leaves: no rule of its own, its keys are free.
ALTER TABLE r DETACH PARTITION r_high;
INSERT INTO r_high VALUES (12, '{99}');
DELETE FROM k WHERE id = 2;
-- It comes back: with {99} and {2} in it refused (23503), as a foreign key would be; cleaned, it is
-- accepted and checked again.
ALTER TABLE r ATTACH PARTITION r_high FOR VALUES FROM (10) TO (20);
\echo :SQLSTATE
UPDATE r_high SET ks = '{12}';
ALTER TABLE r ATTACH PARTITION r_high FOR VALUES FROM (10) TO (20);
INSERT INTO r_high VALUES (13, '{99}');
\echo :SQLSTATE
-- A referenced partition whose keys are held may not leave (23503), nor be dropped; native says so too.
BEGIN;
ALTER TABLE k DETACH PARTITION k_high;
\echo :SQLSTATE
ROLLBACK;
BEGIN;
DROP TABLE k_high;
\echo :SQLSTATE
ROLLBACK;
-- Nothing holds 11 and 12 now: k_high leaves, is an ordinary table, may be emptied and filled.
UPDATE r SET ks = '{1}';
ALTER TABLE k DETACH PARTITION k_high;
INSERT INTO r VALUES (2, '{12}');                              -- not a key of k any more
\echo :SQLSTATE
TRUNCATE k_high;
INSERT INTO k_high VALUES (11), (15);
DELETE FROM k_high WHERE id = 11;
-- Back again: its keys count, its rows are guarded, its TRUNCATE is refused.
ALTER TABLE k ATTACH PARTITION k_high FOR VALUES FROM (10) TO (20);
INSERT INTO r VALUES (2, '{15}');
DELETE FROM k_high WHERE id = 15;
\echo :SQLSTATE
TRUNCATE k_high;
\echo :SQLSTATE
-- So is a new partition, made by CREATE TABLE.
CREATE TABLE k_top PARTITION OF k FOR VALUES FROM (20) TO (30);
INSERT INTO k VALUES (21);
INSERT INTO r VALUES (3, '{21}');
DELETE FROM k_top;
\echo :SQLSTATE
TRUNCATE k_top;
\echo :SQLSTATE
SELECT * FROM rules;
SELECT rows_checked, references_checked, references_broken, status FROM public.integrity_report('r');
-- A rule disabled on one partition is not enforced; a guard disabled on one does not guard. The advice mends both.
ALTER TABLE r_low DISABLE TRIGGER r_ks_fkey;
ALTER TABLE k_low DISABLE TRIGGER integrity_guard_delete;
SELECT rule_name, enforced, guarded FROM rules;
\t on
SELECT advice FROM public.integrity_report('r') \gexec
SELECT advice FROM public.integrity_report('r') \gexec
\t off
SELECT rule_name, enforced, guarded FROM rules;
-- Dropping a referencing partition, then the table, leaves the keys free.
DROP TABLE r_low;
DELETE FROM k WHERE id = 21;
DROP TABLE r;
TRUNCATE k;
DROP TABLE k;

-- 8. Nothing blocks dropping the schema, not even without CASCADE once its tables are gone.
DROP VIEW rules;
DROP SCHEMA life;
RESET client_min_messages;
