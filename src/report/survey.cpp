/*
 * survey.cpp
 *	  Arranges passes: as many rules in one as their keys fit into memory.
 */
#include "survey.h"
#include "values.h"

namespace integrity
{
namespace
{

/* In the worst case each process of a parallel pass finds as much as all together. */
size_t
limit_of_one(const Survey &survey, size_t rules)
{
	return survey.found_limit / rules / static_cast<size_t>(max_parallel_maintenance_workers + 1);
}

/* One pass over all leaves. False: what was found does not fit into memory. */
bool
pass(Survey *survey, std::span<Target *const> targets, std::span<CachedKeys *const> keys)
{
	auto	   *rules = static_cast<Counted *>(MemoryContextAllocZero(survey->memory, sizeof(Counted) * targets.size()));
	ListCell   *cell;
	bool		fits = true;

	for (size_t i = 0; i < targets.size(); i++)
	{
		rules[i].types = targets[i]->types;
		rules[i].keys = keys[i];
		rules[i].tally = &targets[i]->tally;
		rules[i].limit = limit_of_one(*survey, targets.size());
		rules[i].stop_at_first = survey->stop_at_first;
	}
	foreach(cell, targets[0]->leaves)
	{
		Relation	leaf = table_open(lfirst_oid(cell), NoLock);

		for (size_t i = 0; i < targets.size(); i++)
			rules[i].look = {targets[i]->rule.is_array, get_attnum(RelationGetRelid(leaf), targets[i]->column),
				&keys[i]->keys, &targets[i]->matcher};
		fits = count_leaf(leaf, survey->snapshot, {rules, targets.size()});

		/* If it does not fit, what was found may not be in the tally. */
		if (fits && survey->stop_at_first && targets[0]->tally.references_broken > 0)
			survey->stopped_in = RelationGetRelid(leaf);
		table_close(leaf, NoLock);
		if (!fits || OidIsValid(survey->stopped_in))
			break;
	}
	pfree(rules);
	return fits;
}

void
start_tallies(Survey *survey, std::span<Target *const> targets, bool in_parts)
{
	for (Target *target : targets)
	{
		free_tally(&target->tally);
		init_tally(&target->tally, target->matcher.compare.element, survey->memory,
				   survey->found_limit / targets.size(), in_parts);
	}
}

/* Nothing more is counted for this rule. */
void
finish_tally(Survey *survey, Target *target, Surveyed result)
{
	if (result == Surveyed::Yes && survey->stop_at_first)
		return;
	if (result == Surveyed::Yes)
		sum_up_values(target, survey->memory);
	free_tally(&target->tally);
}

/* One rule by itself, in parts if need be. */
Surveyed
count_alone(Survey *survey, Target *target)
{
	KeysPlan	plan = plan_keys(survey->keys, keys_of(*target));
	Surveyed	result = for_each_part(survey, *target, plan, [&](CachedKeys *keys)
	{
		const Part &part = keys->keys.part;

		if (part.number == 0)
			start_tallies(survey, {&target, 1}, part.of > 1);
		if (!pass(survey, {&target, 1}, {&keys, 1}))
			return Next::Query;
		return OidIsValid(survey->stopped_in) ? Next::Nothing : Next::Part;
	});

	if (target->tally.rows.size() > 0)
		target->tally.rows_broken = static_cast<int64>(target->tally.rows.size());
	finish_tally(survey, target, result);
	return result;
}

} /* namespace */

void
begin_survey(Survey *survey, Snapshot snapshot)
{
	size_t		memory = static_cast<size_t>(maintenance_work_mem) * 1024;

	memset(static_cast<void *>(survey), 0, sizeof(*survey));
	survey->memory = AllocSetContextCreate(CurrentMemoryContext, "integrity survey", ALLOCSET_DEFAULT_SIZES);
	survey->snapshot = snapshot;
	survey->found_limit = memory / 4;
	init_keys_cache(&survey->keys, survey->memory, snapshot, memory / 2);
}

void
end_survey(Survey *survey)
{
	MemoryContextDelete(survey->memory);
}

void
count_broken(Survey *survey, std::span<Target *const> targets, std::span<Surveyed> results)
{
	auto	   *keys = static_cast<CachedKeys **>(MemoryContextAlloc(survey->memory, sizeof(CachedKeys *) * targets.size()));
	size_t		from = 0;

	/* As many of the next rules as fit share a pass. */
	while (from < targets.size())
	{
		size_t		taken = 0;

		show_part(1, 1);
		while (from + taken < targets.size())
		{
			KeysSource	source = keys_of(*targets[from + taken]);
			KeysPlan	plan = plan_keys(survey->keys, source);

			if (plan.parts > 1)
				break;
			keys[taken] = get_keys(&survey->keys, source, plan, Part{0, 1}, {keys, taken});
			if (keys[taken] == nullptr)
				break;
			taken++;
		}

		auto		together = targets.subspan(from, taken);
		bool		shared = taken > 1;

		start_tallies(survey, together, false);
		if (shared && pass(survey, together, {keys, taken}))
		{
			for (size_t i = from; i < from + taken; i++)
				finish_tally(survey, targets[i], results[i] = Surveyed::Yes);
		}
		else
		{
			/* What was found for all was too much; or only one was taken, or none, because its keys come in parts. */
			taken = std::max<size_t>(taken, 1);
			for (Target *target : together)
				free_tally(&target->tally);
			for (size_t i = from; i < from + taken; i++)
				results[i] = count_alone(survey, targets[i]);
		}
		from += taken;
	}
	pfree(keys);
}

} /* namespace integrity */
