/*
 * catalog.h
 *	  Reading and changing the rows of pg_trigger that are rules and guards,
 *	  and those of pg_inherits that are partitions.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* Calls use(tuple, desc) for each trigger of a table. */
template <typename Use>
void
for_each_trigger(Oid table, Use use)
{
	Relation	pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;

	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
	SysScanDesc scan = systable_beginscan(pg_trigger, TriggerRelidNameIndexId, true, nullptr, 1, &key);

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
		use(tuple, RelationGetDescr(pg_trigger));
	systable_endscan(scan);
	table_close(pg_trigger, AccessShareLock);
}

/* Calls use(tuple, desc) for the pg_trigger row of this OID, if there is one. */
template <typename Use>
bool
with_trigger_row(Oid trigger, Use use)
{
	Relation	pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(trigger));
	SysScanDesc scan = systable_beginscan(pg_trigger, TriggerOidIndexId, true, nullptr, 1, &key);
	HeapTuple	tuple = systable_getnext(scan);
	bool		found = HeapTupleIsValid(tuple);

	if (found)
		use(tuple, RelationGetDescr(pg_trigger));
	systable_endscan(scan);
	table_close(pg_trigger, AccessShareLock);
	return found;
}

inline Form_pg_trigger
trigger_form(HeapTuple tuple)
{
	return reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
}

/*
 * What this partition, or the index of one, is a part of; invalid if of
 * nothing. get_partition_parent() raises then, which is no answer as long as
 * somebody else may be detaching it.
 */
inline Oid
parent_of(Oid relation)
{
	Relation	pg_inherits = table_open(InheritsRelationId, AccessShareLock);
	Oid			parent = InvalidOid;
	ScanKeyData key;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	SysScanDesc scan = systable_beginscan(pg_inherits, InheritsRelidSeqnoIndexId, true, nullptr, 1, &key);
	HeapTuple	tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		parent = reinterpret_cast<Form_pg_inherits>(GETSTRUCT(tuple))->inhparent;
	systable_endscan(scan);
	table_close(pg_inherits, AccessShareLock);
	return parent;
}

/* Runs one statement of DDL; names in it are qualified and quoted by the caller. */
void		run_ddl(const char *statement);

/* The same as the owner of this table. */
void		run_ddl_as_owner(Oid table, const char *statement);

} /* namespace integrity */
