SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- The scan in whatever it is called, and when things are not as they should be: cursors, error handlers, cancels,
-- isolation levels, a corrupted index, senseless arguments, and a listing that goes on where another one ended.
-- Guards src/report: keys, survey, report, broken.
CREATE SCHEMA scan_calls;
SET search_path = scan_calls, public;
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE TABLE key (id int PRIMARY KEY); INSERT INTO key SELECT generate_series(1, 100);
CREATE TABLE wide_key (id int8 PRIMARY KEY); INSERT INTO wide_key SELECT g * 1000000007::int8 FROM generate_series(1, 20000) g;
CREATE TABLE many (line int PRIMARY KEY, a int[], b int8[], c int[]);
INSERT INTO many SELECT g, ARRAY[g, g + 20], ARRAY[g * 1000000007::int8, g], ARRAY[g] FROM generate_series(1, 90) g;
SELECT integrity.add_reference('many', 'a', 'key', not_valid => true), integrity.add_reference('many', 'b', 'wide_key', not_valid => true),
       integrity.add_reference('many', 'c', 'key', not_valid => true);
CREATE TABLE sparse (refs int8[]); INSERT INTO sparse SELECT ARRAY[g * 1000000007::int8, -1] FROM generate_series(1, 10000) g;
SELECT integrity.add_reference('sparse', 'refs', 'wide_key', not_valid => true);
CREATE TABLE parted (line int, refs int[]) PARTITION BY RANGE (line);
CREATE TABLE parted2 PARTITION OF parted FOR VALUES FROM (500) TO (2000); CREATE TABLE parted1 PARTITION OF parted FOR VALUES FROM (0) TO (500);
INSERT INTO parted SELECT g, ARRAY[g % 200, g % 50] FROM generate_series(1, 1500) g;
SELECT integrity.add_reference('parted', 'refs', 'key', not_valid => true);
SELECT rule_name, rows_broken, references_broken, status FROM integrity_report() WHERE referencing_table::text !~ '\.' ORDER BY 1;

--
-- A bitmap has its bounds from the index. If that does not have all keys, what refers to them must not be called broken.
--
CREATE TABLE half_indexed (id int PRIMARY KEY); INSERT INTO half_indexed VALUES (1), (2);
CREATE TABLE refers_to_half (refs int[]); INSERT INTO refers_to_half VALUES ('{1,2,3}');
SELECT integrity.add_reference('refers_to_half', 'refs', 'half_indexed', not_valid => true);
UPDATE pg_index SET indisready = false WHERE indexrelid = 'half_indexed_pkey'::regclass;
INSERT INTO half_indexed VALUES (3);
UPDATE pg_index SET indisready = true WHERE indexrelid = 'half_indexed_pkey'::regclass;
SELECT status, references_broken, advice FROM integrity_report('refers_to_half');
SELECT integrity.validate_reference('refers_to_half', 'refers_to_half_refs_fkey');
REINDEX TABLE half_indexed;
SELECT status, references_broken FROM integrity_report('refers_to_half');

--
-- In whatever it is called: a cursor, blocks that catch errors, a cancel among them, a function said to be parallel safe.
--
BEGIN;
SET LOCAL session_replication_role = replica;
DECLARE c CURSOR FOR SELECT rule_name, references_broken, status FROM integrity_report('many') ORDER BY 1;
FETCH 1 FROM c;
DELETE FROM key WHERE id = 9;
FETCH 2 FROM c;
SELECT references_broken FROM integrity_report('many') WHERE rule_name = 'many_c_fkey';
ROLLBACK;
CREATE FUNCTION slow_and_quick() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  told text;
BEGIN
  BEGIN
    -- many times, so that it takes longer than that on any machine
    PERFORM count(*) FROM generate_series(1, 3000) AS g, LATERAL public.integrity_report(CASE WHEN g > 0 THEN 'scan_calls.sparse'::regclass END);
  EXCEPTION WHEN query_canceled THEN
    told := SQLERRM;
  END;
  RETURN told || ', then ' || (SELECT status FROM public.integrity_report('scan_calls.sparse'));
END $$;
SET min_parallel_table_scan_size = 0; SET max_parallel_maintenance_workers = 2; SET statement_timeout = '200ms';
SELECT slow_and_quick();
RESET statement_timeout;
SELECT count(*) AS under_way FROM integrity.progress;
CREATE FUNCTION said_to_be_safe(int) RETURNS text LANGUAGE sql PARALLEL SAFE AS $$ SELECT status FROM public.integrity_report('scan_calls.parted') $$;
CREATE FUNCTION try_it() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT DISTINCT said_to_be_safe(cardinality(refs)) FROM (SELECT * FROM scan_calls.sparse LIMIT 2) s;
EXCEPTION WHEN invalid_transaction_state THEN  -- up to 16 there are no subtransactions in a parallel query
  RETURN NEXT 'broken';
