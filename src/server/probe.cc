#include "server/probe.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/clock.h"
#include "base/text.h"
#include "dns/blocking.h"

namespace mxring::server {

namespace {

constexpr std::int64_t kResolverWaitNs = 3 * base::kNsPerSecond;

// Both forms of the client's own probe, to this server alone.
void probe_resolver(const base::Endpoint& server, ProbeReport& report) {
  auto resolver = dns::BlockingResolver::create({.servers = {server}});
  if (!resolver) {
    report.problems.push_back(fmt::format("dns.servers: {}", resolver.error()));
    return;
  }
  dns::Client& client = (*resolver)->client();
  const base::MonoTime started = base::read_clocks().mono;
  client.start(started);
  while (!client.settled() && base::read_clocks().mono - started < kResolverWaitNs) {
    (*resolver)->wait(50 * base::kNsPerMs);
  }
  const std::string address = server.to_string();
  if (!client.resolver_answers()) {
    report.problems.push_back(
        fmt::format("the DNS resolver at {} does not answer; look at dns.servers", address));
  } else if (client.servers()[0].refusing()) {
    report.problems.push_back(fmt::format(
        "the DNS resolver at {} refuses every question (REFUSED); look at its access control",
        address));
  } else {
    report.notes.push_back(
        fmt::format("the DNS resolver at {} answers{}", address,
                    client.servers()[0].takes_options() ? "" : ", and does not know EDNS"));
  }
}

void probe_resolvers(const Config& config, ProbeReport& report) {
  auto all = dns::BlockingResolver::create({.servers = config.dns.servers});
  if (!all) {
    report.problems.push_back(fmt::format("dns.servers: {}", all.error()));
    return;
  }
  for (const dns::ServerHealth& server : (*all)->client().servers()) {
    probe_resolver(server.endpoint(), report);
  }
}

// 0, or why this address cannot be listened on.
int try_bind(const base::Endpoint& endpoint) {
  const bool v4 = endpoint.address.is_v4();
  const int fd = ::socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const int on = 1;
  (void)::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in in{};
  sockaddr_in6 in6{};
  if (v4) {
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    std::memcpy(&in.sin_addr, endpoint.address.bytes().data(), 4);
  } else {
    (void)::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(endpoint.port);
    std::memcpy(&in6.sin6_addr, endpoint.address.bytes().data(), 16);
  }
  const auto* address =
      v4 ? reinterpret_cast<const sockaddr*>(&in) : reinterpret_cast<const sockaddr*>(&in6);
  const socklen_t size = v4 ? sizeof in : sizeof in6;
  int error = 0;
  if (::bind(fd, address, size) != 0 || ::listen(fd, 1) != 0) error = errno;
  ::close(fd);
  return error;
}

void probe_ports(const Config& config, ProbeReport& report) {
  const auto probe_all = [&](std::string_view key, const std::vector<base::Endpoint>& endpoints) {
    for (const base::Endpoint& endpoint : endpoints) {
      const int error = try_bind(endpoint);
      if (error == 0) continue;
      report.problems.push_back(fmt::format("{}: cannot listen on {}: {}", key,
                                            endpoint.to_string(), std::strerror(error)));
    }
  };
  probe_all("listen.smtp", config.listen.smtp);
  probe_all("listen.smtps", config.listen.smtps);
}

// The nearest folder that is there must let us write and enter.
void probe_log_directory(const Config& config, ProbeReport& report) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::absolute(config.log.dir, error);
  while (!path.empty() && !std::filesystem::exists(path, error) && path != path.root_path()) {
    path = path.parent_path();
  }
  if (::access(path.c_str(), W_OK | X_OK) == 0) return;
  report.problems.push_back(fmt::format("log.dir: no right to write in {}: {}",
                                        base::escaped(path.string()), std::strerror(errno)));
}

}  // namespace

ProbeReport probe(const Config& config) {
  ProbeReport report;
  if (config.auth.spf || config.auth.dkim || config.auth.dmarc) probe_resolvers(config, report);
  probe_ports(config, report);
  probe_log_directory(config, report);
  return report;
}

}  // namespace mxring::server
