/*
 * ahead.h
 *	  Looks the keys of a bulk insert up many at a time.
 *
 * A statement that inserts many rows has them in the heap before the first of
 * their checks runs. So the check of one row can read the rows that lie ahead,
 * look their elements up in the order of the index, and lock the keys it
 * finds: each then is a found key (found.h) when its own row's check comes.
 *
 * A row of which every element was found needs no look at its elements any
 * more. Else that decides nothing: an element that is not found here is looked
 * up again by the check of its row, which alone raises errors.
 */
#pragma once

#include "check.h"
#include "found.h"

namespace integrity
{

/*
 * "inserted" is the row whose INSERT event is being checked, and "misses" is how
 * many of its elements are not among the found keys. Does something once in a
 * while, and then returns true: there are more found keys now.
 */
bool		look_ahead(FoundKeys *found, const Rule &rule, Relation referencing, Relation referenced,
					   TupleTableSlot *inserted, size_t misses);

/* What looking ahead for a rule has left to do with a row. */
enum class Ahead : uint8
{
	Unknown,
	Found,						/* every element was found */
	Passed						/* and the rule asks for nothing else */
};

/*
 * It is asked before any other command can have run, so command id and
 * subtransaction are the same: the keys are locked, and are there.
 */
Ahead		what_was_found_ahead(Oid trigger, TupleTableSlot *inserted);

} /* namespace integrity */
