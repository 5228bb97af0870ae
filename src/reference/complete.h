/*
 * complete.h
 *	  What belongs to a rule beyond its trigger.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* Raises unless this role, and the owner of the referencing table, may reference the key. */
void		require_references(const Rule &rule, Oid role);

/* Checks privileges, locks the referenced table, makes the missing guards. Returns the rule as it was read. */
Rule		complete_rule(Oid trigger);

} /* namespace integrity */
