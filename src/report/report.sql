/*
 * report.sql
 *	  Which references hold, which are broken, and which could not be looked at.
 *
 * Everything here only reads. The functions are STABLE, so PostgreSQL runs all
 * their queries with the snapshot of the query that called them: a report is
 * one moment, however long it takes. A VOLATILE function would take a new
 * snapshot for every rule, and a commit in between would show up as a broken
 * reference that never was.
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

-- Looks at one rule. Raises whatever hinders that.
CREATE FUNCTION integrity.look_at_reference(
  rule integrity.reference,
  OUT rows_checked bigint, OUT rows_broken bigint, OUT references_checked bigint,
  OUT references_broken bigint, OUT values_broken bigint, OUT sample text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
AS $$
DECLARE
  q record;
  row_identity text;
BEGIN
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

-- The one statement to run next about a rule that was looked at, or NULL.
CREATE FUNCTION integrity.advice(rule integrity.reference, references_broken bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  disabled record;
BEGIN
  IF references_broken > 0 THEN
    RETURN pg_catalog.format('SELECT * FROM integrity.broken_references(%L, %L);', rule.referencing_table, rule.rule_name);
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
  RETURN NULL;
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
  rule integrity.reference;
  started timestamptz;
BEGIN
  -- The names first, then each rule by itself: reading one can fail too, and
  -- must not take the others along.
  FOR known IN
    SELECT d.relid, d.name, d.is_native
      FROM (SELECT t.tgrelid, t.tgname, false FROM pg_catalog.pg_trigger AS t
             WHERE t.tgfoid = 'integrity.check_reference()'::regprocedure AND t.tgparentid = 0
            UNION ALL
            SELECT c.conrelid, c.conname, true FROM pg_catalog.pg_constraint AS c
             WHERE c.contype = 'f' AND c.conparentid = 0) AS d (relid, name, is_native)
      JOIN pg_catalog.pg_class AS c ON c.oid = d.relid
     -- only its own session can look into a temporary table
     WHERE CASE WHEN $1 IS NULL THEN NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace) ELSE d.relid = $1 END
     ORDER BY d.relid::regclass::text COLLATE "C", d.name, d.is_native
  LOOP
    started := pg_catalog.clock_timestamp();
    rule := NULL;
    rule.referencing_table := known.relid;
    rule.rule_name := known.name;
    rule.kind := CASE WHEN known.is_native THEN 'foreign key' END;
    status := 'unknown';

    -- OTHERS leaves out query_canceled and assert_failure.
    BEGIN
      SELECT f.* INTO STRICT rule FROM integrity.reference AS f
       WHERE f.referencing_table = known.relid AND f.rule_name = known.name
         AND (f.kind = 'foreign key') = known.is_native;
      advice := rule.problem;
      IF rule.problem IS NULL THEN
        SELECT l.* INTO rows_checked, rows_broken, references_checked, references_broken, values_broken, sample
          FROM integrity.look_at_reference(rule) AS l;
        advice := integrity.advice(rule, references_broken);
        status := CASE WHEN references_broken = 0 THEN 'ok' ELSE 'broken' END;
      END IF;
    EXCEPTION
      WHEN serialization_failure THEN
        RAISE;  -- the transaction is to be run again
      WHEN OTHERS THEN
        advice := SQLERRM;
    END;

    IF status = 'unknown' THEN
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
    elapsed := pg_catalog.clock_timestamp() - started;
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
 * Errors: 42704 the table has no such rule; 42501 a needed column may not be read, or row-level security would hide rows;
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
  key_items text;    -- the primary key columns as p1, p2, ...
  key_object text;   -- the jsonb made of them, only for broken rows
BEGIN
  SELECT f.* INTO rule FROM integrity.reference AS f
   WHERE f.referencing_table = $1 AND f.rule_name = $2;
  IF NOT FOUND THEN
    RAISE undefined_object USING
      MESSAGE = pg_catalog.format('rule "%s" for table "%s" does not exist', $2,
        COALESCE((SELECT c.relname::text FROM pg_catalog.pg_class AS c WHERE c.oid = $1), $1::text)),
      HINT = 'The view integrity.reference lists the rules.';
  ELSIF rule.problem IS NOT NULL THEN
    RAISE object_not_in_prerequisite_state USING MESSAGE = rule.problem,
      HINT = 'Drop the trigger that declares the rule, or put right what it needs.';
  END IF;

  q := integrity.reference_query(rule);
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
