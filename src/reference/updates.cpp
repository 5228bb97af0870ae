/*
 * updates.cpp
 *	  Makes and removes update triggers.
 *
 * They are to the referencing table what guards are to the referenced one:
 * ordinary triggers, which \d shows and pg_dump dumps. But each goes with its
 * rule, by a dependency that a dump does not have; it is recorded again when
 * both are there. The clones of the two on a partition belong together as
 * their parents do.
 */
#include "action.h"
#include "catalog.h"
#include "complete.h"
#include "dependency.h"
#include "guards.h"
#include "updates.h"

namespace integrity
{

/*
 * Reads WHEN (integrity.refers_anew(OLD.column, NEW.column, (NULL::referenced).key)).
 * One that fires on less than it should is none, whatever function it calls.
 */
bool
read_update_trigger(HeapTuple tuple, TupleDesc desc, UpdateTrigger *trigger)
{
	Form_pg_trigger form = trigger_form(tuple);
	bool		unconditional;
	Datum		condition = heap_getattr(tuple, Anum_pg_trigger_tgqual, desc, &unconditional);

	if (form->tgtype != (TRIGGER_TYPE_ROW | TRIGGER_TYPE_UPDATE) || form->tgattr.dim1 != 0 || form->tgdeferrable || unconditional)
		return false;

	Node	   *node = static_cast<Node *>(stringToNode(TextDatumGetCString(condition)));

	if (!IsA(node, FuncExpr) || list_length(castNode(FuncExpr, node)->args) != 3)
		return false;

	auto	   *call = castNode(FuncExpr, node);
	const char *function = get_func_name(call->funcid);

	if (function == nullptr || strcmp(function, "refers_anew") != 0 || get_func_namespace(call->funcid) != schema_oid() ||
		!IsA(linitial(call->args), Var) || !IsA(lsecond(call->args), Var))
		return false;

	auto	   *before = static_cast<Var *>(linitial(call->args));
	auto	   *now = static_cast<Var *>(lsecond(call->args));

	trigger->trigger = form->oid;
	trigger->name = form->tgname;
	trigger->reference.column = now->varattno;
	trigger->reference.clone = OidIsValid(form->tgparentid);
	trigger->reference.enabled = form->tgenabled;
	return before->varno == PRS2_OLD_VARNO && now->varno == PRS2_NEW_VARNO && before->varattno == now->varattno &&
		read_target(static_cast<Node *>(lthird(call->args)), &trigger->reference.referenced, &trigger->reference.key);
}

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

		if (form->tgfoid != function || TRIGGER_FOR_UPDATE(form->tgtype) || !read_rule(tuple, desc, &rule, &problem))
			return;

		auto	   *insert_rule = static_cast<InsertRule *>(palloc(sizeof(InsertRule)));

		*insert_rule = {rule.trigger, rule.name, rule.parent, !rule.options.not_valid,
			{rule.column, rule.referenced, rule.key, OidIsValid(rule.parent), rule.enabled}};
		rules = lappend(rules, insert_rule);
	});
	return rules;
}

bool
same_reference(const Reference &a, const Reference &b)
{
	return a.column == b.column && a.referenced == b.referenced && a.key == b.key && a.clone == b.clone;
}

