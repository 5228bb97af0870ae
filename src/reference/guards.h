/*
 * guards.h
 *	  Makes and removes the guard triggers of referenced tables.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* Makes the guards that are missing. The caller holds ShareRowExclusiveLock on the table. */
void		ensure_guards(const Rule &rule);

/* Gives the partitions below this table the TRUNCATE guard that PostgreSQL does not clone. */
void		ensure_partition_guards(Oid table);

/* Removes the guards once no rule references the table any more. */
void		drop_unneeded_guards(Oid referenced);
void		drop_unneeded_deferred_guards(Oid referenced);

/* Are all guards of the rule's key there and enabled? */
bool		is_guarded(const Rule &rule);

} /* namespace integrity */
