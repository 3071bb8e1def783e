// Messages made to be expensive: what they cost grows with their size and with nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "mail/header_index.h"
#include "mailauth/dkim/field_index.h"
#include "mailauth/dkim/verifier.h"
#include "tests/mailauth/dkim_check.h"
#include "tests/mailauth/dkim_signing.h"

#if defined(__SANITIZE_ADDRESS__)
constexpr int kSlow = 20;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr int kSlow = 20;
#else
constexpr int kSlow = 1;
#endif
#else
constexpr int kSlow = 1;
#endif

namespace mxring::test {
namespace {

constexpr std::string_view kBodyHash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

// Of this thread's CPU time: other programs run on this machine as well.
double seconds_of(const auto& work) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  const double started = now();
  work();
  return now() - started;
}

double least_seconds(const auto& work) {
  return std::min({seconds_of(work), seconds_of(work), seconds_of(work)});
}

TEST(DkimHostileTest, TenThousandSignatures) {
  SigningDomain domain;
  const std::string letter = "From: a@example.org\r\n\r\nbody\r\n";
  const std::string field =
      domain.sign(letter).substr(0, domain.sign(letter).size() - letter.size());
  const auto message_with = [&](int count) {
    std::string message;
    for (int i = 0; i < count; ++i) message += field;
    return message + letter;
  };
  const std::string ten = message_with(10);
  const std::string many = message_with(10'000);
  const Zone zone = domain.zone();
  EXPECT_EQ(verify_dkim(many, zone).size(), 10U);
  const double ten_s = least_seconds([&] { verify_dkim(ten, zone); });
  const double many_s = least_seconds([&] { verify_dkim(many, zone); });
  std::printf("10 signatures %.2f ms, 10000 signatures %.2f ms\n", ten_s * 1e3, many_s * 1e3);
  // The header index and this test's copies read 2.6 MB; nothing more is verified than ten.
  EXPECT_LT(many_s, ten_s + 0.2 * kSlow);
}

// 1,000 names in h= of ten signatures, over 1,000 fields.
TEST(DkimHostileTest, ManyNamesTimesManyFields) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  const auto message_with = [&](int fields, int names, bool same) {
    std::string header = "From: a@example.org\r\n";
    std::string h = "from";
    for (int i = 0; i < fields; ++i) header += "X" + std::to_string(same ? 0 : i) + ": y\r\n";
    for (int i = 0; i < names; ++i) h += ":x" + std::to_string(same ? 0 : names - i);
    std::string signature = "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=sel; h=" + h +
                            "; bh=" + std::string(kBodyHash) + "; b=AAAA\r\n";
    std::string message;
    for (int i = 0; i < 10; ++i) message += signature;
    return message + header + "\r\n";
  };
  for (const bool same : {false, true}) {
    const std::string small = message_with(100, 100, same);
    const std::string large = message_with(1'000, 1'000, same);
    EXPECT_EQ(verify_dkim(large, zone).size(), 10U);
    const double small_s = least_seconds([&] { verify_dkim(small, zone); });
    const double large_s = least_seconds([&] { verify_dkim(large, zone); });
    std::printf("100 x 100 %.3f ms, 1000 x 1000 %.3f ms\n", small_s * 1e3, large_s * 1e3);
    // Ten times the bytes: ten times the work, and room for noise; a product would be a hundred.
    EXPECT_LT(large_s, 40 * small_s + 0.005 * kSlow);
  }
}

// As large as a header section may be, in fields of 64 KiB and in one of everything.
TEST(DkimHostileTest, LargeFields) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  for (const std::string_view filling : {std::string_view("x"), std::string_view(" "),
                                         std::string_view(" \t"), std::string_view("\r\n ")}) {
    std::string message = "From: a@example.org\r\n";
    for (int i = 0; i < 2; ++i) {
      message += "Subject: ";
      while (message.size() < static_cast<std::size_t>(i + 1) * 64 * 1024) message += filling;
      message += "end\r\n";
    }
    message += "\r\nbody\r\n";
    auto options = domain.options();
    options.signed_fields = {"from", "subject", "subject", "subject"};
    const std::string with = domain.sign(message, options);
    EXPECT_EQ(dkim_words(with, zone), "pass");
    EXPECT_LT(least_seconds([&] { verify_dkim(with, zone); }), 0.02 * kSlow);
  }
  // As many fields as h= may name, each of 64 KiB, as no receiver of ours takes them.
  SigningDomain rsa(crypto::KeyType::kRsa);
  std::string huge = "From: a@example.org\r\n";
  std::string h = "from";
  for (int i = 0; i < 299; ++i) {
    huge +=
        "X" + std::to_string(i) + ": " + std::string(64 * 1024, i % 2 == 0 ? ' ' : 'x') + "\r\n";
    h += ":x" + std::to_string(i);
  }
  huge = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed; d=example.org; s=sel; h=" + h +
         "; bh=" + std::string(kBodyHash) + "; b=AAAA\r\n" + huge + "\r\n";
  const double seconds = seconds_of([&] { EXPECT_EQ(dkim_words(huge, rsa.zone()), "fail"); });
  huge.replace(huge.find("h=from:"), 7, "h=from:one-more:");
  EXPECT_EQ(dkim_words(huge, rsa.zone()), "policy");
  std::printf("%zu bytes of header: %.0f ms\n", huge.size(), seconds * 1e3);
  EXPECT_LT(seconds, 2.0 * kSlow);
}

// 25 MiB of what canonicalization likes least, in runs as they arrive.
TEST(DkimHostileTest, LargeBodies) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  constexpr std::size_t kBytes = 25 * 1024 * 1024;
  for (const std::string_view unit :
       {std::string_view("\r\n"), std::string_view(" "), std::string_view("\t"),
        std::string_view(" \r\n"), std::string_view("a  "), std::string_view("a\t\r\n"),
        std::string_view("clean text without anything to do\r\n")}) {
    std::string message = "From: a@example.org\r\n\r\n";
    while (message.size() < kBytes) message += unit;
    message += "end\r\n";
    const std::string with = domain.sign(message);
    DkimSetup setup;
    setup.run_bytes = 64 * 1024;
    double seconds = 0;
    seconds = seconds_of([&] { EXPECT_EQ(dkim_words(with, zone, setup), "pass"); });
    std::printf("%s: %.0f ms\n", testing::PrintToString(unit).c_str(), seconds * 1e3);
    EXPECT_LT(seconds, 1.5 * kSlow);
  }
}

TEST(DkimHostileTest, TheFieldIndexHoldsWithEqualNames) {
  std::string header;
  for (int i = 0; i < 1'000; ++i) header += i % 2 == 0 ? "A: x\r\n" : "a: y\r\n";
  mail::HeaderIndex index(UINT32_MAX, UINT32_MAX);
  index.feed(header);
  index.finish();
  mailauth::dkim::FieldIndex fields;
  fields.build(header, index.fields());
  for (int round = 0; round < 3; ++round) {
    fields.begin_selection();
    for (std::uint32_t i = 1'000; i-- > 0;) {
      if (i == 500) continue;  // the one that is never taken
      ASSERT_EQ(fields.take(i % 3 == 0 ? "A" : "a", 500), i);
    }
    EXPECT_FALSE(fields.take("a", 500));
    EXPECT_FALSE(fields.take("b", 500));
  }
}

}  // namespace
}  // namespace mxring::test
