-- Bad input: each mistake gets a clear error with a hint, and nothing is left half made.
-- Guards: the checks of add_reference(), those of the event trigger on a hand-written rule,
-- and the shape check of the trigger function. An SQLSTATE XX000 below is always a bug, and
-- so is a line with "**": accepted, or an error without a hint.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
RESET client_min_messages;
\set SHOW_CONTEXT never

CREATE SCHEMA bad;
SET search_path = bad, public;

-- Runs a statement that must fail, undoes it, and prints what a user reads.
CREATE PROCEDURE fails(statement text) LANGUAGE plpgsql AS $$
DECLARE message text; detail text; hint text;
BEGIN
  EXECUTE statement;
  RAISE SQLSTATE 'PT999' USING MESSAGE = '** accepted **';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  hint := coalesce(nullif(hint, ''), '** no hint **');
  IF detail = '' THEN
    RAISE INFO USING MESSAGE = SQLSTATE || ': ' || message, HINT = hint;
  ELSE
    RAISE INFO USING MESSAGE = SQLSTATE || ': ' || message, DETAIL = detail, HINT = hint;
  END IF;
END $$;
-- add_reference() and its arguments.
CREATE PROCEDURE add_fails(arguments text) LANGUAGE sql AS $$
  CALL bad.fails('SELECT integrity.add_reference(' || arguments || ')') $$;
-- CREATE TRIGGER by hand: %s are timing and events, level and WHEN, arguments.
CREATE PROCEDURE hand_fails(events text, "when" text, arguments text DEFAULT '') LANGUAGE sql AS $$
  CALL bad.fails(format('CREATE TRIGGER by_hand %s %s EXECUTE FUNCTION integrity.check_reference(%s)',
                        events, "when", arguments)) $$;

CREATE TABLE key (id int PRIMARY KEY, other int, code text UNIQUE, later int UNIQUE DEFERRABLE,
                  part int, wrong int, a int, b int, ids int[] UNIQUE, UNIQUE (a, b));
