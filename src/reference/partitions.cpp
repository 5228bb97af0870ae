/*
 * partitions.cpp
 *	  What happens to partitions without any row trigger firing.
 *
 * ATTACH brings rows that nobody has checked; DETACH and DROP take keys away
 * without deleting a row. A native foreign key has hooks in these commands;
 * event triggers are what an extension has. They see the statement before and
 * after it is carried out.
 */
#include "action.h"
#include "catalog.h"
#include "guarded.h"
#include "guards.h"
#include "partitions.h"
#include "validate.h"
#include "violation.h"

namespace integrity
{
namespace
{

constexpr size_t keys_per_pass = 10000;

void
refuse_referenced_keys(const Rule &rule, Relation partition, Relation leaf, AttrNumber key, std::span<Datum> keys)
{
	if (keys.empty() || !is_referenced(rule, make_action_keys(rule, keys)))
		return;
	for (Datum each : keys)
		if (is_referenced(rule, make_action_keys(rule, {&each, 1})))
			report_removed_partition(rule, partition, leaf, key, each);
}

/* Raises if a key of this leaf is referenced; its table is locked against change. */
void
check_leaf(const Rule &rule, Relation partition, Oid leaf_oid, Snapshot snapshot)
{
	Relation	leaf = table_open(leaf_oid, AccessShareLock);
	AttrNumber	key = get_attnum(leaf_oid, get_attname(rule.referenced, rule.key, false));
	Layout		layout = layout_of_column(leaf, key);
	MemoryContext pass = AllocSetContextCreate(CurrentMemoryContext, "integrity keys of a partition", ALLOCSET_DEFAULT_SIZES);
	auto	   *keys = static_cast<Datum *>(palloc(sizeof(Datum) * keys_per_pass));
	size_t		count = 0;
	TupleTableSlot *slot = table_slot_create(leaf, nullptr);
	TableScanDesc scan = pg::begin_table_scan(leaf, snapshot);
	MemoryContext saved = MemoryContextSwitchTo(pass);

	for (bool more = true; more;)
	{
		Datum		value;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(saved);
		more = table_scan_getnextslot(scan, ForwardScanDirection, slot);
		MemoryContextSwitchTo(pass);
		if (more && key_of(slot, key, layout, &value))
			keys[count++] = datumCopy(value, layout.byval, layout.len);
		if (count == keys_per_pass || !more)
		{
			refuse_referenced_keys(rule, partition, leaf, key, {keys, count});
			count = 0;
			MemoryContextReset(pass);
		}
	}
	MemoryContextSwitchTo(saved);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(pass);
	table_close(leaf, NoLock);
}

/* DETACH is for the owner of the table above, DROP for that of the partition or of its schema. */
bool
may_remove(Oid partition, bool detach)
{
	Oid			role = GetUserId();
	Oid			parent = parent_of(partition);

	if (!OidIsValid(parent) || get_rel_name(parent) == nullptr || get_rel_name(partition) == nullptr)
		return false;
	if (detach)
		return pg::owns_table(parent, role);
	return pg::owns_table(partition, role) || pg::owns_schema(get_rel_namespace(partition), role);
}

/*
 * Locks a partition and the table above as the command that removes it will,
 * in its order. False if it is no partition, or none any more.
 */
bool
lock_to_remove(Oid partition, bool concurrently)
{
	while (get_rel_relispartition(partition))
	{
		Oid			parent = parent_of(partition);

		if (!OidIsValid(parent))
			return false;
		LockRelationOid(parent, concurrently ? ShareUpdateExclusiveLock : AccessExclusiveLock);
		if (!concurrently)
			LockRelationOid(partition, AccessExclusiveLock);
		if (parent_of(partition) == parent)
			return true;
	}
	return false;
}

/*
 * A partition is about to go, perhaps one of a referenced table. First the
 * locks: then nobody is about to declare a rule, and no reference can come to
 * the keys any more. Then a look for those that are there.
 */
void
keep_keys(Oid partition_oid, bool concurrently, List *going_too)
{
	if (!lock_to_remove(partition_oid, concurrently))
		return;

	List	   *ancestors = get_partition_ancestors(partition_oid);
	bool		referenced = false;
	ListCell   *cell;

	foreach(cell, ancestors)
		referenced |= !rules_referencing(lfirst_oid(cell)).empty();
	if (!referenced)
		return;
	if (concurrently)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot detach partition \"%s\" concurrently", get_rel_name(partition_oid)),
				 errdetail("The table it is a partition of is referenced, and its keys cannot be kept from being referenced meanwhile."),
				 errhint("Use DETACH PARTITION without CONCURRENTLY.")));

	Relation	partition = table_open(partition_oid, NoLock);

	/* A check that was put off would be lost with the trigger that is to make it. */
	require_no_pending_checks(partition_oid, "remove partition");

	Guarded		guarded = collect_rules(partition, Scope::Above);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	for (int i = 0; i < guarded.count; i++)
	{
		const Rule &rule = *guarded.rules[i].rule;

		if (list_member_oid(going_too, rule.referencing))
			continue;
		require_working(rule);
		LockRelationOid(rule.referencing, RowShareLock);
		foreach(cell, find_all_inheritors(partition_oid, AccessShareLock, nullptr))
			if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION)
				check_leaf(rule, partition, lfirst_oid(cell), snapshot);
	}
	UnregisterSnapshot(snapshot);
	table_close(partition, NoLock);
}

} /* namespace */

