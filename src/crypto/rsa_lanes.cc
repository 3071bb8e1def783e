#include "crypto/rsa_lanes.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/assert.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mxring::crypto {

namespace {

constexpr std::uint64_t kDigitMask = (std::uint64_t{1} << kDigitBits) - 1;

// Octets of the largest number of digits, and eight more so that a digit is one unaligned load.
constexpr std::size_t kPaddedOctets = kLaneDigitsMax * kDigitBits / 8 + 8;
static_assert(kDigitBits < 64 && kPaddedOctets % 8 == 0);

// Digits of one big-endian number, each by a single load from a copy with zeros in front.
class Digits {
 public:
  explicit Digits(std::span<const std::uint8_t> octets) {
    MXRING_ASSERT(octets.size() <= kPaddedOctets - 8);
    const std::size_t front = padded_.size() - octets.size();
    std::memset(padded_.data(), 0, front);
    std::memcpy(padded_.data() + front, octets.data(), octets.size());
  }

  std::uint64_t operator[](std::size_t index) const {
    const std::size_t bit = kDigitBits * index;
    std::uint64_t octets;  // big-endian
    std::memcpy(&octets, padded_.data() + padded_.size() - 8 - bit / 8, 8);
    if constexpr (std::endian::native == std::endian::little) octets = std::byteswap(octets);
    return octets >> (bit % 8) & kDigitMask;
  }

 private:
  std::array<std::uint8_t, kPaddedOctets> padded_;
};

}  // namespace

void to_digits(std::span<std::uint64_t> out, std::span<const std::uint8_t> octets) {
  MXRING_ASSERT(out.size() <= kLaneDigitsMax);
  const Digits digits(octets);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = digits[i];
}

#if defined(__x86_64__)

// Digit i of all eight numbers lies together.
struct alignas(64) LaneNumber {
  std::uint64_t digit[kLaneDigitsMax][kLanes];
};

struct LaneScratch {
  LaneNumber modulus;
  LaneNumber r_squared;
  LaneNumber signature;
  LaneNumber encoding;
  LaneNumber power;
  LaneNumber quotient;  // the multiples of n that Montgomery reduction adds
  alignas(64) std::uint64_t n0_inverse[kLanes];
};

