#include "net/proxy_header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/assert.h"
#include "base/crc32c.h"

namespace mxring::net {

namespace {

using State = ProxyHeader::State;
using Problem = ProxyHeader::Problem;

constexpr std::string_view kSignature1 = "PROXY";
constexpr std::string_view kSignature2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kLineBytesMax = 107;  // version 1, CRLF included
constexpr std::size_t kFixedBytes = 16;     // version 2
static_assert(kSignature2.size() + 4 == kFixedBytes && kLineBytesMax <= kProxyHeaderBytesMax);

// PP2_TYPE_*
constexpr std::uint8_t kTypeCrc32c = 0x03;
constexpr std::uint8_t kTypeSsl = 0x20;
constexpr std::uint8_t kClientSsl = 0x01;

ProxyHeader bad(Problem problem) {
  ProxyHeader header;
  header.state = State::kBad;
  header.problem = problem;
  return header;
}

bool is_prefix_of(std::string_view bytes, std::string_view signature) {
  const std::size_t common = std::min(bytes.size(), signature.size());
  return bytes.substr(0, common) == signature.substr(0, common);
}

// The next word of a version 1 line; words are separated by exactly one blank.
std::optional<std::string_view> next_word(std::string_view& rest) {
  if (!rest.starts_with(' ')) return std::nullopt;
  rest.remove_prefix(1);
  const std::string_view word = rest.substr(0, rest.find(' '));
  if (word.empty()) return std::nullopt;
  rest.remove_prefix(word.size());
  return word;
}

// 0 to 65535 in decimal without leading zeros.
std::optional<std::uint16_t> parse_port(std::string_view word) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), port);
  if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  if (word.size() > 1 && word.front() == '0') return std::nullopt;
  return port;
}

std::optional<base::IpAddress> parse_address(std::optional<std::string_view> word, bool v6) {
  // "::ffff:192.0.2.1" is an IPv6 address here, whatever it means.
  if (!word || (word->find(':') != std::string_view::npos) != v6) return std::nullopt;
  return base::IpAddress::parse(*word);
}

ProxyHeader parse_version_1(std::string_view bytes) {
  const std::size_t end = bytes.substr(0, kLineBytesMax).find("\r\n");
  if (end == std::string_view::npos) {
    if (bytes.size() >= kLineBytesMax) return bad(Problem::kTooLong);
    // A line end of another kind, or a NUL, will not become a header.
    const std::size_t odd = bytes.find_first_of(std::string_view("\n\0", 2));
    const std::size_t cr = bytes.find('\r');
    const bool cr_alone = cr != std::string_view::npos && cr + 1 < bytes.size();
    if (odd != std::string_view::npos || cr_alone) return bad(Problem::kMalformed);
    return {};
  }
  ProxyHeader header;
  header.state = State::kHeader;
  header.version = 1;
  header.bytes = end + 2;
  std::string_view rest = bytes.substr(kSignature1.size(), end - kSignature1.size());
  if (rest.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
    return bad(Problem::kMalformed);
  }
  const auto family = next_word(rest);
  if (family == "UNKNOWN") return header;  // the rest is to be ignored (section 2.1)
  if (family != "TCP4" && family != "TCP6") return bad(Problem::kMalformed);
  const bool v6 = family == "TCP6";
  const auto client = parse_address(next_word(rest), v6);
  const auto destination = parse_address(next_word(rest), v6);
  const auto client_port = next_word(rest).and_then(parse_port);
  const auto destination_port = next_word(rest).and_then(parse_port);
  if (!client || !destination || !client_port || !destination_port || !rest.empty()) {
    return bad(Problem::kMalformed);
  }
  header.has_client = true;
  header.client = *client;
  header.client_port = *client_port;
  header.destination = *destination;
  header.destination_port = *destination_port;
  return header;
}

std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

std::uint16_t number_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}

template <std::size_t kBytes>
std::array<std::uint8_t, kBytes> array_at(std::string_view bytes, std::size_t at) {
  std::array<std::uint8_t, kBytes> out{};
  for (std::size_t i = 0; i < kBytes; ++i) out[i] = byte_at(bytes, at + i);
  return out;
}

// Over the whole header, with the checksum's own four bytes as zeros.
bool checksum_fits(std::string_view header, std::size_t value_at) {
  MXRING_ASSERT(header.size() <= kProxyHeaderBytesMax && value_at + 4 <= header.size());
  std::array<char, kProxyHeaderBytesMax> copy;
  std::copy(header.begin(), header.end(), copy.begin());
  std::fill_n(copy.begin() + static_cast<std::ptrdiff_t>(value_at), 4, '\0');
  const std::uint32_t said = static_cast<std::uint32_t>(number_at(header, value_at)) << 16 |
                             number_at(header, value_at + 2);
  return base::crc32c(0, copy.data(), header.size()) == said;
}

