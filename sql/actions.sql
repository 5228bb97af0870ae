SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- What happens to the referencing rows when a key is deleted or changes.
-- Guards src/reference/guard and src/reference/action.
CREATE SCHEMA actions;
SET search_path = actions, public;
SET client_min_messages = warning;  -- the NOTICE on a missing index belongs to declare.sql

--
-- Every on_delete, every on_empty: one key, then many keys in one statement.
--
CREATE TABLE k (id int PRIMARY KEY, label text);
CREATE TABLE t_remove  (n int PRIMARY KEY, ids int[]);
CREATE TABLE t_setnull (n int PRIMARY KEY, ids int[]);
CREATE TABLE t_delete  (n int PRIMARY KEY, ids int[]);
CREATE TABLE t_null    (n int PRIMARY KEY, ids int[]);
CREATE TABLE t_row     (n int PRIMARY KEY, ids int[]);
CREATE TABLE t_column  (n int PRIMARY KEY, ids int[]);
SELECT integrity.add_reference('t_remove',  'ids', 'k', on_delete => 'remove element');
SELECT integrity.add_reference('t_setnull', 'ids', 'k', on_delete => 'remove element', on_empty => 'set null');
SELECT integrity.add_reference('t_delete',  'ids', 'k', on_delete => 'remove element', on_empty => 'delete row');
SELECT integrity.add_reference('t_null',    'ids', 'k', on_delete => 'null element');
SELECT integrity.add_reference('t_row',     'ids', 'k', on_delete => 'delete row');
SELECT integrity.add_reference('t_column',  'ids', 'k', on_delete => 'set null');

-- One set of rows for all: duplicates, NULL elements, dimensions, lower bounds, empty, NULL.
CREATE TABLE fixture (n int, ids int[]);
INSERT INTO fixture VALUES
  (1, '{1,2,3,4}'), (2, '{2}'), (3, '{2,2}'), (4, '{2,3,2,1,2}'), (5, '{2,NULL}'), (6, '{NULL,1,NULL,2,NULL}'),
  (7, '{{1,2},{2,3}}'), (8, '[0:2]={1,2,3}'), (9, '[-1:-1]={2}'), (10, '[2:3][5:6]={{2,1},{1,2}}'),
  (11, '{}'), (12, '{NULL}'), (13, NULL), (14, '{1,5}'), (15, '{2,4}'), (16, '{{2}}'), (17, '{4,3,5,1,2}');
CREATE FUNCTION refill() RETURNS void LANGUAGE sql AS $$
  DELETE FROM actions.t_remove; DELETE FROM actions.t_setnull; DELETE FROM actions.t_delete;
  DELETE FROM actions.t_null; DELETE FROM actions.t_row; DELETE FROM actions.t_column;
  INSERT INTO actions.k SELECT g, 'key ' || g FROM generate_series(1, 9) g ON CONFLICT DO NOTHING;
  INSERT INTO actions.t_remove SELECT * FROM actions.fixture; INSERT INTO actions.t_setnull SELECT * FROM actions.fixture;
  INSERT INTO actions.t_delete SELECT * FROM actions.fixture; INSERT INTO actions.t_null SELECT * FROM actions.fixture;
  INSERT INTO actions.t_row SELECT * FROM actions.fixture; INSERT INTO actions.t_column SELECT * FROM actions.fixture;
$$;
-- One line a fixture row; "-" is a deleted row. A lower bound that is not 1 is printed by the array itself.
CREATE VIEW outcome AS
  SELECT f.n, f.ids AS before,
         CASE WHEN a.n IS NULL THEN '-' ELSE coalesce(a.ids::text, 'NULL') END AS remove_keep,
         CASE WHEN b.n IS NULL THEN '-' ELSE coalesce(b.ids::text, 'NULL') END AS remove_set_null,
         CASE WHEN c.n IS NULL THEN '-' ELSE coalesce(c.ids::text, 'NULL') END AS remove_delete_row,
         CASE WHEN d.n IS NULL THEN '-' ELSE coalesce(d.ids::text, 'NULL') END AS null_element,
         CASE WHEN e.n IS NULL THEN '-' ELSE coalesce(e.ids::text, 'NULL') END AS delete_row,
         CASE WHEN g.n IS NULL THEN '-' ELSE coalesce(g.ids::text, 'NULL') END AS set_null
    FROM fixture f
    LEFT JOIN t_remove a USING (n) LEFT JOIN t_setnull b USING (n) LEFT JOIN t_delete c USING (n)
    LEFT JOIN t_null d USING (n) LEFT JOIN t_row e USING (n) LEFT JOIN t_column g USING (n);

