// SHA-256 of one message: the examples of FIPS 180-4, NIST's long message, wolfCrypt, and sizes
// beyond 32 bits.
#include "crypto/sha256.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>

#include "crypto/sha256_batch.h"
#include "crypto/sha256_kernel.h"
#include "tests/crypto/sha256_reference.h"

namespace mxring::crypto {
namespace {

TEST(Sha256, PublishedExamples) {
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, AnySplitGivesTheSameDigest) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += static_cast<char>(i * 7);
  const Sha256Digest whole = test::reference_sha256(text);
  EXPECT_EQ(sha256(text), whole);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    Sha256 hash;
    hash.update(std::string_view(text).substr(0, cut));
    hash.update(std::string_view(text).substr(cut));
    EXPECT_EQ(hash.finish(), whole) << cut;
  }
}

TEST(Sha256, RandomPiecesAgreeWithTheReference) {
  std::mt19937 random(1);
  Sha256 hash;
  test::ReferenceSha256 reference;
  for (int message = 0; message < 300; ++message) {
    for (std::size_t piece = random() % 12; piece > 0; --piece) {
      std::string bytes(random() % 300, '\0');
      for (char& octet : bytes) octet = static_cast<char>(random());
      hash.update(bytes);
      reference.update(bytes);
    }
    ASSERT_EQ(hash.finish(), reference.finish()) << message;
  }
}

TEST(Sha256, FinishStartsOver) {
  Sha256 hash;
  hash.update("something else");
  (void)hash.finish();
  hash.update("abc");
  EXPECT_EQ(hash.finish(), sha256("abc"));
}

TEST(Sha256, EveryKernelAdvancesOneBlockAlike) {
  std::array<std::uint8_t, 64> block;
  for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::uint8_t>(i * 37);
  std::array<std::uint32_t, 8> wanted = kSha256Start;
  const std::uint8_t* const data = block.data();
  sha256_advance_portable(wanted.data(), &data, 1);
  for (const Sha256Kernel& kernel : sha256_kernels()) {
    alignas(64) std::array<std::uint32_t, 8 * kSha256LanesMax> states;
    std::array<const std::uint8_t*, kSha256LanesMax> lanes;
    lanes.fill(data);
    for (std::size_t i = 0; i < states.size(); ++i) {
      states[i] = kSha256Start[i / kernel.width % 8];
    }
    kernel.advance(states.data(), lanes.data(), 1);
    for (std::size_t i = 0; i < 8 * kernel.width; ++i) {
      ASSERT_EQ(states[i], wanted[i / kernel.width]) << kernel.name << " " << i;
    }
  }
}

TEST(Sha256, TheLengthInBitsHasSixtyFourBits) {
  std::array<std::uint8_t, 128> tail{};
  EXPECT_EQ(sha256_pad(tail.data(), 55, (std::uint64_t{3} << 33) + 55), 1U);
  EXPECT_EQ(tail[55], 0x80);
  const std::array<std::uint8_t, 8> bits = {0, 0, 0, 0x30, 0, 0, 0x01, 0xB8};
  EXPECT_TRUE(std::equal(bits.begin(), bits.end(), tail.begin() + 56));
  EXPECT_EQ(sha256_pad(tail.data(), 56, 56), 2U);
}

// One piece of 4 GiB and 100 bytes, all zero. The wanted digest is from Python's hashlib.
TEST(Sha256, OverFourGibibytes) {
  if (sha256_single_kernel().path == Sha256Path::kPortable) {
    GTEST_SKIP() << "takes long without the SHA extensions";
  }
  constexpr std::size_t kBytes = (std::size_t{1} << 32) + 100;
  void* const memory =
      mmap(nullptr, kBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) GTEST_SKIP() << "no address space of 4 GiB";
  madvise(memory, kBytes, MADV_HUGEPAGE);  // a wish: a thousand page faults, not a million
  Sha256Batch batch;
  Sha256Stream stream;
  batch.append(stream, {static_cast<const char*>(memory), kBytes});
  batch.finish(stream);
  batch.flush();
  munmap(memory, kBytes);
  EXPECT_EQ(to_hex(stream.digest()),
            "577d1bdcfb357ff6b5cfa8d863aba0847fea65faa1ff00f6daf1caedb30a7b3f");
}

}  // namespace
}  // namespace mxring::crypto
