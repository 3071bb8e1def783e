#include "tests/dns/test_dns_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "dns/message.h"

namespace mxring::test {

namespace {

using Bytes = std::vector<std::uint8_t>;
using Clock = std::chrono::steady_clock;
using dns::Type;

void put16(Bytes& out, unsigned value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}

void put_name(Bytes& out, const dns::Name& name) {
  const std::string_view wire = name.wire();
  out.insert(out.end(), wire.begin(), wire.end());
  out.push_back(0);
}

struct Query {
  unsigned id = 0;
  dns::Question question;
  std::size_t size = 0;  // of header and question
};

bool read_query(const Bytes& bytes, Query& query) {
  if (bytes.size() < 12) return false;
  query.id = static_cast<unsigned>(bytes[0] << 8 | bytes[1]);
  std::size_t at = 12;
  const auto name = dns::read_name(bytes, at);
  if (!name || bytes.size() < at + 4) return false;
  query.question = {*name, static_cast<Type>(bytes[at] << 8 | bytes[at + 1])};
  query.size = at + 4;
  return true;
}

// Builds one reply, record by record.
class ReplyBuilder {
 public:
  ReplyBuilder(unsigned id, const dns::Question& question, unsigned code, bool truncated = false) {
    put16(bytes_, id);
    put16(bytes_, 0x8180U | code | (truncated ? 0x0200U : 0U));
    put16(bytes_, 1);
    for (int i = 0; i < 3; ++i) put16(bytes_, 0);
    put_name(bytes_, question.name);
    put16(bytes_, static_cast<unsigned>(question.type));
    put16(bytes_, 1);
  }

  void add(const dns::Name& owner, Type type, const Bytes& data) {
    put_name(bytes_, owner);
    put16(bytes_, static_cast<unsigned>(type));
    put16(bytes_, 1);
    put16(bytes_, 0);
    put16(bytes_, 300);
    put16(bytes_, static_cast<unsigned>(data.size()));
    bytes_.insert(bytes_.end(), data.begin(), data.end());
    count(6);
  }

  // The zone's start of authority, for negative answers.
  void add_authority() {
    put_name(bytes_, dns::Name());
    put16(bytes_, 6);
    put16(bytes_, 1);
    put16(bytes_, 0);
    put16(bytes_, 600);
    put16(bytes_, 22);
    put16(bytes_, 0);  // both names are the root
    for (int i = 0; i < 4; ++i) {
      put16(bytes_, 0);
      put16(bytes_, 1);
    }
    put16(bytes_, 0);
    put16(bytes_, 60);
    count(8);
  }

  Bytes& bytes() { return bytes_; }
  void count(std::size_t field) { ++bytes_[field + 1]; }

