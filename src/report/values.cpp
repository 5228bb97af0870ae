/*
 * values.cpp
 *	  The broken values of a rule: how many, and the most frequent ones.
 *
 * There may be a million of them, so whatever compares them can be cancelled.
 */
#include "values.h"

namespace integrity
{
namespace
{

constexpr size_t sample_size = 5;

struct ValueGroup
{
	Datum		value;
	uint64		times;
	char	   *label;			/* made when needed */
};

struct ValueOrder
{
	FmgrInfo   *compare;		/* null: the type has no order */
	Oid			collation;
	FmgrInfo	output;
	MemoryContext call;			/* what operators leave behind */
	MemoryContext labels;
	uint64		calls;
};

int
compare_values(const ValueGroup &a, const ValueGroup &b, ValueOrder *order)
{
	if (++order->calls % 256 == 0)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(order->call);
	}
	if (order->compare == nullptr)
		return 0;

	MemoryContext saved = MemoryContextSwitchTo(order->call);
	int			result = DatumGetInt32(FunctionCall2Coll(order->compare, order->collation, a.value, b.value));

	MemoryContextSwitchTo(saved);
	return result;
}

char *
label_of(ValueGroup *group, ValueOrder *order)
{
	if (group->label == nullptr)
	{
		MemoryContext saved = MemoryContextSwitchTo(order->labels);

		group->label = OutputFunctionCall(&order->output, group->value);
		MemoryContextSwitchTo(saved);
	}
	return group->label;
}

int
compare_groups(ValueGroup *a, ValueGroup *b, ValueOrder *order)
{
	int			result = compare_values(*a, *b, order);

	return result != 0 ? result : strcmp(label_of(a, order), label_of(b, order));
}

/*
 * Values that differ in bytes and are equal to the operator, such as 1.0 and
 * 1.00, count as one. Sorted by qsort_arg(), for that stays within the array
 * whatever a comparison function of some type may answer; std::sort does not.
 */
std::span<ValueGroup>
merge_equal(std::span<ValueGroup> groups, ValueOrder *order)
{
	size_t		kept = 0;

	if (groups.empty())
		return groups;
	qsort_arg(groups.data(), groups.size(), sizeof(ValueGroup), [](const void *a, const void *b, void *arg)
	{
		return compare_groups(static_cast<ValueGroup *>(const_cast<void *>(a)),
							  static_cast<ValueGroup *>(const_cast<void *>(b)), static_cast<ValueOrder *>(arg));
	}, order);
	for (size_t i = 1; i < groups.size(); i++)
		if (compare_values(groups[kept], groups[i], order) == 0)
			groups[kept].times += groups[i].times;
		else
			groups[++kept] = groups[i];
	return groups.first(kept + 1);
}

/* The most frequent values, then by value. */
struct Sample
{
	ValueGroup	groups[sample_size];
	size_t		size;
};

void
consider(Sample *sample, ValueGroup group, ValueOrder *order)
{
	auto		before = [&](ValueGroup *other)
	{
		return group.times != other->times ? group.times > other->times : compare_groups(&group, other, order) < 0;
	};
	size_t		at = sample->size;

	while (at > 0 && before(&sample->groups[at - 1]))
		at--;
	if (at == sample_size)
	{
		if (group.label)
			pfree(group.label);
		return;
	}
	sample->size = std::min(sample->size + 1, sample_size);
	for (size_t i = sample->size - 1; i > at; i--)
		sample->groups[i] = sample->groups[i - 1];
	sample->groups[at] = group;
}

Datum
text_array(Sample *sample, ValueOrder *order, MemoryContext context)
{
	Datum		labels[sample_size];
	MemoryContext saved = MemoryContextSwitchTo(context);

	for (size_t i = 0; i < sample->size; i++)
		labels[i] = CStringGetTextDatum(label_of(&sample->groups[i], order));

	ArrayType  *array = construct_array(labels, static_cast<int>(sample->size), TEXTOID, -1, false, TYPALIGN_INT);

	for (size_t i = 0; i < sample->size; i++)
		pfree(DatumGetPointer(labels[i]));
	MemoryContextSwitchTo(saved);
	return PointerGetDatum(array);
}

} /* namespace */

void
sum_up_values(Target *target, MemoryContext context)
{
	Tally	   *tally = &target->tally;
	const ImageSet &values = tally->values;
	Oid			type = target->rule.element_type;
	TypeCacheEntry *cache = lookup_type_cache(type, TYPECACHE_CMP_PROC_FINFO);
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "integrity broken values", ALLOCSET_DEFAULT_SIZES);
	MemoryContext saved = MemoryContextSwitchTo(work);
	ValueOrder	order = {};
	Sample		sample = {};
	Oid			output;
	bool		is_varlena;

	if (OidIsValid(cache->cmp_proc))
	{
		/* Of our own: a function that fails must not leave its state to whoever compares such values next. */
		order.compare = static_cast<FmgrInfo *>(palloc(sizeof(FmgrInfo)));
		fmgr_info_copy(order.compare, &cache->cmp_proc_finfo, work);
	}
	order.collation = target->matcher.compare.collation;
	order.call = AllocSetContextCreate(work, "integrity comparison", ALLOCSET_DEFAULT_SIZES);
	order.labels = AllocSetContextCreate(work, "integrity labels", ALLOCSET_DEFAULT_SIZES);
	getTypeOutputInfo(type, &output, &is_varlena);
	fmgr_info(output, &order.output);

	if (target->matcher.by == MatchBy::Operator && order.compare)
	{
		auto	   *memory = static_cast<ValueGroup *>(palloc_extended(sizeof(ValueGroup) * std::max<size_t>(values.size(), 1),
																	   MCXT_ALLOC_HUGE));
		size_t		count = 0;

		values.for_each([&](const ImageEntry &entry) { memory[count++] = {values.datum_at(entry), entry.count, nullptr}; });

		auto		groups = merge_equal({memory, count}, &order);

		for (const ValueGroup &group : groups)
			consider(&sample, group, &order);
		tally->values_broken = static_cast<int64>(groups.size());
	}
	else
	{
		values.for_each([&](const ImageEntry &entry)
		{
			consider(&sample, {values.datum_at(entry), entry.count, nullptr}, &order);
		});
		tally->values_broken = static_cast<int64>(values.size());
	}
	tally->sample = text_array(&sample, &order, context);
	MemoryContextSwitchTo(saved);
	MemoryContextDelete(work);
}

} /* namespace integrity */
