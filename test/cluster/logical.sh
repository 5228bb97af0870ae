#!/bin/bash
# Logical replication. What the rules of the publisher do is replicated like any change, once. The rules of the subscriber do
# not fire in apply, as foreign keys do not: the report there finds what apply let in, and a repair mends it. ENABLE ALWAYS
# makes rule and guards act in apply too, where there are no transition tables: every deleted key is handled by itself.
# Row filters, column lists, tables that are synchronized in the wrong order, tables without a primary key.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes two servers of its own. Exit 0 if all is well.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

pub() { use_server publisher && sql "$@"; }
sub() { use_server subscriber && sql "$@"; }
both() { pub "$@" && sub "$@"; }
# wait_for <server> <query that becomes t>
wait_for() {
	local tries=300
	use_server "$1"
	until [ "$(sql -c "$2" 2>/dev/null)" = t ]; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { fail "waited too long on the $1: $2"; return; }
		sleep 0.1
	done
}
# All that the publisher has committed is applied, and no table is being copied.
caught_up() {
	local lsn
	wait_for subscriber "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"
	lsn=$(pub -c "SELECT pg_current_wal_lsn()")
	wait_for publisher "SELECT bool_and(replay_lsn >= '$lsn') FROM pg_stat_replication WHERE application_name ~ '^s[0-9]?$'"
}
same() { # <what> <query>: gives the same on both servers
	sub -c "$2" >"$SCRATCH/got"
	pub -c "$2" >"$SCRATCH/wanted"
	if diff "$SCRATCH/got" "$SCRATCH/wanted" >"$SCRATCH/diff"; then echo "ok: $1"; else fail "$1: $(head -n 5 "$SCRATCH/diff" | cut -c 1-200)"; fi
}
subscribe() { # <name> <publications> <options>
	sub -c "SET client_min_messages = warning" -c "CREATE SUBSCRIPTION $1 CONNECTION 'host=$SCRATCH/publisher/socket port=5432 user=postgres dbname=postgres' PUBLICATION $2"
}

make_server publisher
start_server publisher wal_level=logical autovacuum=off
make_server subscriber
start_server subscriber wal_level=logical autovacuum=off wal_retrieve_retry_interval=200ms max_logical_replication_workers=8 max_sync_workers_per_subscription=2

tables="
CREATE EXTENSION integrity;
CREATE TABLE student (id int PRIMARY KEY, name text);
CREATE TABLE parent (id int PRIMARY KEY, removed int[], nulled int[], touched int DEFAULT 0, filler text);
CREATE TABLE enrolment (id int PRIMARY KEY, rowed int[]);
CREATE TABLE held (id int PRIMARY KEY, ids int[]);
CREATE TABLE native (id int PRIMARY KEY, a int REFERENCES student ON DELETE SET NULL, b int REFERENCES student ON DELETE SET NULL);
SELECT integrity.add_reference('parent', 'removed', 'student', on_delete => 'remove element', on_update => 'cascade'),
       integrity.add_reference('parent', 'nulled', 'student', on_delete => 'null element', on_update => 'cascade'),
       integrity.add_reference('enrolment', 'rowed', 'student', on_delete => 'delete row'),
       integrity.add_reference('held', 'ids', 'student')"
both -c "SET client_min_messages = warning; $tables" >/dev/null

# ---------------------------------------------------------------- rules on both sides, as they are declared
pub <<'SQL'
INSERT INTO student SELECT g, 'student ' || g FROM generate_series(1, 60) g;
INSERT INTO parent SELECT g, ARRAY[g, g + 1, g + 20], ARRAY[g + 2, g], 0, repeat('x', 10) FROM generate_series(1, 20) g;
-- An array that lies in the TOAST table, which an UPDATE of another column does not send.
INSERT INTO parent SELECT 100, array_agg(g % 9 + 51), NULL FROM generate_series(1, 20000) g;
INSERT INTO enrolment SELECT g, ARRAY[g, 60] FROM generate_series(1, 10) g;
CREATE PUBLICATION all_of_it FOR TABLE student, parent, enrolment, held, native;
SQL
# Counts what apply does to a row.
sub <<'SQL'
CREATE TABLE applied (tab text, op text, id int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.applied VALUES (TG_TABLE_NAME, TG_OP, COALESCE(NEW.id, OLD.id));
  RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON parent FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON enrolment FOR EACH ROW EXECUTE FUNCTION note();
SQL
subscribe s all_of_it
caught_up
sub -c "ALTER TABLE parent ENABLE ALWAYS TRIGGER note" -c "ALTER TABLE enrolment ENABLE ALWAYS TRIGGER note"
everything="SELECT t FROM (SELECT 's', id, name, NULL FROM student UNION ALL
  SELECT 'p', id, removed::text, nulled::text || touched FROM parent UNION ALL SELECT 'e', id, rowed::text, NULL FROM enrolment UNION ALL
  SELECT 'h', id, ids::text, NULL FROM held) AS t ORDER BY t::text"
