/*
 * restore.cpp
 *	  Writes rows back whose references are broken.
 *
 * What a repair took away was broken, so every check would refuse it. Hence
 * undo() writes rows with the checks of rules and foreign keys switched off,
 * and has each row checked by hand when all are there: by the same functions
 * that the triggers call, so with the same locks and snapshots, except for the
 * values that are on record as broken before. Nothing else can slip in. And rows that
 * return together may refer to each other, in a circle even.
 *
 * The checks are off for one statement and the rows that it writes itself: the
 * executor works with its own copy of a table's triggers, and that copy is
 * changed. DISABLE TRIGGER would hold for whatever triggers of users do
 * meanwhile, too, and lock out writers.
 *
 * The same way the statements are kept from spreading. Undo takes away rows that
 * an earlier undo had brought back, and gives rows the keys again that they had.
 * Rows that refer to what goes with that are not its to change, but for those
 * that the run has changed, too, and these it puts back itself. So every action
 * becomes NO ACTION: on delete at the end of the statement; on update by hand
 * with the other checks, when the referring rows of the same undo have followed.
 */
#include "image.h"
#include "owner.h"
#include "../reference/catalog.h"
#include "../reference/check.h"
#include "../reference/guarded.h"
#include "../reference/trigger.h"

namespace integrity
{
namespace
{

/* The statement that is about to start; no command if none is. */
struct Awaited
{
	Oid			table;
	const char *command;
};

Awaited		awaited;
ExecutorStart_hook_type next_start_hook;

struct Functions
{
	Oid			check;
	Oid			check_update;
	Oid			guard_delete;
	Oid			guard_update;
	Oid			guard_deferred;
	Oid			refuse_delete;
};

Functions
look_up_functions()
{
	return {function_oid("check_reference"), function_oid("check_update"), function_oid("guard_delete"), function_oid("guard_update"),
		function_oid("guard_deferred"), function_oid("refuse_delete")};
}

/* The triggers by which a native foreign key answers for an UPDATE of the referenced table. */
bool
is_update_action(Oid function)
{
	switch (function)
	{
		case F_RI_FKEY_CASCADE_UPD:
		case F_RI_FKEY_SETNULL_UPD:
		case F_RI_FKEY_SETDEFAULT_UPD:
		case F_RI_FKEY_RESTRICT_UPD:
		case F_RI_FKEY_NOACTION_UPD:
			return true;
		default:
			return false;
	}
}

void
adapt_trigger(Trigger *trigger, const Functions &functions)
{
	switch (trigger->tgfoid)
	{
		case F_RI_FKEY_CHECK_INS:
		case F_RI_FKEY_CHECK_UPD:
			trigger->tgenabled = TRIGGER_DISABLED;
			return;
		case F_RI_FKEY_CASCADE_DEL:
		case F_RI_FKEY_SETNULL_DEL:
		case F_RI_FKEY_SETDEFAULT_DEL:
		case F_RI_FKEY_RESTRICT_DEL:
			trigger->tgfoid = F_RI_FKEY_NOACTION_DEL;
			break;
		case F_RI_FKEY_NOACTION_DEL:
			break;
		default:
			if (trigger->tgfoid == functions.check || trigger->tgfoid == functions.check_update ||
				trigger->tgfoid == functions.guard_update || is_update_action(trigger->tgfoid))
			{
				trigger->tgenabled = TRIGGER_DISABLED;
				return;
			}
			if (trigger->tgfoid == functions.guard_delete)
				trigger->tgfoid = functions.refuse_delete;
			else if (trigger->tgfoid == functions.guard_deferred)
				trigger->tgtype &= ~TRIGGER_TYPE_UPDATE;
	}

	/*
	 * What is in the way is to be known at once, row by row, not at commit: that
	 * goes for unique and exclusion constraints and for triggers of users, too.
	 */
	trigger->tgdeferrable = false;
	trigger->tginitdeferred = false;
}

void
adapt_triggers(EState *estate, Oid table)
{
	Functions	functions = look_up_functions();
	ListCell   *cell;

	foreach(cell, estate->es_opened_result_relations)
	{
		auto	   *result = static_cast<ResultRelInfo *>(lfirst(cell));

		if (RelationGetRelid(result->ri_RelationDesc) != table || result->ri_TrigDesc == nullptr)
			continue;
		for (int i = 0; i < result->ri_TrigDesc->numtriggers; i++)
			adapt_trigger(&result->ri_TrigDesc->triggers[i], functions);
	}
}

/*
 * Knows the awaited statement by its text, and takes the first that has it:
 * what the triggers of that statement run comes later.
 */
void
start_executor(QueryDesc *query, int flags)
{
	Oid			table = awaited.table;
	bool		ours = awaited.command && query->sourceText && strcmp(query->sourceText, awaited.command) == 0;

	if (ours)
		awaited = {};
	if (next_start_hook)
		next_start_hook(query, flags);
	else
		standard_ExecutorStart(query, flags);
	if (ours)
		adapt_triggers(query->estate, table);
}

/* ---------------------------------------------------------------- checks by hand */

/* The references of a row that were broken before: rule name to their labels. */
struct Known
{
	Jsonb	   *broken;			/* may be null */
	const char *rule;
	Oid			output;			/* the output function of an element */
};

static_assert(Plain<Known> && Plain<Awaited> && Plain<Functions>);

bool
is_known(const Known &known, const char *text)
{
	JsonbValue	list;

	if (known.broken == nullptr || !JB_ROOT_IS_OBJECT(known.broken) ||
		getKeyJsonValueFromContainer(&known.broken->root, known.rule, static_cast<int>(strlen(known.rule)), &list) == nullptr ||
		list.type != jbvBinary || !JsonContainerIsArray(list.val.binary.data))
		return false;

	for (uint32 i = 0; i < JsonContainerSize(list.val.binary.data); i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(list.val.binary.data, i);

		if (value->type == jbvString && static_cast<size_t>(value->val.string.len) == strlen(text) &&
			memcmp(value->val.string.val, text, strlen(text)) == 0)
			return true;
	}
	return false;
}

bool
allows_element(const void *context, Datum element)
{
	const auto *known = static_cast<const Known *>(context);

	return is_known(*known, OidOutputFunctionCall(known->output, element));
}

void
check_rule(Relation rel, const Trigger &trigger, TupleTableSlot *now, TupleTableSlot *before, Jsonb *broken)
{
	const Rule *rule = fetch_rule(trigger.tgoid);
	Known		known = {broken, NameStr(rule->name), InvalidOid};
	bool		is_varlena;
	void	   *passed = nullptr;

	getTypeOutputInfo(rule->element_type, &known.output, &is_varlena);

	Tolerance	tolerance = {allows_element, &known};

	check_row(trigger.tgoid, rel, now, before, &tolerance, &passed);
}

/* On a partition a foreign key may have another name than on the table that it was declared on; a trigger has the same. */
char *
name_of_root_constraint(Oid constraint)
{
	for (;;)
	{
		HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for constraint %u", constraint);

		auto	   *form = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple));
		char	   *name = pstrdup(NameStr(form->conname));

