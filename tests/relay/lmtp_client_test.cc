#include "relay/lmtp_client.h"

#include <gtest/gtest.h>

#include <string>

namespace mxring::relay {
namespace {

constexpr std::string_view kMessage = "Subject: x\r\n\r\n.dot\r\n..two\r\nlast\r\n";

Record record_of(std::string_view message) {
  Record record;
  record.message = message;
  record.mail_from = "a@c.test";
  return record;
}

// Plays a dialogue: what the peer says, and what is expected of us before it.
class Dialogue {
 public:
  explicit Dialogue(std::string_view extensions) {
    client.receive("220 ready\r\n");
    EXPECT_EQ(said(), "LHLO us.test\r\n");
    client.receive("250-peer\r\n");
    while (!extensions.empty()) {
      const std::size_t end = extensions.find(' ');
      client.receive("250-" + std::string(extensions.substr(0, end)) + "\r\n");
      extensions.remove_prefix(end == std::string_view::npos ? extensions.size() : end + 1);
    }
    client.receive("250 HELP\r\n");
    EXPECT_TRUE(client.ready());
  }
  std::string said() {
    std::string out(client.to_send());
    client.sent(out.size());
    return out;
  }
  void begin(const Record& record, std::vector<LmtpClient::To> to) {
    client.begin(record, std::move(to), std::string(record.message));
  }
  LmtpClient client{"us.test"};
};

TEST(LmtpClientTest, PipelinedWithChunks) {
  Dialogue talk("PIPELINING CHUNKING 8BITMIME");
  talk.begin(record_of(kMessage), {{"x@d.test"}, {"y@d.test"}, {"z@d.test"}});
  EXPECT_EQ(talk.said(),
            "MAIL FROM:<a@c.test>\r\nRCPT TO:<x@d.test>\r\nRCPT TO:<y@d.test>\r\n"
            "RCPT TO:<z@d.test>\r\n");
  talk.client.receive("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n");
  EXPECT_EQ(talk.said(), "BDAT 33 LAST\r\n" + std::string(kMessage));
  EXPECT_FALSE(talk.client.finished());
  talk.client.receive("250 2.0.0 saved\r\n");
  EXPECT_FALSE(talk.client.finished()) << "each recipient has a reply of its own";
  talk.client.receive("452 4.2.2 full\r\n");
  ASSERT_TRUE(talk.client.finished());
  const auto replies = talk.client.take();
  EXPECT_TRUE(replies[0].good());
  EXPECT_EQ(replies[1].text, "550 5.1.1 no");
  EXPECT_EQ(replies[2].code, 452);
  EXPECT_TRUE(talk.client.ready()) << "for another";
}

TEST(LmtpClientTest, OneCommandAtATimeWithDots) {
  Dialogue talk("8BITMIME");
  talk.begin(record_of(kMessage), {{"x@d.test"}});
  EXPECT_EQ(talk.said(), "MAIL FROM:<a@c.test>\r\n");
  talk.client.receive("250 ok\r\n");
  EXPECT_EQ(talk.said(), "RCPT TO:<x@d.test>\r\n");
  talk.client.receive("250 ok\r\n");
  EXPECT_EQ(talk.said(), "DATA\r\n");
  talk.client.receive("354 go\r\n");
  EXPECT_EQ(talk.said(), "Subject: x\r\n\r\n..dot\r\n...two\r\nlast\r\n.\r\n");
  talk.client.receive("250 saved\r\n");
  EXPECT_TRUE(talk.client.take()[0].good());
}

TEST(LmtpClientTest, NobodyTakenLeavesTheTransaction) {
  Dialogue talk("PIPELINING");
  talk.begin(record_of(kMessage), {{"x@d.test"}});
  talk.said();
  talk.client.receive("250 ok\r\n550 no\r\n");
  EXPECT_EQ(talk.said(), "RSET\r\n");
  talk.client.receive("250 ok\r\n");
  ASSERT_TRUE(talk.client.finished());
  EXPECT_TRUE(talk.client.take()[0].for_good());
}

TEST(LmtpClientTest, ARefusedSenderIsEverybodysReply) {
  Dialogue talk("PIPELINING");
  talk.begin(record_of(kMessage), {{"x@d.test"}, {"y@d.test"}});
  talk.said();
  talk.client.receive("451 later\r\n503 no sender\r\n503 no sender\r\n");
  EXPECT_EQ(talk.said(), "RSET\r\n");
  talk.client.receive("250 ok\r\n");
  for (const LmtpReply& reply : talk.client.take()) EXPECT_EQ(reply.text, "451 later");
}

TEST(LmtpClientTest, ClosedAfterDataLeavesThoseWithoutReply) {
  Dialogue talk("PIPELINING CHUNKING");
  talk.begin(record_of(kMessage), {{"x@d.test"}, {"y@d.test"}});
  talk.client.receive("250 ok\r\n250 ok\r\n250 ok\r\n250 saved\r\n");
  talk.client.closed("the peer closed");
  ASSERT_TRUE(talk.client.finished());
  const auto replies = talk.client.take();
  EXPECT_TRUE(replies[0].good());
  EXPECT_EQ(replies[1].code, 0);
}

TEST(LmtpClientTest, BinaryAndUtf8OnlyWhereTheyAreTaken) {
  Dialogue plain("PIPELINING CHUNKING 8BITMIME");
  Dialogue able("CHUNKING BINARYMIME SMTPUTF8");
  Record binary = record_of("Subject: x\r\n\r\na\nb");
  binary.is_binary = true;
  EXPECT_TRUE(plain.client.objection(binary).starts_with("554 5.6.1"));
  EXPECT_EQ(able.client.objection(binary), "");
  able.begin(binary, {{"x@d.test"}});
  EXPECT_EQ(able.said(), "MAIL FROM:<a@c.test> BODY=BINARYMIME\r\n");
  Record utf8 = record_of("Subject: gr\xC3\xBC\xC3\x9F\r\n\r\n");
  utf8.smtputf8 = true;
  EXPECT_TRUE(plain.client.objection(utf8).starts_with("553 5.6.7"));
  Record unused = record_of(kMessage);
  unused.smtputf8 = true;
  EXPECT_EQ(plain.client.objection(unused), "") << "nothing in it needs the extension";
}

TEST(LmtpClientTest, AnySplitGivesTheSame) {
  const std::string peer =
      "220 hi\r\n250-p\r\n250-PIPELINING\r\n250 CHUNKING\r\n250 ok\r\n250 ok\r\n250-two\r\n"
      "250 lines\r\n";
  for (std::size_t cut = 0; cut <= peer.size(); ++cut) {
    LmtpClient client("us.test");
    const Record record = record_of(kMessage);
    bool begun = false;
    const auto feed = [&](std::string_view bytes) {
      // The transaction begins when the peer is ready, before its replies are read.
      for (const char c : bytes) {
        client.receive({&c, 1});
        if (client.ready() && !begun) {
          begun = true;
          client.begin(record, {{"x@d.test"}}, std::string(kMessage));
        }
      }
    };
    feed(std::string_view(peer).substr(0, cut));
    feed(std::string_view(peer).substr(cut));
    ASSERT_TRUE(client.finished());
    EXPECT_EQ(client.take()[0].text, "250 two lines");
  }
}

TEST(LmtpClientTest, NonsenseEndsTheConnection) {
  for (const std::string_view nonsense : {std::string_view("hello\r\n"), std::string_view("25\r\n"),
                                          std::string_view("2500 x\r\n")}) {
    LmtpClient client("us.test");
    client.receive(nonsense);
    EXPECT_TRUE(client.broken()) << nonsense;
  }
  LmtpClient client("us.test");
  client.receive(std::string(5000, 'x'));
  EXPECT_TRUE(client.broken());
  Dialogue talk("PIPELINING");
  talk.client.receive("250 to nothing\r\n");
  EXPECT_TRUE(talk.client.broken());
}

}  // namespace
}  // namespace mxring::relay
