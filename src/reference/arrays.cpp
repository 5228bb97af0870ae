/*
 * arrays.cpp
 *	  The SQL functions with which an action rewrites an array: they take out,
 *	  null or replace the elements that are in a set of keys.
 *
 * They are pure functions of their arguments. The keys are sorted once per
 * query, not once per row: array_remove() per key, or the quadratic compare of
 * the && operator, would make a delete of many keys a matter of seconds.
 */
#include "compare.h"

namespace integrity
{
namespace
{

/* What a call keeps from row to row, in fn_extra. */
struct CallState
{
	Comparison	compare;
	KeySet		set;
	bool		has_set;
	bool		keys_are_constant;
	ArrayType  *keys;			/* a copy of what the set was made of */
	MemoryContext memory;		/* of the set */
	void	   *domain;			/* what domain_check() keeps, for elements of a domain */
};

static_assert(Plain<CallState>);

constexpr int array_argument = 0;
constexpr int keys_argument = 1;

Oid
element_type_of(FunctionCallInfo fcinfo, int argument)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, argument);
	Oid			element = OidIsValid(type) ? get_element_type(getBaseType(type)) : InvalidOid;

	/* These look like arrays, but cannot be empty or hold a null: what we make of one would be none. */
	if (!OidIsValid(element) || getBaseType(type) == INT2VECTOROID || getBaseType(type) == OIDVECTOROID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("could not determine the array type of argument %d", argument + 1)));
	return getBaseType(element);
}

/* Not so a parameter: PL/pgSQL keeps the state of an expression from one execution to the next. */
bool
is_constant(FmgrInfo *function, int argument)
{
	Node	   *call = function->fn_expr;

	return call && is_funcclause(call) && IsA(list_nth(castNode(FuncExpr, call)->args, argument), Const);
}

CallState *
call_state(FunctionCallInfo fcinfo)
{
	auto	   *state = static_cast<CallState *>(fcinfo->flinfo->fn_extra);

	if (state)
		return state;

	Oid			element_type = element_type_of(fcinfo, array_argument);
	Oid			key_type = element_type_of(fcinfo, keys_argument);
	MemoryContext saved = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

	state = static_cast<CallState *>(palloc0(sizeof(CallState)));
	if (!resolve_default_comparison(element_type, key_type, PG_GET_COLLATION(), &state->compare))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("elements of type %s and keys of type %s cannot be compared", format_type_be(element_type),
						format_type_be(key_type)),
				 errhint("Give both arrays the same element type.")));
	state->keys_are_constant = is_constant(fcinfo->flinfo, keys_argument);
	state->memory = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "integrity keys", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(saved);
	fcinfo->flinfo->fn_extra = state;
	return state;
}

/* The set of the keys argument, made anew only when the argument has changed. */
const KeySet &
key_set(FunctionCallInfo fcinfo)
{
	CallState  *state = call_state(fcinfo);

	if (state->has_set && state->keys_are_constant)
		return state->set;

	auto	   *keys = DatumGetArrayTypeP(PG_GETARG_DATUM(keys_argument));

	if (state->has_set && VARSIZE(keys) == VARSIZE(state->keys) && memcmp(keys, state->keys, VARSIZE(keys)) == 0)
		return state->set;

	state->has_set = false;
	MemoryContextReset(state->memory);

	MemoryContext saved = MemoryContextSwitchTo(state->memory);

	state->keys = static_cast<ArrayType *>(palloc(VARSIZE(keys)));
	memcpy(state->keys, keys, VARSIZE(keys));

	state->set = make_key_set(&state->compare, present_elements(take_apart(state->keys, state->compare.key)));
	state->has_set = true;
	MemoryContextSwitchTo(saved);
	return state->set;
}

/* The array argument taken apart, and which of its elements are in the set. */
struct Marked
{
	ArrayType  *array;
	Elements	elements;
	bool	   *hit;
	int			hits;
};

