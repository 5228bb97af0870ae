/*
 * words.cpp
 *	  The vocabulary of a rule's arguments: 'on_delete=remove element', ...
 *
 * Every word stands in one table, from which it is parsed, printed and
 * listed in the hint for a word that is not there.
 */
#include "rule.h"

namespace integrity
{
namespace
{

template <typename Value>
struct Word
{
	const char *text;
	Value		value;
};

constexpr Word<OnDelete> on_delete_words[] = {
	{"no action", OnDelete::NoAction},
	{"restrict", OnDelete::Restrict},
	{"remove element", OnDelete::RemoveElement},
	{"null element", OnDelete::NullElement},
	{"delete row", OnDelete::DeleteRow},
	{"set null", OnDelete::SetNull},
};

constexpr Word<OnUpdate> on_update_words[] = {
	{"no action", OnUpdate::NoAction},
	{"restrict", OnUpdate::Restrict},
	{"cascade", OnUpdate::Cascade},
};

constexpr Word<OnEmpty> on_empty_words[] = {
	{"keep", OnEmpty::Keep},
	{"set null", OnEmpty::SetNull},
	{"delete row", OnEmpty::DeleteRow},
};

constexpr Word<bool> reject_words[] = {
	{"allow", false},
	{"reject", true},
};

template <typename Value, size_t N>
const char *
print(const Word<Value> (&words)[N], Value value)
{
	for (const auto &word : words)
		if (word.value == value)
			return word.text;
	return "?";
}

template <typename Value, size_t N>
bool
parse(const char *option, const char *text, const Word<Value> (&words)[N], Value *value, Problem *problem)
{
	for (const auto &word : words)
		if (strcmp(word.text, text) == 0)
		{
			*value = word.value;
			return true;
		}

	StringInfoData hint;

	initStringInfo(&hint);
	appendStringInfo(&hint, "%s is one of", option);
	for (size_t i = 0; i < N; i++)
		appendStringInfo(&hint, "%s '%s'", i == 0 ? "" : i == N - 1 ? " or" : ",", words[i].text);
	appendStringInfoChar(&hint, '.');
	return refuse(problem, ERRCODE_INVALID_PARAMETER_VALUE,
				  psprintf("unrecognized value for %s: \"%s\"", option, text), nullptr, hint.data);
}

bool
parse_on_delete(const char *text, Options *options, Problem *problem)
{
	/* The one word that a user of foreign keys will try, and must not guess at. */
	if (strcmp(text, "cascade") == 0)
		return refuse(problem, ERRCODE_INVALID_PARAMETER_VALUE,
					  "on_delete \"cascade\" is ambiguous for a reference",
					  "For an array it could mean to take the element out or to delete the whole referencing row.",
					  "Use on_delete 'delete row', or for an array on_delete 'remove element'.");
	return parse("on_delete", text, on_delete_words, &options->on_delete, problem);
}

} /* namespace */

const char *
word_of(OnDelete action)
{
	return print(on_delete_words, action);
}

const char *
word_of(OnUpdate action)
{
	return print(on_update_words, action);
}

const char *
word_of(OnEmpty action)
{
	return print(on_empty_words, action);
}

/* Reads one trigger argument into "options". */
bool
parse_option(const char *word, Options *options, Problem *problem)
{
	std::string_view text(word);
	auto		is = [&](std::string_view option) { return text.starts_with(option); };

	if (text == "not valid")
		options->not_valid = true;
	else if (is("on_delete="))
		return parse_on_delete(word + strlen("on_delete="), options, problem);
	else if (is("on_update="))
		return parse("on_update", word + strlen("on_update="), on_update_words, &options->on_update, problem);
	else if (is("on_empty="))
		return parse("on_empty", word + strlen("on_empty="), on_empty_words, &options->on_empty, problem);
	else if (is("null_elements="))
		return parse("null_elements", word + strlen("null_elements="), reject_words, &options->reject_nulls, problem);
	else if (is("duplicate_elements="))
		return parse("duplicate_elements", word + strlen("duplicate_elements="), reject_words,
					 &options->reject_duplicates, problem);
	else
		return refuse(problem, ERRCODE_INVALID_PARAMETER_VALUE,
					  psprintf("unrecognized argument \"%s\" for integrity.check_reference", word), nullptr,
					  "The arguments are 'on_delete=...', 'on_update=...', 'on_empty=...', 'null_elements=...', "
					  "'duplicate_elements=...' and 'not valid'.");
	return true;
}

namespace
{

/* Is the option of this argument given by one of those before it? */
bool
given_before(std::string_view arguments, std::string_view option)
{
	while (!arguments.empty())
	{
		std::string_view argument = arguments.substr(0, arguments.find('\0'));

		if (argument.substr(0, argument.find('=')) == option)
			return true;
		arguments.remove_prefix(argument.size() + 1);
	}
	return false;
}

} /* namespace */

/*
 * Reads all arguments of a trigger: tgargs holds "count" strings, each ended by a zero byte. CREATE TRIGGER writes
 * nothing else, but whoever may write into the catalogs can.
 */
bool
parse_arguments(std::string_view arguments, int count, Options *options, Problem *problem)
{
	size_t		at = 0;

	for (int i = 0; i < count; i++)
	{
		size_t		end = arguments.find('\0', at);

		if (end == std::string_view::npos)
			return refuse(problem, ERRCODE_INVALID_OBJECT_DEFINITION,
						  psprintf("argument %d of %d for integrity.check_reference is cut off", i + 1, count), nullptr,
						  "Drop the trigger and declare the rule again.");

		std::string_view argument = arguments.substr(at, end - at);

		if (!parse_option(argument.data(), options, problem))
			return false;
		if (given_before(arguments.substr(0, at), argument.substr(0, argument.find('='))))
			return refuse(problem, ERRCODE_INVALID_PARAMETER_VALUE,
						  psprintf("argument \"%s\" repeats an option of integrity.check_reference", argument.data()), nullptr,
						  "Give each option once.");
		at = end + 1;
	}
	return true;
}

/* Do the options fit each other and the kind of column? */
bool
check_options(const Options &options, bool is_array, Problem *problem)
{
	if (options.on_empty != OnEmpty::Keep && options.on_delete != OnDelete::RemoveElement)
		return refuse(problem, ERRCODE_INVALID_PARAMETER_VALUE,
					  psprintf("on_empty '%s' needs on_delete 'remove element'", word_of(options.on_empty)),
					  psprintf("With on_delete '%s' no array becomes empty.", word_of(options.on_delete)),
					  "Use on_delete 'remove element', or leave on_empty out.");
	if (options.on_delete == OnDelete::NullElement && options.reject_nulls)
		return refuse(problem, ERRCODE_INVALID_PARAMETER_VALUE,
					  "on_delete 'null element' contradicts null_elements 'reject'",
					  "The action would write what the rule forbids, so every delete would fail.",
					  "Use on_delete 'remove element', or allow null elements.");
	if (is_array)
		return true;
	if (options.on_delete == OnDelete::RemoveElement || options.on_delete == OnDelete::NullElement)
		return refuse(problem, ERRCODE_INVALID_PARAMETER_VALUE,
					  psprintf("on_delete '%s' needs an array column", word_of(options.on_delete)), nullptr,
					  "For a column that holds one id use on_delete 'set null' or 'delete row'.");
	if (options.reject_nulls || options.reject_duplicates)
		return refuse(problem, ERRCODE_INVALID_PARAMETER_VALUE,
					  psprintf("%s 'reject' needs an array column",
							   options.reject_nulls ? "null_elements" : "duplicate_elements"),
					  nullptr, "For a column that holds one id use NOT NULL or UNIQUE.");
	return true;
}

} /* namespace integrity */
