#include "report/delivery.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <thread>

#include "base/assert.h"
#include "base/clock.h"
#include "base/units.h"
#include "dns/ask.h"
#include "dns/mail_hosts.h"

namespace mxring::report {

namespace {

// Addresses tried for one domain in one attempt.
constexpr std::size_t kStopsMax = 16;
// Questions of one batch; the resolver's client refuses thousands at once.
constexpr std::size_t kDomainsAtOnce = 64;
static_assert(kStopsMax > 0 && kDomainsAtOnce > 0);

struct Domain {
  dns::MailHosts hosts;
  std::vector<Letter*> letters;
};

using Domains = std::map<std::string, Domain, std::less<>>;

constexpr std::int64_t kResolvingTimeNs = 300 * base::kNsPerSecond;

void resolve(std::span<Domain*> domains, dns::BlockingResolver& resolver) {
  std::vector<dns::MailHosts*> hosts;
  for (Domain* domain : domains) hosts.push_back(&domain->hosts);
  MXRING_ASSERT(hosts.size() == domains.size() && hosts.size() <= kDomainsAtOnce);
  dns::ask_until_done(std::span<dns::MailHosts* const>(hosts), resolver, base::read_clocks().mono,
                      kResolvingTimeNs);
}

void settle(Domain& domain, Fate fate, std::string_view why, const DeliveryEvents& events) {
  for (Letter* letter : domain.letters) {
    MXRING_ASSERT(letter->fate == Fate::kUndecided && fate != Fate::kUndecided);
    letter->fate = fate;
    letter->code = 0;
    letter->server.clear();
    letter->tls.clear();
    letter->reply = why;
    events.decided(*letter);
  }
}

std::vector<Stop> stops_of(const dns::MailHosts& hosts, std::uint16_t port) {
  std::vector<Stop> stops;
  for (const dns::MailHost& host : hosts.hosts()) {
    for (const base::IpAddress& address : host.addresses) {
      if (stops.size() < kStopsMax) stops.push_back({{address, port}, host.name.to_text()});
    }
  }
  MXRING_ASSERT(stops.size() <= kStopsMax);
  return stops;
}

// The route for a domain's letters; without stops when they are settled already.
Route route_of(Domain& domain, std::uint16_t port, const DeliveryEvents& events) {
  using Status = dns::MailHostsStatus;
  switch (domain.hosts.status()) {
    case Status::kNullMx:
      settle(domain, Fate::kRefused, "the domain takes no mail (null MX, RFC 7505)", events);
      return {};
    case Status::kNoHost:
      settle(domain, Fate::kRefused, "the domain has neither MX records nor addresses", events);
      return {};
    case Status::kNoName:
      settle(domain, Fate::kRefused, "no such domain", events);
      return {};
    case Status::kServerFailure:
    case Status::kTimeout:
      settle(domain, Fate::kPutOff, "DNS did not answer for the domain's mail servers", events);
      return {};
    case Status::kExchangers:
    case Status::kFallback:
      break;
  }
  Route route{stops_of(domain.hosts, port), domain.letters};
  if (route.stops.empty()) {
    settle(domain, Fate::kPutOff, "the domain's mail servers have no address", events);
  }
  return route;
}

void attempt(std::vector<Letter*>& letters, const DeliveryOptions& options,
             dns::BlockingResolver& resolver, Courier& courier, std::uint64_t seed,
             const DeliveryEvents& events) {
  Domains domains;
  for (Letter* letter : letters) {
    letter->fate = Fate::kUndecided;
    ++letter->attempts;
    MXRING_ASSERT(!letter->rcpt_to.empty());
    const auto name = dns::Name::parse(letter->host);
    if (!name || name->is_root()) {
      letter->fate = Fate::kRefused;
      letter->reply = "not a domain name";
      events.decided(*letter);
      continue;
    }
    auto found = domains.find(letter->host);
    if (found == domains.end()) {
      found = domains.emplace(letter->host, Domain{dns::MailHosts(*name, seed), {}}).first;
    }
    found->second.letters.push_back(letter);
  }
  MXRING_ASSERT(domains.size() <= letters.size());
  std::vector<Domain*> all;
  for (auto& [name, domain] : domains) all.push_back(&domain);
  for (std::size_t at = 0; at < all.size(); at += kDomainsAtOnce) {
    resolve(std::span(all).subspan(at, std::min(kDomainsAtOnce, all.size() - at)), resolver);
  }
  std::vector<Route> routes;
  for (Domain* domain : all) {
    Route route = route_of(*domain, options.port, events);
    if (!route.stops.empty()) routes.push_back(std::move(route));
  }
  MXRING_ASSERT(routes.size() <= all.size());
  courier.run(routes, [&](Letter& letter) { events.decided(letter); });
}

}  // namespace

void deliver(std::vector<Letter>& letters, const DeliveryOptions& options,
             dns::BlockingResolver& resolver, Courier& courier, std::uint64_t seed,
             const DeliveryEvents& events) {
  std::vector<Letter*> left;
  for (Letter& letter : letters) left.push_back(&letter);
  std::int64_t wait_ns = options.retry_after_ns;
  for (std::uint32_t tries = 1; !left.empty(); ++tries) {
    attempt(left, options, resolver, courier, seed + tries, events);
    std::erase_if(left, [](const Letter* letter) { return letter->fate != Fate::kPutOff; });
    if (left.empty() || tries >= options.attempts) return;
    if (events.waiting) events.waiting(left.size(), wait_ns);
    std::this_thread::sleep_for(std::chrono::nanoseconds(wait_ns));
    MXRING_ASSERT(wait_ns >= 0);
    wait_ns = std::min(2 * wait_ns, options.retry_after_max_ns);
  }
}

}  // namespace mxring::report
