/*
 * keyset_test.cpp
 *	  The sets of integers of src/report/keyset.h against std::set, at the ends
 *	  of their range and at the limit of their memory.
 */
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "report/keyset.h"
#include "server.h"

using namespace integrity;

namespace
{

constexpr int64 lowest = PG_INT64_MIN;
constexpr int64 highest = PG_INT64_MAX;

/* A bitmap with memory of its own, for spans that have room. */
struct TestBitmap
{
	Bitmap		bitmap;
	std::vector<uint64> words;

	TestBitmap(int64 low, int64 high) : words(Bitmap::bytes_for(low, high) / sizeof(uint64))
	{
		bitmap.init(low, high, words.data());
	}
};

TEST(Bitmap, TakesOneBitForEachInteger)
{
	EXPECT_EQ(Bitmap::bytes_for(0, 0), 8u);
	EXPECT_EQ(Bitmap::bytes_for(0, 63), 8u);
	EXPECT_EQ(Bitmap::bytes_for(0, 64), 16u);
	EXPECT_EQ(Bitmap::bytes_for(-1, 62), 8u);
	EXPECT_EQ(Bitmap::bytes_for(lowest, lowest + 63), 8u);
	EXPECT_EQ(Bitmap::bytes_for(highest - 64, highest), 16u);
	/* The whole range does not overflow; nobody has so much memory. */
	EXPECT_EQ(Bitmap::bytes_for(lowest, highest), size_t{1} << 61);
	EXPECT_EQ(Bitmap::bytes_for(-1, highest), (size_t{1} << 60) + 8);
}

TEST(Bitmap, HoldsWhatWasInsertedAndNothingElse)
{
	std::mt19937_64 random(1);

	for (int64 low : {int64{0}, int64{1}, int64{-100}, int64{-64}, int64{12345}, lowest, highest - 499})
		for (int64 span : {0, 1, 62, 63, 64, 65, 127, 128, 499})
		{
			int64		high = low + span;
			TestBitmap	test(low, high);
			std::set<int64> truth;

			for (int i = 0; i < 50; i++)
			{
				auto		value = static_cast<int64>(static_cast<uint64>(low) + random() % static_cast<uint64>(span + 1));

				if (truth.size() % 2 == 0)
					test.bitmap.insert(value);
				else
					test.bitmap.insert_beside_others(value);
				truth.insert(value);
			}
			test.bitmap.insert(high);
			truth.insert(high);

			/* A few beyond either end too, even where they wrap around. */
			for (int64 i = -130; i <= span + 130; i++)
			{
				auto		value = static_cast<int64>(static_cast<uint64>(low) + static_cast<uint64>(i));

				EXPECT_EQ(test.bitmap.contains(value), truth.count(value) > 0) << low << " + " << i;
			}
			EXPECT_EQ(test.bitmap.contains(0), truth.count(0) > 0);
			EXPECT_EQ(test.bitmap.contains(lowest), truth.count(lowest) > 0);
			EXPECT_EQ(test.bitmap.contains(highest), truth.count(highest) > 0);
		}
}

TEST(Bitmap, LeavesOutWhatIsOutside)
{
	TestBitmap	test(10, 20);

	for (int64 value : {int64{9}, int64{21}, int64{64}, int64{-10}, int64{10 + 64}, lowest, highest})
	{
		test.bitmap.insert(value);
		EXPECT_FALSE(test.bitmap.contains(value)) << value;
		test.bitmap.insert_beside_others(value);
		EXPECT_FALSE(test.bitmap.contains(value)) << value;
	}
	EXPECT_EQ(test.words, std::vector<uint64>{0});
}

IntegerSet
empty_set(size_t limit)
{
	IntegerSet	set;

	set.init(nullptr, limit);
	return set;
}

/* Values that collide, lie side by side, or are special. */
std::vector<int64>
awkward_values(size_t count, uint64 seed)
{
	std::mt19937_64 random(seed);
	std::vector<int64> values = {0, 1, -1, lowest, highest, lowest + 1, highest - 1, 1024, 2048, int64{1} << 32};

	while (values.size() < count)
		switch (random() % 4)
		{
			case 0:
				values.push_back(static_cast<int64>(random()));
				break;
			case 1:
				values.push_back(values.back() + 1);
				break;
			case 2:
				values.push_back(values[random() % values.size()]);
				break;
			default:
				values.push_back(static_cast<int64>((random() % 1000) << 40));
		}
	return values;
}

TEST(IntegerSet, IsEmptyAtFirst)
{
	IntegerSet	set = empty_set(1 << 20);

	EXPECT_FALSE(set.contains(0));
	EXPECT_FALSE(set.contains(1));
	EXPECT_FALSE(set.contains(lowest));
	EXPECT_EQ(set.slot_count(), 0u);
	set.free();
	set.free();
}

TEST(IntegerSet, ZeroIsAValueLikeAnyOther)
{
	IntegerSet	set = empty_set(1 << 20);

	EXPECT_TRUE(set.insert(7));
	EXPECT_FALSE(set.contains(0));
	EXPECT_TRUE(set.insert(0));
	EXPECT_TRUE(set.contains(0));
	set.free();
}

TEST(IntegerSet, HoldsWhatWasInsertedAndNothingElse)
{
	for (size_t count : {11u, 682u, 683u, 684u, 1365u, 1366u, 50000u})
	{
		IntegerSet	set = empty_set(64 << 20);
		std::set<int64> truth;
		std::mt19937_64 random(count);

		for (int64 value : awkward_values(count, count))
		{
			ASSERT_TRUE(set.insert(value));
			truth.insert(value);
		}
		for (int64 value : truth)
			EXPECT_TRUE(set.contains(value)) << value;
		for (int64 value : truth)
			for (int64 near : {value + 1, value - 1, value ^ (int64{1} << 33)})
				EXPECT_EQ(set.contains(near), truth.count(near) > 0) << near;

		/* Elsewhere, over a copy: this is how a parallel worker uses it. */
		std::vector<int64> copy(set.slots(), set.slots() + set.slot_count());
		IntegerSet	other;

		other.attach(copy.data(), copy.size(), set.has_zero());
		set.free();
		for (int64 value : truth)
			EXPECT_TRUE(other.contains(value)) << value;
		for (size_t i = 0; i < count; i++)
		{
			auto		value = static_cast<int64>(random());

			EXPECT_EQ(other.contains(value), truth.count(value) > 0);
		}
	}
	EXPECT_EQ(allocated_bytes, 0u);
}

TEST(IntegerSet, AlwaysHasAFreeSlot)
{
	IntegerSet	set = empty_set(64 << 20);
	size_t		size = 0;

	/* Else a search for what is not there would not end. */
	for (int64 value = 1; value <= 100000; value++)
	{
		ASSERT_TRUE(set.insert(value));
		size++;
		ASSERT_LE(size * 3, set.slot_count() * 2);
	}
	set.free();
}

TEST(IntegerSet, NeverAllocatesMoreThanItsLimit)
{
	for (size_t limit : {0u, 1u, 8191u, 8192u, 24575u, 24576u, 100000u, 1u << 20, 786432u, 786431u})
	{
		IntegerSet	set = empty_set(limit);
		int64		value = 1;

		most_allocated_bytes = allocated_bytes = 0;
		while (value < 1000000 && set.insert(value))
			value++;
		EXPECT_LE(most_allocated_bytes, limit);

		/* Full, it has all it took, and refuses the rest. */
		for (int64 taken = 1; taken < value; taken++)
			ASSERT_TRUE(set.contains(taken));
		EXPECT_FALSE(set.contains(value));
		EXPECT_FALSE(set.insert(value));
		EXPECT_FALSE(set.contains(value));
		if (limit >= 8192)
		{
			EXPECT_GT(value, 600);
		}
		set.free();
		EXPECT_EQ(allocated_bytes, 0u);
	}
}

TEST(Part, EachValueIsInExactlyOne)
{
	std::mt19937_64 random(7);

	for (uint32 of : {1u, 2u, 4u, 8u, 16u})
	{
		std::vector<size_t> sizes(of);

		for (uint64 i = 0; i < 20000; i++)
		{
			/* Integers as they come: small, large, multiples of a power of two. */
			uint64		value = i % 3 == 0 ? i : i % 3 == 1 ? random() : i << 36;
			int			in = 0;
			int			in32 = 0;

			for (uint32 number = 0; number < of; number++)
			{
				Part		part = {number, of};

				if (part.holds(mix(value)))
				{
					in++;
					sizes[number]++;
				}
				in32 += part.holds32(static_cast<uint32>(value));
			}
			ASSERT_EQ(in, 1);
			ASSERT_EQ(in32, 1);
		}

		/* And they are of about one size, or more of them would not help. */
		for (size_t size : sizes)
			EXPECT_LT(size, 20000 / of * 5 / 4 + (of == 1 ? 1 : 0) * 20000) << of;
	}
}

/* Values of one part still spread over the slots: the part comes from other bits of the hash. */
TEST(Part, LeavesTheSlotsFree)
{
	Part		part = {3, 16};
	std::set<uint64> slots;
	int			values = 0;

	for (uint64 value = 1; values < 1000; value++)
		if (part.holds(mix(value)))
		{
			values++;
			slots.insert(mix(value) % 4096);
		}
	EXPECT_GT(slots.size(), 800u);
}

} /* namespace */
