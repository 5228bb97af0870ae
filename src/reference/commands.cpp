/*
 * commands.cpp
 *	  What commands do to tables without any row trigger firing.
 *
 * ATTACH brings rows that nobody has checked; DETACH and DROP take keys away
 * without deleting a row; SET UNLOGGED has a crash do so. A native foreign key
 * has hooks in these commands; event triggers are what an extension has. They
 * see the statement before and after it is carried out.
 */
#include "catalog.h"
#include "commands.h"
#include "dropped.h"
#include "guards.h"
#include "partitions.h"
#include "updates.h"

namespace integrity
{
namespace
{

Oid
table_of(RangeVar *name)
{
	return RangeVarGetRelid(name, NoLock, true);
}

Oid
partition_of(const AlterTableCmd *command)
{
	return table_of(reinterpret_cast<PartitionCmd *>(command->def)->name);
}

/*
 * The table of this name, locked as the command will lock it: what is looked
 * at before may be changed by whoever has a lock now. Invalid if there is
 * none, or if it is not the user's; that is the command's own error.
 */
Oid
lock_own_table(RangeVar *name, LOCKMODE lock)
{
	Oid			table;

	/* While we wait, the name may become that of another table. */
	for (Oid locked = InvalidOid; (table = table_of(name)) != locked; locked = table)
	{
		if (!OidIsValid(table) || !pg::owns_table(table, GetUserId()))
			return InvalidOid;
		LockRelationOid(table, lock);
	}
	return table;
}

/*
 * A referenced table is to become a partition or an inheritance child: its
 * guards must fit. What the command itself will refuse is left to it.
 */
void
prepare_attach(Oid parent, Oid child, bool attach)
{
	if (!OidIsValid(parent) || !OidIsValid(child) || !pg::owns_table(parent, GetUserId()) ||
		!pg::owns_table(child, GetUserId()))
		return;

	/* The locks of the command, in its order: somebody may be declaring the first rule of this table. */
	if (attach)
		LockRelationOid(parent, ShareUpdateExclusiveLock);
	LockRelationOid(child, AccessExclusiveLock);
	prepare_update_triggers_for_parent(child, parent);
	drop_own_unneeded_guards(child); /* what a dropped table has left behind must not be in the way */
	if (!rules_referencing(child).empty())
		prepare_guards_for_parent(child, parent);
}

[[noreturn]] void
refuse_persistence(Oid table, const char *to, const char *other_is, Oid other, const Rule &rule)
{
	Relation	rel = table_open(table, AccessShareLock);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
			 errmsg("could not change table \"%s\" to %s because it references %s table \"%s\"",
					RelationGetRelationName(rel), to, other_is, get_rel_name(other)),
			 errtableconstraint(rel, NameStr(rule.name))));
}

/* A crash empties unlogged tables, so their keys are not for tables that survive it. PostgreSQL's own words for it. */
void
keep_persistence(RangeVar *name, bool to_logged)
{
	Oid			table = lock_own_table(name, AccessExclusiveLock);
	ListCell   *cell;

	if (!OidIsValid(table))
		return;
	if (to_logged)
	{
		foreach(cell, rule_triggers(table, false))
		{
			Rule		rule;
			Problem		problem = {};

			load_rule(lfirst_oid(cell), &rule, &problem);
			if (!OidIsValid(rule.referenced) || rule.referenced == table)
				continue;
			LockRelationOid(rule.referenced, AccessShareLock); /* somebody may just be changing it */
			if (get_rel_persistence(rule.referenced) != RELPERSISTENCE_PERMANENT)
				refuse_persistence(table, "logged", "unlogged", rule.referenced, rule);
		}
		return;
	}

	List	   *tables = lappend_oid(get_rel_relispartition(table) ? get_partition_ancestors(table) : NIL, table);

	/* Somebody may just be changing the other one, or dropping it. */
	foreach(cell, tables)
		for (const Rule *rule : rules_referencing(lfirst_oid(cell)))
			LockRelationOid(rule->referencing, AccessShareLock);
	foreach(cell, tables)
		for (const Rule *rule : rules_referencing(lfirst_oid(cell)))
			if (rule->referencing != table && get_rel_persistence(rule->referencing) == RELPERSISTENCE_PERMANENT)
				refuse_persistence(table, "unlogged", "logged", rule->referencing, *rule);
}

/*
 * The column has got another expression, and every row refers to something
 * else. (That of a key is not changed while a rule depends on its index.)
 */
void
check_generated(Oid table, const char *column)
{
	ListCell   *cell;
	ListCell   *rule_cell;

	foreach(cell, find_all_inheritors(table, NoLock, nullptr))
		foreach(rule_cell, rule_triggers(lfirst_oid(cell), false))
			if (fetch_rule(lfirst_oid(rule_cell))->column == get_attnum(lfirst_oid(cell), column))
				check_unseen_rows(lfirst_oid(rule_cell));
}

/*
 * Checks that are put off, be it only to the end of the statement, ask then
 * whether their guard and the rule are enabled. PostgreSQL refuses to alter a
 * table that they wait for, but does not look at its partitions, and to disable
 * a rule is to alter the table at its other end.
 */
