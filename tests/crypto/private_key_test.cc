// Private keys: made, written, read back, and signing as openssl does; files that are no keys.
#include "crypto/private_key.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "crypto/ed25519.h"
#include "crypto/rsa.h"
#include "tests/crypto/hex.h"

namespace mxring::crypto {
namespace {

using test::from_hex;

const std::filesystem::path kKeys = MXRING_TEST_DATA "/keys";

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string_view octets(const Sha256Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

// Whether the public key, as it would be published, takes what the private key signs.
bool signs(PrivateKey& key) {
  const Sha256Digest digest = sha256("some header fields");
  const auto signature = key.sign(digest);
  if (!signature) return false;
  const std::string published = key.public_key();
  if (key.type() == KeyType::kEd25519) {
    Ed25519PublicKey point{};
    if (published.size() != point.size()) return false;
    std::copy(published.begin(), published.end(), point.begin());
    return ed25519_verify(point, *signature, octets(digest));
  }
  const auto parsed = RsaPublicKey::parse(published);
  if (!parsed || parsed->bits() != key.bits()) return false;
  RsaCheck check{&*parsed, *signature, digest};
  RsaCheck* const checks[] = {&check};
  RsaVerifier().verify(checks);
  return check.valid;
}

void expect_round_trip(const PrivateKey& key) {
  const std::string pem = key.to_pem();
  EXPECT_TRUE(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
  EXPECT_TRUE(pem.ends_with("\n-----END PRIVATE KEY-----\n"));
  std::istringstream lines(pem);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 64U);
  auto again = PrivateKey::from_pem(pem);
  ASSERT_TRUE(again.has_value()) << again.error();
  EXPECT_EQ(again->type(), key.type());
  EXPECT_EQ(again->bits(), key.bits());
  EXPECT_EQ(again->public_key(), key.public_key());
  EXPECT_EQ(again->to_pem(), pem);
  EXPECT_TRUE(signs(*again));
}

TEST(PrivateKey, MadeRsa) {
  for (const std::uint32_t bits : {1024U, 1040U, 1536U, 2048U}) {
    auto key = PrivateKey::generate_rsa(bits);
    ASSERT_TRUE(key.has_value()) << key.error();
    EXPECT_EQ(key->type(), KeyType::kRsa);
    EXPECT_EQ(key->bits(), bits);
    EXPECT_TRUE(signs(*key));
    expect_round_trip(*key);
  }
}

TEST(PrivateKey, MadeEd25519) {
  auto key = PrivateKey::generate_ed25519();
  ASSERT_TRUE(key.has_value()) << key.error();
  EXPECT_EQ(key->type(), KeyType::kEd25519);
  EXPECT_EQ(key->bits(), 256U);
  EXPECT_TRUE(signs(*key));
  expect_round_trip(*key);
  EXPECT_NE(PrivateKey::generate_ed25519()->public_key(), key->public_key());
}

TEST(PrivateKey, SizesThatAreNotMade) {
  for (const std::uint32_t bits :
       {0U, 512U, 1016U, 1025U, 1032U, 2047U, 4104U, 8192U, 0xffffffffU}) {
    EXPECT_FALSE(PrivateKey::generate_rsa(bits)) << bits;
  }
}

// Both kinds of signature are determined by key and message, so openssl must have made the same.
TEST(PrivateKey, AgreesWithOpenssl) {
  std::istringstream expected(read_file(kKeys / "expected.txt"));
  int seen = 0;
  for (std::string line; std::getline(expected, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string file, public_key, signature;
    words >> file >> public_key >> signature;
    auto key = PrivateKey::from_pem(read_file(kKeys / file));
    ASSERT_TRUE(key.has_value()) << file << ": " << key.error();
    EXPECT_EQ(key->public_key(), from_hex(public_key)) << file;
    EXPECT_EQ(key->sign(sha256("abc")).value(), from_hex(signature)) << file;
    expect_round_trip(*key);
    ++seen;
  }
  EXPECT_EQ(seen, 4);
}

TEST(PrivateKey, Pkcs1AndPkcs8AreTheSameKey) {
  const auto one = PrivateKey::from_pem(read_file(kKeys / "rsa1024_pkcs1.pem"));
  const std::string pem = read_file(kKeys / "rsa1024_pkcs8.pem");
  const auto eight = PrivateKey::from_pem(pem);
  ASSERT_TRUE(one && eight);
  EXPECT_EQ(one->to_pem(), pem);  // openssl writes the same
  EXPECT_EQ(eight->to_pem(), pem);
}

TEST(PrivateKey, FilesThatAreRefused) {
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kKeys)) {
    if (!entry.path().filename().string().starts_with("refused_")) continue;
    const auto key = PrivateKey::from_pem(read_file(entry.path()));
    ASSERT_FALSE(key.has_value()) << entry.path();
    EXPECT_FALSE(key.error().empty());
    const bool encrypted = entry.path().filename().string().contains("encrypted");
    EXPECT_EQ(key.error().contains("encrypted"), encrypted) << entry.path() << key.error();
    ++seen;
  }
  EXPECT_EQ(seen, 7);
}

TEST(PrivateKey, WhatSurroundsTheBlock) {
  const std::string pem = read_file(kKeys / "ed25519_rfc8032_test1.pem");
  EXPECT_TRUE(PrivateKey::from_pem("subject: none\n\n" + pem + "trailing words\n"));
  EXPECT_TRUE(PrivateKey::from_pem(read_file(kKeys / "refused_public.pem") + pem));
  std::string crlf;
  for (const char c : pem) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_TRUE(PrivateKey::from_pem(crlf));
  EXPECT_TRUE(PrivateKey::from_pem(pem.substr(0, pem.size() - 1)));  // no last line end
  EXPECT_FALSE(PrivateKey::from_pem(" " + pem));                     // not at the start of a line
  EXPECT_FALSE(PrivateKey::from_pem(""));
  EXPECT_FALSE(PrivateKey::from_pem(std::string(100'000, '-')));
  for (std::size_t size = 0; size + 2 < pem.size(); ++size) {
    EXPECT_FALSE(PrivateKey::from_pem(pem.substr(0, size))) << size;
  }
}

TEST(PrivateKey, DamagedBase64) {
  const std::string begin = "-----BEGIN PRIVATE KEY-----\n";
  const std::string end = "\n-----END PRIVATE KEY-----\n";
  const std::string good = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
  ASSERT_TRUE(PrivateKey::from_pem(begin + good + end));
  for (const std::string& wrong :
       {good.substr(1), good + "=", good + "A", good + "AA==", good + "====", "=" + good,
        good.substr(0, 10) + "=" + good.substr(11), good.substr(0, 10) + "!" + good.substr(11),
        good.substr(0, 62) + "==", std::string("===="), std::string()}) {
    EXPECT_FALSE(PrivateKey::from_pem(begin + wrong + end)) << wrong;
  }
}

// A key file with any character changed is refused or is still a key that signs for the public key
// it shows; it never gives a signature that is wrong.
TEST(PrivateKey, AnyChangedCharacter) {
  const std::string pem = read_file(kKeys / "rsa1024_pkcs1.pem");
  std::size_t refused = 0;
  std::size_t taken = 0;
  for (std::size_t at = 0; at < pem.size(); at += 3) {
    std::string changed = pem;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    auto key = PrivateKey::from_pem(changed);
    if (key) {
      EXPECT_TRUE(signs(*key)) << at;
      ++taken;
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, taken);
  EXPECT_GT(taken, 0U);  // the exponent d is not what signing calculates with
}

}  // namespace
}  // namespace mxring::crypto
