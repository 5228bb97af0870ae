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
         -- jsonb_build_object() calls a cast to json if the type has one, and that
         -- may be anybody's; so what is not a type of PostgreSQL's own goes as text
         pg_catalog.format('pg_catalog.jsonb_build_object(%s)', pg_catalog.string_agg(
           pg_catalog.format(CASE WHEN integrity.base_type(a.atttypid) < 16384 THEN '%L, i.p%s'
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