namespace {

#define MXRING_IFMA __attribute__((target("avx512f,avx512ifma")))
#define MXRING_IFMA_INLINE __attribute__((target("avx512f,avx512ifma"), always_inline)) inline

using Vector = __m512i;
using Row = const std::uint64_t (*)[kLanes];

// Products are made four digits by four, so that eight loads serve 32 multiply-adds and the sums
// stay in registers: low[i] belongs to column i of eight, high[i] to column i + 1. Fourteen sums
// are enough independent chains to keep both multipliers busy through their latency of four.
constexpr std::size_t kTile = 4;
static_assert(kLaneDigitsMax % kTile == 0, "numbers are whole tiles");

struct Columns {
  Vector low0, low1, low2, low3, low4, low5, low6;
  Vector high0, high1, high2, high3, high4, high5, high6;
};

// The eight columns of a tile column, low and high sums put together.
struct Merged {
  Vector c0, c1, c2, c3, c4, c5, c6, c7;
};

// What of a column belongs to the next. (The shift intrinsic makes GCC 12 warn of its own
// undefined pass-through operand, GCC bug 105593.)
MXRING_IFMA_INLINE Vector carry_of(const Vector& column) {
  return reinterpret_cast<Vector>(reinterpret_cast<__v8du>(column) >> kDigitBits);
}

MXRING_IFMA_INLINE Vector load(Row row) {
  return _mm512_load_si512(row);
}

MXRING_IFMA_INLINE void add_product(Vector& low, Vector& high, const Vector& a, const Vector& b) {
  low = _mm512_madd52lo_epu64(low, a, b);
  high = _mm512_madd52hi_epu64(high, a, b);
}

MXRING_IFMA_INLINE void clear(Columns& s) {
  s.low0 = s.low1 = s.low2 = s.low3 = s.low4 = s.low5 = s.low6 = _mm512_setzero_si512();
  s.high0 = s.high1 = s.high2 = s.high3 = s.high4 = s.high5 = s.high6 = _mm512_setzero_si512();
}

MXRING_IFMA_INLINE void add_tile(Columns& s, Row a, Row b) {
  const Vector a0 = load(a);
  const Vector a1 = load(a + 1);
  const Vector a2 = load(a + 2);
  const Vector a3 = load(a + 3);
  const Vector b0 = load(b);
  add_product(s.low0, s.high0, a0, b0);
  add_product(s.low1, s.high1, a1, b0);
  add_product(s.low2, s.high2, a2, b0);
  add_product(s.low3, s.high3, a3, b0);
  const Vector b1 = load(b + 1);
  add_product(s.low1, s.high1, a0, b1);
  add_product(s.low2, s.high2, a1, b1);
  add_product(s.low3, s.high3, a2, b1);
  add_product(s.low4, s.high4, a3, b1);
  const Vector b2 = load(b + 2);
  add_product(s.low2, s.high2, a0, b2);
  add_product(s.low3, s.high3, a1, b2);
  add_product(s.low4, s.high4, a2, b2);
  add_product(s.low5, s.high5, a3, b2);
  const Vector b3 = load(b + 3);
  add_product(s.low3, s.high3, a0, b3);
  add_product(s.low4, s.high4, a1, b3);
  add_product(s.low5, s.high5, a2, b3);
  add_product(s.low6, s.high6, a3, b3);
}

// Tiles a[first..last] times b[sum - first .. sum - last], tile by tile.
MXRING_IFMA_INLINE void add_tiles(Columns& s, Row a, Row b, std::size_t first, std::size_t end,
                                  std::size_t sum) {
  Row at_a = a + kTile * first;
  Row at_b = b + kTile * (sum - first);
  for (std::size_t i = first; i < end; ++i, at_a += kTile, at_b -= kTile) {
    add_tile(s, at_a, at_b);
  }
}

MXRING_IFMA_INLINE void merge(Merged& c, const Columns& s) {
  c.c0 = s.low0;
  c.c1 = _mm512_add_epi64(s.low1, s.high0);
  c.c2 = _mm512_add_epi64(s.low2, s.high1);
  c.c3 = _mm512_add_epi64(s.low3, s.high2);
  c.c4 = _mm512_add_epi64(s.low4, s.high3);
  c.c5 = _mm512_add_epi64(s.low5, s.high4);
  c.c6 = _mm512_add_epi64(s.low6, s.high5);
  c.c7 = s.high6;
}

// Products of different digits within one tile of a square: each counts twice.
MXRING_IFMA_INLINE void add_tile_cross(Columns& s, Row a) {
  const Vector a0 = load(a);
  const Vector a1 = load(a + 1);
  const Vector a2 = load(a + 2);
  const Vector a3 = load(a + 3);
  add_product(s.low1, s.high1, a0, a1);
  add_product(s.low2, s.high2, a0, a2);
  add_product(s.low3, s.high3, a0, a3);
  add_product(s.low3, s.high3, a1, a2);
  add_product(s.low4, s.high4, a1, a3);
  add_product(s.low5, s.high5, a2, a3);
}

MXRING_IFMA_INLINE void add_tile_squares(Columns& s, Row a) {
  const Vector a0 = load(a);
  const Vector a1 = load(a + 1);
  const Vector a2 = load(a + 2);
  const Vector a3 = load(a + 3);
  add_product(s.low0, s.high0, a0, a0);
  add_product(s.low2, s.high2, a1, a1);
  add_product(s.low4, s.high4, a2, a2);
  add_product(s.low6, s.high6, a3, a3);
}

MXRING_IFMA_INLINE void twice(Columns& s) {
  Merged c;
  merge(c, s);
  s.low0 = _mm512_add_epi64(c.c0, c.c0);
  s.low1 = _mm512_add_epi64(c.c1, c.c1);
  s.low2 = _mm512_add_epi64(c.c2, c.c2);
  s.low3 = _mm512_add_epi64(c.c3, c.c3);
  s.low4 = _mm512_add_epi64(c.c4, c.c4);
  s.low5 = _mm512_add_epi64(c.c5, c.c5);
  s.low6 = _mm512_add_epi64(c.c6, c.c6);
  s.high0 = s.high1 = s.high2 = s.high3 = s.high4 = s.high5 = _mm512_setzero_si512();
  s.high6 = _mm512_add_epi64(c.c7, c.c7);
}

// One digit of Montgomery's quotient: makes column c0 a multiple of 2^52 and carries it on.
MXRING_IFMA_INLINE Vector reduce_digit(Vector& c0, Vector& c1, Vector& c2, Vector& c3, Vector& c4,
                                       const Vector& n0_inverse, Row n) {
  const Vector zero = _mm512_setzero_si512();
  const Vector q = _mm512_madd52lo_epu64(zero, c0, n0_inverse);
  const Vector n0 = load(n);
  const Vector n1 = load(n + 1);
  const Vector n2 = load(n + 2);
  const Vector n3 = load(n + 3);
  // The next quotient digit waits for c1: its three summands are made side by side.
  c0 = _mm512_madd52lo_epu64(c0, q, n0);
  const Vector from_n1 = _mm512_madd52lo_epu64(zero, q, n1);
  c1 = _mm512_madd52hi_epu64(c1, q, n0);
  c1 = _mm512_add_epi64(c1, from_n1);
  c1 = _mm512_add_epi64(c1, carry_of(c0));
  c2 = _mm512_madd52hi_epu64(c2, q, n1);
  c2 = _mm512_madd52lo_epu64(c2, q, n2);
  c3 = _mm512_madd52hi_epu64(c3, q, n2);
  c3 = _mm512_madd52lo_epu64(c3, q, n3);
  c4 = _mm512_madd52hi_epu64(c4, q, n3);
  return q;
}

MXRING_IFMA_INLINE Vector take_digit(const Vector& c, Vector& carry_to) {
  carry_to = _mm512_add_epi64(carry_to, carry_of(c));
  return _mm512_and_si512(c, _mm512_set1_epi64(static_cast<long long>(kDigitMask)));
}

// out = a b / 2^(52 L) mod n, below 2n when a and b are; kSquare: a is b. `out` may be a or b: a
// tile is written after its last use. Each column of tiles is finished before the next is begun.
template <std::size_t kDigits, bool kSquare>
MXRING_IFMA __attribute__((noinline)) void multiply(LaneNumber& out, const LaneNumber& a_number,
                                                    const LaneNumber& b_number,
                                                    LaneScratch& scratch) {
  constexpr std::size_t kTiles = kDigits / kTile;
  static_assert(kTiles * kTile == kDigits && kDigits <= kLaneDigitsMax);
  Row a = a_number.digit;
  Row b = b_number.digit;
  Row n = scratch.modulus.digit;
  Row q = scratch.quotient.digit;
  const Vector n0_inverse = _mm512_load_si512(scratch.n0_inverse);
  Vector carry0 = _mm512_setzero_si512();
  Vector carry1 = carry0;
  Vector carry2 = carry0;
  Vector carry3 = carry0;
  for (std::size_t k = 0; k < 2 * kTiles; ++k) {
    const std::size_t first = k < kTiles ? 0 : k - kTiles + 1;
    Columns s;
    clear(s);
    if constexpr (kSquare) {
      add_tiles(s, a, a, first, (k + 1) / 2, k);
      if (k % 2 == 0) add_tile_cross(s, a + kTile * (k / 2));
      twice(s);
      if (k % 2 == 0) add_tile_squares(s, a + kTile * (k / 2));
    } else {
      add_tiles(s, a, b, first, std::min(k + 1, kTiles), k);
    }
    // The last of these needs the quotient of the column before; all others can run meanwhile.
    add_tiles(s, q, n, first, std::min(k, kTiles), k);
    Merged c;
    merge(c, s);
    c.c0 = _mm512_add_epi64(c.c0, carry0);
    c.c1 = _mm512_add_epi64(c.c1, carry1);
    c.c2 = _mm512_add_epi64(c.c2, carry2);
    c.c3 = _mm512_add_epi64(c.c3, carry3);
    if (k < kTiles) {
      auto* const to = scratch.quotient.digit + kTile * k;
      _mm512_store_si512(to, reduce_digit(c.c0, c.c1, c.c2, c.c3, c.c4, n0_inverse, n));
      _mm512_store_si512(to + 1, reduce_digit(c.c1, c.c2, c.c3, c.c4, c.c5, n0_inverse, n));
      _mm512_store_si512(to + 2, reduce_digit(c.c2, c.c3, c.c4, c.c5, c.c6, n0_inverse, n));
      _mm512_store_si512(to + 3, reduce_digit(c.c3, c.c4, c.c5, c.c6, c.c7, n0_inverse, n));
    } else {
      auto* const to = out.digit + kTile * (k - kTiles);
      _mm512_store_si512(to, take_digit(c.c0, c.c1));
      _mm512_store_si512(to + 1, take_digit(c.c1, c.c2));
      _mm512_store_si512(to + 2, take_digit(c.c2, c.c3));
      _mm512_store_si512(to + 3, take_digit(c.c3, c.c4));
    }
    carry0 = c.c4;
    carry1 = c.c5;
    carry2 = c.c6;
    carry3 = c.c7;
  }
}

// Which lanes of `power`, below 2n, are `encoding` modulo n: it or it plus n.
template <std::size_t kDigits>
MXRING_IFMA unsigned compare(const LaneScratch& scratch) {
  const Vector mask = _mm512_set1_epi64(static_cast<long long>(kDigitMask));
  Vector carry = _mm512_setzero_si512();
  __mmask8 equal = 0xff;
  __mmask8 equal_plus_n = 0xff;
  for (std::size_t i = 0; i < kDigits; ++i) {
    const Vector power = _mm512_load_si512(scratch.power.digit[i]);
    const Vector encoding = _mm512_load_si512(scratch.encoding.digit[i]);
    const Vector sum = _mm512_add_epi64(
        carry, _mm512_add_epi64(encoding, _mm512_load_si512(scratch.modulus.digit[i])));
    carry = carry_of(sum);
    equal = _mm512_mask_cmpeq_epi64_mask(equal, power, encoding);
    equal_plus_n = _mm512_mask_cmpeq_epi64_mask(equal_plus_n, power, _mm512_and_si512(sum, mask));
  }
  return static_cast<unsigned>(equal) | static_cast<unsigned>(equal_plus_n);
}

template <std::size_t kDigits>
void gather(LaneScratch& scratch, std::span<const LaneInput, kLanes> inputs) {
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const LaneInput& input = inputs[lane];
    MXRING_ASSERT(input.modulus != nullptr && input.octets * 8 <= kDigits * kDigitBits);
    const Digits signature({input.signature, input.octets});
    const Digits encoding({input.encoding, input.octets});
    for (std::size_t i = 0; i < kDigits; ++i) {
      scratch.modulus.digit[i][lane] = input.modulus[i];
      scratch.r_squared.digit[i][lane] = input.r_squared[i];
      scratch.signature.digit[i][lane] = signature[i];
      scratch.encoding.digit[i][lane] = encoding[i];
    }
    scratch.n0_inverse[lane] = input.n0_inverse;
  }
}

