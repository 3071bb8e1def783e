// After warm-up, the verification of an ordinary message whose key is cached allocates nothing.
#include <gtest/gtest.h>

#include "dns/cache.h"
#include "mail/header_index.h"
#include "mailauth/dkim/verifier.h"
#include "tests/mailauth/dkim_signing.h"
#include "tests/support/allocation_count.h"

namespace mxring::test {
namespace {

// `number` makes it another message of the same shape.
std::string letter(int number) {
  std::string message =
      "Received: from a by b;\r\n\tFri, 11 Jul 2003 21:00:37 -0700\r\n"
      "From: \"A Person\" <a@example.org>\r\nTo: b@example.net\r\n"
      "Subject: a message of some length\r\n  whose subject is folded\r\n"
      "Date: Fri, 11 Jul 2003 21:00:37 -0700\r\nMIME-Version: 1.0\r\n"
      "Content-Type: text/plain; charset=utf-8\r\n\r\n";
  for (int i = 0; i < 200; ++i) {
    message +=
        "  An indented line with  two blanks, of message " + std::to_string(number) + " \r\n";
  }
  return message;
}

class DkimAllocationTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Signatures, DkimAllocationTest, testing::Values(1, 3));

TEST_P(DkimAllocationTest, AMessageAllocatesNothing) {
  SigningDomain rsa(crypto::KeyType::kRsa, "mail.a-rather-long-domain.example.org", "selector-2026",
                    2048);
  const Zone zone = rsa.zone();
  std::vector<std::string> messages;
  for (int i = 0; i < 20; ++i) {
    messages.push_back(letter(10 + i));
    for (int n = 0; n < GetParam(); ++n) messages.back() = rsa.sign(messages.back());
  }
  dns::Cache cache(1 << 20);
  crypto::Sha256Batch hashes;
  crypto::RsaVerifier verifier_of_rsa;
  mailauth::dkim::Verifier verifier({}, hashes);
  mail::HeaderIndex index(1 << 20, 1000);
  std::vector<crypto::RsaCheck*> checks;
  const auto verify = [&](std::string_view message) {
    index.reset();
    index.feed(message);
    index.finish();
    verifier.begin(message.substr(0, index.header_bytes()), index.fields(), 1'700'000'000);
    while (!verifier.step()) {
      for (const dns::Question& question : verifier.questions()) {
        dns::AnswerPtr answer = cache.find(question, {1});
        if (!answer) {
          answer = zone.answer(question);
          cache.put(question, answer, {0});
        }
        verifier.supply(question, std::move(answer));
      }
    }
    std::string_view body = message.substr(index.body_begin());
    while (!body.empty()) {
      const std::string_view run = body.substr(0, 1400);
      verifier.body(run);
      body.remove_prefix(run.size());
    }
    verifier.end_of_body();
    hashes.flush();
    checks.clear();
    verifier.collect(checks);
    verifier_of_rsa.verify(checks);
    verifier.conclude();
    for (const auto& signature : verifier.signatures()) {
      if (signature.result != mailauth::Result::kPass) return false;
    }
    return verifier.signatures().size() == static_cast<std::size_t>(GetParam());
  };
  EXPECT_TRUE(verify(messages[0]));
  const std::uint64_t before = test::allocation_count();
  EXPECT_GT(before, 0U);
  bool passed = true;
  for (const std::string& message : messages) passed = passed && verify(message);
  EXPECT_EQ(test::allocation_count() - before, 0U);
  EXPECT_TRUE(passed);
}

}  // namespace
}  // namespace mxring::test
