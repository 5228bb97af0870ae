-- repair() on random rows of tables that refer to each other in every way and in circles.
-- Guards: the dry run tells what the run does; a second repair finds nothing; and the log is the whole truth: carried out on the
-- old rows, it gives the new ones, whatever cascades there were.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never

SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE SCHEMA chance;
SET search_path = chance;
CREATE TABLE k (id int PRIMARY KEY);
CREATE TABLE a (id int PRIMARY KEY, k int REFERENCES k ON DELETE CASCADE, up int REFERENCES a ON DELETE SET NULL, bs int[]);
CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE, k int REFERENCES k ON DELETE SET NULL, many int[], c int);
CREATE TABLE c (id int PRIMARY KEY, bs int[], a int DEFAULT 1 REFERENCES a ON DELETE SET DEFAULT, many int[]);
SELECT integrity.add_reference('a', 'bs', 'b', on_delete => 'remove element', on_empty => 'delete row');
SELECT integrity.add_reference('b', 'many', 'a', on_delete => 'remove element', on_empty => 'delete row');
SELECT integrity.add_reference('b', 'c', 'c', on_delete => 'set null', enforced => false);
SELECT integrity.add_reference('c', 'bs', 'b', on_delete => 'null element');
SELECT integrity.add_reference('c', 'many', 'a', on_delete => 'delete row', enforced => false);
CREATE VIEW image AS
  SELECT 'a'::regclass AS tab, id, integrity.row_image(a.*) AS image FROM a UNION ALL
  SELECT 'b', id, integrity.row_image(b.*) FROM b UNION ALL
  SELECT 'c', id, integrity.row_image(c.*) FROM c;
CREATE FUNCTION one(below int) RETURNS int LANGUAGE sql AS $$
  SELECT CASE WHEN random() < 0.2 THEN NULL ELSE 1 + floor(random() * below)::int END $$;
CREATE FUNCTION several(below int) RETURNS int[] LANGUAGE sql AS $$
  SELECT CASE WHEN random() < 0.3 THEN NULL ELSE ARRAY(SELECT one(below) FROM generate_series(1, floor(random() * 4)::int)) END $$;
CREATE TABLE outcome (what text);
CREATE TABLE old (tab regclass, id int, image jsonb);

CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
BEGIN
  SET LOCAL session_replication_role = replica;
  DELETE FROM a; DELETE FROM b; DELETE FROM c; DELETE FROM k; DELETE FROM old;
  INSERT INTO k SELECT generate_series(1, 8);
  INSERT INTO a SELECT n, one(9), one(32), several(32) FROM generate_series(1, 30) AS n;
  INSERT INTO b SELECT n, one(33), one(9), several(32), one(31) FROM generate_series(1, 30) AS n;
  INSERT INTO c SELECT n, several(33), COALESCE(one(33), 1), several(31) FROM generate_series(1, 30) AS n;
  INSERT INTO old TABLE chance.image;
END
$$;
CREATE PROCEDURE try() LANGUAGE plpgsql AS $$
DECLARE
  dry text; real text; run bigint; change integrity.change; image jsonb;
BEGIN
  SELECT string_agg(concat_ws('|', rule_name, references_broken, rows_changed, rows_deleted), ' ') INTO dry
    FROM integrity.repair();
  SELECT string_agg(concat_ws('|', rule_name, references_broken, rows_changed, rows_deleted), ' '), max(run_id) INTO real, run
    FROM integrity.repair(dry_run => false);
  IF dry IS DISTINCT FROM real THEN
    INSERT INTO outcome VALUES ('the dry run told something else');
  END IF;
  IF EXISTS (SELECT FROM integrity.repair()) THEN
    INSERT INTO outcome VALUES ('a second repair found something');
  END IF;
  FOR change IN SELECT * FROM integrity.change AS l WHERE l.run_id = run ORDER BY l.change_id LOOP
    SELECT o.image INTO image FROM old AS o WHERE o.tab = change.changed_table AND o.id = (change.before->>'id')::int;
    IF image IS DISTINCT FROM change.before THEN
      INSERT INTO outcome VALUES ('an image before is wrong');
    END IF;
    IF change.after IS NULL THEN
      DELETE FROM old AS o WHERE o.tab = change.changed_table AND o.id = (change.before->>'id')::int;
    ELSE
      UPDATE old AS o SET image = o.image || change.after WHERE o.tab = change.changed_table AND o.id = (change.before->>'id')::int;
    END IF;
  END LOOP;
  IF EXISTS (TABLE old EXCEPT ALL TABLE chance.image) OR EXISTS (TABLE chance.image EXCEPT ALL TABLE old) THEN
    INSERT INTO outcome VALUES ('the log is not what has happened');
  ELSE
    INSERT INTO outcome VALUES ('good');
  END IF;
EXCEPTION
  -- A default whose key goes too, and the like: nothing is done then.
  WHEN foreign_key_violation THEN
    INSERT INTO outcome VALUES ('refused');
END
$$;

DO $$
BEGIN
  FOR n IN 1 .. 12 LOOP
    PERFORM setseed(n / 13.0);
    CALL chance.fill();
    COMMIT;
    CALL chance.try();
    COMMIT;
  END LOOP;
END
$$;
-- Nothing but good, and refused now and then.
SELECT DISTINCT what FROM outcome WHERE what <> 'refused';
SELECT count(*) FILTER (WHERE what = 'good') >= 8 AS mostly_good FROM outcome;
SELECT count(*) FILTER (WHERE after IS NULL) > 100 AS many_deleted, count(*) FILTER (WHERE after IS NOT NULL) > 100 AS many_changed
  FROM integrity.change WHERE run_id > :before;

DROP SCHEMA chance CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
RESET client_min_messages;
