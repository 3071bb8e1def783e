#include "mailauth/dmarc/machine.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::mailauth::dmarc {

namespace {

constexpr std::string_view kPrefix = "_dmarc.";
// Names of the From domain's walk that are asked about at once, to begin with.
constexpr std::size_t kAskedTogether = 3;
// With so many questions out, no further domain that only claims to have signed is looked at: a
// message can claim many, and must not use up what the evaluation itself may ask.
constexpr std::size_t kExpectedQuestionsMax = 8;

std::string_view top_label(std::string_view domain) {
  const std::size_t dot = domain.rfind('.');
  return dot == std::string_view::npos ? domain : domain.substr(dot + 1);
}

Machine::Doubt doubt_of(const dns::Answer& failure) {
  return failure.not_asked ? Machine::Doubt::kNotAsked : Machine::Doubt::kDns;
}

}  // namespace

std::optional<dns::Name> policy_name(std::string_view domain) {
  std::array<char, kPrefix.size() + dns::Name::kTextBytesMax> text;
  if (domain.empty() || domain.size() > dns::Name::kTextBytesMax) return std::nullopt;
  const auto end = std::ranges::copy(kPrefix, text.begin()).out;
  std::ranges::copy(domain, end);
  return dns::Name::parse({text.data(), kPrefix.size() + domain.size()});
}

void Machine::enter(Stage stage) {
  MXRING_ASSERT(stage > round.stage);
  round.stage = stage;
}

void Machine::invariants() const {
  MXRING_ASSERT(round.missing <= wanted.size());
  MXRING_ASSERT(asked.size() <= limits.dns_questions);
  MXRING_ASSERT(round.expected_count <= expected.size());
  MXRING_ASSERT(round.identifier_count <= identifiers.size());
  MXRING_ASSERT(round.identifier_count == 0 || round.authenticated);
  MXRING_ASSERT(round.missing == 0 || (!round.gave_up && round.stage != Stage::kDone));
  MXRING_ASSERT(round.stage != Stage::kDiscovered || round.applied != nullptr);
  MXRING_ASSERT(!outcome.not_asked || outcome.result == Result::kTemperror);
  // What passes has a policy and somebody who vouches for it.
  MXRING_ASSERT(
      outcome.result != Result::kPass ||
      (outcome.record_found && !(outcome.aligned_spf.empty() && outcome.aligned_dkim.empty())));
}

// ---- Asking

const Machine::Asked* Machine::find(const dns::Name& name, dns::Type type) const {
  for (const Asked& entry : asked) {
    if (entry.question.type == type && entry.question.name == name) return &entry;
  }
  return nullptr;
}

// False when nothing more may be asked.
bool Machine::want(const dns::Name& name, dns::Type type) {
  for (const dns::Question& question : wanted) {
    if (question.type == type && question.name == name) return true;
  }
  if (round.gave_up || asked.size() + wanted.size() >= limits.dns_questions) return false;
  wanted.push_back({name, type});
  return true;
}

Machine::Finding Machine::look(std::string_view domain, const Record*& record, Doubt& doubt) const {
  record = nullptr;
  const auto name = policy_name(domain);
  if (!name) return Finding::kKnown;
  const Asked* entry = find(*name, dns::Type::kTxt);
  if (entry == nullptr) return Finding::kWait;
  if (entry->answer->is_failure()) {
    doubt = std::max(doubt, doubt_of(*entry->answer));
    return Finding::kFailed;
  }
  if (entry->records && entry->records->state() == RecordSet::State::kOne) {
    record = &entry->records->record();
  }
  return Finding::kKnown;
}

// As far as the answers reach, past the names that have none.
void Machine::walk_from() {
  TreeWalk& walk = *from_walk;
  while (!walk.ended()) {
    const Record* record = nullptr;
    const Finding finding = look(walk.targets()[walk.step()], record, round.walk_doubt);
    if (finding == Finding::kWait) return;
    if (finding == Finding::kKnown) {
      walk.found(record);
      continue;
    }
    if (walk.whole()) round.first_missed = walk.step();
    walk.missed();
  }
}

