/*
 * imageset.h
 *	  A set of values by their bytes, each with a count.
 *
 * The keys of a table that are not plain integers are kept in one, and so are
 * the broken values that a scan finds, with how often each was found.
 *
 * Everything lies in two blocks, a table of slots and an arena of entries, and
 * entries are known by their offset: so both can be copied as they are into
 * shared memory and used there by every process. This needs no operator, no
 * collation and no server, and is tested without one; the caller brings the
 * hash, and decides what "equal" means. A cancel may leave a set in the midst
 * of growing; then it can only be freed.
 */
#pragma once

#include "../reference/elements.h"

namespace integrity
{

/* What stands in the arena before the bytes of a value. */
struct ImageEntry
{
	uint64		count;
	uint32		hash;
	uint32		length;			/* of the bytes, without header or closing zero */
};

/*
 * Where an entry is, and its hash: to look at the entry itself means to wait
 * for memory once more.
 */
struct ImageSlot
{
	uint32		at;				/* 0, or 1 + the offset of an entry in units of MAXIMUM_ALIGNOF */
	uint32		hash;
};

/* Sets may take gigabytes, and whoever waits for one may want to cancel: memcpy() and memset() that let go now and then. */
inline constexpr size_t piece_size = 16 << 20;

inline void
copy_pieces(char *to, const char *from, size_t size)
{
	for (size_t at = 0; at < size; at += piece_size)
	{
		CHECK_FOR_INTERRUPTS();
		memcpy(to + at, from + at, std::min(piece_size, size - at));
	}
}

inline void
zero_pieces(char *to, size_t size)
{
	for (size_t at = 0; at < size; at += piece_size)
	{
		CHECK_FOR_INTERRUPTS();
		memset(to + at, 0, std::min(piece_size, size - at));
	}
}

class ImageSet
{
public:
	/*
	 * An empty set that allocates nothing yet. What it allocates comes from
	 * the given context, and never exceeds "limit" bytes.
	 */
	void
	init(MemoryContext context, const Layout &layout, size_t limit)
	{
		*this = ImageSet{};
		context_ = context;
		layout_ = layout;
		limit_ = limit;
	}

	/* A set over blocks that copy_to() has filled elsewhere; it cannot be added to. */
	void
	attach(Layout layout, char *memory, size_t slots, size_t used)
	{
		*this = ImageSet{};
		layout_ = layout;
		slots_ = reinterpret_cast<ImageSlot *>(memory);
		slot_count_ = slots;
		arena_ = memory + slots * sizeof(ImageSlot);
		used_ = used;
	}

	const Layout &layout() const { return layout_; }
	size_t		size() const { return size_; }
	size_t		slot_count() const { return slot_count_; }
	size_t		arena_used() const { return used_; }
	size_t		flat_size() const { return slot_count_ * sizeof(ImageSlot) + used_; }

	/* flat_size() bytes, for attach(). */
	void
	copy_to(char *memory) const
	{
		copy_pieces(memory, reinterpret_cast<const char *>(slots_), slot_count_ * sizeof(ImageSlot));
		copy_pieces(memory + slot_count_ * sizeof(ImageSlot), arena_, used_);
	}

	/* The entry that "equal" says is the one, or null. */
	template <typename Equal>
	ImageEntry *
	find(uint32 hash, Equal equal) const
	{
		if (slot_count_ == 0)
			return nullptr;
		for (size_t slot = hash & (slot_count_ - 1); slots_[slot].at != 0; slot = (slot + 1) & (slot_count_ - 1))
			if (slots_[slot].hash == hash && equal(*entry_at(slots_[slot])))
				return entry_at(slots_[slot]);
		return nullptr;
	}

	/*
	 * A look-up waits for memory twice: for the slot, and for the entry. Who has
	 * many to make asks for all slots first, then for all entries.
	 */
	void
	prefetch_slot(uint32 hash) const
	{
		if (slot_count_ > 0)
			__builtin_prefetch(&slots_[hash & (slot_count_ - 1)]);
	}

