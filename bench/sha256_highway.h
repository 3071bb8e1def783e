// SHA-256 in sixteen lanes written with Google Highway, to measure beside our intrinsics.
#pragma once

#include <cstddef>
#include <cstdint>

// As mxring::crypto::Sha256Advance, width 16. Needs AVX-512 as in Ice Lake.
void highway_advance_x16(std::uint32_t* states, const std::uint8_t* const* data,
                         std::size_t blocks);