same 'the copy' "$everything"
pub -c "UPDATE parent SET touched = 1" -c "DELETE FROM student WHERE id IN (5, 6)" -c "UPDATE student SET id = 77 WHERE id = 27" \
	-c "BEGIN; DELETE FROM student WHERE id = 8; SAVEPOINT a; DELETE FROM student WHERE id = 9; ROLLBACK TO a; COMMIT"
caught_up
same 'changes and their cascades' "$everything"
# Parent 5 held 5 and 6 in its first array and 5 and 7 in the other: after "touched" one UPDATE for each of its rules. Parent 7
# held 27, then 8.
is 'each cascaded change comes once' "$(sub -c "SELECT id, count(*) FROM applied WHERE tab = 'parent' AND op = 'UPDATE' AND id IN (5, 7, 20) GROUP BY id ORDER BY id" | paste -sd ' ')" '5|3 7|3 20|1'
is 'rows that a rule deletes, too' "$(sub -c "SELECT count(*), count(DISTINCT id) FROM applied WHERE tab = 'enrolment' AND op = 'DELETE'")" '3|3'
is 'the report on the subscriber' "$(sub -c "SELECT count(*), sum(references_broken) FROM integrity_report() WHERE status = 'ok'")" '6|0'

# ---------------------------------------------------------------- what apply lets in: the report finds it, a repair mends it
sub -c "ALTER SUBSCRIPTION s DISABLE"
sub -c "DELETE FROM student WHERE id IN (42, 43)" -c "INSERT INTO enrolment VALUES (900, '{50}')"
sub -c "ALTER SUBSCRIPTION s ENABLE"
# The publisher refers to students that are gone on the subscriber, and deletes one that only the subscriber refers to.
pub -c "INSERT INTO parent VALUES (40, '{42,2,43}', '{42}')" -c "INSERT INTO held VALUES (1, '{43,3}')" -c "DELETE FROM student WHERE id = 50"
caught_up
broken="SELECT referencing_table || ' ' || referencing_column, references_broken FROM integrity_report() WHERE status = 'broken' ORDER BY 1"
is 'the report finds what apply let in' "$(sub -c "$broken" | paste -sd ' ')" 'enrolment rowed|1 held ids|1 parent nulled|1 parent removed|2'
is 'the publisher has none' "$(pub -c "$broken")" ''
sub -c "SELECT FROM integrity.repair('parent', dry_run => false)" -c "SELECT FROM integrity.repair('enrolment', dry_run => false)" \
	-c "SELECT FROM integrity.repair('held', 'held_ids_fkey', 'remove element', dry_run => false)" >/dev/null
is 'a repair mends it' "$(sub -c "$broken")" ''
is 'row by row' "$(sub -c "SELECT removed, nulled FROM parent WHERE id = 40" -c "SELECT ids FROM held" -c "SELECT count(*) FROM enrolment WHERE id = 900" | paste -sd ' ')" '{2}|{NULL} {3} 0'
# The next change of that row brings what the publisher has.
pub -c "UPDATE parent SET touched = 2 WHERE id = 40"
caught_up
is 'a later change brings it back' "$(sub -c "$broken" | paste -sd ' ')" 'parent nulled|1 parent removed|2'
sub -c "INSERT INTO student VALUES (42, 'student 42'), (43, 'student 43')"
pub -c "UPDATE held SET ids = ids"
caught_up
is 'and the keys mend it' "$(sub -c "$broken")" ''
same 'all is as on the publisher again' "$everything"

# ---------------------------------------------------------------- ENABLE ALWAYS: the subscriber acts by itself
sub <<'SQL' >/dev/null
SET client_min_messages = warning;
CREATE TABLE list (id int PRIMARY KEY, ids int[], note text);
CREATE TABLE part_list (id int, ids int[]) PARTITION BY LIST (id);
CREATE TABLE part_list_1 PARTITION OF part_list FOR VALUES IN (1);
SELECT integrity.add_reference('list', 'ids', 'student', on_delete => 'remove element', on_empty => 'delete row', on_update => 'cascade'),
       integrity.add_reference('part_list', 'ids', 'student', on_delete => 'null element', on_update => 'cascade');
