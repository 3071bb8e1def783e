// What is generated is valid mail of the size that was asked for: every message is read back by the
// receiver's own scanner.
#include "load/message_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>

#include "load/address_pattern.h"
#include "smtp/data_scanner.h"
#include "tests/mailauth/dkim_check.h"
#include "tests/mailauth/dkim_signing.h"
#include "tests/support/temp_dir.h"

namespace mxring::load {
namespace {

constexpr std::string_view kDate = "Sun, 22 Nov 2026 02:31:18 +0000";

MessageSource::Options options_of(SizeDistribution size) {
  MessageSource::Options options;
  options.size = size;
  options.rcpt_to = {*AddressPattern::parse("r%d@sink.example", false)};
  options.run_id = "5f3a.77";
  return options;
}

MessageSource source_of(SizeDistribution size) {
  auto source = MessageSource::create(options_of(size), {});
  EXPECT_TRUE(source.has_value()) << (source ? "" : source.error());
  return *std::move(source);
}

std::string wire_of(const OutgoingMessage& message) {
  std::string wire;
  for (std::size_t i = 0; i < message.message.msg_iovlen; ++i) {
    const iovec& piece = message.message.msg_iov[i];
    wire.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  return wire;
}

// What a receiver makes of it; fails when the data does not end exactly with the bytes.
std::string received(const std::string& wire) {
  smtp::DataScanner scanner(998, 65536);
  std::string content;
  std::string_view rest = wire;
  for (;;) {
    const auto output = scanner.next(rest);
    rest.remove_prefix(output.consumed);
    if (output.kind == smtp::DataScanner::Output::Kind::kRun) {
      content += output.run;
    } else {
      EXPECT_EQ(output.kind, smtp::DataScanner::Output::Kind::kEndOfData);
      break;
    }
  }
  EXPECT_EQ(rest, "") << "data ended early";
  EXPECT_EQ(scanner.fault(), smtp::DataFault::kNone);
  EXPECT_FALSE(scanner.has_long_line());
  EXPECT_FALSE(scanner.has_8bit());
  return content;
}

std::string field(const std::string& content, const std::string& name) {
  const std::string header = "\r\n" + content.substr(0, content.find("\r\n\r\n") + 2);
  const std::size_t at = header.find("\r\n" + name + ": ");
  if (at == std::string::npos) return {};
  const std::size_t begin = at + name.size() + 4;
  return header.substr(begin, header.find("\r\n", begin) - begin);
}

TEST(MessageSourceTest, EverySizeIsMetExactly) {
  OutgoingMessage message;
  std::uint64_t number = 0;
  const auto check = [&](std::uint64_t size) {
    const MessageSource source = source_of(SizeDistribution::fixed(size));
    source.compose(++number, kDate, message);
    const std::string wire = wire_of(message);
    EXPECT_EQ(message.wire_bytes, wire.size());
    EXPECT_EQ(message.content_bytes, size);
    EXPECT_EQ(received(wire).size(), size);
  };
  for (std::uint64_t size = 160; size < 340; ++size) check(size);
  // Around the end of the prepared text, and several rounds through it.
  for (std::uint64_t size : {1047000U, 1048575U, 1048576U, 1048577U, 3145729U, 20000001U}) {
    check(size);
  }
}

TEST(TextPoolTest, EveryLengthFromEveryLineIsMetExactly) {
  const TextPool pool(7, 4096);
  std::vector<iovec> pieces;
  std::string wire;
  for (std::uint64_t line = 0; line < pool.lines(); ++line) {
    for (std::uint64_t size = 0; size < 9000; size += (size < 400 || size > 8600) ? 1 : 97) {
      if (size == 1) continue;
      pieces.clear();
      wire.clear();
      pool.cut(line, size, pieces);
      for (const iovec& piece : pieces) {
        wire.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
      }
      ASSERT_EQ(received(wire).size(), size) << "from line " << line;
    }
  }
}

TEST(MessageSourceTest, MessagesAreUniqueVariedAndComplete) {
  const MessageSource source = source_of(*SizeDistribution::parse("1200-30000"));
  OutgoingMessage message;  // reused, as a connection does
  std::set<std::string> ids;
  std::set<std::string> domains;
  std::set<std::string> bodies;
  std::set<std::size_t> sizes;
  std::size_t stuffed = 0;
  constexpr std::uint64_t kMessages = 3000;
  for (std::uint64_t number = 0; number < kMessages; ++number) {
    source.compose(number, kDate, message);
    const std::string wire = wire_of(message);
    const std::string content = received(wire);
    ASSERT_EQ(content.size(), message.content_bytes);
    EXPECT_GE(content.size(), 1200U);
    EXPECT_LE(content.size(), 30000U);
    sizes.insert(content.size());
    stuffed += wire.size() - 3 - content.size();
    EXPECT_TRUE(content.ends_with("\r\n"));
    EXPECT_EQ(field(content, "Date"), kDate);
    EXPECT_NE(field(content, "From").find("<" + message.from + ">"), std::string::npos);
    EXPECT_EQ(field(content, "To"), "<r" + std::to_string(number) + "@sink.example>");
    EXPECT_NE(field(content, "Subject"), "");
    EXPECT_NE(field(content, "Received"), "");
    EXPECT_EQ(field(content, "MIME-Version"), "1.0");
    ids.insert(field(content, "Message-ID"));
    domains.insert(message.from.substr(message.from.find('@')));
    bodies.insert(content.substr(content.find("\r\n\r\n")));
  }
  EXPECT_EQ(ids.size(), kMessages);
  EXPECT_GE(domains.size(), 5U);
  EXPECT_GE(bodies.size(), kMessages - 5);
  EXPECT_GE(sizes.size(), kMessages / 2);
  EXPECT_GE(stuffed, kMessages) << "too few lines begin with a dot";
}

TEST(MessageSourceTest, RunsDifferInTheirIdentifiers) {
  MessageSource::Options options = options_of(SizeDistribution::fixed(4096));
  const auto one = MessageSource::create(options, {});
  options.run_id = "5f3a.78";
  const auto other = MessageSource::create(options, {});
  OutgoingMessage a;
  OutgoingMessage b;
  one->compose(5, kDate, a);
  other->compose(5, kDate, b);
  EXPECT_NE(field(wire_of(a), "Message-ID"), field(wire_of(b), "Message-ID"));
}

TEST(MessageSourceTest, TheMailMixIsSpreadWide) {
  const MessageSource source = source_of(*SizeDistribution::parse("mail"));
  OutgoingMessage message;
  std::vector<std::uint64_t> sizes;
  for (std::uint64_t number = 0; number < 4000; ++number) {
    source.compose(number, kDate, message);
    sizes.push_back(message.content_bytes);
  }
  std::ranges::sort(sizes);
  EXPECT_GE(sizes.front(), 1024U);
  EXPECT_LE(sizes.back(), 10U << 20);
  EXPECT_GT(sizes[2000], 9000U);  // the median, 12 KiB
  EXPECT_LT(sizes[2000], 16000U);
  EXPECT_GT(sizes[3960], 200'000U);
}

// Every message of a signed run: its size, and that somebody who has the key finds it genuine.
TEST(MessageSourceTest, SignedMessagesVerify) {
  test::SigningDomain domain;
  const test::Zone zone = domain.zone();
  const auto sizes = {SizeDistribution::fixed(600), SizeDistribution::fixed(1200),
                      *SizeDistribution::parse("900-9000")};
  for (const auto& size : sizes) {
    MessageSource::Options options = options_of(size);
    options.mail_from = {*AddressPattern::parse("s%d@example.org", false)};
    options.sign = {domain.key().to_pem(), "example.org", "sel", 100};
    const auto source = MessageSource::create(options, {});
    ASSERT_TRUE(source) << source.error();
    EXPECT_EQ(source->signed_messages(), 100U);
    OutgoingMessage message;
    std::set<std::string> signatures;
    std::set<std::string> contents;
    for (std::uint64_t number = 0; number < 250; ++number) {
      source->compose(number, kDate, message);
      const std::string content = received(wire_of(message));
      EXPECT_EQ(content.size(), message.content_bytes);
      EXPECT_GE(content.size(), size.min());
      contents.insert(content);
      signatures.insert(content.substr(content.find("\tb=")));
      test::DkimSetup setup;
      setup.now_unix_s = 1'900'000'000;
      ASSERT_EQ(test::dkim_words(content, zone, setup), "pass") << content;
    }
    EXPECT_EQ(contents.size(), 250U);  // no two messages of a run are the same
    EXPECT_EQ(signatures.size(), 100U);
  }
}

TEST(MessageSourceTest, SignedMessagesHaveTheSizeAskedFor) {
  test::SigningDomain domain(crypto::KeyType::kRsa);
  // Where the sizes of signature and header section decide which header section has room.
  for (std::uint64_t size = 1000; size < 1700; size += 37) {
    MessageSource::Options options = options_of(SizeDistribution::fixed(size));
    options.sign = {domain.key().to_pem(), "example.org", "sel", 5};
    const auto source = MessageSource::create(options, {});
    ASSERT_TRUE(source) << source.error();
    OutgoingMessage message;
    for (std::uint64_t number = 0; number < 7; ++number) {
      source->compose(number, kDate, message);
      ASSERT_EQ(received(wire_of(message)).size(), size);
    }
  }
  MessageSource::Options options = options_of(SizeDistribution::fixed(300));
  options.sign = {domain.key().to_pem(), "example.org", "sel", 5};
  const auto source = MessageSource::create(options, {});
  ASSERT_FALSE(source);
  EXPECT_NE(source.error().find("DKIM-Signature"), std::string::npos);
  options.sign->key_pem = "not a key";
  EXPECT_FALSE(MessageSource::create(options, {}));
}

TEST(MessageSourceTest, SignedFilesVerify) {
  test::SigningDomain domain;
  test::TempDir folder;
  std::ofstream(folder.path() / "one") << "From: a@example.org\n\n.dot\n..\nlast";
  MessageSource::Options options = options_of(SizeDistribution::fixed(600));
  options.sign = {domain.key().to_pem(), "example.org", "sel", 100};
  const auto source = MessageSource::create(options, {(folder.path() / "one").string()});
  ASSERT_TRUE(source) << source.error();
  EXPECT_EQ(source->signed_messages(), 1U);
  OutgoingMessage message;
  source->compose(3, kDate, message);
  const std::string content = received(wire_of(message));
  EXPECT_TRUE(content.ends_with("\r\n.dot\r\n..\r\nlast\r\n"));
  test::DkimSetup setup;
  setup.now_unix_s = 1'900'000'000;
  EXPECT_EQ(test::dkim_words(content, domain.zone(), setup), "pass");
  std::ofstream(folder.path() / "two") << "no header\n";
  EXPECT_FALSE(MessageSource::create(options, {(folder.path() / "two").string()}));
}

TEST(MessageSourceTest, TooSmallIsSaid) {
  const auto source = MessageSource::create(options_of(SizeDistribution::fixed(50)), {});
  ASSERT_FALSE(source.has_value());
  EXPECT_NE(source.error().find("--size"), std::string::npos);
}

TEST(MessageSourceTest, EnvelopeAddressesAreTheGivenOnes) {
  MessageSource::Options options = options_of(SizeDistribution::fixed(2000));
  options.mail_from = {*AddressPattern::parse("a%d@x.example", true),
                       *AddressPattern::parse("<>", true)};
  const auto source = MessageSource::create(options, {});
  OutgoingMessage message;
  source->compose(6, kDate, message);
  EXPECT_EQ(message.from, "a6@x.example");
  EXPECT_NE(field(wire_of(message), "From").find("<a6@x.example>"), std::string::npos);
  source->compose(7, kDate, message);
  EXPECT_EQ(message.from, "");
  EXPECT_NE(field(wire_of(message), "From").find('@'), std::string::npos);
}

TEST(MessageSourceTest, FilesAreSentAsTheyAre) {
  const test::TempDir folder;
  const auto write = [&folder](const char* name, std::string_view bytes) {
    std::ofstream(folder.path() / name, std::ios::binary) << bytes;
  };
  write("a.eml", "Subject: a\n\n.dot\n..\nlast line without an end");
  write("b.eml", "Subject: b\r\n\r\nalready CRLF\r\n");
  write("c.eml", "Subject: c\n\ngr\xC3\xBC\xC3\x9F\n");
  const auto source =
      MessageSource::create(options_of(SizeDistribution::fixed(50)), {folder.path().string()});
  ASSERT_TRUE(source.has_value()) << source.error();
  OutgoingMessage message;
  source->compose(0, kDate, message);
  EXPECT_EQ(received(wire_of(message)),
            "Subject: a\r\n\r\n.dot\r\n..\r\nlast line without an end\r\n");
  EXPECT_EQ(message.content_bytes, received(wire_of(message)).size());
  source->compose(1, kDate, message);
  EXPECT_EQ(wire_of(message), "Subject: b\r\n\r\nalready CRLF\r\n.\r\n");
  EXPECT_FALSE(message.eight_bit);
  source->compose(2, kDate, message);
  EXPECT_TRUE(message.eight_bit);
  source->compose(3, kDate, message);
  EXPECT_EQ(field(wire_of(message), "Subject"), "a");  // in turn
}

TEST(MessageSourceTest, FilesThatCannotBeSentAreSaid) {
  const test::TempDir folder;
  const auto options = options_of(SizeDistribution::fixed(5000));
  const auto empty = MessageSource::create(options, {folder.path().string()});
  EXPECT_NE(empty.error().find("no files"), std::string::npos);
  const auto missing = MessageSource::create(options, {(folder.path() / "none").string()});
  EXPECT_NE(missing.error().find("cannot read"), std::string::npos);
  std::ofstream(folder.path() / "nul", std::ios::binary) << std::string("a\0b", 3);
  const auto nul = MessageSource::create(options, {(folder.path() / "nul").string()});
  EXPECT_NE(nul.error().find("NUL"), std::string::npos);
  // In a folder it is left out, as long as something is left.
  const auto none = MessageSource::create(options, {folder.path().string()});
  ASSERT_FALSE(none.has_value());
  EXPECT_TRUE(none.error().starts_with("no file can be sent: ")) << none.error();
  std::ofstream(folder.path() / "good") << "Subject: x\n\nx\n";
  std::ofstream(folder.path() / "zero", std::ios::binary) << std::string(2, '\0');
  const auto some = MessageSource::create(options, {folder.path().string()});
  ASSERT_TRUE(some.has_value()) << some.error();
  EXPECT_EQ(some->skipped(), "2 files were skipped: " + (folder.path() / "nul").string() +
                                 ": not a message: it has NUL bytes in it");
}

TEST(AddressPatternTest, TakesAddressesAndNothingElse) {
  std::string out;
  AddressPattern::parse("user%d@example.org", false)->append(out, 42);
  EXPECT_EQ(out, "user42@example.org");
  out.clear();
  AddressPattern::parse("<plain@example.org>", false)->append(out, 42);
  EXPECT_EQ(out, "plain@example.org");
  EXPECT_TRUE(AddressPattern::parse("<>", true)->is_null());
  EXPECT_TRUE(AddressPattern::parse("", true)->is_null());
  for (const char* text :
       {"", "<>", "nobody", "@example.org", "user@", "a b@example.org", "a\r\nb@example.org",
        "a<b@example.org", "u%d%d@example.org", "\xC3\xBC@example.org"}) {
    EXPECT_FALSE(AddressPattern::parse(text, false).has_value()) << text;
  }
  EXPECT_FALSE(AddressPattern::parse(std::string(250, 'a') + "@b.example", false).has_value());
}

TEST(SizeDistributionTest, ReadsSizes) {
  EXPECT_EQ(SizeDistribution::parse("10KiB")->min(), 10240U);
  EXPECT_EQ(SizeDistribution::parse("1000-2KiB")->max(), 2048U);
  for (const char* text : {"", "0", "x", "5-", "-5", "5-4", "1-2-3", "257MiB", "mails"}) {
    EXPECT_FALSE(SizeDistribution::parse(text).has_value()) << text;
  }
  Random random(1);
  const auto range = *SizeDistribution::parse("3-5");
  std::set<std::uint64_t> drawn;
  for (int i = 0; i < 200; ++i) drawn.insert(range.draw(random));
  EXPECT_EQ(drawn, (std::set<std::uint64_t>{3, 4, 5}));
}

}  // namespace
}  // namespace mxring::load
