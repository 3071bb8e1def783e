// A network of addresses, "192.0.2.0/24", "2001:db8::/32", or one address.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "base/ip_address.h"

namespace mxring::base {

struct IpNetwork {
  IpAddress address;
  std::uint8_t length = 32;  // of the prefix

  // The message says what is wrong: '"192.0.2.1/24" has bits set after its prefix'.
  static std::expected<IpNetwork, std::string> parse(std::string_view text);
  bool contains(const IpAddress& other) const;
  std::string to_string() const;  // of one address without its length

  friend bool operator==(const IpNetwork&, const IpNetwork&) = default;
};

// The first of them that contains the address, or nullptr.
const IpNetwork* find_network(std::span<const IpNetwork> networks, const IpAddress& address);

}  // namespace mxring::base
