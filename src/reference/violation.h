/*
 * violation.h
 *	  The errors of a broken reference, worded as a native foreign key's.
 */
#pragma once

#include "rule.h"

namespace integrity
{

/* "value" is an element of the referencing column, which lies in "referencing". */
[[noreturn]] void report_missing_key(const Rule &rule, Relation referencing, Oid referenced, Datum value);

/* "key" is a value of column "key_attnum" of "referenced", which still has references. */
[[noreturn]] void report_still_referenced(const Rule &rule, Relation referenced, AttrNumber key_attnum, Datum key,
										  bool is_restrict);

/* A partition is to be removed that holds this key. */
[[noreturn]] void report_removed_partition(const Rule &rule, Relation partition, Relation leaf, AttrNumber key_attnum,
										   Datum key);

[[noreturn]] void report_truncate(const Rule &rule, Relation referenced);
[[noreturn]] void report_null_element(const Rule &rule, Relation referencing);
[[noreturn]] void report_duplicate_element(const Rule &rule, Relation referencing, Datum value);

} /* namespace integrity */
