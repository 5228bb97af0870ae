/*
 * validate.cpp
 *	  Records that the rows that were there before the rule were checked, or
 *	  that they are no longer known to be sound.
 */
#include "catalog.h"
#include "check.h"
#include "validate.h"

namespace integrity
{
namespace
{

/* The trigger's arguments with or without 'not valid', as pg_trigger stores them. */
bytea *
arguments_for(bool valid, bytea *arguments, int count, int16 *kept)
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
	if (!valid)
	{
		appendBinaryStringInfo(&buffer, "not valid", sizeof("not valid"));
		(*kept)++;
	}

	auto	   *result = static_cast<bytea *>(palloc(static_cast<size_t>(buffer.len) + VARHDRSZ));

	SET_VARSIZE(result, buffer.len + VARHDRSZ);
	memcpy(VARDATA(result), buffer.data, static_cast<size_t>(buffer.len));
	return result;
}

/*
 * Changes the row of pg_trigger in place, as VALIDATE CONSTRAINT changes that
 * of pg_constraint: CREATE OR REPLACE TRIGGER would need a stronger lock, and
 * cannot replace a constraint trigger at all.
 */
void
set_validity(Oid trigger, bool valid)
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
			PointerGetDatum(arguments_for(valid, DatumGetByteaPP(arguments), form->tgnargs, &kept));
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
		set_validity(lfirst_oid(cell), valid);
}

/* The same for a native foreign key, as if it were declared NOT VALID. */
void
set_constraint_not_valid(Oid constraint)
{
	Relation	pg_constraint = table_open(ConstraintRelationId, RowExclusiveLock);
	SysScanDesc scan = systable_beginscan(pg_constraint, InvalidOid, false, nullptr, 0, nullptr);
	List	   *clones = NIL;
	ListCell   *cell;

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		auto	   *form = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple));

		if (form->conparentid == constraint && form->contype == CONSTRAINT_FOREIGN)
			clones = lappend_oid(clones, form->oid);
		if (form->oid != constraint || !form->convalidated)
			continue;

		HeapTuple	changed = heap_copytuple(tuple);

		form = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(changed));
		form->convalidated = false;
		CatalogTupleUpdate(pg_constraint, &changed->t_self, changed);
		CacheInvalidateRelcacheByRelid(form->conrelid);
	}
	systable_endscan(scan);
	table_close(pg_constraint, NoLock);
	CommandCounterIncrement();

	foreach(cell, clones)
		set_constraint_not_valid(lfirst_oid(cell));
}

/* Validation takes the same lock, so it comes either before or after. */
void
lock_owned_table(Oid table)
{
	if (!OidIsValid(table))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no such rule")));
	if (!pg::owns_table(table, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(table));
	LockRelationOid(table, ShareUpdateExclusiveLock);
	find_all_inheritors(table, ShareUpdateExclusiveLock, nullptr); /* the copies on partitions are changed as well */
}

} /* namespace */

void
mark_valid(Oid trigger)
{
	set_validity(trigger, true);
}

void
mark_not_valid(Oid trigger)
{
	set_validity(trigger, false);
}

void
validate_rule(const Rule &named)
{
	/* Only under a lock on its table is the index of the key sure to stay: REINDEX CONCURRENTLY drops the old one. */
	LockRelationOid(named.referenced, RowShareLock);

	const Rule *rule = fetch_rule(named.trigger);

	require_owner_references(*rule, rule->referencing);
	check_existing_rows(*rule);
	mark_valid(rule->trigger);
}

} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_mark_not_valid);

/*
 * Of a rule, by the OID of its trigger, or of a foreign key, by that of its
 * constraint; the other one is 0.
 */
PGDLLEXPORT Datum
integrity_mark_not_valid(PG_FUNCTION_ARGS)
{
	Oid			trigger = PG_GETARG_OID(0);
	Oid			constraint = PG_GETARG_OID(1);
	Oid			table = InvalidOid;
	Oid			check_function = function_oid("check_reference");

	if (OidIsValid(constraint))
	{
		HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));

		if (HeapTupleIsValid(tuple))
		{
			auto	   *form = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple));

			if (form->contype == CONSTRAINT_FOREIGN)
				table = form->conrelid;
			ReleaseSysCache(tuple);
		}
		lock_owned_table(table);
		set_constraint_not_valid(constraint);
		return Datum{};
	}

	with_trigger_row(trigger, [&](HeapTuple tuple, TupleDesc)
	{
		if (trigger_form(tuple)->tgfoid == check_function)
			table = trigger_form(tuple)->tgrelid;
	});
	lock_owned_table(table);
	set_validity(trigger, false);
	return Datum{};
}
}
