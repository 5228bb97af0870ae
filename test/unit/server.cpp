/*
 * server.cpp
 *	  What the code under test needs of a server when there is none: memory.
 *
 * Nothing is freed by a context here; a unit test is a short process. What
 * would ereport has no stand-in: it fails to link, and does not belong into a
 * file that is tested without a server.
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C"
{
#include "postgres.h"
#undef printf
#undef fprintf
}

static void *
checked(void *memory)
{
	if (memory == nullptr)
		abort();
	return memory;
}

extern "C"
{

MemoryContext CurrentMemoryContext = nullptr;

void *
palloc(Size size)
{
	return checked(malloc(size > 0 ? size : 1));
}

void *
palloc0(Size size)
{
	return checked(calloc(1, size > 0 ? size : 1));
}

void *
repalloc(void *pointer, Size size)
{
	return checked(realloc(pointer, size > 0 ? size : 1));
}

void
pfree(void *pointer)
{
	free(pointer);
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
