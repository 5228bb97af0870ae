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

/* 16 kB for each in every session for good; what is larger, half a MB or 8 MB, goes at the end of the transaction. */
constexpr size_t few_sets = 128;
constexpr size_t more_sets = 4096;
constexpr size_t many_sets = 65536;
constexpr int most_with_many = 2;

/* One element; it is there if the epoch is the current one. */
struct Slot
{
	uint32		epoch;
	uint8		length;
	char		bytes[27];
};

} /* namespace */

struct FoundKeys
{
	uint64		generation;		/* of the rule */
	uint64		number;			/* of the epoch, that no other one has */
	size_t		given_up;		/* how many elements were, since the slots were made */
	size_t		sets;
	Slot	   *slots;			/* sets * ways of them, made when first needed */
	Oid			trigger;
	CommandId	command;
	uint32		epoch;			/* 0 is no epoch */
	uint32		turn;			/* which way of a full set is given up next */
};

namespace
{

FoundKeys	remembered[rules_remembered];
uint32		next_place;			/* the one to be given up next */
uint64		last_epoch;
bool		has_callbacks;

void
forget(FoundKeys *found)
{
	found->trigger = InvalidOid;
	found->number = ++last_epoch;
	if (++found->epoch != 0)
		return;
	/* It has gone round: slots of four billion commands ago would look new. */
	if (found->slots)
		memset(static_cast<void *>(found->slots), 0, sizeof(Slot) * found->sets * ways);
	found->epoch = 1;
}

void
allocate(FoundKeys *found, size_t sets)
{
	found->slots = static_cast<Slot *>(MemoryContextAllocZero(TopMemoryContext, sizeof(Slot) * sets * ways));
	found->sets = sets;
	found->given_up = 0;
}

void
release(FoundKeys *found)
{
	pfree(found->slots);
	found->slots = nullptr;
	found->sets = 0;
}

/* What was remembered is forgotten. Should there be no memory, there are no slots until the next command. */
void
make_room(FoundKeys *found, size_t sets)
{
	Oid			trigger = found->trigger;

	release(found);
	found->trigger = InvalidOid;
	allocate(found, sets);
	found->trigger = trigger;
}

void
at_transaction_end(XactEvent event, void *)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	for (FoundKeys &found : remembered)
	{
		forget(&found);
		if (found.sets > few_sets)
			release(&found);
	}
}

void
at_subtransaction_end(SubXactEvent event, SubTransactionId, SubTransactionId, void *)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		for (FoundKeys &found : remembered)
			forget(&found);
}

/* The place of this rule, or one for it. */
FoundKeys *
place_for(Oid trigger)
{
	auto		is_of = [&](Oid which) { return [=](const FoundKeys &found) { return found.trigger == which; }; };
	auto		end = remembered + rules_remembered;
	auto		place = std::find_if(remembered, end, is_of(trigger));

	if (place == end)
		place = std::find_if(remembered, end, is_of(InvalidOid));
	if (place == end)
		place = remembered + next_place++ % uint32{rules_remembered};
	return place;
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
set_of(const FoundKeys *found, std::string_view image)
{
	static_assert(many_sets <= size_t{1} << 16);

	return found->slots + (hash_of_bytes(image) >> 48) % found->sets * ways;
}

bool
holds(const FoundKeys *found, const Slot &slot, std::string_view image)
{
	return slot.epoch == found->epoch && slot.length == image.size() && memcmp(slot.bytes, image.data(), image.size()) == 0;
}

} /* namespace */

FoundKeys *
current_found_keys(Oid trigger)
{
	CommandId	command = GetCurrentCommandId(false);

	for (FoundKeys &found : remembered)
		if (found.trigger == trigger && found.command == command && found.generation == rule_generation())
			return &found;
	return nullptr;
}

FoundKeys *
found_keys_of(const Rule &rule)
{
	FoundKeys  *found = current_found_keys(rule.trigger);

	if (found)
		return found;
	if (!has_callbacks)
	{
		RegisterXactCallback(at_transaction_end, nullptr);
		RegisterSubXactCallback(at_subtransaction_end, nullptr);
		has_callbacks = true;
	}
	found = place_for(rule.trigger);
	forget(found);
	if (found->slots == nullptr)
		allocate(found, few_sets);
	found->trigger = rule.trigger;
	found->generation = rule_generation();
	found->command = GetCurrentCommandId(false);
	return found;
}

bool
is_found_key(const FoundKeys *found, const Rule &rule, Datum element)
{
	std::string_view image = image_of_element(rule, element);

	if (image.empty() || found->trigger != rule.trigger)
		return false;

	const Slot *set = set_of(found, image);

	return std::any_of(set, set + ways, [&](const Slot &slot) { return holds(found, slot, image); });
}

void
remember_found_key(FoundKeys *found, const Rule &rule, Datum element)
{
	std::string_view image = image_of_element(rule, element);

	/* A cast or a comparison may have run commands, and they have forgotten all. */
	if (image.empty() || found->trigger != rule.trigger)
		return;

	Slot	   *set = set_of(found, image);
	Slot	   *slot = std::find_if(set, set + ways, [&](const Slot &each) { return each.epoch != found->epoch; });

	if (slot == set + ways && ++found->given_up > few_sets && found->sets == few_sets)
	{
		make_room(found, more_sets);
		slot = set_of(found, image);
	}
	else if (slot == set + ways)
		slot = set + found->turn++ % ways;
	slot->epoch = found->epoch;
	slot->length = static_cast<uint8>(image.size());
	memcpy(slot->bytes, image.data(), image.size());
}

uint64
found_epoch(const FoundKeys *found)
{
	return found->number;
}

int
found_place(const FoundKeys *found)
{
	return static_cast<int>(found - remembered);
}

void
make_room_for_found_keys(FoundKeys *found, size_t count)
{
	auto		with_many = std::count_if(remembered, remembered + rules_remembered,
										  [](const FoundKeys &each) { return each.sets == many_sets; });
	size_t		wanted = count * 2 <= few_sets * ways ? few_sets :
		count * 2 <= more_sets * ways || with_many >= most_with_many ? more_sets : many_sets;

	if (found->sets < wanted)
		make_room(found, wanted);
}

} /* namespace integrity */
