// The engine on io_uring. The only file besides probe.cc that includes liburing.
#include <fmt/format.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/clock.h"
#include "base/units.h"
#include "uring/engine.h"
#include "uring/probe.h"

namespace mxring::uring {

namespace {

constexpr unsigned kSetupFlags =
    IORING_SETUP_CQSIZE |         // 5.5: completion queue larger than twice the submission queue
    IORING_SETUP_CLAMP |          // 5.6: sizes above the kernel's limit are lowered, not refused
    IORING_SETUP_R_DISABLED |     // 5.10: not before restrict_operations() has said what is allowed
    IORING_SETUP_SUBMIT_ALL |     // 5.18: one bad operation does not hold back those behind it
    IORING_SETUP_SINGLE_ISSUER |  // 6.0
    IORING_SETUP_DEFER_TASKRUN;   // 6.1: completions are made when we ask, not by interrupting us

Completion decode(const io_uring_cqe& cqe) {
  Completion completion;
  completion.tag = Tag::unpack(cqe.user_data);
  completion.result = cqe.res;
  completion.more = (cqe.flags & IORING_CQE_F_MORE) != 0;
  completion.has_buffer = (cqe.flags & IORING_CQE_F_BUFFER) != 0;
  completion.buffer_id = static_cast<std::uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
  completion.socket_nonempty = (cqe.flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
  return completion;
}

// Empties the completion queue into `out` and hands its entries back with one store.
void collect(io_uring* ring, std::vector<Completion>& out) {
  unsigned head = 0;
  unsigned seen = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(ring, head, cqe) {
    out.push_back(decode(*cqe));
    ++seen;
  }
  if (seen != 0) io_uring_cq_advance(ring, seen);
}

// Answers of io_uring_enter(2) after which the loop simply goes on: the wait ended early, or the
// kernel was short of something for the moment and keeps what it did not take.
bool is_transient(int error) {
  return error == ETIME || error == EINTR || error == EAGAIN || error == EBUSY || error == ENOMEM;
}

// An entry to fill. A full queue is submitted early; the kernel then owes us nothing but the next
// completion, so the queue is empty again.
io_uring_sqe* next_entry(io_uring* ring, std::vector<Completion>& early,
                         std::uint64_t& system_calls) {
  constexpr int kAttempts = 1000;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (io_uring_sqe* sqe = io_uring_get_sqe(ring)) return sqe;
    ++system_calls;
    const int result = io_uring_submit(ring);
    if (result >= 0) continue;
    MXRING_ASSERT(is_transient(-result));
    // The kernel will not take more before some completions are taken from it.
    ++system_calls;
    io_uring_get_events(ring);
    collect(ring, early);
  }
  // Nothing sensible is left to do with the operation: losing it would hang a connection.
  base::assertion_failed("the kernel takes queued operations", __FILE__, __LINE__);
}

void prepare(io_uring_sqe* sqe, const Request& request) {
  auto* memory = const_cast<void*>(request.bytes);
  switch (request.kind) {
    case Request::Kind::kAccept:
      io_uring_prep_accept(sqe, request.fd, nullptr, nullptr, SOCK_CLOEXEC);
      break;
    case Request::Kind::kAcceptMultishot:
      io_uring_prep_multishot_accept(sqe, request.fd, nullptr, nullptr, SOCK_CLOEXEC);
      break;
    case Request::Kind::kReceiveMultishot:
      io_uring_prep_recv_multishot(sqe, request.fd, nullptr, 0, 0);
      sqe->flags |= IOSQE_BUFFER_SELECT;
      sqe->buf_group = request.group;
      break;
    case Request::Kind::kReceive:
      io_uring_prep_recv(sqe, request.fd, memory, request.size, 0);
      break;
    case Request::Kind::kSend:
      // MSG_WAITALL (honoured for sends since 5.19): the kernel itself goes on after a short send.
      io_uring_prep_send(sqe, request.fd, memory, request.size, MSG_WAITALL | MSG_NOSIGNAL);
      break;
    case Request::Kind::kSendVector:
      io_uring_prep_sendmsg(sqe, request.fd, static_cast<const msghdr*>(request.bytes),
                            MSG_WAITALL | MSG_NOSIGNAL);
      break;
    case Request::Kind::kConnect:
      io_uring_prep_connect(sqe, request.fd, static_cast<const sockaddr*>(request.bytes),
                            request.size);
      break;
    case Request::Kind::kRead:
      // Position -1: where the descriptor stands; eventfds, pipes and terminals have no other.
      io_uring_prep_read(sqe, request.fd, memory, request.size, static_cast<__u64>(-1));
      break;
    case Request::Kind::kWrite:
      io_uring_prep_write(sqe, request.fd, memory, request.size, static_cast<__u64>(-1));
      break;
    case Request::Kind::kPoll:
      io_uring_prep_poll_add(sqe, request.fd, request.size);
      break;
    case Request::Kind::kPollRemove:
      io_uring_prep_poll_remove(sqe, request.target.pack());
      break;
    case Request::Kind::kClose:
      io_uring_prep_close(sqe, request.fd);
      break;
    case Request::Kind::kCancel:
      io_uring_prep_cancel64(sqe, request.target.pack(), 0);
      break;
  }
  io_uring_sqe_set_data64(sqe, request.tag.pack());
}

// Everything that prepare() makes, and what is registered later: a ring that falls into other hands
// opens no file and sends no message to another ring. `connects`: whether it may call out.
std::vector<io_uring_restriction> allowed_operations(bool connects) {
  std::vector<io_uring_restriction> all;
  const auto add = [&all](std::uint16_t kind, std::uint8_t value) {
    io_uring_restriction& one = all.emplace_back();
    one.opcode = kind;
    one.sqe_op = value;  // shares its place with the other kinds of value
  };
  for (const std::uint8_t operation :
       {IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND, IORING_OP_SENDMSG, IORING_OP_READ,
        IORING_OP_WRITE, IORING_OP_POLL_ADD, IORING_OP_POLL_REMOVE, IORING_OP_CLOSE,
        IORING_OP_ASYNC_CANCEL}) {
    add(IORING_RESTRICTION_SQE_OP, operation);
  }
  if (connects) add(IORING_RESTRICTION_SQE_OP, IORING_OP_CONNECT);
  for (const std::uint8_t registered : {IORING_REGISTER_RING_FDS, IORING_UNREGISTER_RING_FDS,
                                        IORING_REGISTER_PBUF_RING, IORING_UNREGISTER_PBUF_RING}) {
    add(IORING_RESTRICTION_REGISTER_OP, registered);
  }
  add(IORING_RESTRICTION_SQE_FLAGS_ALLOWED, IOSQE_BUFFER_SELECT);
  return all;
}

// 5.10. Without it everything works the same, only less confined. Enables the ring, whose one
// issuer is this thread from now on. 0, or a negative errno.
int restrict_operations(io_uring* ring, bool connects) {
  std::vector<io_uring_restriction> allowed = allowed_operations(connects);
  // Debian 12's liburing declares these two without exporting them.
  ::syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, allowed.data(),
            static_cast<unsigned>(allowed.size()));
  const long enabled =
      ::syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0U);
  return enabled < 0 ? -errno : 0;
}

