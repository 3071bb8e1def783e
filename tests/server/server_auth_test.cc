// DKIM and DMARC in the running receiver: keys and policies answered by a DNS server on loopback,
// dispositions given as replies, verdicts written into the records, forged results left out.

#include <gtest/gtest.h>
#include <mxring/log_reader.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/base64.h"
#include "mailauth/dkim/signer.h"
#include "server/server.h"
#include "tests/dns/test_dns_server.h"
#include "tests/support/smtp_client.h"
#include "tests/support/temp_dir.h"

namespace mxring::server {
namespace {

using Clock = std::chrono::steady_clock;

// What a test wants to know of a record, copied.
struct Found {
  Offset offset;
  std::string spf, dkim, dmarc, disposition, trace, delivered, message;
};

class ServerAuth : public testing::Test {
 protected:
  ServerAuth() : key_(std::move(*crypto::PrivateKey::generate_rsa(1024))) {}

  std::string zone_text() {
    const std::string key = base::encode_base64(key_.public_key());
    std::string text = R"(
none.example               TXT  "v=spf1 -all"
_dmarc.none.example        TXT  "v=DMARC1; p=none"
_dmarc.quarantine.example  TXT  "v=DMARC1; p=quarantine"
_dmarc.reject.example      TXT  "v=DMARC1; p=reject"
open.example               TXT  "v=spf1 ip4:127.0.0.1 -all"
_dmarc.open.example        TXT  "v=DMARC1; p=reject"
_dmarc.faulty.example      TXT  "v=DMARC1; p=reject"
faulty.example             !    servfail
_dmarc.bank.example        TXT  "v=DMARC1; p=reject"
_dmarc.open.bank.example   TXT  "v=DMARC1; p=none"
_dmarc.lame.bank.example   !    servfail
x._domainkey.lame.bank.example ! servfail
s._domainkey.slow.example  !    slow 400
_dmarc.slow.example        TXT  "v=DMARC1; p=reject"
)";
    for (const char* domain : {"none", "quarantine", "reject", "slow"}) {
      text += std::string("s._domainkey.") + domain +
              ".example TXT \"v=DKIM1; p=" + key.substr(0, 100) + "\" \"" + key.substr(100) +
              "\"\n";
    }
    return text;
  }

  void start(const std::function<void(Config&)>& adjust = {}) {
    dns_ = std::make_unique<test::TestDnsServer>(test::Zone::parse(zone_text()));
    Config config = default_config();
    config.hostname = "mx.test";
    config.listen.smtp = {*base::Endpoint::parse("127.0.0.1:0")};
    config.listen.smtps.clear();
    config.shards.count = 1;
    config.log.dir = dir_.path() / "log";
    config.limits.disk_reserve_percent = 0;
    config.limits.disk_reserve_segments = 0;
    config.dns.servers = {dns_->endpoint()};
    if (adjust) adjust(config);
    auto server = Server::start(config, [](const std::string&) {});
    ASSERT_TRUE(server.has_value()) << server.error().message;
    server_ = std::move(*server);
  }

  std::uint16_t port() const { return server_->smtp_endpoints().front().port; }

  static std::string message(std::string_view domain, std::string_view extra = "",
                             std::size_t lines = 20) {
    std::string text = std::string(extra) + "From: Ann <ann@" + std::string(domain) +
                       ">\r\nTo: b@example.net\r\nSubject: a  test\r\n\r\n";
    for (std::size_t i = 0; i < lines; ++i) text += "line " + std::to_string(i) + " \t of it\r\n";
    return text;
  }

  std::string sign(std::string_view domain, const std::string& text) {
    dkim_options_.domain = domain;
    dkim_options_.selector = "s";
    dkim_options_.now_unix_s = 1'700'000'000;
    mailauth::dkim::Signer signer(key_, dkim_options_);
    const auto field = signer.sign(text);
    EXPECT_TRUE(field.has_value());
    return *field + text;
  }

  std::string deliver(const std::string& text, std::string_view from = "bounce@other.example") {
    test::SmtpClient client(port());
    client.reply();
    client.ask("EHLO client.example");
    return client.deliver(from, "b@example.net", text);
  }

