#include "mail/header_index.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/mail/reference_header.h"

namespace mxring::mail {
namespace {

// A temporary hands out no views of itself.
template <class T>
concept HandsOutViewsWhenTemporary = requires(T&& t) {
  std::move(t).fields();
}
|| requires(T&& t) {
  std::move(t).first(FieldName::kFrom);
};
static_assert(!HandsOutViewsWhenTemporary<HeaderIndex>);

constexpr std::uint32_t kBytes = 128 * 1024;
constexpr std::uint32_t kFields = 1000;

HeaderStatus feed(HeaderIndex& index, std::string_view message, std::size_t piece_bytes) {
  for (std::size_t at = 0; at < message.size(); at += piece_bytes) {
    index.feed(message.substr(at, piece_bytes));
  }
  return index.finish();
}

void expect_same(const HeaderIndex& index, const ReferenceHeader& wanted,
                 std::string_view message) {
  ASSERT_EQ(index.status(), wanted.status) << testing::PrintToString(message);
  ASSERT_EQ(index.fields().size(), wanted.fields.size()) << testing::PrintToString(message);
  for (std::size_t i = 0; i < wanted.fields.size(); ++i) {
    const Field& field = index.fields()[i];
    ASSERT_EQ(field.begin, wanted.fields[i].begin) << testing::PrintToString(message);
    ASSERT_EQ(field.name_bytes, wanted.fields[i].name_bytes) << testing::PrintToString(message);
    ASSERT_EQ(field.value, wanted.fields[i].value) << testing::PrintToString(message);
    ASSERT_EQ(field.end, wanted.fields[i].end) << testing::PrintToString(message);
    ASSERT_EQ(field.name, find_field_name(message.substr(field.begin, field.name_bytes)));
  }
  if (wanted.status != HeaderStatus::kComplete) return;
  ASSERT_EQ(index.end(), wanted.end) << testing::PrintToString(message);
  ASSERT_EQ(index.header_bytes(), wanted.header_bytes) << testing::PrintToString(message);
  ASSERT_EQ(index.body_begin(), wanted.body_begin) << testing::PrintToString(message);
}

std::string name_of(const HeaderIndex& index, std::size_t i, std::string_view message) {
  const Field& field = index.fields()[i];
  return std::string(message.substr(field.begin, field.name_bytes));
}

std::string value_of(const Field& field, std::string_view message) {
  return std::string(message.substr(field.value, field.end - field.value));
}

TEST(HeaderIndex, AnOrdinaryMessage) {
  constexpr std::string_view kMessage =
      "Received: from a\r\n\tby b\r\nreceived: from c\r\nFROM : x@y\r\nX-Own:1\r\n"
      "subject:\r\n folded\r\n\r\nBody: not a field\r\n";
  HeaderIndex index(kBytes, kFields);
  EXPECT_EQ(index.feed(kMessage), HeaderStatus::kComplete);
  ASSERT_EQ(index.fields().size(), 5U);
  EXPECT_EQ(index.count(FieldName::kReceived), 2U);
  EXPECT_EQ(index.count(FieldName::kOther), 1U);
  EXPECT_EQ(index.count(FieldName::kTo), 0U);
  EXPECT_EQ(index.first(FieldName::kTo), nullptr);
  EXPECT_EQ(value_of(*index.first(FieldName::kReceived), kMessage), " from a\r\n\tby b\r\n");
  EXPECT_EQ(name_of(index, 2, kMessage), "FROM");
  EXPECT_EQ(value_of(*index.first(FieldName::kFrom), kMessage), " x@y\r\n");
  EXPECT_EQ(value_of(*index.first(FieldName::kSubject), kMessage), "\r\n folded\r\n");
  EXPECT_EQ(kMessage.substr(index.body_begin()), "Body: not a field\r\n");
  EXPECT_EQ(index.header_bytes() + 2, index.body_begin());
}

TEST(HeaderIndex, KnowsEveryNameInAnyCase) {
  const std::vector<std::pair<std::string, FieldName>> names{
      {"From", FieldName::kFrom},
      {"Sender", FieldName::kSender},
      {"Reply-To", FieldName::kReplyTo},
      {"To", FieldName::kTo},
      {"Cc", FieldName::kCc},
      {"Bcc", FieldName::kBcc},
      {"Date", FieldName::kDate},
      {"Subject", FieldName::kSubject},
      {"Message-ID", FieldName::kMessageId},
      {"Received", FieldName::kReceived},
      {"Return-Path", FieldName::kReturnPath},
      {"DKIM-Signature", FieldName::kDkimSignature},
      {"Authentication-Results", FieldName::kAuthenticationResults},
      {"ARC-Seal", FieldName::kArcSeal},
      {"ARC-Message-Signature", FieldName::kArcMessageSignature},
      {"ARC-Authentication-Results", FieldName::kArcAuthenticationResults},
      {"List-Id", FieldName::kListId},
      {"MIME-Version", FieldName::kMimeVersion},
      {"Content-Type", FieldName::kContentType},
      {"Content-Transfer-Encoding", FieldName::kContentTransferEncoding}};
  ASSERT_EQ(names.size() + 1, static_cast<std::size_t>(FieldName::kCount));
  for (const auto& [text, name] : names) {
    std::string upper = text;
    std::string lower = text;
    for (char& c : upper) c = static_cast<char>(std::toupper(c));
    for (char& c : lower) c = static_cast<char>(std::tolower(c));
    EXPECT_EQ(find_field_name(text), name);
    EXPECT_EQ(find_field_name(upper), name);
    EXPECT_EQ(find_field_name(lower), name);
    EXPECT_EQ(find_field_name(text + "x"), FieldName::kOther);
    std::string begins_otherwise = text;
    begins_otherwise[0] = 'x';
    EXPECT_EQ(find_field_name(begins_otherwise), FieldName::kOther);
    for (std::size_t i = 0; i < text.size(); ++i) {
      std::string other = text;
      other[i] = static_cast<char>(other[i] ^ 0x01);
      EXPECT_EQ(find_field_name(other), FieldName::kOther) << other;
    }
    // Cut anywhere, the name is still known.
    const std::string message = text + ": v\r\n\r\n";
    for (std::size_t size = 1; size < message.size(); ++size) {
      HeaderIndex index(kBytes, kFields);
      feed(index, message, size);
      EXPECT_EQ(index.count(name), 1U) << text << " in pieces of " << size;
    }
  }
}

TEST(HeaderIndex, WhereTheSectionEnds) {
  using enum HeaderEnd;
  struct Case {
    std::string_view message;
    std::size_t fields;
    std::size_t header_bytes;
    std::size_t body_begin;
    HeaderEnd end;
  };
  const Case cases[] = {
      {"", 0, 0, 0, kMessageEnd},
      {"\r\n", 0, 0, 2, kEmptyLine},
      {"\r\nA: b\r\n", 0, 0, 2, kEmptyLine},
      {"A: b\r\n", 1, 6, 6, kMessageEnd},
      {"A: b", 1, 4, 4, kMessageEnd},
      {"A:", 1, 2, 2, kMessageEnd},
      {"A: b\r\n ", 1, 7, 7, kMessageEnd},
      {"A: b\r\n\r\n", 1, 6, 8, kEmptyLine},
      {"A: b\r\nno field\r\nC: d\r\n", 1, 6, 6, kNoField},
      {"A: b\r\n: no name\r\n", 1, 6, 6, kNoField},
      {"A: b\r\n: \r\nC: d\r\n\r\n", 1, 6, 6, kNoField},
      {"A: b\r\nunended", 1, 6, 6, kNoField},
      {"A: b\r\nunended ", 1, 6, 6, kNoField},
      {"A: b\r\n\vC: d\r\n", 1, 6, 6, kNoField},
      {"text\r\n", 0, 0, 0, kNoField},
      {" leading\r\nA: b\r\n", 0, 0, 0, kFirstSpace},
      {"\tleading", 0, 0, 0, kFirstSpace},
      {"\vleading", 0, 0, 0, kFirstSpace},
      {"\fleading", 0, 0, 0, kFirstSpace},
      {" \r\n", 0, 0, 0, kFirstSpace},
      {"From someone@example.org\r\nA: b\r\n", 0, 0, 0, kNoField},
      {"A: b\r\n \r\n\r\nx", 1, 9, 11, kEmptyLine},
      {"A: b\r\n\rX: y\r\n", 1, 6, 6, kNoField},
      {"A: b\r\n\r", 1, 6, 6, kNoField},
      {"A\t : b\r\n\r\n", 1, 8, 10, kEmptyLine},
      {"A b: c\r\n\r\n", 0, 0, 0, kNoField},
      {"\xc3\xa4: b\r\n\r\n", 0, 0, 0, kNoField},
      {"A: b\nC: d\r\n\r\n", 1, 11, 13, kEmptyLine},
  };
  for (const Case& c : cases) {
    for (std::size_t size = 1; size <= c.message.size() + 1; ++size) {
      HeaderIndex index(kBytes, kFields);
      EXPECT_EQ(feed(index, c.message, size), HeaderStatus::kComplete);
      EXPECT_EQ(index.fields().size(), c.fields) << testing::PrintToString(c.message);
      EXPECT_EQ(index.header_bytes(), c.header_bytes) << testing::PrintToString(c.message);
      EXPECT_EQ(index.body_begin(), c.body_begin) << testing::PrintToString(c.message);
      EXPECT_EQ(index.end(), c.end) << testing::PrintToString(c.message);
    }
  }
}

TEST(HeaderIndex, Limits) {
  const std::string field = "A: 3456\r\n";  // nine bytes
  const std::string message = field + field + field + "\r\nbody";
  for (std::size_t size = 1; size <= message.size(); ++size) {
    HeaderIndex exact(27, 3);
    EXPECT_EQ(feed(exact, message, size), HeaderStatus::kComplete);
    HeaderIndex short_of_bytes(26, 3);
    EXPECT_EQ(feed(short_of_bytes, message, size), HeaderStatus::kTooLarge);
    HeaderIndex short_of_fields(27, 2);
    EXPECT_EQ(feed(short_of_fields, message, size), HeaderStatus::kTooManyFields);
    EXPECT_EQ(short_of_fields.feed("\r\n\r\n"), HeaderStatus::kTooManyFields) << "it stays";
  }
  // A name without an end is no field, however long, and no header section either.
  HeaderIndex index(2000, 10);
  EXPECT_EQ(feed(index, std::string(100'000, 'x'), 4096), HeaderStatus::kComplete);
  EXPECT_EQ(index.body_begin(), 0U);
}

TEST(HeaderIndex, LongestName) {
  for (const std::size_t name : {900U, 997U, 998U, 999U}) {
    for (const std::size_t space : {0U, 1U, 97U, 98U, 99U}) {
      const std::string message =
          std::string(name, 'x') + std::string(space, ' ') + ": v\r\nA: b\r\n\r\n";
      for (const std::size_t size : {1U, 5U, 950U, 5000U}) {
        HeaderIndex index(kBytes, kFields);
        feed(index, message, size);
        EXPECT_EQ(index.fields().size(), name + space <= kFieldNameBytesMax ? 2U : 0U)
            << name << " and " << space << " in pieces of " << size;
      }
    }
  }
}

TEST(HeaderIndex, ResetBeginsAnew) {
  HeaderIndex index(kBytes, kFields);
  index.feed("From: a\r\nTo: b\r\n\r\n");
  index.reset();
  EXPECT_EQ(index.status(), HeaderStatus::kMore);
  EXPECT_EQ(index.end(), HeaderEnd::kMessageEnd);
  EXPECT_TRUE(index.fields().empty());
  EXPECT_EQ(index.count(FieldName::kFrom), 0U);
  index.feed("To: b\r\n\r\n");
  EXPECT_EQ(index.first(FieldName::kTo)->begin, 0U);
}

// The line between two messages of an mbox, sent with the message.
TEST(HeaderIndex, AFromLineOnTop) {
  constexpr std::string_view kRest = "From: a@b.example\r\nTo: c\r\n\r\nbody\r\n";
  for (const std::string_view line :
       {"From a@s.example Mon Nov 30 12:00:00 2026\r\n", ">From a@s.example  Mon\r\n",
        "From  x: y\r\n", "From \tx\r\n", "From a\rb\nc\r\n"}) {
    const std::string message = std::string(line) + std::string(kRest);
    for (std::size_t piece = 1; piece <= message.size(); ++piece) {
      SCOPED_TRACE(testing::PrintToString(line) + " in pieces of " + std::to_string(piece));
      HeaderIndex index(kBytes, kFields, true);
      ASSERT_EQ(feed(index, message, piece), HeaderStatus::kComplete);
      ASSERT_EQ(index.end(), HeaderEnd::kEmptyLine);
      ASSERT_EQ(index.from_line_bytes(), line.size());
      ASSERT_EQ(index.fields().size(), 2U);
      ASSERT_EQ(index.fields()[0].begin, line.size());
      ASSERT_EQ(name_of(index, 0, message), "From");
      ASSERT_EQ(index.body_begin(), message.size() - 6);
      HeaderIndex strict(kBytes, kFields);
      ASSERT_EQ(feed(strict, message, piece), HeaderStatus::kComplete);
      ASSERT_EQ(strict.end(), HeaderEnd::kNoField);
      ASSERT_EQ(strict.from_line_bytes(), 0U);
    }
  }
}

// Blanks before a colon are obsolete syntax of a field; other names, other places and what has no
// blank are no such line; and what then stands on top must not continue the fields above it.
TEST(HeaderIndex, WhatIsNoFromLine) {
  for (const std::string_view message :
       {"From : a@b.example\r\n\r\n", "From \t : a@b.example\r\n\r\n", "From: From x\r\n\r\n"}) {
    for (std::size_t piece = 1; piece <= message.size(); ++piece) {
      HeaderIndex index(kBytes, kFields, true);
      ASSERT_EQ(feed(index, message, piece), HeaderStatus::kComplete);
      ASSERT_EQ(index.from_line_bytes(), 0U) << message;
      ASSERT_EQ(index.count(FieldName::kFrom), 1U) << message;
    }
  }
  for (const std::string_view message :
       {"from a@b\r\nA: b\r\n\r\n", "FROM a@b\r\nA: b\r\n\r\n", "Fromm a@b\r\nA: b\r\n\r\n",
        ">>From a@b\r\nA: b\r\n\r\n", "From\r\nA: b\r\n\r\n", "From\vx\r\nA: b\r\n\r\n",
        "A: b\r\nFrom a@b\r\n\r\n", "From a\r\nFrom b\r\nA: b\r\n\r\n", "From a@b"}) {
    HeaderIndex index(kBytes, kFields, true);
    ASSERT_EQ(feed(index, message, message.size()), HeaderStatus::kComplete);
    ASSERT_EQ(index.end(), HeaderEnd::kNoField) << testing::PrintToString(message);
  }
  HeaderIndex index(kBytes, kFields, true);
  feed(index, "From a\r\n by bank.example\r\nA: b\r\n\r\n", 100);
  ASSERT_EQ(index.end(), HeaderEnd::kFirstSpace);
  HeaderIndex small(64, kFields, true);
  ASSERT_EQ(feed(small, "From " + std::string(100, 'x') + "\r\nA: b\r\n\r\n", 7),
            HeaderStatus::kTooLarge);
}

TEST(HeaderIndex, RandomMessagesAtEverySplit) {
  constexpr std::string_view kAlphabet("Aa-:: \t\r\n\x80\0x", 12);
  const std::vector<std::string_view> lines{"From: a@b\r\n", "X:\r\n", " more\r\n",
                                            "\r\n",          "x\r\n",  "To : c\r\n"};
  std::mt19937 random(4);
  for (int round = 0; round < 4000; ++round) {
    std::string message;
    for (auto i = random() % 12; i > 0; --i) {
      if (random() % 3 == 0) message += kAlphabet[random() % kAlphabet.size()];
      if (random() % 3 != 0) message += lines[random() % lines.size()];
    }
    const auto bytes_max = static_cast<std::uint32_t>(round % 4 == 0 ? random() % 60 : kBytes);
    const auto fields_max = static_cast<std::uint32_t>(round % 4 == 1 ? random() % 5 : kFields);
    const ReferenceHeader wanted = reference_header(message, bytes_max, fields_max);
    for (std::size_t cut = 0; cut <= message.size(); ++cut) {
      HeaderIndex index(bytes_max, fields_max);
      index.feed(std::string_view(message).substr(0, cut));
      index.feed(std::string_view(message).substr(cut));
      index.finish();
      ASSERT_NO_FATAL_FAILURE(expect_same(index, wanted, message)) << "cut at " << cut;
    }
    HeaderIndex bytewise(bytes_max, fields_max);
    feed(bytewise, message, 1);
    ASSERT_NO_FATAL_FAILURE(expect_same(bytewise, wanted, message));
  }
}

std::string with_crlf(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) out += '\r';
    out += text[i];
  }
  return out;
}

// Messages from the wild, broken ones among them.
TEST(HeaderIndex, MessagesOfOthers) {
  const std::filesystem::path folder = std::filesystem::path(MXRING_CORPORA) / "mime-mail-parser";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not here";
  std::size_t messages = 0;
  std::size_t with_from = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".eml") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string message = with_crlf(std::string{std::istreambuf_iterator<char>(in), {}});
    const ReferenceHeader wanted = reference_header(message, kBytes, kFields);
    for (const std::size_t size : {std::size_t{1}, std::size_t{7}, std::size_t{4096}}) {
      HeaderIndex index(kBytes, kFields);
      feed(index, message, size);
      ASSERT_NO_FATAL_FAILURE(expect_same(index, wanted, message)) << entry.path();
      if (size == 7 && index.count(FieldName::kFrom) == 1) ++with_from;
    }
    ++messages;
  }
  EXPECT_GE(messages, 30U);
  EXPECT_GE(with_from, 10U);
  std::printf("%zu messages, %zu with one From\n", messages, with_from);
}

}  // namespace
}  // namespace mxring::mail
