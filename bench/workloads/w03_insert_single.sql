-- W3: INSERT of a single row, 1 and 10 elements (pgbench)
-- full: keys=1000000 transactions=50000 pipelines=500
-- tiny: keys=5000 transactions=100 pipelines=10
--
-- What an application does all day: one row, one statement, one transaction. Random ids of 1,000,000 keys. One client,
-- prepared statements. "native key" is an ordinary foreign key on a column of one id. "junction" is the references alone; "junction, parents"
-- writes, as the array does, the row that has them as well, in one statement, and its table has a foreign key to that row.
--
-- The half of such a transaction and more is the way between client and server, and the commit; of a check there is little to
-- be seen beside it. So "in a pipeline" are the same statements, 100 in a transaction, sent without waiting for answers in between. The time
-- is that of one of them.

-- ==== prepare
CREATE TABLE keys (id int PRIMARY KEY);
INSERT INTO keys SELECT generate_series(1, :keys);
CREATE TABLE raw_arrays (id int PRIMARY KEY, ids int[]);
CREATE TABLE rule_arrays (id int PRIMARY KEY, ids int[]);
SELECT integrity.add_reference('rule_arrays', 'ids', 'keys');
CREATE TABLE native_single (id int PRIMARY KEY, key_id int REFERENCES keys);
CREATE TABLE junction_pairs (parent_id int, key_id int REFERENCES keys ON DELETE CASCADE, PRIMARY KEY (parent_id, key_id));
CREATE INDEX ON junction_pairs (key_id);
-- As an application has it: with the parents, and a foreign key to them.
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE whole_pairs (parent_id int REFERENCES parents ON DELETE CASCADE, key_id int REFERENCES keys ON DELETE CASCADE, PRIMARY KEY (parent_id, key_id));
CREATE INDEX ON whole_pairs (key_id);
VACUUM (FREEZE, ANALYZE);

-- ==== native key: before
TRUNCATE native_single;
-- ==== native key: pgbench 1 element {-c 1 -t :transactions -D i=0}
\set i :i + 1
\set k random(1, :keys)
INSERT INTO native_single VALUES (:i, :k);
-- ==== native key: outcome 1 element
SELECT count(*) FROM native_single;
-- ==== native key: before
TRUNCATE native_single;
-- ==== native key: pipeline 1 element, in a pipeline {-c 1 -t :pipelines -D i=0}
\set i :i + 1
\set k random(1, :keys)
INSERT INTO native_single VALUES (:i, :k);
-- ==== native key: outcome 1 element, in a pipeline
SELECT count(*) FROM native_single;
-- ==== native key: refuses
INSERT INTO native_single VALUES (0, 0);

-- ==== raw: before
TRUNCATE raw_arrays;
-- ==== raw: pgbench 1 element {-c 1 -t :transactions -D i=0}
\set i :i + 1
\set k random(1, :keys)
INSERT INTO raw_arrays VALUES (:i, ARRAY[:k]::int[]);
-- ==== raw: outcome 1 element
SELECT count(*) FROM raw_arrays;
-- ==== raw: before
TRUNCATE raw_arrays;
-- ==== raw: pipeline 1 element, in a pipeline {-c 1 -t :pipelines -D i=0}
\set i :i + 1
\set k random(1, :keys)
INSERT INTO raw_arrays VALUES (:i, ARRAY[:k]::int[]);
-- ==== raw: outcome 1 element, in a pipeline
SELECT count(*) FROM raw_arrays;
-- ==== raw: before
TRUNCATE raw_arrays;
-- ==== raw: pgbench 10 elements {-c 1 -t :transactions -D i=0}
\set i :i + 1
\set tenth :keys / 10
\set k0 random(1, :tenth)
\set k1 :tenth + random(1, :tenth)
\set k2 2 * :tenth + random(1, :tenth)
\set k3 3 * :tenth + random(1, :tenth)
\set k4 4 * :tenth + random(1, :tenth)
\set k5 5 * :tenth + random(1, :tenth)
\set k6 6 * :tenth + random(1, :tenth)
\set k7 7 * :tenth + random(1, :tenth)
\set k8 8 * :tenth + random(1, :tenth)
\set k9 9 * :tenth + random(1, :tenth)
INSERT INTO raw_arrays VALUES (:i, ARRAY[:k3, :k7, :k0, :k9, :k1, :k4, :k8, :k2, :k6, :k5]::int[]);
-- ==== raw: outcome 10 elements
SELECT sum(cardinality(ids)) FROM raw_arrays;
-- ==== raw: before
TRUNCATE raw_arrays;
-- ==== raw: pipeline 10 elements, in a pipeline {-c 1 -t :pipelines -D i=0}
\set i :i + 1
\set tenth :keys / 10
\set k0 random(1, :tenth)
\set k1 :tenth + random(1, :tenth)
\set k2 2 * :tenth + random(1, :tenth)
\set k3 3 * :tenth + random(1, :tenth)
\set k4 4 * :tenth + random(1, :tenth)
\set k5 5 * :tenth + random(1, :tenth)
\set k6 6 * :tenth + random(1, :tenth)
\set k7 7 * :tenth + random(1, :tenth)
\set k8 8 * :tenth + random(1, :tenth)
\set k9 9 * :tenth + random(1, :tenth)
INSERT INTO raw_arrays VALUES (:i, ARRAY[:k3, :k7, :k0, :k9, :k1, :k4, :k8, :k2, :k6, :k5]::int[]);
-- ==== raw: outcome 10 elements, in a pipeline
SELECT sum(cardinality(ids)) FROM raw_arrays;

