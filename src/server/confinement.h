// What a server that serves strangers may still do: run as `user` without capabilities, open files
// only below the folders that its configuration names (Landlock), make only the system calls it
// uses (seccomp). Whoever takes it over from outside can execute nothing, look into no other
// process, and read no file that is not its own.
//
//   listeners bound, keys read                         as root, when started as root
//   before_log()   user, capabilities, Landlock        before any other thread exists
//   log opened, shards, writer and the rest started
//   after_start()  seccomp, on all threads
//
// What a kernel or a container does not let us have is said, once, and the server runs without it.
#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/config.h"
#include "server/landlock.h"
#include "server/run_as.h"

namespace mxring::server {

// Sanitizers read and execute what the server itself never would.
constexpr bool kSanitized =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
    true;
#else
    false;
#endif
#else
    false;
#endif

// Everything that a running server opens by name, with the reason.
std::vector<PathRule> path_rules(const Config& config);
// The folder of `file`, and that of every link on the way to what it names now: a renewed file is
// found there again.
std::vector<std::string> folders_of(const std::string& file);

// What `user` could not do again once root is given up, each in a line. Empty: nothing.
std::vector<std::string> check_access_of_user(const Config& config);

class Confinement {
 public:
  using Notice = std::function<void(const std::string&)>;

  Confinement(const Config& config, Notice notice) : config_(config), notice_(std::move(notice)) {}

  // The user's account is looked up; fails when there is none.
  std::expected<void, std::string> prepare();
  // What was made just now, by root, belongs to `user` from now on.
  void give(const std::string& path) const;
  // The log's folder exists; nothing is in it yet, or what is in it is the user's.
  std::expected<void, std::string> before_log();
  void after_start();

 private:
  const Config& config_;
  Notice notice_;
  std::optional<RunAs> user_;  // whom to become; none: we stay who we are
};

}  // namespace mxring::server
