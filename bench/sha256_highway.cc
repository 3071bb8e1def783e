// Compiled for Ice Lake and later (bench/sha256.cmake), where Highway's widest vectors have sixteen
// 32-bit lanes.
#include "bench/sha256_highway.h"

#include <hwy/highway.h>

#include "crypto/sha256_kernel.h"

namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<std::uint32_t>;
using Vec = hn::Vec<Tag>;
static_assert(HWY_MAX_BYTES >= 64, "compiled for AVX-512");

constexpr Tag kTag;

HWY_INLINE Vec sum0(Vec x) {
  return hn::Xor3(hn::RotateRight<2>(x), hn::RotateRight<13>(x), hn::RotateRight<22>(x));
}
HWY_INLINE Vec sum1(Vec x) {
  return hn::Xor3(hn::RotateRight<6>(x), hn::RotateRight<11>(x), hn::RotateRight<25>(x));
}
HWY_INLINE Vec spread0(Vec x) {
  return hn::Xor3(hn::RotateRight<7>(x), hn::RotateRight<18>(x), hn::ShiftRight<3>(x));
}
HWY_INLINE Vec spread1(Vec x) {
  return hn::Xor3(hn::RotateRight<17>(x), hn::RotateRight<19>(x), hn::ShiftRight<10>(x));
}

template <int kRound, bool kFirst>
HWY_INLINE void round(Vec (&s)[8], Vec (&w)[16], const std::uint32_t* constants) {
  if constexpr (!kFirst) {
    w[kRound] = w[kRound] + spread0(w[(kRound + 1) % 16]) + w[(kRound + 9) % 16] +
                spread1(w[(kRound + 14) % 16]);
  }
  constexpr int kTurn = 16 - kRound;
  const Vec a = s[kTurn % 8];
  const Vec b = s[(kTurn + 1) % 8];
  const Vec c = s[(kTurn + 2) % 8];
  const Vec e = s[(kTurn + 4) % 8];
  const Vec early = s[(kTurn + 7) % 8] + hn::Set(kTag, constants[kRound]) + w[kRound];
  const Vec choice = hn::IfVecThenElse(e, s[(kTurn + 5) % 8], s[(kTurn + 6) % 8]);
  const Vec first = early + choice + sum1(e);
  const Vec majority = hn::IfVecThenElse(hn::Xor(a, b), c, b);
  s[(kTurn + 3) % 8] = s[(kTurn + 3) % 8] + first;
  s[(kTurn + 7) % 8] = first + (sum0(a) + majority);
}

template <bool kFirst, int... kRounds>
HWY_INLINE void rounds(Vec (&s)[8], Vec (&w)[16], const std::uint32_t* constants,
                       std::integer_sequence<int, kRounds...>) {
  (round<kRounds, kFirst>(s, w, constants), ...);
}

HWY_INLINE Vec interleave64(Vec low, Vec high, bool upper) {
  const hn::Repartition<std::uint64_t, Tag> wide;
  const auto a = hn::BitCast(wide, low);
  const auto b = hn::BitCast(wide, high);
  return hn::BitCast(kTag,
                     upper ? hn::InterleaveUpper(wide, a, b) : hn::InterleaveLower(wide, a, b));
}

HWY_INLINE void load_words(const std::uint8_t* const* data, std::size_t offset, Vec (&w)[16]) {
  const hn::Repartition<std::uint8_t, Tag> bytes;
  alignas(16) static constexpr std::uint8_t kBigEndian[16] = {3,  2,  1, 0, 7,  6,  5,  4,
                                                              11, 10, 9, 8, 15, 14, 13, 12};
  const auto order = hn::LoadDup128(bytes, kBigEndian);
  Vec quads[4][4];
  for (int i = 0; i < 4; ++i) {
    Vec rows[4];
    for (int j = 0; j < 4; ++j) {
      const auto row = hn::LoadU(bytes, data[4 * i + j] + offset);
      rows[j] = hn::BitCast(kTag, hn::TableLookupBytes(row, order));
    }
    const Vec low01 = hn::InterleaveLower(kTag, rows[0], rows[1]);
    const Vec high01 = hn::InterleaveUpper(kTag, rows[0], rows[1]);
    const Vec low23 = hn::InterleaveLower(kTag, rows[2], rows[3]);
    const Vec high23 = hn::InterleaveUpper(kTag, rows[2], rows[3]);
    quads[i][0] = interleave64(low01, low23, false);
    quads[i][1] = interleave64(low01, low23, true);
    quads[i][2] = interleave64(high01, high23, false);
    quads[i][3] = interleave64(high01, high23, true);
  }
  for (int j = 0; j < 4; ++j) {
    const Vec a = hn::ConcatLowerLower(kTag, quads[2][j], quads[0][j]);
    const Vec b = hn::ConcatLowerLower(kTag, quads[3][j], quads[1][j]);
    const Vec c = hn::ConcatUpperUpper(kTag, quads[2][j], quads[0][j]);
    const Vec d = hn::ConcatUpperUpper(kTag, quads[3][j], quads[1][j]);
    w[j] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a);
    w[j + 4] = hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a));
    w[j + 8] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(d), c);
    w[j + 12] = hn::OddEvenBlocks(d, hn::SwapAdjacentBlocks(c));
  }
}

}  // namespace

void highway_advance_x16(std::uint32_t* states, const std::uint8_t* const* data,
                         std::size_t blocks) {
  const std::uint32_t* constants = mxring::crypto::kSha256Constants.data();
  constexpr std::make_integer_sequence<int, 16> kSixteen;
  Vec s[8];
  for (int i = 0; i < 8; ++i) s[i] = hn::Load(kTag, states + 16 * i);
  for (std::size_t offset = 0; offset < 64 * blocks; offset += 64) {
    Vec w[16];
    load_words(data, offset, w);
    for (int i = 0; i < 8; ++i) hn::Store(s[i], kTag, states + 16 * i);
    rounds<true>(s, w, constants, kSixteen);
    for (int r = 16; r < 64; r += 16) rounds<false>(s, w, constants + r, kSixteen);
    for (int i = 0; i < 8; ++i) s[i] = s[i] + hn::Load(kTag, states + 16 * i);
  }
  for (int i = 0; i < 8; ++i) hn::Store(s[i], kTag, states + 16 * i);
}
