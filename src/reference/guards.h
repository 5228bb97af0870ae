/*
 * guards.h
 *	  Makes and removes the guard triggers of referenced tables.
 */
#pragma once

#include "rule.h"

namespace integrity
{

enum class Guard : uint8
{
	Delete,
	Update,
	Truncate,
	Move,						/* partitioned tables, for on_update cascade */
	Deferred
};

/*
 * Does a trigger with these properties do the whole work of that guard? One
 * that fires on less than it should is none, whatever function it calls.
 */
inline bool
is_guard_form(Guard guard, int16 type, int columns, bool unconditional, bool deferrable)
{
	constexpr int16 forms[] = {
		TRIGGER_TYPE_ROW | TRIGGER_TYPE_DELETE,
		TRIGGER_TYPE_ROW | TRIGGER_TYPE_UPDATE,
		TRIGGER_TYPE_TRUNCATE,
		TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_UPDATE,
		TRIGGER_TYPE_ROW | TRIGGER_TYPE_DELETE | TRIGGER_TYPE_UPDATE,
	};

	return type == forms[static_cast<int>(guard)] && columns == 0 && deferrable == (guard == Guard::Deferred) &&
		(unconditional || guard == Guard::Update);
}

/*
 * This name, or with a number behind it, so that it is free on the table, on
 * its partitions, which get clones of that name, and on "parent", if that is valid.
 */
char	   *free_trigger_name(Oid table, const char *name, Oid parent);

/* Makes the guards that are missing. The caller holds ShareRowExclusiveLock on the table. */
void		ensure_guards(const Rule &rule);

/* Gives the partitions below this table the TRUNCATE guard that PostgreSQL does not clone. */
void		ensure_partition_guards(Oid table, bool enable);

/* Removes the guards that no rule needs any more, of the table and its partitions, or of the table alone. */
void		drop_unneeded_guards(Oid referenced);
void		drop_own_unneeded_guards(Oid table);

/* Makes the guards of a table fit to stand beside the clones that it will get as a partition of "parent". */
void		prepare_guards_for_parent(Oid table, Oid parent);

/* Raises if this transaction has put off checks of the table or a partition of it. */
void		require_no_pending_checks(Oid table, const char *what);

/*
 * A trigger is about to be dropped or disabled, as "verb" says. Raises if it
 * is a guard, or a rule where these are asked for, and this transaction has put
 * off checks of its table: PostgreSQL passes over the events of a trigger that
 * is no longer there, and a guard that is disabled does nothing.
 */
void		keep_pending_checks(Oid trigger, const char *verb, bool of_rules);

/* Are all guards of the rule's key there and enabled, and the event triggers? Is the index kept? */
bool		is_guarded(const Rule &rule);

} /* namespace integrity */
