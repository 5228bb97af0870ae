/*
 * elements_test.cpp
 *	  The set operations of src/reference/elements.h, for every way that
 *	  PostgreSQL stores a type, against std::set.
 */
#include <gtest/gtest.h>

#include <deque>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "reference/elements.h"
#include "server.h"

using namespace integrity;

namespace
{

/* Values of one layout, made from bytes. The Datums live as long as this does. */
class Values
{
public:
	explicit Values(Layout layout) : layout(layout)
	{
	}

	Datum
	make(const std::string &bytes, bool short_header = false)
	{
		if (layout.byval)
		{
			/* As the Get macros do: an int4 is sign-extended in its Datum. */
			int64		number = 0;

			memcpy(&number, bytes.data(), std::min(bytes.size(), sizeof(number)));
			switch (layout.len)
			{
				case 1:
					return BoolGetDatum(number & 1);
				case 2:
					return Int16GetDatum(static_cast<int16>(number));
				case 4:
					return Int32GetDatum(static_cast<int32>(number));
				default:
					return Int64GetDatum(number);
			}
		}

		std::string &store = stores.emplace_back();

		if (layout.len > 0)
		{
			store = bytes;
			store.resize(static_cast<size_t>(layout.len));
		}
		else if (layout.len == -1 && short_header && bytes.size() + VARHDRSZ_SHORT <= VARATT_SHORT_MAX)
		{
			store.assign(VARHDRSZ_SHORT, '\0');
			store += bytes;
			SET_VARSIZE_SHORT(store.data(), store.size());
		}
		else if (layout.len == -1)
		{
			store.assign(VARHDRSZ, '\0');
			store += bytes;
			SET_VARSIZE(store.data(), store.size());
		}
		else
			store = bytes.substr(0, bytes.find('\0'));
		return PointerGetDatum(store.data());
	}

	/* What a value consists of, found without the code under test. */
	std::string
	image(Datum value) const
	{
		auto	   *data = reinterpret_cast<const char *>(value);

		if (layout.byval)
			return {reinterpret_cast<const char *>(&value), sizeof(value)};
		if (layout.len > 0)
			return {data, static_cast<size_t>(layout.len)};
		if (layout.len == -2)
			return data;
		if (VARATT_IS_1B(data))
			return {data + VARHDRSZ_SHORT, static_cast<size_t>(VARSIZE_1B(data) - VARHDRSZ_SHORT)};
		return {data + VARHDRSZ, static_cast<size_t>(VARSIZE_4B(data) - VARHDRSZ)};
	}

	std::set<std::string>
	images(std::span<const Datum> values) const
	{
		std::set<std::string> set;

		for (Datum value : values)
			set.insert(image(value));
		return set;
	}

	/* "count" values of which many are equal, and many share a beginning. */
	std::vector<Datum>
	random(std::mt19937 &engine, size_t count)
	{
		std::vector<Datum> values;

		while (values.size() < count)
		{
			std::string bytes(engine() % 10, '\0');

			for (char &byte : bytes)
				byte = "\0\1a\x80\xff"[engine() % 5];
			if (engine() % 50 == 0)
				bytes += std::string(200, 'x');
			values.push_back(make(bytes, engine() % 2 == 0));
		}
		return values;
	}

	const Layout layout;

private:
	std::deque<std::string> stores;
};

struct Kind
{
	const char *name;
	Layout		layout;
};

/* The name of a test must not change from run to run, as a printed address would. */
void
PrintTo(const Kind &kind, std::ostream *out)
{
	*out << kind.name;
}

class Elements : public testing::TestWithParam<Kind>
{
protected:
	Values		values{GetParam().layout};
	const Layout &layout = values.layout;
	std::mt19937 engine{20260};

	/* Sorted by compare_images, and nothing twice. */
	void
	expect_set(std::span<const Datum> set)
	{
		for (size_t i = 1; i < set.size(); i++)
			EXPECT_LT(compare_images(set[i - 1], set[i], layout), 0) << "at " << i;
	}

