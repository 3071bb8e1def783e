// An IPv4 or IPv6 address as bytes. IPv4-mapped IPv6 addresses become IPv4 on construction, so a
// dual-stack listener and an IPv4 one name the same client alike.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/keyed_hash.h"

namespace mxring::base {

class IpAddress {
 public:
  IpAddress() = default;  // 0.0.0.0
  static IpAddress v4(const std::array<std::uint8_t, 4>& bytes);
  static IpAddress v6(const std::array<std::uint8_t, 16>& bytes);  // unmaps ::ffff:a.b.c.d
  static std::optional<IpAddress> parse(std::string_view text);

  bool is_v4() const { return v4_; }
  bool is_loopback() const;
  bool is_any() const;  // 0.0.0.0 or ::
  // All 16 bytes; an IPv4 address uses the first four.
  const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
  // What the per-client connection limit counts: the address itself, or an IPv6 /64.
  IpAddress client_network() const;
  std::string to_string() const;

  friend bool operator==(const IpAddress&, const IpAddress&) = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
  bool v4_ = true;
};

// For tables by address; each has a key of its own.
struct IpAddressHash {
  std::size_t operator()(const IpAddress& address) const {
    const auto* bytes = reinterpret_cast<const char*>(address.bytes().data());
    return hash({bytes, address.bytes().size()}, address.is_v4() ? 1 : 0);
  }
  KeyedHash hash = {};
};

// "127.0.0.1:25", "[::1]:25". The port is required; 0 asks the kernel for a free one.
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;
  static std::optional<Endpoint> parse(std::string_view text);
  // What to write in place of a text that parse() does not take, for a listener: "not an address;
  // write 0.0.0.0:2525 for every IPv4 address, [::]:2525 for every IPv6 address".
  static std::string advice(std::string_view text);
  std::string to_string() const;
};

}  // namespace mxring::base
