-- DROP EXTENSION: refused while rules stand; with CASCADE nothing of it is left, and tables, data
-- and native foreign keys are. Guards: triggers that depend on the extension's functions, every
-- object being a member of the extension, and no object made behind its back.
-- A database of its own: the other tests need theirs.
\set SHOW_CONTEXT never
SELECT current_database() AS main \gset
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
DROP DATABASE IF EXISTS regress_integrity_drop;
RESET client_min_messages;
CREATE DATABASE regress_integrity_drop TEMPLATE template0;
\c regress_integrity_drop
SET client_min_messages = warning;

-- What a database without the extension holds: counted before, and again at the end.
-- (Row counts of every catalog in which an object could hide; kept in psql, to add nothing.)
\set counts 'SELECT (SELECT count(*) FROM pg_class) AS class, (SELECT count(*) FROM pg_proc) AS proc, (SELECT count(*) FROM pg_type) AS type, (SELECT count(*) FROM pg_namespace WHERE nspname !~ \'^pg_(toast_)?temp_\') AS namespace, (SELECT count(*) FROM pg_trigger) AS trigger, (SELECT count(*) FROM pg_event_trigger) AS event_trigger, (SELECT count(*) FROM pg_constraint) AS constraint, (SELECT count(*) FROM pg_operator) AS operator, (SELECT count(*) FROM pg_cast) AS cast, (SELECT count(*) FROM pg_rewrite) AS rewrite, (SELECT count(*) FROM pg_depend) AS depend, (SELECT count(*) FROM pg_init_privs) AS init_privs, (SELECT count(*) FROM pg_description) AS description, (SELECT count(*) FROM pg_default_acl) AS default_acl, (SELECT count(*) FROM pg_extension) AS extension'
:counts \gset before_

-- A schema of that name that someone else made is not taken over: 42P06, and nothing half made.
CREATE SCHEMA integrity;
CREATE EXTENSION integrity;
\echo :SQLSTATE
DROP SCHEMA integrity;
SELECT extname FROM pg_extension WHERE extname = 'integrity';

-- Without rules it comes and goes, and leaves nothing: every figure as before.
CREATE EXTENSION integrity;
DROP EXTENSION integrity;
:counts \gset after_
SELECT ROW(:before_class, :before_proc, :before_type, :before_namespace, :before_trigger, :before_event_trigger, :before_constraint,
           :before_operator, :before_cast, :before_rewrite, :before_depend, :before_init_privs, :before_description, :before_default_acl, :before_extension)
     = ROW(:after_class, :after_proc, :after_type, :after_namespace, :after_trigger, :after_event_trigger, :after_constraint,
           :after_operator, :after_cast, :after_rewrite, :after_depend, :after_init_privs, :after_description, :after_default_acl, :after_extension)
       AS nothing_left;

