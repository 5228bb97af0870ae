/*
 * guards.cpp
 *	  Makes and removes the guard triggers of referenced tables.
 *
 * Guards are ordinary triggers: \d shows them, pg_dump dumps them. They are
 * made as the owner of the referenced table, whose leave is the REFERENCES
 * privilege, just as native foreign keys make theirs.
 */
#include "action.h"
#include "catalog.h"
#include "guarded.h"
#include "guards.h"

namespace integrity
{
namespace
{

enum class Guard : uint8
{
	Delete,
	Update,
	Truncate,
	Move,						/* partitioned tables, for on_update cascade */
	Deferred
};

const char *
guard_function(Guard guard)
{
	switch (guard)
	{
		case Guard::Delete:
			return "guard_delete";
		case Guard::Update:
			return "guard_update";
		case Guard::Truncate:
			return "guard_truncate";
		case Guard::Move:
			return "guard_move";
		case Guard::Deferred:
			return "guard_deferred";
	}
	pg_unreachable();
}

/* The column that an UPDATE guard watches: WHEN (integrity.key_changes(OLD.key, NEW.key)). */
AttrNumber
watched_column(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		condition = heap_getattr(tuple, Anum_pg_trigger_tgqual, desc, &isnull);

	if (isnull)
		return InvalidAttrNumber;

	Node	   *node = static_cast<Node *>(stringToNode(TextDatumGetCString(condition)));

	if (!IsA(node, FuncExpr) || list_length(castNode(FuncExpr, node)->args) != 2)
		return InvalidAttrNumber;

	Node	   *column = static_cast<Node *>(linitial(castNode(FuncExpr, node)->args));

	return IsA(column, Var) ? castNode(Var, column)->varattno : InvalidAttrNumber;
}

struct Found
{
	bool		exists;
	bool		enabled;
	NameData	name;
};

/* Looks for a guard; an UPDATE guard must watch this key, or none at all. */
Found
find_guard(Oid table, Guard guard, AttrNumber key)
{
	Found		found = {};
	Oid			function = function_oid(guard_function(guard));

	for_each_trigger(table, [&](HeapTuple tuple, TupleDesc desc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		if (form->tgfoid != function)
			return;
		if (guard == Guard::Update && watched_column(tuple, desc) != key &&
			watched_column(tuple, desc) != InvalidAttrNumber)
			return;
		found.exists = true;
		found.enabled |= form->tgenabled == TRIGGER_FIRES_ON_ORIGIN || form->tgenabled == TRIGGER_FIRES_ALWAYS;
		found.name = form->tgname;
	});
	return found;
}

/* "base", or "base_1", ... if a trigger of the table has that name. */
char *
free_trigger_name(Oid table, const char *base)
{
	char	   *name = pstrdup(base);

	for (int i = 1; OidIsValid(get_trigger_oid(table, name, true)); i++)
		name = psprintf("%s_%d", base, i);
	return name;
}

char *
guard_statement(Oid table, Guard guard, AttrNumber key)
{
	const char *on = table_for_sql(table, false);
	bool		plain = get_rel_relkind(table) == RELKIND_RELATION && !get_rel_relispartition(table) &&
		!has_superclass(table);

	switch (guard)
	{
		case Guard::Delete:
			return psprintf("CREATE TRIGGER %s AFTER DELETE ON %s %sFOR EACH ROW EXECUTE FUNCTION integrity.guard_delete()",
							free_trigger_name(table, "integrity_guard_delete"), on,
							plain ? "REFERENCING OLD TABLE AS deleted " : "");
		case Guard::Update:
			{
				const char *column = quote_identifier(get_attname(table, key, false));

				return psprintf("CREATE TRIGGER %s AFTER UPDATE ON %s FOR EACH ROW "
								"WHEN (integrity.key_changes(OLD.%s, NEW.%s)) EXECUTE FUNCTION integrity.guard_update()",
								free_trigger_name(table, "integrity_guard_update"), on, column, column);
			}
		case Guard::Truncate:
			return psprintf("CREATE TRIGGER %s AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION integrity.guard_truncate()",
							free_trigger_name(table, "integrity_guard_truncate"), on);
		case Guard::Move:
			return psprintf("CREATE TRIGGER %s BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION integrity.guard_move()",
							free_trigger_name(table, "integrity_guard_move"), on);
		case Guard::Deferred:
			break;
	}
	pg_unreachable();
}

void
ensure_guard(Oid table, Guard guard, AttrNumber key)
{
	Found		found = find_guard(table, guard, key);

	if (!found.exists)
		run_ddl_as_owner(table, guard_statement(table, guard, key));
	else if (!found.enabled)
		run_ddl_as_owner(table, psprintf("ALTER TABLE %s ENABLE TRIGGER %s", table_for_sql(table, false),
										 quote_identifier(NameStr(found.name))));
}

void
drop_guard(Oid table, const char *name)
{
	run_ddl_as_owner(table, psprintf("DROP TRIGGER %s ON %s", quote_identifier(name), table_for_sql(table, false)));
}

/* The functions of the guards that a table has for all its rules together. */
struct GuardFunctions
{
	Oid			oids[4];

