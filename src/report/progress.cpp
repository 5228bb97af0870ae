/*
 * progress.cpp
 *	  Shows how far a scan is, and lists the scans of all sessions.
 */
#include "progress.h"

namespace integrity
{
namespace
{

/* Unlike any ProgressCommandType, now and in many versions to come. */
const auto	command = static_cast<ProgressCommandType>(0x494e54);

enum Parameter
{
	Phase, Rule, Native, RulesTotal, RulesDone, PartNumber, Parts, BlocksTotal, BlocksDone, Parameters
};

static_assert(BlocksDone == progress_blocks_done);

WorkInProgress current;

} /* namespace */

void
begin_progress(WorkInProgress work)
{
	current = work;
}

void
show_part(uint32 part, uint32 parts)
{
	current.part = part;
	current.parts = parts;
}

ScanProgress
begin_scan_progress(ScanPhase phase, Relation table, TableScanDesc scan)
{
	ScanProgress progress = {};

	progress.scan = reinterpret_cast<HeapScanDesc>(scan);
	progress.shared = reinterpret_cast<ParallelBlockTableScanDesc>(scan->rs_parallel);
	progress.start = progress.scan->rs_startblock == InvalidBlockNumber ? 0 : progress.scan->rs_startblock;
	progress.blocks = progress.shared ? progress.shared->phs_nblocks : progress.scan->rs_nblocks;
	progress.last = InvalidBlockNumber;
	if (IsParallelWorker())
		return progress;

	const int	indexes[Parameters] = {Phase, Rule, Native, RulesTotal, RulesDone, PartNumber, Parts, BlocksTotal, BlocksDone};
	const int64 values[Parameters] = {static_cast<int64>(phase), current.rule, current.native, current.rules_total,
		current.rules_done, current.part, current.parts, progress.blocks, 0};

	pgstat_progress_start_command(command, RelationGetRelid(table));
	pgstat_progress_update_multi_param(Parameters, indexes, values);
	return progress;
}

void
end_progress()
{
	pgstat_progress_end_command();
	current = WorkInProgress{};
}

} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_show_progress);

/* As pg_stat_get_progress_info(): everyone may see that there is a scan, and only those who may see all statistics, of what. */
PGDLLEXPORT Datum
integrity_show_progress(PG_FUNCTION_ARGS)
{
	auto	   *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	int			backends = pgstat_fetch_stat_numbackends();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 1; i <= backends; i++)
	{
		const PgBackendStatus *status = pg::backend_status(i);
		Datum		values[Parameters + 3] = {};
		bool		nulls[Parameters + 3] = {};

		if (status == nullptr || status->st_progress_command != command)
			continue;

		bool		may_see = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
			has_privs_of_role(GetUserId(), status->st_userid);

		values[0] = Int32GetDatum(status->st_procpid);
		values[1] = ObjectIdGetDatum(status->st_databaseid);
		values[2] = ObjectIdGetDatum(status->st_progress_command_target);
		nulls[2] = !may_see;
		for (int at = 0; at < Parameters; at++)
		{
			values[at + 3] = Int64GetDatum(status->st_progress_param[at]);
			nulls[at + 3] = !may_see;
		}
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return 0;
}
}
