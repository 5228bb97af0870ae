SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- integrity_report() and integrity.broken_references(): the figures are right for every kind of rule, and
-- what could not be looked at is never called ok. Guards src/report.
CREATE SCHEMA report;
SET search_path = report, public;
SET client_min_messages = warning;  -- the NOTICE on a missing index belongs to declare.sql
SET datestyle = 'ISO'; SET TIME ZONE 'UTC';
\set SHOW_CONTEXT never

-- One line a rule: rows broken/checked, references broken/checked, distinct values broken.
CREATE FUNCTION figures(regclass DEFAULT NULL) RETURNS TABLE (rule name, rows text, refs text, vals bigint, sample text[], status text)
LANGUAGE sql STABLE AS $$
  SELECT r.rule_name, r.rows_broken || '/' || r.rows_checked, r.references_broken || '/' || r.references_checked,
         r.values_broken, r.sample, r.status
    FROM public.integrity_report($1) AS r
$$;

--
-- Array rules across many pairs of types, the same ten arrays for each: k and l are keys, x is none. So every
-- line says 5 of 9 rows, 7 of 14 elements, one value, broken. The sample shows that value as its type writes it.
--
CREATE TYPE color AS ENUM ('red', 'green', 'blue');
CREATE DOMAIN shade AS color;
CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE DOMAIN smaller AS small CHECK (VALUE < 50);
CREATE DOMAIN ids AS int[];
CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE FUNCTION make_pair(n int, column_type text, key_type text, k text, l text, x text) RETURNS name LANGUAGE plpgsql AS $$
DECLARE
  line int := 0;
  an_array text;
BEGIN
  EXECUTE format('CREATE TABLE k%s (id %s PRIMARY KEY)', n, key_type);
  EXECUTE format('INSERT INTO k%s VALUES (%L), (%L)', n, k, l);
  EXECUTE format('CREATE TABLE t%s (line int PRIMARY KEY, refs %s)', n, column_type);
  FOREACH an_array IN ARRAY ARRAY['{:k}', '{:k,:l,:k}', '{:x}', '{:k,:x,:x}', '{{:k,:x},{:x,:l}}', '{}', '{NULL}',
                                  '{NULL,:x}', NULL, '[0:0]={:x}'] LOOP
    line := line + 1;
    EXECUTE format('INSERT INTO t%s VALUES (%s, %L)', n, line, replace(replace(replace(an_array,
      ':k', to_json(k)::text), ':l', to_json(l)::text), ':x', to_json(x)::text));
  END LOOP;
  RETURN integrity.add_reference(('t' || n)::regclass, 'refs', ('k' || n)::regclass, not_valid => true);
END $$;
SELECT count(make_pair(n, column_type, key_type, k, l, x)) AS pairs FROM (VALUES
  (10, 'int2[]', 'int4', '1', '2', '3'),
  (11, 'int4[]', 'int8', '1', '2', '3'),
  (12, 'int8[]', 'int2', '1', '2', '5000000000'),            -- out of the key's range: not found
  (13, 'text[]', 'varchar(9)', 'A', 'B, "C', 'Y ''%s'),
  (14, 'varchar[]', 'text', 'A', '', ' '),
  (15, 'uuid[]', 'uuid', repeat('1', 32), repeat('2', 32), repeat('3', 32)),
  (16, 'color[]', 'color', 'red', 'green', 'blue'),
  (17, 'smaller[]', 'int8', '1', '2', '3'),
  (18, 'ids', 'smaller', '1', '2', '99'),                    -- out of the domain: not found
  (19, 'text[] COLLATE anycase', 'text COLLATE anycase', 'Anna', 'bob', 'x'),
  (20, 'int4[]', 'numeric', '1', '2', '3'),
  (21, 'numeric[]', 'numeric', '1.0', '2', '3.50'),
  (22, 'char(3)[]', 'char(5)', 'A', 'B', 'X'),
  (23, 'timestamptz[]', 'timestamptz', 'infinity', '2020-01-01 00:00:00+00', '2020-01-01 00:00:01+00'),
  (24, 'text[] COLLATE "C"', 'text COLLATE "POSIX"', 'A', 'B', 'a'),
  (25, 'shade[]', 'color', 'red', 'green', 'blue')) AS v (n, column_type, key_type, k, l, x);
