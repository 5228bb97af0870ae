#!/bin/bash
# DDL of every kind while other sessions insert, append and delete. Each statement of theirs either does what it says or fails
# with an error that belongs to it; no broken reference comes of it, and no error comes out of a rule's own statements that a
# foreign key would not have.
#
# Guards: rules, plans, index, columns and owner are looked at under the locks that keep them as they are, and read again when
# something was invalidated. Sessions live through all of it with what they remember.
#
# ALTER_SECONDS says how long, 10 if nothing is said, and in any case till all of it was done once.
# Run by test/run, which gives PGBIN, SCRATCH and TOP. Exit 0 if all is well.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

seconds=${ALTER_SECONDS:-10}

make_server server
start_server server synchronous_commit=off deadlock_timeout=50ms autovacuum_naptime=1s log_error_verbosity=verbose session_preload_libraries=integrity
use_server server
sql >"$SCRATCH/setup.log" 2>&1 <<'SQL' || { cat "$SCRATCH/setup.log"; exit 1; }
CREATE EXTENSION integrity;
CREATE ROLE one;
CREATE ROLE two;
CREATE SCHEMA s;
GRANT ALL ON SCHEMA s TO one, two;
CREATE TABLE s.k (id int PRIMARY KEY, note int);
CREATE TABLE s.r (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, removed int[], held int[]);
CREATE INDEX gin_removed ON s.r USING gin (removed);
GRANT ALL ON s.k, s.r TO one, two;
INSERT INTO s.k SELECT generate_series(1, 200);
SELECT integrity.add_reference('s.r', 'removed', 's.k', on_delete => 'remove element', on_update => 'cascade', rule_name => 'removed'),
       integrity.add_reference('s.r', 'held', 's.k', rule_name => 'held');
