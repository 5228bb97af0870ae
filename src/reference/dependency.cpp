/*
 * dependency.cpp
 *	  What a rule depends on, and what it does not.
 */
#include "catalog.h"
#include "dependency.h"
#include "partitions.h"

namespace integrity
{
namespace
{

void
depend_on(Oid trigger_oid, Oid class_oid, Oid object)
{
	ObjectAddress trigger;
	ObjectAddress referenced;

	if (!OidIsValid(object))
		return;
	deleteDependencyRecordsForSpecific(TriggerRelationId, trigger_oid, DEPENDENCY_NORMAL, class_oid, object);
	ObjectAddressSet(trigger, TriggerRelationId, trigger_oid);
	ObjectAddressSet(referenced, class_oid, object);
	recordDependencyOn(&trigger, &referenced, DEPENDENCY_NORMAL);
}

} /* namespace */

void
depend_on_index(const Rule &rule)
{
	depend_on(rule.trigger, RelationRelationId, rule.index);
	depend_on(rule.trigger, OperatorRelationId, rule.compare.key_eq_element);
	depend_on(rule.trigger, ProcedureRelationId, rule.compare.cast_proc.fn_oid);
	CommandCounterIncrement();
}

bool
depends_on_index(const Rule &rule)
{
	Relation	pg_depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	bool		found = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(TriggerRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(rule.trigger));
	SysScanDesc scan = systable_beginscan(pg_depend, DependDependerIndexId, true, nullptr, 2, keys);

	for (HeapTuple tuple; !found && HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		auto	   *form = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));

		found = form->refclassid == RelationRelationId && form->refobjsubid == 0 &&
			(form->refobjid == rule.index || IndexGetRelation(form->refobjid, true) == rule.referenced);
	}
	systable_endscan(scan);
	table_close(pg_depend, AccessShareLock);
	return found;
}

void
forget_row_type(Oid referenced)
{
	Oid			row_type = get_rel_type_id(referenced);
	Oid			check_function = function_oid("check_reference");
	Oid			update_function = function_oid("check_update");
	Relation	pg_depend = table_open(DependRelationId, AccessShareLock);
	List	   *triggers = NIL;
	ListCell   *cell;
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(TypeRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(row_type));
	SysScanDesc scan = systable_beginscan(pg_depend, DependReferenceIndexId, true, nullptr, 2, keys);

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		auto	   *form = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));

		if (form->classid == TriggerRelationId)
			triggers = lappend_oid(triggers, form->objid);
	}
	systable_endscan(scan);
	table_close(pg_depend, AccessShareLock);

	foreach(cell, triggers)
	{
		bool		is_rule = false;

		with_trigger_row(lfirst_oid(cell), [&](HeapTuple tuple, TupleDesc)
		{
			is_rule = trigger_form(tuple)->tgfoid == check_function || trigger_form(tuple)->tgfoid == update_function;
		});
		if (is_rule)
			deleteDependencyRecordsForSpecific(TriggerRelationId, lfirst_oid(cell), DEPENDENCY_NORMAL, TypeRelationId, row_type);
	}
	CommandCounterIncrement();	/* the next one to look must not find them again */
}

void
forget_row_types(Oid referencing)
{
	List	   *triggers = rule_triggers(referencing, false);
	ListCell   *cell;

	foreach(cell, triggers)
	{
		Rule		rule;
		Problem		problem = {};

		/* No more of it than the trigger says: whether it works is asked of tables that this command does not lock. */
		with_trigger_row(lfirst_oid(cell), [&](HeapTuple tuple, TupleDesc desc)
		{
			read_rule(tuple, desc, &rule, &problem);
		});
		if (OidIsValid(rule.referenced))
			forget_row_type(rule.referenced);
	}
}

} /* namespace integrity */
