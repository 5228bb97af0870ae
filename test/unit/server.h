/*
 * server.h
 *	  What server.cpp counts.
 */
#pragma once

#include <cstddef>

extern size_t allocated_bytes;
extern size_t most_allocated_bytes;	/* a test may set it back */
