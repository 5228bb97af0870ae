-- Recorded reports: the history of each rule, the notification when something got worse, the view
-- for monitoring systems, the job of pg_cron where there is none.
-- Guards: what counts as worse (also across an unknown in between), the payload's limit of 8000
-- bytes, one row per rule although two things can have one name, who may record and see what.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS integrity;
RESET client_min_messages;
\set SHOW_CONTEXT never
CREATE SCHEMA watch;
SET search_path = watch, public;
CREATE TABLE key (id int PRIMARY KEY, code int);
CREATE UNIQUE INDEX key_code ON key (code);
CREATE TABLE list (id int PRIMARY KEY, ids int[], codes int[], one int);
INSERT INTO key VALUES (1, 1), (2, 2);
SELECT integrity.add_reference('list', 'ids', 'key');
SELECT integrity.add_reference('list', 'codes', 'key', 'code');
SELECT integrity.add_reference('list', 'one', 'key');
INSERT INTO list VALUES (1, '{1,2}', '{1,1}', 1), (2, '{2,NULL}', '{2}', NULL);

-- What the last report recorded; the number of a run is no fixed one.
CREATE VIEW last AS
  SELECT u.* FROM integrity.run_rule AS u WHERE u.run_id = (SELECT max(run_id) FROM integrity.run WHERE kind = 'report');
-- A notification tells the process it comes from, and the run.
\set listening '\\o | sed -E ''s/PID [0-9]+/PID N/; s/"run_id": [0-9]+/"run_id": N/; s/"database": "[^"]*"/"database": "D"/'''
LISTEN integrity;

-- Not recorded yet: no figures, and that is 'unknown', not 'ok'.
\x on
SELECT * FROM integrity.metrics WHERE referencing_table = 'watch.list' AND rule_name = 'list_ids_fkey';
\x off
-- The first report. One run, with who, when and what; one row per rule, as the report says.
SELECT integrity.record_report() AS run \gset
SELECT run_id = :run AS is_its_run, kind, role_name = current_user AS by_me, parameters, undoes, started < finished AS finished
  FROM integrity.run ORDER BY run_id DESC LIMIT 1;
SELECT referencing_table, rule_name, action, status, rows_checked, rows_broken, references_checked, references_broken,
       values_broken, references_broken_after, rows_changed, rows_deleted FROM last ORDER BY rule_name;
SELECT l.rule_name, (l.status, l.rows_checked, l.rows_broken, l.references_checked, l.references_broken, l.values_broken)
       = (r.status, r.rows_checked, r.rows_broken, r.references_checked, r.references_broken, r.values_broken) AS as_reported
  FROM last l JOIN public.integrity_report() r USING (referencing_table, rule_name) ORDER BY 1;
\x on
SELECT referencing_table, rule_name, kind, referenced_table, status, references_checked, references_broken, references_accepted,
       rows_checked, rows_broken, values_broken, is_broken, is_unknown, is_enforced, age_seconds BETWEEN 0 AND 600 AS just_now
  FROM integrity.metrics WHERE referencing_table = 'watch.list' ORDER BY rule_name;
\x off

-- ok to broken, in two rules: one notification, the larger rise first. The third holds.
SET session_replication_role = replica;
UPDATE list SET ids = '{1,7,8}', one = 9 WHERE id = 1;
RESET session_replication_role;
:listening
SELECT integrity.record_report() > 0 AS recorded;
\o
-- The same again, fewer, and mended: nothing is worse, no notification.
SELECT integrity.record_report() > 0 AS recorded;
UPDATE list SET ids = '{1,7}' WHERE id = 1;
SELECT integrity.record_report() > 0 AS recorded;
SELECT rule_name, status, references_broken FROM last ORDER BY rule_name;
-- One more than the last time, though fewer than once.
SET session_replication_role = replica;
UPDATE list SET ids = '{1,7,8}' WHERE id = 1;
:listening
SELECT integrity.record_report() > 0 AS recorded;
\o
-- Broken to unknown, by an invalid unique index: now is null. Unknown again: nothing new.
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'key_code'::regclass;
:listening
SELECT integrity.record_report() > 0 AS recorded;
SELECT integrity.record_report() > 0 AS recorded;
\o
SELECT status, references_checked, references_broken, is_broken, is_unknown, is_enforced FROM integrity.metrics
 WHERE referencing_table = 'watch.list' AND rule_name = 'list_codes_fkey';
