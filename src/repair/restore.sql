/*
 * restore.sql
 *	  Writing rows back whose references are broken, see restore.cpp.
 */

-- As execute_as_owner_in(), but the rows that the statement itself inserts or
-- updates in the table are not checked, a DELETE is refused where it would
-- spread, and an UPDATE does not spread. Who calls this owns the table, and could
-- drop its foreign keys too; undo() has every row checked by check_restored()
-- before it is done.
CREATE FUNCTION integrity.write_unchecked("table" regclass, search_path text, command text, VARIADIC arguments "any")
	RETURNS bigint[]
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'integrity_write_unchecked';

-- Raises if the row with this tid, or its latest version, refers to a key that
-- is not there, and locks those that are. was is the image of the row before it
-- was updated, NULL for one that was inserted; broken are the values that need
-- no key, by rule.
CREATE FUNCTION integrity.check_restored("table" regclass, row_tid tid, was jsonb, broken jsonb) RETURNS void
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'integrity_check_restored';

-- What the guard for DELETE is during write_unchecked().
CREATE FUNCTION integrity.refuse_delete() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_refuse_delete';
