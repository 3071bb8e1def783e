#include "dns/quota.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/random.h"

namespace mxring::dns {

Quota::Quota(std::size_t max)
    : max_(static_cast<std::uint16_t>(std::min<std::size_t>(max, 0xFFFF))) {
  base::random_bytes(&seed_, sizeof seed_);
}

std::uint16_t Quota::account(const base::IpAddress& client, bool claimed) const {
  if (client.is_loopback() && !claimed) return Asker::kNobody;
  const base::IpAddress network = client.client_network();
  std::uint64_t bits = 0;
  std::memcpy(&bits, network.bytes().data(), sizeof bits);  // there is nothing behind a /64
  bits = (bits ^ seed_[0]) * 0x9E3779B97F4A7C15ULL;
  bits = (bits ^ (bits >> 32)) * (seed_[1] | 1);
  return static_cast<std::uint16_t>(bits >> (64 - kAccountBits));
}

bool Quota::take(const Asker& asker) {
  if (asker.account == Asker::kNobody) return true;
  std::uint16_t& under_way = counters(asker)[asker.account];
  MXRING_ASSERT(under_way <= max_);
  if (under_way >= max_) return false;
  ++under_way;
  ++taken_;
  return true;
}

void Quota::give_back(const Asker& asker) {
  if (asker.account == Asker::kNobody) return;
  std::uint16_t& under_way = counters(asker)[asker.account];
  MXRING_ASSERT(under_way > 0);
  --under_way;
  --taken_;
}

}  // namespace mxring::dns