CREATE INDEX ON key (other);
CREATE UNIQUE INDEX ON key (part) WHERE part > 0;
CREATE UNIQUE INDEX ON key ((wrong + 1));
CREATE TABLE keyless (id int);
CREATE TABLE wide (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE ref (id int PRIMARY KEY, ids int[], one int, names text[], days date[],
                  made int[] GENERATED ALWAYS AS (ARRAY[one]) STORED);
INSERT INTO key (id, other) VALUES (1, 1), (2, 1);
INSERT INTO ref (id, ids) VALUES (1, '{1,2}');

-- No such table: regclass says so itself.
SELECT integrity.add_reference('nothing', 'ids', 'key');
\echo :SQLSTATE
-- No such column, on either side; a dropped column; a system column.
CALL add_fails($$ 'ref', 'idz', 'key' $$);
CALL add_fails($$ 'ref', 'ids', 'key', 'idz' $$);
CALL add_fails($$ 'ref', '........pg.dropped.1........', 'key' $$);
CALL add_fails($$ 'ref', 'ctid', 'key' $$);
CALL add_fails($$ 'ref', 'ids', 'key', 'xmin' $$);
-- NULL for what must be given, and for a word.
CALL add_fails($$ NULL, 'ids', 'key' $$);
CALL add_fails($$ 'ref', NULL, 'key' $$);
CALL add_fails($$ 'ref', 'ids', NULL $$);
CALL add_fails($$ 'ref', 'ids', 'key', on_delete => NULL $$);
-- An oid that is no relation.
CALL add_fails($$ 0::regclass, 'ids', 'key' $$);
CALL add_fails($$ 'ref', 'ids', 0::regclass $$);

-- No primary key to default to; a primary key of two columns.
CALL add_fails($$ 'ref', 'ids', 'keyless' $$);
CALL add_fails($$ 'ref', 'ids', 'wide' $$);

-- KEY SHARE protects a key only behind a plain unique index. None at all, one that is not
-- unique, one of two columns, a partial one, one on an expression, a deferrable one:
CALL add_fails($$ 'ref', 'ids', 'keyless', 'id' $$);
CALL add_fails($$ 'ref', 'ids', 'key', 'other' $$);
CALL add_fails($$ 'ref', 'ids', 'key', 'a' $$);
CALL add_fails($$ 'ref', 'ids', 'key', 'part' $$);
CALL add_fails($$ 'ref', 'ids', 'key', 'wrong' $$);
CALL add_fails($$ 'ref', 'ids', 'key', 'later' $$);
-- and an invalid one: two rows have other = 1, so this build fails and leaves its index behind.
\set VERBOSITY terse
CREATE UNIQUE INDEX CONCURRENTLY key_other_broken ON key (other);
\set VERBOSITY default
SELECT indisunique, indisvalid FROM pg_index WHERE indexrelid = 'key_other_broken'::regclass;
CALL add_fails($$ 'ref', 'ids', 'key', 'other' $$);

-- Types that cannot be compared, and an array that names an array key.
CALL add_fails($$ 'ref', 'names', 'key' $$);
CALL add_fails($$ 'ref', 'days', 'key' $$);
CALL add_fails($$ 'ref', 'ids', 'key', 'code' $$);
CALL add_fails($$ 'ref', 'ids', 'key', 'ids' $$);
-- A scalar with the wrong type is left to the native foreign key, and is as clear.
CALL add_fails($$ 'ref', 'one', 'key', 'code' $$);

-- Unknown words. 'cascade' tells its two meanings for an array: remove element or delete row.
CALL add_fails($$ 'ref', 'ids', 'key', on_delete => 'cascade' $$);
CALL add_fails($$ 'ref', 'ids', 'key', on_delete => 'explode' $$);
CALL add_fails($$ 'ref', 'ids', 'key', on_delete => 'set default' $$);
CALL add_fails($$ 'ref', 'ids', 'key', on_delete => '' $$);
CALL add_fails($$ 'ref', 'ids', 'key', on_update => 'remove element' $$);
CALL add_fails($$ 'ref', 'ids', 'key', on_update => 'explode' $$);
CALL add_fails($$ 'ref', 'ids', 'key', on_delete => 'remove element', on_empty => 'explode' $$);
CALL add_fails($$ 'ref', 'ids', 'key', null_elements => 'maybe' $$);
CALL add_fails($$ 'ref', 'ids', 'key', duplicate_elements => 'maybe' $$);
-- 'null element' writes what null_elements => 'reject' forbids.
CALL add_fails($$ 'ref', 'ids', 'key', on_delete => 'null element', null_elements => 'reject' $$);
-- A scalar has no elements, and its CASCADE is called 'delete row'.
CALL add_fails($$ 'ref', 'one', 'key', on_delete => 'cascade' $$);
CALL add_fails($$ 'ref', 'one', 'key', on_delete => 'remove element' $$);
CALL add_fails($$ 'ref', 'one', 'key', on_delete => 'null element' $$);
CALL add_fails($$ 'ref', 'one', 'key', on_empty => 'set null' $$);
CALL add_fails($$ 'ref', 'one', 'key', null_elements => 'reject' $$);
CALL add_fails($$ 'ref', 'one', 'key', duplicate_elements => 'reject' $$);
-- on_empty is about the last element taken out: nothing else takes elements out.
CALL add_fails($$ 'ref', 'ids', 'key', on_empty => 'set null' $$);
CALL add_fails($$ 'ref', 'ids', 'key', on_delete => 'delete row', on_empty => 'delete row' $$);
-- Initially deferred needs deferrable. (The argument is a reserved word: it is written quoted.)
CALL add_fails($$ 'ref', 'ids', 'key', initially_deferred => true $$);
-- A stored generated column cannot be changed by an action.
CALL add_fails($$ 'ref', 'made', 'key', on_delete => 'set null' $$);
CALL add_fails($$ 'ref', 'made', 'key', on_update => 'cascade' $$);

-- A rule name that is taken: by a rule, by a trigger, by a constraint; an empty one.
SELECT integrity.add_reference('ref', 'ids', 'key', rule_name => 'taken');
ALTER TABLE ref ADD CONSTRAINT taken_check CHECK (id > 0);
CREATE TRIGGER taken_trigger BEFORE UPDATE ON ref FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CALL add_fails($$ 'ref', 'ids', 'key', rule_name => 'taken' $$);
CALL add_fails($$ 'ref', 'ids', 'key', rule_name => 'taken_trigger' $$);
CALL add_fails($$ 'ref', 'one', 'key', rule_name => 'taken_check' $$);
CALL add_fails($$ 'ref', 'ids', 'key', rule_name => 'taken_check' $$);
CALL add_fails($$ 'ref', 'ids', 'key', rule_name => '' $$);
-- The same reference declared twice under its default name.
CALL add_fails($$ 'ref', 'ids', 'key', rule_name => 'ref_ids_fkey'), integrity.add_reference('ref', 'ids', 'key' $$);

-- Relations that hold no rows of their own, or not in a table.
CREATE VIEW a_view AS SELECT * FROM key;
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM key;
CREATE UNIQUE INDEX ON a_matview (id);
CREATE SEQUENCE a_sequence;
CREATE TYPE a_type AS (id int, ids int[]);
CREATE FOREIGN DATA WRAPPER integrity_dummy;
CREATE SERVER integrity_dummy FOREIGN DATA WRAPPER integrity_dummy;
CREATE FOREIGN TABLE a_foreign_table (id int, ids int[]) SERVER integrity_dummy;
CALL add_fails($$ 'ref', 'ids', 'a_view', 'id' $$);
CALL add_fails($$ 'a_view', 'ids', 'key' $$);
CALL add_fails($$ 'ref', 'ids', 'a_matview', 'id' $$);
CALL add_fails($$ 'a_matview', 'ids', 'key' $$);
CALL add_fails($$ 'ref', 'ids', 'a_foreign_table', 'id' $$);
CALL add_fails($$ 'a_foreign_table', 'ids', 'key' $$);
CALL add_fails($$ 'ref', 'ids', 'a_sequence', 'last_value' $$);
CALL add_fails($$ 'ref', 'ids', 'key_pkey', 'id' $$);
CALL add_fails($$ 'ref', 'ids', 'a_type', 'id' $$);
-- System catalogs, either side, also for a superuser.
CALL add_fails($$ 'ref', 'ids', 'pg_catalog.pg_class', 'oid' $$);
CALL add_fails($$ 'pg_catalog.pg_proc', 'proallargtypes', 'pg_catalog.pg_type', 'oid' $$);
-- Persistence, as native: a table may not refer to one that can vanish before it.
CREATE TEMP TABLE temp_key (id int PRIMARY KEY);
CREATE TEMP TABLE temp_ref (id int, ids int[]);
CREATE UNLOGGED TABLE unlogged_key (id int PRIMARY KEY);
CALL add_fails($$ 'ref', 'ids', 'temp_key' $$);
CALL add_fails($$ 'temp_ref', 'ids', 'key' $$);
CALL add_fails($$ 'ref', 'ids', 'unlogged_key' $$);

-- Missing privileges; sql/security.sql has the whole matter.
CREATE ROLE regress_bad_nobody;
GRANT USAGE ON SCHEMA bad TO regress_bad_nobody;
SET ROLE regress_bad_nobody;
CALL add_fails($$ 'ref', 'ids', 'key' $$);
RESET ROLE;

-- validate_reference and drop_reference: no such rule, a trigger or constraint that is none.
CALL fails($$ SELECT integrity.validate_reference('ref', 'nothing') $$);
CALL fails($$ SELECT integrity.drop_reference('ref', 'nothing') $$);
CALL fails($$ SELECT integrity.validate_reference('ref', 'taken_trigger') $$);
CALL fails($$ SELECT integrity.drop_reference('ref', 'taken_trigger') $$);
CALL fails($$ SELECT integrity.drop_reference('ref', 'taken_check') $$);
CALL fails($$ SELECT * FROM integrity.broken_references('ref', 'nothing') $$);

-- Nothing of all this was left behind: only the rule "taken" and the trigger that is ours.
SELECT tgrelid::regclass, tgname FROM pg_trigger
 WHERE tgrelid IN ('ref'::regclass, 'key'::regclass) AND NOT tgisinternal ORDER BY tgrelid::regclass::text, tgname;

-- Hand-written triggers. Without refers: no WHEN at all, another WHEN.
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW');
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (NEW.ids IS NOT NULL)');
-- Two of them; one among others; one denied.
\set refers 'integrity.refers(NEW.ids, (NULL::key).id)'
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ' AND ' || :'refers' || ')');
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ' OR true)');
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (NOT ' || :'refers' || ')');
-- refers of something other than a NEW column and a key: OLD, a constant, an expression, itself.
CALL hand_fails('AFTER UPDATE ON ref', 'FOR EACH ROW WHEN (integrity.refers(OLD.ids, (NULL::key).id))');
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (integrity.refers(ARRAY[1], (NULL::key).id))');
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (integrity.refers(NEW.ids || 1, (NULL::key).id))');
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (integrity.refers(NEW.ids, 1))');
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (integrity.refers(NEW.ids, NEW.one))');
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (integrity.refers(NEW.ids, (NULL::a_type).id))');
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (integrity.refers(NEW.ids, (NULL::key).other))');
-- Of the wrong kind: BEFORE, FOR EACH STATEMENT, on DELETE, on one event of the two, with a
-- column list (a BEFORE trigger that changes the column would pass unseen), INSTEAD OF.
CALL hand_fails('BEFORE INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ')');
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH STATEMENT');
CALL hand_fails('AFTER DELETE ON ref', 'FOR EACH ROW WHEN (integrity.refers(OLD.ids, (NULL::key).id))');
CALL hand_fails('AFTER DELETE ON ref', 'FOR EACH ROW');
CALL hand_fails('AFTER TRUNCATE ON ref', 'FOR EACH STATEMENT');
CALL fails('CREATE CONSTRAINT TRIGGER by_hand AFTER INSERT ON ref DEFERRABLE FOR EACH ROW WHEN (' || :'refers' || ') EXECUTE FUNCTION integrity.check_reference()');
CALL hand_fails('AFTER UPDATE ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ')');
CALL hand_fails('AFTER INSERT OR UPDATE OF ids ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ')');
CALL hand_fails('INSTEAD OF INSERT OR UPDATE ON a_view', 'FOR EACH ROW');
-- FROM would tie the rule to the referenced table in a second way, by which DROP TABLE takes it silently.
CALL fails('CREATE CONSTRAINT TRIGGER by_hand AFTER INSERT OR UPDATE ON ref FROM key FOR EACH ROW WHEN (' || :'refers' || ') EXECUTE FUNCTION integrity.check_reference()');
-- Unknown arguments, a word that is no word, one given twice, an empty one.
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ')', $$'explode'$$);
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ')', $$'on_delete=cascade'$$);
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ')', $$'on_delete'$$);
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ')', $$'on_empty=set null'$$);
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ')', $$'on_delete=restrict', 'on_delete=set null'$$);
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW WHEN (' || :'refers' || ')', $$''$$);

