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
// Few round trips: the first three names of the From domain's walk are asked together, then the
// rest, so most mail waits once; what walks for alignment still miss is asked together as well.
// expect() names domains that may authenticate, so that their questions go out while the body is
// still coming. A name asked ahead that the walk turns out not to need changes nothing.
//
// Whether a domain exists, for np (RFC 9989 3.2.13, A.4): NXDOMAIN to a question for its own A
// records says it does not; any other answer that it does. It is asked only where np makes a
// difference, and is no part of a walk. An answer that could not be had never makes a failure: the
// result is then temperror, unless some domain is aligned all the same. A walk goes on past a name
// that has no answer: the record found elsewhere on it is the one that alignment and the temperror
// go by, because the sender chooses which of a domain's names is asked about.
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
#include "mailauth/dmarc/record.h"
#include "mailauth/result/result.h"

namespace mxring::mailauth::dmarc {

struct Authenticated {
  enum class Method : std::uint8_t { kSpf, kDkim } method = Method::kSpf;
  std::string_view domain;  // copied
  // It is not a pass but a temperror: if a domain aligns only that way, the result is temperror.
  bool undecided = false;
  bool not_asked = false;  // that temperror is for a limit of ours
};

// One question of a walk, for people.
struct WalkStep {
  std::string domain;  // whose walk it belongs to
  std::string name;    // "_dmarc.example.org"
  dns::Status status = dns::Status::kNoName;
  std::string record;     // the DMARC record found there, as written
  std::string note;       // what it means for the walk
  bool repeated = false;  // the answer was there from an earlier step
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
  bool testing = false;  // t=y
  // The From domain is not in DNS; looked at only where np makes a difference.
  bool nonexistent = false;
  std::string aligned_spf;  // the domain that aligned; empty: none
  std::string aligned_dkim;
  std::string problem;  // why temperror or permerror; printable
  // The policy is the best that is known: another name of the walk, which has no answer, may have
  // one that goes before it.
  bool policy_uncertain = false;
  // A temperror that the answer to a question could have changed which was not asked because of a
  // limit of ours.
  bool not_asked = false;
};

struct Machine;

class Evaluator {
 public:
  explicit Evaluator(const base::Limits& limits = {});
  ~Evaluator();

  // In A-labels and any case. What is no domain name, an address literal for one, has no policy.
  void begin(std::string_view from_domain);
  // The message names no author domain, or no one domain: permerror at once, for this reason.
  void begin_without_author(std::string_view reason);
  // A domain that may turn out to be authenticated; between begin() and authenticated().
  void expect(std::string_view domain);
  void authenticated(std::span<const Authenticated> domains);
  // True: nothing to ask at the moment. done() says whether the outcome stands.
  bool step();
  bool done() const;
  std::span<const dns::Question> questions() const;
  void supply(const dns::Question& question, dns::AnswerPtr answer);
  void give_up();

  const Outcome& outcome() const;
  // Every step taken, all walks, in order; made when asked for.
  std::vector<WalkStep> walk() const;

 private:
  void start_over(std::string_view from_domain);

  std::unique_ptr<Machine> machine_;
};

}  // namespace mxring::mailauth::dmarc
