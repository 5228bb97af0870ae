/*
 * describe.cpp
 *	  integrity.describe_rule(): one rule as the view integrity.reference shows it.
 *
 * What is wrong with a rule is a column here, not an error: one bad trigger
 * must not hide the other rules.
 */
#include "catalog.h"
#include "guards.h"

using namespace integrity;

namespace
{

/* Does the rule fire in an ordinary session, on every partition too? */
bool
is_enforced(const Rule &rule)
{
	List	   *family = list_make1_oid(rule.trigger);
	bool		enforced = rule_is_enforced(rule.enabled);
	ListCell   *cell;

	if (!OidIsValid(rule.referencing) || get_rel_relkind(rule.referencing) != RELKIND_PARTITIONED_TABLE)
		return enforced;

	/* Parents come before their partitions, so a clone's parent is known by then. */
	foreach(cell, find_all_inheritors(rule.referencing, NoLock, nullptr))
		for_each_trigger(lfirst_oid(cell), [&](HeapTuple tuple, TupleDesc)
		{
			Form_pg_trigger form = trigger_form(tuple);

			if (!list_member_oid(family, form->tgparentid))
				return;
			family = lappend_oid(family, form->oid);
			enforced &= rule_is_enforced(form->tgenabled);
		});
	return enforced;
}

} /* namespace */

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_describe_rule);

PGDLLEXPORT Datum
integrity_describe_rule(PG_FUNCTION_ARGS)
{
	enum
	{
		Kind, ReferencingColumn, ReferencedTable, ReferencedColumn, OnDeleteWord, OnUpdateWord, OnEmptyWord,
		NullElements, DuplicateElements, Enforced, Validated, Guarded, ProblemText, Columns
	};
	Datum		values[Columns] = {};
	bool		nulls[Columns] = {};
	TupleDesc	desc;
	Rule		rule;
	Problem		problem = {};

	if (get_call_result_type(fcinfo, nullptr, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	if (desc->natts != Columns)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the installed module and the extension in this database are of different versions"),
				 errhint("ALTER EXTENSION integrity UPDATE;")));

	bool		works = load_rule(PG_GETARG_OID(0), &rule, &problem);
	bool		known = OidIsValid(rule.referenced);
	char	   *column = rule.column > 0 ? get_attname(rule.referencing, rule.column, true) : nullptr;
	char	   *key = known ? get_attname(rule.referenced, rule.key, true) : nullptr;
	auto		put_text = [&](int at, const char *value)
	{
		nulls[at] = value == nullptr;
		if (value)
			values[at] = CStringGetTextDatum(value);
	};

	put_text(Kind, rule.is_array ? "array reference" : "reference");
	put_text(ReferencingColumn, column);
	put_text(ReferencedColumn, key);
	values[ReferencedTable] = ObjectIdGetDatum(rule.referenced);
	nulls[ReferencedTable] = !known;
	put_text(OnDeleteWord, known ? word_of(rule.options.on_delete) : nullptr);
	put_text(OnUpdateWord, known ? word_of(rule.options.on_update) : nullptr);
	put_text(OnEmptyWord, known ? word_of(rule.options.on_empty) : nullptr);
	put_text(NullElements, !known ? nullptr : rule.options.reject_nulls ? "reject" : "allow");
	put_text(DuplicateElements, !known ? nullptr : rule.options.reject_duplicates ? "reject" : "allow");
	values[Enforced] = BoolGetDatum(is_enforced(rule));
	values[Validated] = BoolGetDatum(works && !rule.options.not_valid);
	values[Guarded] = BoolGetDatum(works && is_guarded(rule));
	put_text(ProblemText, works ? nullptr : problem.message);

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
}