-- ==== junction: before
TRUNCATE junction_pairs;
-- ==== junction: pgbench 10 elements {-c 1 -t :transactions -D i=0}
\set i :i + 1
\set tenth :keys / 10
\set k0 random(1, :tenth)
\set k1 :tenth + random(1, :tenth)
\set k2 2 * :tenth + random(1, :tenth)
\set k3 3 * :tenth + random(1, :tenth)
\set k4 4 * :tenth + random(1, :tenth)
\set k5 5 * :tenth + random(1, :tenth)
\set k6 6 * :tenth + random(1, :tenth)
\set k7 7 * :tenth + random(1, :tenth)
\set k8 8 * :tenth + random(1, :tenth)
\set k9 9 * :tenth + random(1, :tenth)
INSERT INTO junction_pairs VALUES (:i, :k3), (:i, :k7), (:i, :k0), (:i, :k9), (:i, :k1), (:i, :k4), (:i, :k8), (:i, :k2), (:i, :k6), (:i, :k5);
-- ==== junction: outcome 10 elements
SELECT count(*) FROM junction_pairs;
-- ==== junction: before
TRUNCATE junction_pairs;
-- ==== junction: pipeline 10 elements, in a pipeline {-c 1 -t :pipelines -D i=0}
\set i :i + 1
\set tenth :keys / 10
\set k0 random(1, :tenth)
\set k1 :tenth + random(1, :tenth)
\set k2 2 * :tenth + random(1, :tenth)
\set k3 3 * :tenth + random(1, :tenth)
\set k4 4 * :tenth + random(1, :tenth)
\set k5 5 * :tenth + random(1, :tenth)
\set k6 6 * :tenth + random(1, :tenth)
\set k7 7 * :tenth + random(1, :tenth)
\set k8 8 * :tenth + random(1, :tenth)
\set k9 9 * :tenth + random(1, :tenth)
INSERT INTO junction_pairs VALUES (:i, :k3), (:i, :k7), (:i, :k0), (:i, :k9), (:i, :k1), (:i, :k4), (:i, :k8), (:i, :k2), (:i, :k6), (:i, :k5);
-- ==== junction: outcome 10 elements, in a pipeline
SELECT count(*) FROM junction_pairs;

-- ==== junction, parents: before
TRUNCATE whole_pairs, parents;
-- ==== junction, parents: pgbench 10 elements {-c 1 -t :transactions -D i=0}
\set i :i + 1
\set tenth :keys / 10
\set k0 random(1, :tenth)
\set k1 :tenth + random(1, :tenth)
\set k2 2 * :tenth + random(1, :tenth)
\set k3 3 * :tenth + random(1, :tenth)
\set k4 4 * :tenth + random(1, :tenth)
\set k5 5 * :tenth + random(1, :tenth)
\set k6 6 * :tenth + random(1, :tenth)
\set k7 7 * :tenth + random(1, :tenth)
\set k8 8 * :tenth + random(1, :tenth)
\set k9 9 * :tenth + random(1, :tenth)
WITH parent AS (INSERT INTO parents VALUES (:i) RETURNING id)
  INSERT INTO whole_pairs SELECT p.id, e.id FROM parent AS p, unnest(ARRAY[:k3, :k7, :k0, :k9, :k1, :k4, :k8, :k2, :k6, :k5]::int[]) AS e (id);
