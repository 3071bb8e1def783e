// After warm-up, an evaluation whose answers are cached allocates nothing.
#include <gtest/gtest.h>

#include "dns/cache.h"
#include "mailauth/spf/evaluator.h"
#include "tests/dns/zone.h"
#include "tests/support/allocation_count.h"

namespace mxring::mailauth::spf {
namespace {

// `zone` lets 192.0.2.1 send for start.example.
void expect_no_allocations(std::string_view zone_text) {
  const auto zone = test::Zone::parse(zone_text);
  dns::Cache cache(1 << 20);
  Evaluator evaluator;
  const auto evaluate = [&] {
    evaluator.begin({.client = base::IpAddress::v4({192, 0, 2, 1}),
                     .mail_from = "a.rather.long.local.part@start.example",
                     .helo = "a.rather.long.name.of.a.client.example"});
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
    return evaluator.outcome().result;
  };
  EXPECT_EQ(evaluate(), Result::kPass);
  const std::uint64_t before = test::allocation_count();
  EXPECT_GT(before, 0U);
  bool passed = true;
  for (int i = 0; i < 100; ++i) passed = passed && evaluate() == Result::kPass;
  EXPECT_EQ(test::allocation_count() - before, 0U);
  EXPECT_TRUE(passed);
}

TEST(SpfAllocationTest, ACachedEvaluationAllocatesNothing) {
  expect_no_allocations(R"(
start.example TXT "v=spf1 a:mail.start.example mx include:inner.example ip4:192.0.2.0/24 -all"
mail.start.example A 198.51.100.1
start.example MX 10 mx.start.example
mx.start.example A 198.51.100.2
inner.example TXT "v=spf1 ip6:2001:db8::/32 -all"
)");
}

TEST(SpfAllocationTest, NorDoMacrosAndTheClientsNames) {
  expect_no_allocations(R"(
start.example TXT "v=spf1 exists:%{i}.%{ir}.%{lr-}.%{s}.x.example ptr:other.example include:%{p}.i.example a:%{L2r}.%{v}.%{h}.example exists:%{ir}.%{d}.ok.example -all"
1.2.0.192.in-addr.arpa PTR one.client.example
1.2.0.192.in-addr.arpa PTR two.client.example
two.client.example A 192.0.2.1
two.client.example.i.example TXT "v=spf1 -all"
1.2.0.192.start.example.ok.example A 127.0.0.2
)");
}

}  // namespace
}  // namespace mxring::mailauth::spf
