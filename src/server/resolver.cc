#include "server/resolver.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <utility>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::server {

namespace {

// Those asked, as the operator knows them.
std::string server_names(const Config& config) {
  std::vector<std::string> names;
  for (const base::Endpoint& server : config.dns.servers) names.push_back(server.to_string());
  if (config.dns.servers.empty()) {
    std::ifstream file("/etc/resolv.conf");
    for (std::string word; file >> word;) {
      if (word == "nameserver" && file >> word) names.push_back(base::escaped(word));
    }
  }
  return fmt::format("{}", fmt::join(names, " or "));
}

}  // namespace

ResolverHealth::ResolverHealth(const Config& config, Notice notice)
    : notice_(std::move(notice)), servers_(server_names(config)) {
  if (!servers_.empty()) servers_ = " at " + servers_;
}

void ResolverHealth::on_change(bool answering) {
  if (answering && silent_.fetch_sub(1, std::memory_order_relaxed) == 1) {
    notice_(fmt::format("the DNS resolver{} answers again", servers_));
  } else if (!answering && silent_.fetch_add(1, std::memory_order_relaxed) == 0) {
    notice_(fmt::format(
        "warning: the DNS resolver{} does not answer; mail is accepted, but what SPF, DKIM and "
        "DMARC ask for is a temperror until it does; look at dns.servers or /etc/resolv.conf",
        servers_));
  }
}

void ResolverHealth::on_refusing(const base::Endpoint& server, bool refusing) {
  const std::string address = server.to_string();
  bool news = false;
  {
    const std::lock_guard lock(mutex_);
    std::uint32_t& shards = refusing_[address];
    MXRING_ASSERT(refusing || shards > 0);
    news = refusing ? shards++ == 0 : --shards == 0;
  }
  if (news && refusing) {
    notice_(fmt::format(
        "warning: the DNS resolver at {} refuses every question (REFUSED); look at its access "
        "control, or name another in dns.servers; until then what it is asked for SPF, DKIM and "
        "DMARC is a temperror",
        address));
  } else if (news) {
    notice_(fmt::format("the DNS resolver at {} answers our questions again", address));
  }
}

std::expected<std::unique_ptr<Resolver>, std::string> Resolver::create(const Config& config,
                                                                       uring::Ring& ring,
                                                                       ResolverHealth& health) {
  std::unique_ptr<Resolver> resolver(new Resolver(ring, health));
  dns::ClientOptions options;
  options.servers = config.dns.servers;
  options.timeout_ns = config.dns.timeout_ns;
  options.cache_bytes_max = config.limits.dns_cache_bytes;
  options.outstanding_max = config.limits.dns_outstanding;
  options.outstanding_per_client_max = config.limits.dns_outstanding_per_ip;
  auto client = dns::Client::create(options, *resolver, resolver.get());
  if (!client) return std::unexpected(client.error());
  resolver->client_ = std::move(*client);
  return resolver;
}

void Resolver::arm(std::uint32_t slot) {
  const Watched& watched = watched_[slot];
  ring_.poll(watched.fd, watched.events, {uring::Operation::kPoll, watched.generation, slot});
}

void Resolver::watch(int fd, bool readable, bool writable) {
  const std::uint32_t events = (readable ? POLLIN : 0U) | (writable ? POLLOUT : 0U);
  auto at = std::ranges::find(watched_, fd, &Watched::fd);
  if (at == watched_.end()) {
    if (events == 0) return;
    at = std::ranges::find(watched_, -1, &Watched::fd);
    if (at == watched_.end()) at = watched_.insert(watched_.end(), Watched{});
  } else if (at->events == events) {
    return;
  } else {
    const auto old_slot = static_cast<std::uint32_t>(at - watched_.begin());
    ring_.poll_remove({uring::Operation::kPoll, at->generation, old_slot}, uring::Tag{});
  }
  at->generation = (at->generation + 1) & 0xFFFFFF;
  at->fd = events == 0 ? -1 : fd;
  at->events = events;
  if (events != 0) arm(static_cast<std::uint32_t>(at - watched_.begin()));
}

void Resolver::on_poll(const uring::Completion& completion, base::MonoTime now) {
  const uring::Tag tag = completion.tag;
  if (tag.slot >= watched_.size() || watched_[tag.slot].generation != tag.generation ||
      watched_[tag.slot].fd < 0) {
    return;  // of a socket that has been closed
  }
  const int fd = watched_[tag.slot].fd;
  if (completion.result > 0) {
    const auto ready = static_cast<std::uint32_t>(completion.result);
    const bool broken = (ready & (POLLERR | POLLHUP)) != 0;
    client_->on_ready(fd, (ready & POLLIN) != 0 || broken, (ready & POLLOUT) != 0, now);
  }
  // The socket may have been closed meanwhile.
  const Watched& watched = watched_[tag.slot];
  if (watched.fd == fd && watched.generation == tag.generation) arm(tag.slot);
}

void Resolver::on_turn(base::MonoTime now) {
  if (client_->next_timer() <= now) client_->on_timer(now);
}

std::int64_t Resolver::wait_ns(base::MonoTime now) const {
  const base::MonoTime next = client_->next_timer();
  if (next.ns == std::numeric_limits<std::int64_t>::max()) return -1;
  return std::max<std::int64_t>(next - now, 0);
}

void Resolver::on_resolver(bool answering) {
  health_.on_change(answering);
}

void Resolver::on_refusing(const base::Endpoint& server, bool refusing) {
  health_.on_refusing(server, refusing);
}

}  // namespace mxring::server
