/*
 * rule.cpp
 *	  Reads a rule from the row of pg_trigger that it is.
 *
 * Anyone may write such a trigger by hand, so every assumption about its
 * shape is checked here, once, and what does not hold is a Problem.
 */
#include "rule.h"

namespace integrity
{

Oid
schema_oid()
{
	return get_namespace_oid("integrity", false);
}

/* A function of this extension without arguments, or InvalidOid. */
Oid
function_oid(const char *name)
{
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
						   PointerGetDatum(buildoidvector(nullptr, 0)), ObjectIdGetDatum(schema_oid()));
}

/*
 * Would a trigger with this tgenabled fire in this session? The same table as
 * trigger.c's TriggerEnabled().
 */
bool
rule_fires(char tgenabled)
{
	switch (tgenabled)
	{
		case TRIGGER_FIRES_ALWAYS:
			return true;
		case TRIGGER_FIRES_ON_ORIGIN:
			return SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA;
		case TRIGGER_FIRES_ON_REPLICA:
			return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;
		default:
			return false;
	}
}

/*
 * Does it fire where a trigger with the tgenabled "fired" has fired? That is
 * not a question about the session as it is now: an event that was queued in
 * an ordinary session may fire, deferred, when it is one of replication.
 */
bool
rule_fires_with(char tgenabled, char fired)
{
	if (tgenabled == TRIGGER_FIRES_ALWAYS || fired == TRIGGER_FIRES_ALWAYS)
		return rule_fires(tgenabled);
	return tgenabled == fired;
}

/* Does it fire in an ordinary session, whatever this one is? */
bool
rule_is_enforced(char tgenabled)
{
	return tgenabled == TRIGGER_FIRES_ON_ORIGIN || tgenabled == TRIGGER_FIRES_ALWAYS;
}

/* Reads the key that (NULL::table).column names. */
bool
read_target(Node *target, Oid *referenced, AttrNumber *key)
{
	if (!IsA(target, FieldSelect) || !IsA(castNode(FieldSelect, target)->arg, Const))
		return false;

	FieldSelect *field = castNode(FieldSelect, target);
	auto	   *row = reinterpret_cast<Const *>(field->arg);

	*referenced = get_typ_typrelid(row->consttype);
	*key = field->fieldnum;
	return OidIsValid(*referenced) && row->constisnull;
}

namespace
{

constexpr const char *form_hint =
	"Write it as AFTER INSERT ... FOR EACH ROW "
	"WHEN (integrity.refers(NEW.column, (NULL::referenced_table).key)) "
	"EXECUTE FUNCTION integrity.check_reference(...), or call integrity.add_reference().";

bool
malformed(Problem *problem, const NameData &name, const char *why)
{
	return refuse(problem, ERRCODE_INVALID_OBJECT_DEFINITION,
				  psprintf("trigger \"%s\" does not declare a reference", NameStr(name)), why, form_hint);
}

/* What find_refers() has seen of a WHEN condition. */
struct Search
{
	Oid			schema;
	FuncExpr   *refers;
	int			count;
};

bool
find_refers(Node *node, void *context)
{
	Search	   *search = static_cast<Search *>(context);

	if (node == nullptr)
		return false;
	if (IsA(node, FuncExpr))
	{
		FuncExpr   *call = castNode(FuncExpr, node);
		char	   *name = get_func_name(call->funcid);

		if (name && strcmp(name, "refers") == 0 && get_func_namespace(call->funcid) == search->schema)
		{
			search->refers = call;
			search->count++;
		}
	}
	return pg::walk_expression(node, find_refers, context);
}

/*
 * Reads WHEN (integrity.refers(NEW.column, (NULL::referenced).key)).
 *
 * For now the call must be the whole condition. Another condition beside it
 * is to become the conditional reference; it would be read here.
 */
bool
read_condition(const char *tgqual, Rule *rule, Problem *problem)
{
	Node	   *condition = static_cast<Node *>(stringToNode(tgqual));
	Search		search = {schema_oid(), nullptr, 0};

	find_refers(condition, &search);
	if (search.count == 0)
		return malformed(problem, rule->name, "Its WHEN condition does not call integrity.refers().");
	if (search.count > 1)
		return malformed(problem, rule->name, "Its WHEN condition calls integrity.refers() more than once.");
	if (condition != reinterpret_cast<Node *>(search.refers))
		return malformed(problem, rule->name, "Its WHEN condition has more in it than the call of integrity.refers().");
	if (list_length(search.refers->args) != 2)
		return malformed(problem, rule->name, "integrity.refers() takes two arguments.");

	Node	   *source = static_cast<Node *>(linitial(search.refers->args));
	Node	   *target = static_cast<Node *>(lsecond(search.refers->args));

	/* NEW is PRS2_NEW_VARNO, 2, in the condition of a trigger. */
	if (!IsA(source, Var) || castNode(Var, source)->varno != PRS2_NEW_VARNO || castNode(Var, source)->varattno <= 0)
		return malformed(problem, rule->name, "The first argument of integrity.refers() is not a column of NEW.");
	rule->column = castNode(Var, source)->varattno;

	if (!read_target(target, &rule->referenced, &rule->key))
		return malformed(problem, rule->name,
						 "The second argument of integrity.refers() is not of the form (NULL::table).column.");
	return true;
}

} /* namespace */

