/*
 * compare.cpp
 *	  Finds the operators for a pair of types, and looks elements up in keys.
 */
#include "compare.h"

namespace integrity
{

Layout
layout_of(Oid type)
{
	Layout		layout;

	get_typlenbyvalalign(type, &layout.len, &layout.byval, &layout.align);
	return layout;
}

namespace
{

/*
 * Does this operator family say that equal means equal bytes? Of char(n) some
 * minor versions say so wrongly: its padding does not count.
 */
bool
has_equal_image(Oid opfamily, Oid opcintype, Oid collation)
{
	if (opcintype == BPCHAROID)
		return false;

	Oid			proc = get_opfamily_proc(opfamily, opcintype, opcintype, BTEQUALIMAGE_PROC);

	return OidIsValid(proc) && DatumGetBool(OidFunctionCall1Coll(proc, collation, ObjectIdGetDatum(opcintype)));
}

} /* namespace */

/*
 * A cast function runs as whoever changes a row, so it must be one that a
 * superuser made: all built-in ones, and those of extensions. Otherwise the
 * owner of a type could have code of his own run by others.
 */
bool
find_cast(Oid target, Oid source, CoercionContext context, Oid *function)
{
	*function = InvalidOid;

	/* A polymorphic operator class (anyenum) takes its own types as they are. */
	if (IsPolymorphicType(target))
		return false;
	switch (find_coercion_pathway(target, source, context, function))
	{
		case COERCION_PATH_RELABELTYPE:
			*function = InvalidOid;
			return true;
		case COERCION_PATH_FUNC:
			{
				HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(*function));

				if (!HeapTupleIsValid(tuple))
					elog(ERROR, "cache lookup failed for function %u", *function);

				Oid			owner = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->proowner;

				ReleaseSysCache(tuple);
				return superuser_arg(owner);
			}
		default:
			return false;
	}
}

Datum
call_cast(FmgrInfo *function, Datum value)
{
	LOCAL_FCINFO(call, 3);

	InitFunctionCallInfoData(*call, function, function->fn_nargs, InvalidOid, nullptr, nullptr);
	call->args[0] = {value, false};
	call->args[1] = {Int32GetDatum(-1), false};
	call->args[2] = {BoolGetDatum(false), false};

	Datum		result = FunctionCallInvoke(call);

	if (call->isnull)
		elog(ERROR, "function %u returned NULL", function->fn_oid);
	return result;
}

Datum
call_cast(Oid function, Datum value)
{
	FmgrInfo	found;

	fmgr_info(function, &found);
	return call_cast(&found, value);
}

/*
 * A rule outlives the statement whose savepoint was rolled back. Up to 17 a
 * function in SQL that was left by an error would go on from there at its next
 * call, with a snapshot and tables that are gone; it has to begin anew. One
 * that calls itself, by way of rows that it writes, must not share its state.
 */
Datum
cast_element(Comparison *compare, Datum element)
{
	LocalTransactionId transaction = pg::local_transaction();
	FmgrInfo	own;

	if (compare->casting == transaction && SubTransactionIsActive(compare->casting_in))
	{
		fmgr_info_copy(&own, &compare->cast_proc, CurrentMemoryContext);
		return call_cast(&own, element);
	}
	if (compare->casting != InvalidLocalTransactionId)
	{
		compare->cast_proc.fn_extra = nullptr;
		MemoryContextReset(compare->cast_memory);
	}
	compare->casting = transaction;
	compare->casting_in = GetCurrentSubTransactionId();

	Datum		result = call_cast(&compare->cast_proc, element);

	compare->casting = InvalidLocalTransactionId;
	return result;
}

