/*
 * attempt.h
 *	  Work that may fail without taking the transaction along.
 */
#pragma once

#include "../pg.h"

namespace integrity
{

/*
 * Runs work() in a subtransaction. False: it failed, and the reason is kept.
 * An error that is_expected() says no to is raised.
 */
template <typename Work, typename Expected>
bool
attempt(Work work, Expected is_expected, char **reason)
{
	MemoryContext memory = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool worked = true;

	BeginInternalSubTransaction(nullptr);
	MemoryContextSwitchTo(memory);
	PG_TRY();
	{
		work();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(memory);

		ErrorData  *error = CopyErrorData();

		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (!is_expected(error))
		{
			CurrentResourceOwner = owner;
			ReThrowError(error);
		}
		*reason = error->message;
		worked = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(memory);
	CurrentResourceOwner = owner;
	return worked;
}

} /* namespace integrity */
