-- A type whose comparison function contradicts itself: of any two values that differ, each is the smaller one. An
-- operator class is made by superusers, and theirs are wrong at times. Guards: what sorts by it must stay within its
-- array, as PostgreSQL's own sorts do. What is found is then anybody's guess; that the server goes on is not.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA odd_order;
SET search_path = odd_order, public;
CREATE TYPE odd;
CREATE FUNCTION odd_in(cstring) RETURNS odd LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION odd_out(odd) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE odd (INPUT = odd_in, OUTPUT = odd_out, LIKE = text);
RESET client_min_messages;
CREATE FUNCTION odd_eq(odd, odd) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT CAST(odd_order.odd_out($1) AS text) = CAST(odd_order.odd_out($2) AS text) COLLATE "C" $$;
CREATE FUNCTION odd_ne(odd, odd) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT NOT odd_order.odd_eq($1, $2) $$;
CREATE FUNCTION odd_cmp(odd, odd) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT CASE WHEN odd_order.odd_eq($1, $2) THEN 0 ELSE -1 END $$;
CREATE OPERATOR = (LEFTARG = odd, RIGHTARG = odd, FUNCTION = odd_eq);
CREATE OPERATOR < (LEFTARG = odd, RIGHTARG = odd, FUNCTION = odd_ne);
CREATE OPERATOR <= (LEFTARG = odd, RIGHTARG = odd, FUNCTION = odd_ne);
CREATE OPERATOR >= (LEFTARG = odd, RIGHTARG = odd, FUNCTION = odd_ne);
CREATE OPERATOR > (LEFTARG = odd, RIGHTARG = odd, FUNCTION = odd_ne);
CREATE OPERATOR CLASS odd_ops DEFAULT FOR TYPE odd USING btree AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 odd_cmp(odd, odd);

-- Many keys in the set of an action, and many elements in which one may be there twice.
SELECT cardinality(integrity.remove_elements(ARRAY['x']::odd[], keys, false)) AS kept
  FROM (SELECT array_agg(i::text::odd) AS keys FROM generate_series(1, 2000) AS i) AS made;
CREATE TABLE key (id odd PRIMARY KEY);
CREATE TABLE ref (ids odd[]);
SELECT integrity.add_reference('ref', 'ids', 'key', on_delete => 'remove element', duplicate_elements => 'reject');
\set VERBOSITY sqlstate
INSERT INTO ref SELECT array_agg(i::text::odd) FROM generate_series(1, 2000) AS i;
INSERT INTO key VALUES ('1');
INSERT INTO ref VALUES ('{1}');
DELETE FROM key;
\set VERBOSITY default
SELECT 'still there' AS server;
SET client_min_messages = warning;
DROP SCHEMA odd_order CASCADE;
