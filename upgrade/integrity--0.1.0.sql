\echo Use "CREATE EXTENSION integrity" to load this file. \quit
/*
 * module.sql
 *	  The schema of the extension. Everything but integrity_report() lives in it.
 */
CREATE SCHEMA integrity;
COMMENT ON SCHEMA integrity IS 'references of every kind: declared, reported, repaired';
GRANT USAGE ON SCHEMA integrity TO PUBLIC;
/*
 * reference.sql
 *	  Declaring and enforcing references.
 */

/**
 * The condition that binds a rule's trigger to its two columns:
 * `WHEN (integrity.refers(NEW.children_ids, (NULL::student_profiles).id))`. True if the referencing value is not null.
 *
 * Parameters:
 *   1  the referencing column, as NEW.column
 *   2  the key, as (NULL::referenced_table).column
 */
CREATE FUNCTION integrity.refers("any", "any") RETURNS boolean
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_refers';

/**
 * The trigger function of a rule. A trigger AFTER INSERT OR UPDATE FOR EACH ROW that calls it, with integrity.refers()
 * as its condition, is the rule; integrity.add_reference() makes such a trigger. Its parameters are the arguments of the
 * trigger, strings, in any order.
 *
 * Parameters:
 *   - `'on_delete=...'`: no action (default), restrict, remove element, null element, delete row, set null
 *   - `'on_update=...'`: no action (default), restrict, cascade
 *   - `'on_empty=...'`: keep (default), set null, delete row
 *   - `'null_elements=...'`: allow (default), reject
 *   - `'duplicate_elements=...'`: allow (default), reject
 *   - `'not valid'`: existing rows were not checked
 *
 * Locks: FOR KEY SHARE on each key that it finds, ROW SHARE on the referenced table, both to the end of the transaction.
 *
 * Errors: 23503 a key is missing; 23502 a null element where these are rejected; 23505 a duplicate element where these
 * are rejected; 42501 the owner of the referencing table lacks REFERENCES; 42P17 the trigger is not of the right form.
 *
 * Example:
 *   CREATE TRIGGER parent_profiles_children_ids_fkey
 *     AFTER INSERT OR UPDATE ON parent_profiles FOR EACH ROW
 *     WHEN (integrity.refers(NEW.children_ids, (NULL::student_profiles).id))
 *     EXECUTE FUNCTION integrity.check_reference('on_delete=remove element', 'on_empty=set null');
 */
CREATE FUNCTION integrity.check_reference() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_check_reference';

/**
 * The guard of a referenced table for DELETE: carries out on_delete of every rule that references the table.
 *
 * Locks: ROW EXCLUSIVE on the referencing tables whose rows it changes, ROW SHARE on the others.
 *
 * Errors: 23503 (23001 for restrict from PostgreSQL 18 on) a deleted key is still referenced.
 */
CREATE FUNCTION integrity.guard_delete() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_guard_delete';

/**
 * The guard of a referenced table for UPDATE of its key: carries out on_update of every rule that references it.
 *
 * Locks: ROW EXCLUSIVE on the referencing tables whose rows it changes, ROW SHARE on the others.
 *
 * Errors: 23503 (23001 for restrict from PostgreSQL 18 on) a changed key is still referenced.
 */
CREATE FUNCTION integrity.guard_update() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_guard_update';

/**
 * The guard of a referenced table for deferrable rules with no action: a constraint trigger with the name of the rule,
 * so that SET CONSTRAINTS reaches both sides of it. (Where a table references itself, its name is `<rule>_guard`.)
 *
 * Locks: ROW SHARE on the referencing table.
 *
 * Errors: 23503 a key that is gone is still referenced.
 */
CREATE FUNCTION integrity.guard_deferred() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_guard_deferred';

/**
 * The guard of a referenced table for TRUNCATE.
 *
 * Locks: ROW SHARE on the referencing tables.
 *
 * Errors: 0A000 references remain, and the referencing table is not truncated in the same statement.
 */
CREATE FUNCTION integrity.guard_truncate() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_guard_truncate';

/**
 * The guard of a partitioned referenced table for rules with on_update cascade. PostgreSQL moves a row to another partition
 * by DELETE and INSERT; this BEFORE UPDATE trigger notes which key becomes which, so that the references can follow.
 *
 * Locks: none.
 */
CREATE FUNCTION integrity.guard_move() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_guard_move';

/**
 * The condition of the UPDATE guard: do the two values differ, byte by byte?
 *
 * Parameters:
 *   1  OLD.key
 *   2  NEW.key
 */
CREATE FUNCTION integrity.key_changes("any", "any") RETURNS boolean
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_key_changes';

/* Lets the planner use a GIN index for contains_any(). */
CREATE FUNCTION integrity.contains_any_support(internal) RETURNS internal
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'integrity_contains_any_support';
REVOKE EXECUTE ON FUNCTION integrity.contains_any_support(internal) FROM PUBLIC;

/**
 * Is one of the keys an element of the array? Null elements and null keys match nothing. A GIN index on the array is used
 * as for the && operator, if both arrays have the same type; but unlike that operator it does not slow down with many keys.
 *
 * Parameters:
 *   1  an array of any dimensions
 *   2  an array of keys, of any type that the elements can be compared with
 *
 * Errors: 42804 the two types cannot be compared.
 *
 * Example:
 *   SELECT integrity.contains_any(ARRAY[1,2,3], ARRAY[3,9]::bigint[]);  -- true
 */
CREATE FUNCTION integrity.contains_any(anyarray, anycompatiblearray) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 SUPPORT integrity.contains_any_support
	AS 'MODULE_PATHNAME', 'integrity_contains_any';

/**
 * The array without the elements that are among the keys; the others keep their order. In an array of more dimensions
 * than one they become NULL in their place.
 *
 * Parameters:
 *   1  an array
 *   2  an array of keys, of any type that the elements can be compared with
 *   3  whether an array that loses its last element becomes NULL (default: it becomes {})
 *
 * Errors: 42804 the two types cannot be compared.
 *
 * Example:
 *   SELECT integrity.remove_elements(ARRAY[3,1,2,1], ARRAY[1]);  -- {3,2}
 */
CREATE FUNCTION integrity.remove_elements(anyarray, anycompatiblearray, boolean DEFAULT false) RETURNS anyarray
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_remove_elements';

/**
 * The array with NULL in place of the elements that are among the keys.
 *
 * Parameters:
 *   1  an array
 *   2  an array of keys, of any type that the elements can be compared with
 *
 * Errors: 42804 the two types cannot be compared.
 *
 * Example:
 *   SELECT integrity.null_elements(ARRAY[3,1,2], ARRAY[1]);  -- {3,NULL,2}
 */
CREATE FUNCTION integrity.null_elements(anyarray, anycompatiblearray) RETURNS anyarray
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_null_elements';

/**
 * The array with another element in place of those that are among the keys.
 *
 * Parameters:
 *   1  an array
 *   2  an array of keys, of any type that the elements can be compared with
 *   3  the new element, which may be null
 *
 * Errors: 42804 the two types cannot be compared.
 *
 * Example:
 *   SELECT integrity.replace_elements(ARRAY[3,1,2], ARRAY[1], 7);  -- {3,7,2}
 */
CREATE FUNCTION integrity.replace_elements(anyarray, anycompatiblearray, anyelement) RETURNS anyarray
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_replace_elements';

/**
 * Declares a reference: every element of an array column, or the value of a plain column, names a row of the referenced
 * table. From then on it is enforced as a foreign key is. A plain column gets a native FOREIGN KEY; an array column gets
 * a trigger, which is the rule, and the referenced table gets guard triggers if it has none yet.
 *
 * Parameters:
 *   referencing_table   the table that holds the ids; it must be yours
 *   referencing_column  its column: an array of ids, or one id
 *   referenced_table    the table that holds the rows they name; you need REFERENCES on the key
 *   referenced_column   the key; it needs a unique constraint or index of its own. Default: the primary key
 *   on_delete           what happens when a key is deleted. 'no action' (default) and 'restrict' refuse; 'remove element'
 *                       takes it out of the array; 'null element' puts NULL in its place; 'delete row' deletes the
 *                       referencing row; 'set null' nulls the whole column
 *   on_update           what happens when a key is changed: 'no action' (default), 'restrict', 'cascade'
 *   on_empty            for 'remove element', what becomes of an array that lost its last element: 'keep' (default) {},
 *                       'set null', 'delete row'
 *   null_elements       'allow' (default) or 'reject' NULL elements
 *   duplicate_elements  'allow' (default) or 'reject' an element that is there twice
 *   not_valid           true: existing rows are not checked; integrity.validate_reference() does that later
 *   enforced            false: declared and reported, but not enforced, and existing rows are not checked
 *   deferrable          true: SET CONSTRAINTS may put the check off to the end of the transaction
 *   initially_deferred  true: it is put off unless SET CONSTRAINTS says otherwise
 *   rule_name           default: `<table>_<column>_fkey`
 *
 * Returns: the name of the rule.
 *
 * Locks: SHARE ROW EXCLUSIVE on both tables, as ALTER TABLE ADD FOREIGN KEY.
 *
 * Errors: 23503 an existing row has a broken reference; 42501 not the owner, or no REFERENCES; 42703 no such column;
 * 42704 no primary key; 42710 the name is taken; 42804 the types cannot be compared; 42830 the key has no fitting unique
 * index; 55000 its unique constraint is deferrable; 42809 not a table; 42P16 temporary and permanent tables mixed;
 * 42P21 collations that do not agree; 22023 an unknown word; 22004 an argument is null.
 *
 * Example:
 *   SELECT integrity.add_reference('parent_profiles', 'children_ids', 'student_profiles',
 *                                  on_delete => 'remove element', on_empty => 'set null');
 */
CREATE FUNCTION integrity.add_reference(
	referencing_table regclass,
	referencing_column name,
	referenced_table regclass,
	referenced_column name DEFAULT NULL,
	on_delete text DEFAULT 'no action',
	on_update text DEFAULT 'no action',
	on_empty text DEFAULT 'keep',
	null_elements text DEFAULT 'allow',
	duplicate_elements text DEFAULT 'allow',
	not_valid boolean DEFAULT false,
	enforced boolean DEFAULT true,
	"deferrable" boolean DEFAULT false,
	initially_deferred boolean DEFAULT false,
	rule_name name DEFAULT NULL) RETURNS name
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_add_reference';

/**
 * Checks the existing rows of a rule that was declared not valid, and marks it valid. Writers can go on meanwhile: what
 * they write is checked by the rule itself. For a native foreign key this is ALTER TABLE VALIDATE CONSTRAINT.
 *
 * Parameters:
 *   referencing_table  the table that the rule was declared on
 *   rule_name          the rule
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the referencing table, ROW SHARE on the referenced one.
 *
 * Errors: 23503 a row has a broken reference; 42501 not the owner; 42704 no such rule; 55000 the rule is not enforced.
 *
 * Example:
 *   SELECT integrity.validate_reference('parent_profiles', 'parent_profiles_children_ids_fkey');
 */
CREATE FUNCTION integrity.validate_reference(referencing_table regclass, rule_name name) RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_validate_reference';

/**
 * Drops a rule, and the guards of the referenced table if no other rule needs them. For a native foreign key this is
 * ALTER TABLE DROP CONSTRAINT.
 *
 * Parameters:
 *   referencing_table  the table that the rule was declared on
 *   rule_name          the rule
 *
 * Locks: ACCESS EXCLUSIVE on the referencing table, and on the referenced one if its guards go.
 *
 * Errors: 42501 not the owner; 42704 no such rule.
 *
 * Example:
 *   SELECT integrity.drop_reference('parent_profiles', 'parent_profiles_children_ids_fkey');
 */
CREATE FUNCTION integrity.drop_reference(referencing_table regclass, rule_name name) RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_drop_reference';

/**
 * Makes the guard triggers that are missing on a referenced table, enables those that are disabled, and removes those that
 * no rule needs any more. Only needed where somebody dropped or disabled them, renamed a deferrable rule, or dropped a
 * referencing table: declaring a rule makes its guards, and integrity.drop_reference() removes them.
 *
 * Parameters:
 *   referenced_table  the table; it must be yours
 *
 * Locks: SHARE ROW EXCLUSIVE on the table; ACCESS EXCLUSIVE if it removes a guard.
 *
 * Errors: 42501 not the owner; 42809 not a table; 42P01 no such table.
 *
 * Example:
 *   SELECT integrity.add_guards('student_profiles');
 */
CREATE FUNCTION integrity.add_guards(referenced_table regclass) RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_add_guards';

/**
 * The event trigger function that makes a CREATE TRIGGER written by hand the same as integrity.add_reference(): it checks
 * the form, the privileges and the existing rows (unless 'not valid'), and makes the missing guards. It also gives new
 * partitions of a referenced table their TRUNCATE guard, checks the rows of a partition that is attached to a referencing
 * table, lets a rule that is enabled wait for those who are just deleting keys without knowing it, and removes the guards
 * that a detached partition no longer needs.
 *
 * While check_function_bodies is off, as pg_dump sets it for a restore, it only checks form and privileges: a dump holds
 * the guards itself, and its rows were checked when they were written.
 *
 * Locks: SHARE ROW EXCLUSIVE on the referenced table, for CREATE TRIGGER, ENABLE TRIGGER and ATTACH PARTITION.
 *
 * Errors: those of integrity.add_reference(); 42P17 the trigger is not of the right form.
 */
CREATE FUNCTION integrity.complete_rule() RETURNS event_trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_complete_rule';

REVOKE EXECUTE ON FUNCTION integrity.complete_rule() FROM PUBLIC;

CREATE EVENT TRIGGER integrity_complete_rule ON ddl_command_end
	WHEN TAG IN ('CREATE TRIGGER', 'CREATE TABLE', 'ALTER TABLE', 'CREATE SCHEMA')
	EXECUTE FUNCTION integrity.complete_rule();

/**
 * The event trigger function that keeps a partition of a referenced table from being detached or dropped, by itself, with
 * its schema or with its owner, while its keys are referenced. Before a referenced table is attached as a partition or
 * becomes an inheritance child, it makes the table's guards fit for that.
 *
 * Locks: ACCESS EXCLUSIVE on the partition and the table it is a partition of, as the commands themselves; ROW SHARE on
 * the referencing tables.
 *
 * Errors: 23503 a key of the partition is still referenced; 0A000 DETACH CONCURRENTLY; 55006 a check of the partition was
 * put off and has not been made yet.
 */
CREATE FUNCTION integrity.keep_keys() RETURNS event_trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_keep_keys';

REVOKE EXECUTE ON FUNCTION integrity.keep_keys() FROM PUBLIC;

CREATE EVENT TRIGGER integrity_keep_keys ON ddl_command_start
	WHEN TAG IN ('ALTER TABLE', 'DROP TABLE', 'DROP SCHEMA', 'DROP OWNED')
	EXECUTE FUNCTION integrity.keep_keys();

/**
 * What the trigger of a rule declares; the view integrity.reference is made of it.
 *
 * Parameters:
 *   1  the OID of a trigger that calls integrity.check_reference()
 */
CREATE FUNCTION integrity.describe_rule(trigger_oid oid,
	OUT kind text, OUT referencing_column text, OUT referenced_table regclass, OUT referenced_column text,
	OUT on_delete text, OUT on_update text, OUT on_empty text, OUT null_elements text, OUT duplicate_elements text,
	OUT enforced boolean, OUT validated boolean, OUT guarded boolean, OUT problem text)
	LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'integrity_describe_rule';

/**
 * Every declared reference of the database: array references, rules that are not enforced, and native foreign keys. The
 * copies that partitions have of a rule are left out, and so are the foreign keys of the extension's own tables.
 *
 * Columns:
 *   referencing_table, rule_name      the identity of a rule
 *   kind                              'array reference', 'reference' (one id, by trigger) or 'foreign key' (native)
 *   referencing_column                of more columns, 'a, b'
 *   referenced_table, referenced_column   where the keys are
 *   on_delete, on_update              a native CASCADE shows as 'delete row' and 'cascade'
 *   on_empty, null_elements, duplicate_elements   NULL for native foreign keys
 *   enforced                          its triggers fire, in an ordinary session and on every partition
 *   validated                         existing rows were checked
 *   deferrable, initially_deferred    as SET CONSTRAINTS understands them
 *   guarded                           the referenced table has all its guards, and they are enabled
 *   problem                           why the rule cannot work, or NULL
 */
CREATE VIEW integrity.reference AS
SELECT t.tgrelid::pg_catalog.regclass AS referencing_table,
       t.tgname AS rule_name,
       d.kind,
       d.referencing_column,
       d.referenced_table,
       d.referenced_column,
       d.on_delete,
       d.on_update,
       d.on_empty,
       d.null_elements,
       d.duplicate_elements,
       d.enforced,
       d.validated,
       t.tgdeferrable AS "deferrable",
       t.tginitdeferred AS initially_deferred,
       d.guarded,
       d.problem
  FROM pg_catalog.pg_trigger t
       CROSS JOIN LATERAL integrity.describe_rule(t.oid) d
 WHERE t.tgfoid OPERATOR(pg_catalog.=) 'integrity.check_reference()'::pg_catalog.regprocedure
   AND t.tgparentid OPERATOR(pg_catalog.=) 0
UNION ALL
SELECT c.conrelid::pg_catalog.regclass,
       c.conname,
       'foreign key',
       k.referencing_column,
       c.confrelid::pg_catalog.regclass,
       k.referenced_column,
       CASE c.confdeltype WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'delete row'
                          WHEN 'n' THEN 'set null' WHEN 'd' THEN 'set default' END,
       CASE c.confupdtype WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade'
                          WHEN 'n' THEN 'set null' WHEN 'd' THEN 'set default' END,
       NULL, NULL, NULL,
       -- PostgreSQL 18 has pg_constraint.conenforced; its triggers can be disabled everywhere.
       COALESCE((pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'conenforced')::pg_catalog.bool, true)
         AND NOT f.referencing_disabled,
       c.convalidated,
       c.condeferrable,
       c.condeferred,
       NOT f.referenced_disabled,
       NULL
  FROM pg_catalog.pg_constraint c
       CROSS JOIN LATERAL (
         SELECT pg_catalog.string_agg(f.attname::pg_catalog.text, ', ' ORDER BY n.ordinality) AS referencing_column,
                pg_catalog.string_agg(p.attname::pg_catalog.text, ', ' ORDER BY n.ordinality) AS referenced_column
           FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey)) WITH ORDINALITY n(conkey, confkey, ordinality)
                JOIN pg_catalog.pg_attribute f ON f.attrelid OPERATOR(pg_catalog.=) c.conrelid
                                              AND f.attnum OPERATOR(pg_catalog.=) n.conkey
                JOIN pg_catalog.pg_attribute p ON p.attrelid OPERATOR(pg_catalog.=) c.confrelid
                                              AND p.attnum OPERATOR(pg_catalog.=) n.confkey) k
       -- On partitions of either table its triggers belong to constraints that descend from it.
       CROSS JOIN LATERAL (
         WITH RECURSIVE family (oid, conrelid, confrelid) AS (
           SELECT c.oid, c.conrelid, c.confrelid
            UNION ALL
           SELECT d.oid, d.conrelid, d.confrelid
             FROM family JOIN pg_catalog.pg_constraint d ON d.conparentid OPERATOR(pg_catalog.=) family.oid
         )
         SELECT COALESCE(pg_catalog.bool_or(t.tgrelid OPERATOR(pg_catalog.=) family.conrelid), false) AS referencing_disabled,
                COALESCE(pg_catalog.bool_or(t.tgrelid OPERATOR(pg_catalog.=) family.confrelid), false) AS referenced_disabled
           FROM family JOIN pg_catalog.pg_trigger t ON t.tgconstraint OPERATOR(pg_catalog.=) family.oid
          WHERE t.tgenabled OPERATOR(pg_catalog.=) ANY ('{D,R}'::pg_catalog."char"[])) f
 WHERE c.contype OPERATOR(pg_catalog.=) 'f'
   AND c.conparentid OPERATOR(pg_catalog.=) 0
   AND c.connamespace OPERATOR(pg_catalog.<>) 'integrity'::pg_catalog.regnamespace;

GRANT SELECT ON integrity.reference TO PUBLIC;
/*
 * alter_table.sql
 *	  What ALTER TABLE refuses to do to a table with rules.
 *
 * PostgreSQL makes a foreign key anew when the type of one of its columns
 * changes. A trigger is in the way instead: of the type of a column that it
 * names, and, since some minor version, of every rewrite of a table whose row
 * type it names, as a rule does on the referenced side. So the rules are dropped, and made again from
 * their definitions.
 */

