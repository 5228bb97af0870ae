/*
 * action.cpp
 *	  Runs a rule's actions on the referencing table.
 *
 * As ri_triggers.c does: one statement through SPI, as the owner of the table,
 * its triggers queued with those of the statement that caused it. The UPDATE
 * computes the new array from the row itself, so a row that another
 * transaction has just appended to is read again before it is written, and
 * the append is not lost.
 */
#include "action.h"
#include "gin.h"

namespace integrity
{
namespace
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

Oid
keys_element_type(const Rule &rule)
{
	return keys_are_elements(rule) ? rule.compare.element_type : rule.compare.key_type;
}

/* Narrows an integer key to the element's type; false if no element can have its value. */
bool
key_to_element(const Comparison &compare, Datum key, Datum *element)
{
	int64		number = compare.key_type == INT2OID ? DatumGetInt16(key) :
		compare.key_type == INT4OID ? DatumGetInt32(key) : DatumGetInt64(key);

	switch (compare.element_type)
	{
		case INT2OID:
			*element = Int16GetDatum(static_cast<int16>(number));
			return number >= PG_INT16_MIN && number <= PG_INT16_MAX;
		case INT4OID:
			*element = Int32GetDatum(static_cast<int32>(number));
			return number >= PG_INT32_MIN && number <= PG_INT32_MAX;
		default:
			*element = Int64GetDatum(number);
			return true;
	}
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

/*
 * From so many on the keys are a constant of the plan and no parameter. The SQL functions see then that they are the same for
 * every row, where they would have to compare them, and that is quadratic.
 */
constexpr int many_keys = 1000;

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

/*
 * Runs one statement as the owner of the referencing table and returns the
 * number of its rows. SPI is connected by the caller, who may read the result.
 *
 * In transaction-snapshot mode the statement must also see rows that came
 * later than the snapshot, and fail with a serialization error when it would
 * change one: that is what the crosscheck snapshot is for.
 */
uint64
execute(const Rule &rule, Statement statement, Datum *values, const char *nulls, long limit, int keys = 1)
{
	Snapshot	test = InvalidSnapshot;
	Snapshot	crosscheck = InvalidSnapshot;
	Oid			saved_user;
	int			saved_context;
	int			level = search_gin_fully();

	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(table_owner(rule.referencing), saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);

	PlanEntry  *entry = fetch_plan(rule, statement, keys >= many_keys);

	if (IsolationUsesXactSnapshot())
	{
		CommandCounterIncrement();
		test = GetLatestSnapshot();
		crosscheck = GetTransactionSnapshot();
	}

	entry->running++;
	int			result = SPI_execute_snapshot(entry->plan, values, nulls, test, crosscheck, false, false, limit);

	entry->running--;
	end_full_search(level);
	SetUserIdAndSecContext(saved_user, saved_context);

	if (result < 0)
		elog(ERROR, "SPI_execute_snapshot returned %s", SPI_result_code_string(result));
	if (result != SPI_OK_SELECT && result != SPI_OK_UPDATE && result != SPI_OK_UPDATE_RETURNING && result != SPI_OK_DELETE)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("referential integrity query from constraint \"%s\" on \"%s\" gave unexpected result",
						NameStr(rule.name), get_rel_name(rule.referencing)),
				 errhint("This is most likely due to a rule having rewritten the query.")));
	return SPI_processed;
}

void
connect()
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
finish()
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}

/* The keys of one pass as the statements of a rule take them. */
struct ActionKeys
{
	Datum		array;
	int			count;			/* 0: no element can have any of these values */
};

ActionKeys
make_action_keys(const Rule &rule, std::span<const Datum> keys)
{
	const Comparison &compare = rule.compare;
	bool		narrow = compare.element_type != compare.key_type && keys_are_elements(rule) && compare.key.byval;
	Oid			type = keys_element_type(rule);
	Layout		layout = type == compare.element_type ? compare.element : compare.key;
	auto	   *values = static_cast<Datum *>(palloc(sizeof(Datum) * (keys.size() + 1)));
	int			count = 0;

	for (Datum key : keys)
	{
		if (!narrow)
			values[count++] = key;
		else if (key_to_element(compare, key, &values[count]))
			count++;
	}

	ActionKeys	result = {PointerGetDatum(construct_array(values, count, type, layout.len, layout.byval, layout.align)), count};

	pfree(values);
	return result;
}

/*
 * How many bytes of keys a pass takes. An array can hold no more than 1 GB,
 * and a plan that has it as a constant copies it.
 */
constexpr size_t bytes_per_pass = 32 * 1024 * 1024;

/* Takes the keys of one pass off the rest. */
ActionKeys
next_pass(const Rule &rule, std::span<const Datum> *rest)
{
	size_t		bytes = 0;
	size_t		count = 0;

	while (count < rest->size() && bytes < bytes_per_pass)
		bytes += sizeof(Datum) + image_of((*rest)[count++], rule.compare.key).size();

	ActionKeys	keys = make_action_keys(rule, rest->first(count));

	*rest = rest->subspan(count);
	return keys;
}

