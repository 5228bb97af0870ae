-- W2: INSERT ... SELECT of 100,000 rows x 10 ids, of which only 1,000 are distinct
-- full: rows=100000 keys=1000000 distinct=1000
-- tiny: rows=500 keys=5000 distinct=100
--
-- An import into a table whose rows mostly refer to the same: tags, roles, categories. The rows lie ready in a table, so that making them up is not measured.

-- ==== prepare
SELECT setseed(0.2);
CREATE TABLE keys (id int PRIMARY KEY);
INSERT INTO keys SELECT generate_series(1, :keys);
-- The ids that are used lie spread over all keys. Each of a row's is from another tenth of them, so that no row has one twice:
-- a junction table cannot have that.
CREATE TABLE source AS
  SELECT g AS id, ARRAY(SELECT (:keys / :distinct) * (1 + (e + g) % 10 * (:distinct / 10) + floor(random() * (:distinct / 10))::int)
                          FROM generate_series(0, 9) AS e) AS ids
    FROM generate_series(1, :rows) AS g;
CREATE TABLE source_pairs AS SELECT s.id, e.id AS key_id FROM source AS s, unnest(s.ids) AS e (id);

CREATE TABLE raw_arrays (id int PRIMARY KEY, ids int[]);

-- The parents of the junction table are not counted.
CREATE TABLE junction_pairs (parent_id int, key_id int REFERENCES keys ON DELETE CASCADE, PRIMARY KEY (parent_id, key_id));
CREATE INDEX ON junction_pairs (key_id);

CREATE TABLE row_trigger_arrays (LIKE raw_arrays INCLUDING ALL);
CREATE TRIGGER check_row AFTER INSERT ON row_trigger_arrays FOR EACH ROW EXECUTE FUNCTION check_row();

CREATE TABLE statement_trigger_arrays (LIKE raw_arrays INCLUDING ALL);
CREATE TRIGGER check_statement AFTER INSERT ON statement_trigger_arrays REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION check_statement();

CREATE TABLE rule_arrays (LIKE raw_arrays INCLUDING ALL);
SELECT integrity.add_reference('rule_arrays', 'ids', 'keys');
VACUUM (FREEZE, ANALYZE);

-- ==== settle
-- Of each page of keys one row is locked, so that nobody's locks have to write the whole page to the WAL, which is done once after a
-- checkpoint.
SELECT count(*) FROM (SELECT FROM keys WHERE id % 200 = 0 FOR KEY SHARE) AS written;

-- ==== raw: before
TRUNCATE raw_arrays;
-- ==== raw: measure
INSERT INTO raw_arrays SELECT id, ids FROM source;
-- ==== raw: outcome
SELECT references_of('raw_arrays');

-- ==== junction: before
TRUNCATE junction_pairs;
-- ==== junction: measure
INSERT INTO junction_pairs SELECT id, key_id FROM source_pairs;
-- ==== junction: outcome
SELECT pairs_of('junction_pairs');
-- ==== junction: refuses
INSERT INTO junction_pairs VALUES (0, 0);

-- ==== row trigger: before
TRUNCATE row_trigger_arrays;
-- ==== row trigger: measure
INSERT INTO row_trigger_arrays SELECT id, ids FROM source;
-- ==== row trigger: outcome
SELECT references_of('row_trigger_arrays');
-- ==== row trigger: refuses
INSERT INTO row_trigger_arrays VALUES (0, '{1,0}');

-- ==== statement trigger: before
TRUNCATE statement_trigger_arrays;
-- ==== statement trigger: measure
INSERT INTO statement_trigger_arrays SELECT id, ids FROM source;
-- ==== statement trigger: outcome
SELECT references_of('statement_trigger_arrays');
-- ==== statement trigger: refuses
INSERT INTO statement_trigger_arrays VALUES (0, '{1,0}');

-- ==== rule: before
TRUNCATE rule_arrays;
-- ==== rule: measure
INSERT INTO rule_arrays SELECT id, ids FROM source;
-- ==== rule: outcome
SELECT references_of('rule_arrays');
-- ==== rule: refuses
INSERT INTO rule_arrays VALUES (0, '{1,0}');
