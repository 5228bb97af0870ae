-- A column that has got another type since the repair. Guards: what the new type takes for another value does not come back
-- as one; the row is left alone. What it takes for the same comes back.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE SCHEMA undo_types;
SET search_path = undo_types, public;
SET timezone = 'America/New_York';
CREATE TABLE s (id int PRIMARY KEY);
INSERT INTO s VALUES (1);
CREATE TABLE p (id int PRIMARY KEY, a int[], at timestamp);
CREATE TABLE q (id int PRIMARY KEY, a int[], n numeric(10,2));
CREATE TABLE r (id int PRIMARY KEY, a int[], n int, t varchar(10), c char(4));
INSERT INTO p VALUES (1, '{9}', '2026-01-01 12:00'), (2, '{1}', '2026-01-01 12:00');
INSERT INTO q VALUES (1, '{9}', 1.25), (2, '{9}', 1.20), (3, '{9}', NULL);
INSERT INTO r VALUES (1, '{9}', 5, 'abc', 'x');
SELECT integrity.add_reference('p', 'a', 's', on_delete => 'delete row', enforced => false);
SELECT integrity.add_reference('q', 'a', 's', on_delete => 'delete row', enforced => false);
SELECT integrity.add_reference('r', 'a', 's', on_delete => 'delete row', enforced => false);
SELECT rule_name, rows_deleted FROM integrity.repair(dry_run => false) ORDER BY 1;
ALTER TABLE p ALTER at TYPE timestamptz;
ALTER TABLE q ALTER n TYPE numeric(10,1);
ALTER TABLE r ALTER n TYPE bigint, ALTER t TYPE text, ALTER id TYPE bigint;
SELECT changed_table, outcome, rows, row_key, reason FROM integrity.undo((SELECT max(run_id) FROM integrity.run), dry_run => false);
SELECT * FROM p;
SELECT * FROM q;
SELECT * FROM r;
DROP SCHEMA undo_types CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
