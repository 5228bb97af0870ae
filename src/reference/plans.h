/*
 * plans.h
 *	  The statements that the actions of a rule consist of, and their plans,
 *	  which are kept for the session.
 */
#pragma once

#include "rule.h"

namespace integrity
{

enum class Statement : uint16
{
	FindReference,
	FindAny,
	RemoveElement,
	DeleteEmptied,				/* on_empty = delete row: rows that would be left with nothing */
	RemoveElementShowEmpty,		/* ... and the rest, telling which became empty meanwhile */
	DeleteByTid,
	NullElement,
	DeleteRow,
	SetNull,
	ReplaceElement
};

struct PlanKey
{
	Oid			trigger;
	Statement	statement;
	uint16		many;			/* keys, which are part of the plan then */
};

struct PlanEntry
{
	PlanKey		key;			/* hash key; no padding */
	SPIPlanPtr	plan;			/* null, or kept until it is found invalid */
	int			running;		/* how many executions of it are on the stack; never too few, an error leaves too many */
};

/*
 * From so many on the keys are a constant of the plan and no parameter. The SQL functions see then that they are the same for
 * every row, where they would have to compare them, and that is quadratic.
 */
constexpr int many_keys = 1000;

/* The type of the elements of $1, the array of keys. */
Oid			keys_element_type(const Rule &rule);

PlanEntry  *fetch_plan(const Rule &rule, Statement statement, bool many);

} /* namespace integrity */
