-- One session that serves many clients, as behind a connection pooler: it remembers rules and plans while tables are altered,
-- roles change, statements fail and everything is discarded. After each of these 99 is refused, a delete acts, and the
-- session is the role that it was. Guards: what is remembered is asked whether it still holds, and what is switched for an
-- action (role, security context) is switched back, by errors too.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
CREATE SCHEMA pooler;
SET search_path = pooler, public;
CREATE ROLE regress_pool_a;
CREATE ROLE regress_pool_b;
GRANT USAGE, CREATE ON SCHEMA pooler TO regress_pool_a, regress_pool_b;

CREATE TABLE k (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE r (id int PRIMARY KEY, ks int[], codes text[]);
CREATE INDEX ON r USING gin (ks);
INSERT INTO k SELECT g, 'c' || g FROM generate_series(1, 204) g WHERE g <> 99;
SELECT integrity.add_reference('r', 'ks', 'k', on_delete => 'remove element', on_update => 'cascade'),
       integrity.add_reference('r', 'codes', 'k', 'code', on_delete => 'null element');

-- The statements of the application, prepared once, with generic plans.
SET plan_cache_mode = force_generic_plan;
CREATE TABLE step (n int);
INSERT INTO step VALUES (0);
PREPARE ins(int, int[], text[]) AS INSERT INTO r VALUES ($1, $2, $3);
PREPARE del(int) AS DELETE FROM k WHERE id = $1;
-- acts(): one row with three new keys of which one is deleted and one changed, and a row with 99. 'ok' if all is as it should be.
CREATE FUNCTION acts() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  at int;
  got text;
BEGIN
  UPDATE step SET n = n + 3 RETURNING n INTO at;
  EXECUTE format('EXECUTE ins(%s, %L, %L)', at, ARRAY[at, at - 1, at - 2], ARRAY['c' || at]);
  EXECUTE format('EXECUTE del(%s)', at);
  UPDATE k SET id = id + 1000 WHERE id = at - 1;
  SELECT r.ks::text || ' ' || r.codes::text INTO got FROM r WHERE id = at;
  BEGIN
    EXECUTE format('EXECUTE ins(%s, %L, NULL)', at + 500, '{99}');
    RETURN '99 came in';
  EXCEPTION WHEN foreign_key_violation THEN NULL;
  END;
  RETURN CASE WHEN got = format('{%s,%s} {NULL}', at + 999, at - 2) THEN 'ok' ELSE got END;
END $$;
SELECT acts(), acts();

-- 1. DISCARD, RESET, LOAD.
DISCARD PLANS;
SELECT acts();
DISCARD TEMP;
SELECT acts();
DEALLOCATE ALL;
PREPARE ins(int, int[], text[]) AS INSERT INTO r VALUES ($1, $2, $3);
PREPARE del(int) AS DELETE FROM k WHERE id = $1;
SELECT acts();
LOAD 'integrity';
SELECT acts();
RESET ALL;
SET client_min_messages = warning;
SET search_path = pooler, public;
SELECT acts();
DISCARD ALL;
SET client_min_messages = warning;
SET search_path = pooler, public;
SET plan_cache_mode = force_generic_plan;
PREPARE ins(int, int[], text[]) AS INSERT INTO r VALUES ($1, $2, $3);
PREPARE del(int) AS DELETE FROM k WHERE id = $1;
SELECT acts();

-- 2. DDL under prepared statements. (Renames: dba_life.)
ALTER TRIGGER r_ks_fkey ON r RENAME TO renamed;
SELECT acts();
ALTER TABLE r OWNER TO regress_pool_a;
\echo :SQLSTATE
SELECT acts();                                                 -- the new owner may not reference k
GRANT REFERENCES ON k TO regress_pool_a;
SELECT acts();
ALTER TABLE k OWNER TO regress_pool_b;
SELECT acts();
-- The index of the key: made anew beside it, then instead of it. Without one the rules go, and come back.
CREATE UNIQUE INDEX k_other ON k (id);
SELECT acts();
BEGIN;
ALTER TABLE k DROP CONSTRAINT k_pkey CASCADE;
SELECT rule_name FROM integrity.reference WHERE referencing_table = 'r'::regclass;
SELECT integrity.add_reference('r', 'ks', 'k', 'id', on_delete => 'remove element', on_update => 'cascade');
SELECT acts();
COMMIT;
ALTER TABLE k ADD PRIMARY KEY USING INDEX k_other;
SELECT acts();
REINDEX TABLE k;
SELECT acts();
CLUSTER k USING k_other;
SELECT acts();
-- Types, by the call that keeps rules.
SELECT integrity.alter_table('k', 'ALTER COLUMN id TYPE bigint');
SELECT acts();
SELECT integrity.alter_table('r', 'ALTER COLUMN ks TYPE bigint[]');
DEALLOCATE ins;
PREPARE ins(int, bigint[], text[]) AS INSERT INTO r VALUES ($1, $2, $3);
SELECT acts();
-- Actions.
CREATE OR REPLACE TRIGGER r_codes_fkey AFTER INSERT OR UPDATE ON r FOR EACH ROW
  WHEN (integrity.refers(NEW.codes, (NULL::k).code)) EXECUTE FUNCTION integrity.check_reference('on_delete=remove element', 'on_empty=set null');
SELECT acts();                                                 -- not {NULL} but NULL, and so is what it is put behind
CREATE OR REPLACE TRIGGER r_codes_fkey AFTER INSERT OR UPDATE ON r FOR EACH ROW
  WHEN (integrity.refers(NEW.codes, (NULL::k).code)) EXECUTE FUNCTION integrity.check_reference('on_delete=remove element');
SELECT acts();
CREATE OR REPLACE TRIGGER r_codes_fkey AFTER INSERT OR UPDATE ON r FOR EACH ROW
  WHEN (integrity.refers(NEW.codes, (NULL::k).code)) EXECUTE FUNCTION integrity.check_reference('on_delete=null element');
SELECT acts();
-- Dropped columns before and behind.
ALTER TABLE k ADD COLUMN x int DEFAULT 1;
ALTER TABLE r ADD COLUMN x int[];
SELECT acts();
ALTER TABLE k DROP COLUMN x;
ALTER TABLE r DROP COLUMN x;
SELECT acts();

-- 3. The extension goes and comes, in the session that has used it.
DROP EXTENSION integrity CASCADE;
INSERT INTO r VALUES (-1, '{99}', NULL);
DELETE FROM r WHERE id = -1;
CREATE EXTENSION integrity SCHEMA public;
SELECT integrity.add_reference('r', 'ks', 'k', on_delete => 'remove element', on_update => 'cascade'),
       integrity.add_reference('r', 'codes', 'k', 'code', on_delete => 'null element');
SELECT acts();
-- In one transaction, and back again.
BEGIN;
DROP EXTENSION integrity CASCADE;
CREATE EXTENSION integrity SCHEMA public;
SELECT integrity.add_reference('r', 'ks', 'k', on_delete => 'null element');
INSERT INTO r VALUES (-1, '{99}', NULL);
ROLLBACK;
SELECT acts();

-- 4. Roles. Neither may read the other's table; actions need no more than the DELETE.
CREATE POLICY none ON r USING (false);
ALTER TABLE r ENABLE ROW LEVEL SECURITY;
GRANT INSERT ON r TO regress_pool_b;
GRANT INSERT ON k TO regress_pool_a;
INSERT INTO r VALUES (-1, '{201,202,203}', NULL);
SET ROLE regress_pool_b;
DELETE FROM k WHERE id = 201;
SET SESSION AUTHORIZATION regress_pool_b;
DELETE FROM k WHERE id = 202;
SELECT session_user, current_user;
INSERT INTO r VALUES (-2, '{99}', NULL);                       -- the policy has no check for it
SET SESSION AUTHORIZATION regress_pool_a;
INSERT INTO r VALUES (-2, '{99}', NULL);                       -- a owns r
SELECT current_user;
RESET SESSION AUTHORIZATION;
RESET ROLE;
SELECT id, ks FROM r WHERE id < 0;
ALTER TABLE r DISABLE ROW LEVEL SECURITY;
DROP POLICY none ON r;

-- 5. Errors in the midst of an action: the session is who it was, and the next statement is none the worse.
ALTER TABLE r ADD CONSTRAINT few CHECK (cardinality(ks) > 0);
INSERT INTO r VALUES (-3, '{204}', NULL);
SET ROLE regress_pool_b;
DELETE FROM k WHERE id = 204;
SELECT current_user;
BEGIN;
SAVEPOINT s;
DELETE FROM k WHERE id = 204;
ROLLBACK TO s;
SELECT current_user;
DELETE FROM k WHERE id = 203;
COMMIT;
RESET ROLE;
SELECT id, ks FROM r WHERE id < 0 ORDER BY id;
ALTER TABLE r DROP CONSTRAINT few;
CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 / 0; RETURN NEW; END $$;
CREATE TRIGGER fails BEFORE UPDATE ON r FOR EACH ROW EXECUTE FUNCTION fails();
DELETE FROM k WHERE id = 204;
DROP TRIGGER fails ON r;
DELETE FROM k WHERE id = 204;
SELECT acts();

-- 6. Cursors that outlive their transaction, and prepared reports.
SET session_replication_role = replica;
INSERT INTO r VALUES (-4, '{901,902,903}', NULL);
RESET session_replication_role;
PREPARE report AS SELECT rule_name, references_broken FROM public.integrity_report('r') ORDER BY 1;
BEGIN;
DECLARE listing CURSOR WITH HOLD FOR SELECT row_key, value FROM integrity.broken_references('r', 'r_ks_fkey') ORDER BY value;
DECLARE figures CURSOR WITH HOLD FOR SELECT rule_name, references_broken FROM public.integrity_report('r') ORDER BY 1;
FETCH listing;
DELETE FROM r WHERE id = -4;
COMMIT;
FETCH ALL listing;
FETCH ALL figures;                                             -- as when it was opened
EXECUTE report;
CLOSE ALL;
-- Beside DDL.
ALTER TABLE r RENAME COLUMN ks TO elements;
EXECUTE report;
ALTER TABLE r RENAME COLUMN elements TO ks;

-- 7. Temporary tables with rules, and DISCARD TEMP with them.
CREATE TEMP TABLE tk (id int PRIMARY KEY);
CREATE TEMP TABLE tr (ks int[]);
SELECT integrity.add_reference('tr', 'ks', 'tk', on_delete => 'remove element');
INSERT INTO tk VALUES (1), (2);
INSERT INTO tr VALUES ('{1,2}');
DELETE FROM tk WHERE id = 1;
TABLE tr;
DISCARD TEMP;
SELECT count(*) FROM integrity.reference WHERE referencing_table = to_regclass('tr');
CREATE TEMP TABLE tk (id int PRIMARY KEY);
CREATE TEMP TABLE tr (ks int[]);
SELECT integrity.add_reference('tr', 'ks', 'tk', on_delete => 'null element');
INSERT INTO tk VALUES (1), (2);
INSERT INTO tr VALUES ('{1,2}');
DELETE FROM tk WHERE id = 1;
TABLE tr;
BEGIN;
CREATE TEMP TABLE ck (id int PRIMARY KEY) ON COMMIT DROP;
CREATE TEMP TABLE cr (ks int[]) ON COMMIT DROP;
SELECT integrity.add_reference('cr', 'ks', 'ck', "deferrable" => true, initially_deferred => true);
INSERT INTO cr VALUES ('{1}');
INSERT INTO ck VALUES (1);
COMMIT;
SELECT acts();

DISCARD ALL;
SET client_min_messages = warning;
DROP SCHEMA pooler CASCADE;
DROP ROLE regress_pool_a, regress_pool_b;
