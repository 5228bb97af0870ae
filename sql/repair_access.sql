-- repair(): who may, what it runs as, and what it leaves out.
-- Guards: only the owner repairs, and sees the images; a superuser's repair runs triggers as the
-- owner of the table; hidden rows and keys are an error, never broken; what cannot be looked at is
-- left out of a call over everything, with a warning; partitions; temporary tables.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never

SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE ROLE regress_owner;
CREATE ROLE regress_member IN ROLE regress_owner;
CREATE ROLE regress_other;
CREATE SCHEMA access;
GRANT USAGE, CREATE ON SCHEMA access TO PUBLIC;
SET search_path = access;
CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k VALUES (1), (2), (3);
GRANT SELECT, REFERENCES ON k TO PUBLIC;

SET ROLE regress_owner;
CREATE TABLE mine (id int PRIMARY KEY, ids int[], who text);
SELECT integrity.add_reference('mine', 'ids', 'k', on_delete => 'remove element', enforced => false);
INSERT INTO mine VALUES (1, '{1,9}'), (2, '{8}'), (3, '{2}');
GRANT SELECT, INSERT, UPDATE, DELETE ON mine TO regress_other;
CREATE FUNCTION sign() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.who := current_user; RETURN NEW; END$$;
CREATE TRIGGER sign BEFORE UPDATE ON mine FOR EACH ROW EXECUTE FUNCTION sign();
SET ROLE regress_other;
CREATE TABLE others (id int PRIMARY KEY, ids int[]);
SELECT integrity.add_reference('others', 'ids', 'k', on_delete => 'remove element', enforced => false);
INSERT INTO others VALUES (1, '{1,9}');

-- All privileges on the rows are not enough; not for a dry run either.
SELECT * FROM integrity.repair('mine');
\echo :SQLSTATE
CALL integrity.repair_in_batches('mine', 'mine_ids_fkey');
\echo :SQLSTATE
-- Nor are the pieces that repair() is made of.
SELECT integrity.lock_rows('mine', '{"(0,1)"}', 'update');
SELECT integrity.execute_as_owner('mine', 'SELECT ARRAY[1::bigint]', 1);
SELECT integrity.execute_as_owner_in('mine', 'public', 'SELECT ARRAY[1::bigint]', 1);
-- Without a table it is about one's own.
SELECT referencing_table, references_broken, rows_changed, dry_run FROM integrity.repair();

-- The owner, who is no superuser; the trigger runs as the owner.
SET ROLE regress_owner;
SELECT referencing_table, references_broken, rows_changed, dry_run FROM integrity.repair();
SELECT referencing_table, references_broken, rows_changed, dry_run FROM integrity.repair('mine', dry_run => false);
SELECT * FROM mine ORDER BY id;
SELECT role_name FROM integrity.run WHERE run_id > :before;
SELECT row_key, before, after, broken FROM integrity.change WHERE run_id > :before ORDER BY change_id;
-- A member of the owner's role, and under its own name.
UPDATE mine SET ids = '{7}' WHERE id = 1;
SET ROLE regress_member;
SELECT referencing_table, references_broken, rows_changed FROM integrity.repair('mine', dry_run => false);
SELECT role_name FROM integrity.run WHERE run_id > :before ORDER BY 1;
SELECT who FROM mine WHERE id = 1;
SELECT count(*) FROM integrity.change WHERE run_id > :before;
-- Others see no images; the figures if they may read the table.
SET ROLE regress_other;
SELECT count(*) FROM integrity.change WHERE run_id > :before;
SELECT rule_name, rows_changed FROM integrity.run_rule WHERE run_id > :before ORDER BY run_id;
RESET ROLE;
REVOKE SELECT ON mine FROM regress_other;
SET ROLE regress_other;
SELECT count(*) FROM integrity.run_rule WHERE run_id > :before AND referencing_table = 'mine'::regclass;
RESET ROLE;

-- A superuser repairs everybody's, as the owners. row_security = off is no hindrance to the log.
SET ROLE regress_owner;
UPDATE mine SET ids = '{7,2}', who = NULL WHERE id = 1;
SET row_security = off;
SELECT referencing_table, references_broken, rows_changed FROM integrity.repair('mine', dry_run => true);
RESET row_security;
RESET ROLE;
SELECT referencing_table, references_broken, rows_changed FROM integrity.repair(dry_run => false);
SELECT ids, who FROM mine WHERE id = 1;
TABLE others;

