/*
 * declare.cpp
 *	  integrity.add_reference(), validate_reference(), drop_reference() and
 *	  add_guards().
 *
 * Declaring a rule is creating its trigger, or a native FOREIGN KEY where one
 * column refers to one key: that one PostgreSQL does best itself. Locks and
 * privileges are those of ALTER TABLE ADD FOREIGN KEY.
 */
#include "action.h"
#include "catalog.h"
#include "complete.h"
#include "dependency.h"
#include "gin.h"
#include "guards.h"
#include "updates.h"
#include "validate.h"

namespace integrity
{
namespace
{

/* The arguments of add_reference(), in their order. */
enum Argument
{
	ReferencingTable,
	ReferencingColumn,
	ReferencedTable,
	ReferencedColumn,
	OnDeleteWord,
	OnUpdateWord,
	OnEmptyWord,
	NullElements,
	DuplicateElements,
	NotValid,
	Enforced,
	Deferrable,
	InitiallyDeferred,
	RuleName
};

constexpr const char *argument_names[] = {
	"referencing_table", "referencing_column", "referenced_table", "referenced_column", "on_delete", "on_update",
	"on_empty", "null_elements", "duplicate_elements", "not_valid", "enforced", "deferrable", "initially_deferred",
	"rule_name"
};

void
require_arguments(FunctionCallInfo fcinfo)
{
	for (int i = 0; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i) && i != ReferencedColumn && i != RuleName)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", argument_names[i]),
					 errhint("Leave it out to use its default, if it has one.")));
}

constexpr const char *owner_hint = "Only the owner of the referencing table can declare, validate or drop its references.";

/* Who may declare: the owner, and nobody may take a strong lock before that is known. */
void
require_owner(Oid table, const char *hint)
{
	if (get_rel_name(table) == nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", table),
				 errhint("Name the table, for example 'public.parent_profiles'.")));
	if (!pg::owns_table(table, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table %s", get_rel_name(table)),
				 errhint("%s", hint)));
}

AttrNumber
require_column(Oid table, const char *name)
{
	AttrNumber	attnum = get_attnum(table, name);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", name, get_rel_name(table)),
				 errhint("Name an existing column, as \\d %s shows it.", get_rel_name(table))));
	if (attnum < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("system column \"%s\" cannot be part of a reference", name),
				 errhint("Name a column of your own.")));
	return attnum;
}

AttrNumber
primary_key(Oid table)
{
	Oid			constraint;
	Bitmapset  *columns = get_primary_key_attnos(table, false, &constraint);

	if (bms_is_empty(columns))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no primary key for referenced table \"%s\"", get_rel_name(table)),
				 errhint("Name a column with a unique constraint as referenced_column.")));
	if (bms_num_members(columns) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FOREIGN_KEY),
				 errmsg("the primary key of referenced table \"%s\" has more columns than one", get_rel_name(table)),
				 errhint("Name a column with a unique constraint of its own as referenced_column.")));
	return static_cast<AttrNumber>(bms_singleton_member(columns) + FirstLowInvalidHeapAttributeNumber);
}

void
read_word(FunctionCallInfo fcinfo, Argument argument, Options *options)
{
	Problem		problem = {};
	const char *word = text_to_cstring(PG_GETARG_TEXT_PP(argument));

	if (!parse_option(psprintf("%s=%s", argument_names[argument], word), options, &problem))
		raise(problem);
}

/* What the caller asked for, as a rule that has no trigger yet. */
Rule
read_request(FunctionCallInfo fcinfo)
{
	Rule		rule;
	Oid			referencing = PG_GETARG_OID(ReferencingTable);
	Oid			referenced = PG_GETARG_OID(ReferencedTable);
	Problem		problem = {};

	memset(static_cast<void *>(&rule), 0, sizeof(rule));
	rule.referencing = referencing;
	rule.referenced = referenced;
	rule.enabled = PG_GETARG_BOOL(Enforced) ? TRIGGER_FIRES_ON_ORIGIN : TRIGGER_DISABLED;
	rule.deferrable = PG_GETARG_BOOL(Deferrable);
	rule.initially_deferred = PG_GETARG_BOOL(InitiallyDeferred);
	rule.column = require_column(referencing, NameStr(*PG_GETARG_NAME(ReferencingColumn)));

	/* A view or a catalog is refused as such, before anything else about it. */
	if (!check_tables(rule, &problem))
		raise(problem);
	rule.key = PG_ARGISNULL(ReferencedColumn) ? primary_key(referenced) :
		require_column(referenced, NameStr(*PG_GETARG_NAME(ReferencedColumn)));

	for (Argument argument : {OnDeleteWord, OnUpdateWord, OnEmptyWord, NullElements, DuplicateElements})
		read_word(fcinfo, argument, &rule.options);
	rule.options.not_valid = PG_GETARG_BOOL(NotValid);

	if (rule.initially_deferred && !rule.deferrable)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("constraint declared INITIALLY DEFERRED must be DEFERRABLE"),
				 errhint("Add \"deferrable\" => true.")));

	if (PG_ARGISNULL(RuleName))
	{
		char	   *name = makeObjectName(get_rel_name(referencing), NameStr(*PG_GETARG_NAME(ReferencingColumn)), "fkey");

		namestrcpy(&rule.name, name);
	}
	else
		rule.name = *PG_GETARG_NAME(RuleName);
	if (NameStr(rule.name)[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("rule_name must not be empty"),
				 errhint("Leave it out for the default, <table>_<column>_fkey.")));
	return rule;
}

