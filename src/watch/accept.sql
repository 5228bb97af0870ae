/*
 * accept.sql
 *	  What is broken, is known, and shall not raise an alarm until it is repaired.
 *
 * An accepted number belongs to a table by its OID and to a rule by its name.
 * When either is gone the row means nothing: nobody asks for it any more, and a
 * table of the same name made later starts with nothing accepted.
 */

CREATE TABLE integrity.accepted (
  referencing_table regclass NOT NULL,
  rule_name name NOT NULL,
  references_broken bigint NOT NULL CHECK (references_broken > 0),
  role_name name NOT NULL DEFAULT current_user,
  since timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (referencing_table, rule_name)
);
COMMENT ON TABLE integrity.accepted IS 'how many broken references of a rule are known, so that only more of them fail; written by integrity.accept()';
COMMENT ON COLUMN integrity.accepted.role_name IS 'who accepted them';

-- Who may read a column of the table may look at its rules, and so know what
-- is accepted. Else the gate of that role would fail on what is accepted.
ALTER TABLE integrity.accepted ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON integrity.accepted FOR SELECT
  USING (integrity.owns(referencing_table) OR pg_catalog.has_any_column_privilege(referencing_table, 'SELECT'));
CREATE POLICY add ON integrity.accepted FOR INSERT
  WITH CHECK (integrity.owns(referencing_table) AND role_name OPERATOR(pg_catalog.=) CURRENT_USER);
CREATE POLICY change ON integrity.accepted FOR UPDATE USING (integrity.owns(referencing_table))
  WITH CHECK (integrity.owns(referencing_table) AND role_name OPERATOR(pg_catalog.=) CURRENT_USER);
CREATE POLICY take_back ON integrity.accepted FOR DELETE USING (integrity.owns(referencing_table));
GRANT SELECT, INSERT, UPDATE, DELETE ON integrity.accepted TO PUBLIC;

-- Rows about tables that are gone are left behind: in a dump they would be numbers.
SELECT pg_catalog.pg_extension_config_dump('integrity.accepted',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = referencing_table AND c.relpersistence <> ''t'')');

-- The report, and of each rule how many broken references are accepted and
-- whether that settles it. "n" is its place in the report. All of this folder
-- looks through this one function.
CREATE FUNCTION integrity.judge(regclass) RETURNS TABLE (
  n bigint, referencing_table regclass, rule_name name, kind text,
  referencing_column text, referenced_table regclass, referenced_column text,
  enforced boolean, validated boolean,
  rows_checked bigint, rows_broken bigint,
  references_checked bigint, references_broken bigint, values_broken bigint,
  sample text[], status text, advice text, accepted bigint, clean boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  SELECT r.ordinality, r.referencing_table, r.rule_name, r.kind,
         r.referencing_column, r.referenced_table, r.referenced_column, r.enforced, r.validated,
         r.rows_checked, r.rows_broken, r.references_checked, r.references_broken, r.values_broken,
         r.sample, r.status, r.advice, COALESCE(a.references_broken, 0),
         r.status = 'ok' OR (r.status = 'broken' AND r.references_broken <= COALESCE(a.references_broken, 0))
    FROM integrity.report_references($1) WITH ORDINALITY AS r
    LEFT JOIN integrity.accepted AS a ON a.referencing_table = r.referencing_table AND a.rule_name = r.rule_name
   ORDER BY r.ordinality
$$;

/**
 * Accepts that a rule has a known number of broken references, so that integrity.assert_clean() and integrity.tap() fail
 * only when there are more. Which ones they are is not recorded: where one is repaired and another breaks, the number is
 * the same.
 *
 * A number accepted before is replaced; 0 takes it back. It is kept in the table integrity.accepted, with who accepted it
 * and since when, follows a rename of the table, is dumped by pg_dump, and ends with the table. A rule that is renamed
 * starts with nothing accepted.
 *
 * Parameters:
 *   referencing_table  the table that the rule was declared on; it must be yours
 *   rule_name          the rule: the name of its trigger, or of the foreign key constraint
 *   references_broken  how many are accepted; NULL, the default: as many as there are now, which looks at the table's
 *                      references
 *
 * Returns: the number that is accepted from now on.
 *
 * Locks: ROW EXCLUSIVE on integrity.accepted; to count, those of integrity_report().
 *
 * Errors: 22004 no table or no rule is named; 22023 the number is negative; 42501 the table is not yours; 42704 the
 * table has no such rule; 55000 the rule could not be looked at, so there is no number.
 *
 * Example:
 *   SELECT integrity.accept('parent_profiles', 'parent_profiles_children_ids_fkey');
 */
CREATE FUNCTION integrity.accept(referencing_table regclass, rule_name name, references_broken bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
#variable_conflict use_column
DECLARE
  table_name text := COALESCE((SELECT c.relname FROM pg_class AS c WHERE c.oid = $1)::text, $1::text);
  number bigint := $3;
  rule record;
BEGIN
  IF $1 IS NULL OR $2 IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = format('%s must not be null', CASE WHEN $1 IS NULL THEN 'referencing_table' ELSE 'rule_name' END);
  ELSIF number < 0 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'references_broken must not be negative',
      HINT = 'Use 0 to accept none.';
  ELSIF NOT integrity.owns($1) THEN
    RAISE insufficient_privilege USING MESSAGE = format('must be owner of table %s', table_name);
  END IF;

  -- Taking back asks for no rule: it may be gone.
  IF number = 0 THEN
    DELETE FROM integrity.accepted AS a WHERE a.referencing_table = $1 AND a.rule_name = $2;
    RETURN 0;
  END IF;

  IF NOT EXISTS (SELECT FROM integrity.reference AS f WHERE f.referencing_table = $1 AND f.rule_name = $2) THEN
    RAISE undefined_object USING
      MESSAGE = format('rule "%s" for table "%s" does not exist', $2, table_name),
      HINT = 'The view integrity.reference lists the rules.';
  END IF;

  IF number IS NULL THEN
    -- A trigger and a foreign key can have one name: the worse of the two counts.
    SELECT r.status, r.references_broken, r.advice INTO STRICT rule
      FROM integrity.judge($1) AS r
     WHERE r.rule_name = $2
     ORDER BY r.status = 'unknown' DESC, r.references_broken DESC LIMIT 1;
    IF rule.status = 'unknown' THEN
      RAISE object_not_in_prerequisite_state USING
        MESSAGE = format('rule "%s" for table "%s" could not be looked at', $2, table_name),
        DETAIL = rule.advice,
        HINT = 'Give a number, or put right what keeps it from being looked at.';
    END IF;
    number := rule.references_broken;
  END IF;

  IF number = 0 THEN
    DELETE FROM integrity.accepted AS a WHERE a.referencing_table = $1 AND a.rule_name = $2;
  ELSE
    INSERT INTO integrity.accepted AS a (referencing_table, rule_name, references_broken) VALUES ($1, $2, number)
        ON CONFLICT (referencing_table, rule_name) DO UPDATE
       SET references_broken = excluded.references_broken, role_name = excluded.role_name, since = excluded.since;
  END IF;
  RETURN number;
END
$$;