SELECT * FROM figures() WHERE rule ~ '^t\d+_refs_fkey$' ORDER BY 1;
-- Equal by the key's equality only: nothing of these is broken; and of the three below only two are distinct.
UPDATE t19 SET refs = '{ANNA,anna,BOB}'; UPDATE t21 SET refs = '{1,1.00,2.000}'; UPDATE t22 SET refs = '{"A  ",B}';
SELECT * FROM figures() WHERE rule IN ('t19_refs_fkey', 't21_refs_fkey', 't22_refs_fkey') ORDER BY 1;
DROP TABLE t19, t21;
CREATE TABLE t19 (refs text[] COLLATE anycase); CREATE TABLE t21 (refs numeric[]);
INSERT INTO t19 VALUES ('{X,x,y}'); INSERT INTO t21 VALUES ('{3.5,3.50,4}');
SELECT integrity.add_reference('t19', 'refs', 'k19', not_valid => true), integrity.add_reference('t21', 'refs', 'k21', not_valid => true);
SELECT * FROM figures('t19') UNION ALL SELECT * FROM figures('t21');

-- Which, where: by row, by place in storage order whatever the bounds and dimensions.
SELECT row_key, position, value, row_tid = (SELECT ctid FROM t13 WHERE line = (row_key->>'line')::int) AS tid
  FROM integrity.broken_references('t13', 't13_refs_fkey');

-- The sample: five, the most frequent first, then by value, and 9 comes before 10.
CREATE TABLE freq (id int, ids int[]);
INSERT INTO freq VALUES (1, '{100,9,10,7,7,8}'), (2, '{11,12,100,100,8,8}'), (3, NULL);
SELECT integrity.add_reference('freq', 'ids', 'k10', not_valid => true);
SELECT * FROM figures('freq');
-- No primary key: no row_key.
SELECT DISTINCT row_key FROM integrity.broken_references('freq', 'freq_ids_fkey');
-- An empty table, and nothing but NULLs: looked at, and ok.
TRUNCATE freq;
SELECT * FROM figures('freq');
INSERT INTO freq VALUES (1, NULL), (2, '{}'), (3, '{NULL}');
SELECT * FROM figures('freq');

--
-- Native foreign keys break when rows are loaded with triggers off, and PostgreSQL holds them for valid.
--
CREATE TABLE place (country char(2), code text, id int UNIQUE, PRIMARY KEY (country, code));
INSERT INTO place VALUES ('de', 'B', 1), ('de', 'M', 2), ('fr', 'P', 3);
CREATE TABLE trip (
  id int, leg smallint, country varchar, code name, place_id bigint, PRIMARY KEY (leg, id),
  CONSTRAINT simple FOREIGN KEY (country, code) REFERENCES place,
  CONSTRAINT "full" FOREIGN KEY (country, code) REFERENCES place MATCH FULL,
  CONSTRAINT one FOREIGN KEY (place_id) REFERENCES place (id));
SET session_replication_role = replica;
INSERT INTO trip VALUES (1, 1, 'de', 'B', 1), (1, 2, 'de', 'P', 4), (2, 1, 'fr', NULL, NULL), (2, 2, NULL, NULL, 5),
  (3, 1, 'de', 'P', 5), (3, 2, 'fr', 'B', 5000000000), (4, 1, NULL, 'P', 3);
RESET session_replication_role;
SELECT rule_name, kind, referencing_column, referenced_column, enforced, validated FROM integrity_report('trip') ORDER BY 1;
-- one: 4 of 6, three values. simple: nulls are not checked, so 3 of 4. full: a mixture of nulls is broken, 5 of 6.
SELECT * FROM figures('trip') ORDER BY 1;
SELECT row_key, position, value FROM integrity.broken_references('trip', 'full');
SELECT row_key, position, value FROM integrity.broken_references('trip', 'one');

-- A scalar rule that is not enforced is a trigger of ours, and is counted by row.
CREATE TABLE loose (id int PRIMARY KEY, place int);
INSERT INTO loose VALUES (1, 1), (2, 7), (3, 7), (4, NULL), (5, 8);
SELECT integrity.add_reference('loose', 'place', 'place', 'id', enforced => false, not_valid => true);
SELECT kind, enforced, rows_broken, rows_checked, references_broken, references_checked, values_broken, sample, status FROM integrity_report('loose');
SELECT row_key, position, value FROM integrity.broken_references('loose', 'loose_place_fkey');

