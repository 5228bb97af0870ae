-- W8: DELETE of 500 of 10,000 keys, 1,000 arrays x 1,000 elements
-- full: rows=1000 keys=10000 length=1000 few=50
-- tiny: rows=20 keys=400 length=40 few=500
--
-- Every array holds about 50 of the 500 keys. Each shall be written once: "rows written" counts how often one was.
-- "row by row" writes it anew for every key. It deletes 50 of the keys only, because all of them would take minutes; its time
-- is to be taken ten times. (The smoke test deletes all.)

-- ==== prepare
SELECT setseed(0.8);
CREATE TABLE source_keys AS SELECT generate_series(1, :keys) AS id;
CREATE TABLE source AS
  SELECT g AS id, ARRAY(SELECT 1 + e * (:keys / :length) + floor(random() * (:keys / :length))::int
                          FROM generate_series(0, :length - 1) AS e WHERE g > 0) AS ids
    FROM generate_series(1, :rows) AS g;
CREATE TABLE source_pairs AS SELECT s.id, e.id AS key_id FROM source AS s, unnest(s.ids) AS e (id);
CREATE TABLE gone AS SELECT id FROM source_keys WHERE id % 20 = 7;
CREATE TABLE few AS SELECT id FROM gone ORDER BY id % 400, id LIMIT :few;
CREATE TABLE known AS
  SELECT s.id, ARRAY(SELECT e.id FROM unnest(s.ids) WITH ORDINALITY AS e (id, n) WHERE e.id NOT IN (SELECT id FROM gone) ORDER BY e.n) AS ids
    FROM source AS s;

SELECT make_arrays('floor'), make_arrays('row_trigger'), make_arrays('rule'), make_junction();
CREATE TRIGGER remove_row AFTER DELETE ON row_trigger_keys FOR EACH ROW EXECUTE FUNCTION remove_row();
SELECT integrity.add_reference('rule_arrays', 'ids', 'rule_keys', on_delete => 'remove element');
VACUUM (FREEZE, ANALYZE);

-- ==== by primary key: before
SELECT restore_arrays('floor', gin => true);
VACUUM (FREEZE, ANALYZE) floor_keys, floor_arrays;
-- ==== by primary key: measure
UPDATE floor_arrays AS a SET ids = k.ids FROM known AS k WHERE k.id = a.id;
-- ==== by primary key: outcome
SELECT references_of('floor_arrays');

-- ==== row by row: before
SELECT restore_arrays('row_trigger', gin => true);
VACUUM (FREEZE, ANALYZE) row_trigger_keys, row_trigger_arrays;
-- ==== row by row: measure
BEGIN;
DELETE FROM row_trigger_keys WHERE id IN (SELECT id FROM few);
-- ==== row by row: count rows written
SELECT pg_stat_get_xact_tuples_updated('row_trigger_arrays'::regclass);
COMMIT;
-- ==== row by row: outcome {if :few == 500}
SELECT references_of('row_trigger_arrays');

-- ==== junction: before
SELECT restore_junction();
VACUUM (FREEZE, ANALYZE) junction_keys, junction_pairs;
-- ==== junction: measure
DELETE FROM junction_keys WHERE id IN (SELECT id FROM gone);
-- ==== junction: outcome
SELECT pairs_of('junction_pairs');

-- ==== rule: before
SELECT restore_arrays('rule', gin => true);
VACUUM (FREEZE, ANALYZE) rule_keys, rule_arrays;
-- ==== rule: measure
BEGIN;
DELETE FROM rule_keys WHERE id IN (SELECT id FROM gone);
-- ==== rule: count rows written
SELECT pg_stat_get_xact_tuples_updated('rule_arrays'::regclass);
COMMIT;
-- ==== rule: outcome
SELECT references_of('rule_arrays');