template <std::size_t kDigits>
unsigned match(LaneScratch& scratch, std::span<const LaneInput, kLanes> inputs) {
  gather<kDigits>(scratch, inputs);
  LaneNumber& power = scratch.power;
  multiply<kDigits, false>(power, scratch.signature, scratch.r_squared, scratch);
  for (int i = 0; i < 16; ++i) multiply<kDigits, true>(power, power, power, scratch);
  // Times the signature itself, not its Montgomery form: that leaves the form as well.
  multiply<kDigits, false>(power, power, scratch.signature, scratch);
  return compare<kDigits>(scratch);
}

}  // namespace

bool lanes_available() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512ifma");
}

unsigned match_lanes(LaneScratch& scratch, std::size_t size,
                     std::span<const LaneInput, kLanes> inputs) {
  MXRING_ASSERT(size < kLaneDigits.size());
  static_assert(kLaneDigits.size() == 5, "each has its case");
  switch (size) {
    case 0:
      return match<kLaneDigits[0]>(scratch, inputs);
    case 1:
      return match<kLaneDigits[1]>(scratch, inputs);
    case 2:
      return match<kLaneDigits[2]>(scratch, inputs);
    case 3:
      return match<kLaneDigits[3]>(scratch, inputs);
    default:
      return match<kLaneDigits[4]>(scratch, inputs);
  }
}

#else

struct LaneScratch {};

bool lanes_available() {
  return false;
}

unsigned match_lanes(LaneScratch&, std::size_t, std::span<const LaneInput, kLanes>) {
  MXRING_ASSERT(!"lanes that this processor lacks");
  return 0;
}

#endif

std::unique_ptr<LaneScratch, LaneScratchDeleter> make_lane_scratch() {
  return std::unique_ptr<LaneScratch, LaneScratchDeleter>(new LaneScratch);
}

void LaneScratchDeleter::operator()(LaneScratch* scratch) const {
  delete scratch;
}

}  // namespace mxring::crypto