END $$;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
SELECT try_it();
BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO key VALUES (150);
SELECT references_broken, status FROM integrity_report('parted');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT references_broken, status FROM integrity_report('parted');
COMMIT;
-- A foreign table can become a partition where event triggers do not fire. Its rows are looked at by query, or not at all.
-- Where there is no postgres_fdw, this tests nothing.
DO $$
DECLARE
  r record;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw') THEN
    RETURN;
  END IF;
  CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA scan_calls;
  CREATE SERVER regress_scan_down FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '/nonexistent');
  CREATE USER MAPPING FOR CURRENT_USER SERVER regress_scan_down;
  ALTER EVENT TRIGGER integrity_complete_rule DISABLE;
  CREATE FOREIGN TABLE foreign_part PARTITION OF parted FOR VALUES FROM (3000) TO (4000) SERVER regress_scan_down;
  ALTER EVENT TRIGGER integrity_complete_rule ENABLE ALWAYS;
  SELECT * INTO r FROM integrity_report('parted');
  IF r.status <> 'unknown' OR r.rows_checked IS NOT NULL OR r.advice !~ 'could not connect to server "regress_scan_down"' THEN
    RAISE '%', r;
  END IF;
  IF (SELECT array_agg(status ORDER BY rule_name) FROM integrity_report('many')) <> '{broken,broken,ok}' THEN
    RAISE 'the others are not reported';
  END IF;
  DROP FOREIGN TABLE foreign_part;
  DROP SERVER regress_scan_down CASCADE;
END $$;
-- Called by itself, with what it was not made for.
SELECT number, outcome, reason FROM integrity.scan_references('{0,1}', '{0,0}');
SELECT * FROM integrity.scan_references('{}', '{}');
SELECT * FROM integrity.scan_references('{0}', '{}');
SELECT * FROM integrity.scan_references('{NULL}', '{0}');
SELECT number, outcome, reason FROM integrity.scan_references('{0}', ARRAY['key_pkey'::regclass::oid]);
SELECT * FROM integrity.scan_references(NULL, NULL);

-- The rows that have something broken, some at a time: all of them, in order, each once.
CREATE FUNCTION in_steps(step bigint) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  rule oid := (SELECT oid FROM pg_trigger WHERE tgrelid = 'scan_calls.parted'::regclass AND tgname = 'parted_refs_fkey');
  last record;
  before text;
  found_rows bigint;
BEGIN
  SELECT NULL::oid AS row_table, NULL::tid AS row_tid INTO last;
  LOOP
    found_rows := 0;
    FOR last IN SELECT b.row_table, b.row_tid FROM integrity.scan_broken(rule, 0, true, last.row_table, last.row_tid, step) AS b ORDER BY 1, 2 LOOP
      RETURN NEXT last.row_table || ' ' || last.row_tid;
      IF last.row_table || ' ' || last.row_tid = before THEN
        RAISE 'row % again', before;
      END IF;
      before := last.row_table || ' ' || last.row_tid;
      found_rows := found_rows + 1;
    END LOOP;
    EXIT WHEN found_rows < step;
  END LOOP;
END $$;
SELECT DISTINCT array_agg(s) = (SELECT array_agg(DISTINCT row_table || ' ' || row_tid ORDER BY row_table || ' ' || row_tid) FROM integrity.scan_broken(
    (SELECT oid FROM pg_trigger WHERE tgrelid = 'parted'::regclass AND tgname = 'parted_refs_fkey'), 0, false)) AS same, count(*) > 40 AS many
  FROM (VALUES (1), (2), (7), (1000)) AS v (step), LATERAL (SELECT in_steps(step) AS s ORDER BY 1) AS r GROUP BY step;
-- After a row in the midst of a page, and beyond the end of the table.
SELECT count(*) FROM integrity.scan_broken((SELECT oid FROM pg_trigger WHERE tgrelid = 'many'::regclass AND tgname = 'many_a_fkey'), 0, true,
  'many'::regclass, (SELECT ctid FROM many WHERE line = 86), 10);
SELECT count(*) FROM integrity.scan_broken((SELECT oid FROM pg_trigger WHERE tgrelid = 'many'::regclass AND tgname = 'many_a_fkey'), 0, true,
  'many'::regclass, '(4294967294,65535)', 10);

DROP SCHEMA scan_calls CASCADE;
