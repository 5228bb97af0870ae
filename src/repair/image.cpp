/*
 * image.cpp
 *	  A row as jsonb and back: the images before and after of the run log.
 *
 * An image maps each column's name to the text that the type's own output
 * function makes of its value. to_jsonb() would not do: it turns numbers and
 * arrays into json's own, which loses the scale of 1.00, NaN, an array's lower
 * bounds and the difference between json's null and NULL, and it calls casts
 * to json, which may be anybody's.
 *
 * What text an output function makes depends on settings. They are pinned
 * here for the length of a call, so that images of two sessions can be compared,
 * while triggers that the caller's statement fires find their user's settings.
 */
#include "image.h"

namespace integrity
{

static_assert(Plain<ColumnCache>);

/* For the way out or for the way back, never both. */
struct Columns
{
	Oid			type;
	int32		typmod;
	int			count;
	struct Column
	{
		Oid			type;		/* invalid: dropped, or not looked up yet */
		Oid			ioparam;	/* for input */
		FmgrInfo	proc;		/* the input or the output function */
		FmgrInfo	back;		/* for input: the output function */
	}			column[FLEXIBLE_ARRAY_MEMBER];
};

static_assert(Plain<Columns>);

int
pin_settings()
{
	int			level = NewGUCNestLevel();
	auto		set = [](const char *name, const char *value)
	{
		(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	};

	/* regclass and its like */
	if (strcmp(namespace_search_path, "pg_catalog, pg_temp") != 0)
		set("search_path", "pg_catalog, pg_temp");
	if (quote_all_identifiers)
		set("quote_all_identifiers", "off");
	if (DateStyle != USE_ISO_DATES)
		set("datestyle", "ISO");
	if (strcmp(pg_get_timezone_name(session_timezone), "GMT") != 0)
		set("timezone", "GMT");
	if (IntervalStyle != INTSTYLE_POSTGRES)
		set("intervalstyle", "postgres");
	if (extra_float_digits < 1)
		set("extra_float_digits", "1");
	if (bytea_output != BYTEA_OUTPUT_HEX)
		set("bytea_output", "hex");
	if (strcmp(locale_monetary, "C") != 0)
		set("lc_monetary", "C");
	if (!Array_nulls)
		set("array_nulls", "on");
	if (xmloption != XMLOPTION_CONTENT)
		set("xmloption", "content");
	return level;
}

namespace
{

enum class Direction : uint8
{
	Out,
	In
};

/*
 * A row type can get columns while a query runs, so its shape is compared each
 * time, column by column, as record_out() does.
 */
void
match_cache(ColumnCache cache, TupleDesc desc)
{
	Columns    *columns = *cache.columns;

	if (columns == nullptr || columns->count != desc->natts)
	{
		columns = static_cast<Columns *>(MemoryContextAllocZero(cache.memory, offsetof(Columns, column) +
			static_cast<size_t>(desc->natts) * sizeof(Columns::Column)));
		columns->count = desc->natts;
		*cache.columns = columns;
	}
	if (columns->type != desc->tdtypeid || columns->typmod != desc->tdtypmod)
	{
		for (int i = 0; i < columns->count; i++)
			columns->column[i].type = InvalidOid;
		columns->type = desc->tdtypeid;
		columns->typmod = desc->tdtypmod;
	}
}

Columns::Column &
prepare_column(ColumnCache cache, int i, Oid type, Direction direction)
{
	Columns::Column &column = (*cache.columns)->column[i];
	Oid			proc;
	bool		is_varlena;

	if (column.type == type)
		return column;
	if (direction == Direction::Out)
		getTypeOutputInfo(type, &proc, &is_varlena);
	else
	{
		getTypeOutputInfo(type, &proc, &is_varlena);
		fmgr_info_cxt(proc, &column.back, cache.memory);
		getTypeInputInfo(type, &proc, &column.ioparam);
	}
	fmgr_info_cxt(proc, &column.proc, cache.memory);
	column.type = type;
	return column;
}

/* jsonb would store a longer string with its length cut off. */
JsonbValue
json_string(const char *text, const char *column_name)
{
	JsonbValue	value;
	size_t		length = strlen(text);

	if (length > JENTRY_OFFLENMASK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value of column \"%s\" is too long for the run log", column_name),
				 errdetail("Its text has %zu bytes, and jsonb strings cannot exceed %d.", length, JENTRY_OFFLENMASK)));
	value.type = jbvString;
	value.val.string.len = static_cast<int>(length);
	value.val.string.val = const_cast<char *>(text);
	return value;
}

} /* namespace */

