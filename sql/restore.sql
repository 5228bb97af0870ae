-- A restore makes things in an order of its own: a parallel one loads some rows after the rules are there, and makes the
-- indexes of partitions later still. Privileges come last.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA restore;
SET search_path = restore;
\set VERBOSITY terse

-- As pg_restore does.
SET check_function_bodies = off;

-- The index of the key is there, but not those of its partitions. The rule is tied to it nevertheless.
CREATE TABLE topic (id int NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE topic_low PARTITION OF topic FOR VALUES FROM (0) TO (10);
CREATE TABLE post (id int, topics int[]);
ALTER TABLE ONLY topic ADD CONSTRAINT topic_pkey PRIMARY KEY (id);
CREATE TRIGGER post_topics_fkey AFTER INSERT OR UPDATE ON post FOR EACH ROW
  WHEN (integrity.refers(NEW.topics, (NULL::topic).id)) EXECUTE FUNCTION integrity.check_reference();
SELECT problem FROM integrity.reference WHERE referencing_table = 'post'::regclass;
-- Until then nothing is deleted; afterwards the rule acts, also in a session that has seen it before.
INSERT INTO topic VALUES (1);
SELECT integrity.add_guards('topic');
DELETE FROM topic;
ALTER TABLE ONLY topic_low ADD CONSTRAINT topic_low_pkey PRIMARY KEY (id);
ALTER INDEX topic_pkey ATTACH PARTITION topic_low_pkey;
SELECT problem FROM integrity.reference WHERE referencing_table = 'post'::regclass;
INSERT INTO post VALUES (1, '{1}');
DELETE FROM topic;
ALTER TABLE topic DROP CONSTRAINT topic_pkey;

-- Rows come before the privileges. Only a superuser may load them so, and only while restoring.
CREATE ROLE regress_restore_owner;
CREATE TABLE student (id int PRIMARY KEY);
CREATE TABLE parent (id int, children int[]);
ALTER TABLE parent OWNER TO regress_restore_owner;
INSERT INTO student VALUES (1);
CREATE TRIGGER parent_children_fkey AFTER INSERT OR UPDATE ON parent FOR EACH ROW
  WHEN (integrity.refers(NEW.children, (NULL::student).id)) EXECUTE FUNCTION integrity.check_reference();
-- It does not depend on the row type of the table, or that could not be altered.
SELECT count(*) FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND refclassid = 'pg_type'::regclass AND refobjid = 'student'::regtype;
INSERT INTO parent VALUES (1, '{1}');
INSERT INTO parent VALUES (2, '{2}');
GRANT USAGE ON SCHEMA restore TO regress_restore_owner;
SET ROLE regress_restore_owner;
INSERT INTO parent VALUES (3, '{1}');
RESET ROLE;
RESET check_function_bodies;
INSERT INTO parent VALUES (4, '{1}');
GRANT REFERENCES ON student TO regress_restore_owner;
INSERT INTO parent VALUES (5, '{1}');
SELECT * FROM parent ORDER BY id;

-- Whoever restores a rule must own the table: TRIGGER on it is not enough, nor is REFERENCES on the key.
CREATE TABLE not_theirs (ids int[]);
GRANT TRIGGER ON not_theirs TO regress_restore_owner;
SET check_function_bodies = off;
SET ROLE regress_restore_owner;
CREATE TRIGGER not_theirs_ids_fkey AFTER INSERT OR UPDATE ON not_theirs FOR EACH ROW
  WHEN (integrity.refers(NEW.ids, (NULL::student).id)) EXECUTE FUNCTION integrity.check_reference();
RESET ROLE;

-- A rule is restored as not valid if rows break it, not if they cannot be looked at.
CREATE TYPE frail AS (n int);
CREATE FUNCTION frail_number(frail) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 1 / $1.n $$;
CREATE CAST (frail AS int) WITH FUNCTION frail_number(frail) AS IMPLICIT;
CREATE TABLE frail_ref (frails frail[]);
INSERT INTO frail_ref VALUES (ARRAY[ROW(0)]::frail[]);
CREATE TRIGGER frail_ref_frails_fkey AFTER INSERT OR UPDATE ON frail_ref FOR EACH ROW
  WHEN (integrity.refers(NEW.frails, (NULL::student).id)) EXECUTE FUNCTION integrity.check_reference();
RESET check_function_bodies;
SELECT rule_name FROM integrity.reference WHERE referencing_table = 'frail_ref'::regclass;

DROP SCHEMA restore CASCADE;
DROP ROLE regress_restore_owner;
