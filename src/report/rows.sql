/*
 * rows.sql
 *	  Which rows hold a broken reference.
 */

-- The rule of this name, ready to be looked at.
CREATE FUNCTION integrity.find_rule(referencing_table regclass, rule_name name) RETURNS integrity.reference
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  rule integrity.reference;
  rules bigint;
BEGIN
  SELECT f.* INTO rule FROM integrity.reference AS f
   WHERE f.referencing_table = $1 AND f.rule_name = $2;
  SELECT pg_catalog.count(*) INTO rules FROM integrity.reference AS f
   WHERE f.referencing_table = $1 AND f.rule_name = $2;
  IF rules > 1 THEN
    RAISE ambiguous_alias USING
      MESSAGE = pg_catalog.format('rule name "%s" of table "%s" is ambiguous: a trigger and a foreign key have it', $2,
        (SELECT c.relname FROM pg_catalog.pg_class AS c WHERE c.oid = $1)),
      HINT = pg_catalog.format('Rename one of them: ALTER TABLE %s RENAME CONSTRAINT %I TO ...', $1, $2);
  ELSIF rules = 0 THEN
    RAISE undefined_object USING
      MESSAGE = pg_catalog.format('rule "%s" for table "%s" does not exist', $2,
        COALESCE((SELECT c.relname::text FROM pg_catalog.pg_class AS c WHERE c.oid = $1), $1::text)),
      HINT = 'The view integrity.reference lists the rules.';
  ELSIF rule.problem IS NOT NULL THEN
    RAISE object_not_in_prerequisite_state USING MESSAGE = rule.problem,
      HINT = 'Drop the trigger that declares the rule, or put right what it needs.';
  END IF;
  RETURN rule;
END
$$;

-- The rows that hold a broken reference of a rule, each once, in the order of
-- (row_table, row_tid) and only those behind the given place; NULL, NULL is the
-- start. Where partitions are, row_table is the one that the row is in.
CREATE FUNCTION integrity.broken_rows(
  referencing_table regclass, rule_name name, after_table oid, after_row tid, max_rows bigint)
RETURNS TABLE (row_table regclass, row_tid tid)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
AS $$
DECLARE
  rule integrity.reference := integrity.find_rule($1, $2);
  oids record := integrity.rule_oids(rule);
  q record;
BEGIN
  IF integrity.can_scan(oids.trigger_oid, oids.constraint_oid) THEN
    BEGIN
      RETURN QUERY
        SELECT DISTINCT b.row_table::regclass, b.row_tid
          FROM integrity.scan_broken(oids.trigger_oid, oids.constraint_oid, true, after_table, after_row, max_rows) AS b
         ORDER BY 1, 2
         LIMIT max_rows;
      RETURN;
    EXCEPTION WHEN configuration_limit_exceeded THEN
      -- more keys than statistics knew of, so as below
    END;
  END IF;

  q := integrity.reference_query(rule);
  RETURN QUERY EXECUTE pg_catalog.format($query$
    SELECT DISTINCT i.row_table::regclass, i.row_tid
      FROM (SELECT r.tableoid AS row_table, r.ctid AS row_tid, %1$s FROM %2$s) AS i
     WHERE %3$s AND ($1 IS NULL OR (i.row_table, i.row_tid) > ($1, $2))
     ORDER BY 1, 2
     LIMIT $3
    $query$, q.items, q.source, q.broken)
    USING after_table, after_row, max_rows;
END
$$;
