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