	bool contain(Oid function) const { return std::find(std::begin(oids), std::end(oids), function) != std::end(oids); }
};

GuardFunctions
guard_functions()
{
	return {{function_oid("guard_delete"), function_oid("guard_update"), function_oid("guard_truncate"),
			 function_oid("guard_move")}};
}

/* The names of a table's own guards; a partition's clones go with their parent. */
List *
guard_names(Oid table)
{
	List	   *names = NIL;
	GuardFunctions functions = guard_functions();

	for_each_trigger(table, [&](HeapTuple tuple, TupleDesc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		if (!OidIsValid(form->tgparentid) && functions.contain(form->tgfoid))
			names = lappend(names, pstrdup(NameStr(form->tgname)));
	});
	return names;
}

/* Do rules reference the table, or one that it is a partition of? */
bool
has_rules(Oid table)
{
	if (!rules_referencing(table).empty())
		return true;
	if (!get_rel_relispartition(table))
		return false;

	ListCell   *cell;

	foreach(cell, get_partition_ancestors(table))
		if (!rules_referencing(lfirst_oid(cell)).empty())
			return true;
	return false;
}

} /* namespace */

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

	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(table_owner(table), saved_context | SECURITY_LOCAL_USERID_CHANGE);
	run_ddl(statement);
	SetUserIdAndSecContext(saved_user, saved_context);
}

namespace
{

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
	if (!rule.deferrable ||
		(rule.options.on_delete != OnDelete::NoAction && rule.options.on_update != OnUpdate::NoAction))
		return;

	Oid			function = function_oid("guard_deferred");
	const char *name = deferred_guard_name(rule);
	bool		exists = false;
	bool		fits = false;

	for_each_trigger(rule.referenced, [&](HeapTuple tuple, TupleDesc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		if (namestrcmp(&form->tgname, name) != 0)
			return;
		exists = true;
		fits = form->tgfoid == function && form->tginitdeferred == rule.initially_deferred;
	});
	if (fits)
		return;
	if (exists)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("trigger \"%s\" for relation \"%s\" already exists", name,
						get_rel_name(rule.referenced)),
				 errdetail("A deferrable rule needs a constraint trigger of its name on the referenced table."),
				 errhint("Choose another rule_name.")));
	run_ddl_as_owner(rule.referenced,
					 psprintf("CREATE CONSTRAINT TRIGGER %s AFTER DELETE OR UPDATE ON %s DEFERRABLE INITIALLY %s "
							  "FOR EACH ROW EXECUTE FUNCTION integrity.guard_deferred()",
							  quote_identifier(name), table_for_sql(rule.referenced, false),
							  rule.initially_deferred ? "DEFERRED" : "IMMEDIATE"));
}

} /* namespace */

void
ensure_guards(const Rule &rule)
{
	Oid			referenced = rule.referenced;
	AttrNumber	key = rule.key;

	ensure_guard(referenced, Guard::Delete, key);
	ensure_guard(referenced, Guard::Update, key);
	ensure_guard(referenced, Guard::Truncate, key);
	if (needs_move_guard(rule))
		ensure_guard(referenced, Guard::Move, key);
	ensure_partition_guards(referenced);
	ensure_deferred_guard(rule);

	/* Other backends must look for rules again, whether a guard was made or not. */
	CacheInvalidateRelcacheByRelid(referenced);
}

void
ensure_partition_guards(Oid table)
{
	ListCell   *cell;

	if (get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE)
		return;
	foreach(cell, find_all_inheritors(table, ShareRowExclusiveLock, nullptr))
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION || get_rel_relkind(lfirst_oid(cell)) == RELKIND_PARTITIONED_TABLE)
			ensure_guard(lfirst_oid(cell), Guard::Truncate, InvalidAttrNumber);
}

void
drop_unneeded_guards(Oid referenced)
{
	ListCell   *table;
	ListCell   *name;

	if (has_rules(referenced))
		return;
	foreach(name, guard_names(referenced))
		drop_guard(referenced, static_cast<char *>(lfirst(name)));
	if (get_rel_relkind(referenced) != RELKIND_PARTITIONED_TABLE)
		return;
	foreach(table, find_all_inheritors(referenced, ShareRowExclusiveLock, nullptr))
		if (!has_rules(lfirst_oid(table)))
			foreach(name, guard_names(lfirst_oid(table)))
				drop_guard(lfirst_oid(table), static_cast<char *>(lfirst(name)));
}

/* One may have been left behind by a rule that was renamed. */
void
drop_unneeded_deferred_guards(Oid referenced)
{
	Oid			function = function_oid("guard_deferred");
	List	   *names = NIL;
	ListCell   *cell;

	for_each_trigger(referenced, [&](HeapTuple tuple, TupleDesc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		if (form->tgfoid == function && !OidIsValid(form->tgparentid))
			names = lappend(names, pstrdup(NameStr(form->tgname)));
	});
	foreach(cell, names)
	{
		char	   *name = static_cast<char *>(lfirst(cell));
		bool		needed = false;

		for (const Rule *rule : rules_referencing(referenced))
			needed |= rule->deferrable && strcmp(deferred_guard_name(*rule), name) == 0;
		if (!needed)
			drop_guard(referenced, name);
	}
}

/* Is a guard of a partition disabled, be it a clone or its own? */
static bool
has_disabled_partition_guard(Oid table)
{
	GuardFunctions functions = guard_functions();
	bool		disabled = false;
	ListCell   *cell;

	if (get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE)
		return false;
	foreach(cell, find_all_inheritors(table, NoLock, nullptr))
		for_each_trigger(lfirst_oid(cell), [&](HeapTuple tuple, TupleDesc)
		{
			Form_pg_trigger form = trigger_form(tuple);

			disabled |= form->tgenabled == TRIGGER_DISABLED && functions.contain(form->tgfoid);
		});
	return disabled;
}

bool
is_guarded(const Rule &rule)
{
	Oid			referenced = rule.referenced;

	return !has_disabled_partition_guard(referenced) &&
		find_guard(referenced, Guard::Delete, rule.key).enabled && find_guard(referenced, Guard::Update, rule.key).enabled &&
		find_guard(referenced, Guard::Truncate, rule.key).enabled &&
		(!needs_move_guard(rule) || find_guard(referenced, Guard::Move, rule.key).enabled);
}

} /* namespace integrity */
