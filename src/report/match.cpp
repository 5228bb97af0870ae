/*
 * match.cpp
 *	  Chooses how elements are matched with keys.
 */
#include "match.h"

namespace integrity
{
namespace
{

bool
is_parallel_safe(const FmgrInfo &function)
{
	return !OidIsValid(function.fn_oid) || func_parallel(function.fn_oid) == PROPARALLEL_SAFE;
}

} /* namespace */

bool
resolve_matcher(const MatchTypes &types, Matcher *matcher)
{
	Comparison &compare = matcher->compare;
	Oid			key_hash;
	Oid			element_hash;

	memset(static_cast<void *>(matcher), 0, sizeof(*matcher));
	if (!resolve_comparison(types.element_type, types.key_type, types.collation,
							types.opfamily, types.opcintype, &compare))
		return false;
	matcher->parallel_safe = true;

	if (types.opfamily == INTEGER_BTREE_FAM_OID && is_integer(types.element_type) && is_integer(types.key_type))
		matcher->by = MatchBy::Integer;
	else if (compare.same_image && compare.key.byval && compare.element.len == compare.key.len)
		matcher->by = MatchBy::Word;
	else if (compare.same_image && !compare.key.byval)
		matcher->by = MatchBy::Image;
	else
	{
		matcher->by = MatchBy::Operator;
		if (!get_op_hash_functions(compare.key_eq_element, &key_hash, &element_hash))
			return false;
		fmgr_info(key_hash, &matcher->key_hash);
		fmgr_info(element_hash, &matcher->element_hash);
		matcher->parallel_safe = is_parallel_safe(matcher->key_hash) && is_parallel_safe(matcher->element_hash) &&
			is_parallel_safe(compare.key_eq_element_proc) && is_parallel_safe(compare.cast_proc);
	}
	return true;
}

} /* namespace integrity */
