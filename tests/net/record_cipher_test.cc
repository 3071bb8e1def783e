// libipsec-mb against wolfSSL's own AES-GCM: the same bytes, tags and refusals, for many sizes.
#include "net/record_cipher.h"

#include <gtest/gtest.h>
#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/wolfcrypt/aes.h>

#include <array>
#include <random>
#include <vector>

namespace mxring::net {
namespace {

struct Sealed {
  std::vector<unsigned char> bytes;
  std::array<unsigned char, 16> tag{};
  friend bool operator==(const Sealed&, const Sealed&) = default;
};

struct Cipher {
  Aes aes{};
  Cipher(const std::vector<unsigned char>& key, int device) {
    EXPECT_EQ(wc_AesInit(&aes, nullptr, device), 0);
    EXPECT_EQ(wc_AesGcmSetKey(&aes, key.data(), static_cast<word32>(key.size())), 0);
  }
  ~Cipher() { wc_AesFree(&aes); }
  Cipher(const Cipher&) = delete;
  Cipher& operator=(const Cipher&) = delete;

  Sealed seal(const std::vector<unsigned char>& plain, const std::vector<unsigned char>& nonce,
              const std::vector<unsigned char>& extra) {
    Sealed out{std::vector<unsigned char>(plain.size() + 1), {}};
    EXPECT_EQ(wc_AesGcmEncrypt(&aes, out.bytes.data(), plain.data(),
                               static_cast<word32>(plain.size()), nonce.data(), 12, out.tag.data(),
                               16, extra.data(), static_cast<word32>(extra.size())),
              0);
    out.bytes.resize(plain.size());
    return out;
  }
  int open(const Sealed& sealed, std::vector<unsigned char>& plain,
           const std::vector<unsigned char>& nonce, const std::vector<unsigned char>& extra) {
    plain.assign(sealed.bytes.size() + 1, 0xEE);
    const int result = wc_AesGcmDecrypt(
        &aes, plain.data(), sealed.bytes.data(), static_cast<word32>(sealed.bytes.size()),
        nonce.data(), 12, sealed.tag.data(), 16, extra.data(), static_cast<word32>(extra.size()));
    EXPECT_EQ(plain.back(), 0xEE);  // not a byte further
    plain.pop_back();
    return result;
  }
};

class RecordCipher : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_fast_gcm()) GTEST_SKIP() << "built without libipsec-mb, or a processor without AES-NI";
  }
  std::vector<unsigned char> bytes(std::size_t size) {
    std::vector<unsigned char> out(size);
    for (unsigned char& byte : out) byte = static_cast<unsigned char>(random_());
    return out;
  }
  std::mt19937 random_{20261122};
};

