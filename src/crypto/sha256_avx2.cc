// SHA-256's compression function for eight messages at once: one per 32-bit lane of AVX2 registers.
// For processors that have AVX2 but neither AVX-512 nor the SHA extensions (Intel Haswell to Coffee
// Lake).
#if defined(__x86_64__)

#include <immintrin.h>

#include "crypto/sha256_kernel.h"

#define MXRING_AVX2 __attribute__((target("avx2")))
#define MXRING_AVX2_INLINE __attribute__((target("avx2"), always_inline)) inline

namespace mxring::crypto {

namespace {

MXRING_AVX2_INLINE __m256i add(__m256i a, __m256i b) {
  return _mm256_add_epi32(a, b);
}
MXRING_AVX2_INLINE __m256i xor2(__m256i a, __m256i b) {
  return _mm256_xor_si256(a, b);
}

// AVX2 has no rotation.
template <int kBits>
MXRING_AVX2_INLINE __m256i rotate(__m256i x) {
  return xor2(_mm256_srli_epi32(x, kBits), _mm256_slli_epi32(x, 32 - kBits));
}
MXRING_AVX2_INLINE __m256i xor3(__m256i a, __m256i b, __m256i c) {
  return xor2(xor2(a, b), c);
}
MXRING_AVX2_INLINE __m256i sum0(__m256i x) {
  return xor3(rotate<2>(x), rotate<13>(x), rotate<22>(x));
}
MXRING_AVX2_INLINE __m256i sum1(__m256i x) {
  return xor3(rotate<6>(x), rotate<11>(x), rotate<25>(x));
}
MXRING_AVX2_INLINE __m256i spread0(__m256i x) {
  return xor3(rotate<7>(x), rotate<18>(x), _mm256_srli_epi32(x, 3));
}
MXRING_AVX2_INLINE __m256i spread1(__m256i x) {
  return xor3(rotate<17>(x), rotate<19>(x), _mm256_srli_epi32(x, 10));
}

struct Words {
  __m256i of[16];  // entry t holds word t of every lane
};
struct State {
  __m256i of[8];
};

// One round of all lanes; see sha256_avx512.cc.
template <int kRound, bool kFirst>
MXRING_AVX2_INLINE void round(State& s, Words& w, const std::uint32_t* constants) {
  if constexpr (!kFirst) {
    w.of[kRound] = add(add(w.of[kRound], spread0(w.of[(kRound + 1) % 16])),
                       add(w.of[(kRound + 9) % 16], spread1(w.of[(kRound + 14) % 16])));
  }
  constexpr int kTurn = 16 - kRound;
  const __m256i a = s.of[kTurn % 8];
  const __m256i b = s.of[(kTurn + 1) % 8];
  const __m256i c = s.of[(kTurn + 2) % 8];
  __m256i& d = s.of[(kTurn + 3) % 8];
  const __m256i e = s.of[(kTurn + 4) % 8];
  const __m256i f = s.of[(kTurn + 5) % 8];
  const __m256i g = s.of[(kTurn + 6) % 8];
  __m256i& h = s.of[(kTurn + 7) % 8];
  const __m256i constant = _mm256_set1_epi32(static_cast<int>(constants[kRound]));
  const __m256i early = add(add(h, constant), w.of[kRound]);
  const __m256i choice = xor2(g, _mm256_and_si256(e, xor2(f, g)));
  const __m256i first = add(add(early, choice), sum1(e));
  const __m256i majority =
      _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)));
  d = add(d, first);
  h = add(add(first, majority), sum0(a));
}

template <bool kFirst>
MXRING_AVX2_INLINE void sixteen_rounds(State& s, Words& w, const std::uint32_t* constants) {
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

// Eight words, from `offset` on, of every lane: loaded so that the 128-bit halves already stand
// where they belong, which leaves 4 by 4 transpositions within the halves.
MXRING_AVX2_INLINE void load_eight_words(const std::uint8_t* const* data, std::size_t offset,
                                         __m256i* words) {
  const __m256i big_endian =
      _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
  for (int half = 0; half < 2; ++half) {
    __m256i rows[4];
    for (int i = 0; i < 4; ++i) {
      const auto* low = reinterpret_cast<const __m128i*>(data[i] + offset + 16 * half);
      const auto* high = reinterpret_cast<const __m128i*>(data[i + 4] + offset + 16 * half);
      rows[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(low)),
                                        _mm_loadu_si128(high), 1);
      rows[i] = _mm256_shuffle_epi8(rows[i], big_endian);
    }
    const __m256i low01 = _mm256_unpacklo_epi32(rows[0], rows[1]);
    const __m256i high01 = _mm256_unpackhi_epi32(rows[0], rows[1]);
    const __m256i low23 = _mm256_unpacklo_epi32(rows[2], rows[3]);
    const __m256i high23 = _mm256_unpackhi_epi32(rows[2], rows[3]);
    words[4 * half] = _mm256_unpacklo_epi64(low01, low23);
    words[4 * half + 1] = _mm256_unpackhi_epi64(low01, low23);
    words[4 * half + 2] = _mm256_unpacklo_epi64(high01, high23);
    words[4 * half + 3] = _mm256_unpackhi_epi64(high01, high23);
  }
}

MXRING_AVX2_INLINE __m256i* at(std::uint32_t* states, int word) {
  return reinterpret_cast<__m256i*>(states + 8 * word);
}

}  // namespace

MXRING_AVX2 void sha256_advance_avx2_x8(std::uint32_t* states, const std::uint8_t* const* data,
                                        std::size_t blocks) {
  for (std::size_t offset = 0; offset < blocks * kSha256BlockBytes; offset += kSha256BlockBytes) {
    Words words;
    load_eight_words(data, offset, words.of);
    load_eight_words(data, offset + 32, words.of + 8);
    State state;
    for (int i = 0; i < 8; ++i) state.of[i] = _mm256_load_si256(at(states, i));
    sixteen_rounds<true>(state, words, kSha256Constants.data());
    for (int r = 16; r < 64; r += 16) {
      sixteen_rounds<false>(state, words, kSha256Constants.data() + r);
    }
    for (int i = 0; i < 8; ++i) {
      _mm256_store_si256(at(states, i), add(state.of[i], _mm256_load_si256(at(states, i))));
    }
  }
}

}  // namespace mxring::crypto

#endif
