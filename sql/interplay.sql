-- Rules beside native foreign keys and triggers of the user's own on the same rows.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA interplay;
RESET client_min_messages;
SET search_path = interplay, public;
\set VERBOSITY default

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

-- A row that refers to a key by an array (no action) and is deleted by a native cascade from
-- that key. One DELETE of both keys must pass, as it would key by key: the check of each key
-- comes after the cascade of that key. (Guards: NO ACTION in one pass is only a prefilter.)
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE r (id int PRIMARY KEY, owner int REFERENCES k ON DELETE CASCADE, ids int[]);
SELECT integrity.add_reference('r', 'ids', 'k');
INSERT INTO k VALUES (1), (2), (3);
INSERT INTO r VALUES (10, 1, '{1}'), (20, 2, '{2}');
BEGIN;
DELETE FROM k WHERE id IN (1, 2);
SELECT * FROM r;
ROLLBACK;

-- But where a reference remains, the delete of many keys fails and names it.
INSERT INTO r VALUES (30, NULL, '{3,2}');
DELETE FROM k WHERE id IN (1, 2);
\echo :SQLSTATE
SELECT count(*) FROM k;

-- RESTRICT is exact in the same way: here the cascade takes the references away first, as the
-- native twin's does; 30 is in the way of 3 alone, and a delete of three keys must name 3.
DELETE FROM r WHERE id = 30;
SELECT integrity.drop_reference('r', 'r_ids_fkey');
SELECT integrity.add_reference('r', 'ids', 'k', on_delete => 'restrict');
BEGIN;
DELETE FROM k WHERE id IN (1, 2);
SELECT * FROM r;
ROLLBACK;
INSERT INTO r VALUES (30, NULL, '{3}');
SELECT restricted('DELETE FROM k');
SELECT count(*) FROM k;

-- Two rules on one column: RESTRICT holds against the delete row of the other, also where the
-- reference is to the second key of the statement.
DELETE FROM r;
SET client_min_messages = warning;
SELECT integrity.add_reference('r', 'ids', 'k', on_delete => 'delete row', rule_name => 'a_second_rule');
RESET client_min_messages;
INSERT INTO r VALUES (40, NULL, '{2}');
SELECT restricted('DELETE FROM k WHERE id IN (1, 2)');
DROP TABLE r;

-- A self-reference: parents that name their children. Deleting all of them at once passes
-- with no action, deleting a child alone does not.
CREATE TABLE node (id int PRIMARY KEY, children int[]);
SELECT integrity.add_reference('node', 'children', 'node');
INSERT INTO node VALUES (1, '{2,3}'), (2, '{4}'), (3, NULL), (4, '{}');
DELETE FROM node WHERE id = 4;
\echo :SQLSTATE
DELETE FROM node;
SELECT count(*) FROM node;

-- A self-reference whose action deletes rows that are keys themselves: each level's delete is
-- handled with its own transition table.
SELECT integrity.drop_reference('node', 'node_children_fkey');
SET client_min_messages = warning;
SELECT integrity.add_reference('node', 'children', 'node', on_delete => 'delete row');
RESET client_min_messages;
INSERT INTO node VALUES (5, NULL), (4, '{5}'), (3, '{4,5}'), (2, '{3}'), (1, '{2}'), (9, NULL), (8, '{9}');
DELETE FROM node WHERE id = 5;
SELECT * FROM node ORDER BY id;

-- A key that moves to another partition, sent on to a third key by a BEFORE trigger behind the
-- guard that noted the pair; the noted key exists already, and is another row's. The elements must
-- not follow to it: refused. (Guards: a note is believed only of a row that came with the same command.)
CREATE TABLE pk (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE pk1 PARTITION OF pk FOR VALUES FROM (0) TO (10);
CREATE TABLE pk2 PARTITION OF pk FOR VALUES FROM (10) TO (30);
CREATE TABLE pr (ids int[]);
SET client_min_messages = warning;
SELECT integrity.add_reference('pr', 'ids', 'pk', on_update => 'cascade');
RESET client_min_messages;
CREATE FUNCTION send_on() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := NEW.id + 1; RETURN NEW; END';
CREATE TRIGGER zz_send_on BEFORE UPDATE ON pk FOR EACH ROW EXECUTE FUNCTION send_on();
INSERT INTO pk VALUES (1), (20);
INSERT INTO pr VALUES ('{1}');
UPDATE pk SET id = 20 WHERE id = 1;
\echo :SQLSTATE
SELECT * FROM pr;
-- Nor if it came in the same transaction, with an earlier command.
BEGIN;
DELETE FROM pk WHERE id = 20;
INSERT INTO pk VALUES (20);
UPDATE pk SET id = 20 WHERE id = 1;
\echo :SQLSTATE
ROLLBACK;
SELECT * FROM pr;
DROP TABLE pr, pk;

-- A trigger that changes the table's definition, and deletes another key, while a guard is at work
-- on it: the rule that the outer guard holds is replaced under it and must stay readable.
-- (Guards: replaced rules are kept to the end of the transaction.)
CREATE TABLE dk (id int PRIMARY KEY);
CREATE TABLE da (ids int[]);
CREATE TABLE db (ids int[]);
SET client_min_messages = warning;
SELECT integrity.add_reference('da', 'ids', 'dk', on_delete => 'remove element');
SELECT integrity.add_reference('db', 'ids', 'dk', on_delete => 'remove element');
RESET client_min_messages;
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_trigger_depth() < 3 THEN
    COMMENT ON TABLE dk IS 'meddled with';
    EXECUTE 'CREATE TEMP TABLE meddled (i int) ON COMMIT DROP';
    DROP TABLE meddled;
    DELETE FROM dk WHERE id = OLD.ids[1] + 1;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER meddle BEFORE UPDATE ON da FOR EACH ROW EXECUTE FUNCTION meddle();
INSERT INTO dk SELECT generate_series(1, 6);
INSERT INTO da VALUES ('{1}'), ('{3}'), ('{5}');
INSERT INTO db VALUES ('{1,2,3,4,5,6}');
DELETE FROM dk WHERE id IN (1, 3, 5);
SELECT * FROM dk;
SELECT * FROM da;
SELECT * FROM db;
DROP TABLE da, db, dk;
DROP FUNCTION meddle(), send_on();

SET client_min_messages = warning;
DROP SCHEMA interplay CASCADE;
RESET client_min_messages;
