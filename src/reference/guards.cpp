/*
 * guards.cpp
 *	  Makes and removes the guard triggers of referenced tables.
 *
 * Guards are ordinary triggers: \d shows them, pg_dump dumps them. They are
 * made as the owner of the referenced table, whose leave is the REFERENCES
 * privilege, just as native foreign keys make theirs.
 *
 * A table's own guards serve the rules that reference this very table; the
 * clones that a partition gets serve those above it. So a partition that is
 * referenced itself keeps its guards when it is detached. TRUNCATE triggers
 * are not cloned: every partition gets one of its own, for all rules.
 */
#include "action.h"
#include "catalog.h"
#include "guarded.h"
#include "commands.h"
#include "dependency.h"
#include "guards.h"
#include "updates.h"

namespace integrity
{

char *
free_trigger_name(Oid table, const char *name, Oid parent)
{
	List	   *tables = find_all_inheritors(table, NoLock, nullptr);
	char	   *free_name = makeObjectName(name, nullptr, nullptr);

	if (OidIsValid(parent))
		tables = lappend_oid(tables, parent);
	for (int i = 1;; i++)
	{
		bool		taken = false;
		ListCell   *cell;

		foreach(cell, tables)
			taken |= OidIsValid(get_trigger_oid(lfirst_oid(cell), free_name, true));
		if (!taken)
			return free_name;
		free_name = makeObjectName(name, nullptr, psprintf("%d", i));
	}
}

namespace
{

constexpr const char *guard_functions[] = {"guard_delete", "guard_update", "guard_truncate", "guard_move", "guard_deferred"};

const char *
function_of(Guard guard)
{
	return guard_functions[static_cast<int>(guard)];
}

/* A trigger that calls one of the guard functions. */
struct GuardTrigger
{
	Guard		guard;
	NameData	name;
	AttrNumber	column;			/* of an UPDATE guard: the key that it watches; 0 for every column */
	bool		complete;		/* it fires on all that it should */
	bool		enabled;
	bool		clone;
	bool		transition;		/* has a transition table */
};

static_assert(Plain<GuardTrigger>);

/*
 * The column of WHEN (integrity.key_changes(OLD.key, NEW.key)), or -1 if the
 * condition is another one.
 */
AttrNumber
watched_column(const char *condition)
{
	Node	   *node = static_cast<Node *>(stringToNode(condition));

	if (!IsA(node, FuncExpr))
		return -1;

	auto	   *call = castNode(FuncExpr, node);
	const char *name = get_func_name(call->funcid);

	if (name == nullptr || strcmp(name, "key_changes") != 0 || get_func_namespace(call->funcid) != schema_oid() ||
		!IsA(linitial(call->args), Var) || !IsA(lsecond(call->args), Var))
		return -1;

	auto	   *before = static_cast<Var *>(linitial(call->args));
	auto	   *after = static_cast<Var *>(lsecond(call->args));
	bool		right = before->varno == PRS2_OLD_VARNO && after->varno == PRS2_NEW_VARNO &&
		before->varattno == after->varattno;

	return right ? before->varattno : AttrNumber{-1};
}

GuardTrigger
read_guard(Guard guard, HeapTuple tuple, TupleDesc desc)
{
	Form_pg_trigger form = trigger_form(tuple);
	bool		unconditional;
	bool		no_table;
	Datum		condition = heap_getattr(tuple, Anum_pg_trigger_tgqual, desc, &unconditional);
	GuardTrigger trigger;

	heap_getattr(tuple, Anum_pg_trigger_tgoldtable, desc, &no_table);
	trigger.guard = guard;
	trigger.name = form->tgname;
	trigger.column = unconditional ? AttrNumber{0} : watched_column(TextDatumGetCString(condition));
	trigger.complete = trigger.column >= 0 &&
		is_guard_form(guard, form->tgtype, form->tgattr.dim1, unconditional, form->tgdeferrable);
	trigger.enabled = rule_is_enforced(form->tgenabled);
	trigger.clone = OidIsValid(form->tgparentid);
	trigger.transition = !no_table;
	return trigger;
}

/* All guards of a table, complete or not. */
std::span<GuardTrigger>
guards_of(Oid table)
{
	Oid			functions[lengthof(guard_functions)];
	size_t		count = 0;
	size_t		room = 8;
	auto	   *guards = static_cast<GuardTrigger *>(palloc(sizeof(GuardTrigger) * room));

	for (size_t i = 0; i < lengthof(functions); i++)
		functions[i] = function_oid(guard_functions[i]);

	for_each_trigger(table, [&](HeapTuple tuple, TupleDesc desc)
	{
		for (size_t i = 0; i < lengthof(functions); i++)
		{
			if (trigger_form(tuple)->tgfoid != functions[i])
				continue;
			if (count == room)
			{
				room *= 2;
				guards = static_cast<GuardTrigger *>(repalloc(guards, sizeof(GuardTrigger) * room));
			}
			guards[count++] = read_guard(static_cast<Guard>(i), tuple, desc);
		}
	});
	return {guards, count};
}

/* The table's own guard that does this work; for a deferred one, "name" is what it must be called. */
const GuardTrigger *
find_guard(std::span<const GuardTrigger> guards, Guard guard, AttrNumber key, const char *name = nullptr)
{
	const GuardTrigger *found = nullptr;

	for (const GuardTrigger &each : guards)
		if (each.guard == guard && each.complete && !each.clone && (each.column == 0 || each.column == key) &&
			(name == nullptr || strcmp(NameStr(each.name), name) == 0) && (found == nullptr || each.enabled))
			found = &each;
	return found;
}

char *
free_guard_name(Oid table, Guard guard, Oid parent)
{
	return free_trigger_name(table, psprintf("integrity_%s", function_of(guard)), parent);
}

/* Row triggers of partitions and inheritance children cannot have a transition table. */
bool
can_have_transition_table(Oid table)
{
	return get_rel_relkind(table) == RELKIND_RELATION && !get_rel_relispartition(table) && !has_superclass(table);
}

void
create_guard(Oid table, Guard guard, AttrNumber key, Oid parent = InvalidOid)
{
	StringInfoData sql;
	const char *on = table_for_sql(table, false);

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TRIGGER %s ", free_guard_name(table, guard, parent));
	switch (guard)
	{
		case Guard::Delete:
			appendStringInfo(&sql, "AFTER DELETE ON %s %sFOR EACH ROW", on,
							 !OidIsValid(parent) && can_have_transition_table(table) ? "REFERENCING OLD TABLE AS deleted " : "");
			break;
		case Guard::Update:
			{
				const char *column = quote_identifier(get_attname(table, key, false));

				appendStringInfo(&sql, "AFTER UPDATE ON %s FOR EACH ROW WHEN (integrity.key_changes(OLD.%s, NEW.%s))", on,
								 column, column);
				break;
			}
		case Guard::Truncate:
			appendStringInfo(&sql, "AFTER TRUNCATE ON %s FOR EACH STATEMENT", on);
			break;
		case Guard::Move:
			appendStringInfo(&sql, "BEFORE UPDATE ON %s FOR EACH ROW", on);
			break;
		case Guard::Deferred:
			elog(ERROR, "a deferred guard is made for its rule");
	}
	appendStringInfo(&sql, " EXECUTE FUNCTION integrity.%s()", function_of(guard));
	run_ddl_as_owner(table, sql.data);
}

void
alter_guard(Oid table, const char *action, const NameData &name)
{
	run_ddl_as_owner(table, psprintf("ALTER TABLE %s %s TRIGGER %s", table_for_sql(table, false), action,
									 quote_identifier(NameStr(name))));
}

void
drop_guard(Oid table, const NameData &name)
{
	run_ddl_as_owner(table, psprintf("DROP TRIGGER %s ON %s", quote_identifier(NameStr(name)), table_for_sql(table, false)));
}

void
ensure_guard(Oid table, Guard guard, AttrNumber key, bool enable = true)
{
	const GuardTrigger *found = find_guard(guards_of(table), guard, key);

	if (found == nullptr)
		create_guard(table, guard, key);
	else if (enable && !found->enabled)
		alter_guard(table, "ENABLE", found->name);
}

/* Only a partitioned table can move a row, and only cascade must know where to. */
bool
needs_move_guard(const Rule &rule)
{
	return rule.options.on_update == OnUpdate::Cascade && get_rel_relkind(rule.referenced) == RELKIND_PARTITIONED_TABLE;
}

/*
 * A deferrable NO ACTION rule is checked by a constraint trigger that has its
 * name, so that SET CONSTRAINTS reaches both sides.
 */
void
ensure_deferred_guard(const Rule &rule)
{
	const char *name = deferred_guard_name(rule);

	if (!rule.deferrable ||
		(rule.options.on_delete != OnDelete::NoAction && rule.options.on_update != OnUpdate::NoAction) ||
		find_guard(guards_of(rule.referenced), Guard::Deferred, 0, name))
		return;
	if (OidIsValid(get_trigger_oid(rule.referenced, name, true)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("trigger \"%s\" for relation \"%s\" already exists", name, get_rel_name(rule.referenced)),
				 errdetail("A deferrable rule needs a constraint trigger of its name on the referenced table."),
				 errhint("Choose another rule_name.")));

	/* Checks that were put off would take the new guard for the one that makes them. As ALTER TABLE ADD FOREIGN KEY. */
	require_no_pending_checks(rule.referenced, "add a deferrable rule to");
	run_ddl_as_owner(rule.referenced,
					 psprintf("CREATE CONSTRAINT TRIGGER %s AFTER DELETE OR UPDATE ON %s DEFERRABLE INITIALLY %s "
							  "FOR EACH ROW EXECUTE FUNCTION integrity.guard_deferred()",
							  quote_identifier(name), table_for_sql(rule.referenced, false),
							  rule.initially_deferred ? "DEFERRED" : "IMMEDIATE"));
}

/* Is a guard of a partition disabled, be it a clone or its own, or the one missing that is never a clone? */
bool
lacks_partition_guard(Oid table)
{
	ListCell   *cell;

	if (get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE)
		foreach(cell, find_all_inheritors(table, NoLock, nullptr))
		{
			std::span<const GuardTrigger> guards = guards_of(lfirst_oid(cell));
			bool		disabled = std::any_of(guards.begin(), guards.end(), [](const GuardTrigger &each) { return !each.enabled; });

			if (disabled || (get_rel_relkind(lfirst_oid(cell)) != RELKIND_FOREIGN_TABLE &&
							 !find_guard(guards, Guard::Truncate, InvalidAttrNumber)))
				return true;
		}
	return false;
}

/* Does a rule need this guard of a table? */
bool
is_needed(Oid table, const GuardTrigger &guard)
{
	List	   *tables = list_make1_oid(table);
	ListCell   *cell;

	if (guard.guard == Guard::Truncate && get_rel_relispartition(table))
		tables = list_concat(tables, get_partition_ancestors(table));
	foreach(cell, tables)
		for (const Rule *rule : rules_referencing(lfirst_oid(cell)))
			switch (guard.guard)
			{
				case Guard::Delete:
				case Guard::Truncate:
					return true;
				case Guard::Update:
					if (guard.column == 0 || guard.column == rule->key)
						return true;
					break;
				case Guard::Move:
					if (needs_move_guard(*rule))
						return true;
					break;
				case Guard::Deferred:
					/* One may have been left behind by a rule that was renamed. */
					if (rule->deferrable && strcmp(deferred_guard_name(*rule), NameStr(guard.name)) == 0)
						return true;
					break;
			}
	return false;
}

} /* namespace */

void
ensure_guards(const Rule &rule)
{
	Oid			referenced = rule.referenced;

	ensure_guard(referenced, Guard::Delete, rule.key);
	ensure_guard(referenced, Guard::Update, rule.key);
	ensure_guard(referenced, Guard::Truncate, rule.key);
	if (needs_move_guard(rule))
		ensure_guard(referenced, Guard::Move, rule.key);
	ensure_partition_guards(referenced, true);
	ensure_deferred_guard(rule);

	/* ENABLE on the partitioned table reaches the clones. */
	if (lacks_partition_guard(referenced))
		for (const GuardTrigger &each : guards_of(referenced))
			if (!each.clone)
				alter_guard(referenced, "ENABLE", each.name);

	/* Other backends must look for rules again, whether a guard was made or not. */
	CacheInvalidateRelcacheByRelid(referenced);
}

void
ensure_partition_guards(Oid table, bool enable)
{
	ListCell   *cell;

	if (get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE)
		return;
	foreach(cell, find_all_inheritors(table, enable ? ShareRowExclusiveLock : NoLock, nullptr))
	{
		Oid			each = lfirst_oid(cell);

		/* Where nothing is missing, a command on one partition must not wait for those who write to another. */
		if (!enable && find_guard(guards_of(each), Guard::Truncate, InvalidAttrNumber))
			continue;
		LockRelationOid(each, ShareRowExclusiveLock);
		if (get_rel_name(each) && get_rel_relkind(each) != RELKIND_FOREIGN_TABLE)
			ensure_guard(each, Guard::Truncate, InvalidAttrNumber, enable);
	}
}

void
drop_own_unneeded_guards(Oid table)
{
	for (const GuardTrigger &each : guards_of(table))
		if (!each.clone && !is_needed(table, each))
			drop_guard(table, each.name);
}

void
drop_unneeded_guards(Oid referenced)
{
	ListCell   *cell;
	List	   *tables = get_rel_relkind(referenced) == RELKIND_PARTITIONED_TABLE ?
		find_all_inheritors(referenced, AccessExclusiveLock, nullptr) : list_make1_oid(referenced);

	foreach(cell, tables)
		drop_own_unneeded_guards(lfirst_oid(cell));
}

void
prepare_guards_for_parent(Oid table, Oid parent)
{
	for (const GuardTrigger &each : guards_of(table))
	{
		if (each.clone || each.guard == Guard::Truncate)
			continue;
		if (each.transition)
		{
			drop_guard(table, each.name);
			create_guard(table, each.guard, each.column, parent);
		}
		else if (each.guard != Guard::Deferred && OidIsValid(get_trigger_oid(parent, NameStr(each.name), true)))
			run_ddl_as_owner(table, psprintf("ALTER TRIGGER %s ON %s RENAME TO %s", quote_identifier(NameStr(each.name)),
											 table_for_sql(table, false), free_guard_name(table, each.guard, parent)));
	}
}

void
require_no_pending_checks(Oid table, const char *what)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(table, NoLock, nullptr))
		if (AfterTriggerPendingOnRel(lfirst_oid(cell)))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("cannot %s \"%s\" because it has pending trigger events", what, get_rel_name(table)),
					 errhint("Commit first, or SET CONSTRAINTS ALL IMMEDIATE.")));
}

