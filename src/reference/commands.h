/*
 * commands.h
 *	  What commands do to tables without any row trigger firing.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/*
 * What an ALTER TABLE leaves to do: rows that nobody has checked are checked,
 * and a rule that was enabled waits for those who did not know it.
 */
void		complete_alter_table(AlterTableStmt *statement);

/* Are both event triggers of the extension there, and enabled? */
bool		commands_are_watched();

} /* namespace integrity */
