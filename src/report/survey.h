/*
 * survey.h
 *	  Counts the broken references of rules that share a referencing table.
 */
#pragma once

#include "progress.h"
#include "target.h"

namespace integrity
{

/*
 * Memory: half of maintenance_work_mem is for keys, a quarter for what is
 * found, and the rest for moments in which a set is there twice.
 */
struct Survey
{
	MemoryContext memory;
	Snapshot	snapshot;		/* active while the survey goes on */
	KeysCache	keys;
	size_t		found_limit;
	bool		stop_at_first;
	Oid			stopped_in;		/* stop_at_first: the leaf where something was found */
};

/* How it ended for one rule. */
enum class Surveyed : uint8
{
	Yes,
	TooLarge					/* keys for too many passes, or too many broken values: leave it to a query */
};

void		begin_survey(Survey *survey, Snapshot snapshot);
void		end_survey(Survey *survey);

/*
 * The targets must be readable by scan and of one referencing table. Fills in
 * their tallies. The broken values are summed up as soon as they are counted,
 * for they take memory; with stop_at_first they are kept.
 */
void		count_broken(Survey *survey, std::span<Target *const> targets, std::span<Surveyed> results);

/* What comes after a look at one part of the keys. */
enum class Next : uint8
{
	Part,
	Nothing,					/* enough is known */
	Query						/* no room for what was found, and more parts would not help that */
};

/*
 * Calls look(keys) for each part of the keys of a target. If a part does not
 * fit, all begins anew with more and smaller ones.
 */
template <typename Look>
inline Surveyed
for_each_part(Survey *survey, const Target &target, KeysPlan plan, Look look)
{
	for (; plan.parts <= max_parts; plan.parts *= 2)
	{
		Part		part = {0, plan.parts};

		for (; part.number < part.of; part.number++)
		{
			show_part(part.number + 1, part.of);

			CachedKeys *keys = get_keys(&survey->keys, keys_of(target), plan, part, {});

			if (keys == nullptr)
				break;

			Next		next = look(keys);

			if (next != Next::Part)
				return next == Next::Nothing ? Surveyed::Yes : Surveyed::TooLarge;
		}
		if (part.number == part.of)
			return Surveyed::Yes;
	}
	return Surveyed::TooLarge;
}

} /* namespace integrity */
