/*
 * guard.cpp
 *	  The referenced side: the triggers that see a key go away.
 *
 * One set of guards serves all rules of a referenced table; they find the
 * rules by the dependencies of their triggers. So a rule that is dropped with
 * its table leaves a guard with nothing to do, and no catalog of ours to rot.
 *
 * The DELETE guard of a plain table is a row trigger with a transition table.
 * Its first call for a statement handles all of the statement's keys in one
 * pass; a later call finds its key among them and does nothing. A key that is
 * not among them is handled by its own call, so nothing can be lost. (A
 * statement trigger would be simpler and wrong: it fires only for the table
 * that the statement names.) Where the table has inheritance children, the
 * transition table has their rows, too, whose values are no keys, and each
 * call handles its own key.
 */
#include "action.h"
#include "guarded.h"
#include "move.h"
#include "probe.h"
#include "trigger.h"
#include "violation.h"

namespace integrity
{
namespace
{

/* In which turn a rule acts: what forbids first, what changes next, what looks at the outcome last. */
int
turn_of(const Rule &rule)
{
	switch (rule.options.on_delete)
	{
		case OnDelete::Restrict:
			return 0;
		case OnDelete::NoAction:
			return 2;
		default:
			return 1;
	}
}

/* Applies on_delete of all rules whose key is this column, for one key. */
void
handle_key(Relation rel, const Guarded &guarded, AttrNumber column, Datum key)
{
	for (int turn = 0; turn <= 2; turn++)
		for (int i = 0; i < guarded.count; i++)
		{
			const GuardedRule &each = guarded.rules[i];

			if (each.key != column || turn_of(*each.rule) != turn)
				continue;
			if (turn == 1)
				act_on_delete(*each.rule, {&key, 1});
			else if (turn == 0 || !left_to_deferred_guard(*each.rule, rel))
				refuse_if_referenced(each, rel, key, turn == 0);
		}
}

/*
 * The same for all keys of a statement in one pass. False if a RESTRICT rule
 * is in the way: then each key must be handled in its own turn, because what
 * the turn of an earlier one causes decides what the later one may do.
 *
 * For NO ACTION, too, the pass is only a prefilter. If one of the keys is
 * referenced, the rule goes into "pending", and each row's own call checks its
 * own key: a reference may yet be taken away by what the deletion of its own
 * row causes, a native cascade for instance.
 */
bool
handle_keys(Relation rel, const Guarded &guarded, AttrNumber column, std::span<const Datum> keys, List **pending)
{
	for (int turn = 0; turn <= 2; turn++)
		for (int i = 0; i < guarded.count; i++)
		{
			const GuardedRule &each = guarded.rules[i];
			const Rule &rule = *each.rule;

			if (each.key != column || turn_of(rule) != turn)
				continue;
			if (turn == 1)
				act_on_delete(rule, keys);
			else if (turn == 2 && left_to_deferred_guard(rule, rel))
				continue;
			else if (is_referenced(rule, keys))
			{
				if (turn == 0)
					return false;
				*pending = lappend_oid(*pending, rule.trigger);
			}
		}
	return true;
}

/*
 * What the DELETE guard has handled, kept in fn_extra for the duration of the
 * query. It belongs to one transition table: a statement that our own actions
 * cause on the same table has another one.
 */
struct HandledColumn
{
	AttrNumber	column;
	Layout		layout;
	std::span<Datum> keys;		/* sorted by their bytes; what is not in it, its own call handles */
};

struct Handled
{
	Tuplestorestate *deleted;
	HandledColumn *columns;
	int			count;
	List	   *pending;		/* triggers of NO ACTION rules that each row's own call must check */
	MemoryContext memory;		/* of the columns and the list */
};

static_assert(Plain<Handled>);

/* The distinct keys of one column of the transition table. */
std::span<Datum>
read_deleted_keys(Relation rel, Tuplestorestate *deleted, AttrNumber column, Layout layout)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsMinimalTuple);
	size_t		room = 64;
	size_t		count = 0;
	auto	   *keys = static_cast<Datum *>(palloc(sizeof(Datum) * room));
	int			reader = tuplestore_alloc_read_pointer(deleted, EXEC_FLAG_REWIND);

