/*
 * journal.sql
 *	  What was done: runs, the figures of each rule, and every changed row.
 *
 * Tables are named by regclass, which follows a rename, and which pg_dump
 * writes as a name. Row-level security makes the images of a table's rows a
 * matter of its owner; whoever may write them for a table could have changed
 * the table itself, so nothing can be slipped to another owner's undo().
 *
 * The tables of the log have no foreign keys among them. Being the extension's,
 * they are there before pg_restore fills them, in parallel and in any order; and
 * pg_dump would warn of a table that refers to itself each time. A trigger lets
 * figures and images go with their run; what writes into a run that others can see
 * holds it, see hold_run().
 *
 * What a temporary table is called means nothing to anyone else, so a dump
 * leaves its rows out. And those of a table that was dropped: a dump would hold
 * its number, which may be that of any other table where it is restored.
 */

-- Is the current role the table's owner, or a member of it? False for a table
-- that was dropped, but to a superuser.
CREATE FUNCTION integrity.owns(regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE((SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class AS c WHERE c.oid = $1),
                  (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user))
$$;

CREATE TABLE integrity.run (
  run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('report', 'repair', 'undo')),
  role_name name NOT NULL DEFAULT current_user,
  parameters jsonb NOT NULL DEFAULT '{}',
  undoes bigint,
  started timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  finished timestamptz
);
COMMENT ON TABLE integrity.run IS 'one row per repair, undo or recorded report: who, when, what';
COMMENT ON COLUMN integrity.run.undoes IS 'of an undo: the run that it took back, which may be forgotten by now';
COMMENT ON COLUMN integrity.run.parameters IS 'what it was called with';
COMMENT ON COLUMN integrity.run.finished IS 'NULL: it is still at work, or was interrupted between two batches';

CREATE TABLE integrity.run_rule (
  run_id bigint NOT NULL,
  referencing_table regclass NOT NULL,
  rule_name name NOT NULL,
  action text,
  status text NOT NULL CHECK (status IN ('ok', 'broken', 'unknown')),
  rows_checked bigint,
  rows_broken bigint,
  references_checked bigint,
  references_broken bigint,
  values_broken bigint,
  references_broken_after bigint,
  rows_changed bigint NOT NULL DEFAULT 0,
  rows_deleted bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (run_id, referencing_table, rule_name)
);
COMMENT ON TABLE integrity.run_rule IS 'the figures of one rule in one run: as it was found, and what was done';
COMMENT ON COLUMN integrity.run_rule.status IS 'as the run found the rule';

CREATE TABLE integrity.change (
  run_id bigint NOT NULL,
  change_id bigint GENERATED ALWAYS AS IDENTITY,
  referencing_table regclass NOT NULL,
  rule_name name NOT NULL,
  changed_table regclass NOT NULL,
  row_key jsonb,
  before jsonb,
  after jsonb,
  broken jsonb,
  undoes bigint,
  PRIMARY KEY (run_id, change_id)
);
COMMENT ON TABLE integrity.change IS 'one row per row that a run changed, with its image before and after';
COMMENT ON COLUMN integrity.change.rule_name IS 'the rule, of referencing_table, for whose sake the row was changed';
COMMENT ON COLUMN integrity.change.changed_table IS 'where the row is: referencing_table, a partition of it, or a table that a cascade led to';
COMMENT ON COLUMN integrity.change.row_key IS 'the primary key, NULL if there is none';
COMMENT ON COLUMN integrity.change.before IS 'column name to the text of its value; NULL: the run inserted the row';
COMMENT ON COLUMN integrity.change.after IS 'NULL: the run deleted the row';
COMMENT ON COLUMN integrity.change.broken IS 'rule name to the values of the row that had no key';
COMMENT ON COLUMN integrity.change.undoes IS 'in an undo: the change_id of what it took back, the last one if there were more for that row';

