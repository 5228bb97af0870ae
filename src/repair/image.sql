/*
 * image.sql
 *	  A row as jsonb and back, for the run log.
 */

-- Column name to the text of its value, as the type's output function writes
-- it; JSON null for NULL. No setting matters to it. Write the argument as r.*:
-- in a table with a column r, a plain r would be that column.
CREATE FUNCTION integrity.row_image(record) RETURNS jsonb
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'integrity_row_image';

-- The row that an image was made of. The first argument tells its type, as
-- NULL::schema.table. A column that the image does not know is NULL; a name
-- in the image that is no column any more raises 42703.
CREATE FUNCTION integrity.row_from_image(anyelement, jsonb) RETURNS anyelement
	LANGUAGE c STABLE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'integrity_row_from_image';

-- What the values of one reference are called in the log: by their text as in
-- an image, (a, b) if there are more columns than one.
CREATE FUNCTION integrity.reference_label(VARIADIC "any") RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_reference_label';
