-- repair() that deletes rows: what goes, or changes, because they go.
-- Guards: cascades through native foreign keys and rules count and are logged, as deep as they
-- go, in cycles and self references; what a row had broken when it went; restrictions and
-- deferred rules; references that nothing enforces are repaired in a second pass.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never

SELECT COALESCE(max(run_id), 0) AS before FROM integrity.run \gset
CREATE SCHEMA fall;
SET search_path = fall;
CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k VALUES (1), (2), (3);
CREATE VIEW logged AS
SELECT rule_name, changed_table, before, after, broken FROM integrity.change
 WHERE run_id = (SELECT max(run_id) FROM integrity.change) ORDER BY changed_table::text, before::text, rule_name;
-- Dry run and run tell the same, and a second one finds nothing.
CREATE FUNCTION repair_and_compare(regclass DEFAULT NULL, name DEFAULT NULL) RETURNS TABLE (
  referencing_table regclass, rule_name name, action text, refs bigint, changed bigint, deleted bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  CREATE TEMP TABLE dry ON COMMIT DROP AS
    SELECT r.referencing_table, r.rule_name, r.action, references_broken, rows_changed, rows_deleted FROM integrity.repair($1, $2) AS r;
  CREATE TEMP TABLE real ON COMMIT DROP AS
    SELECT r.referencing_table, r.rule_name, r.action, references_broken, rows_changed, rows_deleted FROM integrity.repair($1, $2, dry_run => false) AS r;
  IF EXISTS (TABLE dry EXCEPT ALL TABLE real) OR EXISTS (TABLE real EXCEPT ALL TABLE dry) THEN
    RAISE EXCEPTION 'the dry run told something else';
  END IF;
  IF EXISTS (SELECT FROM integrity.repair($1, $2)) THEN
    RAISE EXCEPTION 'a second repair found something';
  END IF;
  -- what the log holds is what was counted; a row that was mended for two rules would be there once
  IF (SELECT (count(*) FILTER (WHERE after IS NOT NULL), count(*) FILTER (WHERE after IS NULL)) FROM logged)
     IS DISTINCT FROM (SELECT (sum(rows_changed)::bigint, sum(rows_deleted)::bigint) FROM real) THEN
    RAISE EXCEPTION 'the log does not hold what was counted';
  END IF;
  RETURN QUERY TABLE real ORDER BY 1, 2;
END
$$;

-- Enrolments that run empty go, and take sessions along (native), notes of sessions (native), seats
-- lose them (rule), plans lose the whole list (rule), badges are deleted (rule), prices get their
-- default (native), and an audit line is nulled (native).
CREATE TABLE enrolment (id int PRIMARY KEY, students int[], course int);
CREATE TABLE session (id int PRIMARY KEY, enrolment int REFERENCES enrolment ON DELETE CASCADE, room text);
CREATE TABLE note (id int PRIMARY KEY, session int REFERENCES session ON DELETE CASCADE);
CREATE TABLE seat (id int PRIMARY KEY, enrolments int[]);
CREATE TABLE plan (id int PRIMARY KEY, sessions int[]);
CREATE TABLE badge (id int PRIMARY KEY, enrolments int[]);
CREATE TABLE price (id int PRIMARY KEY, enrolment int DEFAULT 3 REFERENCES enrolment ON DELETE SET DEFAULT);
CREATE TABLE audit (id int PRIMARY KEY, enrolment int REFERENCES enrolment ON DELETE SET NULL, session int REFERENCES session ON DELETE SET NULL);
CREATE INDEX ON seat USING gin (enrolments);
SELECT integrity.add_reference('seat', 'enrolments', 'enrolment', on_delete => 'remove element', on_empty => 'delete row');
SELECT integrity.add_reference('plan', 'sessions', 'session', on_delete => 'set null');
SELECT integrity.add_reference('badge', 'enrolments', 'enrolment', on_delete => 'delete row');
INSERT INTO enrolment VALUES (1, '{9}', 1), (2, '{9,1}', 1), (3, '{1}', 1), (4, '{8,9}', 77), (5, '{2}', 78);
SELECT integrity.add_reference('enrolment', 'students', 'k', on_delete => 'remove element', on_empty => 'delete row', not_valid => true);
SELECT integrity.add_reference('enrolment', 'course', 'k', enforced => false);
INSERT INTO session VALUES (1, 1, 'a'), (2, 2, 'b'), (4, 4, 'd'), (14, 4, NULL);
INSERT INTO note VALUES (1, 1), (2, 2), (4, 14);
INSERT INTO seat VALUES (1, '{1,3,4,1}'), (2, '{1,4}'), (3, '{3,2}'), (4, '{}');
INSERT INTO plan VALUES (1, '{1,2}'), (2, '{2}');
INSERT INTO badge VALUES (1, '{3,4}'), (2, '{2,3}');
INSERT INTO price VALUES (1, 1), (2, 2);
INSERT INTO audit VALUES (1, 1, 1), (2, 2, 2), (3, 3, 14);
-- Enrolments 1 and 4 go, 2 loses 9. Deleted: 2 enrolments, sessions 1, 4 and 14, notes 1 and 4, seat 2,
-- badge 1: 9. Changed: enrolment 2, seat 1, plan 1, price 1, audit 1 and 3: 6.
SELECT * FROM repair_and_compare('enrolment', 'enrolment_students_fkey');
SELECT * FROM logged;
SELECT * FROM enrolment ORDER BY 1;
SELECT * FROM session ORDER BY 1;
SELECT * FROM note ORDER BY 1;
SELECT * FROM seat ORDER BY 1;
SELECT * FROM plan ORDER BY 1;
SELECT * FROM badge ORDER BY 1;
SELECT * FROM price ORDER BY 1;
SELECT * FROM audit ORDER BY 1;
-- Course 78 remains, for its rule was not named, and does not say what to do.
SELECT * FROM integrity.repair();
\echo :SQLSTATE
DROP TABLE enrolment, session, note, seat, plan, badge, price, audit;

-- A table of itself: parents (native, cascade) and friends (rule). 1 has the broken key; 2 and 3 are
-- below it, 4 and 5 are a circle that 3 belongs to. 6 loses friends, 7 all of them and goes, and
-- 8 under it. 9 is a circle of its own, and stays. 10 loses its last two friends in different waves.
CREATE TABLE self (id int PRIMARY KEY, k int, parent int REFERENCES self ON DELETE CASCADE, friends int[]);
SELECT integrity.add_reference('self', 'friends', 'self', on_delete => 'remove element', on_empty => 'delete row');
ALTER TABLE self ADD CONSTRAINT self_k FOREIGN KEY (k) REFERENCES k ON DELETE CASCADE NOT VALID;
SET session_replication_role = replica;
INSERT INTO self VALUES (1, 9, NULL, NULL), (2, 1, 1, NULL), (3, 1, 2, NULL), (4, 1, 3, '{9}'), (5, NULL, 4, NULL),
  (6, NULL, NULL, '{3,6,5}'), (7, NULL, NULL, '{1,2}'), (8, NULL, 7, NULL), (9, NULL, 9, '{9}'), (10, NULL, NULL, '{5,8}');
UPDATE self SET parent = 5 WHERE id = 3;
INSERT INTO self VALUES (11, NULL, 2, '{12}'), (12, NULL, 11, '{11}');
RESET session_replication_role;
UPDATE self SET parent = 2 WHERE id = 4;
-- parents: 2 -> 1; 3 -> 5 -> 4 -> 2; 8 -> 7; 11 -> 2, 12 -> 11. All but 6 and 9 go.
SELECT * FROM repair_and_compare('self');
SELECT * FROM self ORDER BY id;
SELECT * FROM logged;
DROP TABLE self;

-- Two tables that refer to each other in a circle.
CREATE TABLE hen (id int PRIMARY KEY, egg int, k int);
CREATE TABLE egg (id int PRIMARY KEY, hen int REFERENCES hen ON DELETE CASCADE);
INSERT INTO egg VALUES (1), (2), (3);
INSERT INTO hen VALUES (1, 1, 9), (2, 2, 1), (3, 3, 1);
UPDATE egg SET hen = CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 END;
ALTER TABLE hen ADD CONSTRAINT hen_egg FOREIGN KEY (egg) REFERENCES egg ON DELETE CASCADE;
ALTER TABLE hen ADD CONSTRAINT hen_k FOREIGN KEY (k) REFERENCES k ON DELETE CASCADE NOT VALID;
SELECT * FROM repair_and_compare('hen');
SELECT * FROM logged;
TABLE hen;
TABLE egg;
DROP TABLE hen, egg;

-- Several columns, one of them shared with another key, on partitions on both sides.
CREATE TABLE house (tenant int, id int, k int, PRIMARY KEY (tenant, id)) PARTITION BY LIST (tenant);
CREATE TABLE house_1 PARTITION OF house FOR VALUES IN (1);
CREATE TABLE house_2 PARTITION OF house FOR VALUES IN (2);
CREATE TABLE flat (tenant int, id int, house int, PRIMARY KEY (tenant, id),
  FOREIGN KEY (tenant, house) REFERENCES house ON DELETE CASCADE) PARTITION BY RANGE (id);
CREATE TABLE flat_low PARTITION OF flat FOR VALUES FROM (0) TO (100);
CREATE TABLE flat_high PARTITION OF flat FOR VALUES FROM (100) TO (200);
CREATE TABLE tenancy (tenant int, flat int, who text, FOREIGN KEY (tenant, flat) REFERENCES flat ON DELETE SET NULL (flat));
INSERT INTO house VALUES (1, 1, 1), (1, 2, 9), (2, 1, 9), (2, 2, 2);
INSERT INTO flat VALUES (1, 1, 1), (1, 2, 2), (1, 102, 2), (2, 1, 1), (2, 102, 2);
INSERT INTO tenancy VALUES (1, 1, 'a'), (1, 102, 'b'), (2, 1, 'c'), (2, 102, 'd');
SELECT integrity.add_reference('house', 'k', 'k', on_delete => 'delete row', enforced => false);
SELECT * FROM repair_and_compare('house');
SELECT * FROM logged;
SELECT * FROM flat ORDER BY 1, 2;
SELECT * FROM tenancy ORDER BY who;
DROP TABLE tenancy, flat, house;

-- A restriction further down fails all of it, and nothing is half done: also rule b_k was to be repaired.
CREATE TABLE a (id int PRIMARY KEY, k int);
CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE, k int);
CREATE TABLE c (id int PRIMARY KEY, bs int[]);
INSERT INTO a VALUES (1, 9);
INSERT INTO b VALUES (1, 1, 1), (2, NULL, 9);
INSERT INTO c VALUES (1, '{1}');
ALTER TABLE a ADD CONSTRAINT a_k FOREIGN KEY (k) REFERENCES k ON DELETE CASCADE NOT VALID;
ALTER TABLE b ADD CONSTRAINT b_k FOREIGN KEY (k) REFERENCES k ON DELETE SET NULL NOT VALID;
SELECT integrity.add_reference('c', 'bs', 'b');
SELECT * FROM integrity.repair(dry_run => false);
\echo :SQLSTATE
SELECT * FROM a, b, c ORDER BY b.id;
SELECT count(*) FROM integrity.change WHERE changed_table IN ('a'::regclass, 'b'::regclass);
-- A deferred rule is checked at the end of the transaction, whatever the repair says before.
SELECT integrity.drop_reference('c', 'c_bs_fkey');
SELECT integrity.add_reference('c', 'bs', 'b', "deferrable" => true, initially_deferred => true);
BEGIN;
SELECT rule_name, rows_changed, rows_deleted FROM integrity.repair('a', dry_run => false);
COMMIT;
\echo :SQLSTATE
SELECT count(*) AS still_there FROM a, b, c;
BEGIN;
SELECT rule_name, rows_changed, rows_deleted FROM integrity.repair('a', dry_run => false);
UPDATE c SET bs = '{2}';
COMMIT;
SELECT * FROM a ORDER BY id;
SELECT * FROM b ORDER BY id;

