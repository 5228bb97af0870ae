SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- Deferrable rules: when the check and NO ACTION come, and which version of a row they look at.
-- Guards the constraint-trigger form of a rule, guard_deferred() and what is checked of a superseded row.
CREATE SCHEMA deferred;
SET search_path = deferred, public;
SET client_min_messages = warning;
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE t (n int PRIMARY KEY, ids int[], note text);
INSERT INTO k SELECT generate_series(1, 5);
SELECT integrity.add_reference('t', 'ids', 'k', "deferrable" => true);
SELECT rule_name, "deferrable", initially_deferred, guarded FROM integrity.reference WHERE referencing_table = 't'::regclass;
-- PostgreSQL knows it as a deferrable constraint on both tables, under the rule's name.
SELECT conrelid::regclass, conname, condeferrable, condeferred FROM pg_constraint
 WHERE conname = 't_ids_fkey' ORDER BY conrelid::regclass::text;

--
-- Deferrable, initially immediate: checked at the end of the statement until told otherwise.
--
INSERT INTO t VALUES (1, '{9}');
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SET CONSTRAINTS t_ids_fkey DEFERRED;
INSERT INTO t VALUES (1, '{9}');                   -- nothing yet
INSERT INTO k VALUES (9);
COMMIT;                                            -- passes
BEGIN;
SET CONSTRAINTS t_ids_fkey DEFERRED;
INSERT INTO t VALUES (2, '{1,8}');
COMMIT;                                            -- refused now
\echo :LAST_ERROR_SQLSTATE
SELECT n, ids FROM t ORDER BY n;
-- SET CONSTRAINTS ... IMMEDIATE checks what is pending, at once, and the transaction goes on if it holds
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO t VALUES (3, '{1}'), (4, '{7}');
INSERT INTO k VALUES (7);
SET CONSTRAINTS t_ids_fkey IMMEDIATE;
INSERT INTO t VALUES (5, '{6}');                   -- immediate again
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO t VALUES (3, '{6}');
SET CONSTRAINTS ALL IMMEDIATE;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- the mode ends with its transaction
INSERT INTO t VALUES (3, '{6}');
\echo :LAST_ERROR_SQLSTATE
-- SET CONSTRAINTS on a rule that is not deferrable is PostgreSQL's own error (it is a plain trigger, no constraint)
CREATE TABLE hard (ids int[]);
SELECT integrity.add_reference('hard', 'ids', 'k');
BEGIN;
SET CONSTRAINTS hard_ids_fkey DEFERRED;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

