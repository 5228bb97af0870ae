/*
 * move.cpp
 *	  Follows a key that an UPDATE moves to another partition.
 *
 * PostgreSQL carries out such an UPDATE as a DELETE and an INSERT, and fires
 * their triggers: nobody sees the old key and the new one together. Only a
 * BEFORE UPDATE trigger does, so a guard of that kind notes the pair, and the
 * DELETE guard looks it up. The note is believed only if a row with the new
 * key was inserted by the very command that deleted the old one: a later
 * BEFORE trigger may have changed the key again, or suppressed the row.
 *
 * Notes are kept to the end of the transaction. A stale one does no harm: each
 * moved row has a note of its own, newer than any other for the same key.
 */
#include "action.h"
#include "move.h"
#include "probe.h"
#include "trigger.h"
#include "violation.h"

namespace integrity
{
namespace
{

struct Note
{
	Oid			table;			/* the partition that the row is leaving */
	AttrNumber	column;
	Layout		layout;
	Datum		old_key;
	Datum		new_key;
};

static_assert(Plain<Note>);

MemoryContext note_memory;		/* holds all of this; null while there are no notes */
Note	   *notes;
size_t		note_count;
size_t		note_room;
size_t		note_cursor;		/* behind the note found last: they are asked for in their own order */

void
forget_notes(XactEvent event, void *)
{
	if (note_memory == nullptr ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	MemoryContextDelete(note_memory);
	note_memory = nullptr;
	notes = nullptr;
	note_count = note_room = note_cursor = 0;
}

void
take_note(Oid table, AttrNumber column, Layout layout, Datum old_key, Datum new_key)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(forget_notes, nullptr);
		registered = true;
	}
	if (note_memory == nullptr)
		note_memory = AllocSetContextCreate(TopMemoryContext, "integrity moved keys", ALLOCSET_DEFAULT_SIZES);

	MemoryContext saved = MemoryContextSwitchTo(note_memory);

	if (note_count == note_room)
	{
		size_t		room = note_room == 0 ? 64 : note_room * 2;

		notes = static_cast<Note *>(notes ? repalloc_huge(notes, room * sizeof(Note)) : palloc(room * sizeof(Note)));
		note_room = room;
	}
	notes[note_count] = {table, column, layout, datumCopy(old_key, layout.byval, layout.len),
		datumCopy(new_key, layout.byval, layout.len)};
	note_count++;
	MemoryContextSwitchTo(saved);
}

/*
 * The newest note of this key, or null. Keys are mostly asked for in the order
 * in which they were noted, so the search starts behind the last one found; a
 * note there is the newest unless the same key was noted again later, which
 * only a row that came back within the same command could cause.
 */
const Note *
find_note(Oid table, AttrNumber column, Datum old_key, Layout layout)
{
	auto		fits = [&](const Note &note)
	{
		return note.table == table && note.column == column && compare_images(note.old_key, old_key, layout) == 0;
	};

	for (size_t i = 0; i < note_count; i++)
	{
		size_t		at = (note_cursor + i) % note_count;

		if (fits(notes[at]))
		{
			note_cursor = at + 1;
			return &notes[at];
		}
	}
	return nullptr;
}

/* Is there a row with this key that was inserted by the command that deleted "old_row"? */
bool
arrived_with(const Rule &rule, Datum new_key, TupleTableSlot *old_row)
{
	Relation	referenced = table_open(rule.referenced, RowShareLock);
	bool		should_free;
	HeapTuple	old_tuple = ExecFetchSlotHeapTuple(old_row, false, &should_free);
	CommandId	deleted_by = HeapTupleHeaderGetCmax(old_tuple->t_data);
	bool		arrived = false;
	Probe		probe;

	CommandCounterIncrement();
	begin_probe(&probe, &rule, referenced, GetTransactionSnapshot(), ProbeFor::Key, ProbeLock::None);
	if (key_exists(&probe, new_key))
	{
		HeapTuple	tuple = ExecFetchSlotHeapTuple(probe.slot, false, &should_free);

		arrived = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data)) &&
			HeapTupleHeaderGetCmin(tuple->t_data) == deleted_by;
	}
	end_probe(&probe);
	table_close(referenced, NoLock);
	return arrived;
}

} /* namespace */

/* Such a row has a mark in place of the link to its next version. */
bool
was_moved(TupleTableSlot *slot)
{
	bool		should_free;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);

	return HeapTupleHeaderIndicatesMovedPartitions(tuple->t_data);
}

void
handle_moved(const GuardedRule &guarded, Relation rel, TupleTableSlot *old_row, Datum old_key)
{
	const Rule &rule = *guarded.rule;
	Layout		layout = layout_of_column(rel, guarded.key);

	if (rule.options.on_update == OnUpdate::NoAction && left_to_deferred_guard(rule, rel))
		return;
	if (rule.options.on_update != OnUpdate::Cascade)
	{
		refuse_if_referenced(guarded, rel, old_key, rule.options.on_update == OnUpdate::Restrict);
		return;
	}

	ActionKeys	keys = make_action_keys(rule, {&old_key, 1});
	const Note *note = find_note(RelationGetRelid(rel), guarded.key, old_key, layout);

	if (note && arrived_with(rule, note->new_key, old_row))
		act_on_update(rule, keys, note->new_key, false);
	else if (is_referenced(rule, keys))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot follow a referenced key of table \"%s\" to another partition", RelationGetRelationName(rel)),
				 errdetail("Rule \"%s\" on table \"%s\" has on_update 'cascade', and the new key is not known.",
						   NameStr(rule.name), get_rel_name(rule.referencing)),
				 errhint("Either the guard integrity_guard_move is missing, see integrity.add_guards(), or another BEFORE trigger changed the key.")));
}

} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_guard_move);

/*
 * BEFORE UPDATE of a partitioned referenced table: notes which key becomes
 * which. The row itself is left alone.
 */
PGDLLEXPORT Datum
integrity_guard_move(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "guard_move");

	if (!TRIGGER_FIRED_BEFORE(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		wrong_event(data, "guard_move", "BEFORE UPDATE FOR EACH ROW");

	Relation	rel = data->tg_relation;
	Guarded		guarded = collect_rules(rel);

	for (int i = 0; i < guarded.count; i++)
	{
		AttrNumber	column = guarded.rules[i].key;
		Layout		layout = layout_of_column(rel, column);
		Datum		old_key;
		Datum		new_key;

		if (guarded.rules[i].rule->options.on_update == OnUpdate::Cascade && !seen_before(guarded, i) &&
			key_of(data->tg_trigslot, column, layout, &old_key) && key_of(data->tg_newslot, column, layout, &new_key) &&
			compare_images(old_key, new_key, layout) != 0)
			take_note(RelationGetRelid(rel), column, layout, old_key, new_key);
	}
	return PointerGetDatum(data->tg_newtuple);
}
}