  std::vector<Found> stop_and_read(bool refusals = false) {
    server_->begin_drain();
    EXPECT_EQ(server_->wait(), 0);
    auto reader =
        LogReader::open(dir_.path() / (logs_ == 0 ? "log" : "log" + std::to_string(logs_)));
    EXPECT_TRUE(reader.has_value());
    reader->include_refusals(refusals);
    std::vector<Found> all;
    while (reader) {
      auto record = reader->next();
      if (!record || !*record) break;
      const Record& r = **record;
      all.push_back({r.offset, std::string(r.spf), std::string(r.dkim), std::string(r.dmarc),
                     std::string(r.disposition), std::string(r.trace), r.delivered(),
                     std::string(r.message)});
    }
    return all;
  }

  test::TempDir dir_;
  crypto::PrivateKey key_;
  mailauth::dkim::SignOptions dkim_options_;
  int logs_ = 0;  // of the servers started before the one that runs
  std::unique_ptr<test::TestDnsServer> dns_;
  std::unique_ptr<Server> server_;
};

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_F(ServerAuth, ASignedMessagePasses) {
  start();
  const std::string signed_message = sign("reject.example", message("reject.example"));
  EXPECT_EQ(deliver(signed_message).substr(0, 14), "250 2.0.0 Ok 0");
  const auto records = stop_and_read();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_TRUE(
      has(records[0].dkim,
          R"("domain":"reject.example","selector":"s","algorithm":"rsa-sha256","result":"pass")"))
      << records[0].dkim;
  EXPECT_TRUE(has(records[0].dmarc, R"("result":"pass")")) << records[0].dmarc;
  EXPECT_TRUE(has(records[0].dmarc, R"("aligned_dkim":"reject.example")")) << records[0].dmarc;
  EXPECT_EQ(records[0].disposition, "accept");
  EXPECT_TRUE(has(records[0].trace, "Authentication-Results: mx.test")) << records[0].trace;
  EXPECT_TRUE(has(records[0].trace, "dkim=pass")) << records[0].trace;
  EXPECT_TRUE(has(records[0].trace, "dmarc=pass")) << records[0].trace;
  EXPECT_EQ(records[0].message, signed_message);
}

TEST_F(ServerAuth, SpoofedMailGetsItsDisposition) {
  start();
  EXPECT_TRUE(has(deliver(message("none.example")), "250 2.0.0 Ok 0"));
  EXPECT_TRUE(has(deliver(message("quarantine.example")), "250 2.0.0 Ok 1"));
  const std::string refused = deliver(message("reject.example"));
  EXPECT_TRUE(refused.starts_with("550 5.7.26 ")) << refused;
  EXPECT_TRUE(has(refused, "reject.example")) << refused;
  EXPECT_TRUE(has(deliver(message("open.example"), "a@open.example"), "250 2.0.0 Ok 3"));
  const auto all = stop_and_read(true);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0].disposition, "accept");
  EXPECT_EQ(all[1].disposition, "quarantine");
  EXPECT_EQ(all[2].disposition, "reject");
  EXPECT_TRUE(all[2].message.empty());
  EXPECT_TRUE(has(all[2].dmarc, R"("result":"fail")")) << all[2].dmarc;
  EXPECT_EQ(all[3].disposition, "accept");
  EXPECT_TRUE(has(all[3].dmarc, R"("aligned_spf":"open.example")")) << all[3].dmarc;
}

TEST_F(ServerAuth, ReadersDoNotSeeRefusals) {
  start();
  EXPECT_TRUE(deliver(message("reject.example")).starts_with("550 5.7.26 "));
  EXPECT_TRUE(deliver(message("none.example")).starts_with("250"));
  const auto records = stop_and_read();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].offset, 1U);
}

TEST_F(ServerAuth, TheOwnerMayBeMilder) {
  start([](Config& config) {
    config.auth.on_dmarc_reject = mailauth::Disposition::kQuarantine;
    config.auth.on_dmarc_quarantine = mailauth::Disposition::kAccept;
  });
  EXPECT_TRUE(deliver(message("reject.example")).starts_with("250"));
  EXPECT_TRUE(deliver(message("quarantine.example")).starts_with("250"));
  const auto records = stop_and_read();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].disposition, "quarantine");
  EXPECT_EQ(records[1].disposition, "accept");
}

