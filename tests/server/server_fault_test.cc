// The promise under storage faults: the whole receiver runs in this process with a fault plan, one
// fault at each index of a short run in turn. Whatever fails, a 250 is given only for a message
// that a fresh reader finds whole afterwards.

#include <gtest/gtest.h>
#include <mxring/log_reader.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "seglog/writer.h"
#include "server/server.h"
#include "tests/support/smtp_client.h"
#include "tests/support/temp_dir.h"

namespace mxring::server {
namespace {

using uring::FaultPoint;
using uring::FaultRule;

constexpr int kMessages = 6;

Config small_config(const std::filesystem::path& dir) {
  Config config = default_config();
  config.hostname = "mx.test";
  config.listen.smtp = {*base::Endpoint::parse("127.0.0.1:0")};
  config.listen.smtps.clear();
  config.shards.count = 1;
  config.auth.spf = config.auth.dkim = config.auth.dmarc = false;  // tests ask no resolver outside
  config.log.dir = dir / "log";
  config.log.segment_bytes = 64 * base::kMiB;
  config.limits.memory_bytes = 64 * base::kMiB;
  config.limits.disk_reserve_percent = 0;
  config.limits.disk_reserve_segments = 0;
  config.limits.drain_ns = base::kNsPerSecond;
  return config;
}

std::string content_of(int i) {
  std::string content = "From: a@example.org\r\nSubject: " + std::to_string(i) + "\r\n\r\n";
  for (int line = 0; line < 40 * (i + 1); ++line)
    content += "line " + std::to_string(line) + "\r\n";
  return content;
}

struct Outcome {
  bool started = false;
  int exit_code = 0;
  std::string notices;
  std::map<std::uint64_t, int> acknowledged;  // offset to message number
  std::vector<std::string> replies;           // to end of data
};

// Two connections take turns, so that a failure is seen by one that was not part of the batch.
Outcome run(const std::filesystem::path& dir, uring::FaultPlan* faults) {
  Outcome outcome;
  std::mutex mutex;
  auto server = Server::start(
      small_config(dir),
      [&](const std::string& line) {
        const std::lock_guard lock(mutex);
        outcome.notices += line + "\n";
      },
      faults);
  if (!server) {
    outcome.notices += server.error().message;
    return outcome;
  }
  outcome.started = true;
  const std::uint16_t port = (*server)->smtp_endpoints().front().port;
  {
    test::SmtpClient one(port);
    test::SmtpClient two(port);
    for (test::SmtpClient* client : {&one, &two}) {
      client->reply();
      client->ask("EHLO test.example");
    }
    for (int i = 0; i < kMessages; ++i) {
      test::SmtpClient& client = i % 2 == 0 ? one : two;
      const std::string reply = client.deliver("a@example.org", "b@example.org", content_of(i));
      outcome.replies.push_back(reply);
      if (reply.starts_with("250 2.0.0 Ok ")) {
        outcome.acknowledged[std::stoull(reply.substr(13))] = i;
      }
    }
  }
  (*server)->begin_drain();
  outcome.exit_code = (*server)->wait();
  return outcome;
}

// Recovers the log and reads it with no fault in the way.
std::map<std::uint64_t, std::string> read_back(const std::filesystem::path& dir) {
  std::map<std::uint64_t, std::string> found;
  seglog::WriterOptions options;
  options.directory = dir / "log";
  options.segment_bytes = 64 * base::kMiB;
  auto writer = seglog::Writer::open(options);
  EXPECT_TRUE(writer.has_value()) << (writer ? "" : writer.error().message);
  auto reader = LogReader::open(dir / "log");
  EXPECT_TRUE(reader.has_value());
  if (!reader) return found;
  for (;;) {
    auto record = reader->next();
    if (!record) {
      ADD_FAILURE() << "damaged after recovery: " << record.error().message;
      continue;
    }
    if (!*record) return found;
    found[(*record)->offset] = (*record)->message;
  }
}

void check_promise(const std::filesystem::path& dir, const Outcome& outcome) {
  const auto found = read_back(dir);
  for (const auto& [offset, i] : outcome.acknowledged) {
    ASSERT_TRUE(found.contains(offset)) << "acknowledged and lost: " << offset;
    EXPECT_EQ(found.at(offset), content_of(i));
  }
  for (const auto& [offset, message] : found) {
    bool whole = false;
    for (int i = 0; i < kMessages; ++i) whole |= message == content_of(i);
    EXPECT_TRUE(whole) << "a record that nobody sent at " << offset;
  }
}

TEST(ServerFault, NoFault) {
  test::TempDir dir;
  uring::FaultPlan plan;
  const Outcome outcome = run(dir.path(), &plan);
  ASSERT_TRUE(outcome.started) << outcome.notices;
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.acknowledged.size(), kMessages);
  check_promise(dir.path(), outcome);
  EXPECT_GT(plan.count(FaultPoint::kFileWrite), 0U);
  EXPECT_GT(plan.count(FaultPoint::kFileSync), 0U);
}

struct Scenario {
  const char* name;
  FaultPoint point;
  int error;
  std::uint64_t shorten_to;
};

class ServerFaultAt : public testing::TestWithParam<Scenario> {};

TEST_P(ServerFaultAt, EveryIndexOfAShortRun) {
  const Scenario& scenario = GetParam();
  std::uint64_t operations = 0;
  {
    test::TempDir dir;
    uring::FaultPlan plan;
    run(dir.path(), &plan);
    operations = plan.count(scenario.point);
  }
  ASSERT_GT(operations, 0U);
  int failures_seen = 0;
  for (std::uint64_t nth = 0; nth < operations; ++nth) {
    SCOPED_TRACE(std::string(scenario.name) + " at " + std::to_string(nth));
    test::TempDir dir;
    uring::FaultPlan plan;
    FaultRule rule;
    rule.point = scenario.point;
    rule.nth = nth;
    rule.error = scenario.error;
    rule.shorten_to = scenario.shorten_to;
    plan.add(rule);
    const Outcome outcome = run(dir.path(), &plan);
    if (outcome.started && outcome.exit_code != 0) {
      ++failures_seen;
      EXPECT_NE(outcome.notices.find("fatal"), std::string::npos);
      bool refused = false;
      for (const std::string& reply : outcome.replies) {
        if (reply.starts_with("250")) {
          EXPECT_FALSE(refused) << "accepted after a storage failure";
        } else {
          refused = true;
          // The batch that failed hears 451; what comes later finds the server leaving.
          EXPECT_TRUE(reply.empty() || reply.starts_with("451 4.3.0") ||
                      reply.starts_with("421 4.3.2"))
              << reply;
        }
      }
      EXPECT_TRUE(refused);
    }
    check_promise(dir.path(), outcome);
  }
  if (scenario.error != 0) {
    EXPECT_GT(failures_seen, 0);
  } else {
    EXPECT_EQ(failures_seen, 0) << "a short write is continued, not failed";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Storage, ServerFaultAt,
    testing::Values(Scenario{"write_eio", FaultPoint::kFileWrite, EIO, ~0ULL},
                    Scenario{"write_enospc", FaultPoint::kFileWrite, ENOSPC, ~0ULL},
                    Scenario{"write_short", FaultPoint::kFileWrite, 0, 100},
                    Scenario{"sync_eio", FaultPoint::kFileSync, EIO, ~0ULL},
                    Scenario{"sync_cancelled", FaultPoint::kFileSync, ECANCELED, ~0ULL}),
    [](const auto& test) { return std::string(test.param.name); });

// A disk that stands still, and clients that do not wait for their reply: their messages stay on
// their way to the log, while others come. Too many are refused, and the rest is stored.
TEST(ServerFault, ClientsThatLeaveWhileTheDiskStandsStill) {
  constexpr std::uint32_t kConnections = 20;
  constexpr int kClients = 150;
  test::TempDir dir;
  uring::FaultPlan plan;
  // The start and the first message have passed by then.
  plan.add({.point = FaultPoint::kFileSync,
            .nth = 20,
            .every_from_nth = true,
            .delay_ns = base::kNsPerSecond});
  Config config = small_config(dir.path());
  config.limits.connections = kConnections;
  config.limits.drain_ns = 30 * base::kNsPerSecond;
  auto server = Server::start(
      config, [](const std::string&) {}, &plan);
  ASSERT_TRUE(server.has_value()) << server.error().message;
  const std::uint16_t port = (*server)->smtp_endpoints().front().port;
  const auto greeted = [&](test::SmtpClient& client) {
    // Those who have left may not be noticed yet.
    return client.reply().starts_with("220") && client.ask("EHLO test.example").starts_with("250");
  };
  int before = 0;
  while (plan.count(FaultPoint::kFileSync) <= 20) {
    test::SmtpClient client(port);
    ASSERT_TRUE(greeted(client));
    client.send("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    client.reply();
    client.reply();
    if (!client.reply().starts_with("354")) break;
    client.send(content_of(0) + ".\r\n");
    ++before;
    if (plan.count(FaultPoint::kFileSync) <= 20) client.reply();
  }
  int refused = 0;
  for (int i = 0; i < kClients; ++i) {
    test::SmtpClient client(port);
    if (!greeted(client)) continue;
    const std::string mail = client.ask("MAIL FROM:<a@example.org>");
    if (mail.starts_with("452 4.3.1")) {
      ++refused;
      continue;
    }
    ASSERT_TRUE(mail.starts_with("250")) << mail;
    client.ask("RCPT TO:<b@example.org>");
    if (!client.ask("DATA").starts_with("354")) continue;
    client.send(content_of(0) + ".\r\n");
    client.reset();
  }
  EXPECT_GT(refused, 0);
  (*server)->begin_drain();
  EXPECT_EQ((*server)->wait(), 0);
  EXPECT_GT(read_back(dir.path()).size(), static_cast<std::size_t>(kConnections));
  EXPECT_LT(read_back(dir.path()).size(), static_cast<std::size_t>(before + kClients));
}

// From the given open on there is no descriptor for the log, as when clients have taken them all.
TEST(ServerFault, WithoutDescriptorsMessagesAreRefusedAndTheServerStays) {
  test::TempDir dir;
  uring::FaultPlan plan;
  // The first four are the directory above, the log's own, its id and the first segment, which is
  // small.
  plan.add({.point = FaultPoint::kFileOpen, .nth = 4, .every_from_nth = true, .error = EMFILE});
  std::mutex mutex;
  std::string notices;
  const auto notice = [&](const std::string& line) {
    const std::lock_guard lock(mutex);
    notices += line + "\n";
  };
  auto server = Server::start(small_config(dir.path()), notice, &plan);
  ASSERT_TRUE(server) << server.error().message;
  {
    test::SmtpClient client((*server)->smtp_endpoints().front().port);
    client.reply();
    client.ask("EHLO test.example");
    std::string large = content_of(0);
    for (int line = 0; line < 50'000; ++line) large += "A line of the large message.\r\n";
    const auto send = [&](const std::string& content) {
      return client.deliver("a@example.org", "b@example.org", content);
    };
    int accepted = 0;
    std::string reply;
    while (accepted < 10 && (reply = send(large)).starts_with("250")) ++accepted;
    EXPECT_GT(accepted, 0);
    EXPECT_LT(accepted, 10) << "the first segment is smaller than that";
    EXPECT_TRUE(reply.starts_with("451 4.3.0")) << reply;
    EXPECT_TRUE(send(large).starts_with("451 4.3.0"));
    EXPECT_TRUE(send(content_of(1)).starts_with("250")) << "what fits still goes in";
  }
  (*server)->begin_drain();
  EXPECT_EQ((*server)->wait(), 0);
  const std::lock_guard lock(mutex);
  EXPECT_EQ(notices.find("fatal"), std::string::npos) << notices;
  EXPECT_NE(notices.find("refused for now"), std::string::npos) << notices;
}

}  // namespace
}  // namespace mxring::server
