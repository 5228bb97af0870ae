/*
 * locate.h
 *	  Finds the rows of many keys in one pass over a part of the index.
 *
 * To descend to a key takes as long as to step over some eight of its
 * neighbours. So where the keys that a bulk insert refers to lie close
 * together, the index is read along instead.
 */
#pragma once

#include "probe.h"

namespace integrity
{

/* Of so many keys at a time; their places are in 24 kB. */
constexpr size_t located_at_once = 4096;

/*
 * For each of these values, which are distinct and in the order of
 * compare_images(): the place in the table that the index names for it. It is
 * invalid where there is none, or where the values lie too far apart to be
 * looked for in this way; for key_exists_at(), which decides.
 */
void		locate_keys(Probe *probe, std::span<const Datum> values, ItemPointerData *places);

} /* namespace integrity */
