/*
 * parallel.cpp
 *	  The pass of count.cpp, shared among parallel workers.
 *
 * The keys are in shared memory by then, so a worker only attaches to them.
 * Each process counts into sets of its own; a worker hands them over as one
 * block in the end, and the leader adds them to its own.
 */
#include "count.h"

namespace integrity
{
namespace
{

enum : uint64
{
	HeaderKey = 1, RulesKey, ScanDescKey, ResultsKey, AreaKey
};

constexpr size_t area_size = size_t{64} * 1024;	/* it grows by segments of its own */

struct SharedHeader
{
	Oid			leaf;
	int			rules;
	pg_atomic_uint32 stop;
};

struct SharedRule
{
	bool		is_array;
	bool		stop_at_first;
	AttrNumber	column;
	MatchTypes	types;
	FlatKeys	keys;
	size_t		limit;
};

struct SharedSet
{
	dsa_pointer arena;
	size_t		used;
};

struct SharedTally
{
	Stopped		stopped;
	int64		rows_checked;
	int64		rows_broken;
	int64		references_checked;
	int64		references_broken;
	SharedSet	values;
	SharedSet	rows;
};

void
hand_over(dsa_area *area, const ImageSet &set, SharedSet *shared)
{
	shared->used = set.arena_used();
	if (shared->used == 0)
		return;
	shared->arena = dsa_allocate_extended(area, shared->used, DSA_ALLOC_HUGE);
	copy_pieces(static_cast<char *>(dsa_get_address(area, shared->arena)), set.arena(), shared->used);
}

bool
take_over(dsa_area *area, const SharedSet &shared, ImageSet *set)
{
	bool		fits = true;
	size_t		done = 0;

	if (shared.used == 0)
		return true;
	ImageSet::for_each_entry(static_cast<char *>(dsa_get_address(area, shared.arena)), shared.used, set->layout(),
							 [&](const ImageEntry &entry)
	{
		if (++done % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		fits = fits && set->count(entry.hash, set->image_at(entry), entry.count);
	});
	dsa_free(area, shared.arena);
	return fits;
}

bool
add_tally(dsa_area *area, const SharedTally &shared, Tally *tally)
{
	tally->rows_checked += shared.rows_checked;
	tally->rows_broken += shared.rows_broken;
	tally->references_checked += shared.references_checked;
	tally->references_broken += shared.references_broken;

	bool		values_fit = take_over(area, shared.values, &tally->values);
	bool		rows_fit = take_over(area, shared.rows, &tally->rows);

	return values_fit && rows_fit;
}

} /* namespace */

int
workers_for(Relation leaf)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(leaf);
	int			workers = RelationGetParallelWorkers(leaf, -1);

