SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- What may be written into a referencing column, by every way to write a row.
-- Guards src/reference/check, elements and probe.
CREATE SCHEMA checks;
SET search_path = checks, public;
CREATE TABLE k (id int PRIMARY KEY, label text);
CREATE TABLE t (n int PRIMARY KEY, ids int[], note text);
INSERT INTO k SELECT g, 'key ' || g FROM generate_series(1, 9) g;
SELECT integrity.add_reference('t', 'ids', 'k');
CREATE VIEW broken AS SELECT n, e FROM t, unnest(ids) e WHERE e IS NOT NULL AND NOT EXISTS (SELECT FROM k WHERE id = e);

--
-- INSERT. Everything that holds no broken element passes.
--
INSERT INTO t VALUES (1, '{1,2,3}'), (2, '{}'), (3, '{NULL}'), (4, NULL), (5, '{2,2,NULL,2}'), (6, '{{1,2},{3,NULL}}'), (7, '[5:6]={8,9}');
-- The DETAIL names the one element that is broken.
INSERT INTO t VALUES (10, '{1,99,2}');
\echo :LAST_ERROR_SQLSTATE
-- One bad row of many: the last row of a long statement is checked as the first (a look-ahead must not decide).
INSERT INTO t SELECT 1000 + g, ARRAY[1 + g % 9, CASE WHEN g = 500 THEN 77 ELSE 1 END] FROM generate_series(1, 500) g;
\echo :LAST_ERROR_SQLSTATE
-- Every position: first, last, only, behind a NULL, inside the second dimension.
INSERT INTO t VALUES (10, '{99,1}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (10, '{1,99}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (10, '{NULL,99}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (10, '{{1,2},{3,99}}');
\echo :LAST_ERROR_SQLSTATE
-- 0, negative and extreme values are values like others.
INSERT INTO t VALUES (10, '{0}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (10, '{-2147483648}');
\echo :LAST_ERROR_SQLSTATE
-- COPY
COPY t FROM stdin;
11	{1,2}	copied
12	\N	copied
13	{3}	copied
\.
COPY t FROM stdin;
14	{1,2}	copied
15	{98}	copied
\.
\echo :LAST_ERROR_SQLSTATE
-- ON CONFLICT DO NOTHING writes nothing, so there is nothing to check; DO UPDATE is an update.
INSERT INTO t VALUES (1, '{99}') ON CONFLICT DO NOTHING;
INSERT INTO t VALUES (1, '{99}') ON CONFLICT (n) DO UPDATE SET note = 'kept';
INSERT INTO t VALUES (1, '{99}') ON CONFLICT (n) DO UPDATE SET ids = excluded.ids;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (1, '{4}') ON CONFLICT (n) DO UPDATE SET ids = t.ids || excluded.ids;
SELECT ids, note FROM t WHERE n = 1;
-- MERGE
MERGE INTO t USING (VALUES (1, 5), (20, 6)) v(n, id) ON t.n = v.n
  WHEN MATCHED THEN UPDATE SET ids = ids || v.id WHEN NOT MATCHED THEN INSERT VALUES (v.n, ARRAY[v.id]);
MERGE INTO t USING (VALUES (1, 5), (21, 96)) v(n, id) ON t.n = v.n
  WHEN MATCHED THEN UPDATE SET ids = ids || v.id WHEN NOT MATCHED THEN INSERT VALUES (v.n, ARRAY[v.id]);
\echo :LAST_ERROR_SQLSTATE
MERGE INTO t USING (VALUES (1, 95)) v(n, id) ON t.n = v.n WHEN MATCHED THEN UPDATE SET ids = ids || v.id;
\echo :LAST_ERROR_SQLSTATE
-- CTE: key and reference in one statement pass in either order; a key deleted by the same statement is gone.
WITH i AS (INSERT INTO k VALUES (30)) INSERT INTO t VALUES (30, '{30}');
WITH i AS (INSERT INTO t VALUES (31, '{31}')) INSERT INTO k VALUES (31);
WITH d AS (DELETE FROM k WHERE id = 7) INSERT INTO t VALUES (32, '{7}');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) AS broken FROM broken;

--
-- UPDATE: adding, keeping, removing, reordering.
--
UPDATE t SET ids = '{1,2,3,4}' WHERE n = 1;
UPDATE t SET ids = '{4,3,2,1}' WHERE n = 1;
UPDATE t SET ids = '{4,4,1}' WHERE n = 1;
UPDATE t SET ids = ids || 94 WHERE n = 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE t SET ids[2] = 93 WHERE n = 6;             -- wrong number of subscripts: PostgreSQL's own error
\echo :LAST_ERROR_SQLSTATE
UPDATE t SET ids[2][1] = 93 WHERE n = 6;
\echo :LAST_ERROR_SQLSTATE
UPDATE t SET ids = NULL WHERE n = 1;
UPDATE t SET ids = '{92}' WHERE n = 1;             -- from NULL
\echo :LAST_ERROR_SQLSTATE
UPDATE t SET ids = '{91}' WHERE n = 2;             -- from {}
\echo :LAST_ERROR_SQLSTATE
UPDATE t SET ids = '{5,6}' WHERE n = 1;
UPDATE t SET n = 101 WHERE n = 1;                  -- not the column at all
SELECT n, ids FROM t WHERE n = 101;

-- A not-valid rule over an old broken element (50): the row can be edited, a new broken one cannot come in.
-- Guards "UPDATE checks only what was added"; one old orphan must not lock its row.
CREATE TABLE old (n int PRIMARY KEY, ids int[], note text);
INSERT INTO old VALUES (1, '{1,50}'), (2, '{50,50}');
SELECT integrity.add_reference('old', 'ids', 'k', not_valid => true);
UPDATE old SET note = 'edited';
UPDATE old SET ids = ids || 2;
UPDATE old SET ids = '{50,2,1}' WHERE n = 1;
UPDATE old SET ids = '{{50,50},{50,1}}' WHERE n = 2;
UPDATE old SET ids = ids || 51 WHERE n = 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE old SET n = 3, ids = '{2}' WHERE n = 2;
UPDATE old SET ids = ids || 50 WHERE n = 3;        -- another row's orphan is no excuse
\echo :LAST_ERROR_SQLSTATE
INSERT INTO old VALUES (4, '{50}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO old VALUES (1, '{52}') ON CONFLICT (n) DO UPDATE SET ids = old.ids || 3;
SELECT * FROM old ORDER BY n;

-- The same within one transaction, where the row was written by it already: an UPDATE answers for what it added
-- itself, not for the whole row. (Native checks such a row again and again; an array would be locked by its orphan.)
BEGIN;
UPDATE old SET ids = ids || 4 WHERE n = 1;
UPDATE old SET ids = ids || 5 WHERE n = 1;
SAVEPOINT a;
UPDATE old SET ids = ids || 53 WHERE n = 1;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
UPDATE old SET note = 'edited again' WHERE n = 1;
COMMIT;
-- ... and a row that came in while triggers were off
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO old VALUES (5, '{54}');
SET LOCAL session_replication_role = origin;
UPDATE old SET note = 'touched', ids = ids || 1 WHERE n = 5;
UPDATE old SET ids = ids || 55 WHERE n = 5;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- an orphan that was taken out and comes back is a new reference
BEGIN;
UPDATE old SET ids = array_remove(ids, 50) WHERE n = 1;
UPDATE old SET ids = ids || 50 WHERE n = 1;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT * FROM old ORDER BY n;
-- replica itself: nothing fires on either side, as native
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO t VALUES (200, '{90}');
DELETE FROM k WHERE id = 5;
SELECT n, e FROM broken ORDER BY n, e;
ROLLBACK;

--
-- Triggers of others.
--
-- A BEFORE trigger that changes the column, though the UPDATE does not name it (no "UPDATE OF" in the rule).
CREATE FUNCTION append_89() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.ids := NEW.ids || 89; RETURN NEW; END $$;
CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON t FOR EACH ROW WHEN (NEW.note = 'meddle') EXECUTE FUNCTION append_89();
UPDATE t SET note = 'meddle' WHERE n = 11;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (40, '{1}', 'meddle');
\echo :LAST_ERROR_SQLSTATE
-- An AFTER trigger that changes the row before the check comes (its name sorts first): what the event added is
-- checked as far as the row still holds it.
CREATE FUNCTION after_first() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  CASE NEW.note
    WHEN 'append bad' THEN UPDATE checks.t SET ids = ids || 88, note = NULL WHERE n = NEW.n;
    WHEN 'repair'     THEN UPDATE checks.t SET ids = '{1}', note = NULL WHERE n = NEW.n;
    WHEN 'touch'      THEN UPDATE checks.t SET note = 'touched' WHERE n = NEW.n;
    WHEN 'twice'      THEN UPDATE checks.t SET note = 'touch' WHERE n = NEW.n;
    WHEN 'remove'     THEN DELETE FROM checks.t WHERE n = NEW.n;
    WHEN 'cut'        THEN UPDATE checks.t SET ids = ids[2:], note = NULL WHERE n = NEW.n;
    WHEN 'undone'     THEN
      BEGIN
        UPDATE checks.t SET ids = '{1}', note = NULL WHERE n = NEW.n; RAISE 'undo';
      EXCEPTION WHEN raise_exception THEN NULL; END;
    ELSE NULL;
  END CASE;
  RETURN NULL;
END $$;
CREATE TRIGGER a_first AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION after_first();
INSERT INTO t VALUES (41, '{1}', 'append bad');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (42, '{87}', 'repair');       -- passes: 87 never lives on
INSERT INTO t VALUES (43, '{86}', 'touch');        -- the column stays, and is broken
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (44, '{85}', 'twice');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (45, '{84}', 'remove');       -- passes: the row is gone
UPDATE t SET ids = '{83}', note = 'touch' WHERE n = 42;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (46, '{74,1}', 'cut');        -- passes: 74 is cut off
INSERT INTO t VALUES (47, '{1,74}', 'cut');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (48, '{74}', 'undone');       -- the repair was rolled back
\echo :LAST_ERROR_SQLSTATE
SELECT n, ids, note FROM t WHERE n BETWEEN 40 AND 49 ORDER BY n;
DROP TRIGGER meddle ON t; DROP TRIGGER a_first ON t;
-- A trigger that removes the key again within the same statement: refused, by the check or by the guard,
-- whichever comes second.
CREATE FUNCTION unmake() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM checks.k WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER unmake AFTER INSERT ON k FOR EACH ROW WHEN (NEW.label = 'unmake') EXECUTE FUNCTION unmake();
WITH i AS (INSERT INTO k VALUES (60, 'unmake')) INSERT INTO t VALUES (60, '{60}');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER unmake ON k;

--
-- Savepoints: a key found inside a rolled-back subtransaction is not remembered as found.
--
BEGIN;
SAVEPOINT a;
INSERT INTO k VALUES (70); INSERT INTO t VALUES (70, '{70}');
ROLLBACK TO a;
INSERT INTO t VALUES (70, '{70}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- the same inside one command
DO $$
BEGIN
  BEGIN
    INSERT INTO k VALUES (71); INSERT INTO t VALUES (71, '{71}'); RAISE 'undo';
  EXCEPTION WHEN raise_exception THEN NULL; END;
  INSERT INTO t VALUES (71, '{71}');
END $$;
\echo :LAST_ERROR_SQLSTATE
-- found, referenced, then all taken away by this transaction: not found again
BEGIN;
INSERT INTO k VALUES (72); INSERT INTO t VALUES (72, '{72}'); DELETE FROM t WHERE n = 72; DELETE FROM k WHERE id = 72;
INSERT INTO t VALUES (72, '{72}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- a failed statement is gone, the transaction goes on from the savepoint
BEGIN;
SAVEPOINT a; INSERT INTO t VALUES (73, '{82}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a; INSERT INTO t VALUES (73, '{1}');
COMMIT;
SELECT ids FROM t WHERE n = 73;

-- A cursor: each UPDATE is a statement of its own.
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM t WHERE n IN (5, 73) ORDER BY n FOR UPDATE;
FETCH c; UPDATE t SET ids = ids || 3 WHERE CURRENT OF c;
SAVEPOINT a;
FETCH c; UPDATE t SET ids = ids || 75 WHERE CURRENT OF c;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
COMMIT;
SELECT n, ids FROM t WHERE n IN (5, 73) ORDER BY n;

-- Prepared statements: past the fifth execution the plan is generic, and the rule may change under it.
PREPARE ins(int, int[]) AS INSERT INTO t VALUES ($1, $2);
EXECUTE ins(301, '{1}'); EXECUTE ins(302, '{2}'); EXECUTE ins(303, '{3}'); EXECUTE ins(304, '{4}');
EXECUTE ins(305, '{5}'); EXECUTE ins(306, '{6}'); EXECUTE ins(307, '{81}');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM t WHERE 8 = ANY (ids); DELETE FROM k WHERE id = 8;
EXECUTE ins(308, '{8}');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE t DISABLE TRIGGER t_ids_fkey; EXECUTE ins(309, '{80}'); ALTER TABLE t ENABLE TRIGGER t_ids_fkey;
DELETE FROM t WHERE n = 309;
EXECUTE ins(309, '{80}');
\echo :LAST_ERROR_SQLSTATE
-- dropped and rebuilt tables and indexes are noticed
ALTER TABLE k RENAME id TO key; REINDEX TABLE k; ALTER TABLE k ADD extra int, DROP label;
EXECUTE ins(310, '{1}');
EXECUTE ins(311, '{80}');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE k RENAME key TO id;
DEALLOCATE ins;

--
-- null_elements and duplicate_elements => 'reject'
--
CREATE TABLE strict (ids int[]);
SELECT integrity.add_reference('strict', 'ids', 'k', null_elements => 'reject', duplicate_elements => 'reject');
INSERT INTO strict VALUES ('{1,2}'), ('{}'), (NULL), ('{{1,2},{3,4}}');
INSERT INTO strict VALUES ('{1,NULL}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO strict VALUES ('{NULL}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO strict VALUES ('{1,2,1}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO strict VALUES ('{{1,2},{3,1}}');
\echo :LAST_ERROR_SQLSTATE
UPDATE strict SET ids = ids || ids WHERE ids = '{1,2}';    -- adds no new key, but a duplicate
\echo :LAST_ERROR_SQLSTATE
UPDATE strict SET ids = ids || NULL::int WHERE ids = '{1,2}';
\echo :LAST_ERROR_SQLSTATE
UPDATE strict SET ids = '{2,1}' WHERE ids = '{1,2}';
SELECT * FROM strict ORDER BY ids;
-- What was there before the rule does not keep a row from being edited, as long as it does not become more.
ALTER TABLE strict DISABLE TRIGGER strict_ids_fkey;
INSERT INTO strict VALUES ('{3,3,NULL}');
ALTER TABLE strict ENABLE TRIGGER strict_ids_fkey;
UPDATE strict SET ids = ids || 4 WHERE ids[1] = 3;
UPDATE strict SET ids = '{3,2,2,NULL}' WHERE ids[1] = 3;
UPDATE strict SET ids = ids || NULL::int WHERE ids[1] = 3;
\echo :LAST_ERROR_SQLSTATE
UPDATE strict SET ids = ids || 3 WHERE ids[1] = 3;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM strict WHERE ids[1] = 3;
DELETE FROM strict WHERE ids[1] = 3;

--
-- Self-reference, also within the statement that inserts the key.
--
CREATE TABLE self (id int PRIMARY KEY, friends int[]);
SELECT integrity.add_reference('self', 'friends', 'self');
INSERT INTO self VALUES (1, '{1}');
INSERT INTO self VALUES (2, '{3}'), (3, '{2,4}'), (4, '{1,2,3,4}');
INSERT INTO self VALUES (5, '{5,6}');
\echo :LAST_ERROR_SQLSTATE
WITH i AS (INSERT INTO self VALUES (6, '{7}')) INSERT INTO self VALUES (7, '{6}');
UPDATE self SET id = 8 WHERE id = 7;               -- 6 still names 7
\echo :LAST_ERROR_SQLSTATE
DELETE FROM self WHERE id = 3;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM self WHERE id IN (2, 3, 4);            -- all that name them go along
DELETE FROM self WHERE id = 1;                     -- a row does not hold itself
INSERT INTO self VALUES (9, '{9}');
UPDATE self SET id = 10, friends = '{10}' WHERE id = 9;
SELECT * FROM self ORDER BY id;

--
-- Size and shape.
--
-- a million elements; then the same with one broken element at the very end
INSERT INTO t SELECT 400, array_agg(1 + g % 6) FROM generate_series(1, 1000000) g;
INSERT INTO t SELECT 401, array_agg(1 + g % 6) || 79 FROM generate_series(1, 1000000) g;
\echo :LAST_ERROR_SQLSTATE
UPDATE t SET ids = ids || 1 WHERE n = 400;
UPDATE t SET ids = ids || 78 WHERE n = 400;
\echo :LAST_ERROR_SQLSTATE
-- a hundred thousand different keys in one array
CREATE TABLE many (id int PRIMARY KEY);
CREATE TABLE t_many (ids int[]);
INSERT INTO many SELECT generate_series(1, 100000);
SELECT integrity.add_reference('t_many', 'ids', 'many');
INSERT INTO t_many SELECT array_agg(g ORDER BY -g) FROM generate_series(1, 100000) g;
INSERT INTO t_many SELECT array_agg(g) FROM generate_series(2, 100001) g;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM t_many;
-- six dimensions
INSERT INTO t VALUES (402, array_fill(3, '{2,2,2,2,2,2}'));
UPDATE t SET ids[2][2][2][2][2][1] = 77 WHERE n = 402;
\echo :LAST_ERROR_SQLSTATE
SELECT array_dims(ids) FROM t WHERE n = 402;
-- toasted out of line, uncompressed: read whole; an update of another column leaves it be
ALTER TABLE t ALTER ids SET STORAGE EXTERNAL;
INSERT INTO t SELECT 403, array_agg(1 + g % 6) FROM generate_series(1, 5000) g;
UPDATE t SET note = 'toasted' WHERE n = 403;
UPDATE t SET ids = ids || 76 WHERE n = 403;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t SELECT 404, ids, note FROM t WHERE n = 403;
INSERT INTO old SELECT 404, ids, note FROM t WHERE n = 403;
-- compressed in the row: the same value stored in two ways is the same set
CREATE TABLE ways (n int, ids int[]);
SELECT integrity.add_reference('ways', 'ids', 'k', rule_name => 'ways_fkey');
INSERT INTO ways SELECT 1, array_agg(1 + g % 6) FROM generate_series(1, 1000) g;
SELECT pg_column_size(ids) < 1000 AS compressed FROM ways;
ALTER TABLE ways ALTER ids SET STORAGE EXTERNAL;
INSERT INTO ways SELECT 2, ids || NULL::int FROM ways;
UPDATE ways SET ids = (SELECT w.ids FROM ways w WHERE w.n = 2) WHERE n = 1;
UPDATE ways SET ids = ids || 75 WHERE n = 1;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM k WHERE id = 6;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) AS broken FROM broken;

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA checks CASCADE;
RESET client_min_messages;
