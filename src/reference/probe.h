/*
 * probe.h
 *	  Asks the referenced table's unique index which keys exist, and locks them.
 *
 * This does what the query of a native foreign key check does,
 *	  SELECT 1 FROM ONLY referenced x WHERE key = $1 FOR KEY SHARE OF x
 * without planner and executor, for all elements of an array with one scan.
 * Row-level security and privileges play no part: what exists, exists.
 */
#pragma once

#include "rule.h"

namespace integrity
{

enum class ProbeLock : uint8
{
	None,						/* look only: the caller keeps writers away */
	KeyShare
};

/* Which type the probed values have. */
enum class ProbeFor : uint8
{
	Element,					/* of the referencing column */
	Key							/* of the referenced column itself */
};

struct Probe
{
	const Rule *rule;
	Comparison *compare;		/* the rule's */
	ProbeFor	what;
	ProbeLock	lock;
	Snapshot	snapshot;		/* active for the life of the probe */
	Relation	root;			/* the referenced table, opened by the caller */
	MemoryContext memory;		/* where the probe began: its scans live there, whatever is current later */

	/* The table that holds the keys: root itself, or a partition of it. */
	Relation	table;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
};

static_assert(Plain<Probe>);

/*
 * What is there now, whatever the transaction's snapshot: for questions about
 * our own doing, where a row that somebody has deleted since must not count.
 */
inline Snapshot
newest_snapshot()
{
	return IsolationUsesXactSnapshot() ? GetLatestSnapshot() : GetTransactionSnapshot();
}

/*
 * Starts probing with this snapshot, which is pushed as the active one.
 * On error the resource owner and the memory context clean up.
 */
void		begin_probe(Probe *probe, const Rule *rule, Relation referenced, Snapshot snapshot,
						ProbeFor what, ProbeLock lock);
bool		key_exists(Probe *probe, Datum value);

/* The same, if locate_keys() has named a place, or an invalid one, for it. */
bool		key_exists_at(Probe *probe, Datum value, ItemPointer place);

/*
 * After key_exists() has found this key: was it brought by this command of our
 * own transaction, in whatever version of the row? Later commands may have
 * written the row again.
 */
bool		key_was_inserted_by(Probe *probe, Datum key, CommandId command);
void		end_probe(Probe *probe);

/* The part of this index in a partition, or partition of a partition, that is locked. */
Oid			index_of_partition(Relation partition, Oid index);

} /* namespace integrity */
