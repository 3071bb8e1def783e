// Canonicalization: vectors, and streaming in any split against the reference on whole texts.
#include <gtest/gtest.h>

#include <random>

#include "mailauth/dkim/blank_scan.h"
#include "mailauth/dkim/body_canon.h"
#include "mailauth/dkim/header_canon.h"
#include "tests/mailauth/dkim_check.h"
#include "tests/mailauth/dkim_reference.h"
#include "tests/mailauth/dkim_suite.h"

namespace mxring::test {
namespace {

using mailauth::dkim::BodyCanon;
using mailauth::dkim::Canonicalization;
constexpr auto kSimple = Canonicalization::kSimple;
constexpr auto kRelaxed = Canonicalization::kRelaxed;

// Every chunk lies in memory of its own size until the end, as the pieces point into it.
std::string canonical(Canonicalization how, const std::vector<std::string_view>& chunks) {
  BodyCanon canon(how);
  CollectingSink sink;
  for (const std::string_view chunk : chunks) {
    const std::vector<char> bytes(chunk.begin(), chunk.end());
    canon.feed({bytes.data(), bytes.size()}, sink);
  }
  canon.finish(sink);
  return sink.bytes;
}

std::string relaxed_field(std::string_view name, std::string_view value) {
  std::string out(name.size() + value.size() + mailauth::dkim::kSlackBytes, '\0');
  const char* end = mailauth::dkim::relax_field(name, value, out.data());
  out.resize(static_cast<std::size_t>(end - out.data()));
  return out;
}

// Text that is mostly what canonicalization is about.
std::string random_text(std::mt19937& random, std::size_t bytes_max) {
  static constexpr std::string_view kBytes[] = {
      " ", "\t", "\r\n", "\r\n", "\r", "\n", "a", "word", "\r\n\r\n", "  ", " \r\n", "\xC3\xA4"};
  std::string text;
  const std::size_t wanted = random() % (bytes_max + 1);
  const bool long_lines = random() % 4 == 0;
  while (text.size() < wanted) {
    if (long_lines && random() % 8 != 0) text.append(random() % 90, 'x');
    text += kBytes[random() % std::size(kBytes)];
  }
  return text;
}

TEST(DkimCanonTest, TheExampleOfRfc6376) {
  // 3.4.5
  EXPECT_EQ(relaxed_field("A", " X"), "a:X\r\n");
  EXPECT_EQ(relaxed_field("B", " Y\t\r\n\tZ  "), "b:Y Z\r\n");
  const std::string_view body = " C \r\nD \t E\r\n\r\n\r\n";
  EXPECT_EQ(canonical(kRelaxed, {body}), " C\r\nD E\r\n");
  EXPECT_EQ(canonical(kSimple, {body}), " C \r\nD \t E\r\n");
}

TEST(DkimCanonTest, Ends) {
  EXPECT_EQ(canonical(kSimple, {}), "\r\n");
  EXPECT_EQ(canonical(kRelaxed, {}), "");
  EXPECT_EQ(canonical(kRelaxed, {" \t \r\n  \r\n"}), "");
  EXPECT_EQ(canonical(kRelaxed, {"x"}), "x\r\n");
  EXPECT_EQ(canonical(kSimple, {"x \r\n \r\n"}), "x \r\n \r\n");
  EXPECT_EQ(canonical(kRelaxed, {"x \r\n \r\n"}), "x\r\n");
  EXPECT_EQ(canonical(kRelaxed, {"x\r"}), "x\r\r\n");
  EXPECT_EQ(canonical(kRelaxed, {"x \r"}), "x \r\r\n");
  EXPECT_EQ(canonical(kRelaxed, {"\r\n\r\nx"}), "\r\n\r\nx\r\n");
}

TEST(DkimCanonTest, VectorsOfTheCorpora) {
  const DkimSuites suites = load_dkim_suites();
  if (!suites.missing.empty()) GTEST_SKIP() << suites.missing;
  EXPECT_EQ(suites.vectors.size(), 24U);
  for (const CanonVector& vector : suites.vectors) {
    if (vector.kind == "relaxed_header") {
      const std::string& field = vector.chunks.at(0);
      const std::size_t colon = field.find(':');
      std::string name = field.substr(0, colon);
      name.erase(name.find_last_not_of(" \t") + 1);  // as the header index gives it
      EXPECT_EQ(relaxed_field(name, field.substr(colon + 1)), vector.out) << vector.id;
      continue;
    }
    // That library makes every LF a CRLF; our receiver refuses bare ones.
    std::vector<std::string> converted;
    char before = '\0';
    for (const std::string& chunk : vector.chunks) {
      std::string& text = converted.emplace_back();
      for (const char c : chunk) {
        if (c == '\n' && before != '\r') text += '\r';
        text += before = c;
      }
    }
    const auto how = vector.kind == "simple_body" ? kSimple : kRelaxed;
    EXPECT_EQ(canonical(how, {converted.begin(), converted.end()}), vector.out) << vector.id;
  }
}

TEST(DkimCanonTest, EverySplitInTwoAndThree) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const std::string text = random_text(random, 40);
    const std::string_view view = text;
    for (const auto how : {kSimple, kRelaxed}) {
      const std::string expected = reference_body(how, text);
      ASSERT_EQ(canonical(how, {view}), expected) << testing::PrintToString(text);
      for (std::size_t a = 0; a <= text.size(); ++a) {
        for (std::size_t b = a; b <= text.size(); ++b) {
          ASSERT_EQ(canonical(how, {view.substr(0, a), view.substr(a, b - a), view.substr(b)}),
                    expected)
              << testing::PrintToString(text) << a << ' ' << b;
        }
      }
    }
  }
}

