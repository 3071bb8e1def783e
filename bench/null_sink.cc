// null_sink: receives and answers the bytes of SMTP sessions and does nothing else with them.
//
// The floor for `mxring serve`: the same ring, receive buffers, multishot accept and receive, and
// one gathered send per connection and loop turn, but commands are told apart by their first letter
// and content is searched for its end and forgotten. What a receiver costs above this is the price
// of what it does with the mail. Never put it on a public address: it accepts everything.
//
//   null_sink [--listen ADDR:PORT] [--cpu N] [--buffer-bytes N]
//
// Port 0 takes a free one; "ready ADDR:PORT" is printed when it listens. SIGTERM or SIGINT ends it,
// and it prints messages, CPU time and system calls per message.
//
// Thread: one. Failure: of the ring or the socket at start, exit 1; of a connection, it is closed.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ip_address.h"
#include "base/slot_pool.h"
#include "uring/buffer_pool.h"
#include "uring/ring.h"

namespace {

using mxring::base::Endpoint;
using mxring::base::SlotPool;
using mxring::uring::BufferPool;
using mxring::uring::Completion;
using mxring::uring::Operation;
using mxring::uring::Ring;
using mxring::uring::Tag;

struct Arguments {
  Endpoint listen = *Endpoint::parse("127.0.0.1:2525");
  int cpu = -1;
  std::uint32_t buffer_bytes = 16 * 1024;
};

constexpr std::string_view kBanner = "220 null-sink ESMTP\r\n";
constexpr std::string_view kEhlo =
    "250-null-sink\r\n250-PIPELINING\r\n250-SIZE 26214400\r\n250 8BITMIME\r\n";
constexpr std::string_view kOk = "250 2.0.0 Ok\r\n";
constexpr std::string_view kGoAhead = "354 End data with <CR><LF>.<CR><LF>\r\n";
constexpr std::string_view kBye = "221 2.0.0 Bye\r\n";
constexpr std::string_view kUnknown = "500 5.5.2 What?\r\n";

// Finds CRLF.CRLF in content that arrives in pieces.
class EndOfData {
 public:
  // The CRLF of the DATA line counts as the first of the five bytes' CRLF.
  void start() { matched_ = 2; }

  // The position after the end, or nullptr when it is not in these bytes.
  const char* find(const char* at, const char* end) {
    while (at < end) {
      if (matched_ == 0) {
        at = static_cast<const char*>(std::memchr(at, '\r', static_cast<std::size_t>(end - at)));
        if (at == nullptr) return nullptr;
        if (end - at >= 5) {
          if (std::memcmp(at, "\r\n.\r\n", 5) == 0) return at + 5;
          at += at[1] == '\n' ? 2 : 1;
          continue;
        }
      }
      if (step(*at++)) return at;
    }
    return nullptr;
  }

 private:
  bool step(char c) {
    constexpr char kPattern[] = "\r\n.\r\n";
    matched_ = c == kPattern[matched_] ? matched_ + 1 : (c == '\r' ? 1 : 0);
    return matched_ == 5;
  }
  unsigned matched_ = 0;
};

struct Connection {
  int fd = -1;
  Tag tag;  // slot and generation, without an operation
  bool receiving = true;
  bool sending = false;
  bool in_data = false;
  bool quitting = false;
  bool failed = false;  // nothing more can be sent
  bool shutting_down = false;
  bool touched = false;  // among those to look at when the turn ends
  char command = 0;      // first letter of a line whose end has not come yet
  EndOfData end_of_data;
  std::string replies;    // gathered in this turn
  std::string in_flight;  // being sent

  Tag tagged(Operation operation) const { return {operation, tag.generation, tag.slot}; }
};

class NullSink {
 public:
  NullSink(Ring& ring, BufferPool& buffers, int listener, int signals)
      : ring_(ring), buffers_(buffers), listener_(listener), signals_(signals) {}

  void run() {
    ring_.accept_multishot(listener_, {Operation::kAccept, 0, 0});
    ring_.read(signals_, &signal_, sizeof signal_, {Operation::kWake, 0, 0});
    while (!stopping_) {
      for (const Completion& completion : ring_.submit_and_wait(-1)) handle(completion);
      buffers_.replenish();
      for (Connection* connection : touched_) finish_turn(*connection);
      touched_.clear();
    }
  }