bool
resolve_comparison(Oid element_type, Oid key_type, Oid key_collation,
				   Oid opfamily, Oid opcintype, Comparison *compare)
{
	Oid			cast_function = InvalidOid;
	Oid			order_element;

	memset(compare, 0, sizeof(*compare));
	compare->element = layout_of(element_type);
	compare->key = layout_of(key_type);
	compare->element_type = element_type;
	compare->key_type = key_type;
	compare->collation = key_collation;

	compare->key_eq_key = get_opfamily_member(opfamily, opcintype, opcintype, BTEqualStrategyNumber);
	compare->key_eq_element = get_opfamily_member(opfamily, opcintype, element_type, BTEqualStrategyNumber);
	compare->element_subtype = element_type;
	order_element = get_opfamily_proc(opfamily, element_type, opcintype, BTORDER_PROC);

	if (!OidIsValid(compare->key_eq_element) || !OidIsValid(order_element))
	{
		if (element_type != key_type && !find_cast(opcintype, element_type, COERCION_IMPLICIT, &cast_function))
			return false;
		compare->key_eq_element = compare->key_eq_key;
		compare->element_subtype = opcintype;
		order_element = get_opfamily_proc(opfamily, opcintype, opcintype, BTORDER_PROC);
	}
	if (!OidIsValid(compare->key_eq_key) || !OidIsValid(order_element))
		return false;

	/* int4 and oid are binary coercible, but their Datums are not the same. */
	compare->same_image = !OidIsValid(cast_function) &&
		(element_type == key_type || (compare->element_subtype == opcintype && compare->element.len == -1)) &&
		has_equal_image(opfamily, opcintype, key_collation);

	fmgr_info(get_opcode(compare->key_eq_element), &compare->key_eq_element_proc);
	fmgr_info(get_opcode(compare->key_eq_key), &compare->key_eq_key_proc);
	fmgr_info(get_opfamily_proc(opfamily, opcintype, opcintype, BTORDER_PROC), &compare->order_key_key_proc);
	fmgr_info(order_element, &compare->order_element_key_proc);
	if (OidIsValid(cast_function))
	{
		compare->cast_memory = AllocSetContextCreate(CurrentMemoryContext, "integrity cast", ALLOCSET_SMALL_SIZES);
		fmgr_info_cxt(cast_function, &compare->cast_proc, compare->cast_memory);
	}
	return true;
}

bool
resolve_default_comparison(Oid element_type, Oid key_type, Oid key_collation, Comparison *compare)
{
	Oid			opclass = GetDefaultOpClass(key_type, BTREE_AM_OID);

	return OidIsValid(opclass) &&
		resolve_comparison(element_type, key_type, key_collation,
						   get_opclass_family(opclass), get_opclass_input_type(opclass), compare);
}

int
compare_keys(Comparison *compare, Datum a, Datum b)
{
	return DatumGetInt32(FunctionCall2Coll(&compare->order_key_key_proc, compare->collation, a, b));
}

void
sort_keys(std::span<Datum> keys, Comparison *compare)
{
	if (keys.empty())
		return;
	qsort_arg(keys.data(), keys.size(), sizeof(Datum), [](const void *a, const void *b, void *arg)
	{
		return compare_keys(static_cast<Comparison *>(arg), *static_cast<const Datum *>(a), *static_cast<const Datum *>(b));
	}, compare);
}

KeySet
make_key_set(Comparison *compare, std::span<Datum> keys)
{
	KeySet		set = {compare, keys, {}};

	if (!compare->same_image)
	{
		sort_keys(keys, compare);
		auto		end = std::unique(keys.begin(), keys.end(), [&](Datum a, Datum b) { return compare_keys(compare, a, b) == 0; });

		set.keys = keys.first(static_cast<size_t>(end - keys.begin()));
		return set;
	}

	int			log2 = Sieve::log2_for(keys.size());

	set.sieve.init(log2, static_cast<uint64 *>(palloc0(Sieve::bytes_for(log2))));
	set.keys = sort_distinct(keys, compare->key);
	for (Datum key : set.keys)
		set.sieve.insert(key, compare->key);
	return set;
}

