SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- The scan against plain SQL: whatever the types, however the rows are stored, by however many processes and with
-- however little memory it is read, the report, the listing and the validation say what NOT EXISTS says.
-- Guards src/report: keyset, imageset, match, keys, plan, walk, count, parallel, survey, values.
CREATE SCHEMA scan;
SET search_path = scan, public;
SET client_min_messages = warning;
SET datestyle = 'ISO'; SET TIME ZONE 'UTC'; SET extra_float_digits = 1;
SET max_parallel_maintenance_workers = 0; SET max_parallel_workers_per_gather = 0;
\set SHOW_CONTEXT never

--
-- The truth: one query over unnest() WITH ORDINALITY for each rule, that knows nothing of the extension's queries.
-- Of what broken_references() has to list, a hash is kept.
--
CREATE TABLE truth (
  referencing regclass, rule name, is_composite boolean, is_array boolean, referenced regclass, key_name name, cast_to text,
  rows_checked bigint, rows_broken bigint, references_checked bigint, references_broken bigint, values_broken bigint,
  sample text[], listing text);
CREATE FUNCTION compute(t truth) RETURNS truth LANGUAGE plpgsql AS $$
DECLARE
  source text := CASE WHEN (SELECT relkind FROM pg_class WHERE oid = t.referencing) = 'p' THEN '' ELSE 'ONLY ' END || t.referencing;
  key_source text := CASE WHEN (SELECT relkind FROM pg_class WHERE oid = t.referenced) = 'p' THEN '' ELSE 'ONLY ' END || t.referenced;
  has_key boolean := EXISTS (SELECT FROM pg_index WHERE indrelid = t.referencing AND indisprimary);
BEGIN
  EXECUTE format($q$
    WITH element AS MATERIALIZED (
      SELECT t.tableoid AS part, t.ctid AS tid, %1$s AS key, u.pos, u.v%6$s AS v FROM %2$s AS t, %3$s WHERE u.v IS DISTINCT FROM NULL
    ), broken AS MATERIALIZED (
      SELECT * FROM element AS e WHERE NOT EXISTS (SELECT FROM %4$s AS k WHERE k.%5$I = e.v)
    ), grouped AS (
      SELECT v, count(*) AS times, min(format('%%s', v) COLLATE "C") AS label FROM broken GROUP BY v
    )
    SELECT (SELECT count(*) FROM %2$s AS t WHERE t.refs IS DISTINCT FROM NULL), (SELECT count(DISTINCT (part, tid)) FROM broken),
           (SELECT count(*) FROM element), (SELECT count(*) FROM broken), (SELECT count(*) FROM grouped),
           (SELECT coalesce(array_agg(label ORDER BY times DESC, v, label), '{}') FROM (SELECT * FROM grouped ORDER BY times DESC, v, label LIMIT 5) AS s),
           (SELECT md5(coalesce(string_agg(format('%%s|%%s|%%s|%%s', tid, key, pos, v), E'\n' ORDER BY part, tid, pos), '')) FROM broken)
    $q$, CASE WHEN has_key THEN 'jsonb_build_object(''line'', t.line)' ELSE 'NULL::jsonb' END, source,
         CASE WHEN t.is_composite THEN 'LATERAL (SELECT pos, t.refs[pos] AS v FROM generate_subscripts(t.refs, 1) AS pos) AS u'
              WHEN t.is_array THEN 'unnest(t.refs) WITH ORDINALITY AS u (v, pos)'
              ELSE '(VALUES (NULL::int)) AS w (pos), LATERAL (SELECT w.pos, t.refs AS v) AS u' END,
         key_source, t.key_name, t.cast_to)
    INTO t.rows_checked, t.rows_broken, t.references_checked, t.references_broken, t.values_broken, t.sample, t.listing;
  RETURN t;
END $$;
-- Declares a rule on column "refs", and puts it into the list.
CREATE FUNCTION declare(referencing regclass, referenced regclass, key_name name DEFAULT 'id', enforced boolean DEFAULT true)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  rule name := integrity.add_reference(referencing, 'refs', referenced, key_name, not_valid => true, enforced => enforced);
  element regtype;
BEGIN
  SELECT t.typelem INTO element FROM pg_attribute a JOIN pg_type t ON t.oid = integrity.base_type(a.atttypid) AND t.typsubscript::text = 'array_subscript_handler'
   WHERE a.attrelid = referencing AND a.attname = 'refs';
  INSERT INTO truth VALUES (referencing, rule, EXISTS (SELECT FROM pg_type WHERE oid = element AND typtype = 'c'), element IS NOT NULL,
                            referenced, key_name,
                            (SELECT '::' || typbasetype::regtype FROM pg_type WHERE typtype = 'd' AND oid = coalesce(element,
                              (SELECT atttypid FROM pg_attribute WHERE attrelid = referencing AND attname = 'refs'))));
