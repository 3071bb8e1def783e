#include "net/socket_address.h"

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace mxring::net {

socklen_t to_sockaddr(const base::Endpoint& endpoint, sockaddr_storage& storage) {
  storage = {};
  if (endpoint.address.is_v4()) {
    auto* in = reinterpret_cast<sockaddr_in*>(&storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(endpoint.port);
    std::memcpy(&in->sin_addr, endpoint.address.bytes().data(), 4);
    return sizeof *in;
  }
  auto* in6 = reinterpret_cast<sockaddr_in6*>(&storage);
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons(endpoint.port);
  std::memcpy(&in6->sin6_addr, endpoint.address.bytes().data(), 16);
  return sizeof *in6;
}

base::Endpoint from_sockaddr(const sockaddr_storage& storage) {
  base::Endpoint endpoint;
  if (storage.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &in->sin_addr, 4);
    endpoint.address = base::IpAddress::v4(bytes);
    endpoint.port = ntohs(in->sin_port);
  } else if (storage.ss_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &in6->sin6_addr, 16);
    endpoint.address = base::IpAddress::v6(bytes);
    endpoint.port = ntohs(in6->sin6_port);
  }
  return endpoint;
}

}  // namespace mxring::net
