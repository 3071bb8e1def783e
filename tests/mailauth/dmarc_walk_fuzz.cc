// Whole evaluations in zones made from the input: they end, ask nothing twice and never more than
// the walks may, and know the same however their answers come.
//
// Lines: the From domain, then domains that passed, a "?" before those that are undecided; all
// other lines are records of the zone, taken by a hash of the name asked for.
#include <algorithm>

#include "base/assert.h"
#include "mailauth/dmarc/evaluator.h"
#include "mailauth/dmarc/tree_walk.h"
#include "tests/mailauth/go_seed.h"
#include "tests/mailauth/question_digest.h"

namespace {

using namespace mxring;
using namespace mxring::mailauth::dmarc;
using mailauth::Result;

struct Input {
  std::string from;
  std::vector<std::string> domains;
  std::vector<std::string> records;
};

Input split(const std::string& text) {
  Input input;
  std::size_t at = 0;
  for (int line = 0; at < text.size() && line < 64; ++line) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string part = text.substr(at, end - at);
    at = end + 1;
    if (line == 0) {
      input.from = std::move(part);
    } else if (part.starts_with("v=") || part.empty()) {
      input.records.push_back(std::move(part));
    } else if (input.domains.size() < 12) {
      input.domains.push_back(std::move(part));
    }
  }
  return input;
}

dns::AnswerPtr answer_to(const dns::Question& question, const Input& input) {
  const std::uint64_t bits =
      test::digest_of(question) ^ (input.records.size() * 0x9E3779B97F4A7C15ULL);
  auto answer = std::make_shared<dns::Answer>();
  constexpr dns::Status kOthers[] = {dns::Status::kNoData, dns::Status::kNoName,
                                     dns::Status::kNoName, dns::Status::kTimeout};
  const bool found = !input.records.empty() && bits % 5 < 3;
  answer->status = found ? dns::Status::kAnswer : kOthers[bits / 5 % 4];
  if (found && question.type == dns::Type::kTxt) {
    answer->texts.push_back(input.records[bits / 7 % input.records.size()]);
    if (bits / 11 % 8 == 0) answer->texts.push_back(input.records.front());
  }
  return answer;
}

struct Asked {
  std::vector<dns::Question> questions;
  std::size_t rounds = 0;
};

void run(Evaluator& evaluator, const Input& input, bool late, Asked& asked) {
  evaluator.begin(input.from);
  std::vector<Authenticated> passes;
  for (std::size_t i = 0; i < input.domains.size(); ++i) {
    const std::string_view domain = input.domains[i];
    const bool undecided = domain.starts_with('?');
    passes.push_back({i % 2 == 0 ? Authenticated::Method::kDkim : Authenticated::Method::kSpf,
                      domain.substr(undecided ? 1 : 0), undecided});
    if (late) evaluator.expect(domain);
  }
  const auto answer_all = [&] {
    while (!evaluator.step()) {
      MXRING_ASSERT(++asked.rounds < 12);
      const auto wanted = evaluator.questions();
      const std::vector<dns::Question> questions(wanted.begin(), wanted.end());
      for (const dns::Question& question : questions) {
        MXRING_ASSERT(std::ranges::find(asked.questions, question) == asked.questions.end());
        asked.questions.push_back(question);
        evaluator.supply(question, answer_to(question, input));
      }
    }
  };
  if (late) answer_all();
  evaluator.authenticated(passes);
  answer_all();
  MXRING_ASSERT(evaluator.done());
}

void check(const Evaluator& evaluator) {
  const Outcome& outcome = evaluator.outcome();
  const bool aligned = !outcome.aligned_spf.empty() || !outcome.aligned_dkim.empty();
  MXRING_ASSERT((outcome.result == Result::kPass) == aligned);
  MXRING_ASSERT(outcome.result != Result::kFail || outcome.record_found);
  if (!outcome.organizational_domain.empty() && outcome.record_found) {
    MXRING_ASSERT(is_within(outcome.from_domain, outcome.organizational_domain));
  }
  for (const std::string& domain : {outcome.aligned_spf, outcome.aligned_dkim}) {
    if (domain.empty() || domain == outcome.from_domain) continue;
    MXRING_ASSERT(is_within(domain, outcome.organizational_domain));
  }
  MXRING_ASSERT(evaluator.walk().size() <= 8 * 13 + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Input input = split(test::seed_bytes(data, size));
  Evaluator evaluator;
  Asked early;
  run(evaluator, input, false, early);
  check(evaluator);
  MXRING_ASSERT(early.questions.size() <= base::Limits().dns_questions);
  MXRING_ASSERT(early.questions.size() <= kWalkStepsMax * (1 + input.domains.size()) + 1);
  const Outcome first = evaluator.outcome();
  Asked late;
  run(evaluator, input, true, late);
  check(evaluator);
  MXRING_ASSERT(late.questions.size() <= base::Limits().dns_questions);
  // The From domain's own policy does not depend on who else is looked at.
  MXRING_ASSERT(evaluator.outcome().policy == first.policy);
  MXRING_ASSERT(evaluator.outcome().record_domain == first.record_domain);
  // One walk alone, and the domain's existence.
  Input alone = input;
  alone.domains.clear();
  Asked walk;
  run(evaluator, alone, false, walk);
  MXRING_ASSERT(walk.questions.size() <= kWalkStepsMax + 1 && walk.rounds <= 3);
  return 0;
}
