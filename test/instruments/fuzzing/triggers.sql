-- Rules that nobody would write, by the thousand: CREATE TRIGGER with refers() in wrong places and with arguments at
-- random, and rows of pg_trigger with tgargs of random bytes and tgqual of other nodes. What reads a rule may refuse it,
-- with any error but an internal one; of rows that were tampered with, with any. A crash is never right.
-- To be run by test/instruments/fuzz, by a superuser, in a database of its own:
--   psql -v seconds=60 -v seed=0.5 -f triggers.sql
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA fuzz;
SET search_path = fuzz, public;
SET allow_system_table_mods = on;
SET statement_timeout = 0;

CREATE DOMAIN id AS int;
CREATE DOMAIN id2 AS id CHECK (VALUE > 0);
CREATE DOMAIN ids AS int[];
CREATE DOMAIN ids2 AS ids CHECK (cardinality(VALUE) < 100);
CREATE TYPE pair AS (a int, b int[]);
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE key (id int PRIMARY KEY, name text UNIQUE, small id2 UNIQUE, pair pair UNIQUE, mood mood UNIQUE, nothing int);
CREATE TABLE parted (id bigint PRIMARY KEY) PARTITION BY HASH (id);
CREATE TABLE part PARTITION OF parted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE VIEW seen AS SELECT * FROM key;
CREATE TABLE ref (id int, a int[], b ids2, c id2[], d text[], e pair[], f mood[], g int, h pair, i bigint[], j int2vector,
                  l jsonb, m numeric[], n oid[]);
CREATE TABLE ref_parted (LIKE ref) PARTITION BY LIST (id);
CREATE TABLE ref_part PARTITION OF ref_parted DEFAULT;
INSERT INTO key VALUES (1, 'one', 1, ROW(1, '{1}'), 'glad'), (2, 'two', 2, ROW(2, '{}'), 'sad');
INSERT INTO parted VALUES (1), (2);
INSERT INTO ref (id, a, d, g) VALUES (1, '{1,NULL,9}', '{one}', 1);
-- The type has no input function.
CREATE CAST (text AS pg_node_tree) WITHOUT FUNCTION;
CREATE TABLE internal_errors (statement text, error text);
CREATE TABLE tried (what text, outcome text, times int, PRIMARY KEY (what, outcome));

CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS
  $$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;

