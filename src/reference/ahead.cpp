/*
 * ahead.cpp
 *	  Reads the rows of a command that are still to be checked.
 *
 * Only rows that the same command of the same transaction has inserted count,
 * so no key is locked for a row that is not checked anyway. Only heap order is
 * known, and events come in the order of insertion, which for a bulk insert is
 * the same. Where it is not, or where few distinct keys are found soon anyway,
 * looking ahead does not pay, and is made rare: half as many keys must have
 * been looked up one by one since the last time as rows were read then.
 *
 * All is in vain if the command id moves with each row, as it does where a
 * native foreign key or a trigger that writes is beside the rule, or if more
 * rules on one table take turns than are remembered. So the first row of an epoch never looks
 * ahead; and what was looked up for rows whose checks came too late has to be
 * made up for by as many look-ups one by one, before it is tried again.
 */
#include "ahead.h"
#include "locate.h"

namespace integrity
{
namespace
{

constexpr size_t first_misses = 256;	/* a command with fewer is not worth it */
constexpr BlockNumber most_blocks = 8192;
constexpr BlockNumber most_others = 256;	/* blocks that have rows, none of them the command's: there will hardly be more */

/* The fewer passes over the index, the nearer to each other the keys of one. 8 MB, as much again to sort them, or some 12 MB of copies. */
constexpr size_t most_elements = 1000000;
constexpr size_t most_copied_elements = 250000;

/* So many of the last elements are known, and not gathered once more. */
constexpr int recent_bits = 12;
constexpr size_t recent_elements = size_t{1} << recent_bits;

/* More distinct keys than so many are not remembered one by one: they would hardly be found among so many. */
constexpr size_t most_remembered = 100000;

/* Of the command that a rule's found keys belong to, and in the same place as they. */
struct Window
{
	uint64		found_epoch;
	size_t		misses;			/* keys that were not found ones, since it began or we last looked */
	size_t		needed;			/* before we look again */
	size_t		vain;			/* look-ups that no check used, less the keys that were looked up one by one since */

