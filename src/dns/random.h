// Random bytes from the kernel, fetched in advance: for what keeps forgers and flooders out.
#pragma once

#include <cstddef>

namespace mxring::dns {

void random_bytes(void* out, std::size_t size);

}  // namespace mxring::dns
