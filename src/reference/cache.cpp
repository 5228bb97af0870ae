/*
 * cache.cpp
 *	  The rules that this backend has read, by trigger and by referenced table.
 *
 * Invariants:
 *  - A rule is trusted only while no relcache invalidation has come for one of
 *	  its tables since it was read. Which rules reference a table is asked again
 *	  after an invalidation of any table at all: a rule may appear on a table we
 *	  have never heard of. If they are the same, what was read of them is kept:
 *	  memory that is replaced stays to the end of the transaction, and elsewhere
 *	  temporary tables may come and go all day.
 *  - A Rule that was handed out stays in memory to the end of the transaction.
 *	  One that is replaced is retired, and freed when the transaction ends: a
 *	  trigger further down the stack may still be using it.
 *  - Building an entry can itself process invalidations; it then counts as
 *	  stale at once, and whoever holds the proper locks simply fetches again.
 */
#include "catalog.h"

namespace integrity
{
namespace
{

struct RuleEntry
{
	Oid			trigger;		/* hash key */
	bool		valid;
	Rule	   *rule;			/* in "memory"; null until first read */
	MemoryContext memory;
};

struct ReferencedEntry
{
	Oid			referenced;		/* hash key */
	uint64		generation;		/* of the catalog when its rules were looked for */
	bool		stale;			/* an invalidation has come for a table of one of the rules */
	List	   *triggers;		/* in "memory"; of the rules, in their order */
	const Rule **rules;			/* in "memory" */
	int			count;
	MemoryContext memory;
};

static_assert(Plain<RuleEntry> && Plain<ReferencedEntry>);

HTAB	   *rules;				/* RuleEntry; null before first use */
HTAB	   *referenced_tables;	/* ReferencedEntry */
MemoryContext cache_memory;
List	   *retired;			/* MemoryContexts, freed at transaction end */
uint64		generation;			/* moves with every relcache invalidation */

void
on_relcache_invalidation(Datum, Oid relid)
{
	HASH_SEQ_STATUS status;

	generation++;
	hash_seq_init(&status, rules);
	while (auto *entry = static_cast<RuleEntry *>(hash_seq_search(&status)))
		if (entry->rule && (relid == InvalidOid || entry->rule->referencing == relid || entry->rule->referenced == relid))
			entry->valid = false;

	hash_seq_init(&status, referenced_tables);
	while (auto *entry = static_cast<ReferencedEntry *>(hash_seq_search(&status)))
		for (int i = 0; i < entry->count; i++)
			if (relid == InvalidOid || entry->rules[i]->referencing == relid || entry->rules[i]->referenced == relid)
				entry->stale = true;
}

void
on_transaction_end(XactEvent event, void *)
{
	ListCell   *cell;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	foreach(cell, retired)
		MemoryContextDelete(static_cast<MemoryContext>(lfirst(cell)));
	list_free(retired);
	retired = NIL;
}

void
initialize()
{
	HASHCTL		control = {};

	if (referenced_tables)
		return;
	cache_memory = AllocSetContextCreate(TopMemoryContext, "integrity rules", ALLOCSET_DEFAULT_SIZES);
	control.keysize = sizeof(Oid);
	control.hcxt = cache_memory;
	control.entrysize = sizeof(RuleEntry);
	rules = hash_create("integrity rules", 32, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	control.entrysize = sizeof(ReferencedEntry);
	HTAB	   *tables = hash_create("integrity referenced tables", 32, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	RegisterXactCallback(on_transaction_end, nullptr);
	referenced_tables = tables; /* marks the whole as done; what follows needs it, and no memory */
	CacheRegisterRelcacheCallback(on_relcache_invalidation, 0);
}

/* Keeps replaced memory until nobody can be looking at it any more. */
void
retire(MemoryContext memory)
{
	if (memory == nullptr)
		return;

	MemoryContext saved = MemoryContextSwitchTo(cache_memory);

	retired = lappend(retired, memory);
	MemoryContextSwitchTo(saved);
}

} /* namespace */

/* Reads one rule by its trigger, uncached; what fails is told as a Problem. */
bool
load_rule(Oid trigger, Rule *rule, Problem *problem)
{
	bool		parsed = false;

	memset(static_cast<void *>(rule), 0, sizeof(*rule));

	bool		found = with_trigger_row(trigger, [&](HeapTuple tuple, TupleDesc desc)
	{
		parsed = read_rule(tuple, desc, rule, problem);
	});

	if (!found)
		return refuse(problem, ERRCODE_UNDEFINED_OBJECT, "the rule was dropped meanwhile", nullptr, nullptr);
	return parsed && resolve_rule(rule, problem);
}

/*
 * The rule of this trigger; raises what is wrong with it.
 */
const Rule *
fetch_rule(Oid trigger)
{
	initialize();

	bool		found;
	auto	   *entry = static_cast<RuleEntry *>(hash_search(rules, &trigger, HASH_ENTER, &found));

	if (!found)
	{
		entry->valid = false;
		entry->rule = nullptr;
		entry->memory = nullptr;
	}
	if (entry->valid)
		return entry->rule;

	Problem		problem = {};
	uint64		started = generation;
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "integrity rule", ALLOCSET_SMALL_SIZES);
	MemoryContext saved = MemoryContextSwitchTo(memory);
	Rule	   *rule = static_cast<Rule *>(palloc0(sizeof(Rule)));

	if (!load_rule(trigger, rule, &problem))
		raise(problem);
	MemoryContextSwitchTo(saved);

	/* The load may have made entries of its own in the same hash table. */
	entry = static_cast<RuleEntry *>(hash_search(rules, &trigger, HASH_ENTER, &found));
	retire(found ? entry->memory : nullptr);
	MemoryContextSetParent(memory, cache_memory);
	entry->rule = rule;
	entry->memory = memory;
	entry->valid = generation == started;
	return rule;
}

bool
rule_is_current(const Rule *rule)
{
	auto	   *entry = static_cast<RuleEntry *>(hash_search(rules, &rule->trigger, HASH_FIND, nullptr));

	return entry && entry->valid && entry->rule == rule;
}

uint64
rule_generation()
{
	initialize();
	return generation;
}

namespace
{

/* The rule triggers that depend on a column of this table. */
List *
triggers_naming(Oid referenced)
{
	Relation	pg_depend = table_open(DependRelationId, AccessShareLock);
	Oid			check_function = function_oid("check_reference");
	List	   *triggers = NIL;
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(referenced));
	SysScanDesc scan = systable_beginscan(pg_depend, DependReferenceIndexId, true, nullptr, 2, keys);

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		auto	   *form = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));

