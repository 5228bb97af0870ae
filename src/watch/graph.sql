/*
 * graph.sql
 *	  The references as a graph, drawn as SVG: a box per table with a line for
 *	  each referencing column, an arrow per rule from there to the other table.
 *
 * Laid out in columns, so that arrows point to the right: the tables that are
 * only referenced stand rightmost. An arrow that passes columns between runs in
 * a lane there, one lane for all that go to the same table, so that it crosses
 * no box and a table that everything refers to has a few lanes and not hundreds.
 *
 * Tables are numbered from 1, and arrays are indexed by that number.
 */

-- The column of each table, from 1 on the left. Tables are taken up one by one,
-- each once all that it refers to are placed; where a cycle leaves no such
-- table, the one that waits for the fewest, and those arrows will point to
-- the left. No column gets much longer than the graph is wide.
CREATE FUNCTION integrity.graph_columns(tables integer, source integer[], target integer[]) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  longest CONSTANT integer := greatest(8, ceil(1.5 * sqrt(tables)));
  rank integer[] := array_fill(NULL::integer, ARRAY[tables]);   -- columns counted from the right, from 0
  waits integer[] := array_fill(0, ARRAY[tables]);              -- for how many tables, arrows counted
  sought integer[] := array_fill(0, ARRAY[tables]);             -- how many arrows lead here
  filled integer[] := array_fill(0, ARRAY[2 * tables + 1]);     -- tables in each rank, from rank 0 at 1
  taken integer;
  place integer;
BEGIN
  FOR e IN 1 .. COALESCE(cardinality(source), 0) LOOP
    IF source[e] <> target[e] THEN
      waits[source[e]] := waits[source[e]] + 1;
      sought[target[e]] := sought[target[e]] + 1;
    END IF;
  END LOOP;

  FOR done IN 1 .. tables LOOP
    taken := NULL;
    FOR t IN 1 .. tables LOOP
      IF rank[t] IS NULL AND (taken IS NULL OR waits[t] < waits[taken] OR (waits[t] = waits[taken] AND sought[t] > sought[taken])) THEN
        taken := t;
      END IF;
    END LOOP;

    -- Right of it is all that it refers to; what it was not waited for is left of it.
    place := 0;
    FOR e IN 1 .. COALESCE(cardinality(source), 0) LOOP
      IF source[e] = taken AND rank[target[e]] >= place THEN
        place := rank[target[e]] + 1;
      ELSIF target[e] = taken AND rank[source[e]] >= place THEN
        place := rank[source[e]] + 1;
      END IF;
      IF target[e] = taken AND source[e] <> taken AND rank[source[e]] IS NULL THEN
        waits[source[e]] := waits[source[e]] - 1;
      END IF;
    END LOOP;
    WHILE filled[place + 1] >= longest LOOP
      place := place + 1;
    END LOOP;
    rank[taken] := place;
    filled[place + 1] := filled[place + 1] + 1;
  END LOOP;

  -- A table that refers to nothing moves up to the first that refers to it.
  FOR leaf IN 1 .. tables LOOP
    SELECT min(rank[u.s]) - 1 INTO place FROM unnest(source, target) AS u (s, t) WHERE u.t = leaf AND u.s <> leaf;
    IF place > rank[leaf] AND filled[place + 1] < longest
       AND NOT EXISTS (SELECT FROM unnest(source, target) AS u (s, t) WHERE u.s = leaf AND u.t <> leaf) THEN
      filled[rank[leaf] + 1] := filled[rank[leaf] + 1] - 1;
      filled[place + 1] := filled[place + 1] + 1;
      rank[leaf] := place;
    END IF;
  END LOOP;
  -- ranks that are used at all, numbered from the left
  SELECT array_agg(r.place ORDER BY r.t) INTO rank
    FROM (SELECT u.t, dense_rank() OVER (ORDER BY u.rank DESC) AS place FROM unnest(rank) WITH ORDINALITY AS u (rank, t)) AS r;
  RETURN rank;
END
$$;

-- Where each box begins, counted from the top, and where the lanes run: lane[t][c] is
-- the height at which the arrows to table t pass column c. "row_offset" is where
-- in its box an arrow begins; it ends in the heading of the other box.
CREATE FUNCTION integrity.graph_heights(
  graph_column integer[], height integer[], source integer[], target integer[], row_offset integer[],
  OUT top numeric[], OUT lane numeric[], OUT total numeric)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  heading CONSTANT integer := 13;
  gap CONSTANT integer := 16;
  tables CONSTANT integer := cardinality(graph_column);
  columns CONSTANT integer := (SELECT max(c) FROM unnest(graph_column) AS c);
  -- Boxes, then lanes: the column of each, its height, its place from the top.
  item_column integer[] := graph_column;
  item_height numeric[] := height;
  item_place integer[];
  lane_item integer[] := array_fill(NULL::integer, ARRAY[tables, columns]);
  -- Pieces of arrows, between neighbouring columns: from item to item, and where in it.
  left_item integer[] := '{}';
  right_item integer[] := '{}';
  left_offset numeric[] := '{}';
  right_offset numeric[] := '{}';
  direction integer;
  here integer;
  ahead integer;
  here_offset numeric;
  ahead_offset numeric;
  place integer;
  line record;
  items integer[];
  wanted numeric[];
  down numeric[];
  up numeric[];
  y numeric;
