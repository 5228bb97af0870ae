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
 * Notes are kept to the end of the transaction. Of several for one key the
 * newest counts: each moved row has its own, taken by the command that moves
 * it, so those of a command that was rolled back are never asked for.
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
	size_t		older;			/* the next older note of this hash value; no_note ends the chain */
};

constexpr size_t no_note = SIZE_MAX;

struct NoteChain
{
	uint32		hash;			/* hash key: of the old key */
	size_t		newest;
};

static_assert(Plain<Note> && Plain<NoteChain>);

MemoryContext note_memory;		/* holds all of this; null while there are no notes */
Note	   *notes;
size_t		note_count;
size_t		note_room;
HTAB	   *chains;

uint32
hash_of_key(Datum key, const Layout &layout)
{
	return static_cast<uint32>(hash_of_image(key, layout) >> 32);
}

/* Puts note number "at" in front of the chain of its hash value. */
void
link_note(size_t at)
{
	uint32		hash = hash_of_key(notes[at].old_key, notes[at].layout);
	bool		found;
	auto	   *chain = static_cast<NoteChain *>(hash_search(chains, &hash, HASH_ENTER, &found));

	notes[at].older = found ? chain->newest : no_note;
	chain->newest = at;
}

void
make_chains()
{
	HASHCTL		control = {};

	control.keysize = sizeof(uint32);
	control.entrysize = sizeof(NoteChain);
	control.hcxt = note_memory;
	chains = hash_create("integrity moved keys", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
forget_notes(XactEvent event, void *)
{
	if (note_memory == nullptr ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	MemoryContextDelete(note_memory);
	note_memory = nullptr;
	notes = nullptr;
	chains = nullptr;
	note_count = note_room = 0;
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

	if (chains == nullptr)
		make_chains();
	if (note_count == note_room)
	{
		size_t		room = note_room == 0 ? 64 : note_room * 2;

		notes = static_cast<Note *>(notes ? repalloc_huge(notes, room * sizeof(Note)) : palloc(room * sizeof(Note)));
		note_room = room;
	}
	notes[note_count] = {table, column, layout, datumCopy(old_key, layout.byval, layout.len),
		datumCopy(new_key, layout.byval, layout.len), no_note};
	link_note(note_count++);
	MemoryContextSwitchTo(saved);
}

/* The newest note of this key, or null. */
const Note *
find_note(Oid table, AttrNumber column, Datum old_key, Layout layout)
{
	uint32		hash = hash_of_key(old_key, layout);
	auto	   *chain = chains ? static_cast<NoteChain *>(hash_search(chains, &hash, HASH_FIND, nullptr)) : nullptr;

	for (size_t at = chain ? chain->newest : no_note; at != no_note; at = notes[at].older)
		if (notes[at].table == table && notes[at].column == column &&
			compare_images(notes[at].old_key, old_key, layout) == 0)
			return &notes[at];
	return nullptr;
}

/* Is there a row with this key that the command brought which deleted "old_row"? */
bool
arrived_with(const Rule &rule, Datum new_key, TupleTableSlot *old_row)
{
	Relation	referenced = table_open(rule.referenced, RowShareLock);
	bool		should_free;
	HeapTuple	old_tuple = ExecFetchSlotHeapTuple(old_row, false, &should_free);
	CommandId	deleted_by = HeapTupleHeaderGetCmax(old_tuple->t_data);
	Probe		probe;

	CommandCounterIncrement();
	begin_probe(&probe, &rule, referenced, newest_snapshot(), ProbeFor::Key, ProbeLock::None);

	/* In a table that references itself the row may have been written again, by what an earlier key has cascaded to. */
	bool		arrived = key_exists(&probe, new_key) && key_was_inserted_by(&probe, new_key, deleted_by);

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

	const Note *note = find_note(RelationGetRelid(rel), guarded.key, old_key, layout);
	Datum		new_key = note ? note->new_key : Datum{};	/* of the notes there may soon be more, elsewhere */

	if (note && arrived_with(rule, new_key, old_row))
		act_on_update(rule, old_key, new_key, false);
	else if (is_referenced(rule, {&old_key, 1}))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot follow a referenced key of table \"%s\" to another partition", RelationGetRelationName(rel)),
				 errdetail("Rule \"%s\" on table \"%s\" has on_update 'cascade', and table \"%s\" does not get the new key that was noted.",
						   NameStr(rule.name), get_rel_name(rule.referencing), get_rel_name(rule.referenced)),
				 errhint("The row leaves the table that is referenced, another BEFORE trigger changed its key, or the guard "
						 "integrity_guard_move is missing: see integrity.add_guards().")));
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
	Guarded		guarded = collect_rules(rel, Scope::All, data->tg_trigger->tgenabled);

	for (int i = 0; i < guarded.count; i++)
	{
		AttrNumber	column = guarded.rules[i].key;
		Layout		layout = layout_of_column(rel, column);
		Datum		old_key;
		Datum		new_key;

		if (guarded.rules[i].rule->options.on_update == OnUpdate::Cascade &&
			key_of(data->tg_trigslot, column, layout, &old_key) && key_of(data->tg_newslot, column, layout, &new_key) &&
			compare_images(old_key, new_key, layout) != 0)
			take_note(RelationGetRelid(rel), column, layout, old_key, new_key);
	}
	return PointerGetDatum(data->tg_newtuple);
}
}
