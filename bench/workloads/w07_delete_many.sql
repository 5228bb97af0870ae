-- W7: DELETE of 1,000 of 200,000 keys in one statement, 200,000 arrays x 10
-- full: rows=200000 keys=200000
-- tiny: rows=1000 keys=1000
-- for fastupdate: pending=on direct=off
--
-- A GIN index as CREATE INDEX makes it puts new entries on a pending list, and somebody else sorts them in later: the rows of this
-- statement just fit. That is "pending"; "direct" is an index with fastupdate off, where the statement does all of its work.
--
-- About 10,000 arrays hold one of the keys. "by primary key" is the floor: the new arrays are known and are only written, with
-- the GIN index in place. No keys are deleted in it.

-- ==== prepare
SELECT setseed(0.7);
CREATE TABLE source_keys AS SELECT generate_series(1, :keys) AS id;
CREATE TABLE source AS
  SELECT g AS id, ARRAY(SELECT 1 + (e + g) % 10 * (:keys / 10) + floor(random() * (:keys / 10))::int
                          FROM generate_series(0, 9) AS e) AS ids
    FROM generate_series(1, :rows) AS g;
CREATE TABLE source_pairs AS SELECT s.id, e.id AS key_id FROM source AS s, unnest(s.ids) AS e (id);
CREATE TABLE gone AS SELECT id FROM source_keys WHERE id % 200 = 7;
CREATE TABLE known AS
  SELECT s.id, ARRAY(SELECT e.id FROM unnest(s.ids) WITH ORDINALITY AS e (id, n) WHERE e.id NOT IN (SELECT id FROM gone) ORDER BY e.n) AS ids
    FROM source AS s WHERE s.id IN (SELECT p.id FROM source_pairs AS p WHERE p.key_id IN (SELECT id FROM gone));

SELECT make_arrays('floor'), make_arrays('row_trigger'), make_arrays('statement_trigger'), make_arrays('rule'), make_junction();
CREATE TRIGGER remove_row AFTER DELETE ON row_trigger_keys FOR EACH ROW EXECUTE FUNCTION remove_row();
CREATE TRIGGER remove_statement AFTER DELETE ON statement_trigger_keys REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION remove_statement();
SELECT integrity.add_reference('rule_arrays', 'ids', 'rule_keys', on_delete => 'remove element');
VACUUM (FREEZE, ANALYZE);

-- ==== by primary key: before
SELECT restore_arrays('floor', gin => true, fastupdate => ':fastupdate');
VACUUM (FREEZE, ANALYZE) floor_keys, floor_arrays;
-- ==== by primary key: measure
UPDATE floor_arrays AS a SET ids = k.ids FROM known AS k WHERE k.id = a.id;
-- ==== by primary key: outcome
SELECT references_of('floor_arrays');

-- ==== by primary key, no GIN: before
SELECT restore_arrays('floor', gin => false);
VACUUM (FREEZE, ANALYZE) floor_keys, floor_arrays;
-- ==== by primary key, no GIN: measure
UPDATE floor_arrays AS a SET ids = k.ids FROM known AS k WHERE k.id = a.id;

-- ==== row by row: before
SELECT restore_arrays('row_trigger', gin => true, fastupdate => ':fastupdate');
VACUUM (FREEZE, ANALYZE) row_trigger_keys, row_trigger_arrays;
-- ==== row by row: measure
DELETE FROM row_trigger_keys WHERE id IN (SELECT id FROM gone);
-- ==== row by row: outcome
SELECT references_of('row_trigger_arrays');

-- ==== one UPDATE with &&: before
SELECT restore_arrays('statement_trigger', gin => true, fastupdate => ':fastupdate');
VACUUM (FREEZE, ANALYZE) statement_trigger_keys, statement_trigger_arrays;
-- ==== one UPDATE with &&: measure
DELETE FROM statement_trigger_keys WHERE id IN (SELECT id FROM gone);
-- ==== one UPDATE with &&: outcome
SELECT references_of('statement_trigger_arrays');

-- ==== junction: before
SELECT restore_junction();
VACUUM (FREEZE, ANALYZE) junction_keys, junction_pairs;
-- ==== junction: measure
DELETE FROM junction_keys WHERE id IN (SELECT id FROM gone);
-- ==== junction: outcome
SELECT pairs_of('junction_pairs');

-- ==== rule: before
SELECT restore_arrays('rule', gin => true, fastupdate => ':fastupdate');
VACUUM (FREEZE, ANALYZE) rule_keys, rule_arrays;
-- ==== rule: measure
DELETE FROM rule_keys WHERE id IN (SELECT id FROM gone);
-- ==== rule: outcome
SELECT references_of('rule_arrays');

-- ==== rule, no GIN: before
SELECT restore_arrays('rule', gin => false);
VACUUM (FREEZE, ANALYZE) rule_keys, rule_arrays;
-- ==== rule, no GIN: measure
DELETE FROM rule_keys WHERE id IN (SELECT id FROM gone);
-- ==== rule, no GIN: outcome
SELECT references_of('rule_arrays');
