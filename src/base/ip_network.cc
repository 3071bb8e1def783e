#include "base/ip_network.h"

#include <fmt/format.h>

#include <charconv>

#include "base/text.h"

namespace mxring::base {

namespace {

// Whether the first `length` bits are the same.
bool same_prefix(const IpAddress& a, const IpAddress& b, unsigned length) {
  for (std::size_t i = 0; i < 16 && i * 8 < length; ++i) {
    const unsigned left = length - static_cast<unsigned>(i) * 8;
    const unsigned mask = left >= 8 ? 0xFFU : 0xFFU << (8 - left) & 0xFFU;
    if (((a.bytes()[i] ^ b.bytes()[i]) & mask) != 0) return false;
  }
  return true;
}

IpAddress cut(const IpAddress& address, unsigned length) {
  std::array<std::uint8_t, 16> bytes = address.bytes();
  for (std::size_t i = 0; i < 16; ++i) {
    const unsigned begin = static_cast<unsigned>(i) * 8;
    if (begin >= length) {
      bytes[i] = 0;
    } else if (length - begin < 8) {
      bytes[i] = static_cast<std::uint8_t>(bytes[i] & (0xFFU << (8 - (length - begin))));
    }
  }
  return address.is_v4() ? IpAddress::v4({bytes[0], bytes[1], bytes[2], bytes[3]})
                         : IpAddress::v6(bytes);
}

}  // namespace

std::expected<IpNetwork, std::string> IpNetwork::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) {
    return std::unexpected(
        fmt::format("\"{}\" is no IP address or network", escaped(text.substr(0, 80))));
  }
  const unsigned bits = address->is_v4() ? 32 : 128;
  unsigned length = bits;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (error != std::errc{} || end != digits.data() + digits.size() || length > bits) {
      return std::unexpected(fmt::format("\"{}\" is no length of an {} prefix, 0 to {}",
                                         escaped(digits.substr(0, 20)),
                                         address->is_v4() ? "IPv4" : "IPv6", bits));
    }
  }
  if (cut(*address, length) != *address) {
    return std::unexpected(
        fmt::format("\"{}\" has bits set after its prefix", escaped(text.substr(0, 80))));
  }
  return IpNetwork{*address, static_cast<std::uint8_t>(length)};
}

bool IpNetwork::contains(const IpAddress& other) const {
  return other.is_v4() == address.is_v4() && same_prefix(address, other, length);
}

std::string IpNetwork::to_string() const {
  const unsigned bits = address.is_v4() ? 32 : 128;
  return length == bits ? address.to_string()
                        : fmt::format("{}/{}", address.to_string(), unsigned{length});
}

const IpNetwork* find_network(std::span<const IpNetwork> networks, const IpAddress& address) {
  for (const IpNetwork& network : networks) {
    if (network.contains(address)) return &network;
  }
  return nullptr;
}

}  // namespace mxring::base
