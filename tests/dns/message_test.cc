#include "dns/message.h"

#include <gtest/gtest.h>

#include <string>

namespace mxring::dns {
namespace {

using Bytes = std::vector<std::uint8_t>;

Question ask(const char* name, Type type) {
  return {*Name::parse(name), type};
}

void append(Bytes& out, std::string_view bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

std::string_view operator""_b(const char* text, std::size_t size) {
  return {text, size};
}

// Header and question of a reply to www.example.org A, with `records` answers and `authorities`.
Bytes reply_head(std::string_view flags, char records, char authorities = 0) {
  Bytes bytes;
  append(bytes, "\x12\x34"_b);
  append(bytes, flags);
  append(bytes, std::string_view("\0\1\0", 3));
  bytes.push_back(static_cast<std::uint8_t>(records));
  bytes.push_back(0);
  bytes.push_back(static_cast<std::uint8_t>(authorities));
  append(bytes, "\0\0\3www\7example\3org\0\0\1\0\1"_b);
  return bytes;
}

constexpr std::string_view kGood("\x81\x80", 2);

TEST(MessageTest, QueryIsOneQuestionWithAnOptionRecord) {
  std::array<std::uint8_t, kQueryBytesMax> buffer;
  const std::size_t size = write_query(ask("Example.org", Type::kMx), 0xABCD, {}, true, buffer);
  const std::string_view bytes(reinterpret_cast<const char*>(buffer.data()), size);
  EXPECT_EQ(bytes,
            "\xAB\xCD\1\0\0\1\0\0\0\0\0\1"
            "\7example\3org\0\0\x0f\0\1"
            "\0\0\x29\x04\xd0\0\0\0\0\0\0"_b);
}

TEST(MessageTest, AQueryWithoutAnOptionRecord) {
  std::array<std::uint8_t, kQueryBytesMax> buffer;
  const std::size_t size = write_query(ask("Example.org", Type::kMx), 0xABCD, {}, false, buffer);
  const std::string_view bytes(reinterpret_cast<const char*>(buffer.data()), size);
  EXPECT_EQ(bytes,
            "\xAB\xCD\1\0\0\1\0\0\0\0\0\0"
            "\7example\3org\0\0\x0f\0\1"_b);
}

// BADVERS has zero in the four bits of the header; what looks like "there is nothing" is none.
TEST(MessageTest, TheUpperBitsOfTheCodeAreInTheOptionRecord) {
  const auto with_option = [](std::string_view flags, char upper) {
    Bytes bytes = reply_head(flags, 0);
    bytes[11] = 1;
    append(bytes, "\0\0\x29\x04\xd0"_b);
    bytes.push_back(static_cast<std::uint8_t>(upper));
    append(bytes, "\0\0\0\0\0"_b);
    return bytes;
  };
  const Question question = ask("www.example.org", Type::kA);
  const auto bad_version = parse_reply(with_option(kGood, 1), question);
  ASSERT_TRUE(bad_version);
  EXPECT_EQ(bad_version->code, 16);
  EXPECT_TRUE(rejects_options(bad_version->code));
  EXPECT_EQ(bad_version->answer.status, Status::kServerFailure);
  const auto bad_time = parse_reply(with_option(std::string_view("\x81\x83", 2), 1), question);
  ASSERT_TRUE(bad_time);
  EXPECT_EQ(bad_time->code, 19);
  EXPECT_EQ(bad_time->answer.status, Status::kServerFailure);
  const auto nothing = parse_reply(with_option(kGood, 0), question);
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->code, 0);
  EXPECT_EQ(nothing->answer.status, Status::kNoData);
}

// 64 KiB of records whose names are pointers to pointers: a reply has no more of them than bytes.
TEST(MessageTest, ChainsOfPointersCostWhatTheyWeigh) {
  Bytes bytes = reply_head(kGood, 0);
  const auto put16 = [&](std::size_t value) {
    bytes.push_back(static_cast<std::uint8_t>(value >> 8));
    bytes.push_back(static_cast<std::uint8_t>(value));
  };
  const auto put_record = [&](std::size_t size) {
    put16(16);
    put16(1);
    put16(0);
    put16(60);
    put16(size);
  };
  std::size_t pointer = 12;
  bytes.push_back(0);
  put_record((16'382 - bytes.size() - 10) / 2 * 2);
  while (bytes.size() + 2 < 16'382) {
    const std::size_t here = bytes.size();
    put16(0xC000 | pointer);
    pointer = here;
  }
  std::size_t records = 1;
  for (; bytes.size() + 12 < 65'000; ++records) {
    put16(0xC000 | pointer);
    put_record(0);
  }
  bytes[6] = static_cast<std::uint8_t>(records >> 8);
  bytes[7] = static_cast<std::uint8_t>(records);
  std::size_t at = bytes.size() - 12;
  std::size_t pointers = bytes.size();
  EXPECT_TRUE(read_name(bytes, at, pointers)) << "one such name is a name";
  EXPECT_GT(bytes.size() - pointers, 8'000U);
  const auto parsed = parse_reply(bytes, ask("www.example.org", Type::kA));
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error(), MessageError::kMalformed);

  // As many honest records as fit are read, each with its pointer.
  Bytes honest = reply_head(kGood, 0);
  for (records = 0; honest.size() + 16 < 65'535; ++records) {
    append(honest, "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"_b);
  }
  honest[6] = static_cast<std::uint8_t>(records >> 8);
  honest[7] = static_cast<std::uint8_t>(records);
  const auto many = parse_reply(honest, ask("www.example.org", Type::kA));
  ASSERT_TRUE(many);
  EXPECT_EQ(many->answer.addresses.size(), records);
}

TEST(MessageTest, AReplyMustRepeatTheQuestionsCapitals) {
  const Question question = ask("example.org", Type::kMx);
  Capitals capitals{};
  capitals[0] = 0b10101011;  // the length too, which stays as it is
  capitals[1] = 0b00000010;
  std::array<std::uint8_t, kQueryBytesMax> buffer;
  const std::size_t size = write_query(question, 0xABCD, capitals, true, buffer);
  const std::string_view bytes(reinterpret_cast<const char*>(buffer.data()), size);
  EXPECT_EQ(bytes.substr(12, 17), "\7ExAmPlE\3Org\0\0\x0f\0\1"_b);
  EXPECT_TRUE(repeats_question({buffer.data(), size}, question, capitals));
  EXPECT_FALSE(repeats_question({buffer.data(), size}, question, {}));
  EXPECT_FALSE(repeats_question({buffer.data(), size}, ask("example.org", Type::kA), capitals));
  for (std::size_t cut = 0; cut < 29; ++cut) {
    EXPECT_FALSE(repeats_question({buffer.data(), cut}, question, capitals)) << cut;
  }
}

TEST(MessageTest, ReadsAnAnswerBehindAnAlias) {
  Bytes bytes = reply_head(kGood, 3);
  append(bytes, "\xc0\x0c\0\5\0\1\0\0\1\x2c\0\7\4host\xc0\x10"_b);  // www is host.example.org
  append(bytes, "\4HOST\xc0\x10\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"_b);
  append(bytes, "\5other\xc0\x10\0\1\0\1\0\0\0\1\0\4\xc0\0\2\2"_b);  // not asked for
  const auto reply = parse_reply(bytes, ask("WWW.example.org", Type::kA));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->answer.status, Status::kAnswer);
  ASSERT_EQ(reply->answer.addresses.size(), 1U);
  EXPECT_EQ(reply->answer.addresses[0].to_string(), "192.0.2.1");
  EXPECT_EQ(reply->answer.ttl_s, 60U);
  ASSERT_EQ(reply->answer.aliases.size(), 1U);
  EXPECT_EQ(reply->answer.aliases[0].to_text(), "host.example.org");
}

TEST(MessageTest, NothingIsKeptAsLongAsTheZoneSays) {
  for (const bool no_name : {false, true}) {
    Bytes bytes = reply_head(no_name ? "\x81\x83"_b : kGood, 0, 1);
    append(bytes, "\xc0\x10\0\6\0\1\0\0\2\x58\0\x16\0\0"_b);
    append(bytes, "\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\x2d"_b);
    const auto reply = parse_reply(bytes, ask("www.example.org", Type::kA));
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->answer.status, no_name ? Status::kNoName : Status::kNoData);
    EXPECT_EQ(reply->answer.ttl_s, 45U);
  }
}

TEST(MessageTest, AnAliasLeftOpenIsAskedFor) {
  Bytes bytes = reply_head(kGood, 1);
  append(bytes, "\xc0\x0c\0\5\0\1\0\0\1\x2c\0\7\4host\xc0\x10"_b);
  const auto reply = parse_reply(bytes, ask("www.example.org", Type::kA));
  ASSERT_TRUE(reply && reply->ask_next);
  EXPECT_EQ(reply->ask_next->to_text(), "host.example.org");
}

TEST(MessageTest, AliasesInACircleAreMalformed) {
  Bytes bytes = reply_head(kGood, 2);
  append(bytes, "\xc0\x0c\0\5\0\1\0\0\1\x2c\0\7\4host\xc0\x10"_b);
  append(bytes, "\4host\xc0\x10\0\5\0\1\0\0\1\x2c\0\2\xc0\x0c"_b);
  const auto reply = parse_reply(bytes, ask("www.example.org", Type::kA));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error(), MessageError::kMalformed);
}

TEST(MessageTest, OtherRepliesAreNotOurs) {
  const Bytes bytes = reply_head(kGood, 0);
  EXPECT_EQ(parse_reply(bytes, ask("xxx.example.org", Type::kA)).error(),
            MessageError::kOtherQuestion);
  EXPECT_EQ(parse_reply(bytes, ask("www.example.org", Type::kMx)).error(),
            MessageError::kOtherQuestion);
  EXPECT_EQ(parse_reply(reply_head("\1\0"_b, 0), ask("www.example.org", Type::kA)).error(),
            MessageError::kNotAReply);
  EXPECT_EQ(parse_reply(reply_head("\x83\x80"_b, 0), ask("www.example.org", Type::kA)).error(),
            MessageError::kTruncated);
  const auto failed = parse_reply(reply_head("\x81\x82"_b, 0), ask("www.example.org", Type::kA));
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->answer.status, Status::kServerFailure);
}

