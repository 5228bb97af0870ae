-- W6: DELETE of one key that ten of 200,000 arrays hold, with a GIN index (pgbench)
-- full: rows=200000 keys=200000 transactions=12500
-- tiny: rows=500 keys=500 transactions=20
-- for fastupdate: pending=on direct=off
--
-- "by hand" is the best that an application can write itself, in one statement that finds the arrays by @>. It is safe only
-- if nobody refers to the key meanwhile. One client, prepared statements, each a key of its own.
-- "pending" is a GIN index as CREATE INDEX makes it: new entries go to a list, which every search has to read as well, until it is
-- sorted in, about once in each part of the run. "direct" is an index with fastupdate off, which has no such list.

-- ==== prepare
SELECT setseed(0.6);
CREATE TABLE source_keys AS SELECT generate_series(1, :keys) AS id;
CREATE TABLE source AS
  SELECT g AS id, ARRAY(SELECT 1 + (e + g) % 10 * (:keys / 10) + floor(random() * (:keys / 10))::int
                          FROM generate_series(0, 9) AS e) AS ids
    FROM generate_series(1, :rows) AS g;
CREATE TABLE source_pairs AS SELECT s.id, e.id AS key_id FROM source AS s, unnest(s.ids) AS e (id);
SELECT make_arrays('by_hand'), make_arrays('rule'), make_junction();
SELECT integrity.add_reference('rule_arrays', 'ids', 'rule_keys', on_delete => 'remove element');

-- ==== by hand: before
SELECT restore_arrays('by_hand', gin => true, fastupdate => ':fastupdate');
VACUUM (FREEZE, ANALYZE) by_hand_keys, by_hand_arrays;
-- ==== by hand: pgbench {-c 1 -t :transactions -D i=0}
\set i :i + 1
\set k 1 + :i * 7919 % :keys
WITH gone AS (DELETE FROM by_hand_keys WHERE id = :k) UPDATE by_hand_arrays SET ids = array_remove(ids, :k) WHERE ids @> ARRAY[:k]::int[];
-- ==== by hand: outcome
SELECT count(*), references_of('by_hand_arrays') FROM by_hand_keys;

-- ==== junction: before
SELECT restore_junction();
VACUUM (FREEZE, ANALYZE) junction_keys, junction_pairs;
-- ==== junction: pgbench {-c 1 -t :transactions -D i=0}
\set i :i + 1
\set k 1 + :i * 7919 % :keys
DELETE FROM junction_keys WHERE id = :k;
-- ==== junction: outcome
SELECT count(*), pairs_of('junction_pairs') FROM junction_keys;

-- ==== rule: before
SELECT restore_arrays('rule', gin => true, fastupdate => ':fastupdate');
VACUUM (FREEZE, ANALYZE) rule_keys, rule_arrays;
-- ==== rule: pgbench {-c 1 -t :transactions -D i=0}
\set i :i + 1
\set k 1 + :i * 7919 % :keys
DELETE FROM rule_keys WHERE id = :k;
-- ==== rule: outcome
SELECT count(*), references_of('rule_arrays') FROM rule_keys;
