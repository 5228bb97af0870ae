/*
 * batches.sql
 *	  repair() for tables on which one transaction would take too long.
 *
 * Between two batches nothing is held: no lock, no snapshot. So the rule is read
 * and locked anew for each, and rows are judged anew in any case. A tid that is
 * out of date by then leads to the row's latest version, to another row, which
 * is judged like any, or to none. A row that is missed so is found by the next
 * pass.
 *
 * A procedure that commits cannot have settings of its own. So repair_in_batches()
 * qualifies every name and operator, and does little itself.
 */

-- Begins a run over one rule.
CREATE FUNCTION integrity.start_batches(
  referencing_table regclass, rule_name name, action text, batch_rows integer,
  OUT run_id bigint, OUT work integrity.rule_repair)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
BEGIN
  IF referencing_table IS NULL OR rule_name IS NULL OR batch_rows IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = pg_catalog.format('%s must not be null', CASE WHEN referencing_table IS NULL THEN 'referencing_table'
                                                              WHEN rule_name IS NULL THEN 'rule_name' ELSE 'batch_rows' END);
  ELSIF batch_rows < 1 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'batch_rows must be at least 1';
  END IF;
  PERFORM integrity.check_repair_arguments(referencing_table, rule_name, action);
  work := integrity.take_up(referencing_table, rule_name);
  IF work.references_broken_now > 0 THEN
    work.action := integrity.repair_action(work.rule, action);
  END IF;
  INSERT INTO integrity.run (kind, parameters)
  VALUES ('repair', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'referencing_table', referencing_table::text, 'rule_name', rule_name, 'action', action, 'batch_rows', batch_rows)))
  RETURNING run.run_id INTO run_id;
  PERFORM integrity.log_rule(run_id, work, NULL);
END
$$;

-- Repairs one batch, by the rule as it is now.
CREATE FUNCTION integrity.repair_batch(
  run_id bigint, work integrity.rule_repair, action text, deleting boolean, row_table regclass, tids tid[], path text)
RETURNS integrity.rule_repair
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  works integrity.rule_repair[];
BEGIN
  PERFORM integrity.hold_run(run_id);
  PERFORM integrity.settle_triggers();
  work.rule := integrity.lock_rule((work.rule).referencing_table, (work.rule).rule_name);
  work.action := integrity.repair_action(work.rule, action);
  works := integrity.repair_rows(run_id, ARRAY[work], 1, deleting, row_table, tids, path);
  PERFORM integrity.log_rule(run_id, works[1], NULL);
  RETURN works[1];
END
$$;

-- Looks what is left. "goes_on": another pass is worth while.
CREATE FUNCTION integrity.end_pass(action text, before integrity.rule_repair, INOUT work integrity.rule_repair, OUT goes_on boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  work.rule := integrity.lock_rule((work.rule).referencing_table, (work.rule).rule_name);
  work := integrity.look_again(work, work.rows_deleted > before.rows_deleted);
  goes_on := work.references_broken_now > 0 AND
    (work.references_broken_now < before.references_broken_now OR work.rows_deleted > before.rows_deleted);
  IF goes_on THEN
    work.action := integrity.repair_action(work.rule, action);
  END IF;
END
$$;

-- Ends a run.
CREATE FUNCTION integrity.end_batches(run_id bigint, work integrity.rule_repair) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  SELECT integrity.log_rule($1, $2, ($2).references_broken_now);
  UPDATE integrity.run AS r SET finished = pg_catalog.clock_timestamp() WHERE r.run_id = $1;
$$;

/**
 * Repairs the broken references of one rule as integrity.repair() does, but commits after each batch. For tables on which
 * one transaction would hold its locks for too long. Row locks are held for one batch only.
 *
 * It is one run, however many batches it takes, and `integrity.undo()` takes back all of it. If it is interrupted, the
 * batches before stay done and on record; call it again, and a new run does the rest.
 *
 * There is no dry run of it: `integrity.repair()` tells the figures beforehand.
 *
 * Parameters:
 *   referencing_table  the table that the rule was declared on; it must be yours
 *   rule_name          the rule: the name of its trigger, or of the foreign key constraint
 *   action             as for integrity.repair(). Default: the rule's own
 *   batch_rows         how many rows are changed between two commits. Default: 1000
 *   run_id             leave it out; the call returns the number of its run. A NOTICE tells the figures, which are in
 *                      `integrity.run_rule` too
 *
 * Locks: those of integrity.repair(), to the end of each batch.
 *
 * Errors: 2D000 it was called in a transaction block or by a function; those of integrity.repair(). The batches before an
 * error stay.
 *
 * Example:
 *   CALL integrity.repair_in_batches('parent_profiles', 'parent_profiles_children_ids_fkey', batch_rows => 5000);
 */
CREATE PROCEDURE integrity.repair_in_batches(
  referencing_table regclass, rule_name name, action text DEFAULT NULL, batch_rows integer DEFAULT 1000,
  INOUT run_id bigint DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
  path text := pg_catalog.current_setting('search_path');
  work integrity.rule_repair;
  before integrity.rule_repair;
  deleting boolean;
  step record;
  part record;
  after_table oid;
  after_row tid;
  chunk bigint;
  rows_left bigint;
BEGIN
  -- In a transaction block this is the error, before anything was done.
  COMMIT;
  step := integrity.start_batches($1, $2, $3, $4);
  run_id := step.run_id;
  work := step.work;
  COMMIT;
  LOOP
    before := work;
    FOREACH deleting IN ARRAY ARRAY[false, true] LOOP
      CONTINUE WHEN integrity.has_work(work, deleting) IS NOT TRUE;
      after_table := NULL;
      after_row := NULL;
      rows_left := work.rows_broken_now;
      LOOP
        chunk := 0;
        FOR part IN SELECT r.* FROM integrity.next_rows(work.rule, batch_rows, after_table, after_row) AS r LOOP
          work := integrity.repair_batch(run_id, work, action, deleting, part.row_table, part.tids, path);
          COMMIT;
          chunk := chunk OPERATOR(pg_catalog.+) pg_catalog.cardinality(part.tids);
          after_table := part.row_table;
          after_row := part.tids[pg_catalog.cardinality(part.tids)];
        END LOOP;
        rows_left := rows_left OPERATOR(pg_catalog.-) chunk;
        EXIT WHEN chunk OPERATOR(pg_catalog.<) 100000 OR rows_left OPERATOR(pg_catalog.<=) 0;
      END LOOP;
    END LOOP;
    step := integrity.end_pass(action, before, work);
    work := step.work;
    COMMIT;
    EXIT WHEN step.goes_on IS NOT TRUE;
  END LOOP;
  PERFORM integrity.end_batches(run_id, work);
  RAISE NOTICE 'rule "%": % references broken, % rows changed, % rows deleted, % references still broken', (work.rule).rule_name,
    work.references_found, work.rows_changed, work.rows_deleted, work.references_broken_now;
END
$$;
