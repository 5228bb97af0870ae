/*
 * keys.cpp
 *	  Reads the keys of a referenced table into a set.
 *
 * A set never takes more than its share of maintenance_work_mem. What does not
 * fit is left to the caller, who asks again for the keys in several parts.
 */
#include "keys.h"
#include "progress.h"

namespace integrity
{
namespace
{

/*
 * The bitmap's bounds come from the index, the keys from the table. A key that
 * the index does not have must not get lost: what refers to it would be called
 * broken.
 */
[[noreturn]] void
raise_key_not_in_index(Relation leaf)
{
	ereport(ERROR,
			(errcode(ERRCODE_INDEX_CORRUPTED),
			 errmsg("the unique index on the key does not have all keys of table \"%s\"", RelationGetRelationName(leaf)),
			 errhint("If it was made just now, ask again in a new transaction. Otherwise it is corrupted: REINDEX it.")));
}

/* Adds all keys of one table to a set that grows. False: they do not fit. */
bool
read_keys(Relation leaf, AttrNumber column, Snapshot snapshot, Matcher &matcher, MemoryContext per_call, Keys *keys)
{
	TupleTableSlot *slot = table_slot_create(leaf, nullptr);
	TableScanDesc scan = pg::begin_table_scan(leaf, snapshot);
	const Layout &layout = matcher.compare.key;
	ScanProgress progress = begin_scan_progress(ScanPhase::ReadingKeys, leaf, scan);
	uint64		calls = 0;
	bool		fits = true;

	while (fits && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, column, &isnull);

		CHECK_FOR_INTERRUPTS();
		show_scan_progress(&progress);
		if (isnull)
			continue;
		if (keys->are == KeysAre::InIntegerSet)
		{
			int64		integer = integer_of(value, layout);

			if (keys->part.holds(mix(static_cast<uint64>(integer))))
				fits = keys->integers.insert(integer);
			continue;
		}

		MemoryContext saved = MemoryContextSwitchTo(per_call);

		if (layout.len == -1)
			value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));

		std::string_view image = stored_image(value, layout);
		uint32		hash = keys->by == MatchBy::Operator ?
			DatumGetUInt32(FunctionCall1Coll(&matcher.key_hash, matcher.compare.collation, value)) : hash_image(image);

		if (keys->part.holds32(hash))
			fits = keys->images.insert(hash, image, 0) != nullptr;
		MemoryContextSwitchTo(saved);
		if (++calls % 256 == 0 || image.size() > 8192)
			MemoryContextReset(per_call);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return fits;
}

/* An empty bitmap for one part of the integers. False: it does not fit. */
bool
make_bitmap(const KeysPlan &plan, Part part, size_t limit, CachedKeys *cached)
{
	Keys	   *keys = &cached->keys;
	int64		low = plan.low > plan.high ? 0 : plan.low;
	int64		high = plan.low > plan.high ? 0 : plan.high;
	uint64		span = static_cast<uint64>(high) - static_cast<uint64>(low);
	uint64		step = span / part.of + 1;

	/* The first part answers for everything below as well, the last for everything above. */
	if (part.of > 1)
	{
		int64		from = static_cast<int64>(static_cast<uint64>(low) + std::min(span, step * part.number));
		int64		to = static_cast<int64>(static_cast<uint64>(low) + std::min(span, step * (part.number + 1) - 1));

		if (part.number > 0 && step * part.number > span)
		{
			keys->low = 1;	/* so few keys that nothing is left for this part */
			keys->high = 0;
			from = to = 0;
		}
		else
		{
			if (part.number > 0)
				keys->low = from;
			if (step * (part.number + 1) <= span)
				keys->high = to;
		}
		low = from;
		high = to;
	}

	size_t		bytes = Bitmap::bytes_for(low, high);

	if (bytes > limit)
		return false;
	cached->flat.bitmap_low = low;
	cached->flat.bitmap_high = high;
	cached->bytes = bytes;

	auto	   *words = static_cast<uint64 *>(MemoryContextAllocHuge(cached->memory, bytes));

	zero_pieces(reinterpret_cast<char *>(words), bytes);
	keys->bitmap.init(low, high, words);
	return true;
}