// The walk of a domain that may be aligned: what the From domain's own walk had no answer about
// makes no difference between the two.
Machine::Finding Machine::advance(Identifier& identifier, Doubt& doubt) const {
  TreeWalk& walk = *identifier.walk;
  while (!walk.ended()) {
    const Record* record = nullptr;
    const std::string_view target = walk.targets()[walk.step()];
    const Finding finding = look(target, record, doubt);
    if (finding == Finding::kWait) return finding;
    if (finding == Finding::kKnown) {
      walk.found(record);
    } else if (is_within(from, target)) {
      walk.missed();
    } else {
      return finding;
    }
  }
  return Finding::kKnown;
}

// Asks what is missing of the steps before `end`. False when not even the next one can be asked.
bool Machine::ask(const TreeWalk& walk, std::size_t end) {
  end = std::min(end, walk.targets().size());
  for (std::size_t step = walk.step(); step < end; ++step) {
    const auto name = policy_name(walk.targets()[step]);
    if (!name || find(*name, dns::Type::kTxt) != nullptr) continue;
    if (!want(*name, dns::Type::kTxt)) return step != walk.step();
  }
  return true;
}

// ---- The policy

void Machine::discover() {
  TreeWalk& walk = *from_walk;
  for (walk_from(); !walk.ended(); walk_from()) {
    if (ask(walk, walk.step() < kAskedTogether ? kAskedTogether : kWalkStepsMax)) return;
    round.walk_doubt = std::max(round.walk_doubt, why_not_asked());
    if (walk.whole()) round.first_missed = walk.step();
    walk.missed();
  }
  MXRING_ASSERT(walk.whole() == (round.walk_doubt == Doubt::kNone));
  round.organization = walk.organizational_domain();
  if (walk.whole()) outcome.organizational_domain = round.organization;
  // The domain's own record goes before all others.
  outcome.policy_uncertain = !walk.whole() && walk.own_record() == nullptr;
  round.applied = walk.policy_record();
  if (round.applied == nullptr) {
    if (walk.whole()) {
      finish(Result::kNone);
    } else {
      finish_undecided(round.walk_doubt, "no answer from DNS about the policy at",
                       walk.targets()[round.first_missed]);
    }
    return;
  }
  outcome.record_found = true;
  outcome.record = round.applied->text;
  outcome.record_domain = walk.policy_domain();
  if (!round.applied->usable) {
    finish(Result::kPermerror, "a record that cannot be used", round.applied->problem);
    return;
  }
  if (find_existence() == Finding::kWait) return;
  settle_policy();
  enter(Stage::kDiscovered);
}

// Whether the From domain exists, if that makes a difference.
Machine::Finding Machine::find_existence() {
  const Record& applied = *round.applied;
  if (&applied == from_walk->own_record() ||
      applied.subdomain_policy == applied.nonexistent_policy) {
    return Finding::kKnown;
  }
  // begin() has seen that it is a name.
  const dns::Name name = *dns::Name::parse(from);
  const Asked* entry = find(name, dns::Type::kA);
  if (entry == nullptr) {
    if (want(name, dns::Type::kA)) return Finding::kWait;
    round.existence = Existence::kUnknown;
    round.existence_doubt = why_not_asked();
  } else if (entry->answer->is_failure()) {
    round.existence = Existence::kUnknown;
    round.existence_doubt = doubt_of(*entry->answer);
  } else if (entry->answer->status == dns::Status::kNoName && entry->answer->aliases.empty()) {
    // With an alias the name is there, and only what it points at is not.
    round.existence = Existence::kNo;
  }
  return Finding::kKnown;
}

void Machine::settle_policy() {
  const Record& applied = *round.applied;
  const bool own = &applied == from_walk->own_record();
  Policy policy = own                                  ? applied.policy
                  : round.existence == Existence::kYes ? applied.subdomain_policy
                                                       : applied.nonexistent_policy;
  if (round.existence == Existence::kUnknown) {
    policy = round.existence_doubt == Doubt::kNotAsked ? std::max(policy, applied.subdomain_policy)
                                                       : std::min(policy, applied.subdomain_policy);
  }
  outcome.published_policy = policy;
  outcome.policy = applied.testing ? weakened(policy) : policy;
  outcome.subdomain_policy = applied.subdomain_policy;
  outcome.np = applied.nonexistent_policy;
  outcome.testing = applied.testing;
  outcome.nonexistent = round.existence == Existence::kNo;
}

// ---- Alignment

