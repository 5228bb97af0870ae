/*
 * record.sql
 *	  Reports that are kept: the history of every rule, what got worse since the
 *	  last one, and the figures for a monitoring system.
 *
 * A recorded report is a run of kind "report" (repair/journal.sql). Its figures
 * are read under the reader's rights: who may not read a table does not see
 * how it fares. Only integrity.metrics shows the figures of all, to pg_monitor.
 */

-- The last report on a rule, without walking through the whole history.
CREATE INDEX run_rule_by_rule ON integrity.run_rule (referencing_table, rule_name, run_id);

-- What is worse in a recorded report than in the one before it: "was" and "now"
-- are numbers of broken references, NULL where the rule could not be looked at.
-- A rule that was unknown in between is compared with its last known number:
-- else what broke meanwhile would pass in silence.
CREATE FUNCTION integrity.worse(report bigint) RETURNS TABLE (
  referencing_table regclass, rule_name name, was bigint, now bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  SELECT n.referencing_table, n.rule_name, known.references_broken, n.references_broken
    FROM integrity.run_rule AS n
   CROSS JOIN LATERAL (
         SELECT p.status
           FROM integrity.run_rule AS p JOIN integrity.run AS r ON r.run_id = p.run_id AND r.kind = 'report'
          WHERE p.referencing_table = n.referencing_table AND p.rule_name = n.rule_name AND p.run_id < n.run_id
          ORDER BY p.run_id DESC LIMIT 1) AS before
    LEFT JOIN LATERAL (
         SELECT p.references_broken
           FROM integrity.run_rule AS p JOIN integrity.run AS r ON r.run_id = p.run_id AND r.kind = 'report'
          WHERE p.referencing_table = n.referencing_table AND p.rule_name = n.rule_name AND p.run_id < n.run_id
            AND p.status <> 'unknown'
          ORDER BY p.run_id DESC LIMIT 1) AS known ON true
   WHERE n.run_id = $1
     AND CASE n.status WHEN 'unknown' THEN before.status <> 'unknown'
                       ELSE n.references_broken > COALESCE(known.references_broken, 0) END
   ORDER BY n.references_broken - COALESCE(known.references_broken, 0) DESC NULLS FIRST,
            n.referencing_table::text COLLATE "C", n.rule_name
$$;

-- The payload of the notification about a recorded report, NULL if nothing is
-- worse. NOTIFY takes less than 8000 bytes: the list ends before that.
CREATE FUNCTION integrity.worse_payload(report bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH worse AS (
    SELECT w.item, row_number() OVER w AS n,
           sum(octet_length(w.item::text) + 2) OVER w AS bytes
      FROM (SELECT jsonb_build_object('table', t.referencing_table, 'rule', t.rule_name, 'was', t.was, 'now', t.now) AS item, t.n
              FROM integrity.worse($1) WITH ORDINALITY AS t (referencing_table, rule_name, was, now, n)) AS w
    WINDOW w AS (ORDER BY w.n)
  )
  SELECT jsonb_build_object('run_id', $1, 'database', current_database(),
                            'worse', COALESCE(jsonb_agg(w.item ORDER BY w.n) FILTER (WHERE w.bytes <= 7000), '[]'),
                            'more', count(*) FILTER (WHERE w.bytes > 7000))::text
    FROM worse AS w
  HAVING count(*) > 0
$$;

/**
 * Looks at every declared reference, as integrity_report() does, and keeps the figures: one row in integrity.run, of kind
 * `report`, and one in integrity.run_rule per rule. They are the history that integrity.report_html() draws and that
 * integrity.metrics shows the end of.
 *
 * If something got worse since the last recorded report on the same rule, it sends `NOTIFY integrity` at commit, once, with
 * a JSON object as payload:
 *
 * - `run_id`: this report
 * - `database`: its name
 * - `worse`: one object per rule, the largest rise first: `table`, `rule`, and the numbers of broken references `was` and
 *   `now`. `now` is null if the rule could not be looked at any more, `was` is null if it never could before.
 * - `more`: how many further rules are worse. The payload of a notification is limited to 8000 bytes, so a long list is cut.
 *
 * The first report on a rule is compared with nothing and notifies of nothing. A rule on a temporary table is not recorded,
 * nor is one on a table without SELECT for the caller: a WARNING says how many.
 *
 * Parameters:
 *   referencing_table  record only the rules declared on this table; NULL, the default, records all
 *
 * Returns: the run_id of the report.
 *
 * Locks: those of integrity_report(), and ROW EXCLUSIVE on integrity.run and integrity.run_rule.
 *
 * Errors: those of integrity_report(); 25006 the transaction is read-only.
 *
 * Example:
 *   SELECT integrity.record_report();
 */
CREATE FUNCTION integrity.record_report(referencing_table regclass DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
#variable_conflict use_column
DECLARE
  report bigint;
  not_recorded bigint;
  payload text;
BEGIN
  INSERT INTO integrity.run (kind, parameters)
  VALUES ('report', jsonb_strip_nulls(jsonb_build_object('referencing_table', $1::text)))
  RETURNING run_id INTO report;

  -- One statement looks and writes, so the report is one snapshot. A trigger and
  -- a foreign key can have one name: the worse of the two is recorded.
  WITH looked_at AS MATERIALIZED (
    SELECT DISTINCT ON (r.referencing_table, r.rule_name) r.*,
           integrity.owns(r.referencing_table) OR has_table_privilege(r.referencing_table, 'SELECT') AS may_record
      FROM integrity.judge($1) AS r
      JOIN pg_class AS c ON c.oid = r.referencing_table AND c.relpersistence <> 't'
     ORDER BY r.referencing_table, r.rule_name, r.status = 'unknown' DESC, r.references_broken DESC
  ), recorded AS (
    INSERT INTO integrity.run_rule (run_id, referencing_table, rule_name, status,
                                    rows_checked, rows_broken, references_checked, references_broken, values_broken)
    SELECT report, l.referencing_table, l.rule_name, l.status,
           l.rows_checked, l.rows_broken, l.references_checked, l.references_broken, l.values_broken
      FROM looked_at AS l
     WHERE l.may_record
  )
  SELECT count(*) INTO not_recorded FROM looked_at AS l WHERE l.may_record IS NOT TRUE;

  UPDATE integrity.run SET finished = clock_timestamp() WHERE run_id = report;

  IF not_recorded > 0 THEN
    RAISE WARNING USING
      MESSAGE = format('%s rules are not recorded', not_recorded),
      DETAIL = 'You have no SELECT privilege on their tables.';
  END IF;
  payload := integrity.worse_payload(report);
  IF payload IS NOT NULL THEN
    PERFORM pg_notify('integrity', payload);
  END IF;
  RETURN report;
END
$$;

-- A label must not change with the reader's search_path, as the text of a regclass does.
CREATE FUNCTION integrity.qualified_name(regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = $1
$$;

/**
 * One row per declared reference with the figures of its last recorded report, for a monitoring system: labels as text,
 * gauges as numbers. It reads what integrity.record_report() kept, and looks at no row of any table. Members of
 * pg_monitor may read it, whatever they may read otherwise.
 *
 * The figures are NULL for a rule that could not be looked at, and for one that no report was recorded on. Both have
 * `is_unknown` 1.
 *
 * Columns:
 *   referencing_table, rule_name      the identity of a rule
 *   kind                              'array reference', 'reference' or 'foreign key'
 *   referenced_table                  where its keys are
 *   status                            'ok', 'broken' or 'unknown'
 *   references_checked                references that were looked at
 *   references_broken                 those without a key
 *   references_accepted               how many of them are accepted, see integrity.accept(); 0 if none are
 *   rows_checked, rows_broken         rows with a referencing value; those with a broken reference
 *   values_broken                     distinct values without a key
 *   is_broken, is_unknown             1 or 0
 *   is_enforced                       1 if its triggers fire, on both of its tables; 0: it can break at any time
 *   age_seconds                       how long ago the report began; NULL if there is none
 *
 * Example:
 *   SELECT * FROM integrity.metrics WHERE references_broken > references_accepted;
 */
CREATE VIEW integrity.metrics AS
SELECT integrity.qualified_name(f.referencing_table) AS referencing_table,
       f.rule_name::pg_catalog.text AS rule_name,
       f.kind,
       integrity.qualified_name(f.referenced_table) AS referenced_table,
       COALESCE(l.status, 'unknown') AS status,
       l.references_checked,
       l.references_broken,
       COALESCE(a.references_broken, 0) AS references_accepted,
       l.rows_checked,
       l.rows_broken,
       l.values_broken,
       CASE WHEN l.status OPERATOR(pg_catalog.=) 'broken' THEN 1 ELSE 0 END AS is_broken,
       CASE WHEN l.status OPERATOR(pg_catalog.<>) 'unknown' THEN 0 ELSE 1 END AS is_unknown,
       CASE WHEN f.enforced AND f.guarded AND f.problem IS NULL THEN 1 ELSE 0 END AS is_enforced,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) l.started) AS age_seconds
  FROM integrity.reference AS f
       LEFT JOIN integrity.accepted AS a ON a.referencing_table OPERATOR(pg_catalog.=) f.referencing_table
                                        AND a.rule_name OPERATOR(pg_catalog.=) f.rule_name
       LEFT JOIN LATERAL (
         SELECT u.*, r.started
           FROM integrity.run_rule AS u JOIN integrity.run AS r ON r.run_id OPERATOR(pg_catalog.=) u.run_id
          WHERE u.referencing_table OPERATOR(pg_catalog.=) f.referencing_table
            AND u.rule_name OPERATOR(pg_catalog.=) f.rule_name
            AND r.kind OPERATOR(pg_catalog.=) 'report'
          ORDER BY u.run_id DESC LIMIT 1) AS l ON true;

GRANT SELECT ON integrity.metrics TO pg_monitor;