/* Adds all keys of one table to the bitmap. */
void
read_into_bitmap(Relation leaf, AttrNumber column, Snapshot snapshot, const Layout &layout, const KeysPlan &plan,
				 CachedKeys *cached)
{
	int			workers = workers_for(leaf);

	if (workers > 0)
	{
		fill_bitmap_in_parallel(leaf, column, layout, snapshot, plan, cached, workers);
		return;
	}

	TupleTableSlot *slot = table_slot_create(leaf, nullptr);
	TableScanDesc scan = pg::begin_table_scan(leaf, snapshot);

	fill_bitmap(scan, slot, column, layout, plan, &cached->keys.bitmap);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

bool
build_keys(const KeysCache &cache, const KeysSource &source, const KeysPlan &plan, Part part, size_t limit, CachedKeys *cached)
{
	const Rule &rule = *source.rule;
	Matcher		matcher = *source.matcher;	/* FmgrInfos cache what they look up in them */
	Keys	   *keys = &cached->keys;
	ListCell   *cell;
	bool		fits = true;

	keys->are = plan.are;
	keys->by = matcher.by;
	keys->part = part;
	keys->low = PG_INT64_MIN;
	keys->high = PG_INT64_MAX;
	keys->images.init(cached->memory, matcher.compare.key, limit);
	keys->integers.init(cached->memory, limit);
	if (plan.are == KeysAre::InBitmap && !make_bitmap(plan, part, limit, cached))
		return false;

	MemoryContext per_call = AllocSetContextCreate(cached->memory, "integrity key", ALLOCSET_DEFAULT_SIZES);
	char	   *name = get_attname(rule.referenced, rule.key, false);

	elog(DEBUG1, "reading part %u of %u of the keys of table \"%s\" into %s", part.number + 1, part.of,
		 get_rel_name(rule.referenced), plan.are == KeysAre::InBitmap ? "a bitmap" :
		 plan.are == KeysAre::InIntegerSet ? "a set of integers" : "a set of images");
	foreach(cell, source.leaves)
	{
		Relation	leaf = table_open(lfirst_oid(cell), NoLock);

		AttrNumber	column = get_attnum(RelationGetRelid(leaf), name);

		if (plan.are == KeysAre::InBitmap)
			read_into_bitmap(leaf, column, cache.snapshot, matcher.compare.key, plan, cached);
		else
			fits = fits && read_keys(leaf, column, cache.snapshot, matcher, per_call, keys);
		table_close(leaf, NoLock);
	}
	MemoryContextDelete(per_call);
	return fits;
}

size_t
size_of(const CachedKeys &cached)
{
	const Keys &keys = cached.keys;

	switch (keys.are)
	{
		case KeysAre::InBitmap:
			return Bitmap::bytes_for(cached.flat.bitmap_low, cached.flat.bitmap_high);
		case KeysAre::InIntegerSet:
			return keys.integers.slot_count() * sizeof(int64);
		default:
			return keys.images.flat_size();
	}
}

bool
same_keys(const KeysOf &a, const KeysOf &b)
{
	return a.referenced == b.referenced && a.key == b.key && a.index == b.index && a.by == b.by && a.key_hash == b.key_hash;
}

void
unlink_keys(KeysCache *cache, CachedKeys *cached)
{
	CachedKeys **link = &cache->first;

	while (*link != cached)
		link = &(*link)->next;
	*link = cached->next;
}

/* Runs when the set's context goes, on error too: the mapping belongs to no resource owner. */
void
detach_segment(void *arg)
{
	auto	   *cached = static_cast<CachedKeys *>(arg);

	if (cached->segment)
		dsm_detach(cached->segment);
	cached->segment = nullptr;
}

void
use_flat_keys(const FlatKeys &flat, const Layout &layout, char *memory, Keys *keys)
{
	keys->are = flat.are;
	keys->by = flat.by;
	keys->part = flat.part;
	keys->low = flat.low;
	keys->high = flat.high;
	if (flat.are == KeysAre::InBitmap)
		keys->bitmap.init(flat.bitmap_low, flat.bitmap_high, reinterpret_cast<uint64 *>(memory));
	else if (flat.are == KeysAre::InIntegerSet)
		keys->integers.attach(reinterpret_cast<int64 *>(memory), flat.slots, flat.has_zero);
	else
		keys->images.attach(layout, memory, flat.slots, flat.used);
}

/* Null: the keys take more than "limit". */
CachedKeys *
new_keys(KeysCache *cache, const KeysSource &source, const KeysPlan &plan, Part part, size_t limit)
{
	if (cache->building)
		MemoryContextDelete(cache->building);
	cache->building = nullptr;

	MemoryContext memory = AllocSetContextCreate(cache->memory, "integrity key set", ALLOCSET_DEFAULT_SIZES);
	auto	   *cached = static_cast<CachedKeys *>(MemoryContextAllocZero(memory, sizeof(CachedKeys)));

	cache->building = memory;
	cached->memory = memory;
	if (!build_keys(*cache, source, plan, part, limit, cached))
	{
		MemoryContextDelete(memory);
		cache->building = nullptr;
		return nullptr;
	}
	cache->building = nullptr;
	cached->bytes = size_of(*cached);
	return cached;
}

} /* namespace */

