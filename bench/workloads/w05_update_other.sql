-- W5: UPDATE of another column of all rows
-- full: keys=100000 rows=200000 wide_rows=20000
-- tiny: keys=5000 rows=500 wide_rows=100
-- for elements: narrow=10 wide=1000
--
-- The array stays as it is. "narrow" is 200,000 rows of 10 elements; "wide" is 20,000 rows with 1,000 bytes of text and with
-- 1,000 elements, which lie in the TOAST table. There must be no look at them: "toast blocks" counts how many blocks of
-- that table and its index the transaction asked for.
-- "native key" has the same columns and an ordinary foreign key on one more.

-- ==== prepare
CREATE TABLE keys (id int PRIMARY KEY);
INSERT INTO keys SELECT generate_series(1, :keys);
VACUUM (FREEZE, ANALYZE) keys;

-- ==== prepare each
SELECT setseed(0.5);
CREATE TABLE source_:label AS
  SELECT g AS id, ARRAY(SELECT 1 + floor(random() * :keys)::int FROM generate_series(1, :elements) WHERE g > 0) AS ids,
         1 + floor(random() * :keys)::int AS key_id,
         CASE WHEN :elements > 10 THEN (SELECT string_agg(md5((g * 40 + i)::text), '') FROM generate_series(1, 31) AS i) ELSE '' END AS filler,
         0 AS other
    FROM generate_series(1, CASE WHEN :elements > 10 THEN :wide_rows ELSE :rows END) AS g;
CREATE TABLE raw_:label (id int PRIMARY KEY, ids int[], key_id int, filler text, other int);
CREATE TABLE native_:label (LIKE raw_:label INCLUDING ALL);
ALTER TABLE native_:label ADD FOREIGN KEY (key_id) REFERENCES keys;
CREATE TABLE rule_:label (LIKE raw_:label INCLUDING ALL);
SELECT integrity.add_reference('rule_:label', 'ids', 'keys');

-- ==== raw: before
TRUNCATE raw_:label;
INSERT INTO raw_:label SELECT * FROM source_:label;
VACUUM (FREEZE, ANALYZE) raw_:label;
-- ==== raw: measure
BEGIN;
UPDATE raw_:label SET other = other + 1;
-- ==== raw: count toast blocks
SELECT pg_stat_get_xact_blocks_fetched(c.reltoastrelid) + pg_stat_get_xact_blocks_fetched(i.indexrelid)
  FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.reltoastrelid WHERE c.oid = 'raw_:label'::regclass;
COMMIT;
-- ==== raw: outcome
SELECT sum(other), references_of('raw_:label') FROM raw_:label;

-- ==== native key: before
TRUNCATE native_:label;
INSERT INTO native_:label SELECT * FROM source_:label;
VACUUM (FREEZE, ANALYZE) native_:label;
-- ==== native key: measure
BEGIN;
UPDATE native_:label SET other = other + 1;
-- ==== native key: count toast blocks
SELECT pg_stat_get_xact_blocks_fetched(c.reltoastrelid) + pg_stat_get_xact_blocks_fetched(i.indexrelid)
  FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.reltoastrelid WHERE c.oid = 'native_:label'::regclass;
COMMIT;
-- ==== native key: outcome
SELECT sum(other), references_of('native_:label') FROM native_:label;

-- ==== rule: before
TRUNCATE rule_:label;
INSERT INTO rule_:label SELECT * FROM source_:label;
VACUUM (FREEZE, ANALYZE) rule_:label;
-- ==== rule: measure
BEGIN;
UPDATE rule_:label SET other = other + 1;
-- ==== rule: count toast blocks
SELECT pg_stat_get_xact_blocks_fetched(c.reltoastrelid) + pg_stat_get_xact_blocks_fetched(i.indexrelid)
  FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.reltoastrelid WHERE c.oid = 'rule_:label'::regclass;
COMMIT;
-- ==== rule: outcome
SELECT sum(other), references_of('rule_:label') FROM rule_:label;
