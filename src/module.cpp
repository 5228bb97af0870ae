/*
 * module.cpp
 *	  What makes this shared library a PostgreSQL module.
 *
 * Nothing needs shared_preload_libraries: the caches are per backend, and
 * each room registers its own invalidation callbacks at first use.
 */
#include "pg.h"

extern "C"
{
INTEGRITY_MODULE_MAGIC;
}
