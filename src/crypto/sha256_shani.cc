// SHA-256's compression function on the SHA extensions (Intel Goldmont, Ice Lake, AMD Zen and
// later): one message, or two at once.
//
// SHA256RNDS2 makes two rounds and needs their result for the next two: four cycles of latency, of
// which a second, independent message fills the half that would be idle.
#if defined(__x86_64__)

#include <immintrin.h>

#include "crypto/sha256_kernel.h"

#define MXRING_SHANI __attribute__((target("sha,sse4.1,ssse3")))
#define MXRING_SHANI_INLINE __attribute__((target("sha,sse4.1,ssse3"), always_inline)) inline

namespace mxring::crypto {

namespace {

// One message. The instructions want the state as (f, e, b, a) and (h, g, d, c), lowest first.
struct Message {
  __m128i abef;
  __m128i cdgh;
  __m128i words[4];  // the sixteen words of the message schedule due next
};

// Rounds 4 * kGroup to 4 * kGroup + 3, and the words they use.
template <int kGroup>
MXRING_SHANI_INLINE void four_rounds(Message& m, const std::uint8_t* block) {
  __m128i& word = m.words[kGroup % 4];
  if constexpr (kGroup < 4) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const auto* from = reinterpret_cast<const __m128i*>(block + 16 * kGroup);
    word = _mm_shuffle_epi8(_mm_loadu_si128(from), big_endian);
  } else {
    const __m128i& before = m.words[(kGroup + 3) % 4];
    const __m128i seventh = _mm_alignr_epi8(before, m.words[(kGroup + 2) % 4], 4);
    word = _mm_sha256msg1_epu32(word, m.words[(kGroup + 1) % 4]);
    word = _mm_sha256msg2_epu32(_mm_add_epi32(word, seventh), before);
  }
  const auto* constants = reinterpret_cast<const __m128i*>(&kSha256Constants[4 * kGroup]);
  const __m128i sum = _mm_add_epi32(word, _mm_load_si128(constants));
  m.cdgh = _mm_sha256rnds2_epu32(m.cdgh, m.abef, sum);
  m.abef = _mm_sha256rnds2_epu32(m.abef, m.cdgh, _mm_shuffle_epi32(sum, 0x0E));
}

template <int kGroup>
MXRING_SHANI_INLINE void four_rounds_of_both(Message& first, const std::uint8_t* first_block,
                                             Message& second, const std::uint8_t* second_block) {
  four_rounds<kGroup>(first, first_block);
  four_rounds<kGroup>(second, second_block);
}

MXRING_SHANI_INLINE __m128i load(const std::uint32_t* words) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(words));
}

MXRING_SHANI_INLINE void store(std::uint32_t* words, __m128i value) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(words), value);
}

template <int kSelection>
MXRING_SHANI_INLINE __m128i select(__m128i low, __m128i high) {
  return _mm_castps_si128(
      _mm_shuffle_ps(_mm_castsi128_ps(low), _mm_castsi128_ps(high), kSelection));
}

}  // namespace

MXRING_SHANI void sha256_advance_shani(std::uint32_t* states, const std::uint8_t* const* data,
                                       std::size_t blocks) {
  const __m128i abcd = load(states);
  const __m128i efgh = load(states + 4);
  Message m;
  m.abef = select<_MM_SHUFFLE(0, 1, 0, 1)>(efgh, abcd);
  m.cdgh = select<_MM_SHUFFLE(2, 3, 2, 3)>(efgh, abcd);
  const std::uint8_t* block = data[0];
  for (; blocks > 0; --blocks, block += kSha256BlockBytes) {
    const __m128i abef = m.abef;
    const __m128i cdgh = m.cdgh;
    four_rounds<0>(m, block);
    four_rounds<1>(m, block);
    four_rounds<2>(m, block);
    four_rounds<3>(m, block);
    four_rounds<4>(m, block);
    four_rounds<5>(m, block);
    four_rounds<6>(m, block);
    four_rounds<7>(m, block);
    four_rounds<8>(m, block);
    four_rounds<9>(m, block);
    four_rounds<10>(m, block);
    four_rounds<11>(m, block);
    four_rounds<12>(m, block);
    four_rounds<13>(m, block);
    four_rounds<14>(m, block);
    four_rounds<15>(m, block);
    m.abef = _mm_add_epi32(m.abef, abef);
    m.cdgh = _mm_add_epi32(m.cdgh, cdgh);
  }
  store(states, select<_MM_SHUFFLE(2, 3, 2, 3)>(m.abef, m.cdgh));
  store(states + 4, select<_MM_SHUFFLE(0, 1, 0, 1)>(m.abef, m.cdgh));
}

