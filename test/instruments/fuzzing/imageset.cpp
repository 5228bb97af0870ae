/*
 * imageset.cpp
 *	  src/report/imageset.h against std::map: values and counts, refusals at the memory limit, the copy elsewhere.
 */
#include <map>
#include <vector>

#include "report/imageset.h"
#include "../../unit/server.h"
#undef printf
#undef fprintf
#include "input.h"

using namespace integrity;

namespace
{

constexpr Layout layouts[] = {{8, true, TYPALIGN_DOUBLE}, {16, false, TYPALIGN_CHAR}, {13, false, TYPALIGN_CHAR},
	{-1, false, TYPALIGN_INT}, {-2, false, TYPALIGN_CHAR}};

/* Two bits of the input's choice, so that values share slots and whole hashes. */
uint32
hash_of(const std::string &image, uint32 mask)
{
	uint32		hash = 2166136261;

	for (char byte : image)
		hash = (hash ^ static_cast<unsigned char>(byte)) * 16777619;
	return hash & mask;
}

std::string
image_of_input(Input *input, const Layout &layout)
{
	std::string image = input->string(layout.len > 0 ? static_cast<size_t>(layout.len) : 60);

	if (layout.len > 0)
		image.resize(layout.byval ? sizeof(Datum) : static_cast<size_t>(layout.len));
	if (layout.len == -2)
		image = image.c_str();
	if (layout.len == -1 && input->number<uint8_t>() % 32 == 0)
		image += std::string(input->number<uint16_t>(), 'x');
	return image;
}

} /* namespace */

extern "C" int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input		input(data, size);
	const Layout &layout = layouts[input.number<uint8_t>() % std::size(layouts)];
	uint32		mask = input.number<uint8_t>() % 2 == 0 ? 3 : 0xffffffff;
	size_t		limit = input.number<uint16_t>() * size_t{8};
	ImageSet	set;
	std::map<std::string, uint64> truth;

	most_allocated_bytes = allocated_bytes = 0;
	set.init(nullptr, layout, limit);
	while (!input.empty())
	{
		std::string image = image_of_input(&input, layout);
		uint64		times = input.number<uint8_t>();

		if (set.count(hash_of(image, mask), image, times))
			truth[image] += times;
		else
			AGREE(!truth.contains(image));
		AGREE(most_allocated_bytes <= limit && set.flat_size() <= limit);
	}
	AGREE(set.size() == truth.size());

	auto	   *memory = static_cast<char *>(malloc(set.flat_size() + (set.flat_size() == 0)));
	ImageSet	copy;

	if (set.flat_size() > 0)
		set.copy_to(memory);
	copy.attach(layout, memory, set.slot_count(), set.arena_used());
	for (const ImageSet *each : {&set, &copy})
	{
		size_t		seen = 0;

		each->for_each([&](const ImageEntry &entry)
		{
			auto		at = truth.find(std::string(each->image_at(entry)));
			Datum		value = each->datum_at(entry);

			AGREE(at != truth.end() && at->second == entry.count);
			AGREE(stored_image(value, layout) == at->first);
			seen++;
		});
		AGREE(seen == truth.size());
		for (const auto &[image, count] : truth)
		{
			const ImageEntry *entry = each->find_image(hash_of(image, mask), image);

			AGREE(entry != nullptr && entry->count == count);
		}
	}
	free(memory);
	set.free();
	AGREE(allocated_bytes == 0);
	return 0;
}