-- One key. Rows 1, 4, 17: the others keep their order; rows 2, 3, 9: emptied; rows 5, 6: a NULL left over
-- means not empty; rows 7, 10, 16: several dimensions, so the element becomes NULL in its place;
-- row 8 keeps its lower bound; rows 11 to 14 hold no 2: untouched, the old {} too (on_empty is for
-- rows that this delete emptied).
SELECT refill();
DELETE FROM k WHERE id = 2;
SELECT * FROM outcome ORDER BY n;

-- Many keys in one statement: the same answer as one by one.
SELECT refill();
DELETE FROM k WHERE id IN (2, 4, 1);
SELECT * FROM outcome ORDER BY n;
CREATE TABLE together AS SELECT * FROM outcome;
SELECT refill();
DELETE FROM k WHERE id = 4; DELETE FROM k WHERE id = 1; DELETE FROM k WHERE id = 2;
SELECT count(*) AS same_as_one_by_one FROM (SELECT * FROM outcome INTERSECT SELECT * FROM together) s;

-- With GIN indexes the rows are found by another condition: the same answer.
CREATE INDEX ON t_remove USING gin (ids); CREATE INDEX ON t_setnull USING gin (ids); CREATE INDEX ON t_delete USING gin (ids);
CREATE INDEX ON t_null USING gin (ids); CREATE INDEX ON t_row USING gin (ids); CREATE INDEX ON t_column USING gin (ids);
SET enable_seqscan = off;
SELECT refill();
DELETE FROM k WHERE id IN (2, 4, 1);
SELECT count(*) AS same_with_gin FROM (SELECT * FROM outcome INTERSECT SELECT * FROM together) s;
RESET enable_seqscan;
DROP INDEX t_remove_ids_idx, t_setnull_ids_idx, t_delete_ids_idx, t_null_ids_idx, t_row_ids_idx, t_column_ids_idx;

-- All keys: nothing but NULLs and empties is left, no broken reference anywhere.
SELECT refill();
DELETE FROM k;
SELECT * FROM outcome ORDER BY n;

--
-- Each row is rewritten once per statement, not once per key; a row that holds none of the keys not at all.
-- Guards the one pass over the transition table. The AFTER ROW trigger also shows that row triggers of the
-- referencing table fire for the action.
--
CREATE TABLE audit (seq int GENERATED ALWAYS AS IDENTITY, tab text, op text, n int, old int[], new int[]);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    INSERT INTO actions.audit (tab, op, n, old) VALUES (TG_TABLE_NAME, TG_OP, OLD.n, OLD.ids); RETURN OLD;
  END IF;
  INSERT INTO actions.audit (tab, op, n, old, new) VALUES (TG_TABLE_NAME, TG_OP, NEW.n, OLD.ids, NEW.ids); RETURN NEW;
END $$;
SELECT refill();
CREATE TRIGGER audit AFTER UPDATE OR DELETE ON t_remove FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TRIGGER audit BEFORE UPDATE OR DELETE ON t_delete FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TRIGGER audit AFTER UPDATE OR DELETE ON t_row FOR EACH ROW EXECUTE FUNCTION audit();
DELETE FROM k WHERE id IN (1, 2, 3, 4, 5);
SELECT tab, op, n, count(*) AS times FROM audit GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT tab, n, old, new FROM audit WHERE tab = 't_remove' ORDER BY n;
DROP TRIGGER audit ON t_remove; DROP TRIGGER audit ON t_delete; DROP TRIGGER audit ON t_row;