-- What nothing enforces: deleting b's rows breaks c's, and deleting c's breaks d's. All in one call;
-- d had nothing broken when the run began.
SELECT integrity.drop_reference('c', 'c_bs_fkey');
SELECT integrity.add_reference('c', 'bs', 'b', on_delete => 'delete row', enforced => false);
CREATE TABLE d (id int PRIMARY KEY, c int);
SELECT integrity.add_reference('d', 'c', 'c', on_delete => 'set null', enforced => false);
INSERT INTO c VALUES (2, '{7}');
INSERT INTO d VALUES (1, 1), (2, 2), (3, NULL);
ALTER TABLE b DROP CONSTRAINT b_k;
ALTER TABLE b ADD CONSTRAINT b_k FOREIGN KEY (k) REFERENCES k ON DELETE CASCADE NOT VALID;
SELECT * FROM repair_and_compare();
SELECT rule_name, status, references_broken AS broken, references_broken_after AS after, rows_changed, rows_deleted FROM integrity.run_rule
 WHERE run_id = (SELECT max(run_id) FROM integrity.run) ORDER BY 1;
SELECT * FROM logged;
SELECT * FROM d ORDER BY id;
DROP TABLE a, b, c, d;

-- What a row had broken when it went is noted for all rules, also for those that cascade rows are under.
CREATE TABLE p (id int PRIMARY KEY, k int, ks int[], code int);
CREATE TABLE q (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE, ks int[]);
CREATE TABLE s (id int PRIMARY KEY, p int REFERENCES p ON DELETE SET NULL, ks int[]);
INSERT INTO p VALUES (1, 9, '{1,8,8}', 7), (2, 1, '{7}', 7);
INSERT INTO q VALUES (1, 1, '{2,6,NULL}');
INSERT INTO s VALUES (1, 1, '{5}');
ALTER TABLE p ADD CONSTRAINT p_k FOREIGN KEY (k) REFERENCES k ON DELETE CASCADE NOT VALID,
  ADD CONSTRAINT p_code FOREIGN KEY (code) REFERENCES k NOT VALID;