-- And with partitions on both sides.
CREATE TABLE pk (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE pk_low PARTITION OF pk FOR VALUES FROM (0) TO (100);
CREATE TABLE pk_high PARTITION OF pk FOR VALUES FROM (100) TO (200);
CREATE TABLE pr (part int, ids int[], held int[]) PARTITION BY LIST (part);
CREATE TABLE pr_1 PARTITION OF pr FOR VALUES IN (1);
CREATE TABLE pr_2 PARTITION OF pr FOR VALUES IN (2);
INSERT INTO pk SELECT generate_series(0, 199);
SELECT integrity.add_reference('pr', 'ids', 'pk', on_delete => 'remove element', on_update => 'cascade', rule_name => 'ids'),
       integrity.add_reference('pr', 'held', 'pk', on_delete => 'delete row', on_update => 'cascade', rule_name => 'held');
-- The same tables, whatever they are called by now.
CREATE TABLE names (k oid, r oid);
INSERT INTO names SELECT 's.k'::regclass, 's.r'::regclass;
CREATE TABLE done (what text);
CREATE TABLE surprise (state text, message text, context text);

CREATE FUNCTION work() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  n names;
  kc text[];
  rc text[];
  what text;
  statement text;
  a int := 1 + random() * 199;
  b int := 1 + random() * 199;
  context text;
BEGIN
  SELECT * INTO n FROM names;
  SELECT array_agg(quote_ident(attname) ORDER BY attnum) INTO kc FROM pg_attribute WHERE attrelid = n.k AND attnum IN (1, 2);
  SELECT array_agg(quote_ident(attname) ORDER BY attnum) INTO rc FROM pg_attribute WHERE attrelid = n.r AND attnum IN (1, 2, 3);
  what := (ARRAY['insert', 'insert', 'append', 'append', 'new key', 'delete key', 'delete keys', 'change key', 'delete rows',
                 'p insert', 'p append', 'p move row', 'p new key', 'p delete keys', 'p move key', 'p delete rows'])[1 + floor(random() * 16)];
  statement := CASE what
    WHEN 'insert' THEN format('INSERT INTO %s (%s, %s) VALUES (ARRAY[%s, %s], ARRAY[%s])', n.r::regclass, rc[2], rc[3], a, b, a % 20 + 1)
    WHEN 'append' THEN format('UPDATE %s SET %s = %s || %s WHERE %s IN (SELECT %s FROM %s LIMIT 2)', n.r::regclass, rc[2], rc[2], a, rc[1], rc[1], n.r::regclass)
    WHEN 'new key' THEN format('INSERT INTO %s (%s) SELECT g FROM generate_series(%s, %s) g ON CONFLICT DO NOTHING', n.k::regclass, kc[1], a, a + 20)
    WHEN 'delete key' THEN format('DELETE FROM %s WHERE %s = %s', n.k::regclass, kc[1], a)
    WHEN 'delete keys' THEN format('DELETE FROM %s WHERE %s BETWEEN %s AND %s', n.k::regclass, kc[1], a, a + 5)
    WHEN 'change key' THEN format('UPDATE %s SET %s = %s + 1000 WHERE %s = %s', n.k::regclass, kc[1], kc[1], kc[1], a)
    WHEN 'delete rows' THEN format('DELETE FROM %s WHERE random() < 0.3', n.r::regclass)
    WHEN 'p insert' THEN format('INSERT INTO pr SELECT 1 + %s %% 3, ARRAY[%s, %s], ARRAY[%s]', a, a, b, b)
    WHEN 'p append' THEN format('UPDATE pr SET ids = ids || %s WHERE random() < 0.1', a)
    WHEN 'p move row' THEN 'UPDATE pr SET part = 3 - part WHERE part < 3 AND random() < 0.1'
    WHEN 'p new key' THEN format('INSERT INTO pk SELECT g FROM generate_series(%s, %s) g ON CONFLICT DO NOTHING', a, least(a + 20, 199))
    WHEN 'p delete keys' THEN format('DELETE FROM pk WHERE id BETWEEN %s AND %s', a, a + 5)
    WHEN 'p move key' THEN format('UPDATE pk SET id = %s WHERE id = %s', 199 - a, a)
    WHEN 'p delete rows' THEN 'DELETE FROM pr WHERE random() < 0.3'
  END;
  BEGIN
    EXECUTE statement;
    INSERT INTO done VALUES (what);
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    -- A deadlock, a row that has moved to another partition, a missing key, a key that is held. And a key that is there, a
    -- name that is not true any more, a partition that is away, but only in our own statement.
    IF SQLSTATE NOT IN ('23503', '40001', '40P01') AND
       (SQLSTATE NOT IN ('23505', '23514', '42P01', '42703', '3F000') OR context LIKE '%integrity.%') THEN
      INSERT INTO surprise VALUES (SQLSTATE, SQLERRM, context);
    END IF;
  END;
END $$;
SQL

# One line, one transaction; those that must not stand in one are alone on theirs. Where there is a question mark, a key may
# be in the way.
cat >"$SCRATCH/ddl" <<'SQL'
ALTER TABLE s.r RENAME TO r2; ALTER TABLE s.k RENAME TO k2
ALTER TABLE s.r2 RENAME TO r; ALTER TABLE s.k2 RENAME TO k
ALTER TABLE s.r RENAME COLUMN removed TO taken
ALTER TABLE s.k RENAME COLUMN id TO "the id"
ALTER TABLE s.r RENAME COLUMN taken TO removed
ALTER TABLE s.k RENAME COLUMN "the id" TO id
ALTER SCHEMA s RENAME TO t
ALTER SCHEMA t RENAME TO s
ALTER TRIGGER removed ON s.r RENAME TO "taken away"
ALTER TRIGGER "taken away" ON s.r RENAME TO removed
ALTER TABLE s.r OWNER TO one
ALTER TABLE s.k OWNER TO two
ALTER TABLE s.r SET SCHEMA public
ALTER TABLE public.r SET SCHEMA s
ALTER TABLE s.r OWNER TO two
DROP INDEX IF EXISTS s.gin_removed
CREATE INDEX gin_removed ON s.r USING gin (removed)
REINDEX INDEX CONCURRENTLY s.k_pkey
REINDEX TABLE s.k
REINDEX TABLE CONCURRENTLY s.r
CREATE UNIQUE INDEX second ON s.k (id)
DROP INDEX s.second
CLUSTER s.k USING k_pkey
VACUUM FULL s.k
VACUUM FULL s.r
VACUUM ANALYZE s.k
ANALYZE s.r
ALTER TABLE s.r ADD COLUMN extra text DEFAULT 'x'
ALTER TABLE s.r DROP COLUMN extra
ALTER TABLE s.k ADD COLUMN extra int DEFAULT 1
ALTER TABLE s.k DROP COLUMN extra
SELECT integrity.alter_table('s.k', 'ALTER COLUMN id TYPE bigint')
SELECT integrity.alter_table('s.r', 'ALTER COLUMN removed TYPE bigint[], ALTER COLUMN held TYPE bigint[]')
SELECT integrity.alter_table('s.k', 'ALTER COLUMN id TYPE int')
SELECT integrity.alter_table('s.r', 'ALTER COLUMN removed TYPE int[], ALTER COLUMN held TYPE int[]')
CREATE OR REPLACE TRIGGER removed AFTER INSERT OR UPDATE ON s.r FOR EACH ROW WHEN (integrity.refers(NEW.removed, (NULL::s.k).id)) EXECUTE FUNCTION integrity.check_reference('on_delete=null element', 'on_update=cascade')
CREATE OR REPLACE TRIGGER removed AFTER INSERT OR UPDATE ON s.r FOR EACH ROW WHEN (integrity.refers(NEW.removed, (NULL::s.k).id)) EXECUTE FUNCTION integrity.check_reference('on_delete=remove element', 'on_empty=delete row', 'on_update=cascade')
CREATE OR REPLACE TRIGGER removed AFTER INSERT OR UPDATE ON s.r FOR EACH ROW WHEN (integrity.refers(NEW.removed, (NULL::s.k).id)) EXECUTE FUNCTION integrity.check_reference('on_delete=set null', 'on_update=cascade', 'not valid')
SELECT integrity.validate_reference('s.r', 'removed')
CREATE OR REPLACE TRIGGER removed AFTER INSERT OR UPDATE ON s.r FOR EACH ROW WHEN (integrity.refers(NEW.removed, (NULL::s.k).id)) EXECUTE FUNCTION integrity.check_reference('on_delete=remove element', 'on_empty=set null', 'on_update=cascade')
ALTER TABLE s.r DISABLE TRIGGER removed; ALTER TABLE s.r ENABLE TRIGGER removed
ALTER TABLE s.r ENABLE ALWAYS TRIGGER removed
ALTER TABLE s.r ENABLE TRIGGER removed
ALTER TABLE s.k DISABLE TRIGGER integrity_guard_delete; ALTER TABLE s.k ENABLE TRIGGER integrity_guard_delete
ALTER TABLE s.r ENABLE ROW LEVEL SECURITY; ALTER TABLE s.r FORCE ROW LEVEL SECURITY
ALTER TABLE s.r NO FORCE ROW LEVEL SECURITY; ALTER TABLE s.r DISABLE ROW LEVEL SECURITY
ALTER TABLE s.r SET (fillfactor = 80); ALTER TABLE s.k REPLICA IDENTITY FULL; ALTER TABLE s.r REPLICA IDENTITY FULL
SELECT integrity.drop_reference('s.r', 'removed'); SELECT integrity.add_reference('s.r', 'removed', 's.k', on_delete => 'remove element', on_update => 'cascade', rule_name => 'removed')
LOCK TABLE s.k, s.r, pk, pr IN ACCESS EXCLUSIVE MODE; DROP EXTENSION integrity CASCADE; CREATE EXTENSION integrity; SELECT integrity.add_reference('s.r', 'removed', 's.k', on_delete => 'remove element', on_update => 'cascade', rule_name => 'removed'), integrity.add_reference('s.r', 'held', 's.k', rule_name => 'held'), integrity.add_reference('pr', 'ids', 'pk', on_delete => 'remove element', on_update => 'cascade', rule_name => 'ids'), integrity.add_reference('pr', 'held', 'pk', on_delete => 'delete row', on_update => 'cascade', rule_name => 'held')
?ALTER TABLE pk DETACH PARTITION pk_high; ALTER TABLE pk ATTACH PARTITION pk_high FOR VALUES FROM (100) TO (200)
ALTER TABLE pr DETACH PARTITION pr_1; ALTER TABLE pr ATTACH PARTITION pr_1 FOR VALUES IN (1)
CREATE TABLE pr_3 PARTITION OF pr FOR VALUES IN (3)
ALTER TABLE pk_low RENAME TO pk_lower; ALTER TABLE pr_2 RENAME TO pr_two
ALTER TABLE pk ADD COLUMN extra int DEFAULT 1
ALTER TABLE pk DROP COLUMN extra
ALTER TABLE pk_lower RENAME TO pk_low; ALTER TABLE pr_two RENAME TO pr_2
DELETE FROM pr WHERE held && ARRAY(SELECT generate_series(150, 199)) OR ids && ARRAY(SELECT generate_series(150, 199))
CREATE TABLE pk_new (id int PRIMARY KEY, was int); ALTER TABLE pk_new DROP COLUMN was; DROP TABLE pk_new
DROP TABLE pr_3
?ALTER TABLE pk DETACH PARTITION pk_high; CREATE TABLE pk_new (junk int, id int PRIMARY KEY); ALTER TABLE pk_new DROP COLUMN junk; INSERT INTO pk_new SELECT id FROM pk_high; DROP TABLE pk_high; ALTER TABLE pk_new RENAME TO pk_high; ALTER TABLE pk ATTACH PARTITION pk_high FOR VALUES FROM (100) TO (200)
VACUUM FULL pk
CREATE TRIGGER another AFTER DELETE ON s.k FOR EACH ROW WHEN (false) EXECUTE FUNCTION suppress_redundant_updates_trigger(); DROP TRIGGER another ON s.k
SQL

end=$((SECONDS + seconds))
workers=()
for protocol in simple prepared; do
	echo "SELECT work();" >"$SCRATCH/work.sql"
	"$PGBIN/pgbench" -n -M "$protocol" -c 2 -T 3600 -f "$SCRATCH/work.sql" >"$SCRATCH/$protocol.log" 2>&1 &
	workers+=($!)
done
echo "SELECT work(); DISCARD ALL;" >"$SCRATCH/discard.sql"
"$PGBIN/pgbench" -n -c 1 -T 3600 -f "$SCRATCH/discard.sql" >"$SCRATCH/discard.log" 2>&1 &
workers+=($!)

# A deadlock may take the DDL as well as the worker, and a row that it is to delete may just have moved to another partition;
# then it is done again.
statements=0
in_the_way=0
while [ "$SECONDS" -lt "$end" ]; do
	while IFS= read -r line; do
		tries=20
		until sql -c "${line#\?}" >"$SCRATCH/ddl.log" 2>&1; do
			tries=$((tries - 1))
			if [[ $line = \?* ]] && grep -q 'violates foreign key constraint' "$SCRATCH/ddl.log"; then
				in_the_way=$((in_the_way + 1))
				break
			fi
			if ! grep -qE 'ERROR:  (deadlock detected|tuple to be locked was already moved)' "$SCRATCH/ddl.log" || [ "$tries" -eq 0 ]; then
				fail "$line: $(cat "$SCRATCH/ddl.log")"
				break 3
			fi
		done
		statements=$((statements + 1))
	done <"$SCRATCH/ddl"
done
for each in "${workers[@]}"; do
	kill "$each" || fail "a worker has ended: $(tail -n 3 "$SCRATCH"/{simple,prepared,discard}.log)"
done
wait
sql -c "SELECT what, count(*) FROM done GROUP BY 1 ORDER BY 1" | paste -sd ' '
echo "$statements statements of DDL, $in_the_way of them refused for a key that is referenced"
[ "$(sql -c "SELECT count(DISTINCT what) FROM done")" = 14 ] || fail "not every kind of statement went through"

# The truth, by PostgreSQL's own means. In case the loop was left in the midst, whatever the names are.
sql >"$SCRATCH/truth.sql" <<'SQL'
SELECT format('SELECT count(*) FROM %s AS r CROSS JOIN unnest(%I) AS e WHERE e IS NOT NULL AND NOT EXISTS (SELECT FROM %s AS k WHERE k.%I = e);',
              n.r::regclass, a.attname, n.k::regclass, k.attname)
  FROM names n JOIN pg_attribute a ON a.attrelid = n.r AND a.attnum IN (2, 3) JOIN pg_attribute k ON k.attrelid = n.k AND k.attnum = 1;
SELECT 'SELECT count(*) FROM pr CROSS JOIN unnest(ids || held) AS e WHERE e IS NOT NULL AND NOT EXISTS (SELECT FROM pk WHERE pk.id = e);';
SQL
while IFS= read -r query; do
	[ "$(sql -c "$query")" = 0 ] || fail "$query: $(sql -c "$query") broken references"
done <"$SCRATCH/truth.sql"
[ "$(sql -c "SELECT count(*) FROM surprise")" = 0 ] ||
	fail "surprises: $(sql -c "SELECT state, message, min(context), count(*) FROM surprise GROUP BY 1, 2 LIMIT 10")"
! grep -E 'PANIC|was terminated by signal|cache lookup failed|XX000' "$SCRATCH/server/log" || fail "see above"
[ "$(sql -c "SELECT count(*) FROM integrity.reference WHERE enforced AND guarded AND problem IS NULL AND kind = 'array reference'")" = 4 ] ||
	fail "rules: $(sql -c "SELECT * FROM integrity.reference")"

finish_test
