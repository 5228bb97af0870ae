/*
 * repair.sql
 *	  Carries out on broken references what their rules would have done.
 *
 * A run looks at its rules, changes rows in batches, and looks again: deleting
 * rows can break references that nothing enforces. It ends when nothing is
 * broken any more, or when a pass brings no progress.
 *
 * repair() itself sets no search_path, and hands on the caller's: the triggers
 * of the changed tables are to find what they find at any other time. All the
 * rest does set it.
 */

-- One rule in the course of a run.
CREATE TYPE integrity.rule_repair AS (
  rule integrity.reference,
  action text,
  -- the first look
  rows_checked bigint, rows_broken bigint, references_checked bigint, references_broken bigint, values_broken bigint,
  -- the last one
  rows_broken_now bigint, references_broken_now bigint,
  -- what was done; "settled" are the references that the rows of the current pass held
  references_found bigint, settled bigint, rows_changed bigint, rows_deleted bigint);

-- The actions that a repair can carry out for a rule.
CREATE FUNCTION integrity.possible_actions(rule integrity.reference) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE ($1).kind
    WHEN 'array reference' THEN
      CASE ($1).null_elements WHEN 'reject' THEN '{remove element,delete row,set null}'::text[]
                              ELSE '{remove element,null element,delete row,set null}' END
    WHEN 'foreign key' THEN '{delete row,set null,set default}'
    ELSE '{delete row,set null}' END
$$;

-- The action for a rule that is broken: the given one, or the rule's own.
CREATE FUNCTION integrity.repair_action(rule integrity.reference, action text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  possible text[] := integrity.possible_actions(rule);
  chosen text := COALESCE(action, rule.on_delete);
  words text := (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(w), ', ' ORDER BY n)
                   FROM pg_catalog.unnest(possible) WITH ORDINALITY AS u (w, n));
  table_name name := (SELECT c.relname FROM pg_catalog.pg_class AS c WHERE c.oid = rule.referencing_table);
BEGIN
  IF chosen = ANY (possible) THEN
    RETURN chosen;
  ELSIF action IS NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = pg_catalog.format('rule "%s" of table "%s" does not say how to repair it', rule.rule_name, table_name),
      DETAIL = pg_catalog.format('References are broken, and its on_delete is "%s".', rule.on_delete),
      HINT = pg_catalog.format('Give an action: %s.', words);
  ELSE
    RAISE invalid_parameter_value USING
      MESSAGE = pg_catalog.format('action "%s" is not possible for rule "%s" of table "%s"', action, rule.rule_name, table_name),
      HINT = pg_catalog.format('Possible are: %s.', words);
  END IF;
END
$$;