-- ==== junction, parents: outcome 10 elements
SELECT count(*) FROM whole_pairs;
-- ==== junction, parents: before
TRUNCATE whole_pairs, parents;
-- ==== junction, parents: pipeline 10 elements, in a pipeline {-c 1 -t :pipelines -D i=0}
\set i :i + 1
\set tenth :keys / 10
\set k0 random(1, :tenth)
\set k1 :tenth + random(1, :tenth)
\set k2 2 * :tenth + random(1, :tenth)
\set k3 3 * :tenth + random(1, :tenth)
\set k4 4 * :tenth + random(1, :tenth)
\set k5 5 * :tenth + random(1, :tenth)
\set k6 6 * :tenth + random(1, :tenth)
\set k7 7 * :tenth + random(1, :tenth)
\set k8 8 * :tenth + random(1, :tenth)
\set k9 9 * :tenth + random(1, :tenth)
WITH parent AS (INSERT INTO parents VALUES (:i) RETURNING id)
  INSERT INTO whole_pairs SELECT p.id, e.id FROM parent AS p, unnest(ARRAY[:k3, :k7, :k0, :k9, :k1, :k4, :k8, :k2, :k6, :k5]::int[]) AS e (id);
-- ==== junction, parents: outcome 10 elements, in a pipeline
SELECT count(*) FROM whole_pairs;

-- ==== rule: before
TRUNCATE rule_arrays;
-- ==== rule: pgbench 1 element {-c 1 -t :transactions -D i=0}
\set i :i + 1
\set k random(1, :keys)
INSERT INTO rule_arrays VALUES (:i, ARRAY[:k]::int[]);
-- ==== rule: outcome 1 element
SELECT count(*) FROM rule_arrays;
-- ==== rule: before
TRUNCATE rule_arrays;
-- ==== rule: pipeline 1 element, in a pipeline {-c 1 -t :pipelines -D i=0}
\set i :i + 1
\set k random(1, :keys)
INSERT INTO rule_arrays VALUES (:i, ARRAY[:k]::int[]);
-- ==== rule: outcome 1 element, in a pipeline
SELECT count(*) FROM rule_arrays;
-- ==== rule: refuses
INSERT INTO rule_arrays VALUES (0, '{0}');
-- ==== rule: before
TRUNCATE rule_arrays;
-- ==== rule: pgbench 10 elements {-c 1 -t :transactions -D i=0}
\set i :i + 1
\set tenth :keys / 10
\set k0 random(1, :tenth)
\set k1 :tenth + random(1, :tenth)
\set k2 2 * :tenth + random(1, :tenth)
\set k3 3 * :tenth + random(1, :tenth)
\set k4 4 * :tenth + random(1, :tenth)
\set k5 5 * :tenth + random(1, :tenth)
\set k6 6 * :tenth + random(1, :tenth)
\set k7 7 * :tenth + random(1, :tenth)
\set k8 8 * :tenth + random(1, :tenth)
\set k9 9 * :tenth + random(1, :tenth)
INSERT INTO rule_arrays VALUES (:i, ARRAY[:k3, :k7, :k0, :k9, :k1, :k4, :k8, :k2, :k6, :k5]::int[]);
-- ==== rule: outcome 10 elements
SELECT sum(cardinality(ids)) FROM rule_arrays;
-- ==== rule: before
TRUNCATE rule_arrays;
-- ==== rule: pipeline 10 elements, in a pipeline {-c 1 -t :pipelines -D i=0}
\set i :i + 1
\set tenth :keys / 10
\set k0 random(1, :tenth)
\set k1 :tenth + random(1, :tenth)
\set k2 2 * :tenth + random(1, :tenth)
\set k3 3 * :tenth + random(1, :tenth)
\set k4 4 * :tenth + random(1, :tenth)
\set k5 5 * :tenth + random(1, :tenth)
\set k6 6 * :tenth + random(1, :tenth)
\set k7 7 * :tenth + random(1, :tenth)
\set k8 8 * :tenth + random(1, :tenth)
\set k9 9 * :tenth + random(1, :tenth)
INSERT INTO rule_arrays VALUES (:i, ARRAY[:k3, :k7, :k0, :k9, :k1, :k4, :k8, :k2, :k6, :k5]::int[]);
-- ==== rule: outcome 10 elements, in a pipeline
SELECT sum(cardinality(ids)) FROM rule_arrays;
