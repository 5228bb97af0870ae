SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- undo() of runs that have changed keys, and ON UPDATE handed that on. Guards: an undo changes the rows of its run and no
-- others, whatever ON UPDATE says: a row whose present key others refer to since is left alone; where they all belong
-- to the run, the whole chain comes back, in whatever order its tables and rows are taken.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA undo_updates;
SET search_path = undo_updates, public;

-- b loses its key to the default; c, d and the array in e follow, through c's own key to f, and so does g, which
-- refers to itself.
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, k int UNIQUE DEFAULT 0 CONSTRAINT b_a REFERENCES a ON DELETE SET DEFAULT);
CREATE TABLE c (id int PRIMARY KEY, b_k int UNIQUE CONSTRAINT c_b REFERENCES b (k) ON UPDATE CASCADE);
CREATE TABLE d (id int PRIMARY KEY, b_k int CONSTRAINT d_b REFERENCES b (k) ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE e (id int PRIMARY KEY, ks int[]);
CREATE TABLE f (id int PRIMARY KEY, ks int[]);
SELECT integrity.add_reference('e', 'ks', 'b', 'k', on_update => 'cascade', rule_name => 'e_b');
SELECT integrity.add_reference('f', 'ks', 'c', 'b_k', on_update => 'cascade', rule_name => 'f_c');
INSERT INTO a VALUES (0);
CREATE PROCEDURE start() LANGUAGE sql AS $$
  SET LOCAL session_replication_role = replica;
  DELETE FROM b; DELETE FROM c; DELETE FROM d; DELETE FROM e; DELETE FROM f;
  INSERT INTO b VALUES (1, 99);
  INSERT INTO c VALUES (1, 99);
  INSERT INTO d VALUES (1, 99);
  INSERT INTO e VALUES (1, '{99,NULL}');
  INSERT INTO f VALUES (1, '{99,99}');
  SET LOCAL session_replication_role = origin;
$$;
CREATE VIEW state AS
  SELECT 'b' AS t, id, k::text AS refers_to FROM b UNION ALL SELECT 'c', id, b_k::text FROM c UNION ALL
  SELECT 'd', id, b_k::text FROM d UNION ALL SELECT 'e', id, ks::text FROM e UNION ALL SELECT 'f', id, ks::text FROM f ORDER BY 1, 2;
CALL start();
SELECT run_id AS run FROM integrity.repair('b', dry_run => false) \gset
TABLE state;
SELECT changed_table, outcome, rows, row_key, reason FROM integrity.undo(:run, false) ORDER BY 2 DESC, 1, 4;
TABLE state;
-- that taken back, and again
SELECT max(run_id) AS run FROM integrity.run \gset
SELECT changed_table, outcome, rows, row_key, reason FROM integrity.undo(:run, false) ORDER BY 2 DESC, 1, 4;
TABLE state;
SELECT max(run_id) AS run FROM integrity.run \gset
SELECT changed_table, outcome, rows, row_key, reason FROM integrity.undo(:run, false) ORDER BY 2 DESC, 1, 4;
TABLE state;

-- Rows that refer to the present key since: by a native key, by a deferred one, by a rule, by a rule further down. None
-- of them is touched; the row that they need stays, and with it what needs its old key.
CREATE FUNCTION with_newer(command text) RETURNS TABLE (changed_table regclass, outcome text, rows bigint, row_key jsonb, reason text)
LANGUAGE plpgsql AS $$
DECLARE run bigint; before text; dry text[]; done text[] := '{}';
BEGIN
  CALL start();
  SELECT r.run_id INTO run FROM integrity.repair('b', dry_run => false) r;
  EXECUTE command;
  SELECT string_agg(s::text, ' ') INTO before FROM state s WHERE id = 2;
  dry := ARRAY(SELECT (u.changed_table, u.outcome, u.rows, u.row_key, u.reason)::text FROM integrity.undo(run) u);
  FOR changed_table, outcome, rows, row_key, reason IN SELECT u.changed_table, u.outcome, u.rows, u.row_key, u.reason FROM integrity.undo(run, false) u LOOP
    done := done || (changed_table, outcome, rows, row_key, reason)::text;
    RETURN NEXT;
  END LOOP;
  IF before IS DISTINCT FROM (SELECT string_agg(s::text, ' ') FROM state s WHERE id = 2) THEN
    RAISE 'the row of the application was changed: %', before;
  ELSIF dry <> done THEN
    RAISE 'the dry run said something else';
  END IF;
END $$;
SELECT * FROM with_newer('INSERT INTO c VALUES (2, NULL); UPDATE c SET b_k = NULL WHERE id = 1; UPDATE c SET b_k = 0 WHERE id = 2');
SELECT * FROM with_newer('INSERT INTO d VALUES (2, 0)');
SELECT * FROM with_newer('INSERT INTO e VALUES (2, ''{0}'')');
TABLE state;
SELECT * FROM with_newer('INSERT INTO f VALUES (2, ''{0}'')');
TABLE state;
-- outside of an undo they act as declared
INSERT INTO a VALUES (5);
UPDATE b SET k = 5 WHERE id = 1;
TABLE state;

-- A deferrable NO ACTION rule and a native one: rows of the run may come later than the key that they need.
DROP VIEW state;
DROP FUNCTION with_newer;
DROP PROCEDURE start;
DROP TABLE f, e, d, c, b;
CREATE TABLE b (id int PRIMARY KEY, k int UNIQUE DEFAULT 0 CONSTRAINT b_a REFERENCES a ON DELETE SET DEFAULT);
CREATE TABLE c (id int PRIMARY KEY, b_k int CONSTRAINT c_b REFERENCES b (k));
CREATE TABLE e (id int PRIMARY KEY, ks int[]);
SELECT integrity.add_reference('e', 'ks', 'b', 'k', "deferrable" => true, initially_deferred => true, rule_name => 'e_b');
INSERT INTO b VALUES (1, 0);
INSERT INTO c VALUES (1, 0), (2, NULL);
INSERT INTO e VALUES (1, '{0}'), (2, NULL);
-- a run by hand: its rows were at 99 together
INSERT INTO integrity.run (kind) VALUES ('repair') RETURNING run_id AS run \gset
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, row_key, before, after, broken) VALUES
  (:run, 'b', 'b_a', 'b', '{"id": 1}', '{"id": "1", "k": "99"}', '{"k": "0"}', '{"b_a": ["99"]}'),
  (:run, 'b', 'b_a', 'c', '{"id": 1}', '{"id": "1", "b_k": "99"}', '{"b_k": "0"}', NULL),
  (:run, 'b', 'b_a', 'e', '{"id": 1}', '{"id": "1", "ks": "{99}"}', '{"ks": "{0}"}', NULL);
