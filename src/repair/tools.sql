/*
 * tools.sql
 *	  What repair() and undo() need that SQL cannot say.
 */

-- Runs one statement as the owner of the table and returns the first column of
-- its first row, or NULL. $1, $2, ... in it are the arguments, each of its own
-- type; at least one. Whoever could SET ROLE to the owner may call this.
CREATE FUNCTION integrity.execute_as_owner("table" regclass, command text, VARIADIC arguments "any") RETURNS bigint[]
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'integrity_execute_as_owner';

-- The same under a search_path of its own: that of the session, so that the
-- triggers of the users' tables find what they find at any other time. The
-- statement itself must qualify every name and every operator.
CREATE FUNCTION integrity.execute_as_owner_in("table" regclass, search_path text, command text, VARIADIC arguments "any")
	RETURNS bigint[]
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'integrity_execute_as_owner_in';

-- Constraint triggers of other owners' tables fire at once from here on to the
-- end of the transaction. A deferred one would fire at its end, and so with the
-- rights of whoever has called us, not with those of the table's owner.
CREATE FUNCTION integrity.settle_triggers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  each record;
BEGIN
  FOR each IN
    SELECT DISTINCT s.nspname, c.conname
      FROM pg_catalog.pg_constraint AS c
      JOIN pg_catalog.pg_trigger AS t ON t.tgconstraint = c.oid
      JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid
      JOIN pg_catalog.pg_class AS r ON r.oid = c.conrelid
      JOIN pg_catalog.pg_roles AS o ON o.oid = r.relowner
      JOIN pg_catalog.pg_namespace AS s ON s.oid = c.connamespace
     WHERE c.contype = 't' AND c.condeferrable AND f.pronamespace <> 'integrity'::regnamespace
       AND o.rolname <> current_user AND NOT o.rolsuper
  LOOP
    EXECUTE pg_catalog.format('SET CONSTRAINTS %I.%I IMMEDIATE', each.nspname, each.conname);
  END LOOP;
END
$$;

-- Locks rows of one table ('no key update' or 'update') and returns the tid of
-- the latest version of each: NULL for a row that was deleted or has gone to
-- another partition. A row that this transaction has written itself is
-- followed, too. A tid where no row is stored gives NULL.
CREATE FUNCTION integrity.lock_rows("table" regclass, tids tid[], mode text) RETURNS tid[]
	LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'integrity_lock_rows';

-- The array without the elements at these positions, counted from 1 in storage
-- order, whatever its bounds; in an array of more dimensions than one they
-- become NULL. With true, an array that loses its last element becomes NULL.
CREATE FUNCTION integrity.remove_positions(anyarray, integer[], boolean) RETURNS anyarray
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_remove_positions';

-- The array with NULL at these positions.
CREATE FUNCTION integrity.null_positions(anyarray, integer[]) RETURNS anyarray
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_null_positions';