	std::vector<Datum>
	random_set(size_t count)
	{
		std::vector<Datum> set = values.random(engine, count);

		set.resize(sort_distinct(set, layout).size());
		return set;
	}
};

INSTANTIATE_TEST_SUITE_P(Layouts, Elements,
						 testing::Values(Kind{"bool", {1, true, TYPALIGN_CHAR}},
										 Kind{"int2", {2, true, TYPALIGN_SHORT}},
										 Kind{"int4", {4, true, TYPALIGN_INT}},
										 Kind{"int8", {8, true, TYPALIGN_DOUBLE}},
										 Kind{"macaddr", {6, false, TYPALIGN_INT}},
										 Kind{"uuid", {16, false, TYPALIGN_CHAR}},
										 Kind{"name", {64, false, TYPALIGN_CHAR}},
										 Kind{"text", {-1, false, TYPALIGN_INT}},
										 Kind{"cstring", {-2, false, TYPALIGN_CHAR}}),
						 [](const testing::TestParamInfo<Kind> &info) { return info.param.name; });

TEST_P(Elements, CompareIsATotalOrderOfTheBytes)
{
	std::vector<Datum> all = values.random(engine, 60);

	for (Datum a : all)
		for (Datum b : all)
		{
			int			ab = compare_images(a, b, layout);

			EXPECT_EQ(ab == 0, values.image(a) == values.image(b));
			EXPECT_EQ(ab < 0, compare_images(b, a, layout) > 0);
			for (Datum c : all)
				EXPECT_TRUE(ab >= 0 || compare_images(b, c, layout) >= 0 || compare_images(a, c, layout) < 0);
		}
}

TEST_P(Elements, SortDistinctKeepsEachValueOnce)
{
	for (size_t count = 0; count < 200; count++)
	{
		std::vector<Datum> all = values.random(engine, count);
		std::set<std::string> expected = values.images(all);
		std::span<Datum> set = sort_distinct(all, layout);

		EXPECT_EQ(set.data(), all.data());
		EXPECT_EQ(set.size(), expected.size());
		EXPECT_EQ(values.images(set), expected);
		expect_set(set);
	}
}

TEST_P(Elements, SortDistinctOfOneValueManyTimes)
{
	std::vector<Datum> all;

	for (int i = 0; i < 1000; i++)
		all.push_back(values.make("a", i % 2 == 0));
	EXPECT_EQ(sort_distinct(all, layout).size(), 1u);
}

/* Many values of a small range are sorted in another way; also where the range ends at a word's edge, or at the type's. */
TEST(ElementsByBits, SortDistinctOfManyInASmallRange)
{
	const Layout layout = {8, true, TYPALIGN_DOUBLE};
	std::mt19937_64 engine{20261};

	for (uint64 least : {UINT64CONST(0), UINT64CONST(63), UINT64CONST(64), UINT64CONST(1) << 63, UINT64_MAX - 63, UINT64_MAX - 64,
						 UINT64_MAX - 129, UINT64_MAX - 20000})
		for (uint64 range : {UINT64CONST(0), UINT64CONST(62), UINT64CONST(63), UINT64CONST(64), UINT64CONST(127), UINT64CONST(128),
							 UINT64CONST(6463), UINT64CONST(6464), UINT64CONST(6500), UINT64CONST(20000), UINT64_MAX})
			for (size_t count : {99, 100, 101, 102, 300})
			{
				uint64		most = std::min(range, UINT64_MAX - least);
				std::vector<Datum> all = {least + most, least};

				while (all.size() < count)
					all.push_back(least + (most == UINT64_MAX ? engine() : engine() % (most + 1)));

				std::set<Datum> expected(all.begin(), all.end());
				most_allocated_bytes = allocated_bytes;

				size_t		before = allocated_bytes;
				std::span<Datum> set = sort_distinct(all, layout);

				EXPECT_LE(most_allocated_bytes - before, sizeof(Datum) * count);
				EXPECT_EQ(allocated_bytes, before);
				EXPECT_EQ(set.data(), all.data());
				EXPECT_EQ(std::vector<Datum>(set.begin(), set.end()), std::vector<Datum>(expected.begin(), expected.end()))
					<< least << ", " << range << ", " << count;
			}
}

TEST_P(Elements, SubtractAndIntersectPartTheSet)
{
	for (int round = 0; round < 2000; round++)
	{
		std::vector<Datum> left = random_set(engine() % 12);
		std::vector<Datum> right = random_set(engine() % 12);
		std::vector<Datum> right_before = right;
		std::vector<Datum> remaining = left;
		std::vector<Datum> common = left;
		std::span<Datum> subtracted = subtract(remaining, right, layout);
		std::span<Datum> intersected = intersect(common, right, layout);
		std::set<std::string> others = values.images(right);
		std::set<std::string> expected_subtracted;
		std::set<std::string> expected_intersected;

		for (const std::string &image : values.images(left))
			(others.contains(image) ? expected_intersected : expected_subtracted).insert(image);

		EXPECT_EQ(values.images(subtracted), expected_subtracted);
		EXPECT_EQ(values.images(intersected), expected_intersected);
		EXPECT_EQ(subtracted.size() + intersected.size(), left.size());
		EXPECT_EQ(right, right_before);
		expect_set(subtracted);
		expect_set(intersected);
	}
}

/* Every length, every place of the first difference, and nothing read outside of the two. */
TEST(CommonBytes, StartAndEnd)
{
	for (size_t size = 0; size < 40; size++)
	{
		std::vector<char> a(size, 'x');

		EXPECT_EQ(common_start(a.data(), a.data(), size), size);
		EXPECT_EQ(common_end(a.data() + size, a.data() + size, size), size);
		for (size_t at = 0; at < size; at++)
		{
			std::vector<char> b = a;

			b[at] = 'y';
			EXPECT_EQ(common_start(a.data(), b.data(), size), at);
			EXPECT_EQ(common_end(a.data() + size, b.data() + size, size), size - 1 - at);
		}
	}
}

TEST_P(Elements, SubtractAndIntersectWithNothingAndWithItself)
{
	std::vector<Datum> set = random_set(100);
	std::vector<Datum> copy = set;
	std::vector<Datum> nothing;

	EXPECT_EQ(subtract(copy, nothing, layout).size(), set.size());
	EXPECT_EQ(copy, set);
	EXPECT_EQ(intersect(copy, set, layout).size(), set.size());
	EXPECT_EQ(copy, set);
	EXPECT_TRUE(subtract(copy, set, layout).empty());
	copy = set;
	EXPECT_TRUE(intersect(copy, nothing, layout).empty());
	EXPECT_TRUE(subtract(nothing, set, layout).empty());
	EXPECT_TRUE(intersect(nothing, set, layout).empty());
}

/* Equal values that lie elsewhere in memory are the same element. */
TEST_P(Elements, IdentityIsTheBytesNotTheAddress)
{
	std::vector<Datum> one = {values.make("a", true)};
	std::vector<Datum> other = {values.make("a", false)};

	EXPECT_EQ(compare_images(one[0], other[0], layout), 0);
	EXPECT_TRUE(contains_image(one, other[0], layout));
	EXPECT_EQ(intersect(one, other, layout).size(), 1u);
	EXPECT_TRUE(subtract(one, other, layout).empty());
}

TEST_P(Elements, ContainsFindsWhatIsThereAndNothingElse)
{
	for (size_t count = 0; count < 60; count++)
	{
		std::vector<Datum> set = random_set(count);
		std::set<std::string> images = values.images(set);

		for (Datum value : set)
			EXPECT_TRUE(contains_image(set, value, layout));
		for (Datum value : values.random(engine, 60))
			EXPECT_EQ(contains_image(set, value, layout), images.contains(values.image(value)));
	}
}

TEST_P(Elements, AMillionValues)
{
	constexpr size_t count = 1000000;
	std::vector<Datum> some = values.random(engine, 1000);
	std::vector<Datum> all;

	all.reserve(count);
	while (all.size() < count)
		all.push_back(some[engine() % some.size()]);
	EXPECT_EQ(sort_distinct(all, layout).size(), values.images(some).size());
}

/* What was put in is let through always, anything else hardly ever; however the same value is stored. */
TEST_P(Elements, SieveLetsThroughWhatItHolds)
{
	for (size_t count : {0, 1, 2, 20, 1000})
	{
		std::vector<Datum> held;
		std::vector<Datum> others;

		for (size_t i = 0; i < count; i++)
			held.push_back(values.make("held " + std::to_string(i), i % 2 == 0));

		int			log2 = Sieve::log2_for(held.size());
		std::vector<uint64> words(Sieve::bytes_for(log2) / sizeof(uint64));
		Sieve		sieve;

		ASSERT_FALSE(words.empty());
		sieve.init(log2, words.data());
		for (Datum value : held)
			sieve.insert(value, layout);
		for (size_t i = 0; i < count; i++)
		{
			EXPECT_TRUE(sieve.may_hold(held[i], layout));
			EXPECT_TRUE(sieve.may_hold(values.make("held " + std::to_string(i), i % 2 == 1), layout));
		}
		if (count == 0)
		{
			EXPECT_FALSE(sieve.may_hold(values.make("a"), layout));
		}
	}
}

TEST(Sieve, LetsFewOthersThrough)
{
	Layout		layout = {4, true, TYPALIGN_INT};
	int			log2 = Sieve::log2_for(1000);
	std::vector<uint64> words(Sieve::bytes_for(log2) / sizeof(uint64));
	Sieve		sieve;
	int			through = 0;

	sieve.init(log2, words.data());
	for (int i = 0; i < 1000; i++)
		sieve.insert(Int32GetDatum(200 * i + 7), layout);
	for (int i = 0; i < 200000; i++)
		through += i % 200 != 7 && sieve.may_hold(Int32GetDatum(i), layout);
	EXPECT_LT(through, 200000 / 8);
	EXPECT_GE(Sieve::log2_for(0), 6);
	EXPECT_LE(Sieve::log2_for(SIZE_MAX), 26);
}

/* Of any length, and told apart by each of its bytes, a zero at the end too. */
TEST(HashOfBytes, TellsBytesApart)
{
	std::set<uint64> high_halves;
	size_t		count = 0;

	for (size_t length = 0; length <= 40; length++)
	{
		std::string bytes(length, '\0');

		high_halves.insert(hash_of_bytes(bytes) >> 32);
		count++;
		for (size_t at = 0; at < length; at++)
			for (char byte : {'\1', '\x80', '\xff'})
			{
				bytes[at] = byte;
				EXPECT_EQ(hash_of_bytes(bytes), hash_of_bytes(std::string(bytes)));
				EXPECT_TRUE(same_bytes(bytes.data(), std::string(bytes).data(), length));
				EXPECT_FALSE(same_bytes(bytes.data(), std::string(length, '\0').data(), length));
				high_halves.insert(hash_of_bytes(bytes) >> 32);
				bytes[at] = '\0';
				count++;
			}
	}
	EXPECT_GE(high_halves.size() + 2, count);
}

/* The ends of the value's range, which an order by difference would get wrong. */
TEST(ByValue, ExtremeValues)
{
	Layout		layout = {8, true, TYPALIGN_DOUBLE};
	std::vector<Datum> all;

	for (int64 number : {PG_INT64_MAX, PG_INT64_MIN, int64{0}, int64{-1}, int64{1}, PG_INT64_MIN, PG_INT64_MAX})
		all.push_back(Int64GetDatum(number));

	std::span<Datum> set = sort_distinct(all, layout);

	EXPECT_EQ(set.size(), 5u);
	EXPECT_TRUE(contains_image(set, Int64GetDatum(PG_INT64_MIN), layout));
	EXPECT_FALSE(contains_image(set, Int64GetDatum(2), layout));
}

/* A value that is another one's beginning is not that value, nor is one with a zero byte more. */
TEST(Varlena, LengthCounts)
{
	Values		values({-1, false, TYPALIGN_INT});
	std::vector<Datum> all;

	for (const std::string &bytes : {std::string(), std::string(1, '\0'), std::string("a"), std::string("a\0", 2),
									 std::string("ab"), std::string(126, 'a'), std::string(127, 'a')})
		for (bool short_header : {false, true})
			all.push_back(values.make(bytes, short_header));

	EXPECT_EQ(sort_distinct(all, values.layout).size(), 7u);
}

} /* namespace */
