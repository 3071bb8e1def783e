// SPF in the running receiver: begun at MAIL FROM, answered by a DNS server on loopback, written
// into the record; a resolver that is dead costs a message a bounded time and never its acceptance.

#include <gtest/gtest.h>
#include <mxring/log_reader.h>

#include <chrono>
#include <mutex>
#include <string>
#include <thread>

#include "server/server.h"
#include "tests/dns/test_dns_server.h"
#include "tests/support/smtp_client.h"
#include "tests/support/temp_dir.h"

namespace mxring::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kContent = "From: a@example.org\r\nSubject: spf\r\n\r\nbody\r\n";

class ServerSpf : public testing::Test {
 protected:
  void start(const std::vector<base::Endpoint>& resolvers, std::uint32_t shards = 1) {
    Config config = default_config();
    config.hostname = "mx.test";
    config.listen.smtp = {*base::Endpoint::parse("127.0.0.1:0")};
    config.listen.smtps.clear();
    config.shards.count = shards;
    config.log.dir = dir_.path() / "log";
    config.limits.disk_reserve_percent = 0;
    config.limits.disk_reserve_segments = 0;
    config.dns.servers = resolvers;
    config.auth.dkim = config.auth.dmarc = false;
    auto server = Server::start(config, [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      notices_ += line + "\n";
    });
    ASSERT_TRUE(server.has_value()) << server.error().message;
    server_ = std::move(*server);
  }

  std::uint16_t port() const { return server_->smtp_endpoints().front().port; }

  std::string deliver(std::string_view from, std::string_view helo = "mail.example") {
    test::SmtpClient client(port());
    client.reply();
    client.ask("EHLO " + std::string(helo));
    return client.deliver(from, "b@example.net", kContent);
  }

  // The `spf` of every record, one a line.
  std::string stop_and_read() {
    server_->begin_drain();
    EXPECT_EQ(server_->wait(), 0);
    auto reader = LogReader::open(dir_.path() / "log");
    EXPECT_TRUE(reader.has_value());
    std::string all;
    while (reader) {
      auto record = reader->next();
      if (!record || !*record) break;
      all += std::string((*record)->spf) + "\n";
      names_ += std::string((*record)->client_name) + "\n";
      traces_ += std::string((*record)->trace);
    }
    return all;
  }

  std::string notices() {
    const std::lock_guard lock(mutex_);
    return notices_;
  }

  test::TempDir dir_;
  std::mutex mutex_;
  std::string notices_;
  std::string names_;
  std::string traces_;
  std::unique_ptr<Server> server_;
};

test::Zone zone() {
  return test::Zone::parse(R"(
good.example    TXT  "v=spf1 include:hosts.example -all"
hosts.example   TXT  "v=spf1 ip4:127.0.0.0/8 ~all"
bad.example     TXT  "v=spf1 ip4:192.0.2.0/24 -all"
broken.example  TXT  "v=spf1 ip4:not-an-address -all"
mail.example    TXT  "v=spf1 ip4:127.0.0.1 -all"
1.0.0.127.in-addr.arpa  PTR  liar.example
1.0.0.127.in-addr.arpa  PTR  mail.example
liar.example    A    192.0.2.1
mail.example    A    127.0.0.1
)");
}

TEST_F(ServerSpf, ResultsAreInTheRecords) {
  test::TestDnsServer dns(zone());
  start({dns.endpoint()});
  EXPECT_TRUE(deliver("a@good.example").starts_with("250"));
  EXPECT_TRUE(deliver("a@bad.example").starts_with("250"));
  EXPECT_TRUE(deliver("a@broken.example").starts_with("250"));
  EXPECT_TRUE(deliver("").starts_with("250"));
  EXPECT_TRUE(deliver("a@nothing.example").starts_with("250"));
  const std::string found = stop_and_read();
  EXPECT_NE(found.find(R"("result":"pass","identity":"mailfrom","domain":"good.example")"),
            std::string::npos)
      << found;
  EXPECT_NE(found.find(R"("result":"fail","identity":"mailfrom","domain":"bad.example")"),
            std::string::npos)
      << found;
  EXPECT_NE(found.find(R"("result":"permerror")"), std::string::npos) << found;
  EXPECT_NE(found.find(R"("result":"pass","identity":"helo","domain":"mail.example")"),
            std::string::npos)
      << found;
  EXPECT_NE(found.find(R"("result":"none")"), std::string::npos) << found;
}

