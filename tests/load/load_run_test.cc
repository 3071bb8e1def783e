// Whole runs against a small server in this process: what is counted, that every run ends, and that
// the open loop shows a stall which the closed loop hides.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "load/report.h"
#include "load/run.h"
#include "tests/load/tiny_server.h"
#include "uring/probe.h"

namespace mxring::load {
namespace {

using std::chrono::milliseconds;
using test::Manners;
using test::TinyServer;

Options options_for(std::uint16_t port) {
  Options options;
  options.server = *base::Endpoint::parse("127.0.0.1:" + std::to_string(port));
  options.connections = 4;
  options.content.size = SizeDistribution::fixed(2000);
  options.content.rcpt_to = {*AddressPattern::parse("r@sink.example", false)};
  options.reply_timeout_ns = 5 * base::kNsPerSecond;
  return options;
}

void skip_without_ring() {
  const uring::Features features = uring::probe();
  if (!features.usable) GTEST_SKIP() << features.problem;
}

class LoadRunTest : public testing::Test {
 protected:
  void SetUp() override { skip_without_ring(); }
};

std::uint64_t lost(const Results& results, Loss loss) {
  return results.losses[static_cast<std::size_t>(loss)];
}

double ms(std::uint64_t ns) {
  return static_cast<double>(ns) * 1e-6;
}

void expect_balanced(const Results& results) {
  EXPECT_EQ(results.sent, results.accepted + results.rejected + results.lost);
  EXPECT_EQ(results.latency_ns->count(), results.accepted);
}

TEST_F(LoadRunTest, EveryMessageArrivesWholeAndOnce) {
  TinyServer server({});
  Options options = options_for(server.port());
  options.messages = 500;
  options.threads = 2;
  options.content.size = *SizeDistribution::parse("500-20000");
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->sent, 500U);
  EXPECT_EQ(results->accepted, 500U);
  EXPECT_EQ(results->failure, "");
  EXPECT_EQ(results->connections, 4U);
  expect_balanced(*results);
  EXPECT_GT(results->client_cpu_us, 0);
  std::set<std::string> ids;
  for (const std::string& content : server.contents()) {
    const std::size_t at = content.find("Message-ID: ");
    ASSERT_NE(at, std::string::npos) << content;
    ids.insert(content.substr(at, content.find('\r', at) - at));
  }
  EXPECT_EQ(ids.size(), 500U);
}

// The same server, stalling once for 300 ms. At 500 messages a second 150 of 1,000 fall due while
// it stands still, and their latency counts from then.
TEST_F(LoadRunTest, OpenLoopShowsAStall) {
  Manners manners;
  manners.stall = milliseconds(300);
  manners.stall_at = 300;
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.rate = *Rate::parse("500/s");
  options.messages = 1000;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->accepted, 1000U);
  EXPECT_GE(ms(results->latency_ns->max()), 280);
  EXPECT_GE(ms(results->latency_ns->percentile(0.99)), 200);
  EXPECT_GE(ms(results->latency_ns->percentile(0.9)), 30);
}

// Only the messages in flight, one a connection, wait; the others are not even sent meanwhile.
TEST_F(LoadRunTest, ClosedLoopHidesTheSameStall) {
  Manners manners;
  manners.stall = milliseconds(300);
  manners.stall_at = 300;
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.messages = 1000;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->accepted, 1000U);
  EXPECT_GE(ms(results->latency_ns->max()), 280);
  EXPECT_LT(ms(results->latency_ns->percentile(0.99)), 150);
  EXPECT_LT(ms(results->latency_ns->percentile(0.9)), 30);
}

TEST_F(LoadRunTest, KeepsItsScheduleWhenTheServerCan) {
  TinyServer server({});
  Options options = options_for(server.port());
  options.rate = *Rate::parse("400/s");
  options.duration_ns = base::kNsPerSecond;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->sent, 400U);
  EXPECT_EQ(results->accepted, 400U);
  EXPECT_GE(results->seconds, 0.99);
  EXPECT_LT(results->seconds, 3);
}

