-- Arrays are looked at where they lie in their row: of each width, with a short header and a long one, of no element, of
-- several dimensions, with NULL, compressed and out of line. What plain SQL says of them is the truth.
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
CREATE SCHEMA packed;
SET search_path = packed;

-- A value of the type for each number up to 99.
CREATE TABLE kinds (type text PRIMARY KEY, value text);
INSERT INTO kinds VALUES
  ('bool', 'g % 2 = 1'), ('"char"', 'g::"char"'), ('int2', '(g - 50)::int2'), ('int4', '(g - 50) * 40000000'), ('int8', '(g - 50) * 90000000000000000'),
  ('oid', '(4294967295 - g)::oid'), ('float4', $$CASE g WHEN 7 THEN 'NaN' WHEN 8 THEN '-0' WHEN 9 THEN '0' ELSE g / 3.0 END::float4$$),
  ('float8', $$CASE g WHEN 7 THEN 'NaN' WHEN 8 THEN '-0' WHEN 9 THEN '0' ELSE g / 3.0 END::float8$$),
  ('date', $$'2000-01-01'::date + (g - 50)$$), ('timestamptz', $$'2000-01-01 00:00+00'::timestamptz + (g - 50) * interval '1 hour'$$),
  ('uuid', 'md5(g::text)::uuid'), ('macaddr', $$('08:00:2b:01:02:' || lpad(g::text, 2, '0'))::macaddr$$),
  ('interval', $$g * interval '30 minutes'$$), ('name', $$('n' || g)::name$$), ('text', $$repeat('x', g % 12) || g$$),
  ('numeric', 'round(g / 4, g % 3)'), ('bytea', $$decode(lpad(to_hex(g), 2, '0'), 'hex')$$);

-- Of each length up to 45, so that headers get longer and elements lie at all places; and what is no such array.
CREATE FUNCTION fill(kind kinds) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE arrays (id serial, ids %s[])', kind.type);
  EXECUTE format('CREATE TABLE single AS SELECT g, %s AS value FROM generate_series(0, 99) AS g', kind.value);
  INSERT INTO arrays (ids)
    SELECT ARRAY(SELECT value FROM single WHERE (g + (n + round) * 37) % 100 < n ORDER BY (g * 7 + round) % 100)
      FROM generate_series(0, 45) AS n, generate_series(1, 4) AS round;
  INSERT INTO arrays (ids)
    SELECT ARRAY(SELECT CASE WHEN g % 3 = n % 3 THEN value END FROM single WHERE (g + n * 37) % 100 < n ORDER BY (g * 7) % 100)
      FROM generate_series(1, 45) AS n;
  INSERT INTO arrays (ids)
    SELECT ARRAY[[a.value, b.value], [b.value, c.value], [c.value, a.value]]
      FROM single AS a, single AS b, single AS c WHERE b.g = (a.g + 1) % 100 AND c.g = (a.g + 2) % 100;
  INSERT INTO arrays (ids) SELECT NULL;
  -- These are compressed, and those out of line.
  INSERT INTO arrays (ids) SELECT array_agg(value) FROM single, generate_series(1, 500) WHERE g IN (3, 5) GROUP BY g;
  ALTER TABLE arrays ALTER ids SET STORAGE EXTERNAL;
  INSERT INTO arrays (ids) SELECT array_agg(value) FROM single, generate_series(1, 3000) WHERE g IN (3, 5) GROUP BY g;
END
$$;

