-- The page: everything escaped, the figures of the report, nothing from elsewhere, and a chart and a
-- graph that are sensible with nothing, one and many. (That it is well-formed: test/cluster/watch.sh.)
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
RESET client_min_messages;
\set SHOW_CONTEXT never

-- Without any rule and any recorded report: a page all the same.
DELETE FROM integrity.run WHERE kind = 'report';
SELECT page ~ '^<!DOCTYPE html>\n<html lang="en">.*</html>$' AS whole, page ~ 'no rules' AS no_rules,
       page ~ 'No report has been recorded yet' AS no_history, page ~ 'There is nothing to draw' AS no_graph, page ~ '<svg' AS svg
  FROM integrity.report_html() AS page;

CREATE SCHEMA page;
SET search_path = page, public;
SET client_min_messages = warning;
CREATE TABLE key (id int PRIMARY KEY);
INSERT INTO key VALUES (1), (2);
CREATE TABLE "<script>alert('x')</script>" (id int PRIMARY KEY, "a ""&""
b" int[], texts text[]);
CREATE TABLE word (v text PRIMARY KEY);
SELECT integrity.add_reference('"<script>alert(''x'')</script>"', E'a "&"\nb', 'key', not_valid => true, rule_name => '</style><b onclick="x">');
SELECT integrity.add_reference('"<script>alert(''x'')</script>"', 'texts', 'word', not_valid => true, rule_name => 'words');
ALTER TABLE word ADD code int, ADD codes int[];
CREATE UNIQUE INDEX word_code ON word (code);
SELECT integrity.add_reference('word', 'codes', 'word', 'code');
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'word_code'::regclass;
SET session_replication_role = replica;
INSERT INTO "<script>alert('x')</script>"
SELECT g, ARRAY[1, g + 2], ARRAY['<img src=x onerror="alert(1)">', E'\x01&amp;'] FROM generate_series(1, 1234) g;
RESET session_replication_role;
RESET client_min_messages;
SELECT integrity.accept('"<script>alert(''x'')</script>"', 'words', 7);

CREATE TABLE page AS SELECT integrity.report_html() AS page;
-- 4936 references, 3702 broken: 25.00. Figures in groups of three digits.
SELECT s.status, s.value = substring(page FROM s.pattern) AS found
  FROM page, (VALUES ('score', '25.00', '<div class="score">([^<]*)<'), ('rules', '3', '<li><b>(\d+)</b> rules'),
                     ('broken', '2', '<b>(\d+)</b> broken'), ('unknown', '1', '<b>(\d+)</b> unknown'), ('ok', '0', '<b>(\d+)</b> ok'),
                     ('looked at', '4,936', '<b>([\d,]+)</b> references looked at'), ('broken', '3,702', '<b>([\d,]+)</b> of them'),
                     ('accepted', '7', '<small>(\d+) accepted'),
                     ('graph', '2468', 'mark broken.*text-anchor="middle">(2468)</text>'),
                     ('tables', '3', '<desc id="graph-desc">(\d+) tables and 3 references')) AS s (status, value, pattern);
-- The rows of the table, as a reader without eyes has them: what is worst first.
SELECT regexp_replace(regexp_replace(regexp_replace(m[1], '<pre>.*</pre>', 'a statement'), '</t[dh]>', ' | ', 'g'), '<[^>]*>', '', 'g') AS row
  FROM page, regexp_matches(page, '<tr role="row"><td(.*?)</tr>', 'g') AS m;
-- Nothing of the hostile names came through: no element but the page's own, no attribute that loads or runs.
SELECT string_agg(DISTINCT m[1] COLLATE "C", ' ') AS elements FROM page, regexp_matches(page, '<([a-zA-Z!]+)', 'g') AS m;
SELECT page ~* '<[^>]*\s(on\w+|src|href|xlink:href|srcset|data)\s*=' AS loads_or_runs, page ~* 'https?://|@import|url\((?!#)' AS elsewhere,
       page ~ E'[\x01-\x08\x0b\x0c\x0e-\x1f]' AS control_characters FROM page;
-- Each word of status stands beside its colour; every statement can be copied whole.
SELECT count(*) FILTER (WHERE m[1] = m[2]) AS with_word, count(*) AS all FROM page, regexp_matches(page, '<span class="status (\w+)">(\w+)</span>', 'g') AS m;
SELECT (SELECT array_agg(replace(m[1], '<wbr/>', '') ORDER BY replace(m[1], '<wbr/>', '')) FROM page, regexp_matches(page, '<pre><code>(.*?)</code>', 'g') AS m)
     = (SELECT array_agg(integrity.html(advice) ORDER BY integrity.html(advice)) FROM public.integrity_report() WHERE status <> 'unknown' AND advice IS NOT NULL) AS statements;

-- One table only.
SELECT substring(page FROM '<title>([^<]*)') = 'References of ' || current_database() || ', page.word' AS title,
       substring(page FROM '<div class="score">([^<]*)<') AS score, page ~ 'script' AS others
  FROM integrity.report_html('word') AS page;

-- The chart with 1 report, with 2, and with 600: the newest 500 of them. A rule that was unknown leaves a gap.
CREATE FUNCTION points() RETURNS TABLE (reports text, circles bigint, pieces bigint, lines bigint, times bigint, description text) LANGUAGE sql AS $$
  SELECT substring(c FROM 'hold, ([a-z0-9 ]* recorded reports?)'), (SELECT count(*) FROM regexp_matches(c, '<circle', 'g')),
         (SELECT count(*) FROM regexp_matches(substring(c FROM 'class="score" d="([^"]*)"'), 'M', 'g')),
         (SELECT count(*) FROM regexp_matches(substring(c FROM 'class="score" d="([^"]*)"'), 'L', 'g')),
         (SELECT count(*) FROM regexp_matches(c, 'class="tick"', 'g')),
         substring(c FROM '<desc id="chart-desc">(.*?)</desc>')
    FROM integrity.chart(NULL) AS c
$$;
CREATE FUNCTION history(first int, last int, step interval) RETURNS void LANGUAGE sql AS $$
  INSERT INTO integrity.run (kind, started, finished)
  SELECT 'report', timestamptz '2026-01-01 12:00' + step * g, timestamptz '2026-01-01 12:01' + step * g FROM generate_series(first, last) g ORDER BY g;
  INSERT INTO integrity.run_rule (run_id, referencing_table, rule_name, status, references_checked, references_broken)
  SELECT run_id, 'page.word', 'r', CASE WHEN n = 2 THEN 'unknown' WHEN n > 5 THEN 'broken' ELSE 'ok' END,
         CASE WHEN n <> 2 THEN 1000 END, CASE WHEN n > 5 THEN 3 WHEN n <> 2 THEN 0 END
    FROM (SELECT run_id, row_number() OVER (ORDER BY run_id) AS n FROM integrity.run WHERE kind = 'report') AS r
   WHERE NOT EXISTS (SELECT FROM integrity.run_rule u WHERE u.run_id = r.run_id)
$$;
SET timezone = 'UTC';
SELECT history(1, 1, '1 day');
SELECT * FROM points();
SELECT history(2, 2, '1 day');
SELECT * FROM points();
SELECT history(3, 8, '1 day');
SELECT * FROM points();
SELECT history(9, 600, '1 day');
SELECT * FROM points();
-- A report on one table is no point in the history of all, and one in that of its table.
SELECT integrity.record_report('word') > 0 AS recorded;
SELECT count(*), count(*) FILTER (WHERE score IS NULL) AS no_score, max(unknown) AS unknown FROM integrity.history(NULL);
SELECT score, broken, unknown FROM integrity.history('word') ORDER BY run_id DESC LIMIT 1;
-- The axis begins close below the lowest score.
SELECT lowest, integrity.chart_floor(lowest) FROM unnest('{100,99.99,99.9,97.3,95,60,0}'::numeric[]) AS lowest;
-- Marks of time are even where they fit.
SELECT count(*), min(label), max(label), max(label_below) FROM integrity.chart_times('2026-03-01 10:07+00', '2026-03-01 15:22+00');
SELECT * FROM integrity.chart_times('2026-03-01 10:00:01+00', '2026-03-01 10:00:02+00');
SELECT * FROM integrity.chart_times('2026-03-01 10:00:01+00', '2026-03-01 10:00:01+00');
SELECT count(*), min(label), max(label) FROM integrity.chart_times('1970-01-01 10:00+00', '2026-03-01 10:00:00+00');
RESET timezone;

-- The columns of the graph: a chain from left to right; a cycle has one arrow back; a table of its own;
-- 40 tables that refer to one do not make one endless column.
SELECT integrity.graph_columns(4, '{1,2,3}', '{2,3,4}') AS chain, integrity.graph_columns(3, '{1,2,3}', '{2,3,1}') AS cycle,
       integrity.graph_columns(1, '{1,1}', '{1,1}') AS itself, integrity.graph_columns(2, '{1,2}', '{2,1}') AS mutual,
       integrity.graph_columns(3, '{1,1,2}', '{2,3,3}') AS jump;
SELECT max(tables) AS longest_column, count(*) AS columns, max(c) FILTER (WHERE hub) = count(*) AS hub_is_last
  FROM (SELECT c, count(*) AS tables, bool_or(t = 41) AS hub
          FROM unnest(integrity.graph_columns(41, ARRAY(SELECT generate_series(1, 40)), array_fill(41, ARRAY[40]))) WITH ORDINALITY AS u (c, t)
         GROUP BY c) AS per_column;
-- No box lies on another, nor a lane on a box, in a graph of 60 tables with cycles.
WITH g AS MATERIALIZED (
  SELECT array_agg(1 + n * 7 % 60 ORDER BY n) AS s, array_agg(1 + n * n % 60 ORDER BY n) AS t FROM generate_series(1, 120) AS n
), c AS MATERIALIZED (SELECT *, integrity.graph_columns(60, s, t) AS col FROM g),
h AS MATERIALIZED (SELECT c.*, (integrity.graph_heights(col, array_fill(50, ARRAY[60]), s, t, array_fill(35, ARRAY[120]))).* FROM c),
item AS (
  SELECT h.col[n] AS c, h.top[n] AS y, 50 AS height FROM h, generate_series(1, 60) AS n
  UNION ALL
  SELECT c, h.lane[n][c], 0 FROM h, generate_series(1, 60) AS n, generate_series(1, array_length(h.lane, 2)) AS c WHERE h.lane[n][c] IS NOT NULL
)
SELECT count(*) > 60 AS some_lanes, min(y) >= 0 AS from_0, count(*) FILTER (WHERE y < below) AS overlaps
  FROM (SELECT y, lag(y + height) OVER (PARTITION BY c ORDER BY y, height) AS below FROM item) AS i;
-- Of two ends of an arrow one is left and one is right, in graphs of all sorts, most of them full of cycles.
SELECT count(*) AS graphs, count(*) FILTER (WHERE EXISTS (SELECT FROM unnest(s, t) AS e (s, t) WHERE e.s <> e.t AND col[e.s] = col[e.t])) AS wrong
  FROM (SELECT s, t, integrity.graph_columns(12, s, t) AS col
          FROM (SELECT g, array_agg(1 + (hashint4(g * 1000 + n) & 2147483647) % 12) AS s, array_agg(1 + (hashint4(g * 1000 + n + 500) & 2147483647) % 12) AS t
                  FROM generate_series(1, 200) AS g, generate_series(1, 10 + g % 20) AS n GROUP BY g) AS r) AS graph;
-- Parallel rules, a self reference and a cycle in one drawing: an arrow each, one head per arrow.
SET client_min_messages = warning;
DROP TABLE "<script>alert('x')</script>", word;
CREATE TABLE b (id int PRIMARY KEY, up int REFERENCES b, key1 int REFERENCES key, key2 int REFERENCES key);
ALTER TABLE key ADD back int REFERENCES b;
RESET client_min_messages;
SELECT (SELECT count(*) FROM regexp_matches(g, '<path class="arrow', 'g')) AS arrows, (SELECT count(*) FROM regexp_matches(g, 'marker-end', 'g')) AS heads,
       (SELECT count(*) FROM regexp_matches(g, '<g class="table"', 'g')) AS tables
  FROM integrity.graph(integrity.page_rules(NULL)) AS g;
-- Arrows to one table that take the same lane are one line there, not dashes upon dashes.
CREATE TABLE c (id int PRIMARY KEY, b int REFERENCES b, key int REFERENCES key);
CREATE TABLE d (id int PRIMARY KEY, b int REFERENCES b, key int REFERENCES key);
SELECT count(*) AS lines, count(*) - count(DISTINCT m[1]) AS upon_each_other, count(*) FILTER (WHERE m[1] ~ 'h') AS through_lanes
  FROM integrity.graph(integrity.page_rules(NULL)) AS g, regexp_matches(g, '<path class="arrow [^>]* d="([^"]*)"', 'g') AS m;
DROP TABLE c, d;
-- More rules than can be read: what does not hold is drawn, and that it is not all is said.
SET client_min_messages = warning;
DO $$ BEGIN
  CREATE TABLE page.wide (id int PRIMARY KEY);
  INSERT INTO page.wide VALUES (1);
  FOR i IN 1 .. 198 LOOP
    EXECUTE format('ALTER TABLE page.wide ADD c%s int DEFAULT %s, ADD FOREIGN KEY (c%s) REFERENCES page.key NOT VALID', i, 2 + (i <= 3)::int, i);
  END LOOP;
END $$;
RESET client_min_messages;
SELECT substring(g FROM 'Of \d+ rules these \d+ are drawn') AS said, (SELECT count(*) FROM regexp_matches(g, 'marker-end', 'g')) AS heads
  FROM integrity.graph(integrity.page_rules(NULL)) AS g;

SET client_min_messages = warning;
DELETE FROM integrity.run WHERE kind = 'report';
DELETE FROM integrity.accepted;
DROP SCHEMA page CASCADE;
RESET client_min_messages;
