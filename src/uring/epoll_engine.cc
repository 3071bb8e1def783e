// The engine on epoll(7), for hosts and containers that forbid io_uring. An operation that would
// block waits in its descriptor's list until epoll reports the descriptor (level-triggered), and is
// then tried again. Sockets stay blocking for everybody else: each call carries MSG_DONTWAIT.
//
// What a turn does for one descriptor is bounded (kBuffersEachTurn, kAcceptsEachTurn): what is left
// is reported again by the next wait.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/clock.h"
#include "uring/engine.h"
#include "uring/epoll_operations.h"

namespace mxring::uring {

namespace {

using Kind = Request::Kind;

constexpr int kEventsEachTurn = 512;
constexpr int kBuffersEachTurn = 4;
constexpr int kAcceptsEachTurn = 16;
constexpr std::size_t kPiecesEachCall = 64;

// Buffers on offer, oldest first.
struct OfferedBuffers {
  struct Entry {
    std::uint16_t id = 0;
    char* memory = nullptr;
  };
  BufferGroup options;
  std::vector<Entry> entries;  // a circle of options.entries
  std::uint32_t head = 0;
  std::uint32_t tail = 0;       // offered
  std::uint32_t published = 0;  // of these, what may be taken

  bool empty() const { return head == published; }
  Entry& front() { return entries[head & (options.entries - 1)]; }
};

std::uint32_t wanted_events(const Request& request) {
  switch (request.kind) {
    case Kind::kAccept:
    case Kind::kAcceptMultishot:
    case Kind::kReceiveMultishot:
    case Kind::kReceive:
    case Kind::kRead:
      return EPOLLIN;
    case Kind::kPoll:
      return request.size;  // EPOLL* and POLL* have the same values
    case Kind::kSend:
    case Kind::kSendVector:
    case Kind::kConnect:
    case Kind::kWrite:
      return EPOLLOUT;
    case Kind::kPollRemove:
    case Kind::kClose:
    case Kind::kCancel:
      break;
  }
  return 0;
}

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

void set_non_blocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

// What is left of a gather list after `sent` bytes, as much as one call takes.
std::size_t remaining_pieces(const msghdr& message, std::uint64_t sent,
                             std::array<iovec, kPiecesEachCall>& out) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < message.msg_iovlen && count < out.size(); ++i) {
    iovec piece = message.msg_iov[i];
    const std::uint64_t skipped = std::min<std::uint64_t>(sent, piece.iov_len);
    sent -= skipped;
    if (skipped == piece.iov_len) continue;
    piece.iov_base = static_cast<char*>(piece.iov_base) + skipped;
    piece.iov_len -= skipped;
    out[count++] = piece;
  }
  return count;
}

std::uint64_t bytes_of(const msghdr& message) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) bytes += message.msg_iov[i].iov_len;
  return bytes;
}

class EpollEngine final : public Engine {
 public:
  explicit EpollEngine(int epoll_fd) : epoll_fd_(epoll_fd) { done_.reserve(1024); }
  ~EpollEngine() override { ::close(epoll_fd_); }

  std::string_view name() const override { return "epoll"; }
  void queue(const Request& request) override { queued_.push_back(request); }
  int submit() override;
  void submit_and_wait(std::int64_t timeout_ns, std::vector<Completion>& out) override;
  unsigned queued() const override { return static_cast<unsigned>(queued_.size()); }
  unsigned ready() const override { return static_cast<unsigned>(done_.size()); }
  std::uint64_t system_calls() const override { return system_calls_; }

  std::expected<void, RingError> add_group(const BufferGroup& group) override;
  void remove_group(std::uint16_t group) override;
  void offer(std::uint16_t group, std::uint16_t buffer_id, char* memory) override;
  void publish(std::uint16_t group) override;

 private:
  enum class Attempt : std::uint8_t { kDone, kWaits };

  void begin(const Request& request);
  bool wait(std::int64_t timeout_ns);  // false: nothing was reported
  void on_events(int fd, std::uint32_t events);
  Attempt attempt(PendingOperation& operation, std::uint32_t events);
  Attempt accept_from(const Request& request);
  Attempt receive_into_group(const Request& request);
  Attempt transfer(PendingOperation& operation);
  Attempt connect(PendingOperation& operation);
  ssize_t write_some(const PendingOperation& operation, std::uint64_t bytes_left);
  void close(const Request& request);
  void cancel(const Request& request);
  void complete(Tag tag, std::int64_t result, bool more = false);
  void update_interest(int fd);
  OfferedBuffers& find(std::uint16_t group);

  int epoll_fd_;
  std::uint64_t system_calls_ = 0;
  std::vector<Request> queued_;
  std::vector<Request> taken_;
  std::vector<Completion> done_;
  EpollOperations operations_;
  std::vector<std::uint32_t> interest_;  // by descriptor: what epoll was told
  std::vector<OfferedBuffers> groups_;
};

