SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- Temporary, unlogged and permanent tables: PostgreSQL's own rules for foreign keys (42P16 where refused), because a
-- referenced table may not be emptied by a crash or a session's end that the referencing one survives.
CREATE SCHEMA persistence;
SET search_path = persistence, public;
SET client_min_messages = warning;
CREATE TABLE k_perm (id int PRIMARY KEY);       CREATE TABLE t_perm (ids int[], one int);
CREATE UNLOGGED TABLE k_unlog (id int PRIMARY KEY); CREATE UNLOGGED TABLE t_unlog (ids int[], one int);
CREATE TEMP TABLE k_temp (id int PRIMARY KEY);  CREATE TEMP TABLE t_temp (ids int[], one int);

-- all nine pairs, each beside what a native foreign key says (same_as_native is true nine times)
CREATE FUNCTION try(referencing text, referenced text, OUT array_rule text, OUT native text, OUT same_as_native boolean)
LANGUAGE plpgsql AS $$
BEGIN
  BEGIN
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT probe FOREIGN KEY (one) REFERENCES %I', referencing, referenced);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT probe', referencing); native := 'allowed';
  EXCEPTION WHEN OTHERS THEN native := SQLSTATE || ' ' || SQLERRM; END;
  BEGIN
    PERFORM integrity.add_reference(referencing::regclass, 'ids', referenced::regclass);
    PERFORM integrity.drop_reference(referencing::regclass, (referencing || '_ids_fkey')::name); array_rule := 'allowed';
  EXCEPTION WHEN OTHERS THEN array_rule := SQLSTATE || ' ' || SQLERRM; END;
  same_as_native := left(array_rule, 5) = left(native, 5);
END $$;
SELECT a || ' to ' || b AS pair, (try('t_' || a, 'k_' || b)).*
  FROM (VALUES (1, 'perm'), (2, 'unlog'), (3, 'temp')) x(i, a), (VALUES (1, 'perm'), (2, 'unlog'), (3, 'temp')) y(j, b)
 ORDER BY i, j;
-- the same by hand: no way around
CREATE TRIGGER by_hand AFTER INSERT OR UPDATE ON t_perm FOR EACH ROW
  WHEN (integrity.refers(NEW.ids, (NULL::k_unlog).id)) EXECUTE FUNCTION integrity.check_reference();
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) AS triggers FROM pg_trigger WHERE tgrelid IN ('t_perm'::regclass, 'k_unlog'::regclass) AND NOT tgisinternal;

-- unlogged and temporary pairs enforce like any
SELECT integrity.add_reference('t_unlog', 'ids', 'k_unlog', on_delete => 'remove element');
SELECT integrity.add_reference('t_temp', 'ids', 'k_temp', on_delete => 'remove element');
INSERT INTO k_unlog VALUES (1), (2); INSERT INTO k_temp VALUES (1), (2);
INSERT INTO t_unlog VALUES ('{1,2}'); INSERT INTO t_temp VALUES ('{1,2}');
INSERT INTO t_unlog VALUES ('{3}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t_temp VALUES ('{3}');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM k_unlog WHERE id = 1; DELETE FROM k_temp WHERE id = 1;
SELECT ids FROM t_unlog; SELECT ids FROM t_temp;

-- tables rewritten to another persistence, in an order that leaves no refused pair, still enforce
CREATE TABLE k_a (id int PRIMARY KEY); CREATE TABLE t_a (ids int[]);
SELECT integrity.add_reference('t_a', 'ids', 'k_a');
ALTER TABLE t_a SET UNLOGGED; ALTER TABLE k_a SET UNLOGGED;
INSERT INTO t_a VALUES ('{1}');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE k_a SET LOGGED; ALTER TABLE t_a SET LOGGED;
INSERT INTO t_a VALUES ('{2}');
\echo :LAST_ERROR_SQLSTATE
-- an unlogged table may refer to itself
CREATE UNLOGGED TABLE self_unlog (id int PRIMARY KEY, friends int[]);
SELECT integrity.add_reference('self_unlog', 'friends', 'self_unlog');
INSERT INTO self_unlog VALUES (1, '{1}'), (2, '{3}');
\echo :LAST_ERROR_SQLSTATE
-- a temporary partitioned table
CREATE TEMP TABLE k_part (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TEMP TABLE k_part_1 PARTITION OF k_part FOR VALUES FROM (0) TO (10);
CREATE TEMP TABLE t_part (ids int[]);
SELECT integrity.add_reference('t_part', 'ids', 'k_part', on_delete => 'remove element');
INSERT INTO k_part VALUES (1), (2); INSERT INTO t_part VALUES ('{1,2}');
DELETE FROM k_part WHERE id = 1;
SELECT ids FROM t_part;

-- ON COMMIT DROP: both tables go, the rule with them, and nothing is left
BEGIN;
CREATE TEMP TABLE k_drop (id int PRIMARY KEY) ON COMMIT DROP;
CREATE TEMP TABLE t_drop (ids int[]) ON COMMIT DROP;
SELECT integrity.add_reference('t_drop', 'ids', 'k_drop', on_delete => 'delete row');
INSERT INTO k_drop VALUES (1), (2); INSERT INTO t_drop VALUES ('{1}'), ('{2}');
DELETE FROM k_drop WHERE id = 1;
SELECT * FROM t_drop;
COMMIT;
SELECT to_regclass('k_drop') AS k, to_regclass('t_drop') AS t;
-- only the referencing one
BEGIN;
CREATE TEMP TABLE t_drop (ids int[]) ON COMMIT DROP;
SELECT integrity.add_reference('t_drop', 'ids', 'k_temp');
COMMIT;
DELETE FROM k_temp WHERE id = 2;                    -- t_temp follows, t_drop is gone
SELECT ids FROM t_temp;
-- only the referenced one: PostgreSQL drops it with CASCADE at commit, so the rule goes and the rows stay
CREATE TEMP TABLE t_stay (ids int[]);
BEGIN;
CREATE TEMP TABLE k_drop (id int PRIMARY KEY) ON COMMIT DROP;
INSERT INTO k_drop VALUES (1);
SELECT integrity.add_reference('t_stay', 'ids', 'k_drop');
INSERT INTO t_stay VALUES ('{1}');
COMMIT;
SELECT count(*) AS rules FROM integrity.reference WHERE referencing_table = 't_stay'::regclass;
INSERT INTO t_stay VALUES ('{99}');
-- ON COMMIT DELETE ROWS on both
BEGIN;
CREATE TEMP TABLE k_rows (id int PRIMARY KEY) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE t_rows (ids int[]) ON COMMIT DELETE ROWS;
SELECT integrity.add_reference('t_rows', 'ids', 'k_rows');
INSERT INTO k_rows VALUES (1); INSERT INTO t_rows VALUES ('{1}');
COMMIT;
INSERT INTO t_rows VALUES ('{1}');
\echo :LAST_ERROR_SQLSTATE

DROP TABLE t_temp, k_temp, t_stay, t_rows, k_rows, t_part, k_part;
RESET search_path;
DROP SCHEMA persistence CASCADE;
RESET client_min_messages;