-- With check_function_bodies off, as pg_restore sets it, the form is looked at all the same.
SET check_function_bodies = off;
CALL hand_fails('AFTER INSERT OR UPDATE ON ref', 'FOR EACH ROW');
RESET check_function_bodies;
-- A superuser can turn the event trigger off and make a wrong trigger. It must then be reported as a
-- problem and refuse to run with a clear error; never crash, never pass. It can be dropped as a rule.
ALTER EVENT TRIGGER integrity_complete_rule DISABLE;
CREATE TRIGGER no_refers AFTER INSERT OR UPDATE ON ref FOR EACH ROW EXECUTE FUNCTION integrity.check_reference();
ALTER EVENT TRIGGER integrity_complete_rule ENABLE ALWAYS;
SELECT rule_name, kind, referenced_table, problem FROM integrity.reference WHERE rule_name = 'no_refers';
SELECT rule_name, status, advice FROM public.integrity_report('ref') WHERE rule_name = 'no_refers';
CALL fails($$ INSERT INTO ref (id, ids) VALUES (2, '{1}') $$);
CALL fails($$ SELECT integrity.validate_reference('ref', 'no_refers') $$);
SELECT integrity.drop_reference('ref', 'no_refers');
-- The description of a trigger that is none, or none of ours: a problem, and nothing made up.
SELECT referencing_column, referenced_table, on_delete, validated, guarded, problem FROM integrity.describe_rule(0);
SELECT d.referencing_column, d.referenced_table, d.on_delete, d.validated, d.guarded, d.problem
  FROM pg_trigger t, integrity.describe_rule(t.oid) d WHERE t.tgname = 'taken_trigger';