  std::uint64_t messages() const { return messages_; }

 private:
  void handle(const Completion& completion) {
    switch (completion.tag.operation) {
      case Operation::kAccept:
        if (completion.result >= 0) open(completion.result);
        if (!completion.more) ring_.accept_multishot(listener_, completion.tag);
        return;
      case Operation::kWake:
        stopping_ = true;
        return;
      case Operation::kReceive:
      case Operation::kSend:
        break;
      default:
        return;  // shutdown and close: nobody waits for them
    }
    Connection* connection = connections_.find({completion.tag.slot, completion.tag.generation});
    if (connection == nullptr) return;
    touch(*connection);
    if (completion.tag.operation == Operation::kReceive) {
      received(*connection, completion);
    } else {
      connection->sending = false;
      if (completion.result < 0) connection->failed = connection->quitting = true;
    }
  }

  void open(int fd) {
    SlotPool<Connection>::Ref ref;
    Connection* connection = connections_.acquire(&ref);
    if (connection == nullptr) {
      ring_.close(fd, {});
      return;
    }
    connection->fd = fd;
    connection->tag = {Operation::kNone, ref.generation, ref.slot};
    connection->replies = kBanner;
    ring_.receive_multishot(fd, buffers_.options().group, connection->tagged(Operation::kReceive));
    touch(*connection);
  }

  void touch(Connection& connection) {
    if (std::exchange(connection.touched, true)) return;
    touched_.push_back(&connection);
  }

  void received(Connection& connection, const Completion& completion) {
    if (completion.has_buffer) {
      buffers_.adopt(completion.buffer_id);
      if (completion.result > 0) {
        consume(connection,
                {buffers_.data(completion.buffer_id), static_cast<std::size_t>(completion.result)});
      }
      buffers_.release(completion.buffer_id);
    }
    if (completion.more) return;
    if (completion.result > 0 || completion.result == -ENOBUFS) {
      ring_.receive_multishot(connection.fd, buffers_.options().group, completion.tag);
    } else {
      connection.receiving = false;
      connection.failed |= completion.result < 0;
    }
  }

  void consume(Connection& connection, std::string_view bytes) {
    const char* at = bytes.data();
    const char* const end = at + bytes.size();
    while (at < end && !connection.quitting) {
      if (connection.in_data) {
        at = connection.end_of_data.find(at, end);
        if (at == nullptr) return;
        connection.in_data = false;
        connection.replies += kOk;
        ++messages_;
        continue;
      }
      if (connection.command == 0) connection.command = *at;
      const auto* line_end =
          static_cast<const char*>(std::memchr(at, '\n', static_cast<std::size_t>(end - at)));
      if (line_end == nullptr) return;
      at = line_end + 1;
      answer(connection, std::exchange(connection.command, '\0'));
    }
  }

  static void answer(Connection& connection, char command) {
    switch (command & ~0x20) {  // upper case
      case 'E':
        connection.replies += kEhlo;
        return;
      case 'H':
      case 'M':
      case 'N':
      case 'R':  // RCPT and RSET
        connection.replies += kOk;
        return;
      case 'D':
        connection.replies += kGoAhead;
        connection.in_data = true;
        connection.end_of_data.start();
        return;
      case 'Q':
        connection.replies += kBye;
        connection.quitting = true;
        return;
      default:
        connection.replies += kUnknown;
    }
  }

  void finish_turn(Connection& connection) {
    connection.touched = false;
    if (connection.sending) return;
    if (!connection.replies.empty() && !connection.failed) {
      std::swap(connection.replies, connection.in_flight);
      connection.replies.clear();
      connection.sending = true;
      ring_.send(connection.fd, connection.in_flight.data(),
                 static_cast<std::uint32_t>(connection.in_flight.size()),
                 connection.tagged(Operation::kSend));
      return;
    }
    if (!connection.receiving) {
      ring_.close(connection.fd, {});
      connections_.release({connection.tag.slot, connection.tag.generation});
    } else if (connection.quitting && !std::exchange(connection.shutting_down, true)) {
      // The last completion of the receive that is still armed closes the descriptor.
      ring_.cancel(connection.tagged(Operation::kReceive), {});
    }
  }

