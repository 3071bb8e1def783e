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

}  // namespace

std::optional<dns::Name> policy_name(std::string_view domain) {
  std::array<char, kPrefix.size() + dns::Name::kTextBytesMax> text;
  if (domain.empty() || domain.size() > dns::Name::kTextBytesMax) return std::nullopt;
  const auto end = std::ranges::copy(kPrefix, text.begin()).out;
  std::ranges::copy(domain, end);
  return dns::Name::parse({text.data(), kPrefix.size() + domain.size()});
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
  if (gave_up || asked.size() + wanted.size() >= limits.dns_questions) return false;
  wanted.push_back({name, type});
  return true;
}

Machine::Finding Machine::look(std::string_view domain, const Record*& record) const {
  record = nullptr;
  const auto name = policy_name(domain);
  if (!name) return Finding::kKnown;
  const Asked* entry = find(*name, dns::Type::kTxt);
  if (entry == nullptr) return Finding::kWait;
  if (entry->answer->is_failure()) return Finding::kFailed;
  if (entry->records && entry->records->state() == RecordSet::State::kOne) {
    record = &entry->records->record();
  }
  return Finding::kKnown;
}

Machine::Finding Machine::advance(TreeWalk& walk) const {
  while (!walk.ended()) {
    const Record* record = nullptr;
    const Finding finding = look(walk.targets()[walk.step()], record);
    if (finding != Finding::kKnown) return finding;
    walk.found(record);
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
  Finding finding = advance(walk);
  if (finding == Finding::kWait) {
    if (ask(walk, walk.step() < kAskedTogether ? kAskedTogether : kWalkStepsMax)) return;
    finding = Finding::kFailed;
  }
  organization_known = finding == Finding::kKnown;
  if (finding == Finding::kFailed && walk.own_record() == nullptr) {
    finish(Result::kTemperror, "no answer from DNS about the policy at",
           walk.targets()[walk.step()]);
    return;
  }
  applied = organization_known ? walk.policy_record() : walk.own_record();
  if (organization_known) outcome.organizational_domain = walk.organizational_domain();
  if (applied == nullptr) {
    finish(Result::kNone);
    return;
  }
  outcome.record_found = true;
  outcome.record = applied->text;
  outcome.record_domain = organization_known ? walk.policy_domain() : std::string_view(from);
  if (!applied->usable) {
    finish(Result::kPermerror, "a record that cannot be used", applied->problem);
    return;
  }
  if (find_existence() == Finding::kWait) return;
  settle_policy();
  discovered = true;
}

// Whether the From domain exists, if that makes a difference.
Machine::Finding Machine::find_existence() {
  existence = Existence::kYes;
  if (applied == from_walk->own_record() ||
      applied->subdomain_policy == applied->nonexistent_policy) {
    return Finding::kKnown;
  }
  // begin() has seen that it is a name.
  const dns::Name name = *dns::Name::parse(from);
  const Asked* entry = find(name, dns::Type::kA);
  if (entry == nullptr && want(name, dns::Type::kA)) return Finding::kWait;
  if (entry == nullptr || entry->answer->is_failure()) {
    existence = Existence::kUnknown;
  } else if (entry->answer->status == dns::Status::kNoName && entry->answer->aliases.empty()) {
    // With an alias the name is there, and only what it points at is not.
    existence = Existence::kNo;
  }
  return Finding::kKnown;
}

void Machine::settle_policy() {
  const bool own = applied == from_walk->own_record();
  Policy policy = own                            ? applied->policy
                  : existence == Existence::kYes ? applied->subdomain_policy
                                                 : applied->nonexistent_policy;
  if (existence == Existence::kUnknown) policy = std::min(policy, applied->subdomain_policy);
  outcome.published_policy = policy;
  outcome.policy = applied->testing ? weakened(policy) : policy;
  outcome.subdomain_policy = applied->subdomain_policy;
  outcome.np = applied->nonexistent_policy;
  outcome.testing = applied->testing;
  outcome.nonexistent = existence == Existence::kNo;
}

// ---- Alignment

// Once, so that it is bounded. The answers wait here until it is known who has authenticated.
void Machine::ask_expected() {
  for (std::size_t i = 0; i < expected_count && organization_known; ++i) {
    const std::string& domain = expected[i];
    if (domain == from || !is_within(domain, outcome.organizational_domain)) continue;
    TreeWalk walk(domain);
    if (advance(walk) == Finding::kWait) ask(walk, kWalkStepsMax);
    if (wanted.size() >= kExpectedQuestionsMax) break;
  }
  expected_count = 0;
}

void Machine::align() {
  if (align_all(false)) return;
  if (outcome.aligned_spf.empty() && outcome.aligned_dkim.empty()) {
    if (align_all(true)) return;
  } else {
    finish(Result::kPass);
    return;
  }
  if (aligned_unknown) {
    finish(Result::kTemperror, "a domain that may be aligned could not be checked");
  } else if (existence == Existence::kUnknown) {
    finish(Result::kTemperror, "no answer from DNS whether the From domain exists");
  } else {
    finish(Result::kFail);
  }
}

// True when there is something to wait for.
bool Machine::align_all(bool undecided) {
  bool wait = false;
  for (std::size_t i = 0; i < identifier_count; ++i) {
    Identifier& identifier = identifiers[i];
    if (identifier.undecided != undecided) continue;
    std::string& aligned = identifier.method == Authenticated::Method::kSpf ? outcome.aligned_spf
                                                                            : outcome.aligned_dkim;
    if (!aligned.empty()) continue;
    const Match found = match(identifier);
    wait = wait || found == Match::kWait;
    if (found == Match::kUnknown || (undecided && found == Match::kYes)) {
      aligned_unknown = true;
    } else if (found == Match::kYes) {
      aligned = identifier.domain;
    }
  }
  return wait;
}

Machine::Match Machine::match(Identifier& identifier) {
  const std::string& domain = identifier.domain;
  if (domain == from) return Match::kYes;
  const Alignment mode = identifier.method == Authenticated::Method::kSpf ? applied->spf_alignment
                                                                          : applied->dkim_alignment;
  if (mode == Alignment::kStrict) return Match::kNo;
  if (!organization_known) {
    return top_label(domain) == top_label(from) ? Match::kUnknown : Match::kNo;
  }
  // An organizational domain is its domain or an ancestor of it, so only what lies within the From
  // domain's can have the same one.
  if (!is_within(domain, outcome.organizational_domain)) return Match::kNo;
  if (!identifier.walk) identifier.walk.emplace(domain);
  switch (advance(*identifier.walk)) {
    case Finding::kWait:
      return ask(*identifier.walk, kWalkStepsMax) ? Match::kWait : Match::kUnknown;
    case Finding::kFailed:
      return Match::kUnknown;
    case Finding::kKnown:
      break;
  }
  return identifier.walk->organizational_domain() == outcome.organizational_domain ? Match::kYes
                                                                                   : Match::kNo;
}

void Machine::finish(Result result, std::string_view problem, std::string_view where) {
  done = true;
  outcome.result = result;
  outcome.not_asked =
      result == Result::kTemperror &&
      std::ranges::any_of(asked, [](const Asked& a) { return a.answer->not_asked; });
  outcome.problem = problem;
  if (!where.empty()) {
    outcome.problem += ": ";
    base::append_escaped(outcome.problem, where);
  }
}

}  // namespace mxring::mailauth::dmarc
