/*
 * page.sql
 *	  The report as one page of HTML that needs nothing else: no script, no
 *	  font, no picture from anywhere, so that it can be mailed and kept.
 *
 * It is well-formed XML as well. Whatever comes from the database goes through
 * integrity.html(): a table may be called <script>.
 */

-- The report as jsonb, what is worst first. Everything on the page is made of
-- this one look.
CREATE FUNCTION integrity.page_rules(regclass) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE(jsonb_agg(to_jsonb(j) ORDER BY j.status = 'broken' DESC, j.status = 'unknown' DESC, j.references_broken DESC, j.n), '[]')
    FROM integrity.judge($1) AS j
$$;

-- 1234567 as 1,234,567; NULL as a dash.
CREATE FUNCTION integrity.page_number(numeric) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT COALESCE(regexp_replace($1::text, '(\d)(?=(\d{3})+$)', '\1,', 'g'), '&#8211;') $$;

-- A name or a statement that may be broken into lines after an underscore or a dot.
CREATE FUNCTION integrity.page_breaks(text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT regexp_replace(integrity.html($1), '([_.])', '\1<wbr/>', 'g') $$;

CREATE FUNCTION integrity.page_style() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $style$
  SELECT $css$
:root { color-scheme: light dark; --page: #fff; --soft: #f6f8fa; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de;
  --ok: #1a7f37; --broken: #c21c27; --unknown: #8a5a00; --on-mark: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0d1117; --soft: #161b22; --ink: #e6edf3; --quiet: #9aa4af; --line: #3a424c;
    --ok: #4ac26b; --broken: #ff7b72; --unknown: #e0a53a; --on-mark: #0d1117; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 84rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1, h2 { line-height: 1.25; margin: 0; }
h1 { font-size: 1.05rem; font-weight: 600; color: var(--quiet); overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
code, pre, svg .name, svg .column { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.score { font-size: 3.5rem; font-weight: 650; line-height: 1.15; font-variant-numeric: tabular-nums; }
.score small { font-size: 1rem; font-weight: 400; color: var(--quiet); margin-left: .5rem; }
.bar { display: flex; gap: 2px; height: 10px; margin: .75rem 0; max-width: 40rem; border-radius: 5px; overflow: hidden; background: var(--line); }
.bar span { display: block; min-width: 6px; }
.bar .ok { background: var(--ok); } .bar .broken { background: var(--broken); } .bar .unknown { background: var(--unknown); }
.counts { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 0; padding: 0; }
.counts b { font-variant-numeric: tabular-nums; }
p.caption, p.none, footer { color: var(--quiet); font-size: .875rem; margin: .5rem 0 0; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .75rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
.scroll:focus-visible { outline: 2px solid var(--quiet); outline-offset: 2px; }
.status { display: inline-block; font-weight: 600; white-space: nowrap; }
.status::before { content: ""; display: inline-block; width: .65em; height: .65em; border-radius: 50%; margin-right: .45em; background: currentColor; }
.status.broken::before { border-radius: 0; } .status.unknown::before { background: none; border: 2px solid currentColor; }
.ok { color: var(--ok); } .broken { color: var(--broken); } .unknown { color: var(--unknown); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .55rem .7rem; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { background: var(--soft); font-size: .8125rem; font-weight: 600; color: var(--quiet); white-space: nowrap; }
tbody th { font-weight: 400; overflow-wrap: anywhere; min-width: 17rem; }
tbody th b { display: block; font-weight: 600; }
td:first-child small { white-space: nowrap; }
tbody small { color: var(--quiet); display: block; overflow-wrap: anywhere; line-height: 1.4; }
.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.sample { overflow-wrap: anywhere; min-width: 8rem; }
.next { min-width: 18rem; overflow-wrap: anywhere; }
pre { margin: 0; padding: .4rem .55rem; background: var(--soft); border: 1px solid var(--line); border-radius: 4px; font-size: .8rem; line-height: 1.45;
  white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; -webkit-user-select: all; }
svg { display: block; }
svg text { font-size: 12px; fill: var(--quiet); }
svg .rule, svg .tick { stroke: var(--line); fill: none; }
svg.chart { width: 100%; min-width: 47rem; max-width: 68rem; height: auto; margin: .75rem auto .25rem; }
.chart .score { fill: none; stroke: var(--ink); stroke-width: 1.75; stroke-linejoin: round; }
.chart circle { stroke: var(--page); stroke-width: 1.5; fill: currentColor; }
.chart circle.unknown { stroke: currentColor; fill: var(--page); }
.graph { margin: 0 auto; }
.graph .table rect { fill: var(--soft); stroke: var(--quiet); }
.graph .name { font-weight: 600; fill: var(--ink); }
.graph .arrow { fill: none; stroke: currentColor; stroke-width: 1.3; }
.graph .arrow.ok { color: var(--quiet); opacity: .75; }
.graph .arrow.broken { stroke-width: 2.2; stroke-dasharray: 7 4; }
.graph .arrow.unknown { stroke-width: 1.8; stroke-dasharray: 2 4; }
.graph marker path { fill: currentColor; } .graph marker.ok { color: var(--quiet); }
.graph .mark rect { fill: currentColor; } .graph .mark text { fill: var(--on-mark); font-weight: 650; font-size: 11.5px; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 0 0 .6rem; padding: 0; list-style: none; font-size: .875rem; color: var(--quiet); }
.legend i { display: inline-block; width: 2.2rem; margin-right: .5rem; vertical-align: middle; border-top: 2px solid var(--quiet); }
.legend i.broken { border-top: 3px dashed var(--broken); } .legend i.unknown { border-top: 3px dotted var(--unknown); }
@media (max-width: 60rem) {
  body { padding: 1rem; }
  .score small { display: block; margin: 0; line-height: 1.4; }
  .rules, .rules tbody, .rules tr, .rules td, .rules tbody th { display: block; width: auto; min-width: 0; }
  .rules thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .rules tbody tr { padding: .7rem; border-bottom: 1px solid var(--line); }
  .rules tbody tr:last-child { border-bottom: 0; }
  .rules td, .rules tbody th { border: 0; padding: .15rem 0; }
  .rules td[data-name] { display: grid; grid-template-columns: 9.5rem minmax(0, 1fr); gap: .5rem; text-align: left; white-space: normal; }
  .rules td[data-name]::before { content: attr(data-name); color: var(--quiet); }
  .rules td.next:empty, .rules td.sample:empty { display: none; }
  .rules td.next { padding-top: .4rem; }
}
@media print {
  :root { color-scheme: light; --page: #fff; --soft: #fff; --ink: #000; --quiet: #444; --line: #aaa; --ok: #1a7f37; --broken: #c21c27; --unknown: #8a5a00; --on-mark: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  tr, svg { break-inside: avoid; } h2 { break-after: avoid; }
  .scroll { overflow: visible; border: 0; }
  svg.chart, svg.graph { min-width: 0; width: 100%; height: auto; }
}
$css$
$style$;

CREATE FUNCTION integrity.page_table(report jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN count(*) = 0 THEN '<p class="none">No rule is declared, and there is no foreign key.</p>' ELSE
    '<div class="scroll"><table class="rules" role="table"><thead role="rowgroup"><tr role="row">'
    || (SELECT string_agg(format('<th scope="col" role="columnheader"%s>%s</th>', CASE WHEN h.n BETWEEN 3 AND 6 THEN ' class="figure"' ELSE '' END, h.name), '' ORDER BY h.n)
          FROM unnest('{Status,Rule,References,Broken,In rows,Values,Sample,Next}'::text[]) WITH ORDINALITY AS h (name, n))
    || '</tr></thead><tbody role="rowgroup">'
    || string_agg(
         format('<tr role="row"><td role="cell"><span class="status %1$s">%1$s</span>%2$s%3$s</td>'
                '<th scope="row" role="rowheader"><b>%4$s</b><small>%5$s (%6$s) &#8594; %7$s (%8$s)</small><small>%9$s</small></th>',
                r.status, CASE WHEN r.accepted > 0 THEN format('<small>%s accepted</small>', integrity.page_number(r.accepted)) ELSE '' END,
                CASE WHEN NOT r.enforced THEN '<small>not enforced</small>' WHEN NOT r.validated THEN '<small>not validated</small>' ELSE '' END,
                integrity.page_breaks(r.rule_name), integrity.page_breaks(r.referencing_table), integrity.page_breaks(COALESCE(r.referencing_column, '?')),
                integrity.page_breaks(COALESCE(r.referenced_table, '?')), integrity.page_breaks(COALESCE(r.referenced_column, '?')),
                integrity.html(r.kind))
         || format('<td role="cell" class="figure" data-name="References">%s</td><td role="cell" class="figure%s" data-name="Broken">%s</td>'
                   '<td role="cell" class="figure" data-name="In rows">%s</td><td role="cell" class="figure" data-name="Values">%s</td>',
                   integrity.page_number(r.references_checked), CASE WHEN r.references_broken > 0 THEN ' broken' ELSE '' END,
                   integrity.page_number(r.references_broken), integrity.page_number(r.rows_broken), integrity.page_number(r.values_broken))
         || CASE WHEN r.values_broken > 0 THEN
                 format('<td role="cell" class="sample" data-name="Sample"><span>%s%s</span></td>', integrity.html(array_to_string(r.sample, ', ')),
                        CASE WHEN r.values_broken > cardinality(r.sample) THEN ', &#8230;' ELSE '' END)
                 ELSE '<td role="cell" class="sample"></td>' END
         -- a reason is no statement, and not to be run
         || format('<td role="cell" class="next">%s</td></tr>',
                   CASE WHEN r.status = 'unknown' THEN integrity.html(r.advice) ELSE '<pre><code>' || integrity.page_breaks(r.advice) || '</code></pre>' END),
         '' ORDER BY r.n)
    || '</tbody></table></div>' END
    FROM (SELECT e.n, f.*
            FROM jsonb_array_elements($1) WITH ORDINALITY AS e (rule, n),
                 jsonb_to_record(e.rule) AS f (
                   referencing_table text, rule_name text, kind text, referencing_column text,
                   referenced_table text, referenced_column text, enforced boolean, validated boolean,
                   rows_broken bigint, references_checked bigint, references_broken bigint, values_broken bigint,
                   sample text[], status text, advice text, accepted bigint)) AS r
$$;

/**
 * Looks at every declared reference, as integrity_report() does, and makes a page of HTML of it: the health, how it was over
 * time (of the newest 500 reports that integrity.record_report() kept), every rule with what to run next, and the tables
 * and references as a graph in which the broken ones are marked. Of more than 200 rules the graph shows only those that do
 * not hold.
 *
 * The page needs nothing else, no network and no script, and may be mailed or printed. Write it in UTF-8.
 * It holds samples of broken values: keep it from whom they do not concern.
 *
 * Parameters:
 *   referencing_table  show only the rules declared on this table; NULL, the default, shows all
 *
 * Locks: those of integrity_report().
 *
 * Errors: those of integrity_report().
 *
 * Example:
 *   SELECT integrity.report_html() \g (format=unaligned tuples_only=on) report.html
 */
CREATE FUNCTION integrity.report_html(referencing_table regclass DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET datestyle = ISO
AS $$
#variable_conflict use_column
DECLARE
  started CONSTANT timestamptz := clock_timestamp();
  report CONSTANT jsonb := integrity.page_rules($1);
  seconds CONSTANT numeric := extract(epoch FROM clock_timestamp() - started);
  name CONSTANT text := integrity.html(current_database() || COALESCE(', ' || $1::text, ''));
  s record;
BEGIN
  SELECT count(*) AS rules,
         count(*) FILTER (WHERE r ->> 'status' = 'ok') AS ok,
         count(*) FILTER (WHERE r ->> 'status' = 'broken') AS broken,
         count(*) FILTER (WHERE r ->> 'status' = 'unknown') AS unknown,
         COALESCE(sum((r ->> 'references_checked')::numeric), 0) AS checked,
         COALESCE(sum((r ->> 'references_broken')::numeric), 0) AS broken_references
    INTO s FROM jsonb_array_elements(report) AS r;

  RETURN concat_ws(E'\n',
    '<!DOCTYPE html>',
    '<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>',
    format('<title>References of %s</title><style>%s</style></head><body>', name, integrity.page_style()),
    format('<header><h1>References of %s</h1>', name),
    format('<div class="score">%s<small>%s</small></div>',
           COALESCE(integrity.score(s.checked, s.broken_references, s.ok + s.broken)::text, '&#8211;'),
           CASE WHEN s.rules = 0 THEN 'no rules' WHEN s.ok + s.broken = 0 THEN 'no rule could be looked at'
                ELSE 'percent of the references hold' || CASE WHEN s.unknown > 0 THEN ', as far as could be looked at' ELSE '' END END),
    (SELECT '<div class="bar" aria-hidden="true">' || string_agg(format('<span class="%s" style="flex:%s"></span>', b.status, b.number), '') || '</div>'
       FROM (VALUES ('broken', s.broken), ('unknown', s.unknown), ('ok', s.ok)) AS b (status, number) WHERE b.number > 0),
    format('<ul class="counts"><li><b>%s</b> %s:</li><li class="ok"><b>%s</b> ok</li><li class="broken"><b>%s</b> broken</li><li class="unknown"><b>%s</b> unknown</li>'
           '<li><b>%s</b> references looked at</li><li><b>%s</b> of them broken</li></ul></header><main>',
           integrity.page_number(s.rules), CASE s.rules WHEN 1 THEN 'rule' ELSE 'rules' END,
           integrity.page_number(s.ok), integrity.page_number(s.broken), integrity.page_number(s.unknown),
           integrity.page_number(s.checked), integrity.page_number(s.broken_references)),
    '<section><h2>Over time</h2>', integrity.chart($1), '</section>',
    '<section><h2>Rules</h2>', integrity.page_table(report), '</section>',
    '<section><h2>Graph</h2>', integrity.graph(report), '</section></main>',
    format('<footer>Looked at %s, in %s s, by the role %s.</footer></body></html>',
           to_char(started, 'YYYY-MM-DD HH24:MI:SS TZ'), round(seconds, 1), integrity.html(current_user)));
END
$$;
