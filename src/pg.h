/*
 * pg.h
 *	  The only door to PostgreSQL's headers, and the only home of version
 *	  differences: no other file of this project tests PG_VERSION_NUM.
 *
 * The standard library's headers come first: PostgreSQL's port.h redefines
 * names such as printf and gettext that theirs mention.
 */
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

/*
 * We compile with hidden visibility, as 16 does. Before, its headers export
 * nothing by themselves, not even the magic block.
 */
#define PGDLLEXPORT __attribute__((visibility("default")))

extern "C"
{
#include "postgres.h"

#include "access/genam.h"
#include "access/gin.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/parallel.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_shdepend.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/progress.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/primnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/plancat.h"
#include "parser/parse_coerce.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "pgtime.h"
#include "storage/bufmgr.h"
#include "storage/dsm.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/datum.h"
#include "utils/dsa.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/tuplestore.h"
#include "utils/xml.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Not by utils/pg_locale.h: that asks for ICU's headers, which Debian's package of the server's headers lacks. */
extern PGDLLIMPORT char *locale_monetary; /* NOLINT(bugprone-dynamic-static-initializers): the server's, which sets it */
}

/* From 18 on the magic block has more fields, and clang wants them all named. The version is the control file's to tell. */
#ifdef PG_MODULE_MAGIC_EXT
#define INTEGRITY_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "integrity", .version = nullptr)
#else
#define INTEGRITY_MODULE_MAGIC PG_MODULE_MAGIC
#endif

namespace integrity
{

/*
 * Everything that is alive across a call which may ereport must be trivially
 * destructible: the longjmp runs no destructor.
 */
template <typename T>
concept Plain = std::is_trivially_destructible_v<T>;

namespace pg
{

/* Before 16 each object class had an aclcheck and an ownercheck of its own. */
inline bool
owns_table(Oid relid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relid, role);
#else
	return pg_class_ownercheck(relid, role);
#endif
}

inline bool
owns_schema(Oid schema, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(NamespaceRelationId, schema, role);
#else
	return pg_namespace_ownercheck(schema, role);
#endif
}

inline bool
owns_extension(Oid extension, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(ExtensionRelationId, extension, role);
#else
	return pg_extension_ownercheck(extension, role);
#endif
}

/* Could "member" SET ROLE to "role"? 16 made that a privilege of its own. */
inline bool
can_set_role(Oid member, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return member_can_set_role(member, role);
#else
	return is_member_of_role(member, role);
#endif
}

inline AclResult
schema_aclcheck(Oid schema, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(NamespaceRelationId, schema, role, mode);
#else
	return pg_namespace_aclcheck(schema, role, mode);
#endif
}

/* Another number for each transaction of the session. */
inline LocalTransactionId
local_transaction()
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

/* get_rel_relam() came with 17. */
inline Oid
access_method_of(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);

	Oid			method = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relam;

	ReleaseSysCache(tuple);
	return method;
}

/* 18 made the instrumentation of an index scan an argument. */
inline IndexScanDesc
begin_index_scan(Relation rel, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 190000
	return index_beginscan(rel, index, snapshot, nullptr, nkeys, 0, 0);
#elif PG_VERSION_NUM >= 180000
	return index_beginscan(rel, index, snapshot, nullptr, nkeys, 0);
#else
	return index_beginscan(rel, index, snapshot, nkeys, 0);
#endif
}

/* 19 made the scan's flags an argument. */
inline TableScanDesc
begin_table_scan(Relation rel, Snapshot snapshot)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan(rel, snapshot, 0, nullptr, 0);
#else
	return table_beginscan(rel, snapshot, 0, nullptr);
#endif
}

/* One of pg_stat_activity's backends, counted from 1, or null. 16 renamed the function. */
inline const PgBackendStatus *
backend_status(int number)
{
#if PG_VERSION_NUM >= 160000
	LocalPgBackendStatus *local = pgstat_get_local_beentry_by_index(number);
#else
	LocalPgBackendStatus *local = pgstat_fetch_stat_local_beentry(number);
#endif

	return local ? &local->backendStatus : nullptr;
}

/* From the first block on, or from where heap_setscanlimits() says, even if another scan is under way. */
inline TableScanDesc
begin_ordered_scan(Relation rel, Snapshot snapshot)
{
	return table_beginscan_strat(rel, snapshot, 0, nullptr, true, false);
}

inline TableScanDesc
begin_tid_range_scan(Relation rel, Snapshot snapshot, ItemPointer first, ItemPointer last)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan_tidrange(rel, snapshot, first, last, 0);
#else
	return table_beginscan_tidrange(rel, snapshot, first, last);
#endif
}

inline TableScanDesc
begin_parallel_scan(Relation rel, ParallelTableScanDesc shared)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan_parallel(rel, shared, 0);
#else
	return table_beginscan_parallel(rel, shared);
#endif
}

/* From 18 on a RESTRICT violation has a SQLSTATE and a wording of its own. */
#if PG_VERSION_NUM >= 180000
inline constexpr bool restrict_has_own_error = true;
#else
inline constexpr bool restrict_has_own_error = false;
#endif

/* ALTER TABLE ... ALTER COLUMN ... SET EXPRESSION came with 17. */
inline bool
sets_expression(const AlterTableCmd *command)
{
#if PG_VERSION_NUM >= 170000
	return command->subtype == AT_SetExpression;
#else
	(void) command;
	return false;
#endif
}

/* From 19 on a row lock that finds its row deleted says so; before, that was an update to it. */
#if PG_VERSION_NUM >= 190000
inline constexpr bool lock_tells_deletion = true;
#else
inline constexpr bool lock_tells_deletion = false;
#endif

/* 18 brought virtual generated columns. */
inline bool
is_virtual_generated(Form_pg_attribute att)
{
#if PG_VERSION_NUM >= 180000
	return att->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL;
#else
	(void) att;
	return false;
#endif
}

/* 19 gave the state of a jsonb under construction a type of its own. */
struct JsonbBuilder
{
#if PG_VERSION_NUM >= 190000
	JsonbInState state;
#else
	JsonbParseState *state;
#endif
	JsonbValue *result;			/* complete once the outermost object is closed */
};

inline void
push(JsonbBuilder *builder, JsonbIteratorToken token, JsonbValue *value)
{
#if PG_VERSION_NUM >= 190000
	pushJsonbValue(&builder->state, token, value);
	builder->result = builder->state.result;
#else
	builder->result = pushJsonbValue(&builder->state, token, value);
#endif
}

/* 16 gave the walker a prototype; before, its type takes no arguments. */
using Walker = bool (*)(Node *node, void *context);

inline bool
walk_expression(Node *node, Walker walker, void *context)
{
#if PG_VERSION_NUM >= 160000
	return expression_tree_walker(node, walker, context);
#else
	return expression_tree_walker(node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), context);
#endif
}

} /* namespace pg */
} /* namespace integrity */
