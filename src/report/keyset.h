/*
 * keyset.h
 *	  The keys of one referenced table, to look many elements up in.
 *
 * Integers that lie dense become a bitmap, other integers a table of their
 * values, everything else an ImageSet. Which it is depends on what takes less
 * memory; the limit is never exceeded. Where all keys together would exceed
 * it, a set holds one part of them, and the scan comes again for each part.
 *
 * Pure, as imageset.h is. Nothing in here points to anything but the set's own
 * blocks, so a set can be flattened into shared memory.
 */
#pragma once

#include "imageset.h"

namespace integrity
{

/* Spreads the bits of an integer over a hash (the finalizer of splitmix64). */
inline uint64
mix(uint64 value)
{
	value = (value ^ (value >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

/* One bit for each integer from low to high. */
class Bitmap
{
public:
	static size_t
	bytes_for(int64 low, int64 high)
	{
		uint64		span = static_cast<uint64>(high) - static_cast<uint64>(low);

		return static_cast<size_t>(span / 64 + 1) * sizeof(uint64);
	}

	void
	init(int64 low, int64 high, uint64 *words)
	{
		low_ = low;
		span_ = static_cast<uint64>(high) - static_cast<uint64>(low);
		words_ = words;
	}

	/* A value outside is left out; the caller took care that no key is. */
	void
	insert(int64 value)
	{
		uint64		at = static_cast<uint64>(value) - static_cast<uint64>(low_);

		if (at <= span_)
			words_[at / 64] |= UINT64CONST(1) << (at % 64);
	}

	/* The same while other processes do so. */
	void
	insert_beside_others(int64 value)
	{
		uint64		at = static_cast<uint64>(value) - static_cast<uint64>(low_);

		if (at <= span_)
			std::atomic_ref<uint64>(words_[at / 64]).fetch_or(UINT64CONST(1) << (at % 64), std::memory_order_relaxed);
	}

	bool
	contains(int64 value) const
	{
		uint64		at = static_cast<uint64>(value) - static_cast<uint64>(low_);

		return at <= span_ && (words_[at / 64] >> (at % 64) & 1) != 0;
	}

	uint64	   *words() const { return words_; }

private:
	int64		low_;
	uint64		span_;			/* high - low */
	uint64	   *words_;
};

/* Integers that lie far apart: open addressing, the value is the entry. */
class IntegerSet
{
public:
	static constexpr size_t first_slots = 1024;

	void
	init(MemoryContext context, size_t limit)
	{
		*this = IntegerSet{};
		context_ = context;
		limit_ = limit;
	}

	void
	attach(int64 *slots, size_t slot_count, bool has_zero)
	{
		*this = IntegerSet{};
		slots_ = slots;
		slot_count_ = slot_count;
		has_zero_ = has_zero;
	}

	size_t		slot_count() const { return slot_count_; }
	const int64 *slots() const { return slots_; }
	bool		has_zero() const { return has_zero_; }

	void
	free()
	{
		if (slots_)
			pfree(slots_);
		slots_ = nullptr;
	}

	/* False: it would exceed the limit. */
	bool
	insert(int64 value)
	{
		if (value == 0)			/* 0 marks a free slot */
		{
			has_zero_ = true;
			return true;
		}
		if ((size_ + 1) * 3 > slot_count_ * 2 && !grow())
			return false;

		int64	   *slot = slot_of(value);

		size_ += *slot != value;
		*slot = value;
		return true;
	}

	bool
	contains(int64 value) const
	{
		if (value == 0)
			return has_zero_;
		return slot_count_ > 0 && *slot_of(value) == value;
	}

private:
	int64 *
	slot_of(int64 value) const
	{
		size_t		slot = mix(static_cast<uint64>(value)) & (slot_count_ - 1);

		while (slots_[slot] != 0 && slots_[slot] != value)
			slot = (slot + 1) & (slot_count_ - 1);
		return slots_ + slot;
	}

	bool
	grow()
	{
		size_t		count = slot_count_ == 0 ? first_slots : slot_count_ * 2;
		IntegerSet	bigger = *this;

		/* While it grows, the old slots are there, too. */
		if ((count + slot_count_) * sizeof(int64) > limit_)
			return false;
		bigger.slots_ = static_cast<int64 *>(MemoryContextAllocHuge(context_, count * sizeof(int64)));
		zero_pieces(reinterpret_cast<char *>(bigger.slots_), count * sizeof(int64));
		bigger.slot_count_ = count;
		for (size_t slot = 0; slot < slot_count_; slot++)
		{
			if (slot % 65536 == 0)
				CHECK_FOR_INTERRUPTS();
			if (slots_[slot] != 0)
				*bigger.slot_of(slots_[slot]) = slots_[slot];
		}
		if (slots_)
			pfree(slots_);
		*this = bigger;
		return true;
	}

	MemoryContext context_;
	size_t		limit_;
	int64	   *slots_;
	size_t		slot_count_;	/* a power of two; at most two thirds are taken */
	size_t		size_;
	bool		has_zero_;
};

static_assert(Plain<Bitmap> && Plain<IntegerSet>);

/*
 * One part of a set of values. A hash tells which part a value is in, and the
 * high bits do, for the low ones choose the slot.
 */
struct Part
{
	uint32		number;
	uint32		of;				/* a power of two; 1: all in one */

	bool
	holds(uint64 hash) const
	{
		return of == 1 || (hash >> 32) % of == number;
	}

	/* A hash of 32 bits has no high bits to spare, so it is mixed once more. */
	bool		holds32(uint32 hash) const { return of == 1 || holds(mix(hash)); }
};

} /* namespace integrity */
