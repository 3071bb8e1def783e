#include "base/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

namespace mxring::base {

IpAddress IpAddress::v4(const std::array<std::uint8_t, 4>& bytes) {
  IpAddress address;
  std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
  return address;
}

IpAddress IpAddress::v6(const std::array<std::uint8_t, 16>& bytes) {
  static constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  if (std::equal(kMapped.begin(), kMapped.end(), bytes.begin())) {
    return v4({bytes[12], bytes[13], bytes[14], bytes[15]});
  }
  IpAddress address;
  address.bytes_ = bytes;
  address.v4_ = false;
  return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN + 1];
  if (text.empty() || text.size() >= sizeof buffer) return std::nullopt;
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = '\0';
  std::array<std::uint8_t, 4> four{};
  if (inet_pton(AF_INET, buffer, four.data()) == 1) return v4(four);
  std::array<std::uint8_t, 16> sixteen{};
  if (inet_pton(AF_INET6, buffer, sixteen.data()) == 1) return v6(sixteen);
  return std::nullopt;
}

bool IpAddress::is_loopback() const {
  if (v4_) return bytes_[0] == 127;
  return std::all_of(bytes_.begin(), bytes_.end() - 1, [](auto b) { return b == 0; }) &&
         bytes_[15] == 1;
}

bool IpAddress::is_any() const {
  return std::all_of(bytes_.begin(), bytes_.end(), [](auto b) { return b == 0; });
}

IpAddress IpAddress::client_network() const {
  IpAddress network = *this;
  if (!v4_) std::fill(network.bytes_.begin() + 8, network.bytes_.end(), 0);
  return network;
}

std::string IpAddress::to_string() const {
  char buffer[INET6_ADDRSTRLEN];
  inet_ntop(v4_ ? AF_INET : AF_INET6, bytes_.data(), buffer, sizeof buffer);
  return buffer;
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  if (host.starts_with('[') != host.ends_with(']')) return std::nullopt;
  const bool bracketed = host.starts_with('[');
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  if (!address) return std::nullopt;
  if (!bracketed && host.find(':') != std::string_view::npos) return std::nullopt;
  Endpoint endpoint{*address, 0};
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), endpoint.port);
  if (error != std::errc{} || end != port_text.data() + port_text.size()) return std::nullopt;
  return endpoint;
}

std::string Endpoint::advice(std::string_view text) {
  // The port as it was meant, so that the advice can be copied.
  const std::size_t colon = text.rfind(':');
  const bool bare = IpAddress::parse(text).has_value() ||
                    (text.starts_with('[') && text.ends_with(']') &&
                     IpAddress::parse(text.substr(1, text.size() - 2)).has_value());
  std::string_view host = colon == text.npos || bare ? text : text.substr(0, colon);
  std::string_view port = colon == text.npos || bare ? "" : text.substr(colon + 1);
  const auto is_number = [](std::string_view word) {
    return !word.empty() && word.size() <= 20 &&
           std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
  };
  if (colon == text.npos && is_number(text)) std::swap(host, port);
  std::uint16_t number = 2525;
  if (is_number(port)) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc{}) return "not an address: ports go from 0 to 65535";
  }
  if (bare) {
    const IpAddress address =
        *IpAddress::parse(text.starts_with('[') ? text.substr(1, text.size() - 2) : text);
    return "no port in it; write " + Endpoint{address, number}.to_string();
  }
  const std::string p = ":" + std::to_string(number);
  if (host.empty() || host == "*") {
    return "not an address; write 0.0.0.0" + p + " for every IPv4 address, [::]" + p +
           " for every IPv6 address, or both";
  }
  if (IpAddress::parse(host) && host.find(':') != host.npos) {
    return "not an address; write [" + std::string(host) + "]" + p;
  }
  return "not an address (names are not looked up here); write 127.0.0.1" + p + " or [::1]" + p +
         ", or 0.0.0.0" + p + " and [::]" + p + " for every address";
}

std::string Endpoint::to_string() const {
  const std::string host = address.to_string();
  return (address.is_v4() ? host : "[" + host + "]") + ":" + std::to_string(port);
}

}  // namespace mxring::base
