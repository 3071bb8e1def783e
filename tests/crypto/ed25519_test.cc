// Ed25519 against the examples of RFC 8032 7.1, and what must not verify.
#include "crypto/ed25519.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/crypto/hex.h"

namespace mxring::crypto {
namespace {

using test::from_hex;

Ed25519PublicKey key_of(std::string_view hex) {
  const std::string octets = from_hex(hex);
  Ed25519PublicKey key{};
  EXPECT_EQ(octets.size(), key.size());
  std::copy_n(octets.begin(), std::min(octets.size(), key.size()), key.begin());
  return key;
}

struct Example {
  std::string name;
  Ed25519PublicKey key{};
  std::string message;
  std::string signature;
};

std::vector<Example> examples() {
  std::vector<Example> out;
  std::ifstream file(MXRING_TEST_DATA "/ed25519_vectors.txt");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    std::string name, key, message, signature;
    words >> name >> key >> message >> signature;
    out.push_back({name, key_of(key), from_hex(message), from_hex(signature)});
  }
  EXPECT_EQ(out.size(), 5U);
  return out;
}

TEST(Ed25519, ExamplesOfTheRfc) {
  for (const Example& example : examples()) {
    EXPECT_TRUE(ed25519_verify(example.key, example.signature, example.message)) << example.name;
  }
}

TEST(Ed25519, AnyFlippedBit) {
  const auto [name, key, message, signature] = examples().at(2);
  const auto flipped = [](std::string text, std::size_t bit) {
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ 1 << bit % 8);
    return text;
  };
  for (std::size_t bit = 0; bit < 512; ++bit) {
    EXPECT_FALSE(ed25519_verify(key, flipped(signature, bit), message)) << bit;
  }
  for (std::size_t bit = 0; bit < 16; ++bit) {
    EXPECT_FALSE(ed25519_verify(key, signature, flipped(message, bit))) << bit;
  }
  for (std::size_t bit = 0; bit < 256; ++bit) {
    Ed25519PublicKey other = key;
    other[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_FALSE(ed25519_verify(other, signature, message)) << bit;
  }
}

TEST(Ed25519, Lengths) {
  const auto [name, key, message, signature] = examples().at(1);
  for (std::size_t size = 0; size < 64; ++size) {
    EXPECT_FALSE(ed25519_verify(key, signature.substr(0, size), "r")) << size;
  }
  EXPECT_FALSE(ed25519_verify(key, signature + '\0', "r"));
  EXPECT_TRUE(ed25519_verify(key, signature, "r"));
}

// S plus the group's order satisfies the equation too; RFC 8032 5.1.7 demands S below the order.
TEST(Ed25519, ScalarAboveTheOrder) {
  const std::string order =
      from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  for (const Example& example : examples()) {
    std::string signature = example.signature;
    unsigned carry = 0;
    for (std::size_t i = 0; i < 32; ++i) {
      carry += static_cast<std::uint8_t>(signature[32 + i]) + static_cast<std::uint8_t>(order[i]);
      signature[32 + i] = static_cast<char>(carry);
      carry >>= 8;
    }
    EXPECT_FALSE(ed25519_verify(example.key, signature, example.message));
  }
}

// The point (0, 1) makes R = (0, 1), S = 0 good for any message. Written as y = 1 it is a (foolish)
// key; as y = p + 1 it is none, since RFC 8032 5.1.3 refuses y at or above p.
TEST(Ed25519, KeysMustBeWrittenInOneWay) {
  const std::string signature = '\x01' + std::string(63, '\0');
  const Ed25519PublicKey identity =
      key_of("0100000000000000000000000000000000000000000000000000000000000000");
  const Ed25519PublicKey above =
      key_of("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
  EXPECT_TRUE(ed25519_verify(identity, signature, "any message"));
  EXPECT_FALSE(ed25519_verify(above, signature, "any message"));
  Ed25519PublicKey prime = above;
  prime[0] = 0xed;
  EXPECT_FALSE(ed25519_verify(prime, signature, "any message"));
}

// y = 2 belongs to no point of the curve.
TEST(Ed25519, KeysThatAreNoPoints) {
  const Ed25519PublicKey none =
      key_of("0200000000000000000000000000000000000000000000000000000000000000");
  EXPECT_FALSE(ed25519_verify(none, examples().at(0).signature, ""));
  EXPECT_FALSE(ed25519_verify(none, '\x01' + std::string(63, '\0'), ""));
}

}  // namespace
}  // namespace mxring::crypto