INSERT INTO list VALUES (1, '{10,11,12,13}'), (2, '{11,12}'), (3, '{14}');
INSERT INTO part_list VALUES (1, '{11,12,14,15}');
-- Only one of them is in apply what it is elsewhere.
ALTER TABLE list ENABLE ALWAYS TRIGGER list_ids_fkey;
ALTER TABLE student ENABLE ALWAYS TRIGGER integrity_guard_delete;
ALTER TABLE student ENABLE ALWAYS TRIGGER integrity_guard_update;
SQL
pub -c "DELETE FROM student WHERE id BETWEEN 11 AND 12" -c "UPDATE student SET id = 114 WHERE id = 14"
caught_up
is 'many keys of one statement, one by one' "$(sub -c "SELECT id, ids FROM list ORDER BY id" | paste -sd ' ')" '1|{10,13} 3|{114}'
is 'a rule that is not ENABLE ALWAYS is left alone' "$(sub -c "SELECT ids FROM part_list")" '{11,12,14,15}'
is 'and reported' "$(sub -c "$broken" | paste -sd ' ')" 'part_list ids|3'
sub -c "SELECT FROM integrity.repair('part_list', dry_run => false)" -c "ALTER TABLE part_list ENABLE ALWAYS TRIGGER part_list_ids_fkey"
pub -c "DELETE FROM student WHERE id = 15"
caught_up
is 'on a partitioned table' "$(sub -c "SELECT ids FROM part_list")" '{NULL,NULL,NULL,NULL}'
# The rules of the replicated tables, too. What the publisher cascades has been done then when it arrives.
sub -c "ALTER TABLE parent ENABLE ALWAYS TRIGGER parent_removed_fkey" -c "ALTER TABLE enrolment ENABLE ALWAYS TRIGGER enrolment_rowed_fkey" \
	-c "ALTER TABLE held ENABLE ALWAYS TRIGGER held_ids_fkey"
pub -c "DELETE FROM student WHERE id BETWEEN 16 AND 19" -c "UPDATE student SET id = 120 WHERE id = 20" -c "DELETE FROM student WHERE id = 1" \
	-c "UPDATE parent SET touched = 9 WHERE id = 100" -c "DELETE FROM student WHERE id = 59"
caught_up
same 'both sides act, and agree' "$everything"
# But not where two act on one row. The publisher sends one UPDATE for each; the first brings back the other's key, which the
# subscriber has taken out and checks. Two foreign keys in the same place do the same.
# stops <errors so far> <constraint>: apply does not get past that.
stops() {
	wait_for subscriber "SELECT apply_error_count > $1 FROM pg_stat_subscription_stats"
	is "apply stops: $2" "$(grep -c "violates foreign key constraint \"$2\"" "$SCRATCH/subscriber/log" | sed 's/[1-9][0-9]*/some/')" some
}
errors=$(sub -c "SELECT apply_error_count FROM pg_stat_subscription_stats")
sub -c "SELECT format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I;', tgrelid::regclass, tgname) FROM pg_trigger t JOIN pg_constraint c ON c.oid = t.tgconstraint WHERE c.conrelid = 'native'::regclass" >"$SCRATCH/always.sql"
sub -f "$SCRATCH/always.sql"
pub -c "INSERT INTO native VALUES (1, 32, 32)" -c "DELETE FROM student WHERE id = 32"
stops "$errors" native_b_fkey
sub -f <(sed 's/ENABLE ALWAYS/ENABLE/' "$SCRATCH/always.sql")
caught_up
errors=$(sub -c "SELECT apply_error_count FROM pg_stat_subscription_stats")
sub -c "ALTER TABLE parent ENABLE ALWAYS TRIGGER parent_nulled_fkey"
pub -c "INSERT INTO parent VALUES (200, '{33}', '{33}')" -c "DELETE FROM student WHERE id = 33"
stops "$errors" parent_nulled_fkey
sub -c "ALTER TABLE parent ENABLE TRIGGER parent_nulled_fkey"
caught_up
same 'then they agree again' "$everything"
# NO ACTION stops apply, as the triggers of a foreign key would, until the reference is gone.
errors=$(sub -c "SELECT apply_error_count FROM pg_stat_subscription_stats")
sub -c "INSERT INTO held VALUES (500, '{30}')"
pub -c "DELETE FROM student WHERE id = 30" -c "INSERT INTO student VALUES (300)"
stops "$errors" held_ids_fkey
is 'nothing behind it is applied' "$(sub -c "SELECT count(*) FROM student WHERE id = 300")" 0
sub -c "DELETE FROM held WHERE id = 500"
caught_up
is 'then it goes on' "$(sub -c "SELECT count(*) FILTER (WHERE id = 300), count(*) FILTER (WHERE id = 30) FROM student")" '1|0'
# A check in apply: the subscriber has lost a key.
sub -c "SET session_replication_role = replica" -c "ALTER TABLE student DISABLE TRIGGER ALL" -c "DELETE FROM student WHERE id = 31" -c "ALTER TABLE student ENABLE TRIGGER ALL" \
	-c "ALTER TABLE student ENABLE ALWAYS TRIGGER integrity_guard_delete" -c "ALTER TABLE student ENABLE ALWAYS TRIGGER integrity_guard_update"
