#include "server/client_rates.h"

#include "base/assert.h"

namespace mxring::server {

ClientRates::Entry& ClientRates::entry_of(Part& part, const base::IpAddress& client) {
  if (const auto found = part.by_client.find(client); found != part.by_client.end()) {
    part.entries.splice(part.entries.begin(), part.entries, found->second);
    return part.entries.front();
  }
  if (part.by_client.size() < kClientsMax / kParts) {
    part.entries.emplace_front();
  } else {
    MXRING_ASSERT(!part.entries.empty());
    MXRING_ASSERT(part.by_client.contains(part.entries.back().client));
    part.by_client.erase(part.entries.back().client);
    part.entries.splice(part.entries.begin(), part.entries, std::prev(part.entries.end()));
    part.entries.front() = Entry{};
  }
  part.entries.front().client = client;
  part.by_client.emplace(client, part.entries.begin());
  MXRING_ASSERT(part.by_client.size() == part.entries.size());
  return part.entries.front();
}

bool ClientRates::take(RateKind kind, const base::IpAddress& client, std::uint32_t limit,
                       base::MonoTime now) {
  const auto at = static_cast<std::size_t>(kind);
  if (limit == 0) return true;
  const base::IpAddress network = client.client_network();
  Part& part = parts_[spread_(network) % kParts];
  const std::lock_guard lock(part.mutex);
  Entry& entry = entry_of(part, network);
  const std::int64_t half = now.ns / kHalfNs;
  if (half != entry.half) {
    entry.before = half == entry.half + 1 ? entry.now : std::array<std::uint32_t, kKinds>{};
    entry.now = {};
    entry.half = half;
  }
  if (std::uint64_t{entry.now[at]} + entry.before[at] >= limit) return false;
  MXRING_ASSERT(entry.client == network && at < entry.now.size());
  ++entry.now[at];
  return true;
}

std::size_t ClientRates::clients() const {
  std::size_t count = 0;
  for (const Part& part : parts_) {
    const std::lock_guard lock(part.mutex);
    count += part.by_client.size();
  }
  return count;
}

}  // namespace mxring::server