Marked
mark(FunctionCallInfo fcinfo)
{
	const KeySet &set = key_set(fcinfo);
	Marked		marked;

	marked.array = PG_GETARG_ARRAYTYPE_P(array_argument);
	marked.elements = take_apart(marked.array, set.compare->element);
	marked.hit = static_cast<bool *>(palloc0(static_cast<size_t>(marked.elements.count) + 1));
	marked.hits = 0;
	for (int i = 0; i < marked.elements.count; i++)
		if (!marked.elements.nulls[i] && contains(set, marked.elements.values[i]))
		{
			marked.hit[i] = true;
			marked.hits++;
		}
	return marked;
}

/* An array of the same shape with other elements. */
Datum
with_elements(const Marked &marked, const Comparison &compare)
{
	return PointerGetDatum(construct_md_array(marked.elements.values, marked.elements.nulls, ARR_NDIM(marked.array),
											  ARR_DIMS(marked.array), ARR_LBOUND(marked.array),
											  ARR_ELEMTYPE(marked.array), compare.element.len, compare.element.byval,
											  compare.element.align));
}

Datum
with_nulls(FunctionCallInfo fcinfo, Marked &marked, const Comparison &compare)
{
	Oid			declared = ARR_ELEMTYPE(marked.array);

	/* A domain may forbid nulls, and nobody else would notice. */
	if (marked.hits > 0 && declared != compare.element_type)
		domain_check(static_cast<Datum>(0), true, declared, &call_state(fcinfo)->domain, fcinfo->flinfo->fn_mcxt);
	for (int i = 0; i < marked.elements.count; i++)
		if (marked.hit[i])
			marked.elements.nulls[i] = true;
	return with_elements(marked, compare);
}

/* Closes the gaps; only for one dimension, where order has a meaning. */
Datum
without_hits(Marked &marked, const Comparison &compare)
{
	int			kept = 0;

	for (int i = 0; i < marked.elements.count; i++)
		if (!marked.hit[i])
		{
			marked.elements.values[kept] = marked.elements.values[i];
			marked.elements.nulls[kept++] = marked.elements.nulls[i];
		}
	if (kept == 0)
		return PointerGetDatum(construct_empty_array(ARR_ELEMTYPE(marked.array)));
	return PointerGetDatum(construct_md_array(marked.elements.values, marked.elements.nulls, 1, &kept,
											  ARR_LBOUND(marked.array), ARR_ELEMTYPE(marked.array),
											  compare.element.len, compare.element.byval, compare.element.align));
}

/* The && operator needs both arguments of one type. */
bool
same_array_type(List *args)
{
	return list_length(args) == 2 &&
		getBaseType(exprType(static_cast<Node *>(linitial(args)))) == getBaseType(exprType(static_cast<Node *>(lsecond(args))));
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_contains_any);
PG_FUNCTION_INFO_V1(integrity_contains_any_support);
PG_FUNCTION_INFO_V1(integrity_remove_elements);
PG_FUNCTION_INFO_V1(integrity_null_elements);
PG_FUNCTION_INFO_V1(integrity_replace_elements);

/* contains_any(array, keys): is one of the keys an element of the array? */
PGDLLEXPORT Datum
integrity_contains_any(PG_FUNCTION_ARGS)
{
	const KeySet &set = key_set(fcinfo);
	const Layout &layout = set.compare->element;
	Packed		packed;

	/* Most arrays of ids are looked at where they lie. */
	if (packed_in_place(PG_GETARG_DATUM(array_argument), layout, &packed))
		PG_RETURN_BOOL(contains_any(set, packed));

	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(array_argument);
	bool		found = false;

	if (packed_elements(array, layout, &packed))
		found = contains_any(set, packed);
	else
	{
		Elements	elements = take_apart(array, layout);

		for (int i = 0; i < elements.count && !found; i++)
			found = !elements.nulls[i] && contains(set, elements.values[i]);
	}
	PG_FREE_IF_COPY(array, array_argument);
	PG_RETURN_BOOL(found);
}