	/* What was looked at: the rows of one command, in the table that the rule's trigger is on, from one row on. */
	ItemPointerData begin;
	ItemPointerData end;		/* not looked at any more */
	TransactionId transaction;
	CommandId	command;
	bool		complete;		/* every element was found */
	bool		rejects;		/* the rule, whatever keys there are */
	size_t		looked_up;
	size_t		rows;
	size_t		used;			/* of the rows, those that were not looked at again */
};

Window		windows[rules_remembered];

struct Gathered
{
	Datum	   *values;
	size_t		count;
	size_t		rows;
	ItemPointerData end;		/* the first row that was not looked at */
};

/* What was gathered lately, each where its hash says. It only saves sorting what is there again and again. */
struct Recent
{
	Datum	   *values;
	bool	   *used;
};

/* The header of a row in its page; null if it is kept in another way. */
HeapTupleHeader
header_of(TupleTableSlot *slot)
{
	bool		should_free;

	return TTS_IS_BUFFERTUPLE(slot) ? ExecFetchSlotHeapTuple(slot, false, &should_free)->t_data : nullptr;
}

/*
 * Was the row inserted by this command, and has its transaction let it be
 * since? If not, it has a combo command id: then it may be dead, and not have
 * been read, or carry the number of another command. One that is the new
 * version of an older row was not inserted.
 */
bool
was_inserted_by(HeapTupleHeader header, TransactionId transaction, CommandId command)
{
	return header && (header->t_infomask & (HEAP_COMBOCID | HEAP_UPDATED)) == 0 &&
		HeapTupleHeaderGetRawXmin(header) == transaction && HeapTupleHeaderGetRawCommandId(header) == command;
}

/* A copy of it, if it is passed by reference. */
inline void
add(Gathered *gathered, const Recent &recent, Datum element, const Layout &layout)
{
	size_t		place = hash_of_image(element, layout) >> (64 - recent_bits);

	if (recent.used[place] && compare_images(recent.values[place], element, layout) == 0)
		return;
	recent.used[place] = true;
	recent.values[place] = layout.byval ? element : datumCopy(element, false, layout.len);
	gathered->values[gathered->count++] = recent.values[place];
}

/* The elements of the rows from this one on. By-reference values are copied into "memory", which is the current context. */
Gathered
gather(const Rule &rule, Relation referencing, TupleTableSlot *inserted, MemoryContext memory)
{
	const Layout &layout = rule.compare.element;
	BlockNumber start = ItemPointerGetBlockNumber(&inserted->tts_tid);
	BlockNumber blocks = RelationGetNumberOfBlocks(referencing);
	BlockNumber end = blocks - start > most_blocks ? start + most_blocks : blocks;
	TransactionId transaction = HeapTupleHeaderGetRawXmin(header_of(inserted));
	CommandId	command = HeapTupleHeaderGetRawCommandId(header_of(inserted));
	TupleTableSlot *slot = table_slot_create(referencing, nullptr);
	MemoryContext per_row = AllocSetContextCreate(memory, "integrity row", ALLOCSET_DEFAULT_SIZES);
	size_t		room = layout.byval ? most_elements : most_copied_elements;
	Recent		recent = {static_cast<Datum *>(MemoryContextAlloc(memory, sizeof(Datum) * recent_elements)),
						  static_cast<bool *>(MemoryContextAllocZero(memory, recent_elements))};
	Gathered	gathered = {static_cast<Datum *>(MemoryContextAlloc(memory, sizeof(Datum) * room)), 0, 0, {}};
	BlockNumber last_block = start;
	ItemPointerData last;

	ItemPointerSet(&last, end - 1, MaxOffsetNumber);
	ItemPointerSet(&gathered.end, end, InvalidOffsetNumber);

	TableScanDesc scan = pg::begin_tid_range_scan(referencing, SnapshotSelf, &inserted->tts_tid, &last);

	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();

		BlockNumber block = ItemPointerGetBlockNumber(&slot->tts_tid);

		if (!was_inserted_by(header_of(slot), transaction, command))
		{
			if (block - last_block <= most_others)
				continue;
			gathered.end = slot->tts_tid;
			break;
		}
		last_block = block;

		Value		value = column_of(slot, rule.column);
		Packed		packed;

		/* Ids are read where they lie, which is several times as fast. */
		bool		in_place = rule.is_array && layout.byval && !value.isnull && packed_in_place(value.datum, layout, &packed);
		MemoryContext saved = MemoryContextSwitchTo(per_row);
		std::span<Datum> elements = in_place ? std::span<Datum>() : present_elements(rule, value);
		size_t		count = in_place ? packed.count : elements.size();

		MemoryContextSwitchTo(saved);
		if (gathered.count + count > room)
		{
			gathered.end = slot->tts_tid;
			break;
		}
		for (size_t i = 0; i < count; i++)
			add(&gathered, recent, in_place ? element_at(packed, i, layout) : elements[i], layout);
		gathered.rows++;
		MemoryContextReset(per_row);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return gathered;
}

/* What was looked at says nothing any more. */
void
begin_epoch(Window *window, uint64 epoch)
{
	TransactionId transaction = window->transaction;
	size_t		vain = window->vain;

	if (!TransactionIdIsCurrentTransactionId(transaction))
		vain = 0;
	else if (window->used < window->rows / 2)
		vain += window->looked_up;
	*window = {};
	window->found_epoch = epoch;
	window->needed = first_misses;
	window->vain = vain;
	window->transaction = transaction;
}

} /* namespace */

Ahead
what_was_found_ahead(Oid trigger, TupleTableSlot *inserted)
{
	const FoundKeys *found = current_found_keys(trigger);

	if (found == nullptr)
		return Ahead::Unknown;

	Window	   *window = &windows[found_place(found)];

	if (!window->complete || window->found_epoch != found_epoch(found))
		return Ahead::Unknown;
	if (ItemPointerCompare(&inserted->tts_tid, &window->end) >= 0 || ItemPointerCompare(&inserted->tts_tid, &window->begin) < 0)
		return Ahead::Unknown;

	if (!was_inserted_by(header_of(inserted), window->transaction, window->command))
		return Ahead::Unknown;
	window->used++;
	return window->rejects ? Ahead::Found : Ahead::Passed;
}

bool
look_ahead(FoundKeys *found, const Rule &rule, Relation referencing, Relation referenced, TupleTableSlot *inserted,
		   size_t misses)
{
	Window	   *window = &windows[found_place(found)];

	if (window->found_epoch != found_epoch(found))
	{
		begin_epoch(window, found_epoch(found));
		window->misses = misses;
		window->vain -= std::min(window->vain, misses);
		return false;
	}
	window->misses += misses;
	window->vain -= std::min(window->vain, misses);

	bool		looked_at = ItemPointerCompare(&inserted->tts_tid, &window->end) < 0 &&
		ItemPointerGetBlockNumber(&inserted->tts_tid) >= ItemPointerGetBlockNumberNoCheck(&window->begin);

	if (window->misses < window->needed || window->vain > 0 || looked_at)
		return false;

	/* Its command has ended, since its events fire: there will be no more rows of it. */
	HeapTupleHeader header = header_of(inserted);

	if (header == nullptr || !TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(header)) ||
		!was_inserted_by(header, HeapTupleHeaderGetRawXmin(header), HeapTupleHeaderGetRawCommandId(header)))
		return false;

	const uint64 epoch = found_epoch(found);
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "integrity look-ahead", ALLOCSET_DEFAULT_SIZES);
	MemoryContext saved = MemoryContextSwitchTo(memory);
	Gathered	gathered = gather(rule, referencing, inserted, memory);
	std::span<Datum> values = sort_distinct({gathered.values, gathered.count}, rule.compare.element);
	bool		remember = values.size() <= most_remembered;
	bool		complete = true;
	auto	   *places = static_cast<ItemPointerData *>(palloc(sizeof(ItemPointerData) * located_at_once));
	Probe		probe;

	if (remember)
		make_room_for_found_keys(found, values.size());
	begin_probe(&probe, &rule, referenced, GetTransactionSnapshot(), ProbeFor::Element, ProbeLock::KeyShare);
	for (size_t from = 0; from < values.size(); from += located_at_once)
	{
		std::span<Datum> some = values.subspan(from, std::min(located_at_once, values.size() - from));

		locate_keys(&probe, some, places);
		for (size_t i = 0; i < some.size(); i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (remember && is_found_key(found, rule, some[i]))
				continue;
			if (!key_exists_at(&probe, some[i], &places[i]))
				complete = false;
			else if (remember)
				remember_found_key(found, rule, some[i]);
		}
	}
	end_probe(&probe);

	window->misses = 0;
	window->needed = std::max(first_misses, gathered.rows / 2);
	window->begin = inserted->tts_tid;
	window->end = gathered.end;
	window->transaction = HeapTupleHeaderGetRawXmin(header);
	window->command = HeapTupleHeaderGetRawCommandId(header);
	window->complete = complete && epoch == found_epoch(found);	/* no cast or comparison has run commands of its own */
	window->rejects = rejects_elements(rule.options);
	window->looked_up = values.size();
	window->rows = gathered.rows;
	window->used = 0;
	MemoryContextSwitchTo(saved);
	MemoryContextDelete(memory);
	return true;
}

} /* namespace integrity */
