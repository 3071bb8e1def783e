// `mxring serve` as a child process with a configuration of the test's, on a free port, with its
// log in a temporary folder. Stopped (SIGTERM, then SIGKILL) by the destructor.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "tests/support/temp_dir.h"

namespace mxring::test {

class ServerProcess {
 public:
  static constexpr const char* kNoAuth = "spf = false\ndkim = false\ndmarc = false\n";

  // `toml` is added to the listen, log and auth sections, which the test need not care about: no
  // resolver is asked unless `auth_keys` say so. MXRING_PROGRAM is defined by the build.
  explicit ServerProcess(const std::string& toml, const std::string& log_keys = "",
                         const std::string& auth_keys = kNoAuth) {
    const std::string config = (dir_.path() / "mxring.toml").string();
    std::ofstream(config)
        << "hostname = \"mx.test\"\n[listen]\nsmtp = [\"127.0.0.1:0\"]\n[log]\ndir = \""
        << log_dir().string() << "\"\n"
        << log_keys << "\n"
        << "[auth]\n"
        << auth_keys << toml;
    start(config);
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess() {
    stop();
    if (out_ >= 0) ::close(out_);
  }

  bool ready() const { return port_ != 0; }
  std::uint16_t port() const { return port_; }
  pid_t pid() const { return pid_; }
  std::filesystem::path log_dir() const { return dir_.path() / "log"; }

  // VmRSS or VmHWM of the server, in KiB.
  std::uint64_t status_kib(const std::string& field) const {
    std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
    std::string line;
    while (std::getline(status, line)) {
      if (line.starts_with(field + ":")) return std::stoull(line.substr(field.size() + 1));
    }
    return 0;
  }

  bool running() const { return pid_ > 0 && ::kill(pid_, 0) == 0; }
  void kill_at_once() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  // The exit code, or -1 when it had to be killed.
  int stop() {
    if (pid_ <= 0) return -1;
    ::kill(pid_, SIGTERM);
    int status = 0;
    for (int i = 0; i < 400; ++i) {
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    kill_at_once();
    return -1;
  }

 private:
  void start(const std::string& config) {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return;
    out_ = fds[0];
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(fds[1], STDOUT_FILENO);
      ::execl(MXRING_PROGRAM, "mxring", "serve", "-c", config.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(fds[1]);
    std::string text;
    char c = 0;
    while (text.find('\n') == std::string::npos && ::read(out_, &c, 1) == 1) text += c;
    const std::size_t at = text.find("smtp=127.0.0.1:");
    if (at != std::string::npos)
      port_ = static_cast<std::uint16_t>(std::stoul(text.substr(at + 15)));
  }

  TempDir dir_;
  pid_t pid_ = -1;
  int out_ = -1;
  std::uint16_t port_ = 0;
};

}  // namespace mxring::test