-- Rules of every sort: array, native, deferrable, not enforced, partitioned on both sides, by hand.
CREATE EXTENSION integrity;
CREATE TABLE student (id int PRIMARY KEY);
CREATE TABLE parent (id int PRIMARY KEY, kids int[], friends int[], others int[], first_kid int);
CREATE TABLE topic (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE topic_1 PARTITION OF topic FOR VALUES FROM (0) TO (10);
CREATE TABLE post (id int PRIMARY KEY, topics int[]) PARTITION BY RANGE (id);
CREATE TABLE post_1 PARTITION OF post FOR VALUES FROM (0) TO (10);
INSERT INTO student VALUES (1), (2), (3);
INSERT INTO topic VALUES (1), (2);
SELECT integrity.add_reference('parent', 'kids', 'student', on_delete => 'remove element');
SELECT integrity.add_reference('parent', 'friends', 'student', "deferrable" => true);
SELECT integrity.add_reference('parent', 'others', 'student', enforced => false);
SELECT integrity.add_reference('parent', 'first_kid', 'student', on_delete => 'set null');
CREATE TRIGGER post_topics AFTER INSERT OR UPDATE ON post FOR EACH ROW
  WHEN (integrity.refers(NEW.topics, (NULL::topic).id)) EXECUTE FUNCTION integrity.check_reference('on_delete=null element');
INSERT INTO parent VALUES (1, '{1,2}', '{1}', NULL, 2);
INSERT INTO post VALUES (1, '{1,2}');

-- Refused (2BP01): rules would be lost. RESTRICT is the default, and says how to go on.
\set VERBOSITY terse
DROP EXTENSION integrity;
\echo :SQLSTATE
-- A member cannot be taken out alone either.
DROP FUNCTION integrity.check_reference() CASCADE;
\echo :SQLSTATE
DROP SCHEMA integrity CASCADE;
\echo :SQLSTATE
DROP EVENT TRIGGER integrity_complete_rule;
\echo :SQLSTATE
\set VERBOSITY default
SELECT count(*) AS rules FROM integrity.reference;

-- CASCADE, in a session that has the rules in its caches: goes, with every trigger on user tables
-- (internal ones of the native key apart), function, view, schema and event trigger.
DROP EXTENSION integrity CASCADE;
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal;
SELECT proname FROM pg_proc WHERE probin LIKE '%integrity%' OR proname ~ 'integrity';
SELECT nspname FROM pg_namespace WHERE nspname = 'integrity';
SELECT evtname FROM pg_event_trigger;
SELECT relname FROM pg_class WHERE relname ~ 'integrity' OR relnamespace NOT IN (SELECT oid FROM pg_namespace);
-- Tables and rows are untouched, and no guard bites: 99 may come in, key 1 may go, TRUNCATE works.
SELECT * FROM parent;
SELECT * FROM post;
INSERT INTO parent VALUES (2, '{99}', '{99}', '{99}', NULL);
INSERT INTO post VALUES (2, '{99}');
DELETE FROM student WHERE id = 1;
UPDATE student SET id = 33 WHERE id = 3;
TRUNCATE topic;
CREATE TABLE topic_2 PARTITION OF topic FOR VALUES FROM (10) TO (20);
-- The native foreign key that add_reference made stays, and works: 99 refused, 2 becomes NULL.
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f';
INSERT INTO parent (id, first_kid) VALUES (3, 99);
\echo :SQLSTATE
DELETE FROM student WHERE id = 2;
SELECT id, kids, first_kid FROM parent ORDER BY id;

-- Made again, in the same session, with its report in another schema: the native key is listed at
-- once, a new rule works, the report is where it was asked for.
CREATE SCHEMA other;
CREATE EXTENSION integrity WITH SCHEMA other;
SELECT rule_name, kind FROM integrity.reference;
SELECT integrity.add_reference('parent', 'kids', 'student', not_valid => true);
INSERT INTO parent VALUES (4, '{33,98}');
\echo :SQLSTATE
SELECT rule_name, references_checked, references_broken, status FROM other.integrity_report() ORDER BY rule_name;
SELECT to_regproc('public.integrity_report') IS NULL AS not_in_public;
-- It cannot be moved afterwards: its schema is one of its own.
ALTER EXTENSION integrity SET SCHEMA public;
\echo :SQLSTATE

-- Everything of this test gone, the catalogs are as in the beginning: nothing left behind by any rule.
DROP EXTENSION integrity CASCADE;
DROP TABLE parent, student, post, topic;
DROP SCHEMA other;
:counts \gset after_
SELECT ROW(:before_class, :before_proc, :before_type, :before_namespace, :before_trigger, :before_event_trigger, :before_constraint,
           :before_operator, :before_cast, :before_rewrite, :before_depend, :before_init_privs, :before_description, :before_default_acl, :before_extension)
     = ROW(:after_class, :after_proc, :after_type, :after_namespace, :after_trigger, :after_event_trigger, :after_constraint,
           :after_operator, :after_cast, :after_rewrite, :after_depend, :after_init_privs, :after_description, :after_default_acl, :after_extension)
       AS nothing_left;
\c :main
DROP DATABASE regress_integrity_drop;
