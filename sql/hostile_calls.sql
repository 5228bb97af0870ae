-- Every function of the extension, called by hand with what nobody should pass: NULLs, OIDs of nothing and of the
-- wrong thing, types it was not made for, places outside of any table, trigger functions fired by the wrong events.
-- Guards: whatever a function trusts about its caller. An error is fine, with an SQLSTATE that says whose fault it
-- is; XX000, "internal error", is not, and a crash ends this test. A function that comes later is called as well.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
CREATE SCHEMA hostile;
SET search_path = hostile, public;

CREATE TABLE key (id int PRIMARY KEY, name text);
CREATE TABLE ref (id int PRIMARY KEY, ids int[], one int REFERENCES key);
CREATE TABLE parted (id int, ids int[]) PARTITION BY LIST (id);
CREATE TABLE leaf PARTITION OF parted DEFAULT;
CREATE VIEW seen AS SELECT * FROM ref;
CREATE SEQUENCE counter;
CREATE TYPE pair AS (a int, b text);
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN given AS int NOT NULL;
CREATE DOMAIN list AS int[];
CREATE DOMAIN lists AS list;
CREATE TABLE gone (id int);
INSERT INTO key VALUES (1, 'one'), (2, 'two');
INSERT INTO ref VALUES (1, '{1,2}', 1), (2, '{9}', NULL);
SELECT integrity.add_reference('ref', 'ids', 'key', on_delete => 'remove element', not_valid => true);
SELECT integrity.add_reference('parted', 'ids', 'key', on_delete => 'null element');
SELECT 'gone'::regclass::oid AS gone \gset
DROP TABLE gone;
CREATE TABLE oids AS
  SELECT :gone::oid AS gone, (SELECT oid FROM pg_trigger WHERE tgname = 'ref_ids_fkey') AS rule,
         (SELECT oid FROM pg_trigger WHERE tgrelid = 'leaf'::regclass AND tgname = 'parted_ids_fkey') AS clone,
         (SELECT oid FROM pg_trigger WHERE tgname = 'integrity_guard_delete' AND tgrelid = 'key'::regclass) AS guard,
         (SELECT oid FROM pg_constraint WHERE conname = 'ref_one_fkey') AS native,
         (SELECT oid FROM pg_constraint WHERE conname = 'ref_pkey') AS unique,
         (SELECT reltoastrelid FROM pg_class WHERE oid = 'ref'::regclass) AS toast;

