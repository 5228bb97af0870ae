/*
 * dependency.h
 *	  A rule depends on the unique index of its key.
 *
 * Dropping the index takes CASCADE then and takes the rule along, as with a
 * foreign key. pg_dump sees the dependency, too, so a parallel restore makes
 * the index before the trigger.
 */
#pragma once

#include "rule.h"

namespace integrity
{

void		depend_on_index(const Rule &rule);

/* On any index of the key's table. */
bool		depends_on_index(const Rule &rule);

} /* namespace integrity */
