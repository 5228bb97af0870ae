/*
 * plan.cpp
 *	  Decides how the keys of a referenced table are kept.
 */
#include "../reference/probe.h"
#include "keys.h"
#include "leaves.h"

namespace integrity
{
namespace
{

double
estimated_rows(List *leaves)
{
	double		rows = 0;
	ListCell   *cell;

	foreach(cell, leaves)
	{
		Relation	leaf = table_open(lfirst_oid(cell), NoLock);
		BlockNumber pages;
		double		tuples;
		double		visible;

		table_relation_estimate_size(leaf, nullptr, &pages, &tuples, &visible);
		rows += tuples;
		table_close(leaf, NoLock);
	}
	return rows;
}

/* The first key of one leaf in the index's order, or the last; false if there is none. */
bool
end_of_index(Relation leaf, Relation index, Snapshot snapshot, ScanDirection direction, const Layout &layout, int64 *end)
{
	IndexScanDesc scan = pg::begin_index_scan(leaf, index, snapshot, 0);
	TupleTableSlot *slot = table_slot_create(leaf, nullptr);
	AttrNumber	column = index->rd_index->indkey.values[0];
	bool		found = false;

	index_rescan(scan, nullptr, 0, nullptr, 0);
	while (!found && index_getnext_slot(scan, direction, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, column, &isnull);

		CHECK_FOR_INTERRUPTS();
		found = !isnull;
		if (found)
			*end = integer_of(value, layout);
	}
	ExecDropSingleTupleTableSlot(slot);
	index_endscan(scan);
	return found;
}

/* The smallest and the largest key; low > high if there is no key. */
void
key_range(const KeysSource &source, Snapshot snapshot, int64 *low, int64 *high)
{
	const Rule &rule = *source.rule;
	ListCell   *cell;

	*low = PG_INT64_MAX;
	*high = PG_INT64_MIN;
	foreach(cell, source.leaves)
	{
		Relation	leaf = table_open(lfirst_oid(cell), NoLock);
		bool		is_part = RelationGetRelid(leaf) != rule.referenced;
		Relation	index = index_open(is_part ? index_of_partition(leaf, rule.index) : rule.index, AccessShareLock);
		int64		end;

		/* A descending index has its ends the other way round. */
		for (ScanDirection direction : {ForwardScanDirection, BackwardScanDirection})
			if (end_of_index(leaf, index, snapshot, direction, source.matcher->compare.key, &end))
			{
				*low = std::min(*low, end);
				*high = std::max(*high, end);
			}
		index_close(index, NoLock);
		table_close(leaf, NoLock);
	}
}

/* Bytes that one key takes while its set grows, when there are so many that it matters. */
double
bytes_per_key(const Rule &rule, const Matcher &matcher)
{
	if (matcher.by == MatchBy::Integer || matcher.by == MatchBy::Word)
		return 8 * (1.5 + 0.75) * 2;

	int32		width = get_attavgwidth(rule.referenced, rule.key);

	if (width <= 0)
		width = matcher.compare.key.len > 0 ? matcher.compare.key.len : 32;
	return static_cast<double>(sizeof(ImageEntry) + MAXALIGN(width + VARHDRSZ)) + sizeof(ImageSlot) * 1.5 * 2;
}

uint32
parts_for(double bytes, size_t limit)
{
	uint32		parts = 1;

	while (bytes > static_cast<double>(limit) * parts && parts <= max_parts)
		parts *= 2;
	return parts;
}

} /* namespace */

KeysPlan
plan_keys(const KeysCache &cache, const KeysSource &source)
{
	const Matcher &matcher = *source.matcher;
	double		bytes = estimated_rows(source.leaves) * bytes_per_key(*source.rule, matcher);
	KeysPlan	plan = {KeysAre::InImageSet, parts_for(bytes, cache.limit), 0, -1};

	if (matcher.by == MatchBy::Word)
		plan.are = KeysAre::InIntegerSet;
	if (matcher.by != MatchBy::Integer)
		return plan;

	plan.are = KeysAre::InIntegerSet;
	key_range(source, cache.snapshot, &plan.low, &plan.high);

	double		bitmap_bytes = plan.low > plan.high ? 0 : (static_cast<double>(plan.high) - static_cast<double>(plan.low)) / 8 + 16;
	uint32		bitmap_parts = parts_for(bitmap_bytes, cache.limit);

	if (bitmap_bytes <= std::max(bytes, 65536.0) || bitmap_parts < plan.parts)
	{
		plan.are = KeysAre::InBitmap;
		plan.parts = bitmap_parts;
	}
	return plan;
}

} /* namespace integrity */
