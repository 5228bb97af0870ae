/*
 * elements.cpp
 *	  The set operations of src/reference/elements.h against std::set, for every way that PostgreSQL stores a type.
 */
#include <deque>
#include <set>
#include <vector>

#include "reference/elements.h"
#undef printf
#undef fprintf
#include "input.h"

using namespace integrity;

namespace
{

constexpr Layout layouts[] = {{1, true, TYPALIGN_CHAR}, {2, true, TYPALIGN_SHORT}, {4, true, TYPALIGN_INT}, {8, true, TYPALIGN_DOUBLE},
	{16, false, TYPALIGN_CHAR}, {6, false, TYPALIGN_INT}, {-1, false, TYPALIGN_INT}, {-2, false, TYPALIGN_CHAR}};

/* A value, in memory that ends where it ends. */
struct Value
{
	Datum		datum;
	std::string image;
};

class Values
{
public:
	Values(Input *input, const Layout &layout) : input_(input), layout_(layout)
	{
	}

	~Values()
	{
		for (char *each : memory_)
			free(each);
	}

	Value
	next()
	{
		if (layout_.byval)
		{
			Datum		datum = layout_.len == 1 ? BoolGetDatum(input_->number<uint8_t>() & 1) :
				layout_.len == 2 ? Int16GetDatum(input_->number<int16>()) :
				layout_.len == 4 ? Int32GetDatum(input_->number<int32>()) : Int64GetDatum(input_->number<int64>());

			return {datum, std::string(reinterpret_cast<char *>(&datum), sizeof(datum))};
		}

		std::string image = input_->string(layout_.len > 0 ? static_cast<size_t>(layout_.len) : 140);
		std::string stored;

		if (layout_.len > 0)
			stored = (image.resize(static_cast<size_t>(layout_.len)), image);
		else if (layout_.len == -2)
			stored = (image = image.c_str()) + '\0';
		else if (input_->number<uint8_t>() % 2 == 0 && image.size() + VARHDRSZ_SHORT <= VARATT_SHORT_MAX)
		{
			stored = std::string(VARHDRSZ_SHORT, '\0') + image;
			SET_VARSIZE_SHORT(stored.data(), stored.size());
		}
		else
		{
			stored = std::string(VARHDRSZ, '\0') + image;
			SET_VARSIZE(stored.data(), stored.size());
		}

		auto	   *memory = static_cast<char *>(malloc(stored.size()));

		memcpy(memory, stored.data(), stored.size());
		memory_.push_back(memory);
		return {PointerGetDatum(memory), image};
	}

private:
	Input	   *input_;
	const Layout &layout_;
	std::deque<char *> memory_;
};

struct Set
{
	std::vector<Datum> datums;
	std::set<std::string> truth;
};

void
expect(std::span<const Datum> values, const std::set<std::string> &truth, const Layout &layout)
{
	AGREE(values.size() == truth.size());
	for (size_t i = 0; i < values.size(); i++)
	{
		AGREE(i == 0 || compare_images(values[i - 1], values[i], layout) < 0);
		AGREE(truth.contains(layout.byval ? std::string(reinterpret_cast<const char *>(&values[i]), sizeof(Datum)) :
							 std::string(image_of(values[i], layout))));
	}
}

} /* namespace */

extern "C" int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input		input(data, size);
	const Layout &layout = layouts[input.number<uint8_t>() % std::size(layouts)];
	Values		values(&input, layout);
	Set			sets[2];

	while (!input.empty())
	{
		uint8_t		to = input.number<uint8_t>();
		Value		value = values.next();

		for (int i = 0; i < 2; i++)
			if (to & (1 << i))
			{
				sets[i].datums.push_back(value.datum);
				sets[i].truth.insert(value.image);
			}
	}

	std::set<std::string> without;
	std::set<std::string> common;

	for (const std::string &image : sets[0].truth)
		(sets[1].truth.contains(image) ? common : without).insert(image);

	std::span<Datum> a = sort_distinct(sets[0].datums, layout);
	std::span<Datum> b = sort_distinct(sets[1].datums, layout);
	std::vector<Datum> copy(a.begin(), a.end());

	expect(a, sets[0].truth, layout);
	expect(b, sets[1].truth, layout);
	for (Datum value : a)
		AGREE(contains_image(b, value, layout) ==
			  common.contains(layout.byval ? std::string(reinterpret_cast<char *>(&value), sizeof(Datum)) :
							  std::string(image_of(value, layout))));
	expect(subtract(a, b, layout), without, layout);
	expect(intersect(copy, b, layout), common, layout);
	return 0;
}
