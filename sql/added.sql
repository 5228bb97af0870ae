-- An UPDATE answers for what it adds to an array. Arrays of one size of element are compared from both ends, and only what is in
-- between is looked at: every place where an element can come is tried here, beside one old broken element, which may stay
-- wherever it goes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA added;
SET search_path = added, public;
\set VERBOSITY terse
CREATE TABLE key (id integer PRIMARY KEY);
INSERT INTO key SELECT generate_series(1, 100);
CREATE TABLE ref (id integer PRIMARY KEY, ids integer[]);

-- What is expected is what set operations say: an element is new if the old array does not hold it; 900 and above has no key.
CREATE FUNCTION try(was integer[], now integer[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  wrong boolean := EXISTS (SELECT FROM unnest(now) AS e WHERE e >= 900 AND e <> ALL (SELECT o FROM unnest(was) AS o WHERE o IS NOT NULL));
  refused boolean := false;
BEGIN
  PERFORM set_config('session_replication_role', 'replica', true);
  INSERT INTO ref VALUES (1, was);
  PERFORM set_config('session_replication_role', 'origin', true);
  BEGIN
    UPDATE ref SET ids = now WHERE id = 1;
  EXCEPTION WHEN foreign_key_violation THEN
    refused := true;
  END;
  DELETE FROM ref;
  RETURN CASE WHEN refused AND NOT wrong THEN 'refused though nothing is broken' WHEN wrong AND NOT refused THEN 'not seen'
              WHEN refused THEN 'refused' ELSE 'passed' END;
END $$;
SELECT integrity.add_reference('ref', 'ids', 'key', not_valid => true);

-- By hand: appended, prepended, in the middle, instead of another; then the old broken element 901 moved and doubled.
SELECT was, now, try(was, now)
  FROM (VALUES ('{1,2,3}'::integer[], '{1,2,3,4}'::integer[]), ('{1,2,3}', '{1,2,3,900}'), ('{1,2,3}', '{900,1,2,3}'),
               ('{1,2,3}', '{1,900,2,3}'), ('{1,2,3}', '{1,900,3}'), ('{1,2,3}', '{900}'), ('{1,2,3}', '{}'), ('{}', '{900}'),
               ('{}', '{1}'), (NULL, '{900}'), ('{1,1,1}', '{1,1}'), ('{1,1,1}', '{1,1,900,1,1}'),
               ('{1,901,3}', '{1,901,3,901}'), ('{1,901,3}', '{901,3,1}'), ('{1,901,3}', '{901,901,900}'),
               ('{1,901,3}', '{3,901}'), ('{1,901,3}', '{1,901,NULL,3}'), ('{1,901,NULL}', '{1,901,NULL,900}'),
               ('{{1,2},{3,901}}', '{{1,2},{3,901},{4,5}}'), ('{{1,2},{3,901}}', '{{1,2},{3,900}}'), ('[5:6]={1,901}', '{1,901,900}')
       ) AS v (was, now);

-- At random: a piece of an array is replaced by another, some longer than what is looked for one by one.
CREATE FUNCTION piece(n integer) RETURNS integer[] LANGUAGE sql VOLATILE AS
  $$ SELECT COALESCE(array_agg(CASE WHEN random() < 0.05 THEN 900 + (random() * 3)::integer ELSE 1 + (random() * 60)::integer END), '{}')
       FROM generate_series(1, n) $$;
SELECT setseed(0.5);
CREATE TABLE tried AS
  SELECT try(t.a || t.b || t.c, t.a || t.d || t.c) AS outcome
    FROM (SELECT piece((random() * 12)::integer) AS a, piece((random() * 12)::integer) AS b, piece((random() * 12)::integer) AS c,
                 piece((random() * 12)::integer) AS d FROM generate_series(1, 1500) OFFSET 0) AS t;
SELECT outcome, count(*) > 200 AS often FROM tried GROUP BY outcome ORDER BY 1;

-- Other sizes of elements, with bytes between them that nothing is stored in.
CREATE TABLE tkey (at timetz PRIMARY KEY, id uuid UNIQUE, small smallint UNIQUE, big bigint UNIQUE, yes boolean UNIQUE);
INSERT INTO tkey SELECT '00:00+00'::timetz + make_interval(mins => i), ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, i, i, i = 1
  FROM generate_series(0, 1) AS i;
CREATE TABLE tref (ats timetz[], ids uuid[], smalls smallint[], bigs bigint[]);
SELECT integrity.add_reference('tref', 'ats', 'tkey', 'at'), integrity.add_reference('tref', 'ids', 'tkey', 'id'),
       integrity.add_reference('tref', 'smalls', 'tkey', 'small'), integrity.add_reference('tref', 'bigs', 'tkey', 'big');
INSERT INTO tref VALUES ('{00:00+00,00:01+00}', '{00000000-0000-0000-0000-000000000000}', '{0,1,0}', '{1,0,1}');
UPDATE tref SET ats = ats || '00:00+00'::timetz, ids = ids || '00000000-0000-0000-0000-000000000001'::uuid, smalls = 1::smallint || smalls,
  bigs = bigs[:1] || 0::bigint || bigs[2:];
SELECT * FROM tref;
UPDATE tref SET ats = ats || '00:02+00'::timetz;
UPDATE tref SET ids = '00000000-0000-0000-0000-000000000002'::uuid || ids;
UPDATE tref SET smalls = smalls[:1] || 2::smallint || smalls[3:];
UPDATE tref SET bigs = bigs || 4294967296;

-- Out of line: one more, one less.
INSERT INTO ref SELECT 1, array_agg(1 + i % 100) FROM generate_series(1, 20000) AS i;
UPDATE ref SET ids = ids || 100;
UPDATE ref SET ids = ids || 900;
UPDATE ref SET ids = ids[2:];
UPDATE ref SET ids = ids[:9999] || 900 || ids[10001:];
SELECT cardinality(ids) FROM ref;
DROP SCHEMA added CASCADE;
