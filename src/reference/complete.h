/*
 * complete.h
 *	  What belongs to a rule beyond its trigger.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* Raises if a statement of this session is at work on the table or a partition of it. */
void		require_not_in_use(Oid table, const char *what);

/* Raises unless this role, and the owner of the referencing table, may reference the key. */
void		require_references(const Rule &rule, Oid role);

/*
 * Rules that are enforced and valid, and whose keys could go unnoticed because
 * a guard is missing or disabled. Once they have their guards, they are looked
 * at again: those whose rows do not hold become not valid, with a warning.
 */
List	   *unguarded_rules(Oid referenced);
void		look_again_at(List *rules);

/* Checks privileges, locks the referenced table, makes the missing guards. Returns the rule as it was read. */
Rule		complete_rule(Oid trigger);

} /* namespace integrity */