void
complete_partitions(Oid table)
{
	Oid			root = table;
	bool		guarded = false;

	if (get_rel_relispartition(table))
		root = llast_oid(get_partition_ancestors(table));
	if (get_rel_relkind(root) != RELKIND_PARTITIONED_TABLE)
		return;

	ListCell   *cell;
	Oid			function = function_oid("guard_truncate");

	/* A sub-partitioned table may be referenced where its root is not. */
	foreach(cell, lappend_oid(get_rel_relispartition(table) ? get_partition_ancestors(table) : NIL, table))
	{
		guarded = false;
		for_each_trigger(lfirst_oid(cell), [&](HeapTuple tuple, TupleDesc)
		{
			guarded |= trigger_form(tuple)->tgfoid == function;
		});
		if (guarded)
			ensure_partition_guards(lfirst_oid(cell), false); /* what somebody has just disabled stays so */
	}
}

namespace
{

/* The triggers of a table that are rules, be it of its own or clones. */
List *
rule_triggers(Oid table, bool clones_only)
{
	Oid			check_function = function_oid("check_reference");
	List	   *triggers = NIL;

	for_each_trigger(table, [&](HeapTuple tuple, TupleDesc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		if (form->tgfoid == check_function && (!clones_only || OidIsValid(form->tgparentid)))
			triggers = lappend_oid(triggers, form->oid);
	});
	return triggers;
}

/*
 * Locks the referenced table as declaring the rule does. A key that is being
 * deleted by somebody who did not have this rule or these rows to look at must
 * be gone, or back, before anybody relies on it.
 */
void
wait_for_deleters(const Rule &rule)
{
	LockRelationOid(rule.referenced, ShareRowExclusiveLock);
	find_all_inheritors(rule.referenced, ShareRowExclusiveLock, nullptr); /* a DELETE may name a partition */
	CacheInvalidateRelcacheByRelid(rule.referenced);
}

void
check_attached(Oid partition)
{
	ListCell   *cell;

	if (!OidIsValid(partition))
		return;					/* an index, perhaps */
	foreach(cell, rule_triggers(partition, true))
	{
		const Rule *rule = fetch_rule(lfirst_oid(cell));

		if (!rule_fires(rule->enabled))
			continue;
		wait_for_deleters(*rule);
		rule = fetch_rule(lfirst_oid(cell)); /* REINDEX CONCURRENTLY may have held the lock, and dropped its index */
		if (!rule->options.not_valid)
			check_existing_rows(*rule);
	}
}

} /* namespace */

void
complete_alter_table(AlterTableStmt *statement)
{
	Oid			table = RangeVarGetRelid(statement->relation, NoLock, true);
	ListCell   *cell;
	ListCell   *rule_cell;

	foreach(cell, statement->cmds)
	{
		auto	   *command = static_cast<AlterTableCmd *>(lfirst(cell));

		switch (command->subtype)
		{
			case AT_AttachPartition:
				check_attached(RangeVarGetRelid(reinterpret_cast<PartitionCmd *>(command->def)->name, NoLock, true));
				break;
			case AT_EnableTrig:
			case AT_EnableAlwaysTrig:
			case AT_EnableTrigAll:
			case AT_EnableTrigUser:
				if (OidIsValid(table))
					foreach(rule_cell, rule_triggers(table, false))
					{
						Rule		rule;
						Problem		problem = {};

						if (load_rule(lfirst_oid(rule_cell), &rule, &problem) && rule_fires(rule.enabled))
							wait_for_deleters(rule);
					}
				break;
			case AT_DetachPartition:
				/* The table that is detached keeps the guards that it needs itself, and those alone. */
				{
					Oid			detached = RangeVarGetRelid(reinterpret_cast<PartitionCmd *>(command->def)->name, NoLock, true);

					if (OidIsValid(detached))
						drop_unneeded_guards(detached);
				}
				break;
			default:
				break;
		}
	}
}