-- The trigger functions called directly: 39P01, as the native ones say it.
CALL fails('SELECT integrity.check_reference()');
CALL fails('SELECT integrity.guard_delete()');
CALL fails('SELECT integrity.guard_update()');
CALL fails('SELECT integrity.guard_truncate()');
CALL fails('SELECT integrity.guard_deferred()');
-- The conditions and array functions with types that have no order, or that do not go together.
CALL fails($$ SELECT integrity.key_changes(1, 2::bigint) $$);
CALL fails($$ SELECT integrity.contains_any(ARRAY[1], ARRAY['a'::text]) $$);
CALL fails($$ SELECT integrity.contains_any(ARRAY['{}'::json], ARRAY['{}'::json]) $$);
CALL fails($$ SELECT integrity.remove_elements(ARRAY['(1,2)'::point], ARRAY['(1,2)'::point]) $$);
CALL fails($$ SELECT integrity.add_guards(0) $$);
CALL fails($$ SELECT integrity.add_guards('a_view') $$);
-- A guard put by hand where it does not belong says so (39P01): never a crash.
CREATE TABLE lone (id int PRIMARY KEY);
CREATE TRIGGER lone_guard BEFORE INSERT ON lone FOR EACH ROW EXECUTE FUNCTION integrity.guard_delete();
CALL fails('INSERT INTO lone VALUES (1)');

