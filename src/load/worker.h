// One thread of a load run with its own ring, connections and share of the messages.
//
// A turn of its loop submits what was queued and collects completions in one system call, then
// moves every client along. Open loop: messages fall due by the schedule alone; one that finds no
// free connection waits, and its latency counts from the planned time all the same. Closed loop:
// each connection takes its next message when the last one is decided.
//
// Files: worker.cc the loop and the plan; worker_connection.cc how connections begin and end;
// worker_dialogue.cc the SMTP; worker_tls.cc what lies between the two with --tls.
//
// Thread: start() and join() by the owner, tally() by anybody within its rules, all else its own.
// Failure: of the ring at start, told by set_up_error(); of connections, counted. A run always
// ends: every wait has a limit, and failures without any reply for Options::give_up_ns() end it.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/intrusive_list.h"
#include "load/client.h"
#include "load/options.h"
#include "load/tally.h"
#include "uring/buffer_pool.h"
#include "uring/ring.h"
#include "uring/timer_wheel.h"

namespace mxring::load {

// Shared by the workers of a run.
struct RunControl {
  static constexpr std::int64_t kAbandoned = -1;
  std::atomic<std::uint32_t> workers_connected{0};
  std::atomic<std::uint32_t> workers_done{0};
  // When the run starts, on the monotonic clock; 0 = not yet, kAbandoned = never.
  std::atomic<std::int64_t> start_ns{0};
};

class Worker {
 public:
  Worker(const Options& options, const MessageSource& source, RunControl& control,
         std::uint32_t index);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { join(); }

  void start();
  void join();

  const Tally& tally() const { return tally_; }
  // After workers_connected counts this worker in:
  const std::string& set_up_error() const { return set_up_error_; }
  std::uint32_t connected() const { return connected_; }
  // After join():
  std::int64_t last_decision_ns() const { return last_decision_ns_; }
  std::int64_t cpu_ns() const { return cpu_ns_; }
  bool gave_up() const { return gave_up_; }
  bool over_time() const { return over_time_; }
  bool lacked_pipelining() const { return lacked_pipelining_; }

 private:
  using At = Client::At;
  enum class Phase : std::uint8_t { kConnecting, kWaiting, kRunning, kEnding };

  // worker.cc
  void run();
  bool set_up();
  void make_plan();
  void await_start();
  void turn();
  std::int64_t wait_ns() const;
  void handle(const uring::Completion& completion);
  void check_limits();
  bool plan_open() const { return next_ < total_ && !plan_closed_; }
  void stop_planning();
  bool finished() const { return !plan_open() && in_flight_ == 0; }
  void close_plan(std::int64_t grace_ns);
  void cut_off();
  void dispatch();
  bool take_message(Client& client);
  void end_sessions();

  // worker_connection.cc
  void open(Client& client);
  void on_connect(Client& client, int result);
  void on_receive(Client& client, const uring::Completion& completion);
  void on_end(Client& client, int result);
  void fail(Client& client, Loss loss);
  void reject(Client& client, int code, std::string_view text);
  void decided(Client& client);
  void drop(Client& client);
  void finish_closing(Client& client);
  void become_available(Client& client);
  void on_timer(Client& client);
  void set_timer(Client& client, std::int64_t after_ns);
  void note_failure(std::string text);

  // worker_tls.cc
  void begin_tls(Client& client);
  void on_tls_bytes(Client& client, std::string_view bytes);
  void on_tls_open(Client& client);
  void encrypt(Client& client, std::string_view plaintext);
  void encrypt_content(Client& client);
  void send_encrypted(Client& client);

  // worker_dialogue.cc
  void on_bytes(Client& client, std::string_view bytes);
  void on_line(Client& client, std::string_view text);
  void on_reply(Client& client);
  void say_hello(Client& client);
  void on_session_reply(Client& client, int code);
  void on_transaction_reply(Client& client, int code);
  void on_data_reply(Client& client, int code);
  void on_content_reply(Client& client, int code);
  void refuse_session(Client& client, int code);
  void begin(Client& client);
  void add_mail(Client& client);
  void add_recipient(Client& client, std::size_t which);
  void give_up_transaction(Client& client, bool reset);
  void settle(Client& client);
  void say(Client& client, std::string_view line);
  void flush(Client& client);
  void say_goodbye(Client& client);
  void send_content(Client& client);
  void send_chunk(Client& client);
  void on_sent(Client& client, int result);

  const Options& options_;
  const MessageSource& source_;
  RunControl& control_;
  const std::uint32_t index_;
  std::thread thread_;
  Tally tally_;
  std::string set_up_error_;
  std::uint32_t connected_ = 0;
  std::int64_t last_decision_ns_ = 0;
  std::int64_t cpu_ns_ = 0;
  bool gave_up_ = false;
  bool over_time_ = false;
  bool lacked_pipelining_ = false;

  // The thread's own.
  std::optional<uring::Ring> ring_;
  std::optional<uring::BufferPool> buffers_;
  std::optional<uring::TimerWheel> timers_;
  std::vector<std::unique_ptr<Client>> clients_;
  base::IntrusiveList<Client, &Client::hook> idle_;
  base::IntrusiveList<Client, &Client::hook> closed_;
  sockaddr_storage address_{};
  socklen_t address_bytes_ = 0;
  base::Now now_;
  std::array<char, 16 * 1024> plaintext_;  // of one record
  std::string content_;                    // of one message, on its way to be encrypted
  std::string date_;
  std::int64_t date_second_ = -1;

  Phase phase_ = Phase::kConnecting;
  Schedule schedule_;
  std::uint64_t next_ = 0;   // this worker's messages taken so far
  std::uint64_t total_ = 0;  // and to be taken
  bool plan_closed_ = false;
  bool stopped_ = false;         // somebody asked for the end
  std::uint32_t in_flight_ = 0;  // clients that work for a message
  std::uint32_t opening_ = 0;    // clients not yet greeted, before the run
  std::uint32_t sockets_ = 0;    // clients that have one
  std::int64_t start_ns_ = 0;
  std::int64_t plan_end_ns_ = 0;       // no message is taken after this; 0 = no such time
  std::int64_t cut_off_ns_ = 0;        // everything ends here; 0 = not decided yet
  std::int64_t failing_since_ns_ = 0;  // failures and no reply since; 0 = not failing
};

}  // namespace mxring::load
