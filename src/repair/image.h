/*
 * image.h
 *	  A row as jsonb and back.
 */
#pragma once

#include "../pg.h"

namespace integrity
{

/* How to convert the columns of a row type; made at first use, kept by the caller from row to row. */
struct Columns;

struct ColumnCache
{
	Columns   **columns;		/* null at first */
	MemoryContext memory;
};

/* The text of values depends on settings; this pins them until AtEOXact_GUC(false, level) or an error. */
int			pin_settings();

Jsonb	   *image_of_row(HeapTupleHeader row, ColumnCache cache);

/* A column that the image does not know is null; one that the row type does not know raises. */
HeapTuple	row_of_image(TupleDesc desc, Jsonb *image, ColumnCache cache);

/*
 * How the log names the value of a reference: as the report does, (a, b) if
 * there are more columns than one. The texts are those of the values, null for NULL.
 */
char	   *label_of_reference(std::span<const char *const> texts);

} /* namespace integrity */