TEST_F(LoadRunTest, CountsWhatWasDueButCouldNotBeSent) {
  Manners manners;
  manners.reply = [](std::string_view line, std::uint64_t) {
    return std::string(line == "." ? "silence" : "");
  };
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.rate = *Rate::parse("100/s");
  options.duration_ns = 500 * base::kNsPerMs;
  options.reply_timeout_ns = 600 * base::kNsPerMs;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->sent, 50U);
  EXPECT_EQ(results->lost, 50U);
  EXPECT_GT(lost(*results, Loss::kUnsent), 0U);
  EXPECT_EQ(results->accepted, 0U);
  EXPECT_NE(results->failure, "");
}

TEST_F(LoadRunTest, CountsRefusalsByCode) {
  Manners manners;
  manners.reply = [](std::string_view line, std::uint64_t message) {
    return std::string(line == "." && message % 3 == 2 ? "452 4.3.1 Not now\r\n" : "");
  };
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.messages = 300;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->sent, 300U);
  EXPECT_EQ(results->accepted, 200U);
  EXPECT_EQ(results->rejected, 100U);
  ASSERT_EQ(results->codes.size(), 1U);
  EXPECT_EQ(results->codes.at(452).count, 100U);
  EXPECT_EQ(results->codes.at(452).example, "4.3.1 Not now");
  EXPECT_EQ(results->connections, 4U);
  EXPECT_EQ(results->failure, "");
  expect_balanced(*results);
}

struct RefusalCase {
  const char* name;
  const char* command;  // refused with 550 for every message
  bool pipelining;
  std::uint64_t resets_min;
};

class LoadRefusalTest : public testing::TestWithParam<RefusalCase> {
 protected:
  void SetUp() override { skip_without_ring(); }
};

TEST_P(LoadRefusalTest, EachMessageIsRefusedAndTheConnectionGoesOn) {
  Manners manners;
  const std::string command = GetParam().command;
  manners.reply = [command](std::string_view line, std::uint64_t) {
    return std::string(line.starts_with(command) ? "550-5.7.1 No\r\n550 5.7.1 Never\r\n" : "");
  };
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.messages = 40;
  options.pipelining = GetParam().pipelining;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->sent, 40U);
  EXPECT_EQ(results->rejected, 40U);
  EXPECT_EQ(results->codes.at(550).count, 40U);
  EXPECT_EQ(results->connections, 4U);
  // The run is over with the last refusal; what its connections say after it may not go out.
  EXPECT_GE(server.resets() + results->connections, GetParam().resets_min);
  EXPECT_NE(results->failure, "");  // nothing was accepted
  expect_balanced(*results);
}

INSTANTIATE_TEST_SUITE_P(
    Commands, LoadRefusalTest,
    testing::Values(RefusalCase{"Mail", "MAIL", false, 0}, RefusalCase{"Rcpt", "RCPT", false, 40},
                    RefusalCase{"Data", "DATA", false, 40},
                    // The server says 354 all the same: an empty message ends it.
                    RefusalCase{"RcptPipelined", "RCPT", true, 0},
                    RefusalCase{"DataPipelined", "DATA", true, 40}),
    [](const auto& named) { return std::string(named.param.name); });

TEST_F(LoadRunTest, PartOfTheRecipientsMayBeRefused) {
  Manners manners;
  manners.reply = [](std::string_view line, std::uint64_t) {
    return std::string(line.find("<bad") != std::string_view::npos ? "550 5.1.1 Who?\r\n" : "");
  };
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.messages = 20;
  options.content.rcpt_to = {*AddressPattern::parse("good%d@sink.example", false),
                             *AddressPattern::parse("bad%d@sink.example", false)};
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->accepted, 20U);
  EXPECT_EQ(results->recipients, 40U);
  ASSERT_EQ(results->recipient_codes.size(), 1U);
  EXPECT_EQ(results->recipient_codes.at(550).count, 20U);
  EXPECT_EQ(results->recipient_codes.at(550).example, "5.1.1 Who?");
  EXPECT_EQ(results->not_accepted(), 0U);
  const std::vector<std::string> recipients = server.recipients();
  EXPECT_EQ(recipients.size(), 40U);
  EXPECT_EQ(std::ranges::count(recipients, "RCPT TO:<good7@sink.example>"), 1);
}

