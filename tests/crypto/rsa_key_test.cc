// RSA public keys as they stand in DNS: both forms, and everything that is not quite one of them.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "crypto/der.h"
#include "crypto/rsa.h"
#include "tests/crypto/hex.h"

namespace mxring::crypto {
namespace {

using test::from_hex;

std::string element(DerTag tag, std::string_view content) {
  std::string out;
  append_der(out, tag, content);
  return out;
}

std::string sequence(std::string_view content) {
  return element(DerTag::kSequence, content);
}

std::string integer(std::string_view content) {
  return element(DerTag::kInteger, content);
}

// An odd number of exactly `bits` bits, as an INTEGER's content.
std::string modulus(std::size_t bits) {
  std::string out((bits + 7) / 8, '\x5b');
  const unsigned top_bits = static_cast<unsigned>((bits - 1) % 8 + 1);
  out[0] = static_cast<char>((0x5bU & ((1U << top_bits) - 1)) | 1U << (top_bits - 1));
  return top_bits == 8 ? '\0' + out : out;
}

const std::string kF4 = from_hex("010001");
const std::string kRsaIdentifier = from_hex("06092a864886f70d010101") + element(DerTag::kNull, "");

std::string bare(std::string_view n, std::string_view e) {
  return sequence(integer(n) + integer(e));
}

std::string wrapped_bits(std::string_view identifier, std::string_view bits) {
  return sequence(sequence(identifier) + element(DerTag::kBitString, bits));
}

std::string wrapped(std::string_view key) {
  return wrapped_bits(kRsaIdentifier, '\0' + std::string(key));
}

void expect_error(std::string_view der, RsaKeyError error, std::string_view what) {
  const auto key = RsaPublicKey::parse(der);
  ASSERT_FALSE(key.has_value()) << what;
  EXPECT_EQ(key.error(), error) << what;
}

TEST(RsaKey, BothFormsOfEverySize) {
  for (std::size_t bits = 512; bits <= 4096; ++bits) {
    const std::string der = bare(modulus(bits), kF4);
    for (const std::string& form : {der, wrapped(der)}) {
      const auto key = RsaPublicKey::parse(form);
      ASSERT_TRUE(key.has_value()) << bits;
      EXPECT_EQ(key->bits(), bits);
      EXPECT_GE(key->bytes(), bits / 8);
      EXPECT_LE(key->bytes(), 2048U);
    }
  }
}

TEST(RsaKey, Exponents) {
  for (const char* good : {"03", "05", "11", "010001", "01ffff", "000000010001"}) {
    EXPECT_TRUE(RsaPublicKey::parse(bare(modulus(1024), from_hex(good)))) << good;
  }
  for (const char* bad :
       {"00", "01", "02", "04", "010000", "020001", "0100000001", "00ffffffffffffffff",
        "00fffffffffffffffe", "010000000000000001", "01000000000000000000000001"}) {
    expect_error(bare(modulus(1024), from_hex(bad)), RsaKeyError::kUnusable, bad);
  }
}

TEST(RsaKey, UnusableModuli) {
  for (const std::size_t bits : {1U, 8U, 256U, 384U, 511U, 4097U, 4104U, 8192U, 16384U}) {
    expect_error(bare(modulus(bits), kF4), RsaKeyError::kUnusable, std::to_string(bits));
    expect_error(wrapped(bare(modulus(bits), kF4)), RsaKeyError::kUnusable, std::to_string(bits));
  }
  std::string even = modulus(1024);
  even.back() = '\x5a';
  expect_error(bare(even, kF4), RsaKeyError::kUnusable, "even");
  expect_error(bare(std::string(1, '\0'), kF4), RsaKeyError::kUnusable, "zero");
}

// As OpenSSL reads them: without the zero that keeps the first bit from being a sign, and with more
// zeros than needed.
TEST(RsaKey, Integers) {
  const std::string n = modulus(1024);
  const auto bits = [](const std::string& der) {
    const auto key = RsaPublicKey::parse(der);
    return key ? key->bits() : 0;
  };
  EXPECT_EQ(bits(bare(n.substr(1), kF4)), 1024U) << "no sign octet";
  EXPECT_EQ(bits(bare('\0' + n, kF4)), 1024U) << "two zeros in front";
  EXPECT_EQ(bits(bare('\0' + modulus(1023), kF4)), 1023U) << "a needless zero";
  EXPECT_EQ(bits(bare(n, from_hex("00010001"))), 1024U) << "the exponent's needless zero";
  expect_error(bare("", kF4), RsaKeyError::kMalformed, "no octets");
  expect_error(bare(n, from_hex("810001")), RsaKeyError::kUnusable, "over 17 bits");
  expect_error(bare(n, ""), RsaKeyError::kMalformed, "no exponent octets");
}

TEST(RsaKey, TrailingOctetsAtEveryLevel) {
  const std::string n = modulus(2048);
  const std::string good = bare(n, kF4);
  for (const char* tail : {"00", "0500", "3000"}) {
    const std::string extra = from_hex(tail);
    const std::string inner = sequence(integer(n) + integer(kF4) + extra);
    expect_error(inner, RsaKeyError::kMalformed, "after the exponent");
    expect_error(wrapped(inner), RsaKeyError::kMalformed, "after the exponent, wrapped");
    expect_error(wrapped_bits(kRsaIdentifier + extra, '\0' + good), RsaKeyError::kMalformed,
                 "after the parameters");
    expect_error(
        sequence(sequence(kRsaIdentifier) + element(DerTag::kBitString, '\0' + good) + extra),
        RsaKeyError::kMalformed, "after the bit string");
    // OpenSSL does not look beyond a whole key.
    EXPECT_TRUE(RsaPublicKey::parse(good + extra));
    EXPECT_TRUE(RsaPublicKey::parse(wrapped(good + extra)));
    EXPECT_TRUE(RsaPublicKey::parse(wrapped(good) + extra));
  }
}

TEST(RsaKey, EveryTruncation) {
  const std::string key = bare(modulus(1024), kF4);
  for (const std::string& whole : {key, wrapped(key)}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      expect_error(std::string_view(whole).substr(0, size), RsaKeyError::kMalformed,
                   std::to_string(size));
    }
  }
}

// The outer length of 0x89 octets, written in ways that DER does not know.
TEST(RsaKey, LengthsThatAreNotDer) {
  const std::string inside = integer(modulus(1024)) + integer(kF4);
  ASSERT_EQ(inside.size(), 0x89U);
  for (const char* header :
       {"308189", "30820089", "3083000089", "308400000089", "30880000000000000089"}) {
    EXPECT_TRUE(RsaPublicKey::parse(from_hex(header) + inside)) << header;
  }
  for (const char* header :
       {"3080", "3081", "30ff", "3089", "3089000000000000000089", "318189", "108189", "b08189"}) {
    expect_error(from_hex(header) + inside, RsaKeyError::kMalformed, header);
  }
  expect_error(from_hex("3080") + inside + from_hex("0000"), RsaKeyError::kMalformed,
               "indefinite, with its end");
  expect_error(from_hex("3088ffffffffffffffff") + inside, RsaKeyError::kMalformed, "2^64 - 1");
  const std::string exponent_in_long_form = from_hex("028103010001");
  EXPECT_TRUE(RsaPublicKey::parse(sequence(integer(modulus(1024)) + exponent_in_long_form)));
}

TEST(RsaKey, Algorithms) {
  const std::string bits = '\0' + bare(modulus(1024), kF4);
  const std::string null = from_hex("0500");
  const std::string pss = from_hex("06092a864886f70d01010a");
  const std::string ec = from_hex("06072a8648ce3d0201 06082a8648ce3d030107");
  const std::string ed25519 = from_hex("06032b6570");
  for (const std::string& other : {pss, pss + null, ec, ed25519}) {
    expect_error(wrapped_bits(other, bits), RsaKeyError::kNotRsa, "another algorithm");
  }
  const std::string rsa = from_hex("06092a864886f70d010101");
  ASSERT_TRUE(RsaPublicKey::parse(wrapped_bits(rsa + null, bits)));
  // The parameters are NULL by RFC 3279; without them, and with others, OpenSSL reads it all the
  // same.
  EXPECT_TRUE(RsaPublicKey::parse(wrapped_bits(rsa, bits)));
  EXPECT_TRUE(RsaPublicKey::parse(wrapped_bits(rsa + from_hex("050100"), bits)));
  EXPECT_TRUE(RsaPublicKey::parse(wrapped_bits(rsa + from_hex("3000"), bits)));
  expect_error(wrapped_bits(rsa + from_hex("0501"), bits), RsaKeyError::kMalformed, "a cut one");
  expect_error(wrapped_bits("", bits), RsaKeyError::kMalformed, "no identifier");
  expect_error(wrapped_bits(from_hex("0600"), bits), RsaKeyError::kMalformed, "empty identifier");
  expect_error(wrapped_bits(rsa + null, '\x01' + bits.substr(1)), RsaKeyError::kMalformed,
               "unused bits");
  expect_error(wrapped_bits(rsa + null, ""), RsaKeyError::kMalformed, "empty bit string");
  expect_error(wrapped_bits(rsa + null, std::string(1, '\0')), RsaKeyError::kMalformed, "no key");
}

TEST(RsaKey, NotKeysAtAll) {
  for (const char* text : {"-", "00", "30", "3000", "0500", "300402000200", "3006020100020100"}) {
    EXPECT_FALSE(RsaPublicKey::parse(from_hex(text))) << text;
  }
  EXPECT_FALSE(RsaPublicKey::parse("MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQ"));
}

}  // namespace
}  // namespace mxring::crypto