 private:
  Bytes bytes_;
};

Bytes text_data(const std::vector<std::string>& strings) {
  Bytes data;
  for (std::string_view rest : strings) {
    do {
      const std::string_view piece = rest.substr(0, 255);
      data.push_back(static_cast<std::uint8_t>(piece.size()));
      data.insert(data.end(), piece.begin(), piece.end());
      rest.remove_prefix(piece.size());
    } while (!rest.empty());
  }
  return data;
}

void add_records(ReplyBuilder& reply, const dns::Name& owner, const Node& node, Type type) {
  if (type == Type::kA || type == Type::kAaaa) {
    for (const base::IpAddress& address : node.addresses) {
      if (address.is_v4() != (type == Type::kA)) continue;
      const auto& bytes = address.bytes();
      reply.add(owner, type, Bytes(bytes.begin(), bytes.begin() + (address.is_v4() ? 4 : 16)));
    }
  }
  for (const auto& strings :
       type == Type::kTxt ? node.texts : std::vector<std::vector<std::string>>()) {
    reply.add(owner, type, text_data(strings));
  }
  for (const auto& exchanger :
       type == Type::kMx ? node.exchangers : std::vector<dns::Exchanger>()) {
    Bytes data;
    put16(data, exchanger.preference);
    put_name(data, exchanger.name);
    reply.add(owner, type, data);
  }
  for (const auto& name : type == Type::kPtr ? node.pointers : std::vector<dns::Name>()) {
    Bytes data;
    put_name(data, name);
    reply.add(owner, type, data);
  }
}

// The honest reply, aliases followed as far as the zone knows them.
Bytes honest_reply(const Zone& zone, const Query& query) {
  dns::Name name = query.question.name;
  const Node* node = zone.find(name);
  const unsigned code = node == nullptr ? 3 : 0;
  ReplyBuilder reply(query.id, query.question, code);
  for (int hops = 0; node != nullptr && node->alias && hops < 20; ++hops) {
    Bytes data;
    put_name(data, *node->alias);
    reply.add(name, Type::kCname, data);
    if (query.question.type == Type::kCname || node->fault == Fault::kOneAlias)
      return reply.bytes();
    name = *node->alias;
    node = zone.find(name);
  }
  if (node != nullptr && node->has(query.question.type)) {
    add_records(reply, name, *node, query.question.type);
  } else {
    reply.add_authority();
  }
  return reply.bytes();
}

Bytes forged_reply(unsigned id, const dns::Question& question) {
  ReplyBuilder reply(id, question, 0);
  if (question.type == Type::kTxt) {
    reply.add(question.name, Type::kTxt, text_data({"forged"}));
  } else {
    reply.add(question.name, Type::kA, {203, 0, 113, 66});
  }
  return reply.bytes();
}

dns::Question about_another_name(dns::Question question) {
  question.name = *dns::Name::parse("forged.example");
  return question;
}

}  // namespace

struct TestDnsServer::Later {
  Clock::time_point due;
  sockaddr_in to;
  Bytes bytes;
};

TestDnsServer::TestDnsServer(Zone zone) : zone_(std::move(zone)) {
  stop_ = eventfd(0, EFD_CLOEXEC);
  // The port the kernel picks for UDP may be taken for TCP.
  for (int tries = 0; !listen(); ++tries) {
    if (tries == 50) throw std::runtime_error("no port for the DNS server of the tests");
  }
  thread_ = std::thread([this] { run(); });
}

TestDnsServer::~TestDnsServer() {
  const std::uint64_t one = 1;
  (void)!::write(stop_, &one, sizeof one);
  thread_.join();
  for (const int fd : held_) ::close(fd);
  ::close(udp_);
  ::close(tcp_);
  ::close(stop_);
}

bool TestDnsServer::listen() {
  if (udp_ >= 0) ::close(udp_);
  if (tcp_ >= 0) ::close(tcp_);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  udp_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  tcp_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(udp_, raw, size) != 0 || ::getsockname(udp_, raw, &size) != 0) return false;
  port_ = ntohs(address.sin_port);
  return ::bind(tcp_, raw, size) == 0 && ::listen(tcp_, 64) == 0;
}

base::Endpoint TestDnsServer::endpoint() const {
  return {base::IpAddress::v4({127, 0, 0, 1}), port_};
}

void TestDnsServer::set_zone(Zone zone) {
  const std::lock_guard lock(mutex_);
  zone_ = std::move(zone);
}

std::size_t TestDnsServer::questions_about(const dns::Question& question) const {
  const std::lock_guard lock(mutex_);
  const auto found =
      asked_.find(question.name.to_text() + " " + std::string(dns::type_word(question.type)));
  return found == asked_.end() ? 0 : found->second;
}

void TestDnsServer::run() {
  for (;;) {
    pollfd sockets[] = {{stop_, POLLIN, 0}, {udp_, POLLIN, 0}, {tcp_, POLLIN, 0}};
    (void)::poll(sockets, 3, later_.empty() ? 1000 : 5);
    if (sockets[0].revents != 0) return;
    if (sockets[1].revents != 0) on_datagram();
    if (sockets[2].revents != 0) on_connection();
    const auto now = Clock::now();
    std::erase_if(later_, [&](const Later& reply) {
      if (reply.due > now) return false;
      (void)::sendto(udp_, reply.bytes.data(), reply.bytes.size(), 0,
                     reinterpret_cast<const sockaddr*>(&reply.to), sizeof reply.to);
      return true;
    });
  }
}

