/*
 * gin.cpp
 *	  GIN indexes on the arrays: is there one, and do its searches find all?
 */
#include "gin.h"
#include "action.h"

namespace integrity
{

int
search_gin_fully()
{
	if (GinFuzzySearchLimit == 0)
		return 0;

	int			level = NewGUCNestLevel();

	(void) set_config_option("gin_fuzzy_search_limit", "0", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
end_full_search(int level)
{
	/* As at a commit: what triggers have SET meanwhile stays. */
	if (level != 0)
		AtEOXact_GUC(true, level);
}

bool
has_gin_index(const Rule &rule)
{
	if (!rule.is_array || !keys_are_elements(rule))
		return false;

	Relation	rel = table_open(rule.referencing, AccessShareLock);
	List	   *indexes = RelationGetIndexList(rel);
	bool		found = false;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(tuple))
			continue;

		auto	   *form = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));

		if (form->indisvalid && pg::access_method_of(form->indexrelid) == GIN_AM_OID &&
			heap_attisnull(tuple, Anum_pg_index_indpred, nullptr))
			for (int i = 0; i < form->indnkeyatts; i++)
				if (form->indkey.values[i] == rule.column &&
					get_opclass_input_type(get_index_column_opclass(form->indexrelid, i + 1)) == ANYARRAYOID)
					found = true;
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	table_close(rel, AccessShareLock);
	return found;
}

const char *
gin_index_statement(const Rule &rule)
{
	return psprintf("CREATE INDEX ON %s USING gin (%s);", table_for_sql(rule.referencing, false),
					quote_identifier(get_attname(rule.referencing, rule.column, false)));
}

} /* namespace integrity */
