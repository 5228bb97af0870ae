-- UPDATEs of a referencing column are checked by a trigger of their own, which queues nothing for a row whose column is
-- stored as it was. What it must never do is miss one that was changed, by whomever, or check less than the rule would.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE SCHEMA updates;
SET search_path = updates, public;

CREATE VIEW rules AS
  SELECT referencing_table AS "table", rule_name, enforced, validated, guarded, problem FROM integrity.reference
   WHERE referencing_table::text ~ '^(updates\.)?[a-z_0-9]+$' AND (SELECT relnamespace FROM pg_class WHERE oid = referencing_table) = 'updates'::regnamespace;
CREATE FUNCTION triggers_of(of regclass) RETURNS TABLE (name name, state "char", clone bool, definition text) LANGUAGE sql AS $$
  SELECT tgname, tgenabled, tgparentid <> 0, regexp_replace(pg_get_triggerdef(oid), '^CREATE TRIGGER ("([^"]|"")+"|\S+) ', '')
    FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal ORDER BY 1 $$;
-- How many rows were queued for the check.
CREATE FUNCTION queued(of regclass, statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  line text;
  calls bigint := 0;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) ' || statement LOOP
    calls := calls + COALESCE(substring(line FROM 'Trigger (?:.*_update)(?: on \S+)?: calls=(\d+)')::bigint, 0);
  END LOOP;
  RETURN calls;
END $$;

CREATE TABLE k (id int PRIMARY KEY, code text UNIQUE);
INSERT INTO k SELECT g, 'c' || g FROM generate_series(1, 2000) AS g;
CREATE TABLE t (id int PRIMARY KEY, ids int[], note int);
SELECT integrity.add_reference('t', 'ids', 'k');
SELECT name, state, definition FROM triggers_of('t');
INSERT INTO t VALUES (1, '{1,2}', 0), (2, NULL, 0), (3, '{}', 0);
-- out of line, and compressed
INSERT INTO t SELECT 4, array_agg(id ORDER BY hashint4(id)), 0 FROM k;
INSERT INTO t SELECT 5, array_fill(7, ARRAY[5000]), 0;

-- 1. Queued is what differs, and nothing else: another column, the same value, a value that goes.
SELECT queued('t', 'UPDATE t SET note = note + 1');
SELECT queued('t', 'UPDATE t SET ids = ids');
SELECT queued('t', 'UPDATE t SET ids = NULL WHERE id IN (2, 3)');
SELECT queued('t', 'UPDATE t SET ids = ids || 3');
-- What only loses elements, as by an action, adds none; where it lies out of line nobody looks.
SELECT queued('t', 'UPDATE t SET ids = array_remove(ids, 3)');
SELECT queued('t', 'UPDATE t SET ids = ''{2,1}'' WHERE id = 1'), queued('t', 'UPDATE t SET ids = ''{1,1}'' WHERE id = 1'),
       queued('t', 'UPDATE t SET ids = ''{1,2,3,4}'' WHERE id = 1'), queued('t', 'UPDATE t SET ids = ''{2,4}'' WHERE id = 1'),
       queued('t', 'UPDATE t SET ids = ''{{4},{3}}'' WHERE id = 1'), queued('t', 'UPDATE t SET ids = ''{4,NULL}'' WHERE id = 1'),
       queued('t', 'UPDATE t SET ids = ''{4}'' WHERE id = 1'), queued('t', 'UPDATE t SET ids = ''{1,2,3}'' WHERE id IN (1, 2, 3)');
SELECT queued('t', 'UPDATE t SET ids = ''{5}'' WHERE id = 3');
SELECT id, cardinality(ids), note FROM t ORDER BY id;
SELECT queued('t', 'UPDATE t SET ids = ''{2,2}'' WHERE id = 1');   -- from {1,2,3}: twice now
UPDATE t SET ids = '{1,2,3}' WHERE id = 1;
-- refused: of a short one, of one out of line, from null, and where several rows change
UPDATE t SET ids = ids || 2001 WHERE id = 1;
UPDATE t SET ids = ids || 2001 WHERE id = 4;
UPDATE t SET ids = '{2001}' WHERE id = 2;
UPDATE t SET ids = CASE id WHEN 3 THEN '{2001}' ELSE ids END, note = 9;
\echo :SQLSTATE
-- nothing of the TOAST table is read where the column stays
SELECT pg_stat_force_next_flush();
BEGIN;
UPDATE t SET note = 3;
SELECT sum(pg_stat_get_xact_blocks_fetched(reltoastrelid)) FROM pg_class WHERE oid = 't'::regclass;
ROLLBACK;

