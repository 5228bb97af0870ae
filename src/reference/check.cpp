/*
 * check.cpp
 *	  The referencing side: integrity.check_reference(), the trigger function
 *	  that is the rule, and integrity.refers(), the condition that binds it.
 *
 * Every row that gets a new reference is checked when its own event fires,
 * with the snapshot and the row locks that a native foreign key check takes.
 * A check that read without locking would let a concurrent DELETE of the key
 * commit beside it, each blind to the other: an orphan.
 */
#include "ahead.h"
#include "check.h"
#include "probe.h"
#include "trigger.h"
#include "violation.h"

namespace integrity
{
namespace
{

/*
 * Has an UPDATE left the value alone, or taken it away? Compares what the rows
 * hold, be it compressed or a pointer to the TOAST table, so that an array
 * which an UPDATE left alone is not even fetched. Which column it is stays the
 * same as long as its table is locked, so the referenced one need not be.
 */
bool
adds_nothing(const Rule &rule, Relation referencing, TupleTableSlot *now, TupleTableSlot *before)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(referencing), rule.column - 1);
	Value		value = column_of(now, rule.column);
	Value		old = column_of(before, rule.column);

	if (value.isnull || old.isnull)
		return value.isnull;
	return is_stored_alike(value.datum, old.datum, {att->attlen, att->attbyval, att->attalign});
}

bool
holds(const Packed &packed, Datum value, const Layout &layout)
{
	for (size_t i = 0; i < packed.count; i++)
		if (compare_images(element_at(packed, i, layout), value, layout) == 0)
			return true;
	return false;
}

/* Up to so many elements are looked for in the old array one by one, which sorting it would take longer than. */
constexpr size_t few_elements = 8;

/*
 * The elements of a value that the old one does not hold, told apart. An array
 * that got longer, shorter or another element in one place is the same before
 * and behind that; only what is in between can be new.
 */
std::span<Datum>
added_elements(const Rule &rule, Value value, Value old)
{
	const Layout &layout = rule.compare.element;
	Packed		now;
	Packed		was;

	if (old.isnull || !rule.is_array)
		return subtract(elements_of(rule, value), elements_of(rule, old), layout);

	/* Detoasted once. */
	ArrayType  *array = DatumGetArrayTypeP(value.datum);
	ArrayType  *old_array = DatumGetArrayTypeP(old.datum);

	value.datum = PointerGetDatum(array);
	old.datum = PointerGetDatum(old_array);
	if (!packed_elements(array, layout, &now) || !packed_elements(old_array, layout, &was))
		return subtract(elements_of(rule, value), elements_of(rule, old), layout);

	size_t		shorter = std::min(now.count, was.count);
	size_t		begin = common_start(now.data, was.data, shorter * now.stride) / now.stride;
	size_t		end = common_end(now.data + now.count * now.stride, was.data + was.count * was.stride,
								 (shorter - begin) * now.stride) / now.stride;
	size_t		count = now.count - begin - end;

	if (count > few_elements)
		return subtract(elements_of(rule, value), elements_of(rule, old), layout);

	auto	   *values = static_cast<Datum *>(palloc(sizeof(Datum) * few_elements));
	size_t		kept = 0;

	for (size_t i = begin; i < begin + count; i++)
	{
		Datum		element = element_at(now, i, layout);

		if (!holds(was, element, layout))
			values[kept++] = element;
	}
	return sort_distinct({values, kept}, layout);
}

/*
 * How many elements are there once more, as the type's own equality sees it;
 * one of them in "twice".
 */
int
count_duplicates(const Rule &rule, Relation referencing, const Elements &elements, Datum *twice)
{
	Comparison	compare;
	Oid			collation = TupleDescAttr(RelationGetDescr(referencing), rule.column - 1)->attcollation;
	auto	   *values = static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<size_t>(elements.count + 1)));
	Datum	   *end = values;

	if (!resolve_default_comparison(rule.element_type, rule.element_type, collation, &compare))
		elog(ERROR, "could not identify a comparison function for type %s", format_type_be(rule.element_type));

	for (int i = 0; i < elements.count; i++)
		if (!elements.nulls[i])
			*end++ = elements.values[i];

	int			count = 0;

	sort_keys({values, end}, &compare);
	for (Datum *value = values; value + 1 < end; value++)
		if (compare_keys(&compare, value[0], value[1]) == 0)
			if (count++ == 0)
				*twice = *value;
	return count;
}

} /* namespace */

