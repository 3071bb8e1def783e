// SHA-256's compression function for sixteen messages at once: one per 32-bit lane of AVX-512
// registers (AVX-512 F and BW). Rotations and the three-operand functions of FIPS 180-4 are single
// instructions there, and all sixteen words of the schedule and the eight of the state stay in
// registers.
#if defined(__x86_64__)

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of the undefined operand that its own intrinsics pass on purpose (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include "crypto/sha256_kernel.h"

#define MXRING_AVX512 __attribute__((target("avx512f,avx512bw")))
#define MXRING_AVX512_INLINE __attribute__((target("avx512f,avx512bw"), always_inline)) inline

namespace mxring::crypto {

namespace {

// Truth tables of VPTERNLOGD, for operands 0xF0, 0xCC, 0xAA.
constexpr int kXor = 0x96;
constexpr int kChoice = 0xCA;    // the first operand chooses between the second and the third
constexpr int kMajority = 0xE8;  // of the three

MXRING_AVX512_INLINE __m512i xor3(__m512i a, __m512i b, __m512i c) {
  return _mm512_ternarylogic_epi32(a, b, c, kXor);
}
MXRING_AVX512_INLINE __m512i sum0(__m512i x) {
  return xor3(_mm512_ror_epi32(x, 2), _mm512_ror_epi32(x, 13), _mm512_ror_epi32(x, 22));
}
MXRING_AVX512_INLINE __m512i sum1(__m512i x) {
  return xor3(_mm512_ror_epi32(x, 6), _mm512_ror_epi32(x, 11), _mm512_ror_epi32(x, 25));
}
MXRING_AVX512_INLINE __m512i spread0(__m512i x) {
  return xor3(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18), _mm512_srli_epi32(x, 3));
}
MXRING_AVX512_INLINE __m512i spread1(__m512i x) {
  return xor3(_mm512_ror_epi32(x, 17), _mm512_ror_epi32(x, 19), _mm512_srli_epi32(x, 10));
}
MXRING_AVX512_INLINE __m512i add(__m512i a, __m512i b) {
  return _mm512_add_epi32(a, b);
}

struct Words {
  __m512i of[16];  // register t holds word t of every lane
};
struct State {
  __m512i of[8];
};

// One round of all lanes. The roles of the eight registers turn instead of their contents. After
// the first sixteen rounds each round first replaces the word it uses by the one due now.
template <int kRound, bool kFirst>
MXRING_AVX512_INLINE void round(State& s, Words& w, const std::uint32_t* constants) {
  if constexpr (!kFirst) {
    w.of[kRound] = add(add(w.of[kRound], spread0(w.of[(kRound + 1) % 16])),
                       add(w.of[(kRound + 9) % 16], spread1(w.of[(kRound + 14) % 16])));
  }
  constexpr int kTurn = 16 - kRound;
  const __m512i a = s.of[kTurn % 8];
  const __m512i b = s.of[(kTurn + 1) % 8];
  const __m512i c = s.of[(kTurn + 2) % 8];
  __m512i& d = s.of[(kTurn + 3) % 8];
  const __m512i e = s.of[(kTurn + 4) % 8];
  const __m512i f = s.of[(kTurn + 5) % 8];
  const __m512i g = s.of[(kTurn + 6) % 8];
  __m512i& h = s.of[(kTurn + 7) % 8];
  const __m512i constant = _mm512_set1_epi32(static_cast<int>(constants[kRound]));
  const __m512i early = add(add(h, constant), w.of[kRound]);
  const __m512i choice = _mm512_ternarylogic_epi32(e, f, g, kChoice);
  const __m512i first = add(add(early, choice), sum1(e));
  const __m512i second = add(sum0(a), _mm512_ternarylogic_epi32(a, b, c, kMajority));
  d = add(d, first);
  h = add(first, second);
}

template <bool kFirst>
MXRING_AVX512_INLINE void sixteen_rounds(State& s, Words& w, const std::uint32_t* constants) {
  round<0, kFirst>(s, w, constants);
  round<1, kFirst>(s, w, constants);
  round<2, kFirst>(s, w, constants);
  round<3, kFirst>(s, w, constants);
  round<4, kFirst>(s, w, constants);
  round<5, kFirst>(s, w, constants);
  round<6, kFirst>(s, w, constants);
  round<7, kFirst>(s, w, constants);
  round<8, kFirst>(s, w, constants);
  round<9, kFirst>(s, w, constants);
  round<10, kFirst>(s, w, constants);
  round<11, kFirst>(s, w, constants);
  round<12, kFirst>(s, w, constants);
  round<13, kFirst>(s, w, constants);
  round<14, kFirst>(s, w, constants);
  round<15, kFirst>(s, w, constants);
}

// Sixteen bytes of the lanes i, i + 4, i + 8 and i + 12, side by side. A broadcast from memory
// under a mask takes a load and any vector port, while a shuffle of registers would have to wait
// for the one port that shuffles.
MXRING_AVX512_INLINE __m512i load_row(const std::uint8_t* const* data, std::size_t offset) {
  const auto at = [](const std::uint8_t* p) { return reinterpret_cast<const __m128i*>(p); };
  __m512i row = _mm512_castsi128_si512(_mm_loadu_si128(at(data[0] + offset)));
  row = _mm512_mask_broadcast_i32x4(row, 0x00F0, _mm_loadu_si128(at(data[4] + offset)));
  row = _mm512_mask_broadcast_i32x4(row, 0x0F00, _mm_loadu_si128(at(data[8] + offset)));
  return _mm512_mask_broadcast_i32x4(row, 0xF000, _mm_loadu_si128(at(data[12] + offset)));
}

// Words kWord to kWord + 3 of every lane: a 4 by 4 transposition in each 128-bit part.
template <int kWord>
MXRING_AVX512_INLINE void load_four_words(const std::uint8_t* const* data, std::size_t offset,
                                          Words& w) {
  const __m512i big_endian =
      _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
  __m512i rows[4];
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm512_shuffle_epi8(load_row(data + i, offset + 4 * kWord), big_endian);
  }
  const __m512i low01 = _mm512_unpacklo_epi32(rows[0], rows[1]);
  const __m512i high01 = _mm512_unpackhi_epi32(rows[0], rows[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(rows[2], rows[3]);
  const __m512i high23 = _mm512_unpackhi_epi32(rows[2], rows[3]);
  w.of[kWord] = _mm512_unpacklo_epi64(low01, low23);
  w.of[kWord + 1] = _mm512_unpackhi_epi64(low01, low23);
  w.of[kWord + 2] = _mm512_unpacklo_epi64(high01, high23);
  w.of[kWord + 3] = _mm512_unpackhi_epi64(high01, high23);
}

// A block of every lane, transposed.
MXRING_AVX512_INLINE void load_words(const std::uint8_t* const* data, std::size_t offset,
                                     Words& w) {
  load_four_words<0>(data, offset, w);
  load_four_words<4>(data, offset, w);
  load_four_words<8>(data, offset, w);
  load_four_words<12>(data, offset, w);
}

}  // namespace

MXRING_AVX512 void sha256_advance_avx512_x16(std::uint32_t* states, const std::uint8_t* const* data,
                                             std::size_t blocks) {
  State state;
  for (int i = 0; i < 8; ++i) state.of[i] = _mm512_load_si512(states + 16 * i);
  for (std::size_t offset = 0; offset < blocks * kSha256BlockBytes; offset += kSha256BlockBytes) {
    Words words;
    load_words(data, offset, words);
    // Kept in memory: the rounds need all registers there are.
    for (int i = 0; i < 8; ++i) _mm512_store_si512(states + 16 * i, state.of[i]);
    sixteen_rounds<true>(state, words, kSha256Constants.data());
    for (int r = 16; r < 64; r += 16) {
      sixteen_rounds<false>(state, words, kSha256Constants.data() + r);
    }
    for (int i = 0; i < 8; ++i) {
      state.of[i] = add(state.of[i], _mm512_load_si512(states + 16 * i));
    }
  }
  for (int i = 0; i < 8; ++i) _mm512_store_si512(states + 16 * i, state.of[i]);
}

}  // namespace mxring::crypto

#endif