-- integrity.alter_table() with the search_path that the action is to find.
CREATE FUNCTION integrity.alter_table_around_rules(table_name regclass, action text, path text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  each record;
  statement text;
  definitions text[] := '{}';
  states text[] := '{}';   -- what a new trigger does not have: state and comment
  guarded_tables oid[] := '{}';
BEGIN
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', table_name);

  FOR each IN
    SELECT t.oid, t.tgrelid::regclass AS relid, t.tgname, t.tgenabled, t.is_rule, obj_description(t.oid, 'pg_trigger') AS comment,
           COALESCE((SELECT r.enforced FROM integrity.reference AS r
                      WHERE t.is_rule AND r.referencing_table = t.tgrelid AND r.rule_name = t.tgname
                        AND r.kind <> 'foreign key'), true) AS is_enforced,
           -- each argument ends in a zero byte
           encode('\x00'::bytea || t.tgargs, 'escape') LIKE '%\\000not valid\\000%' AS is_not_valid
      FROM (SELECT g.*, g.tgfoid = 'integrity.check_reference()'::regprocedure AS is_rule
              FROM pg_trigger AS g
              JOIN pg_proc AS p ON p.oid = g.tgfoid
             WHERE g.tgparentid = 0 AND p.pronamespace = 'integrity'::regnamespace
               AND (p.proname = 'check_reference' OR p.proname LIKE 'guard\_%')) AS t
     WHERE t.tgrelid = table_name
        OR (t.is_rule AND EXISTS (SELECT FROM pg_depend AS d
                                   WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
                                     AND d.refclassid = 'pg_class'::regclass AND d.refobjid = table_name))
     ORDER BY t.oid
  LOOP
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', each.relid);
    -- The copies on partitions have the same name, and each its own state.
    states := states || ARRAY(
      SELECT format('ALTER TABLE %s %s TRIGGER %I', m.relid,
                    CASE c.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS'
                                     ELSE 'ENABLE' END, c.tgname)
        FROM (SELECT each.relid, 0 AS level
              UNION ALL SELECT p.relid, p.level FROM pg_partition_tree(each.relid) AS p WHERE p.level > 0) AS m
        JOIN pg_trigger AS c ON c.tgrelid = m.relid AND c.tgname = each.tgname
       WHERE each.tgenabled <> 'O' OR c.tgenabled <> 'O'
       ORDER BY m.level, m.relid);
    IF each.comment IS NOT NULL THEN
      states := states || format('COMMENT ON TRIGGER %I ON %s IS %L', each.tgname, each.relid, each.comment);
    END IF;
    IF each.is_rule THEN
      statement := pg_get_triggerdef(each.oid);
      -- What is not enforced everywhere was not checked everywhere, and may be broken.
      IF NOT each.is_enforced AND NOT each.is_not_valid THEN
        statement := regexp_replace(statement, '\)$', CASE WHEN statement ~ '\(\)$' THEN '''not valid'')' ELSE ', ''not valid'')' END);
      END IF;
      definitions := definitions || statement;
    ELSE
      guarded_tables := guarded_tables || each.relid::oid;
    END IF;
    EXECUTE format('DROP TRIGGER %I ON %s', each.tgname, each.relid);
  END LOOP;

  PERFORM set_config('search_path', path, true);
  EXECUTE format('ALTER TABLE %s %s', table_name, action);
  PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);

  FOREACH statement IN ARRAY definitions LOOP
    EXECUTE statement;
  END LOOP;
  PERFORM integrity.add_guards(g.relid) FROM (SELECT DISTINCT u.relid FROM unnest(guarded_tables) AS u (relid)) AS g;
  FOREACH statement IN ARRAY states LOOP
    EXECUTE statement;
  END LOOP;
END
$$;

/**
 * Runs one ALTER TABLE that PostgreSQL refuses for a table with rules, and keeps the rules: "cannot alter type of a column
 * used in a trigger definition", for a column that a rule names, and "cannot alter table because trigger uses its row
 * type", for whatever rewrites a referenced table.
 *
 * Every rule of the table, on either side, is put aside and made again in the same transaction: name, actions, comment,
 * enforced or not on each partition, all as before. One that is enforced and valid is checked again, with the report's scan;
 * one that is not enforced is not valid afterwards. What the action itself drops or renames, a rule cannot follow: use a plain
 * ALTER TABLE for that. The two columns of a rule need not change together; an int[] may refer to a bigint.
 *
 * Parameters:
 *   table_name   the table; of a partitioned table its partitions are altered, too
 *   action       what stands after ALTER TABLE and its name
 *
 * Locks: ACCESS EXCLUSIVE on the table, and on the referencing tables of the rules that refer to it.
 *
 * Errors: those of ALTER TABLE; 42804 the two columns of a rule could not be compared any more; 23503 a reference is broken
 * afterwards; 42501 not the owner of one of the tables.
 *
 * Example:
 *   SELECT integrity.alter_table('student_profiles', 'ALTER COLUMN id TYPE bigint');
 *   SELECT integrity.alter_table('parent_profiles', 'ALTER COLUMN children_ids TYPE bigint[]');
 */
CREATE FUNCTION integrity.alter_table(table_name regclass, action text) RETURNS void
LANGUAGE sql VOLATILE
AS $$ SELECT integrity.alter_table_around_rules($1, $2, pg_catalog.current_setting('search_path')) $$;
/*
 * query.sql
 *	  Looking at one rule with a query: what the scan in C++ cannot read.
 *
 * That is: keys of several columns, foreign tables, other table access
 * methods, types that cannot be hashed, and more keys than maintenance_work_mem
 * has room for even in parts. A hash join spills to disk what does not fit.
 *
 * Nothing is taken from the caller's search_path. It is pinned on every
 * function, so an unqualified operator here is one of pg_catalog; the queries
 * that are put together at run time qualify theirs, for they compare values of
 * any type. row_security is off, which makes a policy that would hide rows an
 * error: a reference to a hidden key would look broken, a hidden orphan not.
 */

-- What a domain is made of, all the way down. Any other type is itself.
CREATE FUNCTION integrity.base_type(type oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE made_of (oid, typtype, typbasetype) AS (
    SELECT t.oid, t.typtype, t.typbasetype FROM pg_catalog.pg_type AS t WHERE t.oid = $1
    UNION ALL
    SELECT t.oid, t.typtype, t.typbasetype
      FROM made_of JOIN pg_catalog.pg_type AS t ON t.oid = made_of.typbasetype
     WHERE made_of.typtype = 'd'
  )
  SELECT made_of.oid FROM made_of WHERE made_of.typtype <> 'd'
$$;

-- Does jsonb show a value of this type so that values that differ are different
-- there? Else its text does: an array loses its lower bounds. And a type that is
-- not PostgreSQL's own may have a cast to json, whose code is not to be called.
CREATE FUNCTION integrity.is_json_alike(type oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT t.oid < 16384 AND t.typcategory <> 'A' FROM pg_catalog.pg_type AS t WHERE t.oid = integrity.base_type($1)
$$;

-- The operator "key = value" that a foreign key would use: that of the unique
-- index's operator family for the two types, else the family's own for the
-- key, which the value is then cast to. NULL if there is no unique index.
CREATE FUNCTION integrity.key_operator(referenced_table regclass, key_column smallint, value_type oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT o.amopopr
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_opclass AS c ON c.oid = i.indclass[0]
    JOIN pg_catalog.pg_am AS m ON m.oid = c.opcmethod AND m.amname = 'btree'
    JOIN pg_catalog.pg_amop AS o ON o.amopfamily = c.opcfamily AND o.amopstrategy = 3
         AND o.amoplefttype = c.opcintype AND o.amoprighttype IN (c.opcintype, $3)
   WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate
     AND i.indnkeyatts = 1 AND i.indkey[0] = $2 AND i.indpred IS NULL
   ORDER BY i.indisprimary DESC, i.indexrelid, o.amoprighttype = $3 DESC
   LIMIT 1
$$;

-- Raises if a cast between two types is done by a function that is neither the
-- caller's own nor a superuser's. Anyone may make such a cast to a type of
-- theirs, and looking at a table must not run their code with our rights.
CREATE FUNCTION integrity.check_cast(source oid, target oid) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  cast_function regprocedure;
BEGIN
  SELECT p.oid INTO cast_function
    FROM pg_catalog.pg_cast AS c
    JOIN pg_catalog.pg_proc AS p ON p.oid = c.castfunc
    JOIN pg_catalog.pg_roles AS o ON o.oid = p.proowner
   WHERE c.castsource = integrity.base_type(source) AND c.casttarget = integrity.base_type(target)
     AND NOT o.rolsuper AND o.rolname <> current_user;
  IF FOUND THEN
    RAISE insufficient_privilege USING
      MESSAGE = pg_catalog.format('comparing the values would call the function %s of another user', cast_function),
      HINT = 'Look as the owner of that function.';
  END IF;
END
$$;

-- How to look at one rule, as pieces of a query:
--
--	  SELECT <vals> FROM (SELECT <items> FROM <source>) AS i WHERE <broken>
--
-- gives every broken reference of the rule, one row each, as columns v1, v2, ...
-- (<v_list>); <label> makes one text of them. <present> instead of <broken>
-- gives every reference that is there at all. In <source> the referencing
-- table is called r. <matches> says that the key in a row k of the referenced
-- table, <key_source>, is the one that i refers to.
--
-- Every name is qualified, so the pieces mean the same under any search_path.
CREATE FUNCTION integrity.reference_query(
  rule integrity.reference,
  OUT is_array boolean, OUT source text, OUT items text, OUT present text,
  OUT broken text, OUT vals text, OUT v_list text, OUT label text, OUT key_source text, OUT matches text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  columns smallint[];
  keys smallint[];
  operators oid[];
  match_full boolean := false;
  temporal boolean := false;
  value_type oid;
BEGIN
  is_array := rule.kind = 'array reference';

  -- The tables. A foreign key does not cover what inherits from either of
  -- them, but does cover partitions.
  SELECT pg_catalog.max(s.name) FILTER (WHERE s.relid = rule.referencing_table) || ' AS r',
         pg_catalog.max(s.name) FILTER (WHERE s.relid = rule.referenced_table) || ' AS k'
    INTO source, key_source
    FROM (SELECT c.oid::regclass AS relid,
                 pg_catalog.format(CASE WHEN c.relkind = 'p' THEN '%I.%I' ELSE 'ONLY %I.%I' END,
                                   n.nspname, c.relname) AS name
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
           WHERE c.oid IN (rule.referencing_table, rule.referenced_table)
             -- NULL for a table that the snapshot still sees and that was dropped since
             AND pg_catalog.has_table_privilege(c.oid, 'SELECT') IS NOT NULL) AS s;
  IF source IS NULL OR key_source IS NULL THEN
    RAISE undefined_table USING MESSAGE = 'one of its tables was dropped meanwhile';
  END IF;

  -- The columns, and the operator of each pair.
  IF rule.kind = 'foreign key' THEN
    SELECT c.conkey, c.confkey, c.conpfeqop, c.confmatchtype = 'f',
           -- only known to PostgreSQL 18 and later
           COALESCE((pg_catalog.to_jsonb(c) ->> 'conperiod')::boolean, false)
      INTO columns, keys, operators, match_full, temporal
      FROM pg_catalog.pg_constraint AS c
     WHERE c.conrelid = rule.referencing_table AND c.conname = rule.rule_name AND c.contype = 'f';
    IF temporal THEN
      RAISE feature_not_supported USING MESSAGE = 'foreign keys with PERIOD are not looked at yet';
    END IF;
  ELSE
    SELECT ARRAY[f.attnum], ARRAY[p.attnum],
           CASE WHEN is_array THEN t.typelem ELSE f.atttypid END
      INTO columns, keys, value_type
      FROM pg_catalog.pg_attribute AS f
      JOIN pg_catalog.pg_type AS t ON t.oid = integrity.base_type(f.atttypid)
      JOIN pg_catalog.pg_attribute AS p ON p.attrelid = rule.referenced_table
           AND p.attname = rule.referenced_column AND NOT p.attisdropped
     WHERE f.attrelid = rule.referencing_table AND f.attname = rule.referencing_column AND NOT f.attisdropped;
    IF NOT FOUND THEN
      RAISE undefined_column USING MESSAGE = 'one of its columns was renamed or dropped meanwhile';
    END IF;
    operators := ARRAY[integrity.key_operator(rule.referenced_table, keys[1], integrity.base_type(value_type))];
    IF operators[1] IS NULL THEN
      RAISE undefined_object USING MESSAGE = pg_catalog.format(
        'there is no unique index on column "%s" of table %s, which a reference needs',
        rule.referenced_column, rule.referenced_table);
    END IF;
  END IF;

  PERFORM integrity.check_cast(p.atttypid, o.oprleft), integrity.check_cast(COALESCE(value_type, f.atttypid), o.oprright)
    FROM pg_catalog.generate_subscripts(columns, 1) AS n
    JOIN pg_catalog.pg_attribute AS f ON f.attrelid = rule.referencing_table AND f.attnum = columns[n]
    JOIN pg_catalog.pg_attribute AS p ON p.attrelid = rule.referenced_table AND p.attnum = keys[n]
    JOIN pg_catalog.pg_operator AS o ON o.oid = operators[n];

  -- Both sides are cast to what the operator takes. Types are spelled out, for
  -- "::character" would mean one character; where the operator is polymorphic
  -- (anyenum) a domain becomes what it is made of. The key's collation decides,
  -- as for a foreign key.
  WITH pair AS (
    SELECT n, f.attname AS column_name, p.attname AS key_name,
           pg_catalog.format('OPERATOR(%I.%s)', os.nspname, o.oprname) AS operator,
           CASE WHEN kt.oid <> p.atttypid
                THEN pg_catalog.format('::%I.%I', ks.nspname, kt.typname) ELSE '' END AS key_cast,
           CASE WHEN vt.oid <> COALESCE(value_type, f.atttypid)
                THEN pg_catalog.format('::%I.%I', vs.nspname, vt.typname) ELSE '' END
             || CASE WHEN c.oid IS NOT NULL AND vt.typcollation <> 0
                     THEN pg_catalog.format(' COLLATE %I.%I', cs.nspname, c.collname) ELSE '' END AS value_cast
      FROM pg_catalog.generate_subscripts(columns, 1) AS n
      JOIN pg_catalog.pg_attribute AS f ON f.attrelid = rule.referencing_table AND f.attnum = columns[n]
      JOIN pg_catalog.pg_attribute AS p ON p.attrelid = rule.referenced_table AND p.attnum = keys[n]
      JOIN pg_catalog.pg_operator AS o ON o.oid = operators[n]
      JOIN pg_catalog.pg_namespace AS os ON os.oid = o.oprnamespace
      JOIN pg_catalog.pg_type AS lt ON lt.oid = o.oprleft
      JOIN pg_catalog.pg_type AS rt ON rt.oid = o.oprright
      JOIN pg_catalog.pg_type AS kt ON kt.oid = CASE WHEN lt.typtype <> 'p' THEN lt.oid
           ELSE integrity.base_type(p.atttypid) END
      JOIN pg_catalog.pg_type AS vt ON vt.oid = CASE WHEN rt.typtype <> 'p' THEN rt.oid
           ELSE integrity.base_type(COALESCE(value_type, f.atttypid)) END
      JOIN pg_catalog.pg_namespace AS ks ON ks.oid = kt.typnamespace
      JOIN pg_catalog.pg_namespace AS vs ON vs.oid = vt.typnamespace
      LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = p.attcollation
      LEFT JOIN pg_catalog.pg_namespace AS cs ON cs.oid = c.collnamespace
  ), piece AS (
    SELECT n,
           pg_catalog.format(CASE WHEN is_array THEN 'pg_catalog.unnest(r.%I) AS e%s' ELSE 'r.%I AS e%s' END,
                             column_name, n) AS item,
           -- IS NOT NULL would ask a composite value about its fields
           pg_catalog.format('i.e%s IS DISTINCT FROM NULL', n) AS present,
           pg_catalog.format('k.%I%s %s i.e%s%s', key_name, key_cast, operator, n, value_cast) AS match,
           pg_catalog.format('i.e%s%s AS v%s', n, value_cast, n) AS val,
           pg_catalog.format('v%s', n) AS v,
           -- format() calls the type's own output function; a cast to text may be anybody's
           pg_catalog.format('CASE WHEN v%1$s IS DISTINCT FROM NULL THEN pg_catalog.format(''%%s'', v%1$s)'
                             ' ELSE ''null'' END', n) AS label
      FROM pair
  )
  SELECT pg_catalog.string_agg(p.item, ', ' ORDER BY p.n),
         pg_catalog.string_agg(p.present, CASE WHEN match_full THEN ' OR ' ELSE ' AND ' END ORDER BY p.n),
         pg_catalog.string_agg(p.match, ' AND ' ORDER BY p.n),
         pg_catalog.string_agg(p.val, ', ' ORDER BY p.n),
         pg_catalog.string_agg(p.v, ', ' ORDER BY p.n),
         CASE WHEN pg_catalog.count(*) = 1 THEN pg_catalog.max(p.label)
              ELSE pg_catalog.format('pg_catalog.format(%L, %s)',
                                     '(' || pg_catalog.string_agg('%s', ', ') || ')',
                                     pg_catalog.string_agg(p.label, ', ' ORDER BY p.n)) END
    INTO items, present, matches, vals, v_list, label
    FROM piece AS p;

  -- With MATCH FULL a key that is partly null matches nothing, so it is broken.
  broken := pg_catalog.format('(%s) AND NOT EXISTS (SELECT FROM %s WHERE %s)', present, key_source, matches);
END
$$;

-- TRUNCATE and a rewriting ALTER TABLE are not for snapshots: whoever looks with
-- an older one finds the table empty. So after looking, and holding the locks
-- that looking took: is each table stored where the snapshot says it is?
CREATE FUNCTION integrity.check_not_rewritten(rule integrity.reference) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  rewritten regclass;
BEGIN
  SELECT c.oid INTO rewritten
    FROM (SELECT rule.referencing_table UNION SELECT rule.referenced_table
          UNION SELECT relid FROM pg_catalog.pg_partition_tree(rule.referencing_table)
          UNION SELECT relid FROM pg_catalog.pg_partition_tree(rule.referenced_table)) AS looked_at (relid)
    JOIN pg_catalog.pg_class AS c ON c.oid = looked_at.relid
   WHERE c.relkind = 'r' AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid)
   LIMIT 1;
  IF FOUND THEN
    RAISE object_not_in_prerequisite_state USING
      MESSAGE = pg_catalog.format('table %s was truncated or rewritten after the snapshot was taken', rewritten),
      HINT = 'Ask again in a new transaction.';
  END IF;
END
$$;

-- Gives the queries of the calling function the memory that maintenance may
-- use, shared among a query's processes. The function must have a SET clause
-- for work_mem, so that it is as before afterwards. With less than 2 MB a hash
-- join takes more, not less: it keeps two buffers of 8 kB for each of its
-- batches, and a gigabyte of keys is a thousand batches of 1 MB.
CREATE FUNCTION integrity.use_maintenance_memory() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_catalog.set_config('work_mem', GREATEST(2048, m.setting::bigint / (1 + w.setting::bigint))::text, true)
    FROM pg_catalog.pg_settings AS m, pg_catalog.pg_settings AS w
   WHERE m.name = 'maintenance_work_mem' AND w.name = 'max_parallel_workers_per_gather'
$$;

-- Looks at one rule. Raises whatever hinders that.
CREATE FUNCTION integrity.look_at_reference(
  rule integrity.reference,
  OUT rows_checked bigint, OUT rows_broken bigint, OUT references_checked bigint,
  OUT references_broken bigint, OUT values_broken bigint, OUT sample text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
  SET work_mem FROM CURRENT SET hash_mem_multiplier = 1
AS $$
DECLARE
  q record;
  row_identity text;
BEGIN
  PERFORM integrity.use_maintenance_memory();
  q := integrity.reference_query(rule);

  -- What tells one array's row from another. A role with SELECT on some columns
  -- may not read ctid, and in a foreign partition it may not be unique.
  row_identity := CASE
    WHEN NOT q.is_array THEN '0 AS row_part, 0 AS row_number'
    WHEN pg_catalog.has_table_privilege(rule.referencing_table, 'SELECT')
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_tree(rule.referencing_table) AS p
                       JOIN pg_catalog.pg_class AS c ON c.oid = p.relid AND c.relkind = 'f')
    THEN 'r.tableoid AS row_part, r.ctid AS row_number'
    ELSE '0 AS row_part, pg_catalog.row_number() OVER () AS row_number' END;

  EXECUTE pg_catalog.format($query$
    WITH broken AS MATERIALIZED (
      SELECT i.row_part, i.row_number, %5$s FROM (SELECT %1$s, %2$s FROM %3$s) AS i WHERE %4$s
    ), broken_value AS (
      SELECT %6$s, pg_catalog.count(*) AS times, pg_catalog.min(%7$s COLLATE pg_catalog."C") AS label
        FROM broken GROUP BY %6$s
    )
    SELECT (SELECT pg_catalog.count(*) FROM (SELECT %2$s FROM %3$s) AS i WHERE %8$s),
           (SELECT pg_catalog.count(*) FROM broken),
           (SELECT pg_catalog.count(*) FROM (SELECT FROM broken GROUP BY row_part, row_number) AS b),
           (SELECT pg_catalog.count(*) FROM broken_value),
           (SELECT COALESCE(pg_catalog.array_agg(s.label), '{}')
              FROM (SELECT label FROM broken_value ORDER BY times DESC, %6$s, label LIMIT 5) AS s)
    $query$, row_identity, q.items, q.source, q.broken, q.vals, q.v_list, q.label, q.present)
    INTO references_checked, references_broken, rows_broken, values_broken, sample;

  IF q.is_array THEN
    EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM %s WHERE r.%I IS DISTINCT FROM NULL',
                              q.source, rule.referencing_column)
      INTO rows_checked;
  ELSE
    rows_checked := references_checked;
    rows_broken := references_broken;
  END IF;

  PERFORM integrity.check_not_rewritten(rule);
END
$$;

/*
 * advice.sql
 *	  The one statement to run next about a rule that was looked at.
 */

-- The index that deleting a key or changing it needs, where it is missing:
-- without it each such statement reads the whole referencing table.
CREATE FUNCTION integrity.index_advice(rule integrity.reference) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  columns smallint[];
  names text;
BEGIN
  columns := integrity.rule_columns(rule);
  SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY u.n) INTO names
    FROM pg_catalog.unnest(columns) WITH ORDINALITY AS u (attnum, n)
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = rule.referencing_table AND a.attnum = u.attnum;

  IF rule.kind = 'array reference' THEN
    -- A key is looked for as an element, which must be able to hold it.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS f, pg_catalog.pg_type AS t, pg_catalog.pg_attribute AS k
                    WHERE f.attrelid = rule.referencing_table AND f.attnum = columns[1]
                      AND t.oid = integrity.base_type(f.atttypid)
                      AND k.attrelid = rule.referenced_table AND k.attname = rule.referenced_column AND NOT k.attisdropped
                      AND (integrity.base_type(t.typelem) = integrity.base_type(k.atttypid)
                           OR ARRAY[integrity.base_type(t.typelem), integrity.base_type(k.atttypid)]
                              <@ '{int2,int4,int8}'::regtype[]::oid[]
                           OR ARRAY[integrity.base_type(t.typelem), integrity.base_type(k.atttypid)]
                              <@ '{text,varchar}'::regtype[]::oid[]))
       OR EXISTS (SELECT FROM pg_catalog.pg_index AS i
                    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
                    JOIN pg_catalog.pg_am AS m ON m.oid = c.relam AND m.amname = 'gin'
                   WHERE i.indrelid = rule.referencing_table AND i.indisvalid AND i.indpred IS NULL
                     AND EXISTS (SELECT FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) AS n
                                   JOIN pg_catalog.pg_opclass AS o ON o.oid = i.indclass[n]
                                  WHERE i.indkey[n] = columns[1] AND o.opcintype = 'anyarray'::regtype)) THEN
      RETURN NULL;
    END IF;
    RETURN pg_catalog.format('CREATE INDEX ON %s USING gin (%s);', rule.referencing_table, names);
  END IF;

  -- Its first columns must be those of the rule, in any order.
  IF EXISTS (SELECT FROM pg_catalog.pg_index AS i
               JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
               JOIN pg_catalog.pg_am AS m ON m.oid = c.relam AND m.amname IN ('btree', 'hash')
              WHERE i.indrelid = rule.referencing_table AND i.indisvalid AND i.indpred IS NULL
                AND i.indnkeyatts >= pg_catalog.cardinality(columns)
                AND ARRAY(SELECT i.indkey[n] FROM pg_catalog.generate_series(0, pg_catalog.cardinality(columns) - 1) AS n)
                    @> columns) THEN
    RETURN NULL;
  END IF;
  RETURN pg_catalog.format('CREATE INDEX ON %s (%s);', rule.referencing_table, names);
END
$$;

-- The columns that hold the references of a rule.
CREATE FUNCTION integrity.rule_columns(rule integrity.reference) RETURNS smallint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN (rule).kind = 'foreign key'
              THEN (SELECT c.conkey FROM pg_catalog.pg_constraint AS c
                     WHERE c.conrelid = (rule).referencing_table AND c.conname = (rule).rule_name AND c.contype = 'f')
              ELSE (SELECT ARRAY[a.attnum] FROM pg_catalog.pg_attribute AS a
                     WHERE a.attrelid = (rule).referencing_table AND a.attname = (rule).referencing_column
                       AND NOT a.attisdropped) END
$$;

-- Does a domain, or one that it is made of, refuse NULL?
CREATE FUNCTION integrity.is_not_null_domain(type oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE made_of (typnotnull, typbasetype) AS (
    SELECT t.typnotnull, t.typbasetype FROM pg_catalog.pg_type AS t WHERE t.oid = $1
    UNION ALL
    SELECT t.typnotnull, t.typbasetype FROM made_of JOIN pg_catalog.pg_type AS t ON t.oid = made_of.typbasetype
  )
  SELECT pg_catalog.bool_or(typnotnull) FROM made_of
$$;

-- How to take out the broken references of a rule; a dry run, so it can be run as it is.
CREATE FUNCTION integrity.repair_advice(rule integrity.reference) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_catalog.format('SELECT * FROM integrity.repair(%L, %L%s);', (rule).referencing_table, (rule).rule_name,
    CASE WHEN (rule).on_delete NOT IN ('no action', 'restrict') THEN ''
         WHEN (rule).kind = 'array reference' THEN ', action => ''remove element'''
         -- a column that cannot be NULL, or cannot be set at all
         WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                       WHERE a.attrelid = (rule).referencing_table
                         AND a.attnum = ANY (integrity.rule_columns(rule))
                         AND (a.attnotnull OR a.attgenerated <> '' OR integrity.is_not_null_domain(a.atttypid)))
         THEN ', action => ''delete row'''
         ELSE ', action => ''set null''' END)
$$;

-- NULL: there is nothing to do.
CREATE FUNCTION integrity.advice(rule integrity.reference, references_broken bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  disabled record;
BEGIN
  -- A trigger and a foreign key can have one name, but the functions that take a
  -- rule's name cannot tell them apart.
  IF (SELECT pg_catalog.count(*) > 1 FROM integrity.reference AS f
       WHERE f.referencing_table = rule.referencing_table AND f.rule_name = rule.rule_name) THEN
    RETURN pg_catalog.format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I;', rule.referencing_table, rule.rule_name,
                             pg_catalog.left(rule.rule_name::text, 50) || '_native');
  ELSIF references_broken > 0 THEN
    RETURN integrity.repair_advice(rule);
  ELSIF rule.kind <> 'foreign key' AND NOT rule.guarded THEN
    RETURN pg_catalog.format('SELECT integrity.add_guards(%L);', rule.referenced_table);
  ELSIF rule.kind <> 'foreign key' AND NOT rule.enforced THEN
    RETURN pg_catalog.format('ALTER TABLE %s ENABLE TRIGGER %I;', rule.referencing_table, rule.rule_name);
  ELSIF NOT (rule.guarded AND rule.enforced) THEN
    -- A foreign key is enforced by triggers on both of its tables, and on
    -- their partitions. One table at a time, the referenced one first.
    WITH RECURSIVE clone (oid) AS (
      SELECT c.oid FROM pg_catalog.pg_constraint AS c
       WHERE c.conrelid = rule.referencing_table AND c.conname = rule.rule_name AND c.contype = 'f'
      UNION ALL
      SELECT c.oid FROM clone JOIN pg_catalog.pg_constraint AS c ON c.conparentid = clone.oid
    )
    SELECT t.tgrelid::regclass AS relid,
           pg_catalog.string_agg(pg_catalog.format('ENABLE TRIGGER %I', t.tgname), ', ' ORDER BY t.oid) AS actions
      INTO disabled
      FROM clone JOIN pg_catalog.pg_trigger AS t ON t.tgconstraint = clone.oid
     WHERE t.tgenabled NOT IN ('O', 'A')
     GROUP BY t.tgrelid
     ORDER BY t.tgrelid = rule.referenced_table DESC, t.tgrelid = rule.referencing_table DESC, t.tgrelid
     LIMIT 1;
    IF FOUND THEN
      RETURN pg_catalog.format('ALTER TABLE %s %s;', disabled.relid, disabled.actions);
    END IF;
    -- declared NOT ENFORCED, as PostgreSQL 18 and later allow
    RETURN pg_catalog.format('ALTER TABLE %s ALTER CONSTRAINT %I ENFORCED;', rule.referencing_table, rule.rule_name);
  ELSIF NOT rule.validated THEN
    RETURN pg_catalog.format('SELECT integrity.validate_reference(%L, %L);', rule.referencing_table, rule.rule_name);
  END IF;
  RETURN integrity.index_advice(rule);
END
$$;
/*
 * report.sql
 *	  Which references hold, which are broken, and which could not be looked at.
 *
 * Everything here only reads. The functions are STABLE, so PostgreSQL runs all
 * their queries with the snapshot of the query that called them: a report is
 * one moment, however long it takes. A VOLATILE function would take a new
 * snapshot for every rule, and a commit in between would show up as a broken
 * reference that never was.
 */

-- The figures of many rules, read by the scan in as few passes as possible.
-- Each rule is the OID of a trigger or of a constraint; the other one is 0.
-- "number" counts them as they were given. "outcome" is 'looked at', 'by query'
-- (the scan cannot read it) or 'failed', for "reason".
CREATE FUNCTION integrity.scan_references(triggers oid[], constraints oid[],
	OUT number integer, OUT outcome text, OUT reason text,
	OUT rows_checked bigint, OUT rows_broken bigint, OUT references_checked bigint, OUT references_broken bigint,
	OUT values_broken bigint, OUT sample text[], OUT elapsed interval) RETURNS SETOF record
	LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'integrity_scan_references';

-- Can the scan read this rule, as far as statistics tell how much memory its keys
-- take? Each is the OID of a trigger or of a constraint; the other one is 0. Raises what is wrong with the rule.
CREATE FUNCTION integrity.can_scan(trigger_oid oid, constraint_oid oid) RETURNS boolean
	LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'integrity_can_scan';

