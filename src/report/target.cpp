/*
 * target.cpp
 *	  Reads what is declared, and decides whether the scan can look at it.
 *
 * The scan reads heap tables and single columns. All else is not refused here,
 * but left to a query.
 */
#include "leaves.h"
#include "target.h"

namespace integrity
{
namespace
{

/* A foreign key of one column, as a Rule. False: of several columns, or with a period. */
bool
read_foreign_key(Oid constraint, Rule *rule, Oid *equality)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	AttrNumber	columns[INDEX_MAX_KEYS];
	AttrNumber	keys[INDEX_MAX_KEYS];
	Oid			key_eq_column[INDEX_MAX_KEYS];
	Oid			key_eq_key[INDEX_MAX_KEYS];
	Oid			column_eq_column[INDEX_MAX_KEYS];
	AttrNumber	set_columns[INDEX_MAX_KEYS];
	int			count;
	int			set_count;

	if (!HeapTupleIsValid(tuple) || reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple))->contype != CONSTRAINT_FOREIGN)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the foreign key was dropped meanwhile")));

	auto		form = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple));

	DeconstructFkConstraintRow(tuple, &count, columns, keys, key_eq_column, key_eq_key, column_eq_column,
							   &set_count, set_columns);
	memset(static_cast<void *>(rule), 0, sizeof(*rule));
	rule->name = form->conname;
	rule->referencing = form->conrelid;
	rule->referenced = form->confrelid;
	rule->index = form->conindid;
	rule->column = columns[0];
	rule->key = keys[0];
	*equality = key_eq_column[0];
	ReleaseSysCache(tuple);
	return count == 1;
}

bool
is_heap(Oid table)
{
	Relation	rel = table_open(table, NoLock);
	bool		heap = rel->rd_rel->relkind == RELKIND_RELATION && rel->rd_tableam == GetHeapamTableAmRoutine();

	table_close(rel, NoLock);
	return heap;
}

bool
all_heap(List *tables)
{
	ListCell   *cell;
	bool		heap = true;

	foreach(cell, tables)
		heap = heap && is_heap(lfirst_oid(cell));
	return heap;
}

Oid
collation_of(Oid table, AttrNumber attnum)
{
	Oid			type;
	int32		typmod;
	Oid			collation;

	get_atttypetypmodcoll(table, attnum, &type, &typmod, &collation);
	return collation;
}

/* Types and operators, for tables that are locked. */
Readable
resolve_match(Target *target, Oid equality)
{
	Rule	   *rule = &target->rule;

	target->leaves = leaves_of(rule->referencing);
	target->key_leaves = leaves_of(rule->referenced);
	if (!all_heap(target->leaves) || !all_heap(target->key_leaves))
		return Readable::ByQuery;

	if (OidIsValid(target->constraint))
	{
		rule->declared_element_type = get_atttype(rule->referencing, rule->column);
		rule->element_type = getBaseType(rule->declared_element_type);
		rule->key_type = getBaseType(get_atttype(rule->referenced, rule->key));
	}

	Relation	index = index_open(rule->index, AccessShareLock);

	target->types = {rule->element_type, rule->key_type, collation_of(rule->referenced, rule->key),
		index->rd_opfamily[0], index->rd_opcintype[0]};
	index_close(index, NoLock);
	target->column = get_attname(rule->referencing, rule->column, false);
	if (!resolve_matcher(target->types, &target->matcher) ||
		(OidIsValid(equality) && equality != target->matcher.compare.key_eq_element))
		return Readable::ByQuery;
	return Readable::ByScan;
}

void
check_table_access(Oid table, AttrNumber column)
{
	Oid			role = GetUserId();
	Oid			schema = get_rel_namespace(table);

	/* As for a query that names the table. */
	if (pg::schema_aclcheck(schema, role, ACL_USAGE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, get_namespace_name(schema));
	if (pg_class_aclcheck(table, role, ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck(table, column, role, ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(table)), get_rel_name(table));

	/* A policy that hides rows would make a reference to a hidden key look broken, and a hidden reference not. */
	if (check_enable_rls(table, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("query would be affected by row-level security policy for table \"%s\"", get_rel_name(table))));
}

void
check_leaves(List *leaves, Snapshot snapshot)
{
	ListCell   *cell;

	foreach(cell, leaves)
	{
		Relation	leaf = table_open(lfirst_oid(cell), NoLock);

		check_not_rewritten(leaf, snapshot);
		table_close(leaf, NoLock);
	}
}

} /* namespace */

Readable
resolve_target(Oid trigger, Oid constraint, Target *target)
{
	Oid			equality = InvalidOid;
	Problem		problem = {};

	memset(static_cast<void *>(target), 0, sizeof(*target));
	target->trigger = trigger;
	target->constraint = constraint;

	/* Read once to know what to lock, and once more to be sure. */
	for (int round = 0; round < 2; round++)
	{
		if (OidIsValid(constraint))
		{
			if (!read_foreign_key(constraint, &target->rule, &equality))
				return Readable::ByQuery;
		}
		else if (!load_rule(trigger, &target->rule, &problem))
			raise(problem);
		leaves_of(target->rule.referencing);
		leaves_of(target->rule.referenced);
	}
	return resolve_match(target, equality);
}

Readable
resolve_target(const Rule &rule, Target *target)
{
	memset(static_cast<void *>(target), 0, sizeof(*target));
	target->trigger = rule.trigger;
	target->rule = rule;
	return resolve_match(target, InvalidOid);
}

void
check_target_access(const Target &target, Snapshot snapshot)
{
	check_table_access(target.rule.referencing, target.rule.column);
	check_table_access(target.rule.referenced, target.rule.key);
	check_leaves(target.leaves, snapshot);
	check_leaves(target.key_leaves, snapshot);
}

} /* namespace integrity */
