/*
 * server.h
 *	  What server.cpp counts, and frees.
 */
#pragma once

#include <cstddef>

extern size_t allocated_bytes;
extern size_t most_allocated_bytes;	/* a test may set it back */

/* Every piece that was allocated and not freed yet. */
void		free_all();