errors=$(sub -c "SELECT apply_error_count FROM pg_stat_subscription_stats")
pub -c "INSERT INTO parent VALUES (31, '{31}')"
stops "$errors" parent_removed_fkey
sub -c "INSERT INTO student VALUES (31)"
caught_up
is 'and when the key is there' "$(sub -c "SELECT removed FROM parent WHERE id = 31")" '{31}'
is 'after all of it the subscriber is sound' "$(sub -c "$broken")" ''
sub -c "DROP SUBSCRIPTION s" 2>/dev/null

# ---------------------------------------------------------------- tables that are copied in the wrong order, with ENABLE ALWAYS
sub -c "TRUNCATE student, parent, enrolment, held, native, list, part_list" >/dev/null
subscribe s2 all_of_it
caught_up
same 'the copy comes to an end, whichever table is first' "$everything"
is 'and is sound' "$(sub -c "$broken")" ''
sub -c "DROP SUBSCRIPTION s2" 2>/dev/null

# ---------------------------------------------------------------- row filters and column lists
pub <<'SQL'
CREATE PUBLICATION some_of_it FOR TABLE student (id) WHERE (id < 40), parent (id, removed) WHERE (id < 30);
SQL
sub -c "TRUNCATE student, parent, enrolment, held, native, list, part_list" -c "ALTER TABLE parent ENABLE TRIGGER parent_removed_fkey"
subscribe s3 some_of_it
caught_up
# Some of the parents refer to students that are filtered out.
hidden="SELECT count(*) FROM parent CROSS JOIN unnest(removed) AS e WHERE parent.id < 30 AND e >= 40"
is 'references to rows that a filter keeps back are reported' "$(sub -c "SELECT references_broken FROM integrity_report('parent') WHERE referencing_column = 'removed'")" "$(pub -c "$hidden")"
pub -c "UPDATE student SET id = 39 WHERE id = 39" -c "DELETE FROM student WHERE id = 2" -c "UPDATE student SET id = 400 WHERE id = 21"
caught_up
is 'cascades go through the filter' "$(sub -c "SELECT md5(string_agg(id || removed::text, ' ' ORDER BY id)) FROM parent")" \
	"$(pub -c "SELECT md5(string_agg(id || removed::text, ' ' ORDER BY id)) FROM parent WHERE id < 30")"
is 'an array that is not in the column list is null, and refers to nothing' "$(sub -c "SELECT count(nulled) FROM parent")" 0
sub -c "DROP SUBSCRIPTION s3" 2>/dev/null

# ---------------------------------------------------------------- without a primary key
both -c "CREATE TABLE bare (ids int[], note text)" -c "SET client_min_messages = warning" \
	-c "SELECT integrity.add_reference('bare', 'ids', 'student', on_delete => 'remove element')" >/dev/null
pub -c "DELETE FROM held" -c "INSERT INTO bare VALUES ('{3,4}', 'a'), ('{3,4}', 'a'), ('{3}', NULL)" -c "CREATE PUBLICATION bare FOR TABLE student, bare"
is 'a rule that updates a table without identity fails like any UPDATE' "$(pub -c '\set VERBOSITY sqlstate' -c "DELETE FROM student WHERE id = 3" 2>&1)" 'ERROR:  55000'
pub -c "ALTER TABLE bare REPLICA IDENTITY FULL"
sub -c "TRUNCATE student, parent, enrolment, held, native, list, part_list, bare"
subscribe s4 bare
caught_up
pub -c "DELETE FROM student WHERE id IN (3, 26)"
caught_up
same 'REPLICA IDENTITY FULL' "SELECT string_agg(bare::text, ' ' ORDER BY bare::text) FROM bare"
sub -c "ALTER TABLE bare ENABLE ALWAYS TRIGGER bare_ids_fkey"
pub -c "DELETE FROM student WHERE id = 4"
caught_up
same 'the same, when the subscriber acts too' "SELECT string_agg(bare::text, ' ' ORDER BY bare::text) FROM bare"

for each in publisher subscriber; do
	! grep -E 'PANIC|was terminated by signal|cache lookup failed' "$SCRATCH/$each/log" || fail 'see above'
done
finish_test