--
-- Partitions are part of their table; what merely inherits from a table is not.
--
CREATE TABLE pk (id int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE pk_low PARTITION OF pk FOR VALUES FROM (0) TO (10);
CREATE TABLE pk_high PARTITION OF pk FOR VALUES FROM (10) TO (20);
INSERT INTO pk VALUES (1), (11);
CREATE TABLE part (id int, one int CONSTRAINT part_one REFERENCES pk, many int[]) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE part_2_2 PARTITION OF part_2 FOR VALUES IN (2);
ALTER TABLE part_1 ADD CONSTRAINT only_one FOREIGN KEY (one) REFERENCES pk_low;
SET session_replication_role = replica;
INSERT INTO part VALUES (1, 1, '{1,2}'), (1, 11, '{11}'), (2, 12, '{12,12}'), (2, 12, NULL);
RESET session_replication_role;
SELECT integrity.add_reference('part', 'many', 'pk', not_valid => true);
-- each rule once, where it was declared
SELECT DISTINCT referencing_table FROM integrity_report() WHERE rule_name IN ('part_one', 'only_one', 'part_many_fkey') ORDER BY 1;
SELECT * FROM figures('part') UNION ALL SELECT * FROM figures('part_1') ORDER BY 1;
SELECT count(*) FROM figures('part_2_2');
SELECT row_key, position, value FROM integrity.broken_references('part', 'part_many_fkey');
CREATE TABLE parent (id int PRIMARY KEY, one int REFERENCES place (id), many int[]);
CREATE TABLE child () INHERITS (parent);
CREATE TABLE place_child () INHERITS (place);
INSERT INTO place_child VALUES ('de', 'X', 99);
INSERT INTO parent VALUES (1, 1, '{1,99}');
INSERT INTO child VALUES (2, 98, '{97,98}');
SELECT integrity.add_reference('parent', 'many', 'place', 'id', not_valid => true);
SELECT * FROM figures('parent') ORDER BY 1;

-- Names are names, whatever is in them; a table may refer to itself.
CREATE TABLE "o'Hara %s" ("the ""key""" int PRIMARY KEY, "$1, b" int[]);
INSERT INTO "o'Hara %s" VALUES (1, '{1,2}');
SELECT integrity.add_reference('"o''Hara %s"', '$1, b', '"o''Hara %s"', rule_name => 'it''s "%I"', not_valid => true);
SELECT advice FROM integrity_report('"o''Hara %s"') \gexec

--
-- Advice is one statement that can be run: first see what is broken, then make the rule work, then validate.
--
CREATE TABLE key (id int PRIMARY KEY);
INSERT INTO key VALUES (1);
CREATE TABLE ref (id int PRIMARY KEY, ids int[], one int REFERENCES key);
INSERT INTO ref VALUES (1, '{1,2}', 1);
SELECT integrity.add_reference('ref', 'ids', 'key', not_valid => true);
CREATE FUNCTION advice() RETURNS TABLE (advice text) LANGUAGE sql STABLE AS
  $$ SELECT regexp_replace(advice, '_\d+"', '_NNN"', 'g') FROM public.integrity_report('report.ref') ORDER BY rule_name $$;
DROP TRIGGER integrity_guard_delete ON key;
ALTER TABLE ref DISABLE TRIGGER ALL;
SELECT * FROM advice();
DELETE FROM ref;
SELECT * FROM advice();
SELECT advice FROM integrity_report('ref') WHERE rule_name = 'ref_ids_fkey' \gexec
SELECT * FROM advice();
\set ECHO none
SELECT advice FROM integrity_report('ref') \gexec
\set ECHO all
SELECT * FROM advice();
SELECT advice FROM integrity_report('ref') WHERE rule_name = 'ref_ids_fkey' \gexec
SELECT status, validated, enforced, advice FROM integrity_report('ref') ORDER BY rule_name;
ALTER TABLE key DISABLE TRIGGER ALL;
SELECT DISTINCT regexp_replace(advice, '_\d+"', '_NNN"', 'g') AS advice FROM integrity_report('ref') WHERE kind = 'foreign key';
ALTER TABLE key ENABLE TRIGGER ALL;

--
-- Who may not read is told so, and still gets the rest.
--
CREATE ROLE regress_report_reader;
GRANT USAGE ON SCHEMA report TO regress_report_reader;
GRANT SELECT (id) ON key TO regress_report_reader;
GRANT SELECT (ids) ON ref TO regress_report_reader;
GRANT SELECT ON freq, k10 TO regress_report_reader;
INSERT INTO ref VALUES (1, '{1}', 1), (2, '{1,1}', 1);
UPDATE freq SET ids = '{1,2}';
SET ROLE regress_report_reader;
-- "one" may not be read; for the figures SELECT on the two columns of a rule is enough
SELECT rule_name, rows_checked, references_checked, references_broken, sample, status, advice
  FROM integrity_report() WHERE rule_name IN ('ref_ids_fkey', 'ref_one_fkey', 'freq_ids_fkey') ORDER BY 1;
SELECT * FROM integrity.broken_references('ref', 'ref_one_fkey');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
-- Row-level security that would hide rows, of either table: unknown, not a wrong figure.
ALTER TABLE k10 ENABLE ROW LEVEL SECURITY;
CREATE POLICY first ON k10 USING (id = 1);
SET ROLE regress_report_reader;
SELECT rows_checked, references_broken, sample, status, advice FROM integrity_report('freq');
SELECT * FROM integrity.broken_references('freq', 'freq_ids_fkey');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT * FROM figures('freq');  -- no policy holds a superuser back
ALTER TABLE k10 DISABLE ROW LEVEL SECURITY;
-- No USAGE on the schema.
REVOKE USAGE ON SCHEMA report FROM regress_report_reader;
SET ROLE regress_report_reader;
SELECT DISTINCT status, advice FROM public.integrity_report() WHERE rule_name = 'freq_ids_fkey';
RESET ROLE;
DROP OWNED BY regress_report_reader;
DROP ROLE regress_report_reader;

-- A trigger that is no rule, made where event triggers are off: unknown, with the reason.
ALTER EVENT TRIGGER integrity_complete_rule DISABLE;
CREATE TRIGGER no_rule AFTER INSERT OR UPDATE ON freq FOR EACH ROW EXECUTE FUNCTION integrity.check_reference();
ALTER EVENT TRIGGER integrity_complete_rule ENABLE ALWAYS;
SELECT rows_checked, status, advice FROM integrity_report('freq') WHERE rule_name = 'no_rule';
SELECT * FROM integrity.broken_references('freq', 'no_rule');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER no_rule ON freq;
-- A cast that fails for one of the elements: unknown, with the reason; the other rule of the table is counted all the same.
CREATE TYPE frail AS (n int);
CREATE FUNCTION frail_number(frail) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 10 / $1.n $$;
CREATE CAST (frail AS int) WITH FUNCTION frail_number(frail) AS IMPLICIT;
CREATE TABLE frail_key (id int PRIMARY KEY);
CREATE TABLE frail_ref (frails frail[], ids int[]);
INSERT INTO frail_key VALUES (5);
SELECT integrity.add_reference('frail_ref', 'frails', 'frail_key'), integrity.add_reference('frail_ref', 'ids', 'frail_key');
SET session_replication_role = replica;
INSERT INTO frail_ref VALUES (ARRAY[ROW(2)]::frail[], '{5}'), (ARRAY[ROW(0)]::frail[], '{6}');
RESET session_replication_role;
SELECT rule_name, references_checked, references_broken, status, sample, advice FROM integrity_report('frail_ref');
DROP TABLE frail_ref, frail_key;
-- A foreign key that finds its keys by an index with another operator class than the default: 1.00 is not 1.0 there.
CREATE TYPE sized AS (n numeric);
CREATE TABLE sized_key (a sized);
CREATE UNIQUE INDEX ON sized_key (a record_image_ops);
CREATE TABLE sized_ref (line int PRIMARY KEY, a sized REFERENCES sized_key (a));
INSERT INTO sized_key VALUES (ROW(1.0)), (ROW(2));
INSERT INTO sized_ref VALUES (1, ROW(1.0)), (2, ROW(1.00));
\echo :LAST_ERROR_SQLSTATE
SET session_replication_role = replica;
INSERT INTO sized_ref VALUES (1, ROW(1.0)), (2, ROW(1.00)), (3, ROW(3));
RESET session_replication_role;
SELECT rule_name, references_checked, references_broken, status, sample FROM integrity_report('sized_ref');
SELECT row_key, value FROM integrity.broken_references('sized_ref', 'sized_ref_a_fkey');
DROP TABLE sized_ref, sized_key;
-- No such rule: 42704.
SELECT * FROM integrity.broken_references('freq', 'nothing');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM integrity.broken_references(NULL, 'freq_ids_fkey');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM integrity_report('place');

--
-- One snapshot, that of the calling query: what a function of that very query changed before the
-- report ran is not seen. If one function of the report were volatile, it would be.
--
CREATE FUNCTION change(text) RETURNS regclass LANGUAGE plpgsql VOLATILE AS $$ BEGIN EXECUTE $1; RETURN 'report.ref'::regclass; END $$;
SET session_replication_role = replica;
SELECT f.* FROM change($$INSERT INTO report.ref VALUES (3, '{77}')$$) AS c, LATERAL figures(c) AS f WHERE rule = 'ref_ids_fkey';
SELECT f.* FROM change($$INSERT INTO report.ref VALUES (4, '{78}')$$) AS c, LATERAL integrity.broken_references(c, 'ref_ids_fkey') AS f;
RESET session_replication_role;
SELECT * FROM figures('ref') WHERE rule = 'ref_ids_fkey';
-- TRUNCATE is not for snapshots: such a table is unknown, not clean.
SELECT r.rows_checked, r.sample, r.status, r.advice FROM change('TRUNCATE report.ref') AS c, LATERAL integrity_report(c) AS r WHERE rule_name = 'ref_ids_fkey';
SELECT b.* FROM change('TRUNCATE report.ref') AS c, LATERAL integrity.broken_references(c, 'ref_ids_fkey') AS b;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM figures('ref') WHERE rule = 'ref_ids_fkey';

-- Read only, and no lock but the weakest.
INSERT INTO ref VALUES (1, '{1}', 1);
BEGIN READ ONLY;
SELECT * FROM figures('ref') ORDER BY 1;
SELECT count(*) FROM integrity.broken_references('ref', 'ref_ids_fkey');
SELECT DISTINCT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation';
SELECT pg_current_xact_id_if_assigned() IS NULL AS wrote_nothing;
COMMIT;

--
-- A hostile search_path: everything is equal and everything is there. It changes nothing.
--
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.yes(anyelement, anyelement) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION hostile.yes(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION hostile.yes(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION hostile.yes(name, name) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION hostile.yes(oid, oid) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR hostile.= (LEFTARG = int, RIGHTARG = int, FUNCTION = hostile.yes);
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.yes);
CREATE OPERATOR hostile.= (LEFTARG = name, RIGHTARG = name, FUNCTION = hostile.yes);
CREATE OPERATOR hostile.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = hostile.yes);
CREATE OPERATOR hostile.= (LEFTARG = anyelement, RIGHTARG = anyelement, FUNCTION = hostile.yes);
CREATE FUNCTION hostile.unnest(int[]) RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION hostile.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'hostile' $$;
CREATE FUNCTION hostile.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 1/0; SELECT now() $$;
CREATE VIEW hostile.pg_class AS SELECT * FROM pg_catalog.pg_class WHERE false;
CREATE VIEW hostile.pg_attribute AS SELECT attrelid, attname, attnum, atttypid FROM pg_catalog.pg_attribute WHERE false;
SET session_replication_role = replica;
INSERT INTO freq VALUES (4, '{5,6}');
RESET session_replication_role;
SET search_path = hostile, report, public, pg_catalog;
CREATE TEMP TABLE pg_operator AS SELECT 1 AS oid;
SELECT rule_name, rows_broken, references_checked, references_broken, sample, status FROM public.integrity_report('report.freq');
SELECT row_key, "position", value FROM integrity.broken_references('report.freq', 'freq_ids_fkey');
SET search_path = report, public;
DROP TABLE pg_temp.pg_operator;

-- A cast of the key's type to text is somebody's function; the output function is the type's own.
CREATE FUNCTION shout(color) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'mine' $$;
CREATE CAST (color AS text) WITH FUNCTION shout(color);
SELECT * FROM figures('t16');

SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
DROP SCHEMA report CASCADE;
SELECT count(*) AS left_behind FROM integrity_report() WHERE rule_name ~ '^(t\d+_refs|freq_ids|ref_ids)_fkey$';
RESET client_min_messages;
RESET TIME ZONE; RESET datestyle;
RESET search_path;
