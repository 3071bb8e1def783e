// CRC32C (Castagnoli, as in iSCSI RFC 3720), with the processor's instruction where there is one,
// chosen at run time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mxring::base {

// crc32c(crc32c(0, a), b) == crc32c(0, ab).
std::uint32_t crc32c(std::uint32_t crc, const void* bytes, std::size_t size);
// The table-driven path, for machines without the instruction and for tests.
std::uint32_t crc32c_portable(std::uint32_t crc, const void* bytes, std::size_t size);

}  // namespace mxring::base
