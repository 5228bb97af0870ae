SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- Which element type may refer to which key type, and what "equal" means for each pair.
-- Guards the choice of the equality operator in src/reference/rule and the probe with it.
CREATE SCHEMA types;
SET search_path = types, public;
SET client_min_messages = warning;

-- Declares t(ids <array type>) against k(id <key type>), writes a good and a broken array, makes the good key the
-- broken one and back, deletes the key, and says what came of each: "declared, good accepted, broken refused (23503),
-- cascaded, element removed" is a working pair. ("the new key does not fit": the key's type is too small for it.)
CREATE FUNCTION try_pair(array_type text, key_type text, good text, broken text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE said text; left_over text; there boolean; back boolean;
BEGIN
  EXECUTE format('CREATE TABLE k (id %s PRIMARY KEY)', key_type);
  EXECUTE format('CREATE TABLE t (ids %s)', array_type);
  BEGIN
    PERFORM integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element', on_update => 'cascade');
    EXECUTE format('INSERT INTO k VALUES (%L)', good);
    said := 'declared';
    BEGIN
      EXECUTE format('INSERT INTO t VALUES (%L)', ARRAY[good, NULL, good]);
      said := said || ', good accepted';
    EXCEPTION WHEN OTHERS THEN said := said || ', GOOD REFUSED: ' || SQLSTATE || ' ' || SQLERRM; END;
    BEGIN
      EXECUTE format('INSERT INTO t VALUES (%L)', ARRAY[good, broken]);
      said := said || ', BROKEN ACCEPTED';
    EXCEPTION WHEN OTHERS THEN said := said || ', broken refused (' || SQLSTATE || ')'; END;
    BEGIN
      EXECUTE format('UPDATE k SET id = %L', broken);
      EXECUTE format('SELECT ids = %L FROM t', ARRAY[broken, NULL, broken]) INTO there;
      EXECUTE format('UPDATE k SET id = %L', good);
      EXECUTE format('SELECT ids = %L FROM t', ARRAY[good, NULL, good]) INTO back;
      said := said || CASE WHEN there AND back THEN ', cascaded' ELSE ', NOT CASCADED' END;
    EXCEPTION WHEN numeric_value_out_of_range THEN said := said || ', the new key does not fit'; END;
    BEGIN
      DELETE FROM k;
      SELECT ids::text INTO left_over FROM t;
      said := said || CASE left_over WHEN '{NULL}' THEN ', element removed' ELSE ', LEFT OVER ' || left_over END;
    EXCEPTION WHEN OTHERS THEN said := said || ', DELETE FAILED: ' || SQLSTATE || ' ' || SQLERRM; END;
  EXCEPTION WHEN OTHERS THEN said := 'not declared: ' || SQLSTATE || ' ' || SQLERRM; END;
  DROP TABLE IF EXISTS t, k;
  RETURN said;
END $$;

CREATE TYPE color AS ENUM ('red', 'green', 'blue');
CREATE TYPE shade AS ENUM ('red', 'green');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN id_list AS int[] CHECK (cardinality(VALUE) < 10);
CREATE DOMAIN positive_list AS positive[];
CREATE DOMAIN name_of AS text;
CREATE TYPE full_name AS (first text, last text);

--
-- Integers: all nine pairs work, with a value that fits no smaller type as "broken" where the array can hold one.
--
SELECT a.t AS array_type, b.t AS key_type, try_pair(a.t || '[]', b.t, '7', a.big)
  FROM (VALUES (1, 'int2', '32767'), (2, 'int4', '2147483647'), (3, 'int8', '9223372036854775807')) a(o, t, big),
       (VALUES (1, 'int2'), (2, 'int4'), (3, 'int8')) b(o, t)
 ORDER BY a.o, b.o;
-- Out of range is "not found", never "out of range", and never wraps: 65543 is 7 in two bytes, 4294967303 in four.
SELECT try_pair('int4[]', 'int2', '7', '65543');
SELECT try_pair('int8[]', 'int2', '7', '65543');
SELECT try_pair('int8[]', 'int4', '7', '4294967303');
SELECT try_pair('int8[]', 'int4', '-1', '4294967295');
SELECT try_pair('int2[]', 'int8', '-1', '1');
-- From the key's side: a key that no element of the array's type can equal deletes and cascades cleanly.
CREATE TABLE wide (id int8 PRIMARY KEY);
CREATE TABLE narrow (ids int2[]);
INSERT INTO wide VALUES (1), (2), (65537), (4294967297);
SELECT integrity.add_reference('narrow', 'ids', 'wide', on_delete => 'remove element', on_update => 'cascade');
INSERT INTO narrow VALUES ('{1,2}');
DELETE FROM wide WHERE id IN (65537, 4294967297);
SELECT * FROM narrow;
DELETE FROM wide WHERE id = 1;
SELECT * FROM narrow;
UPDATE wide SET id = 3 WHERE id = 2;
SELECT * FROM narrow;
UPDATE wide SET id = 70000 WHERE id = 3;           -- the new value does not fit the array: an error, as native
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM narrow;

--
-- The types of every day.
--
SELECT try_pair('uuid[]', 'uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12');
SELECT try_pair('text[]', 'text', 'a', 'A');
SELECT try_pair('text[]', 'varchar(10)', 'a', 'b');
SELECT try_pair('varchar[]', 'text', 'a', 'b');
SELECT try_pair('varchar(3)[]', 'varchar(10)', 'abc', 'abd');
SELECT try_pair('name[]', 'name', 'a', 'b');
SELECT try_pair('char(4)[]', 'char(4)', 'abc', 'abd');
SELECT try_pair('bpchar[]', 'bpchar', 'abc', 'abd');
SELECT try_pair('bit(3)[]', 'bit(3)', '101', '111');
SELECT try_pair('"char"[]', '"char"', 'a', 'b');
SELECT try_pair('color[]', 'color', 'red', 'green');
SELECT try_pair('date[]', 'date', '2024-02-29', '2024-03-01');
SELECT try_pair('timestamptz[]', 'timestamptz', '2024-02-29 12:00+00', '2024-02-29 13:00+00');
SELECT try_pair('oid[]', 'oid', '4294967295', '1');
SELECT try_pair('bytea[]', 'bytea', '\x00ff', '\x00');
SELECT try_pair('boolean[]', 'boolean', 'true', 'false');
SELECT try_pair('numeric[]', 'numeric', '1.50', '1.51');
SELECT try_pair('float8[]', 'float8', '0.5', 'NaN');
SELECT try_pair('inet[]', 'inet', '10.0.0.1', '10.0.0.2');
SELECT try_pair('interval[]', 'interval', '1 day', '25 hours');
SELECT try_pair('int4range[]', 'int4range', '[1,5)', '[1,6)');
SELECT try_pair('full_name[]', 'full_name', '(Ada,Lovelace)', '(Ada,)');
SELECT try_pair('text[]', 'text', repeat('x', 1000), repeat('x', 1001));
-- types that are stored alike, and one that an implicit cast turns into the key's
SELECT try_pair('regclass[]', 'oid', '1259', '1247');
SELECT try_pair('oid[]', 'regclass', '1259', '1247');
SELECT try_pair('text[]', 'name', 'a', 'b');
SELECT try_pair('name[]', 'text', 'a', 'b');
SELECT try_pair('text[]', 'char(4)', 'abc', 'abd');
-- integers may refer to a numeric key (int is cast to numeric, as native does)
SELECT try_pair('int4[]', 'numeric', '3', '4');
SELECT try_pair('int8[]', 'numeric(20,2)', '3', '4');
SELECT try_pair('date[]', 'timestamptz', '2024-01-01', '2024-01-02');

-- Equal is not identical: what the key's equality calls equal is found and removed.
CREATE TABLE money_key (id numeric PRIMARY KEY);
CREATE TABLE money_ref (ids numeric[]);
SELECT integrity.add_reference('money_ref', 'ids', 'money_key', on_delete => 'null element', on_update => 'cascade');
INSERT INTO money_key VALUES (1.5), (2);
INSERT INTO money_ref VALUES ('{1.50,2.000}'), ('{1.5000}');
UPDATE money_key SET id = 2.0 WHERE id = 2;         -- equal, and written in another way: carried along, as native
DELETE FROM money_key WHERE id = 1.500;
SELECT * FROM money_ref ORDER BY ids::text;
-- a cascade into a narrower type: too long is an error, and what was rounded is no key
CREATE TABLE long_key (id varchar(10) PRIMARY KEY); CREATE TABLE short_ref (ids varchar(3)[]);
CREATE TABLE exact_key (id numeric PRIMARY KEY); CREATE TABLE rounded_ref (ids numeric(10,1)[]);
SELECT integrity.add_reference('short_ref', 'ids', 'long_key', on_update => 'cascade');
SELECT integrity.add_reference('rounded_ref', 'ids', 'exact_key', on_update => 'cascade');
INSERT INTO long_key VALUES ('abc'); INSERT INTO short_ref VALUES ('{abc}');
INSERT INTO exact_key VALUES (1.5); INSERT INTO rounded_ref VALUES ('{1.5}');
UPDATE long_key SET id = 'abcd';
\echo :LAST_ERROR_SQLSTATE
UPDATE exact_key SET id = 1.25;
\echo :LAST_ERROR_SQLSTATE
-- blanks at the end of char(n) do not count
CREATE TABLE char_key (id char(6) PRIMARY KEY);
CREATE TABLE char_ref (ids char(3)[]);
SELECT integrity.add_reference('char_ref', 'ids', 'char_key', on_delete => 'remove element');
INSERT INTO char_key VALUES ('a'), ('abcdef');
INSERT INTO char_ref VALUES ('{a,"a  "}');
DELETE FROM char_key WHERE id = 'a';
SELECT * FROM char_ref;
-- one value by trigger, in a type whose plain name means one character
CREATE TABLE one_key (id char(6) PRIMARY KEY, flags bit(3) UNIQUE);
CREATE TABLE one_ref (id char(6), flags bit(3));
CREATE TRIGGER one_id AFTER INSERT OR UPDATE ON one_ref FOR EACH ROW WHEN (integrity.refers(NEW.id, (NULL::one_key).id))
  EXECUTE FUNCTION integrity.check_reference('on_delete=delete row', 'on_update=cascade');
CREATE TRIGGER one_flags AFTER INSERT OR UPDATE ON one_ref FOR EACH ROW
  WHEN (integrity.refers(NEW.flags, (NULL::one_key).flags)) EXECUTE FUNCTION integrity.check_reference('on_update=cascade');
INSERT INTO one_key VALUES ('a', '100'), ('abc', '101'), ('abd', '111');
INSERT INTO one_ref VALUES ('a', '100'), ('abc', '101'), ('abd', '111');
DELETE FROM one_key WHERE id = 'a';
UPDATE one_key SET id = 'xyz', flags = '001' WHERE id = 'abc';
SELECT * FROM one_ref ORDER BY id;
-- -0 and 0 are equal, NaN equals NaN
CREATE TABLE float_key (id float8 PRIMARY KEY);
CREATE TABLE float_ref (ids float8[]);
SELECT integrity.add_reference('float_ref', 'ids', 'float_key', on_delete => 'remove element');
INSERT INTO float_key VALUES (0), ('NaN'), (1);
INSERT INTO float_ref VALUES ('{-0,0,NaN,1}');
DELETE FROM float_key WHERE id IN (0, 'NaN');
SELECT * FROM float_ref;

--
-- Domains, over the element, over the array, over both, over the key.
--
SELECT try_pair('positive[]', 'int', '7', '8');
SELECT try_pair('int[]', 'positive', '7', '8');
SELECT try_pair('positive[]', 'positive', '7', '8');
SELECT try_pair('id_list', 'int', '7', '8');
SELECT try_pair('id_list', 'int8', '7', '8');
SELECT try_pair('positive_list', 'positive', '7', '8');
SELECT try_pair('name_of[]', 'text', 'a', 'b');
SELECT try_pair('text[]', 'name_of', 'a', 'b');
-- what the action writes still has to pass the domain: the error is the domain's, and the delete is undone
CREATE DOMAIN two_at_least AS int[] CHECK (cardinality(VALUE) >= 2);
CREATE DOMAIN never_null AS int CHECK (VALUE IS NOT NULL);
CREATE TABLE dom_key (id int PRIMARY KEY);
CREATE TABLE dom_ref (ids two_at_least);
CREATE TABLE dom_null (ids never_null[]);
CREATE TABLE dom_new (ids positive[]);
SELECT integrity.add_reference('dom_ref', 'ids', 'dom_key', on_delete => 'remove element');
SELECT integrity.add_reference('dom_null', 'ids', 'dom_key', on_delete => 'null element');
SELECT integrity.add_reference('dom_new', 'ids', 'dom_key', on_update => 'cascade');
INSERT INTO dom_key VALUES (1), (2), (3), (4), (5);
INSERT INTO dom_ref VALUES ('{1,2,3}');
INSERT INTO dom_null VALUES ('{4}');
INSERT INTO dom_new VALUES ('{5}');
DELETE FROM dom_key WHERE id = 1;
DELETE FROM dom_key WHERE id = 2;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM dom_key WHERE id = 4;
\echo :LAST_ERROR_SQLSTATE
UPDATE dom_key SET id = -5 WHERE id = 5;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM dom_ref; SELECT * FROM dom_null; SELECT * FROM dom_new;
-- a NOT NULL column and on_empty => 'set null': the error is the column's
CREATE TABLE not_null (ids int[] NOT NULL);
SELECT integrity.add_reference('not_null', 'ids', 'dom_key', on_delete => 'remove element', on_empty => 'set null');
INSERT INTO not_null VALUES ('{3}'); TRUNCATE dom_ref;
DELETE FROM dom_key WHERE id = 3;
\echo :LAST_ERROR_SQLSTATE

--
-- Refused pairs: nothing in PostgreSQL says when they are equal, or only a guess would (42804, as native).
--
SELECT try_pair('text[]', 'int', 'a', 'b');
SELECT try_pair('int[]', 'text', '1', '2');
SELECT try_pair('uuid[]', 'text', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12');
SELECT try_pair('text[]', 'uuid', 'a', 'b');
SELECT try_pair('color[]', 'shade', 'red', 'green');
SELECT try_pair('text[]', 'color', 'red', 'green');
SELECT try_pair('boolean[]', 'int', 'true', 'false');
SELECT try_pair('numeric[]', 'int', '1', '2');     -- native refuses it too: int has no operator with numeric
SELECT try_pair('json[]', 'int', '1', '2');
SELECT try_pair('int[]', 'int[]', '{1}', '{2}');
SELECT try_pair('point[]', 'int', '(1,1)', '(2,2)');
-- the two vector types of the system catalogs are no arrays to write to: none of them may be empty or hold a NULL
CREATE TABLE vector_key (id int2 PRIMARY KEY, o oid UNIQUE);
CREATE TABLE vector_ref (ids int2vector, oids oidvector);
SELECT integrity.add_reference('vector_ref', 'ids', 'vector_key');
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.add_reference('vector_ref', 'oids', 'vector_key', 'o');
\echo :LAST_ERROR_SQLSTATE

--
-- Collations. A nondeterministic one makes more values equal; both sides must then have the same one, or the
-- index and the action would disagree on what is equal.
--
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE ci_key (id text COLLATE ci PRIMARY KEY);
CREATE TABLE ci_ref (ids text[] COLLATE ci);
SELECT integrity.add_reference('ci_ref', 'ids', 'ci_key', on_delete => 'remove element');
INSERT INTO ci_key VALUES ('Anna'), ('Bob');
INSERT INTO ci_ref VALUES ('{anna,BOB,ANNA}');
INSERT INTO ci_ref VALUES ('{carl}');
\echo :LAST_ERROR_SQLSTATE
UPDATE ci_key SET id = 'ANNA' WHERE id = 'anna';   -- equal: no key change, nothing is refused
DELETE FROM ci_key WHERE id = 'Anna';
SELECT * FROM ci_ref;
-- an index of another collation finds other rows: it must not be used
CREATE INDEX ON ci_ref USING gin (ids COLLATE "C");
SET enable_seqscan = off;
INSERT INTO ci_key VALUES ('Carl'); INSERT INTO ci_ref VALUES ('{CARL}');
DELETE FROM ci_key WHERE id = 'Carl';
RESET enable_seqscan;
SELECT * FROM ci_ref ORDER BY ids::text;
-- the duplicate check uses the same equality
CREATE TABLE ci_strict (ids text[] COLLATE ci);
SELECT integrity.add_reference('ci_strict', 'ids', 'ci_key', duplicate_elements => 'reject');
INSERT INTO ci_strict VALUES ('{bob,BOB}');
\echo :LAST_ERROR_SQLSTATE
-- one side only: refused
CREATE TABLE plain_key (id text PRIMARY KEY);
CREATE TABLE plain_ref (ids text[]);
SELECT integrity.add_reference('plain_ref', 'ids', 'ci_key');
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.add_reference('ci_ref', 'ids', 'plain_key', rule_name => 'one_side');
\echo :LAST_ERROR_SQLSTATE
-- two deterministic collations agree on equality: allowed
CREATE TABLE c_ref (ids text[] COLLATE "C");
SELECT integrity.add_reference('c_ref', 'ids', 'plain_key', on_delete => 'remove element');
INSERT INTO plain_key VALUES ('x'); INSERT INTO c_ref VALUES ('{x}');
INSERT INTO c_ref VALUES ('{X}');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM plain_key;
SELECT * FROM c_ref;

--
-- The function of a cast goes only with CASCADE, and takes the rule along.
--
CREATE TYPE digit AS ENUM ('1', '2');
CREATE FUNCTION value_of(digit) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1::text::int';
CREATE CAST (digit AS int) WITH FUNCTION value_of(digit) AS IMPLICIT;
CREATE TABLE used_key (id int PRIMARY KEY);
CREATE TABLE used_ref (digits digit[]);
SELECT integrity.add_reference('used_ref', 'digits', 'used_key');
INSERT INTO used_key VALUES (1);
INSERT INTO used_ref VALUES ('{1}');
DROP CAST (digit AS int);
DROP FUNCTION value_of(digit);
\echo :LAST_ERROR_SQLSTATE
DROP FUNCTION value_of(digit) CASCADE;
INSERT INTO used_ref VALUES ('{2}');

--
-- A user's own "=" in front of the search_path changes nothing (it says that all is equal).
--
CREATE FUNCTION yes(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR types.= (LEFTARG = int, RIGHTARG = int, FUNCTION = yes);
SET search_path = types, pg_catalog, public;
CREATE TABLE path_key (id int PRIMARY KEY);
CREATE TABLE path_ref (ids int[]);
SELECT integrity.add_reference('path_ref', 'ids', 'path_key', on_delete => 'remove element');
INSERT INTO path_key VALUES (1), (2);
INSERT INTO path_ref VALUES ('{1,2}');
INSERT INTO path_ref VALUES ('{3}');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM path_key WHERE id OPERATOR(pg_catalog.=) 1;
SELECT * FROM path_ref;

-- A type of elements that are compared as keys of another type, and among themselves otherwise, as citext is: what counts is
-- what the check has asked, "is it this key". A delete or change of "a" is nothing to an "A".
CREATE TYPE folded;
CREATE FUNCTION folded_in(cstring) RETURNS folded LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION folded_out(folded) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE folded (INPUT = folded_in, OUTPUT = folded_out, INTERNALLENGTH = VARIABLE, STORAGE = extended);
CREATE CAST (folded AS text) WITHOUT FUNCTION AS IMPLICIT; CREATE CAST (text AS folded) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION folded_order(folded, folded) RETURNS int LANGUAGE sql IMMUTABLE STRICT
  AS $$ SELECT pg_catalog.bttextcmp(pg_catalog.lower($1::text), pg_catalog.lower($2::text)) $$;
CREATE FUNCTION folded_equal(folded, folded) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT
  AS $$ SELECT pg_catalog.lower($1::text) OPERATOR(pg_catalog.=) pg_catalog.lower($2::text) $$;
CREATE OPERATOR = (LEFTARG = folded, RIGHTARG = folded, FUNCTION = folded_equal);
CREATE OPERATOR CLASS folded_ops DEFAULT FOR TYPE folded USING btree AS OPERATOR 3 =, FUNCTION 1 folded_order(folded, folded);
CREATE TABLE word (id text PRIMARY KEY);
CREATE TABLE words (n int, ids folded[]); CREATE INDEX ON words USING gin (ids);
CREATE TABLE words_refused (ids folded[]);
SELECT integrity.add_reference('words', 'ids', 'word', on_delete => 'remove element', on_update => 'cascade');
SELECT integrity.add_reference('words_refused', 'ids', 'word');
INSERT INTO word VALUES ('a'), ('A'), ('b'), ('B'), ('c');
INSERT INTO words VALUES (1, '{a,A,b,B}'); INSERT INTO words_refused VALUES ('{A}');
INSERT INTO words VALUES (2, '{C}');               -- 23503: the key is 'c'
\echo :LAST_ERROR_SQLSTATE
DELETE FROM word WHERE id = 'a';
UPDATE word SET id = 'd' WHERE id = 'b';
DELETE FROM word WHERE id = 'A';                   -- 23503
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM words;

-- A cast in SQL that fails in a savepoint begins anew for the next row: up to 17 it would go on where it was left.
CREATE TYPE frail AS (n int);
CREATE FUNCTION frail_number(frail) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 10 OPERATOR(pg_catalog./) $1.n $$;
CREATE CAST (frail AS int) WITH FUNCTION frail_number(frail) AS IMPLICIT;
CREATE TABLE frail_key (id int PRIMARY KEY);
CREATE TABLE frail_ref (ids frail[]);
SELECT integrity.add_reference('frail_ref', 'ids', 'frail_key');
INSERT INTO frail_key VALUES (5), (10);
BEGIN;
INSERT INTO frail_ref VALUES (ARRAY[ROW(2)]::frail[]);
SAVEPOINT failing;
\set SHOW_CONTEXT never
INSERT INTO frail_ref VALUES (ARRAY[ROW(0)]::frail[]);   -- 22012
\echo :LAST_ERROR_SQLSTATE
\set SHOW_CONTEXT errors
ROLLBACK TO failing;
INSERT INTO frail_ref VALUES (ARRAY[ROW(1)]::frail[]);
INSERT INTO frail_ref VALUES (ARRAY[ROW(5)]::frail[]);   -- 23503: 2 is no key
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO failing;
INSERT INTO frail_ref VALUES (ARRAY[ROW(2)]::frail[]);
COMMIT;
SELECT * FROM frail_ref;

RESET search_path;
DROP SCHEMA types CASCADE;
RESET client_min_messages;