/* With a bitmap in shared memory, others may be filling it, too. */
void
fill_bitmap(TableScanDesc scan, TupleTableSlot *slot, AttrNumber column, const Layout &layout, const KeysPlan &plan,
			Bitmap *bitmap)
{
	ScanProgress progress = begin_scan_progress(ScanPhase::ReadingKeys, scan->rs_rd, scan);
	bool		shared = scan->rs_parallel != nullptr;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, column, &isnull);

		CHECK_FOR_INTERRUPTS();
		show_scan_progress(&progress);
		if (isnull)
			continue;

		int64		integer = integer_of(value, layout);

		if (integer < plan.low || integer > plan.high)
			raise_key_not_in_index(scan->rs_rd);
		if (shared)
			bitmap->insert_beside_others(integer);
		else
			bitmap->insert(integer);
	}
}

void
init_keys_cache(KeysCache *cache, MemoryContext parent, Snapshot snapshot, size_t limit)
{
	cache->memory = AllocSetContextCreate(parent, "integrity keys", ALLOCSET_SMALL_SIZES);
	cache->snapshot = snapshot;
	cache->limit = limit;
	cache->first = nullptr;
	cache->building = nullptr;
}

void
end_keys_cache(KeysCache *cache)
{
	MemoryContextDelete(cache->memory);
}

CachedKeys *
get_keys(KeysCache *cache, const KeysSource &source, const KeysPlan &plan, Part part, std::span<CachedKeys *const> keep)
{
	const Rule &rule = *source.rule;
	const Matcher &matcher = *source.matcher;
	KeysOf		of = {};

	of.referenced = rule.referenced;
	of.key = rule.key;
	of.index = rule.index;
	of.by = matcher.by;
	of.key_hash = matcher.by == MatchBy::Operator ? matcher.key_hash.fn_oid : InvalidOid;

	for (CachedKeys *cached = cache->first; cached; cached = cached->next)
		if (part.of == 1 && cached->keys.part.of == 1 && same_keys(cached->of, of))
		{
			unlink_keys(cache, cached);
			cached->next = cache->first;
			return cache->first = cached;
		}

	/* What is not needed now makes room only if the new set does not fit beside it. One part of a set is never needed again. */
	for (bool evict : {false, true})
	{
		size_t		taken = 0;
		bool		evicted = false;

		for (CachedKeys **link = &cache->first; *link;)
		{
			CachedKeys *cached = *link;

			if ((!evict && cached->keys.part.of == 1) || std::find(keep.begin(), keep.end(), cached) != keep.end())
			{
				taken += cached->bytes;
				link = &cached->next;
				continue;
			}
			*link = cached->next;
			MemoryContextDelete(cached->memory);
			evicted = true;
		}
		if ((evict && !evicted) || taken >= cache->limit)
			continue;

		CachedKeys *cached = new_keys(cache, source, plan, part, cache->limit - taken);

		if (cached == nullptr)
			continue;
		cached->of = of;
		cached->next = cache->first;
		return cache->first = cached;
	}
	return nullptr;
}