BEGIN
  FOR e IN 1 .. COALESCE(cardinality(source), 0) LOOP
    CONTINUE WHEN source[e] = target[e];
    direction := sign(graph_column[target[e]] - graph_column[source[e]]);
    here := source[e];
    here_offset := row_offset[e];
    FOR step IN 1 .. abs(graph_column[target[e]] - graph_column[source[e]]) LOOP
      place := graph_column[source[e]] + direction * step;
      IF place = graph_column[target[e]] THEN
        ahead := target[e];
        ahead_offset := heading;
      ELSE
        IF lane_item[target[e]][place] IS NULL THEN
          item_column := item_column || place;
          item_height := item_height || 0::numeric;
          lane_item[target[e]][place] := cardinality(item_column);
        END IF;
        ahead := lane_item[target[e]][place];
        ahead_offset := 0;
      END IF;
      left_item := left_item || CASE direction WHEN 1 THEN here ELSE ahead END;
      right_item := right_item || CASE direction WHEN 1 THEN ahead ELSE here END;
      left_offset := left_offset || CASE direction WHEN 1 THEN here_offset ELSE ahead_offset END;
      right_offset := right_offset || CASE direction WHEN 1 THEN ahead_offset ELSE here_offset END;
      here := ahead;
      here_offset := ahead_offset;
    END LOOP;
  END LOOP;

  -- The order within the columns: each where its neighbours are on average,
  -- to the left and to the right in turn, so that few arrows cross.
  SELECT array_agg(i.place ORDER BY i.item) INTO item_place
    FROM (SELECT u.item, row_number() OVER (PARTITION BY u.c ORDER BY u.item) AS place
            FROM unnest(item_column) WITH ORDINALITY AS u (c, item)) AS i;
  FOR pass IN 1 .. 10 LOOP
    FOR n IN 1 .. columns LOOP
      here := CASE pass % 2 WHEN 1 THEN n ELSE columns + 1 - n END;
      FOR line IN
        SELECT i.item, row_number() OVER (ORDER BY COALESCE(b.place, item_place[i.item]), item_place[i.item]) AS place
          FROM unnest(item_column) WITH ORDINALITY AS i (c, item)
          LEFT JOIN (SELECT p.own, avg(item_place[p.other]) AS place
                       FROM (SELECT r.item, l.item FROM unnest(right_item) WITH ORDINALITY AS r (item, n)
                               JOIN unnest(left_item) WITH ORDINALITY AS l (item, n) ON l.n = r.n AND pass % 2 = 1
                             UNION ALL
                             SELECT l.item, r.item FROM unnest(right_item) WITH ORDINALITY AS r (item, n)
                               JOIN unnest(left_item) WITH ORDINALITY AS l (item, n) ON l.n = r.n AND pass % 2 = 0) AS p (own, other)
                      GROUP BY p.own) AS b ON b.own = i.item
         WHERE i.c = here
      LOOP
        item_place[line.item] := line.place;
      END LOOP;
    END LOOP;
  END LOOP;

  -- The heights: stacked first, then again and again as near as possible to
  -- where the arrows would be straight, keeping order and distance.
  SELECT array_agg(i.y ORDER BY i.item) INTO top
    FROM (SELECT u.item, sum(item_height[u.item] + gap) OVER (PARTITION BY u.c ORDER BY item_place[u.item]) - item_height[u.item] - gap AS y
            FROM unnest(item_column) WITH ORDINALITY AS u (c, item)) AS i;
  FOR pass IN 1 .. 12 LOOP
    FOR n IN 1 .. columns LOOP
      here := CASE pass % 2 WHEN 1 THEN n ELSE columns + 1 - n END;
      SELECT array_agg(i.item::integer ORDER BY item_place[i.item]),
             array_agg(COALESCE(b.y, top[i.item]) ORDER BY item_place[i.item])
        INTO items, wanted
        FROM unnest(item_column) WITH ORDINALITY AS i (c, item)
        LEFT JOIN (SELECT p.own, avg(p.y) AS y
                     FROM unnest(left_item, right_item, left_offset, right_offset) AS s (l, r, lo, ro),
                          LATERAL (VALUES (s.l, top[s.r] + s.ro - s.lo), (s.r, top[s.l] + s.lo - s.ro)) AS p (own, y)
                    GROUP BY p.own) AS b ON b.own = i.item
       WHERE i.c = here;
      -- pushed down from above, and up from below; the middle of both keeps the distances, too
      down := wanted;
      up := wanted;
      FOR i IN 2 .. cardinality(items) LOOP
        down[i] := greatest(down[i], down[i - 1] + item_height[items[i - 1]] + gap);
      END LOOP;
      FOR i IN REVERSE cardinality(items) - 1 .. 1 LOOP
        up[i] := least(up[i], up[i + 1] - item_height[items[i]] - gap);
      END LOOP;
      FOR i IN 1 .. cardinality(items) LOOP
        top[items[i]] := round((down[i] + up[i]) / 2, 1);
      END LOOP;
    END LOOP;
  END LOOP;

  y := (SELECT min(t) FROM unnest(top) AS t);
  lane := array_fill(NULL::numeric, ARRAY[tables, columns]);
  FOR t IN 1 .. tables LOOP
    FOR c IN 1 .. columns LOOP
      lane[t][c] := top[lane_item[t][c]] - y;
    END LOOP;
  END LOOP;
  SELECT array_agg(u.top - y ORDER BY u.item), max(u.top - y + item_height[u.item]) INTO top, total
    FROM unnest(top) WITH ORDINALITY AS u (top, item);
END
$$;