Jsonb *
image_of_row(HeapTupleHeader row, ColumnCache cache)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
	auto	   *values = static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<size_t>(desc->natts + 1)));
	auto	   *nulls = static_cast<bool *>(palloc(sizeof(bool) * static_cast<size_t>(desc->natts + 1)));
	HeapTupleData tuple = {};
	pg::JsonbBuilder image = {};

	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_data = row;
	heap_deform_tuple(&tuple, desc, values, nulls);
	match_cache(cache, desc);

	pg::push(&image, WJB_BEGIN_OBJECT, nullptr);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		JsonbValue	value;

		if (att->attisdropped)
			continue;
		value = json_string(NameStr(att->attname), NameStr(att->attname));
		pg::push(&image, WJB_KEY, &value);
		if (nulls[i])
			value.type = jbvNull;
		else
		{
			Columns::Column &column = prepare_column(cache, i, att->atttypid, Direction::Out);

			value = json_string(OutputFunctionCall(&column.proc, values[i]), NameStr(att->attname));
		}
		pg::push(&image, WJB_VALUE, &value);
	}
	pg::push(&image, WJB_END_OBJECT, nullptr);
	ReleaseTupleDesc(desc);
	return JsonbValueToJsonb(image.result);
}

namespace
{

/* Raises for the first name in the image that is no column of the row type. */
[[noreturn]] void
report_unknown_column(Jsonb *image, TupleDesc desc)
{
	JsonbIterator *iterator = JsonbIteratorInit(&image->root);
	JsonbValue	name;

	for (JsonbIteratorToken token; (token = JsonbIteratorNext(&iterator, &name, true)) != WJB_DONE;)
	{
		bool		known = token != WJB_KEY;

		for (int i = 0; i < desc->natts && !known; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			known = !att->attisdropped && strlen(NameStr(att->attname)) == static_cast<size_t>(name.val.string.len) &&
				memcmp(NameStr(att->attname), name.val.string.val, static_cast<size_t>(name.val.string.len)) == 0;
		}
		if (!known)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%.*s\" of table %s no longer exists", name.val.string.len, name.val.string.val,
							format_type_be(desc->tdtypeid))));
	}
	elog(ERROR, "image of a row of %s has a name twice", format_type_be(desc->tdtypeid));
	pg_unreachable();
}

/*
 * The text of one column in the image, or null for NULL. "found" says whether
 * the image has that column at all.
 */
char *
text_in_image(Jsonb *image, Form_pg_attribute att, bool *found)
{
	JsonbValue	value;

	*found = getKeyJsonValueFromContainer(&image->root, NameStr(att->attname),
										  static_cast<int>(strlen(NameStr(att->attname))), &value) != nullptr;
	if (!*found || value.type == jbvNull)
		return nullptr;
	if (value.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("image of a row has something other than a string for column \"%s\"", NameStr(att->attname))));
	return pnstrdup(value.val.string.val, static_cast<size_t>(value.val.string.len));
}

} /* namespace */

