/*
 * move.h
 *	  Follows a key that an UPDATE moves to another partition.
 */
#pragma once

#include "guarded.h"

namespace integrity
{

/* Was this row deleted by an UPDATE that moved it to another partition? */
bool		was_moved(TupleTableSlot *slot);

/* One key left its partition: refuses, or carries the new value to the references. */
void		handle_moved(const GuardedRule &guarded, Relation rel, TupleTableSlot *old_row, Datum old_key);

} /* namespace integrity */
