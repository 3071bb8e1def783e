#include "dns/transport.h"

#include <ares.h>
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/assert.h"
#include "base/random.h"

namespace mxring::dns {

namespace {

constexpr int kTries = 2;  // per server

using ServerList = std::vector<ares_addr_port_node>;

ServerList servers_from(const std::vector<base::Endpoint>& endpoints) {
  ServerList servers;
  for (const base::Endpoint& endpoint : endpoints) {
    ares_addr_port_node node{};
    node.family = endpoint.address.is_v4() ? AF_INET : AF_INET6;
    std::memcpy(&node.addr, endpoint.address.bytes().data(), endpoint.address.is_v4() ? 4 : 16);
    node.udp_port = node.tcp_port = endpoint.port;
    servers.push_back(node);
  }
  return servers;
}

// What c-ares read from resolv.conf.
ServerList servers_of(ares_channeldata* channel) {
  ServerList servers;
  ares_addr_port_node* list = nullptr;
  if (ares_get_servers_ports(channel, &list) != ARES_SUCCESS) return servers;
  for (const auto* node = list; node != nullptr; node = node->next) servers.push_back(*node);
  if (list != nullptr) ares_free_data(list);
  return servers;
}

base::Endpoint endpoint_of(const ares_addr_port_node& node) {
  constexpr std::uint16_t kDnsPort = 53;
  const std::uint16_t port =
      node.udp_port == 0 ? kDnsPort : static_cast<std::uint16_t>(node.udp_port);
  if (node.family == AF_INET) {
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &node.addr, bytes.size());
    return {base::IpAddress::v4(bytes), port};
  }
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &node.addr, bytes.size());
  return {base::IpAddress::v6(bytes), port};
}

int set_servers(ares_channeldata* channel, ServerList servers, std::size_t first) {
  MXRING_ASSERT(first < servers.size() || (first == 0 && servers.empty()));
  std::rotate(servers.begin(), servers.begin() + static_cast<std::ptrdiff_t>(first), servers.end());
  for (std::size_t i = 0; i < servers.size(); ++i) {
    servers[i].next = i + 1 < servers.size() ? &servers[i + 1] : nullptr;
  }
  return ares_set_servers_ports(channel, servers.data());
}

}  // namespace

struct Transport::Channel {
  Transport* transport = nullptr;
  ares_channeldata* handle = nullptr;

  Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  // Returns every query.
  ~Channel() {
    if (handle != nullptr) ares_destroy(handle);
  }
};

Transport::Transport(std::int64_t timeout_ns, SocketWatcher& watcher)
    : watcher_(watcher), timeout_ns_(timeout_ns) {}

Transport::~Transport() {
  closing_ = true;
  channels_.clear();
  tcp_channels_.clear();
  MXRING_ASSERT(with_ares_ == 0);
}

std::expected<std::unique_ptr<Transport>, std::string> Transport::create(
    const std::vector<base::Endpoint>& servers, std::int64_t timeout_ns, SocketWatcher& watcher) {
  static std::once_flag once;
  static int library = ARES_SUCCESS;
  std::call_once(once, [] { library = ares_library_init(ARES_LIB_INIT_ALL); });
  if (library != ARES_SUCCESS) return std::unexpected(std::string(ares_strerror(library)));
  std::unique_ptr<Transport> transport(new Transport(timeout_ns, watcher));
  if (auto opened = transport->open(servers); !opened) return std::unexpected(opened.error());
  return transport;
}

