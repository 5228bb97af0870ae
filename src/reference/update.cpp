/*
 * update.cpp
 *	  integrity.check_update(): the trigger that has the UPDATEs of a
 *	  referencing column checked, and who makes and removes it.
 *
 * A rule's own trigger fires on INSERT. Its condition cannot see the old row,
 * so on UPDATE it would queue an event for every row, most of which leave the
 * array alone. This one compares both versions in its condition, as a native
 * foreign key does before it queues anything. It says nothing of its own: it
 * stands for all rules of its column that do not fire on UPDATE themselves, and
 * whether one of them is enforced is the rule's to say. It is to the
 * referencing table what the guards are to the referenced one.
 *
 * A table's own trigger stands for its own rules, the clone that a partition
 * gets for the clones of rules beside it.
 */
#include "action.h"
#include "catalog.h"
#include "check.h"
#include "guards.h"
#include "trigger.h"
#include "update.h"

namespace integrity
{
namespace
{

/* A trigger that calls check_update() on all UPDATEs that it should. */
struct UpdateCheck
{
	NameData	name;
	AttrNumber	column;			/* 0 for every column */
	char		enabled;		/* pg_trigger.tgenabled */
	bool		clone;
};

/* A rule, or a clone of one, that does not fire on UPDATE itself. */
struct InsertRule
{
	Oid			trigger;
	Oid			parent;
	AttrNumber	column;
	char		enabled;
};

/* What the trigger "trigger" has to check. */
struct Checked
{
	Oid			trigger;		/* hash key */
	uint64		generation;		/* of the catalog when it was read */
	InsertRule *rules;			/* in TopMemoryContext */
	size_t		count;
};

/* How refers_anew() compares two values. */
struct Compared
{
	Layout		value;
	Layout		element;		/* of an array; len is 0 if it is none */
};

static_assert(Plain<UpdateCheck> && Plain<InsertRule> && Plain<Checked> && Plain<Compared>);

HTAB	   *checked;			/* Checked; null before first use */

/* The column of its condition, or 0 for every column. */
AttrNumber
column_of_check(HeapTuple tuple, TupleDesc desc)
{
	bool		unconditional;
	Datum		condition = heap_getattr(tuple, Anum_pg_trigger_tgqual, desc, &unconditional);

	return unconditional ? AttrNumber{0} : watched_column(TextDatumGetCString(condition), "refers_anew");
}

/* One that fires on less than it should is none, whatever function it calls. */
bool
is_update_check(Form_pg_trigger form)
{
	return form->tgtype == (TRIGGER_TYPE_ROW | TRIGGER_TYPE_UPDATE) && form->tgattr.dim1 == 0 && !form->tgdeferrable;
}

/* UpdateChecks of this table, and of its partition what it has been cloned. */
List *
update_checks_of(Oid table)
{
	Oid			function = function_oid("check_update");
	List	   *checks = NIL;

	for_each_trigger(table, [&](HeapTuple tuple, TupleDesc desc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		if (form->tgfoid != function || !is_update_check(form) || column_of_check(tuple, desc) < 0)
			return;

		auto	   *check = static_cast<UpdateCheck *>(palloc(sizeof(UpdateCheck)));

		check->name = form->tgname;
		check->column = column_of_check(tuple, desc);
		check->enabled = form->tgenabled;
		check->clone = OidIsValid(form->tgparentid);
		checks = lappend(checks, check);
	});
	return checks;
}

/* InsertRules of this table. One whose column cannot be read is of every column: it raises what is wrong with it. */
List *
insert_rules_of(Oid table)
{
	Oid			function = function_oid("check_reference");
	List	   *rules = NIL;

	for_each_trigger(table, [&](HeapTuple tuple, TupleDesc desc)
	{
		Form_pg_trigger form = trigger_form(tuple);
		Rule		rule;
		Problem		problem = {};

		if (form->tgfoid != function || TRIGGER_FOR_UPDATE(form->tgtype))
			return;
		read_rule(tuple, desc, &rule, &problem);

		auto	   *insert_rule = static_cast<InsertRule *>(palloc(sizeof(InsertRule)));

		*insert_rule = {form->oid, form->tgparentid, rule.column, form->tgenabled};
		rules = lappend(rules, insert_rule);
	});
	return rules;
}

bool
stands_for(AttrNumber column, bool clone, const InsertRule &rule)
{
	return clone == OidIsValid(rule.parent) && (column == 0 || rule.column == 0 || column == rule.column);
}

/* Does it fire wherever the rule does? */
bool
covers(char check, char rule)
{
	return rule == TRIGGER_DISABLED || check == TRIGGER_FIRES_ALWAYS || check == rule;
}

/* The trigger that checks the UPDATEs of this rule, rather one that covers it; null if there is none. */
const UpdateCheck *
find_check(List *checks, const InsertRule &rule)
{
	const UpdateCheck *found = nullptr;
	ListCell   *cell;

	foreach(cell, checks)
	{
		auto	   *check = static_cast<const UpdateCheck *>(lfirst(cell));

		if (stands_for(check->column, check->clone, rule) && (found == nullptr || covers(check->enabled, rule.enabled)))
			found = check;
	}
	return found;
}

void
create_check(const Rule &rule)
{
	const char *column = quote_identifier(get_attname(rule.referencing, rule.column, false));
	char	   *name = free_trigger_name(rule.referencing, makeObjectName(NameStr(rule.name), nullptr, "update"), InvalidOid);

	run_ddl_as_owner(rule.referencing,
					 psprintf("CREATE TRIGGER %s AFTER UPDATE ON %s FOR EACH ROW "
							  "WHEN (integrity.refers_anew(OLD.%s, NEW.%s)) EXECUTE FUNCTION integrity.check_update()",
							  quote_identifier(name), table_for_sql(rule.referencing, false), column, column));
}

/* The table, and its partitions, parents first. What only inherits from it has no clones. */
List *
partitions_of(Oid table)
{
	return get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE ? find_all_inheritors(table, NoLock, nullptr) : list_make1_oid(table);
}

bool
can_be_read_in_place(Datum value)
{
	const void *pointer = DatumGetPointer(value);

	return !VARATT_IS_EXTERNAL(pointer) && !VARATT_IS_COMPRESSED(pointer);
}

/*
 * Is the new array what is left of the old one when elements are taken out?
 * Then it adds nothing, nor is an element in it more often than before. What
 * lies out of line is not worth fetching for that.
 */
bool
is_rest_of(Datum now, Datum before, const Layout &layout)
{
	Packed		rest;
	Packed		all;

	if (!can_be_read_in_place(now) || !can_be_read_in_place(before) ||
		!packed_elements(DatumGetArrayTypeP(now), layout, &rest) ||
		!packed_elements(DatumGetArrayTypeP(before), layout, &all) || rest.count > all.count)
		return false;

	size_t		found = 0;

	for (size_t i = 0; found < rest.count && rest.count - found <= all.count - i; i++)
		if (compare_images(element_at(all, i, layout), element_at(rest, found, layout), layout) == 0)
			found++;
	return found == rest.count;
}

/* The entry of the trigger, read again if anything at all was altered since. */
const Checked *
checked_by(Oid trigger, Oid table)
{
	bool		found;
	auto	   *entry = checked ? static_cast<Checked *>(hash_search(checked, &trigger, HASH_FIND, nullptr)) : nullptr;

	if (entry && entry->generation == rule_generation())
		return entry;

	uint64		started = rule_generation();
	AttrNumber	column = 0;
	bool		clone = false;

	with_trigger_row(trigger, [&](HeapTuple tuple, TupleDesc desc)
	{
		clone = OidIsValid(trigger_form(tuple)->tgparentid);
		column = std::max(column_of_check(tuple, desc), AttrNumber{0});
	});

	List	   *all = insert_rules_of(table);
	auto	   *rules = static_cast<InsertRule *>(MemoryContextAlloc(TopMemoryContext, sizeof(InsertRule) * static_cast<size_t>(list_length(all) + 1)));
	size_t		count = 0;
	ListCell   *cell;

	foreach(cell, all)
		if (stands_for(column, clone, *static_cast<InsertRule *>(lfirst(cell))))
			rules[count++] = *static_cast<InsertRule *>(lfirst(cell));
	if (checked == nullptr)
	{
		HASHCTL		control = {};

		control.keysize = sizeof(Oid);
		control.entrysize = sizeof(Checked);
		checked = hash_create("integrity checks of updates", 32, &control, HASH_ELEM | HASH_BLOBS);
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

bool
has_update_checks()
{
	return OidIsValid(function_oid("check_update"));
}

void
ensure_update_check(const Rule &rule)
{
	InsertRule	own = {rule.trigger, InvalidOid, rule.column, rule.enabled};

	if (rule.fires_on_update || rule.column <= 0 || !has_update_checks())
		return;
	if (find_check(update_checks_of(rule.referencing), own) == nullptr)
		create_check(rule);
	enable_update_checks(rule.referencing);
}

void
enable_update_checks(Oid referencing)
{
	ListCell   *cell;
	ListCell   *rule_cell;

	foreach(cell, partitions_of(referencing))
		foreach(rule_cell, insert_rules_of(lfirst_oid(cell)))
		{
			auto	   *rule = static_cast<const InsertRule *>(lfirst(rule_cell));
			const UpdateCheck *check = find_check(update_checks_of(lfirst_oid(cell)), *rule);

			if (check && !covers(check->enabled, rule->enabled))
				run_ddl_as_owner(lfirst_oid(cell),
								 psprintf("ALTER TABLE %s ENABLE %sTRIGGER %s", table_for_sql(lfirst_oid(cell), false),
										  rule->enabled == TRIGGER_FIRES_ON_ORIGIN && check->enabled == TRIGGER_DISABLED ? "" : "ALWAYS ",
										  quote_identifier(NameStr(check->name))));
		}
}

void
drop_unneeded_update_checks(Oid referencing)
{
	List	   *rules = insert_rules_of(referencing);
	ListCell   *cell;
	ListCell   *rule_cell;

	foreach(cell, update_checks_of(referencing))
	{
		auto	   *check = static_cast<const UpdateCheck *>(lfirst(cell));
		bool		needed = check->clone;

		foreach(rule_cell, rules)
			needed |= stands_for(check->column, check->clone, *static_cast<const InsertRule *>(lfirst(rule_cell)));
		if (!needed)
			run_ddl_as_owner(referencing, psprintf("DROP TRIGGER %s ON %s", quote_identifier(NameStr(check->name)),
												   table_for_sql(referencing, false)));
	}
}

bool
updates_are_checked(const Rule &rule)
{
	List	   *family = list_make1_oid(rule.trigger);
	ListCell   *cell;
	ListCell   *rule_cell;

	if (rule.fires_on_update)
		return true;

	/* Parents come before their partitions, so a clone's parent is known by then. */
	foreach(cell, partitions_of(rule.referencing))
	{
		List	   *checks = update_checks_of(lfirst_oid(cell));

		foreach(rule_cell, insert_rules_of(lfirst_oid(cell)))
		{
			auto	   *each = static_cast<const InsertRule *>(lfirst(rule_cell));

			if (each->trigger != rule.trigger && !list_member_oid(family, each->parent))
				continue;
			family = lappend_oid(family, each->trigger);

			const UpdateCheck *check = find_check(checks, *each);

			if (check == nullptr || !covers(check->enabled, each->enabled))
				return false;
		}
	}
	return true;
}

} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_refers_anew);
PG_FUNCTION_INFO_V1(integrity_check_update);

/*
 * refers_anew(OLD.column, NEW.column): the condition of the trigger. It may say
 * yes where nothing is added, but never no where something is.
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
					 errmsg("integrity.refers_anew() needs two values of one type"),
					 errhint("It is the condition of a trigger: integrity.refers_anew(OLD.column, NEW.column).")));

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

	Oid			trigger = data->tg_trigger->tgoid;
	Oid			table = RelationGetRelid(data->tg_relation);

	/* Looked for anew each time: a check may run commands of its own. */
	for (size_t i = 0;; i++)
	{
		const Checked *entry = checked_by(trigger, table);

		if (i >= entry->count)
			break;

		InsertRule	rule = entry->rules[i];

		if (rule_fires_with(rule.enabled, data->tg_trigger->tgenabled))
			check_row(rule.trigger, data->tg_relation, data->tg_newslot, data->tg_trigslot, nullptr, &fcinfo->flinfo->fn_extra);
	}
	return Datum{};
}
}