	tuplestore_select_read_pointer(deleted, reader);
	tuplestore_rescan(deleted);
	while (tuplestore_gettupleslot(deleted, true, false, slot))
	{
		Datum		key;

		CHECK_FOR_INTERRUPTS();
		if (!key_of(slot, column, layout, &key))
			continue;
		if (count == room)
		{
			room *= 2;
			keys = static_cast<Datum *>(repalloc_huge(keys, sizeof(Datum) * room));
		}
		keys[count++] = datumCopy(key, layout.byval, layout.len);
	}
	tuplestore_select_read_pointer(deleted, 0);
	ExecDropSingleTupleTableSlot(slot);
	return sort_distinct({keys, count}, layout);
}

/* The first call for a transition table: handles all keys of the statement. */
void
handle_statement(Relation rel, Tuplestorestate *deleted, const Guarded &guarded, Handled *handled)
{
	handled->deleted = nullptr;
	handled->count = 0;
	handled->pending = NIL;
	MemoryContextReset(handled->memory);

	MemoryContext saved = MemoryContextSwitchTo(handled->memory);

	handled->columns = static_cast<HandledColumn *>(palloc0(sizeof(HandledColumn) * static_cast<size_t>(guarded.count)));
	for (int i = 0; i < guarded.count; i++)
		if (!seen_before(guarded, i))
		{
			HandledColumn &column = handled->columns[handled->count++];

			column.column = guarded.rules[i].key;
			column.layout = layout_of_column(rel, column.column);
			column.keys = read_deleted_keys(rel, deleted, column.column, column.layout);
		}
	handled->deleted = deleted;
	for (int i = 0; i < handled->count; i++)
	{
		HandledColumn &column = handled->columns[i];

		if (!column.keys.empty() && !handle_keys(rel, guarded, column.column, column.keys, &handled->pending))
			column.keys = {};
	}
	MemoryContextSwitchTo(saved);
}

bool
was_handled(const Handled *handled, AttrNumber column, Datum key)
{
	for (int i = 0; i < handled->count; i++)
		if (handled->columns[i].column == column)
			return contains_image(handled->columns[i].keys, key, handled->columns[i].layout);
	return false;
}

Handled *
handled_state(FunctionCallInfo fcinfo)
{
	auto	   *handled = static_cast<Handled *>(fcinfo->flinfo->fn_extra);

	if (handled == nullptr)
	{
		handled = static_cast<Handled *>(MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Handled)));
		handled->memory = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "integrity deleted keys", ALLOCSET_DEFAULT_SIZES);
		fcinfo->flinfo->fn_extra = handled;
	}
	return handled;
}

/*
 * The keys of the whole statement, or null: each call handles its own key then.
 * The transition table of a table with inheritance children also holds rows of
 * theirs, which are no keys of ours.
 */
Tuplestorestate *
deleted_of(TriggerData *data)
{
	return data->tg_relation->rd_rel->relhassubclass ? nullptr : data->tg_oldtable;
}

/* One key goes away because its row got another one. */
void
handle_updated(const GuardedRule &each, Relation rel, Datum old_key, Datum new_key, bool new_is_null)
{
	const Rule &rule = *each.rule;

	switch (rule.options.on_update)
	{
		case OnUpdate::Cascade:
			act_on_update(rule, old_key, new_key, new_is_null);
			break;
		case OnUpdate::Restrict:
			refuse_if_referenced(each, rel, old_key, true);
			break;
		case OnUpdate::NoAction:
			if (!left_to_deferred_guard(rule, rel))
				refuse_if_referenced(each, rel, old_key, false);
			break;
	}
}

