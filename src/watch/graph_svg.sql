/*
 * graph_svg.sql
 *	  Drawing the graph that graph.sql lays out.
 */

-- A name, cut to what fits into a box: 26 letters, or 13 as wide as those of
-- East Asian scripts, which take three bytes in UTF-8.
CREATE FUNCTION integrity.graph_label(name text, OUT label text, OUT width integer)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT integrity.html(left($1, fits.letters)) || CASE WHEN char_length($1) > fits.letters THEN '&#8230;' ELSE '' END,
         ceil(least(char_length($1), fits.letters + 1) * fits.wide * 7.3)::integer
    FROM (SELECT CASE WHEN octet_length($1) >= 2 * char_length($1) THEN 13 ELSE 26 END AS letters,
                 CASE WHEN octet_length($1) >= 2 * char_length($1) THEN 2 ELSE 1 END AS wide) AS fits
$$;

-- The graph of a report, given as page_rules() in page.sql makes it.
CREATE FUNCTION integrity.graph(report jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  most_rules CONSTANT integer := 200;
  row_height CONSTANT integer := 18;
  column_gap CONSTANT integer := 104;
  drawn jsonb;
  names text[];
  sources integer[];
  targets integer[];
  offsets integer[];
  heights integer[];
  columns integer[];
  widths integer[];    -- of each column
  lefts integer[];     -- where each column begins
  laid_out record;
  rule record;
  direction integer;
  x numeric;
  y numeric;
  piece text;
  pieces text[];       -- of one arrow
  drawn_pieces text[] := '{}';
  arrows text := '';
  marks text := '';
  boxes text;
  note text := '';
BEGIN
  -- Too many to be read: those that do not hold, and no more than fit.
  drawn := report;
  IF jsonb_array_length(report) > most_rules THEN
    SELECT jsonb_agg(r.rule ORDER BY r.n) INTO drawn
      FROM (SELECT e.rule, e.n FROM jsonb_array_elements(report) WITH ORDINALITY AS e (rule, n)
             WHERE e.rule ->> 'status' <> 'ok' ORDER BY e.n LIMIT most_rules) AS r;
    note := format('<p class="caption">Of %s rules these %s are drawn, which do not hold.</p>',
                   jsonb_array_length(report), COALESCE(jsonb_array_length(drawn), 0));
  END IF;
  -- A rule whose referenced table is not known has no second end.
  SELECT jsonb_agg(e.rule ORDER BY e.n) INTO drawn
    FROM jsonb_array_elements(drawn) WITH ORDINALITY AS e (rule, n) WHERE e.rule ->> 'referenced_table' IS NOT NULL;
  IF drawn IS NULL THEN
    RETURN note || '<p class="none">There is nothing to draw.</p>';
  END IF;

  SELECT array_agg(t.name ORDER BY t.name COLLATE "C") INTO names
    FROM (SELECT e ->> 'referencing_table' AS name FROM jsonb_array_elements(drawn) AS e
          UNION SELECT e ->> 'referenced_table' FROM jsonb_array_elements(drawn) AS e) AS t;
  SELECT array_agg(array_position(names, e.rule ->> 'referencing_table') ORDER BY e.n),
         array_agg(array_position(names, e.rule ->> 'referenced_table') ORDER BY e.n),
         array_agg((26 + row_height * (e.line - 1) + row_height / 2)::integer ORDER BY e.n)
    INTO sources, targets, offsets
    FROM (SELECT u.rule, u.n, row_number() OVER (PARTITION BY u.rule ->> 'referencing_table' ORDER BY u.n) AS line
            FROM jsonb_array_elements(drawn) WITH ORDINALITY AS u (rule, n)) AS e;
  SELECT array_agg(26 + row_height * (SELECT count(*) FROM unnest(sources) AS s WHERE s = t)::integer
                   + CASE WHEN t = ANY (sources) THEN 4 ELSE 0 END ORDER BY t)
    INTO heights FROM generate_subscripts(names, 1) AS t;

  columns := integrity.graph_columns(cardinality(names), sources, targets);
  laid_out := integrity.graph_heights(columns, heights, sources, targets, offsets);
  -- The lines of a box in the order in which their arrows fan out, those to the table itself first.
  SELECT array_agg((26 + row_height * (e.line - 1) + row_height / 2)::integer ORDER BY e.n)
    INTO offsets
    FROM (SELECT u.n, row_number() OVER (PARTITION BY u.s
                                         ORDER BY u.s <> u.t, COALESCE(laid_out.lane[u.t][columns[u.s] + sign(columns[u.t] - columns[u.s])::integer],
                                                                       laid_out.top[u.t]), u.n) AS line
            FROM unnest(sources, targets) WITH ORDINALITY AS u (s, t, n)) AS e;
  SELECT array_agg(w.width ORDER BY w.c), array_agg(w.x ORDER BY w.c)
    INTO widths, lefts
    FROM (SELECT l.c, max(l.width) + 20 AS width,
                 (24 + sum(max(l.width) + 20 + column_gap) OVER (ORDER BY l.c) - max(l.width) - 20 - column_gap)::integer AS x
            FROM (SELECT columns[t] AS c, (integrity.graph_label(regexp_replace(names[t], '^public\.', ''))).width
                    FROM generate_subscripts(names, 1) AS t
                  UNION ALL
                  SELECT columns[sources[e.n]], (integrity.graph_label(e.rule ->> 'referencing_column')).width
                    FROM jsonb_array_elements(drawn) WITH ORDINALITY AS e (rule, n)) AS l
           GROUP BY l.c) AS w;

  SELECT string_agg(format('<g class="table"><title>%s</title><rect x="%s" y="%s" width="%s" height="%s" rx="4"/><text class="name" x="%s" y="%s">%s</text>%s</g>',
                           integrity.html(names[t]), lefts[columns[t]], laid_out.top[t] + 16, widths[columns[t]], heights[t],
                           lefts[columns[t]] + 10, laid_out.top[t] + 33, (integrity.graph_label(regexp_replace(names[t], '^public\.', ''))).label,
                           CASE WHEN heights[t] > 26 THEN format('<path class="rule" d="M%s %sh%s"/>', lefts[columns[t]], laid_out.top[t] + 42, widths[columns[t]])
                                ELSE '' END), '' ORDER BY t)
    INTO boxes FROM generate_subscripts(names, 1) AS t;

  -- What is broken comes last and so lies on top.
  FOR rule IN
    SELECT e.n, sources[e.n] AS s, targets[e.n] AS t, e.rule ->> 'status' AS status,
           e.rule ->> 'referencing_column' AS referencing_column,
           format('%s: %s (%s) to %s (%s), %s', e.rule ->> 'rule_name', e.rule ->> 'referencing_table', e.rule ->> 'referencing_column',
                  e.rule ->> 'referenced_table', e.rule ->> 'referenced_column',
                  CASE e.rule ->> 'status' WHEN 'broken' THEN format('%s references broken', e.rule ->> 'references_broken')
                                           ELSE e.rule ->> 'status' END) AS title,
           CASE e.rule ->> 'status' WHEN 'broken' THEN e.rule ->> 'references_broken' WHEN 'unknown' THEN '?' END AS mark
      FROM jsonb_array_elements(drawn) WITH ORDINALITY AS e (rule, n)
     ORDER BY e.rule ->> 'status' = 'broken', e.rule ->> 'status' = 'unknown', e.n DESC
  LOOP
    direction := sign(columns[rule.t] - columns[rule.s]);
    y := laid_out.top[rule.s] + 16 + offsets[rule.n];
    boxes := boxes || format('<text class="column" x="%s" y="%s">%s</text>', lefts[columns[rule.s]] + 10, y + 4,
                             COALESCE((integrity.graph_label(rule.referencing_column)).label, '?'));
    x := lefts[columns[rule.s]] + CASE WHEN direction < 0 THEN 0 ELSE widths[columns[rule.s]] END;
    pieces := '{}';
    IF rule.mark IS NOT NULL THEN
      marks := marks || format('<g class="mark %1$s"><rect x="%2$s" y="%3$s" width="%4$s" height="16" rx="8"/><text x="%5$s" y="%6$s" text-anchor="middle">%7$s</text></g>',
        rule.status, x + CASE WHEN direction < 0 THEN -10 - 12 - 7 * length(rule.mark) ELSE 10 END, y - 8, 12 + 7 * length(rule.mark),
        x + CASE WHEN direction < 0 THEN -1 ELSE 1 END * (16 + 3.5 * length(rule.mark)), y + 4, rule.mark);
    END IF;
    IF direction = 0 THEN
      -- to itself: out to the right, and back into the heading
      pieces := pieces || format('M%s %sc60 0 60 %s 3 %s', x, y, laid_out.top[rule.s] + 29 - y, laid_out.top[rule.s] + 29 - y);
    ELSE
      FOR step IN 1 .. abs(columns[rule.t] - columns[rule.s]) - 1 LOOP
        DECLARE
          c CONSTANT integer := columns[rule.s] + direction * step;
          near CONSTANT numeric := lefts[c] + CASE WHEN direction > 0 THEN 0 ELSE widths[c] END;
          lane CONSTANT numeric := laid_out.lane[rule.t][c] + 16;
        BEGIN
          pieces := pieces || format('M%s %sC%s %s %s %s %s %sh%s', x, y, (x + near) / 2, y, (x + near) / 2, lane, near, lane, direction * widths[c]);
          x := near + direction * widths[c];
          y := lane;
        END;
      END LOOP;
      DECLARE
        near CONSTANT numeric := lefts[columns[rule.t]] + CASE WHEN direction > 0 THEN -3 ELSE widths[columns[rule.t]] + 3 END;
      BEGIN
        pieces := pieces || format('M%s %sC%s %s %s %s %s %s', x, y, (x + near) / 2, y, (x + near) / 2, laid_out.top[rule.t] + 29, near, laid_out.top[rule.t] + 29);
      END;
    END IF;
    -- What arrows to the same table have in common is drawn once: dashes on dashes would make a line.
    FOR i IN 1 .. cardinality(pieces) LOOP
      piece := format('<path class="arrow %s" d="%s"%s>', rule.status, pieces[i],
                      CASE WHEN i = cardinality(pieces) THEN format(' marker-end="url(#end-%s)"', rule.status) ELSE '' END);
      CONTINUE WHEN piece = ANY (drawn_pieces);
      drawn_pieces := drawn_pieces || piece;
      arrows := arrows || piece || format('<title>%s</title></path>',
        integrity.html(CASE WHEN i = 1 THEN rule.title ELSE 'to ' || names[rule.t] END));
    END LOOP;
  END LOOP;

  RETURN '<ul class="legend"><li><i></i>holds</li><li><i class="broken"></i>broken, with the number of references</li>'
         '<li><i class="unknown"></i>unknown</li></ul>'
    || format('<div class="scroll" tabindex="0" role="region" aria-label="Graph, scrolls sideways"><svg class="graph" width="%1$s" height="%2$s" viewBox="0 0 %1$s %2$s" role="img" aria-labelledby="graph-title graph-desc">'
                '<title id="graph-title">Tables and their references</title><desc id="graph-desc">%3$s tables and %4$s references; the table above lists them all.</desc><defs>',
                lefts[cardinality(lefts)] + widths[cardinality(widths)] + 64, laid_out.total + 32, cardinality(names), jsonb_array_length(drawn))
    || (SELECT string_agg(format('<marker id="end-%1$s" class="%1$s" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>', s), '' ORDER BY s)
          FROM unnest('{ok,broken,unknown}'::text[]) AS s)
    || '</defs>' || arrows || boxes || marks || '</svg></div>' || note;
END
$$;
