-- What ALTER TABLE refuses to a table with rules, another type for a column that one names: integrity.alter_table() does it
-- and keeps the rules. Guards: each rule comes back with its words, name, comment and state, on partitions
-- too; the guards come back; it acts afterwards; and a change that is refused changes nothing.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
CREATE SCHEMA alter_table;
SET search_path = alter_table, public;

CREATE TABLE student (id int PRIMARY KEY, code varchar(10) UNIQUE, name text DEFAULT 'n');
INSERT INTO student (id, code) SELECT g, 'c' || g FROM generate_series(1, 9) g;
CREATE TABLE parent (id int PRIMARY KEY, kids int[], friends int[], codes varchar(10)[], old int[], late int[]);
CREATE TABLE "class 1" (id int, members int[]) PARTITION BY LIST (id);
CREATE TABLE class_a PARTITION OF "class 1" FOR VALUES IN (1);
CREATE TABLE class_b PARTITION OF "class 1" FOR VALUES IN (2);
SELECT integrity.add_reference('parent', 'kids', 'student', on_delete => 'remove element', on_update => 'cascade', on_empty => 'set null');
SELECT integrity.add_reference('parent', 'friends', 'student', enforced => false);
SELECT integrity.add_reference('parent', 'codes', 'student', 'code', on_delete => 'delete row');
SELECT integrity.add_reference('parent', 'late', 'student', "deferrable" => true, initially_deferred => true);
INSERT INTO parent VALUES (1, '{1,2,1}', '{99}', '{c3}', '{98}', '{4}'), (2, '{5}', NULL, NULL, '{1}', NULL);
SELECT integrity.add_reference('parent', 'old', 'student', on_delete => 'set null', not_valid => true, rule_name => 'old ones');
SELECT integrity.add_reference('"class 1"', 'members', 'student', rule_name => 'it''s');
INSERT INTO "class 1" VALUES (1, '{6}'), (2, '{7}');
COMMENT ON TRIGGER parent_kids_fkey ON parent IS 'kids are students';
ALTER TABLE class_b DISABLE TRIGGER "it's";
ALTER TABLE student ENABLE ALWAYS TRIGGER integrity_guard_update;

CREATE VIEW rules AS
SELECT r.referencing_table AS "table", r.rule_name, r.referenced_column AS key, r.on_delete, r.on_update, r.on_empty, r.enforced,
       r.validated, r."deferrable", r.guarded, r.problem, format_type(a.atttypid, a.atttypmod) AS type
  FROM integrity.reference r JOIN pg_attribute a ON a.attrelid = r.referencing_table AND a.attname = r.referencing_column
 WHERE r.referenced_table = 'student'::regclass;
CREATE VIEW my_triggers AS
SELECT tgrelid::regclass AS "table", tgname, tgenabled, tgparentid <> 0 AS clone, pg_get_triggerdef(oid) AS definition,
       obj_description(oid, 'pg_trigger') AS comment
  FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = ANY ('{student,parent,"\"class 1\"",class_a,class_b}'::regclass[]);
CREATE TABLE triggers_before AS SELECT * FROM my_triggers;
CREATE TABLE rules_before AS SELECT * FROM rules;
SELECT * FROM rules ORDER BY "table"::text, rule_name;

-- PostgreSQL's refusal, on both sides. (Which of the triggers it names in its DETAIL is chance.)
\set VERBOSITY terse
ALTER TABLE student ALTER COLUMN id TYPE bigint;
ALTER TABLE parent ALTER COLUMN kids TYPE bigint[];
\set VERBOSITY default
-- Whatever else fills or rewrites a referenced table is free, though the rules name its row type: after CREATE OR REPLACE
-- TRIGGER too, and with the clones that a new, an attached and a partitioned partition have got.
CREATE OR REPLACE TRIGGER parent_codes_fkey AFTER INSERT ON parent FOR EACH ROW
  WHEN (integrity.refers(NEW.codes, (NULL::student).code)) EXECUTE FUNCTION integrity.check_reference('on_delete=delete row');
