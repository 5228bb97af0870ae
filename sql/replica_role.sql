-- session_replication_role, with a native foreign key beside each rule: what fires, what does not, what the report makes of
-- it, and that DDL is checked in any role. Guards: rules are asked whether they fire together with the guard, not whether
-- they would now (a deferred check at COMMIT), and the event triggers are ENABLE ALWAYS.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
CREATE SCHEMA role;
SET search_path = role, public;

-- refused(statement): the SQLSTATE that it fails with, its deferred checks included; null if it does not. Nothing of it stays.
CREATE FUNCTION refused(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  BEGIN
    EXECUTE statement;
    SET CONSTRAINTS ALL IMMEDIATE;
    RAISE SQLSTATE 'PT999';
  EXCEPTION WHEN OTHERS THEN
    RETURN nullif(SQLSTATE, 'PT999');
  END;
END $$;

CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE r (id int PRIMARY KEY, ks int[], fk int REFERENCES k);
INSERT INTO k SELECT generate_series(1, 20);
SELECT integrity.add_reference('r', 'ks', 'k');
INSERT INTO r VALUES (1, '{1,2}', NULL), (2, NULL, 3), (3, '{4}', NULL), (4, NULL, 5);
CREATE VIEW truth AS  -- independent of the extension
SELECT (SELECT count(*) FROM r CROSS JOIN unnest(ks) e WHERE NOT EXISTS (SELECT FROM k WHERE k.id = e)) AS array_broken,
       (SELECT count(*) FROM r WHERE fk IS NOT NULL AND NOT EXISTS (SELECT FROM k WHERE k.id = fk)) AS native_broken;
CREATE VIEW seen AS
SELECT rule_name, enforced, validated, references_broken, status FROM public.integrity_report('r') ORDER BY rule_name;

-- 1. replica: neither rule nor guard fires, and no foreign key.
SET session_replication_role = replica;
INSERT INTO r VALUES (10, '{97}', 97);
UPDATE r SET ks = ks || 98, fk = 98 WHERE id = 10;
DELETE FROM k WHERE id IN (1, 3);
UPDATE k SET id = 44 WHERE id = 4;
UPDATE k SET id = 55 WHERE id = 5;
RESET session_replication_role;
SELECT * FROM truth;
-- Still enforced and valid by the catalog, both kinds; the report has looked at the rows.
SELECT * FROM seen;
-- An UPDATE that leaves the broken value alone goes through, native too; one that adds another does not.
SELECT refused('UPDATE r SET id = id + 100 WHERE id = 10');
SELECT refused('UPDATE r SET ks = ks || 99 WHERE id = 10'), refused('UPDATE r SET fk = 99 WHERE id = 10');
DELETE FROM r;
DELETE FROM k;
INSERT INTO k SELECT generate_series(1, 20);
INSERT INTO r VALUES (1, '{1,2}', NULL), (2, NULL, 3);

-- A guard that fires in every session does not make its rules do so: they act where they themselves fire.
ALTER TABLE k ENABLE ALWAYS TRIGGER integrity_guard_delete;
SELECT refused('DELETE FROM k WHERE id = 1') AS guard;
SET session_replication_role = replica;
SELECT refused('DELETE FROM k WHERE id = 1') AS guard;
RESET session_replication_role;
ALTER TABLE k ENABLE TRIGGER integrity_guard_delete;
-- And a rule that fires in every session fires with an ordinary guard.
ALTER TABLE r ENABLE ALWAYS TRIGGER r_ks_fkey;
SELECT refused('DELETE FROM k WHERE id = 1') AS guard;
ALTER TABLE r ENABLE TRIGGER r_ks_fkey;

-- 2. ENABLE REPLICA: fires for replication and not in an ordinary session. The report says so.
ALTER TABLE r ENABLE REPLICA TRIGGER r_ks_fkey;
ALTER TABLE k ENABLE REPLICA TRIGGER integrity_guard_delete;
SELECT enforced, guarded FROM integrity.reference WHERE rule_name = 'r_ks_fkey' AND referencing_table = 'r'::regclass;
SELECT refused('INSERT INTO r VALUES (10, ''{99}'')') AS check, refused('DELETE FROM k WHERE id = 1') AS guard;
SET session_replication_role = replica;
SELECT refused('INSERT INTO r VALUES (10, ''{99}'')') AS check, refused('DELETE FROM k WHERE id = 1') AS guard,
       refused('UPDATE k SET id = 30 WHERE id = 1') AS not_this_guard;
RESET session_replication_role;
SELECT rule_name, enforced, status, advice FROM public.integrity_report('r') WHERE kind = 'array reference';

-- 3. ENABLE ALWAYS: in both. A guard that fires alone finds a rule that does not, and leaves its rows alone.
ALTER TABLE k ENABLE ALWAYS TRIGGER integrity_guard_delete;
ALTER TABLE r ENABLE TRIGGER r_ks_fkey;
SET session_replication_role = replica;
SELECT refused('DELETE FROM k WHERE id = 1') AS guard_alone;
RESET session_replication_role;
ALTER TABLE r ENABLE ALWAYS TRIGGER r_ks_fkey;
SELECT enforced, guarded FROM integrity.reference WHERE rule_name = 'r_ks_fkey' AND referencing_table = 'r'::regclass;
SELECT refused('INSERT INTO r VALUES (10, ''{99}'')') AS check, refused('DELETE FROM k WHERE id = 1') AS guard;
SET session_replication_role = replica;
SELECT refused('INSERT INTO r VALUES (10, ''{99}'')') AS check, refused('DELETE FROM k WHERE id = 1') AS guard;
SET session_replication_role = local;
SELECT refused('INSERT INTO r VALUES (10, ''{99}'')') AS check, refused('DELETE FROM k WHERE id = 1') AS guard;
RESET session_replication_role;

-- Every action in the role of replication, many keys in one statement.
CREATE TABLE a (id int PRIMARY KEY, removed int[], nulled int[], unset int[]);
CREATE TABLE gone (id int PRIMARY KEY, rowed int[]);
SELECT integrity.add_reference('a', 'removed', 'k', on_delete => 'remove element', on_empty => 'set null', on_update => 'cascade'),
       integrity.add_reference('a', 'nulled', 'k', on_delete => 'null element', on_update => 'cascade'),
       integrity.add_reference('a', 'unset', 'k', on_delete => 'set null'),
       integrity.add_reference('gone', 'rowed', 'k', on_delete => 'delete row');
ALTER TABLE a ENABLE ALWAYS TRIGGER a_removed_fkey;
ALTER TABLE a ENABLE ALWAYS TRIGGER a_nulled_fkey;
ALTER TABLE a ENABLE ALWAYS TRIGGER a_unset_fkey;
ALTER TABLE gone ENABLE ALWAYS TRIGGER gone_rowed_fkey;
ALTER TABLE k ENABLE ALWAYS TRIGGER integrity_guard_update;
INSERT INTO a VALUES (1, '{11,12,13}', '{11,12,13}', '{14}'), (2, '{11,12}', NULL, '{12,13}');
INSERT INTO gone VALUES (1, '{11,13}'), (2, '{13}');
SET session_replication_role = replica;
DELETE FROM k WHERE id IN (11, 12);
UPDATE k SET id = 130 WHERE id = 13;                           -- on_update of "gone" is no action: refused
DELETE FROM gone;
UPDATE k SET id = 130 WHERE id = 13;
RESET session_replication_role;
SELECT * FROM a ORDER BY id;
DROP TABLE a, gone;

-- 4. Deferred checks. What was queued in an ordinary session is checked, though the session is one of replication by then.
CREATE TABLE d (id int PRIMARY KEY, ks int[], fk int REFERENCES k DEFERRABLE INITIALLY DEFERRED);
SELECT integrity.add_reference('d', 'ks', 'k', "deferrable" => true, initially_deferred => true);
INSERT INTO d VALUES (1, '{7}', NULL), (2, NULL, 8);
BEGIN;
INSERT INTO d VALUES (10, NULL, 99);
SET LOCAL session_replication_role = replica;
COMMIT;
BEGIN;
INSERT INTO d VALUES (10, '{99}', NULL);
SET LOCAL session_replication_role = replica;
COMMIT;
BEGIN;
DELETE FROM k WHERE id = 8;
SET LOCAL session_replication_role = replica;
COMMIT;
BEGIN;
DELETE FROM k WHERE id = 7;
SET LOCAL session_replication_role = replica;
COMMIT;
-- And the other way round nothing was queued.
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM k WHERE id IN (7, 8);
INSERT INTO d VALUES (10, '{99}', 99);
SET LOCAL session_replication_role = origin;
COMMIT;
SELECT rule_name, references_broken FROM public.integrity_report('d') ORDER BY rule_name;
DROP TABLE d;

-- 5. TRIGGER ALL off, load, and on again, as pg_restore --disable-triggers does it. Afterwards both kinds are as they were.
ALTER TABLE r ENABLE TRIGGER r_ks_fkey;
ALTER TABLE r DISABLE TRIGGER ALL;
SELECT rule_name, enforced FROM seen;
COPY r FROM stdin;
20	{2,201}	202
\.
ALTER TABLE r ENABLE TRIGGER ALL;
SELECT * FROM seen;
SELECT refused('INSERT INTO r VALUES (21, ''{99}'')') AS rule, refused('INSERT INTO r VALUES (21, NULL, 99)') AS native;
DELETE FROM r WHERE id = 20;

-- 6. DDL is checked in every role, as that of foreign keys is: rows that are there, partitions that come and go.
CREATE TABLE kp (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE kp1 PARTITION OF kp FOR VALUES FROM (0) TO (10);
CREATE TABLE kp2 PARTITION OF kp FOR VALUES FROM (10) TO (20);
CREATE TABLE rp (id int PRIMARY KEY, ks int[], fk int) PARTITION BY RANGE (id);
CREATE TABLE rp1 PARTITION OF rp FOR VALUES FROM (0) TO (10);
CREATE TABLE rp2 (id int PRIMARY KEY, ks int[], fk int);
INSERT INTO kp VALUES (1), (11);
INSERT INTO rp VALUES (1, '{1}', NULL), (2, NULL, 11);
SET session_replication_role = replica;
INSERT INTO rp VALUES (3, '{99}', NULL);
SELECT refused('CREATE TRIGGER by_hand AFTER INSERT OR UPDATE ON rp FOR EACH ROW WHEN (integrity.refers(NEW.ks, (NULL::kp).id))
                EXECUTE FUNCTION integrity.check_reference()') AS by_hand,
       refused('SELECT integrity.add_reference(''rp'', ''ks'', ''kp'')') AS add_reference;
UPDATE rp SET ks = NULL, fk = 99 WHERE id = 3;
SELECT refused('ALTER TABLE rp ADD FOREIGN KEY (fk) REFERENCES kp') AS native;
DELETE FROM rp WHERE id = 3;
CREATE TRIGGER by_hand AFTER INSERT OR UPDATE ON rp FOR EACH ROW WHEN (integrity.refers(NEW.ks, (NULL::kp).id))
  EXECUTE FUNCTION integrity.check_reference('not valid');
ALTER TABLE rp ADD FOREIGN KEY (fk) REFERENCES kp;
SELECT rule_name, enforced, validated, guarded FROM integrity.reference WHERE referencing_table = 'rp'::regclass ORDER BY 1;
SELECT integrity.validate_reference('rp', 'by_hand');
INSERT INTO rp2 VALUES (11, '{99}', NULL), (12, NULL, 99);
SELECT refused('DELETE FROM rp2 WHERE id = 12; ALTER TABLE rp ATTACH PARTITION rp2 FOR VALUES FROM (10) TO (20)') AS attach,
       refused('DELETE FROM rp2 WHERE id = 11; ALTER TABLE rp ATTACH PARTITION rp2 FOR VALUES FROM (10) TO (20)') AS native;
SELECT refused('ALTER TABLE kp DETACH PARTITION kp1') AS detach, refused('DROP TABLE kp1') AS drop,
       refused('ALTER TABLE kp DETACH PARTITION kp2') AS native;
RESET session_replication_role;
SELECT rule_name, validated, guarded FROM integrity.reference WHERE referencing_table = 'rp'::regclass ORDER BY 1;

DROP SCHEMA role CASCADE;
