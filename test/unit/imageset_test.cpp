/*
 * imageset_test.cpp
 *	  src/report/imageset.h for every way that PostgreSQL stores a type, against
 *	  std::map: values, counts, the copy into shared memory, the memory limit.
 */
#include <gtest/gtest.h>

#include <map>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "report/imageset.h"
#include "server.h"

using namespace integrity;

namespace
{

constexpr Layout word = {4, true, TYPALIGN_INT};
constexpr Layout uuid = {16, false, TYPALIGN_CHAR};
constexpr Layout odd = {13, false, TYPALIGN_CHAR};
constexpr Layout text = {-1, false, TYPALIGN_INT};
constexpr Layout cstring = {-2, false, TYPALIGN_CHAR};

/* A poor one, so that values share slots and whole hashes. */
uint32
poor_hash(std::string_view image)
{
	uint32		hash = 0;

	for (char byte : image)
		hash = hash * 31 + static_cast<unsigned char>(byte);
	return hash % 1000;
}

std::string
random_image(const Layout &layout, std::mt19937_64 &random)
{
	std::string image;
	size_t		length = layout.byval ? sizeof(Datum) : layout.len > 0 ? static_cast<size_t>(layout.len) :
		random() % 50 == 0 ? random() % 5000 : random() % 12;

	for (size_t i = 0; i < length; i++)
		image += static_cast<char>(random() % 3 + (layout.len == -2 ? 1 : 0));
	return image;
}

ImageSet
empty_set(const Layout &layout, size_t limit)
{
	ImageSet	set;

	set.init(nullptr, layout, limit);
	return set;
}

using Counts = std::map<std::string, uint64>;

Counts
counts_of(const ImageSet &set)
{
	Counts		counts;

	set.for_each([&](const ImageEntry &entry)
	{
		EXPECT_TRUE(counts.emplace(set.image_at(entry), entry.count).second) << "there twice";
	});
	return counts;
}

/* The value that PostgreSQL would be given. */
void
expect_value(const ImageSet &set, const ImageEntry &entry, const std::string &image)
{
	Datum		value = set.datum_at(entry);

	EXPECT_EQ(reinterpret_cast<uintptr_t>(&entry) % MAXIMUM_ALIGNOF, 0u);
	EXPECT_EQ(stored_image(value, set.layout()), image);
	if (set.layout().byval)
		EXPECT_EQ(memcmp(&value, image.data(), sizeof(value)), 0);
	else
		EXPECT_EQ(reinterpret_cast<uintptr_t>(value) % MAXIMUM_ALIGNOF, 0u);
	if (set.layout().len == -1)
	{
		EXPECT_EQ(VARSIZE(reinterpret_cast<void *>(value)), image.size() + VARHDRSZ);
	}
}

struct Kind
{
	const char *name;
	Layout		layout;
};

void
PrintTo(const Kind &kind, std::ostream *out)
{
	*out << kind.name;
}

class ImageSets : public testing::TestWithParam<Kind>
{
protected:
	const Layout layout = GetParam().layout;
};

TEST_P(ImageSets, CountEachValueByItself)
{
	std::mt19937_64 random(11);

	for (int values : {0, 1, 47, 48, 49, 100, 20000})
	{
		ImageSet	set = empty_set(layout, 256 << 20);
		Counts		truth;

		for (int i = 0; i < values; i++)
		{
			std::string image = random_image(layout, random);
			uint64		times = random() % 4;

			ASSERT_TRUE(set.count(poor_hash(image), image, times));
			truth[image] += times;
		}
		EXPECT_EQ(counts_of(set), truth);
		EXPECT_EQ(set.size(), truth.size());

		/* Elsewhere, over a copy, at another address. */
		std::vector<uint64> memory(set.flat_size() / sizeof(uint64) + 1, ~uint64{0});
		ImageSet	copy;

		EXPECT_EQ(set.flat_size() % sizeof(uint64), 0u);
		set.copy_to(reinterpret_cast<char *>(memory.data()));
		EXPECT_EQ(memory.back(), ~uint64{0}) << "copied more than flat_size()";
		copy.attach(set.layout(), reinterpret_cast<char *>(memory.data()), set.slot_count(), set.arena_used());

		/* As one block, as a worker hands it over: entries that are added to another set. */
		ImageSet	sum = empty_set(layout, 256 << 20);
		std::string arena(set.arena() ? set.arena() : "", set.arena_used());

		for (int round = 0; round < 2; round++)
			ImageSet::for_each_entry(arena.data(), arena.size(), sum.layout(), [&](const ImageEntry &entry)
			{
				ASSERT_TRUE(sum.count(entry.hash, sum.image_at(entry), entry.count));
			});

		for (const ImageSet *each : std::initializer_list<const ImageSet *>{&set, &copy, &sum})
		{
			for (const auto &[image, count] : truth)
			{
				ImageEntry *entry = each->find_image(poor_hash(image), image);

				ASSERT_NE(entry, nullptr);
				EXPECT_EQ(entry->count, each == &sum ? 2 * count : count);
				expect_value(*each, *entry, image);
			}
			for (int i = 0; i < values; i++)
			{
				std::string image = random_image(layout, random);

				EXPECT_EQ(each->find_image(poor_hash(image), image) != nullptr, truth.count(image) > 0);
				EXPECT_EQ(each->holds_image(each->prefetch_entry(poor_hash(image)), poor_hash(image), image), truth.count(image) > 0);
			}
		}
		set.free();
		set.free();
		sum.free();
	}
	EXPECT_EQ(allocated_bytes, 0u);
}

TEST_P(ImageSets, NeverAllocateMoreThanTheirLimit)
{
	for (size_t limit : {0u, 1u, 255u, 256u, 300u, 2303u, 2304u, 2305u, 4000u, 65536u, 100001u, 1000000u})
	{
		std::mt19937_64 random(limit);
		ImageSet	set = empty_set(layout, limit);
		Counts		truth;

		most_allocated_bytes = allocated_bytes = 0;
		for (int i = 0; i < 60000; i++)
		{
			std::string image = random_image(layout, random);
			bool		known = truth.count(image) > 0;

			if (set.count(poor_hash(image), image, 1))
				truth[image]++;
			else
				EXPECT_FALSE(known) << "no room is needed for what is there";
			ASSERT_LE(most_allocated_bytes, limit);
			ASSERT_LE(set.flat_size(), limit);
		}

		/* What was refused has changed nothing. */
		EXPECT_EQ(counts_of(set), truth);
		for (const auto &[image, count] : truth)
			ASSERT_NE(set.find_image(poor_hash(image), image), nullptr);

		/* And the room is used: what is refused would not have fitted, but for slots that would double. */
		if (limit >= 4000 && set.layout().len == -1)
		{
			EXPECT_GT(set.flat_size(), limit / 3);
		}
		set.free();
		EXPECT_EQ(allocated_bytes, 0u);
	}
}

INSTANTIATE_TEST_SUITE_P(Layouts, ImageSets, testing::Values(Kind{"word", word}, Kind{"uuid", uuid}, Kind{"odd", odd},
															 Kind{"text", text}, Kind{"cstring", cstring}),
						 [](const auto &info) { return std::string(info.param.name); });

TEST(ImageSet, EmptyAndHugeValues)
{
	ImageSet	set = empty_set(text, 64 << 20);
	std::string huge(10 << 20, 'x');

	EXPECT_EQ(set.find_image(0, ""), nullptr);
	ASSERT_TRUE(set.count(0, "", 3));
	ASSERT_TRUE(set.count(1, huge, 1));
	ASSERT_TRUE(set.count(0, "", 4));
	EXPECT_EQ(counts_of(set), (Counts{{"", 7}, {huge, 1}}));
	expect_value(set, *set.find_image(0, ""), "");
	expect_value(set, *set.find_image(1, huge), huge);

	/* One too large for what is left leaves room for others. */
	EXPECT_FALSE(set.count(2, std::string(60 << 20, 'y'), 1));
	EXPECT_TRUE(set.count(3, "z", 1));
	EXPECT_EQ(set.size(), 3u);

	/* No Datum of PostgreSQL is that long; it is not even read. */
	EXPECT_EQ(set.insert(4, std::string_view(huge.data(), MaxAllocSize), 1), nullptr);
	set.free();
}

TEST(ImageSet, BytesMayBeZero)
{
	ImageSet	set = empty_set(text, 1 << 20);

	for (std::string image : {std::string(1, '\0'), std::string(2, '\0'), std::string("a\0b", 3), std::string("a"), std::string("a\0", 2)})
		ASSERT_TRUE(set.count(5, image, 1));
	EXPECT_EQ(set.size(), 5u);
	set.free();
}

/* The caller's "equal" decides; the hash alone never does. */
TEST(ImageSet, FindAsksTheCaller)
{
	ImageSet	set = empty_set(text, 1 << 20);
	int			asked = 0;

	ASSERT_TRUE(set.insert(9, "Anna", 1) && set.insert(9, "bob", 1) && set.insert(9 + 64, "carl", 1));
	EXPECT_EQ(set.find(9, [&](const ImageEntry &)
	{
		asked++;
		return false;
	}), nullptr);
	EXPECT_EQ(asked, 2) << "only those with this hash";
	EXPECT_EQ(set.image_at(*set.find(9, [&](const ImageEntry &entry) { return set.image_at(entry) == "bob"; })), "bob");
	set.free();
}

/* Of several values with one hash, the first is what comes from memory ahead; it need not be the one. */
TEST(ImageSet, HoldsWhatStandsBehindAnotherOfItsHash)
{
	ImageSet	set = empty_set(text, 1 << 20);

	EXPECT_EQ(set.prefetch_entry(9), nullptr);
	EXPECT_FALSE(set.holds_image(nullptr, 9, "anna"));
	ASSERT_TRUE(set.insert(9, "anna", 1) && set.insert(9, "bob", 1) && set.insert(9 + 64, "carl", 1));

	const ImageEntry *first = set.prefetch_entry(9);

	ASSERT_NE(first, nullptr);
	EXPECT_TRUE(set.holds_image(first, 9, "anna"));
	EXPECT_TRUE(set.holds_image(first, 9, "bob"));
	EXPECT_FALSE(set.holds_image(first, 9, "carl"));
	EXPECT_FALSE(set.holds_image(first, 9, "bo"));
	EXPECT_EQ(set.prefetch_entry(9 + 128), nullptr);
	set.free();
}

/* Between two tables of slots, and where the arena takes what the limit leaves. */
TEST(ImageSet, GrowsAtItsBoundaries)
{
	for (size_t limit = 2304; limit < 16000; limit += 8)
	{
		ImageSet	set = empty_set(uuid, limit);
		Counts		truth;

		most_allocated_bytes = allocated_bytes = 0;
		for (int i = 0; i < 1000; i++)
		{
			std::string image(16, '\0');

			memcpy(image.data(), &i, sizeof(i));
			if (!set.count(static_cast<uint32>(i), image, 1))
				break;
			truth[image] = 1;
		}
		ASSERT_LE(most_allocated_bytes, limit);
		ASSERT_EQ(counts_of(set), truth);
		for (const auto &[image, count] : truth)
		{
			uint32		hash;

			memcpy(&hash, image.data(), sizeof(hash));
			ASSERT_NE(set.find_image(hash, image), nullptr);
		}
		set.free();
	}
}

} /* namespace */