TEST_F(ServerSpf, ADeadResolverIsSaidOnceForAllShards) {
  test::TestDnsServer dns(zone());
  dns.set_dead(true);
  start({dns.endpoint()}, 2);
  std::this_thread::sleep_for(std::chrono::seconds(3));  // both shards have probed it by then
  const std::string said = notices();
  constexpr std::string_view kWarning = "warning: the DNS resolver at ";
  EXPECT_NE(said.find(kWarning), std::string::npos) << said;
  EXPECT_EQ(said.find(kWarning), said.rfind(kWarning)) << said;
}

TEST_F(ServerSpf, TheClientsNameIsTheOneThatLeadsBackToIt) {
  test::TestDnsServer dns(zone());
  start({dns.endpoint()});
  deliver("a@good.example");  // its questions are answered by now, whatever came first
  EXPECT_TRUE(deliver("a@good.example").starts_with("250"));
  stop_and_read();
  EXPECT_TRUE(names_.ends_with("\nmail.example\n")) << names_;
  EXPECT_NE(traces_.find("(mail.example [127.0.0.1])"), std::string::npos) << traces_;
}

TEST_F(ServerSpf, AnswersAreAskedForOnce) {
  test::TestDnsServer dns(zone());
  start({dns.endpoint()});
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(deliver("a@good.example").starts_with("250"));
  EXPECT_LE(dns.questions(), 5U);  // two of SPF, one PTR and the addresses of its names
  stop_and_read();
}

TEST_F(ServerSpf, ADeadResolverCostsLittleAndLosesNothing) {
  test::TestDnsServer dns(zone());
  dns.set_dead(true);
  start({dns.endpoint()});
  const auto begin = Clock::now();
  EXPECT_TRUE(deliver("a@good.example").starts_with("250"));
  const auto first = Clock::now();
  EXPECT_LT(first - begin, std::chrono::seconds(4));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(deliver("a@good.example").starts_with("250"));
  EXPECT_LT(Clock::now() - first, std::chrono::seconds(2)) << "noticed once, not every time";
  EXPECT_TRUE(notices().contains("warning: the DNS resolver at " + dns.endpoint().to_string() +
                                 " does not answer; "))
      << notices();

  dns.set_dead(false);
  const auto end = Clock::now() + std::chrono::seconds(8);
  while (notices().find("answers again") == std::string::npos && Clock::now() < end) {
    deliver("a@other.example");
  }
  EXPECT_TRUE(deliver("a@good.example").starts_with("250"));
  const std::string found = stop_and_read();
  EXPECT_NE(found.find(R"("result":"temperror")"), std::string::npos) << found;
  EXPECT_NE(found.find(R"("result":"pass")"), std::string::npos) << found;
}

TEST_F(ServerSpf, AClientThatLeavesOrResetsTakesItsCheckAlong) {
  test::TestDnsServer dns(zone());
  dns.set_dead(true);
  start({dns.endpoint()});
  {
    test::SmtpClient client(port());
    client.reply();
    client.ask("EHLO mail.example");
    for (int i = 0; i < 10; ++i) {
      client.ask("MAIL FROM:<a@good.example>");
      client.ask("RSET");
    }
    client.ask("MAIL FROM:<a@good.example>");
    client.ask("RCPT TO:<b@example.net>");
    client.ask("DATA");
    client.send(std::string(kContent) + ".\r\n");  // and gone before the check is done
  }
  EXPECT_TRUE(deliver("a@bad.example").starts_with("250"));
  EXPECT_EQ(stop_and_read().find("\"result\":\"pass\""), std::string::npos);
}

}  // namespace
}  // namespace mxring::server