/*
 * remove_elements(array, keys, empty_to_null): the array without them, or with
 * NULL in their place if it has more dimensions than one.
 */
PGDLLEXPORT Datum
integrity_remove_elements(PG_FUNCTION_ARGS)
{
	Marked		marked = mark(fcinfo);
	const Comparison &compare = call_state(fcinfo)->compare;

	if (marked.hits == 0)
		return PointerGetDatum(marked.array);
	if (ARR_NDIM(marked.array) != 1)
		return with_nulls(fcinfo, marked, compare);
	if (marked.hits == marked.elements.count && PG_GETARG_BOOL(2))
		PG_RETURN_NULL();
	return without_hits(marked, compare);
}

/* null_elements(array, keys): the array with NULL in their place. */
PGDLLEXPORT Datum
integrity_null_elements(PG_FUNCTION_ARGS)
{
	Marked		marked = mark(fcinfo);

	if (marked.hits == 0)
		return PointerGetDatum(marked.array);
	return with_nulls(fcinfo, marked, call_state(fcinfo)->compare);
}

/* replace_elements(array, keys, element): the array with "element", which may be null, in their place. */
PGDLLEXPORT Datum
integrity_replace_elements(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(1))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));

	Marked		marked = mark(fcinfo);
	const Comparison &compare = call_state(fcinfo)->compare;

	if (PG_ARGISNULL(2))
		return with_nulls(fcinfo, marked, compare);

	Datum		element = PG_GETARG_DATUM(2);

	if (compare.element.len == -1)
		element = PointerGetDatum(PG_DETOAST_DATUM(element));
	for (int i = 0; i < marked.elements.count; i++)
		if (marked.hit[i])
			marked.elements.values[i] = element;
	return with_elements(marked, compare);
}

/*
 * The planner's view of contains_any(): a GIN index on the array finds its rows
 * through the && operator, and its selectivity is that operator's. The
 * operator itself is not used as the condition, because on a row it compares
 * every element with every key.
 */
PGDLLEXPORT Datum
integrity_contains_any_support(PG_FUNCTION_ARGS)
{
	Node	   *request = reinterpret_cast<Node *>(PG_GETARG_POINTER(0));

	if (IsA(request, SupportRequestSelectivity))
	{
		auto	   *selectivity = reinterpret_cast<SupportRequestSelectivity *>(request);

		if (selectivity->is_join || !same_array_type(selectivity->args))
			return Datum{};
		selectivity->selectivity = restriction_selectivity(selectivity->root, OID_ARRAY_OVERLAP_OP, selectivity->args,
														   selectivity->inputcollid, selectivity->varRelid);
		PG_RETURN_POINTER(request);
	}
	if (IsA(request, SupportRequestIndexCondition))
	{
		auto	   *index = reinterpret_cast<SupportRequestIndexCondition *>(request);

		if (!is_funcclause(index->node) || index->indexarg != array_argument ||
			!op_in_opfamily(OID_ARRAY_OVERLAP_OP, index->opfamily))
			return Datum{};

		auto	   *call = castNode(FuncExpr, index->node);

		/* An index with another collation may not find what the function would. */
		if (OidIsValid(index->indexcollation) && index->indexcollation != call->inputcollid)
			return Datum{};
		if (!same_array_type(call->args) ||
			!is_pseudo_constant_for_index(index->root, static_cast<Node *>(lsecond(call->args)), index->index))
			return Datum{};
		index->lossy = true;
		PG_RETURN_POINTER(list_make1(make_opclause(OID_ARRAY_OVERLAP_OP, BOOLOID, false, static_cast<Expr *>(linitial(call->args)),
												   static_cast<Expr *>(lsecond(call->args)), InvalidOid, index->indexcollation)));
	}
	return Datum{};
}
}
