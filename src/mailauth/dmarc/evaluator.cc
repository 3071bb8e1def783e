#include "mailauth/dmarc/evaluator.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/text.h"
#include "mailauth/dmarc/machine.h"

namespace mxring::mailauth::dmarc {

namespace {

// Lower case, without a dot at the end.
void assign_canonical(std::string& out, std::string_view domain) {
  if (domain.ends_with('.')) domain.remove_suffix(1);
  out.assign(domain);
  std::ranges::transform(out, out.begin(), base::ascii_lower);
}

}  // namespace

Evaluator::Evaluator(const base::Limits& limits) : machine_(std::make_unique<Machine>(limits)) {}
Evaluator::~Evaluator() = default;

void Evaluator::start_over(std::string_view from_domain) {
  Machine& m = *machine_;
  m.asked.clear();
  m.wanted.clear();
  m.from_walk.reset();
  m.round = {};
  assign_canonical(m.from, from_domain);

  Outcome& outcome = m.outcome;
  outcome.result = Result::kNone;
  outcome.from_domain = m.from;
  outcome.record_found = outcome.testing = outcome.nonexistent = outcome.policy_uncertain =
      outcome.not_asked = false;
  for (std::string* text : {&outcome.record, &outcome.record_domain, &outcome.organizational_domain,
                            &outcome.aligned_spf, &outcome.aligned_dkim, &outcome.problem}) {
    text->clear();
  }
  outcome.policy = outcome.published_policy = outcome.subdomain_policy = outcome.np = Policy::kNone;
}

void Evaluator::begin_without_author(std::string_view reason) {
  start_over({});
  machine_->finish(Result::kPermerror, reason);
}

void Evaluator::begin(std::string_view from_domain) {
  start_over(from_domain);
  Machine& m = *machine_;
  const auto name = dns::Name::parse(m.from);
  if (m.from.starts_with('[') || !name || name->is_root()) {
    m.finish(Result::kNone, "not a domain name", m.from);
    return;
  }
  m.from_walk.emplace(m.from);
}

void Evaluator::expect(std::string_view domain) {
  Machine& m = *machine_;
  if (done() || m.round.authenticated) return;
  if (m.round.expected_count == m.expected.size()) m.expected.emplace_back();
  assign_canonical(m.expected[m.round.expected_count++], domain);
}

void Evaluator::authenticated(std::span<const Authenticated> domains) {
  Machine& m = *machine_;
  if (done() || m.round.authenticated) return;
  m.round.authenticated = true;
  for (const Authenticated& domain : domains) {
    if (m.round.identifier_count == m.identifiers.size()) m.identifiers.emplace_back();
    Machine::Identifier& identifier = m.identifiers[m.round.identifier_count++];
    identifier.method = domain.method;
    identifier.doubt = domain.not_asked   ? Machine::Doubt::kNotAsked
                       : domain.undecided ? Machine::Doubt::kDns
                                          : Machine::Doubt::kNone;
    assign_canonical(identifier.domain, domain.domain);
    identifier.walk.reset();
  }
}

bool Evaluator::step() {
  Machine& m = *machine_;
  if (done()) return true;
  if (m.round.missing != 0) return false;
  using Stage = Machine::Stage;
  m.wanted.clear();
  if (m.round.stage == Stage::kDiscovering) m.discover();
  if (m.round.stage == Stage::kDiscovered) {
    m.round.authenticated ? m.align() : m.ask_expected();
  }
  if (done()) m.wanted.clear();
  m.round.missing = m.wanted.size();
  m.invariants();
  return m.wanted.empty();
}

bool Evaluator::done() const {
  return machine_->round.stage == Machine::Stage::kDone;
}

std::span<const dns::Question> Evaluator::questions() const {
  return machine_->wanted;
}

void Evaluator::supply(const dns::Question& question, dns::AnswerPtr answer) {
  MXRING_ASSERT(answer != nullptr);
  Machine& m = *machine_;
  if (done() || std::ranges::find(m.wanted, question) == m.wanted.end()) return;
  if (m.find(question.name, question.type) != nullptr) return;
  MXRING_ASSERT(m.round.missing != 0 || m.round.gave_up);
  std::shared_ptr<const RecordSet> records;
  if (question.type == dns::Type::kTxt && answer->status == dns::Status::kAnswer) {
    records = RecordSet::of(*answer);
  }
  m.asked.push_back({question, std::move(answer), std::move(records)});
  if (m.round.missing != 0) --m.round.missing;
}

void Evaluator::give_up() {
  Machine& m = *machine_;
  if (done()) return;
  m.round.gave_up = true;
  m.round.missing = 0;
  step();
}

const Outcome& Evaluator::outcome() const {
  return machine_->outcome;
}

std::vector<WalkStep> Evaluator::walk() const {
  return machine_->walk();
}

}  // namespace mxring::mailauth::dmarc
