/*
 * parallel_keys.cpp
 *	  Reads integer keys into a bitmap, shared among parallel workers.
 *
 * The bitmap is in shared memory before the first key is read, and all
 * processes set their bits in it. Other sets grow while they are filled, so
 * they are read by one process and moved there afterwards.
 */
#include "keys.h"

namespace integrity
{
namespace
{

enum : uint64
{
	ReadKey = 1, ScanDescKey
};

struct SharedRead
{
	Oid			leaf;
	AttrNumber	column;
	Layout		layout;
	KeysPlan	plan;
	FlatKeys	keys;
};

static_assert(Plain<SharedRead>);

void
take_part(Relation leaf, ParallelTableScanDesc scan_desc, const SharedRead &read, Bitmap *bitmap)
{
	TupleTableSlot *slot = table_slot_create(leaf, nullptr);
	TableScanDesc scan = pg::begin_parallel_scan(leaf, scan_desc);

	fill_bitmap(scan, slot, read.column, read.layout, read.plan, bitmap);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

} /* namespace */

void
fill_bitmap_in_parallel(Relation leaf, AttrNumber column, const Layout &layout, Snapshot snapshot, const KeysPlan &plan,
						CachedKeys *cached, int workers)
{
	share_keys(cached);

	EnterParallelMode();

	ParallelContext *context = CreateParallelContext("integrity", "integrity_keys_worker", workers);
	Size		scan_size = table_parallelscan_estimate(leaf, snapshot);

	shm_toc_estimate_chunk(&context->estimator, sizeof(SharedRead));
	shm_toc_estimate_chunk(&context->estimator, scan_size);
	shm_toc_estimate_keys(&context->estimator, 2);
	InitializeParallelDSM(context);

	auto	   *read = static_cast<SharedRead *>(shm_toc_allocate(context->toc, sizeof(SharedRead)));
	auto	   *scan_desc = static_cast<ParallelTableScanDesc>(shm_toc_allocate(context->toc, scan_size));

	*read = {RelationGetRelid(leaf), column, layout, plan, cached->flat};
	table_parallelscan_initialize(leaf, scan_desc, snapshot);
	shm_toc_insert(context->toc, ReadKey, read);
	shm_toc_insert(context->toc, ScanDescKey, scan_desc);

	LaunchParallelWorkers(context);
	elog(DEBUG1, "reading keys of table \"%s\" with %d of %d parallel workers", RelationGetRelationName(leaf),
		 context->nworkers_launched, workers);
	if (parallel_leader_participation || context->nworkers_launched == 0)
		take_part(leaf, scan_desc, *read, &cached->keys.bitmap);
	WaitForParallelWorkersToFinish(context);
	DestroyParallelContext(context);
	ExitParallelMode();
}

} /* namespace integrity */

using namespace integrity;

extern "C"
{
PGDLLEXPORT void integrity_keys_worker(dsm_segment *segment, shm_toc *toc);

void
integrity_keys_worker(dsm_segment *, shm_toc *toc)
{
	auto	   *read = static_cast<SharedRead *>(shm_toc_lookup(toc, ReadKey, false));
	auto	   *scan_desc = static_cast<ParallelTableScanDesc>(shm_toc_lookup(toc, ScanDescKey, false));
	Keys		keys = {};
	dsm_segment *segment = attach_keys(read->keys, read->layout, &keys);
	Relation	leaf = table_open(read->leaf, AccessShareLock);

	take_part(leaf, scan_desc, *read, &keys.bitmap);
	table_close(leaf, AccessShareLock);
	dsm_detach(segment);
}
}