		constraint = form->conparentid;
		ReleaseSysCache(tuple);
		if (!OidIsValid(constraint))
			return name;
	}
}

char *
text_of_column(TupleTableSlot *slot, AttrNumber attnum)
{
	Value		value = column_of(slot, attnum);
	Oid			output;
	bool		is_varlena;

	if (value.isnull)
		return nullptr;
	getTypeOutputInfo(TupleDescAttr(slot->tts_tupleDescriptor, attnum - 1)->atttypid, &output, &is_varlena);
	return OidOutputFunctionCall(output, value.datum);
}

/*
 * Calls the check of a native foreign key, as ALTER TABLE does for existing
 * rows. An UPDATE answers for it only if it changes the key.
 */
void
check_foreign_key(Relation rel, Trigger *trigger, const ForeignKeyCacheInfo &key, TupleTableSlot *now,
				  TupleTableSlot *before, Jsonb *broken)
{
	Known		known = {broken, name_of_root_constraint(key.conoid), InvalidOid};
	auto	  **texts = static_cast<const char **>(palloc(sizeof(char *) * static_cast<size_t>(key.nkeys)));
	bool		changed = before == nullptr;

	for (int i = 0; i < key.nkeys; i++)
	{
		const char *text = text_of_column(now, key.conkey[i]);
		const char *old = before ? text_of_column(before, key.conkey[i]) : nullptr;

		changed = changed || (text == nullptr) != (old == nullptr) || (text && strcmp(text, old) != 0);
		texts[i] = text;
	}
	if (!changed || is_known(known, label_of_reference({texts, static_cast<size_t>(key.nkeys)})))
		return;

	LOCAL_FCINFO(fcinfo, 0);
	TriggerData data = {};

	data.type = T_TriggerData;
	data.tg_event = TRIGGER_EVENT_INSERT | TRIGGER_EVENT_ROW;
	data.tg_relation = rel;
	data.tg_trigslot = now;
	data.tg_trigtuple = ExecFetchSlotHeapTuple(now, false, nullptr);
	data.tg_trigger = trigger;
	InitFunctionCallInfoData(*fcinfo, nullptr, 0, InvalidOid, reinterpret_cast<Node *>(&data), nullptr);
	RI_FKey_check_ins(fcinfo);
}