TEST_F(RecordCipher, SameAsWolfsslAtEverySize) {
  RecordKeys keys;
  const RecordKeysInUse in_use(&keys);
  for (const std::size_t key_bytes : {16U, 32U}) {
    const auto key = bytes(key_bytes);
    Cipher fast(key, record_cipher_device());
    Cipher slow(key, INVALID_DEVID);
    std::vector<std::size_t> sizes;
    for (std::size_t size = 0; size <= 520; ++size) sizes.push_back(size);
    for (const std::size_t size : {1000U, 4096U, 16'383U, 16'384U, 16'385U}) sizes.push_back(size);
    for (const std::size_t size : sizes) {
      const auto plain = bytes(size);
      const auto nonce = bytes(12);
      const auto extra = bytes(size % 3 == 0 ? 5 : 13);  // as in TLS 1.3 and 1.2
      const Sealed sealed = fast.seal(plain, nonce, extra);
      ASSERT_EQ(sealed, slow.seal(plain, nonce, extra)) << size;
      std::vector<unsigned char> opened;
      ASSERT_EQ(fast.open(sealed, opened, nonce, extra), 0);
      ASSERT_EQ(opened, plain);
      ASSERT_EQ(slow.open(sealed, opened, nonce, extra), 0);
      ASSERT_EQ(opened, plain);
    }
  }
}

TEST_F(RecordCipher, InPlace) {
  RecordKeys keys;
  const RecordKeysInUse in_use(&keys);
  const auto key = bytes(16);
  Cipher fast(key, record_cipher_device());
  const auto plain = bytes(5000);
  const auto nonce = bytes(12);
  const auto extra = bytes(5);
  const Sealed sealed = fast.seal(plain, nonce, extra);
  auto place = sealed.bytes;
  ASSERT_EQ(wc_AesGcmDecrypt(&fast.aes, place.data(), place.data(), 5000, nonce.data(), 12,
                             sealed.tag.data(), 16, extra.data(), 5),
            0);
  EXPECT_EQ(place, plain);
}

TEST_F(RecordCipher, AnyChangedBitIsRefusedAndNothingIsGiven) {
  RecordKeys keys;
  const RecordKeysInUse in_use(&keys);
  const auto key = bytes(16);
  Cipher fast(key, record_cipher_device());
  const auto plain = bytes(100);
  const auto nonce = bytes(12);
  const auto extra = bytes(5);
  const Sealed good = fast.seal(plain, nonce, extra);
  std::vector<unsigned char> opened;
  for (std::size_t bit = 0; bit < (100 + 16) * 8; ++bit) {
    Sealed bad = good;
    (bit < 800 ? bad.bytes[bit / 8] : bad.tag[bit / 8 - 100]) ^=
        static_cast<unsigned char>(1U << (bit % 8));
    ASSERT_NE(fast.open(bad, opened, nonce, extra), 0);
    ASSERT_EQ(opened, std::vector<unsigned char>(100, 0));
  }
  auto other = extra;
  other[0] ^= 1;
  EXPECT_NE(fast.open(good, opened, nonce, other), 0);
}

// One connection has two directions, and TLS 1.3 changes keys on the way.
TEST_F(RecordCipher, KeysOfOneConnectionAreKeptApart) {
  RecordKeys keys;
  const RecordKeysInUse in_use(&keys);
  const auto nonce = bytes(12);
  const auto extra = bytes(5);
  const auto plain = bytes(64);
  std::vector<std::vector<unsigned char>> secrets;
  for (int i = 0; i < 5; ++i) secrets.push_back(bytes(i % 2 == 0 ? 16 : 32));
  for (int round = 0; round < 20; ++round) {
    const auto& one = secrets[static_cast<std::size_t>(round) % 5];
    const auto& two = secrets[static_cast<std::size_t>(round / 2) % 5];
    Cipher a(one, record_cipher_device());
    Cipher b(two, record_cipher_device());
    Cipher c(one, record_cipher_device());
    for (int i = 0; i < 3; ++i) {
      for (auto [cipher, key] : {std::pair(&a, &one), std::pair(&b, &two), std::pair(&c, &one)}) {
        Cipher slow(*key, INVALID_DEVID);
        ASSERT_EQ(cipher->seal(plain, nonce, extra), slow.seal(plain, nonce, extra));
      }
    }
    ASSERT_EQ(wc_AesGcmSetKey(&a.aes, two.data(), static_cast<word32>(two.size())), 0);
    Cipher slow(two, INVALID_DEVID);
    ASSERT_EQ(a.seal(plain, nonce, extra), slow.seal(plain, nonce, extra));
  }
}

TEST_F(RecordCipher, OutsideAConnectionWolfsslDoesIt) {
  const auto key = bytes(16);
  Cipher fast(key, record_cipher_device());
  Cipher slow(key, INVALID_DEVID);
  const auto nonce = bytes(12);
  const auto extra = bytes(5);
  EXPECT_EQ(fast.seal(bytes(0), nonce, extra), slow.seal({}, nonce, extra));
}

TEST(RandomBytes, AreNotTheSameTwice) {
  std::array<unsigned char, 64> one{};
  std::array<unsigned char, 64> two{};
  ASSERT_TRUE(fill_random(one));
  ASSERT_TRUE(fill_random(two));
  EXPECT_NE(one, two);
}

}  // namespace
}  // namespace mxring::net
