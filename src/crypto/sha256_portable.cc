// SHA-256's compression function in plain C++ (FIPS 180-4, section 6.2.2), for processors without
// anything better.
#include <bit>
#include <utility>

#include "crypto/sha256_kernel.h"

namespace mxring::crypto {

namespace {

std::uint32_t load_big_endian(const std::uint8_t* p) {
  return (std::uint32_t{p[0]} << 24) | (std::uint32_t{p[1]} << 16) | (std::uint32_t{p[2]} << 8) |
         std::uint32_t{p[3]};
}

// The standard's capital and small sigmas.
std::uint32_t sum0(std::uint32_t x) {
  return std::rotr(x, 2) ^ std::rotr(x, 13) ^ std::rotr(x, 22);
}
std::uint32_t sum1(std::uint32_t x) {
  return std::rotr(x, 6) ^ std::rotr(x, 11) ^ std::rotr(x, 25);
}
std::uint32_t spread0(std::uint32_t x) {
  return std::rotr(x, 7) ^ std::rotr(x, 18) ^ (x >> 3);
}
std::uint32_t spread1(std::uint32_t x) {
  return std::rotr(x, 17) ^ std::rotr(x, 19) ^ (x >> 10);
}

// One round. Instead of moving eight words down by one, the caller turns their roles: word i of
// round r is working[(i - r) mod 8].
template <std::size_t kRound>
void round(std::array<std::uint32_t, 8>& working, std::uint32_t word_and_constant) {
  const auto at = [&](std::size_t i) -> std::uint32_t& { return working[(i + 64 - kRound) % 8]; };
  const std::uint32_t choice = at(6) ^ (at(4) & (at(5) ^ at(6)));
  const std::uint32_t majority = (at(0) & at(1)) | (at(2) & (at(0) | at(1)));
  const std::uint32_t first = at(7) + sum1(at(4)) + choice + word_and_constant;
  at(3) += first;
  at(7) = first + sum0(at(0)) + majority;
}

// Sixteen rounds; after the first sixteen, each replaces the message word it used by the one due
// sixteen rounds later.
template <bool kFirst>
void sixteen_rounds(std::array<std::uint32_t, 8>& working, std::array<std::uint32_t, 16>& words,
                    const std::uint32_t* constants) {
  const auto step = [&]<std::size_t kRound>() {
    if constexpr (!kFirst) {
      words[kRound] += spread0(words[(kRound + 1) % 16]) + words[(kRound + 9) % 16] +
                       spread1(words[(kRound + 14) % 16]);
    }
    round<kRound>(working, words[kRound] + constants[kRound]);
  };
  [&]<std::size_t... kRounds>(std::index_sequence<kRounds...>) {
    (step.template operator()<kRounds>(), ...);
  }
  (std::make_index_sequence<16>{});
}

}  // namespace

void sha256_advance_portable(std::uint32_t* states, const std::uint8_t* const* data,
                             std::size_t blocks) {
  const std::uint8_t* p = data[0];
  for (; blocks > 0; --blocks, p += kSha256BlockBytes) {
    std::array<std::uint32_t, 16> words;
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = load_big_endian(p + 4 * i);
    std::array<std::uint32_t, 8> working;
    for (std::size_t i = 0; i < working.size(); ++i) working[i] = states[i];
    sixteen_rounds<true>(working, words, kSha256Constants.data());
    for (std::size_t r = 16; r < 64; r += 16) {
      sixteen_rounds<false>(working, words, kSha256Constants.data() + r);
    }
    for (std::size_t i = 0; i < working.size(); ++i) states[i] += working[i];
  }
}

}  // namespace mxring::crypto
