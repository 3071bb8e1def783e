// Delivers letters in attempts: for each recipient's domain the hosts that take its mail (MX in
// order of preference, the domain's own addresses without one, nobody with a null MX), then a
// courier; what was put off is tried again after a wait that doubles.
//
// Thread: the caller's; it blocks for as long as the attempts take. Failure: none of its own; a
// letter that could not be delivered says why.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "dns/blocking.h"
#include "report/courier.h"
#include "report/letter.h"

namespace mxring::report {

struct DeliveryOptions {
  std::uint16_t port = 25;
  std::uint32_t attempts = 4;
  std::int64_t retry_after_ns = 120 * base::kNsPerSecond;  // doubled after each attempt
  std::int64_t retry_after_max_ns = 3600 * base::kNsPerSecond;
};

struct DeliveryEvents {
  std::function<void(const Letter&)> decided;
  // Before a wait: how many letters are tried again, and when.
  std::function<void(std::size_t letters, std::int64_t wait_ns)> waiting;
};

// `seed` shuffles exchangers of equal preference.
void deliver(std::vector<Letter>& letters, const DeliveryOptions& options,
             dns::BlockingResolver& resolver, Courier& courier, std::uint64_t seed,
             const DeliveryEvents& events);

}  // namespace mxring::report