END $$;
CREATE FUNCTION find_truth(of regclass DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  computed truth[] := ARRAY(SELECT compute(t) FROM truth AS t WHERE of IS NULL OR referencing = of);
BEGIN
  DELETE FROM truth WHERE of IS NULL OR referencing = of;
  INSERT INTO truth SELECT * FROM unnest(computed);
  RETURN cardinality(computed);
END $$;
-- Would validation accept the rule? Whatever comes of it is rolled back.
CREATE FUNCTION validates(referencing regclass, rule name) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM integrity.validate_reference(referencing, rule);
  RAISE 'undo' USING ERRCODE = 'TT000';
EXCEPTION
  WHEN SQLSTATE 'TT000' THEN RETURN true;
  WHEN foreign_key_violation THEN RETURN false;
END $$;
-- What the extension says otherwise than the truth: nothing.
CREATE FUNCTION differences(VARIADIC only_tables regclass[] DEFAULT NULL) RETURNS TABLE (rule name, what text, is_so text, should_be text)
LANGUAGE plpgsql AS $$
DECLARE
  t truth;
  r record;
  listing text;
BEGIN
  FOR t IN SELECT * FROM truth WHERE only_tables IS NULL OR truth.referencing = ANY (only_tables) LOOP
    rule := t.rule;
    SELECT i.* INTO r FROM public.integrity_report(t.referencing) AS i WHERE i.rule_name = t.rule;
    IF r.status IS DISTINCT FROM (CASE WHEN t.references_broken = 0 THEN 'ok' ELSE 'broken' END)
       OR (r.rows_checked, r.rows_broken, r.references_checked, r.references_broken, r.values_broken, r.sample)
       IS DISTINCT FROM (t.rows_checked, t.rows_broken, t.references_checked, t.references_broken, t.values_broken, t.sample) THEN
      what := 'report';
      is_so := (r.rows_checked, r.rows_broken, r.references_checked, r.references_broken, r.values_broken, r.sample, r.status, r.advice);
      should_be := (t.rows_checked, t.rows_broken, t.references_checked, t.references_broken, t.values_broken, t.sample);
      RETURN NEXT;
    END IF;
    SELECT md5(coalesce(string_agg(format('%s|%s|%s|%s', b.row_tid, b.row_key, b.position, b.value), E'\n'), '')) INTO listing
      FROM integrity.broken_references(t.referencing, t.rule) AS b;
    IF listing <> t.listing THEN
      what := 'listing'; is_so := listing; should_be := t.listing;
      RETURN NEXT;
    END IF;
    IF r.kind <> 'foreign key' AND r.enforced AND current_setting('max_parallel_maintenance_workers') <> '1' AND validates(t.referencing, t.rule) <> (t.references_broken = 0) THEN
      what := 'validation'; is_so := t.references_broken <> 0; should_be := t.references_broken = 0;
      RETURN NEXT;
    END IF;
  END LOOP;
END $$;

--
-- Types: 60 arrays each, of keys, of what is none, and of NULL, in all shapes.
--
CREATE TYPE color AS ENUM ('red', 'green', 'blue', 'grey');
CREATE DOMAIN shade AS color;
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN more_positive AS positive;
CREATE DOMAIN ids AS int[];
CREATE DOMAIN positive_ids AS positive[];
CREATE TYPE pair AS (a int, b text);
CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
-- An element as it stands in an array's text; a function, because "@" in a template shall be any of the given ones.
CREATE FUNCTION fill(template text, candidates text[], seed int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  filled text := '';
  piece text;
  n int := 0;
  element text;
BEGIN
  IF template IS NULL THEN
    RETURN NULL;
  END IF;
  FOREACH piece IN ARRAY string_to_array(template, '@') LOOP
    IF n > 0 THEN
      element := candidates[(seed * 7 + n * n * 3 + n * seed) % cardinality(candidates) + 1];
      filled := filled || coalesce(to_json(element)::text, 'NULL');
    END IF;
    filled := filled || piece;
    n := n + 1;
  END LOOP;
  RETURN filled;
END $$;
CREATE FUNCTION types(n int, column_type text, key_type text, keys text[], others text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  -- one more key, so that there is always one that nothing refers to
  candidates text[] := keys || others || NULL::text;
  scalar_type text := CASE WHEN column_type LIKE '%[]%' THEN replace(column_type, '[]', '') END;
  templates text[] := '{"{}",NULL,"{@}","{@,@}","{@,@,@}","{@,@,@,@,@,@,@,@,@,@,@,@,@,@,@,@,@}","{{@,@},{@,@}}",'
    '"[-5:-4]={@,@}","[7:8][0:0]={{@},{@}}","{{{{{{@,@},{@,@}}}}},{{{{{@,@},{@,@}}}}}}","{NULL}","{@,NULL,@}"}';
BEGIN
  IF column_type = 'pair[]' THEN
    templates := '{"{}",NULL,"{@}","{@,@}","{@,@,@}"}';
  END IF;
  EXECUTE format('CREATE TABLE k%s (id %s PRIMARY KEY)', n, key_type);
  EXECUTE format('INSERT INTO k%s SELECT unnest($1)::%s', n, regexp_replace(key_type, ' COLLATE .*', '')) USING keys;
  EXECUTE format('CREATE TABLE t%s (line int PRIMARY KEY, refs %s)', n, column_type);
  FOR line IN 1 .. 60 LOOP
    EXECUTE format('INSERT INTO t%s VALUES (%s, %L)', n, line, fill(templates[line % cardinality(templates) + 1], candidates, line));
  END LOOP;
  PERFORM declare(('t' || n)::regclass, ('k' || n)::regclass);
  -- The same for a single value: a rule that is not enforced, because else it would be a foreign key.
  IF scalar_type IS NOT NULL THEN
    EXECUTE format('CREATE TABLE s%s (line int PRIMARY KEY, refs %s)', n, scalar_type);
    EXECUTE format('INSERT INTO s%s SELECT g, $1[g %% cardinality($1) + 1]::%s FROM generate_series(1, 40) g', n,
                   regexp_replace(scalar_type, ' COLLATE .*', '')) USING candidates;
    PERFORM declare(('s' || n)::regclass, ('k' || n)::regclass, enforced => false);
  END IF;
END $$;
-- All pairs of integers, with keys that lie dense, far apart, below zero, and at the ends.
SELECT count(types(n, e || '[]', k, keys, others)) AS integers FROM (
  SELECT row_number() OVER ()::int + 100 AS n, * FROM (VALUES ('int2', 1, 32767), ('int4', 2, 2147483647), ('int8', 3, 9223372036854775807)) AS e (e, e_size, e_max),
       (VALUES ('int2', 1, 32767), ('int4', 2, 2147483647), ('int8', 3, 9223372036854775807)) AS k (k, k_size, k_max),
       LATERAL (SELECT least(e_max, k_max) AS m) AS ends,
       LATERAL (VALUES (ARRAY['1', '2', '3', '5', '64', '65'], ARRAY['0', '-1', '4', '63', '66', e_max::text, (-e_max - 1)::text]),
                       (ARRAY['0', '-1', '-64', '-65', '17'], ARRAY['1', '-2', '-63', '-66', '128', e_max::text]),
                       (ARRAY[m::text, (-m - 1)::text, '0', '777'], ARRAY['1', (m - 1)::text, (-m)::text, '-1', (-e_max - 1)::text])) AS v (keys, others)) AS v;
-- Everything else.
SELECT count(types(n, column_type, key_type, keys::text[], others::text[])) AS pairs FROM (VALUES
  (10, 'oid[]', 'oid', '{1,2,4294967295}', '{0,3,4294967294}'),
  (11, 'date[]', 'date', '{2020-01-01,infinity,0044-03-15 BC}', '{2020-01-02,-infinity}'),
  (12, 'timestamp[]', 'timestamp', '{2020-01-01,infinity}', '{2020-01-01 00:00:00.000001,-infinity}'),
  (13, 'timestamptz[]', 'timestamptz', '{2020-01-01 00:00:00+00}', '{2020-01-01 00:00:01+00,2020-01-01 00:00:00+01}'),
  (14, 'bool[]', 'bool', '{t}', '{f}'),
  (15, '"char"[]', '"char"', '{a,\\200,""}', '{b,\\377}'),
  (16, 'color[]', 'color', '{red,green}', '{blue,grey}'),
  (17, 'shade[]', 'color', '{red,green}', '{blue,grey}'),
  (18, 'uuid[]', 'uuid', ARRAY[repeat('1', 32), repeat('2', 32)]::text, ARRAY[repeat('3', 32), repeat('f', 32)]::text),
  (19, 'text[]', 'text', '{a,b,"",ab}', '{A,c," ","a "}'),
  (20, 'text[]', 'varchar(9)', '{a,b}', ARRAY[repeat('x', 200), 'B']::text),
  (21, 'varchar(5)[]', 'text', '{a,b}', '{"a ",b2}'),
  (22, 'char(3)[]', 'char(5)', '{a,bb}', '{x,"",yy}'),
  (23, 'name[]', 'name', '{a,b}', '{ab,""}'),
  (24, 'text[]', 'name', '{a,b}', ARRAY['ab', repeat('x', 100)]::text),
  (25, 'name[]', 'text', '{a,b}', '{ab,""}'),
  (26, 'bytea[]', 'bytea', '{\\x,\\x00,\\xff}', '{\\x0000,\\xfe}'),
  (27, 'numeric[]', 'numeric', '{1.0,2,NaN}', '{3.5,3.50,1e30,Infinity,0.00}'),
  (28, 'numeric[]', 'numeric', '{1.00,Infinity,0}', '{NaN,2.50,2.5,-0.1}'),
  (29, 'float8[]', 'float8', '{0,NaN,1.5}', '{-1,Infinity,1.4999999999999998}'),
  (30, 'float8[]', 'float8', '{-0,-Infinity}', '{NaN,0.1,Infinity}'),
  (31, 'float4[]', 'float8', '{0.5,NaN}', '{0.1,-0.5}'),
  (32, 'inet[]', 'inet', '{10.0.0.1,10.0.0.0/8,::1}', '{10.0.0.2,10.0.0.1/31,::2}'),
  (33, 'text[] COLLATE anycase', 'text COLLATE anycase', '{Anna,bob}', '{x,X,yY,Yy,yy}'),
  (34, 'positive[]', 'int8', '{1,2}', '{3,4}'),
  (35, 'ids', 'more_positive', '{1,2}', '{-3,4}'),
  (36, 'positive_ids', 'int4', '{1,2}', '{3,4}'),
  (37, 'int4range[]', 'int4range', '{"[1,5)",empty}', '{"[1,6)","(,)"}'),
  (38, 'pair[]', 'pair', '{"(1,a)","(2,)"}', '{"(1,b)","(,)","(3,)"}'),
  (39, 'int4[]', 'numeric(5,1)', '{1,2}', '{3,-1}'),
  (40, 'int8[]', 'float8', '{1,2}', '{3,9007199254740993}'),
  (41, 'int4[]', 'oid', '{1,2}', '{3,2147483647}'),
  (42, 'date[]', 'timestamp', '{2020-01-01}', '{2020-01-02}'),           -- no hashing across these: by query
  (43, 'interval[]', 'interval', '{1 day,1 mon}', '{30 days,24:00:01}'),   -- 30 days equal 1 mon
  (44, 'jsonb[]', 'jsonb', '{1,"{}"}', '{1.50,"[1]"}'),
  (45, 'bit(3)[]', 'bit(3)', '{101}', '{111,000}'),                        -- no hashing at all: by query
  (46, 'macaddr[]', 'macaddr', '{08:00:2b:01:02:03}', '{08:00:2b:01:02:04}')
  ) AS v (n, column_type, key_type, keys, others);
-- citext, where it is.
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext') AND to_regtype('citext') IS NULL THEN
    CREATE EXTENSION citext SCHEMA scan;
    PERFORM types(47, 'citext[]', 'citext', '{Anna,bob}', '{x,X,yY,Yy,yy}');
  END IF;
END $$;

--
-- How rows are stored.
--
CREATE TABLE key (id int PRIMARY KEY);
INSERT INTO key SELECT generate_series(1, 100);
-- Columns that are no more, and some that came later: an array that most rows do not hold, but the catalog.
CREATE TABLE altered (gone text, line int PRIMARY KEY, gone_too int[]);
INSERT INTO altered SELECT 'x', g, ARRAY[g] FROM generate_series(1, 20) g;
ALTER TABLE altered DROP COLUMN gone, DROP COLUMN gone_too, ADD COLUMN more text, ADD COLUMN refs int[] DEFAULT '{1,101,NULL,102}';
INSERT INTO altered VALUES (21, NULL, '{1}'), (22, NULL, NULL), (23, 'x', '{103}');
CREATE TABLE altered_key (gone int[], other text, gone_too int);
INSERT INTO altered_key VALUES ('{1}', 'x', 9);
ALTER TABLE altered_key DROP COLUMN gone, DROP COLUMN gone_too, ADD COLUMN id int DEFAULT 1, ADD PRIMARY KEY (id);
INSERT INTO altered_key VALUES ('y', 2), ('z', 103);
SELECT declare('altered', 'key');
CREATE TABLE altered2 (LIKE altered INCLUDING ALL); INSERT INTO altered2 SELECT * FROM altered; SELECT declare('altered2', 'altered_key');
-- Out of line, compressed or not; a million elements, of which two are broken, and long ones.
CREATE TABLE stored (line int PRIMARY KEY, refs int[]);
CREATE TABLE stored_plainly (line int PRIMARY KEY, refs int[]); ALTER TABLE stored_plainly ALTER refs SET STORAGE EXTERNAL;
INSERT INTO stored SELECT n, array_agg(CASE WHEN g % 50000 = 7 THEN 200 ELSE g % 100 + 1 END ORDER BY g)
  FROM (VALUES (1, 100000), (2, 30), (3, 31), (4, 25), (5, 3000), (6, 600)) AS v (n, size), generate_series(1, size) g GROUP BY n;
INSERT INTO stored_plainly SELECT line, refs || '{}'::int[] FROM stored WHERE line > 1;
INSERT INTO stored_plainly SELECT 1, array_agg(CASE WHEN g % 500000 = 7 THEN 200 ELSE g % 100 + 1 END ORDER BY g) FROM generate_series(1, 1000000) g;
INSERT INTO stored VALUES (7, '{1,NULL,200}'), (8, (SELECT array_agg(CASE WHEN g % 3 > 0 THEN g % 103 + 1 END) FROM generate_series(1, 5000) g));
SELECT pg_column_size(refs) AS size, pg_column_size(refs) < 4 * cardinality(refs) AS compressed FROM stored_plainly WHERE line IN (1, 2) ORDER BY line;
SELECT pg_column_size(refs) < 4 * cardinality(refs) AS compressed FROM stored WHERE line = 1;
SELECT declare('stored', 'key'), declare('stored_plainly', 'key');
CREATE TABLE text_key (id text PRIMARY KEY); INSERT INTO text_key SELECT repeat(chr(96 + g), g * 90) FROM generate_series(1, 26) g;
CREATE TABLE long_text (line int PRIMARY KEY, refs text[]);
INSERT INTO long_text SELECT l, array_agg(CASE (g + l) % 3 WHEN 0 THEN repeat(chr(96 + g), g * 90) WHEN 1 THEN repeat(chr(96 + g), g * 900 + 10) END)
  FROM generate_series(1, 26) g, generate_series(1, 12) l GROUP BY l;
SELECT declare('long_text', 'text_key');
CREATE TABLE long_scalar (line int PRIMARY KEY, refs text);
INSERT INTO long_scalar SELECT g, repeat(chr(96 + g), g * CASE g % 2 WHEN 0 THEN 90 ELSE 900 END) FROM generate_series(1, 26) g;
INSERT INTO long_scalar SELECT 27, string_agg(md5(g::text), '') FROM generate_series(1, 500) g;
SELECT declare('long_scalar', 'text_key', enforced => false);
-- Partitions on both sides, below one another, with columns in other orders and some dropped.
CREATE TABLE parted_key (a text, id int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parted_key1 PARTITION OF parted_key FOR VALUES FROM (MINVALUE) TO (10);
CREATE TABLE parted_key2 (id int NOT NULL, gone int, a text); ALTER TABLE parted_key2 DROP COLUMN gone;
ALTER TABLE parted_key ATTACH PARTITION parted_key2 FOR VALUES FROM (10) TO (20);
CREATE TABLE parted_key3 PARTITION OF parted_key FOR VALUES FROM (20) TO (MAXVALUE) PARTITION BY RANGE (id);
CREATE TABLE parted_key3a (gone text, gone_too text, id int NOT NULL, a text); ALTER TABLE parted_key3a DROP COLUMN gone, DROP COLUMN gone_too;
ALTER TABLE parted_key3 ATTACH PARTITION parted_key3a FOR VALUES FROM (20) TO (30);
CREATE TABLE parted_key3b PARTITION OF parted_key3 FOR VALUES FROM (30) TO (MAXVALUE);
INSERT INTO parted_key SELECT 'x', g FROM generate_series(-5, 40, 3) g;
CREATE TABLE parted (line int PRIMARY KEY, refs int[]) PARTITION BY RANGE (line);
CREATE TABLE parted1 PARTITION OF parted FOR VALUES FROM (1) TO (20);
CREATE TABLE parted2 (gone int[], refs int[], line int NOT NULL); ALTER TABLE parted2 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted2 FOR VALUES FROM (20) TO (40);
CREATE TABLE parted3 PARTITION OF parted FOR VALUES FROM (40) TO (MAXVALUE) PARTITION BY LIST (line);
CREATE TABLE parted3a (gone int, line int NOT NULL, gone_too int[], refs int[]); ALTER TABLE parted3a DROP COLUMN gone, DROP COLUMN gone_too;
ALTER TABLE parted3 ATTACH PARTITION parted3a FOR VALUES IN (40, 41, 42);
CREATE TABLE parted3b PARTITION OF parted3 DEFAULT;
CREATE TABLE parted_empty PARTITION OF parted FOR VALUES FROM (-9) TO (1);
INSERT INTO parted SELECT g, ARRAY[g - 6, NULL, 4, g * 2] FROM generate_series(1, 60) g;
CREATE TABLE parted_scalar (refs int, line int PRIMARY KEY) PARTITION BY HASH (line);
CREATE TABLE parted_scalar0 PARTITION OF parted_scalar FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_scalar1 (line int NOT NULL, refs int); ALTER TABLE parted_scalar ATTACH PARTITION parted_scalar1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT declare('parted', 'parted_key');
ALTER TABLE parted_scalar ADD CONSTRAINT parted_scalar_refs_fkey FOREIGN KEY (refs) REFERENCES parted_key;
INSERT INTO truth VALUES ('parted_scalar', 'parted_scalar_refs_fkey', false, false, 'parted_key', 'id', NULL);
SET session_replication_role = replica; INSERT INTO parted_scalar SELECT g - 6, g FROM generate_series(1, 60) g; RESET session_replication_role;
-- What inherits is another table, on either side.
CREATE TABLE parent (line int PRIMARY KEY, refs int[]); CREATE TABLE child () INHERITS (parent);
CREATE TABLE parent_key (id int PRIMARY KEY); CREATE TABLE child_key () INHERITS (parent_key);
INSERT INTO parent VALUES (1, '{1,2}'); INSERT INTO child VALUES (2, '{77}'); INSERT INTO parent_key VALUES (1); INSERT INTO child_key VALUES (2);
SELECT declare('parent', 'parent_key');
-- Unlogged and temporary; no rows, no keys; no other columns at all; a generated column.
CREATE UNLOGGED TABLE unlogged (line int PRIMARY KEY, refs int[]); INSERT INTO unlogged VALUES (1, '{1,101}'); SELECT declare('unlogged', 'key');
CREATE TEMP TABLE temp_key (id int PRIMARY KEY); CREATE TEMP TABLE temp (refs int[]);
INSERT INTO temp_key VALUES (1); INSERT INTO temp VALUES ('{1,2}'), ('{3}'); SELECT declare('temp', 'temp_key');
CREATE TABLE no_key (id int PRIMARY KEY); CREATE TABLE no_text_key (id text PRIMARY KEY);
CREATE TABLE no_rows (line int PRIMARY KEY, refs int[]); SELECT declare('no_rows', 'key');
CREATE TABLE all_broken (line int PRIMARY KEY, refs int[]); INSERT INTO all_broken VALUES (1, '{1,0,-1}'), (2, '{}'), (3, '{0}'); SELECT declare('all_broken', 'no_key');
CREATE TABLE all_texts (refs text[]); INSERT INTO all_texts VALUES ('{a,"",a}'), ('{b}'); SELECT declare('all_texts', 'no_text_key');
CREATE TABLE generated (line int PRIMARY KEY, refs int[] GENERATED ALWAYS AS (ARRAY[line, line * 7, NULL]) STORED);
INSERT INTO generated SELECT generate_series(1, 50); SELECT declare('generated', 'key');
-- The unique index: of a column that may be null, descending, with other columns beside it.
CREATE TABLE index_key (line int, a int, b int, c text);
INSERT INTO index_key SELECT g, nullif(g, 5) * 10, -g, g::text FROM generate_series(1, 20) g; INSERT INTO index_key SELECT 21, NULL, 1, 'x';
CREATE UNIQUE INDEX ON index_key (a DESC NULLS FIRST); CREATE UNIQUE INDEX ON index_key (b DESC) INCLUDE (line); CREATE UNIQUE INDEX ON index_key (c text_pattern_ops);
CREATE TABLE by_a (line int PRIMARY KEY, refs int[]); INSERT INTO by_a VALUES (1, '{10,50,200,210,0}'), (2, '{-1}'); SELECT declare('by_a', 'index_key', 'a');
CREATE TABLE by_b (line int PRIMARY KEY, refs int8[]); INSERT INTO by_b VALUES (1, '{-1,-20,1,-21,0,2,4294967295}'); SELECT declare('by_b', 'index_key', 'b');
CREATE TABLE by_c (line int PRIMARY KEY, refs varchar[]); INSERT INTO by_c VALUES (1, '{1,20,21,x,X}'); SELECT declare('by_c', 'index_key', 'c');
-- Versions that are no more, of rows and of keys; and a table that refers to itself.
CREATE TABLE old_key (id int PRIMARY KEY); INSERT INTO old_key SELECT generate_series(1, 50);
CREATE TABLE old (line int PRIMARY KEY, refs int[]); INSERT INTO old SELECT g, ARRAY[g, g + 1, 999] FROM generate_series(1, 60) g;
UPDATE old SET refs = array_remove(refs, 999) WHERE line % 4 > 0; DELETE FROM old WHERE line % 7 = 0; UPDATE old SET line = line WHERE line % 3 = 0;
DELETE FROM old_key WHERE id IN (1, 2, 3, 49, 50); UPDATE old_key SET id = id + 100 WHERE id > 40; SELECT declare('old', 'old_key');
CREATE TABLE own (id int PRIMARY KEY, line int, refs int[]); INSERT INTO own SELECT g, g, ARRAY[g, g + 1] FROM generate_series(1, 30) g;
ALTER TABLE own DROP CONSTRAINT own_pkey, ADD UNIQUE (id), ADD PRIMARY KEY (line); SELECT declare('own', 'own', 'id');
-- Many rules on one table, that share its pass, and some of them their keys.
CREATE TABLE key2 (id int8 PRIMARY KEY); INSERT INTO key2 SELECT g * 100000007::int8 FROM generate_series(1, 40) g;
CREATE TABLE many (line int PRIMARY KEY, refs int[], b int8[], c text[], d int, e int8[], f int2[]);
INSERT INTO many SELECT g, ARRAY[g, g + 50], ARRAY[g, g * 100000007::int8], ARRAY[repeat(chr(96 + g % 26 + 1), (g % 26 + 1) * 90), 'x'], g * 2,
       CASE WHEN g % 3 > 0 THEN ARRAY[g * 100000007::int8] END, ARRAY[g, NULL] FROM generate_series(1, 90) g;
SELECT declare('many', 'key');
SELECT count(integrity.add_reference('many', c, k, not_valid => true, enforced => c <> 'd')) AS more
  FROM (VALUES ('b', 'key2'::regclass), ('c', 'text_key'), ('d', 'key'), ('e', 'key2'), ('f', 'key')) AS v (c, k);

--
-- Many rows, for parts of keys and for workers: far apart, dense enough for a bitmap, and texts.
--
CREATE TABLE sparse_key (id int8 PRIMARY KEY); INSERT INTO sparse_key SELECT (g - 60000) * 1000000007::int8 FROM generate_series(1, 120000) g;
CREATE TABLE bitmap_key (id int4 PRIMARY KEY); INSERT INTO bitmap_key SELECT (g - 25000) * 200 FROM generate_series(1, 50000) g;
CREATE TABLE md5_key (id text PRIMARY KEY); INSERT INTO md5_key SELECT md5(g::text) FROM generate_series(1, 140000) g;
CREATE TABLE citizen (name numeric PRIMARY KEY); INSERT INTO citizen SELECT g / 10.0 FROM generate_series(1, 30000) g;
ANALYZE sparse_key, bitmap_key, md5_key, citizen;
CREATE TABLE sparse (line int PRIMARY KEY, refs int8[]); CREATE TABLE bitmap (line int PRIMARY KEY, refs int8[]);
CREATE TABLE md5s (line int PRIMARY KEY, refs text[]); CREATE TABLE numerics (line int PRIMARY KEY, refs numeric[]);
-- Every 40th row has something broken, some of it below and above all keys, and the same one again and again.
INSERT INTO sparse SELECT g, ARRAY[(g * 7 - 28000) * 1000000007::int8, CASE WHEN g % 40 = 0 THEN g % 640 + 1 ELSE 0 END,
  CASE WHEN g % 400 = 0 THEN 9223372036854775807 - g WHEN g % 200 = 0 THEN -9223372036854775808 END] FROM generate_series(1, 8000) g;
INSERT INTO bitmap SELECT g, ARRAY[g * 200, NULL, -g * 200, CASE WHEN g % 40 = 0 THEN g * 200 + 1 WHEN g % 41 = 0 THEN 5000200 END,
  CASE WHEN g % 400 = 0 THEN 4611686018427387904 + g WHEN g % 200 = 0 THEN -9223372036854775808 END] FROM generate_series(1, 8000) g;
-- and what lies beside the borders of 2 and of 4 parts
INSERT INTO bitmap SELECT g, ARRAY[g, -4999800 + (g - 8001) * 2499951, -4999800 + (g - 8001) * 2499951 - 1, -4999800 + (g - 8001) * 2499951 + 1,
  -4999800 + (g - 8001) * 4999901, -4999800 + (g - 8001) * 4999901 - 1] FROM generate_series(8001, 8005) g;
INSERT INTO md5s SELECT g, ARRAY[md5((g * 6)::text), CASE WHEN g % 40 = 0 THEN 'x' || g % 999 ELSE md5('1') END] FROM generate_series(1, 8000) g;
INSERT INTO numerics SELECT g, ARRAY[g / 10.0, (g + 1) / 10.0::numeric(9, 5), CASE WHEN g % 40 = 0 THEN -(g % 800) / 10.0::numeric(9, 5) WHEN g % 60 = 0 THEN -(g % 800) / 10.0 END]
  FROM generate_series(1, 8000) g;
-- Two sets of keys that have room one after the other, but not side by side.
CREATE TABLE half_key (id int8 PRIMARY KEY); INSERT INTO half_key SELECT g * 1000000007::int8 FROM generate_series(1, 12000) g;
CREATE TABLE other_key (id int8 PRIMARY KEY); INSERT INTO other_key SELECT g * 1000000009::int8 FROM generate_series(1, 12000) g;
ANALYZE half_key, other_key;
CREATE TABLE halves (line int PRIMARY KEY, refs int8[], more int8[]);
INSERT INTO halves SELECT g, ARRAY[g * 1000000007::int8, g * 3], ARRAY[g * 1000000009::int8] FROM generate_series(1, 200) g;
SELECT declare('halves', 'half_key'), integrity.add_reference('halves', 'more', 'other_key', not_valid => true);
SELECT declare('sparse', 'sparse_key'), declare('bitmap', 'bitmap_key'), declare('md5s', 'md5_key'), declare('numerics', 'citizen', 'name');
ALTER TABLE md5s SET (parallel_workers = 3);

--
-- The same answers in every way.
--
SELECT find_truth() > 0 AS found;
SELECT count(*) FILTER (WHERE referencing::text !~ '^[ts]47$') AS rules,
       bool_or(references_broken = 0) AS some_hold, bool_or(references_broken > 0) AS some_do_not FROM truth;
SELECT referencing, rows_checked, rows_broken, references_checked, references_broken, values_broken, sample FROM truth
 WHERE referencing IN ('sparse'::regclass, 'bitmap'::regclass, 'md5s'::regclass, 'numerics'::regclass, 'parted'::regclass, 'stored_plainly'::regclass) ORDER BY 1;
SELECT * FROM differences();
-- All rules of one table in one pass are what each is by itself.
CREATE FUNCTION of_many() RETURNS TABLE (rule_name name, rows_checked bigint, rows_broken bigint, references_checked bigint,
  references_broken bigint, values_broken bigint, sample text[], status text) LANGUAGE sql STABLE AS $$
  SELECT rule_name, rows_checked, rows_broken, references_checked, references_broken, values_broken, sample, status FROM public.integrity_report('scan.many')
$$;
SELECT * FROM of_many() ORDER BY 1;
CREATE TABLE of_many AS SELECT * FROM of_many();

-- By a worker alone. To start one takes long: so not all types, and no validation.
SET min_parallel_table_scan_size = 0; SET max_parallel_maintenance_workers = 1; SET parallel_leader_participation = off;
SELECT * FROM differences(VARIADIC ARRAY(SELECT referencing FROM truth WHERE referencing::text ~ '^t(16|18|19|22|27|33|38|39|42)$|^altered|^stored|^long|^parted|^own|^old|^by_a|^all'));
-- By two.
SET max_parallel_maintenance_workers = 2;
SELECT * FROM differences('sparse', 'bitmap', 'md5s', 'numerics', 'parted', 'stored');
SELECT rule_name, references_checked, references_broken FROM integrity_report('halves') ORDER BY 1;
SELECT * FROM of_many() EXCEPT TABLE of_many;
-- They did come: as many as there may be, as the table says, and none for a temporary table.
SET client_min_messages = debug1;
SELECT status FROM integrity_report('sparse');
SET max_parallel_maintenance_workers = 5;
SELECT status FROM integrity_report('md5s');
SELECT status FROM integrity_report('temp');
SET min_parallel_table_scan_size = '1GB';
SELECT status FROM integrity_report('sparse');
RESET min_parallel_table_scan_size;
-- None is to be had: the leader does it all, whatever it was told.
SET min_parallel_table_scan_size = 0; SET max_parallel_workers = 0;
SELECT status FROM integrity_report('sparse');
SET client_min_messages = warning;
SELECT * FROM differences('sparse');
RESET max_parallel_workers;
-- By the leader and workers. A rule's own changes are there, for all of them.
RESET parallel_leader_participation;
SELECT * FROM differences('sparse', 'md5s', 'parted', 'stored');
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM md5_key WHERE id < '8'; UPDATE md5s SET refs = refs || 'y'::text WHERE line % 100 = 1; SAVEPOINT s; INSERT INTO md5s VALUES (0, '{z}');
INSERT INTO md5_key VALUES ('y');
SET LOCAL session_replication_role = origin;
SELECT find_truth('md5s');
SELECT rows_broken FROM truth WHERE referencing = 'md5s'::regclass;
SELECT * FROM differences('md5s');
ROLLBACK TO s;
SET LOCAL session_replication_role = origin;
SELECT find_truth('md5s');
SELECT * FROM differences('md5s');
ROLLBACK;

--
-- With little memory: in 2, 4, 8 and 16 parts, and by query. "How" says what was done.
--
SET max_parallel_maintenance_workers = 0;
CREATE FUNCTION how(referencing regclass) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(s.outcome, ', ') FROM pg_trigger t, integrity.scan_references(ARRAY[t.oid], '{0}') AS s
   WHERE t.tgrelid = referencing AND t.tgfoid = 'integrity.check_reference'::regproc
$$;
SET maintenance_work_mem = '4MB'; SET client_min_messages = debug1;
SELECT how('sparse');
SET maintenance_work_mem = '1MB';
SELECT how('bitmap');
SELECT how('numerics');
SET client_min_messages = warning;
SELECT t, how(t) FROM unnest('{sparse,bitmap,md5s,numerics}'::regclass[]) AS t;
SELECT * FROM differences();
SELECT * FROM of_many() EXCEPT TABLE of_many;
SET client_min_messages = debug1;
SELECT rule_name, references_checked, references_broken FROM integrity_report('halves') ORDER BY 1;
SET client_min_messages = warning;
SET maintenance_work_mem = '2MB';
SELECT t, how(t) FROM unnest('{md5s}'::regclass[]) AS t;
SELECT * FROM differences('sparse', 'md5s', 'bitmap');
SET maintenance_work_mem = '8MB';
SELECT * FROM differences('sparse', 'md5s');
-- More keys than statistics know of: what did not fit into 16 parts goes to the query after all.
SET maintenance_work_mem = '1MB';
UPDATE pg_statistic SET stawidth = 4 WHERE starelid = 'md5_key'::regclass;
SELECT t, how(t) FROM unnest('{md5s}'::regclass[]) AS t;
SELECT * FROM differences('md5s');
ANALYZE md5_key;
-- And in parts by workers, who meet one row once for each part, and each other's rows.
SET maintenance_work_mem = '1MB'; SET max_parallel_maintenance_workers = 2; SET parallel_leader_participation = off;
SELECT t, how(t) FROM unnest('{bitmap,numerics}'::regclass[]) AS t;
SELECT * FROM differences('bitmap');
RESET parallel_leader_participation;
SELECT * FROM differences('bitmap', 'numerics');
-- More broken values than there is room for, in one process or in each of several; one value that is larger than all the room.
CREATE TABLE all_wrong (line int PRIMARY KEY, refs int8[]);
INSERT INTO all_wrong SELECT g, ARRAY[g * 3, -g] FROM generate_series(1, 15000) g;
CREATE TABLE one_wrong (line int PRIMARY KEY, refs text[]);
INSERT INTO one_wrong VALUES (1, ARRAY[md5('1'), repeat('x', 300000)]), (2, '{}'), (3, ARRAY['w', repeat('x', 300000)]);
DELETE FROM truth;
SELECT declare('all_wrong', 'key'), declare('one_wrong', 'md5_key');
SELECT find_truth();
SELECT how('all_wrong'), how('one_wrong');
SELECT * FROM differences();
SET parallel_leader_participation = off;
SELECT how('all_wrong'), how('one_wrong');
RESET parallel_leader_participation;
SET max_parallel_maintenance_workers = 0;
SELECT how('all_wrong'), how('one_wrong');
SELECT * FROM differences();
RESET maintenance_work_mem;
SELECT how('all_wrong'), how('one_wrong');
SELECT * FROM differences();

DROP TABLE temp, temp_key;
DROP SCHEMA scan CASCADE;
