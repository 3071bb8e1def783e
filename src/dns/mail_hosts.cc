#include "dns/mail_hosts.h"

#include <algorithm>
#include <random>

namespace mxring::dns {

std::string_view mail_hosts_word(MailHostsStatus status) {
  switch (status) {
    case MailHostsStatus::kExchangers:
      return "exchangers";
    case MailHostsStatus::kFallback:
      return "fallback";
    case MailHostsStatus::kNullMx:
      return "null-mx";
    case MailHostsStatus::kNoHost:
      return "no-host";
    case MailHostsStatus::kNoName:
      return "no-such-name";
    case MailHostsStatus::kServerFailure:
      return "server-failure";
    case MailHostsStatus::kTimeout:
      return "timeout";
  }
  return "server-failure";
}

MailHosts::MailHosts(const Name& domain, std::uint64_t seed)
    : domain_(domain), seed_(seed), wanted_{{domain, Type::kMx}} {}

bool MailHosts::step() {
  if (!wanted_.empty()) return false;
  const bool any = std::ranges::any_of(hosts_, [](const auto& h) { return !h.addresses.empty(); });
  if (status_ == MailHostsStatus::kFallback && !any) {
    status_ = MailHostsStatus::kNoHost;
    hosts_.clear();
  }
  return true;
}

void MailHosts::supply(const Question& question, const AnswerPtr& answer) {
  const auto wanted = std::ranges::find(wanted_, question);
  if (wanted == wanted_.end()) return;
  wanted_.erase(wanted);
  if (question.type == Type::kMx) {
    take_exchangers(*answer);
    return;
  }
  for (MailHost& host : hosts_) {
    if (host.name != question.name) continue;
    const auto where = question.type == Type::kAaaa ? host.addresses.begin() : host.addresses.end();
    host.addresses.insert(where, answer->addresses.begin(), answer->addresses.end());
    // A host whose addresses could not be asked for is not a host without addresses.
    if (status_ == MailHostsStatus::kFallback && answer->is_failure()) {
      status_ = answer->status == Status::kTimeout ? MailHostsStatus::kTimeout
                                                   : MailHostsStatus::kServerFailure;
    }
  }
}

void MailHosts::give_up() {
  if (wanted_.empty()) return;
  wanted_.clear();
  const bool any = std::ranges::any_of(hosts_, [](const auto& h) { return !h.addresses.empty(); });
  if (!any) status_ = MailHostsStatus::kTimeout;
}

void MailHosts::take_exchangers(const Answer& answer) {
  switch (answer.status) {
    case Status::kNoName:
      status_ = MailHostsStatus::kNoName;
      return;
    case Status::kServerFailure:
      status_ = MailHostsStatus::kServerFailure;
      return;
    case Status::kTimeout:
      status_ = MailHostsStatus::kTimeout;
      return;
    case Status::kNoData:
      status_ = MailHostsStatus::kFallback;
      hosts_ = {{0, domain_, {}}};
      ask_addresses();
      return;
    case Status::kAnswer:
      break;
  }
  if (answer.exchangers.size() == 1 && answer.exchangers[0].name.is_root()) {
    status_ = MailHostsStatus::kNullMx;
    return;
  }
  status_ = MailHostsStatus::kExchangers;
  for (const Exchanger& exchanger : answer.exchangers) {
    if (!exchanger.name.is_root()) hosts_.push_back({exchanger.preference, exchanger.name, {}});
  }
  std::mt19937_64 random(seed_);
  std::ranges::shuffle(hosts_, random);
  // Insertion keeps the order of equals, and there are few.
  for (auto host = hosts_.begin(); host != hosts_.end(); ++host) {
    std::rotate(
        std::ranges::upper_bound(hosts_.begin(), host, host->preference, {}, &MailHost::preference),
        host, host + 1);
  }
  if (hosts_.size() > kHostsMax) hosts_.resize(kHostsMax);
  ask_addresses();
}

void MailHosts::ask_addresses() {
  for (const MailHost& host : hosts_) {
    for (const Type type : {Type::kAaaa, Type::kA}) {
      const Question question{host.name, type};
      if (std::ranges::find(wanted_, question) == wanted_.end()) wanted_.push_back(question);
    }
  }
}

}  // namespace mxring::dns
