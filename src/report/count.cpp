/*
 * count.cpp
 *	  Counts the broken references in the rows of one table.
 */
#include "count.h"
#include "progress.h"

namespace integrity
{
namespace
{

/* Which row; the padding is zero. */
struct RowId
{
	Oid			table;
	uint16		block_high;
	uint16		block_low;
	uint16		offset;
	uint16		padding;
};

constexpr Layout row_id_layout = {sizeof(RowId), false, TYPALIGN_INT};

bool
remember_row(Tally *tally, TupleTableSlot *slot)
{
	const ItemPointerData &tid = slot->tts_tid;
	RowId		id = {slot->tts_tableOid, tid.ip_blkid.bi_hi, tid.ip_blkid.bi_lo, tid.ip_posid, 0};
	std::string_view image(reinterpret_cast<const char *>(&id), sizeof(id));

	return tally->rows.count(hash_image(image), image, 1);
}

} /* namespace */

void
init_tally(Tally *tally, const Layout &element, MemoryContext context, size_t limit, bool in_parts)
{
	size_t		for_rows = in_parts ? limit / 2 : 0;

	memset(static_cast<void *>(tally), 0, sizeof(*tally));
	tally->values.init(context, element, limit - for_rows);
	tally->rows.init(context, row_id_layout, for_rows);
}

void
free_tally(Tally *tally)
{
	tally->values.free();
	tally->rows.free();
}

Stopped
count_rows(TableScanDesc scan, TupleTableSlot *slot, std::span<Counted> rules, pg_atomic_uint32 *stop)
{
	ScanProgress progress = begin_scan_progress(ScanPhase::CheckingReferences, scan->rs_rd, scan);
	Scratch		scratch;
	Stopped		stopped = Stopped::No;

	init_scratch(&scratch);
	while (stopped == Stopped::No && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		show_scan_progress(&progress);
		if (stop && pg_atomic_read_u32(stop) != 0)
			break;

		for (Counted &rule : rules)
		{
			Tally	   *tally = rule.tally;
			const Part &part = rule.look.keys->part;
			const Layout &layout = rule.look.matcher->compare.element;
			int64		broken = 0;
			bool		full = false;
			int64		references = look_at_row(rule.look, slot, &scratch, [&](int, Datum value)
			{
				std::string_view image = stored_image(value, layout);

				broken++;
				full |= !tally->values.count(hash_image(image), image, 1);
			});

			if (part.number == 0)
			{
				tally->rows_checked += references >= 0;
				tally->references_checked += std::max<int64>(references, 0);
			}
			tally->references_broken += broken;
			if (broken > 0 && part.of > 1)
				full |= !remember_row(tally, slot);
			tally->rows_broken += broken > 0;
			if (full)
				stopped = Stopped::Full;
			else if (broken > 0 && rule.stop_at_first)
				stopped = Stopped::Found;
		}
		end_row(&scratch);
	}
	delete_scratch(&scratch);
	if (stop && stopped != Stopped::No)
		pg_atomic_write_u32(stop, 1);
	return stopped;
}

bool
count_leaf(Relation leaf, Snapshot snapshot, std::span<Counted> rules)
{
	bool		safe = std::all_of(rules.begin(), rules.end(), [](const Counted &rule) { return rule.look.matcher->parallel_safe; });
	int			workers = safe ? workers_for(leaf) : 0;

	if (workers > 0)
		return count_in_parallel(leaf, snapshot, rules, workers) != Stopped::Full;

	TupleTableSlot *slot = table_slot_create(leaf, nullptr);
	TableScanDesc scan = pg::begin_table_scan(leaf, snapshot);
	Stopped		stopped = count_rows(scan, slot, rules, nullptr);

	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return stopped != Stopped::Full;
}

} /* namespace integrity */
