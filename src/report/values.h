/*
 * values.h
 *	  What a report says of the broken values of a rule.
 */
#pragma once

#include "target.h"

namespace integrity
{

/*
 * Fills in how many distinct values the tally has and which are the most
 * frequent ones, in the given context. Afterwards the tally's set of values is
 * no longer needed.
 */
void		sum_up_values(Target *target, MemoryContext context);

} /* namespace integrity */
