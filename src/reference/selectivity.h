/*
 * selectivity.h
 *	  How many rows the planner has to expect of integrity.contains_any().
 */
#pragma once

#include "../pg.h"

namespace integrity
{

double		overlap_selectivity(const SupportRequestSelectivity &request);

} /* namespace integrity */