namespace
{

/* UpdateTriggers of this table, in the order of their names. What is not of the right form refers to nothing. */
List *
update_triggers_of(Oid table)
{
	Oid			function = function_oid("check_update");
	List	   *triggers = NIL;

	for_each_trigger(table, [&](HeapTuple tuple, TupleDesc desc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		if (form->tgfoid != function)
			return;

		auto	   *trigger = static_cast<UpdateTrigger *>(palloc0(sizeof(UpdateTrigger)));

		if (!read_update_trigger(tuple, desc, trigger))
		{
			memset(static_cast<void *>(trigger), 0, sizeof(UpdateTrigger));
			trigger->trigger = form->oid;
			trigger->name = form->tgname;
			trigger->reference.clone = OidIsValid(form->tgparentid);
		}
		triggers = lappend(triggers, trigger);
	});
	return triggers;
}

/* The object in the other column of pg_depend: the rule that this trigger goes with, or the trigger that goes with this rule. */
Oid
tied_to(Oid trigger, bool is_rule)
{
	Relation	pg_depend = table_open(DependRelationId, AccessShareLock);
	Oid			update_function = function_oid("check_update");
	Oid			other = InvalidOid;
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], is_rule ? Anum_pg_depend_refclassid : Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(TriggerRelationId));
	ScanKeyInit(&keys[1], is_rule ? Anum_pg_depend_refobjid : Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	SysScanDesc scan = systable_beginscan(pg_depend, is_rule ? DependReferenceIndexId : DependDependerIndexId, true, nullptr, 2, keys);

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		auto	   *form = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));
		Oid			update_trigger = form->objid;

		if (form->classid != TriggerRelationId || form->refclassid != TriggerRelationId || form->deptype != DEPENDENCY_AUTO)
			continue;
		with_trigger_row(update_trigger, [&](HeapTuple row, TupleDesc)
		{
			if (trigger_form(row)->tgfoid == update_function)
				other = is_rule ? update_trigger : form->refobjid;
		});
	}
	systable_endscan(scan);
	table_close(pg_depend, AccessShareLock);
	return other;
}

/* The update trigger of this rule, or for the clone of one, the clone of that; invalid if there is none. */
Oid
update_trigger_of(Oid rule)
{
	Oid			parent = InvalidOid;
	Oid			table = InvalidOid;
	Oid			found = InvalidOid;

	with_trigger_row(rule, [&](HeapTuple tuple, TupleDesc)
	{
		parent = trigger_form(tuple)->tgparentid;
		table = trigger_form(tuple)->tgrelid;
	});
	if (!OidIsValid(parent))
		return tied_to(rule, true);

	Oid			above = update_trigger_of(parent);

	if (OidIsValid(above))
		for_each_trigger(table, [&](HeapTuple tuple, TupleDesc)
		{
			if (trigger_form(tuple)->tgparentid == above)
				found = trigger_form(tuple)->oid;
		});
	return found;
}

/* The same, if it is of the right form and refers as the rule does; else null. */
const UpdateTrigger *
find_trigger(List *triggers, const InsertRule &rule)
{
	Oid			own = update_trigger_of(rule.trigger);
	ListCell   *cell;

	foreach(cell, triggers)
	{
		auto	   *trigger = static_cast<const UpdateTrigger *>(lfirst(cell));

		if (trigger->trigger == own && same_reference(trigger->reference, rule.reference))
			return trigger;
	}
	return nullptr;
}

bool
is_checked(List *triggers, const InsertRule &rule)
{
	const UpdateTrigger *trigger = find_trigger(triggers, rule);

	return trigger && (rule.reference.enabled == TRIGGER_DISABLED || trigger->reference.enabled == rule.reference.enabled);
}

/* The table, and its partitions, parents first. What only inherits from it has no clones. */
List *
partitions_of(Oid table)
{
	return get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE ? find_all_inheritors(table, NoLock, nullptr) : list_make1_oid(table);
}

/* Are the rule and its clones? */
bool
is_checked_everywhere(Oid rule, Oid table)
{
	List	   *family = list_make1_oid(rule);
	ListCell   *cell;
	ListCell   *rule_cell;

	/* Parents come before their partitions, so a clone's parent is known by then. */
	foreach(cell, partitions_of(table))
	{
		List	   *triggers = update_triggers_of(lfirst_oid(cell));

		foreach(rule_cell, insert_rules_of(lfirst_oid(cell)))
		{
			auto	   *each = static_cast<const InsertRule *>(lfirst(rule_cell));

			if (each->trigger != rule && !list_member_oid(family, each->parent))
				continue;
			family = lappend_oid(family, each->trigger);
			if (!is_checked(triggers, *each))
				return false;
		}
	}
	return true;
}

