/*
 * violation.cpp
 *	  The errors of a broken reference, worded as a native foreign key's.
 *
 * A value is shown only to those who may read it: the error must not tell
 * what the table would not.
 */
#include "violation.h"

namespace integrity
{
namespace
{

bool
may_read(Relation rel, AttrNumber attnum)
{
	Oid			relid = RelationGetRelid(rel);

	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		return false;
	return pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck(relid, attnum, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

char *
to_text(Oid type, Datum value)
{
	Oid			output;
	bool		is_varlena;

	getTypeOutputInfo(type, &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}

/* A partition names its columns as the declared table does, in another order perhaps. */
char *
column_name(Relation rel, AttrNumber attnum)
{
	return NameStr(TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attname);
}

} /* namespace */

void
report_missing_key(const Rule &rule, Relation referencing, Oid referenced, Datum value)
{
	const char *referenced_name = get_rel_name(referenced);

	ereport(ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 errmsg("insert or update on table \"%s\" violates foreign key constraint \"%s\"",
					RelationGetRelationName(referencing), NameStr(rule.name)),
			 may_read(referencing, rule.column) ?
			 errdetail("Key (%s)=(%s) is not present in table \"%s\".", column_name(referencing, rule.column),
					   to_text(rule.element_type, value), referenced_name) :
			 errdetail("Key is not present in table \"%s\".", referenced_name),
			 errtableconstraint(referencing, NameStr(rule.name))));
	pg_unreachable();
}

void
report_still_referenced(const Rule &rule, Relation referenced, AttrNumber key_attnum, Datum key, bool is_restrict)
{
	bool		own_error = is_restrict && pg::restrict_has_own_error;
	const char *still = own_error ? "" : "still ";
	const char *referencing_name = get_rel_name(rule.referencing);
	Relation	referencing = table_open(rule.referencing, AccessShareLock);

	ereport(ERROR,
			(errcode(own_error ? ERRCODE_RESTRICT_VIOLATION : ERRCODE_FOREIGN_KEY_VIOLATION),
			 own_error ?
			 errmsg("update or delete on table \"%s\" violates RESTRICT setting of foreign key constraint \"%s\" on table \"%s\"",
					RelationGetRelationName(referenced), NameStr(rule.name), referencing_name) :
			 errmsg("update or delete on table \"%s\" violates foreign key constraint \"%s\" on table \"%s\"",
					RelationGetRelationName(referenced), NameStr(rule.name), referencing_name),
			 may_read(referenced, key_attnum) ?
			 errdetail("Key (%s)=(%s) is %sreferenced from table \"%s\".", column_name(referenced, key_attnum),
					   to_text(rule.key_type, key), still, referencing_name) :
			 errdetail("Key is %sreferenced from table \"%s\".", still, referencing_name),
			 errtableconstraint(referencing, NameStr(rule.name))));
	pg_unreachable();
}

/* Whoever owns the schema can drop a partition, and may not be allowed to read it. */
void
report_removed_partition(const Rule &rule, Relation partition, Relation leaf, AttrNumber key_attnum, Datum key)
{
	Relation	referencing = table_open(rule.referencing, AccessShareLock);

	ereport(ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 errmsg("removing partition \"%s\" violates foreign key constraint \"%s\"", RelationGetRelationName(partition),
					NameStr(rule.name)),
			 may_read(leaf, key_attnum) ?
			 errdetail("Key (%s)=(%s) is still referenced from table \"%s\".", column_name(leaf, key_attnum),
					   to_text(rule.key_type, key), RelationGetRelationName(referencing)) :
			 errdetail("Key is still referenced from table \"%s\".", RelationGetRelationName(referencing)),
			 errtableconstraint(referencing, NameStr(rule.name))));
	pg_unreachable();
}

void
report_truncate(const Rule &rule, Relation referenced)
{
	const char *referencing_name = get_rel_name(rule.referencing);

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot truncate a table referenced in a foreign key constraint"),
			 errdetail("Table \"%s\" references \"%s\".", referencing_name, RelationGetRelationName(referenced)),
			 errhint("Truncate table \"%s\" at the same time, or take the references out first.", referencing_name),
			 errtable(referenced)));
	pg_unreachable();
}

void
report_null_element(const Rule &rule, Relation referencing)
{
	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("null element in column \"%s\" of relation \"%s\" violates foreign key constraint \"%s\"",
					column_name(referencing, rule.column), RelationGetRelationName(referencing), NameStr(rule.name)),
			 errhint("The rule was declared with null_elements 'reject'."),
			 errtableconstraint(referencing, NameStr(rule.name))));
	pg_unreachable();
}

void
report_duplicate_element(const Rule &rule, Relation referencing, Datum value)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("duplicate element in column \"%s\" of relation \"%s\" violates foreign key constraint \"%s\"",
					column_name(referencing, rule.column), RelationGetRelationName(referencing), NameStr(rule.name)),
			 may_read(referencing, rule.column) ?
			 errdetail("Element (%s)=(%s) is there more than once.", column_name(referencing, rule.column),
					   to_text(rule.element_type, value)) : 0,
			 errhint("The rule was declared with duplicate_elements 'reject'."),
			 errtableconstraint(referencing, NameStr(rule.name))));
	pg_unreachable();
}

} /* namespace integrity */
