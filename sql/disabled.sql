-- Disabled triggers of native foreign keys on partitions, of either side: the report sees them and says what to do.
-- Guards: the triggers there belong to constraints that descend from the one that was declared.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
\set SHOW_CONTEXT never
CREATE SCHEMA disabled;
SET search_path = disabled, public;
CREATE TABLE k (id int PRIMARY KEY);
INSERT INTO k VALUES (1);
CREATE TABLE fp (id int REFERENCES k, x int) PARTITION BY LIST (x);
CREATE TABLE fp1 PARTITION OF fp FOR VALUES IN (1) PARTITION BY LIST (x);
CREATE TABLE fp11 PARTITION OF fp1 FOR VALUES IN (1);
CREATE INDEX ON fp (id);
CREATE TABLE kp (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE kp1 PARTITION OF kp FOR VALUES FROM (0) TO (100);
CREATE TABLE f (id int REFERENCES kp);
CREATE INDEX ON f (id);
CREATE VIEW seen AS
SELECT r.rule_name, r.enforced, v.guarded, r.status, regexp_replace(r.advice, '"RI_[^"]*"', '"RI_..."', 'g') AS advice
  FROM public.integrity_report() r JOIN integrity.reference v USING (referencing_table, rule_name)
 WHERE r.referencing_table IN ('fp'::regclass, 'f'::regclass);
SELECT * FROM seen ORDER BY 1;
ALTER TABLE fp11 DISABLE TRIGGER ALL;
ALTER TABLE kp1 DISABLE TRIGGER ALL;
SELECT * FROM seen ORDER BY 1;
-- The advice, until there is none.
DO $$ DECLARE a text; BEGIN
  FOR i IN 1 .. 10 LOOP
    FOR a IN SELECT advice FROM public.integrity_report() WHERE referencing_table IN ('disabled.fp'::regclass, 'disabled.f'::regclass) AND advice LIKE 'ALTER TABLE%' LOOP
      EXECUTE a;
    END LOOP;
  END LOOP;
END $$;
SELECT * FROM seen ORDER BY 1;
INSERT INTO fp VALUES (66, 1);
\echo :SQLSTATE

-- The one guard of a partition that is no clone, and can be dropped, or made to do nothing, by itself.
CREATE TABLE t (ids int[]);
SELECT integrity.add_reference('t', 'ids', 'kp');
CREATE VIEW state AS SELECT guarded FROM integrity.reference WHERE rule_name = 't_ids_fkey';
DROP TRIGGER integrity_guard_truncate ON kp1;
TABLE state;
SELECT advice FROM public.integrity_report('t');
SELECT integrity.add_guards('kp');
TABLE state;
CREATE OR REPLACE TRIGGER integrity_guard_truncate AFTER TRUNCATE ON kp1 FOR EACH STATEMENT WHEN (false)
  EXECUTE FUNCTION integrity.guard_truncate();
TABLE state;
DROP SCHEMA disabled CASCADE;
