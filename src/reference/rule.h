/*
 * rule.h
 *	  One declared reference, read from the trigger that is the rule.
 *
 * A rule has no table of its own. Its trigger holds everything:
 *
 *	  CREATE TRIGGER name AFTER INSERT ON referencing FOR EACH ROW
 *	  WHEN (integrity.refers(NEW.column, (NULL::referenced).key))
 *	  EXECUTE FUNCTION integrity.check_reference('on_delete=...', ...)
 *
 * so renames follow and dependencies hold. UPDATEs it leaves to its update
 * trigger (updates.h), or fires on them itself, which costs more and is what a
 * deferrable rule does. Anyone may write such a trigger by
 * hand: nothing found in one is trusted before it was checked.
 */
#pragma once

#include "../pg.h"
#include "compare.h"
#include "problem.h"

namespace integrity
{

enum class OnDelete : uint8
{
	NoAction,
	Restrict,
	RemoveElement,
	NullElement,
	DeleteRow,
	SetNull
};

enum class OnUpdate : uint8
{
	NoAction,
	Restrict,
	Cascade
};

enum class OnEmpty : uint8
{
	Keep,
	SetNull,
	DeleteRow
};

/* What the arguments of the trigger say. */
struct Options
{
	OnDelete	on_delete;
	OnUpdate	on_update;
	OnEmpty		on_empty;
	bool		reject_nulls;
	bool		reject_duplicates;
	bool		not_valid;
};

/* Most rules refuse nothing but a reference without its key. */
inline bool
rejects_elements(const Options &options)
{
	return options.reject_nulls || options.reject_duplicates;
}

struct Rule
{
	/* From pg_trigger. */
	Oid			trigger;		/* hash key */
	NameData	name;
	Oid			referencing;
	Oid			parent;			/* of a partition's clone, else invalid */
	char		enabled;		/* pg_trigger.tgenabled */
	bool		deferrable;
	bool		initially_deferred;
	bool		fires_on_update;	/* itself; else integrity.check_update() stands for it */

	/* From WHEN and the arguments. */
	AttrNumber	column;
	Oid			referenced;
	AttrNumber	key;
	Options		options;

	/* Found by resolve_rule(); while "problem" is set, none of it can be relied on. */
	Problem		problem;
	bool		is_array;
	Oid			declared_element_type;	/* of one element, or of the scalar column; may be a domain */
	Oid			element_type;	/* its base type */
	Oid			key_type;		/* base type of the key */
	Oid			index;			/* the key's unique index */
	mutable Comparison compare; /* mutable: its FmgrInfos cache in it */
};

static_assert(Plain<Rule>);

/* words.cpp: the vocabulary of the arguments. */
bool		parse_option(const char *word, Options *options, Problem *problem);
bool		parse_arguments(std::string_view arguments, int count, Options *options, Problem *problem);
bool		check_options(const Options &options, bool is_array, Problem *problem);
const char *word_of(OnDelete action);
const char *word_of(OnUpdate action);
const char *word_of(OnEmpty action);

/* rule.cpp: from a trigger to a Rule. */
Oid			schema_oid();
Oid			function_oid(const char *name);
bool		read_rule(HeapTuple trigger, TupleDesc pg_trigger_desc, Rule *rule, Problem *problem);
bool		read_target(Node *target, Oid *referenced, AttrNumber *key);
bool		rule_fires(char tgenabled);
bool		rule_fires_with(char tgenabled, char fired);
bool		rule_is_enforced(char tgenabled);

/* resolve.cpp: types, operators and the index of a rule. */
bool		resolve_rule(Rule *rule, Problem *problem);
bool		resolve_column(Rule *rule, Problem *problem);
bool		check_tables(const Rule &rule, Problem *problem);
bool		has_references_privilege(const Rule &rule, Oid role);
char	   *references_grant_hint(const Rule &rule);
Oid			table_owner(Oid table);

/*
 * cache.cpp: rules of this backend.
 *
 * A Rule stays in memory until the end of the transaction that fetched it,
 * also when it is invalidated meanwhile. rule_is_current() says whether it
 * still tells the truth; that is certain only once the caller holds a lock
 * on both tables.
 */
bool		load_rule(Oid trigger, Rule *rule, Problem *problem);
const Rule *fetch_rule(Oid trigger);
bool		rule_is_current(const Rule *rule);
uint64		rule_generation();
std::span<const Rule *const> rules_referencing(Oid referenced);

} /* namespace integrity */
