/*
 * owner.h
 *	  On whose behalf rows are changed.
 */
#pragma once

#include "../pg.h"

namespace integrity
{

/* Raises unless the current role could SET ROLE to the owner of the table. */
void		require_owner(Relation rel);

} /* namespace integrity */
