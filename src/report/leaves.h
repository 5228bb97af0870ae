/*
 * leaves.h
 *	  The tables that hold the rows of a table.
 */
#pragma once

#include "../pg.h"

namespace integrity
{

/* The table itself, or the leaves of a partitioned one. All are locked, in the order that other commands lock them. */
List	   *leaves_of(Oid table);

/*
 * TRUNCATE and a rewriting ALTER TABLE are not for snapshots: whoever looks
 * with an older one finds the table empty. Raises if the table, which the
 * caller has locked, is not stored where the snapshot says it is.
 */
void		check_not_rewritten(Relation table, Snapshot snapshot);

} /* namespace integrity */