-- A BEFORE trigger of the referencing table may change what the action writes; the change is checked as any
-- other write: 99 is no key.
SELECT refill();
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.ids := NEW.ids || 99; RETURN NEW; END $$;
CREATE TRIGGER meddle BEFORE UPDATE ON t_remove FOR EACH ROW WHEN (NEW.n = 1) EXECUTE FUNCTION meddle();
DELETE FROM k WHERE id = 2;
\echo :LAST_ERROR_SQLSTATE
SELECT n, ids FROM t_remove WHERE n = 1;
DROP TRIGGER meddle ON t_remove;

--
-- Every way to delete a key. After each: no 2 is left (the counts are 0).
--
CREATE VIEW left_over AS
  SELECT (SELECT count(*) FROM t_remove, unnest(ids) e WHERE NOT EXISTS (SELECT FROM k WHERE id = e) AND e IS NOT NULL) AS remove,
         (SELECT count(*) FROM t_null, unnest(ids) e WHERE NOT EXISTS (SELECT FROM k WHERE id = e) AND e IS NOT NULL) AS nulled,
         (SELECT count(*) FROM t_row, unnest(ids) e WHERE NOT EXISTS (SELECT FROM k WHERE id = e) AND e IS NOT NULL) AS deleted,
         (SELECT count(*) FROM k WHERE id = 2) AS key;
-- USING
SELECT refill();
DELETE FROM k USING (VALUES (2)) v(id) WHERE v.id = k.id;
SELECT * FROM left_over;
-- data-modifying CTE; the main query still sees the old arrays
SELECT refill();
WITH d AS (DELETE FROM k WHERE id = 2 RETURNING id) SELECT d.id, t.ids FROM d, t_remove t WHERE t.n = 1;
SELECT * FROM left_over;
-- two deletes of the same table in one statement
SELECT refill();
WITH d AS (DELETE FROM k WHERE id = 2) DELETE FROM k WHERE id = 4;
SELECT * FROM left_over;
SELECT n, ids FROM t_remove WHERE n IN (1, 15) ORDER BY n;
-- MERGE, beside an update and an insert of the same statement
SELECT refill();
DELETE FROM k WHERE id = 9;
MERGE INTO k USING (VALUES (2), (3), (9)) v(id) ON k.id = v.id
  WHEN MATCHED AND k.id = 2 THEN DELETE
  WHEN MATCHED THEN UPDATE SET label = 'merged'
  WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'new');
