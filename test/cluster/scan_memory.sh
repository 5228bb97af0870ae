#!/bin/bash
# The scan keeps to maintenance_work_mem: a gigabyte of keys with 1 MB of it, keys that need 16 passes, a million
# distinct broken values. The report is right, and the backend's own memory, sampled while it works, grows by no more
# than maintenance_work_mem and 16 MB. Only the query, to which the largest cases go, writes temporary files.
#
# Run by test/run, which gives PGBIN, SCRATCH and TOP. It makes a server of its own. Exit 0 if all is well, 77 if there
# is no room for it; else 1, after saying what was wrong.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
source "${TOP:?}/test/cluster/common.sh"

free_kb=$(df --output=avail -k "$SCRATCH" | tail -n 1)
if [ "$free_kb" -lt $((6 * 1024 * 1024)) ]; then
	echo "less than 6 GB free in $SCRATCH"
	exit 77
fi
if ! grep -q '^RssAnon' /proc/self/status || [ ! -e "/proc/$$/task/$$/children" ]; then
	echo "no RssAnon, or no children, in /proc"
	exit 77
fi

make_server server
start_server server shared_buffers=64MB max_wal_size=4GB autovacuum=off log_temp_files=0 log_min_messages=log
use_server server
postmaster=$(head -n 1 "$SCRATCH/server/data/postmaster.pid")
sql() { "$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

sql >/dev/null <<'SQL'
SET client_min_messages = warning; SET maintenance_work_mem = '256MB';
CREATE EXTENSION integrity;
-- 400,000 keys of 2.6 kB, as they are
CREATE UNLOGGED TABLE text_key (id text);
ALTER TABLE text_key ALTER id SET STORAGE PLAIN;
INSERT INTO text_key SELECT g || repeat(md5(g::text), 81) FROM generate_series(1, 400000) g;
ALTER TABLE text_key ADD PRIMARY KEY (id);
CREATE UNLOGGED TABLE text_ref (ids text[]);
INSERT INTO text_ref SELECT ARRAY[g || repeat(md5(g::text), 81), CASE WHEN g % 10 = 0 THEN 'x' || g % 500 END] FROM generate_series(1, 5000) g;
INSERT INTO text_ref SELECT ARRAY['y' || g % 1000] FROM generate_series(1, 300000) g;
-- 5 million integers, far apart
CREATE UNLOGGED TABLE sparse_key (id bigint);
INSERT INTO sparse_key SELECT g * 1000003::bigint FROM generate_series(1, 5000000) g;
ALTER TABLE sparse_key ADD PRIMARY KEY (id);
CREATE UNLOGGED TABLE sparse_ref (ids bigint[]);
INSERT INTO sparse_ref SELECT ARRAY[g * 10 * 1000003::bigint, CASE WHEN g % 100 = 0 THEN g % 500 END] FROM generate_series(1, 100000) g;
-- a million broken values, none twice
CREATE UNLOGGED TABLE small_key (id numeric PRIMARY KEY);
INSERT INTO small_key VALUES (-1);
CREATE UNLOGGED TABLE wrong_ref (ids numeric[]);
INSERT INTO wrong_ref SELECT ARRAY[g, g + 0.5] FROM generate_series(1, 500000) g;
-- and one row of a million elements, of which each is broken
CREATE UNLOGGED TABLE long_ref (ids int[]);
INSERT INTO long_ref SELECT array_agg(g % 10) FROM generate_series(1, 1000000) g;
-- for the first look of a session, by scan and, as there is no hashing of this type, by query
CREATE TABLE warm_key (id int PRIMARY KEY, bits bit(3) UNIQUE);
CREATE TABLE warm_ref (ids int[], bits bit(3)[]);
ANALYZE;
SELECT integrity.add_reference('warm_ref', 'ids', 'warm_key'), integrity.add_reference('warm_ref', 'bits', 'warm_key', 'bits');
SELECT integrity.add_reference('text_ref', 'ids', 'text_key', not_valid => true),
       integrity.add_reference('sparse_ref', 'ids', 'sparse_key', not_valid => true),
       integrity.add_reference('wrong_ref', 'ids', 'small_key', not_valid => true),
       integrity.add_reference('long_ref', 'ids', 'small_key', not_valid => true);
CHECKPOINT;
SQL

# own_memory: of all processes of the server, in kB, without what is shared
own_memory() {
	local sum=0 kb pid pids
	read -r -a pids <"/proc/$postmaster/task/$postmaster/children" || true
	for pid in "${pids[@]}"; do
		kb=$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null || true)
		sum=$((sum + ${kb:-0}))
	done
	echo "$sum"
}