TEST(MessageTest, PointersLeadBackwardsOnly) {
  const auto read = [](std::string_view text, std::size_t at) {
    return read_name({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, at);
  };
  EXPECT_FALSE(read("\xc0\0"_b, 0));              // itself
  EXPECT_FALSE(read("\xc0\2\xc0\0"_b, 0));        // forwards
  EXPECT_FALSE(read("\1a\xc0\0"_b, 0));           // a label, then its own beginning
  EXPECT_FALSE(read("\1a\xc0\0\1b\xc0\2"_b, 4));  // into the middle of a loop
  EXPECT_FALSE(read("\x40zz"_b, 0));              // reserved label types
  EXPECT_FALSE(read("\x80zz"_b, 0));
  EXPECT_FALSE(read("\3ab"_b, 0));  // past the end
  EXPECT_FALSE(read("\xc0"_b, 0));
  EXPECT_EQ(read("\1a\0\1b\xc0\0"_b, 3)->to_text(), "b.a");
}

TEST(MessageTest, EveryCutIsRefusedOrAnOrdinaryAnswer) {
  Bytes bytes = reply_head(kGood, 2, 0);
  append(bytes, "\xc0\x0c\0\5\0\1\0\0\1\x2c\0\7\4host\xc0\x10"_b);
  append(bytes, "\4HOST\xc0\x10\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"_b);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(parse_reply(cut, ask("www.example.org", Type::kA))) << size;
  }
}

TEST(MessageTest, TextPiecesAreJoinedWithoutSpaces) {
  Bytes bytes;
  append(bytes, "\0\1\x81\x80\0\1\0\2\0\0\0\0\1t\0\0\x10\0\1"_b);
  append(bytes, "\xc0\x0c\0\x10\0\1\0\0\0\x3c\0\x0b\6v=spf1\3 -a"_b);
  append(bytes, "\xc0\x0c\0\x10\0\1\0\0\0\x3c\0\5\1x\0\1y"_b);
  const auto reply = parse_reply(bytes, ask("t", Type::kTxt));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->answer.texts, (std::vector<std::string>{"v=spf1 -a", "xy"}));
}

TEST(MessageTest, ManyNamesAreBounded) {
  Bytes bytes;
  append(bytes, "\0\1\x81\x80\0\1\1\x2c\0\0\0\0\1t\0\0\x0f\0\1"_b);
  for (int i = 0; i < 300; ++i) append(bytes, "\xc0\x0c\0\x0f\0\1\0\0\0\x3c\0\5\0\1\1m\0"_b);
  const auto reply = parse_reply(bytes, ask("t", Type::kMx));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->answer.exchangers.size(), Answer::kNamesMax);
}

}  // namespace
}  // namespace mxring::dns
