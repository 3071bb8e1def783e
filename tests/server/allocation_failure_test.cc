// Memory that runs out at the n-th allocation, whoever asks for it: the receiver may end there, but
// never with a 250 for a message that is not in the log.
//
// The receiver runs in a child process, whose allocations fail from a chosen one on; the parent is
// the client and reads the log afterwards. A child that stands still is a failure too.

#include <gtest/gtest.h>
#include <mxring/log_reader.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <thread>

#include "seglog/writer.h"
#include "server/server.h"
#include "tests/support/smtp_client.h"
#include "tests/support/temp_dir.h"

namespace {

// Allocations left until one fails; below zero: none does. Counted by every thread of the child.
std::atomic<std::int64_t> g_left{-1};

void* allocate(std::size_t bytes) {
  if (g_left.load(std::memory_order_relaxed) >= 0 &&
      g_left.fetch_sub(1, std::memory_order_relaxed) == 0) {
    throw std::bad_alloc();
  }
  void* const block = std::malloc(bytes == 0 ? 1 : bytes);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

}  // namespace

void* operator new(std::size_t bytes) {
  return allocate(bytes);
}
void* operator new[](std::size_t bytes) {
  return allocate(bytes);
}
void operator delete(void* block) noexcept {
  std::free(block);
}
void operator delete[](void* block) noexcept {
  std::free(block);
}
void operator delete(void* block, std::size_t) noexcept {
  std::free(block);
}
void operator delete[](void* block, std::size_t) noexcept {
  std::free(block);
}

namespace mxring::server {
namespace {

Config small_config(const std::filesystem::path& dir) {
  Config config = default_config();
  config.hostname = "mx.test";
  config.listen.smtp = {*base::Endpoint::parse("127.0.0.1:0")};
  config.listen.smtps.clear();
  config.shards.count = 1;
  config.auth.spf = config.auth.dkim = config.auth.dmarc = false;
  config.log.dir = dir / "log";
  config.log.segment_bytes = 64 * base::kMiB;
  config.limits.disk_reserve_percent = 0;
  config.limits.disk_reserve_segments = 0;
  config.limits.drain_ns = base::kNsPerSecond;
  return config;
}

// Tells its port, and ends when it is told to.
[[noreturn]] void serve(const std::filesystem::path& dir, std::int64_t fails_at, int port_to,
                        int end_from) {
  ::alarm(20);
  auto server = Server::start(small_config(dir), [](const std::string&) {});
  if (!server) ::_exit(3);
  const std::uint16_t port = (*server)->smtp_endpoints().front().port;
  [[maybe_unused]] ssize_t done = ::write(port_to, &port, sizeof port);
  g_left = fails_at;
  char byte = 0;
  done = ::read(end_from, &byte, 1);
  g_left = -1;
  (*server)->begin_drain();
  ::_exit((*server)->wait());
}

std::string content_of(int i) {
  std::string content = "From: a@example.org\r\nSubject: " + std::to_string(i) + "\r\n\r\n";
  for (int line = 0; line < 200; ++line) content += "line " + std::to_string(line) + "\r\n";
  return content;
}

// Returns false when the child ended by itself.
bool run(std::int64_t fails_at) {
  test::TempDir dir;
  int port_pipe[2];
  int end_pipe[2];
  EXPECT_EQ(::pipe(port_pipe), 0);
  EXPECT_EQ(::pipe(end_pipe), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(end_pipe[1]);
    if (::freopen("/dev/null", "w", stderr) == nullptr) ::_exit(4);
    serve(dir.path(), fails_at, port_pipe[1], end_pipe[0]);
  }
  ::close(port_pipe[1]);
  ::close(end_pipe[0]);
  std::uint16_t port = 0;
  EXPECT_EQ(::read(port_pipe[0], &port, sizeof port), static_cast<ssize_t>(sizeof port));
  std::map<std::uint64_t, int> acknowledged;
  for (int connection = 0; connection < 3; ++connection) {
    test::SmtpClient client(port, 5);
    client.reply();
    client.ask("EHLO test.example");
    for (int i = connection * 4; i < connection * 4 + 4; ++i) {
      const std::string reply = client.deliver("a@example.org", "b@example.org", content_of(i));
      if (reply.starts_with("250 2.0.0 Ok ")) acknowledged[std::stoull(reply.substr(13))] = i;
      if (reply.empty()) break;
    }
  }
  ::close(end_pipe[1]);
  ::close(port_pipe[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  const bool stood_still = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
  EXPECT_FALSE(stood_still) << "allocation " << fails_at;
  EXPECT_FALSE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << "allocation " << fails_at;

  seglog::WriterOptions options;
  options.directory = dir.path() / "log";
  options.segment_bytes = 64 * base::kMiB;
  const auto writer = seglog::Writer::open(options);
  EXPECT_TRUE(writer.has_value()) << (writer ? "" : writer.error().message);
  std::map<std::uint64_t, std::string> found;
  auto reader = LogReader::open(dir.path() / "log");
  EXPECT_TRUE(reader.has_value());
  while (reader) {
    auto record = reader->next();
    if (!record || !*record) break;
    found[(*record)->offset] = (*record)->message;
  }
  for (const auto& [offset, i] : acknowledged) {
    EXPECT_TRUE(found.contains(offset)) << "acknowledged and lost: " << offset;
    if (found.contains(offset)) {
      EXPECT_EQ(found.at(offset), content_of(i));
    }
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(AllocationFailure, WithoutOneAllIsWell) {
  EXPECT_TRUE(run(-1));
}

TEST(AllocationFailure, AtTheNthCallNothingAcknowledgedIsLost) {
  int ended = 0;
  for (const std::int64_t n :
       {0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 26, 30, 36, 42, 50, 60}) {
    ended += run(n) ? 0 : 1;
  }
  EXPECT_GT(ended, 0) << "no failure was met";
}

}  // namespace
}  // namespace mxring::server
