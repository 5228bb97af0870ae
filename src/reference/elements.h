/*
 * elements.h
 *	  The elements of one array as a set of distinct values.
 *
 * Elements are told apart by their bytes. Two that differ in bytes but are
 * equal to the operator (1.0 and 1.00) are merely looked up twice, so this
 * needs no operator, no collation and of a server only memory: it is tested
 * without one.
 */
#pragma once

#include "../pg.h"

namespace integrity
{

/* How PostgreSQL stores a type: pg_type's typlen, typbyval and typalign. */
struct Layout
{
	int16		len;
	bool		byval;
	char		align;
};

inline std::string_view
image_of(Datum value, const Layout &layout)
{
	const char *data = reinterpret_cast<const char *>(value);

	if (layout.len > 0)
		return {data, static_cast<size_t>(layout.len)};
	if (layout.len == -1)
		return {VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data)};
	return {data, strlen(data)};
}

/* Any total order over the bytes; negative, zero or positive. */
inline int
compare_images(Datum a, Datum b, const Layout &layout)
{
	if (layout.byval)
		return a < b ? -1 : a > b ? 1 : 0;
	return image_of(a, layout).compare(image_of(b, layout));
}

/* An integer or any other by-value type. */
inline int64
integer_of(Datum value, const Layout &layout)
{
	switch (layout.len)
	{
		case 1:
			return static_cast<int8>(DatumGetChar(value));
		case 2:
			return DatumGetInt16(value);
		case 4:
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

/* Spreads the bits over the high ones. */
inline uint64
spread(uint64 bits)
{
	return bits * UINT64CONST(0x9e3779b97f4a7c15);
}

/* Eight bytes from anywhere. */
inline uint64
word_at(const char *at)
{
	uint64		word;

	memcpy(&word, at, sizeof(word));
	return word;
}

/* Up to eight bytes; of fewer than eight, some may be in it twice. To copy just as many as there are would be a call. */
inline uint64
word_of(const char *at, size_t size)
{
	uint32		first;
	uint32		last;

	if (size >= sizeof(uint64))
		return word_at(at);
	if (size < sizeof(uint32))
		return size == 0 ? 0 :
			uint64{static_cast<uint8>(at[0])} << 16 | uint64{static_cast<uint8>(at[size / 2])} << 8 | static_cast<uint8>(at[size - 1]);
	memcpy(&first, at, sizeof(first));
	memcpy(&last, at + size - sizeof(last), sizeof(last));
	return uint64{first} << 32 | last;
}

/*
 * Bytes that are the same have the same hash; the high bits are the good ones.
 * A word at a time, which is several times as fast as the server's
 * hash_bytes(). The shift is not half a word: then a changed bit could cancel
 * out what the last four bytes, which may be twice in their word, change.
 * std::hash would need the C++ library.
 */
inline uint64
hash_of_bytes(std::string_view bytes)
{
	const char *at = bytes.data();
	size_t		left = bytes.size();
	uint64		hash = spread(left);

	for (; left > sizeof(uint64); at += sizeof(uint64), left -= sizeof(uint64))
	{
		hash = spread(hash ^ word_at(at));
		hash ^= hash >> 29;
	}
	hash = spread(hash ^ word_of(at, left));
	return spread(hash ^ (hash >> 32));
}

/* Are so many bytes the same? Without a call, for values of a few words. */
inline bool
same_bytes(const char *a, const char *b, size_t size)
{
	if (size < sizeof(uint64))
		return word_of(a, size) == word_of(b, size);
	for (size_t at = 0; at + sizeof(uint64) < size; at += sizeof(uint64))
		if (word_at(a + at) != word_at(b + at))
			return false;
	return word_at(a + size - sizeof(uint64)) == word_at(b + size - sizeof(uint64));
}

/* The same of a value. */
inline uint64
hash_of_image(Datum value, const Layout &layout)
{
	return layout.byval ? spread(value) : hash_of_bytes(image_of(value, layout));
}

/*
 * Says at once of most values that are not in a set that they are not: for
 * each value that is in the set, the bit that its hash names is set.
 */
class Sieve
{
public:
	/*
	 * The binary logarithm of how many bits a set of so many values wants: some 64 for each in 64 kB, which are near the
	 * processor; else some 16 for each, 8 MB at most.
	 */
	static int
	log2_for(size_t count)
	{
		int			width = static_cast<int>(std::bit_width(count));

		return std::clamp(std::max(width + 4, std::min(width + 6, 19)), 6, 26);
	}

	static size_t bytes_for(int log2) { return (size_t{1} << log2) / 8; }

	/* "words" is bytes_for(log2) long, and zero. */
	void
	init(int log2, uint64 *words)
	{
		shift_ = 64 - log2;
		words_ = words;
	}

	void
	insert(Datum value, const Layout &layout)
	{
		uint64		bit = hash_of_image(value, layout) >> shift_;

		words_[bit / 64] |= UINT64CONST(1) << (bit % 64);
	}

	/* False: it was not inserted. */
	bool
	may_hold(Datum value, const Layout &layout) const
	{
		uint64		bit = hash_of_image(value, layout) >> shift_;

		return (words_[bit / 64] >> (bit % 64) & 1) != 0;
	}

private:
	int			shift_;
	uint64	   *words_;
};

static_assert(Plain<Sieve>);

/*
 * sort_distinct() of by-value types, from this value to that one: a bit is set
 * for each that is there, and all are read in turn. Ids that lie close
 * together are sorted so in a tenth of the time.
 */
inline std::span<Datum>
sort_distinct_by_bits(std::span<Datum> values, Datum least, Datum greatest)
{
	size_t		count = (greatest - least) / 64 + 1;
	auto	   *words = static_cast<uint64 *>(palloc0(sizeof(uint64) * count));
	Datum	   *end = values.data();

	for (Datum value : values)
		words[(value - least) / 64] |= UINT64CONST(1) << ((value - least) % 64);
	for (size_t i = 0; i < count; i++)
		for (uint64 word = words[i]; word != 0; word &= word - 1)
			*end++ = least + i * 64 + static_cast<Datum>(std::countr_zero(word));
	pfree(words);
	return values.first(static_cast<size_t>(end - values.data()));
}

/* Sorts and drops what is there twice. */
inline std::span<Datum>
sort_distinct(std::span<Datum> values, const Layout &layout)
{
	constexpr size_t few_values = 100;

	if (layout.byval && values.size() > few_values)
	{
		auto		[least, greatest] = std::minmax_element(values.begin(), values.end());

		/* The bits take no more memory than the values do. */
		if ((*greatest - *least) / 64 < values.size())
			return sort_distinct_by_bits(values, *least, *greatest);
	}
	if (layout.byval)
		std::sort(values.begin(), values.end());
	else
		std::sort(values.begin(), values.end(), [&](Datum a, Datum b) { return compare_images(a, b, layout) < 0; });

	auto		end = std::unique(values.begin(), values.end(),
								  [&](Datum a, Datum b) { return compare_images(a, b, layout) == 0; });

	return values.first(static_cast<size_t>(end - values.begin()));
}

/* What is in "values" and not in "others"; both are sorted and distinct. */
inline std::span<Datum>
subtract(std::span<Datum> values, std::span<const Datum> others, const Layout &layout)
{
	auto		other = others.begin();
	auto		kept = values.begin();

	for (Datum value : values)
	{
		while (other != others.end() && compare_images(*other, value, layout) < 0)
			++other;
		if (other == others.end() || compare_images(*other, value, layout) != 0)
			*kept++ = value;
	}
	return values.first(static_cast<size_t>(kept - values.begin()));
}

/* What is in both; both are sorted and distinct. */
inline std::span<Datum>
intersect(std::span<Datum> values, std::span<const Datum> others, const Layout &layout)
{
	auto		other = others.begin();
	auto		kept = values.begin();

	for (Datum value : values)
	{
		while (other != others.end() && compare_images(*other, value, layout) < 0)
			++other;
		if (other != others.end() && compare_images(*other, value, layout) == 0)
			*kept++ = value;
	}
	return values.first(static_cast<size_t>(kept - values.begin()));
}

/* How many bytes two values of this size have in common from their start on. */
inline size_t
common_start(const char *a, const char *b, size_t size)
{
	size_t		at = 0;

	for (; at + sizeof(uint64) <= size && memcmp(a + at, b + at, sizeof(uint64)) == 0; at += sizeof(uint64))
		;
	while (at < size && a[at] == b[at])
		at++;
	return at;
}

/* The same from their ends on, behind which the pointers point. */
inline size_t
common_end(const char *a, const char *b, size_t size)
{
	size_t		at = 0;

	for (; at + sizeof(uint64) <= size && memcmp(a - at - sizeof(uint64), b - at - sizeof(uint64), sizeof(uint64)) == 0;)
		at += sizeof(uint64);
	while (at < size && a[-1 - static_cast<ptrdiff_t>(at)] == b[-1 - static_cast<ptrdiff_t>(at)])
		at++;
	return at;
}

/* Is "value" in the sorted "values"? */
inline bool
contains_image(std::span<const Datum> values, Datum value, const Layout &layout)
{
	auto		at = std::lower_bound(values.begin(), values.end(), value,
									  [&](Datum a, Datum b) { return compare_images(a, b, layout) < 0; });

	return at != values.end() && compare_images(*at, value, layout) == 0;
}

} /* namespace integrity */