-- The OID of a rule's trigger, or of a foreign key's constraint; the other is 0.
CREATE FUNCTION integrity.rule_oids(rule integrity.reference, OUT trigger_oid oid, OUT constraint_oid oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE((SELECT t.oid FROM pg_catalog.pg_trigger AS t
                    WHERE (rule).kind <> 'foreign key' AND t.tgrelid = (rule).referencing_table AND t.tgname = (rule).rule_name
                      AND t.tgfoid = 'integrity.check_reference()'::regprocedure), 0),
         COALESCE((SELECT c.oid FROM pg_catalog.pg_constraint AS c
                    WHERE (rule).kind = 'foreign key' AND c.conrelid = (rule).referencing_table
                      AND c.conname = (rule).rule_name AND c.contype = 'f'), 0)
$$;

-- Looks at one rule, by the scan if that can read it. Raises whatever hinders that.
CREATE FUNCTION integrity.look_at_rule(
  rule integrity.reference,
  OUT rows_checked bigint, OUT rows_broken bigint, OUT references_checked bigint,
  OUT references_broken bigint, OUT values_broken bigint, OUT sample text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  oids record := integrity.rule_oids(rule);
  found record;
BEGIN
  IF integrity.can_scan(oids.trigger_oid, oids.constraint_oid) THEN
    SELECT s.* INTO found FROM integrity.scan_references(ARRAY[oids.trigger_oid], ARRAY[oids.constraint_oid]) AS s;
    IF found.outcome = 'failed' THEN
      RAISE object_not_in_prerequisite_state USING MESSAGE = found.reason;
    ELSIF found.outcome = 'looked at' THEN
      rows_checked := found.rows_checked;
      rows_broken := found.rows_broken;
      references_checked := found.references_checked;
      references_broken := found.references_broken;
      values_broken := found.values_broken;
      sample := found.sample;
      RETURN;
    END IF;
  END IF;
  SELECT l.* INTO rows_checked, rows_broken, references_checked, references_broken, values_broken, sample
    FROM integrity.look_at_reference(rule) AS l;
END
$$;

-- integrity_report() without the name of its argument, which PL/pgSQL would
-- not tell from the column of the same name.
CREATE FUNCTION integrity.report_references(regclass) RETURNS TABLE (
  referencing_table regclass, rule_name name, kind text,
  referencing_column text, referenced_table regclass, referenced_column text,
  enforced boolean, validated boolean,
  rows_checked bigint, rows_broken bigint,
  references_checked bigint, references_broken bigint, values_broken bigint,
  sample text[], status text, advice text, elapsed interval)
LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  known record;
  rules integrity.reference[] := '{}';
  problems text[] := '{}';
  triggers oid[] := '{}';
  constraints oid[] := '{}';
  rule integrity.reference;
  found record;
  started timestamptz;
BEGIN
  -- The names first, then each rule by itself: reading one can fail too, and
  -- must not take the others along. OTHERS leaves out query_canceled and
  -- assert_failure.
  FOR known IN
    SELECT d.relid, d.name, d.trigger_oid, d.constraint_oid
      FROM (SELECT t.tgrelid, t.tgname, t.oid, 0 FROM pg_catalog.pg_trigger AS t
             WHERE t.tgfoid = 'integrity.check_reference()'::regprocedure AND t.tgparentid = 0
            UNION ALL
            SELECT c.conrelid, c.conname, 0, c.oid FROM pg_catalog.pg_constraint AS c
             WHERE c.contype = 'f' AND c.conparentid = 0
               AND c.connamespace <> 'integrity'::regnamespace) AS d (relid, name, trigger_oid, constraint_oid)
      JOIN pg_catalog.pg_class AS c ON c.oid = d.relid
     -- only its own session can look into a temporary table
     WHERE CASE WHEN $1 IS NULL THEN NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace) ELSE d.relid = $1 END
     ORDER BY d.relid::regclass::text COLLATE "C", d.name, d.constraint_oid
  LOOP
    rule := NULL;
    BEGIN
      SELECT f.* INTO STRICT rule FROM integrity.reference AS f
       WHERE f.referencing_table = known.relid AND f.rule_name = known.name
         AND (f.kind = 'foreign key') = (known.constraint_oid <> 0);
      problems := problems || rule.problem;
    EXCEPTION
      WHEN serialization_failure THEN
        RAISE;  -- the transaction is to be run again
      WHEN OTHERS THEN
        rule.referencing_table := known.relid;
        rule.rule_name := known.name;
        rule.kind := CASE WHEN known.constraint_oid <> 0 THEN 'foreign key' END;
        problems := problems || SQLERRM;
    END;
    rules := rules || rule;
    triggers := triggers || known.trigger_oid;
    constraints := constraints || known.constraint_oid;
  END LOOP;

  -- A rule with a problem is passed over by the scan: it would only find the same.
  FOR found IN
    SELECT n.number, s.outcome, s.reason, s.rows_checked, s.rows_broken, s.references_checked, s.references_broken,
           s.values_broken, s.sample, s.elapsed
      FROM (SELECT r.number, r.number - pg_catalog.count(problems[r.number]) OVER (ORDER BY r.number) AS place
              FROM pg_catalog.generate_subscripts(rules, 1) AS r (number)) AS n
      LEFT JOIN integrity.scan_references(
             ARRAY(SELECT triggers[r] FROM pg_catalog.generate_subscripts(rules, 1) AS r WHERE problems[r] IS NULL ORDER BY r),
             ARRAY(SELECT constraints[r] FROM pg_catalog.generate_subscripts(rules, 1) AS r WHERE problems[r] IS NULL ORDER BY r)
           ) AS s ON s.number = n.place AND problems[n.number] IS NULL
     ORDER BY n.number
  LOOP
    rule := rules[found.number];
    started := pg_catalog.clock_timestamp();
    elapsed := COALESCE(found.elapsed, '0'::interval);
    status := 'unknown';
    advice := COALESCE(problems[found.number], found.reason);
    IF found.outcome = 'by query' THEN
      BEGIN
        SELECT l.* INTO rows_checked, rows_broken, references_checked, references_broken, values_broken, sample
          FROM integrity.look_at_reference(rule) AS l;
        status := 'looked at';
      EXCEPTION
        WHEN serialization_failure THEN
          RAISE;
        WHEN OTHERS THEN
          advice := SQLERRM;
      END;
      elapsed := pg_catalog.clock_timestamp() - started;
    ELSE
      rows_checked := found.rows_checked;
      rows_broken := found.rows_broken;
      references_checked := found.references_checked;
      references_broken := found.references_broken;
      values_broken := found.values_broken;
      sample := found.sample;
      IF found.outcome = 'looked at' THEN
        status := 'looked at';
      END IF;
    END IF;

    IF status = 'looked at' THEN
      status := CASE WHEN references_broken = 0 THEN 'ok' ELSE 'broken' END;
      BEGIN
        advice := integrity.advice(rule, references_broken);
      EXCEPTION
        WHEN serialization_failure THEN
          RAISE;
        WHEN OTHERS THEN
          advice := NULL;  -- dropped meanwhile: the figures are still those of the snapshot
      END;
    ELSE
      rows_checked := NULL; rows_broken := NULL; references_checked := NULL; references_broken := NULL;
      values_broken := NULL; sample := NULL;
    END IF;
    referencing_table := rule.referencing_table;
    rule_name := rule.rule_name;
    kind := rule.kind;
    referencing_column := rule.referencing_column;
    referenced_table := rule.referenced_table;
    referenced_column := rule.referenced_column;
    enforced := rule.enforced;
    validated := rule.validated;
    RETURN NEXT;
  END LOOP;
END
$$;

/**
 * Looks at every declared reference in the database, native foreign keys too, and says which hold.
 *
 * A foreign key that PostgreSQL holds for valid can still be broken: rows loaded with triggers off were never
 * checked. So nothing is taken on trust here; every reference is looked up.
 *
 * One row per rule. `status` is `ok` only if all references were looked at and every one has its key, `broken` if
 * some do not, and `unknown` if the rule could not be looked at: then the figures are NULL, `advice` holds the
 * reason, and the other rules are still reported. Otherwise `advice` is the one statement to run next, or NULL.
 *
 * `rows_checked` counts the rows with a referencing value (an array that is not NULL), `references_checked` the
 * references in them: elements that are not NULL, duplicates too. `values_broken` counts the distinct values without
 * a key, and `sample` holds up to five of them, the most frequent first.
 *
 * The whole report is one snapshot, that of the calling query. It writes nothing, and runs in a read-only transaction
 * and on a hot standby. Rules on other sessions' temporary tables are left out.
 *
 * Parameters:
 *   referencing_table  report only the rules declared on this table; NULL, the default, reports all
 *
 * Locks: ACCESS SHARE on both tables of every rule, to the end of the transaction.
 *
 * Errors: 57014 the query was cancelled; 40001 a serialization failure. What only keeps it from looking at one rule (no
 * SELECT privilege, row-level security that would hide rows, a lock timeout, a foreign server that fails, ...) is no error
 * but the status `unknown` of that rule.
 *
 * Example:
 *   SELECT rule_name, status, references_broken, sample, advice FROM integrity_report();
 */
CREATE FUNCTION @extschema@.integrity_report(referencing_table regclass DEFAULT NULL) RETURNS TABLE (
  referencing_table regclass, rule_name name, kind text,
  referencing_column text, referenced_table regclass, referenced_column text,
  enforced boolean, validated boolean,
  rows_checked bigint, rows_broken bigint,
  references_checked bigint, references_broken bigint, values_broken bigint,
  sample text[], status text, advice text, elapsed interval)
LANGUAGE sql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp
AS $$ SELECT r.* FROM integrity.report_references($1) AS r $$;
/*
 * broken.sql
 *	  Each broken reference of one rule: which row, where, what.
 */

-- The broken references of a rule that the scan can read, or with "rows_only"
-- the rows that have one. Both come for the first "max_rows" rows after a place
-- (NULL: from the start), in the order of row_table and row_tid; if there are
-- too many keys for one pass, those of each pass, so sort and cut them. Raises
-- configuration_limit_exceeded, before the first row, if there are too many
-- keys for 16 passes.
CREATE FUNCTION integrity.scan_broken(trigger_oid oid, constraint_oid oid, rows_only boolean,
	after_table oid DEFAULT NULL, after_row tid DEFAULT NULL, max_rows bigint DEFAULT NULL,
	OUT row_table oid, OUT row_tid tid, OUT "position" integer, OUT value text) RETURNS SETOF record
	LANGUAGE c STABLE
	AS 'MODULE_PATHNAME', 'integrity_scan_broken';

/**
 * Lists every broken reference of one rule, one row each.
 *
 * `row_tid` and `row_key` (the primary key columns, NULL if there is none) say which row, `position` which element,
 * counted from 1 in storage order whatever the array's dimensions and bounds, and `value` what has no key. For
 * a scalar column and a foreign key `position` is NULL; the value of several columns is written `(a, b)`. Below a
 * partitioned table `row_tid` is unique within one partition only.
 *
 * Parameters:
 *   referencing_table  the table that the rule was declared on
 *   rule_name          the rule: the name of its trigger, or of the foreign key constraint
 *
 * Locks: ACCESS SHARE on both tables of the rule, to the end of the transaction.
 *
 * Errors: 42704 the table has no such rule; 42P09 a trigger and a foreign key have this name; 42501 a needed column may not be read, or row-level security would hide rows;
 * 55000 the rule cannot work, or one of its tables was truncated or rewritten after the snapshot was taken.
 *
 * Example:
 *   SELECT * FROM integrity.broken_references('parent_profiles', 'parent_profiles_children_ids_fkey');
 */
CREATE FUNCTION integrity.broken_references(referencing_table regclass, rule_name name) RETURNS TABLE (
  row_tid tid, row_key jsonb, "position" integer, value text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
AS $$
DECLARE
  rule integrity.reference;
  q record;
  oids record;
  key_items text;    -- the primary key columns as p1, p2, ...
  key_object text;   -- the jsonb made of them, only for broken rows
BEGIN
  rule := integrity.find_rule($1, $2);

  SELECT pg_catalog.string_agg(pg_catalog.format('r.%I AS p%s, ', a.attname, u.n), '' ORDER BY u.n),
         pg_catalog.format('pg_catalog.jsonb_build_object(%s)', pg_catalog.string_agg(
           pg_catalog.format(CASE WHEN integrity.is_json_alike(a.atttypid) THEN '%L, i.p%s'
                                  ELSE '%L, pg_catalog.format(''%%s'', i.p%s)' END, a.attname, u.n), ', ' ORDER BY u.n))
    INTO key_items, key_object
    FROM pg_catalog.pg_index AS x,
         pg_catalog.unnest(x.indkey) WITH ORDINALITY AS u (attnum, n),
         pg_catalog.pg_attribute AS a
   WHERE x.indrelid = $1 AND x.indisprimary AND u.n <= x.indnkeyatts
     AND a.attrelid = $1 AND a.attnum = u.attnum;

  oids := integrity.rule_oids(rule);
  IF integrity.can_scan(oids.trigger_oid, oids.constraint_oid) THEN
    BEGIN
      IF key_items IS NULL THEN
        RETURN QUERY
          SELECT b.row_tid, NULL::jsonb, b.position, b.value
            FROM integrity.scan_broken(oids.trigger_oid, oids.constraint_oid, false) AS b
           ORDER BY b.row_table, b.row_tid, b.position;
      ELSE
        RETURN QUERY EXECUTE pg_catalog.format($query$
          SELECT i.row_tid, %1$s, i.row_position, i.value
            FROM (SELECT b.row_table, b.row_tid, b.position AS row_position, b.value, %2$sNULL
                    FROM integrity.scan_broken($1, $2, false) AS b
                    JOIN %3$s AS r ON r.ctid OPERATOR(pg_catalog.=) b.row_tid
                                  AND r.tableoid OPERATOR(pg_catalog.=) b.row_table) AS i
           ORDER BY i.row_table, i.row_tid, i.row_position
          $query$, key_object, key_items,
          (SELECT CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END FROM pg_catalog.pg_class AS c
            WHERE c.oid = rule.referencing_table) || rule.referencing_table)
          USING oids.trigger_oid, oids.constraint_oid;
      END IF;
      RETURN;
    EXCEPTION WHEN configuration_limit_exceeded THEN
      -- more keys than statistics knew of, so as below
    END;
  END IF;

  q := integrity.reference_query(rule);
  RETURN QUERY EXECUTE pg_catalog.format($query$
    SELECT b.row_tid, b.row_key, b.row_position, %1$s
      FROM (SELECT i.row_part, i.row_tid, %2$s AS row_key, i.row_position, %3$s
              FROM (SELECT r.tableoid AS row_part, r.ctid AS row_tid, %4$s%5$s, %6$s AS row_position
                      FROM %7$s) AS i
             WHERE %8$s) AS b
     ORDER BY b.row_part, b.row_tid, b.row_position
    $query$,
    q.label, CASE WHEN key_items IS NULL THEN 'NULL::pg_catalog.jsonb' ELSE key_object END, q.vals, key_items, q.items,
    -- side by side with unnest(), so they move in step
    CASE WHEN q.is_array
         THEN pg_catalog.format('pg_catalog.generate_series(1, pg_catalog.cardinality(r.%I))', rule.referencing_column)
         ELSE 'NULL::pg_catalog.int4' END,
    q.source, q.broken);

  PERFORM integrity.check_not_rewritten(rule);
END
$$;
/*
 * rows.sql
 *	  Which rows hold a broken reference.
 */

-- The rule of this name, ready to be looked at.
CREATE FUNCTION integrity.find_rule(referencing_table regclass, rule_name name) RETURNS integrity.reference
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  rule integrity.reference;
  rules bigint;
BEGIN
  SELECT f.* INTO rule FROM integrity.reference AS f
   WHERE f.referencing_table = $1 AND f.rule_name = $2;
  SELECT pg_catalog.count(*) INTO rules FROM integrity.reference AS f
   WHERE f.referencing_table = $1 AND f.rule_name = $2;
  IF rules > 1 THEN
    RAISE ambiguous_alias USING
      MESSAGE = pg_catalog.format('rule name "%s" of table "%s" is ambiguous: a trigger and a foreign key have it', $2,
        (SELECT c.relname FROM pg_catalog.pg_class AS c WHERE c.oid = $1)),
      HINT = pg_catalog.format('Rename one of them: ALTER TABLE %s RENAME CONSTRAINT %I TO ...', $1, $2);
  ELSIF rules = 0 THEN
    RAISE undefined_object USING
      MESSAGE = pg_catalog.format('rule "%s" for table "%s" does not exist', $2,
        COALESCE((SELECT c.relname::text FROM pg_catalog.pg_class AS c WHERE c.oid = $1), $1::text)),
      HINT = 'The view integrity.reference lists the rules.';
  ELSIF rule.problem IS NOT NULL THEN
    RAISE object_not_in_prerequisite_state USING MESSAGE = rule.problem,
      HINT = 'Drop the trigger that declares the rule, or put right what it needs.';
  END IF;
  RETURN rule;
END
$$;

-- The rows that hold a broken reference of a rule, each once, in the order of
-- (row_table, row_tid) and only those behind the given place; NULL, NULL is the
-- start. Where partitions are, row_table is the one that the row is in.
CREATE FUNCTION integrity.broken_rows(
  referencing_table regclass, rule_name name, after_table oid, after_row tid, max_rows bigint)
RETURNS TABLE (row_table regclass, row_tid tid)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
AS $$
DECLARE
  rule integrity.reference := integrity.find_rule($1, $2);
  oids record := integrity.rule_oids(rule);
  q record;
BEGIN
  IF integrity.can_scan(oids.trigger_oid, oids.constraint_oid) THEN
    BEGIN
      RETURN QUERY
        SELECT DISTINCT b.row_table::regclass, b.row_tid
          FROM integrity.scan_broken(oids.trigger_oid, oids.constraint_oid, true, after_table, after_row, max_rows) AS b
         ORDER BY 1, 2
         LIMIT max_rows;
      RETURN;
    EXCEPTION WHEN configuration_limit_exceeded THEN
      -- more keys than statistics knew of, so as below
    END;
  END IF;

  q := integrity.reference_query(rule);
  RETURN QUERY EXECUTE pg_catalog.format($query$
    SELECT DISTINCT i.row_table::regclass, i.row_tid
      FROM (SELECT r.tableoid AS row_table, r.ctid AS row_tid, %1$s FROM %2$s) AS i
     WHERE %3$s AND ($1 IS NULL OR (i.row_table, i.row_tid) > ($1, $2))
     ORDER BY 1, 2
     LIMIT $3
    $query$, q.items, q.source, q.broken)
    USING after_table, after_row, max_rows;
END
$$;
/*
 * progress.sql
 *	  How far the scans of all sessions are.
 */

-- What the module has put into PostgreSQL's progress counters.
CREATE FUNCTION integrity.show_progress(OUT pid integer, OUT datid oid, OUT relid oid,
	OUT phase bigint, OUT rule_oid bigint, OUT is_native bigint, OUT rules_total bigint, OUT rules_done bigint,
	OUT part_number bigint, OUT parts_total bigint, OUT blocks_total bigint, OUT blocks_done bigint) RETURNS SETOF record
	LANGUAGE c STABLE
	AS 'MODULE_PATHNAME', 'integrity_show_progress';

/**
 * One row for each session that is scanning just now, for a report, a validation or a repair, as the pg_stat_progress_* views
 * have it. Other users' scans show only their pid, but to members of pg_read_all_stats. Rules that have to be looked at with
 * a query (keys of several columns, foreign tables, ...) do not show.
 *
 * Columns:
 *   pid, datid, datname       the session; names of tables and rules are shown for the current database only
 *   rule_name                 the rule, or the first of those that share the pass
 *   phase                     'reading referenced keys' or 'checking references'
 *   relid                     the table, or partition, that is being read
 *   blocks_total, blocks_done   of that table, of the server's block size each
 *   parts, part               keys that do not fit into maintenance_work_mem at once are read in so many parts, this one now
 *   rules_total, rules_done   of the report
 */
CREATE VIEW integrity.progress AS
SELECT p.pid, p.datid, d.datname,
       CASE WHEN p.datid OPERATOR(pg_catalog.=) here.oid THEN p.relid::pg_catalog.regclass END AS relid,
       CASE WHEN p.datid OPERATOR(pg_catalog.=) here.oid THEN COALESCE(t.tgname, c.conname) END AS rule_name,
       CASE p.phase WHEN 1 THEN 'reading referenced keys' WHEN 2 THEN 'checking references' END AS phase,
       p.blocks_total, p.blocks_done, p.parts_total AS parts, p.part_number AS part, p.rules_total, p.rules_done
  FROM integrity.show_progress() p
       JOIN pg_catalog.pg_database here ON here.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
       LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) p.datid
       LEFT JOIN pg_catalog.pg_trigger t ON p.is_native OPERATOR(pg_catalog.=) 0 AND t.oid OPERATOR(pg_catalog.=) p.rule_oid::pg_catalog.oid
       LEFT JOIN pg_catalog.pg_constraint c ON p.is_native OPERATOR(pg_catalog.=) 1 AND c.oid OPERATOR(pg_catalog.=) p.rule_oid::pg_catalog.oid;

GRANT SELECT ON integrity.progress TO PUBLIC;
/*
 * image.sql
 *	  A row as jsonb and back, for the run log.
 */

-- Column name to the text of its value, as the type's output function writes
-- it; JSON null for NULL. No setting matters to it. Write the argument as r.*:
-- in a table with a column r, a plain r would be that column.
CREATE FUNCTION integrity.row_image(record) RETURNS jsonb
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'integrity_row_image';

-- The row that an image was made of. The first argument tells its type, as
-- NULL::schema.table. A column that the image does not know is NULL; a name
-- in the image that is no column any more raises 42703.
CREATE FUNCTION integrity.row_from_image(anyelement, jsonb) RETURNS anyelement
	LANGUAGE c STABLE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'integrity_row_from_image';

-- What the values of one reference are called in the log: by their text as in
-- an image, (a, b) if there are more columns than one.
CREATE FUNCTION integrity.reference_label(VARIADIC "any") RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_reference_label';
/*
 * tools.sql
 *	  What repair() and undo() need that SQL cannot say.
 */

-- Runs one statement as the owner of the table and returns the first column of
-- its first row, or NULL. $1, $2, ... in it are the arguments, each of its own
-- type; at least one. Whoever could SET ROLE to the owner may call this.
CREATE FUNCTION integrity.execute_as_owner("table" regclass, command text, VARIADIC arguments "any") RETURNS bigint[]
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'integrity_execute_as_owner';

-- The same under a search_path of its own: that of the session, so that the
-- triggers of the users' tables find what they find at any other time. The
-- statement itself must qualify every name and every operator.
CREATE FUNCTION integrity.execute_as_owner_in("table" regclass, search_path text, command text, VARIADIC arguments "any")
	RETURNS bigint[]
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'integrity_execute_as_owner_in';

-- Constraint triggers of other owners' tables fire at once from here on to the
-- end of the transaction. A deferred one would fire at its end, and so with the
-- rights of whoever has called us, not with those of the table's owner.
CREATE FUNCTION integrity.settle_triggers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  each record;
BEGIN
  FOR each IN
    SELECT DISTINCT s.nspname, c.conname
      FROM pg_catalog.pg_constraint AS c
      JOIN pg_catalog.pg_trigger AS t ON t.tgconstraint = c.oid
      JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid
      JOIN pg_catalog.pg_class AS r ON r.oid = c.conrelid
      JOIN pg_catalog.pg_roles AS o ON o.oid = r.relowner
      JOIN pg_catalog.pg_namespace AS s ON s.oid = c.connamespace
     WHERE c.contype = 't' AND c.condeferrable AND f.pronamespace <> 'integrity'::regnamespace
       AND o.rolname <> current_user AND NOT o.rolsuper
  LOOP
    EXECUTE pg_catalog.format('SET CONSTRAINTS %I.%I IMMEDIATE', each.nspname, each.conname);
  END LOOP;
END
$$;

-- Locks rows of one table ('no key update' or 'update') and returns the tid of
-- the latest version of each: NULL for a row that was deleted or has gone to
-- another partition. A row that this transaction has written itself is
-- followed, too. A tid where no row is stored gives NULL.
CREATE FUNCTION integrity.lock_rows("table" regclass, tids tid[], mode text) RETURNS tid[]
	LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'integrity_lock_rows';

-- The array without the elements at these positions, counted from 1 in storage
-- order, whatever its bounds; in an array of more dimensions than one they
-- become NULL. With true, an array that loses its last element becomes NULL.
CREATE FUNCTION integrity.remove_positions(anyarray, integer[], boolean) RETURNS anyarray
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_remove_positions';

-- The array with NULL at these positions.
CREATE FUNCTION integrity.null_positions(anyarray, integer[]) RETURNS anyarray
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_null_positions';
/*
 * journal.sql
 *	  What was done: runs, the figures of each rule, and every changed row.
 *
 * Tables are named by regclass, which follows a rename, and which pg_dump
 * writes as a name. Row-level security makes the images of a table's rows a
 * matter of its owner; whoever may write them for a table could have changed
 * the table itself, so nothing can be slipped to another owner's undo().
 *
 * The tables of the log have no foreign keys among them. Being the extension's,
 * they are there before pg_restore fills them, in parallel and in any order; and
 * pg_dump would warn of a table that refers to itself each time. A trigger lets
 * figures and images go with their run; what writes into a run
 * holds it, see open_run().
 *
 * What a temporary table is called means nothing to anyone else, so a dump
 * leaves its rows out. And those of a table that was dropped: a dump would hold
 * its number, which may be that of any other table where it is restored.
 */

-- Is the current role the table's owner, or a member of it? False for a table
-- that was dropped, but to a superuser.
CREATE FUNCTION integrity.owns(regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE((SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class AS c WHERE c.oid = $1),
                  (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user))
$$;

CREATE TABLE integrity.run (
  run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('report', 'repair', 'undo')),
  role_name name NOT NULL DEFAULT current_user,
  parameters jsonb NOT NULL DEFAULT '{}',
  undoes bigint,
  started timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  finished timestamptz
);
COMMENT ON TABLE integrity.run IS 'one row per repair, undo or recorded report: who, when, what';
COMMENT ON COLUMN integrity.run.undoes IS 'of an undo: the run that it took back, which may be forgotten by now';
COMMENT ON COLUMN integrity.run.parameters IS 'what it was called with';
COMMENT ON COLUMN integrity.run.finished IS 'NULL: it is still at work, or was interrupted between two batches';

CREATE TABLE integrity.run_rule (
  run_id bigint NOT NULL,
  referencing_table regclass NOT NULL,
  rule_name name NOT NULL,
  action text,
  status text NOT NULL CHECK (status IN ('ok', 'broken', 'unknown')),
  rows_checked bigint,
  rows_broken bigint,
  references_checked bigint,
  references_broken bigint,
  values_broken bigint,
  references_broken_after bigint,
  rows_changed bigint NOT NULL DEFAULT 0,
  rows_deleted bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (run_id, referencing_table, rule_name)
);
COMMENT ON TABLE integrity.run_rule IS 'the figures of one rule in one run: as it was found, and what was done';
COMMENT ON COLUMN integrity.run_rule.status IS 'as the run found the rule';

CREATE TABLE integrity.change (
  run_id bigint NOT NULL,
  change_id bigint GENERATED ALWAYS AS IDENTITY,
  referencing_table regclass NOT NULL,
  rule_name name NOT NULL,
  changed_table regclass NOT NULL,
  row_key jsonb,
  before jsonb,
  after jsonb,
  broken jsonb,
  undoes bigint,
  PRIMARY KEY (run_id, change_id)
);
COMMENT ON TABLE integrity.change IS 'one row per row that a run changed, with its image before and after';
COMMENT ON COLUMN integrity.change.rule_name IS 'the rule, of referencing_table, for whose sake the row was changed';
COMMENT ON COLUMN integrity.change.changed_table IS 'where the row is: referencing_table, a partition of it, or a table that a cascade led to';
COMMENT ON COLUMN integrity.change.row_key IS 'the primary key, NULL if there is none';
COMMENT ON COLUMN integrity.change.before IS 'column name to the text of its value; NULL: the run inserted the row';
COMMENT ON COLUMN integrity.change.after IS 'NULL: the run deleted the row';
COMMENT ON COLUMN integrity.change.broken IS 'rule name to the values of the row that had no key';
COMMENT ON COLUMN integrity.change.undoes IS 'in an undo: the change_id of what it took back, the last one if there were more for that row';

-- Figures and images of all owners go with their run.
CREATE FUNCTION integrity.empty_run() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
BEGIN
  -- Whoever could put this on a table of theirs would empty other owners' runs with it.
  IF TG_RELID <> 'integrity.run'::regclass THEN
    RAISE feature_not_supported USING MESSAGE = 'integrity.empty_run() belongs to the table integrity.run';
  END IF;
  DELETE FROM integrity.change AS c USING gone AS g WHERE c.run_id = g.run_id;
  DELETE FROM integrity.run_rule AS c USING gone AS g WHERE c.run_id = g.run_id;
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION integrity.empty_run() FROM PUBLIC;
CREATE TRIGGER empty_run AFTER DELETE ON integrity.run REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION integrity.empty_run();

-- Takes up a run of one's own, to write images of rows into it until the
-- transaction ends, and keeps it from being forgotten so long. As the current role,
-- for whom policies hide the runs of others from being locked.
CREATE FUNCTION integrity.open_run(run_id bigint) RETURNS void
	LANGUAGE c VOLATILE STRICT SET search_path = pg_catalog, pg_temp SET row_security = on
	AS 'MODULE_PATHNAME', 'integrity_open_run';

-- Has this transaction taken up the run?
CREATE FUNCTION integrity.is_open_run(run_id bigint) RETURNS boolean
	LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'integrity_is_open_run';

ALTER TABLE integrity.run ENABLE ROW LEVEL SECURITY;
ALTER TABLE integrity.run_rule ENABLE ROW LEVEL SECURITY;
ALTER TABLE integrity.change ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON integrity.run FOR SELECT USING (true);
CREATE POLICY add ON integrity.run FOR INSERT WITH CHECK (role_name OPERATOR(pg_catalog.=) CURRENT_USER);
CREATE POLICY finish ON integrity.run FOR UPDATE USING (pg_catalog.pg_has_role(role_name, 'USAGE'));
CREATE POLICY forget ON integrity.run FOR DELETE USING (pg_catalog.pg_has_role(role_name, 'USAGE'));
CREATE POLICY see ON integrity.run_rule FOR SELECT
  USING (integrity.owns(referencing_table) OR pg_catalog.has_table_privilege(referencing_table, 'SELECT'));
CREATE POLICY add ON integrity.run_rule FOR INSERT
  WITH CHECK (integrity.owns(referencing_table) OR pg_catalog.has_table_privilege(referencing_table, 'SELECT'));
-- Figures belong to a run of one's own: else anyone who may read a table could slip some into another's report.
CREATE POLICY own_run ON integrity.run_rule AS RESTRICTIVE FOR INSERT WITH CHECK (
  EXISTS (SELECT FROM integrity.run r
           WHERE r.run_id OPERATOR(pg_catalog.=) run_rule.run_id AND pg_catalog.pg_has_role(r.role_name, 'USAGE')));
CREATE POLICY amend ON integrity.run_rule FOR UPDATE USING (integrity.owns(referencing_table));
CREATE POLICY own ON integrity.change USING (integrity.owns(changed_table));
-- Whoever could add a table of theirs to a run of others would keep these from undoing it. And what is finished is
-- complete.
CREATE POLICY complete ON integrity.change AS RESTRICTIVE FOR INSERT WITH CHECK (
  integrity.is_open_run(run_id) AND
  EXISTS (SELECT FROM integrity.run r WHERE r.run_id OPERATOR(pg_catalog.=) change.run_id AND r.finished IS NULL));
-- Not the numbers: one taken in advance would stop every run that comes to it.
GRANT SELECT, INSERT (kind, role_name, parameters, undoes, started, finished), DELETE ON integrity.run TO PUBLIC;
GRANT UPDATE (finished) ON integrity.run TO PUBLIC;
GRANT SELECT, INSERT ON integrity.run_rule TO PUBLIC;
GRANT UPDATE (references_broken_after, rows_changed, rows_deleted) ON integrity.run_rule TO PUBLIC;
GRANT SELECT, UPDATE (after), DELETE,
  INSERT (run_id, referencing_table, rule_name, changed_table, row_key, before, after, broken, undoes)
  ON integrity.change TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('integrity.run', '');
SELECT pg_catalog.pg_extension_config_dump('integrity.run_run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('integrity.run_rule',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = referencing_table AND c.relpersistence <> ''t'')');
SELECT pg_catalog.pg_extension_config_dump('integrity.change',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = referencing_table AND c.relpersistence <> ''t'')
     AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = changed_table AND c.relpersistence <> ''t'')');
SELECT pg_catalog.pg_extension_config_dump('integrity.change_change_id_seq', '');
/*
 * judge.sql
 *	  What is wrong with a row, as a piece of a query about it.
 *
 * A repair finds its rows first and changes them later. Somebody may have
 * mended a row meanwhile, or inserted the key that was missing. So the
 * statement that changes a row judges it anew, from the version that is locked
 * and the keys as they are then.
 *
 * These pieces run under the search_path of the session, because the triggers
 * of the changed tables do. So every name and every operator is qualified.
 */

-- The columns of a reference and of its key, in their order.
CREATE FUNCTION integrity.reference_columns(rule integrity.reference, OUT columns name[], OUT keys name[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF rule.kind <> 'foreign key' THEN
    columns := ARRAY[rule.referencing_column];
    keys := ARRAY[rule.referenced_column];
    RETURN;
  END IF;
  SELECT pg_catalog.array_agg(f.attname ORDER BY u.n), pg_catalog.array_agg(p.attname ORDER BY u.n)
    INTO columns, keys
    FROM pg_catalog.pg_constraint AS c,
         ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey)) WITH ORDINALITY AS u (conkey, confkey, n),
         pg_catalog.pg_attribute AS f, pg_catalog.pg_attribute AS p
   WHERE c.conrelid = rule.referencing_table AND c.conname = rule.rule_name AND c.contype = 'f'
     AND f.attrelid = c.conrelid AND f.attnum = u.conkey
     AND p.attrelid = c.confrelid AND p.attnum = u.confkey;
END
$$;

