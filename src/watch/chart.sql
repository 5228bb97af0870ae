/*
 * chart.sql
 *	  The health over time, drawn as SVG.
 */

-- Text for HTML and XML alike. What XML does not allow at all becomes U+FFFD.
CREATE FUNCTION integrity.html(text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT regexp_replace(
           replace(replace(replace(replace(replace($1, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
           '[\u0001-\u0008\u000B\u000C\u000E-\u001F\u007F\uFFFE\uFFFF]', '&#65533;', 'g')
$$;

-- Where the axis of the scores begins, for the lowest score to be drawn: close
-- below it, for 99.97 and 99.98 are to be told apart.
CREATE FUNCTION integrity.chart_floor(lowest numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT max(f) FROM unnest('{0,50,75,90,95,98,99,99.5,99.8,99.9}'::numeric[]) AS f
   WHERE f < CASE WHEN $1 = 100 THEN 99.5 ELSE $1 END OR f = 0
$$;

-- The marks of the time axis: at even times of day where they fit, else the
-- first and the last report.
CREATE FUNCTION integrity.chart_times(first timestamptz, last timestamptz) RETURNS TABLE (at timestamptz, label text, label_below text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH step AS (
    SELECT s.step
      FROM unnest('{10s,30s,1min,5min,15min,30min,1h,3h,6h,12h,1day,2day,7day,14day,30day,90day,180day,365day,3650day}'::interval[]) AS s (step)
     WHERE $2 - $1 <= 7 * s.step
     ORDER BY s.step LIMIT 1
  ), even AS (
    SELECT g.at, step.step < '1 day' AS of_day, false AS with_seconds, count(*) OVER () AS marks
      FROM step, generate_series(date_bin(step.step, $1, date_trunc('day', $1)), $2, step.step) AS g (at)
     WHERE g.at >= $1
  ), mark AS (
    SELECT e.at, e.of_day, extract(second FROM e.at) > 0 AS with_seconds FROM even AS e WHERE e.marks >= 2
    UNION
    SELECT e.at, true, true FROM (VALUES ($1), ($2)) AS e (at)
     WHERE e.at IS NOT NULL AND NOT EXISTS (SELECT FROM even AS x WHERE x.marks >= 2)
  )
  SELECT m.at,
         CASE WHEN NOT m.of_day THEN to_char(m.at, 'YYYY-MM-DD')
              WHEN m.with_seconds THEN to_char(m.at, 'HH24:MI:SS') ELSE to_char(m.at, 'HH24:MI') END,
         CASE WHEN m.of_day THEN to_char(m.at, 'YYYY-MM-DD') ELSE '' END
    FROM mark AS m ORDER BY m.at
$$;

-- The recorded reports whose figures may be compared with each other: on all
-- tables, or on the rules of one. The newest 500.
CREATE FUNCTION integrity.history(regclass) RETURNS TABLE (
  run_id bigint, at timestamptz, score numeric, broken bigint, unknown bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
  SELECT r.run_id, r.started,
         integrity.score(COALESCE(f.checked, 0), COALESCE(f.broken, 0), f.rules - f.unknown),
         COALESCE(f.broken, 0)::bigint, f.unknown
    FROM (SELECT r.run_id, r.started
            FROM integrity.run AS r
           WHERE r.kind = 'report'
             AND CASE WHEN $1 IS NULL THEN NOT r.parameters ? 'referencing_table'
                      ELSE EXISTS (SELECT FROM integrity.run_rule AS u WHERE u.run_id = r.run_id AND u.referencing_table = $1) END
           ORDER BY r.run_id DESC LIMIT 500) AS r
   CROSS JOIN LATERAL (
         SELECT count(*) AS rules, count(*) FILTER (WHERE u.status = 'unknown') AS unknown,
                sum(u.references_checked) AS checked, sum(u.references_broken) AS broken
           FROM integrity.run_rule AS u
          WHERE u.run_id = r.run_id AND ($1 IS NULL OR u.referencing_table = $1)) AS f
   ORDER BY r.run_id
$$;

-- The chart, or a sentence where there is nothing to draw.
CREATE FUNCTION integrity.chart(regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH history AS MATERIALIZED (
    SELECT h.*, row_number() OVER w AS n, lag(h.score) OVER w AS score_before, lead(h.score) OVER w AS score_after,
           lag(h.unknown) OVER w AS unknown_before
      FROM integrity.history($1) AS h WINDOW w AS (ORDER BY h.run_id)
  ), range AS (
    SELECT count(*) AS reports, min(h.at) AS first, max(h.at) AS last, min(h.score) AS lowest,
           integrity.chart_floor(COALESCE(min(h.score), 100)) AS floor,
           max(h.broken) AS most_broken, (array_agg(h.score ORDER BY h.n DESC))[1] AS latest
      FROM history AS h
  ), point AS (
    SELECT h.*, r.reports,
           -- the plot: 64 to 876 across, 16 to 216 down
           round(CASE WHEN r.last > r.first THEN 64 + 812 * extract(epoch FROM h.at - r.first) / extract(epoch FROM r.last - r.first)
                      ELSE 470 END, 1) AS x,
           round(216 - 200 * (h.score - r.floor) / (100 - r.floor), 1) AS y
      FROM history AS h, range AS r
  ), piece (n, svg) AS (
    -- scores, from bottom to top
    SELECT 1, string_agg(format('<line class="rule" x1="64" x2="876" y1="%1$s" y2="%1$s"/><text x="56" y="%2$s" text-anchor="end">%3$s</text>',
                                216 - 40 * i, 220 - 40 * i, trim_scale(r.floor + i * (100 - r.floor) / 5)), '')
      FROM range AS r, generate_series(0, 5) AS i
    UNION ALL
    SELECT 2, string_agg(format('<line class="tick" x1="%1$s" x2="%1$s" y1="216" y2="221"/><text x="%1$s" y="236" text-anchor="%4$s">%2$s</text>'
                                '<text x="%1$s" y="251" text-anchor="%4$s">%3$s</text>', t.x, t.label, t.label_below,
                                CASE WHEN t.x > 840 THEN 'end' ELSE 'middle' END), '')
      FROM (SELECT round(CASE WHEN r.last > r.first THEN 64 + 812 * extract(epoch FROM m.at - r.first) / extract(epoch FROM r.last - r.first)
                              ELSE 470 END, 1) AS x, m.label, m.label_below
              FROM range AS r, integrity.chart_times(r.first, r.last) AS m) AS t
    UNION ALL
    SELECT 3, format('<path class="score" d="%s"/>',
                     string_agg(format('%s%s %s', CASE WHEN p.score_before IS NULL THEN 'M' ELSE 'L' END, p.x, p.y), ' ' ORDER BY p.n))
      FROM point AS p WHERE p.score IS NOT NULL
    UNION ALL
    -- Of many reports only those stand out that changed something.
    SELECT 4, string_agg(format('<circle class="%s" cx="%s" cy="%s" r="4"><title>%s</title></circle>',
                                CASE WHEN p.unknown > 0 THEN 'unknown' WHEN p.broken > 0 THEN 'broken' ELSE 'ok' END, p.x, COALESCE(p.y, 216),
                                format('%s: %s, %s broken references%s', to_char(p.at, 'YYYY-MM-DD HH24:MI:SS'),
                                       COALESCE(p.score::text, 'no score'), p.broken,
                                       CASE WHEN p.unknown > 0 THEN format(', %s rules unknown', p.unknown) ELSE '' END)), '' ORDER BY p.n)
      FROM point AS p
     WHERE p.reports <= 60 OR p.score IS DISTINCT FROM p.score_before OR p.unknown IS DISTINCT FROM p.unknown_before
        OR p.n = p.reports OR p.score IS NOT NULL AND p.score_after IS NULL
  )
  SELECT CASE WHEN r.reports = 0 THEN
    '<p class="none">No report has been recorded yet. <code>SELECT integrity.record_report();</code> records one.</p>'
  ELSE
    '<div class="scroll" tabindex="0" role="region" aria-label="Chart, scrolls sideways"><svg class="chart" viewBox="0 0 900 260" role="img" aria-labelledby="chart-title chart-desc">'
    '<title id="chart-title">Health over time</title><desc id="chart-desc">'
    || format('%s from %s to %s. The latest score is %s, the lowest %s; at most %s references were broken.',
              CASE r.reports WHEN 1 THEN 'One recorded report' ELSE format('%s recorded reports', r.reports) END, to_char(r.first, 'YYYY-MM-DD HH24:MI'), to_char(r.last, 'YYYY-MM-DD HH24:MI'),
              COALESCE(r.latest::text, 'unknown'), COALESCE(r.lowest::text, 'unknown'), r.most_broken)
    || '</desc>' || (SELECT string_agg(p.svg, '' ORDER BY p.n) FROM piece AS p) || '</svg></div>'
    || format('<p class="caption">Percent of references that hold, %s; the scale begins at %s. Times are in %s.</p>',
              CASE r.reports WHEN 1 THEN 'one recorded report' WHEN 500 THEN 'the newest 500 recorded reports'
                             ELSE format('%s recorded reports', r.reports) END,
              trim_scale(r.floor), integrity.html(current_setting('TimeZone')))
  END
    FROM range AS r
$$;