SELECT * FROM left_over;
-- a native cascade deletes the keys
SELECT refill();
CREATE TABLE owner (id int PRIMARY KEY);
INSERT INTO owner VALUES (1), (2);
ALTER TABLE k ADD owner int REFERENCES owner ON DELETE CASCADE;
UPDATE k SET owner = 1 WHERE id IN (2, 3);
DELETE FROM owner WHERE id = 1;
SELECT * FROM left_over;
SELECT n, ids FROM t_remove WHERE n = 17;
-- ... by two cascades of one statement, which share a transition table
SELECT refill();
INSERT INTO owner VALUES (3);
UPDATE k SET owner = 2 WHERE id = 2;
UPDATE k SET owner = 3 WHERE id IN (3, 4);
DELETE FROM owner;
SELECT * FROM left_over;
SELECT n, ids FROM t_remove WHERE n = 17;
-- a native cascade behind the action: rows deleted by on_empty take their own rows along
SELECT refill();
CREATE TABLE behind (t int REFERENCES t_delete ON DELETE CASCADE);
INSERT INTO behind VALUES (1), (2), (3);
DELETE FROM k WHERE id = 2;
SELECT t FROM behind ORDER BY t;
DROP TABLE behind;
-- a trigger on another table deletes keys, one statement per row
SELECT refill();
CREATE TABLE outbox (id int);
CREATE FUNCTION forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN DELETE FROM actions.k WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER forward AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION forward();
INSERT INTO outbox VALUES (2), (4);
SELECT * FROM left_over;
-- a trigger on the referenced table itself deletes a further key while the delete is under way: the guard's
-- record of what it handled must not hide the inner statement's key from it
SELECT refill();
CREATE FUNCTION chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN DELETE FROM actions.k WHERE id = OLD.id + 1 AND id < 5; RETURN NULL; END $$;
CREATE TRIGGER a_chain AFTER DELETE ON k FOR EACH ROW EXECUTE FUNCTION chain();
DELETE FROM k WHERE id = 2;
SELECT * FROM left_over;
SELECT n, ids FROM t_remove WHERE n IN (1, 17) ORDER BY n;
DROP TRIGGER a_chain ON k;
-- a key that is handled, comes back and is deleted again within one statement: what the guard has on record belongs
-- to one transition table, and the native cascade's DELETE has another one
SELECT refill();
INSERT INTO owner VALUES (1) ON CONFLICT DO NOTHING;
ALTER TABLE k ALTER CONSTRAINT k_owner_fkey DEFERRABLE INITIALLY DEFERRED;
CREATE FUNCTION come_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO actions.k (id, owner) VALUES (OLD.id, 1); UPDATE actions.t_remove SET ids = ids || OLD.id WHERE n = 1; RETURN NULL;
END $$;
CREATE TRIGGER z_come_back AFTER DELETE ON k FOR EACH ROW WHEN (OLD.owner IS NULL) EXECUTE FUNCTION come_back();
WITH a AS (DELETE FROM k WHERE id = 2 RETURNING id) DELETE FROM owner WHERE id = 1 AND EXISTS (SELECT FROM a);
DROP TRIGGER z_come_back ON k;
SELECT * FROM left_over;
SELECT n, ids FROM t_remove WHERE n = 1;
-- a function that deletes, puts back and deletes again in one transaction
SELECT refill();
BEGIN;
DELETE FROM k WHERE id = 2; INSERT INTO k VALUES (2); UPDATE t_remove SET ids = ids || 2 WHERE n = 1; DELETE FROM k WHERE id = 2;
COMMIT;
SELECT * FROM left_over;
SELECT n, ids FROM t_remove WHERE n = 1;
-- a row that this very transaction wrote
SELECT refill();
BEGIN;
INSERT INTO t_remove VALUES (100, '{1,2,3}'); DELETE FROM k WHERE id = 2; SELECT ids FROM t_remove WHERE n = 100;
ROLLBACK;
-- a rolled back delete leaves everything as it was
BEGIN; DELETE FROM k WHERE id = 2; ROLLBACK;
SELECT count(*) AS changed FROM outcome WHERE (coalesce(before::text, 'NULL') = ALL (ARRAY[remove_keep, remove_set_null,
  remove_delete_row, null_element, delete_row, set_null])) IS NOT TRUE;
-- ... to a savepoint, and in a block that catches an error; what the outer level deletes stays deleted
BEGIN;
DELETE FROM k WHERE id = 1;
SAVEPOINT a; DELETE FROM k WHERE id = 2; ROLLBACK TO a;
SELECT ids FROM t_remove WHERE n = 1;
DO $$
BEGIN
  DELETE FROM k WHERE id = 3; RAISE 'undo';
EXCEPTION WHEN raise_exception THEN DELETE FROM k WHERE id = 4; END $$;
COMMIT;
SELECT n, ids FROM t_remove WHERE n IN (1, 17) ORDER BY n;
DROP TABLE t_remove, t_setnull, t_delete, t_null, t_row, t_column CASCADE;