-- Figures and images of all owners go with their run.
CREATE FUNCTION integrity.empty_run() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
BEGIN
  -- Whoever could put this on a table of theirs would empty other owners' runs with it.
  IF TG_RELID <> 'integrity.run'::regclass THEN
    RAISE feature_not_supported USING MESSAGE = 'integrity.empty_run() belongs to the table integrity.run';
  END IF;
  DELETE FROM integrity.change AS c USING gone AS g WHERE c.run_id = g.run_id;
  DELETE FROM integrity.run_rule AS c USING gone AS g WHERE c.run_id = g.run_id;
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION integrity.empty_run() FROM PUBLIC;
CREATE TRIGGER empty_run AFTER DELETE ON integrity.run REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION integrity.empty_run();

-- Keeps a run that is committed from being forgotten while a transaction writes
-- into it.
CREATE FUNCTION integrity.hold_run(run_id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
BEGIN
  PERFORM FROM integrity.run AS r WHERE r.run_id = hold_run.run_id FOR KEY SHARE;
  IF NOT FOUND THEN
    RAISE object_not_in_prerequisite_state USING
      MESSAGE = pg_catalog.format('run %s was forgotten while it was at work', run_id);
  END IF;
END
$$;

ALTER TABLE integrity.run ENABLE ROW LEVEL SECURITY;
ALTER TABLE integrity.run_rule ENABLE ROW LEVEL SECURITY;
ALTER TABLE integrity.change ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON integrity.run FOR SELECT USING (true);
CREATE POLICY add ON integrity.run FOR INSERT WITH CHECK (role_name OPERATOR(pg_catalog.=) CURRENT_USER);
CREATE POLICY finish ON integrity.run FOR UPDATE USING (pg_catalog.pg_has_role(role_name, 'USAGE'));
CREATE POLICY forget ON integrity.run FOR DELETE USING (pg_catalog.pg_has_role(role_name, 'USAGE'));
CREATE POLICY see ON integrity.run_rule FOR SELECT
  USING (integrity.owns(referencing_table) OR pg_catalog.has_table_privilege(referencing_table, 'SELECT'));
CREATE POLICY add ON integrity.run_rule FOR INSERT
  WITH CHECK (integrity.owns(referencing_table) OR pg_catalog.has_table_privilege(referencing_table, 'SELECT'));
-- Figures belong to a run of one's own: else anyone who may read a table could slip some into another's report.
CREATE POLICY own_run ON integrity.run_rule AS RESTRICTIVE FOR INSERT WITH CHECK (
  EXISTS (SELECT FROM integrity.run r
           WHERE r.run_id OPERATOR(pg_catalog.=) run_rule.run_id AND pg_catalog.pg_has_role(r.role_name, 'USAGE')));
CREATE POLICY amend ON integrity.run_rule FOR UPDATE USING (integrity.owns(referencing_table));
CREATE POLICY own ON integrity.change USING (integrity.owns(changed_table));
-- What is finished is complete. Whoever could add a table of theirs to it would keep its owner from undoing it.
CREATE POLICY complete ON integrity.change AS RESTRICTIVE FOR INSERT WITH CHECK (
  EXISTS (SELECT FROM integrity.run r WHERE r.run_id OPERATOR(pg_catalog.=) change.run_id AND r.finished IS NULL));
-- Numbers are not for anyone to choose: whoever took those to come would keep others from repairing.
GRANT SELECT, INSERT (kind, role_name, parameters, undoes, started, finished), UPDATE (finished), DELETE ON integrity.run TO PUBLIC;
GRANT SELECT, INSERT ON integrity.run_rule TO PUBLIC;
GRANT UPDATE (references_broken_after, rows_changed, rows_deleted) ON integrity.run_rule TO PUBLIC;
GRANT SELECT, INSERT (run_id, referencing_table, rule_name, changed_table, row_key, before, after, broken, undoes),
  UPDATE (after), DELETE ON integrity.change TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('integrity.run', '');
SELECT pg_catalog.pg_extension_config_dump('integrity.run_run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('integrity.run_rule',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = referencing_table AND c.relpersistence <> ''t'')');
SELECT pg_catalog.pg_extension_config_dump('integrity.change',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = referencing_table AND c.relpersistence <> ''t'')
     AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = changed_table AND c.relpersistence <> ''t'')');
SELECT pg_catalog.pg_extension_config_dump('integrity.change_change_id_seq', '');
