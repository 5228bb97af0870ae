/*
 * target.h
 *	  A declared reference as the scan sees it: a rule or a native foreign key.
 */
#pragma once

#include "count.h"

namespace integrity
{

struct Target
{
	Oid			trigger;		/* of a rule, or invalid */
	Oid			constraint;		/* of a native foreign key, or invalid */
	Rule		rule;			/* of a foreign key, only what a scan needs */
	MatchTypes	types;
	Matcher		matcher;
	char	   *column;			/* by name, for its number differs between partitions */
	List	   *leaves;			/* of the referencing table; found once, so that all passes read the same ones */
	List	   *key_leaves;		/* of the referenced table */
	Tally		tally;
};

inline KeysSource
keys_of(const Target &target)
{
	return {&target.rule, &target.matcher, target.key_leaves};
}

static_assert(Plain<Target>);

enum class Readable : uint8
{
	ByScan,
	ByQuery						/* for instance a foreign table, or a key of several columns */
};

/*
 * Fills in the target's rule and says how its references can be read. Raises
 * what is wrong with the rule. Locks both tables with their partitions.
 */
Readable	resolve_target(Oid trigger, Oid constraint, Target *target);

/* The same for a rule that is known already, and is sound. */
Readable	resolve_target(const Rule &rule, Target *target);

/* Raises if the current user may not see all references and all keys, or the snapshot cannot. */
void		check_target_access(const Target &target, Snapshot snapshot);

} /* namespace integrity */
