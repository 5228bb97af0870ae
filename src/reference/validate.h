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

/* The same without raising; the reason is the message of the violation. */
bool		existing_rows_hold(const Rule &rule, char **reason);

/* Checks a rule that is enforced and not valid, whose own table is locked, and marks it valid. */
void		validate_rule(const Rule &named);

/* Takes 'not valid' out of the trigger's arguments, and out of its clones', or puts it in. */
void		mark_valid(Oid trigger);
void		mark_not_valid(Oid trigger);

} /* namespace integrity */
