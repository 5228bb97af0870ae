/*
 * positions.cpp
 *	  Takes elements out of an array by their place.
 *
 * A repair has found out for each element whether it is broken. To take the
 * broken ones out by value would need a second notion of equality, and could
 * take out what holds: 'A' has no key, 'a' has one, and the column's own type
 * may take both for the same.
 *
 * The result is what the rule's own action makes, see reference/arrays.cpp:
 * gaps are closed in an array of one dimension, whose lower bound stays; in
 * one of more dimensions the shape cannot change, so NULL comes in the place.
 */
#include "../pg.h"

namespace integrity
{
namespace
{

/* The array taken apart, and which of its elements are meant, by their place in storage order from 1 on. */
struct Picked
{
	ArrayType  *array;
	TypeCacheEntry *type;		/* of the elements */
	Datum	   *values;
	bool	   *nulls;
	int			count;
	bool	   *hit;
	int			hits;
};

static_assert(Plain<Picked>);

Picked
pick(FunctionCallInfo fcinfo)
{
	ArrayType  *positions = PG_GETARG_ARRAYTYPE_P(1);
	Oid			type = getBaseType(get_fn_expr_argtype(fcinfo->flinfo, 0));
	Picked		picked = {};

	/* These look like arrays, but cannot be empty or hold a null: what we make of one would be none. */
	if (type == INT2VECTOROID || type == OIDVECTOROID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s is no array", format_type_be(type))));

	picked.array = PG_GETARG_ARRAYTYPE_P(0);
	picked.type = lookup_type_cache(ARR_ELEMTYPE(picked.array), 0);
	deconstruct_array(picked.array, ARR_ELEMTYPE(picked.array), picked.type->typlen, picked.type->typbyval,
					  picked.type->typalign, &picked.values, &picked.nulls, &picked.count);
	picked.hit = static_cast<bool *>(palloc0(static_cast<size_t>(picked.count) + 1));

	if (array_contains_nulls(positions))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a position must not be null")));
	for (int32 position : std::span(reinterpret_cast<const int32 *>(ARR_DATA_PTR(positions)),
									static_cast<size_t>(ArrayGetNItems(ARR_NDIM(positions), ARR_DIMS(positions)))))
	{
		if (position < 1 || position > picked.count)
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					 errmsg("position %d is not in an array of %d elements", position, picked.count)));
		picked.hits += !picked.hit[position - 1];
		picked.hit[position - 1] = true;
	}
	return picked;
}

Datum
with_nulls(FunctionCallInfo fcinfo, Picked &picked)
{
	/* A domain may forbid nulls, and nobody else would notice. */
	if (picked.type->typtype == TYPTYPE_DOMAIN)
		domain_check(Datum{}, true, picked.type->type_id, &fcinfo->flinfo->fn_extra, fcinfo->flinfo->fn_mcxt);
	for (int i = 0; i < picked.count; i++)
		if (picked.hit[i])
			picked.nulls[i] = true;
	return PointerGetDatum(construct_md_array(picked.values, picked.nulls, ARR_NDIM(picked.array), ARR_DIMS(picked.array),
											  ARR_LBOUND(picked.array), picked.type->type_id, picked.type->typlen,
											  picked.type->typbyval, picked.type->typalign));
}

Datum
without_hits(Picked &picked)
{
	int			kept = 0;

	for (int i = 0; i < picked.count; i++)
		if (!picked.hit[i])
		{
			picked.values[kept] = picked.values[i];
			picked.nulls[kept++] = picked.nulls[i];
		}
	if (kept == 0)
		return PointerGetDatum(construct_empty_array(picked.type->type_id));
	return PointerGetDatum(construct_md_array(picked.values, picked.nulls, 1, &kept, ARR_LBOUND(picked.array),
											  picked.type->type_id, picked.type->typlen, picked.type->typbyval,
											  picked.type->typalign));
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_remove_positions);
PG_FUNCTION_INFO_V1(integrity_null_positions);

/* remove_positions(array, positions, empty_to_null) */
PGDLLEXPORT Datum
integrity_remove_positions(PG_FUNCTION_ARGS)
{
	Picked		picked = pick(fcinfo);

	if (picked.hits == 0)
		return PointerGetDatum(picked.array);
	if (ARR_NDIM(picked.array) != 1)
		return with_nulls(fcinfo, picked);
	if (picked.hits == picked.count && PG_GETARG_BOOL(2))
		PG_RETURN_NULL();
	return without_hits(picked);
}

/* null_positions(array, positions) */
PGDLLEXPORT Datum
integrity_null_positions(PG_FUNCTION_ARGS)
{
	Picked		picked = pick(fcinfo);

	if (picked.hits == 0)
		return PointerGetDatum(picked.array);
	return with_nulls(fcinfo, picked);
}
}
