#include "net/ja4.h"

#include <algorithm>

#include "base/assert.h"
#include "crypto/sha256.h"

namespace mxring::net {

namespace {

constexpr std::uint16_t kServerName = 0;
constexpr std::uint16_t kProtocols = 16;
constexpr std::size_t kDigestDigits = 12;  // of each hash
constexpr std::size_t kCountMax = 99;      // two digits
constexpr std::string_view kNothing = "000000000000";

// RFC 8701: 0x0a0a, 0x1a1a ... 0xfafa.
bool is_grease(std::uint16_t value) {
  return (value & 0x0F0F) == 0x0A0A && value >> 8 == (value & 0xFF);
}

// Numbers without GREASE, in memory of its own.
class Numbers {
 public:
  // False: too many.
  bool add(std::uint16_t value) {
    if (is_grease(value)) return true;
    if (count_ == values_.size()) return false;
    values_[count_++] = value;
    return true;
  }
  bool add_all(std::string_view bytes) {
    for (; bytes.size() >= 2; bytes.remove_prefix(2)) {
      const auto high = static_cast<unsigned char>(bytes[0]);
      const auto low = static_cast<unsigned char>(bytes[1]);
      if (!add(static_cast<std::uint16_t>(high << 8 | low))) return false;
    }
    return true;
  }
  std::span<std::uint16_t> all() { return std::span(values_).first(count_); }
  std::size_t size() const { return count_; }

 private:
  std::array<std::uint16_t, kJa4ListMax> values_;
  std::size_t count_ = 0;
};

char digit(unsigned value) {
  return "0123456789abcdef"[value & 15];
}

// "002f,0035", in pieces.
void hash_numbers(crypto::Sha256& hash, std::span<const std::uint16_t> numbers) {
  bool first = true;
  for (const std::uint16_t number : numbers) {
    const char text[5] = {',', digit(number >> 12U), digit(number >> 8U), digit(number >> 4U),
                          digit(number)};
    hash.update(std::string_view(text, sizeof text).substr(first ? 1 : 0));
    first = false;
  }
}

// The text that is filled from the left.
class Pen {
 public:
  explicit Pen(std::span<char> into) : rest_(into) {}
  void put(std::string_view text) {
    MXRING_ASSERT(text.size() <= rest_.size());
    std::ranges::copy(text, rest_.begin());
    rest_ = rest_.subspan(text.size());
  }
  void put(char c) { put(std::string_view(&c, 1)); }
  void count(std::size_t value) {
    const auto shown = static_cast<unsigned>(std::min(value, kCountMax));
    put(digit(shown / 10));
    put(digit(shown % 10));
  }
  void digest(crypto::Sha256& hash) {
    put(std::string_view(crypto::to_hex(hash.finish())).substr(0, kDigestDigits));
  }
  bool full() const { return rest_.empty(); }

 private:
  std::span<char> rest_;
};

std::string_view version_text(const HelloShape& hello, Numbers& offered) {
  std::uint16_t version = hello.version;
  if (offered.size() > 0) version = *std::ranges::max_element(offered.all());
  switch (version) {
    case 0x0304:
      return "13";
    case 0x0303:
      return "12";
    case 0x0302:
      return "11";
    case 0x0301:
      return "10";
    case 0x0300:
      return "s3";
    case 0x0002:
      return "s2";
    default:
      return "00";
  }
}

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The first and the last character of the protocol, or of its bytes in hexadecimal digits where
// these two are not both letters or digits.
std::array<char, 2> protocol_text(std::string_view protocol) {
  if (protocol.empty()) return {'0', '0'};
  const char first = protocol.front();
  const char last = protocol.back();
  if (is_alphanumeric(first) && is_alphanumeric(last)) return {first, last};
  return {digit(static_cast<unsigned char>(first) >> 4U), digit(static_cast<unsigned char>(last))};
}

}  // namespace

Ja4 ja4(const HelloShape& hello) {
  Numbers suites;
  Numbers types;
  Numbers hashed_types;
  Numbers algorithms;
  Numbers versions;
  bool good = suites.add_all(hello.suites) && algorithms.add_all(hello.algorithms) &&
              versions.add_all(hello.versions);
  for (const std::uint16_t type : hello.types) {
    good = good && types.add(type);
    if (type != kServerName && type != kProtocols) good = good && hashed_types.add(type);
  }
  if (!good) return {};
  const bool named = std::ranges::find(types.all(), kServerName) != types.all().end();
  std::ranges::sort(suites.all());
  std::ranges::sort(hashed_types.all());

  Ja4 result;
  Pen pen(result.text);
  pen.put('t');
  pen.put(version_text(hello, versions));
  pen.put(named ? 'd' : 'i');
  pen.count(suites.size());
  pen.count(types.size());
  for (const char c : protocol_text(hello.protocol)) pen.put(c);
  crypto::Sha256 hash;
  pen.put('_');
  hash_numbers(hash, suites.all());
  suites.size() == 0 ? pen.put(kNothing) : pen.digest(hash);
  pen.put('_');
  hash_numbers(hash, hashed_types.all());
  if (algorithms.size() > 0) {
    hash.update("_");
    hash_numbers(hash, algorithms.all());
  }
  hashed_types.size() == 0 ? pen.put(kNothing) : pen.digest(hash);
  MXRING_ASSERT(pen.full());
  return result;
}

}  // namespace mxring::net
