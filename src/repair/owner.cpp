/*
 * owner.cpp
 *	  What repair() and undo() need that SQL cannot say: run a statement as the
 *	  owner of a table, and lock rows by their tid.
 *
 * A repair changes rows as the rule's own actions do: as the owner of the
 * table, whoever called, so that a superuser's repair runs nobody's triggers
 * with a superuser's rights.
 *
 * A row that was found to be broken may be changed before we get at it. So it
 * is locked first, which waits for whoever is at it and follows the chain of
 * its versions to the latest; what is wrong with that one is then found out
 * by the statement that changes it.
 */
#include "owner.h"

namespace integrity
{

Relation
open_table(Oid table, LOCKMODE lock)
{
	Relation	rel = try_table_open(table, lock);

	if (rel == nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", table)));
	return rel;
}

/*
 * Running code as somebody is SET ROLE, and is granted to whom that would be.
 * Where PostgreSQL refuses SET ROLE to everybody, so do we.
 */
void
require_owner(Relation rel)
{
	if (!pg::can_set_role(GetUserId(), rel->rd_rel->relowner) || InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table %s", RelationGetRelationName(rel))));
}

namespace
{

constexpr int max_arguments = 32;

void
require_table(Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_tableam != GetHeapamTableAmRoutine())
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table with rows of its own", RelationGetRelationName(rel)),
				 errhint("Name an ordinary table, or a partition, of the access method \"heap\".")));
}

char *
text_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/* The arguments from "first" on, each with the type it has at the call. */
struct Arguments
{
	int			count;
	Oid			types[max_arguments];
	Datum		values[max_arguments];
	char		nulls[max_arguments];
};

static_assert(Plain<Arguments>);

Arguments
take_arguments(FunctionCallInfo fcinfo, int first)
{
	Arguments	arguments;

	if (get_fn_expr_variadic(fcinfo->flinfo))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot take the arguments of a statement from an array"),
				 errhint("Leave out the word VARIADIC, and give each argument by itself.")));
	arguments.count = PG_NARGS() - first;
	if (arguments.count > max_arguments)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_ARGUMENTS),
				 errmsg("cannot pass more than %d arguments to a statement", max_arguments)));
	for (int i = 0; i < arguments.count; i++)
	{
		arguments.types[i] = get_fn_expr_argtype(fcinfo->flinfo, first + i);
		arguments.nulls[i] = PG_ARGISNULL(first + i) ? 'n' : ' ';
		arguments.values[i] = PG_ARGISNULL(first + i) ? Datum{} : PG_GETARG_DATUM(first + i);

		/* A literal without a type is a cstring still. */
		if (arguments.types[i] == UNKNOWNOID)
		{
			arguments.types[i] = TEXTOID;
			if (!PG_ARGISNULL(first + i))
				arguments.values[i] = CStringGetTextDatum(DatumGetCString(arguments.values[i]));
		}
	}
	return arguments;
}

/*
 * Runs the statement and copies the first column of its first row to the
 * caller's memory; false if that is NULL or there is none.
 *
 * In transaction-snapshot mode it looks with the latest snapshot, or it would
 * hold a reference for broken whose key came after the transaction's own. A
 * row that it would change, but that the transaction does not see, is then
 * the serialization failure that it should be: the crosscheck snapshot, as in
 * ri_triggers.c.
 */
