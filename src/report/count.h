/*
 * count.h
 *	  One pass over a table that counts the broken references of several rules.
 */
#pragma once

#include "walk.h"

namespace integrity
{

/* What was found for one rule. */
struct Tally
{
	int64		rows_checked;
	int64		rows_broken;
	int64		references_checked;
	int64		references_broken;
	ImageSet	values;			/* the distinct broken values, by their bytes */
	ImageSet	rows;			/* the broken rows, where one is met once for each part of the keys */
	int64		values_broken;	/* these two are what sum_up_values() leaves of the values */
	Datum		sample;
};

static_assert(Plain<Tally>);

struct Counted
{
	LookUp		look;
	MatchTypes	types;
	CachedKeys *keys;
	Tally	   *tally;
	size_t		limit;			/* bytes for the sets of the tally in each process */
	bool		stop_at_first;	/* one broken reference is enough */
};

/* "in_parts": there is to be room for rows, too. */
void		init_tally(Tally *tally, const Layout &element, MemoryContext context, size_t limit, bool in_parts);
void		free_tally(Tally *tally);

/* False: a tally has reached its limit, and none of them can be relied on. */
bool		count_leaf(Relation leaf, Snapshot snapshot, std::span<Counted> rules);

/* count.cpp and parallel.cpp know these of each other. */
enum class Stopped : uint8
{
	No,
	Found,						/* stop_at_first */
	Full
};

/* "stop" is set by another process that has stopped, or null. */
Stopped		count_rows(TableScanDesc scan, TupleTableSlot *slot, std::span<Counted> rules, pg_atomic_uint32 *stop);
Stopped		count_in_parallel(Relation leaf, Snapshot snapshot, std::span<Counted> rules, int workers);

} /* namespace integrity */
