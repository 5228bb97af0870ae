/*
 * dependency.cpp
 *	  A rule depends on the unique index of its key.
 */
#include "dependency.h"

namespace integrity
{

void
depend_on_index(const Rule &rule)
{
	ObjectAddress trigger;
	ObjectAddress index;

	deleteDependencyRecordsForSpecific(TriggerRelationId, rule.trigger, DEPENDENCY_NORMAL, RelationRelationId, rule.index);
	ObjectAddressSet(trigger, TriggerRelationId, rule.trigger);
	ObjectAddressSet(index, RelationRelationId, rule.index);
	recordDependencyOn(&trigger, &index, DEPENDENCY_NORMAL);
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

} /* namespace integrity */
