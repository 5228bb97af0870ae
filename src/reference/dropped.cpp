/*
 * dropped.cpp
 *	  What a DROP takes along, read from the dependencies before it happens.
 *
 * Without CASCADE the same is found, and more than will be dropped. That is no
 * harm: if there is more, the command fails.
 */
#include "dropped.h"

namespace integrity
{
namespace
{

/* Objects that were found and whose own dependents were not looked for yet. */
struct Search
{
	Dropped		dropped;
	List	   *waiting;
};

void
add_object(Search *search, const ObjectAddress &address)
{
	bool		found;

	if (!OidIsValid(address.objectId))
		return;
	hash_search(search->dropped.objects, &address, HASH_ENTER, &found);
	if (found)
		return;
	if (address.classId == RelationRelationId && address.objectSubId == 0)
	{
		char		kind = get_rel_relkind(address.objectId);

		if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE)
			search->dropped.tables = lappend_oid(search->dropped.tables, address.objectId);
	}

	if (address.classId == TriggerRelationId)
		search->dropped.triggers = lappend_oid(search->dropped.triggers, address.objectId);

	auto	   *copy = static_cast<ObjectAddress *>(palloc(sizeof(ObjectAddress)));

	*copy = address;
	search->waiting = lappend(search->waiting, copy);
}

void
add_named(Search *search, Oid class_oid, Oid object)
{
	ObjectAddress address;

	ObjectAddressSet(address, class_oid, object);
	add_object(search, address);
}

/* All that a role owns in this database. */
void
add_owned(Search *search, Oid role)
{
	Relation	pg_shdepend = table_open(SharedDependRelationId, AccessShareLock);
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], Anum_pg_shdepend_refclassid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(AuthIdRelationId));
	ScanKeyInit(&keys[1], Anum_pg_shdepend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	SysScanDesc scan = systable_beginscan(pg_shdepend, SharedDependReferenceIndexId, true, nullptr, 2, keys);

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		auto	   *form = reinterpret_cast<Form_pg_shdepend>(GETSTRUCT(tuple));

		if (form->dbid == MyDatabaseId && form->deptype == SHARED_DEPENDENCY_OWNER)
			add_named(search, form->classid, form->objid);
	}
	systable_endscan(scan);
	table_close(pg_shdepend, AccessShareLock);
}

/* The dependents of an object, or what it is an internal part of and what therefore goes in its place. */
void
add_related(Search *search, const ObjectAddress &address, bool owners)
{
	Relation	pg_depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[3];
	int			nkeys = 2;

	ScanKeyInit(&keys[0], owners ? Anum_pg_depend_classid : Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(address.classId));
	ScanKeyInit(&keys[1], owners ? Anum_pg_depend_objid : Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(address.objectId));
	/* With a table go all its columns. */
	if (address.objectSubId != 0)
		ScanKeyInit(&keys[nkeys++], owners ? Anum_pg_depend_objsubid : Anum_pg_depend_refobjsubid, BTEqualStrategyNumber,
					F_INT4EQ, Int32GetDatum(address.objectSubId));
	SysScanDesc scan = systable_beginscan(pg_depend, owners ? DependDependerIndexId : DependReferenceIndexId, true, nullptr,
										  nkeys, keys);

	for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));)
	{
		auto	   *form = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));
		ObjectAddress related;

		if (owners && form->deptype != DEPENDENCY_INTERNAL)
			continue;
		if (owners)
			ObjectAddressSubSet(related, form->refclassid, form->refobjid, form->refobjsubid);
		else
			ObjectAddressSubSet(related, form->classid, form->objid, form->objsubid);
		add_object(search, related);
	}
	systable_endscan(scan);
	table_close(pg_depend, AccessShareLock);
}

/* The table may also be dropped by the owner of its schema. */
void
add_table(Search *search, Oid table)
{
	Oid			role = GetUserId();

	if (OidIsValid(table) && (pg::owns_table(table, role) || pg::owns_schema(get_rel_namespace(table), role)))
		add_named(search, RelationRelationId, table);
}

/* The name of the trigger is the last one, behind that of its table. */
void
add_trigger(Search *search, List *name)
{
	RangeVar   *table_name = makeRangeVarFromNameList(list_copy_head(name, list_length(name) - 1));
	Oid			table = RangeVarGetRelid(table_name, NoLock, true);

	if (OidIsValid(table) && pg::owns_table(table, GetUserId()))
		add_named(search, TriggerRelationId, get_trigger_oid(table, strVal(llast(name)), true));
}