-- One million elements: accepted, then one broken element at the very end is found and named.
INSERT INTO key (id) SELECT g FROM generate_series(3, 1000) g;
INSERT INTO ref (id, ids) SELECT 3, array_agg(g % 1000 + 1) FROM generate_series(1, 1000000) g;
SELECT cardinality(ids) FROM ref WHERE id = 3;
UPDATE ref SET ids = ids || 1001 WHERE id = 3;
\echo :SQLSTATE
INSERT INTO ref (id, ids) SELECT 4, array_agg(g) FROM generate_series(1, 1000000) g;
\echo :SQLSTATE
-- Its key cannot go, and taken out of it a thousand elements are missing, no more.
DELETE FROM key WHERE id = 1000;
\echo :SQLSTATE
SELECT integrity.drop_reference('ref', 'taken');
SET client_min_messages = warning;  -- no GIN index, and none is wanted
SELECT integrity.add_reference('ref', 'ids', 'key', on_delete => 'remove element');
RESET client_min_messages;
DELETE FROM key WHERE id = 1000;
SELECT cardinality(ids), 1000 = ANY (ids) AS still_there FROM ref WHERE id = 3;

-- Six dimensions, PostgreSQL's most: a broken element inside is found; a deleted one becomes NULL
-- in its place, for an array of more than one dimension cannot lose an element.
INSERT INTO ref (id, ids) VALUES (6, '{{{{{{1,2},{3,4}}}}}}'), (7, '{{{{{{5,6},{7,8}}}}}}');
UPDATE ref SET ids = '{{{{{{1,2},{3,1234}}}}}}' WHERE id = 6;
\echo :SQLSTATE
DELETE FROM key WHERE id = 3;
SELECT id, array_ndims(ids), ids FROM ref WHERE id IN (6, 7) ORDER BY id;

SET client_min_messages = warning;
DROP SERVER integrity_dummy CASCADE;
DROP FOREIGN DATA WRAPPER integrity_dummy;
DROP TABLE temp_key, temp_ref;
DROP SCHEMA bad CASCADE;
DROP ROLE regress_bad_nobody;
RESET client_min_messages;
