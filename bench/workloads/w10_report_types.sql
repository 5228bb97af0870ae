-- W10: report of 200,000 rows x 10 elements and 200,000 keys of type uuid and text
-- full: size=200000
-- tiny: size=1000
-- for type: uuid text
--
-- As in W9. A text key is the same uuid written out, 36 characters.

-- ==== prepare each
SELECT setseed(1.0);
CREATE TABLE keys_:type (id :type PRIMARY KEY);
INSERT INTO keys_:type SELECT md5(g::text)::uuid:::type FROM generate_series(1, :size) AS g;
CREATE TABLE arrays_:type (id int PRIMARY KEY, ids :type[]);
INSERT INTO arrays_:type
  SELECT g, ARRAY(SELECT md5((1 + floor(random() * :size)::int)::text)::uuid:::type FROM generate_series(1, 10) WHERE g > 0)
    FROM generate_series(1, :size) AS g;
SELECT integrity.add_reference('arrays_:type', 'ids', 'keys_:type', not_valid => true);
SET session_replication_role = replica;
DELETE FROM keys_:type WHERE id IN (SELECT md5(g::text)::uuid:::type FROM generate_series(1, 5) AS g);
VACUUM (FREEZE, ANALYZE) keys_:type, arrays_:type;
SELECT pg_prewarm('keys_:type'), pg_prewarm('arrays_:type');

-- ==== counts: warm
SET max_parallel_workers_per_gather = 0;
SELECT count(ids) FROM arrays_:type;
SELECT count(id) FROM keys_:type;
-- ==== counts: measure
SELECT count(ids) FROM arrays_:type;
SELECT count(id) FROM keys_:type;

-- ==== plain SQL, serial: warm
SET max_parallel_workers_per_gather = 0;
SELECT count(*) FROM arrays_:type AS a, unnest(a.ids) AS e (id)
 WHERE e.id IS NOT NULL AND NOT EXISTS (SELECT FROM keys_:type AS k WHERE k.id = e.id);
-- ==== plain SQL, serial: measure
SELECT count(*) FROM arrays_:type AS a, unnest(a.ids) AS e (id)
 WHERE e.id IS NOT NULL AND NOT EXISTS (SELECT FROM keys_:type AS k WHERE k.id = e.id);
-- ==== plain SQL, serial: outcome
SELECT count(*) FROM arrays_:type AS a, unnest(a.ids) AS e (id)
 WHERE e.id IS NOT NULL AND NOT EXISTS (SELECT FROM keys_:type AS k WHERE k.id = e.id);

-- ==== rule, serial: warm
SET max_parallel_maintenance_workers = 0;
SELECT references_broken FROM integrity_report('arrays_:type');
-- ==== rule, serial: measure
SELECT references_broken FROM integrity_report('arrays_:type');
-- ==== rule, serial: outcome
SELECT references_broken FROM integrity_report('arrays_:type');

-- ==== rule, parallel: warm
SET max_parallel_maintenance_workers = 2;
SELECT references_broken FROM integrity_report('arrays_:type');
-- ==== rule, parallel: measure
SELECT references_broken FROM integrity_report('arrays_:type');
-- ==== rule, parallel: outcome
SELECT references_broken FROM integrity_report('arrays_:type');
