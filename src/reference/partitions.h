/*
 * partitions.h
 *	  The rows that a partition brings, and the keys that go with it, without
 *	  any row trigger firing.
 */
#pragma once

#include "dropped.h"
#include "rule.h"

namespace integrity
{

/*
 * Locks a table that is to go, and what it is a partition of, as the command
 * will and in its order; it may become a partition while we wait. False if it
 * is none.
 */
bool		lock_to_remove(Oid table, bool concurrently);

/*
 * A partition is about to go, perhaps one of a referenced table. First the
 * locks: then nobody is about to declare a rule, and no reference can come to
 * the keys any more. Then a look for those that are there. Rules that are
 * dropped with it do not count.
 */
void		keep_keys_of_partition(Oid partition, bool concurrently, const Dropped *dropped);

/* Gives new and attached partitions of a referenced table the guard that PostgreSQL does not clone. */
void		complete_partitions(Oid table);

/*
 * No partition of a table with rules is a foreign table, valid or not: its
 * rows can change elsewhere, where no rule is known.
 */
void		refuse_foreign_tables(Oid table);

/* The rows of a table that was attached. */
void		check_attached(Oid partition);

/* Rows that came to be there, or to refer to something else, without this trigger, which is a rule or a clone of one. */
void		check_unseen_rows(Oid trigger);

/*
 * Locks the referenced table as declaring the rule does. A key that is being
 * deleted by somebody who did not have this rule or these rows to look at must
 * be gone, or back, before anybody relies on it.
 */
void		wait_for_deleters(const Rule &rule);

/* The triggers of a table that are rules: all, or only the clones of those above it. */
List	   *rule_triggers(Oid table, bool clones_only);

} /* namespace integrity */