/*
 * NO ACTION for the rules of a referenced table, whatever they say: raises if a
 * key of the row is gone and still referenced. "now" is null for a row that is
 * gone.
 */
void
refuse_lost_keys(Relation rel, Scope scope, TupleTableSlot *before, TupleTableSlot *now)
{
	/* No trigger has fired: the rules that would fire in this session. */
	Guarded		guarded = collect_and_lock(rel, Event::Truncate, scope, TRIGGER_FIRES_ALWAYS);

	for (int i = 0; i < guarded.count; i++)
	{
		AttrNumber	column = guarded.rules[i].key;
		Layout		layout = layout_of_column(rel, column);
		Datum		key;
		Datum		new_key;

		if (!key_of(before, column, layout, &key) ||
			(now && key_of(now, column, layout, &new_key) && compare_images(key, new_key, layout) == 0))
			continue;
		require_working(*guarded.rules[i].rule);
		refuse_if_referenced(guarded.rules[i], rel, key, false);
	}
}

/* The same for a native foreign key: the check of ON UPDATE NO ACTION. */
void
refuse_lost_native_key(Relation rel, Trigger *trigger, TupleTableSlot *before, TupleTableSlot *now)
{
	if (!RI_FKey_pk_upd_check_required(trigger, rel, before, now))
		return;

	LOCAL_FCINFO(fcinfo, 0);
	TriggerData data = {};

	data.type = T_TriggerData;
	data.tg_event = TRIGGER_EVENT_UPDATE | TRIGGER_EVENT_ROW;
	data.tg_relation = rel;
	data.tg_trigslot = before;
	data.tg_trigtuple = ExecFetchSlotHeapTuple(before, false, nullptr);
	data.tg_newslot = now;
	data.tg_newtuple = now ? ExecFetchSlotHeapTuple(now, false, nullptr) : nullptr;
	data.tg_trigger = trigger;
	InitFunctionCallInfoData(*fcinfo, nullptr, 0, InvalidOid, reinterpret_cast<Node *>(&data), nullptr);
	RI_FKey_noaction_upd(fcinfo);
}

/* Raises if the row was updated, and a key that it had is gone and still referenced. */
void
check_keys(Relation rel, TupleTableSlot *before, TupleTableSlot *now)
{
	Functions	functions = look_up_functions();
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);
	bool		guarded = false;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		CHECK_FOR_INTERRUPTS();
		if (!rule_fires(trigger->tgenabled))
			continue;
		if (is_update_action(trigger->tgfoid))
			refuse_lost_native_key(rel, trigger, before, now);
		else if (trigger->tgfoid == functions.guard_update || trigger->tgfoid == functions.guard_deferred)
			guarded = true;
	}
	if (guarded)
		refuse_lost_keys(rel, Scope::All, before, now);
}

