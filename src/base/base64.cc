#include "base/base64.h"

#include <array>
#include <cstring>

#include "base/assert.h"

namespace mxring::base {

namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static_assert(kDigits.size() == 64);

// Both digits of twelve bits: half the steps, from memory that stays in the first cache.
constexpr auto kPairs = [] {
  std::array<std::array<char, 2>, 4096> pairs{};
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i] = {kDigits[i >> 6], kDigits[i & 63]};
  return pairs;
}();

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

static_assert(kValues['A'] == 0 && kValues['/'] == 63 && kValues['='] == kPad);
std::uint8_t value_of(char c) {
  return kValues[static_cast<std::uint8_t>(c)];
}

// What stands behind the last digit: spaces if they may, and the padding that `digits` (of the last
// quad) ask for.
bool is_proper_end(std::string_view rest, unsigned digits, Base64 how) {
  MXRING_ASSERT(digits < 4 && digits != 1);  // what one digit says is no byte
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
  MXRING_ASSERT(static_cast<std::size_t>(to - out.data()) <= out.size());
  out.resize(static_cast<std::size_t>(to - out.data()));
  return true;
}

void append_base64(std::string& out, std::string_view bytes) {
  const std::size_t before = out.size();
  out.resize(before + (bytes.size() + 2) / 3 * 4);
  char* to = out.data() + before;
  while (bytes.size() >= 3) {
    const auto byte = [bytes](std::size_t i) {
      return std::uint32_t{static_cast<std::uint8_t>(bytes[i])};
    };
    const std::uint32_t group = byte(0) << 16 | byte(1) << 8 | byte(2);
    std::memcpy(to, kPairs[group >> 12].data(), 2);
    std::memcpy(to + 2, kPairs[group & 0xFFF].data(), 2);
    to += 4;
    bytes.remove_prefix(3);
  }
  if (bytes.empty()) return;
  const auto first = static_cast<std::uint8_t>(bytes[0]);
  const auto second = static_cast<std::uint8_t>(bytes.size() > 1 ? bytes[1] : '\0');
  *to++ = kDigits[first >> 2];
  *to++ = kDigits[(first & 3) << 4 | second >> 4];
  *to++ = bytes.size() > 1 ? kDigits[(second & 15) << 2] : '=';
  *to = '=';
}

std::string encode_base64(std::string_view bytes) {
  std::string out;
  append_base64(out, bytes);
  return out;
}

}  // namespace mxring::base
