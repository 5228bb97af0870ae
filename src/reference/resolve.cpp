/*
 * resolve.cpp
 *	  Finds what a rule needs beyond its trigger: types, operators, the index.
 *
 * Most refusals are those of ALTER TABLE ADD FOREIGN KEY, with its wording and
 * SQLSTATE, plus a hint. Everything comes from the system caches, but the list
 * of indexes, for which the referenced table is opened for a moment.
 */
#include "rule.h"

namespace integrity
{
namespace
{

/* One row of pg_class and one of pg_attribute, copied out of their caches. */
struct Side
{
	FormData_pg_class table;
	FormData_pg_attribute column;
	Oid			base_type;
};

bool
read_table(Oid relid, Side *side, Problem *problem)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));

	memset(side, 0, sizeof(*side));

	if (!HeapTupleIsValid(tuple))
		return refuse(problem, ERRCODE_UNDEFINED_TABLE, psprintf("relation with OID %u does not exist", relid),
					  nullptr, "Name the table, for example 'public.student_profiles'.");
	memcpy(&side->table, GETSTRUCT(tuple), CLASS_TUPLE_SIZE);
	ReleaseSysCache(tuple);
	return true;
}

bool
read_side(Oid relid, AttrNumber attnum, Side *side, Problem *problem)
{
	if (!read_table(relid, side, problem))
		return false;

	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(attnum));
	if (!HeapTupleIsValid(tuple) || reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple))->attisdropped)
	{
		if (HeapTupleIsValid(tuple))
			ReleaseSysCache(tuple);
		return refuse(problem, ERRCODE_UNDEFINED_COLUMN,
					  psprintf("column %d of relation \"%s\" does not exist", attnum, NameStr(side->table.relname)),
					  nullptr, nullptr);
	}
	memcpy(&side->column, GETSTRUCT(tuple), ATTRIBUTE_FIXED_PART_SIZE);
	ReleaseSysCache(tuple);
	side->base_type = getBaseType(side->column.atttypid);
	return true;
}

bool
check_table(const Side &side, Oid relid, const char *role, Problem *problem)
{
	const char *name = NameStr(side.table.relname);

	if (side.table.relkind != RELKIND_RELATION && side.table.relkind != RELKIND_PARTITIONED_TABLE)
		return refuse(problem, ERRCODE_WRONG_OBJECT_TYPE, psprintf("%s relation \"%s\" is not a table", role, name),
					  side.table.relkind == RELKIND_VIEW ? "A view has no rows of its own to check or lock." :
					  side.table.relkind == RELKIND_FOREIGN_TABLE ? "Rows of a foreign table cannot be locked." : nullptr,
					  "References are possible between tables and partitioned tables.");
	if (IsCatalogRelationOid(relid))
		return refuse(problem, ERRCODE_INSUFFICIENT_PRIVILEGE,
					  psprintf("permission denied: \"%s\" is a system catalog", name), nullptr,
					  "References are possible between tables of your own.");
	if (pg::is_virtual_generated(const_cast<Form_pg_attribute>(&side.column)))
		return refuse(problem, ERRCODE_FEATURE_NOT_SUPPORTED,
					  psprintf("references on the virtual generated column \"%s\" are not supported",
							   NameStr(side.column.attname)),
					  nullptr, "Make it a STORED generated column.");
	return true;
}

/* The persistence rules of ATAddForeignKeyConstraint(). */
bool
check_persistence(const Side &from, const Side &to, Problem *problem)
{
	const char *message;

	switch (from.table.relpersistence)
	{
		case RELPERSISTENCE_PERMANENT:
			if (to.table.relpersistence == RELPERSISTENCE_PERMANENT)
				return true;
			message = "constraints on permanent tables may reference only permanent tables";
			break;
		case RELPERSISTENCE_UNLOGGED:
			if (to.table.relpersistence != RELPERSISTENCE_TEMP)
				return true;
			message = "constraints on unlogged tables may reference only permanent or unlogged tables";
			break;
		default:
			if (to.table.relpersistence != RELPERSISTENCE_TEMP)
				message = "constraints on temporary tables may reference only temporary tables";
			else if (from.table.relnamespace != to.table.relnamespace)
				message = "constraints on temporary tables must involve temporary tables of this session";
			else
				return true;
	}
	return refuse(problem, ERRCODE_INVALID_TABLE_DEFINITION, message,
				  psprintf("Table \"%s\" references table \"%s\".", NameStr(from.table.relname),
						   NameStr(to.table.relname)),
				  "Give both tables the same persistence.");
}