-- The keys must be readable: for whoever calls, and for the owner. By name that is an error ...
UPDATE mine SET ids = '{7,2}' WHERE id = 1;
UPDATE others SET ids = '{7,2}';
REVOKE SELECT ON k FROM PUBLIC;
GRANT SELECT ON k TO regress_other;
SELECT * FROM integrity.repair('mine');
\echo :SQLSTATE
SET ROLE regress_owner;
SELECT * FROM integrity.repair('mine');
\echo :SQLSTATE
RESET ROLE;
-- ... over everything a warning, and the others are repaired.
SELECT referencing_table, references_broken, rows_changed FROM integrity.repair();
GRANT SELECT ON k TO PUBLIC;

-- Keys that row-level security hides from the owner are not missing.
ALTER TABLE k ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON k USING (id % 2 = 1);
SELECT * FROM integrity.repair('mine');
\echo :SQLSTATE
SET ROLE regress_owner;
SELECT * FROM integrity.repair('mine');
\echo :SQLSTATE
RESET ROLE;
SELECT referencing_table, references_broken, rows_changed FROM integrity.repair();
ALTER TABLE k DISABLE ROW LEVEL SECURITY;
-- Row-level security of the table itself is not for its owner, so a repair sees all rows. Where it is
-- forced on the owner, the owner cannot see what is broken; a superuser can, and the change is made.
ALTER TABLE mine ENABLE ROW LEVEL SECURITY;
CREATE POLICY none ON mine USING (false);
SET ROLE regress_owner;
SELECT references_broken, rows_changed FROM integrity.repair('mine');
RESET ROLE;
ALTER TABLE mine FORCE ROW LEVEL SECURITY;
SET ROLE regress_owner;
SELECT * FROM integrity.repair('mine');
\echo :SQLSTATE
RESET ROLE;
SELECT references_broken, rows_changed FROM integrity.repair('mine', dry_run => false);
SELECT * FROM mine ORDER BY id;
ALTER TABLE mine DISABLE ROW LEVEL SECURITY;

-- A cascade to another's table would not be on record: refused, whether its rows may be read or not.
SET ROLE regress_owner;
GRANT REFERENCES ON mine TO regress_other;
ALTER TABLE mine ADD k int;
SELECT integrity.add_reference('mine', 'k', 'k', on_delete => 'delete row', enforced => false);
UPDATE mine SET k = 9 WHERE id = 3;
SET ROLE regress_other;
ALTER TABLE others ADD mine int REFERENCES mine ON DELETE CASCADE;
UPDATE others SET mine = 3, ids = NULL;
SET ROLE regress_owner;
SELECT * FROM integrity.repair('mine', dry_run => false);
\echo :SQLSTATE
RESET ROLE;
GRANT SELECT ON others TO regress_owner;
SET ROLE regress_owner;
SELECT * FROM integrity.repair('mine', dry_run => false);
\echo :SQLSTATE
RESET ROLE;
SELECT rule_name, rows_changed, rows_deleted FROM integrity.repair('mine', dry_run => false);
SELECT changed_table, before FROM integrity.change WHERE run_id = (SELECT max(run_id) FROM integrity.run) ORDER BY change_id;
-- Each owner sees the part that is theirs.
SET ROLE regress_owner;
SELECT changed_table FROM integrity.change WHERE run_id = (SELECT max(run_id) FROM integrity.run);
SET ROLE regress_other;
SELECT changed_table FROM integrity.change WHERE run_id = (SELECT max(run_id) FROM integrity.run);
RESET ROLE;

-- A rule that cannot work, for somebody has written it by hand while nobody looked.
CREATE TABLE t2 (ids int[]);
INSERT INTO t2 VALUES ('{9}');
ALTER EVENT TRIGGER integrity_complete_rule DISABLE;
CREATE TRIGGER t2_ids_fkey AFTER INSERT OR UPDATE ON t2 FOR EACH ROW WHEN (integrity.refers(NEW.ids, (NULL::k).id))
  EXECUTE FUNCTION integrity.check_reference('on_delete=mend');
ALTER EVENT TRIGGER integrity_complete_rule ENABLE ALWAYS;
SELECT * FROM integrity.repair('t2', action => 'remove element');
\echo :SQLSTATE
INSERT INTO mine VALUES (7, '{9}');
SELECT referencing_table, references_broken, rows_changed FROM integrity.repair();
DROP TABLE t2, others, mine;

