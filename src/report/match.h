/*
 * match.h
 *	  How a scan looks elements up in the keys of a rule.
 *
 * Integers are compared as integers, whatever their widths. Where equal means
 * equal bytes, bytes are hashed and compared. Everything else is hashed and
 * compared by the functions of the equality operator's hash operator family,
 * as a hash join does it.
 */
#pragma once

#include "../reference/compare.h"
#include "keyset.h"

namespace integrity
{

enum class MatchBy : uint8
{
	Integer,					/* of the integer types, in numeric order */
	Word,						/* any other by-value type, equal if the bits are */
	Image,						/* equal if the bytes are */
	Operator
};

/* What names a way to match; plain OIDs, so that a parallel worker can be told. */
struct MatchTypes
{
	Oid			element_type;
	Oid			key_type;
	Oid			collation;
	Oid			opfamily;		/* of the key's unique btree index */
	Oid			opcintype;
};

struct Matcher
{
	MatchBy		by;
	bool		parallel_safe;
	Comparison	compare;
	FmgrInfo	key_hash;		/* for Operator; the element's takes what as_key() makes of it */
	FmgrInfo	element_hash;
};

static_assert(Plain<Matcher>);

/* False if the types cannot be compared, or the operator cannot be hashed. */
bool		resolve_matcher(const MatchTypes &types, Matcher *matcher);

inline uint32
hash_image(std::string_view image)
{
	return static_cast<uint32>(hash_of_bytes(image) >> 32);
}

} /* namespace integrity */
