/*
 * gate.sql
 *	  Pass or fail: what a build or a deployment asks.
 */

/**
 * Raises an error unless every reference holds: the gate for a build or a deployment. With `psql -v ON_ERROR_STOP=1` psql
 * then exits with a status that is not zero.
 *
 * A rule fails if it has more broken references than are accepted (integrity.accept()), and also if it could not be looked
 * at: what is not known is not clean. DETAIL lists each such rule with its figures, or with the reason. A NOTICE says where
 * fewer are broken than accepted, with the call that lowers the number, and where there was no rule to look at.
 *
 * Parameters:
 *   referencing_table  look only at the rules declared on this table; NULL, the default, looks at all
 *
 * Locks: those of integrity_report().
 *
 * Errors: 23000 something is broken or unknown; those of integrity_report().
 *
 * Example:
 *   SELECT integrity.assert_clean();
 */
CREATE FUNCTION integrity.assert_clean(referencing_table regclass DEFAULT NULL) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  most_lines CONSTANT integer := 100;
  rule record;
  lines text[] := '{}';
  rules bigint := 0;
  broken bigint := 0;
  unknown bigint := 0;
BEGIN
  FOR rule IN SELECT j.* FROM integrity.judge($1) AS j ORDER BY j.n LOOP
    rules := rules + 1;
    IF NOT rule.clean THEN
      lines := lines || format('rule "%s" for table %s: %s', rule.rule_name, rule.referencing_table,
        CASE WHEN rule.status = 'unknown' THEN 'unknown: ' || rule.advice
             ELSE format('%s of %s references broken, in %s of %s rows',
                         rule.references_broken, rule.references_checked, rule.rows_broken, rule.rows_checked)
                  || CASE WHEN rule.accepted > 0 THEN format(', %s accepted', rule.accepted) ELSE '' END END);
      IF rule.status = 'unknown' THEN
        unknown := unknown + 1;
      ELSE
        broken := broken + 1;
      END IF;
    ELSIF rule.references_broken < rule.accepted THEN
      RAISE NOTICE USING
        MESSAGE = format('rule "%s" for table %s has %s broken references, and %s are accepted',
                         rule.rule_name, rule.referencing_table, rule.references_broken, rule.accepted),
        HINT = format('SELECT integrity.accept(%L, %L, %s);', rule.referencing_table, rule.rule_name, rule.references_broken);
    END IF;
  END LOOP;

  IF rules = 0 THEN
    RAISE NOTICE 'there is no rule to look at';
  ELSIF lines <> '{}' THEN
    RAISE integrity_constraint_violation USING
      MESSAGE = format('%s of %s rules are not clean: %s broken, %s unknown', broken + unknown, rules, broken, unknown),
      DETAIL = array_to_string(lines[:most_lines], E'\n')
        || CASE WHEN cardinality(lines) > most_lines THEN format(E'\nand %s more', cardinality(lines) - most_lines) ELSE '' END,
      HINT = 'SELECT * FROM @extschema@.integrity_report() WHERE status <> ''ok'';';
  END IF;
END
$$;

/**
 * The report as TAP, the Test Anything Protocol, for pg_prove and other harnesses: one test per rule.
 *
 * A rule that is broken or could not be looked at is `not ok`, with figures, sample, advice or reason as diagnostics. If
 * its broken references are accepted it is a TODO test, which a harness expects to fail; a TODO test that passes says that
 * the accepted number can be lowered. Without any rule the whole plan is skipped.
 *
 * Parameters:
 *   referencing_table  look only at the rules declared on this table; NULL, the default, looks at all
 *
 * Locks: those of integrity_report().
 *
 * Errors: those of integrity_report().
 *
 * Example:
 *   SELECT integrity.tap();
 */
CREATE FUNCTION integrity.tap(referencing_table regclass DEFAULT NULL) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH judged AS MATERIALIZED (
    SELECT j.* FROM integrity.judge($1) AS j
  ), line (n, part, line) AS (
    SELECT 0, 0, CASE WHEN count(*) > 0 THEN '1..' || count(*) ELSE '1..0 # SKIP there is no rule to look at' END
      FROM judged
    UNION ALL
    SELECT j.n, 0, format('%s %s - %s%s', CASE WHEN j.status = 'ok' THEN 'ok' ELSE 'not ok' END, j.n,
             -- one line, and neither \ nor # as TAP understands them
             regexp_replace(regexp_replace(concat_ws(' ', j.referencing_table, j.rule_name), '[[:cntrl:]]', ' ', 'g'),
                            '([\\#])', '\\\1', 'g'),
             CASE WHEN j.clean AND j.accepted > 0 THEN format(' # TODO %s broken references are accepted', j.accepted) ELSE '' END)
      FROM judged AS j
    UNION ALL
    SELECT j.n, d.ordinality, '# ' || d.line
      FROM judged AS j,
           regexp_split_to_table(
             concat_ws(E'\n',
               format('%s of %s references broken, in %s of %s rows%s',
                      j.references_broken, j.references_checked, j.rows_broken, j.rows_checked,
                      CASE WHEN j.accepted > 0 THEN format(', %s accepted', j.accepted) ELSE '' END),
               format('%s values without a key: %s', j.values_broken, array_to_string(j.sample, ', ')
                      || CASE WHEN j.values_broken > cardinality(j.sample) THEN ', ...' ELSE '' END),
               j.advice),
             E'\r\n|\r|\n') WITH ORDINALITY AS d (line, ordinality)
     WHERE j.status = 'broken'
    UNION ALL
    SELECT j.n, d.ordinality, '# ' || d.line
      FROM judged AS j, regexp_split_to_table('unknown: ' || j.advice, E'\r\n|\r|\n') WITH ORDINALITY AS d (line, ordinality)
     WHERE j.status = 'unknown'
  )
  SELECT l.line FROM line AS l ORDER BY l.n, l.part
$$;
