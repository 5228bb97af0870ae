/*
 * progress.sql
 *	  How far the scans of all sessions are.
 */

-- What the module has put into PostgreSQL's progress counters.
CREATE FUNCTION integrity.show_progress(OUT pid integer, OUT datid oid, OUT relid oid,
	OUT phase bigint, OUT rule_oid bigint, OUT is_native bigint, OUT rules_total bigint, OUT rules_done bigint,
	OUT part_number bigint, OUT parts_total bigint, OUT blocks_total bigint, OUT blocks_done bigint) RETURNS SETOF record
	LANGUAGE c STABLE
	AS 'MODULE_PATHNAME', 'integrity_show_progress';

/**
 * One row for each session that is scanning just now, for a report, a validation or a repair, as the pg_stat_progress_* views
 * have it. Other users' scans show only their pid, but to members of pg_read_all_stats. Rules that have to be looked at with
 * a query (keys of several columns, foreign tables, ...) do not show.
 *
 * Columns:
 *   pid, datid, datname       the session; names of tables and rules are shown for the current database only
 *   rule_name                 the rule, or the first of those that share the pass
 *   phase                     'reading referenced keys' or 'checking references'
 *   relid                     the table, or partition, that is being read
 *   blocks_total, blocks_done   of that table, of the server's block size each
 *   parts, part               keys that do not fit into maintenance_work_mem at once are read in so many parts, this one now
 *   rules_total, rules_done   of the report
 */
CREATE VIEW integrity.progress AS
SELECT p.pid, p.datid, d.datname,
       CASE WHEN p.datid OPERATOR(pg_catalog.=) here.oid THEN p.relid::pg_catalog.regclass END AS relid,
       CASE WHEN p.datid OPERATOR(pg_catalog.=) here.oid THEN COALESCE(t.tgname, c.conname) END AS rule_name,
       CASE p.phase WHEN 1 THEN 'reading referenced keys' WHEN 2 THEN 'checking references' END AS phase,
       p.blocks_total, p.blocks_done, p.parts_total AS parts, p.part_number AS part, p.rules_total, p.rules_done
  FROM integrity.show_progress() p
       JOIN pg_catalog.pg_database here ON here.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
       LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) p.datid
       LEFT JOIN pg_catalog.pg_trigger t ON p.is_native OPERATOR(pg_catalog.=) 0 AND t.oid OPERATOR(pg_catalog.=) p.rule_oid::pg_catalog.oid
       LEFT JOIN pg_catalog.pg_constraint c ON p.is_native OPERATOR(pg_catalog.=) 1 AND c.oid OPERATOR(pg_catalog.=) p.rule_oid::pg_catalog.oid;

GRANT SELECT ON integrity.progress TO PUBLIC;
