/*
 * arguments.cpp
 *	  What src/reference/words.cpp reads out of tgargs, against a plain reader of the same grammar.
 */
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "reference/words.cpp"
#include "../../unit/server.h"
#undef printf
#undef fprintf
#include "input.h"

using namespace integrity;

namespace
{

using Said = std::map<std::string, std::string>;

const std::map<std::string, std::set<std::string>> grammar = {
	{"on_delete", {"no action", "restrict", "remove element", "null element", "delete row", "set null"}},
	{"on_update", {"no action", "restrict", "cascade"}},
	{"on_empty", {"keep", "set null", "delete row"}},
	{"null_elements", {"allow", "reject"}},
	{"duplicate_elements", {"allow", "reject"}},
};

/* What the arguments say, or nothing if they are wrong. */
std::optional<Said>
read_plainly(const std::string &bytes, int count)
{
	Said		said;
	size_t		at = 0;

	for (; count > 0; count--)
	{
		size_t		end = bytes.find('\0', at);

		if (end == std::string::npos)
			return {};

		std::string argument = bytes.substr(at, end - at);
		size_t		equals = argument.find('=');
		std::string option = argument.substr(0, equals);
		std::string value = equals == std::string::npos ? "" : argument.substr(equals + 1);
		auto		known = grammar.find(option);
		bool		right = equals == std::string::npos ? argument == "not valid" :
			known != grammar.end() && known->second.contains(value);

		if (!right || !said.emplace(option, value).second)
			return {};
		at = end + 1;
	}
	return said;
}

/* Half of the time words that are nearly right, for it takes long to find them by chance. */
std::string
make_bytes(Input *input)
{
	static const char *const words[] = {"on_delete", "on_update", "on_empty", "null_elements", "duplicate_elements",
		"not valid", "no action", "restrict", "remove element", "null element", "delete row", "set null", "cascade",
		"keep", "allow", "reject", "=", "=", "=", "", "on_delete=", "\xc3\xa4"};
	std::string bytes;

	if (input->number<uint8_t>() % 2 == 0)
		return input->rest();
	while (!input->empty())
	{
		uint8_t		at = input->number<uint8_t>();

		if (at < 2 * std::size(words))
			bytes += words[at / 2];
		else
			bytes += '\0';
		if (at % 2 == 1)
			bytes += '\0';
	}
	return bytes;
}

} /* namespace */

extern "C" int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input		input(data, size);
	int			count = input.number<uint8_t>() % 8;
	std::string bytes = make_bytes(&input);
	auto	   *copy = static_cast<char *>(malloc(bytes.size() + bytes.empty()));
	Options		options = {};
	Problem		problem = {};

	memcpy(copy, bytes.data(), bytes.size());

	bool		done = parse_arguments({copy, bytes.size()}, count, &options, &problem);
	std::optional<Said> said = read_plainly(bytes, count);
	auto		says = [&](const char *option, const char *otherwise)
	{
		return said->contains(option) ? said->at(option) : std::string(otherwise);
	};

	AGREE(done == said.has_value());
	AGREE(done == (problem.sqlstate == 0));
	if (done)
	{
		AGREE(says("on_delete", "no action") == word_of(options.on_delete));
		AGREE(says("on_update", "no action") == word_of(options.on_update));
		AGREE(says("on_empty", "keep") == word_of(options.on_empty));
		AGREE(says("null_elements", "allow") == (options.reject_nulls ? "reject" : "allow"));
		AGREE(says("duplicate_elements", "allow") == (options.reject_duplicates ? "reject" : "allow"));
		AGREE(said->contains("not valid") == options.not_valid);
		problem = {};
		if (check_options(options, size % 2 == 0, &problem))
			AGREE(options.on_empty == OnEmpty::Keep || options.on_delete == OnDelete::RemoveElement);
	}
	else
		AGREE(problem.message && problem.hint);
	free(copy);
	free_all();
	return 0;
}