/* Runs one statement with these keys, and nothing else. */
uint64
run(const Rule &rule, Statement statement, ActionKeys keys, long limit)
{
	connect();
	uint64		rows = execute(rule, statement, &keys.array, " ", limit, keys.count);

	finish();
	return rows;
}

/*
 * on_empty = delete row. Rows that hold nothing else are deleted, the others
 * lose the elements. Between the two statements somebody may have taken the
 * last other element out of a row; the second statement tells of such rows,
 * which it has locked by updating them, and they are deleted then.
 */
void
remove_or_delete(const Rule &rule, ActionKeys keys)
{
	connect();
	execute(rule, Statement::DeleteEmptied, &keys.array, " ", 0, keys.count);
	uint64		emptied = execute(rule, Statement::RemoveElementShowEmpty, &keys.array, " ", 0, keys.count);
	SPITupleTable *rows = SPI_tuptable;

	for (uint64 i = 0; i < emptied; i++)
	{
		bool		isnull;
		Datum		values[2];

		values[0] = SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull);
		values[1] = SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull);
		if (!isnull)
			execute(rule, Statement::DeleteByTid, values, "  ", 0);
	}
	finish();
}

/* The rule's on_delete for the keys of one pass. */
void
change_rows(const Rule &rule, ActionKeys keys)
{
	switch (rule.options.on_delete)
	{
		case OnDelete::RemoveElement:
			if (rule.options.on_empty == OnEmpty::DeleteRow)
				remove_or_delete(rule, keys);
			else
				run(rule, Statement::RemoveElement, keys, 0);
			break;
		case OnDelete::NullElement:
			run(rule, Statement::NullElement, keys, 0);
			break;
		case OnDelete::DeleteRow:
			run(rule, Statement::DeleteRow, keys, 0);
			break;
		case OnDelete::SetNull:
			run(rule, Statement::SetNull, keys, 0);
			break;
		case OnDelete::NoAction:
		case OnDelete::Restrict:
			break;
	}
}

} /* namespace */

bool
keys_are_elements(const Rule &rule)
{
	const Comparison &compare = rule.compare;
	auto		is_integer = [](Oid type) { return type == INT2OID || type == INT4OID || type == INT8OID; };

	if (compare.element_type == compare.key_type)
		return true;
	if (is_integer(compare.element_type) && is_integer(compare.key_type))
		return true;
	/* Not if the elements' own type takes others for equal than the key's does, as citext does: the SQL functions ask it. */
	return compare.element.len == -1 && compare.key.len == -1 && compare.same_image &&
		lookup_type_cache(compare.element_type, TYPECACHE_EQ_OPR)->eq_opr == compare.key_eq_key;
}

char *
table_for_sql(Oid table, bool with_only)
{
	bool		only = with_only && get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE;

	return psprintf("%s%s", only ? "ONLY " : "",
					quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), get_rel_name(table)));
}

bool
is_referenced(const Rule &rule, std::span<const Datum> keys)
{
	while (!keys.empty())
	{
		ActionKeys	pass = next_pass(rule, &keys);

		if (pass.count > 0 && run(rule, Statement::FindReference, pass, 1) > 0)
			return true;
		pfree(DatumGetPointer(pass.array));
	}
	return false;
}

bool
has_any_reference(const Rule &rule)
{
	return run(rule, Statement::FindAny, ActionKeys{}, 1) > 0;
}

void
act_on_delete(const Rule &rule, std::span<const Datum> keys)
{
	while (!keys.empty())
	{
		ActionKeys	pass = next_pass(rule, &keys);

		if (pass.count > 0)
			change_rows(rule, pass);
		pfree(DatumGetPointer(pass.array));
	}
}

void
act_on_update(const Rule &rule, Datum old_key, Datum new_key, bool new_is_null)
{
	ActionKeys	keys = make_action_keys(rule, {&old_key, 1});
	Datum		values[2] = {keys.array, new_key};
	const char	nulls[2] = {' ', new_is_null ? 'n' : ' '};

	if (keys.count == 0)
		return;

	/* The new value in the element's type, by the cast that an assignment would use. */
	if (!new_is_null && rule.compare.element_type != rule.compare.key_type)
	{
		Oid			function = InvalidOid;

		if (!find_cast(rule.compare.element_type, rule.compare.key_type, COERCION_ASSIGNMENT, &function))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("cannot cascade a key of type %s to elements of type %s",
							format_type_be(rule.compare.key_type), format_type_be(rule.compare.element_type)),
					 errhint("Give both columns the same type, or use on_update 'no action'.")));
		if (OidIsValid(function))
			values[1] = call_cast(function, new_key);
	}
	connect();
	execute(rule, Statement::ReplaceElement, values, nulls, 0);
	finish();
}

} /* namespace integrity */
