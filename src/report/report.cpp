/*
 * report.cpp
 *	  integrity.scan_references(): the figures of many rules with as few passes as possible.
 *
 * A rule that cannot be looked at must not take the others along, so rules are
 * resolved and tables are read in subtransactions. Where a shared pass fails,
 * its rules are tried again one by one.
 */
#include "attempt.h"
#include "progress.h"
#include "survey.h"

namespace integrity
{
namespace
{

enum class Outcome : uint8
{
	Pending,
	LookedAt,
	ByQuery,
	Failed
};

struct Job
{
	Target		target;
	Outcome		outcome;
	char	   *reason;
	int64		microseconds;
};

static_assert(Plain<Job>);

/* A cancel ends the whole report, as PL/pgSQL's OTHERS has it, and so does what asks for the transaction to be run again. */
bool
ends_report(int sqlstate)
{
	return sqlstate == ERRCODE_QUERY_CANCELED || sqlstate == ERRCODE_ASSERT_FAILURE ||
		sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

template <typename Work>
bool
attempt_job(Work work, char **reason)
{
	return attempt(work, [](const ErrorData *error) { return !ends_report(error->sqlerrcode); }, reason);
}

void
show_work(std::span<Job> jobs, const Job &job)
{
	WorkInProgress work = {};

	work.native = OidIsValid(job.target.constraint);
	work.rule = work.native ? job.target.constraint : job.target.trigger;
	work.rules_total = static_cast<int64>(jobs.size());
	for (const Job &other : jobs)
		work.rules_done += other.outcome != Outcome::Pending;
	begin_progress(work);
}

void
resolve_job(Job *job, Snapshot snapshot)
{
	Oid			trigger = job->target.trigger;
	Oid			constraint = job->target.constraint;

	if (!attempt_job([&]()
	{
		if (resolve_target(trigger, constraint, &job->target) == Readable::ByQuery)
			job->outcome = Outcome::ByQuery;
		else
			check_target_access(job->target, snapshot);
	}, &job->reason))
		job->outcome = Outcome::Failed;
}

/* The rules of one referencing table, in shared passes. False: one of them failed. */
bool
look_at_jobs(Survey *survey, std::span<Job *const> jobs, char **reason)
{
	auto	   *targets = static_cast<Target **>(palloc(sizeof(Target *) * jobs.size()));
	auto	   *results = static_cast<Surveyed *>(palloc(sizeof(Surveyed) * jobs.size()));
	TimestampTz start = GetCurrentTimestamp();

	for (size_t i = 0; i < jobs.size(); i++)
		targets[i] = &jobs[i]->target;

	/* What a pass that failed has left behind must not add up over many rules. */
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "integrity pass", ALLOCSET_DEFAULT_SIZES);
	bool		worked = attempt_job([&]()
	{
		MemoryContextSwitchTo(memory);
		count_broken(survey, {targets, jobs.size()}, {results, jobs.size()});
	}, reason);

	MemoryContextDelete(memory);
	if (!worked)
	{
		for (Job *job : jobs)
			free_tally(&job->target.tally);
		return false;
	}
	for (size_t i = 0; i < jobs.size(); i++)
	{
		jobs[i]->outcome = results[i] == Surveyed::Yes ? Outcome::LookedAt : Outcome::ByQuery;
		jobs[i]->microseconds = GetCurrentTimestamp() - start;
	}
	return true;
}

void
look_at_all(Survey *survey, std::span<Job> jobs)
{
	auto	   *group = static_cast<Job **>(palloc(sizeof(Job *) * jobs.size()));

	for (Job &job : jobs)
		if (job.outcome == Outcome::Pending)
			resolve_job(&job, survey->snapshot);

	for (Job &first : jobs)
	{
		size_t		size = 0;

		for (Job &job : jobs)
			if (job.outcome == Outcome::Pending && job.target.rule.referencing == first.target.rule.referencing)
				group[size++] = &job;
		if (first.outcome != Outcome::Pending)
			continue;

		show_work(jobs, first);
		if (look_at_jobs(survey, {group, size}, &first.reason))
			continue;
		for (size_t i = 0; i < size; i++)
		{
			show_work(jobs, *group[i]);
			if (size == 1 || !look_at_jobs(survey, {&group[i], 1}, &group[i]->reason))
				group[i]->outcome = Outcome::Failed;
		}
	}
}

void
put_job(ReturnSetInfo *result, int number, Job *job)
{
	enum
	{
		Number, OutcomeWord, Reason, RowsChecked, RowsBroken, ReferencesChecked, ReferencesBroken, ValuesBroken, Sample,
		Elapsed, Columns
	};
	Datum		values[Columns] = {};
	bool		nulls[Columns];
	const Tally &tally = job->target.tally;
	auto		put = [&](int at, Datum value)
	{
		values[at] = value;
		nulls[at] = false;
	};

	std::fill_n(nulls, static_cast<size_t>(Columns), true);
	put(Number, Int32GetDatum(number));
	put(OutcomeWord, CStringGetTextDatum(job->outcome == Outcome::LookedAt ? "looked at" :
										 job->outcome == Outcome::ByQuery ? "by query" : "failed"));
	if (job->outcome == Outcome::Failed)
		put(Reason, CStringGetTextDatum(job->reason));
	if (job->outcome == Outcome::LookedAt)
	{
		auto	   *elapsed = static_cast<Interval *>(palloc0(sizeof(Interval)));

		elapsed->time = job->microseconds;
		put(RowsChecked, Int64GetDatum(tally.rows_checked));
		put(RowsBroken, Int64GetDatum(tally.rows_broken));
		put(ReferencesChecked, Int64GetDatum(tally.references_checked));
		put(ReferencesBroken, Int64GetDatum(tally.references_broken));
		put(ValuesBroken, Int64GetDatum(tally.values_broken));
		put(Sample, tally.sample);
		put(Elapsed, IntervalPGetDatum(elapsed));
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_scan_references);

PGDLLEXPORT Datum
integrity_scan_references(PG_FUNCTION_ARGS)
{
	auto	   *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	ArrayType  *triggers = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *constraints = PG_GETARG_ARRAYTYPE_P(1);
	auto		count = static_cast<size_t>(ArrayGetNItems(ARR_NDIM(triggers), ARR_DIMS(triggers)));
	Survey		survey;

	if (ARR_HASNULL(triggers) || ARR_HASNULL(constraints) ||
		count != static_cast<size_t>(ArrayGetNItems(ARR_NDIM(constraints), ARR_DIMS(constraints))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the two arrays must be of the same length and without nulls")));
	InitMaterializedSRF(fcinfo, 0);
	if (count == 0)
		return 0;

	auto	   *jobs = static_cast<Job *>(palloc_extended(sizeof(Job) * count, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));

	for (size_t i = 0; i < count; i++)
	{
		jobs[i].target.trigger = reinterpret_cast<Oid *>(ARR_DATA_PTR(triggers))[i];
		jobs[i].target.constraint = reinterpret_cast<Oid *>(ARR_DATA_PTR(constraints))[i];
	}
	begin_survey(&survey, GetActiveSnapshot());
	look_at_all(&survey, {jobs, count});
	end_progress();
	for (size_t i = 0; i < count; i++)
		put_job(result, static_cast<int>(i) + 1, &jobs[i]);
	end_survey(&survey);
	return 0;
}
}
