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
  ELSIF rule.kind <> 'foreign key' AND NOT rule.guarded THEN
    -- Before any repair, or more may go. What happens to partitions is guarded by event triggers.
    SELECT e.evtname INTO disabled FROM pg_catalog.pg_event_trigger AS e
     WHERE e.evtfoid IN ('integrity.complete_rule()'::regprocedure, 'integrity.keep_keys()'::regprocedure)
       AND e.evtenabled NOT IN ('O', 'A')
     ORDER BY 1 LIMIT 1;
    IF FOUND THEN
      RETURN pg_catalog.format('ALTER EVENT TRIGGER %I ENABLE ALWAYS;', disabled.evtname);
    ELSIF pg_catalog.current_setting('event_triggers', true) = 'off' THEN
      RETURN 'SET event_triggers = on;';
    END IF;
    RETURN pg_catalog.format('SELECT integrity.add_guards(%L);',
      CASE WHEN (SELECT integrity.updates_are_checked(t.oid) FROM pg_catalog.pg_trigger AS t
                  WHERE t.tgrelid = rule.referencing_table AND t.tgname = rule.rule_name)
           THEN rule.referenced_table ELSE rule.referencing_table END);
  ELSIF references_broken > 0 THEN
    RETURN integrity.repair_advice(rule);
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
