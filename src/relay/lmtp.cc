// The sink that is an LMTP server: one transaction at a time on each connection, a reply for each
// recipient, and notes on disk of those who have it (lmtp_notes.h). A reply that does not come
// leaves its recipients to another attempt; nobody whose 2xx was noted is asked again.
//
// Thread: the relay's; names are resolved on it.
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <system_error>

#include "base/assert.h"
#include "base/ip_address.h"
#include "base/owned_fd.h"
#include "base/text.h"
#include "relay/config_check.h"
#include "relay/fault_seam.h"
#include "relay/lmtp_client.h"
#include "relay/lmtp_notes.h"
#include "relay/sink.h"

namespace mxring::relay {

namespace {

constexpr std::int64_t kIdleNs = 30 * base::kNsPerSecond;

std::string own_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

// As delivered, but for Return-Path: who delivers finally adds that (RFC 5321 4.4).
std::string content_of(const Record& record) {
  std::string out = record.delivered();
  constexpr std::string_view kField = "Return-Path:";
  if (record.trace.size() < kField.size() ||
      !base::ascii_iequals(std::string_view(out).substr(0, kField.size()), kField)) {
    return out;
  }
  std::size_t end = out.find('\n');
  while (end != std::string::npos && end + 1 < out.size() &&
         (out[end + 1] == ' ' || out[end + 1] == '\t')) {
    end = out.find('\n', end + 1);
  }
  if (end != std::string::npos) out.erase(0, end + 1);
  return out;
}

bool is_this_host(const std::string& host) {
  const auto address = base::IpAddress::parse(host);
  return host == "localhost" || (address && address->is_loopback());
}

struct Connected {
  base::OwnedFd fd;
  std::string error;
};

Connected connect_to(const sockaddr* address, socklen_t length) {
  Connected made;
  made.fd =
      base::OwnedFd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (address->sa_family != AF_UNIX) {
    ::setsockopt(made.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  if (!made.fd.valid() ||
      (::connect(made.fd.get(), address, length) != 0 && errno != EINPROGRESS)) {
    made.error = std::system_category().message(errno);
  }
  return made;
}

Connected connect_to(const PeerAddress& peer) {
  if (!peer.unix_path.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, peer.unix_path.data(), peer.unix_path.size());
    return connect_to(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(peer.host.c_str(), peer.port.c_str(), &hints, &found);
  if (failed != 0) return {base::OwnedFd(), ::gai_strerror(failed)};
  Connected made;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    made = connect_to(one->ai_addr, one->ai_addrlen);
    if (made.error.empty()) break;
  }
  ::freeaddrinfo(found);
  return made;
}

class Lmtp : public Sink {
 public:
  Lmtp(const Config& config, LmtpNotes notes)
      : config_(config.lmtp),
        peer_(*parse_peer(config.lmtp.address)),
        name_(own_name()),
        notes_(std::move(notes)),
        connections_(config.lmtp.connections) {}

  void shape(EngineOptions& options) const override {
    options.under_way_max = config_.connections;
    options.order = config_.connections > 1 ? Order::kLane : Order::kOffset;
    if (config_.connections == 1) options.window_records = 8;
  }
  void begin(Ticket ticket, Item& item, base::Now now) override;
  void add_waits(std::vector<pollfd>& waits) override;
  std::optional<base::MonoTime> due() const override;
  void work(base::Now now) override;
  void before_commit(Offset, seglog::CursorFields&) override { (void)notes_.sync(); }
  void committed(Offset next) override { (void)notes_.committed(next); }
  void abandon() override;

 private:
  struct Connection {
    base::OwnedFd fd;
    std::optional<LmtpClient> client;
    bool busy = false;
    Ticket ticket;
    Item* item = nullptr;
    base::MonoTime begun;
    base::MonoTime until;              // of what is waited for
    std::vector<std::uint32_t> asked;  // recipients of this attempt, as their notes name them
  };
  bool single() const { return config_.recipients != "as-received"; }
  std::vector<std::uint32_t> outstanding(const Item& item) const;
  void drive(Connection& connection, base::Now now);
  void note(const Connection& connection);
  bool exchange(Connection& connection, base::Now now);
  void start(Connection& connection, base::Now now);
  void finish(Connection& connection, base::Now now);
  void conclude(Connection& connection, Outcome outcome);
  void refuse(Connection& connection, const std::string& why);
  void close(Connection& connection) {
    connection.client.reset();
    connection.fd = base::OwnedFd();
  }

  LmtpConfig config_;
  PeerAddress peer_;
  std::string name_;
  LmtpNotes notes_;
  std::vector<Connection> connections_;
  // Refused for good, of records that others of their recipients are still to get.
  std::map<Offset, std::map<std::uint32_t, std::string>> refused_;
};

// Recipients who neither have it nor are never to have it.
std::vector<std::uint32_t> Lmtp::outstanding(const Item& item) const {
  const Offset offset = item.record().offset;
  std::vector<std::uint32_t> left;
  if (single()) {
    if (!notes_.has(offset, LmtpNotes::kAll)) left.push_back(LmtpNotes::kAll);
    return left;
  }
  const auto refused = refused_.find(offset);
  for (const std::uint32_t index : item.recipients()) {
    if (notes_.has(offset, index)) continue;
    if (refused == refused_.end() || !refused->second.contains(index)) left.push_back(index);
  }
  return left;
}

void Lmtp::begin(Ticket ticket, Item& item, base::Now now) {
  const auto free = std::ranges::find_if(connections_, [](const auto& one) { return !one.busy; });
  MXRING_ASSERT(free != connections_.end());
  Connection& connection = *free;
  connection.busy = true;
  connection.ticket = ticket;
  connection.item = &item;
  connection.begun = now.mono;
  connection.until = now.mono + config_.timeout_ns;
  connection.asked = outstanding(item);
  if (connection.asked.empty()) return finish(connection, now);
  const Record& record = item.record();
  if (record.requiretls && peer_.unix_path.empty() && !is_this_host(peer_.host)) {
    return refuse(connection, "550 5.7.30 REQUIRETLS (RFC 8689), and LMTP has no TLS here");
  }
  if (!connection.client) {
    Connected made = connect_to(peer_);
    if (!made.error.empty()) {
      Outcome outcome;
      outcome.kind = Outcome::Kind::kLater;
      outcome.reply = fmt::format("{}: {}", config_.address, made.error);
      return conclude(connection, std::move(outcome));
    }
    connection.fd = std::move(made.fd);
    connection.client.emplace(name_);
  }
  drive(connection, now);
}

// Everybody who was to be asked is refused for good.
void Lmtp::refuse(Connection& connection, const std::string& why) {
  const Offset offset = connection.item->record().offset;
  for (const std::uint32_t index : connection.asked) {
    if (index != LmtpNotes::kAll) refused_[offset][index] = why;
  }
  Outcome outcome;
  outcome.kind = Outcome::Kind::kForGood;
  outcome.reply = why;
  conclude(connection, std::move(outcome));
}

void Lmtp::start(Connection& connection, base::Now now) {
  const Record& record = connection.item->record();
  if (const std::string why = connection.client->objection(record); !why.empty()) {
    return refuse(connection, why);
  }
  std::vector<LmtpClient::To> to;
  for (const std::uint32_t index : connection.asked) {
    if (index == LmtpNotes::kAll) {
      to.push_back({config_.recipients, nullptr});
    } else {
      to.push_back({record.rcpt_to[index].address, &record.rcpt_to[index]});
    }
  }
  connection.until = now.mono + config_.timeout_ns;
  connection.client->begin(record, std::move(to), content_of(record));
}

// Bytes both ways. False: the connection is over.
bool Lmtp::exchange(Connection& connection, base::Now now) {
  LmtpClient& client = *connection.client;
  for (bool moved = true; moved && !client.broken();) {
    moved = false;
    const std::string_view out = client.to_send();
    if (!out.empty()) {
      const ssize_t sent = seam::send(connection.fd.get(), out);
      if (sent > 0) {
        client.sent(static_cast<std::size_t>(sent));
        moved = true;
      } else if (errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
        client.closed(
            fmt::format("{}: {}", config_.address, std::system_category().message(errno)));
      }
    }
    char bytes[16384];
    const ssize_t got = ::recv(connection.fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (got > 0) {
      if (!seam::step()) {
        client.closed("the connection was given up");
        break;
      }
      client.receive({bytes, static_cast<std::size_t>(got)});
      connection.until = now.mono + config_.timeout_ns;
      moved = true;
    } else if (got == 0) {
      client.closed("the peer closed the connection");
    } else if (errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
      client.closed(fmt::format("{}: {}", config_.address, std::system_category().message(errno)));
    }
    // A transaction that is complete is looked at before more is read.
    if (client.finished() || (client.ready() && connection.busy)) break;
  }
  return !client.broken();
}

void Lmtp::drive(Connection& connection, base::Now now) {
  constexpr int kRoundsMax = 8;  // of: ready, begun, answered
  for (int round = 0; round < kRoundsMax && connection.client; ++round) {
    LmtpClient& client = *connection.client;
    if (!client.broken() && connection.busy && now.mono >= connection.until) {
      client.closed(fmt::format("no reply within {} s", config_.timeout_ns / base::kNsPerSecond));
    }
    const bool lives = !client.broken() && exchange(connection, now);
    note(connection);
    if (client.under_way()) {
      if (!client.finished()) return;
      finish(connection, now);
    } else if (lives && client.ready() && connection.busy) {
      start(connection, now);
      continue;
    } else if (!lives && connection.busy) {
      Outcome outcome;
      outcome.kind = Outcome::Kind::kLater;
      outcome.reply = client.trouble();
      conclude(connection, std::move(outcome));
    }
    if (!lives || client.broken()) close(connection);
    if (!connection.busy) return;
    if (!client.to_send().empty()) continue;
    return;
  }
}

// Who has it, as soon as the peer says so: after a kill before the other replies, these are not
// asked again. A note that cannot be written means that they are, once.
void Lmtp::note(const Connection& connection) {
  if (!connection.client || !connection.client->under_way()) return;
  const Offset offset = connection.item->record().offset;
  const auto& replies = connection.client->replies();
  for (std::size_t i = 0; i < replies.size(); ++i) {
    if (!replies[i].good() || notes_.has(offset, connection.asked[i])) continue;
    (void)notes_.add(offset, connection.asked[i]);
  }
}

// What each recipient's reply means: noted, remembered, or left to another attempt.
void Lmtp::finish(Connection& connection, base::Now) {
  const Offset offset = connection.item->record().offset;
  std::vector<LmtpReply> replies;
  std::string trouble;
  if (connection.client && connection.client->under_way()) {
    trouble = connection.client->trouble();
    replies = connection.client->take();
  }
  Outcome outcome;
  bool any_good = false, any_later = false;
  std::string single_reply;
  for (std::size_t i = 0; i < replies.size(); ++i) {
    const std::uint32_t index = connection.asked[i];
    const LmtpReply& reply = replies[i];
    if (reply.good()) {
      any_good = true;
      if (outcome.reply.empty()) outcome.reply = reply.text;
    } else if (reply.for_good()) {
      if (index != LmtpNotes::kAll) refused_[offset][index] = reply.text;
      single_reply = reply.text;
    } else {
      any_later = true;
      outcome.reply = reply.code == 0 ? trouble : reply.text;
      outcome.refused.push_back({index, outcome.reply});
    }
  }
  const auto refused = refused_.find(offset);
  const bool some_refused = refused != refused_.end();
  if (any_later) {
    outcome.kind = Outcome::Kind::kLater;
  } else if (some_refused || !single_reply.empty()) {
    outcome.kind = Outcome::Kind::kForGood;
    outcome.reply = some_refused ? refused->second.begin()->second : single_reply;
    outcome.partly =
        any_good || (some_refused && refused->second.size() < connection.item->recipients().size());
  }
  conclude(connection, std::move(outcome));
}

void Lmtp::conclude(Connection& connection, Outcome outcome) {
  const Offset offset = connection.item->record().offset;
  outcome.ticket = connection.ticket;
  outcome.begun = connection.begun;
  // For the dead letter, should it become one: everybody who does not have it.
  if (const auto refused = refused_.find(offset); refused != refused_.end()) {
    for (const auto& [index, reply] : refused->second) outcome.refused.push_back({index, reply});
    if (outcome.kind != Outcome::Kind::kLater) refused_.erase(refused);
  }
  std::erase_if(outcome.refused,
                [](const Refusal& one) { return one.recipient == LmtpNotes::kAll; });
  connection.busy = false;
  connection.item = nullptr;
  tell(std::move(outcome));
}

void Lmtp::add_waits(std::vector<pollfd>& waits) {
  for (const Connection& connection : connections_) {
    if (!connection.client) continue;
    short events = POLLIN;
    if (!connection.client->to_send().empty()) events |= POLLOUT;
    waits.push_back({connection.fd.get(), events, 0});
  }
}

std::optional<base::MonoTime> Lmtp::due() const {
  std::optional<base::MonoTime> earliest;
  for (const Connection& connection : connections_) {
    if (!connection.client) continue;
    const base::MonoTime at = connection.busy ? connection.until : connection.until + kIdleNs;
    if (!earliest || at < *earliest) earliest = at;
  }
  return earliest;
}

void Lmtp::work(base::Now now) {
  for (Connection& connection : connections_) {
    if (!connection.client) continue;
    drive(connection, now);
    // An idle connection is given back to the peer.
    if (connection.client && !connection.busy && now.mono >= connection.until + kIdleNs) {
      connection.client->quit();
      (void)seam::send(connection.fd.get(), connection.client->to_send());
      close(connection);
    }
  }
}

void Lmtp::abandon() {
  for (Connection& connection : connections_) {
    if (connection.client && !connection.busy && connection.client->ready()) {
      connection.client->quit();
      (void)seam::send(connection.fd.get(), connection.client->to_send());
    }
    close(connection);
    connection.busy = false;
  }
}

}  // namespace

MadeSink make_lmtp(const Config& config, const SinkPlace& place) {
  auto notes = LmtpNotes::open(place.groups_fd, place.group, *place.fields, place.committed);
  if (!notes) {
    return std::unexpected(fmt::format("the notes of group {} cannot be kept: {}", place.group,
                                       std::system_category().message(notes.error())));
  }
  return std::make_unique<Lmtp>(config, std::move(*notes));
}

}  // namespace mxring::relay
