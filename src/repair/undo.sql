/*
 * undo.sql
 *	  Takes a run back.
 *
 * Undo is a run of its own with a log of its own, so it can be undone, too. It
 * works in passes. A pass writes back every row that can be, and then checks
 * the references of all of them. If one fails, the pass is rolled back and made
 * again without that row: others may have relied on it.
 */

-- The tables that a run has changed rows of, those of other owners too, so that
-- undo() can refuse instead of leaving a part undone. Nothing but
-- their OIDs and how many changes there are.
CREATE FUNCTION integrity.changed_tables(run_id bigint, OUT relid oid, OUT rows bigint) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.changed_table, pg_catalog.count(*) FROM integrity.change AS c WHERE c.run_id = $1 GROUP BY c.changed_table
$$;

-- The lists of several changes of one row together.
CREATE FUNCTION integrity.merge_broken(jsonb[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_catalog.jsonb_object_agg(m.rule, m.list)
    FROM (SELECT e.key AS rule, pg_catalog.jsonb_agg(DISTINCT v.value) AS list
            FROM pg_catalog.unnest($1) AS u (broken), pg_catalog.jsonb_each(u.broken) AS e,
                 pg_catalog.jsonb_array_elements(e.value) AS v
           GROUP BY e.key) AS m
$$;

-- The repair that a run goes back to: an undo takes back a run, which may be an undo
-- itself. If that was forgotten, its number still tells which runs belong together.
CREATE FUNCTION integrity.root_run(run_id bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE up (run_id, steps) AS (
    SELECT $1, 0
    UNION ALL
    SELECT r.undoes, u.steps + 1 FROM up AS u JOIN integrity.run AS r ON r.run_id = u.run_id WHERE r.undoes < r.run_id
  )
  SELECT u.run_id FROM up AS u ORDER BY u.steps DESC LIMIT 1
$$;

-- What a run did, one row for each row of a table: several changes of a row
-- with a key are one, as far as nobody else has changed it in between.
--
-- undone: the row is not as the run has made it, because another run of its family
-- was there since, the repair, all undos of it, and the undos of these. Runs an
-- even number of steps away from the repair do what it did, the others the
-- opposite; so a change is undone if the latest one that goes back to the same
-- change of the repair was of the other kind.
CREATE FUNCTION integrity.net_changes(run_id bigint, OUT net integrity.net_change, OUT undone boolean) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE root AS MATERIALIZED (
    SELECT integrity.root_run($1) AS run_id
  ), family (origin, changed_table, run_id, change_id, opposite) AS (
    SELECT COALESCE(c.undoes, c.change_id), c.changed_table, c.run_id, c.change_id, r.undoes IS NOT NULL
      FROM root AS t
      JOIN integrity.run AS r ON r.run_id = t.run_id OR r.undoes = t.run_id
      JOIN integrity.change AS c ON c.run_id = r.run_id
     WHERE r.undoes IS NULL OR c.undoes IS NOT NULL
    UNION ALL
    SELECT f.origin, c.changed_table, c.run_id, c.change_id, NOT f.opposite
      FROM family AS f
      JOIN integrity.run AS r ON r.undoes = f.run_id AND r.run_id > f.run_id
      -- a row of another table is somebody's invention
      JOIN integrity.change AS c ON c.run_id = r.run_id AND c.undoes = f.change_id AND c.changed_table = f.changed_table
     WHERE f.run_id <> (SELECT t.run_id FROM root AS t)
  ), latest AS (
    SELECT DISTINCT ON (f.origin, f.changed_table::oid) f.origin, f.changed_table, f.opposite
      FROM family AS f ORDER BY f.origin, f.changed_table::oid, f.change_id DESC
  ), taken_back AS (
    SELECT f.change_id FROM family AS f JOIN latest AS l ON l.origin = f.origin AND l.changed_table = f.changed_table
     WHERE f.run_id = $1 AND l.opposite <> f.opposite
  ), whole AS (
    SELECT c.*, CASE WHEN c.after IS NOT NULL THEN COALESCE(c.before, '{}') || c.after END AS image
      FROM integrity.change AS c
     WHERE c.run_id = $1
  ), linked AS (
    -- Between two batches the row was anybody's: what they have done to it is not ours to take back.
    SELECT w.*, w.before IS DISTINCT FROM pg_catalog.lag(w.image) OVER same_row AS begins
      FROM whole AS w
    WINDOW same_row AS (PARTITION BY w.changed_table, w.row_key, CASE WHEN w.row_key IS NULL THEN w.change_id END
                            ORDER BY w.change_id)
  ), chained AS (
    SELECT l.*, pg_catalog.count(*) FILTER (WHERE l.begins) OVER (
             PARTITION BY l.changed_table, l.row_key, CASE WHEN l.row_key IS NULL THEN l.change_id END
                 ORDER BY l.change_id) AS chain
      FROM linked AS l
  ), joined AS (
    SELECT pg_catalog.max(c.change_id) AS n, c.changed_table, c.row_key,
           (pg_catalog.array_agg(c.before ORDER BY c.change_id))[1] AS before,
           (pg_catalog.array_agg(c.image ORDER BY c.change_id DESC))[1] AS after,
           CASE WHEN pg_catalog.count(*) = 1 THEN (pg_catalog.array_agg(c.broken))[1]
                ELSE integrity.merge_broken(pg_catalog.array_agg(c.broken)) END AS broken,
           (pg_catalog.array_agg(c.referencing_table ORDER BY c.change_id))[1] AS referencing_table,
           (pg_catalog.array_agg(c.rule_name ORDER BY c.change_id))[1] AS rule_name
      FROM chained AS c
     GROUP BY c.changed_table, c.row_key, CASE WHEN c.row_key IS NULL THEN c.change_id END, c.chain
  )
  SELECT (j.n, j.changed_table, j.row_key, j.before, j.after, j.broken, j.referencing_table, j.rule_name, NULL)::integrity.net_change,
         EXISTS (SELECT FROM taken_back AS t WHERE t.change_id = j.n)
    FROM joined AS j
   WHERE j.before IS DISTINCT FROM j.after
$$;

-- A number for each table, higher than those of the tables that it refers to,
-- as far as they do not refer to each other in a circle. Not needed for the
-- outcome; but rows that find their keys there need no second look.
CREATE FUNCTION integrity.depths(tables oid[]) RETURNS integer[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  froms oid[];
  tos oid[];
  depths integer[] := pg_catalog.array_fill(0, ARRAY[pg_catalog.cardinality(tables)]);
  deeper integer[];
BEGIN
  SELECT pg_catalog.array_agg(f.referencing_table), pg_catalog.array_agg(f.referenced_table) INTO froms, tos
    FROM integrity.reference AS f WHERE f.referencing_table <> f.referenced_table;
  FOR i IN 1 .. pg_catalog.cardinality(tables) LOOP
    deeper := ARRAY(
      SELECT COALESCE(pg_catalog.max(depths[k.i] + 1), 0)
        FROM pg_catalog.unnest(tables) WITH ORDINALITY AS t (relid, i)
        LEFT JOIN (ROWS FROM (pg_catalog.unnest(froms), pg_catalog.unnest(tos)) AS e (relid, to_relid)
                   JOIN pg_catalog.unnest(tables) WITH ORDINALITY AS k (relid, i)
                     ON e.to_relid = k.relid OR e.to_relid IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(k.relid) AS a))
               ON e.relid = t.relid OR e.relid IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(t.relid) AS a)
       GROUP BY t.i ORDER BY t.i);
    EXIT WHEN deeper = depths;
    depths := deeper;
  END LOOP;
  RETURN depths;
END
$$;

-- What is to be put back, in portions of one kind that fit into memory, in the
-- order in which to do it: what refers to a row after that row, and the other
-- way round where rows go away. These, and rows without a key, go backwards in
-- time: one without a key may have become what another was. Where it has to be
-- judged what is broken by now, all that is there already is taken before what
-- it refers to: else it would seem broken by what this undo itself has done.
CREATE FUNCTION integrity.undo_portions(run_id bigint, is_judged boolean, skipped bigint[]) RETURNS TABLE (
  changed_table regclass, deletes boolean, inserts boolean, columns text[], changed_columns text[], items integrity.net_change[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
  -- Rows that are deleted together may refer to each other.
  most_rows CONSTANT bigint[] := '{1000,100000}';
  most_bytes CONSTANT bigint[] := '{8388608,67108864}';
  tables oid[] := ARRAY(SELECT t.relid FROM integrity.changed_tables(run_id) AS t);
  depths integer[] := integrity.depths(tables);
BEGIN
  RETURN QUERY
    WITH shaped AS (
      SELECT n.net, (n.net).before IS NULL AS deletes, (n.net).after IS NULL AS inserts, s.columns, s.changed,
             pg_catalog.jsonb_build_array((n.net).changed_table::oid, (n.net).before IS NULL, (n.net).after IS NULL,
                                          s.columns, s.changed) AS shape,
             depths[pg_catalog.array_position(tables, (n.net).changed_table::oid)] AS depth
        FROM integrity.net_changes(run_id) AS n
       CROSS JOIN LATERAL (
         SELECT pg_catalog.array_agg(a.key ORDER BY a.key COLLATE "C") AS columns,
                pg_catalog.array_agg(a.key ORDER BY a.key COLLATE "C")
                  FILTER (WHERE (n.net).after IS NULL OR a.value <> (n.net).before -> a.key) AS changed
           FROM pg_catalog.jsonb_each(COALESCE((n.net).after, (n.net).before)) AS a) AS s
       WHERE NOT n.undone AND NOT EXISTS (SELECT FROM pg_catalog.unnest(skipped) AS k (n) WHERE k.n = (n.net).n)
    ), placed AS (
      SELECT s.*, pg_catalog.row_number() OVER w AS place,
             pg_catalog.sum(pg_catalog.pg_column_size(s.net)) OVER w AS bytes,
             pg_catalog.lag(s.shape) OVER w IS DISTINCT FROM s.shape AS turns
        FROM shaped AS s
      WINDOW w AS (ORDER BY CASE WHEN is_judged THEN s.inserts ELSE s.deletes END,
                            CASE WHEN s.deletes OR (is_judged AND NOT s.inserts) THEN - s.depth ELSE s.depth END,
                            (s.net).changed_table::oid, s.deletes,
                            CASE WHEN s.deletes OR (s.net).row_key IS NULL THEN - (s.net).n END NULLS FIRST, s.shape, (s.net).n
                   ROWS UNBOUNDED PRECEDING)
    ), numbered AS (
      SELECT p.*, pg_catalog.count(*) FILTER (WHERE p.turns) OVER (ORDER BY p.place ROWS UNBOUNDED PRECEDING) AS kind
        FROM placed AS p
    )
    SELECT (pg_catalog.array_agg((p.net).changed_table))[1], pg_catalog.bool_and(p.deletes), pg_catalog.bool_and(p.inserts),
           p.columns, p.changed, pg_catalog.array_agg(p.net ORDER BY p.place)
      FROM numbered AS p
     GROUP BY p.kind, p.columns, p.changed, p.place / most_rows[1 + p.deletes::integer],
              pg_catalog.div(p.bytes, most_bytes[1 + p.deletes::integer])
     ORDER BY pg_catalog.min(p.place);
END
$$;

-- One pass: writes back what can be, and then checks it. unsound are rows that
-- were written and must not have been.
CREATE FUNCTION integrity.undo_pass(
  run_id bigint, kind text, undo_id bigint, search_path text, skipped bigint[],
  OUT left_alone integrity.left_alone[], OUT unsound integrity.left_alone[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
  portion record;
  how record;
  unchecked integrity.unchecked_row[] := '{}';
BEGIN
  left_alone := '{}';
  FOR portion IN SELECT p.* FROM integrity.undo_portions(run_id, kind = 'undo', skipped) AS p LOOP
    how := integrity.undo_statements(portion.changed_table, portion.columns, portion.changed_columns,
                                     portion.inserts, portion.deletes);
    IF how.problem IS NOT NULL THEN
      left_alone := left_alone || ARRAY(SELECT (u.n, u.changed_table, u.row_key, how.problem)::integrity.left_alone
                                          FROM pg_catalog.unnest(portion.items) AS u);
    ELSE
      -- A repair left nothing broken in what it changed, but an undo did.
      IF kind = 'undo' AND NOT portion.inserts THEN
        portion.items := integrity.judge_items(portion.items, how.look, search_path);
      END IF;
      SELECT u.unchecked, u.left_alone INTO unchecked, left_alone
        FROM integrity.undo_rows(undo_id, portion.items, how.command, how.look, how.has_key,
                                 search_path, unchecked, left_alone) AS u;
    END IF;
  END LOOP;

  SELECT COALESCE(pg_catalog.array_agg((w.n, w.changed_table, w.row_key, w.reason)::integrity.left_alone), '{}') INTO unsound
    FROM (SELECT u.n, u.changed_table, u.row_key, integrity.why_unsound(u) AS reason
            FROM pg_catalog.unnest(unchecked) AS u OFFSET 0) AS w
   WHERE w.reason IS NOT NULL;
END
$$;

-- The catalog's entry that the rows of a rule were checked is taken back: the OID
-- of a trigger or of a constraint; the other one is 0.
CREATE FUNCTION integrity.mark_not_valid(trigger_oid oid, constraint_oid oid) RETURNS void
	LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'integrity_mark_not_valid';

-- A rule that has been validated since the run is so no longer, once references
-- are back that are broken.
CREATE FUNCTION integrity.invalidate_rules(run_id bigint, undo_id bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  SELECT integrity.mark_not_valid(o.trigger_oid, o.constraint_oid)
    FROM (SELECT DISTINCT b.changed_table, k.rule
            FROM integrity.change AS b
           CROSS JOIN LATERAL pg_catalog.jsonb_object_keys(b.broken) AS k (rule)
           WHERE b.run_id = $1
             AND b.changed_table IN (SELECT u.changed_table FROM integrity.change AS u WHERE u.run_id = $2)) AS c
   CROSS JOIN LATERAL (SELECT c.changed_table UNION SELECT p.relid FROM pg_catalog.pg_partition_ancestors(c.changed_table) AS p) AS t (relid)
    JOIN integrity.reference AS f ON f.referencing_table = t.relid AND f.rule_name = c.rule AND f.validated
   CROSS JOIN LATERAL integrity.rule_oids(f) AS o
$$;

-- integrity.undo(), with the search_path of the session for the triggers of
-- the users' tables.
CREATE FUNCTION integrity.undo_run(bigint, boolean, text) RETURNS TABLE (
  run_id bigint, changed_table regclass, outcome text, rows bigint, change_id bigint, row_key jsonb, reason text, dry_run boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
#variable_conflict use_column
DECLARE
  undone_run integrity.run;
  part record;
  undo_id bigint;
  pass record;
  left_alone integrity.left_alone[] := '{}';
  restored_tables regclass[];
  restored_rows bigint[];
BEGIN
  SELECT r.* INTO undone_run FROM integrity.run AS r WHERE r.run_id = $1;
  IF NOT FOUND THEN
    RAISE undefined_object USING MESSAGE = pg_catalog.format('run %s does not exist', COALESCE($1::text, 'NULL')),
      HINT = 'The table integrity.run lists the runs.';
  ELSIF undone_run.kind = 'report' THEN
    RAISE invalid_parameter_value USING MESSAGE = pg_catalog.format('run %s is a report: it has changed nothing', $1);
  ELSIF $2 IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'dry_run must not be null';
  ELSIF pg_catalog.current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    -- Whether another undo has just inserted a row that has no key, an older snapshot cannot tell.
    RAISE feature_not_supported USING
      MESSAGE = pg_catalog.format('cannot undo a run under isolation level %s',
                                  pg_catalog.upper(pg_catalog.current_setting('transaction_isolation'))),
      HINT = 'Use a transaction of isolation level READ COMMITTED.';
  END IF;
  FOR part IN
    SELECT c.relname FROM integrity.changed_tables($1) AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
     WHERE NOT integrity.owns(t.relid) ORDER BY c.relname
  LOOP
    RAISE insufficient_privilege USING MESSAGE = pg_catalog.format('must be owner of table %s', part.relname),
      HINT = pg_catalog.format('Run %s has changed rows of that table, and is undone as a whole.', $1);
  END LOOP;
  PERFORM integrity.settle_triggers();
  -- Two at a time would both bring back the same rows, also if they take back different runs of one family.
  PERFORM pg_catalog.pg_advisory_xact_lock('integrity.run'::regclass::oid::bigint::bit(32)::integer,
                                           (integrity.root_run($1) % 2147483648)::integer);

  LOOP
    BEGIN
      INSERT INTO integrity.run (kind, undoes, parameters)
      VALUES ('undo', $1, pg_catalog.jsonb_build_object('run_id', $1)) RETURNING run.run_id INTO undo_id;
      pass := integrity.undo_pass($1, undone_run.kind, undo_id, $3, ARRAY(SELECT u.n FROM pg_catalog.unnest(left_alone) AS u));
      SELECT pg_catalog.array_agg(s.t ORDER BY s.t::text COLLATE "C"), pg_catalog.array_agg(s.n ORDER BY s.t::text COLLATE "C")
        INTO restored_tables, restored_rows
        FROM (SELECT c.changed_table, pg_catalog.count(*) FROM integrity.change AS c
               WHERE c.run_id = undo_id GROUP BY c.changed_table) AS s (t, n);
      IF $2 OR pg_catalog.cardinality(pass.unsound) > 0 THEN
        RAISE SQLSTATE 'IG001';   -- rolls the pass back
      END IF;
      PERFORM integrity.invalidate_rules($1, undo_id);
      UPDATE integrity.run SET finished = pg_catalog.clock_timestamp() WHERE run.run_id = undo_id;
    EXCEPTION WHEN SQLSTATE 'IG001' THEN
      undo_id := NULL;
    END;
    left_alone := left_alone || pass.unsound;
    EXIT WHEN pg_catalog.cardinality(pass.unsound) = 0;
  END LOOP;

  RETURN QUERY
    SELECT undo_id, u.t, 'restored', u.n, NULL::bigint, NULL::jsonb, NULL::text, $2
      FROM ROWS FROM (pg_catalog.unnest(restored_tables), pg_catalog.unnest(restored_rows)) AS u (t, n);
  IF EXISTS (SELECT FROM integrity.run AS r WHERE r.run_id > $1 AND r.undoes IS NOT NULL AND r.run_id IS DISTINCT FROM undo_id
                AND integrity.root_run(r.run_id) = integrity.root_run($1)) THEN
    RETURN QUERY
      SELECT undo_id, (n.net).changed_table, 'undone already', pg_catalog.count(*), NULL::bigint, NULL::jsonb, NULL::text, $2
        FROM integrity.net_changes($1) AS n WHERE n.undone
         -- this undo is not meant
         AND NOT EXISTS (SELECT FROM integrity.change AS c WHERE c.run_id = undo_id AND c.undoes = (n.net).n)
       GROUP BY 2 ORDER BY 2::text COLLATE "C";
  END IF;
  RETURN QUERY
    SELECT undo_id, u.changed_table, 'left alone', 1::bigint, u.n, u.row_key, u.reason, $2
      FROM pg_catalog.unnest(left_alone || pass.left_alone) AS u
     ORDER BY u.changed_table::text COLLATE "C", u.n;
  -- Only a superuser sees what was done to a table that is no more.
  RETURN QUERY
    SELECT undo_id, t.relid::regclass, 'left alone', t.rows, NULL::bigint, NULL::jsonb, 'the table was dropped since', $2
      FROM integrity.changed_tables($1) AS t
     WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = t.relid) AND NOT integrity.owns(t.relid);
END
$$;

/**
 * Takes a run back: puts every row that it has changed back as it was, inserts again what it has deleted, and deletes
 * what it has inserted (an undo inserts rows, and can be undone like a repair).
 *
 * A row that is not exactly as the run left it is left alone, and listed. So is a deleted row whose key is taken by
 * now, or that the table no longer accepts; a row that a trigger keeps from being restored; and all rows of a table
 * that was dropped, or has lost or renamed a column. A column that was added since does not matter: what was changed
 * keeps its value, what is inserted gets its default. Rows without a primary key are found by all of their values; of
 * rows that are alike, as many are restored as were changed.
 *
 * References come back as they were: those that were broken when the run came to the row are broken again, and
 * neither rules nor foreign keys hinder that. All others are checked as by an INSERT or UPDATE, and their keys
 * locked. So a row that refers to a key that has gone since is left alone. A row that an undo is to delete, or whose
 * key it is to change back, and that is referenced by rows which stay as they are is left alone, too, whatever
 * ON DELETE and ON UPDATE say: an undo changes the rows of its run and no others. Deferrable constraints, and constraint
 * triggers, are checked at once.
 *
 * A rule that gets broken references back is not valid from then on, whoever may have validated it since.
 *
 * Triggers of the tables fire, as they did for the run, so a row need not be restored to the letter if a trigger
 * changes it, the time of its last change for instance.
 *
 * One row per table says how many rows were `restored`, or were `undone already` by an earlier undo. Then every row
 * that was `left alone`, with its reason and the `change_id` under which integrity.change has its images. `run_id` is
 * that of the undo itself, NULL if this is a dry run. A dry run does everything and rolls it back.
 *
 * Parameters:
 *   run_id   the run to take back, a repair or an undo; one that was interrupted, too
 *   dry_run  only say what would be done (the default)
 *
 * Locks: ROW EXCLUSIVE on the changed tables, FOR NO KEY UPDATE or FOR UPDATE on the rows, FOR KEY SHARE on the keys
 * that they refer to; SHARE UPDATE EXCLUSIVE on the tables whose rules are no longer valid. A second undo of the same
 * run waits for the first.
 *
 * Errors: 42704 there is no such run; 22023 the run is a report; 42501 the caller does not own all tables that the
 * run has changed; 0A000 the isolation level is not READ COMMITTED.
 *
 * Example:
 *   SELECT * FROM integrity.undo(7);                    -- what would happen
 *   SELECT * FROM integrity.undo(7, dry_run => false);
 */
CREATE FUNCTION integrity.undo(run_id bigint, dry_run boolean DEFAULT true) RETURNS TABLE (
  run_id bigint, changed_table regclass, outcome text, rows bigint, change_id bigint, row_key jsonb, reason text, dry_run boolean)
-- no SET here: the search_path of the session is asked for
LANGUAGE sql VOLATILE
AS $$
  SELECT u.run_id, u.changed_table, u.outcome, u.rows, u.change_id, u.row_key, u.reason, u.dry_run
    FROM integrity.undo_run($1, $2, pg_catalog.current_setting('search_path')) AS u
$$;