// The two states come interleaved: a a' b b' c c' d d' ...
MXRING_SHANI void sha256_advance_shani_x2(std::uint32_t* states, const std::uint8_t* const* data,
                                          std::size_t blocks) {
  constexpr int kFirst = _MM_SHUFFLE(0, 2, 0, 2);
  constexpr int kSecond = _MM_SHUFFLE(1, 3, 1, 3);
  const __m128i ab = load(states);
  const __m128i cd = load(states + 4);
  const __m128i ef = load(states + 8);
  const __m128i gh = load(states + 12);
  Message m;
  Message n;
  m.abef = select<kFirst>(ef, ab);
  m.cdgh = select<kFirst>(gh, cd);
  n.abef = select<kSecond>(ef, ab);
  n.cdgh = select<kSecond>(gh, cd);
  const std::uint8_t* p = data[0];
  const std::uint8_t* q = data[1];
  for (; blocks > 0; --blocks, p += kSha256BlockBytes, q += kSha256BlockBytes) {
    const __m128i before[4] = {m.abef, m.cdgh, n.abef, n.cdgh};
    four_rounds_of_both<0>(m, p, n, q);
    four_rounds_of_both<1>(m, p, n, q);
    four_rounds_of_both<2>(m, p, n, q);
    four_rounds_of_both<3>(m, p, n, q);
    four_rounds_of_both<4>(m, p, n, q);
    four_rounds_of_both<5>(m, p, n, q);
    four_rounds_of_both<6>(m, p, n, q);
    four_rounds_of_both<7>(m, p, n, q);
    four_rounds_of_both<8>(m, p, n, q);
    four_rounds_of_both<9>(m, p, n, q);
    four_rounds_of_both<10>(m, p, n, q);
    four_rounds_of_both<11>(m, p, n, q);
    four_rounds_of_both<12>(m, p, n, q);
    four_rounds_of_both<13>(m, p, n, q);
    four_rounds_of_both<14>(m, p, n, q);
    four_rounds_of_both<15>(m, p, n, q);
    m.abef = _mm_add_epi32(m.abef, before[0]);
    m.cdgh = _mm_add_epi32(m.cdgh, before[1]);
    n.abef = _mm_add_epi32(n.abef, before[2]);
    n.cdgh = _mm_add_epi32(n.cdgh, before[3]);
  }
  // (f, e, b, a) of both messages are (f, f', e, e') and (b, b', a, a') once woven together.
  constexpr int kSwapHalves = _MM_SHUFFLE(1, 0, 3, 2);
  store(states, _mm_shuffle_epi32(_mm_unpackhi_epi32(m.abef, n.abef), kSwapHalves));
  store(states + 4, _mm_shuffle_epi32(_mm_unpackhi_epi32(m.cdgh, n.cdgh), kSwapHalves));
  store(states + 8, _mm_shuffle_epi32(_mm_unpacklo_epi32(m.abef, n.abef), kSwapHalves));
  store(states + 12, _mm_shuffle_epi32(_mm_unpacklo_epi32(m.cdgh, n.cdgh), kSwapHalves));
}

}  // namespace mxring::crypto

#endif
