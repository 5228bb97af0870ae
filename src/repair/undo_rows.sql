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
    EXIT WHEN has_key OR progress IS NOT TRUE OR pg_catalog.cardinality(rest) = 0;
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