void
require_free_name(const Rule &rule)
{
	const char *name = NameStr(rule.name);

	if (!OidIsValid(get_trigger_oid(rule.referencing, name, true)) &&
		!OidIsValid(get_relation_constraint_oid(rule.referencing, name, true)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("constraint \"%s\" for relation \"%s\" already exists", name, get_rel_name(rule.referencing)),
			 errhint("Choose another rule_name, or drop the rule first with integrity.drop_reference().")));
}

/* A native FOREIGN KEY for a column that holds one id. */
char *
native_statement(const Rule &rule)
{
	StringInfoData sql;
	const char *on_delete = rule.options.on_delete == OnDelete::DeleteRow ? "CASCADE" :
		rule.options.on_delete == OnDelete::SetNull ? "SET NULL" :
		rule.options.on_delete == OnDelete::Restrict ? "RESTRICT" : "NO ACTION";
	const char *on_update = rule.options.on_update == OnUpdate::Cascade ? "CASCADE" :
		rule.options.on_update == OnUpdate::Restrict ? "RESTRICT" : "NO ACTION";

	initStringInfo(&sql);
	appendStringInfo(&sql, "ALTER TABLE %s ADD CONSTRAINT %s FOREIGN KEY (%s) REFERENCES %s (%s) ON DELETE %s ON UPDATE %s",
					 table_for_sql(rule.referencing, false), quote_identifier(NameStr(rule.name)),
					 quote_identifier(get_attname(rule.referencing, rule.column, false)),
					 table_for_sql(rule.referenced, false),
					 quote_identifier(get_attname(rule.referenced, rule.key, false)), on_delete, on_update);
	if (rule.deferrable)
		appendStringInfo(&sql, " DEFERRABLE INITIALLY %s", rule.initially_deferred ? "DEFERRED" : "IMMEDIATE");
	if (rule.options.not_valid)
		appendStringInfoString(&sql, " NOT VALID");
	return sql.data;
}

/*
 * The trigger that is the rule. It is made 'not valid' in any case; what was
 * asked for is checked, and then marked, afterwards.
 */
char *
trigger_statement(const Rule &rule)
{
	StringInfoData sql;
	const Options &options = rule.options;
	const char *column = quote_identifier(get_attname(rule.referencing, rule.column, false));
	bool		fires_on_update = rule.deferrable || !has_update_triggers();
	auto		add = [&](const char *option, const char *word)
	{
		appendStringInfo(&sql, "%s, ", quote_literal_cstr(psprintf("%s=%s", option, word)));
	};

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE %sTRIGGER %s AFTER INSERT%s ON %s ", rule.deferrable ? "CONSTRAINT " : "",
					 quote_identifier(NameStr(rule.name)), fires_on_update ? " OR UPDATE" : "",
					 table_for_sql(rule.referencing, false));
	if (rule.deferrable)
		appendStringInfo(&sql, "DEFERRABLE INITIALLY %s ", rule.initially_deferred ? "DEFERRED" : "IMMEDIATE");
	appendStringInfo(&sql, "FOR EACH ROW WHEN (integrity.refers(NEW.%s, (NULL::%s).%s)) EXECUTE FUNCTION integrity.check_reference(",
					 column, table_for_sql(rule.referenced, false),
					 quote_identifier(get_attname(rule.referenced, rule.key, false)));
	if (options.on_delete != OnDelete::NoAction)
		add("on_delete", word_of(options.on_delete));
	if (options.on_update != OnUpdate::NoAction)
		add("on_update", word_of(options.on_update));
	if (options.on_empty != OnEmpty::Keep)
		add("on_empty", word_of(options.on_empty));
	if (options.reject_nulls)
		add("null_elements", "reject");
	if (options.reject_duplicates)
		add("duplicate_elements", "reject");
	appendStringInfoString(&sql, "'not valid')");
	return sql.data;
}