-- An expression: what may stand for a column, for a key, and for a condition.
CREATE FUNCTION column_expression(depth int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN CASE floor(random() * CASE WHEN depth > 2 THEN 6 ELSE 14 END)::int
    WHEN 0 THEN 'NEW.' || fuzz.pick('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'l', 'm', 'n', 'id')
    WHEN 1 THEN 'NEW.a'
    WHEN 2 THEN fuzz.pick('NEW', 'OLD.a', 'OLD', 'NEW.*')
    WHEN 3 THEN 'NEW.' || fuzz.pick('ctid', 'tableoid', 'xmin', 'nothing', '"A"')
    WHEN 4 THEN fuzz.pick('NULL', '''{1}''', '''{1}''::int[]', 'ARRAY[1,2]', 'ROW(1,2)', 'current_user', '$1')
    WHEN 5 THEN '(NULL::fuzz.key).id'
    WHEN 6 THEN format('(%s)::%s', fuzz.column_expression(depth + 1), fuzz.pick('int[]', 'text', 'bigint[]', 'fuzz.ids2', 'fuzz.id2[]', 'oid[]'))
    WHEN 7 THEN format('%s COLLATE "C"', fuzz.column_expression(depth + 1))
    WHEN 8 THEN format('%s || %s', fuzz.column_expression(depth + 1), fuzz.column_expression(depth + 1))
    WHEN 9 THEN format('COALESCE(%s, %s)', fuzz.column_expression(depth + 1), fuzz.column_expression(depth + 1))
    WHEN 10 THEN format('(%s)[%s]', fuzz.column_expression(depth + 1), fuzz.pick('1', '1:2', 'NEW.g'))
    WHEN 11 THEN format('CASE WHEN %s IS NULL THEN %s END', fuzz.column_expression(depth + 1), fuzz.column_expression(depth + 1))
    WHEN 12 THEN format('(NEW.h).%s', fuzz.pick('a', 'b'))
    ELSE format('ARRAY[%s]', fuzz.column_expression(depth + 1))
  END;
END $$;
CREATE FUNCTION key_expression(depth int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN CASE floor(random() * 8)::int
    WHEN 0 THEN '(NULL::fuzz.key).' || fuzz.pick('id', 'name', 'small', 'pair', 'mood', 'nothing', 'ctid', 'absent')
    WHEN 1 THEN '(NULL::fuzz.key).id'
    WHEN 2 THEN format('(NULL::fuzz.%s).%s', fuzz.pick('parted', 'part', 'seen', 'ref', 'pair', 'ref_parted'), fuzz.pick('id', 'a', 'g'))
    WHEN 3 THEN format('(NULL::pg_catalog.%s).oid', fuzz.pick('pg_class', 'pg_type', 'pg_index'))
    WHEN 4 THEN format('(ROW(1,''x'',1,NULL,NULL,1)::fuzz.key).id')
    WHEN 5 THEN format('((NULL::fuzz.key).pair).a')
    WHEN 6 THEN format('((NULL::fuzz.key).id)::%s', fuzz.pick('bigint', 'text', 'fuzz.id2'))
    ELSE fuzz.column_expression(depth + 1)
  END;
END $$;
CREATE FUNCTION condition(depth int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN CASE floor(random() * CASE WHEN depth > 2 THEN 3 ELSE 9 END)::int
    WHEN 3 THEN format('NOT (%s)', fuzz.condition(depth + 1))
    WHEN 4 THEN format('%s %s %s', fuzz.condition(depth + 1), fuzz.pick('AND', 'OR', '=', 'IS DISTINCT FROM'), fuzz.condition(depth + 1))
    WHEN 5 THEN format('(%s)::text::boolean', fuzz.condition(depth + 1))
    WHEN 6 THEN format('integrity.key_changes(%s, %s)', fuzz.column_expression(depth + 1), fuzz.column_expression(depth + 1))
    WHEN 7 THEN fuzz.pick('true', 'NULL', 'NEW.g > 0', 'integrity.refers(integrity.refers(NEW.a, (NULL::fuzz.key).id), (NULL::fuzz.key).id)')
    ELSE format('integrity.refers(%s, %s)', fuzz.column_expression(depth + 1), fuzz.key_expression(depth + 1))
  END;
END $$;

CREATE FUNCTION argument() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT CASE WHEN random() < 0.7 THEN quote_literal(
      fuzz.pick('on_delete', 'on_update', 'on_empty', 'null_elements', 'duplicate_elements', 'ON_DELETE', '', 'ä')
      || fuzz.pick('=', '=', '=', '=', '', '==', ' = ', '''') ||
      fuzz.pick('no action', 'restrict', 'remove element', 'null element', 'delete row', 'set null', 'cascade', 'keep', 'allow', 'reject', ''))
    ELSE fuzz.pick('''not valid''', '''not valid''', '1', 'x', '''''', quote_literal(repeat('ä', 5000)), 'E''\x01\n''', '''%s%n''') END
$$;

CREATE FUNCTION statement() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT format('CREATE %sTRIGGER %s %s %s ON fuzz.%s %s FOR EACH %s %s EXECUTE FUNCTION integrity.%s(%s)',
    fuzz.pick('', '', '', 'CONSTRAINT ', 'OR REPLACE '), fuzz.pick('fuzzed', 'fuzzed', '"Fuzzed %s"', 'integrity_guard_delete'),
    fuzz.pick('AFTER', 'AFTER', 'AFTER', 'AFTER', 'BEFORE'),
    fuzz.pick('INSERT OR UPDATE', 'INSERT OR UPDATE', 'INSERT OR UPDATE', 'UPDATE', 'DELETE', 'INSERT OR UPDATE OF a', 'INSERT OR UPDATE OR DELETE', 'TRUNCATE'),
    fuzz.pick('ref', 'ref', 'ref', 'ref_parted', 'key', 'ref_part'),
    fuzz.pick('', '', '', 'FROM fuzz.key', 'DEFERRABLE INITIALLY DEFERRED', 'REFERENCING NEW TABLE AS n'),
    fuzz.pick('ROW', 'ROW', 'ROW', 'ROW', 'STATEMENT'),
    CASE WHEN random() < 0.95 THEN format('WHEN (%s)', CASE WHEN random() < 0.6
      THEN format('integrity.refers(NEW.%s, (NULL::fuzz.%s).%s)', fuzz.pick('a', 'b', 'c', 'd', 'e', 'f', 'g', 'i', 'n', 'm', 'j'),
                  fuzz.pick('key', 'key', 'key', 'parted', 'part'), fuzz.pick('id', 'id', 'name', 'small', 'pair', 'mood', 'nothing'))
      ELSE fuzz.condition(0) END) ELSE '' END,
    fuzz.pick('check_reference', 'check_reference', 'check_reference', 'check_reference', 'guard_delete', 'guard_update', 'guard_deferred', 'guard_truncate', 'refuse_delete'),
    (SELECT string_agg(fuzz.argument(), ', ') FROM generate_series(1, floor(random() * random() * 5)::int)))
$$;

-- What reads rules. Each in a subtransaction, for one that fails must not hide the next.
CREATE PROCEDURE note(what text, error text, statement text) LANGUAGE plpgsql AS $$
DECLARE
  damaged boolean := EXISTS (SELECT FROM fuzz.tried AS t WHERE t.what = 'damage' AND t.outcome = 'now');
BEGIN
  INSERT INTO fuzz.tried VALUES (what, left(error, 5), 1) ON CONFLICT ON CONSTRAINT tried_pkey DO UPDATE SET times = tried.times + 1;
  -- PostgreSQL itself says so of a catalog that was tampered with.
  IF error ~ '^(XX|P0004)' AND NOT damaged THEN
    INSERT INTO fuzz.internal_errors VALUES (statement, error);
  END IF;
END $$;
CREATE PROCEDURE try(what text, statement text) LANGUAGE plpgsql AS $$
DECLARE
  outcome text := 'done';
BEGIN
  BEGIN
    EXECUTE statement;
  EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
    outcome := SQLSTATE || ': ' || SQLERRM;
  END;
  CALL fuzz.note(what, outcome, statement);
END $$;
CREATE PROCEDURE use_rules() LANGUAGE plpgsql AS $$
BEGIN
  CALL fuzz.try('view', 'SELECT * FROM integrity.reference');
  CALL fuzz.try('report', 'SELECT * FROM integrity_report()');
  CALL fuzz.try('repair', 'SELECT * FROM integrity.repair()');
  CALL fuzz.try('repair', 'SELECT * FROM integrity.repair(''fuzz.ref'', dry_run => false)');
  CALL fuzz.try('delete', 'DELETE FROM fuzz.key WHERE id = 1');
  CALL fuzz.try('update', 'UPDATE fuzz.key SET id = id + 10, name = name || ''x'', small = small + 10');
  CALL fuzz.try('truncate', 'TRUNCATE fuzz.key');
  CALL fuzz.try('delete', 'DELETE FROM fuzz.parted');
  CALL fuzz.try('guards', 'SELECT integrity.add_guards(''fuzz.key'')');
  CALL fuzz.try('validate', 'SELECT integrity.validate_reference(''fuzz.ref'', ''fuzzed'')');
  CALL fuzz.try('alter', 'SELECT integrity.alter_table(''fuzz.ref'', ''ALTER a TYPE bigint[]'')');
  CALL fuzz.try('drop', 'SELECT integrity.drop_reference(''fuzz.ref'', ''fuzzed'')');
END $$;
CREATE PROCEDURE use_rows() LANGUAGE plpgsql AS $$
BEGIN
  CALL fuzz.try('insert', 'INSERT INTO fuzz.ref (id, a, b, c, d, f, g, h, i, m, n) VALUES (2, ''{1,2,NULL}'', ''{1}'', ''{1}'', ''{one}'', ''{glad}'', 1, ROW(1, ''{1}''), ''{1}'', ''{1}'', ''{1}'')');
  CALL fuzz.try('insert', 'INSERT INTO fuzz.ref_parted (id, a) VALUES (2, ''{9}'')');
  CALL fuzz.try('update', 'UPDATE fuzz.ref SET a = a || 2');
END $$;

CREATE FUNCTION random_bytes() RETURNS bytea LANGUAGE sql VOLATILE AS $$
  SELECT COALESCE(string_agg(CASE WHEN random() < 0.3 THEN set_byte('\x00', 0, floor(random() * 256)::int)
    WHEN random() < 0.6 THEN convert_to(trim('''' FROM fuzz.argument()), 'UTF8') || '\x00' ELSE '\x00' END, ''), '')
    FROM generate_series(1, floor(random() * 6)::int)
$$;
-- A number in the node string becomes another one.
CREATE FUNCTION other_node(node text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  field text := fuzz.pick(':varattno', ':varno', ':fieldnum', ':consttype', ':funcid', ':resulttype', ':vartype', ':funcresulttype', ':varlevelsup', ':inputcollid');
  number text := CASE WHEN field IN (':varattno', ':fieldnum') THEN fuzz.pick('0', '-1', '1', '7', '14', '15', '1600', '-7', '32767', '-32768')
    WHEN field IN (':varno', ':varlevelsup') THEN fuzz.pick('0', '1', '2', '3', '65000')
    ELSE fuzz.pick('0', '1', '23', '1007', '2249', '4294967295', 'fuzz.ref'::regclass::oid::text, (SELECT reltype FROM pg_class WHERE oid = 'fuzz.seen'::regclass)::text,
                   (SELECT reltype FROM pg_class WHERE oid = 'fuzz.parted'::regclass)::text, 'fuzz.pair'::regtype::oid::text) END;
BEGIN
  RETURN regexp_replace(node, field || ' -?\d+', field || ' ' || number);
END $$;

CREATE PROCEDURE create_one() LANGUAGE plpgsql AS $$
DECLARE
  statement text := fuzz.statement();
BEGIN
  IF random() < 0.3 THEN
    -- as pg_dump does: the form is looked at, and no more
    SET LOCAL check_function_bodies = off;
  END IF;
  CALL fuzz.try('create', statement);
  CALL fuzz.use_rows();
  CALL fuzz.use_rules();
END $$;

CREATE PROCEDURE damage_one() LANGUAGE plpgsql AS $$
DECLARE
  victim oid;
BEGIN
  PERFORM integrity.add_reference(fuzz.pick('fuzz.ref', 'fuzz.ref', 'fuzz.ref_parted')::regclass, 'a', fuzz.pick('fuzz.key', 'fuzz.parted')::regclass,
                                  on_delete => fuzz.pick('remove element', 'no action', 'delete row'), on_update => fuzz.pick('cascade', 'no action'),
                                  not_valid => true, rule_name => 'fuzzed');
  SELECT oid INTO victim FROM pg_trigger WHERE tgname = fuzz.pick('fuzzed', 'fuzzed', 'fuzzed', 'integrity_guard_update')
    AND tgrelid IN ('fuzz.ref'::regclass, 'fuzz.ref_parted'::regclass, 'fuzz.ref_part'::regclass, 'fuzz.key'::regclass, 'fuzz.parted'::regclass)
    ORDER BY random() LIMIT 1;
  IF random() < 0.5 THEN
    UPDATE pg_trigger SET tgargs = fuzz.random_bytes(), tgnargs = floor(random() * 5)::int - (random() < 0.05)::int WHERE oid = victim;
  ELSE
    -- PostgreSQL would run such a condition itself, and trust it.
    UPDATE pg_trigger SET tgqual = fuzz.other_node(tgqual)::pg_node_tree, tgenabled = 'D' WHERE oid = victim;
    IF random() < 0.5 THEN
      UPDATE pg_trigger SET tgqual = fuzz.other_node(tgqual)::pg_node_tree WHERE oid = victim;
    END IF;
  END IF;
  INSERT INTO fuzz.tried VALUES ('damage', 'now', 0);
  CALL fuzz.note('damage', 'done', '');
  CALL fuzz.use_rules();
END $$;

-- Everything that a round has done is undone, but what was noted of it.
CREATE PROCEDURE round(damage boolean) LANGUAGE plpgsql AS $$
DECLARE
  errors fuzz.internal_errors[];
  tries fuzz.tried[];
BEGIN
  BEGIN
    IF damage THEN CALL fuzz.damage_one(); ELSE CALL fuzz.create_one(); END IF;
    errors := ARRAY(SELECT e FROM fuzz.internal_errors AS e);
    tries := ARRAY(SELECT t FROM fuzz.tried AS t WHERE t.outcome <> 'now');
    RAISE SQLSTATE 'PT999';
  EXCEPTION WHEN SQLSTATE 'PT999' THEN
    TRUNCATE fuzz.internal_errors, fuzz.tried;
    INSERT INTO fuzz.internal_errors SELECT * FROM unnest(errors);
    INSERT INTO fuzz.tried SELECT * FROM unnest(tries);
  END;
END $$;
CREATE PROCEDURE run(seconds int) LANGUAGE plpgsql AS $$
DECLARE
  until timestamptz := clock_timestamp() + make_interval(secs => seconds);
BEGIN
  WHILE clock_timestamp() < until LOOP
    CALL fuzz.round(random() < 0.4);
    COMMIT;
  END LOOP;
END $$;

SET client_min_messages = error;
SELECT setseed(:seed) \g /dev/null
CALL run(:seconds);
\pset format unaligned
\pset tuples_only on
SELECT format('%s: %s', what, string_agg(format('%s %s', times, outcome), ', ' ORDER BY times DESC)) FROM tried GROUP BY what ORDER BY what;
SELECT 'INTERNAL ERROR ' || error || E'\n    ' || left(min(statement), 1500) || format(E'\n    %s times', count(*)) FROM internal_errors GROUP BY error LIMIT 20;