TEST_F(ServerAuth, AnythingChangedFails) {
  start();
  std::string changed = sign("reject.example", message("reject.example"));
  changed[changed.rfind("line 7")] = 'L';
  EXPECT_TRUE(deliver(changed).starts_with("550 5.7.26 "));
  std::string subject = sign("reject.example", message("reject.example"));
  subject.replace(subject.find("a  test"), 7, "no test");
  EXPECT_TRUE(deliver(subject).starts_with("550 5.7.26 "));
  const auto all = stop_and_read(true);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_TRUE(has(all[0].dkim, R"("result":"fail")")) << all[0].dkim;
  EXPECT_TRUE(has(all[1].dkim, R"("result":"fail")")) << all[1].dkim;
}

TEST_F(ServerAuth, AMessageWaitsForItsKey) {
  start();
  const std::string text = sign("slow.example", message("slow.example"));
  const auto begin = Clock::now();
  EXPECT_TRUE(deliver(text).starts_with("250"));
  EXPECT_GT(Clock::now() - begin, std::chrono::milliseconds(300));
  const auto again = Clock::now();
  EXPECT_TRUE(deliver(text).starts_with("250"));
  EXPECT_LT(Clock::now() - again, std::chrono::milliseconds(300)) << "the cache knows it";
  const auto records = stop_and_read();
  ASSERT_EQ(records.size(), 2U);
  for (const Found& record : records) EXPECT_TRUE(has(record.dkim, R"("result":"pass")"));
}

TEST_F(ServerAuth, WhatCannotBeFoundOutNeverRefuses) {
  start();
  // SPF of the From domain cannot be had; it would be aligned.
  EXPECT_TRUE(deliver(message("faulty.example"), "a@faulty.example").starts_with("250"));
  // Nothing can be had at all.
  dns_->set_dead(true);
  EXPECT_TRUE(
      deliver(sign("quarantine.example", message("quarantine.example"))).starts_with("250"));
  const auto records = stop_and_read();
  ASSERT_EQ(records.size(), 2U);
  for (const Found& record : records) {
    EXPECT_TRUE(has(record.dmarc, R"("result":"temperror")")) << record.dmarc;
  }
  EXPECT_EQ(records[0].disposition, "quarantine") << "the policy is known";
  EXPECT_EQ(records[1].disposition, "accept") << "and here it is not";
}

// A name server that fails below the domain is all it takes to leave a spoof undecided.
TEST_F(ServerAuth, ASignatureWhoseKeyCannotBeHadGetsNobodyPastAPolicy) {
  const std::string spoof =
      "DKIM-Signature: v=1; a=rsa-sha256; d=lame.bank.example; s=x; h=from;\r\n"
      " bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n";
  using mailauth::Disposition;
  struct Case {
    Disposition setting;
    std::string_view domain;
    std::string_view reply;
    std::string_view disposition;
  };
  for (const Case& c :
       {Case{Disposition::kQuarantine, "bank.example", "250 ", "quarantine"},
        Case{Disposition::kAccept, "bank.example", "250 ", "accept"},
        Case{Disposition::kTempfail, "bank.example", "451 4.7.5 ", "tempfail"},
        Case{Disposition::kTempfail, "open.bank.example", "250 ", "accept"},
        // The policy is found above the name that has no answer.
        Case{Disposition::kQuarantine, "lame.bank.example", "250 ", "quarantine"},
        Case{Disposition::kTempfail, "lame.bank.example", "451 4.7.5 ", "tempfail"}}) {
    start([&](Config& config) {
      config.log.dir = dir_.path() / ("log" + std::to_string(++logs_));
      config.auth.on_dmarc_temperror = c.setting;
    });
    const std::string reply = deliver(message(c.domain, spoof));
    EXPECT_TRUE(reply.starts_with(c.reply)) << reply;
    const auto all = stop_and_read(true);
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].disposition, c.disposition) << c.domain;
    EXPECT_TRUE(has(all[0].dmarc, R"("result":"temperror")")) << all[0].dmarc;
    EXPECT_EQ(all[0].message.empty(), c.disposition == "tempfail");
  }
}

