/*
 * problem.h
 *	  A reason why something is refused, kept instead of thrown.
 *
 * The same finding is an error for the one who declares or fires a rule, but
 * only a line of text for a view or a report that must go on with the other
 * rules. So the code that finds it fills in a Problem, and the caller decides.
 */
#pragma once

#include "../pg.h"

namespace integrity
{

struct Problem
{
	int			sqlstate;		/* 0: there is no problem */
	const char *message;
	const char *detail;			/* may be null */
	const char *hint;			/* may be null */

	explicit operator bool() const { return sqlstate != 0; }
};

static_assert(Plain<Problem>);

/* Fills in a problem and returns false, so that a check can end with it. */
inline bool
refuse(Problem *problem, int sqlstate, const char *message, const char *detail, const char *hint)
{
	*problem = Problem{sqlstate, message, detail, hint};
	return false;
}

[[noreturn]] inline void
raise(const Problem &problem)
{
	ereport(ERROR,
			(errcode(problem.sqlstate),
			 errmsg("%s", problem.message),
			 problem.detail ? errdetail("%s", problem.detail) : 0,
			 problem.hint ? errhint("%s", problem.hint) : 0));
	pg_unreachable();
}

} /* namespace integrity */