void TestDnsServer::on_datagram() {
  Bytes query(4096);
  Later reply{};
  socklen_t size = sizeof reply.to;
  const ssize_t got = ::recvfrom(udp_, query.data(), query.size(), 0,
                                 reinterpret_cast<sockaddr*>(&reply.to), &size);
  if (got <= 0) return;
  query.resize(static_cast<std::size_t>(got));
  int delay_ms = 0;
  bool closes = false;
  bool dribbles = false;
  for (Bytes& bytes : replies_to(query, false, delay_ms, closes, dribbles)) {
    reply.bytes = std::move(bytes);
    reply.due = Clock::now() + std::chrono::milliseconds(delay_ms);
    later_.push_back(reply);
  }
}

// A resolver's client may send several questions over one connection (RFC 7766 6.2.1.1): it is
// served until nothing more comes for a moment.
void TestDnsServer::on_connection() {
  const int fd = ::accept4(tcp_, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return;
  const timeval patience{1, 0};
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  constexpr int kIdleMs = 10;
  pollfd more{fd, POLLIN, 0};
  do {
    std::uint8_t size[2];
    if (::recv(fd, size, 2, MSG_WAITALL) != 2) break;
    Bytes query(static_cast<std::size_t>(size[0] << 8 | size[1]));
    const auto query_bytes = static_cast<ssize_t>(query.size());
    if (::recv(fd, query.data(), query.size(), MSG_WAITALL) != query_bytes) break;
    int delay_ms = 0;
    bool closes = false;
    bool dribbles = false;
    const auto replies = replies_to(query, true, delay_ms, closes, dribbles);
    if (dribbles) {
      (void)::send(fd, "\0", 1, MSG_NOSIGNAL);
      held_.push_back(fd);
      return;
    }
    if (closes) break;
    for (const Bytes& reply : replies) {
      Bytes framed;
      put16(framed, static_cast<unsigned>(reply.size()));
      framed.insert(framed.end(), reply.begin(), reply.end());
      (void)::send(fd, framed.data(), framed.size(), MSG_NOSIGNAL);
    }
  } while (::poll(&more, 1, kIdleMs) > 0);
  ::close(fd);
}

// With the question as it came, but for what is forged and in a reply about another name.
std::vector<Bytes> TestDnsServer::replies_to(const Bytes& query, bool tcp, int& delay_ms,
                                             bool& close_at_once, bool& dribble) {
  std::vector<Bytes> replies = lower_case_replies_to(query, tcp, delay_ms, close_at_once, dribble);
  Query asked;
  if (folding_ || !read_query(query, asked)) return replies;
  for (std::size_t i = 0; i < replies.size(); ++i) {
    Query answered;
    if (!read_query(replies[i], answered) || answered.question != asked.question) continue;
    if (replies.size() == 2 && i == 0 && answered.id == asked.id) continue;  // kForgedCase
    std::copy_n(query.begin() + 12, asked.size - 12, replies[i].begin() + 12);
  }
  return replies;
}

// Without an option record, as from a server that does not know any, but for BADVERS.
std::vector<Bytes> TestDnsServer::replies_to_options(const Bytes& bytes) const {
  Query query;
  read_query(bytes, query);
  const auto reply = [&](unsigned code) {
    return std::vector<Bytes>{ReplyBuilder(query.id, query.question, code).bytes()};
  };
  switch (options_) {
    case Options::kFormatError:
      return reply(1);
    case Options::kFormatErrorBare: {
      std::vector<Bytes> replies = reply(1);
      replies[0].resize(12);
      replies[0][5] = 0;
      return replies;
    }
    case Options::kNotImplemented:
      return reply(4);
    case Options::kServerFailure:
      return reply(2);
    case Options::kBadVersion: {
      std::vector<Bytes> replies = reply(0);
      replies[0][11] = 1;
      const Bytes option = {0, 0, 41, 4, 0xD0, 1, 0, 0, 0, 0, 0};
      replies[0].insert(replies[0].end(), option.begin(), option.end());
      return replies;
    }
    case Options::kTaken:
    case Options::kDropped:
      break;
  }
  return {};
}

std::vector<Bytes> TestDnsServer::lower_case_replies_to(const Bytes& bytes, bool tcp, int& delay_ms,
                                                        bool& close_at_once, bool& dribble) {
  const std::lock_guard lock(mutex_);
  Query query;
  if (!read_query(bytes, query)) return {};
  if (!query.question.name.is_root()) {
    ++questions_;
    if (tcp) ++tcp_questions_;
    ++asked_[query.question.name.to_text() + " " +
             std::string(dns::type_word(query.question.type))];
  }
  if (dead_) return {};
  if (tcp && !speaks_tcp_) {
    close_at_once = true;
    return {};
  }
  if (refusing_) return {ReplyBuilder(query.id, query.question, 5).bytes()};
  if (bytes[11] != 0) {
    ++questions_with_options_;
    if (options_ != Options::kTaken) return replies_to_options(bytes);
  }
  const Node* node = zone_.find(query.question.name);
  const Fault fault = node == nullptr ? Fault::kNone : node->fault;
  const unsigned other_id = query.id ^ 0x5555U;
  const Bytes honest = honest_reply(zone_, query);
  if (truncating_ && !tcp && fault == Fault::kNone) {
    return {ReplyBuilder(query.id, query.question, 0, true).bytes()};
  }
  switch (fault) {
    case Fault::kNone:
    case Fault::kOneAlias:
      return {honest};
    case Fault::kSilent:
      return node->has(query.question.type) ? std::vector<Bytes>{honest} : std::vector<Bytes>{};
    case Fault::kServerFailure:
    case Fault::kRefused:
      return {ReplyBuilder(query.id, query.question, fault == Fault::kRefused ? 5 : 2).bytes()};
    case Fault::kSlow:
      delay_ms = node->fault_ms;
      return {honest};
    case Fault::kWrongId:
      return {forged_reply(other_id, query.question), honest};
    case Fault::kForgedCase:
      if (tcp) return {honest};
      return {forged_reply(query.id, query.question), honest};
    case Fault::kWrongQuestion:
      return {forged_reply(query.id, about_another_name(query.question)), honest};
    case Fault::kOnlyForgeries:
      return {forged_reply(other_id, query.question),
              forged_reply(query.id, about_another_name(query.question))};
    case Fault::kTruncated:
    case Fault::kTcpCloses:
    case Fault::kTcpDribbles:
      close_at_once = fault == Fault::kTcpCloses;
      dribble = fault == Fault::kTcpDribbles;
      if (tcp) return {honest};
      return {ReplyBuilder(query.id, query.question, 0, true).bytes()};
    case Fault::kOversized: {
      Bytes large = honest;
      large.resize(8192);
      return {large};
    }
    case Fault::kCompressionLoop: {
      ReplyBuilder reply(query.id, query.question, 0);
      const std::size_t here = reply.bytes().size();
      put16(reply.bytes(), 0xC000U | static_cast<unsigned>(here));
      put16(reply.bytes(), static_cast<unsigned>(query.question.type));
      put16(reply.bytes(), 1);
      for (int i = 0; i < 4; ++i) put16(reply.bytes(), 0);
      reply.count(6);
      return {reply.bytes()};
    }
    case Fault::kGarbage: {
      ReplyBuilder reply(query.id, query.question, 0);
      for (unsigned i = 0; i < 300; ++i) {
        reply.bytes().push_back(static_cast<std::uint8_t>(i * 167 + query.id));
      }
      reply.bytes()[7] = 40;
      return {reply.bytes()};
    }
    case Fault::kReflected:
      return {bytes};
    case Fault::kEmpty:
      return {Bytes{}};
  }
  return {};
}

}  // namespace mxring::test