void
require_event(TriggerData *data, const char *function, bool right, const char *wanted)
{
	if (!right || !TRIGGER_FIRED_AFTER(data->tg_event))
		wrong_event(data, function, wanted);
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_guard_delete);
PG_FUNCTION_INFO_V1(integrity_guard_update);
PG_FUNCTION_INFO_V1(integrity_guard_deferred);
PG_FUNCTION_INFO_V1(integrity_guard_truncate);
PG_FUNCTION_INFO_V1(integrity_key_changes);

PGDLLEXPORT Datum
integrity_guard_delete(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "guard_delete");

	require_event(data, "guard_delete",
				  TRIGGER_FIRED_FOR_ROW(data->tg_event) && TRIGGER_FIRED_BY_DELETE(data->tg_event) &&
				  !data->tg_trigger->tgdeferrable,
				  "AFTER DELETE FOR EACH ROW, not deferrable");

	Relation	rel = data->tg_relation;
	Tuplestorestate *deleted = deleted_of(data);
	auto	   *handled = static_cast<Handled *>(fcinfo->flinfo->fn_extra);
	bool		moved = rel->rd_rel->relispartition && was_moved(data->tg_trigslot);

	/* The common case of a later call, before anything is looked up. */
	if (handled && handled->deleted && handled->deleted == deleted && handled->pending == NIL)
	{
		bool		all = true;

		for (int i = 0; i < handled->count && all; i++)
		{
			Datum		key;

			all = !key_of(data->tg_trigslot, handled->columns[i].column, handled->columns[i].layout, &key) ||
				was_handled(handled, handled->columns[i].column, key);
		}
		if (all)
			return Datum{};
	}

	Guarded		guarded = collect_and_lock(rel, Event::Delete, scope_of(data), data->tg_trigger->tgenabled);

	if (guarded.count == 0)
		return Datum{};
	for (int i = 0; i < guarded.count; i++)
		require_working(*guarded.rules[i].rule);

	if (deleted && (handled == nullptr || handled->deleted != deleted))
	{
		handled = handled_state(fcinfo);
		handle_statement(rel, deleted, guarded, handled);
	}
	for (int i = 0; i < guarded.count; i++)
	{
		const GuardedRule &each = guarded.rules[i];
		Datum		key;

		if (!key_of(data->tg_trigslot, each.key, layout_of_column(rel, each.key), &key))
			continue;
		if (moved)
			handle_moved(each, rel, data->tg_trigslot, key);
		else if (deleted && was_handled(handled, each.key, key))
		{
			if (list_member_oid(handled->pending, each.rule->trigger))
				refuse_if_referenced(each, rel, key, false);
		}
		else if (!seen_before(guarded, i))
			handle_key(rel, guarded, each.key, key);
	}
	return Datum{};
}

PGDLLEXPORT Datum
integrity_guard_update(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "guard_update");

	require_event(data, "guard_update",
				  TRIGGER_FIRED_FOR_ROW(data->tg_event) && TRIGGER_FIRED_BY_UPDATE(data->tg_event) &&
				  !data->tg_trigger->tgdeferrable,
				  "AFTER UPDATE FOR EACH ROW, not deferrable");

	Relation	rel = data->tg_relation;
	Guarded		guarded = collect_and_lock(rel, Event::Update, scope_of(data), data->tg_trigger->tgenabled);

	for (int i = 0; i < guarded.count; i++)
	{
		AttrNumber	column = guarded.rules[i].key;
		Layout		layout = layout_of_column(rel, column);
		Datum		old_key;
		Datum		new_key;
		bool		new_is_null;

		if (!key_of(data->tg_trigslot, column, layout, &old_key))
			continue;
		new_is_null = !key_of(data->tg_newslot, column, layout, &new_key);
		if (!new_is_null && compare_images(old_key, new_key, layout) == 0)
			continue;
		require_working(*guarded.rules[i].rule);
		handle_updated(guarded.rules[i], rel, old_key, new_key, new_is_null);
	}
	return Datum{};
}

