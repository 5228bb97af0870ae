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

/* The non-null elements of a value, and the same told apart. */
std::span<Datum> present_elements(const Rule &rule, Value value);
std::span<Datum> elements_of(const Rule &rule, Value value);

/* Raises if the value has more null or duplicate elements than the old one, where the rule rejects them. */
void		reject_elements(const Rule &rule, Relation referencing, Value value, Value old);

/*
 * Raises unless the owner of this table, which is the rule's or a partition of
 * it, holds REFERENCES on the key. Else whoever had it once, or got a rule by a
 * restore, could find out which keys there are.
 */
void		require_owner_references(const Rule &rule, Oid referencing);

/*
 * Says of an element without a key that it may stay. Only undo() has one: what
 * was broken before a repair is broken again after its undo.
 */
struct Tolerance
{
	bool		(*allows) (const void *context, Datum element);
	const void *context;
};

/*
 * Checks what the trigger of a rule would check for one row version. "before" is
 * the row as it was, null for one that was inserted; "passed" is as for
 * fn_extra of a trigger, null at first. Raises for an element without a key.
 */
void		check_row(Oid trigger, Relation referencing, TupleTableSlot *now, TupleTableSlot *before,
					  const Tolerance *tolerance, void **passed);

/*
 * The latest version of a row that our own transaction has updated since; null
 * if it was deleted, or moved to another partition, whose INSERT event then
 * has all of it to check.
 */
TupleTableSlot *live_version(Relation rel, ItemPointerData tid);

} /* namespace integrity */
