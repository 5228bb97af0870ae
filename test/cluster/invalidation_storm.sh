#!/bin/bash
# Rules are kept per backend, and thrown away when something about their tables changes. While sessions insert, append,
# delete and rename keys, with an action and with none, and others report, one session alters everything it can about both
# tables: storage, statistics, indexes, columns, owner, names of rules and triggers of others. No statement may fail for
# another reason than the keys it met, or a lock; at the end there is no broken reference, by a plain query, and none of the
# references that were committed is lost.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes a server of its own. Exit 0 if all is well; else 1.
# STORM_SECONDS is the length of the storm, 15 if it is not said.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

seconds=${STORM_SECONDS:-15}

make_server storm
start_server storm autovacuum=off deadlock_timeout=20ms
use_server storm
sql >/dev/null <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION integrity;
CREATE ROLE one; CREATE ROLE two;
CREATE TABLE key (id int PRIMARY KEY, note text);
CREATE TABLE taken (id int, ids int[], note text);
CREATE TABLE kept (id int, ids int[], note text) PARTITION BY HASH (id);
CREATE TABLE kept_0 PARTITION OF kept FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE kept_1 PARTITION OF kept FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE late (ids int[]);
CREATE INDEX ON taken USING gin (ids);
GRANT ALL ON key, taken, kept TO PUBLIC;
GRANT CREATE, USAGE ON SCHEMA public TO one, two;
INSERT INTO key SELECT generate_series(1, 1000);
SELECT integrity.add_reference('taken', 'ids', 'key', on_delete => 'remove element', on_update => 'cascade');
SELECT integrity.add_reference('kept', 'ids', 'key');
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER other AFTER INSERT ON taken FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER other AFTER DELETE ON key FOR EACH ROW EXECUTE FUNCTION nothing();
-- What sessions have done: appends that were committed, and errors that nobody expects.
CREATE TABLE appended (row_id int, element int);
CREATE TABLE removed (element int);
CREATE TABLE surprises (what text, error text);
CREATE TABLE done (what text, times int);

-- Says "done", or the SQLSTATE; each statement stands in a transaction of its own, for the session commits.
CREATE PROCEDURE try(what text, statement text, expected text[], INOUT worked boolean) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  worked := true;
EXCEPTION WHEN OTHERS THEN
  worked := false;
  IF SQLSTATE <> ALL (expected || '{40P01,55P03}'::text[]) THEN
    INSERT INTO public.surprises VALUES (what || ': ' || statement, SQLSTATE || ': ' || SQLERRM);
  END IF;
END $$;
CREATE PROCEDURE write(seconds int, number int) LANGUAGE plpgsql AS $$
DECLARE
  until timestamptz := clock_timestamp() + make_interval(secs => seconds);
  worked boolean;
  i int := number * 1000000;
  times int := 0;
  key int;
BEGIN
  PERFORM setseed(number / 100.0);
  WHILE clock_timestamp() < until LOOP
    i := i + 1;
    key := 1 + floor(random() * 1000);
    CASE i % 7
      WHEN 0, 1 THEN
        CALL try('insert', format('WITH i AS (INSERT INTO taken VALUES (%s, ''{%s}'')) INSERT INTO appended VALUES (%1$s, %2$s)', i, key), '{23503}', worked);
      WHEN 2, 3 THEN
        CALL try('insert', format('WITH i AS (INSERT INTO kept (id, ids) VALUES (%s, ''{%s}'')) INSERT INTO appended VALUES (%1$s, %2$s)', i, key), '{23503}', worked);
      WHEN 4 THEN
        CALL try('append', format('UPDATE taken SET ids = ids || %s WHERE id = %s', key, i - 3), '{23503,42703}', worked);
      WHEN 5 THEN
        CALL try('delete', format('WITH d AS (DELETE FROM key WHERE id = %s RETURNING id) INSERT INTO removed SELECT id FROM d', key), '{23503}', worked);
      ELSE
        CALL try('rename', format('UPDATE key SET id = id + 10000 WHERE id = %s', key), '{23503,23505}', worked);
    END CASE;
    COMMIT;
    times := times + worked::int;
    IF i % 20 = 0 THEN
      INSERT INTO key VALUES (key) ON CONFLICT DO NOTHING;
      COMMIT;
    END IF;
  END LOOP;
  INSERT INTO done VALUES ('writes', times);
END $$;
CREATE PROCEDURE look(seconds int) LANGUAGE plpgsql AS $$
DECLARE
  until timestamptz := clock_timestamp() + make_interval(secs => seconds);
  times int := 0;
  broken text;
BEGIN
  WHILE clock_timestamp() < until LOOP
    BEGIN
      SELECT string_agg(format('%s %s %s', rule_name, status, sample), '; ') INTO broken FROM integrity_report()
       WHERE status = 'broken' OR rule_name IS NULL;
      IF broken IS NOT NULL THEN
        INSERT INTO surprises VALUES ('report', broken);
      END IF;
      times := times + 1;
    EXCEPTION WHEN deadlock_detected OR lock_not_available THEN
    END;
    COMMIT;
  END LOOP;
  INSERT INTO done VALUES ('reports', times);
