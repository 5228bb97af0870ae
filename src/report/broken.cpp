/*
 * broken.cpp
 *	  integrity.scan_broken(): each broken reference of one rule, or each row that has one.
 *
 * Rows come in the order of the tables' OIDs and of their places, so a caller
 * can ask for some and go on after the last one later.
 */
#include "progress.h"
#include "survey.h"

using namespace integrity;

namespace
{

struct Listing
{
	ReturnSetInfo *result;
	bool		rows_only;
	Oid			after_table;	/* invalid: from the start */
	ItemPointerData after_row;
	int64		max_rows;
	FmgrInfo	output;
};

/* False: the listing has all rows it wants. */
bool
list_leaf(const Listing &listing, const Survey &survey, Target *target, CachedKeys *keys, Relation leaf, int64 *rows)
{
	TupleTableSlot *slot = table_slot_create(leaf, nullptr);
	TableScanDesc scan = pg::begin_ordered_scan(leaf, survey.snapshot);
	LookUp		look = {target->rule.is_array, get_attnum(RelationGetRelid(leaf), target->column), &keys->keys,
		&target->matcher};
	const bool	resume = RelationGetRelid(leaf) == listing.after_table;
	Scratch		scratch;

	if (resume)
	{
		BlockNumber blocks = reinterpret_cast<HeapScanDesc>(scan)->rs_nblocks;
		BlockNumber start = ItemPointerGetBlockNumberNoCheck(&listing.after_row);

		/* There may be no block of that number, but then the last one has nothing to list either. */
		if (blocks > 0)
		{
			start = std::min(start, blocks - 1);
			heap_setscanlimits(scan, start, blocks - start);
		}
	}

	ScanProgress progress = begin_scan_progress(ScanPhase::CheckingReferences, leaf, scan);

	init_scratch(&scratch);
	while (*rows < listing.max_rows && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		listed = false;

		CHECK_FOR_INTERRUPTS();
		show_scan_progress(&progress);
		if (resume && ItemPointerCompare(&slot->tts_tid, const_cast<ItemPointer>(&listing.after_row)) <= 0)
			continue;
		look_at_row(look, slot, &scratch, [&](int position, Datum value)
		{
			if (listing.rows_only && listed)
				return;

			Datum		values[] = {ObjectIdGetDatum(slot->tts_tableOid), PointerGetDatum(&slot->tts_tid),
				Int32GetDatum(position), 0};
			bool		nulls[] = {false, false, listing.rows_only || position == 0, listing.rows_only};

			if (!listing.rows_only)
				values[3] = CStringGetTextDatum(OutputFunctionCall(const_cast<FmgrInfo *>(&listing.output), value));
			tuplestore_putvalues(listing.result->setResult, listing.result->setDesc, values, nulls);
			listed = true;
		});
		*rows += listed;
		end_row(&scratch);
	}
	delete_scratch(&scratch);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return *rows < listing.max_rows;
}

/* With keys in parts, each part lists the first rows that it knows of; the caller sorts them. */
void
list_part(const Listing &listing, const Survey &survey, Target *target, CachedKeys *keys)
{
	List	   *leaves = list_copy(target->leaves);
	int64		rows = 0;
	ListCell   *cell;
	bool		more = true;

	list_sort(leaves, list_oid_cmp);
	foreach(cell, leaves)
	{
		if (!more || lfirst_oid(cell) < listing.after_table)
			continue;

		Relation	leaf = table_open(lfirst_oid(cell), NoLock);

		more = list_leaf(listing, survey, target, keys, leaf, &rows);
		table_close(leaf, NoLock);
	}
}

} /* namespace */

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_can_scan);
PG_FUNCTION_INFO_V1(integrity_scan_broken);

/* Can the scan read this rule, with the memory there is? Raises what is wrong with it. */
PGDLLEXPORT Datum
integrity_can_scan(PG_FUNCTION_ARGS)
{
	Target		target;
	Survey		survey;
	bool		can = false;

	if (resolve_target(PG_GETARG_OID(0), PG_GETARG_OID(1), &target) == Readable::ByScan)
	{
		begin_survey(&survey, GetActiveSnapshot());
		can = plan_keys(survey.keys, keys_of(target)).parts <= max_parts;
		end_survey(&survey);
	}
	PG_RETURN_BOOL(can);
}

PGDLLEXPORT Datum
integrity_scan_broken(PG_FUNCTION_ARGS)
{
	Target		target;
	Survey		survey;
	Listing		listing = {};
	Oid			output;
	bool		is_varlena;

	InitMaterializedSRF(fcinfo, 0);
	listing.result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	listing.rows_only = PG_GETARG_BOOL(2);
	listing.after_table = PG_ARGISNULL(3) || PG_ARGISNULL(4) ? InvalidOid : PG_GETARG_OID(3);
	if (OidIsValid(listing.after_table))
		listing.after_row = *reinterpret_cast<ItemPointer>(PG_GETARG_POINTER(4));
	listing.max_rows = PG_ARGISNULL(5) ? PG_INT64_MAX : PG_GETARG_INT64(5);

	if (resolve_target(PG_GETARG_OID(0), PG_GETARG_OID(1), &target) != Readable::ByScan)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this reference cannot be read by a scan")));
	getTypeOutputInfo(target.rule.element_type, &output, &is_varlena);
	fmgr_info(output, &listing.output);

	WorkInProgress work = {};

	work.native = OidIsValid(target.constraint);
	work.rule = work.native ? target.constraint : target.trigger;
	work.rules_total = 1;
	begin_progress(work);
	begin_survey(&survey, GetActiveSnapshot());
	check_target_access(target, survey.snapshot);

	KeysPlan	plan = plan_keys(survey.keys, keys_of(target));
	Surveyed	done = for_each_part(&survey, target, plan, [&](CachedKeys *keys)
	{
		if (keys->keys.part.number == 0)
			tuplestore_clear(listing.result->setResult);
		list_part(listing, survey, &target, keys);
		return Next::Part;
	});

	end_survey(&survey);
	end_progress();
	if (done == Surveyed::TooLarge)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the keys of table \"%s\" take too many passes to be read with this maintenance_work_mem",
						get_rel_name(target.rule.referenced)),
				 errhint("Set maintenance_work_mem higher.")));
	return 0;
}
}