-- Partitions: found, changed and logged where the rows are. What would leave its partition is PostgreSQL's error.
CREATE TABLE p (id int, ids int[], k int) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1, 9);
CREATE TABLE p2 (k int, gone int, ids int[], id int);
ALTER TABLE p2 DROP gone;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2, 8);
SELECT integrity.add_reference('p', 'ids', 'k', on_delete => 'remove element', on_empty => 'delete row', enforced => false);
INSERT INTO p VALUES (1, '{9,1}', 1), (2, '{8,2}', 2), (3, '{8}', 2), (4, '{1}', 1);
SELECT referencing_table, rule_name, references_broken, rows_changed, rows_deleted FROM integrity.repair('p');
SELECT referencing_table, rule_name, references_broken, rows_changed, rows_deleted FROM integrity.repair('p', dry_run => false);
SELECT tableoid::regclass, * FROM p ORDER BY id;
SELECT referencing_table, changed_table, row_key, before, after, broken FROM integrity.change
 WHERE run_id = (SELECT max(run_id) FROM integrity.run) ORDER BY before::text;
ALTER TABLE p ADD CONSTRAINT p_k FOREIGN KEY (k) REFERENCES k ON DELETE SET NULL;
SET session_replication_role = replica;
INSERT INTO p VALUES (5, '{1}', 9);
RESET session_replication_role;
SELECT * FROM integrity.repair('p', dry_run => false);
\echo :SQLSTATE
SELECT references_broken, rows_changed, rows_deleted FROM integrity.repair('p', action => 'delete row', dry_run => false);
ALTER TABLE p DROP CONSTRAINT p_k;
-- A foreign partition, which is refused unless somebody turns the event trigger off, has no rows that could be locked.
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
ALTER EVENT TRIGGER integrity_complete_rule DISABLE;
CREATE FOREIGN TABLE p3 PARTITION OF p FOR VALUES IN (3) SERVER nowhere;
ALTER EVENT TRIGGER integrity_complete_rule ENABLE ALWAYS;
SELECT * FROM integrity.repair('p');
\echo :SQLSTATE
DROP TABLE p;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;

-- A temporary table hides one of the same name; and one's own are repaired.
CREATE TABLE t (ids int[]);
CREATE TEMP TABLE t (ids int[]);
CREATE TEMP TABLE tk (id int PRIMARY KEY);
INSERT INTO pg_temp.t VALUES ('{1}');
INSERT INTO access.t VALUES ('{1}');
SELECT integrity.add_reference('pg_temp.t', 'ids', 'tk', on_delete => 'set null', enforced => false);
SET search_path = access, pg_temp;
SELECT rule_name, references_broken, rows_changed FROM integrity.repair('pg_temp.t', dry_run => false);
SELECT pg_temp.t.ids, access.t.ids FROM pg_temp.t, access.t;
DROP TABLE pg_temp.t, pg_temp.tk;

-- Operators of the caller's search_path are not ours: every = and > here is a trap.
CREATE FUNCTION trap(anyelement, anyelement) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION trap8(bigint, integer) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE OPERATOR access.= (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = trap8);
CREATE OPERATOR access.> (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = trap8);
CREATE OPERATOR access.< (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = trap8);
CREATE OPERATOR access.<= (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = trap8);
CREATE OPERATOR access.= (LEFTARG = anyelement, RIGHTARG = anyelement, FUNCTION = trap);
CREATE OPERATOR access.<> (LEFTARG = anyelement, RIGHTARG = anyelement, FUNCTION = trap);
CREATE TABLE h (id int PRIMARY KEY, ids int[], k int);
CREATE TABLE hc (id int PRIMARY KEY, h int REFERENCES h ON DELETE SET NULL);
INSERT INTO h VALUES (1, '{1,9}', 1), (2, '{1}', 9);
INSERT INTO hc VALUES (1, 2);
SELECT integrity.add_reference('h', 'ids', 'k', on_delete => 'remove element', enforced => false);
SELECT integrity.add_reference('h', 'k', 'k', on_delete => 'delete row', enforced => false);
SET search_path = access, pg_catalog;
SELECT rule_name, references_broken, rows_changed, rows_deleted FROM integrity.repair('h', dry_run => false);
INSERT INTO h VALUES (3, '{1,9}', 9);
CALL integrity.repair_in_batches('h', 'h_k_fkey') \gset
SET search_path = access;
SELECT references_broken AS broken, rows_changed, rows_deleted, references_broken_after AS after FROM integrity.run_rule WHERE run_id = :run_id;
TABLE h;
TABLE hc;

RESET search_path;
DROP SCHEMA access CASCADE;
DROP ROLE regress_member, regress_owner, regress_other;
DELETE FROM integrity.run WHERE run_id > :before;
RESET client_min_messages;