Value
column_of(TupleTableSlot *slot, AttrNumber attnum)
{
	Value		value;

	value.datum = slot_getattr(slot, attnum, &value.isnull);
	return value;
}

std::span<Datum>
present_elements(const Rule &rule, Value value)
{
	const Layout &layout = rule.compare.element;

	if (value.isnull)
		return {};
	if (rule.is_array)
		return present_elements(take_apart(DatumGetArrayTypeP(value.datum), layout));

	auto	   *single = static_cast<Datum *>(palloc(sizeof(Datum)));

	*single = layout.len == -1 ? PointerGetDatum(PG_DETOAST_DATUM(value.datum)) : value.datum;
	return {single, 1};
}

std::span<Datum>
elements_of(const Rule &rule, Value value)
{
	return sort_distinct(present_elements(rule, value), rule.compare.element);
}

void
reject_elements(const Rule &rule, Relation referencing, Value value, Value old)
{
	if (value.isnull || !rejects_elements(rule.options))
		return;

	/* As with broken references: what was there before must not keep the row from being edited. */
	Elements	elements = take_apart(DatumGetArrayTypeP(value.datum), rule.compare.element);
	Elements	before = old.isnull ? Elements{} : take_apart(DatumGetArrayTypeP(old.datum), rule.compare.element);
	Datum		twice = 0;

	if (rule.options.reject_nulls &&
		std::count(elements.nulls, elements.nulls + elements.count, true) >
		std::count(before.nulls, before.nulls + before.count, true))
		report_null_element(rule, referencing);
	if (rule.options.reject_duplicates)
	{
		int			allowed = count_duplicates(rule, referencing, before, &twice);

		if (count_duplicates(rule, referencing, elements, &twice) > allowed)
			report_duplicate_element(rule, referencing, twice);
	}
}

namespace
{

/*
 * Opens the referenced table with the lock that a FOR KEY SHARE query would
 * take. A rule read before the lock was ours may be out of date; one read
 * under it is not, whatever invalidations come for other reasons.
 */
const Rule *
lock_rule(Oid trigger, Relation *referenced)
{
	for (;;)
	{
		const Rule *rule = fetch_rule(trigger);

		*referenced = table_open(rule->referenced, RowShareLock);
		if (!rule_is_current(rule))
			rule = fetch_rule(trigger);
		if (rule->referenced == RelationGetRelid(*referenced))
			return rule;
		table_close(*referenced, RowShareLock);
	}
}

std::span<Datum>
without_found_keys(const FoundKeys *found, const Rule &rule, std::span<Datum> elements)
{
	auto		end = std::remove_if(elements.begin(), elements.end(),
									 [&](Datum element) { return is_found_key(found, rule, element); });

	return elements.first(static_cast<size_t>(end - elements.begin()));
}

/*
 * The snapshot is the one that a native check's query gets: fresh under READ
 * COMMITTED, the transaction's otherwise.
 */
void
check_elements(const Rule &rule, Relation referencing, Relation referenced, std::span<Datum> elements,
			   TupleTableSlot *inserted, const Tolerance *tolerance)
{
	FoundKeys  *found = found_keys_of(rule);
	Probe		probe;

	elements = without_found_keys(found, rule, elements);
	if (inserted && !elements.empty() && look_ahead(found, rule, referencing, referenced, inserted, elements.size()))
	{
		found = found_keys_of(rule);
		elements = what_was_found_ahead(rule.trigger, inserted) == Ahead::Unknown ? without_found_keys(found, rule, elements) :
			std::span<Datum>();
	}
	if (elements.empty())
		return;

	begin_probe(&probe, &rule, referenced, GetTransactionSnapshot(), ProbeFor::Element, ProbeLock::KeyShare);
	for (Datum element : elements)
	{
		CHECK_FOR_INTERRUPTS();
		if (key_exists(&probe, element))
			remember_found_key(found, rule, element);
		else if (!(tolerance && tolerance->allows(tolerance->context, element)))
			report_missing_key(rule, referencing, rule.referenced, element);
	}
	end_probe(&probe);
}

/* "passed" is the rule for which this was established earlier in the same query. */
void
require_references(const Rule *rule, Relation referencing, void **passed)
{
	if (*passed != rule)
		require_owner_references(*rule, RelationGetRelid(referencing));
	*passed = const_cast<Rule *>(rule);
}

} /* namespace */

/*
 * A dump grants privileges last, and a parallel restore may still load a
 * partition when the rule is there; so a superuser who restores is not asked.
 */
