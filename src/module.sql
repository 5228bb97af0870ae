/*
 * module.sql
 *	  The schema of the extension. Everything but integrity_report() lives in it.
 */
CREATE SCHEMA integrity;
COMMENT ON SCHEMA integrity IS 'references of every kind: declared, reported, repaired';
GRANT USAGE ON SCHEMA integrity TO PUBLIC;
