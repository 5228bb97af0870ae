SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- Row images: a row as jsonb and back, to the letter. Guards: no setting of either session matters, no type's
-- value loses anything on the way (to_jsonb() would lose scale, bounds, NaN, and call casts to json), and a row
-- with dropped columns, or of a table that was altered since, is still understood.
\set VERBOSITY terse
CREATE SCHEMA image;
SET search_path = image, public;
SET client_min_messages = warning;
SET timezone = 'Europe/Berlin';

CREATE TYPE mood AS ENUM ('sad', 'so, so', 'hap"py');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE DOMAIN smalls AS small[] CHECK (cardinality(VALUE) < 5);
CREATE TABLE everything (
  gone int, i int, f4 real, f8 double precision, n numeric, n2 numeric(10,2), t text, vc varchar(5), c char(5), b boolean,
  ts timestamp, tz timestamptz, d date, ti time, ttz timetz, iv interval, by bytea, m money, j json, jb jsonb,
  ia int[], ta text[], p pair, pa pair[], ir int4range, mr int4multirange, e mood, ea mood[], sm small, sms smalls,
  x xml, bits bit(5), vb varbit, tv tsvector, tq tsquery, u uuid, inet inet, mac macaddr, pt point, box box, path path,
  oid oid, cls regclass, cls_a regclass[], lsn pg_lsn, jp jsonpath, "char" "char", nm name, also_gone text,
  g int GENERATED ALWAYS AS (i + 1) STORED, "odd ""name" text DEFAULT 'x', r text, v int2vector);
ALTER TABLE everything DROP gone, DROP also_gone;

INSERT INTO everything (i, t, r) VALUES (1, NULL, NULL);
INSERT INTO everything (i, f4, f8, n, n2, t, vc, c, b) VALUES
  (2, '-0', 'NaN', 'NaN', 1, '', '', '', true),
  (3, '1e-45', '4.9406564584124654e-324', '1.000', -0.5, E'a\\b"c''d\n\t\x01 ', 'a', 'a', false),
  (4, '0.1', '0.1', '-12345678901234567890.000000001000', 99999999.99, 'null', 'null', 'null', NULL),
  (5, 'Infinity', '-Infinity', 'Infinity', 0, '{}', '{"a"}', '"', true),
  (6, 3.4028235e38, 0.30000000000000004, 1e100, 0.01, repeat('x', 10), 'NULL', E'\\', true);
INSERT INTO everything (i, ts, tz, d, ti, ttz, iv) VALUES
  (7, '2024-02-29 23:59:59.999999', '2024-10-27 02:30:00+02', '4713-01-01 BC', '24:00', '12:34:56.789+05:30', '-1 year 2 mons -3 days 04:05:06.000007'),
  (8, 'infinity', '-infinity', 'infinity', '00:00', '00:00-15:59', '178000000 years'),
  (9, '0001-01-01 BC', '1883-11-18 12:03:58 America/New_York', '5874897-12-31', '01:02:03.000001', '23:59:60+00', '0'),
  (10, '04-05-2006', '1800-01-01 00:00:00 Europe/Berlin', '04-05-2006', NULL, NULL, '1 day -00:00:01');
