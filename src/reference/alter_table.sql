/*
 * alter_table.sql
 *	  What ALTER TABLE refuses to do to a table with rules.
 *
 * PostgreSQL makes a foreign key anew when the type of one of its columns
 * changes. A trigger is in the way of that instead. So the rules are dropped,
 * and made again from their definitions.
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
  family oid[];            -- the table, its partitions and inheritance children
BEGIN
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', table_name);
  WITH RECURSIVE below (relid) AS (
    SELECT table_name::oid
     UNION
    SELECT i.inhrelid FROM below AS b JOIN pg_inherits AS i ON i.inhparent = b.relid
  )
  SELECT array_agg(b.relid) INTO family FROM below AS b;

  FOR each IN
    SELECT t.oid, t.tgrelid::regclass AS relid, t.tgname, t.tgenabled, t.proname, t.is_rule, obj_description(t.oid, 'pg_trigger') AS comment,
           COALESCE((SELECT r.enforced FROM integrity.reference AS r
                      WHERE t.is_rule AND r.referencing_table = t.tgrelid AND r.rule_name = t.tgname
                        AND r.kind <> 'foreign key'), true) AS is_enforced,
           -- each argument ends in a zero byte
           encode('\x00'::bytea || t.tgargs, 'escape') LIKE '%\\000not valid\\000%' AS is_not_valid
      FROM (SELECT g.*, p.proname, g.tgfoid = 'integrity.check_reference()'::regprocedure AS is_rule
              FROM pg_trigger AS g
              JOIN pg_proc AS p ON p.oid = g.tgfoid
             WHERE g.tgparentid = 0 AND p.pronamespace = 'integrity'::regnamespace
               AND (p.proname IN ('check_reference', 'check_update') OR p.proname LIKE 'guard\_%')) AS t
     WHERE t.tgrelid = table_name
        -- Tables below it are altered as well, and may have rules and guards of their own. Their TRUNCATE guards name no column.
        OR (t.tgrelid = ANY (family) AND t.proname <> 'guard_truncate')
        OR ((t.is_rule OR t.proname = 'check_update') AND EXISTS (SELECT FROM pg_depend AS d
                                   WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
                                     AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (family)))
     -- Update triggers first: they would go with their rules, and what declares a rule makes one if there is none.
     ORDER BY t.proname = 'check_update' DESC, t.oid
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
    ELSIF each.proname = 'check_update' THEN
      definitions := definitions || pg_get_triggerdef(each.oid);
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
  -- In the order in which they were made, so that they get their old names.
  PERFORM integrity.add_guards(g.relid)
     FROM (SELECT u.relid FROM unnest(guarded_tables) WITH ORDINALITY AS u (relid, place)
            GROUP BY u.relid ORDER BY min(u.place)) AS g;
  FOREACH statement IN ARRAY states LOOP
    EXECUTE statement;
  END LOOP;
END
$$;

/**
 * Runs one ALTER TABLE that PostgreSQL refuses for a table with rules, and keeps the rules: "cannot alter type of a column
 * used in a trigger definition", for a column that a rule names.
 *
 * Every rule of the table, on either side, is put aside and made again in the same transaction, and so are those of the
 * partitions and inheritance children below it: name, actions, comment, enforced or not on each partition, all as before. One
 * that is enforced and valid is checked again, with the report's scan; one that is not enforced is not valid afterwards. What
 * the action itself drops or renames, a rule cannot follow: use a plain ALTER TABLE for that. The two columns of a rule need not change together; an int[] may refer to a bigint.
 *
 * Parameters:
 *   table_name   the table; its partitions and inheritance children are altered, too
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
