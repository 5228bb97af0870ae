/*
 * guarded.h
 *	  The rules that a guard has to serve when its table loses a key.
 */
#pragma once

#include "dropped.h"
#include "rule.h"

namespace integrity
{

/* The rules that concern one call, and where their key is in the table that fired. */
struct GuardedRule
{
	const Rule *rule;
	AttrNumber	key;			/* in the fired table, which may be a partition */
};

struct Guarded
{
	GuardedRule *rules;
	int			count;
};

enum class Event : uint8
{
	Delete,
	Update,
	Truncate
};

/* Which rules: those of the table that fired, of the tables it is a partition of, or both. */
enum class Scope : uint8
{
	Own,
	Above,
	All
};

/* A partition's clone of a guard serves the tables above; a guard of its own serves the partition. */
inline Scope
scope_of(const TriggerData *data)
{
	return data->tg_trigger->tgisclone ? Scope::Above : Scope::Own;
}

/* The rules that fire where the trigger that asks has fired; "fired" is its tgenabled. */
Guarded		collect_rules(Relation rel, Scope scope, char fired);

/* The same, with their tables locked; see guarded.cpp. Rules that are dropped do not count. */
Guarded		collect_and_lock(Relation rel, Event event, Scope scope, char fired, const Dropped *dropped = nullptr);

/* A rule that should act and cannot must stop the change, not let it pass. */
inline void
require_working(const Rule &rule)
{
	if (rule.problem)
		raise(rule.problem);
}

const char *deferred_guard_name(const Rule &rule);
/* The exact check of one key for NO ACTION and RESTRICT. */
void		refuse_if_referenced(const GuardedRule &guarded, Relation rel, Datum key, bool is_restrict);

bool		left_to_deferred_guard(const Rule &rule, Relation rel);

/* Has the key column of rule number "upto" been the key of one before it? */
bool		seen_before(const Guarded &guarded, int upto);

/* The key of a row, detoasted; false if it is null, which nothing can refer to. */
bool		key_of(TupleTableSlot *slot, AttrNumber column, Layout layout, Datum *key);
Layout		layout_of_column(Relation rel, AttrNumber column);

} /* namespace integrity */
