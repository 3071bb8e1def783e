// Addresses as the kernel wants them, for those who open connections.
#pragma once

#include <sys/socket.h>

#include "base/ip_address.h"

namespace mxring::net {

// Fills `storage`; returns how many bytes of it count.
socklen_t to_sockaddr(const base::Endpoint& endpoint, sockaddr_storage& storage);
// An address of another family gives an empty endpoint.
base::Endpoint from_sockaddr(const sockaddr_storage& storage);

}  // namespace mxring::net
