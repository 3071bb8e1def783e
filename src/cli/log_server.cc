#include "cli/log_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "base/assert.h"

namespace mxring::cli {

namespace {

using Status = HttpLink::Status;

constexpr int kAcceptsAtOnce = 16;
constexpr std::size_t kWaitingMax = 16;
constexpr std::int64_t kFirstMinuteNs = 60 * base::kNsPerSecond;

std::string head_of(const HttpAnswer& answer, bool last) {
  const bool empty = answer.status.starts_with("204") || answer.status.starts_with("304");
  constexpr std::int64_t kUsPerSecond = 1'000'000;
  std::string head = fmt::format("HTTP/1.1 {}\r\nDate: {}\r\n", answer.status,
                                 http_date(base::read_clocks().wall.us / kUsPerSecond));
  if (!empty) {
    head += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\n", answer.type,
                        answer.body().size());
  }
  return head + answer.fields + "X-Content-Type-Options: nosniff\r\n" +
         (last ? "Connection: close\r\n\r\n" : "\r\n");
}

HttpAnswer malformed(net::HttpParse::State state) {
  switch (state) {
    case net::HttpParse::State::kTooLarge:
      return error_answer("431 Request Header Fields Too Large", "too-large",
                          "more than 16 KiB, or more than 64 fields, before the empty line",
                          "leave out cookies and what else nobody reads");
    case net::HttpParse::State::kNoVersion:
      return error_answer("505 HTTP Version Not Supported", "version", "HTTP/1.1 is spoken here",
                          "HTTP/1.1 or HTTP/1.0");
    case net::HttpParse::State::kMore:
    case net::HttpParse::State::kRequest:
    case net::HttpParse::State::kMalformed:
      break;
  }
  return error_answer("400 Bad Request", "malformed", "that is no request of HTTP/1.1",
                      "GET /v1/records HTTP/1.1, Host, Authorization: Bearer TOKEN");
}

}  // namespace

LogServer::LogServer(LogPagesShared& shared, Options options, Tls tls)
    : shared_(shared), options_(options), tls_(std::move(tls)), places_(options.connections) {
  MXRING_ASSERT(!places_.empty());
}

LogServer::~LogServer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  comes_.notify_all();
  for (Place& place : places_) {
    if (place.thread.joinable()) place.thread.join();
  }
}

void LogServer::run(int listener, int stop_fd, int other_fd, const std::function<void()>& woken) {
  stop_fd_ = stop_fd;
  for (Place& place : places_) {
    place.thread = std::thread([this, &place] { work(place); });
  }
  while (true) {
    pollfd waits[] = {{stop_fd, POLLIN, 0}, {listener, POLLIN, 0}, {other_fd, POLLIN, 0}};
    if (::poll(waits, 3, -1) < 0 && errno != EINTR) return;
    if (waits[0].revents != 0) return;
    if (waits[2].revents != 0) woken();
    if (waits[1].revents != 0) accept_waiting(listener);
  }
}

void LogServer::accept_waiting(int listener) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    pollfd waiting{listener, POLLIN, 0};
    if (::poll(&waiting, 1, 0) <= 0) return;
    base::OwnedFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) {
      // No descriptor is left: somebody who only waits is given up, and the next round tries again.
      if (errno == EMFILE || errno == ENFILE) {
        const std::lock_guard lock(mutex_);
        make_room();
        const timespec nap{0, 10 * base::kNsPerMs};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
      }
      return;
    }
    if (give_place(fd)) continue;
    HttpAnswer busy = error_answer("503 Service Unavailable", "full",
                                   "as many connections as there may be are being answered",
                                   "ask again in a moment; --connections says how many");
    busy.fields += "Retry-After: 1\r\n";
    const std::string text = head_of(busy, true) + busy.text;
    // In clear only: a handshake would have to be waited for.
    if (tls_() == nullptr) {
      (void)!::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
  }
}

bool LogServer::give_place(base::OwnedFd& fd) {
  const std::lock_guard lock(mutex_);
  const auto free = std::ranges::find(places_, State::kFree, &Place::state);
  if (free != places_.end()) {
    free->coming = std::move(fd);
    enter(*free, State::kComing);
    comes_.notify_all();
    return true;
  }
  const auto ends = [this] {
    return std::ranges::find(places_, State::kEnding, &Place::state) != places_.end();
  };
  if (!ends()) make_room();
  if (!ends()) return false;
  // Those that wait already have said no more than this one; it is the more likely to ask yet.
  if (waiting_.size() >= kWaitingMax) waiting_.erase(waiting_.begin());
  waiting_.push_back(std::move(fd));
  return true;
}

