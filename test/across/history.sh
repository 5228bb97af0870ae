# What else a database has when it changes its server: a run log, recorded reports, accepted numbers, and owners who
# are no superusers. To be sourced after test/cluster/school.sh, on top of whose database it stands.
# shellcheck shell=bash
: "${files:?}"

make_history() {  # make_history <database>
sql "$1" >"$files/history.log" 2>&1 <<'SQL' || { cat "$files/history.log"; echo "FAILED: making the history"; exit 1; }
SET client_min_messages = warning;
-- other OIDs than a new server would give
CREATE TABLE in_between (id int);
DROP TABLE in_between;
CREATE ROLE regress_across_owner;
CREATE SCHEMA works AUTHORIZATION regress_across_owner;
GRANT USAGE ON SCHEMA school TO regress_across_owner;
GRANT REFERENCES, SELECT ON school.student TO regress_across_owner;
SET ROLE regress_across_owner;
SET search_path = works;
CREATE TABLE parent (id int PRIMARY KEY, children int[], one int CONSTRAINT one REFERENCES school.student ON DELETE SET NULL, note text);
CREATE TABLE split (id int, topics int[], PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (0) TO (100);
CREATE TABLE unmended (ids int[]);
INSERT INTO parent VALUES (1, '{1,70,2}', 1, E'tab\t\\ "quoted"'), (2, '{71}', NULL, NULL), (3, '{1}', 2, '');
INSERT INTO split VALUES (1, '{72,1}'), (2, '{2}');
INSERT INTO unmended VALUES ('{73,1}');
SELECT integrity.add_reference('parent', 'children', 'school.student', on_delete => 'remove element', on_empty => 'delete row', not_valid => true);
SELECT integrity.add_reference('split', 'topics', 'school.student', on_delete => 'set null', not_valid => true);
SELECT integrity.add_reference('unmended', 'ids', 'school.student', not_valid => true);
CREATE TABLE before AS SELECT md5((SELECT string_agg(p::text, '|' ORDER BY id) FROM parent p) || (SELECT string_agg(s::text, '|' ORDER BY id) FROM split s)) AS hash;
SELECT * FROM integrity.repair('parent', dry_run => false);
SELECT * FROM integrity.repair('split', dry_run => false);
SELECT integrity.accept('unmended', 'unmended_ids_fkey', 1);
RESET ROLE;
SELECT integrity.record_report();
SQL
}

report() {
  sql "$1" -c "SET search_path = pg_catalog" -c "SELECT to_jsonb(r) - 'elapsed' FROM public.integrity_report() r ORDER BY referencing_table::text, rule_name" \
    -c "SELECT * FROM integrity.health()"
}
log() {
  sql "$1" -c "SET search_path = pg_catalog" -c "TABLE integrity.run ORDER BY run_id" \
    -c "TABLE integrity.run_rule ORDER BY run_id, referencing_table::text, rule_name" -c "TABLE integrity.change ORDER BY run_id, change_id" \
    -c "TABLE integrity.accepted ORDER BY 1, 2" -c "SELECT to_jsonb(m) - 'age_seconds' FROM integrity.metrics m ORDER BY m::text"
}
# 17 brought the privilege MAINTAIN, m.
grants() {
  sql "$1" -c "SELECT pg_describe_object(classoid, objoid, objsubid), replace(initprivs::text, 'xtm', 'xt') FROM pg_init_privs WHERE privtype = 'e' ORDER BY 1"
}

# undoes <database>: changes rows, so it comes late. The tables' owner takes back what was repaired on the old server.
undoes() {
  local run
  for run in 1 2; do
    shows "$1" "restored" "SET ROLE regress_across_owner; SELECT string_agg(DISTINCT outcome, ' ') FROM integrity.undo($run, false)"
  done
  shows "$1" t "SELECT md5((SELECT string_agg(p::text, '|' ORDER BY id) FROM works.parent p) || (SELECT string_agg(s::text, '|' ORDER BY id) FROM works.split s)) = hash FROM works.before"
  shows "$1" t "SELECT min(run_id) > 3 AND count(*) = 2 FROM integrity.run WHERE kind = 'undo'"
  shows "$1" 0 "SELECT integrity.accept('works.unmended', 'unmended_ids_fkey', 0)"
}

# guarded_index <database>: the index of a key that a rule relies on is not dropped without CASCADE, and the constraint neither.
guarded_index() {
  refused "$1" 2BP01 "ALTER TABLE student DROP CONSTRAINT student_code_key"
  refused "$1" 2BP01 "DROP TABLE student"
  refused "$1" 2BP01 "ALTER TABLE student DROP COLUMN code"
}
