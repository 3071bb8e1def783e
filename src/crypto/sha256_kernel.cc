#include "crypto/sha256_kernel.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <bit>
#include <cstring>

namespace mxring::crypto {

namespace {

struct KernelList {
  std::array<Sha256Kernel, 5> kernels;
  std::size_t count = 0;
};

#if defined(__x86_64__)
// The compilers' __builtin_cpu_supports() does not know this one everywhere. It works on SSE
// registers, so there is nothing to ask the operating system.
bool has_sha_extensions() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (ebx & bit_SHA) != 0 && __builtin_cpu_supports("sse4.1") != 0 &&
         __builtin_cpu_supports("ssse3") != 0;
}
#endif

KernelList detect() {
  KernelList list;
  // The step costs are nanoseconds of a Sapphire Rapids Xeon (bench/README.md has the table); other
  // processors differ in their clocks more than in the quotients.
  const auto add = [&](Sha256Path path, std::size_t width, std::uint32_t step_cost,
                       Sha256Advance advance) {
    list.kernels[list.count++] = {path, word(path), width, step_cost, advance};
  };
  add(Sha256Path::kPortable, 1, 210, sha256_advance_portable);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0) {
    add(Sha256Path::kLanes8, 8, 353, sha256_advance_avx2_x8);
  }
  if (has_sha_extensions()) {
    add(Sha256Path::kShaNi, 1, 39, sha256_advance_shani);
    add(Sha256Path::kShaNiPair, 2, 66, sha256_advance_shani_x2);
  }
  if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0) {
    add(Sha256Path::kLanes16, 16, 280, sha256_advance_avx512_x16);
  }
#endif
  return list;
}

template <typename Word>
void store_big_endian(std::uint8_t* out, Word value) {
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  std::memcpy(out, &value, sizeof value);
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

std::size_t sha256_pad(std::uint8_t* block, std::size_t held, std::uint64_t bytes) {
  const std::size_t blocks = held + 1 + sizeof bytes <= kSha256BlockBytes ? 1 : 2;
  const std::size_t size = blocks * kSha256BlockBytes;
  block[held] = 0x80;
  std::memset(block + held + 1, 0, size - held - 1);
  store_big_endian(block + size - sizeof bytes, bytes * 8);
  return blocks;
}

Sha256Digest sha256_digest(const std::array<std::uint32_t, 8>& state) {
  Sha256Digest digest;
  for (std::size_t i = 0; i < state.size(); ++i) {
    store_big_endian(digest.data() + 4 * i, state[i]);
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
