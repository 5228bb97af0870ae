-- OpenFlights: 67,663 real routes with real broken references; the figures are those of the
-- data's own README, computed with plain SQL without this extension.
-- Guards: report figures at size, validation, checks of added elements only, and one rewrite
-- per row however many keys a statement deletes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
RESET client_min_messages;
\set SHOW_CONTEXT never
\getenv dir OPENFLIGHTS_DIR
\if :{?dir}
\else
\echo **** SKIPPED: OPENFLIGHTS_DIR is not set, so nothing below was tested ****
\quit
\endif

\set ECHO none
\cd :dir
\set ON_ERROR_STOP on
SET client_min_messages = warning;
\i load.sql
RESET client_min_messages;
\set ON_ERROR_STOP off
\set ECHO all
SET search_path = flights, public;

-- Four rules, not valid. A NOTICE offers the GIN index for equipment, the one changing array rule.
SELECT integrity.add_reference('routes', 'equipment', 'planes', on_delete => 'remove element', not_valid => true);
SELECT integrity.add_reference('routes', 'source_id', 'airports', not_valid => true);
SELECT integrity.add_reference('routes', 'destination_id', 'airports', not_valid => true);
SELECT integrity.add_reference('routes', 'airline_id', 'airlines', not_valid => true);

-- The README's table. equipment: 67645 rows, 12828 broken; 93231 elements, 14495 broken, 52 values.
SELECT referencing_column AS col, rows_checked, rows_broken, references_checked AS refs,
       references_broken AS refs_broken, values_broken, cardinality(sample) AS sampled, validated, status
  FROM public.integrity_report('routes') ORDER BY 1;
-- The same table by plain SQL: true for the rule on equipment.
SELECT (r.references_checked, r.references_broken, r.values_broken) = (t.n, t.broken, t.vals) AS as_plain_sql,
       r.sample <@ t.missing AS sample_is_broken
  FROM public.integrity_report('routes') r,
       (SELECT count(*) AS n, count(*) FILTER (WHERE p.code IS NULL) AS broken,
               count(DISTINCT e) FILTER (WHERE p.code IS NULL) AS vals,
               array_agg(DISTINCT e) FILTER (WHERE p.code IS NULL) AS missing
          FROM routes, unnest(equipment) e LEFT JOIN planes p ON p.code = e WHERE e IS NOT NULL) t
 WHERE r.referencing_column = 'equipment';
-- broken_references lists each of the 14495, in 12828 rows; 73H stands 3351 times.
SELECT count(*), count(DISTINCT row_key) AS rows, count(*) FILTER (WHERE value = '73H') AS "73H"
  FROM integrity.broken_references('routes', 'routes_equipment_fkey');

-- Validating equipment fails and names an element. Which one is open, so it is looked up:
-- 23503, and the named element stands in an array and in no plane.
DO $$
DECLARE detail text; named text;
BEGIN
  PERFORM integrity.validate_reference('routes', 'routes_equipment_fkey');
  RAISE NOTICE 'validated, which is wrong';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  named := substring(detail FROM '^Key \(equipment\)=\((.*)\) is not present in table "planes"\.$');
  RAISE NOTICE '%: names a broken element: %', SQLSTATE,
    EXISTS (SELECT FROM flights.routes WHERE named = ANY (equipment))
    AND NOT EXISTS (SELECT FROM flights.planes WHERE code = named);
END $$;
-- The three native ones: airline_id holds and becomes valid, source_id does not.
SELECT integrity.validate_reference('routes', 'routes_airline_id_fkey');
\set VERBOSITY terse
SELECT integrity.validate_reference('routes', 'routes_source_id_fkey');
\echo :SQLSTATE
\set VERBOSITY default
SELECT referencing_column, kind, enforced, validated FROM integrity.reference
 WHERE referencing_table = 'routes'::regclass ORDER BY 1;

-- A new route: 320 exists, XXX does not. 23503 naming XXX.
INSERT INTO routes (id, equipment) VALUES (0, '{320,XXX}');
\echo :SQLSTATE
-- 73H is broken already, yet may not be added again by a new row.
INSERT INTO routes (id, equipment) VALUES (0, '{320,73H}');
\echo :SQLSTATE
-- Appending a good code to a route with an old broken one works: only what is added is checked.
BEGIN;
UPDATE routes SET equipment = equipment || '320'::text
 WHERE id = (SELECT min(id) FROM routes WHERE '73H' = ANY (equipment))
RETURNING '73H' = ANY (equipment) AS still_has_73h, equipment[cardinality(equipment)] AS last;
-- But a second code that is broken is refused, and named.
UPDATE routes SET equipment = equipment || 'XXX'::text
 WHERE id = (SELECT min(id) FROM routes WHERE '73H' = ANY (equipment));
\echo :SQLSTATE
ROLLBACK;