CREATE TABLE class_c PARTITION OF "class 1" FOR VALUES IN (3);
CREATE TABLE class_d (LIKE "class 1") PARTITION BY LIST (id);
CREATE TABLE class_d4 PARTITION OF class_d FOR VALUES IN (4);
ALTER TABLE "class 1" ATTACH PARTITION class_d FOR VALUES IN (4);
BEGIN;
ALTER TABLE student ADD COLUMN points int NOT NULL DEFAULT 0;
ALTER TABLE student ADD COLUMN at timestamptz DEFAULT clock_timestamp(), ALTER COLUMN name TYPE varchar(30) USING upper(name);
INSERT INTO parent (id, kids) VALUES (9, '{1,77}');
ROLLBACK;
BEGIN;
ALTER TABLE student ADD COLUMN points int NOT NULL DEFAULT 0;
DELETE FROM student WHERE id = 2;
SELECT kids FROM parent WHERE id = 1;
ROLLBACK;
DROP TABLE class_c, class_d;

-- The key first: five rules and the guards name it. Then one array.
SELECT integrity.alter_table('student', 'ALTER COLUMN id TYPE bigint');
SELECT integrity.alter_table('parent', 'ALTER COLUMN kids TYPE bigint[]');
SELECT integrity.alter_table('student', 'ALTER COLUMN name TYPE varchar(30) USING upper(name), ADD COLUMN at timestamptz DEFAULT clock_timestamp()');
SELECT integrity.alter_table('"class 1"', 'ALTER COLUMN members TYPE bigint[]');
\d student
-- Every trigger is what it was, clones, states and comment too. Only the rule that one partition does not enforce
-- is not valid now, for that partition was not looked at.
SELECT * FROM my_triggers EXCEPT SELECT * FROM triggers_before ORDER BY tgname, "table";
SELECT "table", tgname FROM triggers_before EXCEPT SELECT "table", tgname FROM my_triggers;
-- The same of the rules, with the new types.
SELECT * FROM rules EXCEPT SELECT * FROM rules_before ORDER BY 1, 2;
SELECT rule_name, rows_checked, references_broken, status FROM integrity_report()
 WHERE referenced_table = 'student'::regclass ORDER BY 1;

-- They work: new and old values, both sides, and a value that no int could have.
INSERT INTO student VALUES (3000000000, 'big');
INSERT INTO parent (id, kids) VALUES (3, '{3000000000,2}');
INSERT INTO parent (id, kids) VALUES (4, '{3000000001}');
\echo :SQLSTATE
DELETE FROM student WHERE id = 1;
UPDATE student SET id = 3000000005 WHERE id = 5;
DELETE FROM student WHERE id = 3;
INSERT INTO "class 1" VALUES (1, '{77}');
\echo :SQLSTATE
INSERT INTO "class 1" VALUES (2, '{77}');                       -- this partition's copy is disabled, as it was
BEGIN;
INSERT INTO parent (id, late) VALUES (5, '{66}');
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
SELECT id, kids, old FROM parent ORDER BY id;

-- Back again is not possible for a value that is too large; nothing has changed then.
SELECT integrity.alter_table('parent', 'ALTER COLUMN kids TYPE int[]');
\echo :SQLSTATE
-- Nor to what cannot be compared with the key, or without a cast.
SELECT integrity.alter_table('parent', 'ALTER COLUMN late TYPE bytea[]');
\echo :SQLSTATE
SELECT integrity.alter_table('parent', 'ALTER COLUMN late TYPE text[]');
\echo :SQLSTATE
SELECT integrity.alter_table('parent', 'ALTER COLUMN nothing TYPE int');
\echo :SQLSTATE
SELECT count(*) FROM my_triggers;
SELECT * FROM rules WHERE type <> 'bigint[]' ORDER BY rule_name;
-- A rule that fires only for replicas is not enforced either; and 'not valid' may come first among the words.
CREATE TABLE replica (ids int[]);
CREATE TRIGGER replica_rule AFTER INSERT OR UPDATE ON replica FOR EACH ROW WHEN (integrity.refers(NEW.ids, (NULL::student).id))
  EXECUTE FUNCTION integrity.check_reference('not valid', 'on_delete=remove element');
