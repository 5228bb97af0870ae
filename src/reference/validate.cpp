/*
 * validate.cpp
 *	  Records that the rows that were there before the rule were checked.
 */
#include "catalog.h"
#include "validate.h"

namespace integrity
{
namespace
{

/* The trigger's arguments without 'not valid', as pg_trigger stores them. */
bytea *
arguments_without_not_valid(bytea *arguments, int count, int16 *kept)
{
	StringInfoData buffer;
	const char *at = VARDATA_ANY(arguments);

	initStringInfo(&buffer);
	*kept = 0;
	for (int i = 0; i < count; i++)
	{
		if (strcmp(at, "not valid") != 0)
		{
			appendBinaryStringInfo(&buffer, at, static_cast<int>(strlen(at)) + 1);
			(*kept)++;
		}
		at += strlen(at) + 1;
	}

	auto	   *result = static_cast<bytea *>(palloc(static_cast<size_t>(buffer.len) + VARHDRSZ));

	SET_VARSIZE(result, buffer.len + VARHDRSZ);
	memcpy(VARDATA(result), buffer.data, static_cast<size_t>(buffer.len));
	return result;
}

} /* namespace */

/*
 * Changes the row of pg_trigger in place, as VALIDATE CONSTRAINT changes that
 * of pg_constraint: CREATE OR REPLACE TRIGGER would need a stronger lock, and
 * cannot replace a constraint trigger at all.
 */
void
mark_valid(Oid trigger)
{
	Relation	pg_trigger = table_open(TriggerRelationId, RowExclusiveLock);
	SysScanDesc scan = systable_beginscan(pg_trigger, InvalidOid, false, nullptr, 0, nullptr);
	TupleDesc	desc = RelationGetDescr(pg_trigger);
	List	   *clones = NIL;
	ListCell   *cell;

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		Form_pg_trigger form = trigger_form(tuple);
		bool		isnull;

		if (form->tgparentid == trigger)
			clones = lappend_oid(clones, form->oid);
		if (form->oid != trigger)
			continue;

		Datum		values[Natts_pg_trigger] = {};
		bool		nulls[Natts_pg_trigger] = {};
		bool		replaces[Natts_pg_trigger] = {};
		int16		kept;
		Datum		arguments = heap_getattr(tuple, Anum_pg_trigger_tgargs, desc, &isnull);

		values[Anum_pg_trigger_tgargs - 1] =
			PointerGetDatum(arguments_without_not_valid(DatumGetByteaPP(arguments), form->tgnargs, &kept));
		values[Anum_pg_trigger_tgnargs - 1] = Int16GetDatum(kept);
		replaces[Anum_pg_trigger_tgargs - 1] = true;
		replaces[Anum_pg_trigger_tgnargs - 1] = true;

		Oid			table = form->tgrelid;
		HeapTuple	changed = heap_modify_tuple(tuple, desc, values, nulls, replaces);

		CatalogTupleUpdate(pg_trigger, &changed->t_self, changed);
		CacheInvalidateRelcacheByRelid(table);
	}
	systable_endscan(scan);
	table_close(pg_trigger, NoLock);
	CommandCounterIncrement();

	foreach(cell, clones)
		mark_valid(lfirst_oid(cell));
}

} /* namespace integrity */
