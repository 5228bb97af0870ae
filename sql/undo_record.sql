SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- undo() brings back a reference without a key if it is on record as broken for that very row. Guards: a value that one row
-- may have says nothing about another row, not even within one statement.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA undo_record;
SET search_path = undo_record, public;
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE t (n int PRIMARY KEY, ids int[]);
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'delete row', not_valid => true);
SET session_replication_role = replica;
INSERT INTO t VALUES (1, '{9}'), (2, '{99,9}');
RESET session_replication_role;
-- Key 9 comes when the first row goes, and goes when both are gone. So only 99 is on record for the second row, which begins like 9.
CREATE FUNCTION make_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO undo_record.k VALUES (9) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER make_key AFTER DELETE ON t FOR EACH ROW WHEN (OLD.n = 1) EXECUTE FUNCTION make_key();
CALL integrity.repair_in_batches('t', 't_ids_fkey', batch_rows => 1) \gset
SELECT row_key, broken FROM integrity.change WHERE run_id = :run_id ORDER BY change_id;
DELETE FROM k;
SELECT outcome, rows, row_key, reason FROM integrity.undo(:run_id, false);
TABLE t ORDER BY n;
-- Which errors are about a row, that is left alone then, and which end the undo.
SELECT e, integrity.is_about_a_row(e) FROM unnest('{22003,23503,23505,23514,P0001,40001,40P01,42501,53200,55P03,57014,58030,XX000}'::text[]) AS e;
DELETE FROM integrity.run WHERE run_id >= :run_id;
DROP SCHEMA undo_record CASCADE;