bool
run_statement(const char *command, Arguments *arguments, MemoryContext memory, Datum *result)
{
	Snapshot	test = InvalidSnapshot;
	Snapshot	crosscheck = InvalidSnapshot;
	bool		isnull = true;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");

	SPIPlanPtr	plan = SPI_prepare(command, arguments->count, arguments->types);

	if (plan == nullptr)
		elog(ERROR, "SPI_prepare returned %s for %s", SPI_result_code_string(SPI_result), command);
	if (IsolationUsesXactSnapshot())
	{
		CommandCounterIncrement();
		test = GetLatestSnapshot();
		crosscheck = GetTransactionSnapshot();
	}

	int			code = SPI_execute_snapshot(plan, arguments->values, arguments->nulls, test, crosscheck, false, true, 0);

	if (code < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot run this statement as the owner of a table: %s", command),
				 errdetail("SPI_execute_snapshot returned %s.", SPI_result_code_string(code))));
	if (SPI_processed > 0 && SPI_tuptable)
	{
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull && SPI_gettypeid(SPI_tuptable->tupdesc, 1) != INT8ARRAYOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("the statement must return bigint[], not %s",
							format_type_be(SPI_gettypeid(SPI_tuptable->tupdesc, 1)))));
		if (!isnull)
		{
			MemoryContext saved = MemoryContextSwitchTo(memory);

			*result = PointerGetDatum(DatumGetArrayTypePCopy(value));
			MemoryContextSwitchTo(saved);
		}
	}
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	return !isnull;
}

/* ---------------------------------------------------------------- rows */

[[noreturn]] void
raise_concurrent(bool deleted)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 deleted ? errmsg("could not serialize access due to concurrent delete") :
			 errmsg("could not serialize access due to concurrent update")));
	pg_unreachable();
}

/* One version of a row. "previous" is who wrote it, if we followed a chain to it. */
struct Version
{
	ItemPointerData tid;
	TransactionId previous;
};

/* Where our own transaction has put the row; false if it has deleted it, or this is not such a version. */
bool
follow_own_update(Relation rel, HeapTupleHeader header, Version *version)
{
	if ((header->t_infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
		return false;

	TransactionId updater = HeapTupleHeaderGetUpdateXid(header);

	if (!TransactionIdIsCurrentTransactionId(updater))
		return false;
	if (HeapTupleHeaderIndicatesMovedPartitions(header))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot follow a row of table \"%s\" to another partition", RelationGetRelationName(rel))));
	if (ItemPointerEquals(&header->t_ctid, &version->tid))
		return false;
	*version = {header->t_ctid, updater};
	return true;
}

/*
 * Locks the row whose version this is, or was. Whatever tid comes in, only a
 * version that is stored there is ever given to the lock manager of the heap,
 * which takes that for granted. "seen" pins its page, so it cannot be pruned
 * away in between.
 */
bool
lock_row(Relation rel, TableScanDesc scan, Version *version, LockTupleMode mode, TupleTableSlot *seen, TupleTableSlot *locked)
{
	for (;;)
	{
		TM_FailureData failure;

		CHECK_FOR_INTERRUPTS();
		/* The scan knows how long the table was; a chain may lead beyond that. */
		if (!TransactionIdIsValid(version->previous) && !table_tuple_tid_valid(scan, &version->tid))
			return false;
		if (!table_tuple_fetch_row_version(rel, &version->tid, SnapshotAny, seen))
			return false;

		HeapTupleHeader header = reinterpret_cast<BufferHeapTupleTableSlot *>(seen)->base.tuple->t_data;

		/* Has another row taken the place of the version that the chain leads to? */
		if (TransactionIdIsValid(version->previous) &&
			!TransactionIdEquals(HeapTupleHeaderGetRawXmin(header), version->previous))
			return false;

		switch (table_tuple_lock(rel, &version->tid, GetActiveSnapshot(), locked, GetCurrentCommandId(false), mode,
								 LockWaitBlock, 0, &failure))
		{
			case TM_Ok:
				return true;
			case TM_Updated:
				if (IsolationUsesXactSnapshot())
					raise_concurrent(false);
				if (ItemPointerIndicatesMovedPartitions(&failure.ctid))
					return false;
				*version = {failure.ctid, failure.xmax};
				break;
			case TM_Deleted:
				if (IsolationUsesXactSnapshot())
					raise_concurrent(true);
				return false;
			case TM_Invisible:
			case TM_SelfModified:
				/* written over or deleted by ourselves; or another row by now, and nobody's who has committed */
				if (!follow_own_update(rel, header, version))
					return false;
				break;
			default:
				elog(ERROR, "unexpected result when locking a row of \"%s\"", RelationGetRelationName(rel));
		}
	}
}