HeapTuple
row_of_image(TupleDesc desc, Jsonb *image, ColumnCache cache)
{
	auto	   *values = static_cast<Datum *>(palloc0(sizeof(Datum) * static_cast<size_t>(desc->natts + 1)));
	auto	   *nulls = static_cast<bool *>(palloc(sizeof(bool) * static_cast<size_t>(desc->natts + 1)));
	uint32		used = 0;

	if (!JB_ROOT_IS_OBJECT(image))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("image of a row is not a JSON object")));
	match_cache(cache, desc);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		found = false;
		char	   *text = att->attisdropped ? nullptr : text_in_image(image, att, &found);

		nulls[i] = text == nullptr;
		if (!found)
			continue;
		used++;

		/* NULL goes through the input function too: a domain may forbid it. */
		Columns::Column &column = prepare_column(cache, i, att->atttypid, Direction::In);

		values[i] = InputFunctionCall(&column.proc, text, column.ioparam, att->atttypmod);

		/*
		 * The text was made by the type that the column had then. One that it
		 * has got since may take it for another value: a timestamp without
		 * time zone for one in GMT, 1.25 for 1.3.
		 */
		if (text && strcmp(OutputFunctionCall(&column.back, values[i]), text) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("column \"%s\" has another type since, which takes its value for another one", NameStr(att->attname))));
	}
	if (used != JB_ROOT_COUNT(image))
		report_unknown_column(image, desc);
	return heap_form_tuple(desc, values, nulls);
}

char *
label_of_reference(std::span<const char *const> texts)
{
	StringInfoData label;

	initStringInfo(&label);
	for (size_t i = 0; i < texts.size(); i++)
		appendStringInfo(&label, "%s%s", i > 0 ? ", " : texts.size() > 1 ? "(" : "", texts[i] ? texts[i] : "null");
	if (texts.size() > 1)
		appendStringInfoChar(&label, ')');
	return label.data;
}

} /* namespace integrity */

using namespace integrity;

static ColumnCache
cache_of(FunctionCallInfo fcinfo)
{
	return {reinterpret_cast<Columns **>(&fcinfo->flinfo->fn_extra), fcinfo->flinfo->fn_mcxt};
}

extern "C"
{
PG_FUNCTION_INFO_V1(integrity_row_image);
PG_FUNCTION_INFO_V1(integrity_row_from_image);
PG_FUNCTION_INFO_V1(integrity_reference_label);

PGDLLEXPORT Datum
integrity_row_image(PG_FUNCTION_ARGS)
{
	int			settings = pin_settings();
	Jsonb	   *image = image_of_row(PG_GETARG_HEAPTUPLEHEADER(0), cache_of(fcinfo));

	AtEOXact_GUC(false, settings);
	PG_RETURN_JSONB_P(image);
}

/* Its first argument is only there to be seen: a null of the row type. */
PGDLLEXPORT Datum
integrity_row_from_image(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);

	if (!OidIsValid(type) || !OidIsValid(get_typ_typrelid(type)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("first argument of integrity.row_from_image() must be of a table's row type")));
	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();

	int			settings = pin_settings();
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	Datum		row = HeapTupleGetDatum(row_of_image(desc, PG_GETARG_JSONB_P(1), cache_of(fcinfo)));

	ReleaseTupleDesc(desc);
	AtEOXact_GUC(false, settings);
	return row;
}

/* reference_label(value, ...): what a reference refers to, see label_of_reference(). */
PGDLLEXPORT Datum
integrity_reference_label(PG_FUNCTION_ARGS)
{
	int			settings = pin_settings();
	auto	  **texts = static_cast<const char **>(palloc0(sizeof(char *) * static_cast<size_t>(PG_NARGS() + 1)));

	for (int i = 0; i < PG_NARGS(); i++)
		if (!PG_ARGISNULL(i))
		{
			Oid			output;
			bool		is_varlena;

			getTypeOutputInfo(get_fn_expr_argtype(fcinfo->flinfo, i), &output, &is_varlena);
			texts[i] = OidOutputFunctionCall(output, PG_GETARG_DATUM(i));
		}

	text	   *label = cstring_to_text(label_of_reference({texts, static_cast<size_t>(PG_NARGS())}));

	AtEOXact_GUC(false, settings);
	PG_RETURN_TEXT_P(label);
}
}
