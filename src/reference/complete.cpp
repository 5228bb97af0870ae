/*
 * complete.cpp
 *	  What belongs to a rule beyond its trigger: leave to reference, guards,
 *	  and the look at the rows that are there already.
 *
 * integrity.complete_rule() is an event trigger, so that CREATE TRIGGER written
 * by hand is the same as integrity.add_reference(): without it such a rule
 * would check inserts and leak on every delete. A dump holds the guards
 * itself, so while check_function_bodies is off, as pg_dump and pg_restore
 * set it, none are made.
 */
#include "catalog.h"
#include "commands.h"
#include "complete.h"
#include "dependency.h"
#include "guards.h"
#include "partitions.h"
#include "updates.h"
#include "validate.h"

namespace integrity
{

/*
 * A statement that is under way took its list of triggers when it began, and
 * would bring rows that nobody checks. As ALTER TABLE ADD FOREIGN KEY.
 */
void
require_not_in_use(Oid table, const char *what)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(table, AccessShareLock, nullptr))
	{
		Relation	rel = table_open(lfirst_oid(cell), NoLock);

		if (rel->rd_refcnt > 1 && (lfirst_oid(cell) == table || rel->rd_rel->relispartition))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("cannot %s \"%s\" because it is being used by active queries in this session", what,
							RelationGetRelationName(rel))));
		table_close(rel, NoLock);
	}
}

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

/* A rule that is valid stays so only if its rows hold. */
void
look_again(const Rule &rule)
{
	char	   *reason;

	if (rule.options.not_valid || existing_rows_hold(rule, &reason))
		return;
	mark_not_valid(rule.trigger);
	ereport(WARNING,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 errmsg("rule \"%s\" of table \"%s\" is not valid", NameStr(rule.name), get_rel_name(rule.referencing)),
			 pg::owns_table(rule.referencing, GetUserId()) ? errdetail("Existing rows break it: %s.", reason) : 0,
			 errhint("integrity_report() tells how many, integrity.repair() mends them.")));
}

/*
 * A dump grants privileges last, so a superuser who restores is not asked for
 * them. Rows are checked as those of a foreign key are; but where that one is
 * lost with its first broken row, this rule is kept, and is not valid.
 */
void
complete_restored_rule(Oid trigger)
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
	wait_for_deleters(rule);

	/* A parallel restore may make partitions of the index later. Then only the report can tell whether the rows hold. */
	bool		works = load_rule(trigger, &rule, &problem);

	forget_row_type(rule.referenced);
	if (OidIsValid(rule.index))
		depend_on_index(rule);
	tie_update_triggers(rule.referencing);
	if (works)
		look_again(rule);
}

} /* namespace */

List *
unguarded_rules(Oid referenced)
{
	List	   *result = NIL;

	for (const Rule *rule : rules_referencing(referenced))
		if (!rule->problem && !rule->options.not_valid && rule_is_enforced(rule->enabled) && !is_guarded(*rule))
			result = lappend_oid(result, rule->trigger);
	return result;
}

void
look_again_at(List *rules)
{
	ListCell   *cell;

	foreach(cell, rules)
	{
		/* No row comes meanwhile that is not checked; the lock is for the change of the trigger, as in validation. */
		find_all_inheritors(fetch_rule(lfirst_oid(cell))->referencing, ShareUpdateExclusiveLock, nullptr);

		Rule		rule;
		Problem		problem = {};

		if (load_rule(lfirst_oid(cell), &rule, &problem))
			look_again(rule);
	}
}

Rule
complete_rule(Oid trigger)
{
	Rule		rule;
	Problem		problem = {};

	if (!load_rule(trigger, &rule, &problem))
		raise(problem);
	require_ownership(rule);
	require_references(rule, GetUserId());
	refuse_foreign_tables(rule.referencing);
	require_not_in_use(rule.referencing, "declare a rule of");
	LockRelationOid(rule.referenced, ShareRowExclusiveLock);
	depend_on_index(rule);
	forget_row_type(rule.referenced);

	/* The rows of this one are the caller's to check. */
	List	   *unguarded = list_delete_oid(unguarded_rules(rule.referenced), trigger);

	ensure_guards(rule);
	look_again_at(unguarded);
	ensure_update_triggers(rule.referencing, trigger, true);
	return rule;
}

namespace
{

/*
 * pg_upgrade makes the parts of the extension one by one, its event triggers
 * last: when the rules were made nobody looked after what they depend on. That
 * is made up for when the event trigger itself joins the extension, and for
 * rules of an older version when that is updated. The other things are in the
 * dump, or known from before.
 */
bool
is_upgraded(Node *statement)
{
	if (IsA(statement, AlterExtensionStmt))
		return strcmp(castNode(AlterExtensionStmt, statement)->extname, "integrity") == 0;
	if (!IsA(statement, AlterExtensionContentsStmt))
		return false;

	auto		contents = castNode(AlterExtensionContentsStmt, statement);

	return contents->objtype == OBJECT_EVENT_TRIGGER && contents->action > 0 && strcmp(contents->extname, "integrity") == 0;
}

void
tie_all_rules()
{
	Relation	pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;

	ScanKeyInit(&key, Anum_pg_trigger_tgfoid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(function_oid("check_reference")));
	SysScanDesc scan = systable_beginscan(pg_trigger, InvalidOid, false, nullptr, 1, &key);

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		Rule		rule;
		Problem		problem = {};

		if (!OidIsValid(trigger_form(tuple)->tgparentid) && load_rule(trigger_form(tuple)->oid, &rule, &problem))
		{
			depend_on_index(rule);
			forget_row_type(rule.referenced);
			tie_update_triggers(rule.referencing);
		}
	}
	systable_endscan(scan);
	table_close(pg_trigger, AccessShareLock);
}

/* The table of a trigger that calls this function and is no clone, or invalid. */
Oid
table_of_declared(Oid trigger, const char *function)
{
	Oid			table = InvalidOid;
	Oid			oid = function_oid(function);

	with_trigger_row(trigger, [&](HeapTuple tuple, TupleDesc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		if (form->tgfoid == oid && !OidIsValid(form->tgparentid))
			table = form->tgrelid;
	});
	return table;
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

		Oid			update_table = classid == TriggerRelationId ? table_of_declared(objid, "check_update") : InvalidOid;

		if (OidIsValid(update_table))
			tie_update_triggers(update_table);
		else if (classid == TriggerRelationId && OidIsValid(table_of_declared(objid, "check_reference")))
		{
			if (!check_function_bodies)
			{
				complete_restored_rule(objid);
				continue;
			}

			Rule		rule = complete_rule(objid);

			if (!rule.options.not_valid && rule_is_enforced(rule.enabled))
				check_existing_rows(rule);
		}
		else if (classid == TriggerRelationId)
		{
			with_trigger_row(objid, [&](HeapTuple tuple, TupleDesc) { update_table = trigger_form(tuple)->tgrelid; });
			drop_replaced_update_triggers(update_table);	/* it may have been a rule */
		}
		else if (classid == RelationRelationId)
		{
			if (get_rel_relkind(objid) == RELKIND_FOREIGN_TABLE && rule_triggers(objid, true) != NIL)
				refuse_foreign_tables(objid);
			forget_row_types(objid);
			complete_partitions(objid);
		}
	}
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");

	Node	   *statement = reinterpret_cast<EventTriggerData *>(fcinfo->context)->parsetree;

	if (IsA(statement, AlterTableStmt))
		complete_alter_table(castNode(AlterTableStmt, statement));
	if (is_upgraded(statement))
		tie_all_rules();
	PG_RETURN_NULL();
}
}
