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
           -- only the casts of PostgreSQL's own types are to be called
           pg_catalog.format(CASE WHEN integrity.base_type(a.atttypid) < 16384 THEN '%L, r.%I'
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