END $$;
CREATE PROCEDURE alter_all(seconds int) LANGUAGE plpgsql AS $$
DECLARE
  until timestamptz := clock_timestamp() + make_interval(secs => seconds);
  statements text[] := ARRAY[
    'ALTER TABLE %1$s SET (fillfactor = 90)', 'ALTER TABLE %1$s RESET (fillfactor)', 'ANALYZE %1$s',
    'CREATE INDEX storm ON %1$s (note)', 'DROP INDEX storm',
    'ALTER TABLE %1$s ADD storm int', 'ALTER TABLE %1$s DROP storm',
    'ALTER TABLE %1$s OWNER TO one', 'ALTER TABLE %1$s OWNER TO postgres',
    'ALTER TABLE %1$s RENAME note TO text', 'ALTER TABLE %1$s RENAME text TO note',
    'ALTER TABLE %1$s ALTER note SET STATISTICS 10', 'COMMENT ON TABLE %1$s IS ''storm''',
    'ALTER TABLE %1$s DISABLE TRIGGER other', 'ALTER TABLE %1$s ENABLE TRIGGER other',
    'ALTER TABLE %1$s ADD CONSTRAINT storm CHECK (note IS NULL)', 'ALTER TABLE %1$s DROP CONSTRAINT storm'];
  rules text[] := ARRAY[
    'ALTER TRIGGER taken_ids_fkey ON taken RENAME TO storm', 'ALTER TRIGGER storm ON taken RENAME TO taken_ids_fkey',
    'ALTER TABLE taken RENAME ids TO list', 'ALTER TABLE taken RENAME list TO ids',
    'ALTER TABLE key ADD storm2 int', 'ALTER TABLE key DROP storm2',
    'REINDEX TABLE key', 'SELECT integrity.add_guards(''key'')', 'ALTER TABLE kept_0 SET (fillfactor = 80)',
    'SELECT integrity.validate_reference(''kept'', ''kept_ids_fkey'')'];
  times int := 0;
  at int := 0;
  worked boolean;
  name text;
BEGIN
  SET LOCAL lock_timeout = '2s';
  WHILE clock_timestamp() < until LOOP
    FOREACH name IN ARRAY '{key,taken,kept}'::text[] LOOP
      -- A partitioned table has no fillfactor and no trigger of that name.
      CALL try('alter', format(statements[1 + at % cardinality(statements)], name), '{42809,22023,42704,42P07,42710,42703,42701}', worked);
      COMMIT;
      times := times + worked::int;
    END LOOP;
    IF at % 3 = 0 THEN
      CALL try('rule', rules[1 + (at / 3) % cardinality(rules)], '{42704,42703,42701,42710}', worked);
      COMMIT;
    END IF;
    -- A rule that comes and goes: whoever does not hear of it deletes keys that it needs.
    CASE at % 10
      WHEN 0 THEN
        CALL try('declare', 'SELECT integrity.add_reference(''late'', ''ids'', ''key'', on_delete => ''null element'')', '{42710}', worked);
        COMMIT;
        CALL try('fill', 'LOCK TABLE key IN SHARE MODE; INSERT INTO late SELECT array_agg(id) FROM key GROUP BY id % 50', '{}', worked);
        COMMIT;
      WHEN 9 THEN
        CALL try('empty', $s$LOCK TABLE key, late IN SHARE ROW EXCLUSIVE MODE;
          INSERT INTO surprises SELECT 'late rule', 'broken references' FROM late, unnest(ids) AS e
            WHERE e IS NOT NULL AND NOT EXISTS (SELECT FROM key WHERE id = e) LIMIT 1;
          DELETE FROM late;
          SELECT integrity.drop_reference('late', 'late_ids_fkey')$s$, '{42704}', worked);
        COMMIT;
      ELSE
    END CASE;
    at := at + 1;
  END LOOP;
  CALL try('rule', 'ALTER TABLE taken RENAME list TO ids', '{42703}', worked);
  INSERT INTO done VALUES ('alterations', times);
END $$;
SQL

pids=()
for number in 1 2 3; do
	sql -c "CALL write($seconds, $number)" &
	pids+=($!)
done
sql -c "CALL look($seconds)" &
pids+=($!)
PGOPTIONS="-c client_min_messages=warning" sql -c "CALL alter_all($seconds)" &
pids+=($!)
for pid in "${pids[@]}"; do wait "$pid" || fail "a session broke off"; done

broken=$(sql -c "SELECT count(*) FROM (SELECT unnest(ids) AS id FROM taken UNION ALL SELECT unnest(ids) FROM kept) AS r
	WHERE id IS NOT NULL AND NOT EXISTS (SELECT FROM key WHERE key.id = r.id)")
[ "$broken" = 0 ] || fail "$broken broken references"
# An element that was committed is there, was renamed, or was removed with its key.
lost=$(sql -c "SELECT count(*) FROM appended AS a JOIN (SELECT id, ids FROM taken UNION ALL SELECT id, ids FROM kept) AS r ON r.id = a.row_id
	WHERE NOT (a.element = ANY (ids) OR EXISTS (SELECT FROM unnest(ids) AS e WHERE e % 10000 = a.element)
	           OR EXISTS (SELECT FROM removed WHERE removed.element % 10000 = a.element))")
[ "$lost" = 0 ] || fail "$lost references are lost"
rows=$(sql -c "SELECT count(*) FROM appended WHERE NOT EXISTS (SELECT FROM taken WHERE id = row_id) AND NOT EXISTS (SELECT FROM kept WHERE id = row_id)")
[ "$rows" = 0 ] || fail "$rows rows are lost"
surprises=$(sql -c "SELECT format('%s times %s (%s)', count(*), error, left(min(what), 200)) FROM surprises GROUP BY error LIMIT 10")
[ -z "$surprises" ] || fail "unexpected errors: $surprises"
sql -c "SELECT format('%s %s', sum(times), what) FROM done GROUP BY what"
for what in writes reports alterations; do
	[ "$(sql -c "SELECT COALESCE(sum(times), 0) >= 10 FROM done WHERE what = '$what'")" = t ] || fail "hardly any $what"
done
if grep -E 'TRAP|PANIC|was terminated by signal' "$SCRATCH/storm/log"; then fail "the server crashed"; fi
finish_test