/* Every check that an INSERT of the row, or the UPDATE that made it, would have fired. */
void
check_references(Relation rel, TupleTableSlot *now, TupleTableSlot *before, Jsonb *broken)
{
	Oid			check = function_oid("check_reference");
	Oid			native = before ? F_RI_FKEY_CHECK_UPD : F_RI_FKEY_CHECK_INS;

	/* Copies: what is called here can make the relcache read its own anew. */
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);
	auto	   *keys = static_cast<List *>(copyObjectImpl(RelationGetFKeyList(rel)));

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];
		ListCell   *cell;

		CHECK_FOR_INTERRUPTS();
		if (!rule_fires(trigger->tgenabled))
			continue;
		if (trigger->tgfoid == check)
			check_rule(rel, *trigger, now, before, broken);
		else if (trigger->tgfoid == native)
			foreach(cell, keys)
			{
				auto	   *key = static_cast<ForeignKeyCacheInfo *>(lfirst(cell));

				if (key->conoid == trigger->tgconstraint)
					check_foreign_key(rel, trigger, *key, now, before, broken);
			}
	}
}

} /* namespace */
} /* namespace integrity */

using namespace integrity;

extern "C"
{
PGDLLEXPORT Datum integrity_execute_as_owner_in(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(integrity_write_unchecked);
PG_FUNCTION_INFO_V1(integrity_check_restored);
PG_FUNCTION_INFO_V1(integrity_refuse_delete);

/* write_unchecked(table, search_path, command, arguments ...): as execute_as_owner_in(), without checks. */
PGDLLEXPORT Datum
integrity_write_unchecked(PG_FUNCTION_ARGS)
{
	static bool hooked = false;
	Datum		result = {};

	if (!hooked)
	{
		next_start_hook = ExecutorStart_hook;
		ExecutorStart_hook = start_executor;
		hooked = true;
	}

	PG_TRY();
	{
		/* What is wrong with the arguments, that function says. */
		if (!PG_ARGISNULL(0) && !PG_ARGISNULL(2))
			awaited = {PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(2))};
		result = integrity_execute_as_owner_in(fcinfo);
		if (awaited.command)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the statement to write rows without checks was not seen to start: %s", awaited.command)));
	}
	PG_FINALLY();
	{
		awaited = {};
	}
	PG_END_TRY();
	return result;
}

/*
 * check_restored(table, tid, image of the row as it was, or null if it was not
 * there, broken): checks the row that write_unchecked() wrote, in its latest
 * version, and that nothing refers to a key that it has lost.
 */
PGDLLEXPORT Datum
integrity_check_restored(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("table and tid must not be null")));

	Relation	rel = open_table(PG_GETARG_OID(0), RowShareLock);
	TupleTableSlot *before = nullptr;
	Oid			saved_user;
	int			saved_context;

	require_owner(rel);
	if (rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table with rows of its own", RelationGetRelationName(rel))));
	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner, saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);

	int			settings = pin_settings();

	if (!PG_ARGISNULL(2))
	{
		Columns    *columns = nullptr;

		before = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
		ExecStoreHeapTuple(row_of_image(RelationGetDescr(rel), PG_GETARG_JSONB_P(2), {&columns, CurrentMemoryContext}),
						   before, false);
	}

	/* What this transaction has done up to here counts. */
	CommandCounterIncrement();

	TupleTableSlot *now = live_version(rel, *reinterpret_cast<ItemPointer>(PG_GETARG_POINTER(1)));

	/* A row that a trigger has deleted since has lost its key all the same. */
	if (before)
		check_keys(rel, before, now);
	if (now)
	{
		check_references(rel, now, before, PG_ARGISNULL(3) ? nullptr : PG_GETARG_JSONB_P(3));
		ExecDropSingleTupleTableSlot(now);
	}
	if (before)
		ExecDropSingleTupleTableSlot(before);
	AtEOXact_GUC(false, settings);
	SetUserIdAndSecContext(saved_user, saved_context);
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}

/* The guard of a referenced table for DELETE that refuses, whatever on_delete says; see adapt_trigger(). */
PGDLLEXPORT Datum
integrity_refuse_delete(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "refuse_delete");

	if (!TRIGGER_FIRED_AFTER(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BY_DELETE(data->tg_event))
		wrong_event(data, "refuse_delete", "AFTER DELETE FOR EACH ROW");

	refuse_lost_keys(data->tg_relation, scope_of(data), data->tg_trigslot, nullptr);
	return Datum{};
}
}
