#include "crypto/sha256.h"

#include <algorithm>
#include <cstring>

#include "crypto/sha256_kernel.h"

namespace mxring::crypto {

Sha256::Sha256() : state_(kSha256Start) {}

void Sha256::update(std::string_view bytes) {
  if (bytes.empty()) return;
  const Sha256Kernel& kernel = sha256_single_kernel();
  const auto advance = [&](const std::uint8_t* data, std::size_t blocks) {
    kernel.advance(state_.data(), &data, blocks);
  };
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  std::size_t left = bytes.size();
  const std::size_t held = bytes_ % kSha256BlockBytes;
  bytes_ += left;
  if (held > 0) {
    const std::size_t taken = std::min(left, kSha256BlockBytes - held);
    std::memcpy(tail_.data() + held, data, taken);
    if (held + taken < kSha256BlockBytes) return;
    advance(tail_.data(), 1);
    data += taken;
    left -= taken;
  }
  const std::size_t blocks = left / kSha256BlockBytes;
  if (blocks > 0) advance(data, blocks);
  std::memcpy(tail_.data(), data + blocks * kSha256BlockBytes, left % kSha256BlockBytes);
}

Sha256Digest Sha256::finish() {
  const std::size_t blocks = sha256_pad(tail_.data(), bytes_ % kSha256BlockBytes, bytes_);
  const std::uint8_t* const data = tail_.data();
  sha256_single_kernel().advance(state_.data(), &data, blocks);
  const Sha256Digest digest = sha256_digest(state_);
  state_ = kSha256Start;
  bytes_ = 0;
  return digest;
}

Sha256Digest sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string to_hex(const Sha256Digest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(digest.size() * 2);
  for (const std::uint8_t octet : digest) {
    out += kDigits[octet >> 4];
    out += kDigits[octet & 15];
  }
  return out;
}

}  // namespace mxring::crypto
