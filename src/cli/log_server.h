// The connections of `log serve`: a thread each, a few dozen at most, so that a client that waits
// for records, reads slowly, dribbles or is silent holds up nobody. HTTP/1.1, kept alive, pipelined
// requests answered one after the other.
//
// When all places are taken the newcomer gets the one of the client that has been there longest
// without a right token, else of the one that has asked nothing for longest; a client that is being
// answered keeps its place, and the newcomer is told to come again.
//
// Threads: run() is the caller's and accepts; one more per place. Failure: of one connection, which
// ends.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/owned_fd.h"
#include "cli/http_link.h"
#include "cli/log_pages.h"

namespace mxring::cli {

class LogServer {
 public:
  struct Options {
    std::size_t connections = 32;
    // To ask, once begun; and for each step of taking an answer.
    std::int64_t patience_ns = 30 * base::kNsPerSecond;
    std::int64_t idle_ns = 60 * base::kNsPerSecond;  // between two requests
    // Slower than that an answer is cut off, after the first minute.
    std::uint64_t bytes_per_second = 16 * 1024;
  };
  // What certificate a connection gets that begins now; null = in clear.
  using Tls = std::function<std::shared_ptr<const net::TlsServer>()>;

  LogServer(LogPagesShared& shared, Options options, Tls tls);
  LogServer(const LogServer&) = delete;
  LogServer& operator=(const LogServer&) = delete;
  ~LogServer();

  // Takes connections from `listener` until `stop_fd` is readable; `woken` is called when
  // `other_fd` is.
  void run(int listener, int stop_fd, int other_fd, const std::function<void()>& woken);

 private:
  enum class State : std::uint8_t { kFree, kComing, kStranger, kIdle, kBusy, kEnding };
  struct Place {
    State state = State::kFree;
    base::OwnedFd coming;
    int fd = -1;  // of the client there, for ending it
    base::MonoTime since;
    std::thread thread;
  };

  void accept_waiting(int listener);
  bool give_place(base::OwnedFd& fd);
  void make_room();
  void enter(Place& place, State state);
  void work(Place& place);
  void serve(Place& place, base::OwnedFd fd);
  bool converse(Place& place, HttpLink& link, LogPages& pages);
  bool send(HttpLink& link, const HttpAnswer& answer, const net::HttpRequest& request, bool last);

  LogPagesShared& shared_;
  const Options options_;
  const Tls tls_;
  int stop_fd_ = -1;
  std::mutex mutex_;
  std::condition_variable comes_;
  bool ending_ = false;
  std::vector<Place> places_;
  std::vector<base::OwnedFd> waiting_;  // for a place that is being given up, newest last
};

}  // namespace mxring::cli
