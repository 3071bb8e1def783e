#include "server/admin.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::server {

namespace {

constexpr std::string_view kUnix = "unix:";
constexpr std::int64_t kGoodbyeNs = base::kNsPerSecond;  // for the client to close first
constexpr int kAcceptsAtOnce = 16;
constexpr int kReadsAtOnce = 16;

std::string head(const AdminAnswer& answer) {
  if (answer.stream != nullptr) {
    return fmt::format("HTTP/1.0 {}\r\nContent-Type: {}\r\n{}Connection: close\r\n\r\n",
                       answer.status, answer.type, answer.more_fields);
  }
  return fmt::format(
      "HTTP/1.0 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}Connection: close\r\n\r\n",
      answer.status, answer.type, answer.body.size(), answer.more_fields);
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") + 1 - first);
}

// The value of the first field of this name; "" without one.
std::string_view field(std::string_view fields, std::string_view name) {
  while (!fields.empty()) {
    const std::string_view line = fields.substr(0, fields.find('\n'));
    fields.remove_prefix(std::min(line.size() + 1, fields.size()));
    const std::size_t colon = line.find(':');
    if (colon != line.npos && base::ascii_iequals(line.substr(0, colon), name)) {
      return trimmed(line.substr(colon + 1));
    }
  }
  return {};
}

// Nothing when the first line is none of HTTP.
std::optional<AdminRequest> parse(std::string_view text, bool over_unix) {
  const std::size_t line_end = text.find('\n');
  const std::string_view line = trimmed(text.substr(0, line_end));
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == line.npos || first == last || !line.substr(last + 1).starts_with("HTTP/1.")) {
    return std::nullopt;
  }
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (!target.starts_with('/') && target != "*") return std::nullopt;
  const std::size_t question = target.find('?');
  const std::string_view fields = text.substr(line_end + 1);
  return AdminRequest{
      .method = line.substr(0, first),
      .path = target.substr(0, question),
      .query = question == target.npos ? std::string_view() : target.substr(question + 1),
      .host = field(fields, "Host"),
      .authorization = field(fields, "Authorization"),
      .over_unix = over_unix};
}

bool is_whole(std::string_view request) {
  return request.find("\r\n\r\n") != request.npos || request.find("\n\n") != request.npos;
}

bool is_passing(int error) {
  return error == EAGAIN || error == EINTR;
}

}  // namespace

std::string Admin::Listening::name() const {
  return tcp ? tcp->endpoint().to_string() : fmt::format("{}{}", kUnix, local->path());
}

std::expected<Admin::Listening, std::string> Admin::listen(std::string_view address) {
  const auto failed = [](const std::string& why) { return std::unexpected(why); };
  Listening listening;
  if (address.starts_with(kUnix)) {
    auto local = net::UnixListener::open(std::string(address.substr(kUnix.size())));
    if (!local) return failed(local.error().message);
    listening.local = std::move(*local);
    return listening;
  }
  const auto endpoint = base::Endpoint::parse(address);
  if (!endpoint) {
    return failed(fmt::format("\"{}\" is neither ADDR:PORT nor unix:PATH", base::escaped(address)));
  }
  const auto unused = net::Listener::check_unused(*endpoint);
  if (!unused) return failed(unused.error().message);
  auto tcp = net::Listener::open(*endpoint);
  if (!tcp) return failed(tcp.error().message);
  listening.tcp = std::move(*tcp);
  return listening;
}

Admin::Admin(Listening listening, Handler handler, Patience patience)
    : listening_(std::move(listening)), handler_(std::move(handler)), patience_(patience) {
  stop_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  MXRING_ASSERT(stop_fd_ >= 0);
  thread_ = std::thread([this] { run(); });
}

Admin::~Admin() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_fd_, &one, sizeof one);
  thread_.join();
  for (Client& client : clients_) {
    if (client.state != State::kFree) end(client);
  }
  ::close(stop_fd_);
}

void Admin::run() {
  pthread_setname_np(pthread_self(), "mxring-admin");
  while (wait() >= 0) act(base::read_clocks().mono);
}

// Until something has happened or somebody's time is up. Negative: the end.
int Admin::wait() {
  std::array<pollfd, kClients + 2> polled{};
  polled[0] = {stop_fd_, POLLIN, 0};
  polled[1] = {listening_.fd(), POLLIN, 0};
  const base::MonoTime now = base::read_clocks().mono;
  std::int64_t left_ns = -1;
  for (std::size_t i = 0; i < kClients; ++i) {
    const Client& client = clients_[i];
    polled[i + 2].fd = client.fd;  // poll(2) passes over negative ones
    const bool pulls = client.stream != nullptr && client.sent == client.answer.size();
    polled[i + 2].events =
        static_cast<short>(pulls                               ? POLLRDHUP
                           : client.state == State::kAnswering ? POLLOUT | POLLRDHUP
                                                               : POLLIN);
    if (client.state == State::kFree) continue;
    std::int64_t left = std::max<std::int64_t>(client.deadline - now, 0);
    if (pulls) left = std::min(left, kPullEveryNs);
    left_ns = left_ns < 0 ? left : std::min(left_ns, left);
  }
  const int wait_ms = left_ns < 0 ? -1 : static_cast<int>(left_ns / base::kNsPerMs) + 1;
  const int found = ::poll(polled.data(), polled.size(), wait_ms);
  for (std::size_t i = 0; i < kClients; ++i) {
    clients_[i].gone = clients_[i].stream != nullptr &&
                       (polled[i + 2].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
  }
  return found > 0 && polled[0].revents != 0 ? -1 : 0;
}

// Descriptors do not block, so who is not ready costs one call.
void Admin::act(base::MonoTime now) {
  for (Client& client : clients_) {
    if (client.gone) end(client);
    if (client.state == State::kAsking) read_request(client, now);
    if (client.state == State::kAnswering) send_answer(client, now);
    if (client.state == State::kClosing) discard(client);
    if (client.state != State::kFree && client.deadline <= now) end(client);
  }
  accept_waiting(now);
}

void Admin::accept_waiting(base::MonoTime now) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    pollfd waiting{listening_.fd(), POLLIN, 0};
    if (::poll(&waiting, 1, 0) <= 0) return;
    const int fd = ::accept4(listening_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      // No descriptor is left: one that only waits is given up, and the next round tries again.
      if (errno == EMFILE || errno == ENFILE) {
        const auto silent = std::ranges::find_if(
            clients_, [](const Client& client) { return client.state == State::kAsking; });
        if (silent != clients_.end()) end(*silent);
        const timespec nap{0, 10 * base::kNsPerMs};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
      }
      return;
    }
    Client& client = place_for_newcomer();
    if (client.state != State::kFree) end(client);
    client.fd = fd;
    client.since = now;
    enter(client, State::kAsking, now + patience_.request_ns);
    read_request(client, now);
  }
}