-- Repair of the equipment rule. What must come out, by plain SQL: every element that is no plane is
-- gone, the others in their order.
CREATE TEMP TABLE mended AS
  SELECT r.id, r.equipment AS old, CASE WHEN r.equipment IS NOT NULL THEN
         ARRAY(SELECT e FROM unnest(r.equipment) WITH ORDINALITY AS u (e, n)
                WHERE e IS NULL OR e IN (SELECT code FROM planes) ORDER BY n) END AS new
    FROM routes AS r;
CREATE TABLE figures (run bigint, referencing_table regclass, rule_name name, action text,
                           refs bigint, changed bigint, deleted bigint, dry_run boolean);
-- What the dry run has told and what the run then did.
CREATE VIEW compared AS
SELECT d.rule_name, d.action, d.refs, d.changed, d.deleted,
       (d.refs, d.changed, d.deleted, d.run IS NULL, d.dry_run) = (r.refs, r.changed, r.deleted, r.run IS NOT NULL, NOT r.dry_run) AS as_dry_run
  FROM figures d JOIN figures r USING (rule_name) WHERE d.dry_run AND NOT r.dry_run;
CREATE VIEW rest AS SELECT md5(string_agg((to_jsonb(r) - 'equipment')::text, '|' ORDER BY id)) FROM routes AS r;
SELECT md5 AS other_columns FROM rest \gset
-- Every repair below is taken back: the table is to the letter what it was.
CREATE VIEW all_rows AS SELECT md5(string_agg(r::text, '|' ORDER BY id)) FROM routes AS r;
SELECT md5 AS all_rows FROM all_rows \gset
-- on_empty keep: 14495 elements out of 12828 rows; 8875 arrays are {} then, and no row is gone.
BEGIN;
INSERT INTO figures
  SELECT r.* FROM integrity.repair('routes', 'routes_equipment_fkey') AS r;
SELECT count(*) FILTER (WHERE r.equipment IS DISTINCT FROM m.old) AS dry_run_changed FROM routes r JOIN mended m USING (id);
INSERT INTO figures
  SELECT r.* FROM integrity.repair('routes', 'routes_equipment_fkey', dry_run => false) AS r;
SELECT * FROM compared ORDER BY 1;
SELECT sum(cardinality(m.old) - cardinality(r.equipment)) AS elements_out,
       count(*) FILTER (WHERE r.equipment IS DISTINCT FROM m.old) AS rows_changed,
       count(*) FILTER (WHERE r.equipment IS DISTINCT FROM m.new) AS rows_wrong,
       count(*) FILTER (WHERE r.equipment = '{}') AS empty, count(*) AS rows
  FROM routes r JOIN mended m USING (id);
SELECT md5 = :'other_columns' AS other_columns_untouched FROM rest;
SELECT count(*) AS logged, sum(jsonb_array_length(broken->'routes_equipment_fkey')) AS elements,
       count(*) FILTER (WHERE after = '{"equipment": "{}"}') AS emptied
  FROM integrity.change WHERE run_id = (SELECT max(run_id) FROM integrity.run);
SELECT * FROM integrity.repair('routes', 'routes_equipment_fkey');
SELECT references_checked AS refs, references_broken, status FROM public.integrity_report('routes') WHERE referencing_column = 'equipment';
SELECT integrity.validate_reference('routes', 'routes_equipment_fkey');
SELECT outcome, rows, reason FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
SELECT md5 = :'all_rows' AS undone FROM all_rows;
SELECT referencing_column, references_broken, validated FROM public.integrity_report('routes') ORDER BY 1;
SELECT outcome, rows, reason FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
SELECT count(*) FILTER (WHERE r.equipment IS DISTINCT FROM m.new) AS rows_wrong FROM routes r JOIN mended m USING (id);
SELECT md5 = :'other_columns' AS other_columns_untouched FROM rest;
ROLLBACK;
-- on_empty delete row: those 8875 rows go, 3953 are changed.
SELECT integrity.drop_reference('routes', 'routes_equipment_fkey');
SET client_min_messages = warning;
SELECT integrity.add_reference('routes', 'equipment', 'planes', on_delete => 'remove element', on_empty => 'delete row', not_valid => true);
RESET client_min_messages;
BEGIN;
INSERT INTO figures
  SELECT r.* FROM integrity.repair('routes', 'routes_equipment_fkey') AS r;
INSERT INTO figures
  SELECT r.* FROM integrity.repair('routes', 'routes_equipment_fkey', dry_run => false) AS r;
SELECT * FROM compared ORDER BY 1;
SELECT count(*) FILTER (WHERE r.id IS NULL) AS rows_deleted,
       count(*) FILTER (WHERE r.id IS NULL AND (m.new <> '{}' OR m.old = '{}')) AS wrongly_deleted,
       count(*) FILTER (WHERE r.equipment IS DISTINCT FROM m.old AND r.id IS NOT NULL) AS rows_changed,
       count(*) FILTER (WHERE r.equipment IS DISTINCT FROM m.new AND r.id IS NOT NULL) AS rows_wrong,
       count(r.id) AS rows
  FROM mended m LEFT JOIN routes r USING (id);
