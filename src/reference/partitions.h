/*
 * partitions.h
 *	  What happens to partitions without any row trigger firing.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* Gives new and attached partitions of a referenced table the guard that PostgreSQL does not clone. */
void		complete_partitions(Oid table);

/* Checks the rows of the partitions that this ALTER TABLE has attached. */
void		check_attached(AlterTableStmt *statement);

} /* namespace integrity */
