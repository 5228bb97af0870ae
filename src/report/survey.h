/*
 * survey.h
 *	  Counts the broken references of rules that share a referencing table.
 */
#pragma once

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
	TooLarge					/* would take too many passes: leave it to a query */
};

void		begin_survey(Survey *survey, Snapshot snapshot);
void		end_survey(Survey *survey);

/* The targets must be readable by scan and of one referencing table. Fills in their tallies. */
void		count_broken(Survey *survey, std::span<Target *const> targets, std::span<Surveyed> results);

/*
 * Calls look(keys) for each part of the keys of a target, which is asked for
 * more and smaller parts as long as they do not fit or look() returns false.
 */
template <typename Look>
inline Surveyed
for_each_part(Survey *survey, Target *target, uint32 parts, Look look)
{
	for (; parts <= max_parts; parts *= 2)
	{
		uint32		number = 0;

		while (number < parts)
		{
			CachedKeys *keys = get_keys(&survey->keys, target->rule, target->matcher, Part{number, parts}, {});

			if (keys == nullptr || !look(keys))
				break;
			number++;
		}
		if (number == parts)
			return Surveyed::Yes;
	}
	return Surveyed::TooLarge;
}

} /* namespace integrity */
