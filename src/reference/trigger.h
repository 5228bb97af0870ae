/*
 * trigger.h
 *	  What a trigger function makes sure of before it believes its call.
 */
#pragma once

#include "../pg.h"

namespace integrity
{

inline TriggerData *
trigger_data(FunctionCallInfo fcinfo, const char *function)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"integrity.%s\" was not called by trigger manager", function),
				 errhint("It is a trigger function: integrity.add_reference() makes the triggers that call it.")));
	return reinterpret_cast<TriggerData *>(fcinfo->context);
}

[[noreturn]] inline void
wrong_event(TriggerData *data, const char *function, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("function \"integrity.%s\" must be fired %s", function, wanted),
			 errdetail("Trigger \"%s\" on table \"%s\" fires otherwise.", data->tg_trigger->tgname,
					   RelationGetRelationName(data->tg_relation)),
			 errhint("Let integrity.add_reference() or integrity.add_guards() make the trigger.")));
	pg_unreachable();
}

} /* namespace integrity */
