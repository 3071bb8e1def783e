// What carries out a ring's operations: the seam between the receiver and the kernel. Ring is the
// front that everybody uses; behind it stands one of
//   make_io_uring_engine()   one io_uring_enter(2) a turn, multishot receives into shared buffers
//   make_epoll_engine()      where io_uring is forbidden: the same operations on epoll(7), with one
//                            system call for each; slower, and otherwise the same
//   whatever a test brings   a simulated kernel
// An engine gives each operation the completions that io_uring would: a multishot one stays armed
// while `more` is set, a cancelled one completes with -ECANCELED beside the cancel's own result.
//
// Thread: the one that made it. Memory named in a request stays valid until its completion is seen.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string_view>
#include <vector>

#include "uring/ring.h"

namespace mxring::uring {

struct Request {
  enum class Kind : std::uint8_t {
    kAccept,
    kAcceptMultishot,
    kReceiveMultishot,  // into buffers of `group`
    kReceive,
    kSend,
    kSendVector,  // `bytes` is a msghdr
    kConnect,     // `bytes` is an address
    kRead,        // where the descriptor stands, like kWrite
    kWrite,
    kPoll,  // one event; `size` is the poll mask
    kPollRemove,
    kClose,
    kCancel,
  };
  Kind kind = Kind::kClose;
  std::uint16_t group = 0;
  int fd = -1;
  const void* bytes = nullptr;
  std::uint32_t size = 0;
  Tag tag{};
  Tag target{};  // of kPollRemove and kCancel
};

// Receive buffers that the engine may fill, in the order in which they were offered.
struct BufferGroup {
  std::uint16_t group = 0;
  std::uint32_t entries = 0;  // offered at once at most; a power of two
  std::uint32_t buffer_bytes = 0;
};

class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  virtual std::string_view name() const = 0;
  virtual void queue(const Request& request) = 0;
  // The number of requests taken; their completions are those of the next submit_and_wait().
  virtual int submit() = 0;
  // Appends what has completed. timeout_ns as Ring::submit_and_wait().
  virtual void submit_and_wait(std::int64_t timeout_ns, std::vector<Completion>& out) = 0;
  virtual unsigned queued() const = 0;
  virtual unsigned ready() const = 0;
  virtual std::uint64_t system_calls() const = 0;

  virtual std::expected<void, RingError> add_group(const BufferGroup& group) = 0;
  virtual void remove_group(std::uint16_t group) = 0;
  // The buffer is the engine's until a completion names it. Seen by it after publish().
  virtual void offer(std::uint16_t group, std::uint16_t buffer_id, char* memory) = 0;
  virtual void publish(std::uint16_t group) = 0;
};

std::expected<std::unique_ptr<Engine>, RingError> make_io_uring_engine(
    const Ring::Options& options);
std::expected<std::unique_ptr<Engine>, RingError> make_epoll_engine();

}  // namespace mxring::uring
