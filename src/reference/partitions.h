/*
 * partitions.h
 *	  What happens to tables and partitions without any row trigger firing.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* Gives new and attached partitions of a referenced table the guard that PostgreSQL does not clone. */
void		complete_partitions(Oid table);

/* The triggers of a table that are rules, be it of its own or clones. */
List	   *rule_triggers(Oid table, bool clones_only);

/*
 * What an ALTER TABLE leaves to do: the rows of an attached partition are
 * checked, and a rule that was enabled waits for those who did not know it.
 */
void		complete_alter_table(AlterTableStmt *statement);

} /* namespace integrity */
