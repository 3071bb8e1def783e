#include "load/worker.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <ctime>
#include <limits>
#include <utility>

#include "base/assert.h"
#include "net/socket_address.h"

namespace mxring::load {

using uring::Operation;

namespace {

constexpr std::int64_t kStartPollNs = base::kNsPerMs;
constexpr std::int64_t kInterruptGraceNs = 2 * base::kNsPerSecond;
constexpr std::int64_t kGoodbyeNs = 2 * base::kNsPerSecond;
static_assert(kStartPollNs < kGoodbyeNs && kStartPollNs < kInterruptGraceNs);
constexpr std::uint32_t kReplyBufferBytes = 1024;
static_assert((kReplyBufferBytes & (kReplyBufferBytes - 1)) == 0);

std::int64_t thread_cpu_ns() {
  timespec cpu{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
  return cpu.tv_sec * base::kNsPerSecond + cpu.tv_nsec;
}

// `whole` cut into `parts`, the first ones getting what is left over.
std::uint32_t part_of(std::uint32_t whole, std::uint32_t parts, std::uint32_t index) {
  MXRING_ASSERT(parts > 0 && index < parts);
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
  MXRING_ASSERT(!thread_.joinable());
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
  MXRING_ASSERT(!ring_);
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
  address_bytes_ = net::to_sockaddr(options_.server, address_);
  now_ = base::read_clocks();
  timers_.emplace(now_.mono);
  for (std::uint32_t slot = 0; slot < count; ++slot) {
    clients_.push_back(std::make_unique<Client>());
    Client& client = *clients_.back();
    client.slot = slot;
    client.timer.client = &client;
    MXRING_ASSERT(client.slot == clients_.size() - 1);
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
  MXRING_ASSERT(phase_ == Phase::kWaiting && next_ == 0);
  phase_ = Phase::kRunning;
  now_ = base::read_clocks();
  last_decision_ns_ = start_ns_;
  MXRING_ASSERT(idle_.size() + closed_.size() <= clients_.size());
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
  MXRING_ASSERT(ring_.has_value() && timers_.has_value() && buffers_.has_value());
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

void Worker::check_limits() {
  if (phase_ == Phase::kEnding || phase_ == Phase::kWaiting) return;
  const bool stop = options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed);
  if (phase_ == Phase::kConnecting) {
    if (!stop) return;
    for (const auto& client : clients_) drop(*client);
    return;
  }
  const std::int64_t now = now_.mono.ns;
  if (stop && !stopped_) stop_planning();
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

// In an open loop what fell due before is still sent, for as long as there is grace: the one that
// is due this very moment is not lost, and a stall shows all the same.
void Worker::stop_planning() {
  MXRING_ASSERT(!stopped_);
  stopped_ = true;
  if (!options_.rate) return close_plan(kInterruptGraceNs);
  total_ = std::min(total_, schedule_.count_before(now_.mono.ns - start_ns_ + 1));
  const std::int64_t latest = now_.mono.ns + kInterruptGraceNs;
  cut_off_ns_ = cut_off_ns_ == 0 ? latest : std::min(cut_off_ns_, latest);
}

// No message is taken any more; those in flight may finish. In an open loop, what fell due and was
// not sent counts as lost: leaving it out would hide the very stall that delayed it.
void Worker::close_plan(std::int64_t grace_ns) {
  if (plan_closed_) return;
  MXRING_ASSERT(grace_ns >= 0);
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
  MXRING_ASSERT(options_.rate.has_value());
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
  MXRING_ASSERT(!client.has_message && next_ <= total_);
  client.has_message = true;
  ++in_flight_;
  return true;
}

void Worker::end_sessions() {
  MXRING_ASSERT(phase_ != Phase::kEnding);
  phase_ = Phase::kEnding;
  for (const auto& client : clients_) {
    if (client->at == At::kIdle) {
      idle_.remove(*client);
      say_goodbye(*client);
    } else if (client->at != At::kQuit && client->fd >= 0) {
      drop(*client);
    }
  }
  MXRING_ASSERT(sockets_ <= clients_.size());
  const std::int64_t deadline = now_.mono.ns + kGoodbyeNs + uring::TimerWheel::kTickNs;
  while (sockets_ > 0 && now_.mono.ns < deadline) turn();
  for (const auto& client : clients_) {
    timers_->cancel(client->timer);
    if (client->fd >= 0) ::close(client->fd);
    if (client->hook.linked()) (client->at == At::kIdle ? idle_ : closed_).remove(*client);
  }
}

}  // namespace mxring::load
