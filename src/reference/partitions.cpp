/*
 * partitions.cpp
 *	  The rows that a partition brings, and the keys that go with it, without
 *	  any row trigger firing.
 */
#include "action.h"
#include "catalog.h"
#include "check.h"
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
	if (keys.empty() || !is_referenced(rule, keys))
		return;
	for (Datum each : keys)
		if (is_referenced(rule, {&each, 1}))
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

Oid
partitioned_by(Oid table)
{
	return get_rel_relispartition(table) ? parent_of(table) : InvalidOid;
}

} /* namespace */

bool
lock_to_remove(Oid table, bool concurrently)
{
	for (;;)
	{
		Oid			parent = partitioned_by(table);

		if (OidIsValid(parent))
			LockRelationOid(parent, concurrently ? ShareUpdateExclusiveLock : AccessExclusiveLock);
		if (!concurrently)
			LockRelationOid(table, AccessExclusiveLock);
		if (partitioned_by(table) == parent)
			return OidIsValid(parent);
	}
}

void
keep_keys_of_partition(Oid partition_oid, bool concurrently, const Dropped *dropped)
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

	Guarded		guarded = collect_and_lock(partition, Event::Truncate, Scope::Above, TRIGGER_FIRES_ON_ORIGIN, dropped);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	for (int i = 0; i < guarded.count; i++)
	{
		const Rule &rule = *guarded.rules[i].rule;

		require_working(rule);
		foreach(cell, find_all_inheritors(partition_oid, AccessShareLock, nullptr))
			if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION)
				check_leaf(rule, partition, lfirst_oid(cell), snapshot);
	}
	UnregisterSnapshot(snapshot);
	table_close(partition, NoLock);
}

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

void
wait_for_deleters(const Rule &rule)
{
	LockRelationOid(rule.referenced, ShareRowExclusiveLock);
	find_all_inheritors(rule.referenced, ShareRowExclusiveLock, nullptr); /* a DELETE may name a partition */
	CacheInvalidateRelcacheByRelid(rule.referenced);
}

void
check_unseen_rows(Oid trigger)
{
	const Rule *rule = fetch_rule(trigger);

	if (!rule_is_enforced(rule->enabled))
		return;
	wait_for_deleters(*rule);
	rule = fetch_rule(trigger); /* REINDEX CONCURRENTLY may have held the lock, and dropped its index */
	if (rule->options.not_valid)
		return;
	require_owner_references(*rule, rule->referencing);
	check_existing_rows(*rule);
}

void
refuse_foreign_tables(Oid table)
{
	ListCell   *cell;

	if (get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE && get_rel_relkind(table) != RELKIND_FOREIGN_TABLE)
		return;					/* what inherits from it is no concern of a rule */
	foreach(cell, find_all_inheritors(table, NoLock, nullptr))
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_FOREIGN_TABLE)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("partition \"%s\" is a foreign table", get_rel_name(lfirst_oid(cell))),
					 errhint("A reference needs rows that can be checked and locked.")));
}

void
check_attached(Oid partition)
{
	ListCell   *cell;

	if (!OidIsValid(partition))
		return;					/* an index, perhaps */

	List	   *clones = rule_triggers(partition, true);

	if (clones != NIL)
		refuse_foreign_tables(partition);
	foreach(cell, clones)
		check_unseen_rows(lfirst_oid(cell));
}

} /* namespace integrity */