// A policy that we have no room to ask for is put off, not passed by.
TEST_F(ServerAuth, WithoutRoomToAskForAPolicyMailIsPutOff) {
  start([](Config& config) {
    config.limits.dns_outstanding = 16;
    config.limits.dns_outstanding_per_ip = 16;
  });
  std::string zone = zone_text();
  const auto domain = [](int i) { return "m" + std::to_string(i) + ".mute.example"; };
  for (int i = 0; i < 16; ++i) zone += "_dmarc." + domain(i) + " ! silent\n";
  dns_->set_zone(test::Zone::parse(zone));
  std::vector<std::unique_ptr<test::SmtpClient>> flood;
  for (int i = 0; i < 16; ++i) {
    auto& client = *flood.emplace_back(std::make_unique<test::SmtpClient>(port()));
    client.reply();
    client.ask("EHLO client.example");
    client.ask("MAIL FROM:<a@other.example>");
    client.ask("RCPT TO:<b@example.net>");
    client.ask("DATA");
    client.send(message(domain(i)));
    // Those above its From domain are answered, and make room.
    const dns::Question question{*dns::Name::parse("_dmarc." + domain(i)), dns::Type::kTxt};
    const auto until = Clock::now() + std::chrono::milliseconds(200);
    while (dns_->questions_about(question) == 0 && Clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  EXPECT_TRUE(deliver(message("reject.example")).starts_with("451 4.4.5 "));
  flood.clear();
  stop_and_read();
}

// Time that a client takes is not time that DNS had: no policy is escaped by being slow.
TEST_F(ServerAuth, DawdlingDoesNotUseUpTheTimeForDns) {
  start([](Config& config) { config.limits.dns_time_ns = 300'000'000; });
  const auto dawdle = [] { std::this_thread::sleep_for(std::chrono::milliseconds(450)); };
  const std::string text = message("reject.example");
  const std::size_t header_end = text.find("\r\n\r\n") + 4;
  for (const std::size_t first : {std::size_t{0}, header_end - 2, header_end + 20}) {
    test::SmtpClient client(port());
    client.reply();
    client.ask("EHLO client.example");
    client.ask("MAIL FROM:<a@open.example>");
    dawdle();
    client.ask("RCPT TO:<b@example.net>");
    client.ask("DATA");
    client.send(text.substr(0, first));
    dawdle();
    client.send(text.substr(first) + ".\r\n");
    EXPECT_TRUE(client.reply().starts_with("550 5.7.26 ")) << first;
  }
  // A key that takes longer than is allowed is not waited for.
  EXPECT_TRUE(deliver(sign("slow.example", message("slow.example"))).starts_with("250"));
  const auto all = stop_and_read(true);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_TRUE(has(all[3].dmarc, R"("result":"temperror")")) << all[3].dmarc;
}

// Signatures by keys at a name server that never answers fill all that may be under way; the policy
// of the domain that is then spoofed is asked for all the same.
TEST_F(ServerAuth, AFloodOfSlowKeysDoesNotHideAPolicy) {
  start([](Config& config) { config.limits.dns_outstanding = 64; });
  constexpr int kClients = 8;
  constexpr int kKeys = 10;
  const auto selector = [](int client, int key) {
    return "k" + std::to_string(client) + "-" + std::to_string(key);
  };
  std::string zone = zone_text();
  for (int i = 0; i < kClients * kKeys; ++i) {
    zone += selector(i / kKeys, i % kKeys) + "._domainkey.flood.example ! silent\n";
  }
  dns_->set_zone(test::Zone::parse(zone));
  std::vector<std::unique_ptr<test::SmtpClient>> flood;
  for (int i = 0; i < kClients; ++i) {
    auto& client = *flood.emplace_back(std::make_unique<test::SmtpClient>(port()));
    client.reply();
    client.ask("EHLO client.example");
    client.ask("MAIL FROM:<a@other.example>");
    client.ask("RCPT TO:<b@example.net>");
    client.ask("DATA");
    std::string signatures;
    for (int key = 0; key < kKeys; ++key) {
      signatures += "DKIM-Signature: v=1; a=rsa-sha256; d=flood.example; s=" + selector(i, key) +
                    ";\r\n h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n";
    }
    client.send(message("none.example", signatures));
  }
  const auto until = Clock::now() + std::chrono::seconds(5);
  const auto asked = [&] {
    int keys = 0;
    for (int i = 0; i < kClients * kKeys; ++i) {
      const auto name =
          dns::Name::parse(selector(i / kKeys, i % kKeys) + "._domainkey.flood.example");
      if (dns_->questions_about({*name, dns::Type::kTxt}) > 0) ++keys;
    }
    return keys;
  };
  while (asked() < 48 && Clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(deliver(message("reject.example"), "a@fresh.example").starts_with("550 5.7.26 "));
  flood.clear();
  const auto all = stop_and_read(true);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(has(all[0].spf, R"("result":"temperror")")) << "not full: " << all[0].spf;
}

TEST_F(ServerAuth, ForgedResultsAreLeftOut) {
  start();
  const std::string text =
      message("none.example",
              "Authentication-Results: MX.test;\r\n dmarc=pass header.from=bank.example\r\n"
              "X-Kept: yes\r\nauthentication-results:\r\n (really) mx.TEST 1; spf=pass\r\n"
              "Authentication-Results: other.example; spf=pass\r\n");
  EXPECT_TRUE(deliver(text).starts_with("250"));
  const auto records = stop_and_read();
  ASSERT_EQ(records.size(), 1U);
  const std::string& delivered = records[0].delivered;
  EXPECT_FALSE(has(delivered, "bank.example")) << delivered;
  EXPECT_FALSE(has(delivered, "(really)")) << delivered;
  EXPECT_TRUE(has(delivered, "X-Kept: yes\r\n"));
  EXPECT_TRUE(has(delivered, "Authentication-Results: other.example; spf=pass\r\n"));
  EXPECT_EQ(records[0].message, text);
}

// However the bytes arrive, and however large the message is.
TEST_F(ServerAuth, AnySplitGivesTheSameVerdict) {
  start();
  const std::string text = sign("reject.example", message("reject.example", "", 3));
  for (const std::size_t step : {1, 2, 7, 100}) {
    test::SmtpClient client(port());
    client.reply();
    client.ask("EHLO client.example");
    client.ask("MAIL FROM:<a@other.example>");
    client.ask("RCPT TO:<b@example.net>");
    ASSERT_TRUE(client.ask("DATA").starts_with("354"));
    for (std::size_t at = 0; at < text.size(); at += step) {
      client.send(text.substr(at, step));
      if (step > 1) std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    client.send(".\r\n");
    EXPECT_TRUE(client.reply().starts_with("250")) << step;
  }
  EXPECT_TRUE(
      deliver(sign("reject.example", message("reject.example", "", 100'000))).starts_with("250"));
  const auto records = stop_and_read();
  ASSERT_EQ(records.size(), 5U);
  for (const Found& record : records) EXPECT_TRUE(has(record.dkim, R"("result":"pass")"));
}

TEST_F(ServerAuth, ManyMessagesAtOnceShareNothingButTheLanes) {
  start();
  constexpr int kClients = 40;
  std::vector<std::unique_ptr<test::SmtpClient>> clients;
  std::vector<bool> genuine;
  for (int i = 0; i < kClients; ++i) {
    auto& client = *clients.emplace_back(std::make_unique<test::SmtpClient>(port()));
    client.reply();
    client.ask("EHLO client.example");
    client.ask("MAIL FROM:<a@other.example>");
    client.ask("RCPT TO:<b@example.net>");
    client.ask("DATA");
    std::string text = sign("reject.example", message("reject.example", "", 1 + i * 13));
    genuine.push_back(i % 3 != 0);
    if (!genuine.back()) text[text.rfind("line 0")] = 'x';
    client.send(text);
  }
  for (auto& client : clients) client->send(".\r\n");
  for (int i = 0; i < kClients; ++i) {
    const std::string reply = clients[i]->reply();
    EXPECT_TRUE(reply.starts_with(genuine[i] ? "250" : "550 5.7.26")) << i << ": " << reply;
  }
  stop_and_read();
}

// Pipelined behind a refusal, the next transaction of the same client is judged in the same turn.
TEST_F(ServerAuth, AClientGoesOnAfterARefusal) {
  start();
  test::SmtpClient client(port());
  client.reply();
  client.ask("EHLO client.example");
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(client.deliver("a@other.example", "b@example.net", message("reject.example"))
                    .starts_with("550 5.7.26"));
    EXPECT_TRUE(client
                    .deliver("a@other.example", "b@example.net",
                             sign("reject.example", message("reject.example")))
                    .starts_with("250"));
  }
  stop_and_read();
}

TEST_F(ServerAuth, AClientThatLeavesWhileItsKeyIsFetched) {
  start();
  {
    test::SmtpClient client(port());
    client.reply();
    client.ask("EHLO client.example");
    client.ask("MAIL FROM:<a@other.example>");
    client.ask("RCPT TO:<b@example.net>");
    client.ask("DATA");
    client.send(sign("slow.example", message("slow.example")) + ".\r\n");
  }
  EXPECT_TRUE(deliver(message("none.example")).starts_with("250"));
  stop_and_read();
}

}  // namespace
}  // namespace mxring::server
