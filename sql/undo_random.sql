SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- undo() of repairs of random rows, in tables that refer to each other in every way and in circles; with and without others at
-- work between repair and undo. Guards: without them everything comes back; with them every row is either as it was before the
-- repair or as the others left it, what is listed as left alone is that, and no reference is broken that was neither broken before the
-- repair nor before the undo.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE SCHEMA chance_undo;
SET search_path = chance_undo, public;
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE a (id int PRIMARY KEY, k int REFERENCES k ON DELETE CASCADE, up int REFERENCES a ON DELETE SET NULL, bs int[]);
CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE, k int REFERENCES k ON DELETE SET NULL, many int[], c int);
CREATE TABLE c (id int PRIMARY KEY, bs int[], k int REFERENCES k ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED, many int[]) PARTITION BY RANGE (id);
CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (0) TO (15);
CREATE TABLE c2 PARTITION OF c DEFAULT;
SELECT integrity.add_reference('a', 'bs', 'b', on_delete => 'remove element', on_empty => 'delete row');
SELECT integrity.add_reference('b', 'many', 'a', on_delete => 'remove element', on_empty => 'delete row');
SELECT integrity.add_reference('b', 'c', 'c', on_delete => 'set null');
SELECT integrity.add_reference('c', 'bs', 'b', on_delete => 'null element');
SELECT integrity.add_reference('c', 'many', 'a', on_delete => 'delete row', enforced => false);
CREATE VIEW image AS
  SELECT 'a' AS tab, id, integrity.row_image(a.*) AS image FROM a UNION ALL
  SELECT 'b', id, integrity.row_image(b.*) FROM b UNION ALL
  SELECT 'c', id, integrity.row_image(c.*) FROM c;
-- every reference that has no key; how often does not matter
CREATE VIEW orphan AS
  SELECT DISTINCT r.referencing_table::text AS tab, r.rule_name, b.row_key, b.value
    FROM integrity.reference r, integrity.broken_references(r.referencing_table, r.rule_name) b
   WHERE r.referencing_table IN ('a'::regclass, 'b'::regclass, 'c'::regclass);
CREATE FUNCTION one(below int) RETURNS int LANGUAGE sql AS $$
  SELECT CASE WHEN random() < 0.2 THEN NULL ELSE 1 + floor(random() * below)::int END $$;
CREATE FUNCTION several(below int) RETURNS int[] LANGUAGE sql AS $$
  SELECT CASE WHEN random() < 0.3 THEN NULL ELSE ARRAY(SELECT one(below) FROM generate_series(1, floor(random() * 4)::int)) END $$;
CREATE TABLE outcome (what text, n bigint);
CREATE TABLE old AS TABLE image;            -- before the repair
CREATE TABLE mended AS TABLE image;         -- before the undo
CREATE TABLE old_orphan AS TABLE orphan;
CREATE TABLE mended_orphan AS TABLE orphan;

CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
BEGIN
  SET LOCAL session_replication_role = replica;
  DELETE FROM a; DELETE FROM b; DELETE FROM c; DELETE FROM k; DELETE FROM old; DELETE FROM old_orphan;
  INSERT INTO k SELECT generate_series(1, 8);
  INSERT INTO a SELECT n, one(9), one(32), several(32) FROM generate_series(1, 30) AS n;
  INSERT INTO b SELECT n, one(33), one(9), several(32), one(31) FROM generate_series(1, 30) AS n;
  INSERT INTO c SELECT n, several(33), one(9), several(31) FROM generate_series(1, 30) AS n;
  INSERT INTO old TABLE image;
  INSERT INTO old_orphan TABLE orphan;
  RESET session_replication_role;
END
$$;
-- What others do: change, delete and insert rows; sometimes with triggers off, which leaves orphans behind.
CREATE PROCEDURE others() LANGUAGE plpgsql AS $$
DECLARE
  work text;
BEGIN
  FOREACH work IN ARRAY ARRAY[
    'UPDATE a SET up = NULL WHERE random() < 0.1', 'UPDATE b SET many = NULL WHERE random() < 0.1',
    'UPDATE c SET bs = array_append(bs, NULL) WHERE random() < 0.1', 'DELETE FROM k WHERE random() < 0.1',
    'DELETE FROM a WHERE random() < 0.1', 'DELETE FROM b WHERE random() < 0.1', 'DELETE FROM c WHERE random() < 0.1',
    'INSERT INTO a SELECT n FROM generate_series(1, 30) n WHERE random() < 0.1 ON CONFLICT DO NOTHING',
    'INSERT INTO b SELECT n FROM generate_series(1, 30) n WHERE random() < 0.1 ON CONFLICT DO NOTHING',
    'INSERT INTO c SELECT n FROM generate_series(1, 30) n WHERE random() < 0.1 ON CONFLICT DO NOTHING'] LOOP
    CONTINUE WHEN random() < 0.4;
    BEGIN
      IF random() < 0.3 THEN
        SET LOCAL session_replication_role = replica;
      END IF;
      EXECUTE work;
      -- what is checked at the commit otherwise
      SET CONSTRAINTS ALL IMMEDIATE;
      SET CONSTRAINTS ALL DEFERRED;
    EXCEPTION WHEN foreign_key_violation THEN
      NULL;
    END;
    RESET session_replication_role;
  END LOOP;
