// The corpora of others, whole and in every way of cutting them.
#include "tests/mailauth/dkim_suite.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/mailauth/dkim_check.h"

namespace mxring::test {
namespace {

std::vector<std::string> words(const std::vector<mailauth::dkim::SignatureResult>& signatures) {
  std::vector<std::string> out;
  for (const auto& signature : signatures) out.emplace_back(mailauth::word(signature.result));
  return out;
}

DkimSetup setup_of(const DkimCase& test) {
  DkimSetup setup;
  setup.now_unix_s = test.now_unix_s;
  setup.limits.dkim_signatures = test.signatures_max;
  return setup;
}

class DkimSuiteTest : public testing::Test {
 protected:
  void SetUp() override {
    suites_ = load_dkim_suites();
    if (!suites_.missing.empty()) GTEST_SKIP() << suites_.missing;
  }
  DkimSuites suites_;
};

TEST_F(DkimSuiteTest, EveryCaseOfTheCorpora) {
  std::size_t passes = 0;
  for (const DkimCase& test : suites_.cases) {
    const auto signatures = verify_dkim(test.message, *test.zone, setup_of(test));
    std::string reasons;
    for (const auto& signature : signatures) {
      reasons += "\n  " + std::string(mailauth::word(signature.result)) + ": " + signature.reason;
      passes += signature.result == mailauth::Result::kPass ? 1 : 0;
      EXPECT_EQ(signature.reason.empty(), signature.result == mailauth::Result::kPass) << test.id;
    }
    if (const auto exception = suites_.exceptions.find(test.id);
        exception != suites_.exceptions.end()) {
      EXPECT_EQ(dkim_words(signatures), exception->second) << test.id << reasons;
    } else {
      EXPECT_TRUE(as_expected(test, words(signatures))) << test.id << reasons;
    }
  }
  EXPECT_EQ(suites_.cases.size(), 6U + 8 + 11 + 79);
  EXPECT_GE(passes, 30U);
}

TEST_F(DkimSuiteTest, AnySplitGivesTheSameResults) {
  for (const DkimCase& test : suites_.cases) {
    DkimSetup setup = setup_of(test);
    const std::string whole = dkim_words(test.message, *test.zone, setup);
    for (const std::size_t run : {1, 2, 3, 7, 64, 333}) {
      setup.run_bytes = run;
      setup.keys_first = run != 7;
      ASSERT_EQ(dkim_words(test.message, *test.zone, setup), whole) << test.id << ' ' << run;
    }
    setup.run_bytes = SIZE_MAX;
    const std::size_t body =
        test.message.size() - std::min(test.message.size(), test.message.find("\r\n\r\n"));
    for (std::size_t first = 1; first < std::min<std::size_t>(body, 400); ++first) {
      setup.first_run_bytes = first;
      ASSERT_EQ(dkim_words(test.message, *test.zone, setup), whole) << test.id << ' ' << first;
    }
  }
}

TEST_F(DkimSuiteTest, ChangedMessagesDoNotPass) {
  std::size_t tried = 0;
  for (const DkimCase& test : suites_.cases) {
    const DkimSetup setup = setup_of(test);
    const auto before = verify_dkim(test.message, *test.zone, setup);
    const bool passes = std::ranges::any_of(before, [](const auto& signature) {
      return signature.result == mailauth::Result::kPass && !signature.body_limited;
    });
    if (!passes) continue;
    ++tried;
    const auto none_passes = [&](const std::string& message) {
      const auto after = verify_dkim(message, *test.zone, setup);
      for (const auto& signature : after) {
        if (signature.body_limited) continue;
        EXPECT_NE(signature.result, mailauth::Result::kPass) << test.id;
      }
    };
    none_passes(test.message + "x\r\n");
    const std::size_t from = test.message.find("\r\nFrom: ");
    ASSERT_NE(from, std::string::npos) << test.id;
    std::string changed = test.message;
    changed[from + 9] = static_cast<char>(changed[from + 9] ^ 1);
    none_passes(changed);
    // Below the signed one: the bottom-most field counts.
    const std::size_t header_end = test.message.find("\r\n\r\n");
    changed = test.message;
    changed.insert(header_end + 2, "From: evil@example.net\r\n");
    none_passes(changed);
  }
  EXPECT_GE(tried, 19U);
}

}  // namespace
}  // namespace mxring::test
