// The kernel behind a ring's operations, simulated: completions come late, in any order in which
// the kernel may give them, short, failed, without a buffer, a few at a time, and a multishot
// operation ends when it likes. What one descriptor receives keeps its order.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string_view>
#include <vector>

#include "tests/sim/world.h"
#include "uring/engine.h"

namespace mxring::sim {

// How unkind it is; chances in a thousand.
struct EngineMood {
  std::uint64_t late = 50;
  Ns late_max = 3 * kMs;
  std::uint64_t receive_short = 100;
  std::uint64_t send_short = 30;
  std::uint64_t multishot_ends = 30;
  std::uint64_t no_buffers = 10;
  std::uint64_t accept_fails = 0;
  std::uint64_t receive_fails = 0;
  std::uint64_t send_fails = 0;
  std::uint64_t wakes_early = 20;
  std::uint64_t cancel_late = 300;
  std::size_t completions_max = 64;
};

class SimEngine final : public uring::Engine {
 public:
  explicit SimEngine(World& world, const EngineMood& mood);
  ~SimEngine() override;

  std::string_view name() const override { return "simulated"; }
  void queue(const uring::Request& request) override { queued_.push_back(request); }
  int submit() override;
  void submit_and_wait(std::int64_t timeout_ns, std::vector<uring::Completion>& out) override;
  unsigned queued() const override { return static_cast<unsigned>(queued_.size()); }
  unsigned ready() const override { return static_cast<unsigned>(done_.size()); }
  std::uint64_t system_calls() const override { return system_calls_; }

  std::expected<void, uring::RingError> add_group(const uring::BufferGroup& group) override;
  void remove_group(std::uint16_t group) override;
  void offer(std::uint16_t group, std::uint16_t buffer_id, char* memory) override;
  void publish(std::uint16_t group) override;

 private:
  struct Pending {
    uring::Request request;
    std::uint64_t sent = 0;
    Ns not_before = -1;  // -1: was not ready yet
  };
  struct Buffer {
    std::uint16_t id;
    char* memory;
    bool published;
  };
  enum class Attempt { kDone, kWaits };

  void begin(const uring::Request& request);
  void cancel(const uring::Request& request);
  bool is_ready(const Pending& pending) const;
  Attempt attempt(Pending& pending);
  Attempt accept(Pending& pending);
  Attempt receive_into_group(Pending& pending);
  Attempt receive(Pending& pending);
  Attempt send(Pending& pending);
  Attempt read_event(Pending& pending);
  Attempt poll(Pending& pending);
  // Tries what is ready, in any order. The earliest time at which more will be.
  Ns progress();
  void complete(uring::Tag tag, std::int64_t result, bool more = false);
  void close(const uring::Request& request);

  World& world_;
  EngineMood mood_;
  Dice dice_;
  std::vector<uring::Request> queued_;
  std::list<Pending> pending_;
  std::vector<uring::Completion> done_;
  uring::BufferGroup group_;
  std::vector<Buffer> buffers_;
  std::uint64_t system_calls_ = 0;
  std::uint32_t idle_looks_ = 0;  // in a row, without a completion
};

}  // namespace mxring::sim