CREATE TABLE always (ids int[]);
SELECT integrity.add_reference('always', 'ids', 'student');
ALTER TABLE replica DISABLE TRIGGER replica_rule;
ALTER TABLE always ENABLE REPLICA TRIGGER always_ids_fkey;
INSERT INTO replica VALUES ('{77}');
INSERT INTO always VALUES ('{77}');
SELECT integrity.alter_table('replica', 'ALTER COLUMN ids TYPE bigint[]');
SELECT integrity.alter_table('always', 'ALTER COLUMN ids TYPE bigint[]');
SELECT tgname, tgenabled, encode(tgargs, 'escape') AS words FROM pg_trigger
 WHERE tgname IN ('replica_rule', 'always_ids_fkey') ORDER BY 1;
-- Partitions and inheritance children are altered with the table, and may have rules and guards of their own.
CREATE TABLE course (a int, ids int[]) PARTITION BY LIST (a);
CREATE TABLE course1 PARTITION OF course FOR VALUES IN (1);
CREATE TABLE course2 PARTITION OF course FOR VALUES IN (2) PARTITION BY LIST (a);
CREATE TABLE course3 PARTITION OF course2 FOR VALUES IN (2);
SELECT integrity.add_reference('course', 'ids', 'student', rule_name => 'all'),
       integrity.add_reference('course1', 'ids', 'student', on_delete => 'remove element'),
       integrity.add_reference('course3', 'ids', 'student', not_valid => true);
INSERT INTO course SELECT a, ARRAY[min(id)] FROM student, (VALUES (1), (2)) AS v (a) GROUP BY a;
CREATE TABLE person (id int, friends int[]);
CREATE TABLE pupil (PRIMARY KEY (id)) INHERITS (person);
CREATE TABLE club (ids int[]);
SELECT integrity.add_reference('pupil', 'friends', 'pupil', on_delete => 'set null'),
       integrity.add_reference('club', 'ids', 'pupil', on_update => 'cascade');
INSERT INTO pupil VALUES (1, '{1}'), (2, '{1}');
INSERT INTO club VALUES ('{2}');
CREATE TEMP TABLE before AS SELECT tgrelid::regclass, tgname, tgparentid <> 0 AS clone, tgenabled, encode(tgargs, 'escape') AS words
  FROM pg_trigger WHERE tgrelid::regclass::text ~ 'course|person|pupil|club';
SELECT integrity.alter_table('course', 'ALTER COLUMN ids TYPE bigint[]');
SELECT integrity.alter_table('person', 'ALTER COLUMN id TYPE bigint, ALTER COLUMN friends TYPE bigint[]');
SELECT count(*) FROM before;
SELECT 'before' AS at, * FROM (SELECT * FROM before EXCEPT SELECT tgrelid::regclass, tgname, tgparentid <> 0, tgenabled,
  encode(tgargs, 'escape') FROM pg_trigger) AS x
UNION ALL SELECT 'after', * FROM (SELECT tgrelid::regclass, tgname, tgparentid <> 0, tgenabled, encode(tgargs, 'escape')
  FROM pg_trigger WHERE tgrelid::regclass::text ~ 'course|person|pupil|club' EXCEPT SELECT * FROM before) AS y;
SELECT referencing_table, rule_name, validated, guarded, problem FROM integrity.reference
 WHERE referencing_table::text ~ 'course|person|pupil|club' ORDER BY 1::text, 2;
UPDATE pupil SET id = 50 WHERE id = 2;
TABLE club;
DELETE FROM pupil WHERE id = 1;
TABLE pupil;
INSERT INTO course3 VALUES (2, '{5000000000}');
\echo :SQLSTATE
-- One who does not own the referencing table cannot change the key's type under its rules.
CREATE ROLE regress_alter_table;
GRANT ALL ON SCHEMA alter_table TO regress_alter_table;
ALTER TABLE student OWNER TO regress_alter_table;
SET ROLE regress_alter_table;
SELECT integrity.alter_table('student', 'ALTER COLUMN id TYPE numeric');
\echo :SQLSTATE
RESET ROLE;
DROP SCHEMA alter_table CASCADE;
DROP ROLE regress_alter_table;