-- Unknown to broken: compared with what was known before it. Broke in the meantime: said.
UPDATE list SET codes = '{5,6}' WHERE id = 2;
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'key_code'::regclass;
:listening
SELECT integrity.record_report() > 0 AS recorded;
\o
-- ... and back from unknown with as many as before it: not said again.
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'key_code'::regclass;
UNLISTEN integrity;
SELECT integrity.record_report() > 0 AS recorded;
LISTEN integrity;
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'key_code'::regclass;
SELECT integrity.record_report() > 0 AS recorded;
-- Rolled back: neither recorded nor notified of.
UPDATE list SET codes = '{4,5,6}' WHERE id = 2;
BEGIN;
SELECT integrity.record_report() > 0 AS recorded;
ROLLBACK;
SELECT references_broken FROM last WHERE rule_name = 'list_codes_fkey';
-- The report on one table is recorded as such. Another table's figures stay as they were.
CREATE TABLE more (id int PRIMARY KEY, one int DEFAULT 77);
INSERT INTO more VALUES (1);
ALTER TABLE more ADD FOREIGN KEY (one) REFERENCES key NOT VALID;
RESET session_replication_role;
SELECT integrity.record_report('more') > 0 AS recorded;
SELECT parameters FROM integrity.run ORDER BY run_id DESC LIMIT 1;
SELECT referencing_table, rule_name, status FROM last;
SELECT rule_name, references_broken FROM integrity.metrics WHERE referencing_table LIKE 'watch.%' ORDER BY 1;
UNLISTEN integrity;
-- Never known, then broken: was is null.
DELETE FROM integrity.run WHERE kind = 'report';
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'key_code'::regclass;
SELECT integrity.record_report() > 0 AS recorded;
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'key_code'::regclass;
SELECT integrity.record_report() AS run \gset
SELECT * FROM integrity.worse(:run);
-- A rule that is dropped or renamed is gone from the metrics; nothing fails.
ALTER TABLE list RENAME CONSTRAINT list_one_fkey TO renamed;
SELECT integrity.drop_reference('list', 'list_codes_fkey');
SELECT rule_name, status FROM integrity.metrics WHERE referencing_table LIKE 'watch.%' ORDER BY 1;
SELECT integrity.record_report() AS run \gset
SELECT * FROM integrity.worse(:run);
-- Accepted numbers stand beside, and a disabled trigger shows.
SELECT integrity.accept('list', 'list_ids_fkey');
ALTER TABLE list DISABLE TRIGGER list_ids_fkey;
SELECT rule_name, references_broken, references_accepted, is_enforced FROM integrity.metrics WHERE referencing_table LIKE 'watch.%' ORDER BY 1;
SELECT integrity.accept('list', 'list_ids_fkey', 0);

-- A payload of any size fits: 120 rules with names of 63 letters that take six bytes each.
SET client_min_messages = warning;
DO $$ BEGIN
  EXECUTE format('CREATE TABLE watch.%I (id int PRIMARY KEY)', repeat(E'\x01', 63));
  EXECUTE format('INSERT INTO watch.%I VALUES (1)', repeat(E'\x01', 63));
  FOR i IN 100 .. 219 LOOP
    EXECUTE format('ALTER TABLE watch.%1$I ADD c%2$s int, ADD CONSTRAINT %3$I FOREIGN KEY (c%2$s) REFERENCES watch.key NOT VALID',
                   repeat(E'\x01', 63), i, i || repeat(E'\x02', 60));
  END LOOP;