LockTupleMode
lock_mode(const char *word)
{
	if (strcmp(word, "update") == 0)
		return LockTupleExclusive;
	if (strcmp(word, "no key update") == 0)
		return LockTupleNoKeyExclusive;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized lock mode \"%s\"", word),
			 errhint("Use 'no key update' or 'update'.")));
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_execute_as_owner);
PG_FUNCTION_INFO_V1(integrity_execute_as_owner_in);
PG_FUNCTION_INFO_V1(integrity_lock_rows);

/* The common part; "path" is the search_path to run it under, or null. */
static Datum
execute_as_owner(FunctionCallInfo fcinfo, const char *path, int first)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("the table must not be null")));

	Relation	rel = open_table(PG_GETARG_OID(0), AccessShareLock);
	const char *command = text_argument(fcinfo, first - 1, "the statement");
	Arguments	arguments = take_arguments(fcinfo, first);
	Datum		result = {};
	Oid			saved_user;
	int			saved_context;
	int			level = NewGUCNestLevel();

	require_owner(rel);
	/* The log tells its rows apart by row-level security; "off" would make that an error. */
	(void) set_config_option("row_security", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (path)
		(void) set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&saved_user, &saved_context);
	/* An error puts all of this back: the abort of the (sub)transaction does. */
	SetUserIdAndSecContext(rel->rd_rel->relowner, saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);

	bool		found = run_statement(command, &arguments, CurrentMemoryContext, &result);

	SetUserIdAndSecContext(saved_user, saved_context);
	/* As around all code of others: what a trigger of the owner's has SET must not outlive it, search_path above all. */
	AtEOXact_GUC(false, level);
	table_close(rel, NoLock);
	if (!found)
		PG_RETURN_NULL();
	return result;
}

/* execute_as_owner(table, command, arguments ...) */
PGDLLEXPORT Datum
integrity_execute_as_owner(PG_FUNCTION_ARGS)
{
	return execute_as_owner(fcinfo, nullptr, 2);
}

/* execute_as_owner_in(table, search_path, command, arguments ...) */
PGDLLEXPORT Datum
integrity_execute_as_owner_in(PG_FUNCTION_ARGS)
{
	return execute_as_owner(fcinfo, text_argument(fcinfo, 1, "search_path"), 3);
}

/* lock_rows(table, tids, mode): the tids of the latest versions, NULL for a row that is gone. */
PGDLLEXPORT Datum
integrity_lock_rows(PG_FUNCTION_ARGS)
{
	Relation	rel = open_table(PG_GETARG_OID(0), RowShareLock);

	require_owner(rel);
	require_table(rel);

	LockTupleMode mode = lock_mode(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	Datum	   *tids;
	bool	   *nulls;
	int			count;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT, &tids, &nulls, &count);

	/* What this transaction has done up to here counts. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());

	TableScanDesc scan = table_beginscan_tid(rel, GetActiveSnapshot());
	TupleTableSlot *seen = table_slot_create(rel, nullptr);
	TupleTableSlot *locked = table_slot_create(rel, nullptr);

	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			continue;

		auto	   *version = static_cast<Version *>(palloc(sizeof(Version)));

		*version = {*reinterpret_cast<ItemPointer>(DatumGetPointer(tids[i])), InvalidTransactionId};
		nulls[i] = !lock_row(rel, scan, version, mode, seen, locked);
		tids[i] = PointerGetDatum(&version->tid);
		ExecClearTuple(seen);
		ExecClearTuple(locked);
	}
	ExecDropSingleTupleTableSlot(locked);
	ExecDropSingleTupleTableSlot(seen);
	table_endscan(scan);
	PopActiveSnapshot();
	table_close(rel, NoLock);

	int			lower_bound = 1;

	PG_RETURN_ARRAYTYPE_P(construct_md_array(tids, nulls, 1, &count, &lower_bound, TIDOID, sizeof(ItemPointerData), false,
											 TYPALIGN_SHORT));
}
}
