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
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* Makes the memory that of this rule and the current command; what belongs to another one is forgotten. */
void		use_found_keys(const Rule &rule);

/* Only after use_found_keys(), and as long as no other command can have run. */
bool		is_found_key(const Rule &rule, Datum element);
void		remember_found_key(const Rule &rule, Datum element);

/* Another number for each command and rule, and whenever all was forgotten. */
uint64		found_epoch();

/* More is to be remembered of this command than one row after the other. */
void		make_room_for_found_keys(const Rule &rule);

} /* namespace integrity */
