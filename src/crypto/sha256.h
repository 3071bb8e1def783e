// SHA-256 (FIPS 180-4), one message at a time, on the quickest single-message code this processor
// has (SHA-NI, else portable). Many messages at once: sha256_batch.h.
//
// Thread: one at a time per object. Failure: none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mxring::crypto {

using Sha256Digest = std::array<std::uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::string_view bytes);
  // The digest of everything since construction or the last finish(); starts over.
  Sha256Digest finish();

 private:
  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 128> tail_;  // an incomplete block, and room for the padding
  std::uint64_t bytes_ = 0;
};

Sha256Digest sha256(std::string_view bytes);
std::string to_hex(const Sha256Digest& digest);  // lower case

}  // namespace mxring::crypto