-- Raises if repair() or repair_in_batches() was called with something that it
-- does not understand.
CREATE FUNCTION integrity.check_repair_arguments(referencing_table regclass, rule_name name, action text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF referencing_table IS NULL AND rule_name IS NOT NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'a rule_name needs its referencing_table',
      HINT = 'A rule is known by its table and its name: integrity.repair(''public.parent_profiles'', ''parent_profiles_children_ids_fkey'').';
  ELSIF action NOT IN ('remove element', 'null element', 'delete row', 'set null', 'set default') THEN
    RAISE invalid_parameter_value USING
      MESSAGE = pg_catalog.format('unrecognized value for action: "%s"', action),
      HINT = 'Use ''remove element'', ''null element'', ''delete row'', ''set null'' or ''set default'', or leave it out for the rule''s own.';
  END IF;
  IF referencing_table IS NOT NULL AND NOT integrity.owns(referencing_table) THEN
    RAISE insufficient_privilege USING
      MESSAGE = pg_catalog.format('must be owner of table %s', COALESCE(
        (SELECT c.relname::text FROM pg_catalog.pg_class AS c WHERE c.oid = referencing_table), referencing_table::text)),
      HINT = 'Only the owner of the referencing table can repair its references.';
  END IF;
END
$$;

-- Looks at a rule. If rows were deleted since the last look, that may have
-- broken more: what was not there before, or is left over, adds to what was found.
CREATE FUNCTION integrity.look_again(INOUT work integrity.rule_repair, rows_were_deleted boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  seen record;
  left_over bigint := GREATEST(work.references_broken_now - work.settled, 0);
BEGIN
  seen := integrity.look_at_rule(work.rule);
  IF work.references_found IS NULL THEN
    work.rows_checked := seen.rows_checked;
    work.rows_broken := seen.rows_broken;
    work.references_checked := seen.references_checked;
    work.references_broken := seen.references_broken;
    work.values_broken := seen.values_broken;
    work.references_found := seen.references_broken;
    work.rows_changed := 0;
    work.rows_deleted := 0;
  ELSIF rows_were_deleted THEN
    work.references_found := work.references_found + GREATEST(seen.references_broken - left_over, 0);
  END IF;
  work.rows_broken_now := seen.rows_broken;
  work.references_broken_now := seen.references_broken;
  work.settled := 0;
END
$$;

-- Locks a rule and reads it. The lock keeps it from being changed or dropped.
CREATE FUNCTION integrity.lock_rule(referencing_table regclass, rule_name name) RETURNS integrity.reference
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF integrity.table_name(referencing_table) IS NULL THEN
    RAISE undefined_table USING MESSAGE = pg_catalog.format('relation with OID %s does not exist', referencing_table::oid);
  END IF;
  EXECUTE pg_catalog.format('LOCK TABLE ONLY %s IN ROW EXCLUSIVE MODE', integrity.table_name(referencing_table));
  RETURN integrity.find_rule(referencing_table, rule_name);
END
$$;

-- Takes up a rule: locks it and looks; if it is broken it must be possible, for
-- the owner of the table too, to judge its rows.
CREATE FUNCTION integrity.take_up(referencing_table regclass, rule_name name) RETURNS integrity.rule_repair
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  work integrity.rule_repair;
BEGIN
  work.rule := integrity.lock_rule(referencing_table, rule_name);
  PERFORM integrity.check_can_look(work.rule);
  work := integrity.look_again(work, false);
  IF work.references_broken > 0 THEN
    PERFORM integrity.check_can_judge(work.rule);
  END IF;
  RETURN work;
END
$$;

-- One batch: repairs these rows of one table for the sake of rule number n, and
-- if it is not about deleting, of all rules that are at work on the table.
CREATE FUNCTION integrity.repair_rows(
  run_id bigint, works integrity.rule_repair[], n integer, deleting boolean, row_table regclass, tids tid[], path text)
RETURNS integrity.rule_repair[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on SET jit = off
  SET DateStyle = ISO SET IntervalStyle = postgres SET extra_float_digits = 1 SET bytea_output = hex
AS $$
DECLARE
  numbers integer[] := ARRAY[n];
  rules integrity.reference[];
  actions text[];
  figures bigint[];
BEGIN
  IF NOT deleting THEN
    numbers := numbers || ARRAY(
      SELECT m FROM pg_catalog.generate_subscripts(works, 1) AS m
       WHERE m <> n AND works[m].references_broken_now > 0
         AND ((works[m].rule).referencing_table = row_table OR
              (works[m].rule).referencing_table IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(row_table) AS a))
       ORDER BY m);
  END IF;
  rules := ARRAY(SELECT works[u.m].rule FROM pg_catalog.unnest(numbers) WITH ORDINALITY AS u (m, o) ORDER BY u.o);
  actions := ARRAY(SELECT works[u.m].action FROM pg_catalog.unnest(numbers) WITH ORDINALITY AS u (m, o) ORDER BY u.o);
  rules := integrity.rules_of(row_table, rules);

  IF deleting THEN
    figures := integrity.delete_rows(run_id, row_table, tids, rules, works[n].action, path);
    works[n].rows_changed := works[n].rows_changed + figures[1];
    works[n].rows_deleted := works[n].rows_deleted + figures[2];
    works[n].settled := works[n].settled + figures[3];
    RETURN works;
  END IF;

  actions := actions || pg_catalog.array_fill(NULL::text, ARRAY[pg_catalog.cardinality(rules) - pg_catalog.cardinality(actions)]);
  figures := integrity.mend_rows(run_id, row_table, tids, rules, actions, path);
  FOR i IN 1 .. pg_catalog.cardinality(numbers) LOOP
    works[numbers[i]].rows_changed := works[numbers[i]].rows_changed + figures[2 * i - 1];
    works[numbers[i]].settled := works[numbers[i]].settled + figures[2 * i];
  END LOOP;
  works[n].rows_changed := works[n].rows_changed + figures[pg_catalog.cardinality(figures) - 1];
  works[n].rows_deleted := works[n].rows_deleted + figures[pg_catalog.cardinality(figures)];
  RETURN works;
END
$$;

-- Is this rule to be worked on? First rows are mended, then rows are deleted: a
-- row that a cascade reaches is whole by then, and no check finds fault with it.
CREATE FUNCTION integrity.has_work(work integrity.rule_repair, deleting boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT $1.references_broken_now > 0
     AND CASE WHEN $2 THEN $1.action = 'delete row' OR ($1.action = 'remove element' AND (($1).rule).on_empty = 'delete row')
              ELSE $1.action <> 'delete row' END
$$;

-- The rows of a rule from a place on, up to 100,000, cut into batches.
CREATE FUNCTION integrity.next_rows(
  rule integrity.reference, batch_rows integer, after_table oid, after_row tid) RETURNS TABLE (row_table regclass, tids tid[])
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT b.row_table, pg_catalog.array_agg(b.row_tid ORDER BY b.row_tid)
    FROM (SELECT r.row_table, r.row_tid,
                 (pg_catalog.row_number() OVER (PARTITION BY r.row_table ORDER BY r.row_tid) - 1) / $2 AS batch
            FROM integrity.broken_rows(($1).referencing_table, ($1).rule_name, $3, $4, 100000) AS r) AS b
   GROUP BY b.row_table, b.batch
   ORDER BY b.row_table, b.batch
$$;

-- How many rows make a batch: 1,000, or fewer where rows are so large that
-- their images would not fit into memory. What is compressed grows, so the size
-- counts four times.
CREATE FUNCTION integrity.rows_of_a_batch(regclass) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT GREATEST(1, LEAST(1000, pg_catalog.min(
           64 * 1024 * 1024 * CASE WHEN c.reltuples > 0 THEN c.reltuples
                                   -- never analyzed: many small rows to a page, or few large ones out of line
                                   ELSE 50 * pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::integer END
           / GREATEST(4 * pg_catalog.pg_table_size(c.oid), 1))))::integer
    FROM (SELECT $1 AS relid UNION SELECT p.relid FROM pg_catalog.pg_partition_tree($1) AS p) AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.relid AND c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) > 0
$$;

-- Works once on every rule that is broken. Rows are deleted from a table before
-- those that they refer to: what they would hand on then meets no row that is
-- broken still, and that the check of a foreign key would find fault with.
CREATE FUNCTION integrity.repair_pass(run_id bigint, works integrity.rule_repair[], path text) RETURNS integrity.rule_repair[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  deleting boolean;
  n integer;
  depths integer[];
  part record;
  after_table oid;
  after_row tid;
  chunk bigint;
  rows_left bigint;
BEGIN
  depths := integrity.depths(ARRAY(SELECT (works[m].rule).referencing_table::oid FROM pg_catalog.generate_subscripts(works, 1) AS m ORDER BY m));
  FOREACH deleting IN ARRAY ARRAY[false, true] LOOP
    FOR n IN SELECT m FROM pg_catalog.generate_subscripts(works, 1) AS m ORDER BY CASE WHEN deleting THEN depths[m] END DESC, m LOOP
      CONTINUE WHEN integrity.has_work(works[n], deleting) IS NOT TRUE;
      after_table := NULL;
      after_row := NULL;
      rows_left := works[n].rows_broken_now;
      LOOP
        chunk := 0;
        FOR part IN SELECT r.* FROM integrity.next_rows(works[n].rule, integrity.rows_of_a_batch((works[n].rule).referencing_table), after_table, after_row) AS r LOOP
          works := integrity.repair_rows(run_id, works, n, deleting, part.row_table, part.tids, path);
          chunk := chunk + pg_catalog.cardinality(part.tids);
          after_table := part.row_table;
          after_row := part.tids[pg_catalog.cardinality(part.tids)];
        END LOOP;
        -- A trigger that keeps a row as broken as it was must not keep us here.
        rows_left := rows_left - chunk;
        EXIT WHEN chunk < 100000 OR rows_left <= 0;
      END LOOP;
    END LOOP;
  END LOOP;
  RETURN works;
END
$$;

-- A real run: over one rule, those of one table, or all that the caller owns.
CREATE FUNCTION integrity.run_repair(
  referencing_table regclass, rule_name name, action text, path text, OUT run_id bigint, OUT works integrity.rule_repair[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
DECLARE
  known record;
  broken_before numeric;
  broken_after numeric;
  deleted_before numeric;
  deleted_after numeric;
  passes integer := 0;
BEGIN
  PERFORM integrity.settle_triggers();
  works := '{}';
  IF rule_name IS NOT NULL THEN
    works := works || integrity.take_up(referencing_table, rule_name);
  ELSE
    FOR known IN
      SELECT d.relid, d.name, c.relname
        FROM (SELECT t.tgrelid, t.tgname FROM pg_catalog.pg_trigger AS t
               WHERE t.tgfoid = 'integrity.check_reference()'::regprocedure AND t.tgparentid = 0
              UNION
              SELECT f.conrelid, f.conname FROM pg_catalog.pg_constraint AS f
               WHERE f.contype = 'f' AND f.conparentid = 0) AS d (relid, name)
        JOIN pg_catalog.pg_class AS c ON c.oid = d.relid
       -- the log is not a matter of its own repairs
       WHERE c.relnamespace <> 'integrity'::regnamespace
         AND CASE WHEN $1 IS NULL THEN NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace) AND integrity.owns(d.relid)
                  ELSE d.relid = $1 END
       ORDER BY integrity.table_name(d.relid) COLLATE "C", d.name
    LOOP
      -- OTHERS leaves out query_canceled.
      BEGIN
        works := works || integrity.take_up(known.relid, known.name);
      EXCEPTION
        WHEN serialization_failure OR deadlock_detected THEN
          RAISE;
        WHEN OTHERS THEN
          IF referencing_table IS NOT NULL THEN
            RAISE;
          END IF;
          RAISE WARNING USING
            MESSAGE = pg_catalog.format('rule "%s" of table "%s" is left out: %s', known.name, known.relname, SQLERRM),
            ERRCODE = SQLSTATE;
      END;
    END LOOP;
  END IF;

  INSERT INTO integrity.run (kind, parameters)
  VALUES ('repair', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'referencing_table', referencing_table::text, 'rule_name', rule_name, 'action', action)))
  RETURNING run.run_id INTO run_id;

  LOOP
    FOR n IN 1 .. pg_catalog.cardinality(works) LOOP
      IF works[n].references_broken_now > 0 AND works[n].action IS NULL THEN
        works[n].action := integrity.repair_action(works[n].rule, action);
      END IF;
    END LOOP;
    SELECT pg_catalog.sum(w.references_broken_now), pg_catalog.sum(w.rows_deleted) INTO broken_before, deleted_before
      FROM pg_catalog.unnest(works) AS w;
    EXIT WHEN broken_before IS NULL OR broken_before = 0;
    works := integrity.repair_pass(run_id, works, path);
    deleted_after := (SELECT pg_catalog.sum(w.rows_deleted) FROM pg_catalog.unnest(works) AS w);
    FOR n IN 1 .. pg_catalog.cardinality(works) LOOP
      works[n] := integrity.look_again(works[n], deleted_after > deleted_before);
    END LOOP;
    broken_after := (SELECT pg_catalog.sum(w.references_broken_now) FROM pg_catalog.unnest(works) AS w);
    -- Deleting rows may break others, and so on. But a trigger that brings back
    -- what was deleted must not keep us here.
    passes := CASE WHEN broken_after < broken_before THEN 0 ELSE passes + 1 END;
    EXIT WHEN broken_after >= broken_before AND (deleted_after = deleted_before OR passes >= 100);
  END LOOP;

  PERFORM integrity.log_rule(run_id, w, w.references_broken_now) FROM pg_catalog.unnest(works) AS w;
  UPDATE integrity.run AS r SET finished = pg_catalog.clock_timestamp() WHERE r.run_id = run_repair.run_id;
END
$$;

-- Puts the figures of a rule into the log, or brings them up to date.
CREATE FUNCTION integrity.log_rule(run_id bigint, work integrity.rule_repair, references_broken_after bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  INSERT INTO integrity.run_rule AS r
    (run_id, referencing_table, rule_name, action, status, rows_checked, rows_broken, references_checked, references_broken,
     values_broken, references_broken_after, rows_changed, rows_deleted)
  SELECT $1, (($2).rule).referencing_table, (($2).rule).rule_name, ($2).action,
         CASE WHEN ($2).references_broken > 0 THEN 'broken' ELSE 'ok' END,
         ($2).rows_checked, ($2).rows_broken, ($2).references_checked, ($2).references_broken, ($2).values_broken,
         $3, ($2).rows_changed, ($2).rows_deleted
  ON CONFLICT ON CONSTRAINT run_rule_pkey DO UPDATE
     SET references_broken_after = excluded.references_broken_after,
         rows_changed = excluded.rows_changed,
         rows_deleted = excluded.rows_deleted
$$;

-- repair() with, as the last argument, the search_path that triggers are to
-- find. Its arguments have no names, for PL/pgSQL would not tell them from the
-- columns of the same names.
CREATE FUNCTION integrity.repair_rules(regclass, name, text, boolean, text) RETURNS TABLE (
  run_id bigint, referencing_table regclass, rule_name name, action text,
  references_broken bigint, rows_changed bigint, rows_deleted bigint, dry_run boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  run record;
BEGIN
  IF $4 IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'dry_run must not be null',
      HINT = 'Leave it out for a dry run, or say false.';
  END IF;
  PERFORM integrity.check_repair_arguments($1, $2, $3);
  IF NOT $4 THEN
    run := integrity.run_repair($1, $2, $3, $5);
  ELSE
    -- The same, and then out of it by an error that is ours alone.
    BEGIN
      run := integrity.run_repair($1, $2, $3, $5);
      RAISE EXCEPTION USING ERRCODE = 'INTDR', MESSAGE = 'this was a dry run';
    EXCEPTION
      WHEN SQLSTATE 'INTDR' THEN
        IF run IS NULL THEN
          RAISE;
        END IF;
    END;
  END IF;
  RETURN QUERY
    SELECT CASE WHEN NOT $4 THEN run.run_id END, (w.rule).referencing_table, (w.rule).rule_name, w.action,
           w.references_found, w.rows_changed, w.rows_deleted, $4
      FROM pg_catalog.unnest(run.works) WITH ORDINALITY AS w
     WHERE w.references_found > 0
     ORDER BY w.ordinality;
END
$$;

/**
 * Repairs broken references: does to the rows that hold them what the rule would have done if their keys had been deleted.
 * By default it is a dry run, which does all of it, tells the figures and rolls it back. So a dry run takes the locks and
 * fires the triggers of a real one, and both tell the same.
 *
 * The action is the rule's own `on_delete`: 'remove element' with its `on_empty`, 'null element', 'delete row', 'set null',
 * and for a native foreign key its ON DELETE. A rule with 'no action' or 'restrict' that is broken needs an explicit one,
 * else nothing is changed for any rule. Only broken elements are taken out, every occurrence of them; the others keep their
 * order, and other columns are not touched. Rows are changed as the owner of their table, and its triggers fire.
 *
 * One row is returned per rule that was broken. `references_broken` are those that were found; `rows_changed` and
 * `rows_deleted` count the rows of the rule's own table and those that a delete has reached through cascades. A row that was
 * mended for two rules counts for both. Deleting rows can break other references that are declared and not enforced; they
 * are repaired too, if their rule is part of the call, so that a second repair finds nothing.
 *
 * A real run is in the run log: `integrity.run`, `integrity.run_rule` and, with an image of each row before and after,
 * `integrity.change`. `integrity.undo()` takes it back. What your own triggers did to other rows is not in the log.
 *
 * A row that somebody else is changing is waited for, and looked at again: what is mended by then is left alone. The keys are
 * looked at as they are at that time, too.
 *
 * Parameters:
 *   referencing_table  repair only the rules declared on this table; NULL, the default, all tables that are yours
 *   rule_name          repair only this rule of it
 *   action             'remove element', 'null element', 'delete row', 'set null', or for a native foreign key also
 *                      'set default'. NULL, the default: each rule's own
 *   dry_run            true, the default: nothing is changed
 *
 * Locks: ROW EXCLUSIVE on the referencing tables and those that cascades reach, ACCESS SHARE on the referenced ones; FOR NO
 * KEY UPDATE on each row that is changed, FOR UPDATE on each that is deleted. All to the end of the transaction.
 *
 * Errors: 22023 a broken rule has no action of its own, or cannot have the given one; 42501 not the owner of the table, of a
 * partition or of a table that a cascade reaches, or a key may not be read; 42704 the table has no such rule; 23503 a row that
 * is to be deleted is referenced by a rule that restricts; 40001 in a transaction with REPEATABLE READ or SERIALIZABLE, a row
 * was changed meanwhile; 55000 the rule cannot work. A rule that cannot be looked at is a WARNING, and left out, where no table
 * was named.
 *
 * Example:
 *   SELECT * FROM integrity.repair();
 *   SELECT * FROM integrity.repair('parent_profiles', dry_run => false);
 */
CREATE FUNCTION integrity.repair(
  referencing_table regclass DEFAULT NULL, rule_name name DEFAULT NULL,
  action text DEFAULT NULL, dry_run boolean DEFAULT true) RETURNS TABLE (
  run_id bigint, referencing_table regclass, rule_name name, action text,
  references_broken bigint, rows_changed bigint, rows_deleted bigint, dry_run boolean)
LANGUAGE sql VOLATILE
AS $$ SELECT r.* FROM integrity.repair_rules($1, $2, $3, $4, pg_catalog.current_setting('search_path')) AS r $$;
