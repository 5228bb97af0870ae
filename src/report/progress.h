/*
 * progress.h
 *	  How far a scan is, for others to see.
 *
 * PostgreSQL keeps the progress of a command in shared memory, as a number for
 * the kind of command and twenty counters. Its own views show the kinds that
 * they know; ours is one of which they know nothing, so what is put there is
 * shown by integrity.progress alone, and needs no shared memory of our own.
 */
#pragma once

#include "../pg.h"

namespace integrity
{

enum class ScanPhase : int64
{
	ReadingKeys = 1,
	CheckingReferences = 2
};

/* Which of the counters show_scan_progress() sets. */
inline constexpr int progress_blocks_done = 8;

/* What is being worked on; shown with every scan until it is changed. */
struct WorkInProgress
{
	Oid			rule;			/* a trigger, or a constraint; invalid: none yet */
	bool		native;
	int64		rules_total;
	int64		rules_done;
	int64		part = 1;		/* counted from 1 */
	int64		parts = 1;
};

struct ScanProgress
{
	ParallelBlockTableScanDesc shared;	/* of a parallel scan, else null */
	HeapScanDesc scan;
	BlockNumber start;
	BlockNumber blocks;
	BlockNumber last;			/* what was shown last */
};

void		begin_progress(WorkInProgress work);
void		show_part(uint32 part, uint32 parts);
ScanProgress begin_scan_progress(ScanPhase phase, Relation table, TableScanDesc scan);
void		end_progress();

/* Cheap enough to be called for every row. */
inline void
show_scan_progress(ScanProgress *progress)
{
	BlockNumber at = progress->scan->rs_cblock;

	/* Workers are counted by their leader. */
	if (at == progress->last || IsParallelWorker())
		return;
	progress->last = at;

	/* A scan may start in the middle, to go along with another one, and goes round. */
	BlockNumber done = progress->shared ?
		static_cast<BlockNumber>(std::min<uint64>(pg_atomic_read_u64(&progress->shared->phs_nallocated), progress->blocks)) :
		at >= progress->start ? at - progress->start : at + progress->blocks - progress->start;

	pgstat_progress_update_param(progress_blocks_done, done);
}

} /* namespace integrity */