	if (max_parallel_maintenance_workers == 0 || IsInParallelMode() || leaf->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		return 0;

	/* One worker from the size on from which the planner takes one, and one more for each time three. */
	if (workers == -1)
	{
		workers = 0;
		for (uint64 size = std::max(min_parallel_table_scan_size, 1); size <= blocks; size *= 3)
			workers++;
	}
	return std::min(workers, max_parallel_maintenance_workers);
}

Stopped
count_in_parallel(Relation leaf, Snapshot snapshot, std::span<Counted> rules, int workers)
{
	for (Counted &rule : rules)
		share_keys(rule.keys);

	EnterParallelMode();

	ParallelContext *context = CreateParallelContext("integrity", "integrity_count_worker", workers);
	size_t		count = rules.size();
	Size		scan_size = table_parallelscan_estimate(leaf, snapshot);

	shm_toc_estimate_chunk(&context->estimator, sizeof(SharedHeader));
	shm_toc_estimate_chunk(&context->estimator, sizeof(SharedRule) * count);
	shm_toc_estimate_chunk(&context->estimator, scan_size);
	shm_toc_estimate_chunk(&context->estimator, sizeof(SharedTally) * count * static_cast<size_t>(workers));
	shm_toc_estimate_chunk(&context->estimator, area_size);
	shm_toc_estimate_keys(&context->estimator, 5);
	InitializeParallelDSM(context);

	auto	   *header = static_cast<SharedHeader *>(shm_toc_allocate(context->toc, sizeof(SharedHeader)));
	auto	   *shared_rules = static_cast<SharedRule *>(shm_toc_allocate(context->toc, sizeof(SharedRule) * count));
	auto	   *scan_desc = static_cast<ParallelTableScanDesc>(shm_toc_allocate(context->toc, scan_size));
	Size		results_size = sizeof(SharedTally) * count * static_cast<size_t>(workers);
	auto	   *results = static_cast<SharedTally *>(shm_toc_allocate(context->toc, results_size));
	void	   *area_place = shm_toc_allocate(context->toc, area_size);

	header->leaf = RelationGetRelid(leaf);
	header->rules = static_cast<int>(count);
	pg_atomic_init_u32(&header->stop, 0);
	memset(static_cast<void *>(results), 0, results_size);
	for (size_t i = 0; i < count; i++)
		shared_rules[i] = {rules[i].look.is_array, rules[i].stop_at_first, rules[i].look.column, rules[i].types,
			rules[i].keys->flat, rules[i].limit};
	table_parallelscan_initialize(leaf, scan_desc, snapshot);
	shm_toc_insert(context->toc, HeaderKey, header);
	shm_toc_insert(context->toc, RulesKey, shared_rules);
	shm_toc_insert(context->toc, ScanDescKey, scan_desc);
	shm_toc_insert(context->toc, ResultsKey, results);
	shm_toc_insert(context->toc, AreaKey, area_place);

	/* Without shared memory there are no workers either, and the leader does everything. */
	dsa_area   *area = context->seg ?
		dsa_create_in_place(area_place, area_size, LWTRANCHE_PARALLEL_QUERY_DSA, context->seg) : nullptr;

	LaunchParallelWorkers(context);
	elog(DEBUG1, "checking references of table \"%s\" with %d of %d parallel workers", RelationGetRelationName(leaf),
		 context->nworkers_launched, workers);

	Stopped		stopped = Stopped::No;

	if (parallel_leader_participation || context->nworkers_launched == 0)
	{
		TupleTableSlot *slot = table_slot_create(leaf, nullptr);
		TableScanDesc scan = pg::begin_parallel_scan(leaf, scan_desc);

		stopped = count_rows(scan, slot, rules, &header->stop);
		table_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
	}
	WaitForParallelWorkersToFinish(context);

	for (size_t i = 0; i < static_cast<size_t>(context->nworkers_launched) * count; i++)
	{
		stopped = std::max(stopped, results[i].stopped);
		if (area && !add_tally(area, results[i], rules[i % count].tally))
			stopped = Stopped::Full;
	}
	if (area)
		dsa_detach(area);
	DestroyParallelContext(context);
	ExitParallelMode();
	return stopped;
}

} /* namespace integrity */

using namespace integrity;

extern "C"
{
PGDLLEXPORT void integrity_count_worker(dsm_segment *segment, shm_toc *toc);

void
integrity_count_worker(dsm_segment *segment, shm_toc *toc)
{
	auto	   *header = static_cast<SharedHeader *>(shm_toc_lookup(toc, HeaderKey, false));
	auto	   *shared_rules = static_cast<SharedRule *>(shm_toc_lookup(toc, RulesKey, false));
	auto	   *scan_desc = static_cast<ParallelTableScanDesc>(shm_toc_lookup(toc, ScanDescKey, false));
	auto	   *results = static_cast<SharedTally *>(shm_toc_lookup(toc, ResultsKey, false));
	dsa_area   *area = dsa_attach_in_place(shm_toc_lookup(toc, AreaKey, false), segment);
	auto		count = static_cast<size_t>(header->rules);
	auto	   *rules = static_cast<Counted *>(palloc0(sizeof(Counted) * count));

	auto	   *segments = static_cast<dsm_segment **>(palloc(sizeof(dsm_segment *) * count));

	results += static_cast<size_t>(ParallelWorkerNumber) * count;
	for (size_t i = 0; i < count; i++)
	{
		const SharedRule &shared = shared_rules[i];
		auto	   *matcher = static_cast<Matcher *>(palloc(sizeof(Matcher)));
		auto	   *keys = static_cast<Keys *>(palloc0(sizeof(Keys)));

		if (!resolve_matcher(shared.types, matcher))
			elog(ERROR, "types %u and %u cannot be compared", shared.types.element_type, shared.types.key_type);
		segments[i] = attach_keys(shared.keys, matcher->compare.key, keys);
		rules[i].look = {shared.is_array, shared.column, keys, matcher};
		rules[i].stop_at_first = shared.stop_at_first;
		rules[i].tally = static_cast<Tally *>(palloc(sizeof(Tally)));
		init_tally(rules[i].tally, matcher->compare.element, CurrentMemoryContext, shared.limit, shared.keys.part.of > 1);
	}

	Relation	leaf = table_open(header->leaf, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(leaf, nullptr);
	TableScanDesc scan = pg::begin_parallel_scan(leaf, scan_desc);
	Stopped		stopped = count_rows(scan, slot, {rules, count}, &header->stop);

	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(leaf, AccessShareLock);

	for (size_t i = 0; i < count; i++)
	{
		const Tally &tally = *rules[i].tally;

		dsm_detach(segments[i]);
		results[i].stopped = stopped;
		if (stopped == Stopped::Full)
			continue;
		results[i].rows_checked = tally.rows_checked;
		results[i].rows_broken = tally.rows_broken;
		results[i].references_checked = tally.references_checked;
		results[i].references_broken = tally.references_broken;
		hand_over(area, tally.values, &results[i].values);
		hand_over(area, tally.rows, &results[i].rows);
	}
	dsa_detach(area);
}
}