// Once, so that it is bounded. The answers wait here until it is known who has authenticated.
void Machine::ask_expected() {
  for (std::size_t i = 0; i < round.expected_count; ++i) {
    const std::string& domain = expected[i];
    if (domain == from || !is_within(domain, round.organization)) continue;
    ask(TreeWalk(domain), kWalkStepsMax);
    if (wanted.size() >= kExpectedQuestionsMax) break;
  }
  round.expected_count = 0;
}

void Machine::align() {
  if (align_all(false)) return;
  if (!outcome.aligned_spf.empty() || !outcome.aligned_dkim.empty()) {
    finish(Result::kPass);
    return;
  }
  if (align_all(true)) return;
  const Doubt policy_doubt = outcome.policy_uncertain ? round.walk_doubt : Doubt::kNone;
  const Doubt doubt = std::max({round.alignment_doubt, policy_doubt, round.existence_doubt});
  if (doubt == Doubt::kNone) {
    finish(Result::kFail);
  } else if (doubt == round.alignment_doubt) {
    finish_undecided(doubt, "a domain that may be aligned could not be checked");
  } else if (doubt == policy_doubt) {
    finish_undecided(doubt, "no answer from DNS about the policy at",
                     from_walk->targets()[round.first_missed]);
  } else {
    finish_undecided(doubt, "no answer from DNS whether the From domain exists");
  }
}

// True when there is something to wait for.
bool Machine::align_all(bool doubtful) {
  bool wait = false;
  for (std::size_t i = 0; i < round.identifier_count; ++i) {
    Identifier& identifier = identifiers[i];
    if ((identifier.doubt != Doubt::kNone) != doubtful) continue;
    std::string& aligned = identifier.method == Authenticated::Method::kSpf ? outcome.aligned_spf
                                                                            : outcome.aligned_dkim;
    if (!aligned.empty()) continue;
    Doubt doubt = identifier.doubt;
    const Match found = match(identifier, doubt);
    wait = wait || found == Match::kWait;
    if (found == Match::kUnknown || (doubtful && found == Match::kYes)) {
      MXRING_ASSERT(doubt != Doubt::kNone);
      round.alignment_doubt = std::max(round.alignment_doubt, doubt);
    } else if (found == Match::kYes) {
      aligned = identifier.domain;
    }
  }
  return wait;
}

// `doubt` becomes worse when that is why it is not known.
Machine::Match Machine::match(Identifier& identifier, Doubt& doubt) {
  const std::string& domain = identifier.domain;
  if (domain == from) return Match::kYes;
  const Alignment mode = identifier.method == Authenticated::Method::kSpf
                             ? round.applied->spf_alignment
                             : round.applied->dkim_alignment;
  if (mode == Alignment::kStrict) return Match::kNo;
  // An organizational domain is its domain or an ancestor of it, so only what lies within the From
  // domain's can have the same one. Of a walk that is not whole it may lie higher up.
  const bool whole = from_walk->whole();
  const Match elsewhere =
      whole || top_label(domain) != top_label(from) ? Match::kNo : Match::kUnknown;
  if (elsewhere == Match::kUnknown) doubt = std::max(doubt, round.walk_doubt);
  if (!is_within(domain, round.organization)) return elsewhere;
  if (!identifier.walk) identifier.walk.emplace(domain);
  Doubt missed = Doubt::kNone;
  switch (advance(identifier, missed)) {
    case Finding::kWait:
      if (ask(*identifier.walk, kWalkStepsMax)) return Match::kWait;
      doubt = std::max(doubt, why_not_asked());
      return Match::kUnknown;
    case Finding::kFailed:
      doubt = std::max(doubt, missed);
      return Match::kUnknown;
    case Finding::kKnown:
      break;
  }
  return identifier.walk->organizational_domain() == round.organization ? Match::kYes : elsewhere;
}

void Machine::finish_undecided(Doubt doubt, std::string_view problem, std::string_view where) {
  MXRING_ASSERT(doubt != Doubt::kNone);
  outcome.not_asked = doubt == Doubt::kNotAsked;
  finish(Result::kTemperror, problem, where);
}

void Machine::finish(Result result, std::string_view problem, std::string_view where) {
  enter(Stage::kDone);
  outcome.result = result;
  outcome.problem = problem;
  if (!where.empty()) {
    outcome.problem += ": ";
    base::append_escaped(outcome.problem, where);
  }
}

}  // namespace mxring::mailauth::dmarc
