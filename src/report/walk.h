/*
 * walk.h
 *	  One row of a referencing table: which of its elements have no key?
 *
 * Arrays are walked where they lie. Nothing is allocated for an array in the
 * page, and for one out of line only its detoasted copy.
 */
#pragma once

#include "keys.h"

namespace integrity
{

/* Calls use(position, element) for each element that is not null, counted from 1 in storage order. */
template <typename Use>
inline void
for_each_element(ArrayType *array, const Layout &layout, Use use)
{
	const int	count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	const uint8 *present = ARR_NULLBITMAP(array);
	char	   *at = ARR_DATA_PTR(array);

	for (int i = 0; i < count; i++)
	{
		if (i % 65536 == 65535)
			CHECK_FOR_INTERRUPTS();
		if (present && (present[i / 8] & (1 << (i % 8))) == 0)
			continue;

		Datum		element = fetch_att(at, layout.byval, layout.len);

		at = att_addlength_pointer(at, layout.len, at);
		at = reinterpret_cast<char *>(att_align_nominal(at, layout.align));
		use(i + 1, element);
	}
}

/* How one rule's column is looked up in one process. */
struct LookUp
{
	bool		is_array;
	AttrNumber	column;
	const Keys *keys;
	Matcher	   *matcher;
};

/* Memory that the rows of one scan use in turn. */
struct Scratch
{
	MemoryContext row;			/* a detoasted value; reset by end_row() */
	MemoryContext call;			/* what operators and broken() leave behind; reset every now and then */
	uint64		calls;
	bool		row_used;
	alignas(MAXIMUM_ALIGNOF) char array[VARATT_SHORT_MAX + VARHDRSZ + MAXIMUM_ALIGNOF];
};

/* One array may have millions of elements, and each of them may be cast to something large. */
constexpr Size call_memory = Size{256} * 1024;

inline void
init_scratch(Scratch *scratch)
{
	scratch->row = AllocSetContextCreate(CurrentMemoryContext, "integrity row", ALLOCSET_DEFAULT_SIZES);
	scratch->call = AllocSetContextCreate(CurrentMemoryContext, "integrity comparison", ALLOCSET_DEFAULT_SIZES);
	scratch->calls = 0;
	scratch->row_used = false;
}

inline void
end_row(Scratch *scratch)
{
	if (scratch->row_used)
		MemoryContextReset(scratch->row);
	scratch->row_used = false;
}

inline void
delete_scratch(Scratch *scratch)
{
	MemoryContextDelete(scratch->row);
	MemoryContextDelete(scratch->call);
}

/* The array with a four byte header, aligned; valid until end_row(). */
inline ArrayType *
array_in_place(Datum value, Scratch *scratch)
{
	auto	   *data = reinterpret_cast<struct varlena *>(DatumGetPointer(value));

	if (VARATT_IS_4B_U(data))
		return reinterpret_cast<ArrayType *>(data);
	if (VARATT_IS_SHORT(data) && !VARATT_IS_EXTERNAL(data)) /* what is out of line looks short as well */
	{
		Size		size = VARSIZE_SHORT(data) - VARHDRSZ_SHORT;

		SET_VARSIZE(scratch->array, size + VARHDRSZ);
		memcpy(scratch->array + VARHDRSZ, VARDATA_SHORT(data), size);
		return reinterpret_cast<ArrayType *>(scratch->array);
	}

	MemoryContext saved = MemoryContextSwitchTo(scratch->row);

	scratch->row_used = true;
	data = pg_detoast_datum(data);
	MemoryContextSwitchTo(saved);
	return reinterpret_cast<ArrayType *>(data);
}

inline Datum
value_in_place(Datum value, const Layout &layout, Scratch *scratch)
{
	if (layout.len != -1 ||
		(!VARATT_IS_EXTERNAL(DatumGetPointer(value)) && !VARATT_IS_COMPRESSED(DatumGetPointer(value))))
		return value;

	MemoryContext saved = MemoryContextSwitchTo(scratch->row);

	scratch->row_used = true;
	value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
	MemoryContextSwitchTo(saved);
	return value;
}

/* Every now and then, after some look-ups. */
inline void
breathe(Scratch *scratch, uint64 calls)
{
	scratch->calls += calls;
	if (scratch->calls >= 1024 || scratch->call->mem_allocated > call_memory)
	{
		scratch->calls = 0;
		MemoryContextReset(scratch->call);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Elements whose look-ups wait for memory together. */
struct Batch
{
	static constexpr int size = 16;

	Datum		elements[size];
	uint32		hashes[size];
	int			positions[size];
	int			count;
};

template <typename Broken>
inline void
look_up_batch(const LookUp &look, Batch *batch, Broken broken)
{
	const ImageSet &images = look.keys->images;
	const ImageEntry *first[Batch::size];

	for (int i = 0; i < batch->count; i++)
		first[i] = images.prefetch_entry(batch->hashes[i]);
	for (int i = 0; i < batch->count; i++)
		if (!images.holds_image(first[i], batch->hashes[i], image_of(batch->elements[i], look.matcher->compare.element)))
			broken(batch->positions[i], batch->elements[i]);
	batch->count = 0;
}

/* An array of elements that are looked up by their bytes. */
template <typename Broken>
inline int64
look_at_images(const LookUp &look, ArrayType *array, Scratch *scratch, Broken broken)
{
	const Keys &keys = *look.keys;
	const Layout &layout = look.matcher->compare.element;
	int64		references = 0;
	Batch		batch;

	batch.count = 0;
	for_each_element(array, layout, [&](int position, Datum element)
	{
		references++;
		if (layout.len == -1)
			element = PointerGetDatum(PG_DETOAST_DATUM_PACKED(element));

		uint32		hash = hash_image(image_of(element, layout));

		if (!keys.part.holds32(hash))
			return;
		keys.images.prefetch_slot(hash);
		batch.elements[batch.count] = element;
		batch.hashes[batch.count] = hash;
		batch.positions[batch.count++] = position;
		if (batch.count == Batch::size)
		{
			look_up_batch(look, &batch, broken);
			breathe(scratch, Batch::size);
		}
	});
	look_up_batch(look, &batch, broken);
	breathe(scratch, Batch::size);
	return references;
}

/*
 * Calls broken(position, element) for each reference of the row without a key
 * that the keys' part answers for; position is 0 where the column is no array.
 * It is called in a context that lives as long as the call.
 * Returns how many references the row has in all, or -1: the value is null.
 */
template <typename Broken>
inline int64
look_at_row(const LookUp &look, TupleTableSlot *slot, Scratch *scratch, Broken broken)
{
	const Keys &keys = *look.keys;
	const Layout &layout = look.matcher->compare.element;
	bool		isnull;
	Datum		value = slot_getattr(slot, look.column, &isnull);
	int64		references = 0;

	if (isnull)
		return -1;

	auto		check = [&](int position, Datum element)
	{
		references++;

		/* The usual case, without a call. */
		if (keys.are == KeysAre::InBitmap && keys.bitmap.contains(integer_of(element, layout)))
			return;
		if (look_up(keys, *look.matcher, element) == Found::No)
			broken(position, element);
		breathe(scratch, 1);
	};
	MemoryContext saved = MemoryContextSwitchTo(scratch->call);

	if (look.is_array && keys.are == KeysAre::InImageSet && keys.by == MatchBy::Image)
		references = look_at_images(look, array_in_place(value, scratch), scratch, broken);
	else if (look.is_array)
		for_each_element(array_in_place(value, scratch), layout, check);
	else
		check(0, value_in_place(value, layout, scratch));
	MemoryContextSwitchTo(saved);
	return references;
}

} /* namespace integrity */
