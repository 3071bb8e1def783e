#include "report/courier.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "net/socket_address.h"
#include "report/courier_session.h"

namespace mxring::report {

using uring::Operation;

namespace {

constexpr std::int64_t kTurnNs = 250 * base::kNsPerMs;
constexpr std::int64_t kGoodbyeNs = 5 * base::kNsPerSecond;
static_assert(kGoodbyeNs > kTurnNs);

std::string describe(const Stop& stop) {
  return fmt::format("{} [{}]:{}", stop.name, stop.endpoint.address.to_string(),
                     stop.endpoint.port);
}

}  // namespace

Courier::Courier(const CourierOptions& options) : options_(options) {}
Courier::~Courier() = default;

std::expected<std::unique_ptr<Courier>, std::string> Courier::create(
    const CourierOptions& options) {
  std::unique_ptr<Courier> courier(new Courier(options));
  if (options.tls != TlsUse::kNever) {
    auto client =
        net::TlsClient::create({.authorities_file = options.authorities_file, .server_name = {}});
    if (!client) return std::unexpected(client.error().message);
    courier->tls_client_ = *std::move(client);
  }
  auto ring = uring::Ring::create({.submission_entries = 256, .completion_entries = 1024}, nullptr);
  if (!ring) return std::unexpected(ring.error().message);
  courier->ring_.emplace(std::move(*ring));
  const std::uint32_t count = std::max(options.connections, 1U);
  for (std::uint32_t slot = 0; slot < count; ++slot) {
    courier->sessions_.push_back(std::make_unique<Session>());
    courier->sessions_.back()->slot = slot;
  }
  MXRING_ASSERT(courier->sessions_.size() == count);
  return courier;
}

void Courier::run(std::vector<Route>& routes, const Decided& decided) {
  decided_ = &decided;
  now_ = base::read_clocks();
  std::size_t next = 0;
  for (;;) {
    bool busy = false;
    for (const auto& session : sessions_) {
      // A route may end at once, when no socket can be had.
      while (session->route == nullptr && next < routes.size()) {
        start_route(*session, routes[next++]);
      }
      busy |= session->route != nullptr;
    }
    MXRING_ASSERT(next <= routes.size());
    if (!busy) return;
    const auto completions = ring_->submit_and_wait(kTurnNs);
    now_ = base::read_clocks();
    for (const uring::Completion& completion : completions) handle(completion);
    check_deadlines();
  }
}

void Courier::start_route(Session& session, Route& route) {
  MXRING_ASSERT(session.route == nullptr);
  session.route = &route;
  session.stop = 0;
  session.problem = "no address to deliver to";
  session.problem_code = 0;
  session.undecided = route.letters;
  session.reported = 0;
  session.in_clear = false;
  session.patience_ends = now_.mono + options_.patience_ns;
  open(session);
}

// The next stop, or the end of the route.
void Courier::open(Session& session) {
  std::erase_if(session.undecided, [](const Letter* l) { return l->fate != Fate::kUndecided; });
  session.reported = 0;
  if (session.undecided.empty() || session.stop == session.route->stops.size()) {
    for (Letter* letter : session.undecided) {
      letter->fate = Fate::kPutOff;
      letter->code = session.problem_code;
      letter->reply = session.problem;
    }
    report_decided(session);
    session.route = nullptr;
    return;
  }
  MXRING_ASSERT(session.stop < session.route->stops.size());
  const Stop& stop = session.here();
  for (Letter* letter : session.undecided) {
    letter->server = describe(stop);
    letter->tls.clear();
  }
  MXRING_ASSERT(session.reported == 0 && !session.undecided.empty());
  generation_ = (generation_ + 1) & 0xFFFFFF;
  session.generation = generation_;
  session.closing = false;
  session.heard_over_tls = false;
  session.tls.reset();
  session.pending.clear();
  session.replies = 0;
  session.dialogue.emplace(options_.helo, session.in_clear ? TlsUse::kNever : options_.tls,
                           session.undecided);
  const socklen_t bytes = net::to_sockaddr(stop.endpoint, session.address);
  session.fd = ::socket(session.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  if (session.fd < 0) return fail(session, std::strerror(errno));
  const int on = 1;
  ::setsockopt(session.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ring_->connect(session.fd, &session.address, bytes, session.tag(Operation::kConnect));
  session.connecting = true;
  session.deadline = now_.mono + options_.connect_timeout_ns;
}

void Courier::handle(const uring::Completion& completion) {
  if (completion.tag.slot >= sessions_.size()) return;
  Session& session = *sessions_[completion.tag.slot];
  if (completion.tag.generation != session.generation || session.route == nullptr) return;
  switch (completion.tag.operation) {
    case Operation::kConnect:
      session.connecting = false;
      if (session.closing) return finish_closing(session);
      if (completion.result < 0) return fail(session, std::strerror(-completion.result));
      session.deadline = now_.mono + options_.reply_timeout_ns;
      return pump(session);
    case Operation::kSend:
      session.sending = false;
      if (session.closing) return finish_closing(session);
      // When it fails, the server's last reply may still be on its way: the receive tells how this
      // ended.
      if (completion.result == static_cast<std::int32_t>(session.sent.size())) pump(session);
      return;
    case Operation::kReceive:
      session.receiving = false;
      if (session.closing) return finish_closing(session);
      return on_received(session, completion.result);
    default:
      return;  // cancels and closes: nobody waits for them
  }
}

void Courier::on_received(Session& session, std::int32_t result) {
  if (result == 0) return fail(session, kServerClosed);
  if (result < 0) return fail(session, std::strerror(-result));
  const std::uint32_t generation = session.generation;
  const std::string_view bytes{session.input.data(), static_cast<std::size_t>(result)};
  if (session.tls != nullptr) {
    on_ciphertext(session, bytes);
  } else {
    session.dialogue->receive(bytes);
    if (session.dialogue->wants_tls()) begin_tls(session);
  }
  // It may have failed meanwhile, and have begun anew.
  if (session.closing || session.generation != generation || session.route == nullptr) return;
  report_decided(session);
  if (session.dialogue->over()) return fail(session, session.dialogue->problem());
  // Bytes alone are no progress: a reply that dribbles in must be whole in time.
  if (session.replies != session.dialogue->replies()) set_reply_deadline(session);
  pump(session);
}

void Courier::set_reply_deadline(Session& session) {
  session.replies = session.dialogue->replies();
  session.deadline =
      now_.mono + (session.dialogue->said_goodbye()     ? kGoodbyeNs
                   : session.dialogue->awaits_verdict() ? 2 * options_.reply_timeout_ns
                                                        : options_.reply_timeout_ns);
}

// Sends what there is to say, and listens.
void Courier::pump(Session& session) {
  if (!collect_output(session)) return;
  if (!session.sending && !session.pending.empty()) {
    session.sent.swap(session.pending);
    session.pending.clear();
    ring_->send(session.fd, session.sent.data(), static_cast<std::uint32_t>(session.sent.size()),
                session.tag(Operation::kSend));
    session.sending = true;
  }
  if (session.receiving) return;
  ring_->receive(session.fd, session.input.data(), static_cast<std::uint32_t>(session.input.size()),
                 session.tag(Operation::kReceive));
  session.receiving = true;
}

// Whatever ended the session: its letters move on.
void Courier::fail(Session& session, std::string_view problem) {
  // The last reply and the end of the connection may come together.
  report_decided(session);
  session.in_clear = falls_back(session);
  if (session.dialogue->over()) {
    session.problem_code = session.dialogue->problem_code();
  } else {
    session.problem_code = 0;
    session.dialogue->broke(problem);
  }
  if (!problem.empty()) session.problem = problem;
  close(session);
}

void Courier::close(Session& session) {
  session.closing = true;
  for (const auto& [busy, operation] : {std::pair(session.connecting, Operation::kConnect),
                                        std::pair(session.receiving, Operation::kReceive),
                                        std::pair(session.sending, Operation::kSend)}) {
    if (busy) ring_->cancel(session.tag(operation), {Operation::kNone, 0, session.slot});
  }
  finish_closing(session);
}

void Courier::finish_closing(Session& session) {
  if (session.connecting || session.receiving || session.sending) return;
  if (session.fd >= 0) ::close(session.fd);
  session.fd = -1;
  if (!session.in_clear) ++session.stop;
  open(session);
}

// Letters are decided in their order.
void Courier::report_decided(Session& session) {
  while (session.reported < session.undecided.size()) {
    Letter& letter = *session.undecided[session.reported];
    if (letter.fate == Fate::kUndecided) return;
    ++session.reported;
    session.patience_ends = now_.mono + options_.patience_ns;
    (*decided_)(letter);
  }
}

void Courier::check_deadlines() {
  for (const auto& session : sessions_) {
    if (session->route == nullptr || session->closing) continue;
    if (session->patience_ends <= now_.mono) {
      session->stop = session->route->stops.size() - 1;
      fail(*session, "no letter was taken or refused within the time for it");
    } else if (session->deadline <= now_.mono) {
      fail(*session, session->connecting ? "no connection within the time for it"
                                         : "no reply within the time for it");
    }
  }
}

}  // namespace mxring::report