	/* The first entry with this hash, if there is one. It is on its way from memory, and not looked at yet. */
	const ImageEntry *
	prefetch_entry(uint32 hash) const
	{
		if (slot_count_ == 0)
			return nullptr;
		for (size_t slot = hash & (slot_count_ - 1); slots_[slot].at != 0; slot = (slot + 1) & (slot_count_ - 1))
			if (slots_[slot].hash == hash)
			{
				/* It may begin at the end of one line of the cache and go on in the next. */
				const char *entry = reinterpret_cast<const char *>(entry_at(slots_[slot]));

				__builtin_prefetch(entry);
				__builtin_prefetch(entry + 64);
				return reinterpret_cast<const ImageEntry *>(entry);
			}
		return nullptr;
	}

	ImageEntry *
	find_image(uint32 hash, std::string_view image) const
	{
		return find(hash, [&](const ImageEntry &entry) { return is_image(entry, image); });
	}

	/* Is it there? "first" is what prefetch_entry() has said; another value with the same hash may stand before it. */
	bool
	holds_image(const ImageEntry *first, uint32 hash, std::string_view image) const
	{
		return first && (is_image(*first, image) || find_image(hash, image));
	}

	/* Adds what is known not to be there. Null: that would exceed the limit, and nothing has changed. */
	ImageEntry *
	insert(uint32 hash, std::string_view image, uint64 count)
	{
		size_t		prefix = layout_.len == -1 ? VARHDRSZ : 0;
		size_t		bytes = prefix + image.size() + (layout_.len == -2 ? 1 : 0);
		size_t		needed = sizeof(ImageEntry) + MAXALIGN(bytes);

		if (image.size() >= MaxAllocSize || !make_room(needed))
			return nullptr;

		uint32		at = static_cast<uint32>(used_ / MAXIMUM_ALIGNOF) + 1;
		auto	   *entry = reinterpret_cast<ImageEntry *>(arena_ + used_);
		char	   *data = reinterpret_cast<char *>(entry + 1);

		memset(static_cast<void *>(entry), 0, needed);
		entry->count = count;
		entry->hash = hash;
		entry->length = static_cast<uint32>(image.size());
		if (layout_.len == -1)
			SET_VARSIZE(data, bytes);
		memcpy(data + prefix, image.data(), image.size());
		used_ += needed;
		size_++;
		put(hash, at);
		return entry;
	}

	/* Counts one more of this value, which is added if it is not there. False: no room for it. */
	bool
	count(uint32 hash, std::string_view image, uint64 times)
	{
		ImageEntry *entry = find_image(hash, image);

		if (entry == nullptr)
			return insert(hash, image, times) != nullptr;
		entry->count += times;
		return true;
	}

	std::string_view
	image_at(const ImageEntry &entry) const
	{
		const char *data = reinterpret_cast<const char *>(&entry + 1);

		return {data + (layout_.len == -1 ? VARHDRSZ : 0), entry.length};
	}

	/* The value itself; of a by-reference type it points into the set. */
	Datum
	datum_at(const ImageEntry &entry) const
	{
		const char *data = reinterpret_cast<const char *>(&entry + 1);
		Datum		value;

		if (!layout_.byval)
			return reinterpret_cast<Datum>(data);
		memcpy(&value, data, sizeof(Datum));
		return value;
	}

	/* In the order of insertion. */
	template <typename Use>
	void
	for_each(Use use) const
	{
		for_each_entry(arena_, used_, layout_, use);
	}

	/* The same for an arena that was copied from elsewhere. */
	template <typename Use>
	static void
	for_each_entry(const char *arena, size_t used, const Layout &layout, Use use)
	{
		for (size_t at = 0; at < used;)
		{
			auto	   *entry = reinterpret_cast<const ImageEntry *>(arena + at);

			use(*entry);
			at += sizeof(ImageEntry) +
				MAXALIGN(entry->length + (layout.len == -1 ? VARHDRSZ : layout.len == -2 ? 1 : 0));
		}
	}

