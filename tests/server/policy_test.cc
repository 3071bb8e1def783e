// What is refused for its header section, and which recipients are ours.
#include "server/policy.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace mxring::server {
namespace {

constexpr std::string_view kNoFieldReply =
    "550 5.6.0 A line of the header section is no header field";

Config with_auth(bool spf, bool dkim, bool dmarc) {
  Config config;
  config.auth.spf = spf;
  config.auth.dkim = dkim;
  config.auth.dmarc = dmarc;
  return config;
}

// The reply that refuses the message, or "".
std::string refusal(const Config& config, std::string_view message, bool bounce = false) {
  mail::HeaderIndex header(config.limits.header_bytes, config.limits.header_fields);
  header.feed(message);
  header.finish();
  const mail::Field* from = header.first(mail::FieldName::kFrom);
  PolicyScratch scratch;
  const auto reply = Policy(config).header(
      header, from == nullptr ? "" : message.substr(from->value, from->end - from->value), bounce,
      scratch);
  return reply ? smtp::to_text(*reply) : std::string();
}

// Readers that go on behind such a line see a second From, and results in our name.
TEST(PolicyHeader, ALineThatIsNoField) {
  constexpr std::string_view kHidden =
      "Authentication-Results: mx.example.org; dmarc=pass header.from=bank.example\r\n"
      "From: Bank <ceo@bank.example>\r\n\r\nhi\r\n";
  for (const std::string_view line :
       {": \r\n", "x\r\n", "no field: at all\r\n", "From\x01: x\r\n", "\x80: x\r\n", "\vx\r\n"}) {
    const std::string message =
        "From: a@evil.example\r\nSubject: x\r\n" + std::string(line) + std::string(kHidden);
    SCOPED_TRACE(testing::PrintToString(message));
    EXPECT_EQ(refusal(with_auth(true, true, true), message), kNoFieldReply);
    EXPECT_EQ(refusal(with_auth(true, false, false), message), kNoFieldReply);
    EXPECT_EQ(refusal(with_auth(false, true, false), message), kNoFieldReply);
    EXPECT_EQ(refusal(with_auth(false, false, true), message), kNoFieldReply);
    // Nothing is vouched for: kept as it is.
    EXPECT_EQ(refusal(with_auth(false, false, false), message), "");
  }
}

// On top of the message stand our own fields, which such a line would continue.
TEST(PolicyHeader, AFirstLineThatBeginsWithWhiteSpace) {
  for (const std::string_view message : {" by bank.example\r\nFrom: a@b.example\r\n\r\nhi\r\n",
                                         "\tx\r\n", " \r\n\r\n", "\vx\r\n", "\fx\r\n"}) {
    SCOPED_TRACE(testing::PrintToString(message));
    EXPECT_EQ(refusal(with_auth(true, true, true), message), kNoFieldReply);
    EXPECT_EQ(refusal(with_auth(false, false, false), message), kNoFieldReply);
  }
}

TEST(PolicyHeader, MessagesWithoutAHeader) {
  const std::string text = "Some text.\r\n";
  const std::string mbox = "From a@b.example Sun Nov 22 01:02:03 2026\r\nFrom: a@b.example\r\n\r\n";
  for (const std::string& message : {text, mbox, ">" + mbox}) {
    SCOPED_TRACE(message);
    EXPECT_EQ(refusal(with_auth(true, true, true), message), kNoFieldReply);
    EXPECT_EQ(refusal(with_auth(true, false, false), message), kNoFieldReply);
    EXPECT_EQ(refusal(with_auth(false, false, false), message), "");
  }
  // Without a line that could be misread: only DMARC misses something.
  for (const std::string_view message : {"", "\r\n", "\r\nSome text.\r\n"}) {
    EXPECT_EQ(refusal(with_auth(true, true, true), message),
              "550 5.6.0 The message has no From field");
    EXPECT_EQ(refusal(with_auth(true, true, false), message), "");
  }
}

// What bounces look like.
TEST(PolicyHeader, MessagesWithoutAnAuthor) {
  Config config = with_auth(true, true, true);
  const auto from = [](std::string_view value) {
    return "From: " + std::string(value) + "\r\nSubject: x\r\n\r\n";
  };
  const std::vector<std::string> nobody{from("MAILER-DAEMON"),
                                        from("<>"),
                                        from(""),
                                        from("Mail Delivery System <MAILER-DAEMON>"),
                                        from("=?utf-8?q?Mail_Delivery_System?="),
                                        from("\"Mailer; daemon\" <> (x"),
                                        from("=?ISO-2022-JP?B?GyRCOzNFRBsoQg==?="),
                                        "Subject: x\r\n\r\n"};
  const std::vector<std::string> ambiguous{from("a@b.example, c@d.example"),
                                           from("\"ceo@bank.example\" <>"),
                                           from("=?utf-8?q?ceo=40bank.example?= <>"),
                                           from("<a@b.example"),
                                           from("MAILER-DAEMON (ceo@bank.example)"),
                                           from("ceo\xEF\xBC\xA0"
                                                "bank.example <>"),
                                           from("ceo\xEF\xB9\xAB"
                                                "bank.example <>"),
                                           from("=?utf-8?b?Y2Vv77ygYmFuay5leGFtcGxl?= <>"),
                                           from("=?utf-7?q?ceo+AEA-bank.example?= <>"),
                                           from("=?ISO-2022-JP?B?GyRCIXcbKEI=?= <>"),
                                           from("=?gb2312?q?ceo=A3=C0bank.example?="),
                                           from("=?utf-8?q?ceo=40bank.example"),
                                           from("=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3D40b=3F=3D?="),
                                           "From: MAILER-DAEMON\r\n" + from("a@b.example"),
                                           "From: x\r\n" + from("x")};
  const auto is_refused = [&](const std::string& message, bool bounce) {
    const std::string reply = refusal(config, message, bounce);
    EXPECT_TRUE(reply.empty() || reply.starts_with("550 5.6.0 The message has ")) << reply;
    return !reply.empty();
  };
  EXPECT_EQ(config.auth.on_no_author, NoAuthor::kBounces) << "the default";
  for (const NoAuthor rule : {NoAuthor::kBounces, NoAuthor::kReject, NoAuthor::kAccept}) {
    config.auth.on_no_author = rule;
    for (const bool bounce : {false, true}) {
      const bool accepts = rule == NoAuthor::kAccept || (rule == NoAuthor::kBounces && bounce);
      for (const std::string& message : nobody) {
        EXPECT_NE(is_refused(message, bounce), accepts) << message;
      }
      for (const std::string& message : ambiguous) {
        EXPECT_TRUE(is_refused(message, bounce)) << message;
      }
    }
  }
}

TEST(PolicyHeader, MessagesThatEndWithinIt) {
  const Config config = with_auth(true, true, true);
  EXPECT_EQ(refusal(config, "From: a@b.example\r\nSubject: only a header\r\n"), "");
  EXPECT_EQ(refusal(config, "From: a@b.example\r\nSubject: cut"),
            "");  // as a file, for mxring auth
  EXPECT_EQ(refusal(config, "From: a@b.example\r\nSubj"), kNoFieldReply);
}

TEST(PolicyHeader, TheLimitsComeFirst) {
  Config config = with_auth(true, true, true);
  config.limits.header_fields = config.limits.received_fields = 2;
  EXPECT_TRUE(refusal(config, "A: b\r\nA: b\r\nA: b\r\n: \r\n\r\n").starts_with("552 5.3.4"));
  config.limits.header_bytes = 100;
  const std::string large = "A: " + std::string(100, 'x') + "\r\n";
  EXPECT_TRUE(refusal(config, large + ": \r\n\r\n").starts_with("552 5.3.4"));
  // Behind the line is no header section any more, for us.
  EXPECT_EQ(refusal(config, ": \r\n" + large), kNoFieldReply);
}

TEST(PolicyHeader, OrdinaryMail) {
  const Config config = with_auth(true, true, true);
  EXPECT_EQ(refusal(config, "From: a@b.example\r\nX-A:\r\n \r\nTo : c@d.example\r\n\r\n: x\r\n"),
            "");
}

// RFC 6531 3.2, RFC 5890: one name in two forms.
TEST(PolicyRecipient, DomainsInAnyScript) {
  for (const std::string_view configured :
       {"xn--kln-sna.de", "köln.de", "KÖLN.De", "XN--KLN-sna.DE"}) {
    const auto config = parse_config(
        "[recipients]\ndomains = [\"" + std::string(configured) + "\", \"example.org\"]", "t.toml");
    ASSERT_TRUE(config) << configured;
    const Policy policy(*config);
    for (const std::string_view ours :
         {"a@köln.de", "a@KÖLN.DE", "a@xn--kln-sna.de", "a@XN--KLN-SNA.DE", "ö@köln.de",
          "a@k\x6f\xcc\x88ln.de", "a@Example.ORG", "postmaster", "\"a@b\"@köln.de"}) {
      EXPECT_EQ(policy.recipient({.client = {}, .helo = {}, .sender = {}, .recipient = ours}),
                std::nullopt)
          << configured << ' ' << ours;
    }
    for (const std::string_view other :
         {"a@koln.de", "a@xn--kln-sna.example", "a@a℀b.example", "a@[192.0.2.1]",
          "a@köln.de.example", "\"a@köln.de\"@other.example"}) {
      EXPECT_NE(policy.recipient({.client = {}, .helo = {}, .sender = {}, .recipient = other}),
                std::nullopt)
          << configured << ' ' << other;
    }
  }
}

}  // namespace
}  // namespace mxring::server
