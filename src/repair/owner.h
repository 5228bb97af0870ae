/*
 * owner.h
 *	  On whose behalf rows are changed.
 */
#pragma once

#include "../pg.h"

namespace integrity
{

/* As table_open(), but that the table is gone is no internal error: callers bring any OID. */
Relation	open_table(Oid table, LOCKMODE lock);

/* Raises unless the current role could SET ROLE to the owner of the table. */
void		require_owner(Relation rel);

} /* namespace integrity */
