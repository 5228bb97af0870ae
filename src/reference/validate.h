/*
 * validate.h
 *	  Checks the rows that were there before the rule.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/*
 * Raises for the first broken reference among the rows that are there now.
 * This room asks, and src/report answers, with the scan that it reports with.
 */
void		check_existing_rows(const Rule &rule);

/* Takes 'not valid' out of the trigger's arguments, and out of its clones'. */
void		mark_valid(Oid trigger);

} /* namespace integrity */
