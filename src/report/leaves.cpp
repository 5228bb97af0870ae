/*
 * leaves.cpp
 *	  Finds the tables that hold rows, and what is to be known before reading one.
 */
#include "leaves.h"

namespace integrity
{

List *
leaves_of(Oid table)
{
	List	   *leaves = NIL;
	ListCell   *cell;

	LockRelationOid(table, AccessShareLock);

	char		kind = get_rel_relkind(table);

	if (kind == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("one of its tables was dropped meanwhile")));
	if (kind != RELKIND_PARTITIONED_TABLE)
		return list_make1_oid(table);
	foreach(cell, find_all_inheritors(table, AccessShareLock, nullptr))
		if (get_rel_relkind(lfirst_oid(cell)) != RELKIND_PARTITIONED_TABLE)
			leaves = lappend_oid(leaves, lfirst_oid(cell));
	return leaves;
}

void
check_not_rewritten(Relation table, Snapshot snapshot)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	bool		rewritten = false;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(RelationGetRelid(table)));
	SysScanDesc scan = systable_beginscan(pg_class, ClassOidIndexId, true, snapshot, 1, &key);
	HeapTuple	tuple = systable_getnext(scan);

	/* A table that the snapshot does not know is empty to it, and has always been where it is. */
	if (HeapTupleIsValid(tuple))
		rewritten = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relfilenode != table->rd_rel->relfilenode;
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	if (rewritten)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s was truncated or rewritten after the snapshot was taken",
						quote_qualified_identifier(get_namespace_name(RelationGetNamespace(table)),
												   RelationGetRelationName(table))),
				 errhint("Ask again in a new transaction.")));
}

} /* namespace integrity */
