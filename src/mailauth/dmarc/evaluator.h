// DMARC (RFC 9989) as a machine without I/O, like SPF: the tree walk finds the policy and the
// organizational domains; alignment and the policy give the result.
//
//   evaluator.begin(from_domain);                   // the header section is in: ask early
//   while (!evaluator.step()) { supply(...) }       // the From domain's walk
//   evaluator.authenticated(domains);               // SPF and DKIM are decided
//   while (!evaluator.step()) { supply(...) }       // walks for relaxed alignment, if any
//   evaluator.outcome()
//
// authenticated() may come before the first walk is done. Nothing is asked twice, and a walk asks
// at most 8 questions (RFC 9989 4.10).
//
// Thread: the owner's. Reuse: begin() starts over and keeps the memory. Failure: none.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "dns/question.h"
#include "dns/record.h"
#include "mailauth/results.h"

namespace mxring::mailauth::dmarc {

enum class Policy : std::uint8_t { kNone, kQuarantine, kReject };
constexpr std::string_view word(Policy policy) {
  return policy == Policy::kReject       ? "reject"
         : policy == Policy::kQuarantine ? "quarantine"
                                         : "none";
}

struct Authenticated {
  enum class Method : std::uint8_t { kSpf, kDkim } method = Method::kSpf;
  std::string_view domain;  // copied
  // It is not a pass but a temperror: if a domain aligns only that way, the result is temperror.
  bool undecided = false;
};

// One question of a walk, for people.
struct WalkStep {
  std::string name;  // "_dmarc.example.org"
  dns::Status status = dns::Status::kNoName;
  std::string record;  // the DMARC record found there, as written
  std::string note;    // what it means for the walk
};

struct Outcome {
  Result result = Result::kNone;  // none, pass, fail, temperror, permerror
  std::string from_domain;        // A-labels, lower case
  bool record_found = false;
  std::string record;         // as written; untrusted bytes
  std::string record_domain;  // where it was found
  std::string organizational_domain;
  Policy policy = Policy::kNone;  // that applies to this From domain: p, sp or np; t applied
  Policy published_policy = Policy::kNone;  // the same before t=y weakened it
  Policy subdomain_policy = Policy::kNone;
  Policy np = Policy::kNone;
  bool testing = false;     // t=y
  std::string aligned_spf;  // the domain that aligned; empty: none
  std::string aligned_dkim;
  std::string problem;  // why temperror or permerror; printable
};

class Evaluator {
 public:
  explicit Evaluator(const base::Limits& limits = {});
  ~Evaluator();

  void begin(std::string_view from_domain);
  void authenticated(std::span<const Authenticated> domains);
  // True: nothing to ask at the moment. done() says whether the outcome stands.
  bool step();
  bool done() const;
  std::span<const dns::Question> questions() const;
  void supply(const dns::Question& question, dns::AnswerPtr answer);
  void give_up();

  const Outcome& outcome() const;
  std::span<const WalkStep> walk() const;  // every step taken, all walks, in order

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mxring::mailauth::dmarc
