// The compression function of SHA-256 (FIPS 180-4, section 6.2) in the forms that processors offer.
// A kernel advances `width` messages by the same number of whole blocks; who is in which lane, and
// padding, are the caller's affair (sha256_batch.cc, sha256.cc).
//
// Thread: any; kernels keep nothing. Failure: none. A kernel must not be called on a processor that
// lacks its instructions: take it from sha256_kernels().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "crypto/sha256_batch.h"

namespace mxring::crypto {

inline constexpr std::size_t kSha256BlockBytes = 64;
inline constexpr std::size_t kSha256LanesMax = 16;

// Word w of lane l of the states stands at states[w * width + l], so that a wide kernel loads one
// register per word. data[l] is lane l's first block. `states` is aligned to 64 bytes when width is
// over 2; the message needs no alignment. `blocks` is at least 1.
using Sha256Advance = void (*)(std::uint32_t* states, const std::uint8_t* const* data,
                               std::size_t blocks);

struct Sha256Kernel {
  Sha256Path path;
  std::string_view name;
  std::size_t width;
  // Time of one step (a block in every lane, used or not). Only its quotients matter.
  std::uint32_t step_cost;
  Sha256Advance advance;
};

// Those this processor can run, in the order of Sha256Path.
std::span<const Sha256Kernel> sha256_kernels();

// The quickest of them for one message.
const Sha256Kernel& sha256_single_kernel();

inline constexpr std::array<std::uint32_t, 8> kSha256Start = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

alignas(64) inline constexpr std::array<std::uint32_t, 64> kSha256Constants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// Puts what follows a message behind its last `held` (under 64) bytes at `block`: the bit 1, zeros
// and the length in bits. Answers how many blocks stand there now: 1, or 2 when they did not fit.
std::size_t sha256_pad(std::uint8_t* block, std::size_t held, std::uint64_t bytes);
Sha256Digest sha256_digest(const std::array<std::uint32_t, 8>& state);

void sha256_advance_portable(std::uint32_t* states, const std::uint8_t* const* data,
                             std::size_t blocks);
#if defined(__x86_64__)
void sha256_advance_avx2_x8(std::uint32_t* states, const std::uint8_t* const* data,
                            std::size_t blocks);
void sha256_advance_shani(std::uint32_t* states, const std::uint8_t* const* data,
                          std::size_t blocks);
void sha256_advance_shani_x2(std::uint32_t* states, const std::uint8_t* const* data,
                             std::size_t blocks);
void sha256_advance_avx512_x16(std::uint32_t* states, const std::uint8_t* const* data,
                               std::size_t blocks);
#endif

}  // namespace mxring::crypto
