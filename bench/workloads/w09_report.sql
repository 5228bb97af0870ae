-- W9: report of 200,000 rows x 10 elements and 200,000 keys, and of 10,000,000 rows and as many keys
-- for size: 200k=200000 10M=10000000
-- for size, tiny: 200k=1000 10M=5000
--
-- Five keys are missing, so some fifty references are broken. "counts" reads the same rows and does nothing with them.
-- "plain SQL" is the anti-join that one would write oneself, in its fastest form. "parallel" is with two workers, "serial" with
-- none. Each has been run once before in its session. "counts, parallel" says how much two workers help on the machine at all, where
-- nothing is to be done but reading the rows; it has no goal.

-- ==== prepare each
SELECT setseed(0.9);
CREATE TABLE keys_:label (id int PRIMARY KEY);
INSERT INTO keys_:label SELECT generate_series(1, :size);
CREATE TABLE arrays_:label (id int PRIMARY KEY, ids int[]);
INSERT INTO arrays_:label
  SELECT g, ARRAY(SELECT 1 + floor(random() * :size)::int FROM generate_series(1, 10) WHERE g > 0) FROM generate_series(1, :size) AS g;
SELECT integrity.add_reference('arrays_:label', 'ids', 'keys_:label', not_valid => true);
SET session_replication_role = replica;
DELETE FROM keys_:label WHERE id % (:size / 5) = 1;
VACUUM (FREEZE, ANALYZE) keys_:label, arrays_:label;
SELECT pg_prewarm('keys_:label'), pg_prewarm('arrays_:label');

-- ==== counts: warm
SET max_parallel_workers_per_gather = 0;
SELECT count(ids) FROM arrays_:label;
SELECT count(id) FROM keys_:label;
-- ==== counts: measure
SELECT count(ids) FROM arrays_:label;
SELECT count(id) FROM keys_:label;

-- ==== counts, parallel: warm
SET max_parallel_workers_per_gather = 2;
SELECT count(ids) FROM arrays_:label;
SELECT count(id) FROM keys_:label;
-- ==== counts, parallel: measure
SELECT count(ids) FROM arrays_:label;
SELECT count(id) FROM keys_:label;

-- ==== plain SQL, serial: warm {if :size < 1000000}
SET max_parallel_workers_per_gather = 0;
SELECT count(*) FROM arrays_:label AS a, unnest(a.ids) AS e (id)
 WHERE e.id IS NOT NULL AND NOT EXISTS (SELECT FROM keys_:label AS k WHERE k.id = e.id);
-- ==== plain SQL, serial: measure {if :size < 1000000 || :round == 1}
SET max_parallel_workers_per_gather = 0;
SELECT count(*) FROM arrays_:label AS a, unnest(a.ids) AS e (id)
 WHERE e.id IS NOT NULL AND NOT EXISTS (SELECT FROM keys_:label AS k WHERE k.id = e.id);
-- ==== plain SQL, serial: outcome {if :size < 1000000}
SELECT count(*) FROM arrays_:label AS a, unnest(a.ids) AS e (id)
 WHERE e.id IS NOT NULL AND NOT EXISTS (SELECT FROM keys_:label AS k WHERE k.id = e.id);

-- ==== plain SQL, parallel: warm {if :size < 1000000}
SET max_parallel_workers_per_gather = 2;
SELECT count(*) FROM arrays_:label AS a, unnest(a.ids) AS e (id)
 WHERE e.id IS NOT NULL AND NOT EXISTS (SELECT FROM keys_:label AS k WHERE k.id = e.id);
-- ==== plain SQL, parallel: measure {if :size < 1000000 || :round == 1}
SET max_parallel_workers_per_gather = 2;
SELECT count(*) FROM arrays_:label AS a, unnest(a.ids) AS e (id)
 WHERE e.id IS NOT NULL AND NOT EXISTS (SELECT FROM keys_:label AS k WHERE k.id = e.id);

-- ==== rule, serial: warm
SET max_parallel_maintenance_workers = 0;
SELECT references_broken FROM integrity_report('arrays_:label');
-- ==== rule, serial: measure
SELECT references_broken FROM integrity_report('arrays_:label');
-- ==== rule, serial: outcome
SELECT references_broken FROM integrity_report('arrays_:label');

-- ==== rule, parallel: warm
SET max_parallel_maintenance_workers = 2;
SELECT references_broken FROM integrity_report('arrays_:label');
-- ==== rule, parallel: measure
SELECT references_broken FROM integrity_report('arrays_:label');
-- ==== rule, parallel: outcome
SELECT references_broken FROM integrity_report('arrays_:label');