/* Valid and enforced rules of which UPDATEs are not checked everywhere: of this table, of those above it and of its partitions. */
List *
unchecked_rules(Oid table)
{
	List	   *tables = get_rel_relispartition(table) ? get_partition_ancestors(table) : NIL;
	List	   *unchecked = NIL;
	ListCell   *cell;
	ListCell   *rule_cell;

	foreach(cell, list_concat(tables, partitions_of(table)))
		foreach(rule_cell, insert_rules_of(lfirst_oid(cell)))
		{
			auto	   *each = static_cast<const InsertRule *>(lfirst(rule_cell));
			Rule		rule;
			Problem		problem = {};

			if (!each->reference.clone && each->validated && rule_is_enforced(each->reference.enabled) &&
				!is_checked_everywhere(each->trigger, lfirst_oid(cell)) && load_rule(each->trigger, &rule, &problem))
				unchecked = lappend_oid(unchecked, each->trigger);
		}
	return unchecked;
}

char *
name_for(const InsertRule &rule)
{
	return makeObjectName(NameStr(rule.name), nullptr, "update");
}

void
create_trigger(Oid table, const InsertRule &rule)
{
	const char *column = quote_identifier(get_attname(table, rule.reference.column, false));
	char	   *name = free_trigger_name(table, name_for(rule), InvalidOid);

	run_ddl_as_owner(table,
					 psprintf("CREATE TRIGGER %s AFTER UPDATE ON %s FOR EACH ROW "
							  "WHEN (integrity.refers_anew(OLD.%s, NEW.%s, (NULL::%s).%s)) "
							  "EXECUTE FUNCTION integrity.check_update()",
							  quote_identifier(name), table_for_sql(table, false), column, column,
							  table_for_sql(rule.reference.referenced, false),
							  quote_identifier(get_attname(rule.reference.referenced, rule.reference.key, false))));
}

void
drop_trigger(Oid table, const UpdateTrigger &trigger)
{
	run_ddl_as_owner(table, psprintf("DROP TRIGGER %s ON %s", quote_identifier(NameStr(trigger.name)), table_for_sql(table, false)));
}

void
give_state(Oid table, const UpdateTrigger &trigger, char state)
{
	run_ddl_as_owner(table, psprintf("ALTER TABLE %s ENABLE %sTRIGGER %s", table_for_sql(table, false),
									 state == TRIGGER_FIRES_ALWAYS ? "ALWAYS " : state == TRIGGER_FIRES_ON_REPLICA ? "REPLICA " : "",
									 quote_identifier(NameStr(trigger.name))));
}

} /* namespace */

bool
has_update_triggers()
{
	return OidIsValid(function_oid("check_update"));
}

void
ensure_update_triggers(Oid referencing, Oid declared, bool look)
{
	ListCell   *cell;
	ListCell   *rule_cell;

	if (!has_update_triggers())
		return;

	List	   *unchecked = look ? list_delete_oid(unchecked_rules(referencing), declared) : NIL;

	drop_replaced_update_triggers(referencing);
	tie_update_triggers(referencing);
	foreach(rule_cell, insert_rules_of(referencing))
	{
		auto	   *rule = static_cast<const InsertRule *>(lfirst(rule_cell));

		if (rule->reference.clone || find_trigger(update_triggers_of(referencing), *rule))
			continue;
		create_trigger(referencing, *rule);
		tie_update_triggers(referencing);
	}
	foreach(cell, partitions_of(referencing))
		foreach(rule_cell, insert_rules_of(lfirst_oid(cell)))
		{
			auto	   *rule = static_cast<const InsertRule *>(lfirst(rule_cell));
			const UpdateTrigger *trigger = find_trigger(update_triggers_of(lfirst_oid(cell)), *rule);

			if (rule->reference.enabled != TRIGGER_DISABLED && trigger && trigger->reference.enabled != rule->reference.enabled)
				give_state(lfirst_oid(cell), *trigger, rule->reference.enabled);
		}
	foreach(rule_cell, unchecked)
		if (!updates_are_checked(*fetch_rule(lfirst_oid(rule_cell))))
			unchecked = foreach_delete_current(unchecked, rule_cell);
	look_again_at(unchecked);
}

