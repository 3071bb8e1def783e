// Where a domain's reports go: the addresses in its record's rua, and for those of another
// organization the word of that organization in DNS (RFC 9990 4).
//
// DestinationCheck is a machine without I/O: step() says whether answers are needed, questions()
// which, supply() brings one, in any order. First the walks that find the organizational domains
// of the policy domain and of each destination's host, then the hosts' own records.
//
// Thread: one. Failure: none; an answer that could not be had is a state of the destination.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dns/question.h"
#include "dns/record.h"
#include "mailauth/dmarc/evaluator.h"
#include "mailauth/dmarc/record.h"

namespace mxring::report {

// More addresses than this are not looked at (RFC 9990 3.5 leaves the number to the receiver).
constexpr std::size_t kDestinationsMax = 10;

enum class Permission : std::uint8_t {
  kOwn,         // of the policy domain's own organization
  kGranted,     // another one's, which takes these reports
  kNotGranted,  // another one's, which does not say so
  kOtherHost,   // the host's record names an address of yet another host: nobody gets a report
  kUnanswered,  // DNS did not say; another time perhaps
  kUnusable,    // no mailto, or no address that can be sent to
};
std::string_view word(Permission permission);
constexpr bool may_send(Permission permission) {
  return permission == Permission::kOwn || permission == Permission::kGranted;
}

struct Destination {
  std::string uri;      // as published; untrusted bytes
  std::string address;  // for RCPT TO
  std::string host;     // its domain in A-labels
  Permission permission = Permission::kUnanswered;
};

// The addresses a record asks for, each once, the obsolete size behind one ("!10m", which RFC 9989
// 4.7 has ignored) left out, not checked yet but for those nobody can send to.
std::vector<Destination> requested(const mailauth::dmarc::Record& record);

class DestinationCheck {
 public:
  // The domain where the record was found, in A-labels.
  DestinationCheck(std::string_view policy_domain, const mailauth::dmarc::Record& record);
  ~DestinationCheck();
  DestinationCheck(DestinationCheck&&) noexcept;

  // True when done.
  bool step();
  std::span<const dns::Question> questions() const { return wanted_; }
  void supply(const dns::Question& question, const dns::AnswerPtr& answer);
  void give_up();  // what is not known by now stays kUnanswered

  const std::vector<Destination>& destinations() const { return destinations_; }

 private:
  struct Walk;
  enum class Phase : std::uint8_t { kWalks, kHosts, kDone };

  void start_walk(std::string_view domain);
  void begin_hosts();
  void settle(std::string_view host, Permission permission);
  void take_permission(std::string_view host, const dns::Answer& answer);

  std::string policy_domain_;
  std::vector<Destination> destinations_;
  std::vector<std::unique_ptr<Walk>> walks_;  // the first is the policy domain's
  std::vector<dns::Question> wanted_;
  std::map<std::string, dns::Question, std::less<>> asked_hosts_;
  Phase phase_ = Phase::kWalks;
};

}  // namespace mxring::report
