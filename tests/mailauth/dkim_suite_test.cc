// The corpora of others, whole and in every way of cutting them.
#include "tests/mailauth/dkim_suite.h"

#include <gtest/gtest.h>

#include "mailauth/dkim/body_canon.h"
#include "mailauth/dkim/header_canon.h"
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

}  // namespace
}  // namespace mxring::test