--
-- NO ACTION and RESTRICT refuse; NO ACTION looks whether another row now provides the key, RESTRICT does not.
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
CREATE TABLE t_no (ids int[]);
CREATE TABLE t_restrict (ids int[]);
CREATE TABLE p (id int PRIMARY KEY);
INSERT INTO p SELECT generate_series(1, 6);
SELECT integrity.add_reference('t_no', 'ids', 'p');
SELECT integrity.add_reference('t_restrict', 'ids', 'p', on_delete => 'restrict', on_update => 'restrict');
INSERT INTO t_no VALUES ('{1,2,2}'), ('{{1,NULL},{3,3}}');
INSERT INTO t_restrict VALUES ('{4,5}');
DELETE FROM p WHERE id = 2;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM p WHERE id IN (6, 3);
\echo :LAST_ERROR_SQLSTATE
SELECT restricted('DELETE FROM p WHERE id = 5');
UPDATE p SET id = 20 WHERE id = 2;
\echo :LAST_ERROR_SQLSTATE
SELECT restricted('UPDATE p SET id = 50 WHERE id = 5');
-- a key that nothing holds, and an update that changes no key, pass
DELETE FROM p WHERE id = 6;
UPDATE p SET id = id;
-- the key moves to another row in one statement (a delete and an insert, a shift): NO ACTION passes
WITH d AS (DELETE FROM p WHERE id = 1 RETURNING id) INSERT INTO p SELECT id FROM d;
TRUNCATE t_no, t_restrict; DELETE FROM p;
INSERT INTO p VALUES (3), (2), (1); INSERT INTO t_no VALUES ('{3,2}');
UPDATE p SET id = id + 1;                          -- 2 and 3 are still there, 4 is new: passes
SELECT id FROM p ORDER BY id;
TRUNCATE t_no; INSERT INTO t_restrict VALUES ('{4,3}');
DELETE FROM p WHERE id = 2;
SELECT restricted('UPDATE p SET id = id + 1');     -- RESTRICT asks no such question: refused

--
-- ON UPDATE CASCADE: the element takes the new value in its place.
--
CREATE TABLE c (id int PRIMARY KEY);
CREATE TABLE t_cascade (n int PRIMARY KEY, ids int[]);
INSERT INTO c VALUES (3), (2), (1);
SELECT integrity.add_reference('t_cascade', 'ids', 'c', on_update => 'cascade');
INSERT INTO t_cascade VALUES (1, '{1,2,3}'), (2, '{2,NULL,2}'), (3, '{{1,2},{2,3}}'), (4, '[0:1]={3,2}'), (5, NULL), (6, '{}');
UPDATE c SET id = 20 WHERE id = 2;
SELECT * FROM t_cascade ORDER BY n;
UPDATE c SET id = 2 WHERE id = 20;
-- All keys there and back: the arrays are as before.
BEGIN;
UPDATE c SET id = id + 100; UPDATE c SET id = id - 100;
COMMIT;
SELECT * FROM t_cascade ORDER BY n;
-- A shift in one statement, each key onto the next one's old value: {1,2,3} becomes {2,3,4}, not {4,4,4}.
CREATE TABLE down (id int PRIMARY KEY);
CREATE TABLE t_down (n int, ids int[]);
INSERT INTO down VALUES (3), (2), (1);             -- this order keeps the unique index content
SELECT integrity.add_reference('t_down', 'ids', 'down', on_update => 'cascade');
INSERT INTO t_down VALUES (1, '{1,2,3}'), (2, '{3,1}'), (3, '{{2,1},{3,3}}');
UPDATE down SET id = id + 1;
SELECT * FROM t_down ORDER BY n;
-- A swap in one statement is refused by the unique index itself, as for a native foreign key; nothing moves.
UPDATE down SET id = CASE id WHEN 2 THEN 3 WHEN 3 THEN 2 ELSE id END;
\echo :LAST_ERROR_SQLSTATE
-- A swap through a free value: the elements change places.
BEGIN;
UPDATE down SET id = -2 WHERE id = 2; UPDATE down SET id = 2 WHERE id = 3; UPDATE down SET id = 3 WHERE id = -2;
COMMIT;
SELECT * FROM t_down ORDER BY n;
-- remove element on delete and cascade on update on one rule, both in one statement by MERGE
CREATE TABLE t_both (ids int[]);
SELECT integrity.add_reference('t_both', 'ids', 'down', on_delete => 'remove element', on_update => 'cascade');
DROP TABLE t_down;
INSERT INTO t_both VALUES ('{4,2,3,2}');
MERGE INTO down USING (VALUES (2), (3)) v(id) ON down.id = v.id
  WHEN MATCHED AND down.id = 2 THEN DELETE WHEN MATCHED THEN UPDATE SET id = 30;