void
add_schema(Search *search, Oid schema)
{
	if (OidIsValid(schema) && pg::owns_schema(schema, GetUserId()))
		add_named(search, NamespaceRelationId, schema);
}

void
add_extension(Search *search, Oid extension)
{
	if (OidIsValid(extension) && pg::owns_extension(extension, GetUserId()))
		add_named(search, ExtensionRelationId, extension);
}

/*
 * Of what else a table may depend on as a whole, an operator class or a
 * collation of its partition key for one: locked, and asked for by whom, as by
 * the command.
 */
void
add_other(Search *search, ObjectType type, Node *name)
{
	Relation	relation = nullptr;
	ObjectAddress address = get_object_address(type, name, &relation, AccessExclusiveLock, true);
	Oid			schema;

	if (!OidIsValid(address.objectId) || IsPinnedObject(address.classId, address.objectId))
		return;
	schema = get_object_namespace(&address);
	if (!OidIsValid(schema) || !pg::owns_schema(schema, GetUserId()))
		check_object_ownership(GetUserId(), type, address, name, relation);
	add_object(search, address);
}

/* What the statement names. What does not exist, or is not the user's, is the statement's own error. */
void
add_objects_of(Search *search, Node *statement)
{
	ListCell   *cell;

	if (IsA(statement, DropOwnedStmt))
	{
		foreach(cell, castNode(DropOwnedStmt, statement)->roles)
		{
			Oid			role = get_rolespec_oid(static_cast<RoleSpec *>(lfirst(cell)), true);

			if (OidIsValid(role) && has_privs_of_role(GetUserId(), role))
				add_owned(search, role);
		}
		return;
	}
	if (!IsA(statement, DropStmt))
		return;

	DropStmt   *drop = castNode(DropStmt, statement);

	foreach(cell, drop->objects)
		switch (drop->removeType)
		{
			case OBJECT_TABLE:
				add_table(search, RangeVarGetRelid(makeRangeVarFromNameList(static_cast<List *>(lfirst(cell))), NoLock, true));
				break;
			case OBJECT_TRIGGER:
				if (list_length(static_cast<List *>(lfirst(cell))) > 1)
					add_trigger(search, static_cast<List *>(lfirst(cell)));
				break;
			case OBJECT_SCHEMA:
				add_schema(search, get_namespace_oid(strVal(lfirst(cell)), true));
				break;
			case OBJECT_EXTENSION:
				add_extension(search, get_extension_oid(strVal(lfirst(cell)), true));
				break;
			case OBJECT_ACCESS_METHOD:
				if (superuser())
					add_named(search, AccessMethodRelationId, get_am_oid(strVal(lfirst(cell)), true));
				break;
			case OBJECT_COLLATION:
			case OBJECT_DOMAIN:
			case OBJECT_FUNCTION:
			case OBJECT_LANGUAGE:
			case OBJECT_OPCLASS:
			case OBJECT_OPERATOR:
			case OBJECT_OPFAMILY:
			case OBJECT_ROUTINE:
			case OBJECT_TYPE:
				add_other(search, drop->removeType, static_cast<Node *>(lfirst(cell)));
				break;
			default:
				break;
		}
}

} /* namespace */

Dropped
objects_dropped_by(Node *statement)
{
	Search		search = {};
	HASHCTL		control = {};

	control.keysize = sizeof(ObjectAddress);
	control.entrysize = sizeof(ObjectAddress);
	control.hcxt = CurrentMemoryContext;
	search.dropped.objects = hash_create("integrity dropped objects", 128, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	add_objects_of(&search, statement);
	while (search.waiting != NIL)
	{
		auto	   *address = static_cast<ObjectAddress *>(llast(search.waiting));

		search.waiting = list_delete_last(search.waiting);

		/* As the command: somebody may be making a table in this schema. */
		if (address->classId == NamespaceRelationId || address->classId == ExtensionRelationId)
			LockDatabaseObject(address->classId, address->objectId, 0, AccessExclusiveLock);
		add_related(&search, *address, false);
		add_related(&search, *address, true);
	}
	return search.dropped;
}

bool
is_dropped(const Dropped &dropped, Oid class_oid, Oid object)
{
	ObjectAddress address;

	ObjectAddressSet(address, class_oid, object);
	return hash_search(dropped.objects, &address, HASH_FIND, nullptr) != nullptr;
}

} /* namespace integrity */
