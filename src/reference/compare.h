/*
 * compare.h
 *	  How one element is compared with one key.
 *
 * The rules are ALTER TABLE ADD FOREIGN KEY's: the equality operator of the
 * key's btree operator family across the two types, else the key's own one
 * after an implicit cast. All types here are base types: a domain compares as
 * what it is made of.
 */
#pragma once

#include "../pg.h"
#include "elements.h"

namespace integrity
{

struct Comparison
{
	Layout		element;		/* as an array stores it */
	Layout		key;
	Oid			element_type;
	Oid			key_type;
	Oid			collation;		/* of the key */

	Oid			key_eq_element; /* operator; its right input is the cast's result, if there is a cast */
	Oid			element_subtype;	/* right input type of key_eq_element */
	Oid			key_eq_key;		/* operator */

	bool		same_image;		/* one type, and equal exactly if the bytes are equal */

	FmgrInfo	key_eq_element_proc;
	FmgrInfo	key_eq_key_proc;
	FmgrInfo	order_key_key_proc;
	FmgrInfo	order_element_key_proc;
	FmgrInfo	cast_proc;		/* fn_oid is invalid where no cast is needed */
	MemoryContext cast_memory;	/* of what it keeps */
	LocalTransactionId casting;	/* it is being called, or was left by an error, in this transaction; 0: neither */
	SubTransactionId casting_in;
};

static_assert(Plain<Comparison>);

Layout		layout_of(Oid type);

/* Of these, integer_of() tells the number. */
inline bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/*
 * Are the two stored alike, be it compressed or as a pointer to the TOAST
 * table? Nothing is fetched for it; so two that are not may still be equal.
 */
inline bool
is_stored_alike(Datum a, Datum b, const Layout &layout)
{
	if (layout.len != -1)
		return datumIsEqual(a, b, layout.byval, layout.len);

	const auto *left = reinterpret_cast<const char *>(a);
	const auto *right = reinterpret_cast<const char *>(b);

	return VARSIZE_ANY(left) == VARSIZE_ANY(right) && memcmp(left, right, VARSIZE_ANY(left)) == 0;
}

/* False if there is no cast; an invalid "function" means that none has to be called. */
bool		find_cast(Oid target, Oid source, CoercionContext context, Oid *function);

/* Calls the function of a cast. Only with as many arguments as it has: a function in SQL looks for the types of all it gets. */
Datum		call_cast(FmgrInfo *function, Datum value);
Datum		call_cast(Oid function, Datum value);

/* False if the two types cannot be compared. */
bool		resolve_comparison(Oid element_type, Oid key_type, Oid key_collation,
							   Oid opfamily, Oid opcintype, Comparison *compare);

/* The same with the key type's default btree operator class. */
bool		resolve_default_comparison(Oid element_type, Oid key_type, Oid key_collation, Comparison *compare);

/* Calls cast_proc, which may be kept from row to row. */
Datum		cast_element(Comparison *compare, Datum element);

/* The element as key_eq_element and order_element_key want it. */
inline Datum
as_key(Comparison &compare, Datum element)
{
	return OidIsValid(compare.cast_proc.fn_oid) ? cast_element(&compare, element) : element;
}

/*
 * The order of two keys, and many sorted by it. Sorted by qsort_arg(), for that stays within the array whatever a comparison
 * function of some type may answer; std::sort does not.
 */
int			compare_keys(Comparison *compare, Datum a, Datum b);
void		sort_keys(std::span<Datum> keys, Comparison *compare);

/* A set of keys in which elements can be looked up. */
struct KeySet
{
	Comparison *compare;
	std::span<Datum> keys;		/* sorted, distinct */
	Sieve		sieve;			/* of the keys, if elements are compared by their bytes */
};

struct Packed;

/* In the current memory context; "keys" is sorted. They must not be null. */
KeySet		make_key_set(Comparison *compare, std::span<Datum> keys);
bool		contains(const KeySet &set, Datum element);
bool		contains_any(const KeySet &set, const Packed &elements);

/* One array taken apart. The Datums of by-reference types point into it. */
struct Elements
{
	Datum	   *values;
	bool	   *nulls;
	int			count;
};

Elements	take_apart(ArrayType *array, Layout layout);

/* Without the nulls, in the same memory. */
std::span<Datum> present_elements(const Elements &elements);

/* Elements of one fixed size, none of them null, as an array holds them. */
struct Packed
{
	const char *data;
	size_t		stride;
	size_t		count;
};

/* An element of this type from anywhere, as fetch_att() would give it. */
template <typename Integer>
inline Datum
integer_at(const char *at)
{
	Integer		integer;

	memcpy(&integer, at, sizeof(integer));
	return static_cast<Datum>(integer);	/* as Int32GetDatum() and its like do it */
}

inline Datum
element_at(const Packed &packed, size_t at, const Layout &layout)
{
	const char *data = packed.data + at * packed.stride;

	if (!layout.byval)
		return PointerGetDatum(data);
	switch (layout.len)
	{
		case 1:
			return integer_at<char>(data);
		case 2:
			return integer_at<int16>(data);
		case 4:
			return integer_at<int32>(data);
		default:
			return integer_at<Datum>(data);
	}
}

/* False if they are of varying size, or one is null. */
bool		packed_elements(ArrayType *array, const Layout &layout, Packed *packed);

/*
 * The same of an array as it lies in its row, where it may have a short header and be aligned to nothing. Also false if it is
 * compressed or out of line, or if the type's functions would want its elements aligned: detoast it then.
 */
bool		packed_in_place(Datum array, const Layout &layout, Packed *packed);

} /* namespace integrity */
