// A message that is given up takes its check along, whoever gives it up and however far the check
// lags: the shard serves others at once, comes to rest, and drains. Each way of giving up comes
// after megabytes of a signed message that were sent as fast as the loop takes them, so that
// hashing lags when it happens.

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "server/server.h"
#include "tests/dns/test_dns_server.h"
#include "tests/support/smtp_client.h"
#include "tests/support/temp_dir.h"

namespace mxring::server {
namespace {

using std::chrono::milliseconds;

constexpr int kPatienceS = 10;  // a shard that does not turn never answers

std::string repeated(std::string_view line, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += line;
  return text;
}

// Ten signatures over a body that relaxed canonicalisation has to take apart.
std::string signed_header() {
  const std::string signature =
      "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=signed.example; s=s; h=from;\r\n"
      " bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=" +
      std::string(344, 'A') + "\r\n";
  return repeated(signature, signature.size() * 10);
}

std::string beginning(std::size_t bytes, std::string_view from = "From: a@signed.example\r\n") {
  return signed_header() + std::string(from) + "\r\n" +
         repeated("a  b\t c \t d  e   f \r\n", bytes);
}

constexpr std::size_t kLagBytes = 7'000'000;

struct Running {
  explicit Running(const std::function<void(Config&)>& adjust)
      : dns(test::Zone::parse("signed.example TXT \"v=spf1 -all\"\n"
                              "s._domainkey.signed.example ! slow 300\n")) {
    Config config = default_config();
    config.hostname = "mx.test";
    config.listen.smtp = {*base::Endpoint::parse("127.0.0.1:0")};
    config.listen.smtps.clear();
    config.shards.count = 1;
    config.log.dir = dir.path() / "log";
    config.log.segment_bytes = 64 * base::kMiB;
    config.limits.disk_reserve_percent = 0;
    config.limits.disk_reserve_segments = 0;
    config.limits.drain_ns = 300 * base::kNsPerMs;
    config.dns.servers = {dns.endpoint()};
    if (adjust) adjust(config);
    auto started = Server::start(config, [](const std::string&) {});
    EXPECT_TRUE(started.has_value()) << (started ? "" : started.error().message);
    if (started) server = std::move(*started);
  }

  std::uint16_t port() const { return server->smtp_endpoints().front().port; }

  std::unique_ptr<test::SmtpClient> client_at_data() const {
    auto client = std::make_unique<test::SmtpClient>(port(), kPatienceS);
    client->reply();
    client->ask("EHLO client.example");
    client->ask("MAIL FROM:<a@signed.example>");
    client->ask("RCPT TO:<b@example.net>");
    EXPECT_EQ(client->ask("DATA").substr(0, 3), "354");
    return client;
  }

  std::string good_client() const {
    test::SmtpClient client(port(), kPatienceS);
    client.reply();
    client.ask("EHLO client.example");
    return client.deliver("a@other.example", "b@example.net",
                          "From: a@other.example\r\n\r\nhi\r\n");
  }

  std::uint64_t turns() const { return server->pulses().front().progress; }

  // Nothing is left to do: the loop sleeps, or looks at its timers now and then.
  void expect_rest() const {
    std::uint64_t in_between = 0;
    for (int look = 0; look < 20; ++look) {
      const std::uint64_t before = turns();
      std::this_thread::sleep_for(milliseconds(100));
      in_between = turns() - before;
      if (in_between < 100) return;
    }
    ADD_FAILURE() << in_between << " turns of the loop in 100 ms, with nothing to do";
  }

