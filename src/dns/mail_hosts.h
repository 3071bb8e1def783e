// Where mail for a domain is delivered (RFC 5321 5.1, RFC 7505): the exchangers in the order in
// which they are tried, each with its addresses; the domain's own addresses when it has no MX
// record; or the domain's word that it takes no mail.
//
// A machine without I/O: step() says whether answers are needed, questions() which, supply() brings
// one, in any order. Exchangers of equal preference are shuffled with the seed.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "dns/question.h"
#include "dns/record.h"

namespace mxring::dns {

enum class MailHostsStatus : std::uint8_t {
  kExchangers,     // MX records
  kFallback,       // none: the domain's own addresses
  kNullMx,         // the domain takes no mail
  kNoHost,         // the name exists, with neither MX nor addresses
  kNoName,         // no such name
  kServerFailure,  // worth trying again later
  kTimeout,        // the same
};

std::string_view mail_hosts_word(MailHostsStatus status);

struct MailHost {
  std::uint16_t preference = 0;
  Name name;
  std::vector<base::IpAddress> addresses;  // IPv6 first; empty when it has none
};

class MailHosts {
 public:
  static constexpr std::size_t kHostsMax = 20;  // the most preferred ones

  MailHosts(const Name& domain, std::uint64_t seed);

  // True when done.
  bool step();
  std::span<const Question> questions() const { return wanted_; }
  void supply(const Question& question, const AnswerPtr& answer);
  void give_up();  // no more answers will come

  MailHostsStatus status() const { return status_; }
  const std::vector<MailHost>& hosts() const { return hosts_; }

 private:
  void take_exchangers(const Answer& answer);
  void ask_addresses();

  Name domain_;
  std::uint64_t seed_;
  MailHostsStatus status_ = MailHostsStatus::kTimeout;
  std::vector<MailHost> hosts_;
  std::vector<Question> wanted_;
};

}  // namespace mxring::dns
