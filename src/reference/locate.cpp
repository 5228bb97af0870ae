/*
 * locate.cpp
 *	  Finds the rows of many keys in one pass over a part of the index.
 *
 * Only the index is read here, and no row is looked at: to wait for a lock
 * while a page of the index is pinned would keep VACUUM waiting, where nobody
 * can see the two wait for each other. As soon as the page is let go, a place
 * may be given to another row. That is no harm: the entry was read after the
 * snapshot was taken, and whatever comes to its place since is too new for it.
 */
#include "locate.h"

namespace integrity
{
namespace
{

constexpr size_t fewest_values = 64;	/* else it is not worth to begin */
constexpr uint64 most_steps = 4;	/* over numbers of the range, for each value */

/*
 * There are no more keys between two integers than integers; of no other type
 * that much is known. (There may be more entries, of rows that were written
 * again.) Of a partitioned table each partition has an index of its own.
 */
bool
is_in_numeric_order(const Probe &probe)
{
	return probe.table == probe.root && probe.what == ProbeFor::Element &&
		probe.index->rd_opfamily[0] == INTEGER_BTREE_FAM_OID &&
		is_integer(probe.compare->element_type) && is_integer(probe.compare->key_type);
}

void
begin_bound(ScanKey bound, const Probe &probe, int16 strategy, Datum value)
{
	Oid			opcintype = probe.index->rd_opcintype[0];
	Oid			type = probe.compare->element_type;
	Oid			comparison = get_opfamily_member(INTEGER_BTREE_FAM_OID, opcintype, type, strategy);

	ScanKeyEntryInitialize(bound, 0, 1, strategy, type == opcintype ? InvalidOid : type, InvalidOid,
						   get_opcode(comparison), value);
}

} /* namespace */

void
locate_keys(Probe *probe, std::span<const Datum> values, ItemPointerData *places)
{
	for (size_t i = 0; i < values.size(); i++)
		ItemPointerSetInvalid(&places[i]);
	if (values.size() < fewest_values || !is_in_numeric_order(*probe))
		return;

	/* There, whoever inserts a key where we have read is in our way, and only the keys looked for should be. */
	if (IsolationIsSerializable())
		return;

	const Layout &layout = probe->compare->element;
	int64		first = integer_of(values.front(), layout);
	int64		last = integer_of(values.back(), layout);

	/* In the order of the bytes negative numbers come last. */
	if (last < first || static_cast<uint64>(last) - static_cast<uint64>(first) > values.size() * most_steps)
		return;

	MemoryContext saved = MemoryContextSwitchTo(probe->memory);
	IndexScanDesc scan = pg::begin_index_scan(probe->table, probe->index, probe->snapshot, 2);
	ScanDirection ascending = probe->index->rd_indoption[0] & INDOPTION_DESC ? BackwardScanDirection : ForwardScanDirection;
	ScanKeyData bounds[2];
	const Datum *value = values.data();
	const Datum *end = value + values.size();

	begin_bound(&bounds[0], *probe, BTGreaterEqualStrategyNumber, values.front());
	begin_bound(&bounds[1], *probe, BTLessEqualStrategyNumber, values.back());
	scan->xs_want_itup = true;
	index_rescan(scan, bounds, 2, nullptr, 0);
	while (ItemPointer place = index_getnext_tid(scan, ascending))
	{
		CHECK_FOR_INTERRUPTS();

		bool		isnull;
		int64		key = integer_of(index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &isnull), probe->compare->key);

		while (value < end && integer_of(*value, layout) < key)
			value++;
		/* Of a row that was written again, all versions may be there: any of them will do, or key_exists_at() looks for itself. */
		if (value < end && integer_of(*value, layout) == key)
			places[value - values.data()] = *place;
	}
	index_endscan(scan);
	MemoryContextSwitchTo(saved);
}

} /* namespace integrity */
