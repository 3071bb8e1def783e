#include "base/base64.h"

#include <array>

namespace mxring::base {

namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Values above 63 are no digits.
constexpr std::uint8_t kOther = 0x80;
constexpr std::uint8_t kSpace = 0x81;
constexpr std::uint8_t kPad = 0x82;

constexpr auto kValues = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(kOther);
  for (std::size_t i = 0; i < kDigits.size(); ++i) {
    values[static_cast<std::uint8_t>(kDigits[i])] = static_cast<std::uint8_t>(i);
  }
  for (const char space : {' ', '\t', '\r', '\n'})
    values[static_cast<std::uint8_t>(space)] = kSpace;
  values['='] = kPad;
  return values;
}();

std::uint8_t value_of(char c) {
  return kValues[static_cast<std::uint8_t>(c)];
}

// What stands behind the last digit: spaces if they may, and the padding that `digits` (of the last
// quad) ask for.
bool is_proper_end(std::string_view rest, unsigned digits, Base64 how) {
  const unsigned wanted = digits == 0 ? 0 : 4 - digits;
  unsigned pads = 0;
  for (const char c : rest) {
    const std::uint8_t value = value_of(c);
    if (value == kPad) {
      ++pads;
    } else if (value != kSpace || how == Base64::kStrict) {
      return false;
    }
  }
  return pads == wanted || (pads == 0 && how == Base64::kFolded);
}

}  // namespace

bool decode_base64(std::string_view text, Base64 how, std::string& out) {
  out.resize(text.size() / 4 * 3 + 3);
  char* to = out.data();
  const auto put = [&to](std::uint32_t byte) { *to++ = static_cast<char>(byte); };
  std::uint32_t group = 0;
  unsigned digits = 0;  // in `group`
  std::size_t at = 0;
  while (at < text.size()) {
    // Whole quads, as long as nothing stands between.
    while (digits == 0 && text.size() - at >= 4) {
      const std::uint8_t a = value_of(text[at]), b = value_of(text[at + 1]),
                         c = value_of(text[at + 2]), d = value_of(text[at + 3]);
      if (((a | b | c | d) & 0x80) != 0) break;
      group = std::uint32_t{a} << 18 | std::uint32_t{b} << 12 | std::uint32_t{c} << 6 | d;
      put(group >> 16);
      put(group >> 8);
      put(group);
      group = 0;
      at += 4;
    }
    if (at == text.size()) break;
    const std::uint8_t value = value_of(text[at]);
    if (value == kPad || value == kOther || (value == kSpace && how == Base64::kStrict)) break;
    ++at;
    if (value == kSpace) continue;
    group = group << 6 | value;
    if (++digits < 4) continue;
    put(group >> 16);
    put(group >> 8);
    put(group);
    group = 0;
    digits = 0;
  }
  if (digits == 1 || !is_proper_end(text.substr(at), digits, how)) return false;
  // Two digits hold one byte and four bits more, three hold two bytes and two bits.
  if (digits == 2) {
    if ((group & 0xF) != 0) return false;
    put(group >> 4);
  } else if (digits == 3) {
    if ((group & 3) != 0) return false;
    put(group >> 10);
    put(group >> 2);
  }
  out.resize(static_cast<std::size_t>(to - out.data()));
  return true;
}

void append_base64(std::string& out, std::string_view bytes) {
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
  while (!bytes.empty()) {
    const std::size_t have = bytes.size() < 3 ? bytes.size() : 3;
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < have ? static_cast<std::uint8_t>(bytes[i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += i <= have ? kDigits[group >> (18 - 6 * i) & 63] : '=';
    }
    bytes.remove_prefix(have);
  }
}

std::string encode_base64(std::string_view bytes) {
  std::string out;
  append_base64(out, bytes);
  return out;
}

}  // namespace mxring::base