// Ends the connection that is missed least. Under the lock, so that its descriptor is still that.
void LogServer::make_room() {
  Place* least = nullptr;
  for (const State state : {State::kStranger, State::kIdle}) {
    for (Place& place : places_) {
      if (place.state != state) continue;
      if (least == nullptr || place.since < least->since) least = &place;
    }
    if (least != nullptr) break;
  }
  if (least == nullptr) return;
  ::shutdown(least->fd, SHUT_RDWR);
  enter(*least, State::kEnding);
}

void LogServer::enter(Place& place, State state) {
  MXRING_ASSERT(state != State::kComing || place.state == State::kFree);
  MXRING_ASSERT(state != State::kEnding || place.fd >= 0);
  place.state = state;
  place.since = base::read_clocks().mono;
}

void LogServer::work(Place& place) {
  pthread_setname_np(pthread_self(), "mxring-client");
  std::unique_lock lock(mutex_);
  while (true) {
    comes_.wait(lock, [&] { return ending_ || place.state == State::kComing; });
    if (ending_) return;
    base::OwnedFd fd = std::move(place.coming);
    place.fd = fd.get();
    enter(place, State::kStranger);
    lock.unlock();
    serve(place, std::move(fd));
    lock.lock();
    MXRING_ASSERT(place.fd == -1);
    enter(place, State::kFree);
    if (waiting_.empty()) continue;
    place.coming = std::move(waiting_.back());
    waiting_.pop_back();
    enter(place, State::kComing);
  }
}

void LogServer::serve(Place& place, base::OwnedFd fd) {
  HttpLink link(std::move(fd), stop_fd_, tls_());
  LogPages pages(shared_);
  const base::MonoTime begun = base::read_clocks().mono;
  if (link.open(begun + options_.patience_ns) == Status::kDone && converse(place, link, pages)) {
    link.close();
  }
  const std::lock_guard lock(mutex_);
  place.fd = -1;  // before it is closed: nobody ends a stranger's
}

// True when the client is still there to be said goodbye.
bool LogServer::converse(Place& place, HttpLink& link, LogPages& pages) {
  std::string bytes;
  bool trusted = false;
  base::MonoTime until = base::read_clocks().mono + options_.patience_ns;
  const auto state = [&](State to) {
    const std::lock_guard lock(mutex_);
    if (place.state == State::kEnding) return false;
    enter(place, to);
    return true;
  };
  while (true) {
    const net::HttpParse parsed = net::parse_http_request(bytes);
    if (parsed.state == net::HttpParse::State::kMore) {
      const bool first_byte = bytes.empty();
      const Status status = link.read(bytes, until);
      if (status == Status::kLate && !bytes.empty()) {
        return send(link,
                    error_answer("408 Request Timeout", "late", "the request did not end",
                                 "send all of it at once"),
                    {}, true);
      }
      if (status != Status::kDone) return status == Status::kLate;
      if (first_byte) until = base::read_clocks().mono + options_.patience_ns;
      continue;
    }
    if (parsed.state != net::HttpParse::State::kRequest) {
      return send(link, malformed(parsed.state), {}, true);
    }
    const net::HttpRequest& request = parsed.request;
    const HttpAnswer answer = pages.answer(
        request,
        [&](int fd, base::MonoTime moment) { return link.wait_for(fd, moment) == Status::kDone; },
        [&] { trusted = state(State::kBusy); });
    const bool last = answer.close || !request.keep_alive || request.has_body;
    if (!send(link, answer, request, last)) return false;
    pages.sent(answer);
    if (last) return true;
    bytes.erase(0, parsed.bytes);
    until = base::read_clocks().mono + options_.idle_ns;
    if (trusted && !state(State::kIdle)) return false;
  }
}

bool LogServer::send(HttpLink& link, const HttpAnswer& answer, const net::HttpRequest& request,
                     bool last) {
  const std::string_view body = request.method == "HEAD" || answer.status.starts_with("304")
                                    ? std::string_view()
                                    : answer.body();
  const base::MonoTime until =
      base::read_clocks().mono + kFirstMinuteNs +
      static_cast<std::int64_t>(body.size() / options_.bytes_per_second) * base::kNsPerSecond;
  std::string head = head_of(answer, last);
  // Small answers go in one packet.
  constexpr std::size_t kTogether = 16 * 1024;
  const bool together = body.size() <= kTogether;
  if (together) head += body;
  if (link.write(head, options_.patience_ns, until) != Status::kDone) return false;
  return together || link.write(body, options_.patience_ns, until) == Status::kDone;
}

}  // namespace mxring::cli
