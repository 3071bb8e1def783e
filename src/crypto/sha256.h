// SHA-256 (FIPS 180-4), one message at a time, over wolfCrypt.
//
// Thread: one at a time per object. Failure: none that input can cause; a broken library aborts.
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
  ~Sha256();

  void update(std::string_view bytes);
  // The digest of everything since construction or the last finish(); starts over.
  Sha256Digest finish();

 private:
  // The library's own state; its size is checked where it is built.
  alignas(16) std::array<std::byte, 512> state_;
};

Sha256Digest sha256(std::string_view bytes);
std::string to_hex(const Sha256Digest& digest);  // lower case

}  // namespace mxring::crypto