--
-- Initially deferred.
--
CREATE TABLE d (n int PRIMARY KEY, ids int[], note text);
SELECT integrity.add_reference('d', 'ids', 'k', "deferrable" => true, initially_deferred => true);
INSERT INTO d VALUES (1, '{66}');                  -- a transaction of one statement: refused at its end
\echo :LAST_ERROR_SQLSTATE
-- the row is deleted before commit: nothing to check
BEGIN;
INSERT INTO d VALUES (1, '{66}');
DELETE FROM d WHERE n = 1;
COMMIT;
-- the row is updated before commit: of what the first version brought only that counts which the latest still holds
BEGIN;
INSERT INTO d VALUES (1, '{66}');
UPDATE d SET ids = '{1}' WHERE n = 1;
COMMIT;
BEGIN;
INSERT INTO d VALUES (2, '{1}');
UPDATE d SET ids = '{66}' WHERE n = 2;
COMMIT;
\echo :LAST_ERROR_SQLSTATE
-- the column stays in the update, and the INSERT's version is superseded: its elements are checked in the latest
BEGIN;
INSERT INTO d VALUES (2, '{66}');
UPDATE d SET note = 'touched' WHERE n = 2;
COMMIT;
\echo :LAST_ERROR_SQLSTATE
-- an old row, broken and then touched again: whatever was added and is still there is checked
BEGIN;
UPDATE d SET ids = '{66}' WHERE n = 1;
UPDATE d SET ids = '{66,1}' WHERE n = 1;           -- adds nothing to the version before
COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN;
UPDATE d SET ids = '{66}' WHERE n = 1;
UPDATE d SET note = 'touched' WHERE n = 1;         -- does not even name the column
COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN;
UPDATE d SET ids = '{66}' WHERE n = 1;
UPDATE d SET ids = '{2}' WHERE n = 1;
COMMIT;
SELECT * FROM d ORDER BY n;
-- an old orphan (the rule was off) does not lock its row, however often one transaction touches it
ALTER TABLE d DISABLE TRIGGER d_ids_fkey; INSERT INTO d VALUES (9, '{666,1}'); ALTER TABLE d ENABLE TRIGGER d_ids_fkey;
BEGIN;
UPDATE d SET note = 'one' WHERE n = 9; UPDATE d SET note = 'two' WHERE n = 9; UPDATE d SET ids = ids || 2 WHERE n = 9;
COMMIT;
BEGIN;
UPDATE d SET ids = '{666,777}' WHERE n = 9; UPDATE d SET ids = '{666,2}' WHERE n = 9;  -- 777 came and went
COMMIT;
SELECT * FROM d WHERE n = 9;
BEGIN;
UPDATE d SET ids = '{2}' WHERE n = 9; UPDATE d SET ids = '{2,666}' WHERE n = 9;  -- taken out and put in again: added
COMMIT;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM d WHERE n = 9;
-- a row moved out of the way and back in
BEGIN;
INSERT INTO d VALUES (3, '{66}'); DELETE FROM d WHERE n = 3; INSERT INTO d VALUES (3, '{3}');
COMMIT;
SELECT * FROM d ORDER BY n;

--
-- The referenced side: NO ACTION waits until commit as well.
--
-- the key is deleted, then put back: passes
BEGIN;
DELETE FROM k WHERE id = 2;
INSERT INTO k VALUES (2);
COMMIT;
-- another row takes the key: passes
BEGIN;
DELETE FROM k WHERE id = 2;
UPDATE k SET id = 2 WHERE id = 5;
COMMIT;
INSERT INTO k VALUES (5);
-- the key goes away by update and comes back
BEGIN;
UPDATE k SET id = 20 WHERE id = 2;
UPDATE k SET id = 2 WHERE id = 20;
COMMIT;
-- the references go before commit: passes
BEGIN;
DELETE FROM k WHERE id = 3;
UPDATE d SET ids = '{1}' WHERE n = 3;
COMMIT;
-- neither: refused at commit, and all is undone
BEGIN;
DELETE FROM k WHERE id = 2;
SELECT count(*) AS two_is_gone FROM k WHERE id = 2;
COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN;
UPDATE k SET id = 20 WHERE id = 2;
COMMIT;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) AS two_is_back FROM k WHERE id = 2;
-- put back, but deleted again
BEGIN;
DELETE FROM k WHERE id = 2; INSERT INTO k VALUES (2); DELETE FROM k WHERE id = 2;
COMMIT;
\echo :LAST_ERROR_SQLSTATE
-- SET CONSTRAINTS reaches this side too
BEGIN;
SET CONSTRAINTS d_ids_fkey IMMEDIATE;
DELETE FROM k WHERE id = 2;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
DELETE FROM k WHERE id = 2;
SET CONSTRAINTS d_ids_fkey IMMEDIATE;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- A new reference to a key that this transaction deleted under a deferred rule is pending as well.
BEGIN;
DELETE FROM k WHERE id = 4;
INSERT INTO d VALUES (4, '{4}');
COMMIT;
\echo :LAST_ERROR_SQLSTATE