END
$$;
CREATE PROCEDURE try(with_others boolean) LANGUAGE plpgsql AS $$
DECLARE
  this_run bigint; dry text; real text; restored bigint; left_alone bigint;
BEGIN
  BEGIN
    SELECT max(r.run_id) INTO this_run FROM integrity.repair('a', dry_run => false) r;
    SET CONSTRAINTS ALL IMMEDIATE;
    SET CONSTRAINTS ALL DEFERRED;
  EXCEPTION WHEN foreign_key_violation THEN
    INSERT INTO outcome VALUES ('repair refused', 1);
    RETURN;
  END;
  IF with_others THEN
    CALL others();
  END IF;
  DELETE FROM mended; DELETE FROM mended_orphan;
  INSERT INTO mended TABLE image;
  INSERT INTO mended_orphan TABLE orphan;

  SELECT string_agg(concat_ws('|', changed_table, outcome, rows, change_id, reason), ' ' ORDER BY changed_table::text, outcome, change_id) INTO dry
    FROM integrity.undo(this_run);
  IF EXISTS (TABLE image EXCEPT TABLE mended) OR EXISTS (TABLE mended EXCEPT TABLE image) THEN
    INSERT INTO outcome VALUES ('a dry run has changed something', 1);
  END IF;
  SELECT string_agg(concat_ws('|', changed_table, outcome, rows, change_id, reason), ' ' ORDER BY changed_table::text, outcome, change_id),
         sum(rows) FILTER (WHERE outcome = 'restored'), count(*) FILTER (WHERE outcome = 'left alone')
    INTO real, restored, left_alone FROM integrity.undo(this_run, false);
  INSERT INTO outcome SELECT 'the dry run told something else', 1 WHERE dry IS DISTINCT FROM real;

  IF NOT with_others THEN
    INSERT INTO outcome SELECT 'not all came back', 1
     WHERE EXISTS (TABLE image EXCEPT TABLE old) OR EXISTS (TABLE old EXCEPT TABLE image) OR left_alone > 0;
  END IF;
  INSERT INTO outcome
    SELECT 'a row is neither as it was nor as others left it', count(*)
      FROM image i FULL JOIN old o USING (tab, id) FULL JOIN mended m USING (tab, id)
     WHERE i.image IS DISTINCT FROM o.image AND i.image IS DISTINCT FROM m.image HAVING count(*) > 0;
  INSERT INTO outcome
    SELECT 'an undo has broken something', count(*) FROM (TABLE orphan EXCEPT TABLE old_orphan EXCEPT TABLE mended_orphan) x HAVING count(*) > 0;
  -- of the rows that differ from before the repair, those that the run has changed are listed
  INSERT INTO outcome
    SELECT 'a row is left alone and not listed', count(*)
      FROM (SELECT DISTINCT n.changed_table, n.row_key FROM integrity.change n WHERE n.run_id = this_run
             AND NOT EXISTS (SELECT FROM integrity.change u JOIN integrity.run r USING (run_id)
                              WHERE r.undoes = this_run AND u.changed_table = n.changed_table AND u.row_key = n.row_key)) x
    HAVING count(*) <> left_alone;
  INSERT INTO outcome VALUES (CASE WHEN with_others THEN 'restored beside others' ELSE 'restored' END, restored), ('left alone', left_alone);

  -- And the undo is undone: what it did, no more. (A circle through more tables than one stays.)
  SELECT max(run_id) INTO this_run FROM integrity.run WHERE undoes = this_run;
  DELETE FROM old; DELETE FROM old_orphan;
  INSERT INTO old TABLE image; INSERT INTO old_orphan TABLE orphan;
  INSERT INTO outcome SELECT 'undone', COALESCE(sum(rows) FILTER (WHERE outcome = 'restored'), 0) FROM integrity.undo(this_run, false);
  INSERT INTO outcome
    SELECT 'undo of undo: a row is neither as it was nor as it should be', count(*)
      FROM image i FULL JOIN old o USING (tab, id) FULL JOIN mended m USING (tab, id)
     WHERE i.image IS DISTINCT FROM o.image AND i.image IS DISTINCT FROM m.image HAVING count(*) > 0;
  INSERT INTO outcome
    SELECT 'undo of undo has broken something', count(*) FROM (TABLE orphan EXCEPT TABLE old_orphan EXCEPT TABLE mended_orphan) x HAVING count(*) > 0;
END
$$;

DO $$
BEGIN
  FOR n IN 1 .. 24 LOOP
    PERFORM setseed(n / 25.0);
    CALL chance_undo.fill();
    COMMIT;
    CALL chance_undo.try(n % 3 > 0);
    COMMIT;
  END LOOP;
END
$$;
-- Only these, and often enough to mean something.
SELECT what, sum(n) > 60 AS often FROM outcome WHERE what <> 'repair refused' GROUP BY what ORDER BY what;
SELECT count(*) < 8 AS seldom_refused FROM outcome WHERE what = 'repair refused';

RESET search_path;
DROP SCHEMA chance_undo CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