void
share_keys(CachedKeys *cached)
{
	Keys	   *keys = &cached->keys;
	FlatKeys   *flat = &cached->flat;

	if (cached->segment)
		return;

	auto	   *callback = static_cast<MemoryContextCallback *>(MemoryContextAllocZero(cached->memory, sizeof(MemoryContextCallback)));
	dsm_segment *segment = dsm_create(std::max<size_t>(cached->bytes, 8), 0);
	auto	   *memory = static_cast<char *>(dsm_segment_address(segment));

	dsm_pin_mapping(segment);
	cached->segment = segment;
	callback->func = detach_segment;
	callback->arg = cached;
	MemoryContextRegisterResetCallback(cached->memory, callback);

	flat->are = keys->are;
	flat->by = keys->by;
	flat->part = keys->part;
	flat->low = keys->low;
	flat->high = keys->high;
	flat->segment = dsm_segment_handle(segment);
	if (keys->are == KeysAre::InBitmap)
	{
		copy_pieces(memory, reinterpret_cast<const char *>(keys->bitmap.words()), cached->bytes);
		pfree(keys->bitmap.words());
	}
	else if (keys->are == KeysAre::InIntegerSet)
	{
		flat->slots = keys->integers.slot_count();
		flat->has_zero = keys->integers.has_zero();
		if (flat->slots > 0)
			copy_pieces(memory, reinterpret_cast<const char *>(keys->integers.slots()), cached->bytes);
		keys->integers.free();
	}
	else
	{
		flat->slots = keys->images.slot_count();
		flat->used = keys->images.arena_used();
		keys->images.copy_to(memory);
		keys->images.free();
	}
	use_flat_keys(*flat, keys->images.layout(), memory, keys);
}

dsm_segment *
attach_keys(const FlatKeys &flat, const Layout &layout, Keys *keys)
{
	dsm_segment *segment = dsm_attach(flat.segment);

	if (segment == nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not map dynamic shared memory segment")));
	use_flat_keys(flat, layout, static_cast<char *>(dsm_segment_address(segment)), keys);
	return segment;
}

Found
look_up(const Keys &keys, Matcher &matcher, Datum element)
{
	Comparison &compare = matcher.compare;
	auto		found = [](bool yes) { return yes ? Found::Yes : Found::No; };

	if (keys.are == KeysAre::InBitmap)
	{
		int64		integer = integer_of(element, compare.element);

		if (integer < keys.low || integer > keys.high)
			return Found::OtherPart;
		return found(keys.bitmap.contains(integer));
	}
	if (keys.are == KeysAre::InIntegerSet)
	{
		int64		integer = integer_of(element, compare.element);

		if (!keys.part.holds(mix(static_cast<uint64>(integer))))
			return Found::OtherPart;
		return found(keys.integers.contains(integer));
	}
	if (keys.by == MatchBy::Image)
	{
		if (compare.element.len == -1)
			element = PointerGetDatum(PG_DETOAST_DATUM_PACKED(element));

		std::string_view image = image_of(element, compare.element);
		uint32		hash = hash_image(image);

		if (!keys.part.holds32(hash))
			return Found::OtherPart;
		return found(keys.images.find_image(hash, image) != nullptr);
	}

	Datum		value = as_key(compare, element);
	uint32		hash = DatumGetUInt32(FunctionCall1Coll(&matcher.element_hash, compare.collation, value));

	if (!keys.part.holds32(hash))
		return Found::OtherPart;
	return found(keys.images.find(hash, [&](const ImageEntry &entry)
	{
		return DatumGetBool(FunctionCall2Coll(&compare.key_eq_element_proc, compare.collation,
											  keys.images.datum_at(entry), value));
	}) != nullptr);
}

} /* namespace integrity */
