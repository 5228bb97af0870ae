/*
 * input.h
 *	  Takes numbers and strings out of the bytes that libFuzzer brings.
 */
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

class Input
{
public:
	Input(const uint8_t *data, size_t size) : data_(data), left_(size)
	{
	}

	bool		empty() const { return left_ == 0; }

	template <typename Number>
	Number
	number()
	{
		Number		value{};
		size_t		size = left_ < sizeof(value) ? left_ : sizeof(value);

		if (size > 0)
			memcpy(&value, data_, size);
		data_ += size;
		left_ -= size;
		return value;
	}

	std::string
	string(size_t most)
	{
		size_t		size = number<uint8_t>() % (most + 1);

		if (size > left_)
			size = left_;

		std::string value(reinterpret_cast<const char *>(data_), size);

		data_ += size;
		left_ -= size;
		return value;
	}

	std::string
	rest()
	{
		std::string value(reinterpret_cast<const char *>(data_), left_);

		left_ = 0;
		return value;
	}

private:
	const uint8_t *data_;
	size_t		left_;
};

/* What the code under test says, and what plain code says, must be the same. */
#define AGREE(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: they do not agree: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)
