/*
 * journal.cpp
 *	  Which runs this transaction may add to.
 *
 * The image of a row is written by the owner of its table, whoever has called
 * the repair: the run may be another role's. So a policy cannot tell from roles
 * whether an image belongs into a run, and without a look at that anyone could
 * add rows of a table of theirs to any run that is at work, and nobody else
 * could undo it. What it can tell is that the run was opened here, by a role
 * that it belongs to.
 */
#include "../pg.h"

namespace integrity
{
namespace
{

/* In TopTransactionContext; forgotten when the transaction ends, by whatever way. */
struct OpenRuns
{
	int64	   *ids;
	int			count;
	int			room;
};

OpenRuns	open_runs;

bool
is_open(int64 run_id)
{
	for (int i = 0; i < open_runs.count; i++)
		if (open_runs.ids[i] == run_id)
			return true;
	return false;
}

void
close_runs(XactEvent event, void *)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			return;
		default:
			open_runs = {};
	}
}

/* Locks the run against forget(), as the current role; false if that sees no run to lock. */
bool
lock_run(int64 run_id)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run_id)};

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");

	int			code = SPI_execute_with_args("SELECT FROM integrity.run AS r WHERE r.run_id OPERATOR(pg_catalog.=) $1 FOR KEY SHARE",
											 1, types, values, nullptr, false, 0);

	if (code != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args returned %s", SPI_result_code_string(code));

	bool		found = SPI_processed > 0;

	SPI_finish();
	return found;
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_open_run);
PG_FUNCTION_INFO_V1(integrity_is_open_run);

PGDLLEXPORT Datum
integrity_open_run(PG_FUNCTION_ARGS)
{
	static bool registered = false;
	int64		run_id = PG_GETARG_INT64(0);

	if (!lock_run(run_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot write into run %lld", static_cast<long long>(run_id)),
				 errdetail("It was forgotten, or belongs to another role.")));
	if (!registered)
	{
		RegisterXactCallback(close_runs, nullptr);
		registered = true;
	}
	if (is_open(run_id))
		PG_RETURN_VOID();
	if (open_runs.count == open_runs.room)
	{
		int			room = open_runs.room == 0 ? 8 : open_runs.room * 2;
		auto	   *ids = static_cast<int64 *>(MemoryContextAlloc(TopTransactionContext, sizeof(int64) * static_cast<size_t>(room)));

		std::copy_n(open_runs.ids, open_runs.count, ids);
		open_runs = {ids, open_runs.count, room};
	}
	open_runs.ids[open_runs.count++] = run_id;
	PG_RETURN_VOID();
}

PGDLLEXPORT Datum
integrity_is_open_run(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_open(PG_GETARG_INT64(0)));
}
}