-- 2. However the column gets its value.
CREATE FUNCTION change_ids() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.ids := NEW.ids || NEW.note; RETURN NEW; END $$;
CREATE TRIGGER change_ids BEFORE UPDATE ON t FOR EACH ROW WHEN (NEW.note > 1000) EXECUTE FUNCTION change_ids();
UPDATE t SET note = 1500 WHERE id = 1;                          -- a BEFORE trigger, and the column is not in the list
UPDATE t SET note = 3000 WHERE id = 1;
INSERT INTO t VALUES (1, '{}') ON CONFLICT (id) DO UPDATE SET ids = '{4000}';
MERGE INTO t USING (VALUES (1)) AS s (id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET ids = '{4001}';
WITH w AS (UPDATE t SET ids = '{4002}' WHERE id = 1 RETURNING 1) SELECT FROM w;
SELECT ids FROM t WHERE id = 1;
-- A row that an AFTER trigger writes again before its own check: both versions are asked for what they added.
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE t SET ids = CASE note WHEN 10 THEN '{1}' WHEN 11 THEN ids WHEN 12 THEN ids || 5000 END WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER a_again AFTER INSERT OR UPDATE ON t FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND NEW.note IN (10, 11, 12)) EXECUTE FUNCTION again();
INSERT INTO t VALUES (6, '{5000}', 10);                         -- gone again
INSERT INTO t VALUES (7, '{5000}', 11);                         -- still there, and the second UPDATE adds nothing
INSERT INTO t VALUES (8, '{1}', 12);                            -- comes with the second
UPDATE t SET ids = '{5000}', note = 10 WHERE id = 6;
UPDATE t SET ids = '{5000}', note = 11 WHERE id = 6;
UPDATE t SET ids = '{1}', note = 12 WHERE id = 6;
SELECT id, ids FROM t WHERE id > 5;
DROP TRIGGER change_ids ON t;
DROP TRIGGER a_again ON t;
-- As a deferrable rule, all in one trigger, and as one that is written so by hand.
CREATE TABLE d (id int PRIMARY KEY, ids int[], more int[]);
SELECT integrity.add_reference('d', 'ids', 'k', "deferrable" => true);
CREATE TRIGGER by_hand AFTER INSERT OR UPDATE ON d FOR EACH ROW WHEN (integrity.refers(NEW.more, (NULL::k).id)) EXECUTE FUNCTION integrity.check_reference();
SELECT name FROM triggers_of('d');
INSERT INTO d VALUES (1, '{1}', '{1}');
UPDATE d SET ids = '{5000}';
UPDATE d SET more = '{5000}';
BEGIN;
SET CONSTRAINTS d_ids_fkey DEFERRED;
UPDATE d SET ids = '{5000}';
COMMIT;
SELECT * FROM rules WHERE "table" = 'd'::regclass ORDER BY 2;