SELECT count(*) AS logged, count(*) FILTER (WHERE after IS NULL) AS deleted FROM integrity.change WHERE run_id = (SELECT max(run_id) FROM integrity.run);
SELECT * FROM integrity.repair('routes', 'routes_equipment_fkey');
SELECT references_broken, status FROM public.integrity_report('routes') WHERE referencing_column = 'equipment';
SELECT outcome, rows, reason FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
SELECT md5 = :'all_rows' AS undone FROM all_rows;
ROLLBACK;
SELECT integrity.drop_reference('routes', 'routes_equipment_fkey');
SET client_min_messages = warning;
SELECT integrity.add_reference('routes', 'equipment', 'planes', on_delete => 'remove element', not_valid => true);
RESET client_min_messages;
-- The airports: the rules say no action, so one has to be named. Here for the whole table at once,
-- equipment too: 'set null' is possible for all of them. One row may be broken in three columns.
SELECT * FROM integrity.repair('routes');
\echo :SQLSTATE
BEGIN;
INSERT INTO figures
  SELECT r.* FROM integrity.repair('routes', action => 'set null') AS r;
INSERT INTO figures
  SELECT r.* FROM integrity.repair('routes', action => 'set null', dry_run => false) AS r;
SELECT * FROM compared ORDER BY 1;
SELECT count(*) FILTER (WHERE equipment IS NULL) - 18 AS equipment, count(*) AS rows FROM routes;
SELECT count(*) AS orphans FROM routes r WHERE source_id IS NOT NULL AND NOT EXISTS (SELECT FROM airports a WHERE a.id = r.source_id)
    OR destination_id IS NOT NULL AND NOT EXISTS (SELECT FROM airports a WHERE a.id = r.destination_id);
SELECT * FROM integrity.repair('routes');
SELECT referencing_column, references_broken, status FROM public.integrity_report('routes') ORDER BY 1;
-- Nothing is left that is broken, in the whole database.
SELECT score, broken, unknown FROM integrity.health();
SELECT outcome, rows, reason FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
SELECT md5 = :'all_rows' AS undone FROM all_rows;
ROLLBACK;
-- One DELETE of two keys. What the arrays must be, computed before. (A row written twice in the
-- statement would fail here: PostgreSQL then checks its broken, not valid, source_id as new.)
CREATE TEMP TABLE want AS
  SELECT id, ctid AS old_ctid, equipment AS old, array_remove(array_remove(equipment, '320'), '738') AS new
    FROM routes;
BEGIN;
SELECT pg_stat_get_xact_tuples_updated('routes'::regclass) AS before \gset
DELETE FROM planes WHERE code IN ('320', '738');
-- 24813 row versions written by it (twice per row would be more), none deleted. (The statistics
-- still count what was rolled back above.)
SELECT pg_stat_get_xact_tuples_updated('routes'::regclass) - :before AS updated,
       pg_stat_get_xact_tuples_deleted('routes'::regclass) AS deleted;
-- No row in two versions of this transaction either: the old version leads straight to the new one.
SELECT count(*) FILTER (WHERE r.xmin = pg_current_xact_id()::xid) AS rewritten,
       count(*) FILTER (WHERE r.ctid <> w.old_ctid) AS moved
  FROM routes r JOIN want w USING (id);
COMMIT;
-- 25920 elements out of 24813 rows; every array is the expected one, so the order is kept.
SELECT sum(cardinality(w.old) - cardinality(r.equipment)) AS elements_out,
       count(*) FILTER (WHERE w.old IS DISTINCT FROM r.equipment) AS rows_changed,
       count(*) FILTER (WHERE w.new IS DISTINCT FROM r.equipment) AS rows_wrong,
       count(*) AS rows
  FROM routes r JOIN want w USING (id);
-- on_empty keep: arrays that ran empty are {}, none became NULL (18 were NULL from the start).
SELECT count(*) FILTER (WHERE r.equipment = '{}') > 0 AS some_empty,
       count(*) FILTER (WHERE r.equipment IS NULL) AS nulls,
       count(*) FILTER (WHERE (r.equipment = '{}') <> (w.new = '{}')) AS wrongly_empty
  FROM routes r JOIN want w USING (id);
-- 93231 - 25920 = 67311 elements left, still the same 14495 broken: nothing else was touched.
SELECT rows_checked, references_checked, references_broken, values_broken, status
  FROM public.integrity_report('routes') WHERE referencing_column = 'equipment';

SET client_min_messages = warning;
DROP TABLE want, mended;
DROP TABLE IF EXISTS plane_rows, route_rows;
DROP SCHEMA flights CASCADE;
RESET client_min_messages;
