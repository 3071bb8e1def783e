#include "uring/ring.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/assert.h"
#include "base/clock.h"
#include "uring/probe.h"
#include "uring/ring_impl.h"

namespace mxring::uring {

namespace {

constexpr unsigned kSetupFlags =
    IORING_SETUP_CQSIZE |         // 5.5: completion queue larger than twice the submission queue
    IORING_SETUP_CLAMP |          // 5.6: sizes above the kernel's limit are lowered, not refused
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

void trace_queued(FaultPlan* faults, FaultPoint point, Tag tag, std::uint32_t bytes, int error) {
  if (!faults->tracing()) return;
  std::string line = fmt::format("{} slot {} generation {}", name(point), tag.slot, tag.generation);
  if (bytes != 0) line += fmt::format(" {} bytes", bytes);
  line += error == 0 ? std::string(" -> queued") : fmt::format(" -> errno {}", error);
  faults->record(std::move(line));
}

// What the plan wants of this operation. False: it is not to be submitted, and its failure waits
// among the early completions. Production passes no plan and pays one branch.
bool admitted(FaultPlan* faults, std::vector<Completion>& early, FaultPoint point, Tag tag,
              std::uint32_t* bytes) {
  if (faults == nullptr) return true;
  const FaultRule rule = faults->next(point).value_or(FaultRule{});
  if (bytes != nullptr) {
    *bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(*bytes, rule.shorten_to));
  }
  trace_queued(faults, point, tag, bytes == nullptr ? 0 : *bytes, rule.error);
  if (rule.error == 0) return true;
  Completion failure;
  failure.tag = tag;
  failure.result = -rule.error;
  early.push_back(failure);
  return false;
}

}  // namespace

Ring::Ring(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ring::Ring(Ring&&) noexcept = default;
Ring& Ring::operator=(Ring&&) noexcept = default;
Ring::~Ring() = default;

std::expected<Ring, RingError> Ring::create(const Options& options, FaultPlan* faults) {
  auto impl = std::make_unique<Impl>();
  impl->faults = faults;
  io_uring_params params{};
  params.flags = kSetupFlags;
  params.cq_entries = options.completion_entries;
  const int result = io_uring_queue_init_params(options.submission_entries, &impl->ring, &params);
  if (result < 0) return std::unexpected(RingError{-result, explain_setup_failure(-result)});
  impl->ready = true;
  // 5.18: io_uring_enter(2) finds the ring by index instead of looking the descriptor up. Without
  // it everything works the same, a little slower, so a refusal is not an error.
  io_uring_register_ring_fd(&impl->ring);
  impl->completions.reserve(params.cq_entries);
  return Ring(std::move(impl));
}

#define MXRING_NEXT_ENTRY() next_entry(&impl_->ring, impl_->early, system_calls_)

void Ring::accept(int listener_fd, Tag tag) {
  if (!admitted(impl_->faults, impl_->early, FaultPoint::kAccept, tag, nullptr)) return;
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_accept(sqe, listener_fd, nullptr, nullptr, SOCK_CLOEXEC);
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::accept_multishot(int listener_fd, Tag tag) {
  if (!admitted(impl_->faults, impl_->early, FaultPoint::kAccept, tag, nullptr)) return;
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_multishot_accept(sqe, listener_fd, nullptr, nullptr, SOCK_CLOEXEC);
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::receive_multishot(int fd, std::uint16_t group, Tag tag) {
  if (!admitted(impl_->faults, impl_->early, FaultPoint::kReceive, tag, nullptr)) return;
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = group;
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::receive(int fd, void* bytes, std::uint32_t size, Tag tag) {
  if (!admitted(impl_->faults, impl_->early, FaultPoint::kReceive, tag, &size)) return;
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_recv(sqe, fd, bytes, size, 0);
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::send(int fd, const void* bytes, std::uint32_t size, Tag tag) {
  if (!admitted(impl_->faults, impl_->early, FaultPoint::kSend, tag, &size)) return;
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  // MSG_WAITALL (honoured for sends since 5.19): the kernel itself goes on after a short send.
  io_uring_prep_send(sqe, fd, bytes, size, MSG_WAITALL | MSG_NOSIGNAL);
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::send_vector(int fd, const msghdr* message, Tag tag) {
  if (!admitted(impl_->faults, impl_->early, FaultPoint::kSend, tag, nullptr)) return;
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_sendmsg(sqe, fd, message, MSG_WAITALL | MSG_NOSIGNAL);
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::connect(int fd, const void* address, std::uint32_t address_bytes, Tag tag) {
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_connect(sqe, fd, static_cast<const sockaddr*>(address), address_bytes);
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::read(int fd, void* bytes, std::uint32_t size, Tag tag) {
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  // Position -1: where the descriptor stands; eventfds, pipes and terminals have no other.
  io_uring_prep_read(sqe, fd, bytes, size, static_cast<__u64>(-1));
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::write(int fd, const void* bytes, std::uint32_t size, Tag tag) {
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_write(sqe, fd, bytes, size, static_cast<__u64>(-1));
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::poll(int fd, std::uint32_t poll_mask, Tag tag) {
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_poll_add(sqe, fd, poll_mask);
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::poll_remove(Tag target, Tag tag) {
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_poll_remove(sqe, target.pack());
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::close(int fd, Tag tag) {
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_close(sqe, fd);
  io_uring_sqe_set_data64(sqe, tag.pack());
}

void Ring::cancel(Tag target, Tag tag) {
  io_uring_sqe* sqe = MXRING_NEXT_ENTRY();
  io_uring_prep_cancel64(sqe, target.pack(), 0);
  io_uring_sqe_set_data64(sqe, tag.pack());
}

#undef MXRING_NEXT_ENTRY

int Ring::submit() {
  if (queued() == 0) return 0;
  ++system_calls_;
  const int result = io_uring_submit(&impl_->ring);
  MXRING_ASSERT(result >= 0 || is_transient(-result));
  return result;
}

std::span<const Completion> Ring::submit_and_wait(std::int64_t timeout_ns) {
  Impl& impl = *impl_;
  impl.completions.clear();
  if (!impl.early.empty()) {
    std::swap(impl.completions, impl.early);
    timeout_ns = 0;  // there is something to act on already
  }

  // Each branch is one io_uring_enter(2) with GETEVENTS, which is also what makes the kernel run
  // deferred work and move completions that overflowed the queue back into it.
  ++system_calls_;
  int result = 0;
  if (timeout_ns == 0) {
    result = io_uring_submit_and_get_events(&impl.ring);
  } else if (timeout_ns < 0) {
    result = io_uring_submit_and_wait(&impl.ring, 1);
  } else {
    // EXT_ARG (5.11): the timeout travels with the call, it is no operation of its own.
    __kernel_timespec timeout{timeout_ns / base::kNsPerSecond, timeout_ns % base::kNsPerSecond};
    io_uring_cqe* first = nullptr;
    result = io_uring_submit_and_wait_timeout(&impl.ring, &first, 1, &timeout, nullptr);
  }
  MXRING_ASSERT(result >= 0 || is_transient(-result));
  // A queue that overflowed is emptied here and refilled by the next call: IORING_FEAT_NODROP
  // (5.5) keeps the rest in the kernel, and that next call does not wait.
  collect(&impl.ring, impl.completions);
  return impl.completions;
}

unsigned Ring::ready() const {
  return io_uring_cq_ready(&impl_->ring);
}

unsigned Ring::queued() const {
  return io_uring_sq_ready(&impl_->ring);
}

}  // namespace mxring::uring