std::expected<std::unique_ptr<Transport::Channel>, std::string> Transport::open_channel(
    std::size_t servers, bool tcp) {
  auto channel = std::make_unique<Channel>();
  channel->transport = this;
  ares_options config{};
  // Replies with an error code come to us: c-ares would ask the same server again. Its EDNS flag is
  // for the size of what it takes over UDP; the option record is ours.
  config.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP | ARES_FLAG_EDNS |
                 (tcp ? ARES_FLAG_USEVC : 0);
  // Each retry waits twice as long as the one before, server after server; all of them together
  // fit into the timeout.
  const auto rounds =
      static_cast<std::int64_t>(((1U << kTries) - 1) * std::max<std::size_t>(servers, 1));
  config.timeout =
      static_cast<int>(std::clamp<std::int64_t>(timeout_ns_ / rounds / base::kNsPerMs, 50, 60'000));
  config.tries = kTries;
  config.ednspsz = kUdpBytesMax;
  config.sock_state_cb = &Transport::on_socket;
  config.sock_state_cb_data = channel.get();
  char lookups[] = "b";
  config.lookups = lookups;
  const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
                   ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS | ARES_OPT_NOROTATE;
  const int status = ares_init_options(&channel->handle, &config, mask);
  if (status != ARES_SUCCESS) return std::unexpected(std::string(ares_strerror(status)));
  return channel;
}

std::expected<void, std::string> Transport::open(const std::vector<base::Endpoint>& endpoints) {
  ServerList servers = servers_from(endpoints);
  for (std::size_t i = 0; i == 0 || i < servers.size(); ++i) {
    auto channel = open_channel(servers.size(), false);
    if (!channel) return std::unexpected(channel.error());
    ares_channeldata* handle = channels_.emplace_back(*std::move(channel))->handle;
    if (servers.empty()) servers = servers_of(handle);
    if (servers.empty()) return std::unexpected(std::string("no DNS server is configured"));
    const int set = set_servers(handle, servers, i);
    if (set != ARES_SUCCESS) return std::unexpected(std::string(ares_strerror(set)));
  }
  for (const ares_addr_port_node& node : servers) servers_.push_back(endpoint_of(node));
  tcp_channels_.resize(channels_.size());
  MXRING_ASSERT(servers_.size() == channels_.size());
  return {};
}

// Nothing when it cannot be had.
Transport::Channel* Transport::tcp_channel(std::size_t index) {
  MXRING_ASSERT(index < tcp_channels_.size() && tcp_channels_.size() == channels_.size());
  std::unique_ptr<Channel>& tcp = tcp_channels_[index];
  if (tcp != nullptr) return tcp.get();
  ServerList servers = servers_of(channels_[index]->handle);
  auto made = open_channel(servers.size(), true);
  if (!made || set_servers((*made)->handle, std::move(servers), 0) != ARES_SUCCESS) return nullptr;
  tcp = *std::move(made);
  return tcp.get();
}

void Transport::on_socket(void* channel, int fd, int readable, int writable) {
  auto& from = *static_cast<Channel*>(channel);
  auto& sockets = from.transport->sockets_;
  const auto known = std::ranges::find(sockets, fd, &Socket::fd);
  const bool open = readable != 0 || writable != 0;
  if (open && known == sockets.end()) {
    sockets.push_back({fd, &from});
  } else if (!open && known != sockets.end()) {
    sockets.erase(known);
  }
  from.transport->watcher_.watch(fd, readable != 0, writable != 0);
}

// Inside c-ares: only take what has come.
void Transport::on_reply(void* argument, int /*status*/, int timeouts, unsigned char* bytes,
                         int size) {
  std::unique_ptr<Query> query(static_cast<Query*>(argument));
  Transport& transport = *query->transport;
  MXRING_ASSERT(transport.with_ares_ != 0);
  --transport.with_ares_;
  if (transport.closing_) return;
  query->timed_out = timeouts > 0;
  if (bytes != nullptr && size > 0) {
    const std::span message{bytes, static_cast<std::size_t>(size)};
    query->reply = parse_reply(message, query->question);
    query->repeats_question = repeats_question(message, query->question, query->capitals);
  }
  transport.returned_.push_back(std::move(query));
}

void Transport::send(std::unique_ptr<Query> query) {
  MXRING_ASSERT(query->server < channels_.size() && !query->reply);
  query->transport = this;
  Channel* channel = query->tcp ? tcp_channel(query->server) : nullptr;
  query->tcp = channel != nullptr;
  if (channel == nullptr) channel = channels_[query->server].get();
  std::uint16_t id = 0;
  base::random_bytes(&id, sizeof id);
  base::random_bytes(&query->capitals, sizeof query->capitals);
  std::array<std::uint8_t, kQueryBytesMax> bytes;
  const std::size_t size = write_query(query->question, id, query->capitals, query->options, bytes);
  ++with_ares_;
  ares_send(channel->handle, bytes.data(), static_cast<int>(size), &Transport::on_reply,
            query.release());
}

void Transport::on_ready(int fd, bool readable, bool writable) {
  const auto socket = std::ranges::find(sockets_, fd, &Socket::fd);
  if (socket == sockets_.end()) return;
  ares_process_fd(socket->channel->handle, readable ? fd : ARES_SOCKET_BAD,
                  writable ? fd : ARES_SOCKET_BAD);
}

void Transport::on_tick() {
  for (const auto* channels : {&channels_, &tcp_channels_}) {
    for (const auto& channel : *channels) {
      if (channel != nullptr) {
        ares_process_fd(channel->handle, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
      }
    }
  }
}

void Transport::take_returned(std::vector<std::unique_ptr<Query>>& out) {
  MXRING_ASSERT(!closing_);
  out.clear();
  out.swap(returned_);
}

}  // namespace mxring::dns