void
keep_triggers_of_pending_checks(Oid table, const char *name)
{
	List	   *triggers = NIL;
	ListCell   *cell;

	if (!OidIsValid(table) || !pg::owns_table(table, GetUserId()))
		return;
	for_each_trigger(table, [&](HeapTuple tuple, TupleDesc)
	{
		if (name == nullptr || strcmp(NameStr(trigger_form(tuple)->tgname), name) == 0)
			triggers = lappend_oid(triggers, trigger_form(tuple)->oid);
	});
	foreach(cell, triggers)
		keep_pending_checks(lfirst_oid(cell), "disable", false);
	foreach(cell, rule_triggers(table, false))
	{
		Rule		rule;
		Problem		problem = {};

		if (!list_member_oid(triggers, lfirst_oid(cell)))
			continue;
		load_rule(lfirst_oid(cell), &rule, &problem);
		if (rule.deferrable && OidIsValid(rule.referenced) && rule_is_enforced(rule.enabled))
			require_no_pending_checks(rule.referenced, "disable a rule that refers to");
	}
}

/*
 * What an update trigger has queued, it checks if the rule is as enabled as
 * itself. So neither changes while something is queued, on partitions either.
 */
void
keep_states_of_pending_updates(Oid table, const char *name)
{
	Oid			check = function_oid("check_reference");
	Oid			check_update = function_oid("check_update");
	bool		concerned = false;

	if (!OidIsValid(table) || !pg::owns_table(table, GetUserId()))
		return;
	for_each_trigger(table, [&](HeapTuple tuple, TupleDesc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		concerned |= (name == nullptr || strcmp(NameStr(form->tgname), name) == 0) &&
			(form->tgfoid == check_update || (form->tgfoid == check && !TRIGGER_FOR_UPDATE(form->tgtype)));
	});
	if (concerned)
		require_no_pending_checks(table, "enable or disable a rule of");
}

bool
is_rule_of(Oid table, const char *name)
{
	Oid			trigger = get_trigger_oid(table, name, true);

	return OidIsValid(trigger) && list_member_oid(rule_triggers(table, false), trigger);
}

/*
 * Rules are about to be enabled, and with them their update triggers. Rules
 * that are enforced already, and whose update trigger was missing, must not
 * become guarded unseen.
 */
void
before_enable(RangeVar *relation, const char *name)
{
	Oid			table = table_of(relation);

	keep_states_of_pending_updates(table, name);
	if (!check_function_bodies || !OidIsValid(table) || (name && !is_rule_of(table, name)))
		return;
	table = lock_own_table(relation, ShareRowExclusiveLock);
	if (OidIsValid(table))
		ensure_update_triggers(table, InvalidOid, true);
}

/* CREATE OR REPLACE is refused for a table with checks that wait, but not if they are of a partition. */
void
before_create_trigger(CreateTrigStmt *statement)
{
	Oid			table = statement->replace ? table_of(statement->relation) : InvalidOid;
	Oid			trigger = OidIsValid(table) ? get_trigger_oid(table, statement->trigname, true) : InvalidOid;

	if (OidIsValid(trigger) && pg::owns_table(table, GetUserId()))
		keep_pending_checks(trigger, "replace", true);
}

} /* namespace */

void
complete_alter_table(AlterTableStmt *statement)
{
	Oid			table = table_of(statement->relation);
	ListCell   *cell;
	ListCell   *rule_cell;

	if (!OidIsValid(table))
		return;
	foreach(cell, statement->cmds)
	{
		auto	   *command = static_cast<AlterTableCmd *>(lfirst(cell));

		switch (command->subtype)
		{
			case AT_AttachPartition:
				/* Somebody may have made another table of this name, in another schema of the search path. */
				if (parent_of(partition_of(command)) != table)
					ereport(ERROR,
							(errcode(ERRCODE_OBJECT_IN_USE),
							 errmsg("the name of the partition that was attached belongs to another table now"),
							 errhint("Try again, with names that are qualified by their schemas.")));
				check_attached(partition_of(command));
				break;
			case AT_EnableTrig:
			case AT_EnableAlwaysTrig:
			case AT_EnableReplicaTrig:
			case AT_EnableTrigAll:
			case AT_EnableTrigUser:
				/* A parallel restore does this to tables that refer to each other, and nobody deletes beside it. */
				if (!check_function_bodies)
					break;
				/* What was enforced already has been looked at before the command. */
				if (command->name == nullptr || is_rule_of(table, command->name))
					ensure_update_triggers(table, InvalidOid, false);
				foreach(rule_cell, rule_triggers(table, false))
				{
					Rule		rule;
					Problem		problem = {};

					if (load_rule(lfirst_oid(rule_cell), &rule, &problem) && rule.enabled != TRIGGER_DISABLED)
						wait_for_deleters(rule);
				}
				break;
			case AT_DetachPartition:
				/* The table that is detached keeps the guards that it needs itself, and those alone. */
				if (OidIsValid(partition_of(command)))
					drop_unneeded_guards(partition_of(command));
				break;
			default:
				if (pg::sets_expression(command))
					check_generated(table, command->name);
				break;
		}
	}
}

