/*
 * probe.cpp
 *	  Looks keys up in the unique index and locks the rows FOR KEY SHARE.
 *
 * Without the lock a key found here could be deleted before we commit: its
 * deleter would not see our row, nor we the deletion. Without the comparison
 * after the lock a key updated away meanwhile would count as found.
 */
#include "catalog.h"
#include "probe.h"

namespace integrity
{
namespace
{

void
close_table(Probe *probe)
{
	if (probe->scan)
		index_endscan(probe->scan);
	if (probe->slot)
		ExecDropSingleTupleTableSlot(probe->slot);
	if (probe->index)
		index_close(probe->index, NoLock);
	if (probe->table && probe->table != probe->root)
		table_close(probe->table, NoLock);
	probe->scan = nullptr;
	probe->slot = nullptr;
	probe->index = nullptr;
	probe->table = nullptr;
}

/* Locks are kept to the end of the transaction, as those of a query would be. */
void
open_table(Probe *probe, Oid table, Oid index)
{
	MemoryContext saved = MemoryContextSwitchTo(probe->memory);

	close_table(probe);
	probe->table = table == RelationGetRelid(probe->root) ? probe->root : table_open(table, RowShareLock);
	probe->index = index_open(index, RowShareLock);
	probe->slot = table_slot_create(probe->table, nullptr);
	probe->scan = pg::begin_index_scan(probe->table, probe->index, probe->snapshot, 1);
	MemoryContextSwitchTo(saved);
}

/*
 * Which partition would hold this key? The unique index on the key alone
 * means that the partition key is that column alone, on every level.
 */
Oid
route_one_level(Relation table, Datum key)
{
	PartitionKey partition_key = RelationGetPartitionKey(table);
	PartitionDesc partitions = RelationGetPartitionDesc(table, true);
	PartitionBoundInfo bounds = partitions->boundinfo;
	bool		equal = false;
	int			index = -1;

	if (partitions->nparts == 0)
		return InvalidOid;
	if (partition_key->partnatts != 1)
		elog(ERROR, "unexpected partition key of table \"%s\"", RelationGetRelationName(table));

	switch (partition_key->strategy)
	{
		case PARTITION_STRATEGY_HASH:
			{
				bool		isnull = false;
				uint64		hash = compute_partition_hash_value(1, partition_key->partsupfunc,
																partition_key->partcollation, &key, &isnull);

				index = bounds->indexes[hash % bounds->nindexes];
				break;
			}
		case PARTITION_STRATEGY_LIST:
			{
				int			at = partition_list_bsearch(partition_key->partsupfunc, partition_key->partcollation,
														bounds, key, &equal);

				if (at >= 0 && equal)
					index = bounds->indexes[at];
				break;
			}
		case PARTITION_STRATEGY_RANGE:
			{
				int			at = partition_range_datum_bsearch(partition_key->partsupfunc, partition_key->partcollation,
															   bounds, 1, &key, &equal);

				index = bounds->indexes[at + 1];
				break;
			}
	}
	if (index < 0)
		index = bounds->default_index;
	return index < 0 ? InvalidOid : partitions->oids[index];
}

/* The value in the key's own type. False if no key can have that value. */
bool
to_key_type(Probe *probe, Datum value, Datum *key)
{
	const Comparison &compare = *probe->compare;
	int64		number;

	*key = value;
	if (probe->what == ProbeFor::Key || compare.element_type == compare.key_type)
		return true;
	if (OidIsValid(compare.cast_proc.fn_oid))
		return true;			/* the caller has cast it already */

	switch (compare.element_type)
	{
		case INT2OID:
			number = DatumGetInt16(value);
			break;
		case INT4OID:
			number = DatumGetInt32(value);
			break;
		case INT8OID:
			number = DatumGetInt64(value);
			break;
		default:
			{
				Oid			function = InvalidOid;

				if (find_cast(compare.key_type, compare.element_type, COERCION_ASSIGNMENT, &function) &&
					OidIsValid(function))
					*key = call_cast(function, value);
				return true;
			}
	}
	switch (compare.key_type)
	{
		case INT2OID:
			*key = Int16GetDatum(static_cast<int16>(number));
			return number >= PG_INT16_MIN && number <= PG_INT16_MAX;
		case INT4OID:
			*key = Int32GetDatum(static_cast<int32>(number));
			return number >= PG_INT32_MIN && number <= PG_INT32_MAX;
		default:
			*key = Int64GetDatum(number);
			return true;
	}
}

/*
 * Opens the leaf partition that would hold this key; false if there is none.
 *
 * Which partitions there are is a matter of the newest snapshot, whatever the
 * probe's: an older one would still show a partition that DETACH CONCURRENTLY
 * is taking away, and nobody guards its keys any more.
 */
bool
descend_to_partition(Probe *probe, Datum key)
{
	Oid			table = RelationGetRelid(probe->root);
	Oid			index = probe->rule->index;

	for (Relation level = probe->root; level->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;)
	{
		table = route_one_level(level, key);
		if (level != probe->root)
			table_close(level, NoLock);
		if (!OidIsValid(table))
			return false;
		if (probe->table && RelationGetRelid(probe->table) == table)
			return true;		/* still open from the last key */
		level = table_open(table, RowShareLock);
		index = index_of_partition(level, index);
		if (level->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		{
			table_close(level, NoLock);
			break;
		}
	}
	open_table(probe, table, index);
	return true;
}

bool
open_partition(Probe *probe, Datum value)
{
	Datum		key;

	if (!to_key_type(probe, value, &key))
		return false;
	if (!IsolationUsesXactSnapshot())
		return descend_to_partition(probe, key); /* the probe's own is new */

	PushActiveSnapshot(GetLatestSnapshot());
	bool		found = descend_to_partition(probe, key);

	PopActiveSnapshot();
	return found;
}

/* Starts a search of the open index for this value, which is in the form that as_key() gives it. */
void
search_index(Probe *probe, IndexScanDesc scan, Datum value)
{
	Comparison &compare = *probe->compare;
	bool		is_key = probe->what == ProbeFor::Key;
	Oid			opcintype = probe->index->rd_opcintype[0];
	Oid			subtype = is_key ? opcintype : compare.element_subtype;
	ScanKeyData scan_key;

	ScanKeyEntryInitializeWithInfo(&scan_key, 0, 1, BTEqualStrategyNumber, subtype == opcintype ? InvalidOid : subtype,
								   probe->index->rd_indcollation[0],
								   is_key ? &compare.key_eq_key_proc : &compare.key_eq_element_proc, value);
	index_rescan(scan, &scan_key, 1, nullptr, 0);
}

/* Is the key of the row in the slot equal to the value? By a copy of the function: see cast_element() about what errors leave. */
bool
slot_matches(Probe *probe, Datum value)
{
	bool		isnull;
	AttrNumber	attnum = probe->index->rd_index->indkey.values[0];
	Datum		key = slot_getattr(probe->slot, attnum, &isnull);
	FmgrInfo   *equal = probe->what == ProbeFor::Key ? &probe->compare->key_eq_key_proc :
		&probe->compare->key_eq_element_proc;
	FmgrInfo	own;

	fmgr_info_copy(&own, equal, CurrentMemoryContext);
	return !isnull && DatumGetBool(FunctionCall2Coll(&own, probe->compare->collation, key, value));
}

/*
 * Locks the row in the slot as SELECT ... FOR KEY SHARE would. False if it is
 * gone or no longer has this key.
 */
bool
lock_row(Probe *probe, Datum value)
{
	TM_FailureData failure;
	uint8		flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;

	ItemPointerData tid = probe->slot->tts_tid;

	switch (table_tuple_lock(probe->table, &tid, probe->snapshot, probe->slot, GetCurrentCommandId(false),
							 LockTupleKeyShare, LockWaitBlock, flags, &failure))
	{
		case TM_Ok:
			return !failure.traversed || slot_matches(probe, value);

		case TM_SelfModified:
			/* A later command of our own transaction has taken it. */
			return false;

		case TM_Deleted:
			if (IsolationUsesXactSnapshot() && pg::lock_tells_deletion)
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not serialize access due to concurrent delete")));
			[[fallthrough]];

		case TM_Updated:
			if (IsolationUsesXactSnapshot())
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not serialize access due to concurrent update")));
			return false;		/* TM_Updated cannot come here: the lock followed the update chain */

		case TM_Invisible:
			elog(ERROR, "attempted to lock invisible tuple");

		default:
			elog(ERROR, "unexpected result of locking a row in table \"%s\"", RelationGetRelationName(probe->table));
	}
	return false;
}

} /* namespace */

/*
 * REINDEX CONCURRENTLY may put another index in its place at any time, for it
 * waits for our lock on the partition only later, before it drops the old one.
 * Then pg_inherits names the new one, while the list that we have is the old
 * one until the invalidation arrives, which is a moment after the commit.
 * index_get_partition() raises in between.
 */
Oid
index_of_partition(Relation partition, Oid index)
{
	for (int attempt = 0; attempt < 1000; attempt++)
	{
		List	   *candidates = RelationGetIndexList(partition);
		ListCell   *cell;

		foreach(cell, candidates)
			for (Oid above = parent_of(lfirst_oid(cell)); OidIsValid(above); above = parent_of(above))
				if (above == index)
					return lfirst_oid(cell);
		list_free(candidates);
		CHECK_FOR_INTERRUPTS();
		if (attempt > 0)
			pg_usleep(1000);
		AcceptInvalidationMessages();
	}
	elog(ERROR, "could not find the unique index of partition \"%s\"", RelationGetRelationName(partition));
	pg_unreachable();
}

void
begin_probe(Probe *probe, const Rule *rule, Relation referenced, Snapshot snapshot, ProbeFor what, ProbeLock lock)
{
	memset(static_cast<void *>(probe), 0, sizeof(*probe));
	probe->rule = rule;
	probe->compare = &rule->compare;
	probe->what = what;
	probe->lock = lock;
	probe->root = referenced;
	probe->memory = CurrentMemoryContext;
	PushActiveSnapshot(snapshot);
	probe->snapshot = GetActiveSnapshot();
	if (referenced->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		open_table(probe, RelationGetRelid(referenced), rule->index);
	else
		AcceptInvalidationMessages(); /* of a partition attached since: a lock that we hold already brings no news */
}

bool
key_exists(Probe *probe, Datum value)
{
	if (probe->what == ProbeFor::Element)
		value = as_key(*probe->compare, value);
	if (probe->root->rd_rel->relkind == RELKIND_PARTITIONED_TABLE && !open_partition(probe, value))
		return false;

	/* What the access method allocates during a scan lives as long as the scan, not as a row of our caller's. */
	MemoryContext saved = MemoryContextSwitchTo(probe->memory);
	bool		found = false;

	search_index(probe, probe->scan, value);
	while (!found && index_getnext_slot(probe->scan, ForwardScanDirection, probe->slot))
		found = probe->lock == ProbeLock::None || lock_row(probe, value);
	MemoryContextSwitchTo(saved);
	return found;
}

/*
 * What the snapshot sees at the place has this key, see locate.cpp. What it
 * does not see there may have another version elsewhere.
 */
bool
key_exists_at(Probe *probe, Datum value, ItemPointer place)
{
	if (ItemPointerIsValid(place))
	{
		MemoryContext saved = MemoryContextSwitchTo(probe->memory);

		probe->scan->xs_heaptid = *place;
		probe->scan->xs_heap_continue = false;

		bool		found = index_fetch_heap(probe->scan, probe->slot);

		probe->scan->kill_prior_tuple = false;	/* if the scan stands on an entry, it is that of another key */
		found = found && (probe->lock == ProbeLock::None || lock_row(probe, value));
		MemoryContextSwitchTo(saved);
		if (found)
			return true;
	}
	return key_exists(probe, value);
}

/* CommandId and not xmin alone: the row may have come, and got another key, earlier in the same transaction. */
bool
key_was_inserted_by(Probe *probe, Datum key, CommandId command)
{
	MemoryContext saved = MemoryContextSwitchTo(probe->memory);
	IndexScanDesc scan = pg::begin_index_scan(probe->table, probe->index, SnapshotAny, 1);
	bool		inserted = false;

	search_index(probe, scan, key);
	while (!inserted && index_getnext_slot(scan, ForwardScanDirection, probe->slot))
	{
		bool		should_free;
		HeapTupleHeader header = ExecFetchSlotHeapTuple(probe->slot, false, &should_free)->t_data;

		inserted = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header)) &&
			HeapTupleHeaderGetCmin(header) == command;
	}
	index_endscan(scan);
	MemoryContextSwitchTo(saved);
	return inserted;
}

void
end_probe(Probe *probe)
{
	close_table(probe);
	PopActiveSnapshot();
}

} /* namespace integrity */