/* A stored generated column cannot be written by an action, as native. */
bool
check_generated(const Rule &rule, const Side &from, Problem *problem)
{
	const Options &options = rule.options;
	bool		writes = options.on_update == OnUpdate::Cascade || options.on_delete == OnDelete::RemoveElement ||
		options.on_delete == OnDelete::NullElement || options.on_delete == OnDelete::SetNull;

	if (from.column.attgenerated == '\0' || !writes)
		return true;
	return refuse(problem, ERRCODE_SYNTAX_ERROR,
				  psprintf("invalid action for a reference on the generated column \"%s\"",
						   NameStr(from.column.attname)),
				  "The action would have to change a column that PostgreSQL computes.",
				  "Use on_delete 'no action', 'restrict' or 'delete row', and on_update 'no action' or 'restrict'.");
}

/* Does an expression of this index mention the column? */
bool
expression_has(HeapTuple index, AttrNumber column)
{
	bool		isnull;
	Datum		expressions = SysCacheGetAttr(INDEXRELID, index, Anum_pg_index_indexprs, &isnull);
	Bitmapset  *columns = nullptr;

	pull_varattnos(static_cast<Node *>(stringToNode(TextDatumGetCString(expressions))), 1, &columns);
	return bms_is_member(column - FirstLowInvalidHeapAttributeNumber, columns);
}

/* Is the column one of several of this index? */
bool
is_one_of(Form_pg_index index, AttrNumber column)
{
	return std::find(index->indkey.values, index->indkey.values + index->indnkeyatts, column) !=
		index->indkey.values + index->indnkeyatts;
}

/* Which values this operator class takes for equal. */
Oid
equality_of(Oid opclass)
{
	return OidIsValid(opclass) ? get_opfamily_member(get_opclass_family(opclass), get_opclass_input_type(opclass),
													 get_opclass_input_type(opclass), BTEqualStrategyNumber) : InvalidOid;
}

/* Does the index take the same strings for equal as the column does? */
bool
has_collation_of(Oid index, const Side &to)
{
	Oid			type;
	int32		typmod;
	Oid			collation;

	get_atttypetypmodcoll(index, 1, &type, &typmod, &collation);
	return collation == to.column.attcollation ||
		(OidIsValid(collation) && OidIsValid(to.column.attcollation) &&
		 get_collation_isdeterministic(collation) && get_collation_isdeterministic(to.column.attcollation));
}

/*
 * The index that makes FOR KEY SHARE mean something: only a unique index whose
 * key columns are just this one, for all rows, makes an UPDATE of the column
 * conflict with the lock. There may be several, of which the primary key is
 * taken, or the oldest, as by PostgreSQL: one that was made for a while must not
 * get rules tied to it. One that takes other values for equal than the column
 * does finds keys that are none: it must not be used, and must not be in the
 * way of one that can be.
 *
 * One that is not valid is told as well, though it is refused: that of a
 * partitioned table is not valid before all its partitions have theirs.
 */
