-- What RESTRICT says is what a native foreign key says, in the version at hand: SQLSTATE (23001 from 18 on), wording, detail and
-- the fields for programs. Two schemas with tables, constraints and columns of the same names.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
CREATE SCHEMA restrict_ours;
CREATE SCHEMA restrict_native;

SET search_path = restrict_native;
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE r (ids int CONSTRAINT r_fkey REFERENCES k ON DELETE RESTRICT ON UPDATE RESTRICT);
CREATE TABLE n (ids int CONSTRAINT n_fkey REFERENCES k);
INSERT INTO k VALUES (1), (2), (3);
INSERT INTO r VALUES (1);
INSERT INTO n VALUES (2);

SET search_path = restrict_ours;
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE r (ids int[]);
CREATE TABLE n (ids int[]);
INSERT INTO k VALUES (1), (2), (3);
SELECT integrity.add_reference('r', 'ids', 'k', on_delete => 'restrict', on_update => 'restrict', rule_name => 'r_fkey');
SELECT integrity.add_reference('n', 'ids', 'k', rule_name => 'n_fkey');
INSERT INTO r VALUES ('{1}');
INSERT INTO n VALUES ('{2}');

-- All that an error says, with the schema left out.
CREATE FUNCTION public.restrict_error(schema_name text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE m text; d text; h text; s text; t text; c text;
BEGIN
  PERFORM set_config('search_path', schema_name, true);
  EXECUTE statement;
  RETURN 'passed';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT, s = SCHEMA_NAME, t = TABLE_NAME, c = CONSTRAINT_NAME;
  RETURN concat_ws('|', SQLSTATE, m, d, h, replace(s, schema_name, ''), t, c);
END $$;
SELECT statement, public.restrict_error('restrict_ours', statement) = public.restrict_error('restrict_native', statement) AS same,
       public.restrict_error('restrict_ours', statement) <> 'passed' AS refused
  FROM (VALUES ('DELETE FROM k WHERE id = 1'), ('UPDATE k SET id = 4 WHERE id = 1'), ('DELETE FROM k'),
               ('DELETE FROM k WHERE id = 2'), ('UPDATE k SET id = 4 WHERE id = 2'),
               ('UPDATE k SET id = id'), ('DELETE FROM k WHERE id = 3')) AS v (statement);

DROP FUNCTION public.restrict_error;
DROP SCHEMA restrict_ours, restrict_native CASCADE;
