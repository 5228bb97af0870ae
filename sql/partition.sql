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
-- row movement on this side: the moved row is checked where it arrives; a BEFORE trigger there may break it
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
-- no trigger is left that could not be dropped; native would keep the rule on the detached table
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgrelid = 't1'::regclass AND NOT tgisinternal;
INSERT INTO t1 VALUES (3, 'a', '{1,4}');
DELETE FROM k WHERE id = 4;
SELECT n, ids FROM t1 ORDER BY n;
-- attached with a broken row: refused, as native refuses it
INSERT INTO t1 VALUES (4, 'a', '{96}');
BEGIN;
ALTER TABLE t ATTACH PARTITION t1 FOR VALUES FROM (0) TO (100);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
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
UPDATE pk SET id = 27 + 1 - 1 WHERE id = 7;        -- 27 is taken
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
-- DETACH of a partition whose keys are referenced: refused, as native refuses it
BEGIN;
ALTER TABLE pk DETACH PARTITION pk1;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
DROP TABLE pk1;                                    -- native refuses this too
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT (SELECT count(*) FROM f_remove, unnest(ids) e WHERE NOT EXISTS (SELECT FROM pk WHERE id = e))
     + (SELECT count(*) FROM f_no, unnest(ids) e WHERE NOT EXISTS (SELECT FROM pk WHERE id = e))
     + (SELECT count(*) FROM f_guess, unnest(ids) e WHERE NOT EXISTS (SELECT FROM pk WHERE id = e)) AS broken;
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
UPDATE pk SET id = 29 WHERE id = 8;                -- native: 0A000, a moved tuple under a leaf's own key
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
UPDATE pk SET id = 5 + 30 WHERE id = 13;           -- from pk2a to pk3
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

RESET search_path;
DROP SCHEMA partitions CASCADE;
RESET client_min_messages;