bool
find_unique_index(const Side &to, AttrNumber key, Oid referenced, Oid *index, Problem *problem)
{
	Relation	rel = table_open(referenced, AccessShareLock);
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;
	Oid			unfinished = InvalidOid;
	const char *unfit = nullptr;
	bool		deferrable = false;
	Oid			equality = equality_of(GetDefaultOpClass(to.base_type, BTREE_AM_OID));
	Oid			other_equality = InvalidOid;	/* an index that is refused for that, later */

	*index = InvalidOid;
	foreach(cell, indexes)
	{
		Oid			candidate = lfirst_oid(cell);
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(candidate));

		if (!HeapTupleIsValid(tuple))
			continue;

		auto	   *form = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
		bool		partial = !heap_attisnull(tuple, Anum_pg_index_indpred, nullptr);
		bool		expression = !heap_attisnull(tuple, Anum_pg_index_indexprs, nullptr);
		bool		ours = form->indisunique && form->indnkeyatts == 1 && form->indkey.values[0] == key;

		if (ours && partial)
			unfit = "A unique index on it covers only part of the rows.";
		else if (ours && !form->indisvalid)
		{
			unfit = "A unique index on it is not valid.";
			unfinished = candidate;
		}
		else if (ours && !form->indimmediate)
			deferrable = true;
		else if (ours && pg::access_method_of(candidate) == BTREE_AM_OID && !has_collation_of(candidate, to))
			unfit = "A unique index on it has another collation.";
		else if (ours && pg::access_method_of(candidate) == BTREE_AM_OID)
		{
			Oid		   &fit = equality_of(get_index_column_opclass(candidate, 1)) == equality ? *index : other_equality;

			if (!OidIsValid(fit) || form->indisprimary)
				fit = candidate;
		}
		else if (form->indisunique && expression && unfit == nullptr && expression_has(tuple, key))
			unfit = "A unique index on an expression does not protect the column.";
		else if (form->indisunique && unfit == nullptr && is_one_of(form, key))
			unfit = "A unique index with more columns does not make this one unique.";
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	table_close(rel, AccessShareLock);

	if (!OidIsValid(*index))
		*index = other_equality;
	if (OidIsValid(*index))
		return true;
	*index = unfinished;
	if (deferrable)
		return refuse(problem, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					  psprintf("cannot use a deferrable unique constraint for referenced table \"%s\"",
							   NameStr(to.table.relname)),
					  nullptr, "Make the constraint NOT DEFERRABLE, or create a unique index on the column.");
	return refuse(problem, ERRCODE_INVALID_FOREIGN_KEY,
				  psprintf("there is no unique constraint matching given keys for referenced table \"%s\"",
						   NameStr(to.table.relname)),
				  unfit,
				  psprintf("Create one: ALTER TABLE %s ADD UNIQUE (%s);",
						   quote_qualified_identifier(get_namespace_name(to.table.relnamespace),
													  NameStr(to.table.relname)),
						   quote_identifier(NameStr(to.column.attname))));
}

/* Two nondeterministic collations would disagree about what is equal. */
bool
check_collations(const Side &from, const Side &to, Problem *problem)
{
	Oid			from_collation = from.column.attcollation;
	Oid			to_collation = to.column.attcollation;

	if (from_collation == to_collation || !OidIsValid(from_collation) || !OidIsValid(to_collation) ||
		(get_collation_isdeterministic(from_collation) && get_collation_isdeterministic(to_collation)))
		return true;
	return refuse(problem, ERRCODE_COLLATION_MISMATCH,
				  psprintf("columns \"%s\" and \"%s\" have different collations, and one is nondeterministic",
						   NameStr(from.column.attname), NameStr(to.column.attname)),
				  "They do not agree about which values are equal.",
				  psprintf("Give both columns the same collation, \"%s\" or \"%s\".",
						   get_collation_name(from_collation), get_collation_name(to_collation)));
}

bool
resolve_operators(Rule *rule, const Side &from, const Side &to, Problem *problem)
{
	Oid			opclass = get_index_column_opclass(rule->index, 1);
	Oid			opfamily = get_opclass_family(opclass);
	Oid			opcintype = get_opclass_input_type(opclass);
	Comparison	by_default;

	if (!resolve_comparison(rule->element_type, rule->key_type, to.column.attcollation, opfamily, opcintype,
							&rule->compare))
		return refuse(problem, ERRCODE_DATATYPE_MISMATCH,
					  psprintf("foreign key constraint \"%s\" cannot be implemented", NameStr(rule->name)),
					  psprintf("Key columns \"%s\" and \"%s\" are of incompatible types: %s and %s.",
							   NameStr(from.column.attname), NameStr(to.column.attname),
							   format_type_be(from.column.atttypid), format_type_be(to.column.atttypid)),
					  psprintf("Give %s\"%s\" the type %s.", rule->is_array ? "the elements of " : "",
							   NameStr(from.column.attname), format_type_be(to.column.atttypid)));

	/* The actions compare in SQL functions, which know the types but no index. */
	if (!resolve_default_comparison(rule->element_type, rule->key_type, to.column.attcollation, &by_default) ||
		by_default.key_eq_element != rule->compare.key_eq_element)
		return refuse(problem, ERRCODE_FEATURE_NOT_SUPPORTED,
					  psprintf("the unique index of column \"%s\" compares with an operator class that is not the default",
							   NameStr(to.column.attname)),
					  nullptr, "Create a unique index with the type's default operator class.");
	return true;
}

} /* namespace */

