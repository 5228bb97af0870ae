-- Tutoring database: the whole clean-up in one call, with the numbers before and after.
-- Guards: eight references of different kinds and actions repaired together, each row once; cascades
-- from one to another; what is whole is left alone; the report is ok afterwards, all rules can be
-- validated, and the run log has the figures.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never

SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE SCHEMA tutoring;
SET search_path = tutoring, public;
CREATE TABLE tutor_profiles (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE student_profiles (id int PRIMARY KEY, name text NOT NULL, wishes int[]);
CREATE TABLE courses (id int PRIMARY KEY, title text NOT NULL);
CREATE TABLE packages (id int PRIMARY KEY, title text NOT NULL);
CREATE TABLE whiteboards (id int PRIMARY KEY);
CREATE TABLE parent_profiles (id int PRIMARY KEY, name text NOT NULL, children_ids int[]);
CREATE TABLE enrolled_courses (id int PRIMARY KEY, students_id int[], tutor_id int, course_id int, package_id int DEFAULT 1);
CREATE TABLE sessions (id int PRIMARY KEY, enrolled_courses_id int, whiteboard_id int);

-- There are students 1 to 4, tutors 1 and 2, courses 1 and 2, packages 1 and 2, whiteboards 1 to 3.
INSERT INTO tutor_profiles VALUES (1, 'Tess'), (2, 'Theo');
INSERT INTO student_profiles VALUES (1, 'Ada', '{2,1}'), (2, 'Ben', '{9,1,8}'), (3, 'Cleo', '{9}'), (4, 'Dan', NULL);
INSERT INTO courses VALUES (1, 'Algebra'), (2, 'Biology');
INSERT INTO packages VALUES (1, 'One hour'), (2, 'Ten hours');
INSERT INTO whiteboards VALUES (1), (2), (3);
INSERT INTO parent_profiles VALUES (1, 'Pat', '{3,2,1}'), (2, 'Quinn', '{77}'), (3, 'Rae', '{1,99,4}'),
  (4, 'Sam', '{99,2,88,4,2}'), (5, 'Toni', NULL), (6, 'Uma', '{}'), (7, 'Val', '{NULL,1}');
INSERT INTO enrolled_courses VALUES
  (1, '{4,2,1}', 1, 1, 1),
  (2, '{77,88}', 1, 2, 2),          -- runs empty and goes, and session 2 with it
  (3, '{3,77}',  9, 1, 7),          -- broken in three columns, stays
  (4, '{3,77}',  9, 8, 7),          -- in four, and goes for its course; sessions 4 and 5 with it
  (5, '{1}',     2, 2, NULL);
INSERT INTO sessions VALUES (1, 1, 1), (2, 2, 2), (3, 50, 3), (4, 4, 60), (5, 4, NULL), (6, 5, 60), (7, NULL, 1);

SELECT integrity.add_reference('student_profiles', 'wishes', 'tutor_profiles', on_delete => 'null element', not_valid => true);
SELECT integrity.add_reference('parent_profiles', 'children_ids', 'student_profiles',
                               on_delete => 'remove element', on_empty => 'set null', not_valid => true);
SELECT integrity.add_reference('enrolled_courses', 'students_id', 'student_profiles',
                               on_delete => 'remove element', on_empty => 'delete row', not_valid => true);
SELECT integrity.add_reference('enrolled_courses', 'tutor_id', 'tutor_profiles', on_delete => 'set null', not_valid => true);
SELECT integrity.add_reference('enrolled_courses', 'course_id', 'courses', on_delete => 'delete row', not_valid => true);
ALTER TABLE enrolled_courses ADD CONSTRAINT enrolled_courses_package_id_fkey
  FOREIGN KEY (package_id) REFERENCES packages ON DELETE SET DEFAULT NOT VALID;
SELECT integrity.add_reference('sessions', 'enrolled_courses_id', 'enrolled_courses', on_delete => 'delete row', not_valid => true);
SELECT integrity.add_reference('sessions', 'whiteboard_id', 'whiteboards', on_delete => 'set null', enforced => false);

CREATE VIEW report AS
SELECT referencing_table AS tab, referencing_column AS col, rows_checked AS rows, rows_broken AS rows_b,
       references_checked AS refs, references_broken AS refs_b, status
  FROM public.integrity_report() WHERE referencing_table::text !~ '^integrity\.' ORDER BY referencing_table::text, 2;
-- Before: 19 references are broken, in all eight.
SELECT * FROM report;

-- The dry run, the run, and the dry run again.
SELECT run_id, rule_name, action, references_broken AS refs, rows_changed AS changed, rows_deleted AS deleted FROM integrity.repair();
SELECT rule_name, action, references_broken AS refs, rows_changed AS changed, rows_deleted AS deleted FROM integrity.repair(dry_run => false);
SELECT * FROM integrity.repair();

-- After: nothing is broken.
SELECT * FROM report;
SELECT * FROM student_profiles ORDER BY id;
SELECT * FROM parent_profiles ORDER BY id;
SELECT * FROM enrolled_courses ORDER BY id;
SELECT * FROM sessions ORDER BY id;
SELECT referencing_table AS tab, rule_name, references_broken AS broken, references_broken_after AS after, rows_changed AS changed, rows_deleted AS deleted
  FROM integrity.run_rule WHERE run_id = (SELECT max(run_id) FROM integrity.run) ORDER BY referencing_table::text, 2;
SELECT rule_name, changed_table AS tab, row_key->>'id' AS id, after, broken
  FROM integrity.change WHERE run_id = (SELECT max(run_id) FROM integrity.run) ORDER BY changed_table::text, row_key->>'id', change_id;
SELECT integrity.validate_reference(referencing_table, rule_name) FROM integrity.reference
 WHERE NOT validated AND enforced AND referencing_table::text !~ '^integrity\.';
SELECT count(*) FILTER (WHERE validated) AS valid, count(*) AS rules FROM integrity.reference WHERE referencing_table::text !~ '^integrity\.';

DROP SCHEMA tutoring CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
RESET client_min_messages;