# measured <what> <maintenance_work_mem in MB> <workers> <query> <expected> <temporary files: yes|no>
measured() {
	local what=$1 limit=$2 workers=$3 query=$4 expected=$5 files=$6
	local out=$SCRATCH/out base peak=0 now log_from got psql
	log_from=$(wc -l <"$SCRATCH/server/log")
	rm -f "$out" "$SCRATCH/go" "$SCRATCH/ready"
	# The first ones fill the caches of the session, so that what is measured is the scan.
	{
		echo "SET maintenance_work_mem = '${limit}MB'; SET max_parallel_maintenance_workers = $workers; SET work_mem = '1MB';"
		echo "SET max_parallel_workers_per_gather = 0; SET min_parallel_table_scan_size = 0;"
		echo "SELECT count(*) FROM integrity_report('warm_ref');"
		echo "SELECT count(*) FROM integrity.broken_references('warm_ref', 'warm_ref_ids_fkey');"
		echo "SELECT count(*) FROM integrity.broken_references('warm_ref', 'warm_ref_bits_fkey');"
		echo "\\! touch $SCRATCH/ready; while [ ! -e $SCRATCH/go ]; do sleep 0.05; done"
		echo "$query"
	} >"$SCRATCH/script"
	sql -f "$SCRATCH/script" >"$out" 2>&1 &
	psql=$!
	while [ ! -e "$SCRATCH/ready" ]; do sleep 0.05; done
	sleep 0.1
	base=$(own_memory)
	touch "$SCRATCH/go"
	while kill -0 "$psql" 2>/dev/null; do
		now=$(own_memory)
		[ "$now" -le "$peak" ] || peak=$now
		sleep 0.02
	done
	wait "$psql" || fail "$what: $(cat "$out")"
	got=$(tail -n +4 "$out" | tr '\n' ' ')
	[ "$got" = "$expected " ] || fail "$what: $got, expected: $expected"
	echo "$what, $limit MB, $workers workers: $(((peak - base) / 1024)) MB more than before"
	# A worker has caches of its own, as any session.
	if [ $((peak - base)) -gt $(((limit + 16 + workers * 8) * 1024)) ]; then fail "$what: $(((peak - base) / 1024)) MB"; fi
	now=no
	[ "$(tail -n "+$((log_from + 1))" "$SCRATCH/server/log" | grep -c 'temporary file')" -eq 0 ] || now=yes
	[ "$now" = "$files" ] || fail "$what: temporary files: $now"
}

figures="rows_checked, rows_broken, references_checked, references_broken, values_broken, sample, status"
report() { echo "SELECT $figures FROM integrity_report('$1');"; }
texts="305000|300500|305500|300500|1050|{y0,y1,y10,y100,y101}|broken"
sparse="100000|1000|101000|1000|5|{0,100,200,300,400}|broken"
wrong="500000|500000|1000000|1000000|1000000|{1,1.5,2,2.5,3}|broken"
long="1|1|1000000|1000000|10|{0,1,2,3,4}|broken"

measured "a gigabyte of keys" 1 0 "$(report text_ref)" "$texts" yes
measured "listing with a gigabyte of keys" 1 0 "SELECT count(*), count(DISTINCT value) FROM integrity.broken_references('text_ref', 'text_ref_ids_fkey');" \
	"300500|1050" yes
measured "keys in 16 parts" 24 0 "$(report sparse_ref)" "$sparse" no
measured "keys in 16 parts" 24 2 "$(report sparse_ref)" "$sparse" no
measured "a million broken values, by query" 1 0 "$(report wrong_ref)" "$wrong" yes
measured "a million broken values" 512 0 "$(report wrong_ref)" "$wrong" no
measured "a million broken elements of one row" 4 0 "$(report long_ref)" "$long" no
measured "listing a million elements of one row" 4 0 "SELECT count(*) FROM integrity.scan_broken((SELECT oid FROM pg_trigger WHERE tgname = 'long_ref_ids_fkey'), 0, false);" \
	"1000000" yes

finish_test
