// How many questions each client of ours has under way: a fixed table of counters, so that its size
// does not depend on who connects. Networks that share a counter share its quota; which ones do is
// different in every process, so nobody can aim at another's.
//
// Thread: one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/ip_address.h"

namespace mxring::dns {

// On whose behalf a question is asked, and what for.
struct Asker {
  static constexpr std::uint16_t kNobody = 0xFFFF;
  std::uint16_t account = kNobody;  // Quota::account(); nobody's questions are not counted
  bool policy = false;              // it is DMARC that asks
};

class Quota {
 public:
  explicit Quota(std::size_t max);

  // The account of a client: of its address, or of its IPv6 /64. Loopback has none, unless it is
  // only claimed: somebody else said that the client has this address.
  std::uint16_t account(const base::IpAddress& client, bool claimed = false) const;
  // False when as many are under way as may be. DMARC's questions are counted apart.
  [[nodiscard]] bool take(const Asker& asker);
  void give_back(const Asker& asker);
  std::size_t taken() const { return taken_; }

 private:
  static constexpr unsigned kAccountBits = 12;
  using Counters = std::array<std::uint16_t, std::size_t{1} << kAccountBits>;
  Counters& counters(const Asker& asker) { return asker.policy ? policy_ : other_; }

  std::uint16_t max_;
  std::size_t taken_ = 0;  // of all
  std::array<std::uint64_t, 2> seed_{};
  Counters other_{};
  Counters policy_{};
};

}  // namespace mxring::dns