/* An action that changes rows must find them; without an index it reads the table. */
void
advise_index(const Rule &rule)
{
	const Options &options = rule.options;
	bool		changes = options.on_update == OnUpdate::Cascade ||
		(options.on_delete != OnDelete::NoAction && options.on_delete != OnDelete::Restrict);

	if (changes && rule.is_array && !has_gin_index(rule))
		ereport(NOTICE,
				(errmsg("no GIN index on column \"%s\" of table \"%s\" for the actions of rule \"%s\"",
						get_attname(rule.referencing, rule.column, false), get_rel_name(rule.referencing),
						NameStr(rule.name)),
				 errdetail("Every delete or change of a referenced key will read the whole table."),
				 errhint("%s", gin_index_statement(rule))));
}

/* Creates the trigger and does what belongs to it. */
void
declare_by_trigger(Rule *rule)
{
	Problem		problem = {};
	bool		enforced = rule->enabled != TRIGGER_DISABLED;
	bool		check = enforced && !rule->options.not_valid;

	if (!resolve_rule(rule, &problem))
		raise(problem);
	run_ddl(trigger_statement(*rule));
	rule->trigger = get_trigger_oid(rule->referencing, NameStr(rule->name), false);
	complete_rule(rule->trigger);
	if (check)
	{
		check_existing_rows(*rule);
		mark_valid(rule->trigger);
	}
	if (!enforced)
		run_ddl(psprintf("ALTER TABLE %s DISABLE TRIGGER %s", table_for_sql(rule->referencing, false),
						 quote_identifier(NameStr(rule->name))));
	advise_index(*rule);
}

/* The trigger of a rule that was declared, or invalid for a native key; raises if there is no such rule. */
Oid
find_rule(Oid table, const NameData &name)
{
	Oid			check_function = function_oid("check_reference");
	Oid			trigger = InvalidOid;
	bool		is_clone = false;

	for_each_trigger(table, [&](HeapTuple tuple, TupleDesc)
	{
		Form_pg_trigger form = trigger_form(tuple);

		if (form->tgfoid != check_function || namestrcmp(&form->tgname, NameStr(name)) != 0)
			return;
		trigger = form->oid;
		is_clone = OidIsValid(form->tgparentid);
	});
	if (is_clone)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("rule \"%s\" of table \"%s\" is inherited from a partitioned table", NameStr(name), get_rel_name(table)),
				 errhint("Name the table that the rule was declared on.")));
	Oid			constraint = get_relation_constraint_oid(table, NameStr(name), true);
	bool		is_foreign_key = false;

	if (OidIsValid(constraint))
	{
		HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));

		is_foreign_key = HeapTupleIsValid(tuple) &&
			reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple))->contype == CONSTRAINT_FOREIGN;
		if (HeapTupleIsValid(tuple))
			ReleaseSysCache(tuple);
	}
	if (OidIsValid(trigger) && is_foreign_key)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_ALIAS),
				 errmsg("rule name \"%s\" of table \"%s\" is ambiguous: a trigger and a foreign key have it", NameStr(name),
						get_rel_name(table)),
				 errhint("Rename one of them: ALTER TABLE %s RENAME CONSTRAINT %s TO ...", table_for_sql(table, false),
						 quote_identifier(NameStr(name)))));
	if (OidIsValid(trigger) || is_foreign_key)
		return trigger;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("rule \"%s\" for table \"%s\" does not exist", NameStr(name), get_rel_name(table)),
			 errhint("The view integrity.reference lists the rules.")));
	pg_unreachable();
}

void
require_not_null(FunctionCallInfo fcinfo, std::initializer_list<const char *> names)
{
	int			i = 0;

	for (const char *name : names)
		if (PG_ARGISNULL(i++))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", name),
					 errhint("Name a table and, where it is asked for, a rule.")));
}

/* The (referencing_table, rule_name) arguments of a function, whose caller owns the table. */
struct NamedRule
{
	Oid			table;
	NameData	name;
	Oid			trigger;		/* invalid for a native foreign key */
};

NamedRule
read_named_rule(FunctionCallInfo fcinfo, LOCKMODE lock)
{
	NamedRule	named;

	require_not_null(fcinfo, {"referencing_table", "rule_name"});
	named.table = PG_GETARG_OID(0);
	named.name = *PG_GETARG_NAME(1);
	require_owner(named.table, owner_hint);
	LockRelationOid(named.table, lock);
	named.trigger = find_rule(named.table, named.name);
	return named;
}

