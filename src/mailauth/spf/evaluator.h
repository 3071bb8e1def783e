// check_host() of RFC 7208 as a machine without I/O: it is done, or it needs answers to DNS
// questions.
//
//   evaluator.begin(request);
//   while (!evaluator.step()) {
//     for (const dns::Question& question : evaluator.questions()) {
//       evaluator.supply(question, ...);   // in any order, all of them, at once or later
//     }
//   }
//   evaluator.outcome()
//
// A shard begins at MAIL FROM. For each question it calls dns::Client::ask with a waiter of the
// session; what the cache knows it supplies at once, the rest from the waiters, and when the last
// one has come it steps again. When the time for a message is over it calls give_up(). Nothing here
// reads a clock or blocks, and the questions of one evaluation never exceed Limits::dns_questions.
//
// Includes and redirects are frames on a stack of our own. A term that needs answers is evaluated
// again from its beginning when they have come; asked() keeps all of them, so nothing is asked
// twice, and they are the transcript from which the same outcome can be had again.
//
// U-labels of the sender's domain and of the HELO name are turned into A-labels first (RFC
// 7208 4.3, RFC 8616 4); a name that has none is one that cannot be checked.
//
// Reuse: begin() starts over and keeps the memory. Failure: none; a wrong record is an outcome.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip_address.h"
#include "base/limits.h"
#include "dns/question.h"
#include "dns/record.h"
#include "mailauth/result/result.h"
#include "mailauth/spf/macro.h"
#include "mailauth/spf/record.h"

namespace mxring::mailauth::spf {

// Views are copied by begin().
struct Request {
  base::IpAddress client;
  std::string_view mail_from;  // the reverse-path without brackets; empty: the HELO name is checked
  std::string_view helo;
  std::string_view receiver = "unknown";  // %{r}, in explanations
  std::int64_t now_unix_s = 0;            // %{t}, in explanations
  bool explain = false;                   // evaluate exp= when the result is fail
};

enum class Identity : std::uint8_t { kMailFrom, kHelo };
constexpr std::string_view word(Identity identity) {
  return identity == Identity::kHelo ? "helo" : "mailfrom";
}

struct Outcome {
  Result result = Result::kNone;
  Identity identity = Identity::kMailFrom;
  std::string domain;         // whose policy was asked for, in A-labels; untrusted bytes
  std::string mechanism;      // that decided, as written; "default" when none matched; else empty
  std::string explanation;    // printable ASCII; empty: none was asked for, or none could be had
  std::string problem;        // why it is temperror or permerror; untrusted bytes in it are escaped
  std::uint32_t lookups = 0;  // terms that ask DNS (RFC 7208 4.6.4)
  std::uint32_t voids = 0;    // of those, the ones that found nothing
  std::uint32_t questions = 0;  // in all
  bool not_asked = false;       // temperror because of a limit of ours, not because of DNS
};

struct Asked {
  dns::Question question;
  dns::AnswerPtr answer;
};

class Evaluator {
 public:
  static constexpr std::size_t kNamesMax = 10;  // MX and PTR names looked at (RFC 7208 4.6.4)

  explicit Evaluator(const base::Limits& limits = {});

  void begin(const Request& request);
  // True: done, outcome() stands. False: questions() must be answered first.
  bool step();
  // Those of the current step, answered or not; stays as it is until step().
  std::span<const dns::Question> questions() const { return wanted_; }
  // `known`: it cost no question. Such answers are not counted, so that a sender whose policy asks
  // more than a message may is further on when it tries again.
  void supply(const dns::Question& question, dns::AnswerPtr answer, bool known = false);
  // No more answers will come: temperror, unless it was done.
  void give_up();

  // True: any other sender of this domain at this address would have had the same outcome, as no
  // macro looked at more than these. False for what may be different in a moment, too.
  bool repeatable() const { return done_ && repeatable_; }
  // Right after begin(): the outcome is known, and nothing will be asked.
  void repeat(const Outcome& known);