bool
commands_are_watched()
{
	Relation	pg_event_trigger = table_open(EventTriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_event_trigger, InvalidOid, false, nullptr, 0, nullptr);
	const char *setting = GetConfigOption("event_triggers", true, false);	/* from 17 on */
	int			watching = 0;

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		auto	   *form = reinterpret_cast<Form_pg_event_trigger>(GETSTRUCT(tuple));

		if ((form->evtfoid == function_oid("complete_rule") || form->evtfoid == function_oid("keep_keys")) &&
			rule_is_enforced(form->evtenabled))
			watching++;
	}
	systable_endscan(scan);
	table_close(pg_event_trigger, AccessShareLock);
	return watching == 2 && (!setting || strcmp(setting, "on") == 0);
}

namespace
{

void
before_detach(RangeVar *name, const AlterTableCmd *command)
{
	bool		concurrently = reinterpret_cast<PartitionCmd *>(command->def)->concurrent;

	/* With this lock none of its partitions comes or goes. DETACH is for its owner; the command says so to anybody else. */
	Oid			table = lock_own_table(name, concurrently ? ShareUpdateExclusiveLock : AccessExclusiveLock);
	Oid			seen = InvalidOid;
	Oid			partition;

	/* The command waits for this one, too, before it looks for the name. */
	if (OidIsValid(table) && OidIsValid(get_default_partition_oid(table)) && !concurrently)
		LockRelationOid(get_default_partition_oid(table), AccessExclusiveLock);

	/* Its name may have become that of another one while we waited for locks. */
	while (OidIsValid(table) && (partition = partition_of(command)) != seen)
	{
		if (OidIsValid(partition) && parent_of(partition) == table)
			keep_keys_of_partition(partition, concurrently, nullptr);
		seen = partition;
	}
}

void
before_alter_table(AlterTableStmt *statement)
{
	Oid			table = table_of(statement->relation);
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		auto	   *command = static_cast<AlterTableCmd *>(lfirst(cell));

		switch (command->subtype)
		{
			case AT_AttachPartition:
				prepare_attach(table, partition_of(command), true);
				break;
			case AT_AddInherit:
				prepare_attach(table_of(reinterpret_cast<RangeVar *>(command->def)), table, false);
				break;
			case AT_DetachPartition:
				before_detach(statement->relation, command);
				break;
			case AT_SetLogged:
			case AT_SetUnLogged:
				keep_persistence(statement->relation, command->subtype == AT_SetLogged);
				break;
			case AT_EnableTrig:
			case AT_EnableAlwaysTrig:
			case AT_EnableTrigAll:
			case AT_EnableTrigUser:
				before_enable(statement->relation, command->name);
				break;
			case AT_DisableTrig:
			case AT_DisableTrigAll:
			case AT_DisableTrigUser:
			case AT_EnableReplicaTrig:
				if (command->subtype == AT_EnableReplicaTrig)
					before_enable(statement->relation, command->name);
				else
					keep_states_of_pending_updates(table, command->name);
				keep_triggers_of_pending_checks(table, command->name);
				break;
			default:
				break;
		}
	}
}

void
before_drop(Node *statement)
{
	List	   *seen = NIL;
	Dropped		dropped;
	ListCell   *cell;

	/* While we wait for locks, a name may become that of another table, and a table a partition. */
	while (!equal((dropped = objects_dropped_by(statement)).tables, seen))
	{
		foreach(cell, dropped.tables)
			lock_to_remove(lfirst_oid(cell), false);
		seen = dropped.tables;
	}

	/*
	 * A rule that goes with something else takes its checks along, as a
	 * foreign key does. By itself it does not go before they are made.
	 */
	bool		by_name = IsA(statement, DropStmt) && castNode(DropStmt, statement)->removeType == OBJECT_TRIGGER;

	foreach(cell, dropped.triggers)
		keep_pending_checks(lfirst_oid(cell), "drop", by_name);

	/* A partition that goes with the table it is a partition of is looked at with that table. */
	foreach(cell, dropped.tables)
		if (!is_dropped(dropped, RelationRelationId, parent_of(lfirst_oid(cell))))
			keep_keys_of_partition(lfirst_oid(cell), false, &dropped);
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_keep_keys);

/* The event trigger at the start of commands that could take keys away. */
PGDLLEXPORT Datum
integrity_keep_keys(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"integrity.keep_keys\" was not called by event trigger manager"),
				 errhint("It belongs to the event trigger integrity_keep_keys.")));

	Node	   *statement = reinterpret_cast<EventTriggerData *>(fcinfo->context)->parsetree;

	if (IsA(statement, AlterTableStmt))
		before_alter_table(castNode(AlterTableStmt, statement));
	else if (IsA(statement, CreateTrigStmt))
		before_create_trigger(castNode(CreateTrigStmt, statement));
	else
		before_drop(statement);
	PG_RETURN_NULL();
}
}