SELECT * FROM t_both;

--
-- Several rules: two columns of one row, two tables, two actions, one referenced table.
--
CREATE TABLE r (id int PRIMARY KEY);
CREATE TABLE t_two (n int PRIMARY KEY, a int[], b int[], c int REFERENCES r ON DELETE SET NULL);
INSERT INTO r SELECT generate_series(1, 5);
SELECT integrity.add_reference('t_two', 'a', 'r', on_delete => 'remove element', on_empty => 'set null');
SELECT integrity.add_reference('t_two', 'b', 'r', on_delete => 'null element', on_update => 'cascade');
INSERT INTO t_two VALUES (1, '{1,2}', '{2,1}', 2), (2, '{2}', '{3}', 5), (3, '{3}', '{2,3}', NULL);
DELETE FROM r WHERE id = 2;
SELECT * FROM t_two ORDER BY n;
-- a row that one rule deletes and another rewrites: it is gone
ALTER TABLE t_two ADD d int[];
SELECT integrity.add_reference('t_two', 'd', 'r', on_delete => 'delete row');
UPDATE t_two SET d = '{1}' WHERE n = 1;
DELETE FROM r WHERE id = 1;
SELECT * FROM t_two ORDER BY n;
-- the second rule refuses (column a has no on_update): the first one's work is undone with it
UPDATE r SET id = 30 WHERE id = 3;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM t_two ORDER BY n;

--
-- The same rule written by hand: as good as add_reference(), guards and all.
--
CREATE TABLE t_hand (n int, ids int[]);
INSERT INTO t_hand VALUES (1, '{3,4}'), (2, '{4}');
CREATE TRIGGER t_hand_ids_fkey AFTER INSERT OR UPDATE ON t_hand FOR EACH ROW
  WHEN (integrity.refers(NEW.ids, (NULL::r).id))
  EXECUTE FUNCTION integrity.check_reference('on_delete=remove element', 'on_empty=delete row', 'on_update=cascade');
INSERT INTO t_hand VALUES (3, '{99}');
\echo :LAST_ERROR_SQLSTATE
TRUNCATE t_two;
UPDATE r SET id = 30 WHERE id = 3;
DELETE FROM r WHERE id = 4;
SELECT * FROM t_hand ORDER BY n;

--
-- A cycle: two tables that hold each other's keys, actions both ways, end.
--
CREATE TABLE x (id int PRIMARY KEY, ys int[]);
CREATE TABLE y (id int PRIMARY KEY, xs int[]);
INSERT INTO x VALUES (1, '{1}'), (2, '{1,2}'); INSERT INTO y VALUES (1, '{1,2}'), (2, '{1}');
SELECT integrity.add_reference('x', 'ys', 'y', on_delete => 'remove element', on_empty => 'delete row');
SELECT integrity.add_reference('y', 'xs', 'x', on_delete => 'remove element', on_empty => 'delete row');
DELETE FROM x WHERE id = 1;                        -- y 2 is emptied and goes; x 2 loses it; nothing else
SELECT * FROM x ORDER BY id; SELECT * FROM y ORDER BY id;
DELETE FROM y WHERE id = 1;                        -- x 2 is emptied and goes, nothing is left
SELECT count(*) FROM x; SELECT count(*) FROM y;
-- self-reference: delete row runs down the tree
CREATE TABLE tree (id int PRIMARY KEY, parents int[]);
SELECT integrity.add_reference('tree', 'parents', 'tree', on_delete => 'delete row');
INSERT INTO tree VALUES (1, NULL), (2, '{1}'), (3, '{2}'), (4, '{3,1}'), (5, '{5}'), (6, '{5,NULL}');
DELETE FROM tree WHERE id = 1;
SELECT * FROM tree ORDER BY id;
DELETE FROM tree WHERE id = 5;
SELECT count(*) FROM tree;

RESET search_path;
DROP SCHEMA actions CASCADE;
RESET client_min_messages;
