#include "cli/temporary_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/owned_fd.h"
#include "tune/check.h"

namespace mxring::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kStartNs = 20 * base::kNsPerSecond;
constexpr std::int64_t kStopNs = 40 * base::kNsPerSecond;
constexpr std::uint64_t kSegmentBytes = 64 * base::kMiB;
constexpr std::uint64_t kRetainBytes = 1024 * base::kMiB;

std::int64_t mono_ns() {
  return base::read_clocks().mono.ns;
}

// Between fork and exec only calls that are safe there.
[[noreturn]] void become_server(const char* config, int ready_fd, int complaints_fd, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);  // it has ended already
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // Ctrl-C at the terminal is for the measurement, which then drains the server.
  ::setpgid(0, 0);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(ready_fd, STDOUT_FILENO);
  ::dup2(complaints_fd, STDERR_FILENO);
  ::execl("/proc/self/exe", "mxring", "serve", "-c", config, nullptr);
  ::_exit(127);
}

// The value after "key=" in the ready line.
std::string word_after(const std::string& line, std::string_view key) {
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    if (word.starts_with(key)) return word.substr(key.size());
  }
  return {};
}

}  // namespace

TemporaryServer::Started TemporaryServer::start(server::Config config, const std::string& parent) {
  std::unique_ptr<TemporaryServer> server(new TemporaryServer);
  std::error_code error;
  fs::create_directories(parent, error);
  std::string pattern = parent + "/mxring-measure-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) {
    return std::unexpected(
        fmt::format("no folder can be made in {}: {}", parent, std::strerror(errno)));
  }
  server->directory_ = fs::absolute(pattern, error).string();
  config.log.dir = server->directory_ + "/log";
  std::ofstream(server->directory_ + "/mxring.toml") << server::to_toml(config, false);
  if (auto launched = server->launch(); !launched) return std::unexpected(launched.error());
  return server;
}

std::expected<void, std::string> TemporaryServer::launch() {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    return std::unexpected(fmt::format("no pipe for a server: {}", std::strerror(errno)));
  }
  const OwnedFd reading(pipe[0]);
  OwnedFd writing(pipe[1]);
  const std::string config = directory_ + "/mxring.toml";
  const OwnedFd complaints(::open((directory_ + "/complaints").c_str(),
                                  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) become_server(config.c_str(), writing.get(), complaints.get(), parent);
  if (pid_ < 0) {
    return std::unexpected(fmt::format("no process for a server: {}", std::strerror(errno)));
  }
  writing = OwnedFd();
  return await_ready(reading.get());
}

std::expected<void, std::string> TemporaryServer::await_ready(int fd) {
  const std::int64_t deadline = mono_ns() + kStartNs;
  std::string line;
  while (line.find('\n') == std::string::npos) {
    pollfd entry{fd, POLLIN, 0};
    const std::int64_t left_ms = (deadline - mono_ns()) / base::kNsPerMs;
    if (left_ms <= 0 || ::poll(&entry, 1, static_cast<int>(left_ms)) == 0) {
      return std::unexpected("the server was not ready in time: " + last_complaint());
    }
    std::array<char, 512> part{};
    const ssize_t got = ::read(fd, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::unexpected("the server did not start: " + last_complaint());
    line.append(part.data(), static_cast<std::size_t>(got));
  }
  const auto endpoint = base::Endpoint::parse(word_after(line, "smtp="));
  if (!endpoint) return std::unexpected("the server named no address: " + base::escaped(line));
  smtp_ = *endpoint;
  smtps_ = base::Endpoint::parse(word_after(line, "smtps=")).value_or(base::Endpoint{});
  admin_ = word_after(line, "admin=");
  if (admin_ == "off") admin_.clear();
  return {};
}

std::string TemporaryServer::last_complaint() const {
  std::ifstream file(directory_ + "/complaints");
  std::string last;
  for (std::string line; std::getline(file, line);) last = line;
  constexpr std::string_view kPrefix = "mxring: ";
  if (last.starts_with(kPrefix)) last.erase(0, kPrefix.size());
  return last.empty() ? "it said nothing" : base::escaped(last);
}

std::expected<void, std::string> TemporaryServer::stop() {
  if (pid_ < 0) return {};
  ::kill(pid_, SIGTERM);
  const std::int64_t deadline = mono_ns() + kStopNs;
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (mono_ns() > deadline) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, &status, 0);
      pid_ = -1;
      return std::unexpected("the server did not end when asked to");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  pid_ = -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return std::unexpected("the server failed: " + last_complaint());
}

TemporaryServer::~TemporaryServer() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  if (!directory_.empty()) fs::remove_all(directory_, ignored);
}

ScratchFolder scratch_folder() {
  const char* named = std::getenv("TMPDIR");
  std::error_code error;
  const std::string candidates[] = {named == nullptr ? "" : named, "/var/tmp",
                                    fs::current_path(error).string(), "/tmp"};
  for (const std::string& path : candidates) {
    if (path.empty()) continue;
    const tune::LogPlace place = tune::find_log_place(path);
    if (place.problem.empty() && place.unfit.empty() && place.existing == path &&
        place.free_bytes > 2 * kRetainBytes) {
      return {path, true};
    }
  }
  return {"/tmp", false};
}

server::Config config_for_measuring(const ScratchFolder& folder) {
  server::Config config = server::default_config();
  config.hostname = "mx.example";
  config.listen.smtp = {*base::Endpoint::parse("127.0.0.1:0")};
  config.listen.smtps.clear();
  config.listen.admin.clear();
  config.log.segment_bytes = kSegmentBytes;
  config.log.retain_bytes = kRetainBytes;
  if (!folder.durable) config.log.sync = server::SyncMode::kNone;
  config.auth.spf = false;
  config.auth.dkim = false;
  config.auth.dmarc = false;
  config.limits.disk_reserve_percent = 0;
  config.limits.disk_reserve_segments = 2;
  return config;
}

}  // namespace mxring::cli
