/*
 * forget.sql
 *	  Keeps the run log from growing for ever.
 */

/**
 * Removes runs from the log, with all their figures and images. What is forgotten cannot be undone any more.
 *
 * A role forgets its own runs, and those of roles that it is a member of; a superuser all. Kept are runs that another
 * session is writing at this moment, and every undo of a run that is kept: without it, that run would seem not to be
 * undone.
 *
 * Parameters:
 *   before  runs that started before this time are removed
 *
 * Returns: how many runs were removed.
 *
 * Locks: ROW EXCLUSIVE on the tables of the run log.
 *
 * Example:
 *   SELECT integrity.forget(now() - interval '90 days');
 */
CREATE FUNCTION integrity.forget(before timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
DECLARE
  forgotten bigint;
BEGIN
  IF before IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'the time before which to forget must not be null';
  END IF;
  WITH RECURSIVE old AS MATERIALIZED (
    -- whoever is writing into a run holds it
    SELECT r.run_id, r.undoes FROM integrity.run AS r
     WHERE r.started < before AND pg_catalog.pg_has_role(r.role_name, 'USAGE') FOR UPDATE SKIP LOCKED
  ), goes AS (
    SELECT o.run_id FROM old AS o
     WHERE o.undoes IS NULL OR NOT EXISTS (SELECT FROM integrity.run AS r WHERE r.run_id = o.undoes)
    UNION
    SELECT o.run_id FROM goes AS g JOIN old AS o ON o.undoes = g.run_id
  ), deleted AS (
    DELETE FROM integrity.run AS r USING goes AS g WHERE r.run_id = g.run_id RETURNING r.run_id
  )
  SELECT pg_catalog.count(*) INTO forgotten FROM deleted;
  RETURN forgotten;
END
$$;
