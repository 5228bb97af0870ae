/*
 * check.h
 *	  Which elements of a row's value have to exist.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* The column's value in one version of the row. */
struct Value
{
	Datum		datum;
	bool		isnull;
};

Value		column_of(TupleTableSlot *slot, AttrNumber attnum);

/* The non-null elements of a value, told apart. */
std::span<Datum> elements_of(const Rule &rule, Value value);

/* Raises for a null or duplicate element of the value where the rule rejects them. */
void		reject_elements(const Rule &rule, Relation referencing, Value value);

} /* namespace integrity */
