/*
 * keyset.cpp
 *	  src/report/keyset.h against std::set: a bitmap, a table of integers, and the parts of a set.
 */
#include <set>

#include "report/keyset.h"
#include "../../unit/server.h"
#undef printf
#undef fprintf
#include "input.h"

using namespace integrity;

namespace
{

void
fuzz_integers(Input *input)
{
	size_t		limit = input->number<uint16_t>() * size_t{64};
	IntegerSet	set;
	std::set<int64> truth;

	most_allocated_bytes = allocated_bytes = 0;
	set.init(nullptr, limit);
	while (!input->empty())
	{
		uint8_t		what = input->number<uint8_t>();
		int64		value = what % 2 == 0 ? input->number<int16_t>() : input->number<int64>();

		if (what % 4 == 3)
			AGREE(set.contains(value) == truth.contains(value));
		else if (what % 16 == 4)
		{
			/* Many at a time, so that it grows. */
			for (int64 i = 0; i < 500; i++)
			{
				int64		each = static_cast<int64>(static_cast<uint64>(value) + static_cast<uint64>(i) * what);

				if (set.insert(each))
					truth.insert(each);
			}
		}
		else if (set.insert(value))
			truth.insert(value);
		AGREE(most_allocated_bytes <= limit);
	}
	/* What was refused has changed nothing. */
	for (int64 value : truth)
	{
		AGREE(set.contains(value));
		AGREE(set.contains(value + (value < PG_INT64_MAX)) == truth.contains(value + (value < PG_INT64_MAX)));
	}

	IntegerSet	attached;

	attached.attach(const_cast<int64 *>(set.slots()), set.slot_count(), set.has_zero());
	for (int64 value : truth)
		AGREE(attached.contains(value));
	AGREE(attached.contains(0) == truth.contains(0));
	set.free();
	AGREE(allocated_bytes == 0);
}

void
fuzz_bitmap(Input *input)
{
	int64		low = input->number<int64>();
	int64		high = static_cast<int64>(static_cast<uint64>(low) + input->number<uint16_t>());

	if (high < low)
		return;

	size_t		bytes = Bitmap::bytes_for(low, high);
	auto	   *words = static_cast<uint64 *>(calloc(1, bytes));
	Bitmap		bitmap;
	std::set<int64> truth;

	bitmap.init(low, high, words);
	while (!input->empty())
	{
		uint8_t		what = input->number<uint8_t>();
		int64		value = what % 2 == 0 ? static_cast<int64>(static_cast<uint64>(low) + input->number<uint16_t>()) :
			input->number<int64>();

		if (what % 4 < 2)
		{
			bitmap.insert(value);
			if (value >= low && value <= high)
				truth.insert(value);
		}
		AGREE(bitmap.contains(value) == truth.contains(value));
	}
	for (int64 value : truth)
		AGREE(bitmap.contains(value));
	free(words);
}

/* Each value is in one part of a set, whatever the number of parts. */
void
fuzz_parts(Input *input)
{
	uint32		of = uint32{1} << input->number<uint8_t>() % 16;

	while (!input->empty())
	{
		uint64		hash = input->number<uint64>();
		int			wide = 0;
		int			narrow = 0;

		for (uint32 number = 0; number < of; number++)
		{
			wide += Part{number, of}.holds(hash);
			narrow += Part{number, of}.holds32(static_cast<uint32>(hash));
		}
		AGREE(wide == 1 && narrow == 1);
		if (of > 256)
			return;
	}
}

} /* namespace */

extern "C" int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input		input(data, size);

	switch (input.number<uint8_t>() % 3)
	{
		case 0:
			fuzz_integers(&input);
			break;
		case 1:
			fuzz_bitmap(&input);
			break;
		default:
			fuzz_parts(&input);
	}
	return 0;
}
