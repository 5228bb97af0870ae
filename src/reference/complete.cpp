/*
 * complete.cpp
 *	  What belongs to a rule beyond its trigger: leave to reference, guards,
 *	  and the look at the rows that are there already.
 *
 * integrity.complete_rule() is an event trigger, so that CREATE TRIGGER written
 * by hand is the same as integrity.add_reference(): without it such a rule
 * would check inserts and leak on every delete. A dump holds the guards
 * itself and its rows were checked when they were written, so while
 * check_function_bodies is off, as pg_dump and pg_restore set it, only
 * privileges are looked at.
 */
#include "catalog.h"
#include "complete.h"
#include "guards.h"
#include "partitions.h"
#include "validate.h"

namespace integrity
{

void
require_references(const Rule &rule, Oid role)
{
	for (Oid each : {role, table_owner(rule.referencing)})
		if (!has_references_privilege(rule, each))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for table %s", get_rel_name(rule.referenced)),
					 errdetail("Role \"%s\" may not reference column \"%s\" of it.", GetUserNameFromId(each, false),
							   get_attname(rule.referenced, rule.key, false)),
					 errhint("%s", references_grant_hint(rule))));
}

namespace
{

void
require_ownership(const Rule &rule)
{
	if (!pg::owns_table(rule.referencing, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table %s", get_rel_name(rule.referencing)),
				 errhint("Only the owner of the referencing table can declare its references.")));
}

/*
 * Dropping the unique index takes CASCADE and takes the rule along, as with a
 * foreign key. pg_dump sees the dependency, too, so a parallel restore makes
 * the index before the trigger.
 */
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

/*
 * The null of a row type in a rule's condition stores nothing, but PostgreSQL
 * takes it for a use of that type and, since some minor version, refuses every
 * ALTER TABLE that gives a column of the referenced table values, ADD COLUMN
 * with a DEFAULT among them. So this dependency goes, for the rules of the
 * table and their clones. The one on the key's column holds all that it held.
 */
void
forget_row_type(Oid referenced)
{
	Oid			row_type = get_rel_type_id(referenced);
	Oid			check_function = function_oid("check_reference");
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
			is_rule = trigger_form(tuple)->tgfoid == check_function;
		});
		if (is_rule)
			deleteDependencyRecordsForSpecific(TriggerRelationId, lfirst_oid(cell), DEPENDENCY_NORMAL, TypeRelationId, row_type);
	}
}

/* The same for what a new or attached partition has got. */
void
forget_row_types(Oid referencing)
{
	List	   *triggers = rule_triggers(referencing, false);
	ListCell   *cell;

	foreach(cell, triggers)
	{
		Rule		rule;
		Problem		problem = {};

		load_rule(lfirst_oid(cell), &rule, &problem);
		if (OidIsValid(rule.referenced))
			forget_row_type(rule.referenced);
	}
}

/*
 * During a restore only the form and the privileges of a rule are looked at.
 * A dump grants privileges last, so a superuser who restores is not asked for
 * them.
 */
void
check_restored_rule(Oid trigger)
{
	Rule		rule;
	Problem		problem = {};
	bool		well_formed = false;

	with_trigger_row(trigger, [&](HeapTuple tuple, TupleDesc desc)
	{
		well_formed = read_rule(tuple, desc, &rule, &problem);
	});
	if (!well_formed)
		raise(problem);
	require_ownership(rule);
	if (!superuser())
		require_references(rule, GetUserId());
	forget_row_type(rule.referenced);
	if (load_rule(trigger, &rule, &problem))
		depend_on_index(rule);
}

} /* namespace */

Rule
complete_rule(Oid trigger)
{
	Rule		rule;
	Problem		problem = {};

	if (!load_rule(trigger, &rule, &problem))
		raise(problem);
	require_ownership(rule);
	require_references(rule, GetUserId());
	LockRelationOid(rule.referenced, ShareRowExclusiveLock);
	depend_on_index(rule);
	forget_row_type(rule.referenced);
	ensure_guards(rule);
	return rule;
}

namespace
{

bool
is_declared_rule(Oid trigger)
{
	bool		is_rule = false;
	Oid			check_function = function_oid("check_reference");

	with_trigger_row(trigger, [&](HeapTuple tuple, TupleDesc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		is_rule = form->tgfoid == check_function && !OidIsValid(form->tgparentid);
	});
	return is_rule;
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_complete_rule);

PGDLLEXPORT Datum
integrity_complete_rule(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"integrity.complete_rule\" was not called by event trigger manager"),
				 errhint("It belongs to the event trigger integrity_complete_rule.")));

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute("SELECT c.classid, c.objid FROM pg_catalog.pg_event_trigger_ddl_commands() c", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the commands of the event trigger");

	SPITupleTable *commands = SPI_tuptable;
	uint64		count = SPI_processed;

	for (uint64 i = 0; i < count; i++)
	{
		bool		isnull;
		Oid			classid = DatumGetObjectId(SPI_getbinval(commands->vals[i], commands->tupdesc, 1, &isnull));
		Oid			objid = DatumGetObjectId(SPI_getbinval(commands->vals[i], commands->tupdesc, 2, &isnull));

		if (classid == TriggerRelationId && is_declared_rule(objid))
		{
			if (!check_function_bodies)
			{
				check_restored_rule(objid);
				continue;
			}

			Rule		rule = complete_rule(objid);

			if (!rule.options.not_valid && rule_is_enforced(rule.enabled))
				check_existing_rows(rule);
		}
		else if (classid == RelationRelationId)
		{
			forget_row_types(objid);
			if (check_function_bodies)
				complete_partitions(objid);
		}
	}
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");

	Node	   *statement = reinterpret_cast<EventTriggerData *>(fcinfo->context)->parsetree;

	if (check_function_bodies && IsA(statement, AlterTableStmt))
		complete_alter_table(castNode(AlterTableStmt, statement));
	PG_RETURN_NULL();
}
}
