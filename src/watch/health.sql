/*
 * health.sql
 *	  One figure for a whole report.
 */

-- Percent of the references that hold, cut off after two digits: rounded, one
-- broken reference among a million would read 100. NULL if no rule was looked at.
CREATE FUNCTION integrity.score(references_checked numeric, references_broken numeric, rules_looked_at bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN $3 > 0
              THEN round(CASE WHEN $1 > 0 THEN div(10000 * ($1 - $2), $1) ELSE 10000 END / 100, 2) END
$$;

/**
 * Looks at every declared reference, as integrity_report() does, and sums up what it finds in one row.
 *
 * `score` is the percentage of the references that have their key, among those that were looked at: 100 only if none is
 * broken, for it is cut off after two digits, not rounded. It is 100 if the rules were looked at and no row refers to
 * anything, and NULL if no rule could be looked at or none is declared. A rule that could not be looked at counts
 * as `unknown` and does not lower the score, so read the two together.
 *
 * Locks: those of integrity_report().
 *
 * Errors: those of integrity_report().
 *
 * Example:
 *   SELECT score, broken, unknown FROM integrity.health();
 */
CREATE FUNCTION integrity.health() RETURNS TABLE (
  score numeric, rules bigint, ok bigint, broken bigint, unknown bigint,
  references_checked bigint, references_broken bigint)
LANGUAGE sql STABLE ROWS 1 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT integrity.score(s.checked, s.broken_references, s.ok + s.broken),
         s.rules, s.ok, s.broken, s.rules - s.ok - s.broken, s.checked::bigint, s.broken_references::bigint
    FROM (SELECT count(*) AS rules,
                 count(*) FILTER (WHERE r.status = 'ok') AS ok,
                 count(*) FILTER (WHERE r.status = 'broken') AS broken,
                 COALESCE(sum(r.references_checked), 0) AS checked,
                 COALESCE(sum(r.references_broken), 0) AS broken_references
            FROM integrity.judge(NULL) AS r) AS s
$$;