// A free one, or else the one whose client has waited longest: of those that have not asked, then
// of those that say goodbye, then of those that read.
Admin::Client& Admin::place_for_newcomer() {
  const auto rank = [](const Client& client) {
    switch (client.state) {
      case State::kFree:
        return 0;
      case State::kClosing:
        return 1;
      case State::kAsking:
        return 2;
      case State::kAnswering:
        return 3;
    }
    return 4;
  };
  return *std::ranges::min_element(clients_, [&rank](const Client& a, const Client& b) {
    return rank(a) != rank(b) ? rank(a) < rank(b) : a.since < b.since;
  });
}

void Admin::read_request(Client& client, base::MonoTime now) {
  char buffer[1024];
  for (int i = 0; i < kReadsAtOnce; ++i) {
    const ssize_t got = ::recv(client.fd, buffer, sizeof buffer, 0);
    if (got < 0 && is_passing(errno)) return;
    if (got <= 0) return end(client);
    client.request.append(buffer, static_cast<std::size_t>(got));
    if (is_whole(client.request) || client.request.size() > kRequestBytesMax) {
      return answer(client, now);
    }
  }
}

void Admin::answer(Client& client, base::MonoTime now) {
  AdminAnswer reply;
  bool with_body = true;
  if (client.request.size() > kRequestBytesMax) {
    reply = {.status = "431 Request Header Fields Too Large", .body = "too long a request\n"};
  } else if (const auto request = parse(client.request, listening_.local.has_value())) {
    reply = handler_(*request);
    with_body = request->method != "HEAD";
  } else {
    reply = {.status = "400 Bad Request", .body = "this speaks HTTP\n"};
  }
  client.answer = head(reply);
  if (with_body) {
    client.answer += reply.body;
    client.stream = std::move(reply.stream);
  }
  client.sent = 0;
  enter(client, State::kAnswering, now + patience_.answer_ns);
  send_answer(client, now);
}

// False: the client does not read on, or has gone.
bool Admin::send_what_is_there(Client& client) {
  while (client.sent < client.answer.size()) {
    const ssize_t sent = ::send(client.fd, client.answer.data() + client.sent,
                                client.answer.size() - client.sent, MSG_NOSIGNAL);
    if (sent < 0 && is_passing(errno)) return false;
    if (sent <= 0) {
      end(client);
      return false;
    }
    client.sent += static_cast<std::size_t>(sent);
  }
  return true;
}

void Admin::send_answer(Client& client, base::MonoTime now) {
  if (!send_what_is_there(client)) return;
  while (client.stream != nullptr) {
    MXRING_ASSERT(client.state == State::kAnswering && client.sent == client.answer.size());
    client.answer.clear();
    client.sent = 0;
    client.deadline = now + patience_.answer_ns;
    const std::shared_ptr<AdminStream> stream = client.stream;
    if (!stream->pull(client.answer)) client.stream = nullptr;
    if (client.answer.empty()) break;
    if (!send_what_is_there(client)) return;
  }
  if (client.stream != nullptr) return;
  // Closing while bytes of the client are unread would take the answer away from it.
  ::shutdown(client.fd, SHUT_WR);
  client.answer = {};
  enter(client, State::kClosing, now + kGoodbyeNs);
}

void Admin::discard(Client& client) {
  char buffer[4096];
  for (int i = 0; i < kReadsAtOnce; ++i) {
    const ssize_t got = ::recv(client.fd, buffer, sizeof buffer, 0);
    if (got < 0 && is_passing(errno)) return;
    if (got <= 0) return end(client);
  }
}

void Admin::enter(Client& client, State state, base::MonoTime deadline) {
  MXRING_ASSERT(client.fd >= 0);
  MXRING_ASSERT(state == State::kAsking      ? client.state == State::kFree
                : state == State::kAnswering ? client.state == State::kAsking
                                             : client.state == State::kAnswering);
  client.state = state;
  client.deadline = deadline;
}

void Admin::end(Client& client) {
  MXRING_ASSERT(client.state != State::kFree && client.fd >= 0);
  ::close(client.fd);
  client = Client{};
}

}  // namespace mxring::server
