-- W11: 100 concurrent writers, single-row inserts that refer to 100 hot keys (pgbench)
-- full: clients=100 transactions=4000
-- tiny: clients=10 transactions=10
--
-- All lock the same few keys at once, so a key has many lockers (a multixact). The WAL that the check of a key writes is what
-- a rival writes more than the same table without a check, for each row: hence two raw tables.

-- ==== prepare
CREATE TABLE keys (id int PRIMARY KEY);
INSERT INTO keys SELECT generate_series(1, 100);
CREATE TABLE raw_single (id bigint PRIMARY KEY, key_id int);
CREATE TABLE native_single (id bigint PRIMARY KEY, key_id int REFERENCES keys);
CREATE TABLE raw_arrays (id bigint PRIMARY KEY, ids int[]);
CREATE TABLE rule_arrays (id bigint PRIMARY KEY, ids int[]);
SELECT integrity.add_reference('rule_arrays', 'ids', 'keys');
VACUUM (FREEZE, ANALYZE);

-- ==== raw single: before
TRUNCATE raw_single;
VACUUM (FULL, FREEZE) keys;
-- ==== raw single: pgbench {-c :clients -j 2 -t :transactions -D i=0}
\set i :i + 1
\set k random(1, 100)
INSERT INTO raw_single VALUES (:client_id * 1000000 + :i, :k);
-- ==== raw single: outcome
SELECT count(*), count(DISTINCT key_id) > 50 FROM raw_single;

-- ==== native key: before
TRUNCATE native_single;
VACUUM (FULL, FREEZE) keys;
-- ==== native key: pgbench {-c :clients -j 2 -t :transactions -D i=0}
\set i :i + 1
\set k random(1, 100)
INSERT INTO native_single VALUES (:client_id * 1000000 + :i, :k);
-- ==== native key: outcome
SELECT count(*), count(DISTINCT key_id) > 50 FROM native_single;

-- ==== raw arrays: before
TRUNCATE raw_arrays;
VACUUM (FULL, FREEZE) keys;
-- ==== raw arrays: pgbench {-c :clients -j 2 -t :transactions -D i=0}
\set i :i + 1
\set k random(1, 100)
INSERT INTO raw_arrays VALUES (:client_id * 1000000 + :i, ARRAY[:k]::int[]);
-- ==== raw arrays: outcome
SELECT count(*), count(DISTINCT ids) > 50 FROM raw_arrays;

-- ==== rule: before
TRUNCATE rule_arrays;
VACUUM (FULL, FREEZE) keys;
-- ==== rule: pgbench {-c :clients -j 2 -t :transactions -D i=0}
\set i :i + 1
\set k random(1, 100)
INSERT INTO rule_arrays VALUES (:client_id * 1000000 + :i, ARRAY[:k]::int[]);
-- ==== rule: outcome
SELECT count(*), count(DISTINCT ids) > 50 FROM rule_arrays;