/*
 * Resolves the column: is it an array, and of what? Enough to tell an array
 * reference from a scalar one before a key is known.
 */
bool
resolve_column(Rule *rule, Problem *problem)
{
	Side		from;

	if (!read_side(rule->referencing, rule->column, &from, problem) ||
		!check_table(from, rule->referencing, "referencing", problem))
		return false;
	/* They look like arrays to the catalogs, but cannot be empty or hold a null. */
	if (from.base_type == INT2VECTOROID || from.base_type == OIDVECTOROID)
		return refuse(problem, ERRCODE_DATATYPE_MISMATCH,
					  psprintf("column \"%s\" is of type %s, which is no array", NameStr(from.column.attname),
							   format_type_be(from.base_type)),
					  nullptr, psprintf("Make it %s.", from.base_type == INT2VECTOROID ? "smallint[]" : "oid[]"));
	rule->declared_element_type = get_element_type(from.base_type);
	rule->is_array = OidIsValid(rule->declared_element_type);
	if (!rule->is_array)
		rule->declared_element_type = from.column.atttypid;
	rule->element_type = getBaseType(rule->declared_element_type);
	return true;
}

/* Are both tables of a kind that can have references? */
bool
check_tables(const Rule &rule, Problem *problem)
{
	Side		from;
	Side		to;

	return read_side(rule.referencing, rule.column, &from, problem) &&
		check_table(from, rule.referencing, "referencing", problem) &&
		read_table(rule.referenced, &to, problem) &&
		check_table(to, rule.referenced, "referenced", problem);
}

/*
 * Checks the pair of columns and fills in what the engine needs. The FmgrInfos
 * live in the current memory context.
 */
bool
resolve_rule(Rule *rule, Problem *problem)
{
	Side		from;
	Side		to;

	if (!resolve_column(rule, problem) ||
		!read_side(rule->referencing, rule->column, &from, problem) ||
		!read_side(rule->referenced, rule->key, &to, problem) ||
		!check_table(to, rule->referenced, "referenced", problem) ||
		!check_persistence(from, to, problem) ||
		!check_options(rule->options, rule->is_array, problem) ||
		!check_generated(*rule, from, problem))
		return false;

	rule->key_type = to.base_type;
	if (OidIsValid(get_element_type(rule->key_type)))
		return refuse(problem, ERRCODE_DATATYPE_MISMATCH,
					  psprintf("referenced column \"%s\" is an array", NameStr(to.column.attname)),
					  "An element refers to one key, and this column holds several values.",
					  "Reference a column that holds one value, such as the primary key.");

	return check_collations(from, to, problem) &&
		find_unique_index(to, rule->key, rule->referenced, &rule->index, problem) &&
		resolve_operators(rule, from, to, problem);
}

/* REFERENCES on the referenced table, or on the key column of it. */
bool
has_references_privilege(const Rule &rule, Oid role)
{
	return pg_class_aclcheck(rule.referenced, role, ACL_REFERENCES) == ACLCHECK_OK ||
		pg_attribute_aclcheck(rule.referenced, rule.key, role, ACL_REFERENCES) == ACLCHECK_OK;
}

char *
references_grant_hint(const Rule &rule)
{
	return psprintf("GRANT REFERENCES (%s) ON %s TO %s;",
					quote_identifier(get_attname(rule.referenced, rule.key, false)),
					quote_qualified_identifier(get_namespace_name(get_rel_namespace(rule.referenced)),
											   get_rel_name(rule.referenced)),
					quote_identifier(GetUserNameFromId(table_owner(rule.referencing), false)));
}

Oid
table_owner(Oid table)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", table);

	Oid			owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;

	ReleaseSysCache(tuple);
	return owner;
}

} /* namespace integrity */
