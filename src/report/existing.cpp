/*
 * existing.cpp
 *	  Checks the rows that were there before a rule.
 *
 * As RI_Initial_Check() does, this reads one snapshot and locks no row: the
 * caller made sure that the rule is enforced, so what changes meanwhile is
 * checked by its triggers.
 */
#include "../reference/action.h"
#include "../reference/check.h"
#include "../reference/probe.h"
#include "../reference/validate.h"
#include "../reference/violation.h"
#include "attempt.h"
#include "leaves.h"
#include "progress.h"
#include "survey.h"

namespace integrity
{
namespace
{

/* Row by row: null and duplicate elements, where the rule rejects them, and the keys too, if a probe is there for them. */
void
check_each_row(const Rule &rule, Relation referencing, Probe *probe, Snapshot snapshot)
{
	TupleTableSlot *slot = table_slot_create(referencing, nullptr);
	TableScanDesc scan = pg::begin_table_scan(referencing, snapshot);
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext, "integrity row", ALLOCSET_DEFAULT_SIZES);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext saved = MemoryContextSwitchTo(per_row);
		Value		value = column_of(slot, rule.column);

		CHECK_FOR_INTERRUPTS();
		reject_elements(rule, referencing, value, Value{0, true});
		if (probe)
			for (Datum element : elements_of(rule, value))
				if (!key_exists(probe, element))
					report_missing_key(rule, referencing, rule.referenced, element);
		MemoryContextSwitchTo(saved);
		MemoryContextReset(per_row);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(per_row);
}

/* A partition may have its columns in another order. */
Rule
rule_for_leaf(const Rule &rule, Oid leaf)
{
	Rule		here = rule;

	if (leaf != rule.referencing)
		here.column = get_attnum(leaf, get_attname(rule.referencing, rule.column, false));
	return here;
}

void
check_rows_of_leaves(const Rule &rule, Probe *probe, Snapshot snapshot)
{
	ListCell   *cell;

	foreach(cell, leaves_of(rule.referencing))
	{
		Relation	leaf = table_open(lfirst_oid(cell), NoLock);

		if (leaf->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("partition \"%s\" is a foreign table", RelationGetRelationName(leaf)),
					 errhint("A reference needs rows that can be checked and locked.")));
		if (probe || rule.options.reject_nulls || rule.options.reject_duplicates)
			check_each_row(rule_for_leaf(rule, RelationGetRelid(leaf)), leaf, probe, snapshot);
		table_close(leaf, NoLock);
	}
}

[[noreturn]] void
report_first_found(const Survey &survey, const Target &target)
{
	Relation	leaf = table_open(survey.stopped_in, NoLock);

	target.tally.values.for_each([&](const ImageEntry &entry)
	{
		report_missing_key(rule_for_leaf(target.rule, survey.stopped_in), leaf, target.rule.referenced,
						   target.tally.values.datum_at(entry));
	});
	elog(ERROR, "a broken reference was found in table \"%s\", but not kept", RelationGetRelationName(leaf));
}

/* False: the scan cannot do it. */
bool
check_by_scan(const Rule &rule, Snapshot snapshot)
{
	Target		target;
	Target	   *only = &target;
	Survey		survey;
	Surveyed	result;
	WorkInProgress work = {};

	if (resolve_target(rule, &target) != Readable::ByScan)
		return false;
	work.rule = rule.trigger;
	work.rules_total = 1;
	begin_progress(work);
	begin_survey(&survey, snapshot);
	survey.stop_at_first = true;
	count_broken(&survey, {&only, 1}, {&result, 1});
	if (result == Surveyed::Yes && OidIsValid(survey.stopped_in))
		report_first_found(survey, target);
	end_survey(&survey);
	end_progress();
	return result == Surveyed::Yes;
}

} /* namespace */

void
check_existing_rows(const Rule &rule)
{
	Relation	referenced = table_open(rule.referenced, RowShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	PushActiveSnapshot(snapshot);
	check_rows_of_leaves(rule, nullptr, snapshot);

	bool		checked = check_by_scan(rule, snapshot);

	PopActiveSnapshot();
	if (!checked)
	{
		Probe		probe;

		begin_probe(&probe, &rule, referenced, snapshot, ProbeFor::Element, ProbeLock::None);
		check_rows_of_leaves(rule, &probe, snapshot);
		end_probe(&probe);
	}
	UnregisterSnapshot(snapshot);
	table_close(referenced, NoLock);
}

bool
existing_rows_hold(const Rule &rule, char **reason)
{
	return attempt([&]() { check_existing_rows(rule); }, [](const ErrorData *error)
	{
		return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION;
	}, reason);
}

} /* namespace integrity */