void EpollEngine::complete(Tag tag, std::int64_t result, bool more) {
  Completion completion;
  completion.tag = tag;
  completion.result = static_cast<std::int32_t>(result);
  completion.more = more;
  done_.push_back(completion);
}

int EpollEngine::submit() {
  // What an operation brings about is acted on after the wait; nothing here queues.
  std::swap(queued_, taken_);
  for (const Request& request : taken_) begin(request);
  const auto count = static_cast<int>(taken_.size());
  taken_.clear();
  return count;
}

void EpollEngine::begin(const Request& request) {
  switch (request.kind) {
    case Kind::kClose:
      close(request);
      return;
    case Kind::kCancel:
    case Kind::kPollRemove:
      cancel(request);
      return;
    case Kind::kAccept:
    case Kind::kAcceptMultishot:
      // Several shards may share a listener that was handed over: one that comes too late must not
      // block in accept(2).
      if (operations_.first_of(request.fd) == kNoOperation) set_non_blocking(request.fd);
      break;
    case Kind::kConnect:
      set_non_blocking(request.fd);
      break;
    default:
      break;
  }
  if (request.fd < 0) {
    complete(request.tag, -EBADF);
    return;
  }
  const bool first = operations_.first_of(request.fd) == kNoOperation;
  const OperationIndex index = operations_.add(request);
  // What writes mostly can at once; what reads mostly has to wait, and epoll says so for nothing.
  const bool writes = wanted_events(request) == EPOLLOUT && request.kind != Kind::kPoll;
  if (writes && first && attempt(operations_[index], EPOLLOUT) == Attempt::kDone) {
    operations_.remove(index);
    return;
  }
  update_interest(request.fd);
}

void EpollEngine::submit_and_wait(std::int64_t timeout_ns, std::vector<Completion>& out) {
  submit();
  const base::MonoTime begun = base::read_clocks().mono;
  std::int64_t left_ns = done_.empty() ? timeout_ns : 0;
  // Once more when all that was reported still has to wait (a socket with room for less than its
  // next piece). Ends with a completion, a signal or the time.
  while (wait(left_ns) && done_.empty()) {
    if (timeout_ns > 0) left_ns = timeout_ns - (base::read_clocks().mono - begun);
    if (timeout_ns >= 0 && left_ns <= 0) break;
  }
  out.insert(out.end(), done_.begin(), done_.end());
  done_.clear();
}

bool EpollEngine::wait(std::int64_t timeout_ns) {
  std::array<epoll_event, kEventsEachTurn> events;
  ++system_calls_;
  const timespec time{timeout_ns / base::kNsPerSecond, timeout_ns % base::kNsPerSecond};
  int count = ::epoll_pwait2(epoll_fd_, events.data(), kEventsEachTurn,
                             timeout_ns < 0 ? nullptr : &time, nullptr);  // 5.11
  if (count < 0 && (errno == ENOSYS || errno == EPERM)) {
    // Rounded up: a wait that ends too early would make the loop spin until the timer is due.
    const std::int64_t ms = timeout_ns < 0 ? -1 : (timeout_ns + 999'999) / 1'000'000;
    count = ::epoll_wait(epoll_fd_, events.data(), kEventsEachTurn,
                         static_cast<int>(std::min<std::int64_t>(ms, 3'600'000)));
  }
  MXRING_ASSERT(count >= 0 || errno == EINTR);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    on_events(event.data.fd, event.events);
  }
  return count > 0;
}

// Tries each operation of the descriptor that waits for one of these events, oldest first. One that
// goes on waiting holds back the younger ones of its direction: bytes keep their order.
void EpollEngine::on_events(int fd, std::uint32_t events) {
  const std::uint32_t broken = events & (EPOLLERR | EPOLLHUP);
  std::uint32_t left = events;
  OperationIndex index = operations_.first_of(fd);
  while (index != kNoOperation) {
    PendingOperation& operation = operations_[index];
    const OperationIndex next = operation.next;
    const std::uint32_t wanted = wanted_events(operation.request);
    if ((wanted & left) != 0 || broken != 0) {
      if (attempt(operation, events) == Attempt::kDone) {
        operations_.remove(index);
      } else {
        left &= ~wanted;
      }
    }
    index = next;
  }
  update_interest(fd);
}

