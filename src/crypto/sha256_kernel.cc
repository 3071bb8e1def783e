#include "crypto/sha256_kernel.h"

#include <algorithm>
#include <cstring>

namespace mxring::crypto {

namespace {

struct KernelList {
  std::array<Sha256Kernel, 5> kernels;
  std::size_t count = 0;

  void add(const Sha256Kernel& kernel) { kernels[count++] = kernel; }
};

KernelList detect() {
  KernelList list;
  list.add({Sha256Path::kPortable, word(Sha256Path::kPortable), 1, 100, sha256_advance_portable});
  return list;
}

void store_big_endian(std::uint8_t* out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = bytes; i-- > 0; value >>= 8) out[i] = static_cast<std::uint8_t>(value);
}

}  // namespace

std::span<const Sha256Kernel> sha256_kernels() {
  static const KernelList list = detect();
  return std::span(list.kernels).first(list.count);
}

const Sha256Kernel& sha256_single_kernel() {
  static const Sha256Kernel& best = [&]() -> const Sha256Kernel& {
    const Sha256Kernel* single = nullptr;
    for (const Sha256Kernel& kernel : sha256_kernels()) {
      if (kernel.width == 1) single = &kernel;
    }
    return *single;
  }();
  return best;
}

std::size_t sha256_pad(std::array<std::uint8_t, 2 * kSha256BlockBytes>& tail, std::size_t held,
                       std::uint64_t bytes) {
  const std::size_t blocks = held + 1 + sizeof bytes <= kSha256BlockBytes ? 1 : 2;
  const std::size_t size = blocks * kSha256BlockBytes;
  tail[held] = 0x80;
  std::memset(tail.data() + held + 1, 0, size - held - 1);
  store_big_endian(tail.data() + size - sizeof bytes, bytes * 8, sizeof bytes);
  return blocks;
}

Sha256Digest sha256_digest(const std::array<std::uint32_t, 8>& state) {
  Sha256Digest digest;
  for (std::size_t i = 0; i < state.size(); ++i) {
    store_big_endian(digest.data() + 4 * i, state[i], 4);
  }
  return digest;
}

std::string_view word(Sha256Path path) {
  switch (path) {
    case Sha256Path::kPortable:
      return "portable";
    case Sha256Path::kLanes8:
      return "avx2 x8";
    case Sha256Path::kShaNi:
      return "sha-ni";
    case Sha256Path::kShaNiPair:
      return "sha-ni x2";
    case Sha256Path::kLanes16:
      return "avx512 x16";
  }
  return "unknown";
}

std::span<const Sha256Path> sha256_paths() {
  struct PathList {
    std::array<Sha256Path, 5> paths;
    std::size_t count = 0;
  };
  static const PathList list = [] {
    PathList found;
    for (const Sha256Kernel& kernel : sha256_kernels()) found.paths[found.count++] = kernel.path;
    return found;
  }();
  return std::span(list.paths).first(list.count);
}

}  // namespace mxring::crypto