/*
 * The check of deferrable NO ACTION rules, at the time that SET CONSTRAINTS
 * says. It serves the rules that have its own name, and those that have no
 * guard of their name.
 */
PGDLLEXPORT Datum
integrity_guard_deferred(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "guard_deferred");
	bool		is_update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);

	require_event(data, "guard_deferred",
				  TRIGGER_FIRED_FOR_ROW(data->tg_event) && (is_update || TRIGGER_FIRED_BY_DELETE(data->tg_event)),
				  "AFTER DELETE OR UPDATE FOR EACH ROW");

	Relation	rel = data->tg_relation;
	Guarded		guarded = collect_and_lock(rel, Event::Truncate, Scope::All, data->tg_trigger->tgenabled);
	bool		changed = is_update || (rel->rd_rel->relispartition && was_moved(data->tg_trigslot));

	for (int i = 0; i < guarded.count; i++)
	{
		const Rule &rule = *guarded.rules[i].rule;
		AttrNumber	column = guarded.rules[i].key;
		Layout		layout = layout_of_column(rel, column);
		bool		no_action = changed ? rule.options.on_update == OnUpdate::NoAction :
			rule.options.on_delete == OnDelete::NoAction;
		Datum		old_key;
		Datum		new_key;

		/* One of its own name sees to it; without one, it is ours: the rule or we may have been renamed meanwhile. */
		if (!rule.deferrable || !no_action ||
			(strcmp(deferred_guard_name(rule), data->tg_trigger->tgname) != 0 && left_to_deferred_guard(rule, rel)))
			continue;
		if (!key_of(data->tg_trigslot, column, layout, &old_key))
			continue;
		if (is_update && key_of(data->tg_newslot, column, layout, &new_key) &&
			compare_images(old_key, new_key, layout) == 0)
			continue;
		require_working(rule);
		refuse_if_referenced(guarded.rules[i], rel, old_key, false);
	}
	return Datum{};
}

/*
 * Fires after the truncation, so a referencing table that was truncated with
 * us is empty by now, and no list of the statement's tables is needed.
 */
PGDLLEXPORT Datum
integrity_guard_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "guard_truncate");

	require_event(data, "guard_truncate",
				  TRIGGER_FIRED_FOR_STATEMENT(data->tg_event) && TRIGGER_FIRED_BY_TRUNCATE(data->tg_event),
				  "AFTER TRUNCATE FOR EACH STATEMENT");

	Guarded		guarded = collect_and_lock(data->tg_relation, Event::Truncate, Scope::All, data->tg_trigger->tgenabled);

	for (int i = 0; i < guarded.count; i++)
	{
		require_working(*guarded.rules[i].rule);
		if (has_any_reference(*guarded.rules[i].rule))
			report_truncate(*guarded.rules[i].rule, data->tg_relation);
	}
	return Datum{};
}

/*
 * key_changes(old, new): the condition of the UPDATE guard. By the bytes, as
 * native: on_update cascade must also carry a change that the operator would
 * call equal.
 */
PGDLLEXPORT Datum
integrity_key_changes(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(PG_ARGISNULL(0) != PG_ARGISNULL(1));

	auto	   *layout = static_cast<Layout *>(fcinfo->flinfo->fn_extra);

	if (layout == nullptr)
	{
		Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);

		if (!OidIsValid(type) || type != get_fn_expr_argtype(fcinfo->flinfo, 1))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("integrity.key_changes() needs two values of one type"),
					 errhint("It is the condition of a guard: integrity.key_changes(OLD.key, NEW.key).")));
		layout = static_cast<Layout *>(MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(Layout)));
		*layout = layout_of(type);
		fcinfo->flinfo->fn_extra = layout;
	}
	PG_RETURN_BOOL(!datum_image_eq(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), layout->byval, layout->len));
}
}
