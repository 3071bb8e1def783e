#include "report/destination.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "mailauth/dmarc/report_destination.h"

namespace mxring::report {

namespace dmarc = mailauth::dmarc;

namespace {

bool is_plain(std::string_view address) {
  return std::ranges::all_of(address, [](char c) { return c > ' ' && c < '\x7F'; });
}

Destination destination_of(const dmarc::Record& record, const dmarc::Part& part) {
  Destination found;
  found.uri = record.part(part);
  const auto address = dmarc::report_address(found.uri);
  // The domain goes out in A-labels; a local part beyond ASCII would need SMTPUTF8 all the way.
  const std::string_view local =
      address ? std::string_view(address->address).substr(0, address->address.rfind('@'))
              : std::string_view();
  if (!address || local.empty() || !is_plain(local)) {
    found.permission = Permission::kUnusable;
    return found;
  }
  found.address = std::string(local) + '@' + address->host;
  found.host = address->host;
  return found;
}

}  // namespace

std::string_view word(Permission permission) {
  switch (permission) {
    case Permission::kOwn:
      return "own";
    case Permission::kGranted:
      return "granted";
    case Permission::kNotGranted:
      return "not-granted";
    case Permission::kOtherHost:
      return "other-host";
    case Permission::kUnanswered:
      return "unanswered";
    case Permission::kUnusable:
      return "unusable";
  }
  return "unusable";
}

std::vector<Destination> requested(const dmarc::Record& record) {
  std::vector<Destination> all;
  for (const dmarc::Part& part : record.aggregate_uris) {
    if (all.size() == kDestinationsMax) break;
    Destination found = destination_of(record, part);
    const bool repeated = std::ranges::any_of(all, [&](const Destination& other) {
      return !found.address.empty() && other.address == found.address;
    });
    if (!repeated) all.push_back(std::move(found));
  }
  return all;
}

struct DestinationCheck::Walk {
  std::string domain;
  dmarc::Evaluator evaluator;

  std::string_view organization() const { return evaluator.outcome().organizational_domain; }
};

DestinationCheck::DestinationCheck(std::string_view policy_domain, const dmarc::Record& record)
    : policy_domain_(policy_domain), destinations_(requested(record)) {
  start_walk(policy_domain_);
  for (const Destination& destination : destinations_) {
    if (destination.permission == Permission::kUnusable) continue;
    const bool known = std::ranges::any_of(
        walks_, [&](const auto& walk) { return walk->domain == destination.host; });
    if (!known) start_walk(destination.host);
  }
}

DestinationCheck::~DestinationCheck() = default;
DestinationCheck::DestinationCheck(DestinationCheck&&) noexcept = default;

void DestinationCheck::start_walk(std::string_view domain) {
  auto walk = std::make_unique<Walk>();
  walk->domain = domain;
  walk->evaluator.begin(domain);
  walk->evaluator.authenticated({});
  walks_.push_back(std::move(walk));
}

bool DestinationCheck::step() {
  if (phase_ == Phase::kWalks) {
    wanted_.clear();
    for (const auto& walk : walks_) {
      if (walk->evaluator.step()) continue;
      for (const dns::Question& question : walk->evaluator.questions()) {
        if (std::ranges::find(wanted_, question) == wanted_.end()) wanted_.push_back(question);
      }
    }
    if (!wanted_.empty()) return false;
    begin_hosts();
  }
  if (phase_ == Phase::kHosts && wanted_.empty()) phase_ = Phase::kDone;
  return phase_ == Phase::kDone;
}

// The walks are done. What is of the same organization needs no more; the others' hosts are asked.
void DestinationCheck::begin_hosts() {
  phase_ = Phase::kHosts;
  const std::string_view own = walks_.front()->organization();
  for (const auto& walk : walks_) {
    if (walk->domain == policy_domain_ || (!own.empty() && walk->organization() == own)) {
      settle(walk->domain, Permission::kOwn);
      continue;
    }
    const auto question = dmarc::destination_question(policy_domain_, walk->domain);
    if (!question) {
      settle(walk->domain, Permission::kNotGranted);
      continue;
    }
    asked_hosts_.emplace(walk->domain, *question);
    wanted_.push_back(*question);
  }
}

void DestinationCheck::settle(std::string_view host, Permission permission) {
  for (Destination& destination : destinations_) {
    if (destination.host == host && destination.permission != Permission::kUnusable) {
      destination.permission = permission;
    }
  }
}

void DestinationCheck::supply(const dns::Question& question, const dns::AnswerPtr& answer) {
  std::erase(wanted_, question);
  if (phase_ == Phase::kWalks) {
    // Each takes only what it asked for.
    for (const auto& walk : walks_) walk->evaluator.supply(question, answer);
    return;
  }
  for (const auto& [host, asked] : asked_hosts_) {
    if (asked == question) take_permission(host, *answer);
  }
}

void DestinationCheck::give_up() {
  wanted_.clear();
  phase_ = Phase::kDone;
}

// RFC 9990 4, steps 5 to 9. A rua in the host's record replaces the address asked for, and must be
// of the same host.
void DestinationCheck::take_permission(std::string_view host, const dns::Answer& answer) {
  if (answer.is_failure()) return settle(host, Permission::kUnanswered);
  if (!dmarc::takes_reports(answer)) return settle(host, Permission::kNotGranted);
  settle(host, Permission::kGranted);
  std::vector<Destination> instead;
  for (const std::string& text : answer.texts) {
    const auto record = dmarc::parse(text);
    if (!record) continue;
    for (Destination& other : requested(*record)) {
      if (other.permission == Permission::kUnusable) continue;
      if (other.host != host) return settle(host, Permission::kOtherHost);
      other.permission = Permission::kGranted;
      instead.push_back(std::move(other));
    }
  }
  if (instead.empty()) return;
  std::erase_if(destinations_, [&](const Destination& d) { return d.host == host; });
  for (Destination& other : instead) {
    const bool repeated = std::ranges::any_of(
        destinations_, [&](const Destination& d) { return d.address == other.address; });
    if (!repeated && destinations_.size() < kDestinationsMax) {
      destinations_.push_back(std::move(other));
    }
  }
}

}  // namespace mxring::report