		if (form->classid == TriggerRelationId && form->refobjsubid > 0)
			triggers = list_append_unique_oid(triggers, form->objid);
	}
	systable_endscan(scan);
	table_close(pg_depend, AccessShareLock);

	/* Other triggers may mention our columns too: keep only declared rules. */
	ListCell   *cell;

	foreach(cell, triggers)
	{
		bool		is_rule = false;

		with_trigger_row(lfirst_oid(cell), [&](HeapTuple tuple, TupleDesc)
		{
			auto	   *form = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));

			is_rule = form->tgfoid == check_function && !OidIsValid(form->tgparentid);
		});
		if (!is_rule)
			triggers = foreach_delete_current(triggers, cell);
	}
	list_sort(triggers, list_oid_cmp);
	return triggers;
}

} /* namespace */

/*
 * All declared rules that reference this table, a partition's clones left out,
 * enforced or not, in the order of their OIDs.
 */
std::span<const Rule *const>
rules_referencing(Oid referenced)
{
	initialize();

	bool		found;
	auto	   *entry = static_cast<ReferencedEntry *>(hash_search(referenced_tables, &referenced, HASH_ENTER, &found));

	if (!found)
	{
		entry->stale = true;
		entry->triggers = NIL;
		entry->rules = nullptr;
		entry->count = 0;
		entry->memory = nullptr;
	}
	else if (entry->memory && entry->generation == generation)
		return {entry->rules, static_cast<size_t>(entry->count)};

	uint64		started = generation;
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "integrity references", ALLOCSET_SMALL_SIZES);
	MemoryContext saved = MemoryContextSwitchTo(memory);
	List	   *triggers = triggers_naming(referenced);

	entry = static_cast<ReferencedEntry *>(hash_search(referenced_tables, &referenced, HASH_ENTER, &found));
	if (!entry->stale && equal(entry->triggers, triggers))
	{
		MemoryContextSwitchTo(saved);
		MemoryContextDelete(memory);
		entry->generation = started;
		return {entry->rules, static_cast<size_t>(entry->count)};
	}

	auto	  **list = static_cast<const Rule **>(palloc(sizeof(Rule *) * (list_length(triggers) + 1)));
	int			count = 0;
	bool		sound = true;
	ListCell   *cell;

	foreach(cell, triggers)
	{
		Rule	   *rule = static_cast<Rule *>(palloc0(sizeof(Rule)));
		Problem		problem = {};

		/*
		 * A rule that can be read but not carried out, because its unique
		 * index was dropped perhaps, must stay in the list with its problem:
		 * to forget it would let its references break.
		 */
		if (!load_rule(lfirst_oid(cell), rule, &problem))
		{
			rule->problem = problem;
			sound = false;
		}
		if (rule->referenced == referenced)
			list[count++] = rule;
	}
	MemoryContextSwitchTo(saved);

	entry = static_cast<ReferencedEntry *>(hash_search(referenced_tables, &referenced, HASH_ENTER, &found));
	retire(found ? entry->memory : nullptr);
	MemoryContextSetParent(memory, cache_memory);
	/* What came while we were reading may concern what we have read; and what mends a problem, nobody tells. */
	entry->stale = generation != started || !sound;
	entry->triggers = triggers;
	entry->rules = list;
	entry->count = count;
	entry->memory = memory;
	entry->generation = started;
	return {list, static_cast<size_t>(count)};
}

} /* namespace integrity */