namespace
{

/*
 * A referenced table is to become a partition or an inheritance child: its
 * guards must fit. What the command itself will refuse is left to it.
 */
void
prepare_attach(AlterTableStmt *statement, AlterTableCmd *command)
{
	bool		attach = command->subtype == AT_AttachPartition;
	Oid			table = RangeVarGetRelid(statement->relation, NoLock, true);
	Oid			other = RangeVarGetRelid(attach ? reinterpret_cast<PartitionCmd *>(command->def)->name :
										 reinterpret_cast<RangeVar *>(command->def), NoLock, true);
	Oid			parent = attach ? table : other;
	Oid			child = attach ? other : table;

	if (!OidIsValid(parent) || !OidIsValid(child) || !pg::owns_table(parent, GetUserId()) ||
		!pg::owns_table(child, GetUserId()))
		return;

	/* The locks of the command, in its order: somebody may be declaring the first rule of this table. */
	if (attach)
		LockRelationOid(parent, ShareUpdateExclusiveLock);
	LockRelationOid(child, AccessExclusiveLock);
	if (!rules_referencing(child).empty())
		prepare_guards_for_parent(child, parent);
}

/* Looks after the keys of each partition among these tables, which are about to be dropped. */
void
keep_dropped_keys(List *tables)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		bool		with_parent = false;
		ListCell   *ancestor;

		if (!get_rel_relispartition(lfirst_oid(cell)))
			continue;
		/* One that is dropped with the table it belongs to takes the rules along. */
		foreach(ancestor, get_partition_ancestors(lfirst_oid(cell)))
			with_parent |= list_member_oid(tables, lfirst_oid(ancestor));
		if (!with_parent && may_remove(lfirst_oid(cell), false))
			keep_keys(lfirst_oid(cell), false, tables);
	}
}

/* The tables of which a column of pg_class, their schema or their owner, has one of these values. */
List *
tables_where(AttrNumber column, List *values)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_class, InvalidOid, false, nullptr, 0, nullptr);
	List	   *tables = NIL;

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		auto	   *form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
		Oid			value = column == Anum_pg_class_relnamespace ? form->relnamespace : form->relowner;

		if ((form->relkind == RELKIND_RELATION || form->relkind == RELKIND_PARTITIONED_TABLE) &&
			list_member_oid(values, value))
			tables = lappend_oid(tables, form->oid);
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return tables;
}

/* The tables that this statement drops by name, with their schema, or with their owner. */
List *
dropped_tables(Node *statement)
{
	List	   *found = NIL;
	ListCell   *cell;

	if (IsA(statement, DropOwnedStmt))
	{
		foreach(cell, castNode(DropOwnedStmt, statement)->roles)
			found = lappend_oid(found, get_rolespec_oid(static_cast<RoleSpec *>(lfirst(cell)), true));
		return tables_where(Anum_pg_class_relowner, found);
	}
	if (!IsA(statement, DropStmt))
		return NIL;

	DropStmt   *drop = castNode(DropStmt, statement);

	if (drop->removeType == OBJECT_TABLE)
		foreach(cell, drop->objects)
			found = lappend_oid(found, RangeVarGetRelid(makeRangeVarFromNameList(static_cast<List *>(lfirst(cell))), NoLock, true));
	else if (drop->removeType == OBJECT_SCHEMA && drop->behavior == DROP_CASCADE)
	{
		foreach(cell, drop->objects)
			found = lappend_oid(found, get_namespace_oid(strVal(lfirst(cell)), true));
		found = tables_where(Anum_pg_class_relnamespace, found);
	}
	return found;
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_keep_keys);

/* The event trigger at the start of the commands that can remove a partition. */
PGDLLEXPORT Datum
integrity_keep_keys(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"integrity.keep_keys\" was not called by event trigger manager"),
				 errhint("It belongs to the event trigger integrity_keep_keys.")));

	Node	   *statement = reinterpret_cast<EventTriggerData *>(fcinfo->context)->parsetree;
	ListCell   *cell;

	if (IsA(statement, AlterTableStmt))
	{
		foreach(cell, castNode(AlterTableStmt, statement)->cmds)
		{
			auto	   *command = static_cast<AlterTableCmd *>(lfirst(cell));

			if (command->subtype == AT_AttachPartition || command->subtype == AT_AddInherit)
				prepare_attach(castNode(AlterTableStmt, statement), command);
			else if (command->subtype == AT_DetachPartition)
			{
				auto	   *detach = reinterpret_cast<PartitionCmd *>(command->def);
				Oid			seen = InvalidOid;
				Oid			partition;

				/* Its name may have become that of another one while we waited for locks. */
				while ((partition = RangeVarGetRelid(detach->name, NoLock, true)) != seen)
				{
					if (may_remove(partition, true))
						keep_keys(partition, detach->concurrent, NIL);
					seen = partition;
				}
			}
		}
		PG_RETURN_NULL();
	}

	/* While we waited for locks, a name may have become that of another table, a schema may have got one more. */
	List	   *seen = NIL;
	List	   *tables;

	while (!equal(tables = dropped_tables(statement), seen))
	{
		keep_dropped_keys(tables);
		seen = tables;
	}
	PG_RETURN_NULL();
}
}
