-- W4: append one element to arrays of 10, 100, 1,000 and 10,000 elements
-- full: keys=1000000 elements=2000000 rows=50000 many=50000 few=5000
-- tiny: keys=20000 elements=40000 rows=200 many=50 few=50
-- for length: 10 100 1000 10000
--
-- In three ways. "a row a statement" is a pgbench of one client, as an application does it; "two cores" is the same, with a core for the
-- client and one for the server, as pgbench does it by itself. "all rows at once" is one UPDATE of
-- 50,000 rows, and of 2,000,000 elements at most: nothing of the cost of a statement hides there what a check costs.
-- Of arrays of 10,000 elements, a tenth of the statements: each writes one as a whole.

-- ==== prepare
CREATE TABLE keys (id int PRIMARY KEY);
INSERT INTO keys SELECT generate_series(1, :keys);
VACUUM (FREEZE, ANALYZE) keys;

-- ==== prepare each
SELECT setseed(0.4);
-- The element to append is from the last tenth of the keys, and no other is.
CREATE TABLE source_:label AS
  SELECT g AS id, ARRAY(SELECT 1 + floor(random() * 0.9 * :keys)::int FROM generate_series(1, :length) WHERE g > 0) AS ids,
         :keys - floor(random() * 0.1 * :keys)::int AS more
    FROM generate_series(1, least(:rows, :elements / :length)) AS g;
CREATE TABLE raw_:label (id int PRIMARY KEY, ids int[], more int);
CREATE TABLE rule_:label (id int PRIMARY KEY, ids int[], more int);
SELECT integrity.add_reference('rule_:label', 'ids', 'keys');

-- ==== settle
-- Of each page of keys one row is locked, so that nobody's locks have to write the whole page to the WAL, which is done once after a
-- checkpoint.
SELECT count(*) FROM (SELECT FROM keys WHERE id % 200 = 0 FOR KEY SHARE) AS written;

-- ==== raw: before
TRUNCATE raw_:label;
INSERT INTO raw_:label SELECT * FROM source_:label;
VACUUM (FREEZE, ANALYZE) raw_:label;
-- ==== raw: measure all rows at once
UPDATE raw_:label SET ids = ids || more;
-- ==== raw: outcome
SELECT references_of('raw_:label');
-- ==== raw: before
TRUNCATE raw_:label;
INSERT INTO raw_:label SELECT * FROM source_:label;
VACUUM (FREEZE, ANALYZE) raw_:label;
-- ==== raw: pgbench a row a statement {-c 1 -t (:length > 1000 ? :few : :many)}
\set count least(:rows, :elements / :length)
\set i random(1, :count)
\set k random(1, :keys)
UPDATE raw_:label SET ids = ids || :k::int WHERE id = :i;
-- ==== raw: before
TRUNCATE raw_:label;
INSERT INTO raw_:label SELECT * FROM source_:label;
VACUUM (FREEZE, ANALYZE) raw_:label;
-- ==== raw: pgbench a row a statement, two cores {-c 1 -t (:length > 1000 ? :few : :many), two cores}
\set count least(:rows, :elements / :length)
\set i random(1, :count)
\set k random(1, :keys)
UPDATE raw_:label SET ids = ids || :k::int WHERE id = :i;

-- ==== rule: before
TRUNCATE rule_:label;
INSERT INTO rule_:label SELECT * FROM source_:label;
VACUUM (FREEZE, ANALYZE) rule_:label;
-- ==== rule: measure all rows at once
UPDATE rule_:label SET ids = ids || more;
-- ==== rule: outcome
SELECT references_of('rule_:label');
-- ==== rule: refuses
UPDATE rule_:label SET ids = ids || 0 WHERE id = 1;
-- ==== rule: before
TRUNCATE rule_:label;
INSERT INTO rule_:label SELECT * FROM source_:label;
VACUUM (FREEZE, ANALYZE) rule_:label;
-- ==== rule: pgbench a row a statement {-c 1 -t (:length > 1000 ? :few : :many)}
\set count least(:rows, :elements / :length)
\set i random(1, :count)
\set k random(1, :keys)
UPDATE rule_:label SET ids = ids || :k::int WHERE id = :i;
-- ==== rule: before
TRUNCATE rule_:label;
INSERT INTO rule_:label SELECT * FROM source_:label;
VACUUM (FREEZE, ANALYZE) rule_:label;
-- ==== rule: pgbench a row a statement, two cores {-c 1 -t (:length > 1000 ? :few : :many), two cores}
\set count least(:rows, :elements / :length)
\set i random(1, :count)
\set k random(1, :keys)
UPDATE rule_:label SET ids = ids || :k::int WHERE id = :i;
