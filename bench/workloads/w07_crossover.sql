-- W7: array or junction table: load of 200,000 rows x 10, then deletes of 1 to 40,000 keys in one statement
-- full: rows=200000 keys=200000
-- tiny: rows=1000 keys=2000
--
-- The junction table deletes faster and loads slower. This says how many deletes it takes until it has caught up. Both load
-- with their indexes in place, and each delete is of other keys. The GIN index is an ordinary one; what its pending list has put off is
-- done at the end of each step, and counted, because somebody has to do it. Of single keys, 100 are deleted one after the other.

-- ==== prepare
SELECT setseed(0.7);
CREATE TABLE source_keys AS SELECT generate_series(1, :keys) AS id;
CREATE TABLE source AS
  SELECT g AS id, ARRAY(SELECT 1 + (e + g) % 10 * (:keys / 10) + floor(random() * (:keys / 10))::int
                          FROM generate_series(0, 9) AS e) AS ids
    FROM generate_series(1, :rows) AS g;
CREATE TABLE source_pairs AS SELECT s.id, e.id AS key_id FROM source AS s, unnest(s.ids) AS e (id);
CREATE TABLE gone AS
  SELECT CASE WHEN id % 2000 = 1 THEN 1 WHEN id % 2000 = 2 THEN 100 WHEN id % 200 = 3 THEN 1000 WHEN id % 20 = 4 THEN 10000
              ELSE 40000 END AS many, id
    FROM source_keys WHERE id % 2000 IN (1, 2) OR id % 200 = 3 OR id % 20 = 4 OR id % 4 = 0;
CREATE INDEX ON gone (many, id);
SELECT make_arrays('rule'), make_junction();
CREATE INDEX rule_gin ON rule_arrays USING gin (ids);
SELECT integrity.add_reference('rule_arrays', 'ids', 'rule_keys', on_delete => 'remove element');
VACUUM (FREEZE, ANALYZE);

-- ==== junction: before
TRUNCATE junction_pairs, junction_keys;
INSERT INTO junction_keys SELECT id FROM source_keys;
VACUUM (FREEZE, ANALYZE) junction_keys;
-- ==== junction: measure load
INSERT INTO junction_pairs SELECT id, key_id FROM source_pairs;
-- ==== junction: before
VACUUM (FREEZE, ANALYZE) junction_pairs;
-- ==== junction: warm
DELETE FROM junction_keys WHERE id = 10;
-- ==== junction: measure 100 deletes of 1 key
SELECT format('DELETE FROM junction_keys WHERE id = %s', id) FROM gone WHERE many = 1 \gexec
-- ==== junction: measure 100 keys
DELETE FROM junction_keys WHERE id IN (SELECT id FROM gone WHERE many = 100);
-- ==== junction: measure 1,000 keys
DELETE FROM junction_keys WHERE id IN (SELECT id FROM gone WHERE many = 1000);
-- ==== junction: measure 10,000 keys
DELETE FROM junction_keys WHERE id IN (SELECT id FROM gone WHERE many = 10000);
-- ==== junction: measure 40,000 keys
DELETE FROM junction_keys WHERE id IN (SELECT id FROM gone WHERE many = 40000);
-- ==== junction: outcome
SELECT count(*), pairs_of('junction_pairs') FROM junction_keys;

-- ==== rule: before
TRUNCATE rule_arrays, rule_keys;
INSERT INTO rule_keys SELECT id FROM source_keys;
VACUUM (FREEZE, ANALYZE) rule_keys;
-- ==== rule: measure load
INSERT INTO rule_arrays SELECT id, ids FROM source;
SELECT gin_clean_pending_list('rule_gin');
-- ==== rule: before
VACUUM (FREEZE, ANALYZE) rule_arrays;
-- ==== rule: warm
DELETE FROM rule_keys WHERE id = 10;
SELECT gin_clean_pending_list('rule_gin');
-- ==== rule: measure 100 deletes of 1 key
SELECT format('DELETE FROM rule_keys WHERE id = %s', id) FROM gone WHERE many = 1 \gexec
SELECT gin_clean_pending_list('rule_gin');
-- ==== rule: measure 100 keys
DELETE FROM rule_keys WHERE id IN (SELECT id FROM gone WHERE many = 100);
SELECT gin_clean_pending_list('rule_gin');
-- ==== rule: measure 1,000 keys
DELETE FROM rule_keys WHERE id IN (SELECT id FROM gone WHERE many = 1000);
SELECT gin_clean_pending_list('rule_gin');
-- ==== rule: measure 10,000 keys
DELETE FROM rule_keys WHERE id IN (SELECT id FROM gone WHERE many = 10000);
SELECT gin_clean_pending_list('rule_gin');
-- ==== rule: measure 40,000 keys
DELETE FROM rule_keys WHERE id IN (SELECT id FROM gone WHERE many = 40000);
SELECT gin_clean_pending_list('rule_gin');
-- ==== rule: outcome
SELECT count(*), references_of('rule_arrays') FROM rule_keys;
