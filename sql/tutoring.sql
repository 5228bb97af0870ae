-- Tutoring database: the main job from end to end, on data that is already broken.
-- Guards: not-valid declaration, the report's figures, remove element with both
-- on_empty words that change data, the native cascade behind ours, element order.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
RESET client_min_messages;
\set SHOW_CONTEXT never

CREATE SCHEMA tutoring;
SET search_path = tutoring, public;

CREATE TABLE student_profiles (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE tutor_profiles (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE courses (id int PRIMARY KEY, title text NOT NULL);
CREATE TABLE packages (id int PRIMARY KEY, title text NOT NULL);
CREATE TABLE whiteboards (id int PRIMARY KEY);
CREATE TABLE parent_profiles (id int PRIMARY KEY, name text NOT NULL, children_ids int[]);
CREATE TABLE enrolled_courses (id int PRIMARY KEY, students_id int[],
                               tutor_id int, course_id int, package_id int);
CREATE TABLE sessions (id int PRIMARY KEY, enrolled_courses_id int, whiteboard_id int);
-- One of the two array columns has its GIN index: the NOTICE below is for the other alone.
CREATE INDEX ON parent_profiles USING gin (children_ids);

INSERT INTO student_profiles VALUES (1, 'Ada'), (2, 'Ben'), (3, 'Cleo'), (4, 'Dan');
INSERT INTO tutor_profiles VALUES (1, 'Tess'), (2, 'Theo');
INSERT INTO courses VALUES (1, 'Algebra'), (2, 'Biology');
INSERT INTO packages VALUES (1, 'Ten hours');
INSERT INTO whiteboards VALUES (1), (2), (3);

-- Broken from the start: students 77, 88 and 99, tutor 9, course 8, package 7,
-- enrolment 50 and whiteboard 60 do not exist.
INSERT INTO parent_profiles VALUES
  (1, 'Pat',   '{3,2,1}'),          -- loses its middle element below
  (2, 'Quinn', '{2}'),              -- becomes NULL
  (3, 'Rae',   '{1,99,4}'),         -- one broken element, not touched by student 2
  (4, 'Sam',   '{99,2,88,4,2}'),    -- two broken elements, and student 2 twice
  (5, 'Toni',  NULL),
  (6, 'Uma',   '{}'),               -- empty before: on_empty must leave it alone
  (7, 'Val',   '{NULL,1}');
INSERT INTO enrolled_courses VALUES
  (1, '{4,2,1}', 1, 1, 1),
  (2, '{2}',     1, 2, 1),          -- goes, and its sessions with it
  (3, '{3,77}',  9, 1, 1),          -- broken student, broken tutor
  (4, '{2,3}',   2, 8, 7),          -- broken course and package, yet rewritten
  (5, '{1}',     2, 2, NULL);
INSERT INTO sessions VALUES
  (1, 1, 1), (2, 2, 2), (3, 2, NULL), (4, 50, 3), (5, 4, 60), (6, 5, 3);

-- Declaring one as valid is refused while broken references are there.
SELECT integrity.add_reference('parent_profiles', 'children_ids', 'student_profiles',
                               on_delete => 'remove element', on_empty => 'set null');
\echo :SQLSTATE

-- Not valid, all seven are accepted. A NOTICE with a CREATE INDEX for students_id only.
SELECT integrity.add_reference('parent_profiles', 'children_ids', 'student_profiles',
                               on_delete => 'remove element', on_empty => 'set null', not_valid => true);
SELECT integrity.add_reference('enrolled_courses', 'students_id', 'student_profiles', 'id',
                               on_delete => 'remove element', on_empty => 'delete row', not_valid => true);
SELECT integrity.add_reference('enrolled_courses', 'tutor_id', 'tutor_profiles', not_valid => true);
SELECT integrity.add_reference('enrolled_courses', 'course_id', 'courses', not_valid => true);
SELECT integrity.add_reference('enrolled_courses', 'package_id', 'packages', not_valid => true);
SELECT integrity.add_reference('sessions', 'enrolled_courses_id', 'enrolled_courses',
                               on_delete => 'delete row', not_valid => true);
SELECT integrity.add_reference('sessions', 'whiteboard_id', 'whiteboards',
                               on_delete => 'set null', not_valid => true);

-- Two array references, five native foreign keys, none valid, all enforced and guarded.
SELECT referencing_table, rule_name, kind, referenced_table, referenced_column AS key,
       on_delete, on_empty, enforced, validated, guarded, problem
  FROM integrity.reference WHERE referencing_table IN ('parent_profiles'::regclass, 'enrolled_courses', 'sessions')
 ORDER BY referencing_table::text, rule_name;

-- The report: exactly the broken references loaded above, all seven rules 'broken'.
-- children_ids: 6 arrays, 13 ids (the NULL element is none), 3 broken (99, 99, 88) in 2 rows, 2 values.
CREATE VIEW report AS
SELECT referencing_table, rule_name, rows_checked AS rows, rows_broken AS rows_b,
       references_checked AS refs, references_broken AS refs_b, values_broken AS values_b,
       ARRAY(SELECT unnest(sample) ORDER BY 1) AS sample, status
  FROM public.integrity_report()
 WHERE referencing_table IN ('parent_profiles'::regclass, 'enrolled_courses', 'sessions');
SELECT * FROM report ORDER BY referencing_table::text, rule_name;

-- And each of them by row, by place in the array and by value.
SELECT row_key, position, value FROM integrity.broken_references('parent_profiles', 'parent_profiles_children_ids_fkey')
 ORDER BY row_key->>'id', position;
SELECT row_key, position, value FROM integrity.broken_references('enrolled_courses', 'enrolled_courses_students_id_fkey')
 ORDER BY row_key->>'id', position;
SELECT row_key, value FROM integrity.broken_references('sessions', 'sessions_whiteboard_id_fkey');

-- Not valid is about old rows only: a new broken id is refused (23503, names 66) ...
INSERT INTO parent_profiles VALUES (8, 'Wes', '{1,66}');
\echo :SQLSTATE
-- ... an edit of a row that holds an old broken id is not, as long as it adds none.
UPDATE parent_profiles SET children_ids = children_ids || 3 WHERE id = 3;
UPDATE parent_profiles SET children_ids = children_ids || 65 WHERE id = 3;
\echo :SQLSTATE

-- Student 2 leaves. Parent 2 has NULL, parent 1 {3,1}, parent 4 {99,88,4}; parent 6 keeps {}.
DELETE FROM student_profiles WHERE id = 2;
SELECT id, children_ids FROM parent_profiles ORDER BY id;
-- Enrolment 2 is gone, 1 is {4,1} in that order, 4 is {3} though its course is broken.
SELECT * FROM enrolled_courses ORDER BY id;
-- Sessions 2 and 3 went with enrolment 2 (native cascade); session 4, broken before, stays.
SELECT * FROM sessions ORDER BY id;

-- The native actions: whiteboard 3 becomes NULL, in sessions 4 and 6.
DELETE FROM whiteboards WHERE id = 3;
SELECT * FROM sessions ORDER BY id;
-- A tutor in use stays (no action).
DELETE FROM tutor_profiles WHERE id = 1;
\echo :SQLSTATE

-- The report afterwards: the delete has broken nothing and mended nothing.
SELECT * FROM report ORDER BY referencing_table::text, rule_name;

-- Mended by hand, a rule can be validated; its status is then ok. The other stays refused.
UPDATE parent_profiles SET children_ids = array_remove(array_remove(children_ids, 99), 88);
SELECT integrity.validate_reference('parent_profiles', 'parent_profiles_children_ids_fkey');
SELECT integrity.validate_reference('enrolled_courses', 'enrolled_courses_students_id_fkey');
\echo :SQLSTATE
SELECT rule_name, validated FROM integrity.reference
 WHERE referencing_table IN ('parent_profiles'::regclass, 'enrolled_courses') AND kind = 'array reference'
 ORDER BY rule_name;
SELECT * FROM report WHERE referencing_table = 'parent_profiles'::regclass;

SET client_min_messages = warning;
DROP SCHEMA tutoring CASCADE;
RESET client_min_messages;
