/*
 * dropped.h
 *	  What a DROP takes along.
 */
#pragma once

#include "../pg.h"

namespace integrity
{

/* The objects that a command drops, and all that depend on them, as CASCADE would take them. */
struct Dropped
{
	HTAB	   *objects;
	List	   *tables;			/* OIDs of those that are tables, partitioned or not */
	List	   *triggers;		/* OIDs of those that are triggers */
};

/*
 * DROP of tables, triggers and what a table may depend on as a whole, and DROP OWNED;
 * nothing for other statements, nor for what the user may not drop.
 */
Dropped		objects_dropped_by(Node *statement);

bool		is_dropped(const Dropped &dropped, Oid class_oid, Oid object);

} /* namespace integrity */
