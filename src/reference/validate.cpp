/*
 * validate.cpp
 *	  Checks the rows that were there before the rule, and records that they
 *	  were checked.
 *
 * As RI_Initial_Check() does, this reads one snapshot and locks no row: the
 * caller made sure that the rule is enforced, so what changes meanwhile is
 * checked by its triggers.
 */
#include "action.h"
#include "catalog.h"
#include "check.h"
#include "probe.h"
#include "validate.h"
#include "violation.h"

namespace integrity
{
namespace
{

void
check_one_table(const Rule &rule, Relation referencing, Probe *probe, Snapshot snapshot)
{
	TupleTableSlot *slot = table_slot_create(referencing, nullptr);
	TableScanDesc scan = pg::begin_table_scan(referencing, snapshot);
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext, "integrity row", ALLOCSET_DEFAULT_SIZES);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext saved = MemoryContextSwitchTo(per_row);
		Value		value = column_of(slot, rule.column);

		CHECK_FOR_INTERRUPTS();
		reject_elements(rule, referencing, value);
		for (Datum element : elements_of(rule, value))
			if (!key_exists(probe, element))
				report_missing_key(rule, referencing, rule.referenced, element);
		MemoryContextSwitchTo(saved);
		MemoryContextReset(per_row);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(per_row);
}

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

void
check_existing_rows(const Rule &rule)
{
	Relation	referenced = table_open(rule.referenced, RowShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Probe		probe;
	ListCell   *cell;
	List	   *tables = get_rel_relkind(rule.referencing) == RELKIND_PARTITIONED_TABLE ?
		find_all_inheritors(rule.referencing, AccessShareLock, nullptr) : list_make1_oid(rule.referencing);

	begin_probe(&probe, &rule, referenced, snapshot, ProbeFor::Element, ProbeLock::None);
	foreach(cell, tables)
	{
		Oid			table = lfirst_oid(cell);
		Rule		here = rule;

		if (get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE)
			continue;

		Relation	referencing = table_open(table, AccessShareLock);

		if (referencing->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("partition \"%s\" is a foreign table", RelationGetRelationName(referencing)),
					 errhint("A reference needs rows that can be checked and locked.")));
		if (table != rule.referencing)
			here.column = get_attnum(table, get_attname(rule.referencing, rule.column, false));
		check_one_table(here, referencing, &probe, snapshot);
		table_close(referencing, NoLock);
	}
	end_probe(&probe);
	UnregisterSnapshot(snapshot);
	table_close(referenced, NoLock);
}

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