/* ALTER TABLE with a native foreign key. */
void
alter_native(const NamedRule &named, const char *action)
{
	run_ddl(psprintf("ALTER TABLE %s %s %s", table_for_sql(named.table, false), action,
					 quote_identifier(NameStr(named.name))));
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_add_reference);
PG_FUNCTION_INFO_V1(integrity_validate_reference);
PG_FUNCTION_INFO_V1(integrity_drop_reference);
PG_FUNCTION_INFO_V1(integrity_add_guards);

PGDLLEXPORT Datum
integrity_add_reference(PG_FUNCTION_ARGS)
{
	require_arguments(fcinfo);
	require_owner(PG_GETARG_OID(ReferencingTable), owner_hint);

	Rule		rule = read_request(fcinfo);
	Problem		problem = {};

	require_references(rule, GetUserId());
	LockRelationOid(rule.referencing, ShareRowExclusiveLock);
	LockRelationOid(rule.referenced, ShareRowExclusiveLock);
	require_free_name(rule);

	/* Refuse what can be refused before anything is made. */
	if (!resolve_rule(&rule, &problem))
		raise(problem);
	if (!rule.is_array && rule.enabled != TRIGGER_DISABLED)
		run_ddl(native_statement(rule));
	else
		declare_by_trigger(&rule);

	auto	   *name = static_cast<Name>(palloc(sizeof(NameData)));

	*name = rule.name;
	PG_RETURN_NAME(name);
}

PGDLLEXPORT Datum
integrity_validate_reference(PG_FUNCTION_ARGS)
{
	/* The locks of VALIDATE CONSTRAINT: writers may go on on both sides. */
	NamedRule	named = read_named_rule(fcinfo, ShareUpdateExclusiveLock);

	if (!OidIsValid(named.trigger))
	{
		alter_native(named, "VALIDATE CONSTRAINT");
		PG_RETURN_VOID();
	}

	/* The copies on partitions are changed as well, and somebody may just be disabling one. */
	find_all_inheritors(named.table, ShareUpdateExclusiveLock, nullptr);

	const Rule *rule = fetch_rule(named.trigger);

	if (!rule_is_enforced(rule->enabled))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot validate rule \"%s\" of table \"%s\": it is not enforced", NameStr(named.name),
						get_rel_name(named.table)),
				 errhint("ALTER TABLE %s ENABLE TRIGGER %s;", table_for_sql(named.table, false),
						 quote_identifier(NameStr(named.name)))));
	if (rule->options.not_valid)
		validate_rule(*rule);
	PG_RETURN_VOID();
}

PGDLLEXPORT Datum
integrity_drop_reference(PG_FUNCTION_ARGS)
{
	NamedRule	named = read_named_rule(fcinfo, AccessExclusiveLock);
	Rule		rule;
	Problem		problem = {};

	if (!OidIsValid(named.trigger))
	{
		alter_native(named, "DROP CONSTRAINT");
		PG_RETURN_VOID();
	}

	/* One that cannot be carried out, or not even be read, can still be dropped. */
	load_rule(named.trigger, &rule, &problem);

	/* Somebody may be declaring another rule just now, and count on the guards that are there. */
	if (OidIsValid(rule.referenced))
		LockRelationOid(rule.referenced, AccessExclusiveLock);
	run_ddl(psprintf("DROP TRIGGER %s ON %s", quote_identifier(NameStr(named.name)), table_for_sql(named.table, false)));
	if (OidIsValid(rule.referenced))
		drop_unneeded_guards(rule.referenced);
	PG_RETURN_VOID();
}

PGDLLEXPORT Datum
integrity_add_guards(PG_FUNCTION_ARGS)
{
	require_not_null(fcinfo, {"referenced_table"});

	Oid			table = PG_GETARG_OID(0);

	require_owner(table, "Only the owner of a table can make its guards.");
	if (get_rel_relkind(table) != RELKIND_RELATION && get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", get_rel_name(table)),
				 errhint("Name a table that is referenced, or that has rules.")));
	LockRelationOid(table, ShareRowExclusiveLock);
	require_not_in_use(table, "make the guards of");

	List	   *unguarded = unguarded_rules(table);

	drop_unneeded_guards(table); /* first: one of them may have the name of one that is missing */
	for (const Rule *rule : rules_referencing(table))
	{
		ensure_guards(*rule);
		if (!rule->problem && !depends_on_index(*rule))
			depend_on_index(*rule);
	}
	look_again_at(unguarded);
	drop_unneeded_update_triggers(table);
	ensure_update_triggers(table, InvalidOid, true);
	PG_RETURN_VOID();
}
}