RingError register_error(int error) {
  if (error == EINVAL) {
    return {error,
            "this kernel has no provided-buffer rings (they came with 5.19); mxring needs "
            "Linux 6.1 or newer for io_uring"};
  }
  return {error, fmt::format("the kernel refused the receive buffers: {}", std::strerror(error))};
}

// A provided-buffer ring (IORING_REGISTER_PBUF_RING, 5.19): entries that the kernel takes from.
struct KernelGroup {
  BufferGroup options;
  io_uring_buf_ring* ring = nullptr;
  std::size_t bytes = 0;
  std::uint16_t tail = 0;
};

class IoUringEngine final : public Engine {
 public:
  IoUringEngine() = default;
  ~IoUringEngine() override;

  std::expected<void, RingError> set_up(const Ring::Options& options);

  std::string_view name() const override { return "io_uring"; }
  void queue(const Request& request) override;
  int submit() override;
  void submit_and_wait(std::int64_t timeout_ns, std::vector<Completion>& out) override;
  unsigned queued() const override { return io_uring_sq_ready(&ring_); }
  unsigned ready() const override { return io_uring_cq_ready(&ring_); }
  std::uint64_t system_calls() const override { return system_calls_; }

  std::expected<void, RingError> add_group(const BufferGroup& group) override;
  void remove_group(std::uint16_t group) override;
  void offer(std::uint16_t group, std::uint16_t buffer_id, char* memory) override;
  void publish(std::uint16_t group) override;

 private:
  KernelGroup& find(std::uint16_t group);

  io_uring ring_{};
  bool is_set_up_ = false;  // `ring_` has to be torn down
  std::uint64_t system_calls_ = 0;
  std::vector<Completion> early_;  // collected before the next submit_and_wait()
  std::vector<KernelGroup> groups_;
};

IoUringEngine::~IoUringEngine() {
  if (is_set_up_) io_uring_queue_exit(&ring_);
  for (const KernelGroup& group : groups_) ::munmap(group.ring, group.bytes);
}

