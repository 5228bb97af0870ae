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
 * The trigger function of a rule. A trigger AFTER INSERT FOR EACH ROW that calls it, with integrity.refers() as its condition,
 * is the rule; integrity.add_reference() makes such a trigger, and beside it the one for UPDATE, see integrity.check_update().
 * A rule whose trigger is AFTER INSERT OR UPDATE needs no other, but is asked about every row that an UPDATE writes; a deferrable rule
 * is like that. Its parameters are the arguments of the trigger, strings, in any order.
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
 *     AFTER INSERT ON parent_profiles FOR EACH ROW
 *     WHEN (integrity.refers(NEW.children_ids, (NULL::student_profiles).id))
 *     EXECUTE FUNCTION integrity.check_reference('on_delete=remove element', 'on_empty=set null');
 */
CREATE FUNCTION integrity.check_reference() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_check_reference';

/**
 * The update trigger of a rule: has checked what an UPDATE adds to the column. Whatever declares a rule makes it, by the name
 * `<rule>_update`, and it goes with the rule and has its state: who disables or enables the rule need not think of it. It
 * fires only for rows whose column may refer to something else than before, so that an UPDATE of other columns costs no more than
 * with a foreign key.
 *
 * Locks, errors: as integrity.check_reference().
 *
 * Example:
 *   CREATE TRIGGER parent_profiles_children_ids_fkey_update
 *     AFTER UPDATE ON parent_profiles FOR EACH ROW
 *     WHEN (integrity.refers_anew(OLD.children_ids, NEW.children_ids, (NULL::student_profiles).id))
 *     EXECUTE FUNCTION integrity.check_update();
 */
CREATE FUNCTION integrity.check_update() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_check_update';

/**
 * The condition of the trigger that has UPDATEs checked: could the new value hold what the old one does not? Not if it is null or
 * stored as the old one is, and not if it is an array that has only lost elements, as far as that can be seen without fetching
 * anything from the TOAST table.
 *
 * Parameters:
 *   1  OLD.column
 *   2  NEW.column
 *   3  the key, as (NULL::referenced_table).column; with the column it tells which rules are meant
 */
CREATE FUNCTION integrity.refers_anew("any", "any", "any") RETURNS boolean
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_refers_anew';

-- Has the rule of this trigger its update trigger wherever it is enforced? For the report's advice.
CREATE FUNCTION integrity.updates_are_checked(rule_trigger oid) RETURNS boolean
	LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'integrity_updates_are_checked';

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
 * Locks: SHARE UPDATE EXCLUSIVE on the referencing table and its partitions, ROW SHARE on the referenced one.
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
 * Drops a rule with its update trigger, and the guards of the referenced table if no other rule needs them. For a native foreign key this is
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
 * Makes the guard triggers that are missing on a referenced table, and the update triggers that are missing on a referencing one,
 * enables those that are disabled, and removes those that no rule needs any more. Makes the rules that refer to the table depend
 * on the unique index of their key, if they do not. Only needed where somebody dropped or disabled such a trigger, restored a
 * referencing table alone, renamed a deferrable rule, or dropped a referencing table: declaring a rule makes what it needs,
 * and integrity.drop_reference() removes it. The report says for which of the two tables of a rule to call it.
 *
 * References may have got broken while a trigger was missing. So a rule that was not guarded, is enforced and says that it is valid
 * is checked, with the report's scan; if rows break it, it becomes not valid, with a warning.
 *
 * Parameters:
 *   referenced_table  the table; it must be yours. It may as well be one that has rules itself
 *
 * Locks: SHARE ROW EXCLUSIVE on the table; ACCESS EXCLUSIVE if it removes a trigger; SHARE UPDATE EXCLUSIVE on the referencing
 * table of a rule that it checks.
 *
 * Errors: 42501 not the owner; 42809 not a table; 42P01 no such table; 55006 a statement of the session is at work on it.
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
 * While check_function_bodies is off, as pg_dump sets it for a restore, it makes no guards, for the dump holds them itself. A
 * rule with broken rows is kept then, with a warning, and is not valid. pg_upgrade makes this trigger after the rules; it
 * ties them to their indexes then, when it is added to the extension.
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
	WHEN TAG IN ('CREATE TRIGGER', 'CREATE TABLE', 'CREATE FOREIGN TABLE', 'ALTER TABLE', 'CREATE SCHEMA', 'ALTER EXTENSION')
	EXECUTE FUNCTION integrity.complete_rule();

-- DDL of a session with session_replication_role = replica is DDL all the same, as for a foreign key.
ALTER EVENT TRIGGER integrity_complete_rule ENABLE ALWAYS;

/**
 * The event trigger function that keeps a partition of a referenced table from being detached or dropped, by itself, with
 * its schema, its owner, the extension it belongs to or what its partition key is compared by, while its keys are referenced;
 * a table from becoming unlogged while permanent ones refer to it; and a guard, and a rule by itself, from being dropped or
 * disabled while deferred checks wait. Before a referenced table is attached as a partition or becomes an inheritance child, it
 * makes the table's guards fit for that.
 *
 * Locks: ACCESS EXCLUSIVE on what the command removes, and on the table that it is a partition of, as the commands
 * themselves; ROW SHARE on the referencing tables.
 *
 * Errors: 23503 a key of the partition is still referenced; 0A000 DETACH CONCURRENTLY; 42P16 temporary or unlogged and
 * permanent tables mixed; 55006 a check of the partition, or of the trigger's table, was put off and has not been made yet.
 */
CREATE FUNCTION integrity.keep_keys() RETURNS event_trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_keep_keys';

REVOKE EXECUTE ON FUNCTION integrity.keep_keys() FROM PUBLIC;

CREATE EVENT TRIGGER integrity_keep_keys ON ddl_command_start
	WHEN TAG IN ('ALTER TABLE', 'CREATE TRIGGER', 'DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP EXTENSION', 'DROP ACCESS METHOD', 'DROP COLLATION',
		'DROP DOMAIN', 'DROP FUNCTION', 'DROP LANGUAGE', 'DROP OPERATOR', 'DROP OPERATOR CLASS', 'DROP OPERATOR FAMILY',
		'DROP ROUTINE', 'DROP TRIGGER', 'DROP TYPE')
	EXECUTE FUNCTION integrity.keep_keys();

ALTER EVENT TRIGGER integrity_keep_keys ENABLE ALWAYS;

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
 *   guarded                           the referenced table has all its guards, and they are enabled; so are the event triggers
 *                                     of the extension, and the update trigger wherever the rule is; and the unique index is
 *                                     kept from being dropped
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