-- 3. The rule says whether it is enforced, whatever the other trigger's state is.
ALTER TABLE t DISABLE TRIGGER t_ids_fkey;
UPDATE t SET ids = '{5000}' WHERE id = 2;
SELECT * FROM rules WHERE "table" = 't'::regclass;
UPDATE t SET ids = '{1}' WHERE id = 2;
ALTER TABLE t ENABLE TRIGGER t_ids_fkey;
UPDATE t SET ids = '{5000}' WHERE id = 2;
-- Without it a rule is not guarded, and both ways to make it so bring it back.
ALTER TABLE t DISABLE TRIGGER t_ids_fkey_update;
SELECT * FROM rules WHERE "table" = 't'::regclass;
ALTER TABLE t ENABLE TRIGGER t_ids_fkey;
SELECT * FROM rules WHERE "table" = 't'::regclass;
DROP TRIGGER t_ids_fkey_update ON t;
SELECT * FROM rules WHERE "table" = 't'::regclass;
UPDATE t SET ids = '{5000}' WHERE id = 2;                       -- the leak that this is about
SELECT advice FROM integrity_report() WHERE referencing_table = 't'::regclass;
SELECT integrity.add_guards('k');                               -- it is on the other table
SELECT guarded FROM rules WHERE "table" = 't'::regclass;
SELECT integrity.add_guards('t');
SELECT * FROM rules WHERE "table" = 't'::regclass;              -- looked at again, and it does not hold
UPDATE t SET ids = '{5001}' WHERE id = 2;
UPDATE t SET ids = '{1}' WHERE id = 2;
SELECT integrity.validate_reference('t', 't_ids_fkey');
SELECT name, state FROM triggers_of('t');
ALTER TABLE t DISABLE TRIGGER t_ids_fkey_update;
SELECT integrity.add_guards('t');
SELECT name, state FROM triggers_of('t');
-- Another trigger that is enabled is no reason to, and the rule's own is; then its rows are looked at, too.
ALTER TABLE t DISABLE TRIGGER t_ids_fkey_update;
UPDATE t SET ids = '{5000}' WHERE id = 2;
CREATE TRIGGER other AFTER UPDATE ON t FOR EACH ROW WHEN (false) EXECUTE FUNCTION change_ids();
ALTER TABLE t ENABLE TRIGGER other;
ALTER TABLE t ENABLE REPLICA TRIGGER t_ids_fkey_update;
SELECT enforced, validated, guarded FROM rules WHERE "table" = 't'::regclass;
ALTER TABLE t ENABLE TRIGGER t_ids_fkey;
SELECT enforced, validated, guarded FROM rules WHERE "table" = 't'::regclass;
DROP TRIGGER other ON t;
UPDATE t SET ids = '{1}' WHERE id = 2;
SELECT integrity.validate_reference('t', 't_ids_fkey');
-- ALWAYS and REPLICA go for both, and what is queued is checked, whatever the role is by then.
ALTER TABLE t ENABLE ALWAYS TRIGGER t_ids_fkey;
SELECT name, state FROM triggers_of('t');
SET session_replication_role = replica;
UPDATE t SET ids = '{5000}' WHERE id = 2;
RESET session_replication_role;
UPDATE t SET ids = '{5000}' WHERE id = 2 RETURNING set_config('session_replication_role', 'replica', false);
RESET session_replication_role;
ALTER TABLE t ENABLE TRIGGER t_ids_fkey;
SELECT name, state FROM triggers_of('t');
UPDATE t SET ids = '{5000}' WHERE id = 2 RETURNING set_config('session_replication_role', 'replica', false);
RESET session_replication_role;
ALTER TABLE t ENABLE REPLICA TRIGGER t_ids_fkey;
SELECT name, state FROM triggers_of('t');
UPDATE t SET ids = '{5000}' WHERE id = 2;                       -- as it would be inserted
SET session_replication_role = replica;
UPDATE t SET ids = '{5001}' WHERE id = 2;
UPDATE t SET ids = '{1}' WHERE id = 2;
RESET session_replication_role;
ALTER TABLE t DISABLE TRIGGER ALL;
ALTER TABLE t ENABLE TRIGGER ALL;
SELECT name, state FROM triggers_of('t');
-- Of another state than the rule's it fires less, or cannot tell.
ALTER TABLE t ENABLE ALWAYS TRIGGER t_ids_fkey_update;
SELECT guarded FROM rules WHERE "table" = 't'::regclass;
UPDATE t SET ids = '{5000}' WHERE id = 2;
ALTER TABLE t ENABLE TRIGGER t_ids_fkey_update;
SELECT guarded FROM rules WHERE "table" = 't'::regclass;
SET session_replication_role = replica;
UPDATE t SET ids = '{5000}' WHERE id = 2;                       -- as with a foreign key
UPDATE t SET ids = '{1}' WHERE id = 2;
RESET session_replication_role;
-- It is not to be dropped or disabled while checks wait, nor is the rule that they ask.
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE TG_ARGV[0]; RETURN NULL; END $$;
CREATE TABLE part (id int, ids int[]) PARTITION BY LIST (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2);
SELECT integrity.add_reference('part', 'ids', 'k');
INSERT INTO part VALUES (1, '{1}'), (2, '{2}');
CREATE TRIGGER a_meddle AFTER UPDATE ON part1 FOR EACH ROW EXECUTE FUNCTION meddle('ALTER TABLE updates.part DISABLE TRIGGER part_ids_fkey');
UPDATE part1 SET ids = '{5000}';
CREATE OR REPLACE TRIGGER a_meddle AFTER UPDATE ON part1 FOR EACH ROW EXECUTE FUNCTION meddle('ALTER TABLE updates.part DISABLE TRIGGER part_ids_fkey_update');
UPDATE part1 SET ids = '{5000}';
CREATE OR REPLACE TRIGGER a_meddle AFTER UPDATE ON part1 FOR EACH ROW EXECUTE FUNCTION meddle('DROP TRIGGER part_ids_fkey_update ON updates.part');
UPDATE part1 SET ids = '{5000}';
CREATE OR REPLACE TRIGGER a_meddle AFTER UPDATE ON part1 FOR EACH ROW EXECUTE FUNCTION
  meddle('CREATE OR REPLACE TRIGGER part_ids_fkey_update AFTER UPDATE ON updates.part FOR EACH ROW
          WHEN (integrity.refers_anew(OLD.ids, NEW.ids, (NULL::updates.part).id)) EXECUTE FUNCTION integrity.check_update()');
UPDATE part1 SET ids = '{5000}';
CREATE OR REPLACE TRIGGER a_meddle AFTER UPDATE ON part1 FOR EACH ROW EXECUTE FUNCTION
  meddle('CREATE OR REPLACE TRIGGER part_ids_fkey AFTER INSERT ON updates.part FOR EACH ROW EXECUTE FUNCTION updates.meddle()');
UPDATE part1 SET ids = '{5000}';
CREATE OR REPLACE TRIGGER a_meddle AFTER UPDATE ON part1 FOR EACH ROW EXECUTE FUNCTION meddle('ALTER TABLE updates.part ENABLE ALWAYS TRIGGER part_ids_fkey_update');
UPDATE part1 SET ids = '{5000}';
DROP TRIGGER a_meddle ON part1;
ALTER TABLE part ENABLE ALWAYS TRIGGER part_ids_fkey;
CREATE TRIGGER a_meddle AFTER UPDATE ON part1 FOR EACH ROW EXECUTE FUNCTION meddle('ALTER TABLE updates.part ENABLE TRIGGER part_ids_fkey');
ALTER TABLE part1 ENABLE ALWAYS TRIGGER a_meddle;
SET session_replication_role = replica;
UPDATE part1 SET ids = '{5000}';
RESET session_replication_role;
ALTER TABLE part ENABLE TRIGGER part_ids_fkey;
CREATE OR REPLACE TRIGGER a_meddle BEFORE UPDATE ON part1 FOR EACH ROW EXECUTE FUNCTION meddle('SELECT integrity.add_guards(''updates.part'')');
UPDATE part1 SET ids = '{5000}';
CREATE OR REPLACE TRIGGER a_meddle BEFORE UPDATE ON part1 FOR EACH ROW EXECUTE FUNCTION meddle('SELECT integrity.add_guards(''updates.part1'')');
UPDATE part1 SET ids = '{5000}';
DROP TRIGGER a_meddle ON part1;

-- 4. Partitions: clones of both, each enforced as its own rule is; rows that move; tables that come with rules of their own.
SELECT tgrelid::regclass AS "table", tgname, tgenabled FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'part%' ORDER BY 1, 2;
UPDATE part SET ids = '{5000}' WHERE id = 1;
UPDATE part1 SET ids = '{5000}';
UPDATE part SET id = 2, ids = '{5000}' WHERE id = 1;
ALTER TABLE part1 DISABLE TRIGGER part_ids_fkey;
UPDATE part1 SET ids = '{5000}';
UPDATE part2 SET ids = '{5000}';
UPDATE part1 SET ids = '{1}';
ALTER TABLE part1 DISABLE TRIGGER part_ids_fkey_update;
SELECT * FROM rules WHERE "table" = 'part'::regclass;
ALTER TABLE part1 ENABLE TRIGGER part_ids_fkey;
SELECT * FROM rules WHERE "table" = 'part'::regclass;
UPDATE part1 SET ids = '{5000}';
ALTER TABLE part2 DISABLE TRIGGER part_ids_fkey_update;         -- of one partition alone
SELECT * FROM rules WHERE "table" = 'part'::regclass;
ALTER TABLE part2 ENABLE ALWAYS TRIGGER part_ids_fkey;
SELECT tgrelid::regclass AS "table", tgname, tgenabled FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'part%' ORDER BY 1, 2;
CREATE TABLE part3 (ids int[], more int, id int);
SELECT integrity.add_reference('part3', 'ids', 'k');
ALTER TABLE part3 DROP COLUMN more;
ALTER TABLE part ATTACH PARTITION part3 FOR VALUES IN (3);
SELECT * FROM triggers_of('part3');
INSERT INTO part VALUES (3, '{3}');
SELECT queued('part3', 'UPDATE part SET ids = ids || 4 WHERE id = 3');
UPDATE part SET ids = '{5000}' WHERE id = 3;
ALTER TABLE part3 DISABLE TRIGGER part_ids_fkey_update;         -- that of its own rule does not stand for the clone
SELECT "table", guarded FROM rules WHERE "table" IN ('part'::regclass, 'part3'::regclass) ORDER BY 1;
ALTER TABLE part3 ENABLE TRIGGER part_ids_fkey_update;
ALTER TABLE part3 DISABLE TRIGGER part_ids_fkey;
UPDATE part SET ids = '{5000}' WHERE id = 3;                    -- its own rule
SELECT * FROM rules WHERE "table" IN ('part'::regclass, 'part3'::regclass) ORDER BY 1;
ALTER TABLE part DETACH PARTITION part3;
SELECT * FROM triggers_of('part3');
UPDATE part3 SET ids = '{5000}';
-- deeper, and with columns in another order
CREATE TABLE part4 (ids int[], id int) PARTITION BY LIST (id);
CREATE TABLE part4a (more int, id int, ids int[]);
ALTER TABLE part4a DROP COLUMN more;
ALTER TABLE part4 ATTACH PARTITION part4a FOR VALUES IN (4);
ALTER TABLE part ATTACH PARTITION part4 FOR VALUES IN (4);
INSERT INTO part VALUES (4, '{4}');
UPDATE part4a SET id = 4;
UPDATE part4a SET ids = '{5000}';
SELECT queued('part4a', 'UPDATE part SET ids = ids || 5');

ALTER TABLE part4a DISABLE TRIGGER part_ids_fkey_update;
SELECT guarded FROM rules WHERE "table" = 'part'::regclass;
SELECT integrity.add_guards('part');
SELECT guarded FROM rules WHERE "table" = 'part'::regclass;
-- What partitions have of their own is looked at as well, whoever brings back the trigger.
SELECT integrity.add_reference('part4a', 'ids', 'k', rule_name => 'own4');
ALTER TABLE part4a DISABLE TRIGGER own4_update;
ALTER TABLE part4a DISABLE TRIGGER part_ids_fkey;
UPDATE part4a SET ids = '{5000}';
SELECT validated, guarded FROM rules WHERE rule_name = 'own4';
SELECT integrity.add_guards('part');
SELECT validated, guarded FROM rules WHERE rule_name = 'own4';
UPDATE part4a SET ids = '{4}';
SELECT integrity.drop_reference('part4a', 'own4');
ALTER TABLE part4a ENABLE TRIGGER part_ids_fkey;
-- A name that the clone will have is given up by ATTACH.
CREATE TABLE part5 (id int, ids int[]);
SELECT integrity.add_reference('part5', 'ids', 'k', rule_name => 'part_ids_fkey');
ALTER TRIGGER part_ids_fkey ON part5 RENAME TO own5;
ALTER TABLE part ATTACH PARTITION part5 FOR VALUES IN (5);
SELECT name, clone FROM triggers_of('part5');
DROP TABLE part5;
-- What an attached table has of its own goes without the clones, and the clones without it.
ALTER TABLE part ATTACH PARTITION part3 FOR VALUES IN (3);
SELECT integrity.drop_reference('part3', 'part3_ids_fkey');
SELECT name, clone FROM triggers_of('part3');
SELECT integrity.add_reference('part3', 'ids', 'k', rule_name => 'own');
SELECT integrity.drop_reference('part', 'part_ids_fkey');
SELECT name, clone FROM triggers_of('part3');
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'part%' AND tgrelid <> 'part3'::regclass;

-- 5. One for each rule, by a name that is free.
CREATE TABLE two (id int PRIMARY KEY, ids int[], codes text[], "odd ""name" int[]);
CREATE TRIGGER first_update AFTER UPDATE ON two FOR EACH ROW WHEN (false) EXECUTE FUNCTION meddle();
SELECT integrity.add_reference('two', 'ids', 'k', rule_name => 'first');
CREATE TABLE k2 (id int PRIMARY KEY);
INSERT INTO k2 SELECT generate_series(1, 10);
SELECT integrity.add_reference('two', 'ids', 'k2', rule_name => 'second');
SELECT integrity.add_reference('two', 'codes', 'k', 'code');
SELECT integrity.add_reference('two', 'odd "name', 'k2', rule_name => 'a rule with a name that is as long as PostgreSQL can have them...');
SELECT integrity.add_reference('two', 'odd "name', 'k', rule_name => 'a rule with a name that is as long as PostgreSQL can hav: the other');
SELECT name, definition FROM triggers_of('two');
INSERT INTO two VALUES (1, '{1}', '{c1}', '{1}');
UPDATE two SET ids = '{11}';
UPDATE two SET ids = '{5000}';
UPDATE two SET codes = '{d}';
UPDATE two SET "odd ""name" = '{11}';
SELECT queued('two', 'UPDATE two SET codes = ''{c2}''');
ALTER TABLE two RENAME COLUMN ids TO numbers;
UPDATE two SET numbers = '{11}';
-- It goes with its rule, whatever takes that, and is not in the way of the column any more.
SELECT integrity.drop_reference('two', 'first');
UPDATE two SET numbers = '{11}';
UPDATE two SET numbers = '{10}';
DROP TRIGGER second ON two;
SELECT name FROM triggers_of('two');
UPDATE two SET numbers = '{11}';
ALTER TABLE two ALTER COLUMN numbers TYPE bigint[];
SET client_min_messages = error;
DROP TABLE k2 CASCADE;
RESET client_min_messages;
SELECT name FROM triggers_of('two');
CREATE TABLE k2 (id int PRIMARY KEY);
INSERT INTO k2 SELECT generate_series(1, 10);
-- Two rules that say the same: each has its own, and each rule is asked.
SELECT integrity.add_reference('two', 'numbers', 'k2', rule_name => 'again');
UPDATE two SET numbers = '{10}';
SELECT integrity.add_reference('two', 'numbers', 'k2', rule_name => 'again');
SELECT integrity.add_reference('two', 'numbers', 'k2', rule_name => 'and_again');
SELECT name FROM triggers_of('two');
ALTER TABLE two DISABLE TRIGGER again;
UPDATE two SET numbers = '{11}';
DROP TRIGGER again ON two;
UPDATE two SET numbers = '{11}';
SELECT name FROM triggers_of('two');
SELECT integrity.add_reference('two', 'numbers', 'k2', rule_name => 'again');
DROP TRIGGER again_update ON two;                               -- the other one does not stand for it
SELECT rule_name, guarded FROM rules WHERE "table" = 'two'::regclass ORDER BY 1;
UPDATE two SET numbers = '{11}';
SELECT integrity.add_guards('two');
SELECT name FROM triggers_of('two') WHERE name LIKE '%again%';
-- Taken apart and put together again each gets its own.
ALTER TABLE two ENABLE ALWAYS TRIGGER again;
SELECT integrity.alter_table('two', 'ALTER COLUMN numbers TYPE int[]');
SELECT name, state FROM triggers_of('two') WHERE name LIKE '%again%';
SELECT integrity.drop_reference('two', 'again');
SELECT name, state FROM triggers_of('two') WHERE name LIKE '%again%';
-- A rule that becomes another trigger, gets another column, or fires on UPDATE itself.
ALTER TABLE two ADD COLUMN more int[];
CREATE OR REPLACE TRIGGER and_again AFTER INSERT ON two FOR EACH ROW WHEN (integrity.refers(NEW.more, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_reference();
UPDATE two SET numbers = '{11}';
UPDATE two SET more = '{11}';
SELECT name, definition FROM triggers_of('two') WHERE name LIKE 'and%';
CREATE OR REPLACE TRIGGER and_again AFTER INSERT OR UPDATE ON two FOR EACH ROW WHEN (integrity.refers(NEW.more, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_reference();
UPDATE two SET more = '{11}';
SELECT name FROM triggers_of('two') WHERE name LIKE 'and%';
CREATE OR REPLACE TRIGGER and_again AFTER INSERT ON two FOR EACH ROW WHEN (integrity.refers(NEW.more, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_reference();
SELECT name FROM triggers_of('two') WHERE name LIKE 'and%';
CREATE OR REPLACE TRIGGER and_again AFTER INSERT ON two FOR EACH ROW WHEN (false) EXECUTE FUNCTION meddle();
SELECT name FROM triggers_of('two') WHERE name LIKE 'and%';
DROP TRIGGER and_again ON two;
-- A rule that cannot be carried out is in the way of its own column, and of no other; unless it is disabled. As it is restored, the
-- two are made one after the other, and belong together, whichever is first.
CREATE TABLE no_key (code text);
SET check_function_bodies = off;
CREATE TRIGGER broken_update AFTER UPDATE ON two FOR EACH ROW
  WHEN (integrity.refers_anew(OLD.codes, NEW.codes, (NULL::no_key).code)) EXECUTE FUNCTION integrity.check_update();
CREATE TRIGGER broken AFTER INSERT ON two FOR EACH ROW WHEN (integrity.refers(NEW.codes, (NULL::no_key).code)) EXECUTE FUNCTION integrity.check_reference();
CREATE TRIGGER a_rule AFTER INSERT ON d FOR EACH ROW WHEN (integrity.refers(NEW.more, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_reference();
CREATE TRIGGER a_rule_update AFTER UPDATE ON d FOR EACH ROW
  WHEN (integrity.refers_anew(OLD.more, NEW.more, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_update();
RESET check_function_bodies;
UPDATE two SET codes = '{c3}';
UPDATE d SET more = '{11}';
UPDATE d SET more = '{2}';
ALTER TABLE two DISABLE TRIGGER broken;
UPDATE two SET codes = '{c3}';
ALTER TABLE k2 ADD COLUMN later int DEFAULT 1;                  -- the row type is free
DROP TRIGGER broken ON two;
DROP TRIGGER a_rule ON d;
SELECT name FROM triggers_of('two') UNION ALL SELECT name FROM triggers_of('d');
-- A check that runs commands: the rule that it renames behind the other one's back does not keep that from being asked.
CREATE TYPE number AS ENUM ('1', '2', '3');
CREATE FUNCTION as_int(number) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM pg_trigger WHERE tgname = 'a_rule' AND tgrelid = 'updates.casts'::regclass) THEN
    ALTER TRIGGER a_rule ON updates.casts RENAME TO z_rule;
  END IF;
  RETURN $1::text::int;
END $$;
CREATE CAST (number AS int) WITH FUNCTION as_int(number) AS IMPLICIT;
CREATE TABLE casts (id int PRIMARY KEY, ids number[]);
INSERT INTO casts VALUES (1, '{1}');
CREATE TABLE k3 (id int PRIMARY KEY);
INSERT INTO k3 VALUES (1);
CREATE FUNCTION declare_casts() RETURNS void LANGUAGE sql AS $$
  SELECT integrity.add_reference('casts', 'ids', 'k', rule_name => 'a_rule', not_valid => true);
  SELECT integrity.add_reference('casts', 'ids', 'k3', rule_name => 'b_rule', not_valid => true); $$;
SELECT declare_casts();
UPDATE casts SET ids = '{2}';

-- 6. Who may write it by hand, and how: on less than all UPDATEs it does not count.
CREATE TABLE h (id int PRIMARY KEY, ids int[], note int);
CREATE TRIGGER h_rule AFTER INSERT ON h FOR EACH ROW WHEN (integrity.refers(NEW.ids, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_reference();
SELECT name FROM triggers_of('h');
DROP TRIGGER h_rule_update ON h;
CREATE TRIGGER h_rule_update AFTER UPDATE OF note ON h FOR EACH ROW WHEN (integrity.refers_anew(OLD.ids, NEW.ids, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_update();
SELECT guarded FROM rules WHERE "table" = 'h'::regclass;
CREATE OR REPLACE TRIGGER h_rule_update AFTER UPDATE ON h FOR EACH ROW WHEN (integrity.refers_anew(NEW.ids, OLD.ids, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_update();
SELECT guarded FROM rules WHERE "table" = 'h'::regclass;
CREATE OR REPLACE TRIGGER h_rule_update AFTER UPDATE ON h FOR EACH ROW WHEN (integrity.refers_anew(OLD.note, NEW.note, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_update();
SELECT guarded FROM rules WHERE "table" = 'h'::regclass;
CREATE OR REPLACE TRIGGER h_rule_update AFTER UPDATE ON h FOR EACH ROW WHEN (OLD.note > 0 AND integrity.refers_anew(OLD.ids, NEW.ids, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_update();
SELECT guarded FROM rules WHERE "table" = 'h'::regclass;
CREATE OR REPLACE TRIGGER h_rule_update AFTER UPDATE ON h FOR EACH ROW EXECUTE FUNCTION integrity.check_update();
SELECT guarded FROM rules WHERE "table" = 'h'::regclass;
INSERT INTO h VALUES (1, '{1}');
UPDATE h SET ids = '{11}';
\echo :SQLSTATE
CREATE OR REPLACE TRIGGER h_rule_update AFTER UPDATE ON h FOR EACH ROW WHEN (integrity.refers_anew(OLD.ids, NEW.ids, (NULL::k).id)) EXECUTE FUNCTION integrity.check_update();
SELECT guarded FROM rules WHERE "table" = 'h'::regclass;
DROP TRIGGER h_rule_update ON h;
CREATE CONSTRAINT TRIGGER h_rule_update AFTER UPDATE ON h DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (integrity.refers_anew(OLD.ids, NEW.ids, (NULL::k2).id)) EXECUTE FUNCTION integrity.check_update();
SELECT guarded FROM rules WHERE "table" = 'h'::regclass;
DROP TRIGGER h_rule_update ON h;
CREATE TRIGGER h_rule_update BEFORE UPDATE ON h FOR EACH ROW EXECUTE FUNCTION integrity.check_update();
UPDATE h SET ids = '{2}';
\echo :SQLSTATE
CREATE OR REPLACE TRIGGER h_rule_update AFTER UPDATE ON h EXECUTE FUNCTION integrity.check_update();
UPDATE h SET ids = '{2}';
\echo :SQLSTATE
DROP TRIGGER h_rule_update ON h;
CREATE TRIGGER h_wrong AFTER UPDATE ON h FOR EACH ROW WHEN (integrity.refers_anew(OLD.ids, NEW.id, 1)) EXECUTE FUNCTION integrity.check_update();
UPDATE h SET note = 2;
\echo :SQLSTATE
DROP TRIGGER h_wrong ON h;
SELECT integrity.refers_anew(1, 1, 0), integrity.refers_anew(1, 2, 0), integrity.refers_anew('{1}'::int[], NULL, 0), integrity.refers_anew(NULL, '{1}'::int[], 0),
       integrity.refers_anew(NULL::int[], NULL::int[], 0), integrity.refers_anew('{1}'::int[], '{1}'::int[], 0), integrity.refers_anew('{1}'::int[], '{2}'::int[], 0);
-- One id of a rule that came into force late.
CREATE TABLE one (id int PRIMARY KEY, k_id int);
SELECT integrity.add_reference('one', 'k_id', 'k2', enforced => false);
INSERT INTO one VALUES (1, 1);
UPDATE one SET k_id = 99;
UPDATE one SET k_id = 1;
ALTER TABLE one ENABLE TRIGGER one_k_id_fkey;
UPDATE one SET k_id = 99;
SELECT queued('one', 'UPDATE one SET id = id + 1');
SELECT queued('one', 'UPDATE one SET k_id = 2');
-- Of other owners: it is made as the owner of the table that it is on.
CREATE ROLE updates_owner;
CREATE ROLE updates_keys;
GRANT ALL ON SCHEMA updates TO updates_owner, updates_keys;
SET ROLE updates_keys;
CREATE TABLE their_keys (id int PRIMARY KEY);
INSERT INTO their_keys VALUES (1);
GRANT REFERENCES ON their_keys TO updates_owner;
SET ROLE updates_owner;
CREATE TABLE theirs (id int PRIMARY KEY, ids int[]);
SELECT integrity.add_reference('theirs', 'ids', 'their_keys');
INSERT INTO theirs VALUES (1, '{1}');
DROP TRIGGER theirs_ids_fkey_update ON theirs;
REVOKE TRIGGER ON theirs FROM updates_owner;
SET ROLE updates_keys;
SELECT integrity.add_guards('their_keys');                      -- that table is not theirs, and not in their way
SELECT integrity.add_guards('theirs');
RESET ROLE;
SELECT name FROM triggers_of('theirs');
SET ROLE updates_owner;
SELECT integrity.add_guards('theirs');
GRANT TRIGGER ON theirs TO updates_owner;
SELECT integrity.add_guards('theirs');
RESET ROLE;
SELECT name FROM triggers_of('theirs');
UPDATE theirs SET ids = '{2}';
REVOKE REFERENCES ON their_keys FROM updates_owner;
UPDATE theirs SET ids = '{1,1}';                                -- asked only where something is added
UPDATE theirs SET ids = '{2}';
\echo :SQLSTATE

DROP SCHEMA updates CASCADE;
DROP ROLE updates_owner, updates_keys;
