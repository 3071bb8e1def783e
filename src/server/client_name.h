// The forward-confirmed reverse name of a client (RFC 8601 2.7.3, iprev): a PTR name of its address
// that leads back to that address. Asked for when the client connects and used if it is known by
// the end of its message; nobody waits for it.
//
// Thread: the shard's. Failure: no name.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"
#include "dns/client.h"

namespace mxring::server {

class ClientName final : private dns::Waiter {
 public:
  // Names looked at; nobody needs more, and anybody may publish many.
  static constexpr std::size_t kNamesMax = 4;

  explicit ClientName(dns::Client& client) : client_(client) {}

  void begin(const base::IpAddress& address, base::MonoTime now, bool claimed = false);
  void stop();
  bool under_way() const { return waiting(); }
  // Empty until it is known, and when there is none.
  const std::string& name() const { return name_; }

 private:
  void on_answer(const dns::Question& question, const dns::AnswerPtr& answer) override;
  void take(const dns::AnswerPtr& answer, base::MonoTime now);
  // Asks for the addresses of the next name, and of those after it while the cache knows them.
  void confirm(base::MonoTime now);
  dns::Asker asker() const { return {.account = account_, .policy = false}; }

  dns::Client& client_;
  std::uint16_t account_ = dns::Asker::kNobody;
  base::IpAddress address_;
  std::vector<dns::Name> names_;
  std::size_t at_ = 0;
  bool have_names_ = false;
  std::string name_;
};

}  // namespace mxring::server