/*
 * Fills in what the trigger itself says. Even where that is malformed the
 * fields that come straight from pg_trigger are set.
 */
bool
read_rule(HeapTuple tuple, TupleDesc desc, Rule *rule, Problem *problem)
{
	auto	   *form = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
	bool		isnull;
	Datum		value;

	memset(static_cast<void *>(rule), 0, sizeof(*rule));
	rule->trigger = form->oid;
	rule->name = form->tgname;
	rule->referencing = form->tgrelid;
	rule->parent = form->tgparentid;
	rule->enabled = form->tgenabled;
	rule->deferrable = form->tgdeferrable;
	rule->initially_deferred = form->tginitdeferred;
	rule->fires_on_update = TRIGGER_FOR_UPDATE(form->tgtype);

	if (form->tgfoid != function_oid("check_reference"))
		return malformed(problem, rule->name, "It does not call integrity.check_reference().");
	if (!TRIGGER_FOR_ROW(form->tgtype))
		return malformed(problem, rule->name, "It is FOR EACH STATEMENT.");
	if (!TRIGGER_FOR_AFTER(form->tgtype))
		return malformed(problem, rule->name, "It does not fire AFTER the event.");
	if (TRIGGER_FOR_DELETE(form->tgtype))
		return malformed(problem, rule->name, "It fires on DELETE, which cannot break a reference of its own table.");
	if (!TRIGGER_FOR_INSERT(form->tgtype))
		return malformed(problem, rule->name, "It does not fire on INSERT.");
	if (!TRIGGER_FOR_UPDATE(form->tgtype) && !OidIsValid(function_oid("check_update")))
		return malformed(problem, rule->name, "It does not fire on UPDATE.");	/* the extension here is of version 0.1.0 still */
	if (form->tgdeferrable && !TRIGGER_FOR_UPDATE(form->tgtype))
		return malformed(problem, rule->name, "It is deferrable, so SET CONSTRAINTS must reach its UPDATEs, and it does not fire on them.");
	if (OidIsValid(form->tgconstrrelid))
		return malformed(problem, rule->name, "It was made with FROM, so dropping that table would silently drop it.");
	if (form->tgattr.dim1 != 0)
		return malformed(problem, rule->name,
						 "It is limited to UPDATE OF some columns, which a BEFORE trigger can bypass.");

	value = heap_getattr(tuple, Anum_pg_trigger_tgqual, desc, &isnull);
	if (isnull)
		return malformed(problem, rule->name, "It has no WHEN condition.");
	if (!read_condition(TextDatumGetCString(value), rule, problem))
		return false;

	value = heap_getattr(tuple, Anum_pg_trigger_tgargs, desc, &isnull);
	if (isnull)
		return true;

	bytea	   *arguments = DatumGetByteaPP(value);

	return parse_arguments({VARDATA_ANY(arguments), VARSIZE_ANY_EXHDR(arguments)}, form->tgnargs, &rule->options, problem);
}

} /* namespace integrity */