void
tie_update_triggers(Oid referencing)
{
	ListCell   *cell;
	ListCell   *rule_cell;

	foreach(rule_cell, insert_rules_of(referencing))
	{
		auto	   *rule = static_cast<const InsertRule *>(lfirst(rule_cell));
		const UpdateTrigger *chosen = nullptr;
		int			best = -1;

		if (rule->reference.clone)
			continue;
		forget_row_type(rule->reference.referenced);
		if (OidIsValid(tied_to(rule->trigger, true)))
			continue;

		/* Of two rules that say the same, each gets the one that was its own. */
		foreach(cell, update_triggers_of(referencing))
		{
			auto	   *trigger = static_cast<const UpdateTrigger *>(lfirst(cell));
			int			likeness = (trigger->reference.enabled == rule->reference.enabled ? 2 : 0) +
				(strcmp(NameStr(trigger->name), name_for(*rule)) == 0 ? 1 : 0);

			if (!same_reference(trigger->reference, rule->reference) || OidIsValid(tied_to(trigger->trigger, false)) || likeness <= best)
				continue;
			chosen = trigger;
			best = likeness;
		}
		if (chosen)
		{
			ObjectAddress depender;
			ObjectAddress on;

			ObjectAddressSet(depender, TriggerRelationId, chosen->trigger);
			ObjectAddressSet(on, TriggerRelationId, rule->trigger);
			recordDependencyOn(&depender, &on, DEPENDENCY_AUTO);
			CommandCounterIncrement();
		}
	}
}

void
drop_replaced_update_triggers(Oid table)
{
	List	   *rules = insert_rules_of(table);
	ListCell   *cell;
	ListCell   *rule_cell;

	foreach(cell, update_triggers_of(table))
	{
		auto	   *trigger = static_cast<const UpdateTrigger *>(lfirst(cell));
		Oid			rule = tied_to(trigger->trigger, false);
		bool		needed = trigger->reference.clone || !OidIsValid(rule);

		foreach(rule_cell, rules)
		{
			auto	   *each = static_cast<const InsertRule *>(lfirst(rule_cell));

			needed |= each->trigger == rule && same_reference(trigger->reference, each->reference);
		}
		if (!needed)
			drop_trigger(table, *trigger);
	}
}

void
prepare_update_triggers_for_parent(Oid table, Oid parent)
{
	ListCell   *cell;

	foreach(cell, update_triggers_of(table))
	{
		auto	   *trigger = static_cast<const UpdateTrigger *>(lfirst(cell));
		const char *name = NameStr(trigger->name);

		if (!trigger->reference.clone && OidIsValid(get_trigger_oid(parent, name, true)))
			run_ddl_as_owner(table, psprintf("ALTER TRIGGER %s ON %s RENAME TO %s", quote_identifier(name), table_for_sql(table, false),
											 quote_identifier(free_trigger_name(table, name, parent))));
	}
}

void
drop_unneeded_update_triggers(Oid referencing)
{
	ListCell   *cell;

	drop_replaced_update_triggers(referencing);
	tie_update_triggers(referencing);
	foreach(cell, update_triggers_of(referencing))
	{
		auto	   *trigger = static_cast<const UpdateTrigger *>(lfirst(cell));

		if (!trigger->reference.clone && !OidIsValid(tied_to(trigger->trigger, false)))
			drop_trigger(referencing, *trigger);
	}
}

bool
updates_are_checked(const Rule &rule)
{
	return rule.fires_on_update || is_checked_everywhere(rule.trigger, rule.referencing);
}

} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_updates_are_checked);

/* updates_are_checked(trigger): of a rule, for the report's advice. */
PGDLLEXPORT Datum
integrity_updates_are_checked(PG_FUNCTION_ARGS)
{
	Rule		rule;
	Problem		problem = {};

	load_rule(PG_GETARG_OID(0), &rule, &problem);
	PG_RETURN_BOOL(rule.column > 0 && updates_are_checked(rule));
}
}
