SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- add_reference(), validate_reference(), drop_reference() and the view integrity.reference.
-- Guards src/reference/declare.
CREATE SCHEMA declares;
SET search_path = declares, public;
CREATE TABLE k (id int PRIMARY KEY, code text UNIQUE, label text);
CREATE TABLE t (n int PRIMARY KEY, ids int[], codes text[], one int);
INSERT INTO k VALUES (1, 'a'), (2, 'b'), (3, 'c');
CREATE VIEW rules AS SELECT * FROM integrity.reference
 WHERE referencing_table IN (SELECT oid FROM pg_class WHERE relnamespace = 'declares'::regnamespace);
CREATE VIEW triggers AS SELECT tgrelid::regclass::text COLLATE "C" AS on_table, tgname COLLATE "C" AS trigger, tgenabled FROM pg_trigger
 WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'declares'::regnamespace) AND NOT tgisinternal;

--
-- Defaults: the primary key, no action, <table>_<column>_fkey; no NOTICE, for nothing has to be searched and changed.
--
SELECT integrity.add_reference('t', 'ids', 'k');
\x on
SELECT * FROM rules;
\x off
SELECT * FROM triggers ORDER BY 1, 2;
-- the rule is its trigger, with nothing in the arguments but what was asked for
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname = 't_ids_fkey';
-- the key is protected by PostgreSQL's own dependencies
DROP TABLE k;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE k DROP COLUMN id;
\echo :LAST_ERROR_SQLSTATE
-- a key that is unique, not primary, named
SELECT integrity.add_reference('t', 'codes', 'k', 'code', on_delete => 'restrict', on_update => 'restrict', null_elements => 'reject', duplicate_elements => 'reject');
\x on
SELECT * FROM rules WHERE rule_name = 't_codes_fkey';
\x off
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname = 't_codes_fkey';
-- one set of guards, however many rules
SELECT * FROM triggers WHERE on_table = 'k' ORDER BY 2;

--
-- drop_reference: the guards go with the last rule.
--
SELECT integrity.drop_reference('t', 't_codes_fkey');
SELECT * FROM triggers ORDER BY 1, 2;
SELECT integrity.drop_reference('t', 't_ids_fkey');
SELECT * FROM triggers ORDER BY 1, 2;
DELETE FROM k WHERE id = 3;
SELECT integrity.drop_reference('t', 't_ids_fkey');     -- there is none any more
\echo :LAST_ERROR_SQLSTATE

--
-- Rule names: given, quoted, mixed case, 63 bytes, made from long names, taken.
--
CREATE TABLE "Mixed Case" ("Key Id" int PRIMARY KEY, "The ""Ids""" int[]);
SELECT integrity.add_reference('"Mixed Case"', 'The "Ids"', '"Mixed Case"', 'Key Id');
SELECT integrity.add_reference('"Mixed Case"', 'The "Ids"', '"Mixed Case"', on_update => 'cascade', rule_name => 'it''s "Mine"; DROP');
INSERT INTO "Mixed Case" VALUES (1, '{1}');
INSERT INTO "Mixed Case" VALUES (2, '{3}');
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.drop_reference('"Mixed Case"', 'Mixed Case_The "Ids"_fkey');
UPDATE "Mixed Case" SET "Key Id" = 5;
SELECT * FROM "Mixed Case";
SELECT referencing_table, rule_name, referencing_column, referenced_table, referenced_column FROM rules ORDER BY 2;
SELECT integrity.drop_reference('"Mixed Case"', 'it''s "Mine"; DROP');
TRUNCATE "Mixed Case";
-- 63 bytes for the table, for the column and for the name; a made name is cut as PostgreSQL cuts one
CREATE TABLE table_with_a_name_of_exactly_sixty_three_bytes_which_is_the_max
  (id int PRIMARY KEY, column_with_a_name_of_exactly_sixty_three_bytes_which_is_a_maxi int[]);
SELECT length(relname), length(attname) FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid
 WHERE relname LIKE 'table\_with%' AND attnum = 2 AND relkind = 'r';
SELECT integrity.add_reference('table_with_a_name_of_exactly_sixty_three_bytes_which_is_the_max',
  'column_with_a_name_of_exactly_sixty_three_bytes_which_is_a_maxi', 'k');
