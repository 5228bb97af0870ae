-- A tutoring business keeps arrays of ids: the children of a parent, the students of an enrolment.
-- Its data is broken already. Here is how that is found, and what keeps it from breaking further.
-- Run by demo/run; or in an empty database of your own, as superuser:  psql -f demo/tutoring.sql
\set QUIET on
\pset pager off
\pset footer off
\pset null '(null)'
\set SHOW_CONTEXT never
SET client_min_messages = warning;

\echo
\echo '1. A database as it is found: ids in arrays, and nothing that checks them.'
\echo
CREATE TABLE student_profiles (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE tutor_profiles   (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE courses          (id int PRIMARY KEY, title text NOT NULL);
CREATE TABLE packages         (id int PRIMARY KEY, title text NOT NULL);
CREATE TABLE whiteboards      (id int PRIMARY KEY);
CREATE TABLE parent_profiles  (id int PRIMARY KEY, name text NOT NULL, children_ids int[]);
CREATE TABLE enrolled_courses (id int PRIMARY KEY, students_id int[], tutor_id int, course_id int, package_id int);
CREATE TABLE sessions         (id int PRIMARY KEY, enrolled_courses_id int, whiteboard_id int);
CREATE INDEX ON parent_profiles USING gin (children_ids);
CREATE INDEX ON enrolled_courses USING gin (students_id);

INSERT INTO student_profiles VALUES (1, 'Ada'), (2, 'Ben'), (3, 'Cleo'), (4, 'Dan');
INSERT INTO tutor_profiles VALUES (1, 'Tess'), (2, 'Theo');
INSERT INTO courses VALUES (1, 'Algebra'), (2, 'Biology');
INSERT INTO packages VALUES (1, 'ten hours');
INSERT INTO whiteboards VALUES (1), (2);
INSERT INTO parent_profiles VALUES
  (1, 'Pat',   '{3,2,1}'),
  (2, 'Quinn', '{2}'),
  (3, 'Rae',   '{4,99}');           -- there is no student 99
INSERT INTO enrolled_courses VALUES
  (1, '{4,2,1}', 1, 1, 1),
  (2, '{2}',     2, 2, 1),
  (3, '{3,77}',  9, 1, 1);          -- nor a student 77, nor a tutor 9
INSERT INTO sessions VALUES
  (1, 1, 1),
  (2, 2, 2),
  (3, 2, NULL),
  (4, 50, 1),                       -- nor an enrolment 50
  (5, 1, 60);                       -- nor a whiteboard 60

TABLE student_profiles ORDER BY id;
TABLE parent_profiles ORDER BY id;
TABLE enrolled_courses ORDER BY id;
TABLE sessions ORDER BY id;

\echo '2. Every reference is declared, with what a delete shall do. What is broken may stay for now: not_valid.'
\echo
\set ECHO queries
\o /dev/null
CREATE EXTENSION integrity;
-- A child who leaves is taken out of the array; where no child is left, the column becomes NULL.
SELECT integrity.add_reference('parent_profiles', 'children_ids', 'student_profiles',
                               on_delete => 'remove element', on_empty => 'set null', not_valid => true);
-- A student who leaves is taken out of the array; where no student is left, the row goes.
SELECT integrity.add_reference('enrolled_courses', 'students_id', 'student_profiles',
                               on_delete => 'remove element', on_empty => 'delete row', not_valid => true);
-- One id in a column becomes a native foreign key.
SELECT integrity.add_reference('enrolled_courses', 'tutor_id', 'tutor_profiles', on_delete => 'set null', not_valid => true);
SELECT integrity.add_reference('enrolled_courses', 'course_id', 'courses', on_delete => 'set null', not_valid => true);
SELECT integrity.add_reference('enrolled_courses', 'package_id', 'packages', on_delete => 'set null', not_valid => true);
SELECT integrity.add_reference('sessions', 'enrolled_courses_id', 'enrolled_courses', on_delete => 'delete row', not_valid => true);
SELECT integrity.add_reference('sessions', 'whiteboard_id', 'whiteboards', on_delete => 'set null', not_valid => true);
\o
\set ECHO none

\echo
\echo '3. The report, some of its columns. It finds the five broken ids, and nothing else.'
\echo
\set ECHO queries
SELECT referencing_table, referencing_column, referenced_table,
       references_checked AS checked, references_broken AS broken, sample, status
  FROM integrity_report();
\set ECHO none

\echo '   One line of it in full:'
\echo
\x on
SELECT * FROM integrity_report('parent_profiles');
\x off

\echo
\echo '4. From now on a broken id is refused, in an array as in a column.'
\echo
\set ON_ERROR_STOP off
\set ECHO queries
INSERT INTO parent_profiles VALUES (4, 'Sam', '{1,66}');
\set ECHO none
\set ON_ERROR_STOP on

\echo
\echo '5. Ben, student 2, leaves.'
\echo
\set ECHO queries
DELETE FROM student_profiles WHERE id = 2;
\set ECHO none
\echo
\echo '   Pat keeps {3,1}, in that order. Quinn has no child left, and so NULL. What was broken before is left alone:'
\echo
TABLE parent_profiles ORDER BY id;
\echo '   Enrolment 2 had no student but Ben. It is gone, and its sessions 2 and 3 with it:'
\echo
TABLE enrolled_courses ORDER BY id;
TABLE sessions ORDER BY id;

\echo '6. Which rows are broken? And what would a repair do to them? It is a dry run unless told otherwise.'
\echo
\set ECHO queries
SELECT * FROM integrity.broken_references('parent_profiles', 'parent_profiles_children_ids_fkey');
SELECT referencing_table, rule_name, action, references_broken, rows_changed, rows_deleted FROM integrity.repair();
\set ECHO none
\echo '   The same figures, and this time it is done. Rae loses 99, and nothing else:'
\echo
\set ECHO queries
SELECT referencing_table, rule_name, references_broken, rows_changed, rows_deleted
  FROM integrity.repair(dry_run => false);
TABLE parent_profiles ORDER BY id;
SELECT * FROM integrity.health();
SELECT integrity.validate_reference('parent_profiles', 'parent_profiles_children_ids_fkey');
\set ECHO none

\echo '7. Every changed row is on record, as it was and what became of it. So it can be taken back.'
\echo
\set ECHO queries
SELECT changed_table, row_key, before ->> 'children_ids' AS before, after ->> 'children_ids' AS after, broken
  FROM integrity.change WHERE changed_table = 'parent_profiles'::regclass;
SELECT changed_table, outcome, rows FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
TABLE parent_profiles ORDER BY id;
SELECT * FROM integrity.health();
\set ECHO none
