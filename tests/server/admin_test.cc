// The admin's listener among clients that are silent, dribble, or read slowly: nobody waits for
// them, their places are bounded, and the program ends when it wants to.
#include "server/admin.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/admin_pages.h"
#include "tests/support/smtp_client.h"

namespace mxring::server {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kHugePage = 64 << 20;  // far more than the sockets' buffers hold
constexpr std::size_t kLargePage = 8 << 20;  // more than is sent at once; soon sent, also when busy
// And what a busy machine adds; never a deadline.
#if defined(__SANITIZE_THREAD__)
constexpr double kSoon = 60;  // it makes pages of this size slow; races are what it looks for
#else
constexpr double kSoon = 1.5;
#endif

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

AdminAnswer page(const AdminRequest& request) {
  const AdminPages pages{.metrics = [] { return std::string(kHugePage, 'm'); },
                         .status = [] { return std::string(kLargePage, 's'); },
                         .why_not_accepting = [] { return std::string(); }};
  if (request.path != "/echo") return pages.answer(request);
  return {.body = std::string(request.method) + "|" + std::string(request.query) + "|" +
                  std::string(request.host) + "|" + std::string(request.authorization) + "|" +
                  (request.over_unix ? "unix" : "tcp")};
}

class AdminTest : public testing::Test {
 protected:
  AdminTest() {
    auto listening = Admin::listen("127.0.0.1:0");
    if (listening) admin_ = std::make_unique<Admin>(std::move(*listening), page);
  }
  void SetUp() override { ASSERT_NE(admin_, nullptr); }

  static std::string all_of(int fd) {
    std::string text;
    char bytes[4096];
    for (ssize_t n = 0; (n = ::recv(fd, bytes, sizeof bytes, 0)) > 0;) {
      text.append(bytes, static_cast<std::size_t>(n));
    }
    return text;
  }
  std::string exchange(const std::string& request) const {
    test::SmtpClient client(admin_->port());
    client.send(request);
    return all_of(client.fd());
  }
  void expect_prompt() const {
    const auto begin = Clock::now();
    EXPECT_TRUE(exchange("GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200 OK\r\n"));
    EXPECT_LT(seconds_since(begin), kSoon);
  }
  // How long until the server closes this connection.
  static double lifetime(test::SmtpClient& client) {
    const auto begin = Clock::now();
    all_of(client.fd());
    return seconds_since(begin);
  }

  std::unique_ptr<Admin> admin_;
};

TEST_F(AdminTest, SilentClientsHoldUpNobodyAndGoAfterTwoSeconds) {
  std::vector<std::unique_ptr<test::SmtpClient>> silent;
  for (int i = 0; i < 8; ++i) silent.push_back(std::make_unique<test::SmtpClient>(admin_->port()));
  expect_prompt();
  const double lasted = lifetime(*silent.back());
  EXPECT_GT(lasted, 0.5);
  EXPECT_LT(lasted, 6);
}

TEST_F(AdminTest, MoreSilentClientsThanPlaces) {
  std::vector<std::unique_ptr<test::SmtpClient>> silent;
  for (std::size_t i = 0; i < 2 * Admin::kClients; ++i) {
    silent.push_back(std::make_unique<test::SmtpClient>(admin_->port()));
    ASSERT_TRUE(silent.back()->connected());
  }
  expect_prompt();
  const auto begin = Clock::now();
  all_of(silent.front()->fd());  // gave its place away
  EXPECT_LT(seconds_since(begin), kSoon);
}

TEST_F(AdminTest, ADribblingClientHoldsUpNobodyAndGoes) {
  test::SmtpClient client(admin_->port());
  client.send("GET /healthz HTTP/1.0\r\nX-Slow: ");
  std::jthread dribbler([&client](const std::stop_token& stop) {
    while (!stop.stop_requested() && client.send("x")) {
      std::this_thread::sleep_for(milliseconds(100));
    }
  });
  std::this_thread::sleep_for(milliseconds(300));
  expect_prompt();
  EXPECT_LT(lifetime(client), 6) << "a byte now and then does not begin the two seconds anew";
}

TEST_F(AdminTest, ClientsThatReadNothingHoldUpNobodyAndGo) {
  admin_.reset();
  auto listening = Admin::listen("127.0.0.1:0");
  ASSERT_TRUE(listening);
  admin_ = std::make_unique<Admin>(
      std::move(*listening), page,
      Admin::Patience{.request_ns = base::kNsPerSecond, .answer_ns = base::kNsPerSecond});
  std::vector<std::unique_ptr<test::SmtpClient>> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(std::make_unique<test::SmtpClient>(admin_->port()));
    slow.back()->send("GET /metrics HTTP/1.0\r\n\r\n");
  }
  std::this_thread::sleep_for(milliseconds(500));
  expect_prompt();
  std::this_thread::sleep_for(milliseconds(2500));
  EXPECT_LT(all_of(slow.front()->fd()).size(), kHugePage) << "cut off, not sent to its end";
}

