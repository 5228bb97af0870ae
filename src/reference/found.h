/*
 * found.h
 *	  Keys that are known to exist because this very command has found them.
 *
 * A key that was found and locked FOR KEY SHARE stays until this backend itself
 * writes: nobody else can take it away. So while a statement's rows are being
 * checked one after the other, a key need not be looked up twice.
 *
 * What is remembered is good for one rule and one command id. It is forgotten
 * when the command id moves (we may have deleted the key), when a
 * subtransaction is rolled back (its locks are gone), and at the end of the
 * transaction. It is a cache of bounded size: what does not fit is looked up.
 * The triggers of several rules on one table take turns, row by row, and so do
 * those of several partitions; so a few of them are remembered side by side.
 */
#pragma once

#include "rule.h"

namespace integrity
{

struct FoundKeys;

/* What was found for this rule by the current command; of an earlier one, all is forgotten. */
FoundKeys  *found_keys_of(const Rule &rule);

/* The same, or null if nothing was looked for yet. */
FoundKeys  *current_found_keys(Oid trigger);

/* Only as long as no other command can have run since. */
bool		is_found_key(const FoundKeys *found, const Rule &rule, Datum element);
void		remember_found_key(FoundKeys *found, const Rule &rule, Datum element);

/* Another number for each command and rule, and whenever all was forgotten. */
uint64		found_epoch(const FoundKeys *found);

/* Which of them it is: what others keep beside it. */
constexpr int rules_remembered = 16;
int			found_place(const FoundKeys *found);

/* So many keys are to be remembered of this command, on top of what one row after the other brings. */
void		make_room_for_found_keys(FoundKeys *found, size_t count);

} /* namespace integrity */
