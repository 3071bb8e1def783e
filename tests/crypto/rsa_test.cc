// RSA checks on every path: signatures made and mangled by make_rsa_vectors.py, and a verifier's
// behaviour with many checks at once.
#include "crypto/rsa.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "crypto/private_key.h"
#include "tests/crypto/hex.h"
#include "tests/support/allocation_count.h"

namespace mxring::crypto {
namespace {

using test::from_hex;

struct Vector {
  std::size_t key = 0;
  bool valid = false;
  Sha256Digest digest{};
  std::string signature;
  std::string name;
};

struct Vectors {
  std::vector<RsaPublicKey> keys;
  std::vector<Vector> cases;
};

Vectors read_vectors() {
  Vectors vectors;
  std::ifstream file(MXRING_TEST_DATA "/rsa_vectors.txt");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "key") {
      std::string der;
      words >> der;
      auto key = RsaPublicKey::parse(from_hex(der));
      EXPECT_TRUE(key.has_value()) << line;
      if (key) vectors.keys.push_back(std::move(*key));
    } else if (kind == "case") {
      std::string expected, digest, signature;
      Vector vector;
      words >> expected >> digest >> signature;
      std::getline(words, vector.name);
      EXPECT_TRUE(expected == "valid" || expected == "invalid") << line;
      vector.key = vectors.keys.size() - 1;
      vector.valid = expected == "valid";
      const std::string octets = from_hex(digest);
      EXPECT_EQ(octets.size(), vector.digest.size());
      std::copy_n(octets.begin(), vector.digest.size(), vector.digest.begin());
      vector.signature = from_hex(signature);
      vectors.cases.push_back(std::move(vector));
    }
  }
  return vectors;
}

std::string_view word(RsaPath path) {
  return path == RsaPath::kLanes ? "lanes" : "wolfCrypt";
}

TEST(Rsa, VectorsOneByOne) {
  const Vectors vectors = read_vectors();
  ASSERT_GE(vectors.cases.size(), 100U);
  for (const RsaPath path : rsa_paths()) {
    RsaVerifier verifier({&path, 1});
    for (const Vector& vector : vectors.cases) {
      RsaCheck check{&vectors.keys[vector.key], vector.signature, vector.digest, !vector.valid};
      RsaCheck* const checks[] = {&check};
      verifier.verify(checks);
      EXPECT_EQ(check.valid, vector.valid) << word(path) << ',' << vector.name;
    }
  }
}

TEST(Rsa, VectorsTogetherInAnyOrder) {
  const Vectors vectors = read_vectors();
  std::mt19937 random(1);
  RsaVerifier verifier;
  std::vector<RsaCheck> checks;
  std::vector<RsaCheck*> order;
  std::vector<const Vector*> origin;
  for (int round = 0; round < 20; ++round) {
    for (std::size_t count = 1; count <= 64; ++count) {
      checks.assign(count, {});
      order.clear();
      origin.clear();
      for (RsaCheck& check : checks) {
        const Vector& vector = vectors.cases[random() % vectors.cases.size()];
        check = {&vectors.keys[vector.key], vector.signature, vector.digest, !vector.valid};
        order.push_back(&check);
        origin.push_back(&vector);
      }
      verifier.verify(order);
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_EQ(checks[i].valid, origin[i]->valid) << count << ' ' << origin[i]->name;
      }
    }
  }
}

TEST(Rsa, NoChecksAtAll) {
  RsaVerifier verifier;
  verifier.verify({});
}

// Every bit of a signature and of a digest matters.
TEST(Rsa, AnyFlippedBit) {
  auto made = PrivateKey::generate_rsa(1024);
  ASSERT_TRUE(made.has_value()) << made.error();
  const auto key = RsaPublicKey::parse(made->public_key());
  ASSERT_TRUE(key.has_value());
  const Sha256Digest digest = sha256("text");
  const std::string signature = made->sign(digest).value();
  std::vector<std::string> signatures;
  std::vector<RsaCheck> checks;
  for (std::size_t bit = 0; bit < 8 * signature.size(); ++bit) {
    signatures.push_back(signature);
    char& octet = signatures.back()[bit / 8];
    octet = static_cast<char>(octet ^ 1 << bit % 8);
  }
  for (const std::string& wrong : signatures) checks.push_back({&*key, wrong, digest, true});
  for (std::size_t bit = 0; bit < 256; ++bit) {
    checks.push_back({&*key, signature, digest, true});
    checks.back().digest[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
  }
  checks.push_back({&*key, signature, digest, false});
  std::vector<RsaCheck*> order;
  for (RsaCheck& check : checks) order.push_back(&check);
  for (const RsaPath path : rsa_paths()) {
    RsaVerifier verifier({&path, 1});
    verifier.verify(order);
    EXPECT_TRUE(checks.back().valid);
    for (std::size_t i = 0; i + 1 < checks.size(); ++i) ASSERT_FALSE(checks[i].valid) << i;
  }
}

TEST(Rsa, LanesAllocateNothing) {
  if (rsa_paths().back() != RsaPath::kLanes) GTEST_SKIP() << "no AVX-512 IFMA on this processor";
  const Vectors vectors = read_vectors();
  std::vector<RsaCheck> checks;
  std::vector<RsaCheck*> order;
  for (const Vector& vector : vectors.cases) {
    checks.push_back({&vectors.keys[vector.key], vector.signature, vector.digest});
  }
  for (RsaCheck& check : checks) order.push_back(&check);
  RsaVerifier verifier;
  const std::uint64_t before = mxring::test::allocation_count();
  verifier.verify(order);
  EXPECT_EQ(mxring::test::allocation_count(), before);
}

TEST(Rsa, PathsOfThisProcessor) {
  ASSERT_FALSE(rsa_paths().empty());
  EXPECT_EQ(rsa_paths().front(), RsaPath::kWolfCrypt);
  if (rsa_paths().size() == 1) GTEST_SKIP() << "no AVX-512 IFMA here: the lanes are not tested";
}

}  // namespace
}  // namespace mxring::crypto
