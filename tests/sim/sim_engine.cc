#include "tests/sim/sim_engine.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tests/sim/net.h"

namespace mxring::sim {

using uring::Completion;
using uring::Request;
using Kind = uring::Request::Kind;

namespace {
constexpr std::uint32_t kIdleLooksMax = 2000;
}  // namespace

SimEngine::SimEngine(World& world, const EngineMood& mood)
    : world_(world), mood_(mood), dice_(world.dice().fork()) {
  world_.net().engines.push_back(this);
}

SimEngine::~SimEngine() {
  std::erase(world_.net().engines, this);
}

void SimEngine::complete(uring::Tag tag, std::int64_t result, bool more) {
  Completion completion;
  completion.tag = tag;
  completion.result = static_cast<std::int32_t>(result);
  completion.more = more;
  done_.push_back(completion);
}

int SimEngine::submit() {
  ++system_calls_;
  const std::vector<Request> taken = std::exchange(queued_, {});
  for (const Request& request : taken) begin(request);
  return static_cast<int>(taken.size());
}

void SimEngine::begin(const Request& request) {
  switch (request.kind) {
    case Kind::kClose:
      close(request);
      return;
    case Kind::kCancel:
    case Kind::kPollRemove:
      cancel(request);
      return;
    default:
      break;
  }
  if (world_.net().find(request.fd) == nullptr) {
    complete(request.tag, -EBADF);
    return;
  }
  pending_.push_back({request, 0, -1});
}

// What is under way may finish before the cancel reaches it.
void SimEngine::cancel(const Request& request) {
  const auto found = std::ranges::find_if(
      pending_, [&](const Pending& pending) { return pending.request.tag == request.target; });
  if (found == pending_.end()) {
    complete(request.tag, -ENOENT);
    return;
  }
  const bool races = dice_.permille(mood_.cancel_late);
  if (races && is_ready(*found) && attempt(*found) == Attempt::kDone) {
    pending_.erase(found);
    complete(request.tag, -ENOENT);
    return;
  }
  const bool own_first = dice_.permille(500);
  if (own_first) complete(request.tag, 0);
  complete(found->request.tag,
           found->sent > 0 ? static_cast<std::int64_t>(found->sent) : -ECANCELED);
  if (!own_first) complete(request.tag, 0);
  pending_.erase(found);
}

// As the kernel: what is in flight on the file goes on holding it; the receiver closes only what
// has nothing in flight, and that is judged here.
void SimEngine::close(const Request& request) {
  for (const Pending& pending : pending_) {
    if (pending.request.fd == request.fd) {
      convict(fmt::format("descriptor {} is closed with an operation in flight", request.fd));
    }
  }
  complete(request.tag, world_.net().close(request.fd) ? 0 : -EBADF);
}

bool SimEngine::is_ready(const Pending& pending) const {
  const Descriptor* descriptor = world_.net().find(pending.request.fd);
  if (descriptor == nullptr) return true;
  const std::uint32_t events = world_.net().ready(*descriptor);
  switch (pending.request.kind) {
    case Kind::kSend:
    case Kind::kSendVector:
    case Kind::kWrite:
      return (events & (POLLOUT | POLLERR)) != 0;
    case Kind::kPoll:
      return (events & (pending.request.size | POLLERR | POLLHUP)) != 0;
    default:
      return (events & (POLLIN | POLLERR)) != 0;
  }
}

SimEngine::Attempt SimEngine::attempt(Pending& pending) {
  if (world_.net().find(pending.request.fd) == nullptr) {
    complete(pending.request.tag, -EBADF);
    return Attempt::kDone;
  }
  switch (pending.request.kind) {
    case Kind::kAccept:
    case Kind::kAcceptMultishot:
      return accept(pending);
    case Kind::kReceiveMultishot:
      return receive_into_group(pending);
    case Kind::kReceive:
      return receive(pending);
    case Kind::kSend:
      return send(pending);
    case Kind::kRead:
      return read_event(pending);
    case Kind::kPoll:
      return poll(pending);
    default:
      convict("an operation that the simulated engine does not know");
  }
}

SimEngine::Attempt SimEngine::accept(Pending& pending) {
  Descriptor* descriptor = world_.net().find(pending.request.fd);
  if (descriptor->listening == nullptr || descriptor->listening->backlog.empty()) {
    return Attempt::kWaits;
  }
  if (dice_.permille(mood_.accept_fails)) {
    complete(pending.request.tag, -dice_.pick({ECONNABORTED, EMFILE, ENFILE, ENOMEM}));
    return Attempt::kDone;
  }
  auto& backlog = descriptor->listening->backlog;
  StreamPtr stream = backlog.front();
  backlog.erase(backlog.begin());
  Descriptor made;
  made.stream = std::move(stream);
  const bool more = pending.request.kind == Kind::kAcceptMultishot;
  complete(pending.request.tag, world_.net().add(std::move(made)), more);
  return more ? Attempt::kWaits : Attempt::kDone;
}

SimEngine::Attempt SimEngine::receive_into_group(Pending& pending) {
  const StreamPtr stream = world_.net().find(pending.request.fd)->stream;
  if (stream->reset || dice_.permille(mood_.receive_fails)) {
    complete(pending.request.tag, -dice_.pick({ECONNRESET, ECONNRESET, ETIMEDOUT}));
    return Attempt::kDone;
  }
  std::string& bytes = stream->to_near.bytes;
  if (bytes.empty()) {
    if (!stream->to_near.ended) return Attempt::kWaits;
    complete(pending.request.tag, 0);
    return Attempt::kDone;
  }
  const bool none = buffers_.empty() || !buffers_.front().published;
  if (none || dice_.permille(mood_.no_buffers)) {
    complete(pending.request.tag, -ENOBUFS);
    return Attempt::kDone;
  }
  std::size_t size = std::min<std::size_t>(bytes.size(), group_.buffer_bytes);
  if (dice_.permille(mood_.receive_short)) size = 1 + dice_.below(size);
  const Buffer buffer = buffers_.front();
  buffers_.erase(buffers_.begin());
  std::memset(buffer.memory, 0xDB, group_.buffer_bytes);  // nobody may count on what was there
  std::memcpy(buffer.memory, bytes.data(), size);
  bytes.erase(0, size);
  const bool more = !dice_.permille(mood_.multishot_ends);
  complete(pending.request.tag, static_cast<std::int64_t>(size), more);
  done_.back().has_buffer = true;
  done_.back().buffer_id = buffer.id;
  done_.back().socket_nonempty = !bytes.empty();
  world_.net().changed(stream);
  return more ? Attempt::kWaits : Attempt::kDone;
}

SimEngine::Attempt SimEngine::receive(Pending& pending) {
  const StreamPtr stream = world_.net().find(pending.request.fd)->stream;
  if (stream->reset) {
    complete(pending.request.tag, -ECONNRESET);
    return Attempt::kDone;
  }
  std::string& bytes = stream->to_near.bytes;
  if (bytes.empty() && !stream->to_near.ended) return Attempt::kWaits;
  const std::size_t size = std::min<std::size_t>(bytes.size(), pending.request.size);
  std::memcpy(const_cast<void*>(pending.request.bytes), bytes.data(), size);
  bytes.erase(0, size);
  complete(pending.request.tag, static_cast<std::int64_t>(size));
  world_.net().changed(stream);
  return Attempt::kDone;
}

// MSG_WAITALL: goes on until all is sent, or the peer is gone.
SimEngine::Attempt SimEngine::send(Pending& pending) {
  const StreamPtr stream = world_.net().find(pending.request.fd)->stream;
  const bool fails = dice_.permille(mood_.send_fails);
  if (stream->reset || stream->to_far.ended || stream->far_closed || fails) {
    const std::int64_t error = -dice_.pick({EPIPE, ECONNRESET});
    complete(pending.request.tag,
             pending.sent > 0 ? static_cast<std::int64_t>(pending.sent) : error);
    return Attempt::kDone;
  }
  const std::size_t left = pending.request.size - pending.sent;
  const std::size_t taken = std::min(left, stream->to_far.room());
  stream->to_far.bytes.append(static_cast<const char*>(pending.request.bytes) + pending.sent,
                              taken);
  pending.sent += taken;
  if (taken > 0) {
    world_.trace(fmt::format("stream {}: {} bytes of replies", stream->number, taken));
    world_.net().changed(stream);
  }
  const bool ends_short = pending.sent > 0 && dice_.permille(mood_.send_short);
  if (pending.sent < pending.request.size && !ends_short) return Attempt::kWaits;
  complete(pending.request.tag, static_cast<std::int64_t>(pending.sent));
  return Attempt::kDone;
}

SimEngine::Attempt SimEngine::read_event(Pending& pending) {
  EventCount& event = *world_.net().find(pending.request.fd)->event;
  if (event.value == 0) return Attempt::kWaits;
  std::memcpy(const_cast<void*>(pending.request.bytes), &event.value, sizeof event.value);
  event.value = 0;
  complete(pending.request.tag, sizeof event.value);
  return Attempt::kDone;
}

SimEngine::Attempt SimEngine::poll(Pending& pending) {
  const std::uint32_t events = world_.net().ready(*world_.net().find(pending.request.fd)) &
                               (pending.request.size | POLLERR | POLLHUP);
  if (events == 0) return Attempt::kWaits;
  complete(pending.request.tag, events);
  return Attempt::kDone;
}

Ns SimEngine::progress() {
  Ns next = INT64_MAX;
  std::vector<std::list<Pending>::iterator> order;
  for (auto at = pending_.begin(); at != pending_.end(); ++at) order.push_back(at);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[dice_.below(i)]);
  for (const auto at : order) {
    if (!is_ready(*at)) {
      at->not_before = -1;
      continue;
    }
    if (at->not_before < 0) {
      const bool late = dice_.permille(mood_.late);
      at->not_before = world_.now() + (late ? dice_.between(1, mood_.late_max) : 0);
    }
    if (at->not_before > world_.now() || done_.size() >= mood_.completions_max) {
      next = std::min(next, at->not_before);
      continue;
    }
    at->not_before = -1;
    if (attempt(*at) == Attempt::kDone) {
      pending_.erase(at);
    } else if (is_ready(*at)) {
      next = world_.now();
    }
  }
  return next;
}

