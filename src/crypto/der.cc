#include "crypto/der.h"

#include "base/assert.h"

namespace mxring::crypto {

namespace {

// The longest length field anybody needs here counts to 16 MiB.
constexpr std::size_t kLengthOctetsMax = 3;
constexpr std::size_t kLenientLengthOctetsMax = 8;

}  // namespace

std::optional<std::string_view> DerReader::take(DerTag tag) {
  return take(static_cast<std::uint8_t>(tag));
}

std::optional<std::string_view> DerReader::take(std::uint8_t tag) {
  if (rest_.size() < 2 || static_cast<std::uint8_t>(rest_[0]) != tag) return std::nullopt;
  std::size_t length = static_cast<std::uint8_t>(rest_[1]);
  std::size_t header = 2;
  if (length >= 0x80) {
    const std::size_t octets = length & 0x7f;  // 0 would be the indefinite form, which is not DER
    const std::size_t octets_max =
        rules_ == Rules::kStrict ? kLengthOctetsMax : kLenientLengthOctetsMax;
    if (octets == 0 || octets > octets_max || rest_.size() < 2 + octets) return std::nullopt;
    length = 0;
    for (std::size_t i = 0; i < octets; ++i) {
      length = length << 8 | static_cast<std::uint8_t>(rest_[2 + i]);
    }
    header += octets;
    const bool shortest = length >= 0x80 && length >> (8 * (octets - 1)) != 0;
    if (!shortest && rules_ == Rules::kStrict) return std::nullopt;
  }
  if (rest_.size() - header < length) return std::nullopt;
  MXRING_ASSERT(header <= rest_.size());
  const std::string_view content = rest_.substr(header, length);
  rest_.remove_prefix(header + length);
  return content;
}

std::optional<std::string_view> DerReader::take_unsigned() {
  std::optional<std::string_view> content = take(DerTag::kInteger);
  if (!content || content->empty()) return std::nullopt;
  if (rules_ == Rules::kLenient) {
    while (!content->empty() && content->front() == 0) content->remove_prefix(1);
    return content;
  }
  const auto first = static_cast<std::uint8_t>((*content)[0]);
  if (first >= 0x80) return std::nullopt;  // negative
  if (first != 0) return content;
  // A zero in front is there only to keep the next octet from being a sign.
  if (content->size() > 1 && static_cast<std::uint8_t>((*content)[1]) < 0x80) return std::nullopt;
  return content->substr(1);
}

std::optional<std::string_view> DerReader::take_octets_of_bits() {
  std::optional<std::string_view> content = take(DerTag::kBitString);
  if (!content || content->empty() || (*content)[0] != 0) return std::nullopt;
  return content->substr(1);
}

void append_der(std::string& out, DerTag tag, std::string_view content) {
  out += static_cast<char>(tag);
  const std::size_t length = content.size();
  if (length < 0x80) {
    out += static_cast<char>(length);
  } else {
    std::size_t octets = 1;
    while (length >> (8 * octets) != 0) ++octets;
    out += static_cast<char>(0x80 | octets);
    for (std::size_t i = octets; i-- > 0;) out += static_cast<char>(length >> (8 * i));
  }
  out += content;
}

}  // namespace mxring::crypto