EpollEngine::Attempt EpollEngine::attempt(PendingOperation& operation, std::uint32_t events) {
  const Request& request = operation.request;
  switch (request.kind) {
    case Kind::kAccept:
    case Kind::kAcceptMultishot:
      return accept_from(request);
    case Kind::kReceiveMultishot:
      return receive_into_group(request);
    case Kind::kConnect:
      return connect(operation);
    case Kind::kPoll:
      if ((events & (request.size | EPOLLERR | EPOLLHUP)) == 0) return Attempt::kWaits;
      complete(request.tag, events & (request.size | EPOLLERR | EPOLLHUP));
      return Attempt::kDone;
    default:
      return transfer(operation);
  }
}

EpollEngine::Attempt EpollEngine::accept_from(const Request& request) {
  const bool multishot = request.kind == Kind::kAcceptMultishot;
  for (int i = 0; i < kAcceptsEachTurn; ++i) {
    ++system_calls_;
    const int fd = ::accept4(request.fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0 && (would_block(errno) || errno == EINTR)) return Attempt::kWaits;
    complete(request.tag, fd < 0 ? -errno : fd, multishot && fd >= 0);
    if (!multishot || fd < 0) return Attempt::kDone;
  }
  return Attempt::kWaits;
}

EpollEngine::Attempt EpollEngine::receive_into_group(const Request& request) {
  OfferedBuffers& group = find(request.group);
  for (int i = 0; i < kBuffersEachTurn; ++i) {
    if (group.empty()) {
      complete(request.tag, -ENOBUFS);
      return Attempt::kDone;
    }
    const OfferedBuffers::Entry buffer = group.front();
    ++system_calls_;
    const ssize_t got = ::recv(request.fd, buffer.memory, group.options.buffer_bytes, MSG_DONTWAIT);
    if (got < 0 && (would_block(errno) || errno == EINTR)) return Attempt::kWaits;
    if (got <= 0) {
      complete(request.tag, got < 0 ? -errno : 0);
      return Attempt::kDone;
    }
    ++group.head;
    const bool full = got == static_cast<ssize_t>(group.options.buffer_bytes);
    complete(request.tag, got, true);
    done_.back().has_buffer = true;
    done_.back().buffer_id = buffer.id;
    done_.back().socket_nonempty = full;
    if (!full) break;
  }
  return Attempt::kWaits;
}

