/*
 * words_test.cpp
 *	  The arguments of a rule's trigger, as src/reference/words.cpp reads them out of tgargs.
 */
#include <gtest/gtest.h>

#include <string>

#include "reference/words.cpp"

using namespace integrity;

namespace
{

struct Read
{
	bool		done;
	Options		options;
	std::string message;
};

/* Ends where it ends: a sanitizer sees a read beyond. */
Read
read(const std::string &bytes, int count)
{
	auto	   *copy = static_cast<char *>(malloc(bytes.size() + (bytes.empty() ? 1 : 0)));
	Read		result = {};
	Problem		problem = {};

	memcpy(copy, bytes.data(), bytes.size());
	result.done = parse_arguments({copy, bytes.size()}, count, &result.options, &problem);
	EXPECT_EQ(result.done, !problem);
	if (problem)
		result.message = problem.message;
	free(copy);
	return result;
}

std::string
joined(std::initializer_list<const char *> arguments)
{
	std::string bytes;

	for (const char *argument : arguments)
		bytes += std::string(argument) + '\0';
	return bytes;
}

TEST(Arguments, None)
{
	EXPECT_TRUE(read("", 0).done);
	EXPECT_TRUE(read(joined({"nonsense"}), 0).done);
}

TEST(Arguments, EachIsRead)
{
	Read		all = read(joined({"on_delete=remove element", "on_update=cascade", "on_empty=set null", "null_elements=reject",
								   "duplicate_elements=reject", "not valid"}), 6);

	EXPECT_TRUE(all.done);
	EXPECT_EQ(all.options.on_delete, OnDelete::RemoveElement);
	EXPECT_EQ(all.options.on_update, OnUpdate::Cascade);
	EXPECT_EQ(all.options.on_empty, OnEmpty::SetNull);
	EXPECT_TRUE(all.options.reject_nulls && all.options.reject_duplicates && all.options.not_valid);
}

TEST(Arguments, EachValueIsPrintedAsItWasRead)
{
	for (const auto &word : on_delete_words)
		EXPECT_STREQ(word_of(read(joined({(std::string("on_delete=") + word.text).c_str()}), 1).options.on_delete), word.text);
	for (const auto &word : on_update_words)
		EXPECT_STREQ(word_of(read(joined({(std::string("on_update=") + word.text).c_str()}), 1).options.on_update), word.text);
	for (const auto &word : on_empty_words)
		EXPECT_STREQ(word_of(read(joined({(std::string("on_empty=") + word.text).c_str()}), 1).options.on_empty), word.text);
}

TEST(Arguments, AnOptionStandsOnce)
{
	EXPECT_NE(read(joined({"on_delete=restrict", "not valid", "on_delete=restrict"}), 3).message.find("repeats"), std::string::npos);
	EXPECT_NE(read(joined({"not valid", "not valid"}), 2).message.find("repeats"), std::string::npos);
	EXPECT_TRUE(read(joined({"on_delete=restrict", "on_update=restrict"}), 2).done);
}

TEST(Arguments, UnknownWords)
{
	EXPECT_NE(read(joined({""}), 1).message.find("unrecognized argument \"\""), std::string::npos);
	EXPECT_NE(read(joined({"on_delete"}), 1).message.find("unrecognized argument"), std::string::npos);
	EXPECT_NE(read(joined({"on_delete="}), 1).message.find("unrecognized value"), std::string::npos);
	EXPECT_NE(read(joined({"on_delete=cascade"}), 1).message.find("ambiguous"), std::string::npos);
	EXPECT_NE(read(joined({"not valid "}), 1).message.find("unrecognized argument"), std::string::npos);
	EXPECT_NE(read(joined({"ON_DELETE=restrict"}), 1).message.find("unrecognized argument"), std::string::npos);
}

/* Not written by CREATE TRIGGER. */
TEST(Arguments, Damaged)
{
	EXPECT_NE(read("", 1).message.find("cut off"), std::string::npos);
	EXPECT_NE(read("not valid", 1).message.find("cut off"), std::string::npos);
	EXPECT_NE(read(joined({"not valid"}), 2).message.find("cut off"), std::string::npos);
	EXPECT_NE(read(joined({"not valid"}) + "on_delete=restrict", 2).message.find("cut off"), std::string::npos);
}

} /* namespace */
