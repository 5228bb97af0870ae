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
#include "plans.h"

namespace integrity
{
namespace
{

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
constexpr size_t bytes_per_pass = size_t{32} * 1024 * 1024;

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