TEST_F(LoadRunTest, ReconnectsToAServerThatCloses) {
  Manners manners;
  manners.reply = [](std::string_view line, std::uint64_t message) {
    return std::string(line == "." && message % 10 == 9 ? "close" : "");
  };
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.messages = 200;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->sent, 200U);
  EXPECT_EQ(results->accepted, 180U);
  EXPECT_EQ(lost(*results, Loss::kClosed) + lost(*results, Loss::kReset), 20U);
  EXPECT_GE(results->connections, 20U);
  expect_balanced(*results);
}

TEST_F(LoadRunTest, A421CountsAndIsFollowedByANewConnection) {
  Manners manners;
  manners.reply = [](std::string_view line, std::uint64_t message) {
    return std::string(line.starts_with("MAIL") && message % 25 == 24 ? "421 4.7.0 Enough\r\n"
                                                                      : "");
  };
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.connections = 1;
  options.messages = 24 + 3;  // the server counts no further while it refuses
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->accepted, 24U);
  EXPECT_EQ(results->codes.at(421).count, 3U);
  EXPECT_EQ(results->connections, 3U);
  expect_balanced(*results);
}

TEST_F(LoadRunTest, ReconnectsAfterSoManyMessages) {
  TinyServer server({});
  Options options = options_for(server.port());
  options.messages = 100;
  options.messages_per_connection = 5;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->accepted, 100U);
  EXPECT_GE(results->connections, 20U);
  EXPECT_LE(results->connections, 23U);  // at most the last of each connection falls short
  EXPECT_EQ(server.connections(), results->connections);
}

TEST_F(LoadRunTest, PipelinesWhereItIsOffered) {
  TinyServer server({});
  Options options = options_for(server.port());
  options.messages = 50;
  options.pipelining = true;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->accepted, 50U);
  EXPECT_EQ(server.pipelined(), 50U);
  EXPECT_TRUE(results->notes.empty());
}

TEST_F(LoadRunTest, SaysSoWhereItIsNot) {
  Manners manners;
  manners.ehlo = "502 5.5.1 What?\r\n";  // HELO then
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.messages = 20;
  options.pipelining = true;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->accepted, 20U);
  EXPECT_EQ(server.pipelined(), 0U);
  EXPECT_EQ(results->notes.size(), 1U);
}

TEST_F(LoadRunTest, ReadsRepliesThatComeByteByByte) {
  Manners manners;
  manners.byte_by_byte = true;
  manners.banner = "220-tiny.example\r\n220-of several\r\n220 lines\r\n";
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.messages = 20;
  options.pipelining = true;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->accepted, 20U);
  EXPECT_EQ(server.pipelined(), 20U);
}

TEST_F(LoadRunTest, SendsMessagesFarLargerThanASocketBuffer) {
  TinyServer server({});
  Options options = options_for(server.port());
  options.connections = 2;
  options.messages = 4;
  options.content.size = SizeDistribution::fixed(20 << 20);
  options.reply_timeout_ns = 60 * base::kNsPerSecond;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(results->accepted, 4U);
  for (const std::string& content : server.contents()) EXPECT_GT(content.size(), 20U << 20);
}

TEST_F(LoadRunTest, SilenceTimesOut) {
  Manners manners;
  manners.reply = [](std::string_view line, std::uint64_t message) {
    return std::string(line == "." && message < 4 ? "silence" : "");
  };
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.messages = 20;
  options.reply_timeout_ns = 300 * base::kNsPerMs;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(lost(*results, Loss::kTimeout), 4U);
  EXPECT_EQ(results->accepted, 16U);
}

TEST_F(LoadRunTest, NonsenseIsNoReply) {
  Manners manners;
  manners.reply = [](std::string_view line, std::uint64_t message) {
    return std::string(line == "." && message == 3 ? "Ok then\r\n" : "");
  };
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.messages = 20;
  const auto results = run_load(options, {});
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_EQ(lost(*results, Loss::kNonsense), 1U);
  EXPECT_EQ(results->accepted, 19U);
}