void
keep_pending_checks(Oid trigger, const char *verb, bool of_rules)
{
	Oid			table = InvalidOid;
	bool		is_rule = false;

	with_trigger_row(trigger, [&](HeapTuple tuple, TupleDesc)
	{
		Form_pg_trigger form = trigger_form(tuple);
		bool		is_guard = std::any_of(std::begin(guard_functions), std::end(guard_functions), [&](const char *function)
		{
			return form->tgfoid == function_oid(function);
		}) || form->tgfoid == function_oid("check_update");

		is_rule = of_rules && form->tgfoid == function_oid("check_reference");
		if (is_guard || is_rule)
			table = form->tgrelid;
	});
	if (OidIsValid(table))
		require_no_pending_checks(table, psprintf("%s a %s of", verb, is_rule ? "rule" : "guard"));
}

bool
is_guarded(const Rule &rule)
{
	std::span<const GuardTrigger> guards = guards_of(rule.referenced);
	auto		has = [&](Guard guard)
	{
		const GuardTrigger *found = find_guard(guards, guard, rule.key);

		return found && found->enabled;
	};

	return commands_are_watched() && depends_on_index(rule) && has(Guard::Delete) && has(Guard::Update) && has(Guard::Truncate) &&
		(!needs_move_guard(rule) || has(Guard::Move)) && !lacks_partition_guard(rule.referenced) && updates_are_checked(rule);
}

void
run_ddl(const char *statement)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");

	int			result = SPI_execute(statement, false, 0);

	if (result != SPI_OK_UTILITY)
		elog(ERROR, "SPI_execute returned %s for %s", SPI_result_code_string(result), statement);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	CommandCounterIncrement();
}

void
run_ddl_as_owner(Oid table, const char *statement)
{
	Oid			saved_user;
	int			saved_context;

	/* A superuser may also reach partitions that belong to somebody else. */
	if (superuser())
	{
		run_ddl(statement);
		return;
	}
	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(table_owner(table), saved_context | SECURITY_LOCAL_USERID_CHANGE);
	run_ddl(statement);
	SetUserIdAndSecContext(saved_user, saved_context);
}

} /* namespace integrity */