TEST_F(AdminTest, TheEndDoesNotWaitForAClient) {
  test::SmtpClient silent(admin_->port());
  test::SmtpClient reads_nothing(admin_->port());
  reads_nothing.send("GET /metrics HTTP/1.0\r\n\r\n");
  std::this_thread::sleep_for(milliseconds(300));
  const auto begin = Clock::now();
  admin_.reset();
  EXPECT_LT(seconds_since(begin), kSoon);
}

TEST_F(AdminTest, ALargePageArrivesWhole) {
  EXPECT_GT(exchange("GET /status HTTP/1.0\r\n\r\n").size(), kLargePage);
}

TEST_F(AdminTest, TheRequestInItsParts) {
  EXPECT_TRUE(
      exchange("GET /echo?a=b&c HTTP/1.1\r\nhost:  mx.test:1 \r\nAUTHORIZATION: Bearer t\r\n"
               "\r\n")
          .ends_with("\r\n\r\nGET|a=b&c|mx.test:1|Bearer t|tcp"));
  EXPECT_TRUE(exchange("GET /echo HTTP/1.0\n\n").ends_with("GET||||tcp"));
}

TEST_F(AdminTest, HeadHasTheLengthAndNoBody) {
  const std::string text = exchange("HEAD /healthz HTTP/1.0\r\n\r\n");
  EXPECT_NE(text.find("Content-Length: 3\r\n"), text.npos) << text;
  EXPECT_TRUE(text.ends_with("\r\n\r\n")) << text;
}

TEST_F(AdminTest, OptionsAndOtherMethods) {
  EXPECT_TRUE(exchange("OPTIONS /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 204"));
  const std::string refused = exchange("POST /healthz HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_TRUE(refused.starts_with("HTTP/1.0 405")) << refused;
  EXPECT_NE(refused.find("\r\nAllow: GET, HEAD, OPTIONS\r\n"), refused.npos);
}

TEST_F(AdminTest, WhatIsNoRequestIsAnswered) {
  for (const std::string bad : {"EHLO there\r\n\r\n", "GET\r\n\r\n", "\r\n\r\n",
                                "GET x HTTP/1.0\r\n\r\n", "GET / SMTP/1.0\r\n\r\n"}) {
    EXPECT_TRUE(exchange(bad).starts_with("HTTP/1.0 400")) << bad;
  }
  EXPECT_TRUE(exchange("GET / HTTP/1.0\r\nX: " + std::string(Admin::kRequestBytesMax, 'x'))
                  .starts_with("HTTP/1.0 431"));
}

class AdminOnUnixSocketTest : public testing::Test {
 protected:
  AdminOnUnixSocketTest()
      : path_(testing::TempDir() + "/mxring-admin-test." + std::to_string(::getpid())) {}
  ~AdminOnUnixSocketTest() override { ::unlink(path_.c_str()); }

  int connected() const {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path_.copy(name.sun_path, sizeof name.sun_path - 1);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0) return fd;
    ::close(fd);
    return -1;
  }
  const std::string path_;
};

TEST_F(AdminOnUnixSocketTest, AnswersItsOwnerAndGoesWithIts) {
  auto listening = Admin::listen("unix:" + path_);
  ASSERT_TRUE(listening) << listening.error();
  EXPECT_EQ(listening->name(), "unix:" + path_);
  struct stat there {};
  ASSERT_EQ(::stat(path_.c_str(), &there), 0);
  EXPECT_EQ(there.st_mode & 0777U, 0600U);
  {
    const Admin admin(std::move(*listening), page);
    const int fd = connected();
    ASSERT_GE(fd, 0);
    constexpr std::string_view kRequest = "GET /echo HTTP/1.0\r\n\r\n";
    ASSERT_GT(::send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL), 0);
    std::string text(4096, '\0');
    text.resize(static_cast<std::size_t>(
        std::max<ssize_t>(::recv(fd, text.data(), text.size(), MSG_WAITALL), 0)));
    ::close(fd);
    EXPECT_TRUE(text.ends_with("GET||||unix")) << text;
  }
  EXPECT_NE(::stat(path_.c_str(), &there), 0) << "the name is left behind";
}

TEST_F(AdminOnUnixSocketTest, ANameLeftBehindIsTakenOverAndALiveOneIsNot) {
  {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path_.copy(name.sun_path, sizeof name.sun_path - 1);
    const int dead = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::bind(dead, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    ::close(dead);
  }
  auto first = Admin::listen("unix:" + path_);
  ASSERT_TRUE(first) << first.error();
  const auto second = Admin::listen("unix:" + path_);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().find("another program listens there"), std::string::npos);
  EXPECT_GE(connected(), 0) << "the failed attempt took the name away";
}

TEST_F(AdminOnUnixSocketTest, AFileIsLeftAlone) {
  ::close(::open(path_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  const auto refused = Admin::listen("unix:" + path_);
  ASSERT_FALSE(refused);
  struct stat there {};
  ASSERT_EQ(::stat(path_.c_str(), &there), 0);
  EXPECT_TRUE(S_ISREG(there.st_mode));
  EXPECT_FALSE(Admin::listen("unix:/nowhere/at/all"));
  EXPECT_FALSE(Admin::listen("unix:" + std::string(200, 'x')));
}

}  // namespace
}  // namespace mxring::server
