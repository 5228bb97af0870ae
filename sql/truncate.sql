SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- TRUNCATE of a referenced table: refused (0A000) while a reference remains. Guards guard_truncate().
-- A native foreign key refuses even when nothing refers to the table; here the arrays are looked at.
CREATE SCHEMA truncates;
SET search_path = truncates, public;
SET client_min_messages = warning;
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE k2 (id int PRIMARY KEY);
CREATE TABLE t (ids int[], others int[]);
INSERT INTO k VALUES (1), (2); INSERT INTO k2 VALUES (1);
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element');
SELECT integrity.add_reference('t', 'others', 'k2');

-- the referencing table is empty: passes
TRUNCATE k;
INSERT INTO k VALUES (1), (2);
-- rows that refer to nothing: passes
INSERT INTO t VALUES (NULL, '{1}'), ('{}', NULL), ('{NULL}', NULL), ('{{NULL,NULL}}', NULL);
TRUNCATE k;
INSERT INTO k VALUES (1), (2);
-- one row refers: refused, whatever on_delete says; nothing is lost
INSERT INTO t VALUES ('{NULL,2}', NULL);
TRUNCATE k;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE ONLY k;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE k RESTART IDENTITY;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM k;
-- CASCADE follows native foreign keys alone; it must not pass over an array rule
TRUNCATE k CASCADE;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM k; SELECT count(*) FROM t;
-- CASCADE from a third table that k refers to natively reaches k, and is refused there
CREATE TABLE top (id int PRIMARY KEY);
ALTER TABLE k ADD top int REFERENCES top;
TRUNCATE top CASCADE;
\echo :LAST_ERROR_SQLSTATE
-- CASCADE that takes the referencing table along passes: t refers to top natively as well
ALTER TABLE t ADD top int REFERENCES top;
BEGIN; TRUNCATE top CASCADE; SELECT (SELECT count(*) FROM k) + (SELECT count(*) FROM t) AS rows; ROLLBACK;
-- both in one statement, in either order: passes
BEGIN; TRUNCATE k, t; SELECT (SELECT count(*) FROM k) + (SELECT count(*) FROM t) AS rows; ROLLBACK;
BEGIN; TRUNCATE t, k; SELECT (SELECT count(*) FROM k) + (SELECT count(*) FROM t) AS rows; ROLLBACK;
-- both, but a third table (k2) still holds t's other rule: that one is not touched by it
BEGIN; TRUNCATE k, t; SELECT count(*) FROM k2; ROLLBACK;
-- t is emptied, k2 is truncated with it, k is not named
BEGIN; TRUNCATE t, k2; SELECT count(*) FROM k; ROLLBACK;
-- only k2: t still refers to it
TRUNCATE k2;
\echo :LAST_ERROR_SQLSTATE
-- the referencing table alone, always
BEGIN; TRUNCATE t; TRUNCATE k; TRUNCATE k2; ROLLBACK;
-- references removed earlier in the same transaction count as removed; those added count
BEGIN; UPDATE t SET ids = NULL; TRUNCATE k; ROLLBACK;
BEGIN; DELETE FROM t; INSERT INTO t VALUES ('{1}');
TRUNCATE k;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- a rule that is not enforced does not refuse
BEGIN; ALTER TABLE t DISABLE TRIGGER t_ids_fkey; TRUNCATE k; ROLLBACK;
-- nor does anything under session_replication_role = replica
BEGIN; SET LOCAL session_replication_role = replica; TRUNCATE k; ROLLBACK;
-- a not-valid rule is a rule
SELECT integrity.drop_reference('t', 't_ids_fkey');
SELECT integrity.add_reference('t', 'ids', 'k', not_valid => true);
TRUNCATE k;
\echo :LAST_ERROR_SQLSTATE
-- deferrable: TRUNCATE never waits
SELECT integrity.drop_reference('t', 't_ids_fkey');
SELECT integrity.add_reference('t', 'ids', 'k', "deferrable" => true, initially_deferred => true);
BEGIN;
TRUNCATE k;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- self-reference: the table is emptied with its references
CREATE TABLE self (id int PRIMARY KEY, friends int[]);
SELECT integrity.add_reference('self', 'friends', 'self', on_delete => 'restrict');
INSERT INTO self VALUES (1, '{1,2}'), (2, NULL);
TRUNCATE self;
SELECT count(*) FROM self;
-- partitions: the references that remain count, wherever they are
CREATE TABLE pt (n int, ids int[]) PARTITION BY RANGE (n);
CREATE TABLE pt1 PARTITION OF pt FOR VALUES FROM (0) TO (10);
CREATE TABLE pt2 PARTITION OF pt FOR VALUES FROM (10) TO (20);
CREATE TABLE pk (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE pk1 PARTITION OF pk FOR VALUES FROM (0) TO (10);
SELECT integrity.add_reference('pt', 'ids', 'pk');
INSERT INTO pk VALUES (1); INSERT INTO pt VALUES (1, '{1}'), (11, '{1}');
TRUNCATE pk, pt1;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE pk1, pt1;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE pk1, pt1, pt2;
SELECT (SELECT count(*) FROM pk) + (SELECT count(*) FROM pt) AS rows;
-- rolled back with everything else
INSERT INTO pk VALUES (1);
BEGIN; TRUNCATE pk, pt; ROLLBACK;
INSERT INTO pt VALUES (1, '{1}');
-- the rule is dropped: free again
SELECT integrity.drop_reference('t', 't_ids_fkey');
TRUNCATE k;

RESET search_path;
DROP SCHEMA truncates CASCADE;
RESET client_min_messages;
