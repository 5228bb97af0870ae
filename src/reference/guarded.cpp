/*
 * guarded.cpp
 *	  Finds the rules that a guard has to serve, and locks their tables.
 *
 * Without the locks a rule could be disabled, renamed or dropped, or its table
 * altered, between being found and being carried out.
 */
#include "action.h"
#include "guarded.h"
#include "guards.h"
#include "probe.h"
#include "violation.h"

namespace integrity
{
namespace
{

/* The lock that the statements of ri_triggers.c would take on the referencing table. */
LOCKMODE
lock_mode(const Rule &rule, Event event)
{
	bool		changes = event == Event::Update ? rule.options.on_update == OnUpdate::Cascade :
		event == Event::Delete && rule.options.on_delete != OnDelete::NoAction &&
		rule.options.on_delete != OnDelete::Restrict;

	return changes ? RowExclusiveLock : RowShareLock;
}

/* Does a row of the referenced table, another one by now, provide this key? */
bool
another_row_provides(const Rule &rule, Datum key)
{
	Relation	referenced = table_open(rule.referenced, RowShareLock);
	Probe		probe;

	CommandCounterIncrement();
	begin_probe(&probe, &rule, referenced, newest_snapshot(), ProbeFor::Key, ProbeLock::KeyShare);
	bool		found = key_exists(&probe, key);

	end_probe(&probe);
	table_close(referenced, NoLock);
	return found;
}

void
leave_out_dropped(Guarded *guarded, const Dropped *dropped)
{
	int			kept = 0;

	for (int i = 0; i < guarded->count; i++)
		if (dropped == nullptr || !is_dropped(*dropped, TriggerRelationId, guarded->rules[i].rule->trigger))
			guarded->rules[kept++] = guarded->rules[i];
	guarded->count = kept;
}

} /* namespace */

Guarded
collect_rules(Relation rel, Scope scope, char fired)
{
	List	   *tables = scope == Scope::Above ? NIL : list_make1_oid(RelationGetRelid(rel));
	Guarded		guarded = {nullptr, 0};
	ListCell   *cell;

	if (scope != Scope::Own && rel->rd_rel->relispartition)
		tables = list_concat(tables, get_partition_ancestors(RelationGetRelid(rel)));

	foreach(cell, tables)
	{
		Oid			table = lfirst_oid(cell);
		std::span<const Rule *const> rules = rules_referencing(table);
		size_t		size = sizeof(GuardedRule) * (static_cast<size_t>(guarded.count) + rules.size() + 1);

		guarded.rules = static_cast<GuardedRule *>(guarded.rules ? repalloc(guarded.rules, size) : palloc(size));
		for (const Rule *rule : rules)
		{
			if (!rule_fires_with(rule->enabled, fired))
				continue;

			AttrNumber	key = rule->key;

			if (table != RelationGetRelid(rel))
				key = get_attnum(RelationGetRelid(rel), get_attname(table, rule->key, false));
			guarded.rules[guarded.count++] = {rule, key};
		}
	}
	return guarded;
}

/*
 * Collects the rules and locks their tables, so that what was collected still
 * holds: a rule changes only under a stronger lock on its table, and a new
 * one cannot come while we hold the lock on the referenced table that our
 * statement took.
 */
Guarded
collect_and_lock(Relation rel, Event event, Scope scope, char fired, const Dropped *dropped)
{
	for (;;)
	{
		uint64		generation = rule_generation();
		Guarded		guarded = collect_rules(rel, scope, fired);

		leave_out_dropped(&guarded, dropped);
		for (int i = 0; i < guarded.count; i++)
			LockRelationOid(guarded.rules[i].rule->referencing, lock_mode(*guarded.rules[i].rule, event));
		if (generation == rule_generation())
			return guarded;

		/*
		 * Something was invalidated, of whatever kind. Read again under the
		 * locks that we have by now; what was locked and still is there needs
		 * no further look.
		 */
		Guarded		again = collect_rules(rel, scope, fired);

		leave_out_dropped(&again, dropped);
		bool		same = again.count == guarded.count;

		for (int i = 0; same && i < again.count; i++)
			same = again.rules[i].rule->trigger == guarded.rules[i].rule->trigger &&
				memcmp(&again.rules[i].rule->options, &guarded.rules[i].rule->options, sizeof(Options)) == 0;
		if (same)
			return again;
	}
}

/*
 * The constraint trigger on the referenced table that checks a deferrable NO
 * ACTION rule. It has the rule's name, for SET CONSTRAINTS, but where both
 * sides are one table, on which no two triggers can have one name.
 */
const char *
deferred_guard_name(const Rule &rule)
{
	return rule.referencing == rule.referenced ? makeObjectName(NameStr(rule.name), nullptr, "guard") : NameStr(rule.name);
}

/*
 * Is the check of this rule left to the constraint trigger of its name? That
 * is so for a deferrable NO ACTION rule, if the trigger is there and enabled;
 * without it we check at once, which is safe.
 */
bool
left_to_deferred_guard(const Rule &rule, Relation rel)
{
	if (!rule.deferrable)
		return false;

	Oid			deferred_guard = function_oid("guard_deferred");
	const char *name = deferred_guard_name(rule);

	/* Only now: looking into a catalog may bring an invalidation, which frees the list. */
	const TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		const Trigger &trigger = triggers->triggers[i];

		if (trigger.tgfoid == deferred_guard && strcmp(trigger.tgname, name) == 0 && rule_fires(trigger.tgenabled) &&
			is_guard_form(Guard::Deferred, trigger.tgtype, trigger.tgnattr, trigger.tgqual == nullptr, trigger.tgdeferrable))
			return true;
	}
	return false;
}

bool
seen_before(const Guarded &guarded, int upto)
{
	for (int i = 0; i < upto; i++)
		if (guarded.rules[i].key == guarded.rules[upto].key)
			return true;
	return false;
}

bool
key_of(TupleTableSlot *slot, AttrNumber column, Layout layout, Datum *key)
{
	bool		isnull;

	*key = slot_getattr(slot, column, &isnull);
	if (!isnull && layout.len == -1)
		*key = PointerGetDatum(PG_DETOAST_DATUM(*key));
	return !isnull;
}

Layout
layout_of_column(Relation rel, AttrNumber column)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), column - 1);

	return {att->attlen, att->attbyval, att->attalign};
}

/* The exact check of one key for NO ACTION and RESTRICT. */
void
refuse_if_referenced(const GuardedRule &guarded, Relation rel, Datum key, bool is_restrict)
{
	const Rule &rule = *guarded.rule;

	if (!is_restrict && another_row_provides(rule, key))
		return;
	if (is_referenced(rule, {&key, 1}))
		report_still_referenced(rule, rel, guarded.key, key, is_restrict);
}

} /* namespace integrity */
