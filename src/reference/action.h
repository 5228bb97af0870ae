/*
 * action.h
 *	  What happens to the referencing rows when their keys go away.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/*
 * Can a key be written as an element without a cast function? Then the keys
 * go into an array of the column's own type, which a GIN index can search.
 */
bool		keys_are_elements(const Rule &rule);

/* Does a row refer to one of the keys? Finds also what the transaction's snapshot does not see. */
bool		is_referenced(const Rule &rule, std::span<const Datum> keys);
bool		has_any_reference(const Rule &rule);

/* The rule's on_delete, where it changes data. */
void		act_on_delete(const Rule &rule, std::span<const Datum> keys);

/* on_update cascade: the element takes the new value in its place. */
void		act_on_update(const Rule &rule, Datum old_key, Datum new_key, bool new_is_null);

/* The table's name for SQL, with ONLY where a foreign key would say so. */
char	   *table_for_sql(Oid table, bool with_only);

} /* namespace integrity */
