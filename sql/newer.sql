-- What PostgreSQL 18 brought and older versions do not have: foreign keys that are not enforced, that have a PERIOD, or that
-- are not valid on a partitioned table; virtual generated columns. (Two files of results: without it and with it.)
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA newer;
SET search_path = newer, public;
\set VERBOSITY terse
SELECT current_setting('server_version_num')::int >= 180000 AS has_it \gset
\if :has_it

CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k VALUES (1);

-- NOT ENFORCED: said so, counted, mended, and its undo breaks it again.
CREATE TABLE loose (id int PRIMARY KEY, k int REFERENCES k NOT ENFORCED);
INSERT INTO loose VALUES (1, 1), (2, 77);
SELECT enforced, validated, references_checked, references_broken, sample, status FROM integrity_report('loose');
SELECT run_id, references_broken, rows_changed FROM integrity.repair('loose', 'loose_k_fkey', 'set null', dry_run => false) \gset
\echo :references_broken :rows_changed
SELECT status, advice FROM integrity_report('loose');
SELECT outcome, rows FROM integrity.undo(:run_id, dry_run => false);
SELECT * FROM loose ORDER BY id;
-- The advice can be followed. PostgreSQL finds the broken row.
ALTER TABLE loose ALTER CONSTRAINT loose_k_fkey ENFORCED;
DELETE FROM loose WHERE id = 2;
ALTER TABLE loose ALTER CONSTRAINT loose_k_fkey ENFORCED;
SELECT enforced, validated, status FROM integrity_report('loose');

-- A PERIOD is never ok and never broken, for it was not looked at; nor is it repaired.
CREATE TABLE room (id int4range, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS));
CREATE TABLE booking (id int4range, at daterange, room int4range, FOREIGN KEY (room, PERIOD at) REFERENCES room (id, PERIOD at));
INSERT INTO room VALUES ('[1,1]', '[2020-01-01,2021-01-01)'), ('[1,1]', '[2021-01-01,2022-01-01)');
INSERT INTO booking VALUES ('[1,1]', '[2020-06-01,2021-06-01)', '[1,1]');
SELECT status, references_checked, advice FROM integrity_report('booking');
SELECT * FROM integrity.broken_references('booking', 'booking_room_at_fkey');
SELECT * FROM integrity.repair('booking', 'booking_room_at_fkey', 'delete row', dry_run => false);
-- Such a key is none for an array.
CREATE TABLE visit (rooms int4range[]);
SELECT integrity.add_reference('visit', 'rooms', 'room');
SELECT integrity.add_reference('visit', 'rooms', 'room', 'id');

-- Not valid on a partitioned table.
CREATE TABLE split (id int, k int) PARTITION BY RANGE (id);
CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (0) TO (10);
INSERT INTO split VALUES (1, 99);
SELECT integrity.add_reference('split', 'k', 'k', not_valid => true);
SELECT enforced, validated, references_broken, status FROM integrity_report('split');
SELECT integrity.validate_reference('split', 'split_k_fkey');
DELETE FROM split;
SELECT integrity.validate_reference('split', 'split_k_fkey');
SELECT enforced, validated, references_broken, status FROM integrity_report('split');

-- A virtual column can neither refer nor be a key. Beside an array it is computed anew, and its undo is the same row.
CREATE TABLE arr (id int PRIMARY KEY, ids int[], virtual int[] GENERATED ALWAYS AS (ids) VIRTUAL, stored int[] GENERATED ALWAYS AS (ids) STORED);
SELECT integrity.add_reference('arr', 'virtual', 'k');
CREATE TRIGGER by_hand AFTER INSERT OR UPDATE ON arr FOR EACH ROW
  WHEN (integrity.refers(NEW.virtual, (NULL::k).id)) EXECUTE FUNCTION integrity.check_reference();
CREATE TABLE vk (id int UNIQUE, virtual int GENERATED ALWAYS AS (id) VIRTUAL);
SELECT integrity.add_reference('arr', 'ids', 'vk', 'virtual');
INSERT INTO arr (id, ids) VALUES (1, '{1,5}'), (2, '{6}');
SELECT integrity.add_reference('arr', 'ids', 'k', on_delete => 'remove element', on_empty => 'delete row', not_valid => true);
SELECT run_id FROM integrity.repair('arr', dry_run => false) \gset
SELECT * FROM arr ORDER BY id;
SELECT outcome, rows FROM integrity.undo(:run_id, dry_run => false);
SELECT * FROM arr ORDER BY id;

\endif
DROP SCHEMA newer CASCADE;