  test::TempDir dir;
  test::TestDnsServer dns;
  std::unique_ptr<Server> server;
};

struct Way {
  const char* name;
  const char* reply;  // its beginning; "" when the client hears nothing
  std::function<std::string(Running&)> go;
  std::function<void(Config&)> adjust;
};

void PrintTo(const Way& way, std::ostream* out) {
  *out << way.name;
}

// Megabytes of a signed message, `rest`, the end of data; the reply.
std::function<std::string(Running&)> message_with(std::string rest, std::size_t bytes = kLagBytes) {
  return [rest = std::move(rest), bytes](Running& running) {
    const auto client = running.client_at_data();
    client->send(beginning(bytes) + rest + "\r\n.\r\n");
    return client->reply();
  };
}

std::string two_authors(Running& running) {
  const auto client = running.client_at_data();
  client->send(beginning(kLagBytes, "From: a@signed.example, b@other.example\r\n") + ".\r\n");
  return client->reply();
}

std::string gone(Running& running, bool reset) {
  const auto client = running.client_at_data();
  client->send(beginning(kLagBytes));
  reset ? client->reset() : client->close();
  return {};
}

std::string silent(Running& running) {
  const auto client = running.client_at_data();
  client->send(beginning(kLagBytes));
  return client->reply();
}

std::string told_to_leave(Running& running) {
  const auto client = running.client_at_data();
  client->send(beginning(kLagBytes));
  running.server->begin_drain();
  return client->reply();
}

// None of them ends its message before all are sent, so that only giving one up frees memory.
std::string evicted(Running& running) {
  std::vector<std::unique_ptr<test::SmtpClient>> clients;
  std::vector<std::thread> senders;
  for (int i = 0; i < 6; ++i) clients.push_back(running.client_at_data());
  for (auto& client : clients) {
    senders.emplace_back([&client] { client->send(beginning(kLagBytes)); });
  }
  std::string seen;
  for (std::thread& sender : senders) sender.join();
  for (auto& client : clients) client->send(".\r\n");
  for (auto& client : clients) {
    const std::string reply = client->reply();
    EXPECT_NE(reply, "");
    if (reply.starts_with("452")) seen = reply;
  }
  return seen;
}

// The answer to SPF's question is still to come when the transaction ends.
std::function<std::string(Running&)> before_data(std::string command) {
  return [command = std::move(command)](Running& running) {
    test::SmtpClient client(running.port(), kPatienceS);
    client.reply();
    client.ask("EHLO client.example");
    client.ask("MAIL FROM:<a@s._domainkey.signed.example>");
    return client.ask(command);
  };
}

const auto kSmallMemory = [](Config& config) {
  config.limits.message_bytes = 8 * base::kMiB;
  config.limits.memory_bytes = 16 * base::kMiB;
  config.limits.memory_wait_ns = 200 * base::kNsPerMs;
};
const auto kImpatient = [](Config& config) {
  config.limits.data_gap_ns = 300 * base::kNsPerMs;
  config.limits.data_silence_ns = 600 * base::kNsPerMs;
};

const std::vector<Way> kWays = {
    {"Nul", "550 5.5.2", message_with(std::string(1, '\0')), {}},
    {"BareLf", "550 5.5.2", message_with("x\ny"), {}},
    {"BareCr", "550 5.5.2", message_with("x\ry"), {}},
    {"LongLine", "550 5.6.0", message_with(std::string(70'000, 'x')), {}},
    {"TooLarge", "552 5.3.4", message_with("", 27'000'000), {}},
    {"LargeHeader",
     "552 5.3.4",
     [](Running& running) {
       const auto client = running.client_at_data();
       client->send(signed_header() + repeated("X: y\r\n", 200'000) + beginning(1'000'000) +
                    ".\r\n");
       return client->reply();
     },
     {}},
    {"TwoAuthors", "550 5.6.0", two_authors, {}},
    {"Reset", "", [](Running& running) { return gone(running, true); }, {}},
    {"Closed", "", [](Running& running) { return gone(running, false); }, {}},
    {"TooSlow", "421 4.4.2", silent, kImpatient},
    {"Drained", "421 4.3.2", told_to_leave, {}},
    {"MemoryShort", "452 4.3.1", evicted, kSmallMemory},
    {"Rset", "250", before_data("RSET"), {}},
    {"EhloAgain", "250", before_data("EHLO again.example"), {}},
    {"Quit", "221", before_data("QUIT"), {}},
};

class GivenUp : public testing::TestWithParam<Way> {};

TEST_P(GivenUp, TheShardGoesOn) {
  const Way& way = GetParam();
  Running running(way.adjust);
  ASSERT_NE(running.server, nullptr);
  for (int round = 0; round < 2; ++round) {
    if (way.go == nullptr) break;
    const std::string reply = way.go(running);
    EXPECT_EQ(reply.substr(0, std::string(way.reply).size()), way.reply) << reply;
    if (std::string_view(way.name) == "Drained") break;
    EXPECT_EQ(running.good_client().substr(0, 13), "250 2.0.0 Ok ");
    running.expect_rest();
  }
  const auto before = std::chrono::steady_clock::now();
  running.server->begin_drain();
  EXPECT_EQ(running.server->wait(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(kPatienceS));
  for (const Pulse& pulse : running.server->pulses()) EXPECT_TRUE(pulse.ended) << pulse.thread;
}

INSTANTIATE_TEST_SUITE_P(Ways, GivenUp, testing::ValuesIn(kWays),
                         [](const auto& found) { return std::string(found.param.name); });

TEST(Pulses, SleepersMoveWhenPoked) {
  Running running({});
  running.expect_rest();
  const auto before = running.server->pulses();
  ASSERT_EQ(before.size(), 2U);
  EXPECT_EQ(before.back().thread, "writer");
  EXPECT_EQ(before.back().committing_since_ns, 0);
  for (int look = 0; look < 100; ++look) {
    running.server->poke();
    std::this_thread::sleep_for(milliseconds(20));
    const auto now = running.server->pulses();
    if (now[0].progress > before[0].progress && now[1].progress > before[1].progress) return;
  }
  ADD_FAILURE() << "a thread stood still";
}

}  // namespace
}  // namespace mxring::server