std::expected<void, RingError> IoUringEngine::set_up(const Ring::Options& options) {
  io_uring_params params{};
  params.flags = kSetupFlags;
  params.cq_entries = options.completion_entries;
  const int result = io_uring_queue_init_params(options.submission_entries, &ring_, &params);
  if (result < 0) return std::unexpected(RingError{-result, explain_setup_failure(-result)});
  is_set_up_ = true;
  if (const int enabled = restrict_operations(&ring_, options.connects); enabled < 0) {
    return std::unexpected(RingError{-enabled, explain_setup_failure(-enabled)});
  }
  // 5.18: io_uring_enter(2) finds the ring by index instead of looking the descriptor up. Without
  // it everything works the same, a little slower, so a refusal is not an error.
  io_uring_register_ring_fd(&ring_);
  early_.reserve(64);
  return {};
}

void IoUringEngine::queue(const Request& request) {
  prepare(next_entry(&ring_, early_, system_calls_), request);
}

int IoUringEngine::submit() {
  if (queued() == 0) return 0;
  ++system_calls_;
  const int result = io_uring_submit(&ring_);
  MXRING_ASSERT(result >= 0 || is_transient(-result));
  return result;
}

void IoUringEngine::submit_and_wait(std::int64_t timeout_ns, std::vector<Completion>& out) {
  if (!early_.empty()) {
    out.insert(out.end(), early_.begin(), early_.end());
    early_.clear();
    timeout_ns = 0;  // there is something to act on already
  }
  // Each branch is one io_uring_enter(2) with GETEVENTS, which is also what makes the kernel run
  // deferred work and move completions that overflowed the queue back into it.
  ++system_calls_;
  int result = 0;
  if (timeout_ns == 0) {
    result = io_uring_submit_and_get_events(&ring_);
  } else if (timeout_ns < 0) {
    result = io_uring_submit_and_wait(&ring_, 1);
  } else {
    // EXT_ARG (5.11): the timeout travels with the call, it is no operation of its own.
    __kernel_timespec timeout{timeout_ns / base::kNsPerSecond, timeout_ns % base::kNsPerSecond};
    io_uring_cqe* first = nullptr;
    result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &timeout, nullptr);
  }
  MXRING_ASSERT(result >= 0 || is_transient(-result));
  // A queue that overflowed is emptied here and refilled by the next call: IORING_FEAT_NODROP
  // (5.5) keeps the rest in the kernel, and that next call does not wait.
  collect(&ring_, out);
}

std::expected<void, RingError> IoUringEngine::add_group(const BufferGroup& options) {
  KernelGroup group;
  group.options = options;
  group.bytes = options.entries * sizeof(io_uring_buf);
  void* memory =
      ::mmap(nullptr, group.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return std::unexpected(RingError{errno, "no memory for the ring of receive buffers"});
  }
  group.ring = static_cast<io_uring_buf_ring*>(memory);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(group.ring);
  registration.ring_entries = options.entries;
  registration.bgid = options.group;
  const int result = io_uring_register_buf_ring(&ring_, &registration, 0);
  if (result < 0) {
    ::munmap(memory, group.bytes);
    return std::unexpected(register_error(-result));
  }
  groups_.push_back(group);
  return {};
}

KernelGroup& IoUringEngine::find(std::uint16_t group) {
  // One, rarely two: a search is a comparison.
  const auto found = std::find_if(groups_.begin(), groups_.end(), [&](const KernelGroup& each) {
    return each.options.group == group;
  });
  MXRING_ASSERT(found != groups_.end());
  return *found;
}

void IoUringEngine::remove_group(std::uint16_t group) {
  KernelGroup& found = find(group);
  io_uring_unregister_buf_ring(&ring_, group);
  ::munmap(found.ring, found.bytes);
  groups_.erase(groups_.begin() + (&found - groups_.data()));
}

void IoUringEngine::offer(std::uint16_t group, std::uint16_t buffer_id, char* memory) {
  KernelGroup& found = find(group);
  auto* entries = reinterpret_cast<io_uring_buf*>(found.ring);
  // Field by field: the reserved part of the first entry is where the kernel reads the tail.
  io_uring_buf& entry = entries[found.tail & (found.options.entries - 1)];
  entry.addr = reinterpret_cast<std::uintptr_t>(memory);
  entry.len = found.options.buffer_bytes;
  entry.bid = buffer_id;
  ++found.tail;
}

void IoUringEngine::publish(std::uint16_t group) {
  KernelGroup& found = find(group);
  // Pairs with the kernel's acquiring read of the tail: it sees the entries before the index.
  __atomic_store_n(&found.ring->tail, found.tail, __ATOMIC_RELEASE);
}

}  // namespace

std::expected<std::unique_ptr<Engine>, RingError> make_io_uring_engine(
    const Ring::Options& options) {
  auto engine = std::make_unique<IoUringEngine>();
  if (auto ready = engine->set_up(options); !ready) return std::unexpected(ready.error());
  return engine;
}

}  // namespace mxring::uring
