SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS integrity; RESET client_min_messages;
-- What is refused although nothing is broken yet, and what takes keys away without a DELETE.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_refused;
CREATE SCHEMA refusals;
SET search_path = refusals, public;
GRANT USAGE, CREATE ON SCHEMA refusals TO regress_refused;

-- A unique index that compares in another way than the actions do: they would find other rows than it protects.
CREATE TYPE amount AS (n numeric);
CREATE TABLE amounts (a amount);
CREATE UNIQUE INDEX ON amounts (a record_image_ops);
CREATE TABLE sums (parts amount[]);
SELECT integrity.add_reference('sums', 'parts', 'amounts', 'a');
\echo :SQLSTATE
CREATE UNIQUE INDEX ON amounts (a);
SELECT integrity.add_reference('sums', 'parts', 'amounts', 'a');
INSERT INTO amounts VALUES (ROW(1.0));
INSERT INTO sums VALUES (ARRAY[ROW(1.00)]::amount[]);
INSERT INTO sums VALUES (ARRAY[ROW(2)]::amount[]);
\echo :SQLSTATE
DELETE FROM amounts;
\echo :SQLSTATE

-- Nor does a second index, that comes later, get in the way of the first.
CREATE UNIQUE INDEX ON amounts (a record_image_ops);
INSERT INTO sums VALUES (ARRAY[ROW(1.00)]::amount[]);
SELECT problem FROM integrity.reference WHERE referencing_table = 'sums'::regclass;
-- The same with collations: to the column, A is another key than a.
CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE words (w text);
CREATE UNIQUE INDEX words_any_case ON words (w COLLATE any_case);
CREATE TABLE texts (words text[]);
\set VERBOSITY default
SELECT integrity.add_reference('texts', 'words', 'words', 'w');
\set VERBOSITY terse
DROP INDEX words_any_case;
ALTER TABLE words ADD PRIMARY KEY (w);
SELECT integrity.add_reference('texts', 'words', 'words', 'w');
CREATE UNIQUE INDEX words_any_case ON words (w COLLATE any_case);
INSERT INTO words VALUES ('a');
INSERT INTO texts VALUES ('{a}');
INSERT INTO texts VALUES ('{A}');
\echo :SQLSTATE
DELETE FROM words;
\echo :SQLSTATE
SELECT references_checked, references_broken FROM public.integrity_report('texts');
-- One that agrees with the column may be used, whatever its name.
CREATE UNIQUE INDEX ON words (w COLLATE "C");
INSERT INTO texts VALUES ('{a}');
INSERT INTO texts VALUES ('{A}');
\echo :SQLSTATE
-- It is enough.
CREATE TABLE plain_words (w text);
CREATE UNIQUE INDEX ON plain_words (w COLLATE "C");
CREATE TABLE plain_texts (words text[]);
SELECT integrity.add_reference('plain_texts', 'words', 'plain_words', 'w');
INSERT INTO plain_texts VALUES ('{a}');
\echo :SQLSTATE

-- A rule that a superuser declares for an owner who may not reference the key: it could never fire.
CREATE TABLE mine (id int PRIMARY KEY);
CREATE TABLE theirs (ids int[]);
ALTER TABLE theirs OWNER TO regress_refused;
SELECT integrity.add_reference('theirs', 'ids', 'mine');
\echo :SQLSTATE
GRANT REFERENCES ON mine TO regress_refused;
SELECT integrity.add_reference('theirs', 'ids', 'mine');
DROP TABLE theirs, mine;

-- A rule by hand looks at the rows that are there, unless it is a restore, or says that it is not valid. And whichever way it
-- came, its index stays.
CREATE TABLE hk (id int PRIMARY KEY);
CREATE TABLE ht (ids int[]);
INSERT INTO ht VALUES ('{1}');
CREATE TRIGGER by_hand AFTER INSERT OR UPDATE ON ht FOR EACH ROW WHEN (integrity.refers(NEW.ids, (NULL::hk).id)) EXECUTE FUNCTION integrity.check_reference();
\echo :SQLSTATE
CREATE TRIGGER not_valid AFTER INSERT OR UPDATE ON ht FOR EACH ROW WHEN (integrity.refers(NEW.ids, (NULL::hk).id)) EXECUTE FUNCTION integrity.check_reference('not valid');
ALTER TABLE hk DROP CONSTRAINT hk_pkey;
\echo :SQLSTATE
DROP TRIGGER not_valid ON ht;
CREATE TRIGGER system_column AFTER INSERT OR UPDATE ON ht FOR EACH ROW WHEN (integrity.refers(NEW.tableoid, (NULL::hk).id)) EXECUTE FUNCTION integrity.check_reference();
\echo :SQLSTATE
SET check_function_bodies = off;
CREATE TRIGGER restored AFTER INSERT OR UPDATE ON ht FOR EACH ROW WHEN (integrity.refers(NEW.ids, (NULL::hk).id)) EXECUTE FUNCTION integrity.check_reference();
RESET check_function_bodies;
ALTER TABLE hk DROP CONSTRAINT hk_pkey;
\echo :SQLSTATE
DROP TABLE ht, hk;

