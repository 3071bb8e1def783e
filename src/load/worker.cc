#include "load/worker.h"

#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <limits>
#include <utility>

namespace mxring::load {

using uring::Operation;

namespace {

constexpr std::int64_t kStartPollNs = base::kNsPerMs;
constexpr std::int64_t kInterruptGraceNs = 2 * base::kNsPerSecond;
constexpr std::int64_t kGoodbyeNs = 2 * base::kNsPerSecond;
constexpr std::int64_t kRestMinNs = 50 * base::kNsPerMs;  // after a failure, doubled each time
constexpr std::int64_t kRestMaxNs = base::kNsPerSecond;
constexpr std::uint32_t kReplyBufferBytes = 1024;

socklen_t to_sockaddr(const base::Endpoint& endpoint, sockaddr_storage& storage) {
  storage = {};
  if (endpoint.address.is_v4()) {
    auto* in = reinterpret_cast<sockaddr_in*>(&storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(endpoint.port);
    std::memcpy(&in->sin_addr, endpoint.address.bytes().data(), sizeof in->sin_addr);
    return sizeof *in;
  }
  auto* in6 = reinterpret_cast<sockaddr_in6*>(&storage);
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons(endpoint.port);
  std::memcpy(&in6->sin6_addr, endpoint.address.bytes().data(), sizeof in6->sin6_addr);
  return sizeof *in6;
}

std::int64_t thread_cpu_ns() {
  timespec cpu{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
  return cpu.tv_sec * base::kNsPerSecond + cpu.tv_nsec;
}

Loss loss_of(int error) {
  switch (error) {
    case ECONNREFUSED:
      return Loss::kRefused;
    case ECONNRESET:
    case EPIPE:
      return Loss::kReset;
    case ETIMEDOUT:
      return Loss::kTimeout;
    case EADDRNOTAVAIL:
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return Loss::kLocal;
    default:
      return Loss::kNoRoute;
  }
}

// `whole` cut into `parts`, the first ones getting what is left over.
std::uint32_t part_of(std::uint32_t whole, std::uint32_t parts, std::uint32_t index) {
  return whole / parts + (index < whole % parts ? 1 : 0);
}

}  // namespace

Worker::Worker(const Options& options, const MessageSource& source, RunControl& control,
               std::uint32_t index)
    : options_(options),
      source_(source),
      control_(control),
      index_(index),
      schedule_(options.rate.value_or(Rate{1, 1}), index, options.threads) {}

void Worker::start() {
  thread_ = std::thread([this] { run(); });
}

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::run() {
  pthread_setname_np(pthread_self(), ("mxring-load-" + std::to_string(index_)).c_str());
  // The default slack of 50 us would delay every planned message by about that much.
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  if (set_up()) {
    for (const auto& client : clients_) open(*client);
    while (opening_ > 0) turn();
    connected_ = static_cast<std::uint32_t>(idle_.size());
  }
  // Release: what was written above is read by whoever sees the count.
  control_.workers_connected.fetch_add(1, std::memory_order_release);
  await_start();
  if (ring_ && start_ns_ != RunControl::kAbandoned) {
    const std::int64_t cpu_before = thread_cpu_ns();
    make_plan();
    while (!finished()) turn();
    cpu_ns_ = thread_cpu_ns() - cpu_before;
  }
  control_.workers_done.fetch_add(1, std::memory_order_release);
  if (ring_) end_sessions();
  // The pool unregisters itself from the ring, so the ring goes last.
  buffers_.reset();
  ring_.reset();
}

bool Worker::set_up() {
  const std::uint32_t count = part_of(options_.connections, options_.threads, index_);
  auto ring = uring::Ring::create({}, nullptr);
  if (!ring) {
    set_up_error_ = ring.error().message;
    return false;
  }
  ring_.emplace(std::move(*ring));
  uring::BufferPool::Options pool;
  pool.buffer_bytes = kReplyBufferBytes;
  pool.offered = std::bit_ceil(std::clamp(count * 2, 64U, 4096U));
  pool.buffers = pool.offered * 2;
  auto buffers = uring::BufferPool::create(*ring_, pool);
  if (!buffers) {
    set_up_error_ = buffers.error().message;
    ring_.reset();
    return false;
  }
  buffers_.emplace(std::move(*buffers));
  address_bytes_ = to_sockaddr(options_.server, address_);
  now_ = base::read_clocks();
  timers_.emplace(now_.mono);
  for (std::uint32_t slot = 0; slot < count; ++slot) {
    clients_.push_back(std::make_unique<Client>());
    Client& client = *clients_.back();
    client.slot = slot;
    client.timer.client = &client;
    client.opening = true;
    ++opening_;
  }
  return true;
}

void Worker::await_start() {
  phase_ = Phase::kWaiting;
  for (;;) {
    // Acquire pairs with the release that publishes the start.
    start_ns_ = control_.start_ns.load(std::memory_order_acquire);
    if (start_ns_ == RunControl::kAbandoned) return;
    if (start_ns_ != 0 && base::read_clocks().mono.ns >= start_ns_) return;
    if (ring_) {
      turn();
    } else {
      std::this_thread::sleep_for(std::chrono::nanoseconds(kStartPollNs));
    }
  }
}

void Worker::make_plan() {
  if (options_.messages) {
    total_ = schedule_.count_among(*options_.messages);
  } else if (options_.rate) {
    total_ = schedule_.count_before(options_.duration_ns);
    cut_off_ns_ = start_ns_ + options_.duration_ns + options_.reply_timeout_ns;
  } else {
    total_ = std::numeric_limits<std::uint64_t>::max();
    plan_end_ns_ = start_ns_ + options_.duration_ns;
  }
  phase_ = Phase::kRunning;
  now_ = base::read_clocks();
  last_decision_ns_ = start_ns_;
  if (options_.rate) return;
  for (std::size_t n = idle_.size(); n > 0; --n) {
    Client& client = *idle_.front();
    idle_.remove(client);
    settle(client);
  }
  for (std::size_t n = closed_.size(); n > 0; --n) {
    Client& client = *closed_.front();
    closed_.remove(client);
    become_available(client);
  }
}

void Worker::turn() {
  const auto completions = ring_->submit_and_wait(wait_ns());
  now_ = base::read_clocks();
  // Sends first: the reply to what was sent may be in the same batch.
  for (const uring::Completion& completion : completions) {
    if (completion.tag.operation != Operation::kReceive) handle(completion);
  }
  for (const uring::Completion& completion : completions) {
    if (completion.tag.operation == Operation::kReceive) handle(completion);
  }
  timers_->advance(now_.mono, [this](uring::Timer& timer) {
    on_timer(*static_cast<ClientTimer&>(timer).client);
  });
  check_limits();
  if (phase_ == Phase::kRunning && options_.rate) dispatch();
  buffers_->replenish();
}

std::int64_t Worker::wait_ns() const {
  std::int64_t wait = uring::TimerWheel::kTickNs;
  if (phase_ == Phase::kWaiting) return kStartPollNs;
  if (phase_ != Phase::kRunning) return wait;
  if (options_.rate && plan_open() && !(idle_.empty() && closed_.empty())) {
    const std::int64_t due = start_ns_ + schedule_.planned_ns(next_) - now_.mono.ns;
    wait = std::clamp<std::int64_t>(due, 0, wait);
  }
  if (plan_end_ns_ != 0 && !plan_closed_) {
    wait = std::clamp<std::int64_t>(plan_end_ns_ - now_.mono.ns, 0, wait);
  }
  return wait;
}

void Worker::handle(const uring::Completion& completion) {
  if (completion.tag.slot >= clients_.size()) return;
  Client& client = *clients_[completion.tag.slot];
  switch (completion.tag.operation) {
    case Operation::kConnect:
      client.connecting = false;
      on_connect(client, completion.result);
      return;
    case Operation::kSend:
      client.sending = false;
      on_sent(client, completion.result);
      return;
    case Operation::kReceive:
      on_receive(client, completion);
      return;
    default:
      return;  // cancels and closes: nobody waits for them
  }
}

void Worker::on_receive(Client& client, const uring::Completion& completion) {
  const std::uint32_t generation = client.generation;
  if (!completion.more) client.receiving = false;
  if (completion.has_buffer) {
    buffers_->adopt(completion.buffer_id);
    if (completion.result > 0 && client.at != At::kClosing) {
      on_bytes(client,
               {buffers_->data(completion.buffer_id), static_cast<std::size_t>(completion.result)});
    }
    buffers_->release(completion.buffer_id);
  }
  // The bytes may have ended the connection, and the client may have opened its next one.
  if (client.generation != generation || client.fd < 0) return;
  if (client.at == At::kClosing) return finish_closing(client);
  if (completion.more) return;
  if (completion.result > 0 || completion.result == -ENOBUFS) {
    ring_->receive_multishot(client.fd, buffers_->options().group, client.tag(Operation::kReceive));
    client.receiving = true;
    return;
  }
  if (client.at == At::kQuit || client.at == At::kIdle || client.at == At::kSettling) {
    return drop(client);  // it owed us nothing any more
  }
  fail(client, completion.result == 0 ? Loss::kClosed : loss_of(-completion.result));
}

void Worker::check_limits() {
  if (phase_ == Phase::kEnding || phase_ == Phase::kWaiting) return;
  const bool stop = options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed);
  if (phase_ == Phase::kConnecting) {
    if (!stop) return;
    for (const auto& client : clients_) drop(*client);
    return;
  }
  const std::int64_t now = now_.mono.ns;
  if (stop) close_plan(kInterruptGraceNs);
  if (plan_end_ns_ != 0 && now >= plan_end_ns_) close_plan(options_.reply_timeout_ns);
  if (options_.time_limit_ns != 0 && now >= start_ns_ + options_.time_limit_ns && !finished()) {
    over_time_ = true;
    return cut_off();
  }
  if (failing_since_ns_ != 0 && now - failing_since_ns_ > options_.give_up_ns()) {
    gave_up_ = true;
    return cut_off();
  }
  if (cut_off_ns_ != 0 && now >= cut_off_ns_) cut_off();
}

// No message is taken any more; those in flight may finish. In an open loop, what fell due and was
// not sent counts as lost: leaving it out would hide the very stall that delayed it.
void Worker::close_plan(std::int64_t grace_ns) {
  if (plan_closed_) return;
  plan_closed_ = true;
  const std::int64_t latest = now_.mono.ns + grace_ns;
  cut_off_ns_ = cut_off_ns_ == 0 ? latest : std::min(cut_off_ns_, latest);
  if (!options_.rate) return;
  const std::uint64_t due = std::min(total_, schedule_.count_before(now_.mono.ns - start_ns_ + 1));
  if (due > next_) tally_.lose(Loss::kUnsent, due - next_);
}

void Worker::cut_off() {
  close_plan(0);
  for (const auto& client : clients_) {
    if (client->has_message) fail(*client, Loss::kUnfinished);
  }
}

void Worker::dispatch() {
  for (;;) {
    const bool has_idle = !idle_.empty();
    if (!has_idle && closed_.empty()) return;
    Client& client = has_idle ? *idle_.front() : *closed_.front();
    if (!take_message(client)) return;
    if (has_idle) {
      idle_.remove(client);
      begin(client);
    } else {
      closed_.remove(client);
      open(client);
    }
  }
}

bool Worker::take_message(Client& client) {
  if (!plan_open()) return false;
  client.planned = now_.mono;
  if (options_.rate) {
    client.planned = {start_ns_ + schedule_.planned_ns(next_)};
    if (client.planned > now_.mono) return false;
  } else if (plan_end_ns_ != 0 && now_.mono.ns >= plan_end_ns_) {
    return false;
  }
  client.number = schedule_.number(next_++);
  client.has_message = true;
  ++in_flight_;
  return true;
}

void Worker::end_sessions() {
  phase_ = Phase::kEnding;
  for (const auto& client : clients_) {
    if (client->at == At::kIdle) {
      idle_.remove(*client);
      say_goodbye(*client);
    } else if (client->at != At::kQuit && client->fd >= 0) {
      drop(*client);
    }
  }
  const std::int64_t deadline = now_.mono.ns + kGoodbyeNs + uring::TimerWheel::kTickNs;
  while (sockets_ > 0 && now_.mono.ns < deadline) turn();
  for (const auto& client : clients_) {
    timers_->cancel(client->timer);
    if (client->fd >= 0) ::close(client->fd);
    if (client->hook.linked()) (client->at == At::kIdle ? idle_ : closed_).remove(*client);
  }
}

void Worker::open(Client& client) {
  client.generation = (client.generation + 1) & 0xFFFFFF;
  client.messages_here = 0;
  client.parser.reset();
  client.offers_pipelining = client.offers_size = client.offers_8bit = false;
  client.at = At::kConnecting;
  client.fd = ::socket(address_.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  if (client.fd < 0) {
    note_failure(std::strerror(errno));
    return fail(client, Loss::kLocal);
  }
  ++sockets_;
  const int on = 1;
  ::setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ring_->connect(client.fd, &address_, address_bytes_, client.tag(Operation::kConnect));
  client.connecting = true;
  set_timer(client, options_.connect_timeout_ns);
}

void Worker::on_connect(Client& client, int result) {
  if (client.at == At::kClosing) return finish_closing(client);
  if (result < 0) {
    note_failure(result == -ECONNREFUSED ? "nothing listens there (connection refused)"
                                         : std::strerror(-result));
    return fail(client, loss_of(-result));
  }
  client.at = At::kBanner;
  ring_->receive_multishot(client.fd, buffers_->options().group, client.tag(Operation::kReceive));
  client.receiving = true;
  set_timer(client, options_.reply_timeout_ns);
}

// The connection is of no further use; the message it worked for, if any, is lost.
void Worker::fail(Client& client, Loss loss) {
  note_failure(std::string(describe(loss)));
  if (client.has_message) {
    tally_.lose(loss);
    decided(client);
  }
  if (client.messages_here == 0) ++client.failures;
  if (failing_since_ns_ == 0) failing_since_ns_ = now_.mono.ns;
  drop(client);
}

void Worker::reject(Client& client, int code, std::string_view text) {
  tally_.reject(code, text);
  decided(client);
}

void Worker::decided(Client& client) {
  client.has_message = false;
  --in_flight_;
  last_decision_ns_ = now_.mono.ns;
}

void Worker::drop(Client& client) {
  if (client.at == At::kClosing || client.at == At::kClosed || client.at == At::kResting) return;
  if (client.at == At::kIdle && client.hook.linked()) idle_.remove(client);
  client.at = At::kClosing;
  timers_->cancel(client.timer);
  // The cancelled operations' completions let finish_closing() go on.
  for (const auto& [busy, operation] : {std::pair(client.connecting, Operation::kConnect),
                                        std::pair(client.receiving, Operation::kReceive),
                                        std::pair(client.sending, Operation::kSend)}) {
    if (busy) ring_->cancel(client.tag(operation), {Operation::kNone, 0, client.slot});
  }
  finish_closing(client);
}

void Worker::finish_closing(Client& client) {
  if (client.connecting || client.receiving || client.sending) return;
  if (client.fd >= 0) {
    ring_->close(client.fd, {Operation::kNone, 0, client.slot});
    client.fd = -1;
    --sockets_;
  }
  if (client.opening) {
    client.opening = false;
    --opening_;
  }
  if (client.failures == 0) return become_available(client);
  client.at = At::kResting;
  const unsigned doublings = std::min(client.failures - 1, 8U);
  set_timer(client, std::min(kRestMinNs << doublings, kRestMaxNs));
}

void Worker::become_available(Client& client) {
  client.at = At::kClosed;
  if (phase_ == Phase::kRunning && !options_.rate && take_message(client)) return open(client);
  closed_.push_back(client);
}

void Worker::on_timer(Client& client) {
  switch (client.at) {
    case At::kResting:
      return become_available(client);
    case At::kClosed:
    case At::kClosing:
    case At::kIdle:
      return;
    case At::kQuit:
    case At::kSettling:
      return drop(client);
    default:
      return fail(client, Loss::kTimeout);
  }
}

void Worker::set_timer(Client& client, std::int64_t after_ns) {
  timers_->set(client.timer, now_.mono + after_ns);
}

// Kept for the case that the run cannot begin: then this is why.
void Worker::note_failure(std::string text) {
  if (tally_.first_failure.empty()) tally_.first_failure = std::move(text);
}

}  // namespace mxring::load