void SimEngine::submit_and_wait(std::int64_t timeout_ns, std::vector<Completion>& out) {
  submit();
  const Ns deadline = timeout_ns < 0 ? INT64_MAX : world_.now() + timeout_ns;
  for (;;) {
    const Ns next = progress();
    if (!done_.empty() || world_.now() >= deadline) break;
    const Ns until = std::min(deadline, next);
    world_.wait_on(this, until == INT64_MAX ? -1 : std::max(until, world_.now() + 1));
    if (dice_.permille(mood_.wakes_early)) break;  // as after a signal
  }
  if (timeout_ns == 0) world_.maybe_yield(300);
  const std::size_t count = std::min(done_.size(), mood_.completions_max);
  // Work that is left over is worked off sooner or later; who only looks around burns a processor.
  idle_looks_ = timeout_ns == 0 && count == 0 ? idle_looks_ + 1 : 0;
  if (idle_looks_ > kIdleLooksMax) convict("a shard goes round and round with nothing to do");
  out.insert(out.end(), done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(count));
  done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(count));
}

std::expected<void, uring::RingError> SimEngine::add_group(const uring::BufferGroup& group) {
  group_ = group;
  return {};
}

void SimEngine::remove_group(std::uint16_t) {
  buffers_.clear();
}

void SimEngine::offer(std::uint16_t, std::uint16_t id, char* memory) {
  for (const Buffer& buffer : buffers_) {
    if (buffer.id == id) convict(fmt::format("receive buffer {} is offered twice", id));
  }
  if (buffers_.size() >= group_.entries) convict("more receive buffers offered than there is room");
  buffers_.push_back({id, memory, false});
}

void SimEngine::publish(std::uint16_t) {
  for (Buffer& buffer : buffers_) buffer.published = true;
}

}  // namespace mxring::sim