SELECT integrity.add_reference('p', 'ks', 'k', not_valid => true);
SELECT integrity.add_reference('q', 'ks', 'k', not_valid => true);
SELECT integrity.add_reference('s', 'ks', 'k', enforced => false);
SELECT * FROM repair_and_compare('p', 'p_k');
SELECT * FROM logged;
DROP TABLE p, q, s;

-- A key that is mended is a key that changes: ON UPDATE CASCADE and its like are in the log, too.
CREATE TABLE person (id int PRIMARY KEY, k int UNIQUE);
CREATE TABLE phone (id int PRIMARY KEY, person_k int REFERENCES person (k) ON UPDATE CASCADE);
CREATE TABLE list (id int PRIMARY KEY, person_ks int[]);
INSERT INTO person VALUES (1, 9), (2, 1);
INSERT INTO phone VALUES (1, 9), (2, 1);
INSERT INTO list VALUES (1, '{1,9}'), (2, '{1}');
SELECT integrity.add_reference('list', 'person_ks', 'person', 'k', on_update => 'cascade');
ALTER TABLE person ADD CONSTRAINT person_k FOREIGN KEY (k) REFERENCES k ON DELETE SET NULL NOT VALID;
SELECT * FROM repair_and_compare('person');
SELECT * FROM logged;
DROP TABLE person, phone, list;

-- A cascade to a trigger that keeps the row: it is not in the log.
CREATE TABLE kept (id int PRIMARY KEY, k int);
CREATE TABLE child (id int PRIMARY KEY, kept int REFERENCES kept ON DELETE CASCADE);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER keep BEFORE DELETE ON kept FOR EACH ROW WHEN (OLD.id = 1) EXECUTE FUNCTION keep();
INSERT INTO kept VALUES (1, 9), (2, 9);
INSERT INTO child VALUES (1, 1), (2, 2);
SELECT integrity.add_reference('kept', 'k', 'k', on_delete => 'delete row', enforced => false);
SELECT rule_name, references_broken, rows_changed, rows_deleted FROM integrity.repair('kept', dry_run => false);
SELECT * FROM logged;
SELECT kept.id, k, child.id AS child FROM kept JOIN child ON child.kept = kept.id;
DROP TABLE kept, child;

DROP SCHEMA fall CASCADE;
DELETE FROM integrity.run WHERE run_id > :before;
RESET client_min_messages;