-- A table's name for SQL, whatever the search_path.
CREATE FUNCTION integrity.table_name(regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
   WHERE c.oid = $1
$$;

-- The primary key of a row r as jsonb, as broken_references() shows it.
CREATE FUNCTION integrity.row_key(regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE('pg_catalog.jsonb_build_object(' || pg_catalog.string_agg(
           pg_catalog.format(CASE WHEN integrity.is_json_alike(a.atttypid) THEN '%L, r.%I'
                                  ELSE '%L, pg_catalog.format(''%%s'', r.%I)' END, a.attname, a.attname), ', ' ORDER BY u.n) || ')',
           'NULL::pg_catalog.jsonb')
    FROM pg_catalog.pg_index AS x,
         pg_catalog.unnest(x.indkey) WITH ORDINALITY AS u (attnum, n),
         pg_catalog.pg_attribute AS a
   WHERE x.indrelid = $1 AND x.indisprimary AND u.n <= x.indnkeyatts
     AND a.attrelid = $1 AND a.attnum = u.attnum
$$;

-- A query that looks at nothing, and raises what hinders looking for what is
-- broken: privileges and policies are asked for before the first row.
CREATE FUNCTION integrity.probe(rule integrity.reference) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  q record := integrity.reference_query(rule);
BEGIN
  RETURN pg_catalog.format('SELECT NULL::pg_catalog.int8[] FROM (SELECT %s FROM %s) AS i WHERE %s LIMIT 0',
                           q.items, q.source, q.broken);
END
$$;

-- Raises what hinders the caller from looking at a rule.
CREATE FUNCTION integrity.check_can_look(rule integrity.reference) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
BEGIN
  EXECUTE integrity.probe(rule);
END
$$;

-- Raises what hinders the owner of the table, as whom rows are changed, from
-- telling those that are broken from the others.
CREATE FUNCTION integrity.check_can_judge(rule integrity.reference) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- Asks for the owner, and for a table that has rows of its own.
  PERFORM integrity.lock_rows(c.oid, '{}', 'no key update')
     FROM pg_catalog.pg_class AS c
    WHERE c.relkind <> 'p'
      AND (c.oid = rule.referencing_table OR
           c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(rule.referencing_table) AS p));
  PERFORM integrity.execute_as_owner(rule.referencing_table, integrity.probe(rule), NULL::text);
  PERFORM integrity.execute_as_owner(rule.referencing_table,
    'SELECT NULL::pg_catalog.int8[] WHERE integrity.sees_all_rows($1)', rule.referenced_table);
END
$$;

-- Raises if row-level security would hide rows of a table from the current
-- role: a hidden key would look like one that is missing. (row_security = off
-- would do this too, but the triggers of the table are not to run with it.)
CREATE FUNCTION integrity.sees_all_rows(regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF pg_catalog.row_security_active($1) THEN
    RAISE insufficient_privilege USING
      MESSAGE = pg_catalog.format('query would be affected by row-level security policy for table "%s"',
        (SELECT c.relname FROM pg_catalog.pg_class AS c WHERE c.oid = $1));
  END IF;
  RETURN true;
END
$$;

-- The rules that the rows of a table, or a partition, are under and that can be
-- looked at; but the first are those given.
CREATE FUNCTION integrity.rules_of(row_table regclass, first integrity.reference[]) RETURNS integrity.reference[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  rule integrity.reference;
  rules integrity.reference[] := first;
BEGIN
  FOR rule IN
    SELECT f.* FROM integrity.reference AS f
     WHERE f.problem IS NULL
       AND (f.referencing_table = row_table OR f.referencing_table IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(row_table) AS a))
       AND NOT EXISTS (SELECT FROM pg_catalog.unnest(first) AS g
                        WHERE g.referencing_table = f.referencing_table AND g.rule_name = f.rule_name AND g.kind = f.kind)
     ORDER BY f.referencing_table, f.rule_name
  LOOP
    BEGIN
      PERFORM integrity.check_can_look(rule), integrity.check_can_judge(rule);
      rules := rules || rule;
    EXCEPTION
      WHEN serialization_failure OR deadlock_detected THEN
        RAISE;
      WHEN OTHERS THEN
        NULL;
    END;
  END LOOP;
  RETURN rules;
END
$$;

-- When a repair deletes the row r: a condition on it, and on what the rule has
-- found there, b<n>.
CREATE FUNCTION integrity.doom(rule integrity.reference, action text, n integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE
    WHEN $2 = 'delete row' THEN pg_catalog.format('b%s.broken OPERATOR(pg_catalog.>) 0', $3)
    -- An array that was empty before is not broken; a null element is left in it.
    WHEN $2 = 'remove element' AND ($1).on_empty = 'delete row' THEN pg_catalog.format(
      'b%1$s.broken OPERATOR(pg_catalog.>) 0 AND b%1$s.broken OPERATOR(pg_catalog.=) pg_catalog.cardinality(r.%2$I)'
      ' AND pg_catalog.array_ndims(r.%2$I) OPERATOR(pg_catalog.=) 1', $3, ($1).referencing_column)
    ELSE 'false' END
$$;

-- The rows with the tids $1 of one table, and what is wrong with them:
--
--	  tid, before, key	the row, its image, its primary key
--	  broken			rule name to the broken values
--	  doomed			an action deletes the row
--	  n1, p1, n2, ...	for each rule how many references are broken, and their positions
--
-- $2 are the names of the rules, $3 the tables with the keys. A rule whose
-- action is NULL is looked at and not acted on.
CREATE FUNCTION integrity.judged_rows(row_table regclass, rules integrity.reference[], actions text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  q record;
  found text := '';
  figures text := '';
  names text := '';
  doomed text := 'false';
BEGIN
  FOR n IN 1 .. COALESCE(pg_catalog.cardinality(rules), 0) LOOP
    q := integrity.reference_query(rules[n]);
    found := found || pg_catalog.format($piece$
         CROSS JOIN LATERAL (
           SELECT pg_catalog.count(*) AS broken,
                  COALESCE(pg_catalog.array_agg(v.p ORDER BY v.p), '{}') AS positions,
                  pg_catalog.jsonb_agg(v.l ORDER BY v.p) AS labels
             FROM (SELECT v.p, %1$s AS l
                     FROM (SELECT i.p, %2$s FROM (SELECT %3$s, %4$s AS p) AS i WHERE %5$s) AS v) AS v) AS b%6$s$piece$,
      pg_catalog.format('integrity.reference_label(%s)', q.v_list), q.vals, q.items,
      CASE WHEN q.is_array
           THEN pg_catalog.format('pg_catalog.generate_series(1, pg_catalog.cardinality(r.%I))', rules[n].referencing_column)
           ELSE '1' END,
      q.broken, n);
    figures := figures || pg_catalog.format(', b%1$s.broken AS n%1$s, b%1$s.positions AS p%1$s', n);
    names := names || pg_catalog.format(CASE WHEN n = 1 THEN '' ELSE ', ' END || '(($2)[%1$s], b%1$s.labels)', n);
    IF actions[n] IS NOT NULL THEN
      doomed := doomed || pg_catalog.format(' OR (%s)', integrity.doom(rules[n], actions[n], n));
    END IF;
  END LOOP;

  RETURN pg_catalog.format($query$
    SELECT r.ctid AS tid, integrity.row_image(r.*) AS before, %1$s AS key, %2$s AS broken, %3$s AS doomed%4$s
      FROM ONLY %5$s AS r%6$s
     WHERE r.ctid OPERATOR(pg_catalog.=) ANY ($1)
       AND (SELECT pg_catalog.bool_and(integrity.sees_all_rows(k.t)) IS NOT FALSE FROM pg_catalog.unnest($3) AS k (t))
    $query$,
    integrity.row_key(row_table),
    CASE WHEN names = '' THEN 'NULL::pg_catalog.jsonb'
         ELSE '(SELECT pg_catalog.jsonb_object_agg(x.n, x.l) FROM (VALUES ' || names || ') AS x (n, l) WHERE x.l IS NOT NULL)' END,
    doomed, figures, integrity.table_name(row_table), found);
END
$$;
/*
 * cascade.sql
 *	  The rows that go, or change, because others do.
 *
 * A row that a repair deletes fires its own cascades, through native foreign
 * keys and through rules. Those changes are on record, too, or undo() could not
 * take them back. PostgreSQL does not say what its triggers have done. So the
 * rows that they may reach are found and locked before, and looked at again
 * afterwards: what was not changed is forgotten.
 *
 * To lock a key FOR UPDATE first, and then look for references to it, leaves no
 * gap: whoever has referred to it meanwhile was waited for, and whoever wants to
 * do so now waits for us.
 */

-- A row as it was, whatever becomes of it.
CREATE TYPE integrity.noted_row AS (row_table regclass, row_tid tid, before jsonb, row_key jsonb, broken jsonb);

-- The references that a change of the table's rows can be handed on through.
CREATE FUNCTION integrity.handing_on() RETURNS integrity.reference[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE(pg_catalog.array_agg(f ORDER BY f.referencing_table, f.rule_name), '{}')
    FROM integrity.reference AS f
   WHERE f.problem IS NULL
     AND (f.on_delete NOT IN ('no action', 'restrict') OR f.on_update NOT IN ('no action', 'restrict'))
$$;

-- Do these rows of a table hand on what happens to them, and to which reference?
-- changed_columns is NULL for rows that are deleted.
CREATE FUNCTION integrity.hands_on(rule integrity.reference, row_table regclass, changed_columns name[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ($1.referenced_table = $2 OR $1.referenced_table IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors($2) AS a))
     AND CASE WHEN $3 IS NULL THEN $1.on_delete NOT IN ('no action', 'restrict')
              ELSE $1.on_update NOT IN ('no action', 'restrict') AND (integrity.reference_columns($1)).keys && $3 END
$$;

-- The rows that refer to the keys in the given rows. "goes": they are deleted
-- when those keys are.
CREATE FUNCTION integrity.referring_rows(rule integrity.reference, key_tables oid[], key_rows tid[])
RETURNS TABLE (row_table oid, row_tid tid, goes boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
AS $$
DECLARE
  q record;
  these_keys text := 'k.ctid = ANY ($2) AND EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS a (t, c) WHERE a.t = k.tableoid AND a.c = k.ctid)';
BEGIN
  q := integrity.reference_query(rule);
  RETURN QUERY EXECUTE pg_catalog.format($query$
    SELECT i.row_table, i.row_tid, %1$s
      FROM %2$s, (SELECT r.tableoid AS row_table, r.ctid AS row_tid, %3$s%4$s FROM %5$s%6$s) AS i
     WHERE %7$s AND %8$s
     GROUP BY i.row_table, i.row_tid
    $query$,
    CASE WHEN rule.on_delete = 'delete row' THEN 'true'
         WHEN rule.on_empty = 'delete row' THEN 'pg_catalog.count(*) = pg_catalog.min(i.elements)'
         ELSE 'false' END,
    q.key_source, q.items,
    -- an array of more dimensions does not run empty
    CASE WHEN q.is_array
         THEN pg_catalog.format(', CASE WHEN pg_catalog.array_ndims(r.%1$I) = 1 THEN pg_catalog.cardinality(r.%1$I) END AS elements',
                                rule.referencing_column)
         ELSE '' END,
    q.source,
    -- a GIN index finds the arrays
    CASE WHEN q.is_array
         THEN pg_catalog.format(' WHERE integrity.contains_any(r.%I, ARRAY(SELECT k.%I FROM %s WHERE %s))',
                                rule.referencing_column, rule.referenced_column, q.key_source, these_keys)
         ELSE '' END,
    these_keys, q.matches)
    USING key_tables, key_rows;
END
$$;

-- Locks rows and drops those that are gone.
CREATE FUNCTION integrity.lock_noted(INOUT tables oid[], INOUT tids tid[], INOUT via integer[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT pg_catalog.array_agg(l.t), pg_catalog.array_agg(l.latest), pg_catalog.array_agg(l.v)
    INTO tables, tids, via
    FROM (SELECT g.t, u.latest, u.v
            FROM (SELECT a.t, a.v, pg_catalog.array_agg(a.c ORDER BY a.c) AS c
                    FROM unnest(tables, tids, via) AS a (t, c, v) GROUP BY a.t, a.v ORDER BY a.t, a.v) AS g
           CROSS JOIN LATERAL (
             SELECT n.latest, g.v
               -- so that no reference to them can come in any more
               FROM pg_catalog.unnest(integrity.lock_rows(g.t, g.c, 'update')) AS n (latest)) AS u) AS l
   WHERE l.latest IS NOT NULL;
END
$$;

-- Raises if rows of another's table are reached: they could not be put on record.
-- "reached" is true also where the caller may not even look.
CREATE FUNCTION integrity.check_may_note(rule integrity.reference, start_table regclass, reached boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF reached AND NOT integrity.owns(rule.referencing_table) THEN
    RAISE insufficient_privilege USING
      MESSAGE = (SELECT pg_catalog.format('must be owner of table %s', c.relname) FROM pg_catalog.pg_class AS c WHERE c.oid = rule.referencing_table),
      DETAIL = (SELECT pg_catalog.format('What happens to rows of table "%s" is handed on to it by rule "%s".', c.relname, rule.rule_name)
                  FROM pg_catalog.pg_class AS c WHERE c.oid = start_table),
      HINT = 'Repair as a superuser, or as a member of the owners of both tables.';
  END IF;
END
$$;

-- Finds, locks and notes all rows that PostgreSQL, or a rule, may delete or
-- change when the given rows are deleted, or changed in the given columns.
-- Those rows themselves are not among them. Rather one too many than one too
-- few: what stays as it was is left out of the log later.
CREATE FUNCTION integrity.note_cascades(start_table regclass, start_rows tid[], changed_columns name[])
RETURNS integrity.noted_row[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
AS $$
DECLARE
  rules integrity.reference[] := integrity.handing_on();
  -- What was found: a row, and through which rule it is changed; 0 if it is
  -- deleted, -1 if it is one of those that are changed first.
  tables oid[] := pg_catalog.array_fill(start_table::oid, ARRAY[pg_catalog.cardinality(start_rows)]);
  tids tid[] := start_rows;
  via integer[] := pg_catalog.array_fill(CASE WHEN changed_columns IS NULL THEN 0 ELSE -1 END,
                                         ARRAY[pg_catalog.cardinality(start_rows)]);
  new_from integer := 1;   -- what the last wave has added, and the wave that is under way
  new_tables oid[];
  new_tids tid[];
  new_via integer[];
  keys record;
  found record;
BEGIN
  LOOP
    new_tables := NULL; new_tids := NULL; new_via := NULL;
    FOR i IN 1 .. pg_catalog.cardinality(rules) LOOP
      -- The keys that this rule hands on. Whether an array runs empty depends
      -- on all of them, not on the new ones alone.
      SELECT pg_catalog.array_agg(a.t) AS tables, pg_catalog.array_agg(a.c) AS tids,
             pg_catalog.bool_or(a.n >= new_from) AS some_new
        INTO keys
        FROM unnest(tables, tids, via) WITH ORDINALITY AS a (t, c, v, n)
        JOIN (SELECT d.t, d.v FROM (SELECT DISTINCT u.t, u.v FROM unnest(tables, via) AS u (t, v)) AS d
               WHERE integrity.hands_on(rules[i], d.t, CASE d.v
                       WHEN 0 THEN NULL
                       WHEN -1 THEN changed_columns
                       ELSE (integrity.reference_columns(rules[d.v])).columns END)) AS h ON h.t = a.t AND h.v = a.v
       WHERE a.n >= new_from OR rules[i].on_empty = 'delete row';
      CONTINUE WHEN keys.some_new IS NOT TRUE;

      PERFORM integrity.check_may_note(rules[i], start_table, NOT pg_catalog.has_table_privilege(rules[i].referencing_table, 'SELECT'));
      SELECT pg_catalog.array_agg(f.row_table) AS tables, pg_catalog.array_agg(f.row_tid) AS tids,
             pg_catalog.array_agg(f.v) AS via
        INTO found
        FROM (SELECT r.row_table, r.row_tid, CASE WHEN r.goes THEN 0 ELSE i END AS v
                FROM integrity.referring_rows(rules[i], keys.tables, keys.tids) AS r) AS f
       WHERE NOT EXISTS (SELECT FROM unnest(tables || new_tables, tids || new_tids, via || new_via) AS a (t, c, v)
                          WHERE a.t = f.row_table AND a.c = f.row_tid AND a.v IN (0, f.v));
      CONTINUE WHEN found.tables IS NULL;

      PERFORM integrity.check_may_note(rules[i], start_table, true);
      found := integrity.lock_noted(found.tables, found.tids, found.via);
      new_tables := new_tables || found.tables;
      new_tids := new_tids || found.tids;
      new_via := new_via || found.via;
    END LOOP;
    EXIT WHEN new_tables IS NULL;
    new_from := pg_catalog.cardinality(tables) + 1;
    tables := tables || new_tables;
    tids := tids || new_tids;
    via := via || new_via;
  END LOOP;

  RETURN COALESCE((
    SELECT pg_catalog.array_agg(r ORDER BY g.n)
      FROM (SELECT a.t::regclass AS row_table, pg_catalog.array_agg(DISTINCT a.c) AS tids, pg_catalog.min(a.n) AS n
              FROM unnest(tables, tids) WITH ORDINALITY AS a (t, c, n)
             WHERE a.t <> start_table OR a.c <> ALL (start_rows)
             GROUP BY a.t) AS g
     CROSS JOIN LATERAL integrity.note_rows(g.row_table, g.tids) AS r), '{}');
END
$$;

-- The rows with these tids as they are.
CREATE FUNCTION integrity.note_rows(row_table regclass, tids tid[]) RETURNS SETOF integrity.noted_row
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
AS $$
DECLARE
  rules integrity.reference[] := integrity.rules_of(row_table, '{}');
BEGIN
  RETURN QUERY EXECUTE pg_catalog.format('SELECT $4, j.tid, j.before, j.key, j.broken FROM (%s) AS j',
    integrity.judged_rows(row_table, rules, '{}'))
    USING tids, ARRAY(SELECT (r).rule_name FROM pg_catalog.unnest(rules) AS r),
          ARRAY(SELECT (r).referenced_table FROM pg_catalog.unnest(rules) AS r), row_table;
END
$$;

-- Puts into the log what has become of the noted rows, for the sake of this
-- rule; a row that is as it was is left out. Returns how many were changed, how
-- many deleted, and how many broken references of the rule went with these.
CREATE FUNCTION integrity.log_noted(
  run_id bigint, rule integrity.reference, noted integrity.noted_row[], path text,
  OUT rows_changed bigint, OUT rows_deleted bigint, OUT references_gone bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
  part record;
  figures bigint[];
BEGIN
  rows_changed := 0;
  rows_deleted := 0;
  references_gone := 0;
  FOR part IN
    SELECT u.row_table, pg_catalog.array_agg(u.row_tid ORDER BY u.n) AS tids,
           pg_catalog.array_agg(u.before ORDER BY u.n) AS befores,
           pg_catalog.array_agg(u.row_key ORDER BY u.n) AS keys,
           pg_catalog.array_agg(u.broken ORDER BY u.n) AS brokens
      FROM pg_catalog.unnest(noted) WITH ORDINALITY AS u (row_table, row_tid, before, row_key, broken, n)
     GROUP BY 1 ORDER BY pg_catalog.min(u.n)
  LOOP
    figures := integrity.execute_as_owner_in(part.row_table, path, pg_catalog.format($query$
      WITH noted AS (
        SELECT n.before, n.key, n.broken, n.latest IS NOT NULL AS is_there,
               (SELECT integrity.row_image(r.*) FROM ONLY %1$s AS r WHERE r.ctid OPERATOR(pg_catalog.=) n.latest) AS image
          FROM ROWS FROM (pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7))
               AS n (latest, before, key, broken)
      ), compared AS (
        SELECT n.before, n.key, n.broken, n.is_there,
               (SELECT pg_catalog.jsonb_object_agg(a.key, a.value) FROM pg_catalog.jsonb_each(n.image) AS a
                 WHERE a.value OPERATOR(pg_catalog.<>) (n.before OPERATOR(pg_catalog.->) a.key)) AS after
          FROM noted AS n
      ), logged AS (
        INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, row_key, before, after, broken)
        SELECT $1, $2, $3, $8, c.key, c.before, c.after, c.broken
          FROM compared AS c WHERE NOT c.is_there OR c.after IS NOT NULL
        RETURNING after, broken
      )
      SELECT ARRAY[pg_catalog.count(*) FILTER (WHERE l.after IS NOT NULL), pg_catalog.count(*) FILTER (WHERE l.after IS NULL),
                   COALESCE(pg_catalog.sum(pg_catalog.jsonb_array_length(l.broken OPERATOR(pg_catalog.->) $3::pg_catalog.text))
                            FILTER (WHERE l.after IS NULL), 0)]
        FROM logged AS l
      $query$, integrity.table_name(part.row_table)),
      run_id, rule.referencing_table, rule.rule_name,
      integrity.lock_rows(part.row_table, part.tids, 'no key update'),
      part.befores, part.keys, part.brokens, part.row_table);
    rows_changed := rows_changed + figures[1];
    rows_deleted := rows_deleted + figures[2];
    references_gone := references_gone + figures[3];
  END LOOP;
END
$$;
/*
 * change.sql
 *	  One batch of a repair: locks rows, judges them anew, changes or deletes
 *	  what is still broken, and logs it.
 *
 * A row that breaks more than one rule is changed once. PostgreSQL checks every
 * foreign key of a row that its own transaction has written before, so a second
 * UPDATE would trip over the broken references that are still waiting for a
 * third.
 */

-- What a column is set to by SET DEFAULT.
CREATE FUNCTION integrity.column_default(referencing_table regclass, column_name name) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.pg_get_expr(t.typdefaultbin, 0), 'NULL')
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = $1 AND a.attname = $2
$$;

-- The columns that an action writes. ON DELETE SET NULL (b) spares column a.
CREATE FUNCTION integrity.written_columns(rule integrity.reference, action text) RETURNS name[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE((
    SELECT pg_catalog.array_agg(a.attname ORDER BY u.n)
      FROM pg_catalog.pg_constraint AS c,
           pg_catalog.unnest(c.confdelsetcols) WITH ORDINALITY AS u (attnum, n),
           pg_catalog.pg_attribute AS a
     WHERE $1.kind = 'foreign key' AND $1.on_delete = $2
       AND c.conrelid = $1.referencing_table AND c.conname = $1.rule_name AND c.contype = 'f'
       AND a.attrelid = c.conrelid AND a.attnum = u.attnum),
    (integrity.reference_columns($1)).columns)
$$;

-- The new value of a column, as the actions of all rules on it make it; NULL if
-- none of them writes it. j is the judged row.
CREATE FUNCTION integrity.mended_value(column_name name, rules integrity.reference[], actions text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  old text := pg_catalog.format('r.%I', column_name);
  value text := old;
  nulled text[];
  removed text[];
  empty_to_null boolean := false;
BEGIN
  FOR n IN 1 .. pg_catalog.cardinality(actions) LOOP
    CONTINUE WHEN actions[n] IS NULL OR column_name <> ALL (integrity.written_columns(rules[n], actions[n]));
    CASE actions[n]
      WHEN 'null element' THEN
        nulled := nulled || pg_catalog.format('j.p%s', n);
      WHEN 'remove element' THEN
        removed := removed || pg_catalog.format('j.p%s', n);
        empty_to_null := empty_to_null OR rules[n].on_empty = 'set null';
      ELSE NULL;
    END CASE;
  END LOOP;
  -- Positions count in the array as it was, so what closes gaps comes last.
  IF nulled IS NOT NULL THEN
    value := pg_catalog.format('integrity.null_positions(%s, %s)', value,
                               pg_catalog.array_to_string(nulled, ' OPERATOR(pg_catalog.||) '));
  END IF;
  IF removed IS NOT NULL THEN
    value := pg_catalog.format('integrity.remove_positions(%s, %s, %L)', value,
                               pg_catalog.array_to_string(removed, ' OPERATOR(pg_catalog.||) '), empty_to_null);
  END IF;
  FOR n IN 1 .. pg_catalog.cardinality(actions) LOOP
    CONTINUE WHEN actions[n] IS NULL OR actions[n] NOT IN ('set null', 'set default')
               OR column_name <> ALL (integrity.written_columns(rules[n], actions[n]));
    value := pg_catalog.format('CASE WHEN j.n%s OPERATOR(pg_catalog.>) 0 THEN %s ELSE %s END', n,
      CASE actions[n] WHEN 'set null' THEN 'NULL' ELSE integrity.column_default(rules[n].referencing_table, column_name) END, value);
  END LOOP;
  RETURN NULLIF(value, old);
END
$$;

-- May a trigger of the table's owner change a row once more after it was changed?
-- It fires when the statement is over, and so is not in what that returns.
CREATE FUNCTION integrity.has_after_triggers(row_table regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
                   JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid
                  WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND t.tgenabled <> 'D'
                    AND t.tgtype & 2 = 0    -- not BEFORE
                    AND t.tgtype & 16 <> 0  -- UPDATE
                    AND f.pronamespace <> 'integrity'::regnamespace)
$$;

-- The rows that are about to be mended, as they are, each with the rule for whose
-- sake.
CREATE FUNCTION integrity.note_mends(
  row_table regclass, tids tid[], rules integrity.reference[], actions text[], mends text, cause text,
  OUT causes integer[], OUT rows integrity.noted_row[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
AS $$
BEGIN
  EXECUTE pg_catalog.format(
    'SELECT pg_catalog.array_agg(%1$s), pg_catalog.array_agg(ROW($4, j.tid, j.before, j.key, j.broken)::integrity.noted_row)'
    '  FROM (%2$s) AS j WHERE NOT j.doomed AND (%3$s)',
    cause, integrity.judged_rows(row_table, rules, actions), mends)
    INTO causes, rows
    USING tids, ARRAY(SELECT r.rule_name FROM pg_catalog.unnest(rules) AS r),
          ARRAY(SELECT r.referenced_table FROM pg_catalog.unnest(rules) AS r), row_table;
END
$$;

-- Mends rows of one table: carries out the actions on those that are broken and
-- that no action deletes. Rules and actions go in pairs; a rule whose action is
-- NULL is only written down. Returns for each rule the rows that were changed and
-- the broken references that they held, and for the first one also what cascades
-- have changed and deleted: {rows, references, ..., changed, deleted}.
CREATE FUNCTION integrity.mend_rows(
  run_id bigint, row_table regclass, tids tid[], rules integrity.reference[], actions text[], path text) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
  names name[] := ARRAY(SELECT r.rule_name FROM pg_catalog.unnest(rules) AS r);
  tables regclass[] := ARRAY(SELECT r.referencing_table FROM pg_catalog.unnest(rules) AS r);
  key_tables regclass[] := ARRAY(SELECT r.referenced_table FROM pg_catalog.unnest(rules) AS r);
  columns name[];
  assignments text;
  mends text;      -- some action changes the row
  cause text;      -- the first rule that does
  figures text;
  counted text;
  hands_on boolean;
  log_later boolean := integrity.has_after_triggers(row_table);
  mended record;
  noted integrity.noted_row[] := '{}';
  result bigint[];
  cascaded record;
  causes integer[] := '{}';
  mended_rows integrity.noted_row[] := '{}';
BEGIN
  SELECT pg_catalog.array_agg(w.c ORDER BY w.c),
         pg_catalog.string_agg(pg_catalog.format('%I = %s', w.c, w.v), ', ' ORDER BY w.c)
    INTO columns, assignments
    FROM (SELECT c.c, integrity.mended_value(c.c, rules, actions) AS v
            FROM (SELECT DISTINCT w.c FROM pg_catalog.generate_subscripts(actions, 1) AS n,
                         pg_catalog.unnest(integrity.written_columns(rules[n], actions[n])) AS w (c)
                   WHERE actions[n] IS NOT NULL) AS c) AS w
   WHERE w.v IS NOT NULL;
  SELECT pg_catalog.string_agg(pg_catalog.format('j.n%s OPERATOR(pg_catalog.>) 0', n), ' OR ' ORDER BY n),
         'CASE' || pg_catalog.string_agg(pg_catalog.format(' WHEN j.n%1$s OPERATOR(pg_catalog.>) 0 THEN %1$s', n), '' ORDER BY n) || ' END'
    INTO mends, cause
    FROM pg_catalog.generate_subscripts(actions, 1) AS n
   WHERE actions[n] IS NOT NULL AND actions[n] <> 'delete row';
  SELECT pg_catalog.string_agg(pg_catalog.format(', j.n%s', n), '' ORDER BY n),
         pg_catalog.string_agg(pg_catalog.format(
           'pg_catalog.count(*) FILTER (WHERE l.n%1$s OPERATOR(pg_catalog.>) 0), COALESCE(pg_catalog.sum(l.n%1$s)::pg_catalog.int8, 0)', n), ', ' ORDER BY n)
    INTO figures, counted
    FROM pg_catalog.generate_subscripts(actions, 1) AS n;

  -- A column that is mended may be a key itself. Then no reference to it may
  -- come in after we have looked for them.
  hands_on := EXISTS (SELECT FROM pg_catalog.unnest(integrity.handing_on()) AS f
                       WHERE integrity.hands_on(f, row_table, columns));
  tids := pg_catalog.array_remove(
    integrity.lock_rows(row_table, tids, CASE WHEN hands_on THEN 'update' ELSE 'no key update' END), NULL);
  IF hands_on THEN
    noted := integrity.note_cascades(row_table, tids, columns);
  END IF;
  IF log_later THEN
    SELECT m.causes, m.rows INTO causes, mended_rows
      FROM integrity.note_mends(row_table, tids, rules, actions, mends, cause) AS m;
  END IF;

  result := integrity.execute_as_owner_in(row_table, path, pg_catalog.format($query$
    WITH judged AS MATERIALIZED (%1$s), changed AS (
      UPDATE ONLY %2$s AS r SET %3$s
        FROM (SELECT j.*, %4$s AS cause FROM judged AS j WHERE NOT j.doomed AND (%5$s)) AS j
       WHERE r.ctid OPERATOR(pg_catalog.=) j.tid AND r.ctid OPERATOR(pg_catalog.=) ANY ($1)
      RETURNING j.key, j.before, j.broken, j.cause, integrity.row_image(r.*) AS image%6$s
    ), compared AS (
      SELECT j.*, (SELECT pg_catalog.jsonb_object_agg(a.key, a.value) FROM pg_catalog.jsonb_each(j.image) AS a
                    WHERE a.value OPERATOR(pg_catalog.<>) (j.before OPERATOR(pg_catalog.->) a.key)) AS after
        FROM changed AS j
    ), logged AS (
      INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, row_key, before, after, broken)
      SELECT $4, ($5)[j.cause], ($2)[j.cause], $6, j.key, j.before, j.after, j.broken
        FROM compared AS j WHERE j.after IS NOT NULL AND %8$s
    )
    SELECT ARRAY[%7$s] FROM compared AS l WHERE l.after IS NOT NULL
    $query$,
    integrity.judged_rows(row_table, rules, actions), integrity.table_name(row_table), assignments, cause, mends, figures, counted,
    CASE WHEN log_later THEN 'false' ELSE 'true' END),
    tids, names, key_tables, run_id, tables, row_table);

  -- With what the table's own AFTER triggers have made of them.
  FOR mended IN
    SELECT u.cause, pg_catalog.array_agg(u.r ORDER BY u.i) AS rows
      FROM (SELECT causes[i] AS cause, mended_rows[i] AS r, i FROM pg_catalog.generate_subscripts(mended_rows, 1) AS i) AS u
     GROUP BY u.cause ORDER BY u.cause
  LOOP
    PERFORM integrity.log_noted(run_id, rules[mended.cause], mended.rows, path);
  END LOOP;
  cascaded := integrity.log_noted(run_id, rules[1], noted, path);
  RETURN result || cascaded.rows_changed || cascaded.rows_deleted;
END
$$;

-- Deletes rows of one table: those that the action of the first rule dooms. The
-- other rules are only written down. Returns what was changed and deleted, with
-- all cascades, and how many broken references of the rule went with its rows:
-- {changed, deleted, references}.
CREATE FUNCTION integrity.delete_rows(
  run_id bigint, row_table regclass, tids tid[], rules integrity.reference[], action text, path text) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
AS $$
DECLARE
  names name[] := ARRAY(SELECT r.rule_name FROM pg_catalog.unnest(rules) AS r);
  key_tables regclass[] := ARRAY(SELECT r.referenced_table FROM pg_catalog.unnest(rules) AS r);
  judged text := integrity.judged_rows(row_table, rules, ARRAY[action]);
  noted integrity.noted_row[];
  cascades integrity.noted_row[];
  done record;
  cascaded record;
BEGIN
  tids := pg_catalog.array_remove(integrity.lock_rows(row_table, tids, 'update'), NULL);
  EXECUTE pg_catalog.format(
    'SELECT pg_catalog.array_agg(ROW($4, j.tid, j.before, j.key, j.broken)::integrity.noted_row), pg_catalog.array_agg(j.tid)'
    '  FROM (%s) AS j WHERE j.doomed', judged)
    INTO noted, tids USING tids, names, key_tables, row_table;
  IF noted IS NULL THEN
    RETURN ARRAY[0, 0, 0];
  END IF;
  cascades := integrity.note_cascades(row_table, tids, NULL);

  -- Judged once more, for a key may have come. Less than was noted can go, never
  -- more.
  PERFORM integrity.execute_as_owner_in(row_table, path, pg_catalog.format(
    'DELETE FROM ONLY %s AS r USING (%s) AS j WHERE j.doomed AND r.ctid OPERATOR(pg_catalog.=) j.tid AND r.ctid OPERATOR(pg_catalog.=) ANY ($1)',
    integrity.table_name(row_table), judged),
    tids, names, key_tables);

  done := integrity.log_noted(run_id, rules[1], noted, path);
  cascaded := integrity.log_noted(run_id, rules[1], cascades, path);
  RETURN ARRAY[done.rows_changed + cascaded.rows_changed, done.rows_deleted + cascaded.rows_deleted, done.references_gone];
END
$$;
/*
 * repair.sql
 *	  Carries out on broken references what their rules would have done.
 *
 * A run looks at its rules, changes rows in batches, and looks again: deleting
 * rows can break references that nothing enforces. It ends when nothing is
 * broken any more, or when a pass brings no progress.
 *
 * repair() itself sets no search_path, and hands on the caller's: the triggers
 * of the changed tables are to find what they find at any other time. All the
 * rest does set it.
 */

-- One rule in the course of a run.
CREATE TYPE integrity.rule_repair AS (
  rule integrity.reference,
  action text,
  -- the first look
  rows_checked bigint, rows_broken bigint, references_checked bigint, references_broken bigint, values_broken bigint,
  -- the last one
  rows_broken_now bigint, references_broken_now bigint,
  -- what was done; "settled" are the references that the rows of the current pass held
  references_found bigint, settled bigint, rows_changed bigint, rows_deleted bigint);

-- The actions that a repair can carry out for a rule.
CREATE FUNCTION integrity.possible_actions(rule integrity.reference) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE ($1).kind
    WHEN 'array reference' THEN
      CASE ($1).null_elements WHEN 'reject' THEN '{remove element,delete row,set null}'::text[]
                              ELSE '{remove element,null element,delete row,set null}' END
    WHEN 'foreign key' THEN '{delete row,set null,set default}'
    ELSE '{delete row,set null}' END
$$;

-- The action for a rule that is broken: the given one, or the rule's own.
CREATE FUNCTION integrity.repair_action(rule integrity.reference, action text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  possible text[] := integrity.possible_actions(rule);
  chosen text := COALESCE(action, rule.on_delete);
  words text := (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(w), ', ' ORDER BY n)
                   FROM pg_catalog.unnest(possible) WITH ORDINALITY AS u (w, n));
  table_name name := (SELECT c.relname FROM pg_catalog.pg_class AS c WHERE c.oid = rule.referencing_table);
BEGIN
  IF chosen = ANY (possible) THEN
    RETURN chosen;
  ELSIF action IS NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = pg_catalog.format('rule "%s" of table "%s" does not say how to repair it', rule.rule_name, table_name),
      DETAIL = pg_catalog.format('References are broken, and its on_delete is "%s".', rule.on_delete),
      HINT = pg_catalog.format('Give an action: %s.', words);
  ELSE
    RAISE invalid_parameter_value USING
      MESSAGE = pg_catalog.format('action "%s" is not possible for rule "%s" of table "%s"', action, rule.rule_name, table_name),
      HINT = pg_catalog.format('Possible are: %s.', words);
  END IF;
END
$$;

-- Raises if repair() or repair_in_batches() was called with something that it
-- does not understand.
CREATE FUNCTION integrity.check_repair_arguments(referencing_table regclass, rule_name name, action text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF referencing_table IS NULL AND rule_name IS NOT NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'a rule_name needs its referencing_table',
      HINT = 'A rule is known by its table and its name: integrity.repair(''public.parent_profiles'', ''parent_profiles_children_ids_fkey'').';
  ELSIF action NOT IN ('remove element', 'null element', 'delete row', 'set null', 'set default') THEN
    RAISE invalid_parameter_value USING
      MESSAGE = pg_catalog.format('unrecognized value for action: "%s"', action),
      HINT = 'Use ''remove element'', ''null element'', ''delete row'', ''set null'' or ''set default'', or leave it out for the rule''s own.';
  END IF;
  IF referencing_table IS NOT NULL AND NOT integrity.owns(referencing_table) THEN
    RAISE insufficient_privilege USING
      MESSAGE = pg_catalog.format('must be owner of table %s', COALESCE(
        (SELECT c.relname::text FROM pg_catalog.pg_class AS c WHERE c.oid = referencing_table), referencing_table::text)),
      HINT = 'Only the owner of the referencing table can repair its references.';
  END IF;
END
$$;

-- Looks at a rule. If rows were deleted since the last look, that may have
-- broken more: what was not there before, or is left over, adds to what was found.
CREATE FUNCTION integrity.look_again(INOUT work integrity.rule_repair, rows_were_deleted boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  seen record;
  left_over bigint := GREATEST(work.references_broken_now - work.settled, 0);
BEGIN
  seen := integrity.look_at_rule(work.rule);
  IF work.references_found IS NULL THEN
    work.rows_checked := seen.rows_checked;
    work.rows_broken := seen.rows_broken;
    work.references_checked := seen.references_checked;
    work.references_broken := seen.references_broken;
    work.values_broken := seen.values_broken;
    work.references_found := seen.references_broken;
    work.rows_changed := 0;
    work.rows_deleted := 0;
  ELSIF rows_were_deleted THEN
    work.references_found := work.references_found + GREATEST(seen.references_broken - left_over, 0);
  END IF;
  work.rows_broken_now := seen.rows_broken;
  work.references_broken_now := seen.references_broken;
  work.settled := 0;
END
$$;

-- Locks a rule and reads it. The lock keeps it from being changed or dropped.
CREATE FUNCTION integrity.lock_rule(referencing_table regclass, rule_name name) RETURNS integrity.reference
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF integrity.table_name(referencing_table) IS NULL THEN
    RAISE undefined_table USING MESSAGE = pg_catalog.format('relation with OID %s does not exist', referencing_table::oid);
  END IF;
  EXECUTE pg_catalog.format('LOCK TABLE ONLY %s IN ROW EXCLUSIVE MODE', integrity.table_name(referencing_table));
  RETURN integrity.find_rule(referencing_table, rule_name);
END
$$;

-- Takes up a rule: locks it and looks; if it is broken it must be possible, for
-- the owner of the table too, to judge its rows.
CREATE FUNCTION integrity.take_up(referencing_table regclass, rule_name name) RETURNS integrity.rule_repair
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  work integrity.rule_repair;
BEGIN
  work.rule := integrity.lock_rule(referencing_table, rule_name);
  PERFORM integrity.check_can_look(work.rule);
  work := integrity.look_again(work, false);
  IF work.references_broken > 0 THEN
    PERFORM integrity.check_can_judge(work.rule);
  END IF;
  RETURN work;
END
$$;

-- One batch: repairs these rows of one table for the sake of rule number n, and
-- if it is not about deleting, of all rules that are at work on the table.
CREATE FUNCTION integrity.repair_rows(
  run_id bigint, works integrity.rule_repair[], n integer, deleting boolean, row_table regclass, tids tid[], path text)
RETURNS integrity.rule_repair[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on SET jit = off
  SET DateStyle = ISO SET IntervalStyle = postgres SET extra_float_digits = 1 SET bytea_output = hex
AS $$
DECLARE
  numbers integer[] := ARRAY[n];
  rules integrity.reference[];
  actions text[];
  figures bigint[];
BEGIN
  IF NOT deleting THEN
    numbers := numbers || ARRAY(
      SELECT m FROM pg_catalog.generate_subscripts(works, 1) AS m
       WHERE m <> n AND works[m].references_broken_now > 0
         AND ((works[m].rule).referencing_table = row_table OR
              (works[m].rule).referencing_table IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(row_table) AS a))
       ORDER BY m);
  END IF;
  rules := ARRAY(SELECT works[u.m].rule FROM pg_catalog.unnest(numbers) WITH ORDINALITY AS u (m, o) ORDER BY u.o);
  actions := ARRAY(SELECT works[u.m].action FROM pg_catalog.unnest(numbers) WITH ORDINALITY AS u (m, o) ORDER BY u.o);
  rules := integrity.rules_of(row_table, rules);

  IF deleting THEN
    figures := integrity.delete_rows(run_id, row_table, tids, rules, works[n].action, path);
    works[n].rows_changed := works[n].rows_changed + figures[1];
    works[n].rows_deleted := works[n].rows_deleted + figures[2];
    works[n].settled := works[n].settled + figures[3];
    RETURN works;
  END IF;

  actions := actions || pg_catalog.array_fill(NULL::text, ARRAY[pg_catalog.cardinality(rules) - pg_catalog.cardinality(actions)]);
  figures := integrity.mend_rows(run_id, row_table, tids, rules, actions, path);
  FOR i IN 1 .. pg_catalog.cardinality(numbers) LOOP
    works[numbers[i]].rows_changed := works[numbers[i]].rows_changed + figures[2 * i - 1];
    works[numbers[i]].settled := works[numbers[i]].settled + figures[2 * i];
  END LOOP;
  works[n].rows_changed := works[n].rows_changed + figures[pg_catalog.cardinality(figures) - 1];
  works[n].rows_deleted := works[n].rows_deleted + figures[pg_catalog.cardinality(figures)];
  RETURN works;
END
$$;

-- Is this rule to be worked on? First rows are mended, then rows are deleted: a
-- row that a cascade reaches is whole by then, and no check finds fault with it.
CREATE FUNCTION integrity.has_work(work integrity.rule_repair, deleting boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT $1.references_broken_now > 0
     AND CASE WHEN $2 THEN $1.action = 'delete row' OR ($1.action = 'remove element' AND (($1).rule).on_empty = 'delete row')
              ELSE $1.action <> 'delete row' END
$$;

-- The rows of a rule from a place on, up to 100,000, cut into batches.
CREATE FUNCTION integrity.next_rows(
  rule integrity.reference, batch_rows integer, after_table oid, after_row tid) RETURNS TABLE (row_table regclass, tids tid[])
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT b.row_table, pg_catalog.array_agg(b.row_tid ORDER BY b.row_tid)
    FROM (SELECT r.row_table, r.row_tid,
                 (pg_catalog.row_number() OVER (PARTITION BY r.row_table ORDER BY r.row_tid) - 1) / $2 AS batch
            FROM integrity.broken_rows(($1).referencing_table, ($1).rule_name, $3, $4, 100000) AS r) AS b
   GROUP BY b.row_table, b.batch
   ORDER BY b.row_table, b.batch
$$;

-- How many rows make a batch: 1,000, or fewer where rows are so large that
-- their images would not fit into memory. What is compressed grows, so the size
-- counts four times.
CREATE FUNCTION integrity.rows_of_a_batch(regclass) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT GREATEST(1, LEAST(1000, pg_catalog.min(
           64 * 1024 * 1024 * CASE WHEN c.reltuples > 0 THEN c.reltuples
                                   -- never analyzed: many small rows to a page, or few large ones out of line
                                   ELSE 50 * pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::integer END
           / GREATEST(4 * pg_catalog.pg_table_size(c.oid), 1))))::integer
    FROM (SELECT $1 AS relid UNION SELECT p.relid FROM pg_catalog.pg_partition_tree($1) AS p) AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.relid AND c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) > 0
$$;

-- Works once on every rule that is broken. Rows are deleted from a table before
-- those that they refer to: what they would hand on then meets no row that is
-- broken still, and that the check of a foreign key would find fault with.
CREATE FUNCTION integrity.repair_pass(run_id bigint, works integrity.rule_repair[], path text) RETURNS integrity.rule_repair[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  deleting boolean;
  n integer;
  depths integer[];
  part record;
  after_table oid;
  after_row tid;
  chunk bigint;
  rows_left bigint;
BEGIN
  depths := integrity.depths(ARRAY(SELECT (works[m].rule).referencing_table::oid FROM pg_catalog.generate_subscripts(works, 1) AS m ORDER BY m));
  FOREACH deleting IN ARRAY ARRAY[false, true] LOOP
    FOR n IN SELECT m FROM pg_catalog.generate_subscripts(works, 1) AS m ORDER BY CASE WHEN deleting THEN depths[m] END DESC, m LOOP
      CONTINUE WHEN integrity.has_work(works[n], deleting) IS NOT TRUE;
      after_table := NULL;
      after_row := NULL;
      rows_left := works[n].rows_broken_now;
      LOOP
        chunk := 0;
        FOR part IN SELECT r.* FROM integrity.next_rows(works[n].rule, integrity.rows_of_a_batch((works[n].rule).referencing_table), after_table, after_row) AS r LOOP
          works := integrity.repair_rows(run_id, works, n, deleting, part.row_table, part.tids, path);
          chunk := chunk + pg_catalog.cardinality(part.tids);
          after_table := part.row_table;
          after_row := part.tids[pg_catalog.cardinality(part.tids)];
        END LOOP;
        -- A trigger that keeps a row as broken as it was must not keep us here.
        rows_left := rows_left - chunk;
        EXIT WHEN chunk < 100000 OR rows_left <= 0;
      END LOOP;
    END LOOP;
  END LOOP;
  RETURN works;
END
$$;

-- A real run: over one rule, those of one table, or all that the caller owns.
CREATE FUNCTION integrity.run_repair(
  referencing_table regclass, rule_name name, action text, path text, OUT run_id bigint, OUT works integrity.rule_repair[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
DECLARE
  known record;
  broken_before numeric;
  broken_after numeric;
  deleted_before numeric;
  deleted_after numeric;
  passes integer := 0;
BEGIN
  PERFORM integrity.settle_triggers();
  works := '{}';
  IF rule_name IS NOT NULL THEN
    works := works || integrity.take_up(referencing_table, rule_name);
  ELSE
    FOR known IN
      SELECT d.relid, d.name, c.relname
        FROM (SELECT t.tgrelid, t.tgname FROM pg_catalog.pg_trigger AS t
               WHERE t.tgfoid = 'integrity.check_reference()'::regprocedure AND t.tgparentid = 0
              UNION
              SELECT f.conrelid, f.conname FROM pg_catalog.pg_constraint AS f
               WHERE f.contype = 'f' AND f.conparentid = 0) AS d (relid, name)
        JOIN pg_catalog.pg_class AS c ON c.oid = d.relid
       -- the log is not a matter of its own repairs
       WHERE c.relnamespace <> 'integrity'::regnamespace
         AND CASE WHEN $1 IS NULL THEN NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace) AND integrity.owns(d.relid)
                  ELSE d.relid = $1 END
       ORDER BY integrity.table_name(d.relid) COLLATE "C", d.name
    LOOP
      -- OTHERS leaves out query_canceled.
      BEGIN
        works := works || integrity.take_up(known.relid, known.name);
      EXCEPTION
        WHEN serialization_failure OR deadlock_detected THEN
          RAISE;
        WHEN OTHERS THEN
          IF referencing_table IS NOT NULL THEN
            RAISE;
          END IF;
          RAISE WARNING USING
            MESSAGE = pg_catalog.format('rule "%s" of table "%s" is left out: %s', known.name, known.relname, SQLERRM),
            ERRCODE = SQLSTATE;
      END;
    END LOOP;
  END IF;

  INSERT INTO integrity.run (kind, parameters)
  VALUES ('repair', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'referencing_table', referencing_table::text, 'rule_name', rule_name, 'action', action)))
  RETURNING run.run_id INTO run_id;
  PERFORM integrity.open_run(run_id);

  LOOP
    FOR n IN 1 .. pg_catalog.cardinality(works) LOOP
      IF works[n].references_broken_now > 0 AND works[n].action IS NULL THEN
        works[n].action := integrity.repair_action(works[n].rule, action);
      END IF;
    END LOOP;
    SELECT pg_catalog.sum(w.references_broken_now), pg_catalog.sum(w.rows_deleted) INTO broken_before, deleted_before
      FROM pg_catalog.unnest(works) AS w;
    EXIT WHEN broken_before IS NULL OR broken_before = 0;
    works := integrity.repair_pass(run_id, works, path);
    deleted_after := (SELECT pg_catalog.sum(w.rows_deleted) FROM pg_catalog.unnest(works) AS w);
    FOR n IN 1 .. pg_catalog.cardinality(works) LOOP
      works[n] := integrity.look_again(works[n], deleted_after > deleted_before);
    END LOOP;
    broken_after := (SELECT pg_catalog.sum(w.references_broken_now) FROM pg_catalog.unnest(works) AS w);
    -- Deleting rows may break others, and so on. But a trigger that brings back
    -- what was deleted must not keep us here.
    passes := CASE WHEN broken_after < broken_before THEN 0 ELSE passes + 1 END;
    EXIT WHEN broken_after >= broken_before AND (deleted_after = deleted_before OR passes >= 100);
  END LOOP;

  PERFORM integrity.log_rule(run_id, w, w.references_broken_now) FROM pg_catalog.unnest(works) AS w;
  UPDATE integrity.run AS r SET finished = pg_catalog.clock_timestamp() WHERE r.run_id = run_repair.run_id;
END
$$;

-- Puts the figures of a rule into the log, or brings them up to date.
CREATE FUNCTION integrity.log_rule(run_id bigint, work integrity.rule_repair, references_broken_after bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  INSERT INTO integrity.run_rule AS r
    (run_id, referencing_table, rule_name, action, status, rows_checked, rows_broken, references_checked, references_broken,
     values_broken, references_broken_after, rows_changed, rows_deleted)
  SELECT $1, (($2).rule).referencing_table, (($2).rule).rule_name, ($2).action,
         CASE WHEN ($2).references_broken > 0 THEN 'broken' ELSE 'ok' END,
         ($2).rows_checked, ($2).rows_broken, ($2).references_checked, ($2).references_broken, ($2).values_broken,
         $3, ($2).rows_changed, ($2).rows_deleted
  ON CONFLICT ON CONSTRAINT run_rule_pkey DO UPDATE
     SET references_broken_after = excluded.references_broken_after,
         rows_changed = excluded.rows_changed,
         rows_deleted = excluded.rows_deleted
$$;

-- repair() with, as the last argument, the search_path that triggers are to
-- find. Its arguments have no names, for PL/pgSQL would not tell them from the
-- columns of the same names.
CREATE FUNCTION integrity.repair_rules(regclass, name, text, boolean, text) RETURNS TABLE (
  run_id bigint, referencing_table regclass, rule_name name, action text,
  references_broken bigint, rows_changed bigint, rows_deleted bigint, dry_run boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  run record;
BEGIN
  IF $4 IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'dry_run must not be null',
      HINT = 'Leave it out for a dry run, or say false.';
  END IF;
  PERFORM integrity.check_repair_arguments($1, $2, $3);
  IF NOT $4 THEN
    run := integrity.run_repair($1, $2, $3, $5);
  ELSE
    -- The same, and then out of it by an error that is ours alone.
    BEGIN
      run := integrity.run_repair($1, $2, $3, $5);
      RAISE EXCEPTION USING ERRCODE = 'INTDR', MESSAGE = 'this was a dry run';
    EXCEPTION
      WHEN SQLSTATE 'INTDR' THEN
        IF run IS NULL THEN
          RAISE;
        END IF;
    END;
  END IF;
  RETURN QUERY
    SELECT CASE WHEN NOT $4 THEN run.run_id END, (w.rule).referencing_table, (w.rule).rule_name, w.action,
           w.references_found, w.rows_changed, w.rows_deleted, $4
      FROM pg_catalog.unnest(run.works) WITH ORDINALITY AS w
     WHERE w.references_found > 0
     ORDER BY w.ordinality;
END
$$;

/**
 * Repairs broken references: does to the rows that hold them what the rule would have done if their keys had been deleted.
 * By default it is a dry run, which does all of it, tells the figures and rolls it back. So a dry run takes the locks and
 * fires the triggers of a real one, and both tell the same.
 *
 * The action is the rule's own `on_delete`: 'remove element' with its `on_empty`, 'null element', 'delete row', 'set null',
 * and for a native foreign key its ON DELETE. A rule with 'no action' or 'restrict' that is broken needs an explicit one,
 * else nothing is changed for any rule. Only broken elements are taken out, every occurrence of them; the others keep their
 * order, and other columns are not touched. Rows are changed as the owner of their table, and its triggers fire.
 *
 * One row is returned per rule that was broken. `references_broken` are those that were found; `rows_changed` and
 * `rows_deleted` count the rows of the rule's own table and those that a delete has reached through cascades. A row that was
 * mended for two rules counts for both. Deleting rows can break other references that are declared and not enforced; they
 * are repaired too, if their rule is part of the call, so that a second repair finds nothing.
 *
 * A real run is in the run log: `integrity.run`, `integrity.run_rule` and, with an image of each row before and after,
 * `integrity.change`. `integrity.undo()` takes it back. What your own triggers did to other rows is not in the log.
 *
 * A row that somebody else is changing is waited for, and looked at again: what is mended by then is left alone. The keys are
 * looked at as they are at that time, too.
 *
 * Parameters:
 *   referencing_table  repair only the rules declared on this table; NULL, the default, all tables that are yours
 *   rule_name          repair only this rule of it
 *   action             'remove element', 'null element', 'delete row', 'set null', or for a native foreign key also
 *                      'set default'. NULL, the default: each rule's own
 *   dry_run            true, the default: nothing is changed
 *
 * Locks: ROW EXCLUSIVE on the referencing tables and those that cascades reach, ACCESS SHARE on the referenced ones; FOR NO
 * KEY UPDATE on each row that is changed, FOR UPDATE on each that is deleted. All to the end of the transaction.
 *
 * Errors: 22023 a broken rule has no action of its own, or cannot have the given one; 42501 not the owner of the table, of a
 * partition or of a table that a cascade reaches, or a key may not be read; 42704 the table has no such rule; 23503 a row that
 * is to be deleted is referenced by a rule that restricts; 40001 in a transaction with REPEATABLE READ or SERIALIZABLE, a row
 * was changed meanwhile; 55000 the rule cannot work. A rule that cannot be looked at is a WARNING, and left out, where no table
 * was named.
 *
 * Example:
 *   SELECT * FROM integrity.repair();
 *   SELECT * FROM integrity.repair('parent_profiles', dry_run => false);
 */
CREATE FUNCTION integrity.repair(
  referencing_table regclass DEFAULT NULL, rule_name name DEFAULT NULL,
  action text DEFAULT NULL, dry_run boolean DEFAULT true) RETURNS TABLE (
  run_id bigint, referencing_table regclass, rule_name name, action text,
  references_broken bigint, rows_changed bigint, rows_deleted bigint, dry_run boolean)
LANGUAGE sql VOLATILE
AS $$ SELECT r.* FROM integrity.repair_rules($1, $2, $3, $4, pg_catalog.current_setting('search_path')) AS r $$;
/*
 * batches.sql
 *	  repair() for tables on which one transaction would take too long.
 *
 * Between two batches nothing is held: no lock, no snapshot. So the rule is read
 * and locked anew for each, and rows are judged anew in any case. A tid that is
 * out of date by then leads to the row's latest version, to another row, which
 * is judged like any, or to none. A row that is missed so is found by the next
 * pass.
 *
 * A procedure that commits cannot have settings of its own. So repair_in_batches()
 * qualifies every name and operator, and does little itself.
 */

-- Begins a run over one rule.
CREATE FUNCTION integrity.start_batches(
  referencing_table regclass, rule_name name, action text, batch_rows integer,
  OUT run_id bigint, OUT work integrity.rule_repair)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
BEGIN
  IF referencing_table IS NULL OR rule_name IS NULL OR batch_rows IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = pg_catalog.format('%s must not be null', CASE WHEN referencing_table IS NULL THEN 'referencing_table'
                                                              WHEN rule_name IS NULL THEN 'rule_name' ELSE 'batch_rows' END);
  ELSIF batch_rows < 1 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'batch_rows must be at least 1';
  END IF;
  PERFORM integrity.check_repair_arguments(referencing_table, rule_name, action);
  work := integrity.take_up(referencing_table, rule_name);
  IF work.references_broken_now > 0 THEN
    work.action := integrity.repair_action(work.rule, action);
  END IF;
  INSERT INTO integrity.run (kind, parameters)
  VALUES ('repair', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'referencing_table', referencing_table::text, 'rule_name', rule_name, 'action', action, 'batch_rows', batch_rows)))
  RETURNING run.run_id INTO run_id;
  PERFORM integrity.log_rule(run_id, work, NULL);
END
$$;

-- Repairs one batch, by the rule as it is now.
CREATE FUNCTION integrity.repair_batch(
  run_id bigint, work integrity.rule_repair, action text, deleting boolean, row_table regclass, tids tid[], path text)
RETURNS integrity.rule_repair
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  works integrity.rule_repair[];
BEGIN
  PERFORM integrity.open_run(run_id);
  PERFORM integrity.settle_triggers();
  work.rule := integrity.lock_rule((work.rule).referencing_table, (work.rule).rule_name);
  work.action := integrity.repair_action(work.rule, action);
  works := integrity.repair_rows(run_id, ARRAY[work], 1, deleting, row_table, tids, path);
  PERFORM integrity.log_rule(run_id, works[1], NULL);
  RETURN works[1];
END
$$;

-- Looks what is left. "goes_on": another pass is worth while.
CREATE FUNCTION integrity.end_pass(action text, before integrity.rule_repair, INOUT work integrity.rule_repair, OUT goes_on boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  work.rule := integrity.lock_rule((work.rule).referencing_table, (work.rule).rule_name);
  work := integrity.look_again(work, work.rows_deleted > before.rows_deleted);
  goes_on := work.references_broken_now > 0 AND
    (work.references_broken_now < before.references_broken_now OR work.rows_deleted > before.rows_deleted);
  IF goes_on THEN
    work.action := integrity.repair_action(work.rule, action);
  END IF;
END
$$;

-- Ends a run.
CREATE FUNCTION integrity.end_batches(run_id bigint, work integrity.rule_repair) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  SELECT integrity.log_rule($1, $2, ($2).references_broken_now);
  UPDATE integrity.run AS r SET finished = pg_catalog.clock_timestamp() WHERE r.run_id = $1;
$$;

/**
 * Repairs the broken references of one rule as integrity.repair() does, but commits after each batch. For tables on which
 * one transaction would hold its locks for too long. Row locks are held for one batch only.
 *
 * It is one run, however many batches it takes, and `integrity.undo()` takes back all of it. If it is interrupted, the
 * batches before stay done and on record; call it again, and a new run does the rest.
 *
 * There is no dry run of it: `integrity.repair()` tells the figures beforehand.
 *
 * Parameters:
 *   referencing_table  the table that the rule was declared on; it must be yours
 *   rule_name          the rule: the name of its trigger, or of the foreign key constraint
 *   action             as for integrity.repair(). Default: the rule's own
 *   batch_rows         how many rows are changed between two commits. Default: 1000
 *   run_id             leave it out; the call returns the number of its run. A NOTICE tells the figures, which are in
 *                      `integrity.run_rule` too
 *
 * Locks: those of integrity.repair(), to the end of each batch.
 *
 * Errors: 2D000 it was called in a transaction block or by a function; those of integrity.repair(). The batches before an
 * error stay.
 *
 * Example:
 *   CALL integrity.repair_in_batches('parent_profiles', 'parent_profiles_children_ids_fkey', batch_rows => 5000);
 */
CREATE PROCEDURE integrity.repair_in_batches(
  referencing_table regclass, rule_name name, action text DEFAULT NULL, batch_rows integer DEFAULT 1000,
  INOUT run_id bigint DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
  path text := pg_catalog.current_setting('search_path');
  work integrity.rule_repair;
  before integrity.rule_repair;
  deleting boolean;
  step record;
  part record;
  after_table oid;
  after_row tid;
  chunk bigint;
  rows_left bigint;
BEGIN
  -- In a transaction block this is the error, before anything was done.
  COMMIT;
  step := integrity.start_batches($1, $2, $3, $4);
  run_id := step.run_id;
  work := step.work;
  COMMIT;
  LOOP
    before := work;
    FOREACH deleting IN ARRAY ARRAY[false, true] LOOP
      CONTINUE WHEN integrity.has_work(work, deleting) IS NOT TRUE;
      after_table := NULL;
      after_row := NULL;
      rows_left := work.rows_broken_now;
      LOOP
        chunk := 0;
        FOR part IN SELECT r.* FROM integrity.next_rows(work.rule, batch_rows, after_table, after_row) AS r LOOP
          work := integrity.repair_batch(run_id, work, action, deleting, part.row_table, part.tids, path);
          COMMIT;
          chunk := chunk OPERATOR(pg_catalog.+) pg_catalog.cardinality(part.tids);
          after_table := part.row_table;
          after_row := part.tids[pg_catalog.cardinality(part.tids)];
        END LOOP;
        rows_left := rows_left OPERATOR(pg_catalog.-) chunk;
        EXIT WHEN chunk OPERATOR(pg_catalog.<) 100000 OR rows_left OPERATOR(pg_catalog.<=) 0;
      END LOOP;
    END LOOP;
    step := integrity.end_pass(action, before, work);
    work := step.work;
    COMMIT;
    EXIT WHEN step.goes_on IS NOT TRUE;
  END LOOP;
  PERFORM integrity.end_batches(run_id, work);
  RAISE NOTICE 'rule "%": % references broken, % rows changed, % rows deleted, % references still broken', (work.rule).rule_name,
    work.references_found, work.rows_changed, work.rows_deleted, work.references_broken_now;
END
$$;
/*
 * restore.sql
 *	  Writing rows back whose references are broken, see restore.cpp.
 */

-- As execute_as_owner_in(), but the rows that the statement itself inserts or
-- updates in the table are not checked, a DELETE is refused where it would
-- spread, and an UPDATE does not spread. Who calls this owns the table, and could
-- drop its foreign keys too; undo() has every row checked by check_restored()
-- before it is done.
CREATE FUNCTION integrity.write_unchecked("table" regclass, search_path text, command text, VARIADIC arguments "any")
	RETURNS bigint[]
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'integrity_write_unchecked';

-- Raises if the row with this tid, or its latest version, refers to a key that
-- is not there, and locks those that are. was is the image of the row before it
-- was updated, NULL for one that was inserted; broken are the values that need
-- no key, by rule.
CREATE FUNCTION integrity.check_restored("table" regclass, row_tid tid, was jsonb, broken jsonb) RETURNS void
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'integrity_check_restored';

-- What the guard for DELETE is during write_unchecked().
CREATE FUNCTION integrity.refuse_delete() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_refuse_delete';
/*
 * undo_rows.sql
 *	  Puts a few rows back, or says of each why it is left alone.
 *
 * A row is changed only if it is exactly as the run left it. The statement that
 * changes it compares, so a row that somebody else is at is waited for and
 * compared again. Text is compared, all of it: see image.cpp.
 *
 * The statements run under the search_path of the session, because the triggers
 * of the users' tables do. So every name and every operator in them is
 * qualified.
 */

-- What a run did to one row, all in all. n is the last of its changes; before is
-- NULL if the run inserted the row, after if it deleted it. broken is what had no
-- key before; broken_now, what has none as the run left it.
CREATE TYPE integrity.net_change AS (
  n bigint, changed_table regclass, row_key jsonb, before jsonb, after jsonb, broken jsonb,
  referencing_table regclass, rule_name name, broken_now jsonb);

-- A row that was written without checks, which are still to come. was is its
-- image before that.
CREATE TYPE integrity.unchecked_row AS (
  n bigint, changed_table regclass, row_key jsonb, was jsonb, broken jsonb, row_tid tid);

CREATE TYPE integrity.left_alone AS (n bigint, changed_table regclass, row_key jsonb, reason text);

-- How to put back rows of one table whose images have these columns, of which
-- the run has changed those in changed_columns:
--
--	  command	writes the rows $2 (net_change[]) and logs that under the run $1;
--				returns the n of those that were written, then the blocks, then
--				the offsets where they are
--	  look		tells of each of the rows $2 ($1 is not used) how it is: 0 gone, 1
--				changed, 2 as the run left it, 3 as it was before the run; then
--				the blocks, then the offsets of those that are as the run left
--				them
--	  problem	why none of it can be done
CREATE FUNCTION integrity.undo_statements(
  changed_table regclass, columns text[], changed_columns text[], inserts boolean, deletes boolean,
  OUT command text, OUT look text, OUT has_key boolean, OUT problem text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  table_name text;
  image text;        -- the row's image, as far as the images of the run know it
  key_image text;    -- of the key alone, from what the run has left
  key_match text;
  new_image text;    -- of what is to be written
  targets text;
  sources text;
  item text;
  match text;
  write text;
  place CONSTANT text := '((%1$s::pg_catalog.text::pg_catalog.point)[0])::pg_catalog.int8, ((%1$s::pg_catalog.text::pg_catalog.point)[1])::pg_catalog.int8';
BEGIN
  SELECT pg_catalog.format('%I.%I', s.nspname, c.relname) INTO table_name
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
   WHERE c.oid = changed_table;
  IF NOT FOUND THEN
    problem := 'the table was dropped since';
    RETURN;
  END IF;
  SELECT pg_catalog.format('column "%s" was dropped or renamed since', u.name) INTO problem
    FROM pg_catalog.unnest(columns) WITH ORDINALITY AS u (name, i)
   WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                      WHERE a.attrelid = changed_table AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = u.name)
   ORDER BY u.i LIMIT 1;
  IF FOUND THEN
    RETURN;
  END IF;

  SELECT CASE WHEN pg_catalog.bool_and(a.attname = ANY (columns)) THEN 'integrity.row_image(r.*)'
              ELSE pg_catalog.format('(integrity.row_image(r.*) OPERATOR(pg_catalog.-) %L::pg_catalog.text[])',
                                     pg_catalog.array_agg(a.attname::text) FILTER (WHERE a.attname <> ALL (columns))) END,
         pg_catalog.format('u.before OPERATOR(pg_catalog.-) %L::pg_catalog.text[]',
           ARRAY(SELECT c FROM pg_catalog.unnest(columns) AS c WHERE c <> ALL (changed_columns))),
         pg_catalog.string_agg(pg_catalog.format('%I', a.attname), ', ' ORDER BY a.attnum)
           FILTER (WHERE a.attname = ANY (changed_columns) AND a.attgenerated = ''),
         pg_catalog.string_agg(pg_catalog.format('(i.new_row).%I', a.attname), ', ' ORDER BY a.attnum)
           FILTER (WHERE a.attname = ANY (changed_columns) AND a.attgenerated = '')
    INTO image, new_image, targets, sources
    FROM pg_catalog.pg_attribute AS a
   WHERE a.attrelid = changed_table AND a.attnum > 0 AND NOT a.attisdropped;

  -- The primary key as it is now, if the images have it, and its own operators.
  SELECT pg_catalog.format('u.after OPERATOR(pg_catalog.-) %L::pg_catalog.text[]',
           ARRAY(SELECT c FROM pg_catalog.unnest(columns) AS c WHERE c <> ALL (pg_catalog.array_agg(a.attname)))),
         pg_catalog.string_agg(pg_catalog.format('r.%I OPERATOR(%I.%s) (i.key_row).%I',
           a.attname, s.nspname, o.oprname, a.attname), ' AND ' ORDER BY u.i)
    INTO key_image, key_match
    FROM pg_catalog.pg_index AS x,
         ROWS FROM (pg_catalog.unnest(x.indkey), pg_catalog.unnest(x.indclass)) WITH ORDINALITY AS u (attnum, opclass, i),
         pg_catalog.pg_attribute AS a, pg_catalog.pg_opclass AS c, pg_catalog.pg_amop AS p, pg_catalog.pg_operator AS o,
         pg_catalog.pg_namespace AS s
   WHERE x.indrelid = changed_table AND x.indisprimary AND u.i <= x.indnkeyatts
     AND a.attrelid = changed_table AND a.attnum = u.attnum
     AND c.oid = u.opclass AND p.amopfamily = c.opcfamily AND p.amopstrategy = 3
     AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
     AND o.oid = p.amopopr AND s.oid = o.oprnamespace
  HAVING pg_catalog.bool_and(a.attname = ANY (columns));
  has_key := key_match IS NOT NULL;

  item := pg_catalog.format($piece$
    item AS MATERIALIZED (
      SELECT u.*, %1$s AS key_row, %2$s AS new_row%3$s
        FROM pg_catalog.unnest($2::integrity.net_change[]) WITH ORDINALITY AS u (
             n, changed_table, row_key, before, after, broken, referencing_table, rule_name, broken_now, i))$piece$,
    CASE WHEN has_key AND NOT inserts
         THEN pg_catalog.format('integrity.row_from_image(NULL::%s, %s)', table_name, key_image) ELSE 'NULL' END,
    CASE WHEN deletes THEN 'NULL'
         ELSE pg_catalog.format('integrity.row_from_image(NULL::%s, %s)', table_name, new_image) END,
    CASE WHEN NOT (has_key OR inserts) THEN ', pg_catalog.row_number() OVER (PARTITION BY u.after ORDER BY u.i) AS twin' END);

  -- Without a key, rows that are alike are told apart by number: each is taken once.
  match := key_match;
  IF NOT (has_key OR inserts) THEN
    item := item || pg_catalog.format($piece$,
    there AS (
      SELECT t.tid, t.image, pg_catalog.row_number() OVER (PARTITION BY t.image ORDER BY t.tid) AS twin
        FROM (SELECT r.ctid AS tid, %1$s AS image FROM ONLY %2$s AS r) AS t
       WHERE t.image OPERATOR(pg_catalog.=) ANY (SELECT u.after FROM item AS u)),
    found AS MATERIALIZED (
      SELECT i.*, t.tid
        FROM item AS i JOIN there AS t ON t.image OPERATOR(pg_catalog.=) i.after AND t.twin OPERATOR(pg_catalog.=) i.twin)$piece$,
      image, table_name);
    match := 'r.ctid OPERATOR(pg_catalog.=) i.tid';
  END IF;
  -- By the function: an operator would have the planner hash the images of the whole table.
  match := pg_catalog.format('%s AS i WHERE %s AND pg_catalog.jsonb_eq(%s, i.after)',
                             CASE WHEN has_key THEN 'item' ELSE 'found' END, match, image);

  IF inserts THEN
    -- An INSERT returns rows in the order in which it gets them. If a trigger
    -- drops some, there are fewer, and the caller takes all of it back.
    write := pg_catalog.format($piece$
      INSERT INTO %1$s AS r (%2$s) OVERRIDING SYSTEM VALUE
      SELECT %3$s FROM item AS i ORDER BY i.i
      RETURNING r.ctid AS tid, integrity.row_image(r.*) AS image$piece$, table_name, targets, sources);
    write := pg_catalog.format($piece$
    inserted AS (%s),
    numbered AS (SELECT pg_catalog.row_number() OVER () AS i, w.tid, w.image FROM inserted AS w),
    written AS (
      SELECT i.n, w.tid, NULL::pg_catalog.jsonb AS before, w.image AS after
        FROM numbered AS w JOIN item AS i ON i.i OPERATOR(pg_catalog.=) w.i)$piece$, write);
  ELSIF deletes THEN
    write := pg_catalog.format($piece$
    written AS (
      DELETE FROM ONLY %1$s AS r USING %2$s
      RETURNING i.n, r.ctid AS tid, integrity.row_image(r.*) AS before, NULL::pg_catalog.jsonb AS after)$piece$, table_name, match);
  ELSE
    write := pg_catalog.format($piece$
    updated AS (
      UPDATE ONLY %1$s AS r SET (%2$s) = ROW (%3$s) FROM %4$s
      RETURNING i.n, r.ctid AS tid, i.after AS before, integrity.row_image(r.*) AS image),
    written AS (
      SELECT w.n, w.tid, w.before, w.after
        FROM (SELECT w.n, w.tid, w.before, (SELECT pg_catalog.jsonb_object_agg(a.key, a.value) FROM pg_catalog.jsonb_each(w.image) AS a
                                   WHERE a.value OPERATOR(pg_catalog.<>) (w.before OPERATOR(pg_catalog.->) a.key)) AS after
                FROM updated AS w) AS w
       WHERE w.after IS NOT NULL)$piece$, table_name, targets, sources, match);
  END IF;

  command := pg_catalog.format($query$
    WITH %s,%s,
    logged AS (
      INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, row_key, before, after, broken, undoes)
      SELECT $1, i.referencing_table, i.rule_name, i.changed_table, i.row_key, w.before, w.after, i.broken_now, i.n
        FROM written AS w JOIN item AS i ON i.n OPERATOR(pg_catalog.=) w.n)
    SELECT pg_catalog.array_agg(w.n ORDER BY w.n)
           OPERATOR(pg_catalog.||) pg_catalog.array_agg((w.p)[1] ORDER BY w.n)
           OPERATOR(pg_catalog.||) pg_catalog.array_agg((w.p)[2] ORDER BY w.n)
      FROM (SELECT w.n, ARRAY[%s] AS p FROM written AS w) AS w
    $query$, item, write, pg_catalog.format(place, 'w.tid'));

  -- $1 is mentioned so that it has a type.
  IF NOT inserts THEN
    look := pg_catalog.format($query$
      WITH %s, seen AS (SELECT i.i, %s AS r FROM item AS i)
      SELECT pg_catalog.array_agg(COALESCE((s.r)[1], 0) ORDER BY s.i)
             OPERATOR(pg_catalog.||) pg_catalog.array_agg((s.r)[2] ORDER BY s.i)
             OPERATOR(pg_catalog.||) pg_catalog.array_agg((s.r)[3] ORDER BY s.i)
        FROM seen AS s WHERE $1::pg_catalog.int8 IS NOT NULL
      $query$, item,
      CASE WHEN has_key THEN pg_catalog.format($piece$(
        SELECT ARRAY[CASE WHEN %1$s OPERATOR(pg_catalog.=) i.after THEN 2
                          WHEN %1$s OPERATOR(pg_catalog.=) i.before THEN 3
                          ELSE 1 END, %2$s]
          FROM ONLY %3$s AS r WHERE %4$s LIMIT 1)$piece$, image, pg_catalog.format(place, 'r.ctid'), table_name, key_match)
      ELSE pg_catalog.format('(SELECT ARRAY[2, %s] FROM found AS f WHERE f.i OPERATOR(pg_catalog.=) i.i)', pg_catalog.format(place, 'f.tid')) END);
  END IF;
END
$$;

-- Is an error one of the row, so that the row is left alone? Else it is one of
-- the moment or of the machine, and ends the undo.
CREATE FUNCTION integrity.is_about_a_row(sqlstate text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  -- serialization and deadlock, programming and privileges, resources, intervention, system, internal; a lock not to be had
  SELECT pg_catalog.left($1, 2) NOT IN ('40', '42', '53', '57', '58', 'F0', 'XX') AND $1 <> '55P03'
$$;

-- Why rows that were to be updated, or deleted, were not.
CREATE FUNCTION integrity.why_left_alone(
  items integrity.net_change[], look text, has_key boolean, search_path text) RETURNS SETOF integrity.left_alone
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  states bigint[] := integrity.execute_as_owner_in(items[1].changed_table, search_path, look, 0::bigint, items);
BEGIN
  RETURN QUERY
    SELECT u.n, u.changed_table, u.row_key,
           CASE WHEN u.state = 2 THEN 'a trigger kept it as it is'
                WHEN u.state = 3 THEN 'as it was already'
                WHEN NOT has_key THEN 'changed or deleted since'
                WHEN u.state = 1 THEN 'changed since'
                ELSE 'deleted since' END
      FROM ROWS FROM (pg_catalog.unnest(items), pg_catalog.unnest(states[1 : pg_catalog.cardinality(items)])) AS u (
           n, changed_table, row_key, before, after, broken, referencing_table, rule_name, broken_now, state);
END
$$;

-- Fills in broken_now, for the log: this may be undone, too.
CREATE FUNCTION integrity.judge_items(INOUT items integrity.net_change[], look text, search_path text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
  rules integrity.reference[] := integrity.rules_of(items[1].changed_table, '{}');
  states bigint[] := integrity.execute_as_owner_in(items[1].changed_table, search_path, look, 0::bigint, items);
  n integer := pg_catalog.cardinality(items);
  tids tid[] := ARRAY(
    SELECT CASE WHEN s.state = 2 THEN pg_catalog.format('(%s,%s)', s.block, s.place)::tid END
      FROM ROWS FROM (pg_catalog.unnest(states[1 : n]), pg_catalog.unnest(states[n + 1 : 2 * n]), pg_catalog.unnest(states[2 * n + 1 : ]))
           WITH ORDINALITY AS s (state, block, place, i)
     ORDER BY s.i);
BEGIN
  EXECUTE pg_catalog.format($query$
    SELECT pg_catalog.array_agg((u.n, u.changed_table, u.row_key, u.before, u.after, u.broken, u.referencing_table, u.rule_name,
                                 j.broken)::integrity.net_change ORDER BY u.i)
      FROM ROWS FROM (pg_catalog.unnest($4), pg_catalog.unnest($1)) WITH ORDINALITY AS u (
           n, changed_table, row_key, before, after, broken, referencing_table, rule_name, broken_now, tid, i)
      LEFT JOIN (%s) AS j ON j.tid = u.tid
    $query$, integrity.judged_rows(items[1].changed_table, rules, '{}'))
    INTO items
    USING tids, ARRAY(SELECT (r).rule_name FROM pg_catalog.unnest(rules) AS r),
          ARRAY(SELECT (r).referenced_table FROM pg_catalog.unnest(rules) AS r), items;
END
$$;

-- Writes rows back, all or none. rest are those that the statement passed over;
-- error says why it failed.
CREATE FUNCTION integrity.write_rows(
  undo_id bigint, items integrity.net_change[], command text, search_path text,
  INOUT unchecked integrity.unchecked_row[], OUT rest integrity.net_change[], OUT error text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  written bigint[];
  rows_written integer;
  detail text;
BEGIN
  rest := items;
  BEGIN
    written := COALESCE(integrity.write_unchecked(items[1].changed_table, search_path, command, undo_id, items), '{}');
    rows_written := pg_catalog.cardinality(written) / 3;
    IF items[1].after IS NULL AND rows_written < pg_catalog.cardinality(items) THEN
      -- which ones, the statement cannot tell
      RAISE triggered_data_change_violation USING MESSAGE = 'a trigger kept it from being inserted';
    END IF;
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    IF NOT integrity.is_about_a_row(SQLSTATE) THEN
      RAISE;
    END IF;
    error := SQLERRM || COALESCE(': ' || NULLIF(detail, ''), '');
    RETURN;
  END;

  rest := ARRAY(SELECT u FROM pg_catalog.unnest(items) AS u
                 WHERE NOT EXISTS (SELECT FROM pg_catalog.unnest(written[1 : rows_written]) AS w (n) WHERE w.n = u.n));
  -- What is deleted has nothing to be checked.
  IF items[1].before IS NOT NULL THEN
    SELECT c.unchecked INTO unchecked FROM integrity.check_written(ARRAY(
      SELECT (u.n, u.changed_table, u.row_key, u.after, u.broken,
              pg_catalog.format('(%s,%s)', w.block, w.place)::tid)::integrity.unchecked_row
        FROM ROWS FROM (pg_catalog.unnest(written[1 : rows_written]),
                        pg_catalog.unnest(written[rows_written + 1 : 2 * rows_written]),
                        pg_catalog.unnest(written[2 * rows_written + 1 : ])) AS w (n, block, place)
        JOIN pg_catalog.unnest(items) AS u ON u.n = w.n), unchecked) AS c;
  END IF;
END
$$;

-- Puts back rows of one table that are alike in columns and kind of change.
CREATE FUNCTION integrity.undo_rows(
  undo_id bigint, items integrity.net_change[], command text, look text, has_key boolean, search_path text,
  INOUT unchecked integrity.unchecked_row[], INOUT left_alone integrity.left_alone[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  most_rounds CONSTANT integer := 10;
  rest integrity.net_change[] := items;
  result record;
  one integrity.net_change;
  failed integrity.net_change[];
  errors integrity.left_alone[];
  progress boolean;
BEGIN
  LOOP
    result := integrity.write_rows(undo_id, rest, command, search_path, unchecked);
    unchecked := result.unchecked;
    progress := pg_catalog.cardinality(result.rest) < pg_catalog.cardinality(rest);
    rest := result.rest;
    -- Where rows have no key, one may have become what another was.
    EXIT WHEN has_key OR NOT progress OR pg_catalog.cardinality(rest) = 0;
  END LOOP;

  -- A row is in the way of the others: one by one then. A round may make room for
  -- what failed in it before.
  IF result.error IS NOT NULL THEN
    failed := rest;
    rest := '{}';
    FOR round IN 1 .. most_rounds LOOP
      progress := false;
      errors := '{}';
      FOREACH one IN ARRAY failed LOOP
        result := integrity.write_rows(undo_id, ARRAY[one], command, search_path, unchecked);
        unchecked := result.unchecked;
        IF result.error IS NOT NULL THEN
          errors := errors || (one.n, one.changed_table, one.row_key, result.error)::integrity.left_alone;
        ELSE
          progress := true;
          rest := rest || result.rest;
        END IF;
      END LOOP;
      EXIT WHEN NOT progress OR pg_catalog.cardinality(errors) = 0;
      failed := ARRAY(SELECT u FROM pg_catalog.unnest(failed) AS u
                       WHERE EXISTS (SELECT FROM pg_catalog.unnest(errors) AS e WHERE e.n = u.n));
    END LOOP;
    left_alone := left_alone || errors;
  END IF;

  IF pg_catalog.cardinality(rest) > 0 THEN
    left_alone := left_alone || ARRAY(SELECT w FROM integrity.why_left_alone(rest, look, has_key, search_path) AS w);
  END IF;
END
$$;

-- Checks rows that were just written. What fails may only be early: the row it
-- needs is still to come. So it is put off.
CREATE FUNCTION integrity.check_written(fresh integrity.unchecked_row[], INOUT unchecked integrity.unchecked_row[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  one integrity.unchecked_row;
BEGIN
  BEGIN
    PERFORM integrity.check_restored(u.changed_table, u.row_tid, u.was, u.broken) FROM pg_catalog.unnest(fresh) AS u;
    RETURN;
  EXCEPTION WHEN OTHERS THEN
    IF NOT integrity.is_about_a_row(SQLSTATE) THEN
      RAISE;
    END IF;
  END;
  FOREACH one IN ARRAY fresh LOOP
    IF integrity.why_unsound(one) IS NOT NULL THEN
      unchecked := unchecked || one;
    END IF;
  END LOOP;
END
$$;

-- Checks one row; returns what is wrong with it, or NULL.
CREATE FUNCTION integrity.why_unsound(integrity.unchecked_row) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  detail text;
BEGIN
  PERFORM integrity.check_restored($1.changed_table, $1.row_tid, $1.was, $1.broken);
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  IF NOT integrity.is_about_a_row(SQLSTATE) THEN
    RAISE;
  END IF;
  RETURN SQLERRM || COALESCE(': ' || NULLIF(detail, ''), '');
END
$$;
/*
 * undo.sql
 *	  Takes a run back.
 *
 * Undo is a run of its own with a log of its own, so it can be undone, too. It
 * works in passes. A pass writes back every row that can be, and then checks
 * the references of all of them. If one fails, the pass is rolled back and made
 * again without that row: others may have relied on it.
 */

-- The tables that a run has changed rows of, those of other owners too, so that
-- undo() can refuse instead of leaving a part undone. Nothing but
-- their OIDs and how many changes there are.
CREATE FUNCTION integrity.changed_tables(run_id bigint, OUT relid oid, OUT rows bigint) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.changed_table, pg_catalog.count(*) FROM integrity.change AS c WHERE c.run_id = $1 GROUP BY c.changed_table
$$;

-- The lists of several changes of one row together.
CREATE FUNCTION integrity.merge_broken(jsonb[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_catalog.jsonb_object_agg(m.rule, m.list)
    FROM (SELECT e.key AS rule, pg_catalog.jsonb_agg(DISTINCT v.value) AS list
            FROM pg_catalog.unnest($1) AS u (broken), pg_catalog.jsonb_each(u.broken) AS e,
                 pg_catalog.jsonb_array_elements(e.value) AS v
           GROUP BY e.key) AS m
$$;

-- The repair that a run goes back to: an undo takes back a run, which may be an undo
-- itself. If that was forgotten, its number still tells which runs belong together.
CREATE FUNCTION integrity.root_run(run_id bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE up (run_id, steps) AS (
    SELECT $1, 0
    UNION ALL
    SELECT r.undoes, u.steps + 1 FROM up AS u JOIN integrity.run AS r ON r.run_id = u.run_id WHERE r.undoes < r.run_id
  )
  SELECT u.run_id FROM up AS u ORDER BY u.steps DESC LIMIT 1
$$;

-- What a run did, one row for each row of a table: several changes of a row
-- with a key are one, as far as nobody else has changed it in between.
--
-- undone: the row is not as the run has made it, because another run of its family
-- was there since, the repair, all undos of it, and the undos of these. Runs an
-- even number of steps away from the repair do what it did, the others the
-- opposite; so a change is undone if the latest one that goes back to the same
-- change of the repair was of the other kind.
CREATE FUNCTION integrity.net_changes(run_id bigint, OUT net integrity.net_change, OUT undone boolean) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE root AS MATERIALIZED (
    SELECT integrity.root_run($1) AS run_id
  ), family (origin, changed_table, run_id, change_id, opposite) AS (
    SELECT COALESCE(c.undoes, c.change_id), c.changed_table, c.run_id, c.change_id, r.undoes IS NOT NULL
      FROM root AS t
      JOIN integrity.run AS r ON r.run_id = t.run_id OR r.undoes = t.run_id
      JOIN integrity.change AS c ON c.run_id = r.run_id
     WHERE r.undoes IS NULL OR c.undoes IS NOT NULL
    UNION ALL
    SELECT f.origin, c.changed_table, c.run_id, c.change_id, NOT f.opposite
      FROM family AS f
      JOIN integrity.run AS r ON r.undoes = f.run_id AND r.run_id > f.run_id
      -- a row of another table is somebody's invention
      JOIN integrity.change AS c ON c.run_id = r.run_id AND c.undoes = f.change_id AND c.changed_table = f.changed_table
     WHERE f.run_id <> (SELECT t.run_id FROM root AS t)
  ), latest AS (
    SELECT DISTINCT ON (f.origin, f.changed_table::oid) f.origin, f.changed_table, f.opposite
      FROM family AS f ORDER BY f.origin, f.changed_table::oid, f.change_id DESC
  ), taken_back AS (
    SELECT f.change_id FROM family AS f JOIN latest AS l ON l.origin = f.origin AND l.changed_table = f.changed_table
     WHERE f.run_id = $1 AND l.opposite <> f.opposite
  ), whole AS (
    SELECT c.*, CASE WHEN c.after IS NOT NULL THEN COALESCE(c.before, '{}') || c.after END AS image
      FROM integrity.change AS c
     WHERE c.run_id = $1
  ), linked AS (
    -- Between two batches the row was anybody's: what they have done to it is not ours to take back.
    SELECT w.*, w.before IS DISTINCT FROM pg_catalog.lag(w.image) OVER same_row AS begins
      FROM whole AS w
    WINDOW same_row AS (PARTITION BY w.changed_table, w.row_key, CASE WHEN w.row_key IS NULL THEN w.change_id END
                            ORDER BY w.change_id)
  ), chained AS (
    SELECT l.*, pg_catalog.count(*) FILTER (WHERE l.begins) OVER (
             PARTITION BY l.changed_table, l.row_key, CASE WHEN l.row_key IS NULL THEN l.change_id END
                 ORDER BY l.change_id) AS chain
      FROM linked AS l
  ), joined AS (
    SELECT pg_catalog.max(c.change_id) AS n, c.changed_table, c.row_key,
           (pg_catalog.array_agg(c.before ORDER BY c.change_id))[1] AS before,
           (pg_catalog.array_agg(c.image ORDER BY c.change_id DESC))[1] AS after,
           CASE WHEN pg_catalog.count(*) = 1 THEN (pg_catalog.array_agg(c.broken))[1]
                ELSE integrity.merge_broken(pg_catalog.array_agg(c.broken)) END AS broken,
           (pg_catalog.array_agg(c.referencing_table ORDER BY c.change_id))[1] AS referencing_table,
           (pg_catalog.array_agg(c.rule_name ORDER BY c.change_id))[1] AS rule_name
      FROM chained AS c
     GROUP BY c.changed_table, c.row_key, CASE WHEN c.row_key IS NULL THEN c.change_id END, c.chain
  )
  SELECT (j.n, j.changed_table, j.row_key, j.before, j.after, j.broken, j.referencing_table, j.rule_name, NULL)::integrity.net_change,
         EXISTS (SELECT FROM taken_back AS t WHERE t.change_id = j.n)
    FROM joined AS j
   WHERE j.before IS DISTINCT FROM j.after
$$;

-- A number for each table, higher than those of the tables that it refers to,
-- as far as they do not refer to each other in a circle. Not needed for the
-- outcome; but rows that find their keys there need no second look.
CREATE FUNCTION integrity.depths(tables oid[]) RETURNS integer[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  froms oid[];
  tos oid[];
  depths integer[] := pg_catalog.array_fill(0, ARRAY[pg_catalog.cardinality(tables)]);
  deeper integer[];
BEGIN
  SELECT pg_catalog.array_agg(f.referencing_table), pg_catalog.array_agg(f.referenced_table) INTO froms, tos
    FROM integrity.reference AS f WHERE f.referencing_table <> f.referenced_table;
  FOR i IN 1 .. pg_catalog.cardinality(tables) LOOP
    deeper := ARRAY(
      SELECT COALESCE(pg_catalog.max(depths[k.i] + 1), 0)
        FROM pg_catalog.unnest(tables) WITH ORDINALITY AS t (relid, i)
        LEFT JOIN (ROWS FROM (pg_catalog.unnest(froms), pg_catalog.unnest(tos)) AS e (relid, to_relid)
                   JOIN pg_catalog.unnest(tables) WITH ORDINALITY AS k (relid, i)
                     ON e.to_relid = k.relid OR e.to_relid IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(k.relid) AS a))
               ON e.relid = t.relid OR e.relid IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(t.relid) AS a)
       GROUP BY t.i ORDER BY t.i);
    EXIT WHEN deeper = depths;
    depths := deeper;
  END LOOP;
  RETURN depths;
END
$$;

-- What is to be put back, in portions of one kind that fit into memory, in the
-- order in which to do it: what refers to a row after that row, and the other
-- way round where rows go away. These, and rows without a key, go backwards in
-- time: one without a key may have become what another was. Where it has to be
-- judged what is broken by now, all that is there already is taken before what
-- it refers to: else it would seem broken by what this undo itself has done.
CREATE FUNCTION integrity.undo_portions(run_id bigint, is_judged boolean, skipped bigint[]) RETURNS TABLE (
  changed_table regclass, deletes boolean, inserts boolean, columns text[], changed_columns text[], items integrity.net_change[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
  -- Rows that are deleted together may refer to each other.
  most_rows CONSTANT bigint[] := '{1000,100000}';
  most_bytes CONSTANT bigint[] := '{8388608,67108864}';
  tables oid[] := ARRAY(SELECT t.relid FROM integrity.changed_tables(run_id) AS t);
  depths integer[] := integrity.depths(tables);
BEGIN
  RETURN QUERY
    WITH shaped AS (
      SELECT n.net, (n.net).before IS NULL AS deletes, (n.net).after IS NULL AS inserts, s.columns, s.changed,
             pg_catalog.jsonb_build_array((n.net).changed_table::oid, (n.net).before IS NULL, (n.net).after IS NULL,
                                          s.columns, s.changed) AS shape,
             depths[pg_catalog.array_position(tables, (n.net).changed_table::oid)] AS depth
        FROM integrity.net_changes(run_id) AS n
       CROSS JOIN LATERAL (
         SELECT pg_catalog.array_agg(a.key ORDER BY a.key COLLATE "C") AS columns,
                pg_catalog.array_agg(a.key ORDER BY a.key COLLATE "C")
                  FILTER (WHERE (n.net).after IS NULL OR a.value <> (n.net).before -> a.key) AS changed
           FROM pg_catalog.jsonb_each(COALESCE((n.net).after, (n.net).before)) AS a) AS s
       WHERE NOT n.undone AND NOT EXISTS (SELECT FROM pg_catalog.unnest(skipped) AS k (n) WHERE k.n = (n.net).n)
    ), placed AS (
      SELECT s.*, pg_catalog.row_number() OVER w AS place,
             pg_catalog.sum(pg_catalog.pg_column_size(s.net)) OVER w AS bytes,
             pg_catalog.lag(s.shape) OVER w IS DISTINCT FROM s.shape AS turns
        FROM shaped AS s
      WINDOW w AS (ORDER BY CASE WHEN is_judged THEN s.inserts ELSE s.deletes END,
                            CASE WHEN s.deletes OR (is_judged AND NOT s.inserts) THEN - s.depth ELSE s.depth END,
                            (s.net).changed_table::oid, s.deletes,
                            CASE WHEN s.deletes OR (s.net).row_key IS NULL THEN - (s.net).n END NULLS FIRST, s.shape, (s.net).n
                   ROWS UNBOUNDED PRECEDING)
    ), numbered AS (
      SELECT p.*, pg_catalog.count(*) FILTER (WHERE p.turns) OVER (ORDER BY p.place ROWS UNBOUNDED PRECEDING) AS kind
        FROM placed AS p
    )
    SELECT (pg_catalog.array_agg((p.net).changed_table))[1], pg_catalog.bool_and(p.deletes), pg_catalog.bool_and(p.inserts),
           p.columns, p.changed, pg_catalog.array_agg(p.net ORDER BY p.place)
      FROM numbered AS p
     GROUP BY p.kind, p.columns, p.changed, p.place / most_rows[1 + p.deletes::integer],
              pg_catalog.div(p.bytes, most_bytes[1 + p.deletes::integer])
     ORDER BY pg_catalog.min(p.place);
END
$$;

-- One pass: writes back what can be, and then checks it. unsound are rows that
-- were written and must not have been.
CREATE FUNCTION integrity.undo_pass(
  run_id bigint, kind text, undo_id bigint, search_path text, skipped bigint[],
  OUT left_alone integrity.left_alone[], OUT unsound integrity.left_alone[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
  portion record;
  how record;
  unchecked integrity.unchecked_row[] := '{}';
BEGIN
  left_alone := '{}';
  FOR portion IN SELECT p.* FROM integrity.undo_portions(run_id, kind = 'undo', skipped) AS p LOOP
    how := integrity.undo_statements(portion.changed_table, portion.columns, portion.changed_columns,
                                     portion.inserts, portion.deletes);
    IF how.problem IS NOT NULL THEN
      left_alone := left_alone || ARRAY(SELECT (u.n, u.changed_table, u.row_key, how.problem)::integrity.left_alone
                                          FROM pg_catalog.unnest(portion.items) AS u);
    ELSE
      -- A repair left nothing broken in what it changed, but an undo did.
      IF kind = 'undo' AND NOT portion.inserts THEN
        portion.items := integrity.judge_items(portion.items, how.look, search_path);
      END IF;
      SELECT u.unchecked, u.left_alone INTO unchecked, left_alone
        FROM integrity.undo_rows(undo_id, portion.items, how.command, how.look, how.has_key,
                                 search_path, unchecked, left_alone) AS u;
    END IF;
  END LOOP;

  SELECT COALESCE(pg_catalog.array_agg((w.n, w.changed_table, w.row_key, w.reason)::integrity.left_alone), '{}') INTO unsound
    FROM (SELECT u.n, u.changed_table, u.row_key, integrity.why_unsound(u) AS reason
            FROM pg_catalog.unnest(unchecked) AS u OFFSET 0) AS w
   WHERE w.reason IS NOT NULL;
END
$$;

-- The catalog's entry that the rows of a rule were checked is taken back: the OID
-- of a trigger or of a constraint; the other one is 0.
CREATE FUNCTION integrity.mark_not_valid(trigger_oid oid, constraint_oid oid) RETURNS void
	LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'integrity_mark_not_valid';

-- A rule that has been validated since the run is so no longer, once references
-- are back that are broken.
CREATE FUNCTION integrity.invalidate_rules(run_id bigint, undo_id bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  SELECT integrity.mark_not_valid(o.trigger_oid, o.constraint_oid)
    FROM (SELECT DISTINCT b.changed_table, k.rule
            FROM integrity.change AS b
           CROSS JOIN LATERAL pg_catalog.jsonb_object_keys(b.broken) AS k (rule)
           WHERE b.run_id = $1
             AND b.changed_table IN (SELECT u.changed_table FROM integrity.change AS u WHERE u.run_id = $2)) AS c
   CROSS JOIN LATERAL (SELECT c.changed_table UNION SELECT p.relid FROM pg_catalog.pg_partition_ancestors(c.changed_table) AS p) AS t (relid)
    JOIN integrity.reference AS f ON f.referencing_table = t.relid AND f.rule_name = c.rule AND f.validated
   CROSS JOIN LATERAL integrity.rule_oids(f) AS o
$$;

-- integrity.undo(), with the search_path of the session for the triggers of
-- the users' tables.
CREATE FUNCTION integrity.undo_run(bigint, boolean, text) RETURNS TABLE (
  run_id bigint, changed_table regclass, outcome text, rows bigint, change_id bigint, row_key jsonb, reason text, dry_run boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
#variable_conflict use_column
DECLARE
  undone_run integrity.run;
  part record;
  undo_id bigint;
  pass record;
  left_alone integrity.left_alone[] := '{}';
  restored_tables regclass[];
  restored_rows bigint[];
BEGIN
  SELECT r.* INTO undone_run FROM integrity.run AS r WHERE r.run_id = $1;
  IF NOT FOUND THEN
    RAISE undefined_object USING MESSAGE = pg_catalog.format('run %s does not exist', COALESCE($1::text, 'NULL')),
      HINT = 'The table integrity.run lists the runs.';
  ELSIF undone_run.kind = 'report' THEN
    RAISE invalid_parameter_value USING MESSAGE = pg_catalog.format('run %s is a report: it has changed nothing', $1);
  ELSIF $2 IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'dry_run must not be null';
  ELSIF pg_catalog.current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    -- Whether another undo has just inserted a row that has no key, an older snapshot cannot tell.
    RAISE feature_not_supported USING
      MESSAGE = pg_catalog.format('cannot undo a run under isolation level %s',
                                  pg_catalog.upper(pg_catalog.current_setting('transaction_isolation'))),
      HINT = 'Use a transaction of isolation level READ COMMITTED.';
  END IF;
  FOR part IN
    SELECT c.relname FROM integrity.changed_tables($1) AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
     WHERE NOT integrity.owns(t.relid) ORDER BY c.relname
  LOOP
    RAISE insufficient_privilege USING MESSAGE = pg_catalog.format('must be owner of table %s', part.relname),
      HINT = pg_catalog.format('Run %s has changed rows of that table, and is undone as a whole.', $1);
  END LOOP;
  PERFORM integrity.settle_triggers();
  -- Two at a time would both bring back the same rows, also if they take back different runs of one family.
  PERFORM pg_catalog.pg_advisory_xact_lock('integrity.run'::regclass::oid::bigint::bit(32)::integer,
                                           (integrity.root_run($1) % 2147483648)::integer);

  LOOP
    BEGIN
      INSERT INTO integrity.run (kind, undoes, parameters)
      VALUES ('undo', $1, pg_catalog.jsonb_build_object('run_id', $1)) RETURNING run.run_id INTO undo_id;
      PERFORM integrity.open_run(undo_id);
      pass := integrity.undo_pass($1, undone_run.kind, undo_id, $3, ARRAY(SELECT u.n FROM pg_catalog.unnest(left_alone) AS u));
      SELECT pg_catalog.array_agg(s.t ORDER BY s.t::text COLLATE "C"), pg_catalog.array_agg(s.n ORDER BY s.t::text COLLATE "C")
        INTO restored_tables, restored_rows
        FROM (SELECT c.changed_table, pg_catalog.count(*) FROM integrity.change AS c
               WHERE c.run_id = undo_id GROUP BY c.changed_table) AS s (t, n);
      IF $2 OR pg_catalog.cardinality(pass.unsound) > 0 THEN
        RAISE SQLSTATE 'IG001';   -- rolls the pass back
      END IF;
      PERFORM integrity.invalidate_rules($1, undo_id);
      UPDATE integrity.run SET finished = pg_catalog.clock_timestamp() WHERE run.run_id = undo_id;
    EXCEPTION WHEN SQLSTATE 'IG001' THEN
      undo_id := NULL;
    END;
    left_alone := left_alone || pass.unsound;
    EXIT WHEN pg_catalog.cardinality(pass.unsound) = 0;
  END LOOP;

  RETURN QUERY
    SELECT undo_id, u.t, 'restored', u.n, NULL::bigint, NULL::jsonb, NULL::text, $2
      FROM ROWS FROM (pg_catalog.unnest(restored_tables), pg_catalog.unnest(restored_rows)) AS u (t, n);
  IF EXISTS (SELECT FROM integrity.run AS r WHERE r.run_id > $1 AND r.undoes IS NOT NULL AND r.run_id IS DISTINCT FROM undo_id
                AND integrity.root_run(r.run_id) = integrity.root_run($1)) THEN
    RETURN QUERY
      SELECT undo_id, (n.net).changed_table, 'undone already', pg_catalog.count(*), NULL::bigint, NULL::jsonb, NULL::text, $2
        FROM integrity.net_changes($1) AS n WHERE n.undone
         -- this undo is not meant
         AND NOT EXISTS (SELECT FROM integrity.change AS c WHERE c.run_id = undo_id AND c.undoes = (n.net).n)
       GROUP BY 2 ORDER BY 2::text COLLATE "C";
  END IF;
  RETURN QUERY
    SELECT undo_id, u.changed_table, 'left alone', 1::bigint, u.n, u.row_key, u.reason, $2
      FROM pg_catalog.unnest(left_alone || pass.left_alone) AS u
     ORDER BY u.changed_table::text COLLATE "C", u.n;
  -- Only a superuser sees what was done to a table that is no more.
  RETURN QUERY
    SELECT undo_id, t.relid::regclass, 'left alone', t.rows, NULL::bigint, NULL::jsonb, 'the table was dropped since', $2
      FROM integrity.changed_tables($1) AS t
     WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = t.relid) AND NOT integrity.owns(t.relid);
END
$$;

/**
 * Takes a run back: puts every row that it has changed back as it was, inserts again what it has deleted, and deletes
 * what it has inserted (an undo inserts rows, and can be undone like a repair).
 *
 * A row that is not exactly as the run left it is left alone, and listed. So is a deleted row whose key is taken by
 * now, or that the table no longer accepts; a row that a trigger keeps from being restored; and all rows of a table
 * that was dropped, or has lost or renamed a column. A column that was added since does not matter: what was changed
 * keeps its value, what is inserted gets its default. Rows without a primary key are found by all of their values; of
 * rows that are alike, as many are restored as were changed.
 *
 * References come back as they were: those that were broken when the run came to the row are broken again, and
 * neither rules nor foreign keys hinder that. All others are checked as by an INSERT or UPDATE, and their keys
 * locked. So a row that refers to a key that has gone since is left alone. A row that an undo is to delete, or whose
 * key it is to change back, and that is referenced by rows which stay as they are is left alone, too, whatever
 * ON DELETE and ON UPDATE say: an undo changes the rows of its run and no others. Deferrable constraints, and constraint
 * triggers, are checked at once.
 *
 * A rule that gets broken references back is not valid from then on, whoever may have validated it since.
 *
 * Triggers of the tables fire, as they did for the run, so a row need not be restored to the letter if a trigger
 * changes it, the time of its last change for instance.
 *
 * One row per table says how many rows were `restored`, or were `undone already` by an earlier undo. Then every row
 * that was `left alone`, with its reason and the `change_id` under which integrity.change has its images. `run_id` is
 * that of the undo itself, NULL if this is a dry run. A dry run does everything and rolls it back.
 *
 * Parameters:
 *   run_id   the run to take back, a repair or an undo; one that was interrupted, too
 *   dry_run  only say what would be done (the default)
 *
 * Locks: ROW EXCLUSIVE on the changed tables, FOR NO KEY UPDATE or FOR UPDATE on the rows, FOR KEY SHARE on the keys
 * that they refer to; SHARE UPDATE EXCLUSIVE on the tables whose rules are no longer valid. A second undo of the same
 * run waits for the first.
 *
 * Errors: 42704 there is no such run; 22023 the run is a report; 42501 the caller does not own all tables that the
 * run has changed; 0A000 the isolation level is not READ COMMITTED.
 *
 * Example:
 *   SELECT * FROM integrity.undo(7);                    -- what would happen
 *   SELECT * FROM integrity.undo(7, dry_run => false);
 */
CREATE FUNCTION integrity.undo(run_id bigint, dry_run boolean DEFAULT true) RETURNS TABLE (
  run_id bigint, changed_table regclass, outcome text, rows bigint, change_id bigint, row_key jsonb, reason text, dry_run boolean)
-- no SET here: the search_path of the session is asked for
LANGUAGE sql VOLATILE
AS $$
  SELECT u.run_id, u.changed_table, u.outcome, u.rows, u.change_id, u.row_key, u.reason, u.dry_run
    FROM integrity.undo_run($1, $2, pg_catalog.current_setting('search_path')) AS u
$$;
/*
 * forget.sql
 *	  Keeps the run log from growing for ever.
 */

/**
 * Removes runs from the log, with all their figures and images. What is forgotten cannot be undone any more.
 *
 * A role forgets its own runs, and those of roles that it is a member of; a superuser all. Kept are runs that another
 * session is writing at this moment, and every undo of a run that is kept: without it, that run would seem not to be
 * undone.
 *
 * Parameters:
 *   before  runs that started before this time are removed
 *
 * Returns: how many runs were removed.
 *
 * Locks: ROW EXCLUSIVE on the tables of the run log.
 *
 * Example:
 *   SELECT integrity.forget(now() - interval '90 days');
 */
CREATE FUNCTION integrity.forget(before timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
DECLARE
  forgotten bigint;
BEGIN
  IF before IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'the time before which to forget must not be null';
  END IF;
  WITH RECURSIVE old AS MATERIALIZED (
    -- whoever is writing into a run holds it
    SELECT r.run_id, r.undoes FROM integrity.run AS r
     WHERE r.started < before AND pg_catalog.pg_has_role(r.role_name, 'USAGE') FOR UPDATE SKIP LOCKED
  ), goes AS (
    SELECT o.run_id FROM old AS o
     WHERE o.undoes IS NULL OR NOT EXISTS (SELECT FROM integrity.run AS r WHERE r.run_id = o.undoes)
    UNION
    SELECT o.run_id FROM goes AS g JOIN old AS o ON o.undoes = g.run_id
  ), deleted AS (
    DELETE FROM integrity.run AS r USING goes AS g WHERE r.run_id = g.run_id RETURNING r.run_id
  )
  SELECT pg_catalog.count(*) INTO forgotten FROM deleted;
  RETURN forgotten;
END
$$;
/*
 * accept.sql
 *	  What is broken, is known, and shall not raise an alarm until it is repaired.
 *
 * An accepted number belongs to a table by its OID and to a rule by its name.
 * When either is gone the row means nothing: nobody asks for it any more, and a
 * table of the same name made later starts with nothing accepted.
 */

CREATE TABLE integrity.accepted (
  referencing_table regclass NOT NULL,
  rule_name name NOT NULL,
  references_broken bigint NOT NULL CHECK (references_broken > 0),
  role_name name NOT NULL DEFAULT current_user,
  since timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (referencing_table, rule_name)
);
COMMENT ON TABLE integrity.accepted IS 'how many broken references of a rule are known, so that only more of them fail; written by integrity.accept()';
COMMENT ON COLUMN integrity.accepted.role_name IS 'who accepted them';

-- Who may read a column of the table may look at its rules, and so know what
-- is accepted. Else the gate of that role would fail on what is accepted.
ALTER TABLE integrity.accepted ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON integrity.accepted FOR SELECT
  USING (integrity.owns(referencing_table) OR pg_catalog.has_any_column_privilege(referencing_table, 'SELECT'));
CREATE POLICY add ON integrity.accepted FOR INSERT
  WITH CHECK (integrity.owns(referencing_table) AND role_name OPERATOR(pg_catalog.=) CURRENT_USER);
CREATE POLICY change ON integrity.accepted FOR UPDATE USING (integrity.owns(referencing_table))
  WITH CHECK (integrity.owns(referencing_table) AND role_name OPERATOR(pg_catalog.=) CURRENT_USER);
CREATE POLICY take_back ON integrity.accepted FOR DELETE USING (integrity.owns(referencing_table));
GRANT SELECT, INSERT, UPDATE, DELETE ON integrity.accepted TO PUBLIC;

-- Rows about tables that are gone are left behind: in a dump they would be numbers.
SELECT pg_catalog.pg_extension_config_dump('integrity.accepted',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = referencing_table AND c.relpersistence <> ''t'')');

-- The report, and of each rule how many broken references are accepted and
-- whether that settles it. "n" is its place in the report. All of this folder
-- looks through this one function.
CREATE FUNCTION integrity.judge(regclass) RETURNS TABLE (
  n bigint, referencing_table regclass, rule_name name, kind text,
  referencing_column text, referenced_table regclass, referenced_column text,
  enforced boolean, validated boolean,
  rows_checked bigint, rows_broken bigint,
  references_checked bigint, references_broken bigint, values_broken bigint,
  sample text[], status text, advice text, accepted bigint, clean boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  SELECT r.ordinality, r.referencing_table, r.rule_name, r.kind,
         r.referencing_column, r.referenced_table, r.referenced_column, r.enforced, r.validated,
         r.rows_checked, r.rows_broken, r.references_checked, r.references_broken, r.values_broken,
         r.sample, r.status, r.advice, COALESCE(a.references_broken, 0),
         r.status = 'ok' OR (r.status = 'broken' AND r.references_broken <= COALESCE(a.references_broken, 0))
    FROM integrity.report_references($1) WITH ORDINALITY AS r
    LEFT JOIN integrity.accepted AS a ON a.referencing_table = r.referencing_table AND a.rule_name = r.rule_name
   ORDER BY r.ordinality
$$;

/**
 * Accepts that a rule has a known number of broken references, so that integrity.assert_clean() and integrity.tap() fail
 * only when there are more. Which ones they are is not recorded: where one is repaired and another breaks, the number is
 * the same.
 *
 * A number accepted before is replaced; 0 takes it back. It is kept in the table integrity.accepted, with who accepted it
 * and since when, follows a rename of the table, is dumped by pg_dump, and ends with the table. A rule that is renamed
 * starts with nothing accepted.
 *
 * Parameters:
 *   referencing_table  the table that the rule was declared on; it must be yours
 *   rule_name          the rule: the name of its trigger, or of the foreign key constraint
 *   references_broken  how many are accepted; NULL, the default: as many as there are now, which looks at the table's
 *                      references
 *
 * Returns: the number that is accepted from now on.
 *
 * Locks: ROW EXCLUSIVE on integrity.accepted; to count, those of integrity_report().
 *
 * Errors: 22004 no table or no rule is named; 22023 the number is negative; 42501 the table is not yours; 42704 the
 * table has no such rule; 55000 the rule could not be looked at, so there is no number.
 *
 * Example:
 *   SELECT integrity.accept('parent_profiles', 'parent_profiles_children_ids_fkey');
 */
CREATE FUNCTION integrity.accept(referencing_table regclass, rule_name name, references_broken bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
#variable_conflict use_column
DECLARE
  table_name text := COALESCE((SELECT c.relname FROM pg_class AS c WHERE c.oid = $1)::text, $1::text);
  number bigint := $3;
  rule record;
BEGIN
  IF $1 IS NULL OR $2 IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = format('%s must not be null', CASE WHEN $1 IS NULL THEN 'referencing_table' ELSE 'rule_name' END);
  ELSIF number < 0 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'references_broken must not be negative',
      HINT = 'Use 0 to accept none.';
  ELSIF NOT integrity.owns($1) THEN
    RAISE insufficient_privilege USING MESSAGE = format('must be owner of table %s', table_name);
  END IF;

  -- Taking back asks for no rule: it may be gone.
  IF number = 0 THEN
    DELETE FROM integrity.accepted AS a WHERE a.referencing_table = $1 AND a.rule_name = $2;
    RETURN 0;
  END IF;

  IF NOT EXISTS (SELECT FROM integrity.reference AS f WHERE f.referencing_table = $1 AND f.rule_name = $2) THEN
    RAISE undefined_object USING
      MESSAGE = format('rule "%s" for table "%s" does not exist', $2, table_name),
      HINT = 'The view integrity.reference lists the rules.';
  END IF;

  IF number IS NULL THEN
    -- A trigger and a foreign key can have one name: the worse of the two counts.
    SELECT r.status, r.references_broken, r.advice INTO STRICT rule
      FROM integrity.judge($1) AS r
     WHERE r.rule_name = $2
     ORDER BY r.status = 'unknown' DESC, r.references_broken DESC LIMIT 1;
    IF rule.status = 'unknown' THEN
      RAISE object_not_in_prerequisite_state USING
        MESSAGE = format('rule "%s" for table "%s" could not be looked at', $2, table_name),
        DETAIL = rule.advice,
        HINT = 'Give a number, or put right what keeps it from being looked at.';
    END IF;
    number := rule.references_broken;
  END IF;

  IF number = 0 THEN
    DELETE FROM integrity.accepted AS a WHERE a.referencing_table = $1 AND a.rule_name = $2;
  ELSE
    INSERT INTO integrity.accepted AS a (referencing_table, rule_name, references_broken) VALUES ($1, $2, number)
        ON CONFLICT (referencing_table, rule_name) DO UPDATE
       SET references_broken = excluded.references_broken, role_name = excluded.role_name, since = excluded.since;
  END IF;
  RETURN number;
END
$$;

/*
 * health.sql
 *	  One figure for a whole report.
 */

-- Percent of the references that hold, cut off after two digits: rounded, one
-- broken reference among a million would read 100. NULL if no rule was looked at.
CREATE FUNCTION integrity.score(references_checked numeric, references_broken numeric, rules_looked_at bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN $3 > 0
              THEN round(CASE WHEN $1 > 0 THEN div(10000 * ($1 - $2), $1) ELSE 10000 END / 100, 2) END
$$;

/**
 * Looks at every declared reference, as integrity_report() does, and sums up what it finds in one row.
 *
 * `score` is the percentage of the references that have their key, among those that were looked at: 100 only if none is
 * broken, for it is cut off after two digits, not rounded. It is 100 if the rules were looked at and no row refers to
 * anything, and NULL if no rule could be looked at or none is declared. A rule that could not be looked at counts
 * as `unknown` and does not lower the score, so read the two together.
 *
 * Locks: those of integrity_report().
 *
 * Errors: those of integrity_report().
 *
 * Example:
 *   SELECT score, broken, unknown FROM integrity.health();
 */
CREATE FUNCTION integrity.health() RETURNS TABLE (
  score numeric, rules bigint, ok bigint, broken bigint, unknown bigint,
  references_checked bigint, references_broken bigint)
LANGUAGE sql STABLE ROWS 1 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT integrity.score(s.checked, s.broken_references, s.ok + s.broken),
         s.rules, s.ok, s.broken, s.rules - s.ok - s.broken, s.checked::bigint, s.broken_references::bigint
    FROM (SELECT count(*) AS rules,
                 count(*) FILTER (WHERE r.status = 'ok') AS ok,
                 count(*) FILTER (WHERE r.status = 'broken') AS broken,
                 COALESCE(sum(r.references_checked), 0) AS checked,
                 COALESCE(sum(r.references_broken), 0) AS broken_references
            FROM integrity.judge(NULL) AS r) AS s
$$;
/*
 * gate.sql
 *	  Pass or fail: what a build or a deployment asks.
 */

/**
 * Raises an error unless every reference holds: the gate for a build or a deployment. With `psql -v ON_ERROR_STOP=1` psql
 * then exits with a status that is not zero.
 *
 * A rule fails if it has more broken references than are accepted (integrity.accept()), and also if it could not be looked
 * at: what is not known is not clean. DETAIL lists each such rule with its figures, or with the reason. A NOTICE says where
 * fewer are broken than accepted, with the call that lowers the number, and where there was no rule to look at.
 *
 * Parameters:
 *   referencing_table  look only at the rules declared on this table; NULL, the default, looks at all
 *
 * Locks: those of integrity_report().
 *
 * Errors: 23000 something is broken or unknown; those of integrity_report().
 *
 * Example:
 *   SELECT integrity.assert_clean();
 */
CREATE FUNCTION integrity.assert_clean(referencing_table regclass DEFAULT NULL) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  most_lines CONSTANT integer := 100;
  rule record;
  lines text[] := '{}';
  rules bigint := 0;
  broken bigint := 0;
  unknown bigint := 0;
BEGIN
  FOR rule IN SELECT j.* FROM integrity.judge($1) AS j ORDER BY j.n LOOP
    rules := rules + 1;
    IF NOT rule.clean THEN
      lines := lines || format('rule "%s" for table %s: %s', rule.rule_name, rule.referencing_table,
        CASE WHEN rule.status = 'unknown' THEN 'unknown: ' || rule.advice
             ELSE format('%s of %s references broken, in %s of %s rows',
                         rule.references_broken, rule.references_checked, rule.rows_broken, rule.rows_checked)
                  || CASE WHEN rule.accepted > 0 THEN format(', %s accepted', rule.accepted) ELSE '' END END);
      IF rule.status = 'unknown' THEN
        unknown := unknown + 1;
      ELSE
        broken := broken + 1;
      END IF;
    ELSIF rule.references_broken < rule.accepted THEN
      RAISE NOTICE USING
        MESSAGE = format('rule "%s" for table %s has %s broken references, and %s are accepted',
                         rule.rule_name, rule.referencing_table, rule.references_broken, rule.accepted),
        HINT = format('SELECT integrity.accept(%L, %L, %s);', rule.referencing_table, rule.rule_name, rule.references_broken);
    END IF;
  END LOOP;

  IF rules = 0 THEN
    RAISE NOTICE 'there is no rule to look at';
  ELSIF lines <> '{}' THEN
    RAISE integrity_constraint_violation USING
      MESSAGE = format('%s of %s rules are not clean: %s broken, %s unknown', broken + unknown, rules, broken, unknown),
      DETAIL = array_to_string(lines[:most_lines], E'\n')
        || CASE WHEN cardinality(lines) > most_lines THEN format(E'\nand %s more', cardinality(lines) - most_lines) ELSE '' END,
      HINT = 'SELECT * FROM @extschema@.integrity_report() WHERE status <> ''ok'';';
  END IF;
END
$$;

/**
 * The report as TAP, the Test Anything Protocol, for pg_prove and other harnesses: one test per rule.
 *
 * A rule that is broken or could not be looked at is `not ok`, with figures, sample, advice or reason as diagnostics. If
 * its broken references are accepted it is a TODO test, which a harness expects to fail; a TODO test that passes says that
 * the accepted number can be lowered. Without any rule the whole plan is skipped.
 *
 * Parameters:
 *   referencing_table  look only at the rules declared on this table; NULL, the default, looks at all
 *
 * Locks: those of integrity_report().
 *
 * Errors: those of integrity_report().
 *
 * Example:
 *   SELECT integrity.tap();
 */
CREATE FUNCTION integrity.tap(referencing_table regclass DEFAULT NULL) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH judged AS MATERIALIZED (
    SELECT j.* FROM integrity.judge($1) AS j
  ), line (n, part, line) AS (
    SELECT 0, 0, CASE WHEN count(*) > 0 THEN '1..' || count(*) ELSE '1..0 # SKIP there is no rule to look at' END
      FROM judged
    UNION ALL
    SELECT j.n, 0, format('%s %s - %s%s', CASE WHEN j.status = 'ok' THEN 'ok' ELSE 'not ok' END, j.n,
             -- one line, and neither \ nor # as TAP understands them
             regexp_replace(regexp_replace(concat_ws(' ', j.referencing_table, j.rule_name), '[[:cntrl:]]', ' ', 'g'),
                            '([\\#])', '\\\1', 'g'),
             CASE WHEN j.clean AND j.accepted > 0 THEN format(' # TODO %s broken references are accepted', j.accepted) ELSE '' END)
      FROM judged AS j
    UNION ALL
    SELECT j.n, d.ordinality, '# ' || d.line
      FROM judged AS j,
           regexp_split_to_table(
             concat_ws(E'\n',
               format('%s of %s references broken, in %s of %s rows%s',
                      j.references_broken, j.references_checked, j.rows_broken, j.rows_checked,
                      CASE WHEN j.accepted > 0 THEN format(', %s accepted', j.accepted) ELSE '' END),
               format('%s values without a key: %s', j.values_broken, array_to_string(j.sample, ', ')
                      || CASE WHEN j.values_broken > cardinality(j.sample) THEN ', ...' ELSE '' END),
               j.advice),
             E'\r\n|\r|\n') WITH ORDINALITY AS d (line, ordinality)
     WHERE j.status = 'broken'
    UNION ALL
    SELECT j.n, d.ordinality, '# ' || d.line
      FROM judged AS j, regexp_split_to_table('unknown: ' || j.advice, E'\r\n|\r|\n') WITH ORDINALITY AS d (line, ordinality)
     WHERE j.status = 'unknown'
  )
  SELECT l.line FROM line AS l ORDER BY l.n, l.part
$$;
/*
 * record.sql
 *	  Reports that are kept: the history of every rule, what got worse since the
 *	  last one, and the figures for a monitoring system.
 *
 * A recorded report is a run of kind "report" (repair/journal.sql). Its figures
 * are read under the reader's rights: who may not read a table does not see
 * how it fares. Only integrity.metrics shows the figures of all, to pg_monitor.
 */

-- The last report on a rule, without walking through the whole history.
CREATE INDEX run_rule_by_rule ON integrity.run_rule (referencing_table, rule_name, run_id);

-- What is worse in a recorded report than in the one before it: "was" and "now"
-- are numbers of broken references, NULL where the rule could not be looked at.
-- A rule that was unknown in between is compared with its last known number:
-- else what broke meanwhile would pass in silence.
CREATE FUNCTION integrity.worse(report bigint) RETURNS TABLE (
  referencing_table regclass, rule_name name, was bigint, now bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  SELECT n.referencing_table, n.rule_name, known.references_broken, n.references_broken
    FROM integrity.run_rule AS n
   CROSS JOIN LATERAL (
         SELECT p.status
           FROM integrity.run_rule AS p JOIN integrity.run AS r ON r.run_id = p.run_id AND r.kind = 'report'
          WHERE p.referencing_table = n.referencing_table AND p.rule_name = n.rule_name AND p.run_id < n.run_id
          ORDER BY p.run_id DESC LIMIT 1) AS before
    LEFT JOIN LATERAL (
         SELECT p.references_broken
           FROM integrity.run_rule AS p JOIN integrity.run AS r ON r.run_id = p.run_id AND r.kind = 'report'
          WHERE p.referencing_table = n.referencing_table AND p.rule_name = n.rule_name AND p.run_id < n.run_id
            AND p.status <> 'unknown'
          ORDER BY p.run_id DESC LIMIT 1) AS known ON true
   WHERE n.run_id = $1
     AND CASE n.status WHEN 'unknown' THEN before.status <> 'unknown'
                       ELSE n.references_broken > COALESCE(known.references_broken, 0) END
   ORDER BY n.references_broken - COALESCE(known.references_broken, 0) DESC NULLS FIRST,
            n.referencing_table::text COLLATE "C", n.rule_name
$$;

-- The payload of the notification about a recorded report, NULL if nothing is
-- worse. NOTIFY takes less than 8000 bytes: the list ends before that.
CREATE FUNCTION integrity.worse_payload(report bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH worse AS (
    SELECT w.item, row_number() OVER w AS n,
           sum(octet_length(w.item::text) + 2) OVER w AS bytes
      FROM (SELECT jsonb_build_object('table', t.referencing_table, 'rule', t.rule_name, 'was', t.was, 'now', t.now) AS item, t.n
              FROM integrity.worse($1) WITH ORDINALITY AS t (referencing_table, rule_name, was, now, n)) AS w
    WINDOW w AS (ORDER BY w.n)
  )
  SELECT jsonb_build_object('run_id', $1, 'database', current_database(),
                            'worse', COALESCE(jsonb_agg(w.item ORDER BY w.n) FILTER (WHERE w.bytes <= 7000), '[]'),
                            'more', count(*) FILTER (WHERE w.bytes > 7000))::text
    FROM worse AS w
  HAVING count(*) > 0
$$;

/**
 * Looks at every declared reference, as integrity_report() does, and keeps the figures: one row in integrity.run, of kind
 * `report`, and one in integrity.run_rule per rule. They are the history that integrity.report_html() draws and that
 * integrity.metrics shows the end of.
 *
 * If something got worse since the last recorded report on the same rule, it sends `NOTIFY integrity` at commit, once, with
 * a JSON object as payload:
 *
 * - `run_id`: this report
 * - `database`: its name
 * - `worse`: one object per rule, the largest rise first: `table`, `rule`, and the numbers of broken references `was` and
 *   `now`. `now` is null if the rule could not be looked at any more, `was` is null if it never could before.
 * - `more`: how many further rules are worse. The payload of a notification is limited to 8000 bytes, so a long list is cut.
 *
 * The first report on a rule is compared with nothing and notifies of nothing. A rule on a temporary table is not recorded,
 * nor is one on a table without SELECT for the caller: a WARNING says how many.
 *
 * Parameters:
 *   referencing_table  record only the rules declared on this table; NULL, the default, records all
 *
 * Returns: the run_id of the report.
 *
 * Locks: those of integrity_report(), and ROW EXCLUSIVE on integrity.run and integrity.run_rule.
 *
 * Errors: those of integrity_report(); 25006 the transaction is read-only.
 *
 * Example:
 *   SELECT integrity.record_report();
 */
CREATE FUNCTION integrity.record_report(referencing_table regclass DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
#variable_conflict use_column
DECLARE
  report bigint;
  not_recorded bigint;
  payload text;
BEGIN
  INSERT INTO integrity.run (kind, parameters)
  VALUES ('report', jsonb_strip_nulls(jsonb_build_object('referencing_table', $1::text)))
  RETURNING run_id INTO report;

  -- One statement looks and writes, so the report is one snapshot. A trigger and
  -- a foreign key can have one name: the worse of the two is recorded.
  WITH looked_at AS MATERIALIZED (
    SELECT DISTINCT ON (r.referencing_table, r.rule_name) r.*,
           integrity.owns(r.referencing_table) OR has_table_privilege(r.referencing_table, 'SELECT') AS may_record
      FROM integrity.judge($1) AS r
      JOIN pg_class AS c ON c.oid = r.referencing_table AND c.relpersistence <> 't'
     ORDER BY r.referencing_table, r.rule_name, r.status = 'unknown' DESC, r.references_broken DESC
  ), recorded AS (
    INSERT INTO integrity.run_rule (run_id, referencing_table, rule_name, status,
                                    rows_checked, rows_broken, references_checked, references_broken, values_broken)
    SELECT report, l.referencing_table, l.rule_name, l.status,
           l.rows_checked, l.rows_broken, l.references_checked, l.references_broken, l.values_broken
      FROM looked_at AS l
     WHERE l.may_record
  )
  SELECT count(*) INTO not_recorded FROM looked_at AS l WHERE l.may_record IS NOT TRUE;

  UPDATE integrity.run SET finished = clock_timestamp() WHERE run_id = report;

  IF not_recorded > 0 THEN
    RAISE WARNING USING
      MESSAGE = format('%s rules are not recorded', not_recorded),
      DETAIL = 'You have no SELECT privilege on their tables.';
  END IF;
  payload := integrity.worse_payload(report);
  IF payload IS NOT NULL THEN
    PERFORM pg_notify('integrity', payload);
  END IF;
  RETURN report;
END
$$;

-- A label must not change with the reader's search_path, as the text of a regclass does.
CREATE FUNCTION integrity.qualified_name(regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = $1
$$;

/**
 * One row per declared reference with the figures of its last recorded report, for a monitoring system: labels as text,
 * gauges as numbers. It reads what integrity.record_report() kept, and looks at no row of any table. Members of
 * pg_monitor may read it, whatever they may read otherwise.
 *
 * The figures are NULL for a rule that could not be looked at, and for one that no report was recorded on. Both have
 * `is_unknown` 1.
 *
 * Columns:
 *   referencing_table, rule_name      the identity of a rule
 *   kind                              'array reference', 'reference' or 'foreign key'
 *   referenced_table                  where its keys are
 *   status                            'ok', 'broken' or 'unknown'
 *   references_checked                references that were looked at
 *   references_broken                 those without a key
 *   references_accepted               how many of them are accepted, see integrity.accept(); 0 if none are
 *   rows_checked, rows_broken         rows with a referencing value; those with a broken reference
 *   values_broken                     distinct values without a key
 *   is_broken, is_unknown             1 or 0
 *   is_enforced                       1 if its triggers fire, on both of its tables; 0: it can break at any time
 *   age_seconds                       how long ago the report began; NULL if there is none
 *
 * Example:
 *   SELECT * FROM integrity.metrics WHERE references_broken > references_accepted;
 */
CREATE VIEW integrity.metrics AS
SELECT integrity.qualified_name(f.referencing_table) AS referencing_table,
       f.rule_name::pg_catalog.text AS rule_name,
       f.kind,
       integrity.qualified_name(f.referenced_table) AS referenced_table,
       COALESCE(l.status, 'unknown') AS status,
       l.references_checked,
       l.references_broken,
       COALESCE(a.references_broken, 0) AS references_accepted,
       l.rows_checked,
       l.rows_broken,
       l.values_broken,
       CASE WHEN l.status OPERATOR(pg_catalog.=) 'broken' THEN 1 ELSE 0 END AS is_broken,
       CASE WHEN l.status OPERATOR(pg_catalog.<>) 'unknown' THEN 0 ELSE 1 END AS is_unknown,
       CASE WHEN f.enforced AND f.guarded AND f.problem IS NULL THEN 1 ELSE 0 END AS is_enforced,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) l.started) AS age_seconds
  FROM integrity.reference AS f
       LEFT JOIN integrity.accepted AS a ON a.referencing_table OPERATOR(pg_catalog.=) f.referencing_table
                                        AND a.rule_name OPERATOR(pg_catalog.=) f.rule_name
       LEFT JOIN LATERAL (
         SELECT u.*, r.started
           FROM integrity.run_rule AS u JOIN integrity.run AS r ON r.run_id OPERATOR(pg_catalog.=) u.run_id
          WHERE u.referencing_table OPERATOR(pg_catalog.=) f.referencing_table
            AND u.rule_name OPERATOR(pg_catalog.=) f.rule_name
            AND r.kind OPERATOR(pg_catalog.=) 'report'
          ORDER BY u.run_id DESC LIMIT 1) AS l ON true;

GRANT SELECT ON integrity.metrics TO pg_monitor;
/*
 * schedule.sql
 *	  Recording reports by the clock, with pg_cron.
 *
 * pg_cron lives in one database of the server and is found by its entry in
 * pg_extension: a schema "cron" that somebody else made is not asked.
 */

-- The qualified names of what is needed of pg_cron. Raises if it is not here,
-- and says where it is or how it gets here.
CREATE FUNCTION integrity.pg_cron(
  schedule text, OUT schedule_function text, OUT unschedule_function text, OUT job_table text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  extension oid := (SELECT e.oid FROM pg_extension AS e WHERE e.extname = 'pg_cron');
  home text;
BEGIN
  IF extension IS NULL THEN
    BEGIN
      home := current_setting('cron.database_name', true);
    EXCEPTION WHEN insufficient_privilege THEN
      -- which shows that there is such a setting
      RAISE feature_not_supported USING
        MESSAGE = 'pg_cron is not installed in this database',
        HINT = 'Ask a superuser: SHOW cron.database_name says in which database it can be.';
    END;
  END IF;

  IF extension IS NULL AND home IS NULL THEN
    RAISE feature_not_supported USING
      MESSAGE = 'pg_cron is not installed on this server',
      HINT = format('Install it (Debian: apt-get install postgresql-%s-cron), set shared_preload_libraries = ''pg_cron'' '
                    'and cron.database_name = %L in postgresql.conf, restart the server, and run CREATE EXTENSION pg_cron.',
                    current_setting('server_version_num')::integer / 10000, current_database());
  ELSIF extension IS NULL AND home = current_database() THEN
    RAISE undefined_object USING
      MESSAGE = 'extension "pg_cron" does not exist in this database',
      HINT = 'CREATE EXTENSION pg_cron;';
  ELSIF extension IS NULL THEN
    -- a job's name is unique in all databases
    RAISE feature_not_supported USING
      MESSAGE = format('pg_cron is in database "%s", not in this one', home),
      HINT = CASE WHEN schedule IS NULL
        THEN format('Run there: SELECT cron.unschedule(%L);', 'integrity_record_report_' || current_database())
        ELSE format('Run there: SELECT cron.schedule_in_database(%L, %L, %L, %L);',
                    'integrity_record_report_' || current_database(), schedule, 'SELECT integrity.record_report()', current_database()) END;
  END IF;

  SELECT max(m.name) FILTER (WHERE m.proname = 'schedule' AND m.pronargs = 3),
         max(m.name) FILTER (WHERE m.proname = 'unschedule' AND m.proargtypes[0] = 'int8'::regtype)
    INTO schedule_function, unschedule_function
    FROM (SELECT p.*, format('%I.%I', n.nspname, p.proname) AS name
            FROM pg_depend AS d
            JOIN pg_proc AS p ON p.oid = d.objid
            JOIN pg_namespace AS n ON n.oid = p.pronamespace
           WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
             AND d.classid = 'pg_proc'::regclass) AS m;
  SELECT format('%I.%I', n.nspname, c.relname) INTO job_table
    FROM pg_depend AS d
    JOIN pg_class AS c ON c.oid = d.objid AND c.relname = 'job'
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
   WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
     AND d.classid = 'pg_class'::regclass;
  IF schedule_function IS NULL OR unschedule_function IS NULL OR job_table IS NULL THEN
    RAISE feature_not_supported USING
      MESSAGE = 'this version of pg_cron is too old',
      HINT = 'It must know jobs with a name, as 1.3 and later do. ALTER EXTENSION pg_cron UPDATE;';
  END IF;
END
$$;

-- Removes the jobs of this database that the caller may see: his own, or
-- everybody's if he is a superuser. Returns how many.
CREATE FUNCTION integrity.remove_jobs(cron record, spared_role name) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
DECLARE
  removed bigint;
BEGIN
  EXECUTE format($query$
    SELECT pg_catalog.count(%1$s(j.jobid))
      FROM %2$s AS j
     WHERE j.jobname OPERATOR(pg_catalog.=) 'integrity_record_report'
       AND j.database OPERATOR(pg_catalog.=) pg_catalog.current_database()
       AND j.username::pg_catalog.name IS DISTINCT FROM $1
    $query$, cron.unschedule_function, cron.job_table)
    INTO removed USING spared_role;
  RETURN removed;
END
$$;

/**
 * Has pg_cron call integrity.record_report() in this database by the clock, as the current role. The job is named
 * `integrity_record_report`. Calling it again changes the time; a superuser's call also replaces the job of another role.
 *
 * pg_cron must be installed in this database. If it is installed in another one, the HINT of the error is the
 * statement to run there.
 *
 * Parameters:
 *   cron  when, as pg_cron understands it: minute, hour, day of month, month, day of week; in GMT unless cron.timezone
 *         says otherwise. pg_cron 1.5 and later also take '30 seconds'
 *
 * Returns: the jobid of the job.
 *
 * Errors: 22004 no time is given; 0A000 pg_cron is not on this server, or in another database; 42704 it was not
 * created in this database; 42501 you may not use the schema cron; what pg_cron says of a time that it does not understand.
 *
 * Example:
 *   SELECT integrity.schedule('0 3 * * *');
 */
CREATE FUNCTION integrity.schedule(cron text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  pg_cron record;
  job bigint;
BEGIN
  IF cron IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'cron must not be null';
  END IF;
  pg_cron := integrity.pg_cron(cron);
  PERFORM integrity.remove_jobs(pg_cron, current_user);
  EXECUTE format('SELECT %s(%L, $1, %L)', pg_cron.schedule_function, 'integrity_record_report', 'SELECT integrity.record_report()')
    INTO job USING cron;
  RETURN job;
END
$$;

/**
 * Takes back what integrity.schedule() did in this database: the job of the current role, for a superuser those of all.
 *
 * Returns: whether there was one.
 *
 * Errors: 0A000 pg_cron is not on this server, or in another database; 42704 it was not created in this database;
 * 42501 you may not use the schema cron.
 *
 * Example:
 *   SELECT integrity.unschedule();
 */
CREATE FUNCTION integrity.unschedule() RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$ SELECT integrity.remove_jobs(integrity.pg_cron(NULL), NULL) > 0 $$;
/*
 * chart.sql
 *	  The health over time, drawn as SVG.
 */

-- Text for HTML and XML alike. What XML does not allow at all becomes U+FFFD.
CREATE FUNCTION integrity.html(text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT regexp_replace(
           replace(replace(replace(replace(replace($1, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
           '[\u0001-\u0008\u000B\u000C\u000E-\u001F\u007F\uFFFE\uFFFF]', '&#65533;', 'g')
$$;

-- Where the axis of the scores begins, for the lowest score to be drawn: close
-- below it, for 99.97 and 99.98 are to be told apart.
CREATE FUNCTION integrity.chart_floor(lowest numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT max(f) FROM unnest('{0,50,75,90,95,98,99,99.5,99.8,99.9}'::numeric[]) AS f
   WHERE f < CASE WHEN $1 = 100 THEN 99.5 ELSE $1 END OR f = 0
$$;

-- The marks of the time axis: at even times of day where they fit, else the
-- first and the last report.
CREATE FUNCTION integrity.chart_times(first timestamptz, last timestamptz) RETURNS TABLE (at timestamptz, label text, label_below text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH step AS (
    SELECT s.step
      FROM unnest('{10s,30s,1min,5min,15min,30min,1h,3h,6h,12h,1day,2day,7day,14day,30day,90day,180day,365day,3650day}'::interval[]) AS s (step)
     WHERE $2 - $1 <= 7 * s.step
     ORDER BY s.step LIMIT 1
  ), even AS (
    SELECT g.at, step.step < '1 day' AS of_day, false AS with_seconds, count(*) OVER () AS marks
      FROM step, generate_series(date_bin(step.step, $1, date_trunc('day', $1)), $2, step.step) AS g (at)
     WHERE g.at >= $1
  ), mark AS (
    SELECT e.at, e.of_day, extract(second FROM e.at) > 0 AS with_seconds FROM even AS e WHERE e.marks >= 2
    UNION
    SELECT e.at, true, true FROM (VALUES ($1), ($2)) AS e (at)
     WHERE e.at IS NOT NULL AND NOT EXISTS (SELECT FROM even AS x WHERE x.marks >= 2)
  )
  SELECT m.at,
         CASE WHEN NOT m.of_day THEN to_char(m.at, 'YYYY-MM-DD')
              WHEN m.with_seconds THEN to_char(m.at, 'HH24:MI:SS') ELSE to_char(m.at, 'HH24:MI') END,
         CASE WHEN m.of_day THEN to_char(m.at, 'YYYY-MM-DD') ELSE '' END
    FROM mark AS m ORDER BY m.at
$$;

-- The recorded reports whose figures may be compared with each other: on all
-- tables, or on the rules of one. The newest 500.
CREATE FUNCTION integrity.history(regclass) RETURNS TABLE (
  run_id bigint, at timestamptz, score numeric, broken bigint, unknown bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  SELECT r.run_id, r.started,
         integrity.score(COALESCE(f.checked, 0), COALESCE(f.broken, 0), f.rules - f.unknown),
         COALESCE(f.broken, 0)::bigint, f.unknown
    FROM (SELECT r.run_id, r.started
            FROM integrity.run AS r
           WHERE r.kind = 'report'
             AND CASE WHEN $1 IS NULL THEN NOT r.parameters ? 'referencing_table'
                      ELSE EXISTS (SELECT FROM integrity.run_rule AS u WHERE u.run_id = r.run_id AND u.referencing_table = $1) END
           ORDER BY r.run_id DESC LIMIT 500) AS r
   CROSS JOIN LATERAL (
         SELECT count(*) AS rules, count(*) FILTER (WHERE u.status = 'unknown') AS unknown,
                sum(u.references_checked) AS checked, sum(u.references_broken) AS broken
           FROM integrity.run_rule AS u
          WHERE u.run_id = r.run_id AND ($1 IS NULL OR u.referencing_table = $1)) AS f
   ORDER BY r.run_id
$$;

-- The chart, or a sentence where there is nothing to draw.
CREATE FUNCTION integrity.chart(regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH history AS MATERIALIZED (
    SELECT h.*, row_number() OVER w AS n, lag(h.score) OVER w AS score_before, lead(h.score) OVER w AS score_after,
           lag(h.unknown) OVER w AS unknown_before
      FROM integrity.history($1) AS h WINDOW w AS (ORDER BY h.run_id)
  ), range AS (
    SELECT count(*) AS reports, min(h.at) AS first, max(h.at) AS last, min(h.score) AS lowest,
           integrity.chart_floor(COALESCE(min(h.score), 100)) AS floor,
           max(h.broken) AS most_broken, (array_agg(h.score ORDER BY h.n DESC))[1] AS latest
      FROM history AS h
  ), point AS (
    SELECT h.*, r.reports,
           -- the plot: 64 to 876 across, 16 to 216 down
           round(CASE WHEN r.last > r.first THEN 64 + 812 * extract(epoch FROM h.at - r.first) / extract(epoch FROM r.last - r.first)
                      ELSE 470 END, 1) AS x,
           round(216 - 200 * (h.score - r.floor) / (100 - r.floor), 1) AS y
      FROM history AS h, range AS r
  ), piece (n, svg) AS (
    -- scores, from bottom to top
    SELECT 1, string_agg(format('<line class="rule" x1="64" x2="876" y1="%1$s" y2="%1$s"/><text x="56" y="%2$s" text-anchor="end">%3$s</text>',
                                216 - 40 * i, 220 - 40 * i, trim_scale(r.floor + i * (100 - r.floor) / 5)), '')
      FROM range AS r, generate_series(0, 5) AS i
    UNION ALL
    SELECT 2, string_agg(format('<line class="tick" x1="%1$s" x2="%1$s" y1="216" y2="221"/><text x="%1$s" y="236" text-anchor="%4$s">%2$s</text>'
                                '<text x="%1$s" y="251" text-anchor="%4$s">%3$s</text>', t.x, t.label, t.label_below,
                                CASE WHEN t.x > 840 THEN 'end' ELSE 'middle' END), '')
      FROM (SELECT round(CASE WHEN r.last > r.first THEN 64 + 812 * extract(epoch FROM m.at - r.first) / extract(epoch FROM r.last - r.first)
                              ELSE 470 END, 1) AS x, m.label, m.label_below
              FROM range AS r, integrity.chart_times(r.first, r.last) AS m) AS t
    UNION ALL
    SELECT 3, format('<path class="score" d="%s"/>',
                     string_agg(format('%s%s %s', CASE WHEN p.score_before IS NULL THEN 'M' ELSE 'L' END, p.x, p.y), ' ' ORDER BY p.n))
      FROM point AS p WHERE p.score IS NOT NULL
    UNION ALL
    -- Of many reports only those stand out that changed something.
    SELECT 4, string_agg(format('<circle class="%s" cx="%s" cy="%s" r="4"><title>%s</title></circle>',
                                CASE WHEN p.unknown > 0 THEN 'unknown' WHEN p.broken > 0 THEN 'broken' ELSE 'ok' END, p.x, COALESCE(p.y, 216),
                                format('%s: %s, %s broken references%s', to_char(p.at, 'YYYY-MM-DD HH24:MI:SS'),
                                       COALESCE(p.score::text, 'no score'), p.broken,
                                       CASE WHEN p.unknown > 0 THEN format(', %s rules unknown', p.unknown) ELSE '' END)), '' ORDER BY p.n)
      FROM point AS p
     WHERE p.reports <= 60 OR p.score IS DISTINCT FROM p.score_before OR p.unknown IS DISTINCT FROM p.unknown_before
        OR p.n = p.reports OR p.score IS NOT NULL AND p.score_after IS NULL
  )
  SELECT CASE WHEN r.reports = 0 THEN
    '<p class="none">No report has been recorded yet. <code>SELECT integrity.record_report();</code> records one.</p>'
  ELSE
    '<div class="scroll" tabindex="0" role="region" aria-label="Chart, scrolls sideways"><svg class="chart" viewBox="0 0 900 260" role="img" aria-labelledby="chart-title chart-desc">'
    '<title id="chart-title">Health over time</title><desc id="chart-desc">'
    || format('%s from %s to %s. The latest score is %s, the lowest %s; at most %s references were broken.',
              CASE r.reports WHEN 1 THEN 'One recorded report' ELSE format('%s recorded reports', r.reports) END, to_char(r.first, 'YYYY-MM-DD HH24:MI'), to_char(r.last, 'YYYY-MM-DD HH24:MI'),
              COALESCE(r.latest::text, 'unknown'), COALESCE(r.lowest::text, 'unknown'), r.most_broken)
    || '</desc>' || (SELECT string_agg(p.svg, '' ORDER BY p.n) FROM piece AS p) || '</svg></div>'
    || format('<p class="caption">Percent of references that hold, %s; the scale begins at %s. Times are in %s.</p>',
              CASE r.reports WHEN 1 THEN 'one recorded report' WHEN 500 THEN 'the newest 500 recorded reports'
                             ELSE format('%s recorded reports', r.reports) END,
              trim_scale(r.floor), integrity.html(current_setting('TimeZone')))
  END
    FROM range AS r
$$;
/*
 * graph.sql
 *	  The references as a graph, drawn as SVG: a box per table with a line for
 *	  each referencing column, an arrow per rule from there to the other table.
 *
 * Laid out in columns, so that arrows point to the right: the tables that are
 * only referenced stand rightmost. An arrow that passes columns between runs in
 * a lane there, one lane for all that go to the same table, so that it crosses
 * no box and a table that everything refers to has a few lanes and not hundreds.
 *
 * Tables are numbered from 1, and arrays are indexed by that number.
 */

-- The column of each table, from 1 on the left. Tables are taken up one by one,
-- each once all that it refers to are placed; where a cycle leaves no such
-- table, the one that waits for the fewest, and those arrows will point to
-- the left. No column gets much longer than the graph is wide.
CREATE FUNCTION integrity.graph_columns(tables integer, source integer[], target integer[]) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  longest CONSTANT integer := greatest(8, ceil(1.5 * sqrt(tables)));
  rank integer[] := array_fill(NULL::integer, ARRAY[tables]);   -- columns counted from the right, from 0
  waits integer[] := array_fill(0, ARRAY[tables]);              -- for how many tables, arrows counted
  sought integer[] := array_fill(0, ARRAY[tables]);             -- how many arrows lead here
  filled integer[] := array_fill(0, ARRAY[2 * tables + 1]);     -- tables in each rank, from rank 0 at 1
  taken integer;
  place integer;
BEGIN
  FOR e IN 1 .. COALESCE(cardinality(source), 0) LOOP
    IF source[e] <> target[e] THEN
      waits[source[e]] := waits[source[e]] + 1;
      sought[target[e]] := sought[target[e]] + 1;
    END IF;
  END LOOP;

  FOR done IN 1 .. tables LOOP
    taken := NULL;
    FOR t IN 1 .. tables LOOP
      IF rank[t] IS NULL AND (taken IS NULL OR waits[t] < waits[taken] OR (waits[t] = waits[taken] AND sought[t] > sought[taken])) THEN
        taken := t;
      END IF;
    END LOOP;

    -- Right of it is all that it refers to; what it was not waited for is left of it.
    place := 0;
    FOR e IN 1 .. COALESCE(cardinality(source), 0) LOOP
      IF source[e] = taken AND rank[target[e]] >= place THEN
        place := rank[target[e]] + 1;
      ELSIF target[e] = taken AND rank[source[e]] >= place THEN
        place := rank[source[e]] + 1;
      END IF;
      IF target[e] = taken AND source[e] <> taken AND rank[source[e]] IS NULL THEN
        waits[source[e]] := waits[source[e]] - 1;
      END IF;
    END LOOP;
    WHILE filled[place + 1] >= longest LOOP
      place := place + 1;
    END LOOP;
    rank[taken] := place;
    filled[place + 1] := filled[place + 1] + 1;
  END LOOP;

  -- A table that refers to nothing moves up to the first that refers to it.
  FOR leaf IN 1 .. tables LOOP
    SELECT min(rank[u.s]) - 1 INTO place FROM unnest(source, target) AS u (s, t) WHERE u.t = leaf AND u.s <> leaf;
    IF place > rank[leaf] AND filled[place + 1] < longest
       AND NOT EXISTS (SELECT FROM unnest(source, target) AS u (s, t) WHERE u.s = leaf AND u.t <> leaf) THEN
      filled[rank[leaf] + 1] := filled[rank[leaf] + 1] - 1;
      filled[place + 1] := filled[place + 1] + 1;
      rank[leaf] := place;
    END IF;
  END LOOP;
  -- ranks that are used at all, numbered from the left
  SELECT array_agg(r.place ORDER BY r.t) INTO rank
    FROM (SELECT u.t, dense_rank() OVER (ORDER BY u.rank DESC) AS place FROM unnest(rank) WITH ORDINALITY AS u (rank, t)) AS r;
  RETURN rank;
END
$$;

-- Where each box begins, counted from the top, and where the lanes run: lane[t][c] is
-- the height at which the arrows to table t pass column c. "row_offset" is where
-- in its box an arrow begins; it ends in the heading of the other box.
CREATE FUNCTION integrity.graph_heights(
  graph_column integer[], height integer[], source integer[], target integer[], row_offset integer[],
  OUT top numeric[], OUT lane numeric[], OUT total numeric)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  heading CONSTANT integer := 13;
  gap CONSTANT integer := 16;
  tables CONSTANT integer := cardinality(graph_column);
  columns CONSTANT integer := (SELECT max(c) FROM unnest(graph_column) AS c);
  -- Boxes, then lanes: the column of each, its height, its place from the top.
  item_column integer[] := graph_column;
  item_height numeric[] := height;
  item_place integer[];
  lane_item integer[] := array_fill(NULL::integer, ARRAY[tables, columns]);
  -- Pieces of arrows, between neighbouring columns: from item to item, and where in it.
  left_item integer[] := '{}';
  right_item integer[] := '{}';
  left_offset numeric[] := '{}';
  right_offset numeric[] := '{}';
  direction integer;
  here integer;
  ahead integer;
  here_offset numeric;
  ahead_offset numeric;
  place integer;
  line record;
  items integer[];
  wanted numeric[];
  down numeric[];
  up numeric[];
  y numeric;
BEGIN
  FOR e IN 1 .. COALESCE(cardinality(source), 0) LOOP
    CONTINUE WHEN source[e] = target[e];
    direction := sign(graph_column[target[e]] - graph_column[source[e]]);
    here := source[e];
    here_offset := row_offset[e];
    FOR step IN 1 .. abs(graph_column[target[e]] - graph_column[source[e]]) LOOP
      place := graph_column[source[e]] + direction * step;
      IF place = graph_column[target[e]] THEN
        ahead := target[e];
        ahead_offset := heading;
      ELSE
        IF lane_item[target[e]][place] IS NULL THEN
          item_column := item_column || place;
          item_height := item_height || 0::numeric;
          lane_item[target[e]][place] := cardinality(item_column);
        END IF;
        ahead := lane_item[target[e]][place];
        ahead_offset := 0;
      END IF;
      left_item := left_item || CASE direction WHEN 1 THEN here ELSE ahead END;
      right_item := right_item || CASE direction WHEN 1 THEN ahead ELSE here END;
      left_offset := left_offset || CASE direction WHEN 1 THEN here_offset ELSE ahead_offset END;
      right_offset := right_offset || CASE direction WHEN 1 THEN ahead_offset ELSE here_offset END;
      here := ahead;
      here_offset := ahead_offset;
    END LOOP;
  END LOOP;

  -- The order within the columns: each where its neighbours are on average,
  -- to the left and to the right in turn, so that few arrows cross.
  SELECT array_agg(i.place ORDER BY i.item) INTO item_place
    FROM (SELECT u.item, row_number() OVER (PARTITION BY u.c ORDER BY u.item) AS place
            FROM unnest(item_column) WITH ORDINALITY AS u (c, item)) AS i;
  FOR pass IN 1 .. 10 LOOP
    FOR n IN 1 .. columns LOOP
      here := CASE pass % 2 WHEN 1 THEN n ELSE columns + 1 - n END;
      FOR line IN
        SELECT i.item, row_number() OVER (ORDER BY COALESCE(b.place, item_place[i.item]), item_place[i.item]) AS place
          FROM unnest(item_column) WITH ORDINALITY AS i (c, item)
          LEFT JOIN (SELECT p.own, avg(item_place[p.other]) AS place
                       FROM (SELECT r.item, l.item FROM unnest(right_item) WITH ORDINALITY AS r (item, n)
                               JOIN unnest(left_item) WITH ORDINALITY AS l (item, n) ON l.n = r.n AND pass % 2 = 1
                             UNION ALL
                             SELECT l.item, r.item FROM unnest(right_item) WITH ORDINALITY AS r (item, n)
                               JOIN unnest(left_item) WITH ORDINALITY AS l (item, n) ON l.n = r.n AND pass % 2 = 0) AS p (own, other)
                      GROUP BY p.own) AS b ON b.own = i.item
         WHERE i.c = here
      LOOP
        item_place[line.item] := line.place;
      END LOOP;
    END LOOP;
  END LOOP;

  -- The heights: stacked first, then again and again as near as possible to
  -- where the arrows would be straight, keeping order and distance.
  SELECT array_agg(i.y ORDER BY i.item) INTO top
    FROM (SELECT u.item, sum(item_height[u.item] + gap) OVER (PARTITION BY u.c ORDER BY item_place[u.item]) - item_height[u.item] - gap AS y
            FROM unnest(item_column) WITH ORDINALITY AS u (c, item)) AS i;
  FOR pass IN 1 .. 12 LOOP
    FOR n IN 1 .. columns LOOP
      here := CASE pass % 2 WHEN 1 THEN n ELSE columns + 1 - n END;
      SELECT array_agg(i.item::integer ORDER BY item_place[i.item]),
             array_agg(COALESCE(b.y, top[i.item]) ORDER BY item_place[i.item])
        INTO items, wanted
        FROM unnest(item_column) WITH ORDINALITY AS i (c, item)
        LEFT JOIN (SELECT p.own, avg(p.y) AS y
                     FROM unnest(left_item, right_item, left_offset, right_offset) AS s (l, r, lo, ro),
                          LATERAL (VALUES (s.l, top[s.r] + s.ro - s.lo), (s.r, top[s.l] + s.lo - s.ro)) AS p (own, y)
                    GROUP BY p.own) AS b ON b.own = i.item
       WHERE i.c = here;
      -- pushed down from above, and up from below; the middle of both keeps the distances, too
      down := wanted;
      up := wanted;
      FOR i IN 2 .. cardinality(items) LOOP
        down[i] := greatest(down[i], down[i - 1] + item_height[items[i - 1]] + gap);
      END LOOP;
      FOR i IN REVERSE cardinality(items) - 1 .. 1 LOOP
        up[i] := least(up[i], up[i + 1] - item_height[items[i]] - gap);
      END LOOP;
      FOR i IN 1 .. cardinality(items) LOOP
        top[items[i]] := round((down[i] + up[i]) / 2, 1);
      END LOOP;
    END LOOP;
  END LOOP;

  y := (SELECT min(t) FROM unnest(top) AS t);
  lane := array_fill(NULL::numeric, ARRAY[tables, columns]);
  FOR t IN 1 .. tables LOOP
    FOR c IN 1 .. columns LOOP
      lane[t][c] := top[lane_item[t][c]] - y;
    END LOOP;
  END LOOP;
  SELECT array_agg(u.top - y ORDER BY u.item), max(u.top - y + item_height[u.item]) INTO top, total
    FROM unnest(top) WITH ORDINALITY AS u (top, item);
END
$$;
/*
 * graph_svg.sql
 *	  Drawing the graph that graph.sql lays out.
 */

-- A name, cut to what fits into a box: 26 letters, or 13 as wide as those of
-- East Asian scripts, which take three bytes in UTF-8.
CREATE FUNCTION integrity.graph_label(name text, OUT label text, OUT width integer)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT integrity.html(left($1, fits.letters)) || CASE WHEN char_length($1) > fits.letters THEN '&#8230;' ELSE '' END,
         ceil(least(char_length($1), fits.letters + 1) * fits.wide * 7.3)::integer
    FROM (SELECT CASE WHEN octet_length($1) >= 2 * char_length($1) THEN 13 ELSE 26 END AS letters,
                 CASE WHEN octet_length($1) >= 2 * char_length($1) THEN 2 ELSE 1 END AS wide) AS fits
$$;

-- The graph of a report, given as page_rules() in page.sql makes it.
CREATE FUNCTION integrity.graph(report jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  most_rules CONSTANT integer := 200;
  row_height CONSTANT integer := 18;
  column_gap CONSTANT integer := 104;
  drawn jsonb;
  names text[];
  sources integer[];
  targets integer[];
  offsets integer[];
  heights integer[];
  columns integer[];
  widths integer[];    -- of each column
  lefts integer[];     -- where each column begins
  laid_out record;
  rule record;
  direction integer;
  x numeric;
  y numeric;
  piece text;
  pieces text[];       -- of one arrow
  drawn_pieces text[] := '{}';
  arrows text := '';
  marks text := '';
  boxes text;
  note text := '';
BEGIN
  -- Too many to be read: those that do not hold, and no more than fit.
  drawn := report;
  IF jsonb_array_length(report) > most_rules THEN
    SELECT jsonb_agg(r.rule ORDER BY r.n) INTO drawn
      FROM (SELECT e.rule, e.n FROM jsonb_array_elements(report) WITH ORDINALITY AS e (rule, n)
             WHERE e.rule ->> 'status' <> 'ok' ORDER BY e.n LIMIT most_rules) AS r;
    note := format('<p class="caption">Of %s rules these %s are drawn, which do not hold.</p>',
                   jsonb_array_length(report), COALESCE(jsonb_array_length(drawn), 0));
  END IF;
  -- A rule whose referenced table is not known has no second end.
  SELECT jsonb_agg(e.rule ORDER BY e.n) INTO drawn
    FROM jsonb_array_elements(drawn) WITH ORDINALITY AS e (rule, n) WHERE e.rule ->> 'referenced_table' IS NOT NULL;
  IF drawn IS NULL THEN
    RETURN note || '<p class="none">There is nothing to draw.</p>';
  END IF;

  SELECT array_agg(t.name ORDER BY t.name COLLATE "C") INTO names
    FROM (SELECT e ->> 'referencing_table' AS name FROM jsonb_array_elements(drawn) AS e
          UNION SELECT e ->> 'referenced_table' FROM jsonb_array_elements(drawn) AS e) AS t;
  SELECT array_agg(array_position(names, e.rule ->> 'referencing_table') ORDER BY e.n),
         array_agg(array_position(names, e.rule ->> 'referenced_table') ORDER BY e.n),
         array_agg((26 + row_height * (e.line - 1) + row_height / 2)::integer ORDER BY e.n)
    INTO sources, targets, offsets
    FROM (SELECT u.rule, u.n, row_number() OVER (PARTITION BY u.rule ->> 'referencing_table' ORDER BY u.n) AS line
            FROM jsonb_array_elements(drawn) WITH ORDINALITY AS u (rule, n)) AS e;
  SELECT array_agg(26 + row_height * (SELECT count(*) FROM unnest(sources) AS s WHERE s = t)::integer
                   + CASE WHEN t = ANY (sources) THEN 4 ELSE 0 END ORDER BY t)
    INTO heights FROM generate_subscripts(names, 1) AS t;

  columns := integrity.graph_columns(cardinality(names), sources, targets);
  laid_out := integrity.graph_heights(columns, heights, sources, targets, offsets);
  -- The lines of a box in the order in which their arrows fan out, those to the table itself first.
  SELECT array_agg((26 + row_height * (e.line - 1) + row_height / 2)::integer ORDER BY e.n)
    INTO offsets
    FROM (SELECT u.n, row_number() OVER (PARTITION BY u.s
                                         ORDER BY u.s <> u.t, COALESCE(laid_out.lane[u.t][columns[u.s] + sign(columns[u.t] - columns[u.s])::integer],
                                                                       laid_out.top[u.t]), u.n) AS line
            FROM unnest(sources, targets) WITH ORDINALITY AS u (s, t, n)) AS e;
  SELECT array_agg(w.width ORDER BY w.c), array_agg(w.x ORDER BY w.c)
    INTO widths, lefts
    FROM (SELECT l.c, max(l.width) + 20 AS width,
                 (24 + sum(max(l.width) + 20 + column_gap) OVER (ORDER BY l.c) - max(l.width) - 20 - column_gap)::integer AS x
            FROM (SELECT columns[t] AS c, (integrity.graph_label(regexp_replace(names[t], '^public\.', ''))).width
                    FROM generate_subscripts(names, 1) AS t
                  UNION ALL
                  SELECT columns[sources[e.n]], (integrity.graph_label(e.rule ->> 'referencing_column')).width
                    FROM jsonb_array_elements(drawn) WITH ORDINALITY AS e (rule, n)) AS l
           GROUP BY l.c) AS w;

  SELECT string_agg(format('<g class="table"><title>%s</title><rect x="%s" y="%s" width="%s" height="%s" rx="4"/><text class="name" x="%s" y="%s">%s</text>%s</g>',
                           integrity.html(names[t]), lefts[columns[t]], laid_out.top[t] + 16, widths[columns[t]], heights[t],
                           lefts[columns[t]] + 10, laid_out.top[t] + 33, (integrity.graph_label(regexp_replace(names[t], '^public\.', ''))).label,
                           CASE WHEN heights[t] > 26 THEN format('<path class="rule" d="M%s %sh%s"/>', lefts[columns[t]], laid_out.top[t] + 42, widths[columns[t]])
                                ELSE '' END), '' ORDER BY t)
    INTO boxes FROM generate_subscripts(names, 1) AS t;

  -- What is broken comes last and so lies on top.
  FOR rule IN
    SELECT e.n, sources[e.n] AS s, targets[e.n] AS t, e.rule ->> 'status' AS status,
           e.rule ->> 'referencing_column' AS referencing_column,
           format('%s: %s (%s) to %s (%s), %s', e.rule ->> 'rule_name', e.rule ->> 'referencing_table', e.rule ->> 'referencing_column',
                  e.rule ->> 'referenced_table', e.rule ->> 'referenced_column',
                  CASE e.rule ->> 'status' WHEN 'broken' THEN format('%s references broken', e.rule ->> 'references_broken')
                                           ELSE e.rule ->> 'status' END) AS title,
           CASE e.rule ->> 'status' WHEN 'broken' THEN e.rule ->> 'references_broken' WHEN 'unknown' THEN '?' END AS mark
      FROM jsonb_array_elements(drawn) WITH ORDINALITY AS e (rule, n)
     ORDER BY e.rule ->> 'status' = 'broken', e.rule ->> 'status' = 'unknown', e.n DESC
  LOOP
    direction := sign(columns[rule.t] - columns[rule.s]);
    y := laid_out.top[rule.s] + 16 + offsets[rule.n];
    boxes := boxes || format('<text class="column" x="%s" y="%s">%s</text>', lefts[columns[rule.s]] + 10, y + 4,
                             COALESCE((integrity.graph_label(rule.referencing_column)).label, '?'));
    x := lefts[columns[rule.s]] + CASE WHEN direction < 0 THEN 0 ELSE widths[columns[rule.s]] END;
    pieces := '{}';
    IF rule.mark IS NOT NULL THEN
      marks := marks || format('<g class="mark %1$s"><rect x="%2$s" y="%3$s" width="%4$s" height="16" rx="8"/><text x="%5$s" y="%6$s" text-anchor="middle">%7$s</text></g>',
        rule.status, x + CASE WHEN direction < 0 THEN -10 - 12 - 7 * length(rule.mark) ELSE 10 END, y - 8, 12 + 7 * length(rule.mark),
        x + CASE WHEN direction < 0 THEN -1 ELSE 1 END * (16 + 3.5 * length(rule.mark)), y + 4, rule.mark);
    END IF;
    IF direction = 0 THEN
      -- to itself: out to the right, and back into the heading
      pieces := pieces || format('M%s %sc60 0 60 %s 3 %s', x, y, laid_out.top[rule.s] + 29 - y, laid_out.top[rule.s] + 29 - y);
    ELSE
      FOR step IN 1 .. abs(columns[rule.t] - columns[rule.s]) - 1 LOOP
        DECLARE
          c CONSTANT integer := columns[rule.s] + direction * step;
          near CONSTANT numeric := lefts[c] + CASE WHEN direction > 0 THEN 0 ELSE widths[c] END;
          lane CONSTANT numeric := laid_out.lane[rule.t][c] + 16;
        BEGIN
          pieces := pieces || format('M%s %sC%s %s %s %s %s %sh%s', x, y, (x + near) / 2, y, (x + near) / 2, lane, near, lane, direction * widths[c]);
          x := near + direction * widths[c];
          y := lane;
        END;
      END LOOP;
      DECLARE
        near CONSTANT numeric := lefts[columns[rule.t]] + CASE WHEN direction > 0 THEN -3 ELSE widths[columns[rule.t]] + 3 END;
      BEGIN
        pieces := pieces || format('M%s %sC%s %s %s %s %s %s', x, y, (x + near) / 2, y, (x + near) / 2, laid_out.top[rule.t] + 29, near, laid_out.top[rule.t] + 29);
      END;
    END IF;
    -- What arrows to the same table have in common is drawn once: dashes on dashes would make a line.
    FOR i IN 1 .. cardinality(pieces) LOOP
      piece := format('<path class="arrow %s" d="%s"%s>', rule.status, pieces[i],
                      CASE WHEN i = cardinality(pieces) THEN format(' marker-end="url(#end-%s)"', rule.status) ELSE '' END);
      CONTINUE WHEN piece = ANY (drawn_pieces);
      drawn_pieces := drawn_pieces || piece;
      arrows := arrows || piece || format('<title>%s</title></path>',
        integrity.html(CASE WHEN i = 1 THEN rule.title ELSE 'to ' || names[rule.t] END));
    END LOOP;
  END LOOP;

  RETURN '<ul class="legend"><li><i></i>holds</li><li><i class="broken"></i>broken, with the number of references</li>'
         '<li><i class="unknown"></i>unknown</li></ul>'
    || format('<div class="scroll" tabindex="0" role="region" aria-label="Graph, scrolls sideways"><svg class="graph" width="%1$s" height="%2$s" viewBox="0 0 %1$s %2$s" role="img" aria-labelledby="graph-title graph-desc">'
                '<title id="graph-title">Tables and their references</title><desc id="graph-desc">%3$s tables and %4$s references; the table above lists them all.</desc><defs>',
                lefts[cardinality(lefts)] + widths[cardinality(widths)] + 64, laid_out.total + 32, cardinality(names), jsonb_array_length(drawn))
    || (SELECT string_agg(format('<marker id="end-%1$s" class="%1$s" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>', s), '' ORDER BY s)
          FROM unnest('{ok,broken,unknown}'::text[]) AS s)
    || '</defs>' || arrows || boxes || marks || '</svg></div>' || note;
END
$$;
/*
 * page.sql
 *	  The report as one page of HTML that needs nothing else: no script, no
 *	  font, no picture from anywhere, so that it can be mailed and kept.
 *
 * It is well-formed XML as well. Whatever comes from the database goes through
 * integrity.html(): a table may be called <script>.
 */

-- The report as jsonb, what is worst first. Everything on the page is made of
-- this one look.
CREATE FUNCTION integrity.page_rules(regclass) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE(jsonb_agg(to_jsonb(j) ORDER BY j.status = 'broken' DESC, j.status = 'unknown' DESC, j.references_broken DESC, j.n), '[]')
    FROM integrity.judge($1) AS j
$$;

-- 1234567 as 1,234,567; NULL as a dash.
CREATE FUNCTION integrity.page_number(numeric) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT COALESCE(regexp_replace($1::text, '(\d)(?=(\d{3})+$)', '\1,', 'g'), '&#8211;') $$;

-- A name or a statement that may be broken into lines after an underscore or a dot.
CREATE FUNCTION integrity.page_breaks(text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT regexp_replace(integrity.html($1), '([_.])', '\1<wbr/>', 'g') $$;

CREATE FUNCTION integrity.page_style() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $style$
  SELECT $css$
:root { color-scheme: light dark; --page: #fff; --soft: #f6f8fa; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de;
  --ok: #1a7f37; --broken: #c21c27; --unknown: #8a5a00; --on-mark: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0d1117; --soft: #161b22; --ink: #e6edf3; --quiet: #9aa4af; --line: #3a424c;
    --ok: #4ac26b; --broken: #ff7b72; --unknown: #e0a53a; --on-mark: #0d1117; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 84rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1, h2 { line-height: 1.25; margin: 0; }
h1 { font-size: 1.05rem; font-weight: 600; color: var(--quiet); overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
code, pre, svg .name, svg .column { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.score { font-size: 3.5rem; font-weight: 650; line-height: 1.15; font-variant-numeric: tabular-nums; }
.score small { font-size: 1rem; font-weight: 400; color: var(--quiet); margin-left: .5rem; }
.bar { display: flex; gap: 2px; height: 10px; margin: .75rem 0; max-width: 40rem; border-radius: 5px; overflow: hidden; background: var(--line); }
.bar span { display: block; min-width: 6px; }
.bar .ok { background: var(--ok); } .bar .broken { background: var(--broken); } .bar .unknown { background: var(--unknown); }
.counts { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 0; padding: 0; }
.counts b { font-variant-numeric: tabular-nums; }
p.caption, p.none, footer { color: var(--quiet); font-size: .875rem; margin: .5rem 0 0; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .75rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
.scroll:focus-visible { outline: 2px solid var(--quiet); outline-offset: 2px; }
.status { display: inline-block; font-weight: 600; white-space: nowrap; }
.status::before { content: ""; display: inline-block; width: .65em; height: .65em; border-radius: 50%; margin-right: .45em; background: currentColor; }
.status.broken::before { border-radius: 0; } .status.unknown::before { background: none; border: 2px solid currentColor; }
.ok { color: var(--ok); } .broken { color: var(--broken); } .unknown { color: var(--unknown); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .55rem .7rem; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { background: var(--soft); font-size: .8125rem; font-weight: 600; color: var(--quiet); white-space: nowrap; }
tbody th { font-weight: 400; overflow-wrap: anywhere; min-width: 17rem; }
tbody th b { display: block; font-weight: 600; }
td:first-child small { white-space: nowrap; }
tbody small { color: var(--quiet); display: block; overflow-wrap: anywhere; line-height: 1.4; }
.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.sample { overflow-wrap: anywhere; min-width: 8rem; }
.next { min-width: 18rem; overflow-wrap: anywhere; }
pre { margin: 0; padding: .4rem .55rem; background: var(--soft); border: 1px solid var(--line); border-radius: 4px; font-size: .8rem; line-height: 1.45;
  white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; -webkit-user-select: all; }
svg { display: block; }
svg text { font-size: 12px; fill: var(--quiet); }
svg .rule, svg .tick { stroke: var(--line); fill: none; }
svg.chart { width: 100%; min-width: 47rem; max-width: 68rem; height: auto; margin: .75rem auto .25rem; }
.chart .score { fill: none; stroke: var(--ink); stroke-width: 1.75; stroke-linejoin: round; }
.chart circle { stroke: var(--page); stroke-width: 1.5; fill: currentColor; }
.chart circle.unknown { stroke: currentColor; fill: var(--page); }
.graph { margin: 0 auto; }
.graph .table rect { fill: var(--soft); stroke: var(--quiet); }
.graph .name { font-weight: 600; fill: var(--ink); }
.graph .arrow { fill: none; stroke: currentColor; stroke-width: 1.3; }
.graph .arrow.ok { color: var(--quiet); opacity: .75; }
.graph .arrow.broken { stroke-width: 2.2; stroke-dasharray: 7 4; }
.graph .arrow.unknown { stroke-width: 1.8; stroke-dasharray: 2 4; }
.graph marker path { fill: currentColor; } .graph marker.ok { color: var(--quiet); }
.graph .mark rect { fill: currentColor; } .graph .mark text { fill: var(--on-mark); font-weight: 650; font-size: 11.5px; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 0 0 .6rem; padding: 0; list-style: none; font-size: .875rem; color: var(--quiet); }
.legend i { display: inline-block; width: 2.2rem; margin-right: .5rem; vertical-align: middle; border-top: 2px solid var(--quiet); }
.legend i.broken { border-top: 3px dashed var(--broken); } .legend i.unknown { border-top: 3px dotted var(--unknown); }
@media (max-width: 60rem) {
  body { padding: 1rem; }
  .score small { display: block; margin: 0; line-height: 1.4; }
  .rules, .rules tbody, .rules tr, .rules td, .rules tbody th { display: block; width: auto; min-width: 0; }
  .rules thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .rules tbody tr { padding: .7rem; border-bottom: 1px solid var(--line); }
  .rules tbody tr:last-child { border-bottom: 0; }
  .rules td, .rules tbody th { border: 0; padding: .15rem 0; }
  .rules td[data-name] { display: grid; grid-template-columns: 9.5rem minmax(0, 1fr); gap: .5rem; text-align: left; white-space: normal; }
  .rules td[data-name]::before { content: attr(data-name); color: var(--quiet); }
  .rules td.next:empty, .rules td.sample:empty { display: none; }
  .rules td.next { padding-top: .4rem; }
}
@media print {
  :root { color-scheme: light; --page: #fff; --soft: #fff; --ink: #000; --quiet: #444; --line: #aaa; --ok: #1a7f37; --broken: #c21c27; --unknown: #8a5a00; --on-mark: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  tr, svg { break-inside: avoid; } h2 { break-after: avoid; }
  .scroll { overflow: visible; border: 0; }
  svg.chart, svg.graph { min-width: 0; width: 100%; height: auto; }
}
$css$
$style$;

CREATE FUNCTION integrity.page_table(report jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN count(*) = 0 THEN '<p class="none">No rule is declared, and there is no foreign key.</p>' ELSE
    '<div class="scroll"><table class="rules" role="table"><thead role="rowgroup"><tr role="row">'
    || (SELECT string_agg(format('<th scope="col" role="columnheader"%s>%s</th>', CASE WHEN h.n BETWEEN 3 AND 6 THEN ' class="figure"' ELSE '' END, h.name), '' ORDER BY h.n)
          FROM unnest('{Status,Rule,References,Broken,In rows,Values,Sample,Next}'::text[]) WITH ORDINALITY AS h (name, n))
    || '</tr></thead><tbody role="rowgroup">'
    || string_agg(
         format('<tr role="row"><td role="cell"><span class="status %1$s">%1$s</span>%2$s%3$s</td>'
                '<th scope="row" role="rowheader"><b>%4$s</b><small>%5$s (%6$s) &#8594; %7$s (%8$s)</small><small>%9$s</small></th>',
                r.status, CASE WHEN r.accepted > 0 THEN format('<small>%s accepted</small>', integrity.page_number(r.accepted)) ELSE '' END,
                CASE WHEN NOT r.enforced THEN '<small>not enforced</small>' WHEN NOT r.validated THEN '<small>not validated</small>' ELSE '' END,
                integrity.page_breaks(r.rule_name), integrity.page_breaks(r.referencing_table), integrity.page_breaks(COALESCE(r.referencing_column, '?')),
                integrity.page_breaks(COALESCE(r.referenced_table, '?')), integrity.page_breaks(COALESCE(r.referenced_column, '?')),
                integrity.html(r.kind))
         || format('<td role="cell" class="figure" data-name="References">%s</td><td role="cell" class="figure%s" data-name="Broken">%s</td>'
                   '<td role="cell" class="figure" data-name="In rows">%s</td><td role="cell" class="figure" data-name="Values">%s</td>',
                   integrity.page_number(r.references_checked), CASE WHEN r.references_broken > 0 THEN ' broken' ELSE '' END,
                   integrity.page_number(r.references_broken), integrity.page_number(r.rows_broken), integrity.page_number(r.values_broken))
         || CASE WHEN r.values_broken > 0 THEN
                 format('<td role="cell" class="sample" data-name="Sample"><span>%s%s</span></td>', integrity.html(array_to_string(r.sample, ', ')),
                        CASE WHEN r.values_broken > cardinality(r.sample) THEN ', &#8230;' ELSE '' END)
                 ELSE '<td role="cell" class="sample"></td>' END
         -- a reason is no statement, and not to be run
         || format('<td role="cell" class="next">%s</td></tr>',
                   CASE WHEN r.status = 'unknown' THEN integrity.html(r.advice) ELSE '<pre><code>' || integrity.page_breaks(r.advice) || '</code></pre>' END),
         '' ORDER BY r.n)
    || '</tbody></table></div>' END
    FROM (SELECT e.n, f.*
            FROM jsonb_array_elements($1) WITH ORDINALITY AS e (rule, n),
                 jsonb_to_record(e.rule) AS f (
                   referencing_table text, rule_name text, kind text, referencing_column text,
                   referenced_table text, referenced_column text, enforced boolean, validated boolean,
                   rows_broken bigint, references_checked bigint, references_broken bigint, values_broken bigint,
                   sample text[], status text, advice text, accepted bigint)) AS r
$$;

/**
 * Looks at every declared reference, as integrity_report() does, and makes a page of HTML of it: the health, how it was over
 * time (of the newest 500 reports that integrity.record_report() kept), every rule with what to run next, and the tables
 * and references as a graph in which the broken ones are marked. Of more than 200 rules the graph shows only those that do
 * not hold.
 *
 * The page needs nothing else, no network and no script, and may be mailed or printed. Write it in UTF-8.
 * It holds samples of broken values: keep it from whom they do not concern.
 *
 * Parameters:
 *   referencing_table  show only the rules declared on this table; NULL, the default, shows all
 *
 * Locks: those of integrity_report().
 *
 * Errors: those of integrity_report().
 *
 * Example:
 *   SELECT integrity.report_html() \g (format=unaligned tuples_only=on) report.html
 */
CREATE FUNCTION integrity.report_html(referencing_table regclass DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET datestyle = ISO
AS $$
#variable_conflict use_column
DECLARE
  started CONSTANT timestamptz := clock_timestamp();
  report CONSTANT jsonb := integrity.page_rules($1);
  seconds CONSTANT numeric := extract(epoch FROM clock_timestamp() - started);
  name CONSTANT text := integrity.html(current_database() || COALESCE(', ' || $1::text, ''));
  s record;
BEGIN
  SELECT count(*) AS rules,
         count(*) FILTER (WHERE r ->> 'status' = 'ok') AS ok,
         count(*) FILTER (WHERE r ->> 'status' = 'broken') AS broken,
         count(*) FILTER (WHERE r ->> 'status' = 'unknown') AS unknown,
         COALESCE(sum((r ->> 'references_checked')::numeric), 0) AS checked,
         COALESCE(sum((r ->> 'references_broken')::numeric), 0) AS broken_references
    INTO s FROM jsonb_array_elements(report) AS r;

  RETURN concat_ws(E'\n',
    '<!DOCTYPE html>',
    '<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>',
    format('<title>References of %s</title><style>%s</style></head><body>', name, integrity.page_style()),
    format('<header><h1>References of %s</h1>', name),
    format('<div class="score">%s<small>%s</small></div>',
           COALESCE(integrity.score(s.checked, s.broken_references, s.ok + s.broken)::text, '&#8211;'),
           CASE WHEN s.rules = 0 THEN 'no rules' WHEN s.ok + s.broken = 0 THEN 'no rule could be looked at'
                ELSE 'percent of the references hold' || CASE WHEN s.unknown > 0 THEN ', as far as could be looked at' ELSE '' END END),
    (SELECT '<div class="bar" aria-hidden="true">' || string_agg(format('<span class="%s" style="flex:%s"></span>', b.status, b.number), '') || '</div>'
       FROM (VALUES ('broken', s.broken), ('unknown', s.unknown), ('ok', s.ok)) AS b (status, number) WHERE b.number > 0),
    format('<ul class="counts"><li><b>%s</b> %s:</li><li class="ok"><b>%s</b> ok</li><li class="broken"><b>%s</b> broken</li><li class="unknown"><b>%s</b> unknown</li>'
           '<li><b>%s</b> references looked at</li><li><b>%s</b> of them broken</li></ul></header><main>',
           integrity.page_number(s.rules), CASE s.rules WHEN 1 THEN 'rule' ELSE 'rules' END,
           integrity.page_number(s.ok), integrity.page_number(s.broken), integrity.page_number(s.unknown),
           integrity.page_number(s.checked), integrity.page_number(s.broken_references)),
    '<section><h2>Over time</h2>', integrity.chart($1), '</section>',
    '<section><h2>Rules</h2>', integrity.page_table(report), '</section>',
    '<section><h2>Graph</h2>', integrity.graph(report), '</section></main>',
    format('<footer>Looked at %s, in %s s, by the role %s.</footer></body></html>',
           to_char(started, 'YYYY-MM-DD HH24:MI:SS TZ'), round(seconds, 1), integrity.html(current_user)));
END
$$;
