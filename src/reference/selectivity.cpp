/*
 * selectivity.cpp
 *	  The planner's view of integrity.contains_any(), but for its indexes.
 *
 * The && operator's own estimate takes each key that is not among the most
 * common elements to be in half as many rows as the rarest of these is, or in
 * one of 200. Of a thousand keys it thinks that they are in nearly every row,
 * and reads the whole table. How many distinct elements there are the
 * statistics do not say, but a GIN index does: what the common ones leave is
 * shared out among the others.
 */
#include "compare.h"
#include "selectivity.h"

namespace integrity
{
namespace
{

/* Of more keys it hardly matters, and to look at them all would take long. */
constexpr int most_keys = 100000;

/* How many distinct elements a GIN index on this column holds, as its last VACUUM or its making has counted; 0 if nobody knows. */
double
distinct_elements(const VariableStatData &variable)
{
	auto	   *column = reinterpret_cast<Var *>(variable.var);
	ListCell   *cell;

	if (variable.rel == nullptr || !IsA(column, Var))
		return 0;
	foreach(cell, variable.rel->indexlist)
	{
		auto	   *index = static_cast<IndexOptInfo *>(lfirst(cell));

		if (index->relam != GIN_AM_OID || index->hypothetical || index->indpred != NIL || index->nkeycolumns != 1 ||
			index->indexkeys[0] != column->varattno || !op_in_opfamily(OID_ARRAY_OVERLAP_OP, index->opfamily[0]))
			continue;

		Relation	rel = index_open(index->indexoid, NoLock);	/* the planner has locked it */
		GinStatsData stats;

		ginGetStats(rel, &stats);
		index_close(rel, NoLock);
		return static_cast<double>(stats.nEntries);
	}
	return 0;
}

/* The keys, if they are known; null if not. */
ArrayType *
known_keys(PlannerInfo *root, Node *argument)
{
	Node	   *value = estimate_expression_value(root, argument);

	if (!IsA(value, Const) || castNode(Const, value)->constisnull)
		return nullptr;
	return DatumGetArrayTypeP(castNode(Const, value)->constvalue);
}

/* What is known of the elements of a column. */
struct ElementStatistics
{
	double		each;			/* in which part of the rows one is that is not common */
	AttStatsSlot common;		/* the most common ones, and in which part of the rows they are */
	double		nulls;			/* which part of the rows is null */
};

/* False if nothing is known. Else the slot has to be freed. */
bool
element_statistics(const VariableStatData &variable, ElementStatistics *statistics)
{
	double		distinct = distinct_elements(variable);
	AttStatsSlot counts;

	if (distinct <= 0 || !HeapTupleIsValid(variable.statsTuple) ||
		!get_attstatsslot(&counts, variable.statsTuple, STATISTIC_KIND_DECHIST, InvalidOid, ATTSTATSSLOT_NUMBERS))
		return false;

	double		rest = counts.nnumbers > 0 ? counts.numbers[counts.nnumbers - 1] : 0;	/* distinct ones in a row, on average */

	free_attstatsslot(&counts);
	if (rest <= 0)
		return false;
	/* Where all elements are rare, there is no such slot, and it comes back empty. */
	(void) get_attstatsslot(&statistics->common, variable.statsTuple, STATISTIC_KIND_MCELEM, InvalidOid,
							ATTSTATSSLOT_VALUES | ATTSTATSSLOT_NUMBERS);
	for (int i = 0; i < statistics->common.nvalues; i++)
		rest -= statistics->common.numbers[i];
	statistics->each = std::max(rest, 0.0) / std::max(distinct - statistics->common.nvalues, 1.0);
	statistics->nulls = reinterpret_cast<Form_pg_statistic>(GETSTRUCT(variable.statsTuple))->stanullfrac;
	return true;
}

/* In which part of the rows one of the keys is, given that they are in the rows independently of each other. */
double
estimate(const ElementStatistics &statistics, const KeySet &keys)
{
	double		others = static_cast<double>(keys.keys.size());
	double		none = 1;

	for (int i = 0; i < statistics.common.nvalues; i++)
		if (contains(keys, statistics.common.values[i]))
		{
			none *= 1 - statistics.common.numbers[i];
			others--;
		}
	none *= std::pow(1 - std::min(statistics.each, 1.0), std::max(others, 0.0));
	return (1 - none) * (1 - statistics.nulls);
}

} /* namespace */

double
overlap_selectivity(const SupportRequestSelectivity &request)
{
	double		selectivity = restriction_selectivity(request.root, OID_ARRAY_OVERLAP_OP, request.args,
													  request.inputcollid, request.varRelid);
	ArrayType  *array = known_keys(request.root, static_cast<Node *>(lsecond(request.args)));
	VariableStatData variable;
	ElementStatistics statistics;
	Comparison	compare;

	if (array == nullptr || ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > most_keys)
		return selectivity;
	examine_variable(request.root, static_cast<Node *>(linitial(request.args)), request.varRelid, &variable);
	if (element_statistics(variable, &statistics))
	{
		Oid			type = getBaseType(ARR_ELEMTYPE(array));

		/* The common elements are data of the table's: a function that might tell of them must not see them. */
		if (resolve_default_comparison(type, type, request.inputcollid, &compare) &&
			statistic_proc_security_check(&variable, compare.order_key_key_proc.fn_oid))
		{
			KeySet		keys = make_key_set(&compare, present_elements(take_apart(array, compare.key)));

			selectivity = std::min(selectivity, estimate(statistics, keys));
		}
		free_attstatsslot(&statistics.common);
	}
	ReleaseVariableStats(variable);
	return selectivity;
}

} /* namespace integrity */