void
require_owner_references(const Rule &rule, Oid referencing)
{
	if (!has_references_privilege(rule, table_owner(referencing)) && (check_function_bodies || !superuser()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", get_rel_name(rule.referenced)),
				 errdetail("The owner of table \"%s\" may not reference it.", get_rel_name(referencing)),
				 errhint("%s", references_grant_hint(rule))));
}

TupleTableSlot *
live_version(Relation rel, ItemPointerData tid)
{
	TupleTableSlot *slot = table_slot_create(rel, nullptr);
	TableScanDesc scan = table_beginscan_tid(rel, SnapshotSelf);

	table_tuple_get_latest_tid(scan, &tid);
	table_endscan(scan);
	if (table_tuple_fetch_row_version(rel, &tid, SnapshotSelf, slot))
		return slot;
	ExecDropSingleTupleTableSlot(slot);
	return nullptr;
}

/*
 * Checks what one event has added to a row: all elements for an INSERT, those
 * that the old version did not hold for an UPDATE ("before").
 *
 * Native foreign keys skip an event whose row version was superseded, and make
 * up for it by checking every later UPDATE of a row that this transaction has
 * written, changed key or not. An array cannot afford that: one old orphan in
 * it would fail the second statement that touches the row. So each event
 * answers for what it added, as far as the latest version still holds it.
 * Then every element of the latest version was either there before this
 * transaction or is checked by the event that brought it in.
 */
void
check_row(Oid trigger, Relation referencing, TupleTableSlot *now, TupleTableSlot *before, const Tolerance *tolerance,
		  void **passed)
{
	if (before && adds_nothing(*fetch_rule(trigger), referencing, now, before))
		return;

	/* What this command and the triggers before us have done is to be seen. */
	CommandCounterIncrement();

	Ahead		ahead = before ? Ahead::Unknown : what_was_found_ahead(trigger, now);

	/* The common case in a bulk insert. The keys are locked, and their table. */
	if (ahead == Ahead::Passed)
		return;

	Relation	referenced;
	const Rule *rule = lock_rule(trigger, &referenced);
	const Layout &layout = rule->compare.element;
	Value		value = column_of(now, rule->column);
	Value		old = before ? column_of(before, rule->column) : Value{0, true};
	TupleTableSlot *live = nullptr;

	if (!value.isnull)
	{
		/* Needs a pin on the buffer, which the slot holds, and takes the lock itself. */
		bool		superseded = !table_tuple_satisfies_snapshot(referencing, now, SnapshotSelf);
		std::span<Datum> added = ahead == Ahead::Found ? std::span<Datum>() : added_elements(*rule, value, old);

		if (superseded)
		{
			live = live_version(referencing, now->tts_tid);
			value = live ? column_of(live, rule->column) : Value{0, true};
			added = intersect(added, elements_of(*rule, value), layout);
		}
		/* What an undo brings back, it brings back as it was. */
		if (!tolerance)
			reject_elements(*rule, referencing, value, old);
		if (!added.empty())
		{
			require_references(rule, referencing, passed); /* nothing is asked of keys where nothing is added */
			check_elements(*rule, referencing, referenced, added, before || superseded ? nullptr : now, tolerance);
		}
	}
	if (live)
		ExecDropSingleTupleTableSlot(live);
	table_close(referenced, NoLock);
}

} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_refers);
PG_FUNCTION_INFO_V1(integrity_check_reference);

/*
 * integrity.refers(NEW.column, (NULL::table).key): the condition of a rule's
 * trigger. It binds the trigger to both columns, and keeps a row that refers
 * to nothing from being queued.
 */
PGDLLEXPORT Datum
integrity_refers(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0));
}

PGDLLEXPORT Datum
integrity_check_reference(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "check_reference");

	if (!TRIGGER_FIRED_AFTER(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!(TRIGGER_FIRED_BY_INSERT(data->tg_event) || TRIGGER_FIRED_BY_UPDATE(data->tg_event)))
		wrong_event(data, "check_reference", "AFTER INSERT OR UPDATE FOR EACH ROW");

	bool		is_update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	TupleTableSlot *now = is_update ? data->tg_newslot : data->tg_trigslot;

	check_row(data->tg_trigger->tgoid, data->tg_relation, now, is_update ? data->tg_trigslot : nullptr,
			  nullptr, &fcinfo->flinfo->fn_extra);
	return Datum{};
}
}
