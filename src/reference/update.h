/*
 * update.h
 *	  The trigger that has the UPDATEs of a referencing column checked.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* False as long as the extension in this database is of version 0.1.0, which has no such trigger. */
bool		has_update_checks();

/*
 * Makes the trigger for a rule that does not fire on UPDATE itself, and
 * enables it wherever the rule is. The caller holds ShareRowExclusiveLock on
 * the referencing table.
 */
void		ensure_update_check(const Rule &rule);

/* Rules of this table or its partitions were enabled: so are the triggers that check their UPDATEs. */
void		enable_update_checks(Oid referencing);

/* Removes those of the table's own that no rule needs any more. */
void		drop_unneeded_update_checks(Oid referencing);

/* Is what an UPDATE adds checked wherever the rule fires? */
bool		updates_are_checked(const Rule &rule);

} /* namespace integrity */