  const base::IpAddress& client() const { return client_; }
  const Outcome& outcome() const { return outcome_; }
  std::span<const Asked> asked() const { return asked_; }

 private:
  enum class Progress : std::uint8_t { kOn, kWait };
  enum class Match : std::uint8_t {
    kYes,
    kNo,
    kNeedsAnswers,  // wanted_ says which; the term begins again when they are there
    kEntered,       // an include: its result decides, its frame is the innermost now
    kEnded,         // the whole evaluation
  };
  struct Frame {
    dns::Name domain;
    std::shared_ptr<const Policy> policy;  // not asked for yet when null
    std::size_t term = 0;
    bool counted = false;     // the current term, as a lookup
    bool redirected = false;  // a domain without a record is then an error
  };
  struct ClientNames {
    std::array<dns::Name, kNamesMax> storage;
    std::size_t count = 0;
    bool is_void = false;
    std::span<dns::Name> names() & { return std::span(storage).first(count); }
  };
  // kInvalid: no domain name; kNoMatch: one that cannot exist, see cannot_match().
  enum class TargetState : std::uint8_t { kReady, kInvalid, kNoMatch, kWait };
  struct Target {
    TargetState state;
    dns::Name name;
  };

  const dns::Answer* need(const dns::Name& name, dns::Type type);
  Progress advance();
  Progress fetch_policy(Frame& frame);
  void no_policy(const Frame& frame);
  Progress run_term(Frame& frame);
  Progress run_redirect(Frame& frame);
  Progress run_explanation();
  Match evaluate(Frame& frame, const Term& term);
  Match match_a(const Term& term, const dns::Name& name);
  Match match_mx(const Term& term, const dns::Name& name);
  Match match_ptr(const dns::Name& name);
  Match match_exists(const dns::Name& name);
  Match enter_include(const Target& target);
  void leave_frame(Result result, const Term* term);
  bool count_lookup(Frame& frame);
  bool count_void();

  Target target_of(const Frame& frame, Part spec, std::int32_t name = -1);
  bool cannot_match(std::string_view text) const;
  bool expand_ready(const Frame& frame, std::string_view text, MacroValues& values);
  // Whether one of the client's names leads back to it; asks a few names ahead.
  Match confirm(std::span<const dns::Name> names, std::size_t at);
  bool client_names(ClientNames& names);
  bool validated_name(const dns::Name& domain, std::string& name);

  dns::Type address_type() const { return client_.is_v4() ? dns::Type::kA : dns::Type::kAaaa; }
  bool matches(const Term& term, const base::IpAddress& address) const;
  void finish(Result result, std::string_view problem = {}, std::string_view where = {});
  Match end(Result result, std::string_view problem, std::string_view where = {});
  Match end_without_answer(const dns::Answer& failure, const dns::Name& name);
  // What a term without an answer comes to: it is missing, or it may not be asked for.
  Match without() const { return done_ ? Match::kEnded : Match::kNeedsAnswers; }

  base::Limits limits_;
  base::IpAddress client_;
  std::string sender_;  // %{s}
  std::string local_part_;
  bool local_part_is_ascii_ = true;
  std::string sender_domain_;
  std::string helo_;
  std::string receiver_;
  std::string domain_text_;  // %{d} and %{p} of the expansion at hand
  std::string client_name_;
  std::int64_t now_unix_s_ = 0;
  bool explain_ = false;
  bool explaining_ = false;
  bool done_ = true;
  bool repeatable_ = false;  // so far
  std::vector<Frame> frames_;
  std::vector<Asked> asked_;
  std::vector<dns::Question> wanted_;
  std::size_t missing_ = 0;
  std::size_t counted_ = 0;  // questions answered, without those whose answer was known
  Outcome outcome_;
};

}  // namespace mxring::mailauth::spf
