#include "cli/server_argument.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>

#include "base/text.h"
#include "cli/owned_fd.h"
#include "cli/resolver_argument.h"
#include "dns/name.h"
#include "net/socket_address.h"

namespace mxring::cli {

namespace {

using Addresses = std::vector<base::IpAddress>;

constexpr int kConnectWaitMs = 2000;

std::expected<Addresses, std::string> ask_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error != 0) return std::unexpected(std::string(::gai_strerror(error)));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(list, &::freeaddrinfo);
  Addresses addresses;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    sockaddr_storage storage{};
    if (one->ai_addrlen > sizeof storage) continue;
    std::copy_n(reinterpret_cast<const char*>(one->ai_addr), one->ai_addrlen,
                reinterpret_cast<char*>(&storage));
    const base::IpAddress address = net::from_sockaddr(storage).address;
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

std::expected<Addresses, std::string> ask_resolvers(const std::string& host,
                                                    const std::vector<std::string>& resolvers) {
  ResolverArgument argument;
  argument.servers = resolvers;
  int exit_code = 0;
  const auto resolver = open_resolver(argument, exit_code);
  if (resolver == nullptr) return std::unexpected(std::string("cannot be asked for"));
  const auto name = dns::Name::parse_escaped(host);
  if (!name) return std::unexpected(std::string("not a domain name"));
  const std::array questions{dns::Question{*name, dns::Type::kAaaa},
                             dns::Question{*name, dns::Type::kA}};
  Addresses addresses;
  std::string status;
  for (const dns::AnswerPtr& answer : resolver->ask_all(questions)) {
    addresses.insert(addresses.end(), answer->addresses.begin(), answer->addresses.end());
    status = dns::status_word(answer->status);
  }
  if (addresses.empty()) {
    return std::unexpected(fmt::format("{} from {}", status, servers_asked(argument)));
  }
  return addresses;
}

bool takes_connections(const base::Endpoint& endpoint) {
  sockaddr_storage storage{};
  const socklen_t size = net::to_sockaddr(endpoint, storage);
  const OwnedFd fd(
      ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (fd.get() < 0) return false;
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0) return true;
  if (errno != EINPROGRESS) return false;
  pollfd wait{fd.get(), POLLOUT, 0};
  int error = 0;
  socklen_t error_size = sizeof error;
  return ::poll(&wait, 1, kConnectWaitMs) == 1 &&
         ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &error_size) == 0 && error == 0;
}

}  // namespace

std::expected<ServerArgument, std::string> parse_server_argument(std::string_view text) {
  if (const auto endpoint = base::Endpoint::parse(text); endpoint && endpoint->port != 0) {
    return ServerArgument{endpoint->address.to_string(), endpoint->port};
  }
  const bool bracketed = text.starts_with('[') && text.ends_with(']');
  const std::string_view bare = bracketed ? text.substr(1, text.size() - 2) : text;
  if (base::IpAddress::parse(bare)) return ServerArgument{std::string(bare)};
  const auto refuse = [&](std::string_view why) {
    return std::unexpected(
        fmt::format("{}: {}; write mx.example.org:25, 127.0.0.1:2525, [::1]:2525 or 192.0.2.1",
                    base::escaped(text), why));
  };
  ServerArgument server{std::string(text)};
  if (const std::size_t colon = text.rfind(':'); colon != text.npos) {
    const std::string_view port = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), server.port);
    if (error != std::errc{} || end != port.data() + port.size() || server.port == 0) {
      return refuse("the port is not one from 1 to 65535");
    }
    server.host = text.substr(0, colon);
  }
  const auto name = dns::Name::parse_escaped(server.host);
  const bool digits_only = server.host.find_first_not_of("0123456789.") == std::string::npos;
  if (!name || !name->is_host_name() || digits_only) return refuse("neither an address nor a name");
  return server;
}

std::expected<base::Endpoint, std::string> find_server(const ServerArgument& server,
                                                       const std::vector<std::string>& resolvers) {
  if (const auto address = base::IpAddress::parse(server.host)) {
    return base::Endpoint{*address, server.port};
  }
  const auto addresses =
      resolvers.empty() ? ask_system(server.host) : ask_resolvers(server.host, resolvers);
  if (!addresses || addresses->empty()) {
    return std::unexpected(fmt::format("{}: no address: {}", base::escaped(server.host),
                                       addresses ? "none was found" : addresses.error()));
  }
  if (addresses->size() > 1) {
    for (const base::IpAddress& address : *addresses) {
      if (takes_connections({address, server.port})) return base::Endpoint{address, server.port};
    }
  }
  return base::Endpoint{addresses->front(), server.port};
}

}  // namespace mxring::cli