bool
contains(const KeySet &set, Datum element)
{
	Comparison &compare = *set.compare;

	if (compare.same_image)
		return set.sieve.may_hold(element, compare.key) && contains_image(set.keys, element, compare.key);

	Datum		value = as_key(compare, element);
	size_t		low = 0;
	size_t		high = set.keys.size();

	while (low < high)
	{
		size_t		middle = (low + high) / 2;
		int32		order = DatumGetInt32(FunctionCall2Coll(&compare.order_element_key_proc, compare.collation,
															value, set.keys[middle]));

		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

namespace
{

/* With one width known there is little more in this loop than the sieve: it is most of a delete that reads the whole table. */
template <typename Integer>
bool
sieve_any(const KeySet &set, const Packed &elements)
{
	constexpr Layout layout = {sizeof(Integer), true, TYPALIGN_CHAR};
	const Sieve sieve = set.sieve;

	for (size_t i = 0; i < elements.count; i++)
	{
		Datum		element = integer_at<Integer>(elements.data + i * sizeof(Integer));

		if (sieve.may_hold(element, layout) && contains_image(set.keys, element, layout))
			return true;
	}
	return false;
}

} /* namespace */

bool
contains_any(const KeySet &set, const Packed &elements)
{
	const Layout &layout = set.compare->element;

	if (set.compare->same_image && layout.byval && elements.stride == static_cast<size_t>(layout.len))
		switch (layout.len)
		{
			case 2:
				return sieve_any<int16>(set, elements);
			case 4:
				return sieve_any<int32>(set, elements);
			case sizeof(Datum):
				return sieve_any<Datum>(set, elements);
		}
	for (size_t i = 0; i < elements.count; i++)
		if (contains(set, element_at(elements, i, layout)))
			return true;
	return false;
}

Elements
take_apart(ArrayType *array, Layout layout)
{
	Elements	elements;

	deconstruct_array(array, ARR_ELEMTYPE(array), layout.len, layout.byval, layout.align,
					  &elements.values, &elements.nulls, &elements.count);
	return elements;
}

std::span<Datum>
present_elements(const Elements &elements)
{
	size_t		kept = 0;

	for (int i = 0; i < elements.count; i++)
		if (!elements.nulls[i])
			elements.values[kept++] = elements.values[i];
	return {elements.values, kept};
}

bool
packed_elements(ArrayType *array, const Layout &layout, Packed *packed)
{
	if (layout.len <= 0 || ARR_HASNULL(array))
		return false;
	*packed = {ARR_DATA_PTR(array), static_cast<size_t>(att_align_nominal(layout.len, layout.align)),
			   static_cast<size_t>(ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)))};
	return true;
}

bool
packed_in_place(Datum array, const Layout &layout, Packed *packed)
{
	auto	   *data = reinterpret_cast<struct varlena *>(DatumGetPointer(array));

	if (layout.len <= 0)
		return false;
	if (VARATT_IS_4B_U(data))
		return packed_elements(reinterpret_cast<ArrayType *>(data), layout, packed);
	if (!VARATT_IS_SHORT(data) || VARATT_IS_EXTERNAL(data) || !(layout.byval || layout.align == TYPALIGN_CHAR))
		return false;

	/* As it would be with a long header: all that is in an array has its place from there. */
	const char *start = VARDATA_SHORT(data) - VARHDRSZ;
	ArrayType	head;
	int			dims[MAXDIM];

	memcpy(reinterpret_cast<char *>(&head) + VARHDRSZ, start + VARHDRSZ, sizeof(head) - VARHDRSZ);
	if (head.dataoffset != 0 || head.ndim < 0 || head.ndim > MAXDIM)
		return false;
	memcpy(dims, start + sizeof(head), sizeof(int) * static_cast<size_t>(head.ndim));
	*packed = {start + ARR_OVERHEAD_NONULLS(head.ndim), static_cast<size_t>(att_align_nominal(layout.len, layout.align)),
			   static_cast<size_t>(ArrayGetNItems(head.ndim, dims))};
	return true;
}

} /* namespace integrity */
