// Transfer encodings, charsets, encoded words, parameters, dates and the walker.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mail/charset.h"
#include "mail/content_type.h"
#include "mail/date_time.h"
#include "mail/encoded_word.h"
#include "mail/header_index.h"
#include "mail/mime_walker.h"
#include "mail/transfer_decoder.h"

namespace mxring::mail {
namespace {

class Text final : public ByteSink {
 public:
  bool take(std::string_view bytes) override {
    text += bytes;
    return text.size() < most;
  }
  std::string text;
  std::size_t most = ~std::size_t{0};
};

std::string decoded(TransferEncoding encoding, std::string_view body,
                    DecodeNotes* notes = nullptr) {
  Text out;
  const DecodeNotes had = decode_transfer(encoding, body, out);
  if (notes != nullptr) *notes = had;
  return out.text;
}

TEST(TransferDecoder, Base64AsRfc2045Says) {
  DecodeNotes notes;
  const auto base64 = [&](std::string_view body) {
    return decoded(TransferEncoding::kBase64, body, &notes);
  };
  EXPECT_EQ(base64("aGVs\r\nbG8="), "hello");
  EXPECT_TRUE(notes.clean());
  EXPECT_EQ(base64("a G\tV\r\nsbG8="), "hello");
  EXPECT_TRUE(notes.clean());
  EXPECT_EQ(base64("aG!Vs*bG8="), "hello");
  EXPECT_EQ(notes.foreign_bytes, 2U);
  EXPECT_EQ(base64("aGVsbG8=d29ybGQ="), "hello");  // a pad ends the data
  EXPECT_EQ(notes.after_end, 7U);
  EXPECT_EQ(base64("aGVsbG8"), "hello");
  EXPECT_TRUE(notes.cut_short);
  EXPECT_EQ(base64("aGVsb"), "hel");
  EXPECT_TRUE(notes.cut_short);
  EXPECT_EQ(base64(" \r\n\t "), "");
  EXPECT_TRUE(notes.clean());
}

TEST(TransferDecoder, QuotedPrintableAsRfc2045Says) {
  DecodeNotes notes;
  const auto quoted = [&](std::string_view body) {
    return decoded(TransferEncoding::kQuotedPrintable, body, &notes);
  };
  EXPECT_EQ(quoted("a=3Db=\r\nc \t\r\nd=20\r\n"), "a=bc\r\nd \r\n");
  EXPECT_TRUE(notes.clean());
  EXPECT_EQ(quoted("=e4=C4"), "\xE4\xC4");  // lower case is taken
  EXPECT_EQ(quoted("a=ZZb =4"), "a=ZZb =4");
  EXPECT_EQ(notes.bad_escapes, 2U);
  EXPECT_EQ(quoted("end="), "end");
  EXPECT_EQ(quoted("soft= \n line"), "soft line");
}

TEST(TransferDecoder, UuencodeAndNames) {
  EXPECT_EQ(find_transfer_encoding(" X-UUencode "), TransferEncoding::kUuencode);
  EXPECT_EQ(find_transfer_encoding(" base64 (really)"), TransferEncoding::kBase64);
  EXPECT_EQ(find_transfer_encoding("\"base64\";"), TransferEncoding::kBase64);
  EXPECT_EQ(find_transfer_encoding("x-gzip64"), TransferEncoding::kUnknown);
  EXPECT_EQ(decoded(TransferEncoding::kUuencode, "begin 644 a\n#0V%T\n`\nend\n"), "Cat");
  DecodeNotes notes;
  EXPECT_EQ(decoded(TransferEncoding::kUuencode, "begin 644 a\n#0V%T\n", &notes), "Cat");
  EXPECT_TRUE(notes.cut_short);
}

TEST(TransferDecoder, PiecesAreSmallAndTheSinkMayStop) {
  const std::string body(100'000, 'A');
  for (const auto encoding : {TransferEncoding::kIdentity, TransferEncoding::kBase64,
                              TransferEncoding::kQuotedPrintable}) {
    Text out;
    out.most = 1;
    decode_transfer(encoding, body, out);
    EXPECT_LE(out.text.size(), kDecodedPieceBytes);
    EXPECT_GT(out.text.size(), 0U);
  }
}

std::string utf8(std::string_view charset, std::string_view text, std::size_t piece = 1000) {
  CharsetDecoder decoder;
  std::string out;
  if (!decoder.begin(charset)) out = "(unknown)";
  for (std::size_t at = 0; at < text.size(); at += piece) {
    decoder.take(text.substr(at, piece), out);
  }
  decoder.end(out);
  return out;
}

TEST(Charset, EverySplitGivesTheSame) {
  const std::pair<const char*, std::string> texts[] = {
      {"utf-8", "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x90\x88z"},
      {"utf-8", "\xC3(\xE2\x82(\xF0\x9F\x90(\x80\xFF\xED\xA0\x80\xC0\xAFz\xE2\x82"},
      {"iso-8859-1", "gr\xFC\xDF dich"},
      {"windows-1252", "\x80uro \x81"},
      {"iso-2022-jp", "\x1B$B%-%8%H%i\x1B(B neko"},
      {"shift_jis", "\x83\x4C\x83\x57\x83\x67\x83\x89 \xFC"},
      {"euc-jp", "\xC6\xFC\xCB\xDC\xB8"},
      {"gb18030", "\x81\x30\x89\x37\xC4\xE3"},
      {"utf-16le", std::string("a\0\x3D\xD8\x08\xDCz", 7)},
      {"utf-16", std::string("\xFE\xFF\0a\xD8\x3D\xDC\x08\0", 9)},
      {"utf-16", std::string("\xFF\xFEz\0a\0", 6)},
      {"utf-32", std::string("\0\0\xFE\xFF\0\0\0a\0\1\xF4\x08", 12)},
  };
  for (const auto& [charset, text] : texts) {
    const std::string whole = utf8(charset, text);
    for (std::size_t piece = 1; piece < text.size(); ++piece) {
      EXPECT_EQ(utf8(charset, text, piece), whole) << charset << " in pieces of " << piece;
    }
  }
  EXPECT_EQ(utf8("ISO-8859-1", "gr\xFC\xDF"), "gr\xC3\xBC\xC3\x9F");
  EXPECT_EQ(utf8("windows-1252", "\x80"), "\xE2\x82\xAC");
  EXPECT_EQ(utf8("iso-2022-jp", "\x1B$B%-\x1B(B"), "\xE3\x82\xAD");
  EXPECT_EQ(utf8("utf-8", "a\xFFz"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(utf8("utf-8", "a\xE2\x82"), "a\xEF\xBF\xBD\xEF\xBF\xBD");
}

// What one text says of its byte order is nothing to the next one.
TEST(Charset, ByteOrderIsThatOfTheText) {
  const std::string big("\xFE\xFF\0a", 4),
      little(
          "\xFF\xFE"
          "a\0",
          4),
      none("a\0", 2);
  const std::string wide_big("\0\0\xFE\xFF\0\0\0a", 8), wide_little("\xFF\xFE\0\0a\0\0\0", 8);
  CharsetDecoder used;
  const auto read = [&used](std::string_view charset, std::string_view text) {
    std::string out;
    EXPECT_TRUE(used.begin(charset));
    used.take(text, out);
    used.end(out);
    return out;
  };
  for (const std::string& text : {little, none, big, little, none, big, none}) {
    EXPECT_EQ(read("utf-16", text), "a");
    EXPECT_EQ(read("utf-16le", none), "a");
  }
  for (const std::string& text : {wide_little, wide_big, wide_little}) {
    EXPECT_EQ(read("utf-32", text), "a");
  }
  EXPECT_EQ(read("utf-16", "\xFE"), "\xEF\xBF\xBD");
  EXPECT_EQ(read("utf-16", ""), "");
}

TEST(Charset, OnlyTheListIsKnown) {
  CharsetDecoder decoder;
  EXPECT_FALSE(decoder.begin("UTF-8//TRANSLIT"));
  EXPECT_FALSE(decoder.begin("../../tmp/x"));
  EXPECT_FALSE(decoder.begin("IBM1399"));  // glibc has it, mail does not
  std::string out;
  decoder.take("plain", out);
  decoder.end(out);
  EXPECT_EQ(out, "plain");
  EXPECT_TRUE(decoder.begin("us-ascii"));
  decoder.take("\xC3\xA4", out);
  EXPECT_TRUE(decoder.guessed_utf8());
}

std::string header_text(std::string_view value) {
  CharsetDecoder charsets;
  std::string out;
  decode_header_text(value, charsets, out);
  return out;
}

TEST(EncodedWord, AsRfc2047Says) {
  EXPECT_EQ(header_text(" =?utf-8?q?a_b=21?= c\r\n"), "a b! c");
  EXPECT_EQ(header_text("=?utf-8?b?w6Q=?=  \r\n =?utf-8?q?=C3=A4?="), "\xC3\xA4\xC3\xA4");
  EXPECT_EQ(header_text("=?utf-8?q?a?= b =?utf-8?q?c?="), "a b c");
  EXPECT_EQ(header_text("=?iso-8859-1*en?q?=E4?="), "\xC3\xA4");  // RFC 2231 5
  EXPECT_EQ(header_text("=?utf-8?b?4g==?= =?utf-8?b?gqw=?="), "\xE2\x82\xAC");
  EXPECT_EQ(header_text("=?nonsense?q?a?="), "=?nonsense?q?a?=");
  EXPECT_EQ(header_text("=?utf-8?x?a?= =?utf-8?q?open"), "=?utf-8?x?a?= =?utf-8?q?open");
  EXPECT_EQ(header_text("folded\r\n\tline"), "folded\tline");
  EXPECT_EQ(header_text("\xFF"), "\xEF\xBF\xBD");
}

MediaField media(std::string_view value) {
  CharsetDecoder charsets;
  MediaFieldParser parser;
  MediaField out;
  parser.parse(value, charsets, out);
  return out;
}

std::string parameter(std::string_view value, std::string_view name) {
  const MediaField field = media(value);
  const std::string* found = field.find(name);
  return found == nullptr ? "(none)" : *found;
}

TEST(ContentType, ParametersAsRfc2231Says) {
  EXPECT_EQ(parameter("a/b; n*0=x; n*1=\"y z\"; n*2=w", "n"), "xy zw");
  EXPECT_EQ(parameter("a/b; n*1=b; n*0=a", "n"), "ab");
  EXPECT_EQ(parameter("a/b; n*0=a; n*2=c", "n"), "a");  // a section is missing
  EXPECT_EQ(parameter("a/b; n*=utf-8'de'%C3%A4%20x", "n"), "\xC3\xA4 x");
  EXPECT_EQ(parameter("a/b; n*0*=iso-8859-1''%E4; n*1=%41; n*2*=%42", "n"), "\xC3\xA4%41B");
  EXPECT_EQ(parameter("a/b; n=plain; n*=utf-8''better", "n"), "better");
  EXPECT_EQ(parameter("a/b; n=first; n=second", "n"), "first");
  EXPECT_EQ(parameter("a/b; n=\"=?utf-8?q?=C3=A4?=\"", "n"), "\xC3\xA4");
  EXPECT_EQ(parameter("a/b (c;d=e) ; (x) n (y) = (z) \"q\\\"\"", "n"), "q\"");
  EXPECT_EQ(parameter("text/plain charset=utf-8", "charset"), "utf-8");
  EXPECT_TRUE(media(" TEXT / Html ;charset=x").is("text", "html"));
  EXPECT_TRUE(media("multipart/mixed; " + std::string(100'000, 'x')).truncated);
}

TEST(DateTime, AsRfc5322Says) {
  EXPECT_EQ(parse_date("Fri, 21 Nov 1997 09:55:06 -0600"), 880127706);
  EXPECT_EQ(parse_date("21 Nov 97 09:55:06 GMT"), 880106106);
  EXPECT_EQ(parse_date("21 Nov 97 09:55 EST"), 880124100);
  EXPECT_EQ(parse_date(" Thu,\r\n 13\r\n Feb\r\n 1969\r\n 23:32 -0330 (x(y))"), -27723480);
  EXPECT_EQ(parse_date("Fri, May 09 2017 16:54:30 -0800"), 1494377670);
  EXPECT_FALSE(parse_date("31 Feb 2020 00:00:00 +0000"));
  EXPECT_FALSE(parse_date("1 Jan 2020 24:00:00 +0000"));
  EXPECT_FALSE(parse_date("yesterday"));
  EXPECT_FALSE(parse_date(""));
}

struct Walked {
  std::vector<std::string> parts;  // "depth type body"
  MimeLimits limits;
};

Walked walk(std::string_view message, const MimeBudget& budget = {}) {
  CharsetDecoder charsets;
  MimeWalker walker;
  walker.walk(message, budget, charsets);
  Walked walked;
  for (const MimePart& part : walker.parts()) {
    std::string line = std::to_string(part.depth) + " " + part.type.type + "/" + part.type.subtype;
    if (!part.multipart && !part.embedded) line += " [" + std::string(walker.body(part)) + "]";
    walked.parts.push_back(line);
  }
  walked.limits = walker.limits();
  return walked;
}

using Lines = std::vector<std::string>;

TEST(MimeWalker, PartsEndBeforeTheLineEndOfTheirBoundary) {
  const std::string message =
      "Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\none\r\n\r\n--b "
      "\t\r\n"
      "Content-Type: text/html\r\n--b\r\nContent-Type: "
      "text/x\r\n\r\nthree\r\n--b--\r\nepilogue\r\n";
  const Lines wanted{"0 multipart/mixed", "1 text/plain [one\r\n]", "1 text/html []",
                     "1 text/x [three]"};
  EXPECT_EQ(walk(message).parts, wanted);
}

TEST(MimeWalker, BoundariesOfAllLevelsCount) {
  const std::string message =
      "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"
      "Content-Type: multipart/mixed; boundary=ab\r\n\r\n--ab\r\n\r\ninner\r\n--abc\r\n--a\r\n"
      "\r\nouter\r\n--ab\r\nno part\r\n--a--\r\n";
  const Lines wanted{"0 multipart/mixed", "1 multipart/mixed", "2 text/plain [inner\r\n--abc]",
                     "1 text/plain [outer\r\n--ab\r\nno part]"};
  EXPECT_EQ(walk(message).parts, wanted);
}

TEST(MimeWalker, MessagesInMessages) {
  const std::string message =
      "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\nbody\r\n"
      "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: "
      "base64\r\n\r\nU3ViamVjdDo=\r\n"
      "--b--\r\n";
  const Lines wanted{"0 multipart/digest", "1 message/rfc822", "2 text/plain [body]",
                     "1 message/rfc822 [U3ViamVjdDo=]"};
  EXPECT_EQ(walk(message).parts, wanted);
}

TEST(MimeWalker, BudgetsEndItAndAreTold) {
  std::string nested;
  for (int i = 0; i < 20; ++i) {
    const std::string boundary = "b" + std::to_string(i);
    nested += "Content-Type: multipart/mixed; boundary=" + boundary + "\n\n--" + boundary + "\n";
  }
  MimeBudget budget;
  budget.depth_max = 5;
  EXPECT_EQ(walk(nested, budget).parts.size(), 6U);
  EXPECT_TRUE(walk(nested, budget).limits.depth);
  EXPECT_FALSE(walk(nested).limits.depth);
  std::string many = "Content-Type: multipart/mixed; boundary=b\n\n";
  for (int i = 0; i < 20; ++i) many += "--b\n\n";
  budget = {};
  budget.parts_max = 10;
  EXPECT_EQ(walk(many, budget).parts.size(), 10U);
  EXPECT_TRUE(walk(many, budget).limits.parts);
  EXPECT_FALSE(walk(many).limits.parts);
  budget = {};
  budget.message_header.bytes = 30;
  EXPECT_TRUE(walk("Subject: a\r\nSubject: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\nx", budget)
                  .limits.header_bytes);
}

TEST(MimeWalker, MboxLineIsNoField) {
  CharsetDecoder charsets;
  MimeWalker walker;
  walker.walk("From a@b Thu\nSubject: x\n\n", {}, charsets);
  ASSERT_EQ(walker.fields(walker.parts()[0]).size(), 1U);
  walker.walk("From : a@b\nSubject: x\n\n", {}, charsets);
  EXPECT_EQ(walker.fields(walker.parts()[0]).size(), 2U);
}

// The two readers of header sections agree on what the server has let through.
TEST(HeaderFields, SeesWhatTheHeaderIndexSees) {
  const std::string sections[] = {
      "Subject: a\r\nTo: b\r\n c\r\n\r\nbody",
      "Subject: a\r\nno field\r\nTo: b\r\n\r\n",
      " folded\r\nSubject: a\r\n\r\n",
      "Subject : a\r\nX:\r\n:\r\n",
      "Subject: no end",
      "Subject: no end\r",
      "Subject: a\r\n\r",
      "",
      "\r\nbody",
      std::string(998, 'n') + ": x\r\n" + std::string(999, 'n') + ": y\r\n\r\n",
  };
  for (const std::string& text : sections) {
    HeaderIndex index(100'000, 1000);
    index.feed(text);
    index.finish();
    std::vector<HeaderField> fields;
    const HeaderSection section = scan_header(text, {100'000, 1000}, fields);
    ASSERT_EQ(fields.size(), index.fields().size()) << text;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const Field& field = index.fields()[i];
      EXPECT_EQ(fields[i].name, text.substr(field.begin, field.name_bytes));
      EXPECT_EQ(fields[i].value, without_line_end(std::string_view(text).substr(
                                     field.value, field.end - field.value)));
    }
    EXPECT_EQ(section.bytes, index.header_bytes()) << text;
    EXPECT_EQ(section.body_begin, index.body_begin()) << text;
  }
}

}  // namespace
}  // namespace mxring::mail
