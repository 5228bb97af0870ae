/*
 * gin.h
 *	  GIN indexes on the arrays: is there one, and do its searches find all?
 */
#pragma once

#include "rule.h"

namespace integrity
{

/*
 * gin_fuzzy_search_limit, which anybody may set, makes a GIN index leave out
 * results by chance: references would be overlooked. Between these two it is
 * off; an error puts it back by itself.
 */
int			search_gin_fully();
void		end_full_search(int level);

/* Is there a GIN index that a changing action can use? */
bool		has_gin_index(const Rule &rule);
const char *gin_index_statement(const Rule &rule);

} /* namespace integrity */