SELECT rule_name, octet_length(rule_name::text) FROM rules;
INSERT INTO table_with_a_name_of_exactly_sixty_three_bytes_which_is_the_max VALUES (1, '{9}');
\echo :LAST_ERROR_SQLSTATE
DROP TABLE table_with_a_name_of_exactly_sixty_three_bytes_which_is_the_max;
SELECT integrity.add_reference('t', 'ids', 'k', rule_name => repeat('n', 63)::name);
SELECT integrity.drop_reference('t', repeat('n', 63)::name);
-- characters of more than one byte are not cut in the middle
CREATE TABLE zz_ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ (id int PRIMARY KEY, ÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖ int[]);
SELECT octet_length(integrity.add_reference('zz_ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ', 'ÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖ', 'k')::text) <= 63 AS fits;
DROP TABLE zz_ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ;
-- taken
SELECT integrity.add_reference('t', 'ids', 'k', rule_name => 'same');
SELECT integrity.add_reference('t', 'codes', 'k', 'code', rule_name => 'same');
\echo :LAST_ERROR_SQLSTATE
-- a scalar's native key may not share a rule's name: (table, name) is its identity
SELECT integrity.add_reference('t', 'one', 'k', rule_name => 'same');
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.drop_reference('t', 'same');

--
-- Existing rows: checked on declaration; not_valid leaves them; validate_reference makes up for it.
--
INSERT INTO t VALUES (1, '{1,2}'), (2, '{2,77}');
SELECT integrity.add_reference('t', 'ids', 'k');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM triggers ORDER BY 1, 2;                   -- a refused declaration leaves nothing, guards neither
SELECT integrity.add_reference('t', 'ids', 'k', not_valid => true);
SELECT rule_name, enforced, validated FROM rules;
INSERT INTO t VALUES (3, '{78}');
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.validate_reference('t', 't_ids_fkey');
\echo :LAST_ERROR_SQLSTATE
SELECT rule_name, enforced, validated FROM rules;
UPDATE t SET ids = '{2}' WHERE n = 2;
SELECT integrity.validate_reference('t', 't_ids_fkey');
SELECT rule_name, enforced, validated FROM rules;
SELECT integrity.validate_reference('t', 't_ids_fkey'); -- again: nothing to do
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname = 't_ids_fkey';
SELECT integrity.validate_reference('t', 'no_such_rule');
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.drop_reference('t', 't_ids_fkey');

-- keys with many dead versions: what the index scan keeps for them must outlive the row that met them
CREATE TABLE dk (id int PRIMARY KEY) WITH (autovacuum_enabled = off); CREATE TABLE dt (ids int[]);
DO $$
BEGIN
  FOR i IN 1..12 LOOP DELETE FROM declares.dk; INSERT INTO declares.dk SELECT generate_series(1, 3000); END LOOP;
END $$;
INSERT INTO dt VALUES ('{1}');
INSERT INTO dt SELECT ARRAY(SELECT generate_series(1, g)) FROM generate_series(2, 3000, 100) g;
SELECT integrity.add_reference('dt', 'ids', 'dk');
DROP TABLE dt, dk;

--
-- enforced => false: declared and reported, fires on neither side; ENABLE TRIGGER makes it fire, still not valid.
--
SELECT integrity.add_reference('t', 'ids', 'k', enforced => false);
SELECT rule_name, enforced, validated, guarded FROM rules;
INSERT INTO t VALUES (4, '{79}');
DELETE FROM k WHERE id = 2;
ALTER TABLE t ENABLE TRIGGER t_ids_fkey;
INSERT INTO t VALUES (5, '{79}');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM k WHERE id = 1;
\echo :LAST_ERROR_SQLSTATE
SELECT rule_name, enforced FROM rules;
SELECT integrity.drop_reference('t', 't_ids_fkey');
TRUNCATE t; INSERT INTO k VALUES (2, 'b');

--
-- A changing action has to search the arrays: without a GIN index a NOTICE gives the very CREATE INDEX statement.
--
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element');
SELECT integrity.drop_reference('t', 't_ids_fkey');
SELECT integrity.add_reference('t', 'ids', 'k', on_update => 'cascade');
SELECT integrity.drop_reference('t', 't_ids_fkey');
SELECT integrity.add_reference('"Mixed Case"', 'The "Ids"', 'k', on_delete => 'null element', rule_name => 'mixed');
SELECT integrity.drop_reference('"Mixed Case"', 'mixed');
-- indexes that cannot serve: B-tree, partial, on another column; the NOTICE stays
CREATE INDEX t_btree ON t (ids); CREATE INDEX t_partial ON t USING gin (ids) WHERE n > 5; CREATE INDEX t_other ON t USING gin (codes);
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'set null');
SELECT integrity.drop_reference('t', 't_ids_fkey');
-- the statement of the NOTICE, run as it stands, silences it
CREATE INDEX ON t USING gin (ids);
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'delete row', on_update => 'cascade');
SELECT integrity.drop_reference('t', 't_ids_fkey');
DROP INDEX t_btree, t_partial, t_other;