END $$;
SELECT integrity.record_report() > 0 AS recorded;
SET session_replication_role = replica;
DO $$ BEGIN
  FOR i IN 100 .. 219 LOOP EXECUTE format('UPDATE watch.%I SET c%s = 99', repeat(E'\x01', 63), i); END LOOP;
END $$;
RESET session_replication_role;
SELECT integrity.record_report() AS run \gset
SELECT octet_length(p) < 8000 AS fits, jsonb_array_length(p::jsonb -> 'worse') + (p::jsonb ->> 'more')::int AS told,
       jsonb_array_length(p::jsonb -> 'worse') > 3 AS some_listed,
       p::jsonb #>> '{worse,0,rule}' = '100' || repeat(E'\x02', 60) AS name_is_whole
  FROM integrity.worse_payload(:run) AS p;
DO $$ BEGIN EXECUTE format('DROP TABLE watch.%I', repeat(E'\x01', 63)); END $$;
RESET client_min_messages;

-- A trigger and a foreign key of one name: recorded once, the worse of them.
CREATE TABLE twin (id int PRIMARY KEY, ids int[], one int);
SELECT integrity.add_reference('twin', 'ids', 'key', not_valid => true, rule_name => 'same');
ALTER TABLE twin ADD CONSTRAINT same FOREIGN KEY (one) REFERENCES key NOT VALID;
SET session_replication_role = replica;
INSERT INTO twin VALUES (1, '{501,502}', 503);
RESET session_replication_role;
SELECT integrity.record_report('twin') > 0 AS recorded;
SELECT rule_name, references_broken FROM last;
-- A temporary table is of no interest to anyone later.
CREATE TEMP TABLE brief (id int PRIMARY KEY, up int REFERENCES brief);
SELECT integrity.record_report('pg_temp.brief') > 0 AS recorded;
SELECT count(*) FROM last;
DROP TABLE brief;

-- Who may: anyone records what he may read; the rest is left out, with a WARNING.
CREATE ROLE regress_watch_reader;
CREATE ROLE regress_watch_monitor;
GRANT pg_monitor TO regress_watch_monitor;
GRANT USAGE ON SCHEMA watch TO regress_watch_reader, regress_watch_monitor;
GRANT SELECT ON key, list, last TO regress_watch_reader;
SET ROLE regress_watch_reader;
SELECT integrity.record_report() > 0 AS recorded;
SELECT rule_name, status FROM last ORDER BY rule_name;
SELECT DISTINCT referencing_table::regclass FROM integrity.run_rule WHERE referencing_table IN ('list'::regclass, 'twin', 'more');
-- One who may read a table cannot slip figures into a report of somebody else's.
INSERT INTO integrity.run_rule (run_id, referencing_table, rule_name, status, references_checked, references_broken)
VALUES (:run, 'watch.list', 'forged', 'ok', 1, 0);
\echo :SQLSTATE
-- The metrics are for pg_monitor: all figures, whatever it may read, with names that do not depend on its search_path.
SELECT count(*) FROM integrity.metrics;
\echo :SQLSTATE
SET ROLE regress_watch_monitor;
SELECT count(*) AS seen FROM integrity.run_rule WHERE referencing_table = 'watch.list'::regclass;
SET row_security = off;
SELECT referencing_table, rule_name, referenced_table, references_broken FROM integrity.metrics
 WHERE referencing_table LIKE 'watch.%' ORDER BY 1, 2;
RESET row_security;
SELECT count(*) FROM list;
\echo :SQLSTATE
RESET ROLE;
-- Recording writes: 25006.
BEGIN READ ONLY;
SELECT integrity.record_report();
\echo :SQLSTATE
ROLLBACK;
-- No time: 22004, before pg_cron is asked for.
SELECT integrity.schedule(NULL);
\echo :SQLSTATE

SET client_min_messages = warning;
DELETE FROM integrity.run WHERE kind = 'report';
DROP SCHEMA watch CASCADE;
DROP ROLE regress_watch_reader, regress_watch_monitor;
RESET client_min_messages;