-- What may stand for an argument of a type, as an expression.
CREATE FUNCTION candidates(type regtype) RETURNS text[] LANGUAGE sql AS $$
  SELECT CASE
    WHEN type IN ('oid'::regtype, 'regclass') THEN
      (SELECT array_agg(format('%s::oid::%s', each, type)) FROM oids, unnest(ARRAY['NULL', '0', '1', '4294967295',
         gone::text, rule::text, clone::text, guard::text, native::text, "unique"::text, toast::text,
         'ref'::regclass::oid::text, 'key'::regclass::oid::text, 'parted'::regclass::oid::text,
         'leaf'::regclass::oid::text, 'seen'::regclass::oid::text, 'counter'::regclass::oid::text,
         'ref_pkey'::regclass::oid::text, 'pair'::regclass::oid::text, 'pg_class'::regclass::oid::text,
         'int4'::regtype::oid::text, 'given'::regtype::oid::text]) AS each)
    WHEN type IN ('text'::regtype, 'name', 'cstring') THEN
      (SELECT array_agg(format('%L::%s', each, type)) FROM unnest(ARRAY[NULL, '', 'ids', 'id', 'ref_ids_fkey',
         'ref_one_fkey', 'remove element', 'update', 'report', 'SELECT 1', 'TABLE ref', 'SELECT ''{1}''::bigint[]',
         'COMMIT', 'a"b''c\%s', repeat('ä', 60), repeat('x', 9000)]) AS each)
    WHEN type = 'boolean'::regtype THEN '{true,false,NULL::boolean}'
    WHEN type IN ('int2'::regtype, 'int4') THEN
      (SELECT array_agg(format('(%s)::%s', each, type)) FROM unnest('{NULL,0,1,2,-1,32767,-32768}'::text[]) AS each)
      || CASE WHEN type = 'int4'::regtype THEN '{2147483647,(-2147483648)}'::text[] END
    WHEN type = 'bigint'::regtype THEN
      '{NULL::bigint,0::bigint,1::bigint,-1::bigint,9223372036854775807,(-9223372036854775808)}'
    WHEN type = 'numeric'::regtype THEN '{NULL::numeric,0.0,-1.5,''NaN''::numeric,''Infinity''::numeric,1e300}'
    WHEN type = 'timestamptz'::regtype THEN
      '{NULL::timestamptz,now(),''infinity''::timestamptz,''-infinity''::timestamptz}'
    WHEN type = 'tid'::regtype THEN
      '{NULL::tid,"''(0,1)''::tid","''(0,0)''::tid","''(0,65535)''::tid","''(7,1)''::tid","''(4294967295,0)''::tid","''(4294967295,65535)''::tid"}'
    WHEN type = 'tid[]'::regtype THEN
      ARRAY['NULL::tid[]', '''{}''::tid[]', 'ARRAY[NULL]::tid[]', 'ARRAY[''(0,1)'',NULL,''(0,0)'',''(4294967295,65535)'',''(0,2)'',''(0,1)'']::tid[]',
            'ARRAY[[''(0,1)''],[''(0,65535)'']]::tid[]']
    WHEN type = 'jsonb'::regtype THEN
      ARRAY['NULL::jsonb', '''null''::jsonb', '''1''::jsonb', '''"x"''::jsonb', '''[]''::jsonb', '''{}''::jsonb', '''[[1,null],{"a":[]}]''::jsonb',
            '''{"id":1}''::jsonb', '''{"id":"1","ids":"{1,9}","one":"1"}''::jsonb', '''{"id":"x"}''::jsonb',
            '''{"id":null,"nothing":"1"}''::jsonb', '''{"ref_ids_fkey":["9",null,9,["9"]],"ref_one_fkey":{}}''::jsonb']
    WHEN type IN ('anyarray'::regtype, 'anycompatiblearray', 'anynonarray', 'anyelement', '"any"', 'record', 'anycompatible') THEN
      ARRAY['NULL', 'NULL::int[]', '''{}''::int[]', '''{1,2,NULL,2}''::int[]', '''{{1,2},{3,NULL}}''::int[]',
            '''[2147483646:2147483646]={1}''::int[]', '''{1,2}''::bigint[]', '''{1,2}''::numeric[]', '''{a,NULL,b}''::text[]',
            '''{glad,sad}''::mood[]', '''{1,2}''::given[]', '''{1,2}''::list', '''{1,2}''::lists', 'ARRAY[''{1}''::list]',
            '''1 2''::int2vector', '''1 2''::oidvector', 'ARRAY[''1 2''::int2vector]', 'ARRAY[ROW(1,2),ROW(1,NULL)]',
            'ARRAY[ROW(1,''x'')::pair]', '''{1,2}''::xid[]', '''{"{}"}''::json[]', '''{"{}"}''::jsonb[]',
            'ARRAY[''(1,1)''::point]', 'ARRAY[repeat(''x'', 9000)]', 'ARRAY[''x''::char(3)]', 'ARRAY[int4range(1,2)]',
            '1', '''x''', '''x''::text', 'ROW()', 'ROW(1,NULL,''x'')', 'ROW(1,''x'')::pair', 'NULL::pair', 'NULL::ref', 'ROW(ROW(1),''{1}''::int[])',
            'NULL::hostile.list', '(SELECT ref FROM ref LIMIT 1)', '(SELECT x FROM (SELECT ctid, * FROM ref LIMIT 1) x)',
            'pg_sleep(0)', '''ref''::regclass', '1.5::float8', '''glad''::mood', '''{}''::hostile.given[]']
    WHEN type = 'integrity.reference'::regtype THEN
      (SELECT array_agg(format('%L::integrity.reference', r)) FROM integrity.reference r
        WHERE referencing_table IN ('ref'::regclass, 'parted'::regclass))
      || ARRAY['NULL::integrity.reference', '(SELECT jsonb_populate_record(NULL::integrity.reference, ''{}''))',
               (SELECT format('(SELECT jsonb_populate_record(r, ''{"referencing_table":%s,"referenced_table":%1$s}'') FROM integrity.reference r LIMIT 1)', gone) FROM oids)]
    WHEN EXISTS (SELECT FROM pg_type WHERE oid = type AND typcategory = 'A') THEN
      (SELECT ARRAY[format('NULL::%s', type), format('''{}''::%s', type), format('ARRAY[NULL]::%s', type)]
              || COALESCE(array_agg(format('ARRAY[%s,%1$s]::%s', each, type)), '{}')
         FROM unnest(CASE WHEN (SELECT typelem FROM pg_type WHERE oid = type) <> 0
                          THEN candidates((SELECT typelem FROM pg_type WHERE oid = type)::regtype) END) AS each)
    ELSE ARRAY[format('NULL::%s', type)]
         || CASE WHEN EXISTS (SELECT FROM pg_type WHERE oid = type AND typtype = 'c')
                 THEN ARRAY[format('(SELECT jsonb_populate_record(NULL::%s, ''{}''))', type)] END
  END
$$;

-- Runs a statement, undoes it, and says how it ended.
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  SET CONSTRAINTS ALL IMMEDIATE;
  RAISE SQLSTATE 'PT999';
EXCEPTION
  WHEN SQLSTATE 'PT999' THEN RETURN 'done';
  WHEN OTHERS OR ASSERT_FAILURE THEN RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

CREATE TABLE functions AS
  SELECT p.oid::regprocedure AS function, p.prokind, p.probin IS NOT NULL AS in_c, p.prorettype::regtype AS returns, p.provariadic <> 0 AS variadic,
         ARRAY(SELECT t::regtype FROM unnest(p.proargtypes) WITH ORDINALITY AS a(t, n) ORDER BY n) AS types
    FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
   WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'integrity')
     -- These two draw as many circles as they are told to.
     AND p.proname NOT IN ('graph_columns', 'graph_heights');

-- Calls of one function: if "each", every argument goes through all its candidates while the others stand still, and
-- then "more" calls take whatever a shuffle, always the same, deals to them.
CREATE FUNCTION calls(f functions, each boolean, more int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  lists jsonb := to_jsonb(ARRAY(SELECT to_jsonb(hostile.candidates(t)) FROM unnest(f.types) WITH ORDINALITY AS a(t, n) ORDER BY n));
  most int := COALESCE((SELECT max(jsonb_array_length(l)) FROM jsonb_array_elements(lists) AS l), 0);
  singly int := CASE WHEN each THEN most * cardinality(f.types) ELSE 0 END;
  name text := (SELECT format('%I.%I', pronamespace::regnamespace, proname) FROM pg_proc WHERE oid = f.function);
  pattern text := CASE f.prokind WHEN 'p' THEN 'CALL %s(%s)' ELSE 'SELECT * FROM %s(%s)' END;
  arguments text;
BEGIN
  FOR i IN 0 .. CASE WHEN most = 0 THEN 0 ELSE singly + more END LOOP
    SELECT string_agg(l ->> (CASE
        WHEN i < singly THEN CASE WHEN n - 1 = i / most THEN i % most ELSE 1 + i % 2 END
        ELSE abs(hashint4(i * 1000 + n::int)::bigint) END % jsonb_array_length(l))::int, ', ' ORDER BY n)
      INTO arguments FROM jsonb_array_elements(lists) WITH ORDINALITY AS a(l, n);
    RETURN NEXT format(pattern, name, COALESCE(arguments, ''));
    IF f.variadic THEN
      RETURN NEXT format(pattern, name, CASE i % 8
        WHEN 0 THEN arguments || ', NULL, 1, ''x'''
        WHEN 4 THEN arguments || repeat(', 1', 40)
        ELSE regexp_replace(arguments, '^(.*, )?', '\1 VARIADIC ') END);
    END IF;
  END LOOP;
END $$;

CREATE TABLE ended (role name DEFAULT current_user, function regprocedure, statement text, outcome text);
-- In transactions of their own: what thousands of undone calls leave behind in one would make it slow.
CREATE PROCEDURE run(each boolean, more_in_c int, more int) LANGUAGE plpgsql AS $$
DECLARE
  f functions;
BEGIN
  FOR f IN SELECT * FROM functions WHERE returns NOT IN ('trigger'::regtype, 'event_trigger') LOOP
    INSERT INTO ended (function, statement, outcome)
      SELECT f.function, statement, outcome(statement)
        FROM calls(f, each AND f.in_c, CASE WHEN f.in_c THEN more_in_c ELSE more END) AS statement;
    COMMIT;
  END LOOP;
END $$;

-- As a superuser, and as a role that owns nothing.
CREATE ROLE regress_hostile;
GRANT USAGE ON SCHEMA hostile TO regress_hostile;
GRANT SELECT ON ALL TABLES IN SCHEMA hostile TO regress_hostile;
GRANT INSERT ON ended TO regress_hostile;
CALL run(true, 10, 10);
SET ROLE regress_hostile;
CALL run(false, 6, 4);
RESET ROLE;

-- Trigger functions, at every event.
CREATE TABLE fired (id int PRIMARY KEY, ids int[]);
CREATE VIEW fired_view AS SELECT * FROM fired;
INSERT INTO fired VALUES (1, '{1}'), (2, '{1,2}');
INSERT INTO ended (function, statement, outcome)
  SELECT function, statement, outcome(statement)
    FROM functions,
         unnest('{BEFORE,AFTER,INSTEAD OF}'::text[]) AS timing,
         unnest('{INSERT,UPDATE,DELETE,TRUNCATE,INSERT OR UPDATE,UPDATE OF ids OR DELETE}'::text[]) AS event,
         unnest('{ROW,STATEMENT}'::text[]) AS level,
         unnest(ARRAY['', 'REFERENCING OLD TABLE AS o', 'REFERENCING NEW TABLE AS o']) AS transition,
         unnest(ARRAY['', 'WHEN (integrity.refers(NEW.ids, (NULL::hostile.key).id))', 'WHEN (OLD IS DISTINCT FROM NEW)']) AS condition,
         unnest(ARRAY['', '''on_delete=delete row''', '''x'', '''', ''not valid''']) AS arguments,
         format($s$CREATE TRIGGER fired %s %s ON hostile.%s %s FOR EACH %s %s EXECUTE FUNCTION %s(%s);
                   INSERT INTO hostile.fired VALUES (3, '{1}');
                   UPDATE hostile.fired SET ids = '{2}';
                   UPDATE hostile.fired SET id = id + 10;
                   DELETE FROM hostile.fired WHERE id = 11;
                   INSERT INTO hostile.fired_view VALUES (4, '{1}');
                   UPDATE hostile.fired_view SET ids = '{3}';
                   DELETE FROM hostile.fired_view;
                   TRUNCATE hostile.fired$s$,
                timing, event, CASE timing WHEN 'INSTEAD OF' THEN 'fired_view' ELSE 'fired' END, transition, level, condition,
                function::oid::regproc, arguments) AS statement
   WHERE returns = 'trigger'::regtype
     -- What PostgreSQL itself refuses says nothing.
     AND NOT (transition <> '' AND (timing <> 'AFTER' OR event ~ ' OR |TRUNCATE'))
     AND NOT (condition <> '' AND (level = 'STATEMENT' OR timing = 'INSTEAD OF'));
INSERT INTO ended (function, statement, outcome)
  SELECT function, statement, outcome(statement)
    FROM functions, unnest('{ddl_command_start,ddl_command_end,sql_drop,table_rewrite}'::text[]) AS event,
         format($s$CREATE EVENT TRIGGER hostile ON %s EXECUTE FUNCTION %s();
                   CREATE TABLE hostile.made (id int PRIMARY KEY, ids int[]);
                   SELECT integrity.add_reference('hostile.made', 'ids', 'hostile.key');
                   ALTER TABLE hostile.made ALTER id TYPE text;
                   DROP TABLE hostile.made$s$, event, function::oid::regproc) AS statement
   WHERE returns = 'event_trigger'::regtype;

SELECT role, function, left(outcome, 150) AS ended, count(*), left(min(statement), 300) AS statement
  FROM ended WHERE outcome ~ '^(XX|P0004|57P|57014)' GROUP BY 1, 2, 3
 ORDER BY role, function::text COLLATE "C", min(outcome) COLLATE "C";
-- The statements were right: each function was called, and most were entered.
SELECT function FROM functions EXCEPT SELECT function FROM ended;
SELECT count(*) > 3000 AS many, count(*) FILTER (WHERE outcome = 'done') > 1000 AS done,
       count(*) FILTER (WHERE returns = 'trigger'::regtype AND outcome = 'done') > 20 AS fired,
       count(*) FILTER (WHERE returns = 'trigger'::regtype AND outcome ~ '39P01') > 50 AS fired_wrongly
  FROM ended JOIN functions USING (function);

-- These look like arrays, and would be broken ones without their elements.
SELECT outcome(format('SELECT integrity.%s', call)) FROM unnest(ARRAY[
  'remove_elements(''1 2''::oidvector, ARRAY[1,2]::oid[], false)', 'null_elements(''1 2''::int2vector, ARRAY[1]::int2[])',
  'remove_positions(''1 2''::int2vector, ARRAY[1,2], false)', 'null_positions(''1 2''::oidvector, ARRAY[1])']) AS call;
-- The functions of event triggers, called as if they were none.
SELECT outcome(format('SELECT %s', function)) FROM functions WHERE returns = 'event_trigger'::regtype ORDER BY function::text COLLATE "C";

-- And nothing came of it.
SELECT * FROM ref ORDER BY id;
SELECT * FROM key ORDER BY id;
SELECT rule_name, guarded, validated FROM integrity.reference WHERE referencing_table IN ('ref'::regclass, 'parted'::regclass) ORDER BY rule_name;

DROP SCHEMA hostile CASCADE;
DROP ROLE regress_hostile;
