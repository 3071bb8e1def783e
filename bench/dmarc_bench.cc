// Question: what does DMARC cost a message when DNS is cached? Input: records as domains publish
// them, and the walks of usual mail. Unit: nanoseconds of one core. Compared in one run:
// identifiers that are the From domain itself, ones that need a walk, and the deepest walk there
// is; an evaluation with its records already parsed, and the same with them parsed anew.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "dns/cache.h"
#include "mailauth/authres/forged.h"
#include "mailauth/authres/verdict.h"
#include "mailauth/dmarc/author.h"
#include "mailauth/dmarc/evaluator.h"

namespace {

using namespace mxring;
using namespace mxring::mailauth::dmarc;

constexpr std::string_view kRecord =
    "v=DMARC1; p=reject; sp=quarantine; adkim=r; aspf=r; fo=1; "
    "rua=mailto:dmarc-reports@example.org,mailto:d@reports.provider.example!10m";

dns::AnswerPtr text_answer(std::string_view text) {
  auto answer = std::make_shared<dns::Answer>();
  answer->status = dns::Status::kAnswer;
  answer->ttl_s = 3600;
  answer->texts = {std::string(text)};
  return answer;
}

dns::AnswerPtr no_name() {
  auto answer = std::make_shared<dns::Answer>();
  answer->status = dns::Status::kNoName;
  answer->ttl_s = 3600;
  return answer;
}

const dns::Name& record_name() {
  static const dns::Name name = *dns::Name::parse("_dmarc.example.org");
  return name;
}

// One message: begin, every answer from the cache, outcome.
std::size_t evaluate(Evaluator& evaluator, dns::Cache& cache, std::string_view from,
                     std::span<const Authenticated> passes) {
  std::size_t questions = 0;
  evaluator.begin(from);
  evaluator.authenticated(passes);
  while (!evaluator.step()) {
    for (const dns::Question& question : evaluator.questions()) {
      ++questions;
      dns::AnswerPtr answer = cache.find(question, {1});
      if (!answer) {
        answer = question.name == record_name() ? text_answer(kRecord) : no_name();
        cache.put(question, answer, {});
      }
      evaluator.supply(question, std::move(answer));
    }
  }
  return questions;
}

void run(benchmark::State& state, std::string_view from, std::span<const Authenticated> passes,
         mailauth::Result expected) {
  dns::Cache cache(1 << 20);
  Evaluator evaluator;
  std::size_t questions = 0;
  for (auto _ : state) {
    questions = evaluate(evaluator, cache, from, passes);
    benchmark::DoNotOptimize(evaluator.outcome().result);
  }
  if (evaluator.outcome().result != expected) std::abort();
  state.counters["questions"] = static_cast<double>(questions);
}

void BM_EvaluateSameDomain(benchmark::State& state) {
  const Authenticated passes[] = {{Authenticated::Method::kSpf, "example.org"},
                                  {Authenticated::Method::kDkim, "example.org"}};
  run(state, "example.org", passes, mailauth::Result::kPass);
}
BENCHMARK(BM_EvaluateSameDomain);

// SPF by a subdomain for bounces, DKIM by the domain and by its provider.
void BM_EvaluateRelaxed(benchmark::State& state) {
  const Authenticated passes[] = {{Authenticated::Method::kSpf, "bounce.example.org"},
                                  {Authenticated::Method::kDkim, "example.org"},
                                  {Authenticated::Method::kDkim, "provider.example"}};
  run(state, "news.example.org", passes, mailauth::Result::kPass);
}
BENCHMARK(BM_EvaluateRelaxed);

void BM_EvaluateSpoofed(benchmark::State& state) {
  const Authenticated passes[] = {{Authenticated::Method::kSpf, "attacker.example"}};
  run(state, "example.org", passes, mailauth::Result::kFail);
}
BENCHMARK(BM_EvaluateSpoofed);

void BM_EvaluateDeepestWalk(benchmark::State& state) {
  run(state, "a.b.c.d.e.f.g.h.i.j.example.org", {}, mailauth::Result::kFail);
}
BENCHMARK(BM_EvaluateDeepestWalk);

void BM_EvaluateParsedAnew(benchmark::State& state) {
  const Authenticated passes[] = {{Authenticated::Method::kSpf, "example.org"},
                                  {Authenticated::Method::kDkim, "example.org"}};
  Evaluator evaluator;
  for (auto _ : state) {
    evaluator.begin("example.org");
    evaluator.authenticated(passes);
    while (!evaluator.step()) {
      for (const dns::Question& question : evaluator.questions()) {
        evaluator.supply(question,
                         question.name == record_name() ? text_answer(kRecord) : no_name());
      }
    }
    benchmark::DoNotOptimize(evaluator.outcome().result);
  }
}
BENCHMARK(BM_EvaluateParsedAnew);

void BM_ParseRecord(benchmark::State& state) {
  const std::string_view text = state.range(0) == 0 ? "v=DMARC1; p=reject" : kRecord;
  for (auto _ : state) benchmark::DoNotOptimize(parse(text));
  state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * state.iterations());
}
BENCHMARK(BM_ParseRecord)->ArgName("large")->Arg(0)->Arg(1);

void BM_FindAuthor(benchmark::State& state) {
  const std::string_view value = state.range(0) == 0
                                     ? " user@example.org\r\n"
                                     : " \"Somebody, of example.org\" <user.name@example.org>\r\n";
  AuthorScratch scratch;
  for (auto _ : state) benchmark::DoNotOptimize(parse_author_domain(value, scratch));
}
BENCHMARK(BM_FindAuthor)->ArgName("named")->Arg(0)->Arg(1);

// The field for SPF, one signature and DMARC.
void BM_BuildResults(benchmark::State& state) {
  mailauth::spf::Outcome spf;
  spf.result = mailauth::Result::kPass;
  std::vector<mailauth::dkim::SignatureResult> signatures(1);
  signatures[0].result = mailauth::Result::kPass;
  signatures[0].domain = "example.org";
  signatures[0].selector = "sel2026";
  signatures[0].algorithm = "rsa-sha256";
  signatures[0].signature_start = "Ab3+/x9zQ1Lk";
  signatures[0].identity = "@example.org";
  Outcome dmarc;
  dmarc.result = mailauth::Result::kPass;
  dmarc.from_domain = "example.org";
  dmarc.record_found = true;
  std::string field;
  mailauth::authres::Builder builder(field);
  for (auto _ : state) {
    field.clear();
    builder.begin("mx.receiver.example");
    add_spf(builder, spf, "bounce+user=example.net@bounce.example.org");
    add_dkim(builder, signatures);
    add_dmarc(builder, dmarc);
    builder.end();
    benchmark::DoNotOptimize(field.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(field.size()) * state.iterations());
}
BENCHMARK(BM_BuildResults);

// Is it forged? As everybody writes it, and with a comment that makes it odd.
void BM_ClaimsToBeOurs(benchmark::State& state) {
  std::string value = state.range(0) == 0 ? " mx.google.com;" : " mx.google.com (c);";
  for (int i = 0; i < 6; ++i) {
    value += "\r\n       dkim=pass header.i=@example.org header.s=sel header.b=Ab3xx9zQ;";
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(mailauth::authres::claims_to_be_from(value, "mx.receiver.example"));
  }
}
BENCHMARK(BM_ClaimsToBeOurs)->ArgName("odd")->Arg(0)->Arg(1);

}  // namespace
