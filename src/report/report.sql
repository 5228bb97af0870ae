/*
 * report.sql
 *	  Which references hold, which are broken, and which could not be looked at.
 *
 * Everything here only reads. The functions are STABLE, so PostgreSQL runs all
 * their queries with the snapshot of the query that called them: a report is
 * one moment, however long it takes. A VOLATILE function would take a new
 * snapshot for every rule, and a commit in between would show up as a broken
 * reference that never was.
 */

-- The figures of many rules, read by the scan in as few passes as possible.
-- Each rule is the OID of a trigger or of a constraint; the other one is 0.
-- "number" counts them as they were given. "outcome" is 'looked at', 'by query'
-- (the scan cannot read it) or 'failed', for "reason".
CREATE FUNCTION integrity.scan_references(triggers oid[], constraints oid[],
	OUT number integer, OUT outcome text, OUT reason text,
	OUT rows_checked bigint, OUT rows_broken bigint, OUT references_checked bigint, OUT references_broken bigint,
	OUT values_broken bigint, OUT sample text[], OUT elapsed interval) RETURNS SETOF record
	LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'integrity_scan_references';

-- Can the scan read this rule, as far as statistics tell how much memory its keys
-- take? Each is the OID of a trigger or of a constraint; the other one is 0. Raises what is wrong with the rule.
CREATE FUNCTION integrity.can_scan(trigger_oid oid, constraint_oid oid) RETURNS boolean
	LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'integrity_can_scan';

