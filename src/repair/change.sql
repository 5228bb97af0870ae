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
