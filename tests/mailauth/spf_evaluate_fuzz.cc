// Whole evaluations, every answer derived from the input: they end, within every bound, and their
// transcript gives the same outcome again.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/assert.h"
#include "dns/transcript.h"
#include "mailauth/spf/evaluator.h"
#include "tests/mailauth/go_seed.h"
#include "tests/mailauth/question_digest.h"

namespace {

using namespace mxring;
using namespace mxring::mailauth::spf;

std::vector<std::string> lines_of(const std::string& input) {
  std::vector<std::string> lines;
  std::size_t at = 0;
  while (at < input.size() && lines.size() < 64) {
    const std::size_t end = std::min(input.find('\n', at), input.size());
    lines.push_back(input.substr(at, end - at));
    at = end + 1;
  }
  if (lines.empty()) lines.emplace_back();
  return lines;
}

// The same question always has the same answer.
class Oracle {
 public:
  explicit Oracle(const std::vector<std::string>& lines) : lines_(lines) {
    for (const std::string& line : lines) {
      for (const char c : line) salt_ = (salt_ ^ static_cast<std::uint8_t>(c)) * 0x100000001B3ULL;
    }
  }

  dns::AnswerPtr answer(const dns::Question& question) const {
    std::uint64_t bits = test::digest_of(question) ^ salt_;
    const auto take = [&](std::uint64_t below) {
      bits ^= bits >> 31;
      bits *= 0x9E3779B97F4A7C15ULL;
      return (bits >> 33) % below;
    };
    auto answer = std::make_shared<dns::Answer>();
    const std::uint64_t kind = take(10);
    constexpr dns::Status kOthers[] = {dns::Status::kNoData, dns::Status::kNoName,
                                       dns::Status::kServerFailure, dns::Status::kTimeout};
    answer->status = kind < 4 && take(2) == 0 ? kOthers[kind] : dns::Status::kAnswer;
    if (answer->status != dns::Status::kAnswer) return answer;
    const std::uint64_t count = take(4) == 0 ? take(14) + 1 : 1;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string& line = lines_[take(lines_.size())];
      const auto name =
          dns::Name::parse(line.substr(0, 20) + ".n" + std::to_string(take(5)) + ".example");
      const auto host = static_cast<std::uint8_t>(take(3));
      switch (question.type) {
        case dns::Type::kTxt:
          answer->texts.push_back(line);
          break;
        case dns::Type::kMx:
          answer->exchangers.push_back({0, name && take(5) != 0 ? *name : dns::Name()});
          break;
        case dns::Type::kPtr:
          answer->names.push_back(name.value_or(dns::Name()));
          break;
        case dns::Type::kAaaa:
          answer->addresses.push_back(base::IpAddress::v6({0x20, 1, 0xd, 0xb8, host}));
          break;
        default:
          answer->addresses.push_back(base::IpAddress::v4({192, 0, 2, host}));
      }
    }
    return answer;
  }

 private:
  const std::vector<std::string>& lines_;
  std::uint64_t salt_ = 0xCBF29CE484222325ULL;
};

void check(const Outcome& outcome) {
  const base::Limits limits;
  MXRING_ASSERT(outcome.lookups <= limits.spf_lookups && outcome.voids <= limits.spf_voids);
  MXRING_ASSERT(outcome.questions <= limits.dns_questions);
  for (const std::string* text : {&outcome.explanation, &outcome.problem}) {
    for (const char c : *text) {
      MXRING_ASSERT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::string> lines = lines_of(test::seed_bytes(data, size));
  const Oracle oracle(lines);
  Evaluator evaluator;
  Evaluator again;
  for (const bool v4 : {true, false}) {
    const Request request{
        .client =
            v4 ? base::IpAddress::v4({192, 0, 2, 1}) : base::IpAddress::v6({0x20, 1, 0xd, 0xb8, 1}),
        .mail_from = v4 ? std::string_view("local.part-x@start.example") : std::string_view(),
        .helo = v4 ? std::string_view(lines.back()) : std::string_view("helo.example"),
        .explain = true};
    evaluator.begin(request);
    std::vector<std::string> transcript;
    for (int steps = 0; !evaluator.step(); ++steps) {
      MXRING_ASSERT(steps < 100);
      for (const dns::Question& question : evaluator.questions()) {
        const dns::AnswerPtr answer = oracle.answer(question);
        std::string line = dns::transcript_line(question, *answer);
        line.pop_back();
        transcript.push_back(std::move(line));
        evaluator.supply(question, answer);
      }
    }
    check(evaluator.outcome());
    again.begin(request);
    std::size_t next = 0;
    while (!again.step()) {
      for (const dns::Question& question : again.questions()) {
        const auto line = dns::parse_transcript_line(transcript.at(next++));
        MXRING_ASSERT(line && line->question == question);
        again.supply(question, line->answer);
      }
    }
    MXRING_ASSERT(again.outcome().result == evaluator.outcome().result);
    MXRING_ASSERT(again.outcome().mechanism == evaluator.outcome().mechanism);
    MXRING_ASSERT(again.outcome().explanation == evaluator.outcome().explanation);
  }
  return 0;
}
