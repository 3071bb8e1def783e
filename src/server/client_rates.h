// How much one client (IPv4 address, IPv6 /64) has sent within a minute, counted over all shards:
// connections, messages, recipients. What counts is bounded: when the table is full, whoever was
// heard of longest ago is forgotten.
//
// A minute is the half minute of the clock under way and the one before: who sends steadily gets
// the limit each minute, and no sixty seconds let more than twice the limit pass.
//
// Thread: any; one lock for each of kParts parts of the clients, taken for a few dozen nanoseconds
// a connection, message or recipient, and only where a rate is set.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <unordered_map>

#include "base/clock.h"
#include "base/ip_address.h"

namespace mxring::server {

enum class RateKind : std::uint8_t { kConnections, kMessages, kRecipients };

class ClientRates {
 public:
  static constexpr std::size_t kParts = 16;
  // 65,536 clients in about 10 MiB; a /64 or address beyond them starts anew.
  static constexpr std::size_t kClientsMax = 65'536;

  // Counts one more, or says that it would be one too many (and does not count it). A limit of 0:
  // this kind is not counted.
  [[nodiscard]] bool take(RateKind kind, const base::IpAddress& client, std::uint32_t limit,
                          base::MonoTime now);
  std::size_t clients() const;

 private:
  static constexpr std::int64_t kHalfNs = 30 * base::kNsPerSecond;
  static constexpr std::size_t kKinds = 3;

  struct Entry {
    base::IpAddress client;
    std::int64_t half = 0;  // number of the half minute that `now` counts
    std::array<std::uint32_t, kKinds> now{};
    std::array<std::uint32_t, kKinds> before{};
  };
  struct Part {
    mutable std::mutex mutex;
    std::list<Entry> entries;  // heard of last first
    std::unordered_map<base::IpAddress, std::list<Entry>::iterator, base::IpAddressHash> by_client;
  };

  Entry& entry_of(Part& part, const base::IpAddress& client);

  base::IpAddressHash spread_;
  std::array<Part, kParts> parts_;
};

}  // namespace mxring::server
