// After warm-up, a message whose DNS answers are cached allocates nothing: author, evaluation with
// three walks, and the field that tells of it.
#include <gtest/gtest.h>

#include "dns/cache.h"
#include "mailauth/authres/forged.h"
#include "mailauth/authres/verdict.h"
#include "mailauth/dmarc/author.h"
#include "mailauth/dmarc/evaluator.h"
#include "tests/dns/zone.h"
#include "tests/support/allocation_count.h"

namespace mxring::mailauth::dmarc {
namespace {

constexpr std::string_view kHeader =
    "Received: from a.example by b.example; Mon, 1 Jan 2026 00:00:00 +0000\r\n"
    "From: \"A rather long name, of somebody\" <somebody.rather.long@mail.news.example.org>\r\n"
    "Subject: hello\r\n";

TEST(DmarcAllocationTest, ACachedMessageAllocatesNothing) {
  const auto zone = test::Zone::parse(R"(
_dmarc.example.org TXT "v=DMARC1; p=reject; sp=quarantine; np=none; rua=mailto:dmarc@example.org"
mail.news.example.org A 192.0.2.1
)");
  dns::Cache cache(1 << 20);
  Evaluator evaluator;
  AuthorScratch scratch;
  mail::HeaderIndex index(1 << 17, 1000);
  std::string field;
  authres::Builder builder(field);
  const std::vector<Authenticated> passes{
      {Authenticated::Method::kSpf, "a.rather.long.bounce.name.news.example.org"},
      {Authenticated::Method::kDkim, "a.domain.of.somebody.else.example.net"},
      {Authenticated::Method::kDkim, "signer.example.org"}};
  const auto answer_all = [&] {
    while (!evaluator.step()) {
      for (const dns::Question& question : evaluator.questions()) {
        dns::AnswerPtr answer = cache.find(question, {1});
        if (!answer) {
          answer = zone.answer(question);
          cache.put(question, answer, {0});
        }
        evaluator.supply(question, std::move(answer));
      }
    }
  };
  const auto check = [&] {
    index.reset();
    index.feed(kHeader);
    index.finish();
    const auto author = find_author_domain(kHeader, index.fields(), scratch);
    evaluator.begin(author.value_or(""));
    for (const Authenticated& pass : passes) evaluator.expect(pass.domain);
    answer_all();
    evaluator.authenticated(passes);
    answer_all();
    field.clear();
    builder.begin("mx.receiver.example");
    authres::add_dmarc(builder, evaluator.outcome());
    builder.end();
    const std::string_view value = std::string_view(field).substr(field.find(':') + 1);
    return authres::claims_to_be_from(value, "mx.receiver.example") &&
           evaluator.outcome().result == Result::kPass;
  };
  // Twice: the address parser swaps two strings, and both have to grow.
  EXPECT_TRUE(check() && check());
  EXPECT_EQ(evaluator.outcome().aligned_dkim, "signer.example.org");
  EXPECT_EQ(evaluator.outcome().aligned_spf, "a.rather.long.bounce.name.news.example.org");
  const std::uint64_t before = test::allocation_count();
  EXPECT_GT(before, 0U);
  bool passed = true;
  for (int i = 0; i < 100; ++i) passed = passed && check();
  EXPECT_EQ(test::allocation_count() - before, 0U);
  EXPECT_TRUE(passed);
}

}  // namespace
}  // namespace mxring::mailauth::dmarc