TEST(DkimCanonTest, LongTextsInRandomRuns) {
  std::mt19937 random(8);
  for (int round = 0; round < 3000; ++round) {
    const std::string text = random_text(random, 2000);
    const std::size_t runs = 1 + random() % 400;
    for (const auto how : {kSimple, kRelaxed}) {
      std::vector<std::string_view> chunks;
      std::string_view rest = text;
      while (!rest.empty()) {
        const std::size_t bytes = std::min<std::size_t>(1 + random() % runs, rest.size());
        chunks.push_back(rest.substr(0, bytes));
        rest.remove_prefix(bytes);
      }
      ASSERT_EQ(canonical(how, chunks), reference_body(how, text)) << testing::PrintToString(text);
    }
  }
}

// What is written anew rather than passed over: at every cut, and few pieces come of it.
TEST(DkimCanonTest, TextsOfBlanks) {
  std::mt19937 random(10);
  const std::vector<std::string_view> parts{" ",     "  ", "\t", "a",     "bc ",        "\r\n",
                                            " \r\n", "\r", "\n", "\r \n", "\t \r\n\r\n"};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    const std::size_t size = 60 + random() % 500;
    while (text.size() < size) text += parts[random() % parts.size()];
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      const std::string_view view(text);
      ASSERT_EQ(canonical(kRelaxed, {view.substr(0, cut), view.substr(cut)}),
                reference_body(kRelaxed, text))
          << testing::PrintToString(text) << " at " << cut;
    }
  }
  std::string blanks;
  for (int i = 0; i < 1000; ++i) blanks += "a  b\t";
  BodyCanon canon(kRelaxed);
  CollectingSink sink;
  canon.feed(blanks, sink);
  canon.finish(sink);
  EXPECT_LE(sink.pieces, 100U);
}

TEST(DkimCanonTest, CleanTextIsOnePiece) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += "A line of an ordinary message, number something.\r\n";
  for (const auto how : {kSimple, kRelaxed}) {
    BodyCanon canon(how);
    CollectingSink sink;
    canon.feed(text, sink);
    canon.finish(sink);
    EXPECT_EQ(sink.pieces, 2U);
    EXPECT_EQ(sink.bytes, text);
  }
  // One piece per line of indented text.
  std::string indented;
  for (int i = 0; i < 500; ++i) indented += "      <td>something</td>\r\n";
  BodyCanon canon(kRelaxed);
  CollectingSink sink;
  canon.feed(indented, sink);
  canon.finish(sink);
  EXPECT_LE(sink.pieces, 502U);
}

TEST(DkimCanonTest, RelaxedFieldsAsTheReferenceSays) {
  std::mt19937 random(9);
  for (int round = 0; round < 20000; ++round) {
    std::string value = random_text(random, 200);
    // A line end without white space behind it would be the field's end.
    for (std::size_t at = 0; (at = value.find("\r\n", at)) != std::string::npos; at += 3) {
      value.insert(at + 2, random() % 2 == 0 ? " " : "\t");
    }
    const std::string_view name = round % 2 == 0 ? "Subject" : "X-Odd_Name";
    ASSERT_EQ(relaxed_field(name, value), reference_relaxed_field(name, value))
        << testing::PrintToString(value);
  }
}

TEST(DkimCanonTest, OwnFieldsLeaveTheSignatureOut) {
  const std::string value = " v=1; b=\r\n\tAB CD\r\n\tEF ; bh=x \r\n\t; d=y";
  const std::size_t begin = value.find("b=") + 2;
  const std::string_view left_out =
      std::string_view(value).substr(begin, value.find(';', begin) - begin);
  std::string out(value.size() + 40, '\0');
  const char* end = mailauth::dkim::relax_own_field("DKIM-Signature", value, left_out, out.data());
  out.resize(static_cast<std::size_t>(end - out.data()));
  EXPECT_EQ(out, "dkim-signature:v=1; b=; bh=x ; d=y");
  const std::string field = "DKIM-Signature:" + value + "\r\n";
  const auto offset = static_cast<std::size_t>(left_out.data() - value.data()) + 15;
  const auto parts = mailauth::dkim::simple_own_field(
      field, std::string_view(field).substr(offset, left_out.size()));
  EXPECT_EQ(std::string(parts.before) + std::string(parts.after),
            "DKIM-Signature: v=1; b=; bh=x \r\n\t; d=y");
}

TEST(DkimCanonTest, TheScanStopsWhereItMust) {
  using mailauth::dkim::find_changing_blank;
  using mailauth::dkim::find_changing_blank_or_cr;
  for (std::size_t size = 1; size < 200; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      std::string text(size, 'x');
      const auto found = [&](std::string_view put) {
        text.assign(size, 'x');
        text.replace(at, put.size(), put.substr(0, size - at));
        const std::vector<char> exact(text.begin(), text.end());
        const std::size_t plain = find_changing_blank(exact.data(), size);
        const std::size_t with_cr = find_changing_blank_or_cr(exact.data(), size);
        return std::pair(plain, with_cr);
      };
      EXPECT_EQ(found("\t"), std::pair(at, at));
      EXPECT_EQ(found("  "), std::pair(at, at));
      EXPECT_EQ(found(" \r"), std::pair(at, at));
      const std::size_t single = at + 1 == size ? at : size;  // what follows is not known
      EXPECT_EQ(found(" "), std::pair(single, single));
      EXPECT_EQ(found("\r"), std::pair(size, at));
    }
  }
}

}  // namespace
}  // namespace mxring::test
