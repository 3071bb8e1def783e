#include "base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#endif

namespace mxring::base {

namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // reflected

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
    tables[0][i] = crc;
  }
  for (std::uint32_t i = 0; i < 256; ++i) {
    for (std::size_t t = 1; t < 8; ++t) {
      tables[t][i] = (tables[t - 1][i] >> 8) ^ tables[0][tables[t - 1][i] & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();
static_assert(kTables[0][1] == 0xF26B8303);  // as in RFC 3720 B.4

std::uint64_t load64(const unsigned char* p) {
  std::uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

std::uint32_t portable_raw(std::uint32_t crc, const unsigned char* p, std::size_t size) {
  for (; size >= 8; p += 8, size -= 8) {
    const std::uint64_t word = load64(p) ^ crc;  // little-endian, as are all our targets
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][(word >> (8 * i)) & 0xFF];
  }
  for (; size > 0; ++p, --size) crc = (crc >> 8) ^ kTables[0][(crc ^ *p) & 0xFF];
  return crc;
}

#if defined(__x86_64__)

// The instruction has a latency of three cycles and a throughput of one, so three independent
// streams of kStride bytes run at once. Joining them needs "advance this CRC over n zero bytes",
// which is linear: four tables of 256 entries, one per byte of the CRC.
constexpr std::size_t kStride = 512;
static_assert(kStride % sizeof(std::uint64_t) == 0);

using Shift = std::array<std::array<std::uint32_t, 256>, 4>;

constexpr Shift make_shift(std::size_t zero_bytes) {
  std::array<std::uint32_t, 32> columns{};
  for (std::size_t bit = 0; bit < 32; ++bit) {
    std::uint32_t crc = std::uint32_t{1} << bit;
    for (std::size_t i = 0; i < zero_bytes; ++i) crc = (crc >> 8) ^ kTables[0][crc & 0xFF];
    columns[bit] = crc;
  }
  Shift shift{};
  for (std::size_t byte = 0; byte < 4; ++byte) {
    for (std::uint32_t value = 0; value < 256; ++value) {
      for (std::size_t bit = 0; bit < 8; ++bit) {
        if (value & (1U << bit)) shift[byte][value] ^= columns[byte * 8 + bit];
      }
    }
  }
  return shift;
}

constexpr Shift kShift = make_shift(kStride);

std::uint32_t advance(std::uint64_t crc) {
  return kShift[0][crc & 0xFF] ^ kShift[1][(crc >> 8) & 0xFF] ^ kShift[2][(crc >> 16) & 0xFF] ^
         kShift[3][(crc >> 24) & 0xFF];
}

__attribute__((target("sse4.2"))) std::uint32_t hardware_raw(std::uint32_t start,
                                                             const unsigned char* p,
                                                             std::size_t size) {
  std::uint64_t crc = start;
  for (; size >= 3 * kStride; p += 3 * kStride, size -= 3 * kStride) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < kStride; i += 8) {
      crc = _mm_crc32_u64(crc, load64(p + i));
      second = _mm_crc32_u64(second, load64(p + kStride + i));
      third = _mm_crc32_u64(third, load64(p + 2 * kStride + i));
    }
    crc = advance(crc) ^ second;
    crc = advance(crc) ^ third;
  }
  for (; size >= 8; p += 8, size -= 8) crc = _mm_crc32_u64(crc, load64(p));
  auto tail = static_cast<std::uint32_t>(crc);
  for (; size > 0; ++p, --size) tail = _mm_crc32_u8(tail, *p);
  return tail;
}

bool has_instruction() {
  return __builtin_cpu_supports("sse4.2") != 0;
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

std::uint32_t hardware_raw(std::uint32_t crc, const unsigned char* p, std::size_t size) {
  for (; size >= 8; p += 8, size -= 8) crc = __crc32cd(crc, load64(p));
  for (; size > 0; ++p, --size) crc = __crc32cb(crc, *p);
  return crc;
}

bool has_instruction() {
  return true;
}

#else

std::uint32_t hardware_raw(std::uint32_t crc, const unsigned char* p, std::size_t size) {
  return portable_raw(crc, p, size);
}

bool has_instruction() {
  return false;
}

#endif

}  // namespace

std::uint32_t crc32c_portable(std::uint32_t crc, const void* bytes, std::size_t size) {
  return ~portable_raw(~crc, static_cast<const unsigned char*>(bytes), size);
}

std::uint32_t crc32c(std::uint32_t crc, const void* bytes, std::size_t size) {
  static const bool hardware = has_instruction();
  const auto* p = static_cast<const unsigned char*>(bytes);
  return hardware ? ~hardware_raw(~crc, p, size) : ~portable_raw(~crc, p, size);
}

}  // namespace mxring::base
