// Question: what does SPF cost a message when DNS is cached? Input: records as large senders
// publish them. Unit: nanoseconds of one core. Compared in one run: the evaluation with its record
// already parsed, and the same with the record parsed anew.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "dns/cache.h"
#include "mailauth/spf/evaluator.h"

namespace {

using namespace mxring;
using mailauth::spf::Evaluator;

constexpr std::string_view kLargeRecord =
    "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ip4:203.0.113.0/25 ip6:2001:db8:1::/48 "
    "ip6:2001:db8:2::/48 a:mail.example.org mx include:_spf.provider.example "
    "include:_spf.news.example exists:%{ir}.%{v}._spf.%{d2} ~all";

dns::AnswerPtr text_answer(std::string_view text) {
  auto answer = std::make_shared<dns::Answer>();
  answer->status = dns::Status::kAnswer;
  answer->ttl_s = 3600;
  answer->texts = {std::string(text)};
  return answer;
}

dns::AnswerPtr address_answer(std::uint8_t last) {
  auto answer = std::make_shared<dns::Answer>();
  answer->status = dns::Status::kAnswer;
  answer->ttl_s = 3600;
  answer->addresses = {base::IpAddress::v4({203, 0, 113, last})};
  return answer;
}

dns::Question about(std::string_view name, dns::Type type = dns::Type::kTxt) {
  return {*dns::Name::parse(name), type};
}

void fill(dns::Cache& cache) {
  auto mx = std::make_shared<dns::Answer>();
  mx->status = dns::Status::kAnswer;
  mx->ttl_s = 3600;
  mx->exchangers = {{10, *dns::Name::parse("mx.example.org")}};
  cache.put(about("example.org", dns::Type::kMx), mx, {});
  cache.put(about("mx.example.org", dns::Type::kA), address_answer(9), {});
  cache.put(about("mail.example.org", dns::Type::kA), address_answer(8), {});
  cache.put(about("small.example.org"), text_answer("v=spf1 ip4:192.0.2.0/24 -all"), {});
  cache.put(about("example.org"), text_answer(kLargeRecord), {});
  cache.put(about("_spf.provider.example"),
            text_answer("v=spf1 ip4:10.1.0.0/16 ip4:10.2.0.0/16 ip4:10.3.0.0/16 ~all"), {});
  cache.put(about("_spf.news.example"), text_answer("v=spf1 ip4:10.9.0.0/16 -all"), {});
}

// One message: begin, every answer from the cache, outcome.
void evaluate(Evaluator& evaluator, dns::Cache& cache, base::IpAddress client,
              std::string_view mail_from) {
  evaluator.begin({.client = client, .mail_from = mail_from, .helo = "mail.example.org"});
  while (!evaluator.step()) {
    for (const dns::Question& question : evaluator.questions()) {
      dns::AnswerPtr answer = cache.find(question, {1});
      if (!answer) std::abort();
      evaluator.supply(question, std::move(answer));
    }
  }
}

void BM_EvaluateOneRecordCached(benchmark::State& state) {
  dns::Cache cache(1 << 20);
  fill(cache);
  Evaluator evaluator;
  for (auto _ : state) {
    evaluate(evaluator, cache, base::IpAddress::v4({192, 0, 2, 7}), "user@small.example.org");
    benchmark::DoNotOptimize(evaluator.outcome().result);
  }
  if (evaluator.outcome().result != mailauth::Result::kPass) std::abort();
}
BENCHMARK(BM_EvaluateOneRecordCached);

// The match is in the second include: six questions, all cached.
void BM_EvaluateTwoIncludesCached(benchmark::State& state) {
  dns::Cache cache(1 << 20);
  fill(cache);
  Evaluator evaluator;
  for (auto _ : state) {
    evaluate(evaluator, cache, base::IpAddress::v4({10, 9, 1, 1}), "user@example.org");
    benchmark::DoNotOptimize(evaluator.outcome().result);
  }
  if (evaluator.outcome().result != mailauth::Result::kPass) std::abort();
  state.counters["questions"] = static_cast<double>(evaluator.outcome().questions);
}
BENCHMARK(BM_EvaluateTwoIncludesCached);

void BM_EvaluateOneRecordParsedAnew(benchmark::State& state) {
  Evaluator evaluator;
  const std::string text = "v=spf1 ip4:192.0.2.0/24 -all";
  for (auto _ : state) {
    evaluator.begin({.client = base::IpAddress::v4({192, 0, 2, 7}),
                     .mail_from = "user@small.example.org",
                     .helo = "mail.example.org"});
    while (!evaluator.step()) {
      for (const dns::Question& question : evaluator.questions()) {
        evaluator.supply(question, text_answer(text));
      }
    }
    benchmark::DoNotOptimize(evaluator.outcome().result);
  }
}
BENCHMARK(BM_EvaluateOneRecordParsedAnew);

// Among `range` names, in an order the processor cannot foresee.
void BM_CacheHit(benchmark::State& state) {
  dns::Cache cache(std::size_t{64} << 20);
  std::vector<dns::Question> questions;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    questions.push_back(about("host-" + std::to_string(i) + ".example.org", dns::Type::kA));
    cache.put(questions.back(), address_answer(1), {});
  }
  std::size_t at = 0;
  for (auto _ : state) {
    at = (at * 5 + 7919) % questions.size();
    benchmark::DoNotOptimize(cache.find(questions[at], {1}));
  }
  if (cache.stats().misses != 0) std::abort();
}
BENCHMARK(BM_CacheHit)->Arg(64)->Arg(10'000)->Arg(100'000);

void BM_ParseRecord(benchmark::State& state) {
  const std::string_view text = state.range(0) == 0 ? "v=spf1 mx -all" : kLargeRecord;
  for (auto _ : state) benchmark::DoNotOptimize(mailauth::spf::parse(text));
  state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * state.iterations());
}
BENCHMARK(BM_ParseRecord)->ArgName("large")->Arg(0)->Arg(1);

void BM_ExpandMacros(benchmark::State& state) {
  const mailauth::spf::MacroValues values{.sender = "strong-bad@email.example.com",
                                          .local_part = "strong-bad",
                                          .sender_domain = "email.example.com",
                                          .domain = "email.example.com",
                                          .client = base::IpAddress::v4({192, 0, 2, 3}),
                                          .client_name = "unknown",
                                          .helo = "mail.example.com",
                                          .receiver = "unknown"};
  for (auto _ : state) {
    benchmark::DoNotOptimize(mailauth::spf::expand_name("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", values));
  }
}
BENCHMARK(BM_ExpandMacros);

}  // namespace