ssize_t EpollEngine::write_some(const PendingOperation& operation, std::uint64_t bytes_left) {
  const Request& request = operation.request;
  if (request.kind == Kind::kSendVector) {
    std::array<iovec, kPiecesEachCall> pieces;
    const auto& whole = *static_cast<const msghdr*>(request.bytes);
    msghdr message{};
    message.msg_name = whole.msg_name;
    message.msg_namelen = whole.msg_namelen;
    message.msg_iov = pieces.data();
    message.msg_iovlen = remaining_pieces(whole, operation.sent, pieces);
    return ::sendmsg(request.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  const char* from = static_cast<const char*>(request.bytes) + operation.sent;
  if (request.kind == Kind::kWrite) return ::write(request.fd, from, bytes_left);
  return ::send(request.fd, from, bytes_left, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Sends go on until all is sent (MSG_WAITALL); the others are done with whatever they get.
EpollEngine::Attempt EpollEngine::transfer(PendingOperation& operation) {
  const Request& request = operation.request;
  auto* memory = const_cast<void*>(request.bytes);
  ssize_t moved = 0;
  for (;;) {
    ++system_calls_;
    if (request.kind == Kind::kReceive) {
      moved = ::recv(request.fd, memory, request.size, MSG_DONTWAIT);
    } else if (request.kind == Kind::kRead) {
      moved = ::read(request.fd, memory, request.size);
    } else {
      const std::uint64_t bytes = request.kind == Kind::kSendVector
                                      ? bytes_of(*static_cast<const msghdr*>(request.bytes))
                                      : request.size;
      MXRING_ASSERT(operation.sent <= bytes);
      moved = write_some(operation, bytes - operation.sent);
      if (moved > 0) {
        operation.sent += static_cast<std::uint64_t>(moved);
        // Each round sends something, so there are at most as many as bytes.
        if (operation.sent < bytes && request.kind != Kind::kWrite) continue;
        moved = static_cast<ssize_t>(operation.sent);
      }
    }
    break;
  }
  if (moved < 0 && (would_block(errno) || errno == EINTR)) return Attempt::kWaits;
  if (moved < 0 && operation.sent > 0) {
    complete(request.tag, static_cast<std::int64_t>(operation.sent));
  } else {
    complete(request.tag, moved < 0 ? -errno : moved);
  }
  return Attempt::kDone;
}

EpollEngine::Attempt EpollEngine::connect(PendingOperation& operation) {
  const Request& request = operation.request;
  ++system_calls_;
  if (operation.connecting) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(request.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    complete(request.tag, -error);
    return Attempt::kDone;
  }
  if (::connect(request.fd, static_cast<const sockaddr*>(request.bytes), request.size) != 0) {
    if (errno == EINPROGRESS || errno == EINTR) {
      operation.connecting = true;
      return Attempt::kWaits;
    }
    complete(request.tag, -errno);
    return Attempt::kDone;
  }
  complete(request.tag, 0);
  return Attempt::kDone;
}

void EpollEngine::close(const Request& request) {
  while (operations_.first_of(request.fd) != kNoOperation) {
    const OperationIndex index = operations_.first_of(request.fd);
    complete(operations_[index].request.tag, -ECANCELED);
    operations_.remove(index);
  }
  update_interest(request.fd);
  ++system_calls_;
  complete(request.tag, ::close(request.fd) == 0 ? 0 : -errno);
}

void EpollEngine::cancel(const Request& request) {
  const OperationIndex index = operations_.find(request.target);
  if (index == kNoOperation) {
    complete(request.tag, -ENOENT);
    return;
  }
  const PendingOperation operation = operations_[index];
  operations_.remove(index);
  update_interest(operation.request.fd);
  // A send that is under way has sent what it has sent.
  complete(operation.request.tag,
           operation.sent > 0 ? static_cast<std::int64_t>(operation.sent) : -ECANCELED);
  complete(request.tag, 0);
}

// Tells epoll what the descriptor's operations wait for. The descriptor may have been closed and
// opened again by its owner (c-ares does): epoll has then forgotten it.
void EpollEngine::update_interest(int fd) {
  if (fd < 0) return;
  std::uint32_t wanted = 0;
  for (OperationIndex at = operations_.first_of(fd); at != kNoOperation;
       at = operations_[at].next) {
    wanted |= wanted_events(operations_[at].request);
  }
  const auto place = static_cast<std::size_t>(fd);
  if (interest_.size() <= place) interest_.resize(place + 1, 0);
  const std::uint32_t told = interest_[place];
  // One that was told may be another file by now: adding is asked for whenever the list was empty.
  if (wanted == told && told != 0) return;
  if (wanted == 0 && told == 0) return;
  interest_[place] = wanted;
  epoll_event event{};
  event.events = wanted;
  event.data.fd = fd;
  ++system_calls_;
  int action = wanted == 0 ? EPOLL_CTL_DEL : told == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_fd_, action, fd, &event) == 0 || action == EPOLL_CTL_DEL) return;
  if (errno == EEXIST || errno == ENOENT) {
    action = errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (::epoll_ctl(epoll_fd_, action, fd, &event) == 0) return;
  }
  // Not a descriptor that epoll can wait for (EBADF; EPERM for a regular file, which never blocks).
  const int error = errno;
  interest_[place] = 0;
  OperationIndex index = operations_.first_of(fd);
  while (index != kNoOperation) {
    const OperationIndex next = operations_[index].next;
    const bool tried =
        error == EPERM && attempt(operations_[index], EPOLLIN | EPOLLOUT) == Attempt::kDone;
    if (!tried) complete(operations_[index].request.tag, -error);
    operations_.remove(index);
    index = next;
  }
}

std::expected<void, RingError> EpollEngine::add_group(const BufferGroup& options) {
  for (const OfferedBuffers& other : groups_) {
    if (other.options.group != options.group) continue;
    return std::unexpected(RingError{EEXIST, "this group of receive buffers exists already"});
  }
  OfferedBuffers group;
  group.options = options;
  group.entries.resize(options.entries);
  groups_.push_back(std::move(group));
  return {};
}

OfferedBuffers& EpollEngine::find(std::uint16_t group) {
  const auto found = std::find_if(groups_.begin(), groups_.end(), [&](const OfferedBuffers& each) {
    return each.options.group == group;
  });
  MXRING_ASSERT(found != groups_.end());
  return *found;
}

void EpollEngine::remove_group(std::uint16_t group) {
  groups_.erase(groups_.begin() + (&find(group) - groups_.data()));
}

void EpollEngine::offer(std::uint16_t group, std::uint16_t buffer_id, char* memory) {
  OfferedBuffers& found = find(group);
  MXRING_ASSERT(found.tail - found.head < found.options.entries);
  found.entries[found.tail & (found.options.entries - 1)] = {buffer_id, memory};
  ++found.tail;
}

void EpollEngine::publish(std::uint16_t group) {
  OfferedBuffers& found = find(group);
  found.published = found.tail;
}

}  // namespace

std::expected<std::unique_ptr<Engine>, RingError> make_epoll_engine() {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) {
    return std::unexpected(RingError{
        errno, std::string("no descriptor for epoll: ") + std::strerror(errno) +
                   "; raise the limit (ulimit -n 65536, or LimitNOFILE=65536 in the unit)"});
  }
  return std::make_unique<EpollEngine>(fd);
}

}  // namespace mxring::uring