--
-- RESTRICT is never deferred; nor are the changing actions.
--
-- Refused by RESTRICT? Its SQLSTATE and wording differ between versions; sql/restrict.sql compares them with a native key's.
CREATE FUNCTION restricted(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE t text; c text; d text;
BEGIN
  EXECUTE statement;
  RETURN 'passed';
EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
  GET STACKED DIAGNOSTICS t = TABLE_NAME, c = CONSTRAINT_NAME, d = PG_EXCEPTION_DETAIL;
  RETURN pg_catalog.format('by %s of %s: %s', c, t, pg_catalog.replace(d, 'still ', ''));
END $$;
CREATE TABLE r (n int, ids int[]);
CREATE TABLE a (n int, ids int[]);
CREATE TABLE rk (id int PRIMARY KEY); INSERT INTO rk SELECT generate_series(1, 9);
SELECT integrity.add_reference('r', 'ids', 'rk', on_delete => 'restrict', on_update => 'restrict', "deferrable" => true, initially_deferred => true);
SELECT integrity.add_reference('a', 'ids', 'rk', on_delete => 'remove element', on_update => 'cascade', "deferrable" => true, initially_deferred => true);
INSERT INTO r VALUES (1, '{1}'); INSERT INTO a VALUES (1, '{2,3}');
BEGIN;
SELECT restricted('DELETE FROM rk WHERE id = 1');
ROLLBACK;
BEGIN;
SELECT restricted('UPDATE rk SET id = 10 WHERE id = 1');
ROLLBACK;
BEGIN;
DELETE FROM rk WHERE id = 2;
UPDATE rk SET id = 30 WHERE id = 3;
SELECT * FROM a;                                   -- {30}, before commit
COMMIT;
-- the check of this rule is deferred all the same
BEGIN; INSERT INTO r VALUES (2, '{40}'); INSERT INTO a VALUES (2, '{40}'); INSERT INTO rk VALUES (40); COMMIT;
-- a row with a pending broken element is acted upon like others, and its latest version is checked
BEGIN;
INSERT INTO a VALUES (3, '{50,4}'); DELETE FROM rk WHERE id = 4; SELECT ids FROM a WHERE n = 3;
COMMIT;
\echo :LAST_ERROR_SQLSTATE

--
-- Savepoints within.
--
BEGIN;
SAVEPOINT s;
INSERT INTO d VALUES (5, '{66}');
ROLLBACK TO s;                                     -- takes the pending check along
INSERT INTO d VALUES (6, '{1}');
COMMIT;
BEGIN;
INSERT INTO d VALUES (7, '{66}');
SAVEPOINT s;
UPDATE d SET ids = '{1}' WHERE n = 7;
ROLLBACK TO s;                                     -- takes the repair back: the first version is live again
COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN;
DELETE FROM k WHERE id = 2;
SAVEPOINT s;
INSERT INTO k VALUES (2);
ROLLBACK TO s;
COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SAVEPOINT s;
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO s;                                     -- deferred again
INSERT INTO d VALUES (8, '{67}'); INSERT INTO k VALUES (67);
COMMIT;
BEGIN;
SAVEPOINT s;
DELETE FROM k WHERE id = 67;
RELEASE s;
COMMIT;
\echo :LAST_ERROR_SQLSTATE
SELECT n, ids FROM d ORDER BY n;

--
-- SET CONSTRAINTS ... IMMEDIATE looks at the version that is live then; later versions are checked in their own turn.
--
BEGIN;
INSERT INTO d VALUES (60, '{91}'); UPDATE d SET ids = '{1}' WHERE n = 60;
SET CONSTRAINTS ALL IMMEDIATE;
UPDATE d SET ids = '{91}' WHERE n = 60;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
INSERT INTO d VALUES (60, '{91}');
SAVEPOINT s;
UPDATE d SET ids = '{1}' WHERE n = 60;
SET CONSTRAINTS ALL IMMEDIATE;                     -- passes: the first version is superseded
ROLLBACK TO s;                                     -- and is not any more; its check comes back as well
COMMIT;
\echo :LAST_ERROR_SQLSTATE
DO $$
BEGIN
  INSERT INTO deferred.d VALUES (61, '{92}');
  BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
  EXCEPTION WHEN foreign_key_violation THEN
    RAISE WARNING 'caught';
  END;
END $$;                                            -- caught, not mended: refused at commit
\echo :LAST_ERROR_SQLSTATE

--
-- Partitions: a row that moves is checked where it arrives, a key that moves may come back.
--
CREATE TABLE dp (n int, ids int[]) PARTITION BY RANGE (n);
CREATE TABLE dp1 PARTITION OF dp FOR VALUES FROM (0) TO (10);
CREATE TABLE dp2 PARTITION OF dp FOR VALUES FROM (10) TO (20);
CREATE TABLE pk (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE pk1 PARTITION OF pk FOR VALUES FROM (0) TO (10);
CREATE TABLE pk2 PARTITION OF pk DEFAULT;
INSERT INTO pk SELECT g FROM generate_series(1, 20) g;
SELECT integrity.add_reference('dp', 'ids', 'pk', "deferrable" => true, initially_deferred => true);
BEGIN; INSERT INTO dp VALUES (1, '{88}'); UPDATE dp SET n = 11; COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN; INSERT INTO dp VALUES (1, '{88}'); UPDATE dp SET n = 11, ids = '{1,11}'; COMMIT;
BEGIN; UPDATE dp SET n = 1, ids = '{88}'; UPDATE dp SET n = 11; UPDATE dp SET ids = '{1,11}'; COMMIT;
BEGIN; UPDATE dp SET ids = '{88}'; UPDATE dp SET n = 1; COMMIT;
\echo :LAST_ERROR_SQLSTATE
SELECT tableoid::regclass, * FROM dp;
BEGIN; UPDATE pk SET id = 101 WHERE id = 1; UPDATE pk SET id = 1 WHERE id = 101; COMMIT;
BEGIN; UPDATE pk SET id = 101 WHERE id = 1; COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN; DELETE FROM pk1 WHERE id = 1; INSERT INTO pk VALUES (1); COMMIT;
BEGIN; DELETE FROM pk1 WHERE id = 1; COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN; SET CONSTRAINTS dp_ids_fkey IMMEDIATE; UPDATE pk SET id = 101 WHERE id = 1;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- a pending check is not lost with a partition (a native key loses it)
BEGIN; DELETE FROM pk1 WHERE id = 1; ALTER TABLE pk DETACH PARTITION pk1;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- nor because its guard, or the rule, is disabled when it is made. (A native key's check does not ask for that.)
BEGIN; DELETE FROM pk1 WHERE id = 1; ALTER TABLE pk DISABLE TRIGGER dp_ids_fkey;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN; DELETE FROM pk1 WHERE id = 1; ALTER TABLE pk ENABLE REPLICA TRIGGER dp_ids_fkey;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN; DELETE FROM pk1 WHERE id = 1; ALTER TABLE dp DISABLE TRIGGER dp_ids_fkey;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN; DELETE FROM pk1 WHERE id = 1; ALTER TABLE dp DISABLE TRIGGER ALL;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN; DELETE FROM pk1 WHERE id = 1; SAVEPOINT s; SET CONSTRAINTS ALL IMMEDIATE;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s; INSERT INTO pk VALUES (1); SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE pk DISABLE TRIGGER dp_ids_fkey; ALTER TABLE dp DISABLE TRIGGER dp_ids_fkey;
ROLLBACK;
-- Other triggers may be disabled.
CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER own AFTER INSERT ON pk FOR EACH ROW EXECUTE FUNCTION own();
BEGIN; DELETE FROM pk1 WHERE id = 1; INSERT INTO pk VALUES (1); ALTER TABLE pk DISABLE TRIGGER own; COMMIT;
SELECT tgenabled FROM pg_trigger WHERE tgrelid = 'pk'::regclass AND tgname = 'own';
DROP TRIGGER own ON pk;
-- on_update => 'cascade' acts at once, on_delete waits
SELECT integrity.drop_reference('dp', 'dp_ids_fkey');
SELECT integrity.add_reference('dp', 'ids', 'pk', on_update => 'cascade', "deferrable" => true, initially_deferred => true);
BEGIN;
UPDATE pk SET id = 102 WHERE id = 1; SELECT ids FROM dp;
DELETE FROM pk WHERE id = 102; INSERT INTO pk VALUES (102);
COMMIT;
BEGIN; INSERT INTO dp VALUES (2, '{555}'); UPDATE pk SET id = 555 WHERE id = 102; COMMIT;
SELECT * FROM dp ORDER BY n;
BEGIN; DELETE FROM pk WHERE id = 555; COMMIT;
\echo :LAST_ERROR_SQLSTATE

--
-- Two-phase commit: the checks come at PREPARE, the locks stay until the end.
--
BEGIN; INSERT INTO d VALUES (70, '{99}'); PREPARE TRANSACTION 'integrity_deferred';
\echo :LAST_ERROR_SQLSTATE
BEGIN; DELETE FROM k WHERE id = 67; PREPARE TRANSACTION 'integrity_deferred';
\echo :LAST_ERROR_SQLSTATE
BEGIN; INSERT INTO d VALUES (70, '{99,1}'); INSERT INTO k VALUES (99); PREPARE TRANSACTION 'integrity_deferred';
SET lock_timeout = '100ms';
\set VERBOSITY terse
DELETE FROM k WHERE id = 1;                        -- held FOR KEY SHARE by the prepared transaction
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
RESET lock_timeout;
COMMIT PREPARED 'integrity_deferred';
SELECT n, ids FROM d WHERE n = 70;
DELETE FROM k WHERE id = 99;
\echo :LAST_ERROR_SQLSTATE

--
-- The two tables in two schemas: the rule's name, qualified or not, and ALL reach both sides.
--
CREATE SCHEMA deferred_other;
CREATE TABLE deferred_other.ok (id int PRIMARY KEY);
CREATE TABLE far (ids int[]);
INSERT INTO deferred_other.ok VALUES (1);
SELECT integrity.add_reference('far', 'ids', 'deferred_other.ok', "deferrable" => true, rule_name => 'far_rule');
INSERT INTO far VALUES ('{1}');
BEGIN; SET CONSTRAINTS ALL DEFERRED;
DELETE FROM deferred_other.ok; INSERT INTO deferred_other.ok VALUES (1);
COMMIT;
BEGIN; SET CONSTRAINTS deferred.far_rule DEFERRED;
INSERT INTO far VALUES ('{2}'); INSERT INTO deferred_other.ok VALUES (2);
COMMIT;
-- unqualified, from a search_path with both schemas: see which sides it defers
BEGIN; SET LOCAL search_path = deferred, deferred_other; SET CONSTRAINTS far_rule DEFERRED;
INSERT INTO far VALUES ('{3}'); INSERT INTO deferred_other.ok VALUES (3);
COMMIT;
-- dropping the rule takes its trigger off both tables
SELECT integrity.drop_reference('far', 'far_rule');
SELECT tgrelid::regclass, tgname FROM pg_trigger
 WHERE tgrelid IN ('far'::regclass, 'deferred_other.ok'::regclass) AND NOT tgisinternal ORDER BY 1::text, 2;

-- By hand, as a constraint trigger: the same.
CREATE TABLE hand (ids int[]);
CREATE CONSTRAINT TRIGGER hand_ids_fkey AFTER INSERT OR UPDATE ON hand DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (integrity.refers(NEW.ids, (NULL::k).id)) EXECUTE FUNCTION integrity.check_reference();
BEGIN; INSERT INTO hand VALUES ('{80}'); INSERT INTO k VALUES (80); COMMIT;
BEGIN; DELETE FROM k WHERE id = 80; INSERT INTO k VALUES (80); COMMIT;
DELETE FROM k WHERE id = 80;
\echo :LAST_ERROR_SQLSTATE

-- A rename between the delete and the commit does not lose the check that was put off, be it
-- of the rule or of its guard; and no new guard can take the place of the one that will fire.
CREATE TABLE nk (id int PRIMARY KEY);
CREATE TABLE nt (ids int[]);
SELECT integrity.add_reference('nt', 'ids', 'nk', "deferrable" => true, initially_deferred => true);
INSERT INTO nk VALUES (1);
INSERT INTO nt VALUES ('{1}');
BEGIN;
DELETE FROM nk;
ALTER TRIGGER nt_ids_fkey ON nt RENAME TO renamed;
COMMIT;
\echo :SQLSTATE
BEGIN;
DELETE FROM nk;
ALTER TRIGGER nt_ids_fkey ON nk RENAME TO renamed;
COMMIT;
\echo :SQLSTATE
BEGIN;
DELETE FROM nk;
ALTER TRIGGER nt_ids_fkey ON nt RENAME TO renamed;
SELECT integrity.add_guards('nk');
\echo :SQLSTATE
ROLLBACK;
-- A guard that was renamed is replaced by add_guards(): one trigger, named as the rule.
ALTER TRIGGER nt_ids_fkey ON nk RENAME TO renamed;
SELECT integrity.add_guards('nk');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'nk'::regclass AND tgfoid = 'integrity.guard_deferred'::regproc;
DROP TABLE nk, nt;

\set SHOW_CONTEXT never
-- Nor does a drop of the guard, after which PostgreSQL passes over its events: by hand, or with the end of another rule, which
-- takes away what no rule needs by name. (The guard of a native foreign key cannot be dropped at all, and its
-- constraint not while checks of either table wait.) What is no guard goes, and a guard does once the checks were made.
CREATE TABLE ek (id int PRIMARY KEY);
CREATE TABLE et (ids int[], others int[]);
SELECT integrity.add_reference('et', 'ids', 'ek', "deferrable" => true, initially_deferred => true),
       integrity.add_reference('et', 'others', 'ek');
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER no_guard AFTER DELETE ON ek FOR EACH ROW EXECUTE FUNCTION nothing();
INSERT INTO ek VALUES (1), (2);
INSERT INTO et VALUES ('{1}');
BEGIN;
DELETE FROM ek WHERE id = 1;
DROP TRIGGER no_guard ON ek;
DROP TRIGGER IF EXISTS no_guard ON ek;
DROP TRIGGER IF EXISTS no_guard ON nowhere;
DROP TRIGGER et_ids_fkey ON ek;
\echo :SQLSTATE
COMMIT;
BEGIN;
DELETE FROM ek WHERE id = 1;
ALTER TRIGGER et_ids_fkey ON et RENAME TO renamed;
SELECT integrity.drop_reference('et', 'et_others_fkey');
\echo :SQLSTATE
COMMIT;
TABLE ek;
-- A rule is not dropped either, as a constraint is not; alter_table() would make another one of it, which may be not valid.
SELECT integrity.drop_reference('et', 'et_others_fkey');
SELECT integrity.add_reference('et', 'others', 'ek', "deferrable" => true, not_valid => true, rule_name => 'loose');
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO et (others) VALUES ('{99}');
SELECT integrity.alter_table('ek', 'ALTER COLUMN id TYPE bigint');
\echo :SQLSTATE
COMMIT;
BEGIN;
INSERT INTO et VALUES ('{2}');
DROP TRIGGER et_ids_fkey ON et;
\echo :SQLSTATE
COMMIT;
BEGIN;
INSERT INTO et VALUES ('{99}');
DROP TABLE ek CASCADE;
ROLLBACK;
BEGIN;
DELETE FROM ek WHERE id = 2;
SET CONSTRAINTS ALL IMMEDIATE;
DROP TRIGGER et_ids_fkey ON ek;
ROLLBACK;
DROP TABLE ek, et;

RESET search_path;
DROP SCHEMA deferred CASCADE;
DROP SCHEMA deferred_other CASCADE;
RESET client_min_messages;