	const char *arena() const { return arena_; }

	void
	free()
	{
		if (slots_)
			pfree(slots_);
		if (arena_)
			pfree(arena_);
		slots_ = nullptr;
		arena_ = nullptr;
	}

private:
	static constexpr size_t first_slots = 64;
	static constexpr size_t first_arena = 2048;

	ImageEntry *
	entry_at(const ImageSlot &slot) const
	{
		return reinterpret_cast<ImageEntry *>(arena_ + static_cast<size_t>(slot.at - 1) * MAXIMUM_ALIGNOF);
	}

	bool
	is_image(const ImageEntry &entry, std::string_view image) const
	{
		return entry.length == image.size() && same_bytes(image_at(entry).data(), image.data(), image.size());
	}

	void
	put(uint32 hash, uint32 at)
	{
		size_t		slot = hash & (slot_count_ - 1);

		while (slots_[slot].at != 0)
			slot = (slot + 1) & (slot_count_ - 1);
		slots_[slot] = {at, hash};
	}

	bool
	make_room(size_t needed)
	{
		size_t		slots = slot_count_;
		size_t		arena = arena_size_;

		if ((size_ + 1) * 4 > slots * 3)
			slots = slots == 0 ? first_slots : slots * 2;
		while (used_ + needed > arena)
			arena = arena == 0 ? first_arena : arena * 2;
		if (slots == slot_count_ && arena == arena_size_)
			return true;

		/* While a block grows, the old one is there, too. The last arena may be smaller than twice the one before. */
		size_t		slot_bytes = slots * sizeof(ImageSlot);
		size_t		growing = slots != slot_count_ ? slot_count_ * sizeof(ImageSlot) : 0;

		if (slot_bytes + growing + used_ + needed > limit_)
			return false;
		arena = std::min(arena, MAXALIGN_DOWN(limit_ - slot_bytes - growing));
		if (arena / MAXIMUM_ALIGNOF >= PG_UINT32_MAX)
			return false;

		if (arena != arena_size_)
		{
			arena_ = static_cast<char *>(arena_ ? repalloc_huge(arena_, arena) : MemoryContextAllocHuge(context_, arena));
			arena_size_ = arena;
		}
		if (slots != slot_count_)
		{
			/* It may not get the memory and never come back; whoever frees the set then must not free these again. */
			if (slots_)
				pfree(slots_);
			slots_ = nullptr;
			slots_ = static_cast<ImageSlot *>(MemoryContextAllocHuge(context_, slot_bytes));
			zero_pieces(reinterpret_cast<char *>(slots_), slot_bytes);
			slot_count_ = slots;

			size_t		done = 0;

			for_each([&](const ImageEntry &entry)
			{
				if (++done % 65536 == 0)
					CHECK_FOR_INTERRUPTS();
				put(entry.hash, static_cast<uint32>((reinterpret_cast<const char *>(&entry) - arena_) / MAXIMUM_ALIGNOF) + 1);
			});
		}
		return true;
	}

	MemoryContext context_;
	Layout		layout_;
	size_t		limit_;
	ImageSlot  *slots_;
	size_t		slot_count_;	/* a power of two; at most three quarters are taken */
	char	   *arena_;
	size_t		arena_size_;
	size_t		used_;
	size_t		size_;
};

static_assert(Plain<ImageSet>);

/* The bytes that tell a value from others: image_of(), or the Datum of a by-value type. */
inline std::string_view
stored_image(const Datum &value, const Layout &layout)
{
	if (layout.byval)
		return {reinterpret_cast<const char *>(&value), sizeof(Datum)};
	return image_of(value, layout);
}

} /* namespace integrity */
