/*
 * updates.h
 *	  Makes and removes update triggers, which have the UPDATEs of a referencing
 *	  column checked.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* What a rule and its update trigger have in common. */
struct Reference
{
	AttrNumber	column;
	Oid			referenced;
	AttrNumber	key;
	bool		clone;			/* the clone of a partition stands for the clones of rules beside it, a table's own for its own */
	char		enabled;		/* pg_trigger.tgenabled */
};

struct UpdateTrigger
{
	Oid			trigger;
	NameData	name;
	Reference	reference;
};

/* A rule, or a clone of one, that does not fire on UPDATE itself. */
struct InsertRule
{
	Oid			trigger;
	NameData	name;
	Oid			parent;
	bool		validated;
	Reference	reference;
};

static_assert(Plain<UpdateTrigger> && Plain<InsertRule>);

/* False if it is no update trigger, though it calls check_update(). */
bool		read_update_trigger(HeapTuple tuple, TupleDesc desc, UpdateTrigger *trigger);

/* InsertRules of this table. What cannot be read as a rule is in the way of every INSERT already. */
List	   *insert_rules_of(Oid table);

/* Whether they are enabled apart. */
bool		same_reference(const Reference &a, const Reference &b);

/* False as long as the extension in this database is of version 0.1.0, which has no such trigger. */
bool		has_update_triggers();

/*
 * Gives every rule of this table that does not fire on UPDATE its update
 * trigger, with the state of the rule, also on partitions. With "look", rules
 * that were not checked and say that they are valid are looked at again, but
 * for "declared": its rows are the caller's to check. The caller holds
 * ShareRowExclusiveLock.
 */
void		ensure_update_triggers(Oid referencing, Oid declared, bool look);

/* So that they go with their rules: has every update trigger depend on its rule, as far as both are there. */
void		tie_update_triggers(Oid referencing);

/* Removes those of rules that CREATE OR REPLACE has had refer to something else, fire on UPDATE themselves, or be none any more. */
void		drop_replaced_update_triggers(Oid table);

/* Renames those of a table that have a name which the clone of one on "parent" will have. */
void		prepare_update_triggers_for_parent(Oid table, Oid parent);

/* Removes those of the table's own that have no rule. */
void		drop_unneeded_update_triggers(Oid referencing);

/* Is what an UPDATE adds checked wherever the rule fires? */
bool		updates_are_checked(const Rule &rule);

} /* namespace integrity */
