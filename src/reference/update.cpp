/*
 * update.cpp
 *	  integrity.check_update(): the update trigger, which has the UPDATEs of a
 *	  referencing column checked.
 *
 * A rule's own trigger fires on INSERT. Its condition cannot see the old row,
 * so on UPDATE it would queue an event for every row, most of which leave the
 * array alone. This one compares both versions in its condition, as a native
 * foreign key does before it queues anything. It says nothing of its own: it
 * names column and key, and has the rules checked that refer from one to the
 * other and do not fire on UPDATE themselves.
 *
 * It has the state of its rule. So what was queued is to be checked, whatever
 * the session's replication role has become since; of another state a rule is
 * not guarded, and no more can be said than whether it fires now.
 */
#include "catalog.h"
#include "check.h"
#include "trigger.h"
#include "updates.h"

namespace integrity
{
namespace
{

struct CheckedRule
{
	Oid			trigger;
	char		enabled;
};

/* What an update trigger has to have checked. */
struct Checked
{
	Oid			trigger;		/* hash key: the update trigger */
	uint64		generation;		/* of the catalog when it was read */
	CheckedRule *rules;			/* in TopMemoryContext */
	size_t		count;
};

/* How refers_anew() compares two values. */
struct Compared
{
	Layout		value;
	Layout		element;		/* of an array; len is 0 if it is none */
};

static_assert(Plain<CheckedRule> && Plain<Checked> && Plain<Compared>);

HTAB	   *checked;			/* Checked; null before first use */

/*
 * Is the new array what is left of the old one when elements are taken out?
 * Then it adds nothing, nor is an element in it more often than before. What
 * is compressed or out of line is not worth fetching for that.
 */
bool
is_rest_of(Datum now, Datum before, const Layout &layout)
{
	Packed		rest;
	Packed		all;

	if (!packed_in_place(now, layout, &rest) || !packed_in_place(before, layout, &all) || rest.count > all.count)
		return false;

	size_t		found = 0;

	for (size_t i = 0; found < rest.count && rest.count - found <= all.count - i; i++)
		if (compare_images(element_at(all, i, layout), element_at(rest, found, layout), layout) == 0)
			found++;
	return found == rest.count;
}

/* The entry of the update trigger, read again if anything at all was altered since. */
const Checked *
checked_by(Oid trigger, Oid table)
{
	bool		found;
	auto	   *entry = checked ? static_cast<Checked *>(hash_search(checked, &trigger, HASH_FIND, nullptr)) : nullptr;

	if (entry && entry->generation == rule_generation())
		return entry;

	uint64		started = rule_generation();
	UpdateTrigger own = {};
	bool		readable = false;

	with_trigger_row(trigger, [&](HeapTuple tuple, TupleDesc desc)
	{
		readable = read_update_trigger(tuple, desc, &own);
	});
	if (!readable)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("a trigger of table \"%s\" that calls integrity.check_update() is not of the right form", get_rel_name(table)),
				 errhint("Drop it; integrity.add_guards() of that table makes one.")));

	List	   *all = insert_rules_of(table);
	auto		room = static_cast<size_t>(list_length(all)) + 1;
	auto	   *rules = static_cast<CheckedRule *>(MemoryContextAlloc(TopMemoryContext, sizeof(CheckedRule) * room));
	size_t		count = 0;
	ListCell   *cell;

	foreach(cell, all)
	{
		auto	   *rule = static_cast<const InsertRule *>(lfirst(cell));

		if (same_reference(own.reference, rule->reference))
			rules[count++] = {rule->trigger, rule->reference.enabled};
	}
	if (checked == nullptr)
	{
		HASHCTL		control = {};

		control.keysize = sizeof(Oid);
		control.entrysize = sizeof(Checked);
		checked = hash_create("integrity update triggers", 32, &control, HASH_ELEM | HASH_BLOBS);
	}
	entry = static_cast<Checked *>(hash_search(checked, &trigger, HASH_ENTER, &found));
	if (found)
		pfree(entry->rules);
	entry->rules = rules;
	entry->count = count;
	entry->generation = started;
	return entry;
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_refers_anew);
PG_FUNCTION_INFO_V1(integrity_check_update);

/*
 * refers_anew(OLD.column, NEW.column, (NULL::table).key): the condition of the
 * update trigger. It binds it to column and key. It may say yes where nothing is added, but never no where something is.
 */
PGDLLEXPORT Datum
integrity_refers_anew(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1) || PG_ARGISNULL(0))
		PG_RETURN_BOOL(!PG_ARGISNULL(1));

	auto	   *compared = static_cast<Compared *>(fcinfo->flinfo->fn_extra);
	Datum		before = PG_GETARG_DATUM(0);
	Datum		now = PG_GETARG_DATUM(1);

	if (compared == nullptr)
	{
		Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);

		if (!OidIsValid(type) || type != get_fn_expr_argtype(fcinfo->flinfo, 1))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("integrity.refers_anew() needs two values of one column"),
					 errhint("It is the condition of a trigger: integrity.refers_anew(OLD.column, NEW.column, (NULL::table).key).")));

		Oid			element_type = get_base_element_type(type);

		compared = static_cast<Compared *>(MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Compared)));
		compared->value = layout_of(type);
		if (OidIsValid(element_type))
			compared->element = layout_of(element_type);
		fcinfo->flinfo->fn_extra = compared;
	}
	if (is_stored_alike(before, now, compared->value))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(compared->element.len == 0 || !is_rest_of(now, before, compared->element));
}

PGDLLEXPORT Datum
integrity_check_update(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "check_update");

	if (!TRIGGER_FIRED_AFTER(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) || !TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		wrong_event(data, "check_update", "AFTER UPDATE FOR EACH ROW");

	/* A copy: a check may run commands of its own, and the entry be read again meanwhile. */
	const Checked *entry = checked_by(data->tg_trigger->tgoid, RelationGetRelid(data->tg_relation));
	size_t		count = entry->count;
	auto	   *rules = static_cast<CheckedRule *>(palloc(sizeof(CheckedRule) * (count + 1)));

	std::copy_n(entry->rules, count, rules);
	for (size_t i = 0; i < count; i++)
		if (rule_fires_with(rules[i].enabled, data->tg_trigger->tgenabled))
			check_row(rules[i].trigger, data->tg_relation, data->tg_newslot, data->tg_trigslot, nullptr, &fcinfo->flinfo->fn_extra);
	return Datum{};
}
}
