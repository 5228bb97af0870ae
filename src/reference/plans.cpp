/*
 * plans.cpp
 *	  What the actions of a rule say in SQL.
 *
 * Plans are kept as ri_triggers.c keeps them, by rule and statement, and are
 * made anew from new text when DDL has made them invalid.
 */
#include "action.h"
#include "plans.h"

namespace integrity
{
namespace
{

static_assert(Plain<PlanEntry> && sizeof(PlanKey) == sizeof(Oid) + 2 * sizeof(uint16));

HTAB	   *plans;
List	   *retired_plans;		/* those that may be running further up the stack; freed at transaction end */

void
free_retired_plans(XactEvent event, void *)
{
	ListCell   *cell;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	foreach(cell, retired_plans)
		SPI_freeplan(static_cast<SPIPlanPtr>(lfirst(cell)));
	list_free(retired_plans);
	retired_plans = NIL;
}

void
retire_plan(PlanEntry *entry)
{
	SPIPlanPtr	plan = entry->plan;

	entry->plan = nullptr;
	if (plan == nullptr)
		return;
	if (entry->running == 0)
	{
		SPI_freeplan(plan);
		return;
	}

	MemoryContext saved = MemoryContextSwitchTo(TopMemoryContext);

	retired_plans = lappend(retired_plans, plan);
	MemoryContextSwitchTo(saved);
}

/* Without a length: "character" alone would mean character(1). */
char *
type_for_sql(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/* It has, or had until somebody dropped them. */
bool
has_rewrite_rules(Oid table)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", table);

	bool		has = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relhasrules;

	ReleaseSysCache(tuple);
	return has;
}

/* The condition under which a row refers to one of the keys in $1; see integrity.contains_any() about indexes. */
char *
match_condition(const Rule &rule, const char *column)
{
	if (!rule.is_array)
		return psprintf("integrity.contains_any(ARRAY[x.%s::%s], $1)", column, type_for_sql(rule.element_type));
	return psprintf("integrity.contains_any(x.%s, $1)", column);
}

char *
statement_text(const Rule &rule, Statement statement)
{
	const char *column = quote_identifier(get_attname(rule.referencing, rule.column, false));
	char	   *table = table_for_sql(rule.referencing, true);
	char	   *match = statement == Statement::FindAny || statement == Statement::DeleteByTid ? nullptr :
		match_condition(rule, column);

	switch (statement)
	{
		case Statement::FindReference:
			return psprintf("SELECT 1 FROM %s x WHERE %s FOR KEY SHARE OF x", table, match);
		case Statement::FindAny:
			if (!rule.is_array)
				return psprintf("SELECT 1 FROM %s x WHERE x.%s IS NOT NULL", table, column);
			return psprintf("SELECT 1 FROM %s x WHERE EXISTS (SELECT 1 FROM pg_catalog.unnest(x.%s) e(v) WHERE e.v IS NOT NULL)",
							table, column);
		case Statement::RemoveElement:
			return psprintf("UPDATE %s x SET %s = integrity.remove_elements(x.%s, $1, %s) WHERE %s", table, column, column,
							rule.options.on_empty == OnEmpty::SetNull ? "true" : "false", match);
		case Statement::DeleteEmptied:
			return psprintf("DELETE FROM %s x WHERE %s AND integrity.remove_elements(x.%s, $1, true) IS NULL", table, match,
							column);
		case Statement::RemoveElementShowEmpty:
			/* DO ALSO rules are refused in WITH. Without it every changed row comes back, those that are not empty with a null. */
			if (has_rewrite_rules(rule.referencing))
				return psprintf("UPDATE %s x SET %s = integrity.remove_elements(x.%s, $1, false) WHERE %s "
								"RETURNING x.tableoid, CASE WHEN pg_catalog.cardinality(x.%s) OPERATOR(pg_catalog.=) 0 THEN x.ctid END",
								table, column, column, match, column);
			return psprintf("WITH u AS (UPDATE %s x SET %s = integrity.remove_elements(x.%s, $1, false) WHERE %s "
							"RETURNING x.tableoid AS relation, x.ctid AS tid, pg_catalog.cardinality(x.%s) AS elements) "
							"SELECT u.relation, u.tid FROM u WHERE u.elements OPERATOR(pg_catalog.=) 0",
							table, column, column, match, column);
		case Statement::DeleteByTid:
			return psprintf("DELETE FROM %s x WHERE x.tableoid OPERATOR(pg_catalog.=) $1 AND x.ctid OPERATOR(pg_catalog.=) $2",
							table);
		case Statement::NullElement:
			return psprintf("UPDATE %s x SET %s = integrity.null_elements(x.%s, $1) WHERE %s", table, column, column, match);
		case Statement::DeleteRow:
			return psprintf("DELETE FROM %s x WHERE %s", table, match);
		case Statement::SetNull:
			return psprintf("UPDATE %s x SET %s = NULL WHERE %s", table, column, match);
		case Statement::ReplaceElement:
			if (!rule.is_array)
				return psprintf("UPDATE %s x SET %s = $2 WHERE %s", table, column, match);
			/* The cast checks the constraints, where elements are of a domain. */
			return psprintf("UPDATE %s x SET %s = integrity.replace_elements(x.%s, $1, $2::%s) WHERE %s", table, column,
							column, type_for_sql(rule.declared_element_type), match);
	}
	pg_unreachable();
}

int
parameter_types(const Rule &rule, Statement statement, Oid types[2])
{
	switch (statement)
	{
		case Statement::FindAny:
			return 0;
		case Statement::DeleteByTid:
			types[0] = OIDOID;
			types[1] = TIDOID;
			return 2;
		default:
			types[0] = get_array_type(keys_element_type(rule));
			types[1] = rule.compare.element_type;
			return statement == Statement::ReplaceElement ? 2 : 1;
	}
}

} /* namespace */

Oid
keys_element_type(const Rule &rule)
{
	return keys_are_elements(rule) ? rule.compare.element_type : rule.compare.key_type;
}

/*
 * The saved plan of this statement. An invalid one is made from new text, not
 * merely planned again: columns and tables may have been renamed. This can be
 * trusted because the caller has locked both tables.
 */
PlanEntry *
fetch_plan(const Rule &rule, Statement statement, bool many)
{
	PlanKey		key = {rule.trigger, statement, many};
	bool		found;

	if (plans == nullptr)
	{
		HASHCTL		control = {};

		control.keysize = sizeof(PlanKey);
		control.entrysize = sizeof(PlanEntry);
		plans = hash_create("integrity plans", 32, &control, HASH_ELEM | HASH_BLOBS);
		RegisterXactCallback(free_retired_plans, nullptr);
	}

	auto	   *entry = static_cast<PlanEntry *>(hash_search(plans, &key, HASH_ENTER, &found));

	if (!found)
	{
		entry->plan = nullptr;
		entry->running = 0;
	}
	if (entry->plan && SPI_plan_is_valid(entry->plan))
		return entry;
	retire_plan(entry);

	Oid			types[2];
	int			count = parameter_types(rule, statement, types);
	char	   *text = statement_text(rule, statement);
	SPIPlanPtr	plan = SPI_prepare_cursor(text, count, types, many ? CURSOR_OPT_CUSTOM_PLAN : 0);

	if (plan == nullptr)
		elog(ERROR, "SPI_prepare returned %s for %s", SPI_result_code_string(SPI_result), text);
	SPI_keepplan(plan);

	/* Planning may have run a trigger's worth of code, and that have made a plan too. Entries are never removed. */
	retire_plan(entry);
	entry->plan = plan;
	return entry;
}

} /* namespace integrity */
