#include "crypto/rsa_modulus.h"

#include <wolfssl/options.h>
// Options come first: they decide the layout of what follows.
#include <wolfssl/wolfcrypt/rsa.h>

#include <array>

#include "crypto/rsa_lanes.h"

namespace mxring::crypto {

namespace {

bool read(mp_int& number, std::span<const std::uint8_t> octets) {
  return mp_read_unsigned_bin(&number, octets.data(), static_cast<word32>(octets.size())) ==
         MP_OKAY;
}

bool write(mp_int& number, std::span<std::uint8_t> octets) {
  return mp_to_unsigned_bin_len(&number, octets.data(), static_cast<int>(octets.size())) == MP_OKAY;
}

// 2^(2 bits) mod n. The library's numbers have no room for the power itself.
bool square_of_power(std::span<const std::uint8_t> modulus, std::size_t bits,
                     std::span<std::uint8_t> out) {
  mp_int n;
  mp_int r;
  return mp_init_multi(&n, &r, nullptr, nullptr, nullptr, nullptr) == MP_OKAY && read(n, modulus) &&
         mp_2expt(&r, static_cast<int>(bits)) == MP_OKAY && mp_mod(&r, &n, &r) == MP_OKAY &&
         mp_mulmod(&r, &r, &n, &r) == MP_OKAY && write(r, out);
}

// -1/n mod 2^52, n odd: Newton's iteration doubles the bits that are right, three at first.
std::uint64_t negative_inverse(std::uint64_t n) {
  std::uint64_t inverse = n;
  for (int i = 0; i < 5; ++i) inverse *= 2 - n * inverse;
  return -inverse & ((std::uint64_t{1} << kDigitBits) - 1);
}

}  // namespace

bool public_operation(std::span<const std::uint8_t> modulus, std::uint64_t exponent,
                      std::span<const std::uint8_t> base, std::span<std::uint8_t> out) {
  mp_int n;
  mp_int e;
  mp_int s;
  std::array<std::uint8_t, 8> exponent_octets;
  for (std::size_t i = 0; i < 8; ++i) {
    exponent_octets[i] = static_cast<std::uint8_t>(exponent >> (56 - 8 * i));
  }
  return mp_init_multi(&n, &e, &s, nullptr, nullptr, nullptr) == MP_OKAY && read(n, modulus) &&
         read(e, exponent_octets) && read(s, base) && mp_exptmod_nct(&s, &e, &n, &s) == MP_OKAY &&
         write(s, out);
}

LaneModulus prepare_for_lanes(std::span<const std::uint8_t> modulus, std::uint32_t bits) {
  const std::size_t size = lane_size(bits);
  const std::size_t count = kLaneDigits[size];
  std::array<std::uint8_t, kLaneDigitsMax * kDigitBits / 8> octets;
  const auto r_squared = std::span(octets).first(modulus.size());
  if (!square_of_power(modulus, kDigitBits * count, r_squared)) return {};
  LaneModulus prepared{.size = size, .n0_inverse = 0, .digits = {}};
  prepared.digits.resize(2 * count);
  to_digits(std::span(prepared.digits).first(count), modulus);
  to_digits(std::span(prepared.digits).last(count), r_squared);
  prepared.n0_inverse = negative_inverse(prepared.digits[0]);
  return prepared;
}

}  // namespace mxring::crypto
