/*
 * server.cpp
 *	  What the code under test needs of a server when there is none: memory, and text.
 *
 * There is one memory context, and free_all() resets it. What would ereport has no stand-in: it
 * fails to link, and does not belong into a file that is tested without a server.
 */
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C"
{
#include "postgres.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#undef printf
#undef vsnprintf
#undef fprintf
}

#include "server.h"

size_t		allocated_bytes = 0;
size_t		most_allocated_bytes = 0;

/* Each piece of memory says before itself how long it is, so that what is allocated can be counted. */
struct Header
{
	alignas(MAXIMUM_ALIGNOF) size_t size;
	Header	   *before;
	Header	   *after;
};

static_assert(sizeof(Header) % MAXIMUM_ALIGNOF == 0);

static Header first = {0, &first, &first};

static void *
counted(void *memory, size_t size)
{
	auto	   *header = static_cast<Header *>(memory);

	if (memory == nullptr)
		abort();
	*header = {size, &first, first.after};
	header->after->before = header;
	first.after = header;
	allocated_bytes += size;
	if (allocated_bytes > most_allocated_bytes)
		most_allocated_bytes = allocated_bytes;
	return header + 1;
}

/* Takes a piece out of the books, before it is freed or moved. */
static Header *
uncounted(void *pointer)
{
	Header	   *header = static_cast<Header *>(pointer) - 1;

	allocated_bytes -= header->size;
	header->before->after = header->after;
	header->after->before = header->before;
	return header;
}

void
free_all()
{
	while (first.after != &first)
		free(uncounted(first.after + 1));
}

extern "C"
{

MemoryContext CurrentMemoryContext = nullptr;

/* Nobody interrupts a unit test. */
volatile sig_atomic_t InterruptPending = 0;

void
ProcessInterrupts()
{
}

/* Not zeroed: what relies on zeroes without asking for them shall be seen. */
void *
palloc(Size size)
{
	void	   *memory = malloc(sizeof(Header) + size);

	if (memory != nullptr)
		memset(memory, 0x7f, sizeof(Header) + size);
	return counted(memory, size);
}

void *
palloc0(Size size)
{
	return counted(calloc(1, sizeof(Header) + size), size);
}

void *
repalloc(void *pointer, Size size)
{
	Header	   *header = uncounted(pointer);

	return counted(realloc(header, sizeof(Header) + size), size);
}

void
pfree(void *pointer)
{
	free(uncounted(pointer));
}

void *
MemoryContextAlloc(MemoryContext, Size size)
{
	return palloc(size);
}

void *
MemoryContextAllocZero(MemoryContext, Size size)
{
	return palloc0(size);
}

void *
MemoryContextAllocHuge(MemoryContext, Size size)
{
	return palloc(size);
}

void *
repalloc_huge(void *pointer, Size size)
{
	return repalloc(pointer, size);
}

char *
psprintf(const char *format, ...)
{
	va_list		arguments;
	StringInfoData text;

	initStringInfo(&text);
	va_start(arguments, format);
	appendStringInfoVA(&text, format, arguments);
	va_end(arguments);
	return text.data;
}

void
initStringInfo(StringInfo text)
{
	*text = {};
	text->data = static_cast<char *>(palloc0(1));
}

/* Always with room for it, so 0: nothing is missing. */
int
appendStringInfoVA(StringInfo text, const char *format, va_list arguments)
{
	va_list		again;

	va_copy(again, arguments);

	int			length = vsnprintf(nullptr, 0, format, arguments);
	Size		size = static_cast<Size>(text->len + length) + 1;

	text->data = static_cast<char *>(repalloc(text->data, size));
	vsnprintf(text->data + text->len, size - static_cast<Size>(text->len), format, again);
	va_end(again);
	text->len += length;
	return 0;
}

void
appendStringInfo(StringInfo text, const char *format, ...)
{
	va_list		arguments;

	va_start(arguments, format);
	appendStringInfoVA(text, format, arguments);
	va_end(arguments);
}

void
appendStringInfoChar(StringInfo text, char letter)
{
	appendStringInfo(text, "%c", letter);
}

/* Only a server built with assertions calls it; its arguments changed in 16. */
#if PG_VERSION_NUM >= 160000
void
ExceptionalCondition(const char *condition, const char *file, int line)
{
#else
void
ExceptionalCondition(const char *condition, const char *, const char *file, int line)
{
#endif
	fprintf(stderr, "%s:%d: failed assertion: %s\n", file, line, condition);
	abort();
}

}