-- The OID of a rule's trigger, or of a foreign key's constraint; the other is 0.
CREATE FUNCTION integrity.rule_oids(rule integrity.reference, OUT trigger_oid oid, OUT constraint_oid oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE((SELECT t.oid FROM pg_catalog.pg_trigger AS t
                    WHERE (rule).kind <> 'foreign key' AND t.tgrelid = (rule).referencing_table AND t.tgname = (rule).rule_name
                      AND t.tgfoid = 'integrity.check_reference()'::regprocedure), 0),
         COALESCE((SELECT c.oid FROM pg_catalog.pg_constraint AS c
                    WHERE (rule).kind = 'foreign key' AND c.conrelid = (rule).referencing_table
                      AND c.conname = (rule).rule_name AND c.contype = 'f'), 0)
$$;

-- Looks at one rule, by the scan if that can read it. Raises whatever hinders that.
CREATE FUNCTION integrity.look_at_rule(
  rule integrity.reference,
  OUT rows_checked bigint, OUT rows_broken bigint, OUT references_checked bigint,
  OUT references_broken bigint, OUT values_broken bigint, OUT sample text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  oids record := integrity.rule_oids(rule);
  found record;
BEGIN
  IF integrity.can_scan(oids.trigger_oid, oids.constraint_oid) THEN
    SELECT s.* INTO found FROM integrity.scan_references(ARRAY[oids.trigger_oid], ARRAY[oids.constraint_oid]) AS s;
    IF found.outcome = 'failed' THEN
      RAISE object_not_in_prerequisite_state USING MESSAGE = found.reason;
    ELSIF found.outcome = 'looked at' THEN
      rows_checked := found.rows_checked;
      rows_broken := found.rows_broken;
      references_checked := found.references_checked;
      references_broken := found.references_broken;
      values_broken := found.values_broken;
      sample := found.sample;
      RETURN;
    END IF;
  END IF;
  SELECT l.* INTO rows_checked, rows_broken, references_checked, references_broken, values_broken, sample
    FROM integrity.look_at_reference(rule) AS l;
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
  rules integrity.reference[] := '{}';
  problems text[] := '{}';
  triggers oid[] := '{}';
  constraints oid[] := '{}';
  rule integrity.reference;
  found record;
  started timestamptz;
BEGIN
  -- The names first, then each rule by itself: reading one can fail too, and
  -- must not take the others along. OTHERS leaves out query_canceled and
  -- assert_failure.
  FOR known IN
    SELECT d.relid, d.name, d.trigger_oid, d.constraint_oid
      FROM (SELECT t.tgrelid, t.tgname, t.oid, 0 FROM pg_catalog.pg_trigger AS t
             WHERE t.tgfoid = 'integrity.check_reference()'::regprocedure AND t.tgparentid = 0
            UNION ALL
            SELECT c.conrelid, c.conname, 0, c.oid FROM pg_catalog.pg_constraint AS c
             WHERE c.contype = 'f' AND c.conparentid = 0
               AND c.connamespace <> 'integrity'::regnamespace) AS d (relid, name, trigger_oid, constraint_oid)
      JOIN pg_catalog.pg_class AS c ON c.oid = d.relid
     -- only its own session can look into a temporary table
     WHERE CASE WHEN $1 IS NULL THEN NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace) ELSE d.relid = $1 END
     ORDER BY d.relid::regclass::text COLLATE "C", d.name, d.constraint_oid
  LOOP
    rule := NULL;
    BEGIN
      SELECT f.* INTO STRICT rule FROM integrity.reference AS f
       WHERE f.referencing_table = known.relid AND f.rule_name = known.name
         AND (f.kind = 'foreign key') = (known.constraint_oid <> 0);
      problems := problems || rule.problem;
    EXCEPTION
      WHEN serialization_failure THEN
        RAISE;  -- the transaction is to be run again
      WHEN OTHERS THEN
        rule.referencing_table := known.relid;
        rule.rule_name := known.name;
        rule.kind := CASE WHEN known.constraint_oid <> 0 THEN 'foreign key' END;
        problems := problems || SQLERRM;
    END;
    rules := rules || rule;
    triggers := triggers || known.trigger_oid;
    constraints := constraints || known.constraint_oid;
  END LOOP;

  -- A rule with a problem is passed over by the scan: it would only find the same.
  FOR found IN
    SELECT n.number, s.outcome, s.reason, s.rows_checked, s.rows_broken, s.references_checked, s.references_broken,
           s.values_broken, s.sample, s.elapsed
      FROM (SELECT r.number, r.number - pg_catalog.count(problems[r.number]) OVER (ORDER BY r.number) AS place
              FROM pg_catalog.generate_subscripts(rules, 1) AS r (number)) AS n
      LEFT JOIN integrity.scan_references(
             ARRAY(SELECT triggers[r] FROM pg_catalog.generate_subscripts(rules, 1) AS r WHERE problems[r] IS NULL ORDER BY r),
             ARRAY(SELECT constraints[r] FROM pg_catalog.generate_subscripts(rules, 1) AS r WHERE problems[r] IS NULL ORDER BY r)
           ) AS s ON s.number = n.place AND problems[n.number] IS NULL
     ORDER BY n.number
  LOOP
    rule := rules[found.number];
    started := pg_catalog.clock_timestamp();
    elapsed := COALESCE(found.elapsed, '0'::interval);
    status := 'unknown';
    advice := COALESCE(problems[found.number], found.reason);
    IF found.outcome = 'by query' THEN
      BEGIN
        SELECT l.* INTO rows_checked, rows_broken, references_checked, references_broken, values_broken, sample
          FROM integrity.look_at_reference(rule) AS l;
        status := 'looked at';
      EXCEPTION
        WHEN serialization_failure THEN
          RAISE;
        WHEN OTHERS THEN
          advice := SQLERRM;
      END;
      elapsed := pg_catalog.clock_timestamp() - started;
    ELSE
      rows_checked := found.rows_checked;
      rows_broken := found.rows_broken;
      references_checked := found.references_checked;
      references_broken := found.references_broken;
      values_broken := found.values_broken;
      sample := found.sample;
      IF found.outcome = 'looked at' THEN
        status := 'looked at';
      END IF;
    END IF;

    IF status = 'looked at' THEN
      status := CASE WHEN references_broken = 0 THEN 'ok' ELSE 'broken' END;
      BEGIN
        advice := integrity.advice(rule, references_broken);
      EXCEPTION
        WHEN serialization_failure THEN
          RAISE;
        WHEN OTHERS THEN
          advice := NULL;  -- dropped meanwhile: the figures are still those of the snapshot
      END;
    ELSE
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