-- Rows that were there before, with null and duplicate elements where these are rejected.
CREATE TABLE sk (id int PRIMARY KEY);
CREATE TABLE st (ids int[]);
INSERT INTO sk VALUES (1), (2);
INSERT INTO st VALUES ('{1,NULL}'), ('{2,2}');
SELECT integrity.add_reference('st', 'ids', 'sk', null_elements => 'reject');
\echo :SQLSTATE
SELECT integrity.add_reference('st', 'ids', 'sk', duplicate_elements => 'reject');
\echo :SQLSTATE
SELECT integrity.add_reference('st', 'ids', 'sk', duplicate_elements => 'reject', not_valid => true);
SELECT integrity.validate_reference('st', 'st_ids_fkey');
\echo :SQLSTATE
-- Whoever may not read the column is not shown which element it was; SELECT on the column alone is enough.
\set VERBOSITY default
GRANT INSERT ON st TO regress_refused;
SET ROLE regress_refused;
INSERT INTO st VALUES ('{1,1}');
INSERT INTO st VALUES ('{7}');
RESET ROLE;
GRANT SELECT (ids) ON st TO regress_refused;
SET ROLE regress_refused;
INSERT INTO st VALUES ('{1,1}');
INSERT INTO st VALUES ('{7}');
RESET ROLE;
\set VERBOSITY terse
DROP TABLE st, sk;

-- A rule that is not enforced cannot be valid.
CREATE TABLE k (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE k1 PARTITION OF k FOR VALUES FROM (0) TO (10);
CREATE TABLE k2 PARTITION OF k FOR VALUES FROM (10) TO (20);
CREATE TABLE t (ids int[]);
INSERT INTO k VALUES (1), (11);
INSERT INTO t VALUES ('{1,11}');
SELECT integrity.add_reference('t', 'ids', 'k', enforced => false, "deferrable" => true);
SELECT integrity.validate_reference('t', 't_ids_fkey');
\echo :SQLSTATE
SELECT enforced, validated FROM integrity.reference WHERE referencing_table = 't'::regclass;
ALTER TABLE t ENABLE TRIGGER t_ids_fkey;
SELECT integrity.validate_reference('t', 't_ids_fkey');

-- Keys that were deleted, and whose check is still to come, when their partition is detached: the check would go with it.
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
DELETE FROM k WHERE id = 1;
ALTER TABLE k DETACH PARTITION k1;
\echo :SQLSTATE
ROLLBACK;
-- Nor can another deferrable rule be declared meanwhile: its guard would be taken for the one that makes those checks.
CREATE TABLE late (ids int[]);
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
DELETE FROM k WHERE id = 1;
SELECT integrity.add_reference('late', 'ids', 'k', "deferrable" => true);
\echo :SQLSTATE
ROLLBACK;
-- A partition that goes with all that its owner has, or with its schema.
ALTER TABLE k2 OWNER TO regress_refused;
DROP OWNED BY regress_refused;
\echo :SQLSTATE
CREATE SCHEMA refusals_elsewhere;
ALTER TABLE k1 SET SCHEMA refusals_elsewhere;
DROP SCHEMA refusals_elsewhere CASCADE;
\echo :SQLSTATE
SELECT count(*) FROM k;
UPDATE t SET ids = '{}';
DROP OWNED BY regress_refused;
DROP SCHEMA refusals_elsewhere CASCADE;
SELECT count(*) FROM k;
-- What is read by a query does not cover what inherits from the table, either.
CREATE TABLE pair_k (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE pair_t (a int, b int, FOREIGN KEY (a, b) REFERENCES pair_k);
CREATE TABLE pair_child () INHERITS (pair_t);
INSERT INTO pair_child VALUES (9, 9);
SELECT rule_name, references_checked, references_broken, status FROM public.integrity_report('pair_t');
-- Rules that share a referenced table and not the keys, or not the way in which they are looked up: one report on all of them.
CREATE TABLE shared_k (id int PRIMARY KEY, alt int UNIQUE, w text UNIQUE);
CREATE TABLE shared_t (ids int[], alts int[], words text[], codes char(4)[]);
INSERT INTO shared_k VALUES (1, 100, 'a'), (2, 200, 'b');
INSERT INTO shared_t VALUES ('{1,2}', '{100,200}', '{a,b}', '{a,b}');
SELECT integrity.add_reference('shared_t', 'ids', 'shared_k');
SELECT integrity.add_reference('shared_t', 'alts', 'shared_k', 'alt');
SELECT integrity.add_reference('shared_t', 'words', 'shared_k', 'w');
SELECT integrity.add_reference('shared_t', 'codes', 'shared_k', 'w');
SELECT rule_name, references_checked, references_broken, status FROM public.integrity_report('shared_t');
-- But a table may go with all of its partitions: then the rules go, too.
CREATE SCHEMA refusals_elsewhere;
CREATE TABLE refusals_elsewhere.k (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE refusals_elsewhere.k1 PARTITION OF refusals_elsewhere.k FOR VALUES FROM (0) TO (10);
INSERT INTO refusals_elsewhere.k VALUES (1);
CREATE TABLE whole (ids int[]);
INSERT INTO whole VALUES ('{1}');
SELECT integrity.add_reference('whole', 'ids', 'refusals_elsewhere.k');
DROP SCHEMA refusals_elsewhere CASCADE;
SELECT count(*) FROM integrity.reference WHERE referencing_table = 'whole'::regclass;
DROP SCHEMA refusals CASCADE;
DROP ROLE regress_refused;
