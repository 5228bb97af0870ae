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
SET gin_fuzzy_search_limit = 0
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
