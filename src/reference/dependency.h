/*
 * dependency.h
 *	  What a rule depends on, and what it does not.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/*
 * Dropping the unique index takes CASCADE then and takes the rule along, as
 * with a foreign key. pg_dump sees the dependency, too, so a parallel restore
 * makes the index before the trigger. The same of what elements are compared
 * with: the operator, and the function of a cast.
 */
void		depend_on_index(const Rule &rule);

/* On any index of the key's table. */
bool		depends_on_index(const Rule &rule);

/*
 * The null of a row type in a rule's condition stores nothing, but PostgreSQL
 * takes it for a use of that type and, since some minor version, refuses every
 * ALTER TABLE that gives a column of the referenced table values, ADD COLUMN
 * with a DEFAULT among them. So this dependency goes, for the rules of the
 * table and their clones. The one on the key's column holds all that it held.
 */
void		forget_row_type(Oid referenced);

/* The same for what a new or attached partition has got. */
void		forget_row_types(Oid referencing);

} /* namespace integrity */
