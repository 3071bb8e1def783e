// Buffers and blocks are used again for other clients. What a client sent and what was refused must
// never come out: not in what another hears, and nowhere in the log.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "server/server.h"
#include "tests/support/smtp_client.h"
#include "tests/support/temp_dir.h"

namespace mxring::server {
namespace {

constexpr std::string_view kCanary = "CANARY-7f3a";

std::string flock_of(std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text.append(kCanary).append(" of the mine\r\n");
  return text;
}

TEST(Canary, NothingOfOneClientReachesAnotherOrTheLog) {
  test::TempDir dir;
  Config config = default_config();
  config.hostname = "mx.test";
  config.listen.smtp = {*base::Endpoint::parse("127.0.0.1:0")};
  config.listen.smtps.clear();
  config.shards.count = 1;
  config.shards.buffers_offered = 8;
  config.auth.spf = config.auth.dkim = config.auth.dmarc = false;
  config.limits.message_bytes = base::kMiB;
  config.limits.memory_bytes = 4 * base::kMiB;
  config.log.dir = dir.path() / "log";
  config.log.segment_bytes = 16 * base::kMiB;
  config.limits.disk_reserve_percent = 0;
  config.limits.disk_reserve_segments = 0;
  auto server = Server::start(config, [](const std::string&) {});
  ASSERT_TRUE(server.has_value()) << server.error().message;
  const std::uint16_t port = (*server)->smtp_endpoints().front().port;

  std::string heard;
  for (int round = 0; round < 8; ++round) {
    {
      test::SmtpClient canary(port);
      canary.reply();
      canary.ask("EHLO c.example");
      canary.ask(std::string(kCanary));  // an unknown command
      // Every receive buffer and more, then a reason to refuse all of it.
      const std::string refused = canary.deliver("a@c.example", "b@mx.test",
                                                 flock_of(900'000) + std::string(1, '\0') + "\r\n");
      EXPECT_EQ(refused.substr(0, 9), "550 5.5.2");
      canary.send(flock_of(3000));  // as commands
    }
    test::SmtpClient other(port);
    heard += other.reply();
    for (const char* command :
         {"EHLO d.example", "NOOP", "FOO", "HELP", "MAIL FROM:<>", "RCPT TO:<b@mx.test>", "RSET"}) {
      heard += other.ask(command);
    }
    for (const std::size_t size : {std::size_t{1}, std::size_t{5000}, std::size_t{20'000}}) {
      std::string small = "From: a@d.example\r\n\r\n";
      while (small.size() < size) small += "x\r\n";
      const std::string reply = other.deliver("a@d.example", "b@mx.test", small);
      EXPECT_EQ(reply.substr(0, 3), "250");
      heard += reply;
    }
    heard += other.ask("QUIT");
  }
  (*server)->begin_drain();
  EXPECT_EQ((*server)->wait(), 0);
  EXPECT_EQ(heard.find(kCanary), std::string::npos);

  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path() / "log")) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
    EXPECT_EQ(bytes.find(kCanary), std::string::npos) << entry.path();
    ++files;
  }
  EXPECT_GT(files, 0U);
}

}  // namespace
}  // namespace mxring::server
