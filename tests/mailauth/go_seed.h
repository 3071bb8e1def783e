// Seeds made by Go's fuzzer are text files, `go test fuzz v1` and then one quoted value a line.
// This takes the bytes of the first value out; any other input is its own bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mxring::test {

inline std::string seed_bytes(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  constexpr std::string_view kMagic = "go test fuzz v1\n";
  const std::size_t quote = text.find('"');
  if (!text.starts_with(kMagic) || quote == std::string_view::npos) return std::string(text);
  text.remove_prefix(quote + 1);
  const auto hex = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  std::string out;
  while (!text.empty() && text[0] != '"') {
    if (text[0] != '\\' || text.size() < 2) {
      out += text[0];
      text.remove_prefix(1);
      continue;
    }
    const char kind = text[1];
    if (kind == 'x' && text.size() >= 4) {
      out += static_cast<char>(hex(text[2]) * 16 + hex(text[3]));
      text.remove_prefix(4);
      continue;
    }
    constexpr std::string_view kEscapes = "abfnrtv";
    constexpr std::string_view kValues = "\a\b\f\n\r\t\v";
    const std::size_t known = kEscapes.find(kind);
    out += known == std::string_view::npos ? kind : kValues[known];
    text.remove_prefix(2);
  }
  return out;
}

}  // namespace mxring::test