TEST_F(LoadRunTest, GivesUpWhenTheServerIsGone) {
  TinyServer server({});
  Options options = options_for(server.port());
  options.messages = 100'000'000;
  options.reply_timeout_ns = 500 * base::kNsPerMs;
  std::thread killer([&server] {
    std::this_thread::sleep_for(milliseconds(300));
    server.stop();
  });
  const auto begin = std::chrono::steady_clock::now();
  const auto results = run_load(options, {});
  killer.join();
  ASSERT_TRUE(results.has_value()) << results.error();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  EXPECT_GT(results->accepted, 0U);
  EXPECT_NE(results->failure.find("gave up"), std::string::npos) << results->failure;
  expect_balanced(*results);
}

TEST_F(LoadRunTest, StopsWhenAskedAndAtTheTimeLimit) {
  TinyServer server({});
  Options options = options_for(server.port());
  options.messages = 100'000'000;
  options.time_limit_ns = 300 * base::kNsPerMs;
  const auto limited = run_load(options, {});
  ASSERT_TRUE(limited.has_value()) << limited.error();
  EXPECT_NE(limited->failure.find("time limit"), std::string::npos);
  expect_balanced(*limited);

  std::atomic<bool> stop{false};
  options.time_limit_ns = 0;
  options.stop = &stop;
  bool saw_progress = false;
  const auto stopped = run_load(options, [&](const Progress& progress) {
    saw_progress |= progress.rate > 0;
    stop.store(true);
  });
  ASSERT_TRUE(stopped.has_value()) << stopped.error();
  EXPECT_TRUE(saw_progress);
  EXPECT_EQ(stopped->failure, "");
  EXPECT_EQ(stopped->lost, 0U);
  expect_balanced(*stopped);
}

// Every millisecond one falls due, so one is due at the moment of the stop as well.
TEST_F(LoadRunTest, WhatIsDueWhenStoppedIsNotLost) {
  TinyServer server({});
  Options options = options_for(server.port());
  options.rate = *Rate::parse("1000/s");
  options.duration_ns = 600 * base::kNsPerSecond;
  std::atomic<bool> stop{false};
  options.stop = &stop;
  const auto stopped = run_load(options, [&](const Progress& progress) {
    if (progress.rate > 0) stop.store(true);
  });
  ASSERT_TRUE(stopped.has_value()) << stopped.error();
  EXPECT_GT(stopped->accepted, 0U);
  EXPECT_EQ(stopped->lost, 0U);
  EXPECT_LT(stopped->seconds, 60);
  expect_balanced(*stopped);
}

TEST_F(LoadRunTest, WhatAStallHeldUpWhenStoppedIsLost) {
  Manners manners;
  manners.reply = [](std::string_view line, std::uint64_t message) {
    return std::string(line == "." && message >= 4 ? "silence" : "");
  };
  TinyServer server(manners);
  Options options = options_for(server.port());
  options.rate = *Rate::parse("200/s");
  options.duration_ns = 600 * base::kNsPerSecond;
  options.reply_timeout_ns = 60 * base::kNsPerSecond;
  std::atomic<bool> stop{false};
  options.stop = &stop;
  int looks = 0;
  const auto stopped = run_load(options, [&](const Progress&) { stop.store(++looks >= 4); });
  ASSERT_TRUE(stopped.has_value()) << stopped.error();
  EXPECT_EQ(lost(*stopped, Loss::kUnfinished), 4U);  // one on each connection
  EXPECT_GT(lost(*stopped, Loss::kUnsent), 30U);
  expect_balanced(*stopped);
}

TEST_F(LoadRunTest, SaysWhyNothingCouldBeSent) {
  std::uint16_t port = 0;
  {
    TinyServer gone({});
    port = gone.port();
  }
  Options options = options_for(port);
  options.messages = 10;
  const auto refused = run_load(options, {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().find("nothing listens there"), std::string::npos) << refused.error();

  Manners manners;
  manners.banner = "554 5.7.1 Not you\r\n";
  TinyServer server(manners);
  options = options_for(server.port());
  const auto unwelcome = run_load(options, {});
  ASSERT_FALSE(unwelcome.has_value());
  EXPECT_NE(unwelcome.error().find("554 5.7.1 Not you"), std::string::npos) << unwelcome.error();
}

}  // namespace
}  // namespace mxring::load
