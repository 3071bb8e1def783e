// Octets written as hexadecimal digits in tests.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace mxring::crypto::test {

inline int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  throw std::invalid_argument("not a hexadecimal digit");
}

// Blanks between octets are left out; "-" is no octets at all.
inline std::string from_hex(std::string_view text) {
  std::string out;
  if (text == "-") return out;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == ' ') {
      ++i;
      continue;
    }
    out += static_cast<char>(hex_digit(text.at(i)) << 4 | hex_digit(text.at(i + 1)));
    i += 2;
  }
  return out;
}

}  // namespace mxring::crypto::test