--
-- A scalar column gets PostgreSQL's own foreign key, and the view shows it in our words.
--
SELECT integrity.add_reference('t', 'one', 'k', on_delete => 'delete row', on_update => 'cascade');
SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'f';
\x on
SELECT * FROM rules;
\x off
SELECT integrity.drop_reference('t', 't_one_fkey');
SELECT integrity.add_reference('t', 'one', 'k', on_delete => 'set null', not_valid => true, "deferrable" => true, initially_deferred => true, rule_name => 'one_rule');
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'f';
SELECT integrity.validate_reference('t', 'one_rule');
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'f';
SELECT integrity.drop_reference('t', 'one_rule');
-- array words on a scalar are refused
SELECT integrity.add_reference('t', 'one', 'k', on_delete => 'remove element');
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.add_reference('t', 'one', 'k', on_delete => 'cascade');
\echo :LAST_ERROR_SQLSTATE
SELECT integrity.add_reference('t', 'one', 'k', on_empty => 'set null');
\echo :LAST_ERROR_SQLSTATE
-- not enforced: the disabled trigger form, reported as a reference
SELECT integrity.add_reference('t', 'one', 'k', enforced => false);
SELECT rule_name, kind, enforced, validated FROM rules;
INSERT INTO t (n, one) VALUES (9, 99);
SELECT integrity.drop_reference('t', 't_one_fkey');
TRUNCATE t;
-- a native key of two columns, in the view
CREATE TABLE pair (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE pair_ref (x int, y int, CONSTRAINT pair_ref_fkey FOREIGN KEY (x, y) REFERENCES pair ON DELETE SET DEFAULT);
SELECT rule_name, kind, referencing_column, referenced_table, referenced_column, on_delete, on_update, on_empty FROM rules;

--
-- Locks: none on either table stronger than ShareRowExclusiveLock, which native ADD FOREIGN KEY takes (0 is right).
--
CREATE VIEW held AS SELECT relation::regclass::text COLLATE "C" AS relation, mode FROM pg_locks
 WHERE pid = pg_backend_pid() AND relation IN ('t'::regclass, 'k'::regclass) AND mode <> 'AccessShareLock';
INSERT INTO t VALUES (1, '{1,2}', NULL, 1);
BEGIN;
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element');
SELECT count(*) AS too_strong FROM held WHERE mode IN ('ExclusiveLock', 'AccessExclusiveLock');
SELECT * FROM held ORDER BY 1, 2;
COMMIT;
SELECT integrity.drop_reference('t', 't_ids_fkey');
SELECT integrity.add_reference('t', 'ids', 'k', on_delete => 'remove element', not_valid => true);
-- validate: ShareUpdateExclusiveLock on the referencing, RowShareLock on the referenced table, so writers go on
BEGIN;
SELECT integrity.validate_reference('t', 't_ids_fkey');
SELECT * FROM held ORDER BY 1, 2;
COMMIT;
-- what native takes for the same two, to compare
BEGIN;
ALTER TABLE t ADD CONSTRAINT native FOREIGN KEY (one) REFERENCES k NOT VALID;
SELECT * FROM held ORDER BY 1, 2;
COMMIT;
BEGIN;
ALTER TABLE t VALIDATE CONSTRAINT native;
SELECT * FROM held ORDER BY 1, 2;
COMMIT;

--
-- Not from within a statement on the referencing table: its list of triggers is made, and the row would not be checked. Native
-- beside it.
--
CREATE TABLE busy (ids int[], one int) PARTITION BY LIST (one);
CREATE TABLE busy_1 PARTITION OF busy DEFAULT;
CREATE FUNCTION declare_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE TG_ARGV[0];
  RETURN NEW;
END $$;
\set VERBOSITY sqlstate
CREATE TRIGGER declare_it BEFORE INSERT ON busy FOR EACH ROW EXECUTE FUNCTION declare_it($$SELECT integrity.add_reference('busy', 'ids', 'k')$$);
INSERT INTO busy VALUES ('{99}', 1);
INSERT INTO busy_1 VALUES ('{99}', 1);
DROP TRIGGER declare_it ON busy;
CREATE TRIGGER declare_it BEFORE INSERT ON busy FOR EACH ROW EXECUTE FUNCTION declare_it('ALTER TABLE busy ADD FOREIGN KEY (one) REFERENCES k');
INSERT INTO busy VALUES ('{99}', 1);
INSERT INTO busy_1 VALUES ('{99}', 1);
\set VERBOSITY default
SELECT count(*) FROM busy;
-- Inheritance children are no concern of a rule.
CREATE TABLE quiet (ids int[]);
CREATE TABLE heir () INHERITS (quiet);
CREATE TRIGGER declare_it BEFORE INSERT ON heir FOR EACH ROW EXECUTE FUNCTION declare_it($$SELECT integrity.add_reference('quiet', 'ids', 'k')$$);
INSERT INTO heir VALUES ('{99}');
SELECT rule_name, validated FROM integrity.reference WHERE referencing_table = 'quiet'::regclass;

SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA declares CASCADE;
RESET client_min_messages;
