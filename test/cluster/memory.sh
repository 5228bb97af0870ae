#!/bin/bash
# The memory of a backend stays what it is, however long it lives. One session runs single-row transactions of every kind:
# checks, guards with each action, writes that are refused, savepoints that are rolled back, reports, repairs and undos. After
# a warm-up neither the memory of its process nor that of its memory contexts may grow. pgbench does the same from outside,
# with simple and with prepared statements.
#
# Guards: memory of a call lives as long as the call; rules and plans that were replaced go at the end of the transaction.
#
# MEMORY_TRANSACTIONS says how many single-row transactions there are in all, 20,000 if nothing is said, and
# MEMORY_SAVEPOINTS how many savepoints.
# Run by test/run, which gives PGBIN, SCRATCH and TOP. Exit 0 if all is well.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

total=${MEMORY_TRANSACTIONS:-20000}
savepoints=${MEMORY_SAVEPOINTS:-2000}

make_server server
start_server server synchronous_commit=off autovacuum_naptime=1s max_wal_size=4GB shared_buffers=64MB
use_server server
sql >"$SCRATCH/setup.log" 2>&1 <<'SQL' || { cat "$SCRATCH/setup.log"; exit 1; }
CREATE EXTENSION integrity;
-- Keys 1 to 99 stay; those above come and go.
CREATE TABLE k (id int PRIMARY KEY, note int);
INSERT INTO k SELECT g, 0 FROM generate_series(1, 99) g;
CREATE TABLE r (id int PRIMARY KEY, note int, removed int[], emptied int[], nulled int[], rowed int[], unset int[], held int[], one int REFERENCES k ON DELETE CASCADE);
SELECT integrity.add_reference('r', 'removed', 'k', on_delete => 'remove element', on_empty => 'set null', on_update => 'cascade'),
       integrity.add_reference('r', 'emptied', 'k', on_delete => 'remove element', on_empty => 'delete row', on_update => 'cascade'),
       integrity.add_reference('r', 'nulled', 'k', on_delete => 'null element', on_update => 'cascade'),
       integrity.add_reference('r', 'rowed', 'k', on_delete => 'delete row', on_update => 'cascade'),
       integrity.add_reference('r', 'unset', 'k', on_delete => 'set null', on_update => 'cascade'),
       integrity.add_reference('r', 'held', 'k');