  Ring& ring_;
  BufferPool& buffers_;
  const int listener_;
  const int signals_;
  signalfd_siginfo signal_{};
  SlotPool<Connection> connections_{20'000};
  std::vector<Connection*> touched_;
  std::uint64_t messages_ = 0;
  bool stopping_ = false;
};

template <class Number>
bool parse_number(std::string_view text, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc{} && end == text.data() + text.size();
}

std::optional<Arguments> parse_arguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string_view value = argv[i + 1];
    if (name == "--listen") {
      const auto endpoint = Endpoint::parse(value);
      if (!endpoint) return std::nullopt;
      arguments.listen = *endpoint;
    } else if (name == "--cpu") {
      if (!parse_number(value, &arguments.cpu)) return std::nullopt;
    } else if (name == "--buffer-bytes") {
      if (!parse_number(value, &arguments.buffer_bytes)) return std::nullopt;
    } else {
      return std::nullopt;
    }
  }
  if (argc % 2 == 0) return std::nullopt;
  return arguments;
}

bool pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

// A listening socket; `endpoint` becomes the address really bound. -1 with errno on failure.
int listen_on(Endpoint& endpoint) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  const bool is_v4 = endpoint.address.is_v4();
  sockaddr* address = is_v4 ? reinterpret_cast<sockaddr*>(&v4) : reinterpret_cast<sockaddr*>(&v6);
  socklen_t size = is_v4 ? sizeof v4 : sizeof v6;
  address->sa_family = is_v4 ? AF_INET : AF_INET6;
  std::memcpy(is_v4 ? static_cast<void*>(&v4.sin_addr) : static_cast<void*>(&v6.sin6_addr),
              endpoint.address.bytes().data(), is_v4 ? 4 : 16);
  (is_v4 ? v4.sin_port : v6.sin6_port) = htons(endpoint.port);

  const int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // accepted sockets inherit it
  if (::bind(fd, address, size) != 0 || ::listen(fd, 4096) != 0 ||
      ::getsockname(fd, address, &size) != 0) {
    return -1;
  }
  endpoint.port = ntohs(is_v4 ? v4.sin_port : v6.sin6_port);
  return fd;
}

// Blocks SIGTERM and SIGINT and returns a descriptor that reads them.
int signal_descriptor() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_CLOEXEC);
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int fail(std::string_view what) {
  fmt::print(stderr, "null_sink: {}\n", what);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = parse_arguments(argc, argv);
  if (!arguments) {
    fmt::print(stderr, "usage: null_sink [--listen ADDR:PORT] [--cpu N] [--buffer-bytes N]\n");
    return 2;
  }
  if (arguments->cpu >= 0 && !pin_to(arguments->cpu)) return fail("--cpu: no such processor");
  const int listener = listen_on(arguments->listen);
  if (listener < 0) {
    return fail(fmt::format("cannot listen on {}: {}", arguments->listen.to_string(),
                            std::strerror(errno)));
  }
  auto ring = Ring::create({}, nullptr);
  if (!ring) return fail(ring.error().message);
  auto buffers =
      BufferPool::create(*ring, {.buffer_bytes = arguments->buffer_bytes, .buffers = 1024});
  if (!buffers) return fail(buffers.error().message);

  NullSink sink(*ring, *buffers, listener, signal_descriptor());
  fmt::print("ready {}\n", arguments->listen.to_string());
  std::fflush(stdout);
  const double cpu_before = cpu_seconds();
  const std::uint64_t calls_before = ring->system_calls();
  sink.run();
  const double cpu = cpu_seconds() - cpu_before;
  const std::uint64_t calls = ring->system_calls() - calls_before;
  const double per_message = sink.messages() == 0 ? 0 : 1.0 / static_cast<double>(sink.messages());
  fmt::print("messages {} cpu_us_per_message {:.2f} system_calls_per_message {:.3f}\n",
             sink.messages(), cpu * 1e6 * per_message, static_cast<double>(calls) * per_message);
  return 0;
}
