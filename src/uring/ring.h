// One ring of operations, used by the one thread that created it (IORING_SETUP_SINGLE_ISSUER,
// kernel 6.0; IORING_SETUP_DEFER_TASKRUN, 6.1). Operations are queued without a system call and
// submitted together by submit_and_wait(), which also collects what has completed: one
// io_uring_enter(2) a loop turn. If the submission queue fills up mid-turn it is flushed early,
// never dropped. What carries the operations out is an Engine (uring/engine.h): io_uring, or epoll
// where that is forbidden. Every operation asks the FaultPlan first, whatever the engine. There is
// no shutdown(2) here on purpose: the kernel hands it to a worker thread, which looks the
// descriptor up when it runs, and by then it may belong to another connection.
//
// Memory named in an operation must stay valid until its completion is seen.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "uring/engine_choice.h"
#include "uring/fault.h"
#include "uring/tag.h"

struct msghdr;

namespace mxring::uring {

struct Completion {
  Tag tag;
  std::int32_t result = 0;  // >= 0, or -errno
  bool more = false;        // a multishot operation stays armed
  bool has_buffer = false;  // buffer_id is valid
  std::uint16_t buffer_id = 0;
  bool socket_nonempty = false;  // receive: the socket still holds bytes (a hint)
};

// Why a ring could not be made: one line that names the cause and what to do about it
// ("io_uring is forbidden here: kernel.io_uring_disabled = 2; set it to 0 with ...").
struct RingError {
  int error = 0;
  std::string message;
};

class Engine;
struct Request;

class Ring {
 public:
  struct Options {
    unsigned submission_entries = 1024;
    unsigned completion_entries = 8192;
    EngineChoice engine = EngineChoice::kAuto;
    bool connects = true;  // false: connect() fails with EACCES (io_uring)
  };

  static std::expected<Ring, RingError> create(const Options& options, FaultPlan* faults);
  // On an engine of the caller's own: a simulated kernel.
  static Ring on(std::unique_ptr<Engine> engine, FaultPlan* faults);
  Ring(Ring&&) noexcept;
  Ring& operator=(Ring&&) noexcept;
  ~Ring();

  // The result is a new descriptor, SOCK_CLOEXEC set. Multishot (5.19) gives one after the other,
  // all that wait at once.
  void accept(int listener_fd, Tag tag);
  void accept_multishot(int listener_fd, Tag tag);
  // Multishot receive (6.0) into buffers of `group`. Ends with -ENOBUFS when the group is empty.
  void receive_multishot(int fd, std::uint16_t group, Tag tag);
  // Plain receive into the caller's memory (load generator, tests).
  void receive(int fd, void* bytes, std::uint32_t size, Tag tag);
  // MSG_WAITALL and MSG_NOSIGNAL: short only on error or when the peer has gone.
  void send(int fd, const void* bytes, std::uint32_t size, Tag tag);
  // The same from several pieces (sendmsg); the message and what it points at must stay valid. A
  // fault rule can fail it but not shorten it.
  void send_vector(int fd, const msghdr* message, Tag tag);
  void connect(int fd, const void* address, std::uint32_t address_bytes, Tag tag);
  void read(int fd, void* bytes, std::uint32_t size, Tag tag);
  void write(int fd, const void* bytes, std::uint32_t size, Tag tag);
  // One event. A multishot poll reports changes only: what its taker leaves unread is not reported
  // again, and libraries that read a little at a time (c-ares over TCP) would wait for ever.
  void poll(int fd, std::uint32_t poll_mask, Tag tag);
  void poll_remove(Tag target, Tag tag);
  void close(int fd, Tag tag);
  // Cancels one operation by its tag; its own completion follows with -ECANCELED.
  void cancel(Tag target, Tag tag);

  // Submits what is queued; the completions are those of the next submit_and_wait(). The number of
  // operations submitted.
  int submit();
  // Submits what is queued and waits for at least one completion or until timeout_ns has passed
  // (0 = do not wait, negative = no timeout). The span is valid until the next call.
  std::span<const Completion> submit_and_wait(std::int64_t timeout_ns);

  std::uint64_t system_calls() const;
  unsigned queued() const;  // operations not yet submitted
  unsigned ready() const;   // completions that the next submit_and_wait() will find

  std::string_view engine_name() const;
  // With EngineChoice::kAuto: why it is not io_uring, in one line; empty when it is.
  const std::string& fallback_reason() const { return fallback_reason_; }
  Engine& engine() { return *engine_; }

 private:
  Ring(std::unique_ptr<Engine> engine, FaultPlan* faults);
  void queue(FaultPoint point, Request request);

  std::unique_ptr<Engine> engine_;
  FaultPlan* faults_ = nullptr;
  std::thread::id issuer_;  // the thread that queued first; no other may
  std::string fallback_reason_;
  std::vector<Completion> completions_;  // what submit_and_wait() returned last
  std::vector<Completion> made_up_;      // by the fault plan, for the next submit_and_wait()
};

}  // namespace mxring::uring