UPDATE e SET ks = '{0}' WHERE id = 2;
SELECT changed_table, outcome, rows, row_key, reason FROM integrity.undo(:run, false) ORDER BY 2 DESC, 1, 4;
UPDATE e SET ks = NULL WHERE id = 2;
UPDATE c SET b_k = 0 WHERE id = 2;
SELECT changed_table, outcome, rows, row_key, reason FROM integrity.undo(:run, false) ORDER BY 2 DESC, 1, 4;
UPDATE c SET b_k = NULL WHERE id = 2;
SELECT changed_table, outcome, rows, row_key, reason FROM integrity.undo(:run, false) ORDER BY 2 DESC, 1, 4;
SELECT b.k, c.b_k, e.ks FROM b, c, e WHERE b.id = 1 AND c.id = 1 AND e.id = 1;
-- A trigger that deletes a row which undo puts back does not take the present key from under others.
SELECT max(run_id) AS run FROM integrity.run \gset
SELECT sum(rows) FROM integrity.undo(:run, false);
SELECT max(run_id) AS run FROM integrity.run \gset
UPDATE c SET b_k = 0 WHERE id = 2;
CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM b WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER away AFTER UPDATE ON b FOR EACH ROW EXECUTE FUNCTION away();
SELECT changed_table, outcome, rows, row_key, reason FROM integrity.undo(:run, false) ORDER BY 2 DESC, 1, 4;
TABLE b;

-- A table that refers to itself by a key of two columns, more rows than one statement takes, in a circle.
CREATE TABLE tree (tenant int DEFAULT 0 CONSTRAINT tree_a REFERENCES a ON DELETE SET DEFAULT, id int, parent int, PRIMARY KEY (tenant, id),
  CONSTRAINT tree_parent FOREIGN KEY (tenant, parent) REFERENCES tree ON UPDATE CASCADE);
INSERT INTO tree SELECT 0, g, g % 1500 + 1 FROM generate_series(1, 1500) g;
INSERT INTO integrity.run (kind) VALUES ('repair') RETURNING run_id AS run \gset
INSERT INTO integrity.change (run_id, referencing_table, rule_name, changed_table, row_key, before, after, broken)
SELECT :run, 'tree', 'tree_a', 'tree', jsonb_build_object('tenant', 99, 'id', id),
       jsonb_build_object('tenant', '99', 'id', id::text, 'parent', parent::text), '{"tenant": "0"}', '{"tree_a": ["99"]}' FROM tree ORDER BY id;
SELECT changed_table, outcome, rows, row_key, reason FROM integrity.undo(:run, false) ORDER BY 2 DESC, 1, 4;
SELECT tenant, count(*) FROM tree GROUP BY 1;

DELETE FROM integrity.run;
RESET search_path;
DROP SCHEMA undo_updates CASCADE;