INSERT INTO everything (i, by, m, j, jb, x, bits, vb, tv, tq, u, inet, mac, pt, box, path) VALUES
  (11, '\x00ff5c27', '-1234.56', E'{"b" :1,  "a": [1.0,null] ,\n"b":"\\u0041"}', '{"b": 1.00, "a": [null, "null"]}', '<a  b="1">x &amp; <!-- c --></a>',
   B'01010', B'', '''a b'':1A,3 c:2', 'a & !(b <-> c:*)', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.1.2.3/8', '08:00:2b:01:02:03',
   '(0.1,-0)', '((1,1),(0,0))', '[(1,1),(2,2)]'),
  (12, '', '0', 'null', 'null', 'no element', B'00000', B'1', '', '', NULL, '::1', NULL, '(NaN,Infinity)', NULL, '((1,1),(2,2))');
INSERT INTO everything (i, ia, ta, p, pa, ir, mr, e, ea, sm, sms) VALUES
  (13, '[0:2]={1,NULL,3}', ARRAY['NULL', NULL, '', ' ', '"', '\', '{,}', 'null'], '(,"")', ARRAY[(1, 'a,"b\'), NULL, (NULL, NULL)]::pair[], '(1,5]', '{[1,2),[5,)}', 'so, so', ARRAY['hap"py', NULL]::mood[], 7, '[3:4]={1,2}'),
  (14, '{}', '{{{{{{a,b},{c,d}}}}}}', NULL, '{}', 'empty', '{}', 'sad', '[-1:-1]={sad}', NULL, '{NULL}'),
  (15, '[1:1][-2:-1]={{1,2}}', '{}', '(5,"(6,7)")', '[2:2]={"(1,\"a b\")"}', '(,)', '{(,)}', NULL, '{}', 99, '{}');
INSERT INTO everything (i, oid, cls, cls_a, lsn, jp, "char", nm, "odd ""name", r, v) VALUES
  (16, 4294967295, 'everything', ARRAY['image.everything', 'pg_class', '0']::regclass[], '16/B374D848', '$."a"[*] ? (@ > 1)', '"', 'na"me', '"', 'r', '1 2 3'),
  (17, 0, 'pg_class', '{}', 'A0000000/B0000000', '$', '', '', NULL, 'everything', '');
-- an array of a million elements, stored out of line, and a text that is
INSERT INTO everything (i, ia, t) SELECT 18, array_agg(g * 7), string_agg(md5(g::text), '') FROM generate_series(1, 1000000) g WHERE g % 2 = 0 OR g < 10;

-- Rows as they are stored; a wrong bit shows.
CREATE FUNCTION stored(everything) RETURNS bytea LANGUAGE sql AS 'SELECT record_send($1)';
CREATE TABLE images AS SELECT z.i, integrity.row_image(z.*) AS image FROM everything z;
SELECT count(*), count(*) FILTER (WHERE stored(integrity.row_from_image(NULL::everything, m.image)) = stored(z)) AS same
  FROM everything z JOIN images m USING (i);
SELECT image - '{i,g}'::text[] AS image FROM (SELECT jsonb_strip_nulls(image) AS image, i FROM images WHERE i BETWEEN 2 AND 17) m ORDER BY i;
-- NULL is null and every column is there, whatever is NULL.
SELECT count(*) FILTER (WHERE value = 'null') AS nulls, count(*), bool_and(jsonb_typeof(value) IN ('null', 'string')) AS all_strings,
       bool_or(key IN ('gone', 'also_gone')) AS dropped
  FROM images, jsonb_each(image) WHERE i = 1;

-- With every setting that there is the images are the same, and rows come back the same.
SET timezone = 'Pacific/Chatham'; SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard'; SET extra_float_digits = -15;
SET bytea_output = escape; SET lc_monetary = 'POSIX'; SET array_nulls = off; SET xmloption = document; SET search_path = pg_catalog;
SET quote_all_identifiers = on; DO 'BEGIN SET standard_conforming_strings = off; EXCEPTION WHEN feature_not_supported THEN END';  -- 19 knows no others
SELECT count(*), count(*) FILTER (WHERE integrity.row_image(z.*) = m.image) AS same_image,
       count(*) FILTER (WHERE record_send(integrity.row_from_image(NULL::image.everything, m.image)) = record_send(z)) AS same_row,
       string_agg(DISTINCT current_setting('datestyle') || current_setting('timezone'), '') AS settings_kept
  FROM image.everything z JOIN image.images m USING (i);
RESET ALL;
SET search_path = image, public; SET client_min_messages = warning;
SELECT integrity.reference_label(1, NULL::text, '2024-01-01 12:00+02'::timestamptz, 'a, b'::text) AS several, integrity.reference_label('{1,2}'::int[]) AS one,
       integrity.reference_label(NULL::int) AS none;

-- Part of an image, a row of another kind, and what is no image.
SELECT (integrity.row_from_image(NULL::everything, '{"i": "5", "ia": "{1,2}"}')).ia;
SELECT integrity.row_from_image(NULL::everything, '{"i": "5", "gone": "1"}');
SELECT integrity.row_from_image(NULL::everything, '{"i": 5}');
SELECT integrity.row_from_image(NULL::everything, '{"sm": "100"}');
SELECT integrity.row_from_image(NULL::everything, '{"i": "x"}');
SELECT integrity.row_from_image(NULL::everything, '[]');
SELECT integrity.row_from_image(NULL::int, '{}');
SELECT integrity.row_from_image(NULL::everything, NULL) IS NULL AS null, integrity.row_image(NULL::everything) IS NULL AS null;
SELECT integrity.row_image(s.*) FROM (SELECT 1 AS a, 'x'::text AS "b c", NULL::date AS d) s;
SELECT integrity.row_image(ROW(1, '{}'::int[])), integrity.row_image(ROW()), integrity.row_from_image(NULL::pair, '{"a": "1"}');
CREATE DOMAIN needed AS text NOT NULL;
CREATE TABLE needs (a needed, b int);
SELECT integrity.row_from_image(NULL::needs, '{"b": "1"}'), integrity.row_from_image(NULL::needs, '{"a": null}');
-- longer than jsonb can hold: a clean error, not a cut value
SELECT length(integrity.row_image(ROW(repeat('x', 268435456)))::text);
DROP SCHEMA image CASCADE;