CREATE TABLE late_k (id int PRIMARY KEY);
CREATE TABLE late_r (id int PRIMARY KEY, ks int[]);
SELECT integrity.add_reference('late_r', 'ks', 'late_k', "deferrable" => true, initially_deferred => true);
CREATE TABLE part_k (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE part_k1 PARTITION OF part_k FOR VALUES FROM (0) TO (100);
CREATE TABLE part_k2 PARTITION OF part_k FOR VALUES FROM (100) TO (200);
CREATE TABLE part_r (id int, ks int[]) PARTITION BY RANGE (id);
CREATE TABLE part_r1 PARTITION OF part_r FOR VALUES FROM (0) TO (100);
INSERT INTO part_k SELECT generate_series(1, 9);
SELECT integrity.add_reference('part_r', 'ks', 'part_k', on_delete => 'remove element', on_update => 'cascade');
CREATE TABLE text_k (id text PRIMARY KEY);
CREATE TABLE text_r (id int PRIMARY KEY, ks text[]);
INSERT INTO text_k SELECT 'key number ' || g FROM generate_series(1, 9) g;
SELECT integrity.add_reference('text_r', 'ks', 'text_k', on_delete => 'remove element');

-- Single-row statements of one kind, each its own transaction.
CREATE PROCEDURE checks(n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n / 5 LOOP
    INSERT INTO r (id, removed, emptied, nulled, held, one) VALUES (i, ARRAY[1, i % 99 + 1], ARRAY[2], ARRAY[3], ARRAY[4, 5, 6], 7); COMMIT;
    UPDATE r SET removed = removed || i % 98 + 1, held = ARRAY[i % 99 + 1] WHERE id = i; COMMIT;
    UPDATE r SET note = i WHERE id = i; COMMIT;
    DELETE FROM r WHERE id = i; COMMIT;
    INSERT INTO text_r VALUES (i, ARRAY['key number ' || i % 9 + 1, 'key number 1']); DELETE FROM text_r; COMMIT;
  END LOOP;
END $$;
CREATE PROCEDURE guards(n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n / 5 LOOP
    INSERT INTO k VALUES (1000), (1001), (1002);
    INSERT INTO r (id, removed, emptied, nulled, rowed, unset)
    VALUES (1, '{1,1000,1001,1002}', '{1,1000}', '{1,1000}', NULL, NULL), (2, '{1000}', NULL, '{1000,1001,1000}', NULL, '{1000}'),
           (3, NULL, NULL, NULL, '{1000}', NULL), (4, NULL, '{1000}', NULL, NULL, NULL); COMMIT;
    UPDATE k SET note = i WHERE id = 1000; COMMIT;
    UPDATE k SET id = 2000 WHERE id = 1001; COMMIT;
    DELETE FROM k WHERE id = 1000; COMMIT;
    DELETE FROM k WHERE id > 1000; DELETE FROM r; COMMIT;
  END LOOP;
END $$;
CREATE PROCEDURE refused(n int) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO r (id, held) VALUES (1, '{1}');
  COMMIT;
  FOR i IN 1 .. n / 3 LOOP
    BEGIN INSERT INTO r (id, removed) VALUES (2, '{1,12345}'); EXCEPTION WHEN foreign_key_violation THEN NULL; END; COMMIT;
    BEGIN UPDATE r SET removed = '{2,12345}' WHERE id = 1; EXCEPTION WHEN foreign_key_violation THEN NULL; END; COMMIT;
    BEGIN DELETE FROM k WHERE id = 1; EXCEPTION WHEN foreign_key_violation THEN NULL; END; COMMIT;
  END LOOP;
  DELETE FROM r;
END $$;
CREATE PROCEDURE others(n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n / 4 LOOP
    INSERT INTO late_r VALUES (1, '{1}'); INSERT INTO late_k VALUES (1); COMMIT;
    DELETE FROM late_k; DELETE FROM late_r; COMMIT;
    INSERT INTO part_k VALUES (50); INSERT INTO part_r VALUES (1, '{1,50}'); UPDATE part_k SET id = 150 WHERE id = 50; COMMIT;
    DELETE FROM part_k WHERE id = 150; DELETE FROM part_r; COMMIT;
  END LOOP;
END $$;
-- More distinct keys than a session remembers for good.
CREATE TABLE wide_k (id int PRIMARY KEY);
INSERT INTO wide_k SELECT generate_series(1, 3000);
CREATE TABLE wide_r (id int PRIMARY KEY, ks int[]);
SELECT integrity.add_reference('wide_r', 'ks', 'wide_k');
CREATE PROCEDURE wide(n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n LOOP
    INSERT INTO wide_r VALUES (1, '{}'); UPDATE wide_r SET ks = ARRAY(SELECT generate_series(1, 3000)); DELETE FROM wide_r; COMMIT;
  END LOOP;
END $$;
-- Savepoints that are rolled back, in one transaction and across many.
CREATE PROCEDURE savepoints(n int, each_commits boolean) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO k VALUES (1000);
  FOR i IN 1 .. n LOOP
    BEGIN
      INSERT INTO r (id, removed, nulled) VALUES (1, '{1,2,1000}', '{1000}');
      DELETE FROM k WHERE id = 1000;
      RAISE SQLSTATE 'PT999';
    EXCEPTION WHEN SQLSTATE 'PT999' THEN NULL;
    END;
    IF each_commits THEN COMMIT; END IF;
  END LOOP;
  DELETE FROM k WHERE id = 1000;
END $$;
-- The same beside DDL, which makes the rules be read anew each time.
CREATE PROCEDURE invalidations(n int, each_commits boolean) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n LOOP
    BEGIN
      COMMENT ON TABLE r IS 'x';
      ALTER TABLE r ALTER note SET STATISTICS 10;
      INSERT INTO k VALUES (1000);
      INSERT INTO r (id, removed, nulled) VALUES (1, '{1,2,1000}', '{1000}');
      DELETE FROM k WHERE id = 1000;
      RAISE SQLSTATE 'PT999';
    EXCEPTION WHEN SQLSTATE 'PT999' THEN NULL;
    END;
    IF each_commits THEN COMMIT; END IF;
  END LOOP;
END $$;
-- Beside temporary tables that come and go, in one transaction: they are no concern of any rule.
CREATE PROCEDURE strangers(n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n LOOP
    BEGIN
      CREATE TEMP TABLE stranger (id int);
      INSERT INTO k VALUES (1000);
      INSERT INTO r (id, removed, nulled) VALUES (1, '{1,2,1000}', '{1000}');
      DELETE FROM k WHERE id = 1000;
      RAISE SQLSTATE 'PT999';
    EXCEPTION WHEN SQLSTATE 'PT999' THEN NULL;
    END;
  END LOOP;
END $$;
-- Rules that come and go with their tables.
CREATE PROCEDURE temporary_rules(n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n LOOP
    CREATE TEMP TABLE tk (id int PRIMARY KEY);
    CREATE TEMP TABLE tr (ks int[]);
    CREATE INDEX ON tr USING gin (ks);
    PERFORM integrity.add_reference('tr', 'ks', 'tk', on_delete => 'remove element');
    INSERT INTO tk VALUES (1), (2);
    INSERT INTO tr VALUES ('{1,2}');
    DELETE FROM tk WHERE id = 1;
    DROP TABLE tr, tk;
    COMMIT;
  END LOOP;
END $$;
CREATE PROCEDURE reports(n int) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO r (id, removed, held, one) SELECT g, ARRAY[g % 99 + 1, 2], ARRAY[3], 4 FROM generate_series(1, 100) g;
  FOR i IN 1 .. n LOOP
    PERFORM FROM public.integrity_report(); COMMIT;
    PERFORM FROM integrity.health(); COMMIT;
    PERFORM FROM integrity.broken_references('r', 'r_removed_fkey'); COMMIT;
  END LOOP;
  DELETE FROM r;
END $$;
CREATE PROCEDURE repairs(n int) LANGUAGE plpgsql AS $$
DECLARE run bigint;
BEGIN
  FOR i IN 1 .. n LOOP
    SET LOCAL session_replication_role = replica;
    INSERT INTO r (id, removed, rowed) VALUES (1, '{1,77777}', NULL), (2, '{77777}', NULL), (3, NULL, '{77777}');
    SET LOCAL session_replication_role = origin;
    COMMIT;
    SELECT max(run_id) INTO run FROM integrity.repair('r', dry_run => false); COMMIT;
    PERFORM FROM integrity.undo(run, dry_run => false); COMMIT;
    SET LOCAL session_replication_role = replica;
    DELETE FROM r;
    DELETE FROM integrity.change; DELETE FROM integrity.run_rule; DELETE FROM integrity.run;
    COMMIT;
    IF i % 20 = 0 THEN PERFORM integrity.validate_reference('r', 'r_removed_fkey'), integrity.validate_reference('r', 'r_rowed_fkey'); COMMIT; END IF;
  END LOOP;
END $$;
SQL

# One session for all of it. What it prints arrives line by line.
coproc PSQL { exec "$PGBIN/psql" -X -q -A -t -v SHOW_CONTEXT=never 2>&1; }
ask() { # <statements>: what they print, in one line
	local line answer=
	printf '%s\n\\echo that is all\n' "$1" >&"${PSQL[1]}"
	while read -r line && [ "$line" != 'that is all' ]; do answer+="${answer:+ }$line"; done <&"${PSQL[0]}"
	printf '%s' "$answer"
}
backend=$(ask "SELECT pg_backend_pid();")
private_kb() { awk '/^RssAnon/ { print $2 }' "/proc/$backend/status"; }
# What is in use, but for the catalog caches, which grow with what was looked at, whoever looked. Plans lie in there, and count.
contexts_kb() {
	ask "SELECT div(sum(used_bytes), 1024) FROM pg_backend_memory_contexts
	      WHERE name NOT IN ('CacheMemoryContext', 'index info', 'relation rules', 'MessageContext', 'ErrorContext', 'LocalBufferContext');"
}

# In portions: a call of a procedure itself takes 24 bytes for each COMMIT, until it returns.
calls() { # <a call: %s is how many> <how many>
	local left=$2
	while [ "$left" -gt 0 ]; do
		# shellcheck disable=SC2059
		printf "$1" "$((left < 10000 ? left : 10000))"
		left=$((left - 10000))
	done
}

# stays <kB that the process may grow> <kB that its contexts may> <a call: %s is how many> <how many>
stays() {
	local allowed=$1 allowed_contexts=$2 call=$3 count=$4 private contexts grown grown_contexts result start=$SECONDS
	result=$(ask "$(calls "$call" "$((count / 5 + 20))")")
	contexts=$(contexts_kb)
	private=$(private_kb)
	result+=$(ask "$(calls "$call" "$count")")
	grown=$(($(private_kb) - private))
	grown_contexts=$(($(contexts_kb) - contexts))
	echo "${call/\%s/$count} process $private kB + $grown, contexts $contexts kB + $grown_contexts, $((SECONDS - start)) s"
	[ -z "$result" ] || fail "$call: $result"
	if [ "$grown" -gt "$allowed" ] || [ "$grown_contexts" -gt "$allowed_contexts" ]; then
		fail "$call: the backend grows by more than $allowed kB, or its contexts by more than $allowed_contexts kB"
		ask "SELECT string_agg(format('%s: %s in %s', name, used, n), ' | ')
		       FROM (SELECT name, sum(used_bytes) AS used, count(*) AS n FROM pg_backend_memory_contexts GROUP BY name ORDER BY 2 DESC LIMIT 8) AS c;"
		echo
	fi
}

stays 1200 64 "CALL checks(%s);" "$((total * 3 / 10))"
stays 1200 64 "CALL guards(%s);" "$((total * 2 / 10))"
stays 1200 64 "CALL refused(%s);" "$((total / 10))"
stays 1200 64 "CALL others(%s);" "$((total / 10))"
# Before anything that needs much memory for a while, and leaves it with the process.
stays 1200 64 "CALL strangers(%s);" 400
stays 1200 64 "CALL savepoints(%s, true);" "$savepoints"
stays 1200 64 "CALL savepoints(%s, false);" "$savepoints"
stays 1200 64 "CALL wide(%s);" 50
top=$(ask "SELECT div(total_bytes, 1024) FROM pg_backend_memory_contexts WHERE name = 'TopMemoryContext';")
[ "$top" -le 250 ] || fail "an idle session holds $top kB in TopMemoryContext"
# Rules and plans that are replaced go; within one transaction plans do, and rules at its end.
stays 1200 64 "CALL invalidations(%s, true);" 200
stays 6000 64 "CALL invalidations(%s, false);" 200
stays 1200 64 "CALL reports(%s);" 20
stays 6000 64 "CALL repairs(%s);" 10
# The plans of foreign keys that were dropped stay with the session, and so do ours: no more of them than of those.
stays 3000 "$((20 * 50))" "CALL temporary_rules(%s);" 50
to_session=${PSQL[1]}
exec {to_session}>&-

# The same from outside, one statement at a time. The session is looked at soon after its start and until its end.
cat >"$SCRATCH/mix.sql" <<'SQL'
\set i random(1, 99)
INSERT INTO r (id, removed, nulled, held) VALUES (1, ARRAY[:i::int, 1], ARRAY[:i::int], ARRAY[2]);
UPDATE r SET removed = removed || 3 WHERE id = 1;
INSERT INTO k VALUES (1000);
UPDATE r SET removed = removed || 1000, unset = '{1000}' WHERE id = 1;
UPDATE k SET id = 1001 WHERE id = 1000;
DELETE FROM k WHERE id = 1001;
BEGIN;
SAVEPOINT s;
DELETE FROM k WHERE id = 3;
ROLLBACK TO s;
COMMIT;
DELETE FROM r;
SQL
for protocol in simple extended prepared; do
	# Ten transactions in each round.
	rounds=$((total / 100 > 3000 ? total / 100 : 3000))
	PGAPPNAME=mix-$protocol "$PGBIN/pgbench" -n -M "$protocol" -t "$rounds" -f "$SCRATCH/mix.sql" >"$SCRATCH/pgbench.log" 2>&1 &
	bench=$!
	backend=
	while [ -z "$backend" ] && kill -0 "$bench" 2>/dev/null; do
		backend=$(sql -c "SELECT pid FROM pg_stat_activity WHERE application_name = 'mix-$protocol' AND query LIKE '%r%' LIMIT 1")
	done
	sleep 0.3
	first=$(private_kb 2>/dev/null) || first=
	[ -n "$first" ] || { fail "pgbench -M $protocol: it was over before it could be looked at"; first=0; }
	last=$first
	while now=$(private_kb 2>/dev/null) && [ -n "$now" ]; do
		last=$now
		sleep 0.3
	done
	wait "$bench" || { cat "$SCRATCH/pgbench.log"; fail "pgbench -M $protocol"; }
	echo "pgbench -M $protocol, $((rounds * 10)) transactions: process $first kB + $((last - first))"
	[ "$((last - first))" -le 1200 ] || fail "pgbench -M $protocol: the backend grows"
done

finish_test
