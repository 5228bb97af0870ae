SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- Partitioned tables on either side. Guards the clones of the rule and of the guards, and the look-up of the
-- declared rule from a clone.
CREATE SCHEMA partitions;
SET search_path = partitions, public;
SET client_min_messages = warning;

--
-- Partitioned referencing table: range, and one partition partitioned again.
--
CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k SELECT generate_series(1, 9);
CREATE TABLE t (n int, kind text, ids int[]) PARTITION BY RANGE (n);
CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);
CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200) PARTITION BY LIST (kind);
CREATE TABLE t2a PARTITION OF t2 FOR VALUES IN ('a');
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element', on_update => 'cascade', on_empty => 'delete row');
-- one rule, not one per partition
SELECT referencing_table, rule_name, guarded, problem FROM integrity.reference
 WHERE referenced_table = 'k'::regclass ORDER BY 1::text;
-- refused through the root, an inner node and a leaf alike
INSERT INTO t VALUES (1, 'a', '{1,99}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t1 VALUES (1, 'a', '{1,99}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t2 VALUES (101, 'a', '{1,99}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t2a VALUES (101, 'a', '{1,99}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (1, 'a', '{1,2,3}'), (101, 'a', '{3,2,1}'), (102, 'a', '{2}');
-- new partitions get the rule, on both levels
CREATE TABLE t2b PARTITION OF t2 FOR VALUES IN ('b');
CREATE TABLE t3 PARTITION OF t DEFAULT;
INSERT INTO t2b VALUES (103, 'b', '{99}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (500, 'c', '{99}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO t VALUES (103, 'b', '{4,2}'), (500, 'c', '{2,5,2}');
-- the actions reach every leaf
DELETE FROM k WHERE id = 2;
SELECT tableoid::regclass, n, ids FROM t ORDER BY n;
UPDATE k SET id = 30 WHERE id = 3;
SELECT tableoid::regclass, n, ids FROM t ORDER BY n;
-- row movement on this side: the moved row is checked where it arrives
UPDATE t SET n = 150 WHERE n = 1;
UPDATE t SET kind = 'b', ids = ids || 98 WHERE n = 150;
\echo :LAST_ERROR_SQLSTATE
UPDATE t SET n = 2, ids = ids || 97 WHERE n = 101;
\echo :LAST_ERROR_SQLSTATE
UPDATE t SET kind = 'b', ids = ids || 6 WHERE n = 150;
SELECT tableoid::regclass, n, ids FROM t ORDER BY n;

--
-- DETACH and ATTACH on the referencing side.
--
ALTER TABLE t DETACH PARTITION t1;
-- no trigger is left (native would keep the foreign key on the detached table)
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgrelid = 't1'::regclass AND NOT tgisinternal;
INSERT INTO t1 VALUES (3, 'a', '{1,4}');
DELETE FROM k WHERE id = 4;
SELECT n, ids FROM t1 ORDER BY n;
-- attached with a broken row: refused, as native refuses it
INSERT INTO t1 VALUES (4, 'a', '{96}');
ALTER TABLE t ATTACH PARTITION t1 FOR VALUES FROM (0) TO (100);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) AS broken FROM t, unnest(ids) e WHERE NOT EXISTS (SELECT FROM k WHERE id = e);
DELETE FROM ONLY t1 WHERE n = 4; UPDATE ONLY t1 SET ids = '{1}' WHERE n = 3;
-- attached clean: the rule is on it again, once
ALTER TABLE t ATTACH PARTITION t1 FOR VALUES FROM (0) TO (100);
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgrelid = 't1'::regclass AND NOT tgisinternal;
INSERT INTO t1 VALUES (5, 'a', '{95}');
\echo :LAST_ERROR_SQLSTATE
-- a new table, attached under the inner node
CREATE TABLE t2c (kind text, junk int, ids int[], n int); ALTER TABLE t2c DROP junk;  -- other column order
INSERT INTO t2c VALUES ('c', '{1,5}', 120);
ALTER TABLE t2 ATTACH PARTITION t2c FOR VALUES IN ('c');
INSERT INTO t VALUES (121, 'c', '{1,94}');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM k WHERE id = 5;
SELECT tableoid::regclass, n, ids FROM t ORDER BY n;
-- the clone cannot be dropped alone; the rule can, with all its clones
DROP TRIGGER t_ids_fkey ON t1;
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.drop_reference('t', 't_ids_fkey');
SELECT count(*) AS triggers_left FROM pg_trigger WHERE NOT tgisinternal
   AND tgrelid IN ('t'::regclass, 't1'::regclass, 't2'::regclass, 't2a'::regclass, 't2b'::regclass, 't2c'::regclass, 'k'::regclass);
DROP TABLE t;

--
-- A rule on a leaf alone: it holds there, not in the sister.
--
CREATE TABLE l (n int, ids int[]) PARTITION BY RANGE (n);
CREATE TABLE l1 PARTITION OF l FOR VALUES FROM (0) TO (10);
CREATE TABLE l2 PARTITION OF l FOR VALUES FROM (10) TO (20);
SELECT integrity.add_reference('l1', 'ids', 'k', on_delete => 'null element');
INSERT INTO l VALUES (11, '{93}');
INSERT INTO l VALUES (1, '{93}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO l VALUES (1, '{6,7}');
UPDATE l SET n = 2 WHERE n = 11;                   -- moves a broken array into the leaf
\echo :LAST_ERROR_SQLSTATE
DELETE FROM k WHERE id = 7;
SELECT tableoid::regclass, * FROM l ORDER BY n;
-- the same rule name on the root is taken by the leaf's
SELECT integrity.add_reference('l', 'ids', 'k', not_valid => true, rule_name => 'l1_ids_fkey');
\echo :LAST_ERROR_SQLSTATE
DROP TABLE l;

--
-- Partitioned referenced table, with sub-partitions; every action.
--
CREATE TABLE pk (id int PRIMARY KEY, label text) PARTITION BY RANGE (id);
CREATE TABLE pk1 PARTITION OF pk FOR VALUES FROM (0) TO (10);
CREATE TABLE pk2 PARTITION OF pk FOR VALUES FROM (10) TO (30) PARTITION BY RANGE (id);
CREATE TABLE pk2a PARTITION OF pk2 FOR VALUES FROM (10) TO (20);
CREATE TABLE pk2b PARTITION OF pk2 FOR VALUES FROM (20) TO (30);
INSERT INTO pk SELECT g FROM generate_series(1, 29) g;
CREATE TABLE f_remove (n int, ids int[]);
CREATE TABLE f_no (ids int[]);
SELECT integrity.add_reference('f_remove', 'ids', 'pk', on_delete => 'remove element', on_update => 'cascade');
SELECT integrity.add_reference('f_no', 'ids', 'pk');
INSERT INTO f_remove VALUES (1, '{1,11,21}'), (2, '{21,1,2,12,22,1}'), (3, '{{1,11},{21,29}}');
INSERT INTO f_remove VALUES (4, '{1,30}');         -- no partition could hold 30
\echo :LAST_ERROR_SQLSTATE
INSERT INTO f_no VALUES ('{5,15,25}');
DELETE FROM pk WHERE id = 15;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM pk2b WHERE id = 25;                    -- straight from a leaf
\echo :LAST_ERROR_SQLSTATE
-- many keys of many leaves in one statement; then straight from a leaf and from the inner node
DELETE FROM pk WHERE id IN (1, 11, 29);
SELECT * FROM f_remove ORDER BY n;
DELETE FROM pk2b WHERE id = 21;
DELETE FROM pk2 WHERE id = 12;
SELECT * FROM f_remove ORDER BY n;
-- A key that moves to another partition is an update, not a delete and an insert: with on_update => 'cascade' the
-- elements follow (remove element must not strike), with no action it is refused while referenced.
UPDATE pk SET id = 1 WHERE id = 22;
SELECT * FROM f_remove ORDER BY n;
UPDATE pk SET id = 21 WHERE id = 5;
\echo :LAST_ERROR_SQLSTATE
UPDATE pk2 SET id = 11 WHERE id = 25;
\echo :LAST_ERROR_SQLSTATE
UPDATE pk SET label = 'moved', id = 22 WHERE id = 6;  -- unreferenced: moves
SELECT tableoid::regclass, * FROM pk WHERE label = 'moved';
CREATE TABLE f_guess (ids int[]);
SELECT integrity.add_reference('f_guess', 'ids', 'pk', on_delete => 'delete row');
INSERT INTO f_guess VALUES ('{7}');
UPDATE pk SET id = 27 WHERE id = 7;                -- 27 is taken
\echo :LAST_ERROR_SQLSTATE
DELETE FROM pk WHERE id = 27;
UPDATE pk SET id = 27 WHERE id = 7;                -- delete row, but no on_update: refused, not deleted
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM f_guess;
-- TRUNCATE of the root, of an inner node, of a leaf
TRUNCATE pk;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE pk2;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE pk2b;
\echo :LAST_ERROR_SQLSTATE
-- DETACH and DROP of a partition, or of a whole branch, whose keys are referenced: refused, as native refuses them
ALTER TABLE pk DETACH PARTITION pk1;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE pk DETACH PARTITION pk2;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE pk DETACH PARTITION pk1 CONCURRENTLY;
\echo :LAST_ERROR_SQLSTATE
DROP TABLE pk1;
\echo :LAST_ERROR_SQLSTATE
DROP TABLE pk2b CASCADE;
\echo :LAST_ERROR_SQLSTATE
BEGIN; DROP TABLE pk1, f_remove, f_no, f_guess; ROLLBACK;  -- with all that refers to it
SELECT count(*) AS broken FROM (SELECT ids FROM f_remove UNION ALL SELECT ids FROM f_no UNION ALL SELECT ids FROM f_guess) f,
       unnest(f.ids) e WHERE e IS NOT NULL AND NOT EXISTS (SELECT FROM pk WHERE id = e);
-- with nothing left that refers to it: detached clean, attached clean, guarded again
TRUNCATE f_remove, f_no, f_guess;
ALTER TABLE pk2 DETACH PARTITION pk2b;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'pk2b'::regclass AND NOT tgisinternal ORDER BY 1;
DELETE FROM pk2b WHERE id = 28;
ALTER TABLE pk2 ATTACH PARTITION pk2b FOR VALUES FROM (20) TO (30);
INSERT INTO f_no VALUES ('{26}');
DELETE FROM pk2b WHERE id = 26;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE pk2b;
\echo :LAST_ERROR_SQLSTATE
-- a new partition is guarded from the start
CREATE TABLE pk3 PARTITION OF pk FOR VALUES FROM (30) TO (40);
INSERT INTO pk VALUES (30); INSERT INTO f_no VALUES ('{30}');
DELETE FROM pk3;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE pk3;
\echo :LAST_ERROR_SQLSTATE
DROP TABLE f_remove, f_no, f_guess;

--
-- A rule whose key is a leaf's own: a row may not leave the leaf while referenced.
--
CREATE TABLE f_leaf (ids int[]);
SELECT integrity.add_reference('f_leaf', 'ids', 'pk1');
INSERT INTO f_leaf VALUES ('{8}');
INSERT INTO f_leaf VALUES ('{13}');                -- in another partition
\echo :LAST_ERROR_SQLSTATE
UPDATE pk SET id = 29 WHERE id = 8;                -- native refuses every such move (0A000), here only a referenced key's
\echo :LAST_ERROR_SQLSTATE
DELETE FROM pk WHERE id = 8;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) AS broken FROM f_leaf, unnest(ids) e WHERE NOT EXISTS (SELECT FROM pk1 WHERE id = e);
DROP TABLE f_leaf;

--
-- Both sides partitioned, the column in another place in one leaf.
--
CREATE TABLE b (n int, ids int[]) PARTITION BY HASH (n);
CREATE TABLE b0 PARTITION OF b FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE b1 (junk text, ids int[], n int); ALTER TABLE b1 DROP junk;
ALTER TABLE b ATTACH PARTITION b1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT integrity.add_reference('b', 'ids', 'pk', on_delete => 'remove element', on_update => 'cascade', on_empty => 'set null');
INSERT INTO b SELECT g, ARRAY[2, 13, g] FROM generate_series(16, 19) g;
INSERT INTO b VALUES (1, '{2}'), (2, '{92}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO b VALUES (1, '{2}');
DELETE FROM pk WHERE id IN (2, 17);
UPDATE pk SET id = 35 WHERE id = 13;           -- from pk2a to pk3
SELECT * FROM b ORDER BY n;
SELECT count(*) AS broken FROM b, unnest(ids) e WHERE NOT EXISTS (SELECT FROM pk WHERE id = e);
TRUNCATE pk, b;
-- self-reference of a partitioned table
CREATE TABLE s (id int PRIMARY KEY, friends int[]) PARTITION BY RANGE (id);
CREATE TABLE s1 PARTITION OF s FOR VALUES FROM (0) TO (10);
CREATE TABLE s2 PARTITION OF s FOR VALUES FROM (10) TO (20);
SELECT integrity.add_reference('s', 'friends', 's', on_delete => 'remove element', on_update => 'cascade');
INSERT INTO s VALUES (1, '{11,1}'), (11, '{1,12}'), (12, '{12}');
DELETE FROM s WHERE id = 1;
UPDATE s SET id = 2 WHERE id = 12;
SELECT tableoid::regclass, * FROM s ORDER BY id;

--
-- Rules on the root and on a leaf at once, in any order: neither takes the other's guards along.
--
CREATE TABLE gk (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE gk1 PARTITION OF gk FOR VALUES FROM (0) TO (10);
CREATE TABLE gk2 PARTITION OF gk FOR VALUES FROM (10) TO (20);
CREATE TABLE g_root (ids int[]);
CREATE TABLE g_leaf (ids int[]);
INSERT INTO gk SELECT g FROM generate_series(1, 19) g;
CREATE VIEW guards AS SELECT rule_name, guarded FROM integrity.reference WHERE referencing_table IN ('g_root'::regclass, 'g_leaf'::regclass);
-- root, leaf; the root's is dropped
SELECT integrity.add_reference('g_root', 'ids', 'gk');
SELECT integrity.add_reference('g_leaf', 'ids', 'gk1', on_delete => 'remove element', on_update => 'cascade');
INSERT INTO g_leaf VALUES ('{1,2,3}');
SELECT * FROM guards ORDER BY 1;
SELECT integrity.drop_reference('g_root', 'g_root_ids_fkey');
SELECT * FROM guards ORDER BY 1;
DELETE FROM gk WHERE id = 1; UPDATE gk1 SET id = 0 WHERE id = 2;
SELECT ids FROM g_leaf;
TRUNCATE gk1;
\echo :LAST_ERROR_SQLSTATE
-- leaf, root; the leaf's is dropped
SELECT integrity.add_reference('g_root', 'ids', 'gk');
INSERT INTO g_root VALUES ('{3,13}');
DELETE FROM gk WHERE id = 3;                       -- the leaf's rule would let it go
\echo :LAST_ERROR_SQLSTATE
SELECT ids FROM g_leaf;
SELECT integrity.drop_reference('g_leaf', 'g_leaf_ids_fkey');
SELECT * FROM guards ORDER BY 1;
DELETE FROM gk1 WHERE id = 3;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE gk1;
\echo :LAST_ERROR_SQLSTATE
-- the leaf leaves the tree and comes back, its own rule holding all the while
UPDATE g_root SET ids = '{13}';
SELECT integrity.add_reference('g_leaf', 'ids', 'gk1', on_delete => 'remove element', on_update => 'cascade');
ALTER TABLE gk DETACH PARTITION gk1;
SELECT * FROM guards ORDER BY 1;
DELETE FROM gk1 WHERE id = 3;
SELECT ids FROM g_leaf;
ALTER TABLE gk ATTACH PARTITION gk1 FOR VALUES FROM (0) TO (10);
SELECT * FROM guards ORDER BY 1;
INSERT INTO g_root VALUES ('{4}');
DELETE FROM gk1 WHERE id = 4;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM gk WHERE id = 0;
SELECT ids FROM g_leaf;
-- a row may not leave the leaf by a move while the leaf's rule is to follow it
INSERT INTO g_leaf VALUES ('{5}');
UPDATE gk SET id = 19 WHERE id = 5;                -- 19 is taken
\echo :LAST_ERROR_SQLSTATE
DELETE FROM gk WHERE id = 19;
UPDATE gk SET id = 19 WHERE id = 5;
\echo :LAST_ERROR_SQLSTATE
-- a plain table that is referenced joins the tree: its guard changes its form, and goes on working
CREATE TABLE gk3 (id int PRIMARY KEY);
INSERT INTO gk3 VALUES (31), (32), (33);
CREATE TABLE g_new (ids int[]);
SELECT integrity.add_reference('g_new', 'ids', 'gk3', on_delete => 'remove element');
INSERT INTO g_new VALUES ('{31,32,33}');
ALTER TABLE gk ATTACH PARTITION gk3 FOR VALUES FROM (30) TO (40);
DELETE FROM gk WHERE id IN (31, 33);
SELECT ids FROM g_new;
INSERT INTO g_root VALUES ('{32}');
DELETE FROM gk3;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM g_root WHERE ids = '{32}';
ALTER TABLE gk DETACH PARTITION gk3;
DELETE FROM gk3;
SELECT ids FROM g_new;
-- a partition that goes with its schema takes no referenced key along
CREATE SCHEMA partitions_gone;
ALTER TABLE gk2 SET SCHEMA partitions_gone;
DROP SCHEMA partitions_gone CASCADE;
\echo :LAST_ERROR_SQLSTATE
UPDATE g_root SET ids = NULL;
DROP SCHEMA partitions_gone CASCADE;
SELECT (SELECT count(*) FROM g_root, unnest(ids) e WHERE NOT EXISTS (SELECT FROM gk WHERE id = e))
     + (SELECT count(*) FROM g_leaf, unnest(ids) e WHERE NOT EXISTS (SELECT FROM gk1 WHERE id = e)) AS broken;
DROP TABLE g_root, g_leaf, g_new, gk, gk3 CASCADE;

--
-- Keys that move to another partition, followed by on_update => 'cascade'.
--
CREATE TABLE mk (id int PRIMARY KEY, c int CHECK (c < 5)) PARTITION BY RANGE (id);
CREATE TABLE mk1 PARTITION OF mk FOR VALUES FROM (0) TO (10);
CREATE TABLE mk2 PARTITION OF mk DEFAULT;
INSERT INTO mk SELECT g FROM generate_series(1, 30) g;
CREATE TABLE m_no (ids int[]);
CREATE TABLE m (ids int[]);
SELECT integrity.add_reference('m_no', 'ids', 'mk');   -- another rule on the same key, before the one that cascades
SELECT integrity.add_reference('m', 'ids', 'mk', on_update => 'cascade');
INSERT INTO m VALUES ('{5,6,7}');
-- there and back and there again, in one transaction and in one statement
BEGIN;
UPDATE mk SET id = 61 WHERE id = 6; UPDATE mk SET id = 6 WHERE id = 61; UPDATE mk SET id = 62 WHERE id = 6;
SELECT ids FROM m;
ROLLBACK;
BEGIN; UPDATE mk SET id = id + 50 WHERE id IN (5, 6, 7); SELECT ids FROM m; ROLLBACK;
BEGIN;
MERGE INTO mk USING (VALUES (6, 66), (7, 67)) v (was, becomes) ON id = was WHEN MATCHED THEN UPDATE SET id = becomes;
SELECT ids FROM m;
ROLLBACK;
-- the move of a statement that failed is forgotten with it
BEGIN;
SAVEPOINT s;
UPDATE mk SET id = 48, c = 9 WHERE id = 6;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
UPDATE mk SET id = CASE id WHEN 6 THEN 47 WHEN 7 THEN 48 END WHERE id IN (6, 7);
SELECT ids FROM m;
ROLLBACK;
-- a BEFORE trigger that changes the key once more, behind the guard, or swallows the row: refused, never guessed
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN IF NEW.id = 70 THEN NEW.id := 71; ELSIF NEW.id = 80 THEN RETURN NULL; END IF; RETURN NEW; END$$;
CREATE TRIGGER z_meddle BEFORE UPDATE ON mk1 FOR EACH ROW EXECUTE FUNCTION meddle();
UPDATE mk SET id = 70 WHERE id = 6;
\echo :LAST_ERROR_SQLSTATE
BEGIN; UPDATE mk SET id = 80 WHERE id = 6; UPDATE mk SET id = 81 WHERE id = 6; SELECT ids FROM m; ROLLBACK;
DROP TRIGGER z_meddle ON mk1;
CREATE TRIGGER a_meddle BEFORE UPDATE ON mk1 FOR EACH ROW EXECUTE FUNCTION meddle();  -- before the guard: followed
BEGIN; UPDATE mk SET id = 70 WHERE id = 6; SELECT ids FROM m; ROLLBACK;
DROP TRIGGER a_meddle ON mk1;
CREATE TRIGGER meddle BEFORE INSERT ON mk2 FOR EACH ROW EXECUTE FUNCTION meddle();
UPDATE mk SET id = 70 WHERE id = 6;
\echo :LAST_ERROR_SQLSTATE
UPDATE mk SET id = 80 WHERE id = 6;
\echo :LAST_ERROR_SQLSTATE
SELECT ids FROM m;
DROP TABLE m, m_no, mk;

--
-- Deep trees on both sides, whose leaves have their columns in other places and dropped ones between.
--
CREATE TABLE dk (gone text, id int PRIMARY KEY, label text) PARTITION BY RANGE (id); ALTER TABLE dk DROP gone;
CREATE TABLE dk1 (label text, j1 int, id int NOT NULL, j2 int) PARTITION BY LIST (id); ALTER TABLE dk1 DROP j1, DROP j2;
CREATE TABLE dk1a (j int, id int NOT NULL, label text); ALTER TABLE dk1a DROP j;
CREATE TABLE dk1d (id int NOT NULL, label text) PARTITION BY HASH (id);
CREATE TABLE dk1d0 (label text, x int, y int, id int NOT NULL); ALTER TABLE dk1d0 DROP x, DROP y;
CREATE TABLE dk1d1 (id int NOT NULL, label text);
ALTER TABLE dk1d ATTACH PARTITION dk1d0 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
ALTER TABLE dk1d ATTACH PARTITION dk1d1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE dk1 ATTACH PARTITION dk1a FOR VALUES IN (1, 2, 3);
ALTER TABLE dk1 ATTACH PARTITION dk1d DEFAULT;
ALTER TABLE dk ATTACH PARTITION dk1 FOR VALUES FROM (0) TO (100);
CREATE TABLE dkd PARTITION OF dk DEFAULT;
CREATE TABLE df (junk int, n int, ids int[], kind text) PARTITION BY LIST (kind); ALTER TABLE df DROP junk;
CREATE TABLE dfa (ids int[], kind text, n int) PARTITION BY RANGE (n);
CREATE TABLE dfa1 (n int, x int, kind text, ids int[]); ALTER TABLE dfa1 DROP x;
CREATE TABLE dfa2 (kind text, ids int[], n int) PARTITION BY HASH (n);
CREATE TABLE dfa20 PARTITION OF dfa2 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
ALTER TABLE dfa ATTACH PARTITION dfa1 FOR VALUES FROM (0) TO (10);
ALTER TABLE dfa ATTACH PARTITION dfa2 DEFAULT;
ALTER TABLE df ATTACH PARTITION dfa FOR VALUES IN ('a');
CREATE TABLE dfd PARTITION OF df DEFAULT;
INSERT INTO dk (id) SELECT g FROM generate_series(1, 20) g; INSERT INTO dk (id) VALUES (500), (-5);
INSERT INTO df (n, ids, kind) VALUES (1, '{1,99}', 'a');
SELECT integrity.add_reference('df', 'ids', 'dk', on_delete => 'remove element', on_update => 'cascade', on_empty => 'delete row', not_valid => true);
SELECT integrity.validate_reference('df', 'df_ids_fkey');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM df;
SELECT integrity.validate_reference('df', 'df_ids_fkey');
-- the mark is taken off every clone
SELECT count(*) AS triggers, bool_and(tgnargs = 3) AS all_valid FROM pg_trigger WHERE tgname = 'df_ids_fkey';
INSERT INTO df (n, ids, kind) SELECT g, ARRAY[g, g + 1, 500, -5], CASE g % 3 WHEN 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 19) g;
INSERT INTO dfa1 (n, ids, kind) VALUES (1, '{99}', 'a');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO dfa20 (n, ids, kind) VALUES (20, '{99}', 'a');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO df (n, ids, kind) VALUES (20, '{99}', NULL);
\echo :LAST_ERROR_SQLSTATE
CREATE FUNCTION broken() RETURNS bigint LANGUAGE sql AS
  'SELECT count(*) FROM df, unnest(ids) e WHERE NOT EXISTS (SELECT FROM dk WHERE id = e)';
UPDATE dk SET id = id + 100 WHERE id IN (2, 7, 500);
UPDATE dk SET id = id - 200 WHERE id >= 102;
SELECT broken();
DELETE FROM dk1 WHERE id IN (1, 3, 4);
DELETE FROM dkd WHERE id <> -98;
SELECT broken();
SELECT tableoid::regclass, n, ids FROM df WHERE n < 9 ORDER BY n;
UPDATE df SET kind = CASE kind WHEN 'a' THEN 'b' ELSE 'a' END, n = n - 10;
SELECT broken(), count(*) FROM df;
TRUNCATE dk1d1;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE dk1 DETACH PARTITION dk1d;
\echo :LAST_ERROR_SQLSTATE
-- the rule itself cannot be touched on a clone
SELECT integrity.validate_reference('dfa1', 'df_ids_fkey');
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.drop_reference('dfa1', 'df_ids_fkey');
\echo :LAST_ERROR_SQLSTATE
-- a whole branch with a broken row in its leaf is attached
CREATE TABLE dfx (ids int[], n int, kind text) PARTITION BY RANGE (n);
CREATE TABLE dfx1 PARTITION OF dfx FOR VALUES FROM (0) TO (10);
INSERT INTO dfx VALUES ('{5,99}', 1, 'x');
ALTER TABLE df ATTACH PARTITION dfx FOR VALUES IN ('x');
\echo :LAST_ERROR_SQLSTATE
UPDATE dfx SET ids = '{5}';
ALTER TABLE df ATTACH PARTITION dfx FOR VALUES IN ('x');
DELETE FROM dk;
SELECT count(*) FROM df;

-- A partitioned table that references itself: rows that refer to each other move together, as natively. When the second
-- key is followed, its row has been written again by what the first one cascaded to.
CREATE TABLE own (id int PRIMARY KEY, ids int[]) PARTITION BY RANGE (id);
CREATE TABLE own1 PARTITION OF own FOR VALUES FROM (0) TO (10);
CREATE TABLE own2 PARTITION OF own DEFAULT;
SELECT integrity.add_reference('own', 'ids', 'own', on_update => 'cascade', "deferrable" => true, initially_deferred => true);
INSERT INTO own VALUES (1, '{2}'), (2, '{1,1}'), (3, '{2,1}');
UPDATE own SET id = id + 10 WHERE id IN (1, 2);
SELECT tableoid::regclass, * FROM own ORDER BY id;
BEGIN;
UPDATE own SET id = id - 10 WHERE id > 10;
UPDATE own SET id = id + 20;
COMMIT;
SELECT tableoid::regclass, * FROM own ORDER BY id;
DROP TABLE own;

-- The guards that a referencing table leaves behind when it is dropped are not in the way of a table that becomes a
-- partition or an inheritance child, be it by what they are or by their names.
CREATE TABLE late_key (id int PRIMARY KEY); CREATE TABLE late (ids int[]);
SELECT integrity.add_reference('late', 'ids', 'late_key', "deferrable" => true);
DROP TABLE late;
CREATE TABLE heir (id int PRIMARY KEY); CREATE TABLE gone (ids int[]);
SELECT integrity.add_reference('gone', 'ids', 'heir');
DROP TABLE gone;
CREATE TABLE early (id int NOT NULL);
ALTER TABLE heir INHERIT early;
CREATE TABLE all_keys (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE late (ids int[]);
SELECT integrity.add_reference('late', 'ids', 'all_keys', "deferrable" => true);
ALTER TABLE all_keys ATTACH PARTITION late_key FOR VALUES FROM (0) TO (10);
INSERT INTO all_keys VALUES (1); INSERT INTO late VALUES ('{1}');
DELETE FROM late_key;
SELECT tgname, tgparentid <> 0 AS clone FROM pg_trigger WHERE tgrelid = 'late_key'::regclass AND NOT tgisinternal ORDER BY 1;

-- A key that moves to another partition is decided on when its old row is deleted: what brings it back has to come before the guard, by its name.
CREATE TABLE back (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE back_1 PARTITION OF back FOR VALUES IN (1); CREATE TABLE back_2 PARTITION OF back FOR VALUES IN (2);
CREATE TABLE back_refs (ids int[]);
SELECT integrity.add_reference('back_refs', 'ids', 'back');
CREATE FUNCTION bring_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO back VALUES (OLD.id) ON CONFLICT DO NOTHING; RETURN NULL; END $$;
CREATE TRIGGER zz_late AFTER DELETE ON back FOR EACH ROW EXECUTE FUNCTION bring_back();
INSERT INTO back VALUES (1); INSERT INTO back_refs VALUES ('{1}');
UPDATE back SET id = 2;
\echo :LAST_ERROR_SQLSTATE
ALTER TRIGGER zz_late ON back RENAME TO "A_early";
UPDATE back SET id = 2;
SELECT tableoid::regclass, id FROM back ORDER BY 2;

-- Inheritance is no partitioning: a child is neither checked nor looked into, as native.
CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
CREATE TABLE i (ids int[]); CREATE TABLE i_child () INHERITS (i);
INSERT INTO child VALUES (1); INSERT INTO parent VALUES (2);
SELECT integrity.add_reference('i', 'ids', 'parent', on_delete => 'remove element');
INSERT INTO i VALUES ('{1}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO i VALUES ('{2}'); INSERT INTO i_child VALUES ('{2,3}');
DELETE FROM parent WHERE id = 2;
SELECT tableoid::regclass, * FROM i ORDER BY 1::text;
-- Of one statement that deletes in both, the child's rows are no keys that go.
TRUNCATE i, i_child; INSERT INTO parent VALUES (3), (4), (5); INSERT INTO child VALUES (4), (5);
INSERT INTO i VALUES ('{3,4,5}');
DELETE FROM parent WHERE id = 3 OR id = 4 AND tableoid = 'child'::regclass;
SELECT * FROM ONLY i;
MERGE INTO parent USING (VALUES (4), (5)) v (id) ON parent.id = v.id
  WHEN MATCHED AND (v.id = 4) = (parent.tableoid = 'parent'::regclass) THEN DELETE;
SELECT * FROM ONLY i;

RESET search_path;
DROP SCHEMA partitions CASCADE;
RESET client_min_messages;