// Each round goes on by three bytes at least.
Problem read_vectors(std::string_view whole, std::size_t at, ProxyHeader& header) {
  while (at < whole.size()) {
    if (whole.size() - at < 3) return Problem::kMalformed;
    const std::uint8_t type = byte_at(whole, at);
    const std::size_t size = number_at(whole, at + 1);
    at += 3;
    if (whole.size() - at < size) return Problem::kMalformed;
    if (type == kTypeCrc32c) {
      if (size != 4) return Problem::kMalformed;
      if (!checksum_fits(whole, at)) return Problem::kChecksum;
    } else if (type == kTypeSsl) {
      if (size < 5) return Problem::kMalformed;
      header.client_used_tls = (byte_at(whole, at) & kClientSsl) != 0;
    }
    at += size;
  }
  return Problem::kNone;
}

// The bytes of addresses that a family has (section 2.2), or nothing for one we do not know.
std::optional<std::size_t> address_bytes(std::uint8_t family) {
  switch (family >> 4) {
    case 0:
      return 0;  // AF_UNSPEC: what follows is to be skipped
    case 1:
      return 12;
    case 2:
      return 36;
    case 3:
      return 216;  // AF_UNIX
    default:
      return std::nullopt;
  }
}

void read_addresses(std::string_view whole, std::uint8_t family, ProxyHeader& header) {
  MXRING_ASSERT(whole.size() >= kFixedBytes + (family == 0x11 ? 12U : 36U));
  const std::size_t at = kFixedBytes;
  if (family == 0x11) {
    header.client = base::IpAddress::v4(array_at<4>(whole, at));
    header.destination = base::IpAddress::v4(array_at<4>(whole, at + 4));
    header.client_port = number_at(whole, at + 8);
    header.destination_port = number_at(whole, at + 10);
  } else {
    header.client = base::IpAddress::v6(array_at<16>(whole, at));
    header.destination = base::IpAddress::v6(array_at<16>(whole, at + 16));
    header.client_port = number_at(whole, at + 32);
    header.destination_port = number_at(whole, at + 34);
  }
  header.has_client = true;
}

ProxyHeader parse_version_2(std::string_view bytes) {
  if (bytes.size() > kSignature2.size()) {
    const std::uint8_t command = byte_at(bytes, 12);
    if (command != 0x20 && command != 0x21) return bad(Problem::kMalformed);
  }
  if (bytes.size() < kFixedBytes) return {};
  const std::uint8_t family = byte_at(bytes, 13);
  const std::size_t size = kFixedBytes + number_at(bytes, 14);
  if (size > kProxyHeaderBytesMax) return bad(Problem::kTooLong);
  const auto addresses = address_bytes(family);
  if ((family & 0x0F) > 2 || !addresses || size < kFixedBytes + *addresses) {
    return bad(Problem::kMalformed);
  }
  if (bytes.size() < size) return {};
  ProxyHeader header;
  header.state = State::kHeader;
  header.version = 2;
  header.bytes = size;
  const std::string_view whole = bytes.substr(0, size);
  const bool local = byte_at(bytes, 12) == 0x20;
  // Without addresses there is no telling where the vectors begin: all of it is skipped.
  if (*addresses == 0) return header;
  if (const Problem problem = read_vectors(whole, kFixedBytes + *addresses, header);
      problem != Problem::kNone) {
    return bad(problem);
  }
  // Connections only: a datagram (0x12, 0x22) is nobody's SMTP session.
  if (!local && (family == 0x11 || family == 0x21)) read_addresses(whole, family, header);
  if (!local && (family == 0x12 || family == 0x22)) return bad(Problem::kMalformed);
  return header;
}

}  // namespace

ProxyHeader parse_proxy_header(std::string_view bytes) {
  if (is_prefix_of(bytes, kSignature2)) {
    return bytes.size() < kSignature2.size() ? ProxyHeader{} : parse_version_2(bytes);
  }
  if (!is_prefix_of(bytes, kSignature1)) return bad(Problem::kNoHeader);
  return bytes.size() < kSignature1.size() ? ProxyHeader{} : parse_version_1(bytes);
}

std::string_view describe(Problem problem) {
  switch (problem) {
    case Problem::kNone:
      return "it is whole";
    case Problem::kNoHeader:
      return "the connection does not begin with one";
    case Problem::kMalformed:
      return "it is malformed";
    case Problem::kTooLong:
      return "it is too long";
    case Problem::kChecksum:
      return "its checksum does not fit";
  }
  return "";
}

}  // namespace mxring::net
