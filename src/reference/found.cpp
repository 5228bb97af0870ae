/*
 * found.cpp
 *	  Remembers keys by the bytes of the elements that were found for them.
 */
#include "found.h"

namespace integrity
{
namespace
{

constexpr size_t ways = 4;

/* 16 kB in every session for good; what is larger, half a MB or 8 MB, goes at the end of the transaction. */
constexpr size_t few_sets = 128;
constexpr size_t more_sets = 4096;
constexpr size_t many_sets = 65536;

/* One element; it is there if the epoch is the current one. */
struct Slot
{
	uint32		epoch;
	uint8		length;
	char		bytes[27];
};

struct FoundKeys
{
	Oid			trigger;
	uint64		generation;		/* of the rule */
	CommandId	command;
	uint32		epoch;			/* 0 is no epoch */
	uint64		epochs;			/* the same without going round */
	uint32		turn;			/* which way of a full set is given up next */
	size_t		given_up;		/* how many were, since the slots were made */
	bool		has_callbacks;
	size_t		sets;
	Slot	   *slots;			/* sets * ways of them, made when first needed */
};

FoundKeys	found;

void
forget()
{
	found.trigger = InvalidOid;
	found.epochs++;
	if (++found.epoch != 0)
		return;
	/* It has gone round: slots of four billion commands ago would look new. */
	if (found.slots)
		memset(static_cast<void *>(found.slots), 0, sizeof(Slot) * found.sets * ways);
	found.epoch = 1;
}

void
allocate(size_t sets)
{
	found.slots = static_cast<Slot *>(MemoryContextAllocZero(TopMemoryContext, sizeof(Slot) * sets * ways));
	found.sets = sets;
	found.given_up = 0;
}

/* What was remembered is forgotten. */
void
make_room(size_t sets)
{
	pfree(found.slots);
	found.slots = nullptr;
	found.sets = 0;				/* for the end of the transaction, should there be no memory */
	allocate(sets);
}

void
at_transaction_end(XactEvent event, void *)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	forget();
	if (found.sets > few_sets)
	{
		pfree(found.slots);
		found.slots = nullptr;
		found.sets = 0;
	}
}

void
at_subtransaction_end(SubXactEvent event, SubTransactionId, SubTransactionId, void *)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget();
}

/* The bytes of an element, if they fit into a slot. */
std::string_view
image_of_element(const Rule &rule, const Datum &element)
{
	const Layout &layout = rule.compare.element;

	if (layout.byval)
		return {reinterpret_cast<const char *>(&element), sizeof(Datum)};

	std::string_view image = image_of(element, layout);

	return image.size() <= sizeof(Slot::bytes) ? image : std::string_view();
}

Slot *
set_of(std::string_view image)
{
	uint32		hash = hash_bytes(reinterpret_cast<const unsigned char *>(image.data()), static_cast<int>(image.size()));

	return found.slots + hash % found.sets * ways;
}

bool
holds(const Slot &slot, std::string_view image)
{
	return slot.epoch == found.epoch && slot.length == image.size() && memcmp(slot.bytes, image.data(), image.size()) == 0;
}

} /* namespace */

void
use_found_keys(const Rule &rule)
{
	CommandId	command = GetCurrentCommandId(false);

	if (found.trigger == rule.trigger && found.generation == rule_generation() && found.command == command)
		return;
	if (!found.has_callbacks)
	{
		RegisterXactCallback(at_transaction_end, nullptr);
		RegisterSubXactCallback(at_subtransaction_end, nullptr);
		found.has_callbacks = true;
	}
	if (found.slots == nullptr)
		allocate(few_sets);
	forget();
	found.trigger = rule.trigger;
	found.generation = rule_generation();
	found.command = command;
}

bool
is_found_key(const Rule &rule, Datum element)
{
	std::string_view image = image_of_element(rule, element);

	if (image.empty())
		return false;

	const Slot *set = set_of(image);

	return std::any_of(set, set + ways, [&](const Slot &slot) { return holds(slot, image); });
}

void
remember_found_key(const Rule &rule, Datum element)
{
	std::string_view image = image_of_element(rule, element);

	if (image.empty())
		return;

	Slot	   *set = set_of(image);
	Slot	   *slot = std::find_if(set, set + ways, [&](const Slot &each) { return each.epoch != found.epoch; });

	if (slot == set + ways && ++found.given_up > few_sets && found.sets == few_sets)
	{
		make_room(more_sets);
		slot = set_of(image);
	}
	else if (slot == set + ways)
		slot = set + found.turn++ % ways;
	slot->epoch = found.epoch;
	slot->length = static_cast<uint8>(image.size());
	memcpy(slot->bytes, image.data(), image.size());
}

uint64
found_epoch()
{
	return found.epochs;
}

void
make_room_for_found_keys(const Rule &rule)
{
	if (found.sets == many_sets)
		return;
	make_room(many_sets);
	use_found_keys(rule);
}

} /* namespace integrity */
