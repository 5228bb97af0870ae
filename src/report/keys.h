/*
 * keys.h
 *	  The keys of referenced tables, read once for all rules that need them.
 */
#pragma once

#include "../reference/rule.h"
#include "match.h"

namespace integrity
{

enum class KeysAre : uint8
{
	InBitmap,
	InIntegerSet,
	InImageSet
};

/* Looks alike in every process; only the addresses in it differ. */
struct Keys
{
	KeysAre		are;
	MatchBy		by;
	Part		part;
	int64		low;			/* of a bitmap in parts: the integers that this part answers for */
	int64		high;
	Bitmap		bitmap;
	IntegerSet	integers;
	ImageSet	images;
};

static_assert(Plain<Keys>);

/* How a set was flattened into a shared memory segment. */
struct FlatKeys
{
	KeysAre		are;
	MatchBy		by;
	Part		part;
	int64		low;
	int64		high;
	int64		bitmap_low;
	int64		bitmap_high;
	uint64		slots;
	uint64		used;
	bool		has_zero;
	dsm_handle	segment;
};

/* Whose keys: two rules with the same answers here share a set. */
struct KeysOf
{
	Oid			referenced;
	AttrNumber	key;
	Oid			index;
	MatchBy		by;
	Oid			key_hash;		/* only for MatchBy::Operator */
};

/* The keys of one rule: where they are, and how its elements are matched with them. */
struct KeysSource
{
	const Rule *rule;
	const Matcher *matcher;
	List	   *leaves;			/* of the referenced table */
};

/*
 * How keys are kept, and in how many parts. A plan is made once for all parts,
 * for it rests on estimates that change: by another plan an element might be
 * in no part at all, or in two.
 */
struct KeysPlan
{
	KeysAre		are;
	uint32		parts;			/* above max_parts: too many to scan so often */
	int64		low;			/* integers: the smallest and the largest key; low > high: there is none */
	int64		high;
};

struct CachedKeys
{
	KeysOf		of;
	Keys		keys;
	FlatKeys	flat;
	size_t		bytes;
	MemoryContext memory;
	dsm_segment *segment;		/* once workers need them; "keys" then lives there */
	CachedKeys *next;			/* used less recently */
};

/*
 * The sets of one report. They live in a context of their own and are thrown
 * out, least recently used first, when a new one needs the room.
 */
struct KeysCache
{
	MemoryContext memory;
	Snapshot	snapshot;
	size_t		limit;			/* bytes, for all sets together */
	CachedKeys *first;
	MemoryContext building;		/* of a set that is not in the list yet; an error may leave it behind */
};

inline constexpr uint32 max_parts = 16;

void		init_keys_cache(KeysCache *cache, MemoryContext parent, Snapshot snapshot, size_t limit);
void		end_keys_cache(KeysCache *cache);

/* How to keep the keys within the cache's limit. */
KeysPlan	plan_keys(const KeysCache &cache, const KeysSource &source);

/*
 * The keys, or one part of them. Null: they do not fit; more parts are needed,
 * or, if "keep" holds some sets that must stay, fewer of these.
 */
CachedKeys *get_keys(KeysCache *cache, const KeysSource &source, const KeysPlan &plan, Part part,
					 std::span<CachedKeys *const> keep);

/* Moves the set into shared memory, if it is not there yet. */
void		share_keys(CachedKeys *cached);
dsm_segment *attach_keys(const FlatKeys &flat, const Layout &layout, Keys *keys);

/* How many workers a scan of this table is worth. */
int			workers_for(Relation leaf);

/* Adds the keys of one table, or of what a parallel scan has left of it. */
void		fill_bitmap(TableScanDesc scan, TupleTableSlot *slot, AttrNumber column, const Layout &layout, const KeysPlan &plan,
						Bitmap *bitmap);

/* The same with workers; the bitmap goes to shared memory first. */
void		fill_bitmap_in_parallel(Relation leaf, AttrNumber column, const Layout &layout, Snapshot snapshot,
									const KeysPlan &plan, CachedKeys *cached, int workers);

/* Does this part answer for the element? If so, is there such a key? */
enum class Found : uint8
{
	Yes,
	No,
	OtherPart
};

Found		look_up(const Keys &keys, Matcher &matcher, Datum element);

} /* namespace integrity */