-- How many arrays hold one of the keys; and of how many arrays and sets of keys contains_any(), remove_elements() or
-- null_elements() says something else than plain SQL.
CREATE FUNCTION look(kind kinds, OUT arrays int, OUT hits int, OUT wrong int) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM fill(kind);
  CREATE TABLE keys AS SELECT n, array_agg(value) AS keys FROM single, generate_series(1, 12) AS n WHERE (g * 11 + n * 13) % 100 < n GROUP BY n;
  SELECT count(*), count(*) FILTER (WHERE truth), count(*) FILTER (WHERE truth IS DISTINCT FROM holds OR removed OR nulled)
    INTO arrays, hits, wrong
    FROM (SELECT a.ids && k.keys AS truth, integrity.contains_any(a.ids, k.keys) AS holds,
                 array_ndims(a.ids) = 1 AND integrity.remove_elements(a.ids, k.keys, false)::text IS DISTINCT FROM
                   ARRAY(SELECT e FROM unnest(a.ids) WITH ORDINALITY AS u (e, n) WHERE (e = ANY (k.keys)) IS NOT TRUE ORDER BY n)::text AS removed,
                 array_ndims(a.ids) = 1 AND integrity.null_elements(a.ids, k.keys)::text IS DISTINCT FROM
                   ARRAY(SELECT CASE WHEN (e = ANY (k.keys)) IS NOT TRUE THEN e END FROM unnest(a.ids) WITH ORDINALITY AS u (e, n) ORDER BY n)::text AS nulled
            FROM packed.arrays AS a, packed.keys AS k) AS compared;
  DROP TABLE packed.arrays, single, packed.keys;
END
$$;
SELECT k.type, l.* FROM kinds AS k, look(k) AS l ORDER BY k.type;

-- Not of a row, but of PL/pgSQL, which keeps arrays in a form of its own.
DO $$
DECLARE
  ids int[] := '{1,2,3}';
BEGIN
  ids[4] := 7;
  RAISE NOTICE '% %', integrity.contains_any(ids, '{7}'::int[]), integrity.contains_any(ids, '{8}'::int[]);
END
$$;

-- Many keys, of which the sieve lets others through now and then.
SELECT count(*) FILTER (WHERE integrity.contains_any(ARRAY[g], keys)) AS found, count(*) FILTER (WHERE g % 7 = 0) AS truth
  FROM generate_series(1, 100000) AS g, (SELECT array_agg(n * 7) AS keys FROM generate_series(1, 20000) AS n) AS k;

-- A bulk insert reads such arrays ahead. A missing key is found in the last place of the last row, and all is well without it.
CREATE TABLE loads (type text PRIMARY KEY, value text);
INSERT INTO loads VALUES
  ('int2', 'g::int2'), ('int4', 'g * 1000000'), ('int8', 'g * 5000000000'), ('oid', '(4294967295 - g)::oid'), ('float8', 'g / 7.0::float8'),
  ('date', $$'2000-01-01'::date + g$$), ('uuid', 'md5(g::text)::uuid'), ('text', 'g::text');
CREATE FUNCTION load(kind loads, OUT loaded int, OUT refused int) LANGUAGE plpgsql AS $$
DECLARE
  form text;
BEGIN
  EXECUTE format('CREATE TABLE keys AS SELECT g, %s AS id FROM generate_series(0, 1000) AS g', kind.value);
  ALTER TABLE packed.keys ADD PRIMARY KEY (id);
  CREATE TABLE single AS SELECT * FROM packed.keys;
  ANALYZE single;
  DELETE FROM packed.keys WHERE g = 0;
  EXECUTE format('CREATE TABLE arrays (n int, ids %s[])', kind.type);
  PERFORM integrity.add_reference('arrays', 'ids', 'packed.keys');
  loaded := 0;
  refused := 0;
  FOREACH form IN ARRAY '{ARRAY[a.id b.id],ARRAY[a.id NULL b.id],ARRAY[[a.id a.id]; [a.id b.id]],array_fill(a.id ARRAY[60]) || b.id}'::text[] LOOP
    FOR key_of_last IN 0..1 LOOP
      BEGIN
        EXECUTE format('INSERT INTO arrays SELECT n, %s FROM generate_series(1, 1200) AS n, single AS a, single AS b
          WHERE a.g = 1 + n %% 1000 AND b.g = CASE WHEN n = 1200 THEN $1 ELSE 1 + n * 7 %% 1000 END ORDER BY n', replace(replace(replace(form, ';', ','), 'id ', 'id, '), 'NULL ', 'NULL, '))
          USING key_of_last;
        loaded := loaded + 1;
      EXCEPTION WHEN foreign_key_violation THEN
        refused := refused + 1;
      END;
    END LOOP;
  END LOOP;
  DROP TABLE arrays, single, packed.keys;
END
$$;
SET client_min_messages = warning;
SELECT k.type, l.* FROM loads AS k, load(k) AS l ORDER BY k.type;
DROP SCHEMA packed CASCADE;
