// The admin listener among clients that take their time: one thread answers all of them, and the
// program ends behind it.
#include "server/admin.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "tests/support/smtp_client.h"

namespace mxring::server {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kHugePage = 64 << 20;  // far more than the sockets' buffers hold
constexpr std::size_t kLargePage = 8 << 20;  // more than is sent at once; soon sent, also when busy

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class AdminTest : public testing::Test {
 protected:
  AdminTest() {
    auto listener = Admin::listen(*base::Endpoint::parse("127.0.0.1:0"));
    if (!listener) return;
    admin_ = std::make_unique<Admin>(
        std::move(*listener), Admin::Pages{.metrics = [] { return std::string(kHugePage, 'm'); },
                                           .status = [] { return std::string(kLargePage, 's'); },
                                           .why_not_accepting = [] { return std::string(); }});
  }
  void SetUp() override { ASSERT_NE(admin_, nullptr); }

  std::uint16_t port() const { return admin_->endpoint().port; }
  std::string ask(const std::string& path) const {
    test::SmtpClient client(port());  // its replies are lines, and so is the status line
    client.send("GET " + path + " HTTP/1.0\r\n\r\n");
    return client.reply();
  }

  // Begins a request and never comes to its end: a byte every 100 ms, well within any time limit on
  // a single read. Returns once the admin thread has had time to turn to it.
  void dribble() {
    dribbler_ = std::jthread([this](const std::stop_token& stop) {
      test::SmtpClient client(port());
      client.send("GET /healthz HTTP/1.0\r\nX-Slow: ");
      while (!stop.stop_requested() && client.send("x")) std::this_thread::sleep_for(kEvery);
    });
    std::this_thread::sleep_for(3 * kEvery);
  }

  static constexpr milliseconds kEvery{100};
  std::unique_ptr<Admin> admin_;
  std::jthread dribbler_;
};

TEST_F(AdminTest, ADribblingClientIsDroppedAfterTwoSeconds) {
  dribble();
  const auto begin = Clock::now();
  EXPECT_TRUE(ask("/healthz").starts_with("HTTP/1.0 200"));
  EXPECT_LT(seconds_since(begin), 6) << "2 s and what a busy machine adds";
}

TEST_F(AdminTest, AClientThatReadsSlowlyIsDroppedAfterTwoSeconds) {
  test::SmtpClient slow(port());
  slow.send("GET /metrics HTTP/1.0\r\n\r\n");
  std::jthread reader([&slow](const std::stop_token& stop) {
    char bytes[16 << 10];
    while (!stop.stop_requested() && ::recv(slow.fd(), bytes, sizeof bytes, 0) > 0) {
      std::this_thread::sleep_for(kEvery);
    }
  });
  std::this_thread::sleep_for(3 * kEvery);
  const auto begin = Clock::now();
  EXPECT_TRUE(ask("/healthz").starts_with("HTTP/1.0 200"));
  EXPECT_LT(seconds_since(begin), 6);
}

TEST_F(AdminTest, TheEndDoesNotWaitForAClient) {
  dribble();
  const auto begin = Clock::now();
  admin_.reset();
  EXPECT_LT(seconds_since(begin), 1.5) << "not even the request's own 2 s";
}

TEST_F(AdminTest, ALargePageArrivesWhole) {
  test::SmtpClient client(port());
  client.send("GET /status HTTP/1.0\r\n\r\n");
  std::size_t got = 0;
  std::string bytes(1 << 20, '\0');
  for (ssize_t n = 0; (n = ::recv(client.fd(), bytes.data(), bytes.size(), 0)) > 0;) {
    got += static_cast<std::size_t>(n);
  }
  EXPECT_GT(got, kLargePage);
}

}  // namespace
}  // namespace mxring::server
