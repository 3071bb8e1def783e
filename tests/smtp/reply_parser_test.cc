// Replies whole, cut at every place, and ones that are none.
#include "smtp/reply_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mxring::smtp {
namespace {

using Result = ReplyParser::Result;

// Everything the parser says about `pieces`, as text.
std::string events(const std::vector<std::string_view>& pieces) {
  ReplyParser parser;
  std::string out;
  for (std::string_view piece : pieces) {
    while (!piece.empty()) {
      const Result result = parser.next(piece);
      if (result == Result::kNeedMore) break;
      if (result == Result::kMalformed) return out + "malformed";
      out += std::to_string(parser.code()) + (result == Result::kLine ? "-" : " ") +
             std::string(parser.text()) + '|';
    }
  }
  return out;
}

struct Sample {
  std::string bytes;
  std::string events;
};

const std::vector<Sample> kSamples{
    {"250 Ok\r\n", "250 Ok|"},
    {"250\r\n", "250 |"},
    {"250 \r\n", "250 |"},
    {"354 Go\n", "354 Go|"},  // LF alone
    {"250-mx.example\r\n250-SIZE 1000\r\n250 PIPELINING\r\n",
     "250-mx.example|250-SIZE 1000|250 PIPELINING|"},
    {"250 a\r\n250 b\r\n354 c\r\n", "250 a|250 b|354 c|"},  // answers to a pipelined group
    {"421-a\r\n421-\r\n421\r\n", "421-a|421-|421 |"},
    {"250-a\r\n251 b\r\n", "250-a|malformed"},  // one reply, one code
    {"\r\n", "malformed"},
    {"25\r\n", "malformed"},
    {"2500 x\r\n", "malformed"},
    {"250_x\r\n", "malformed"},
    {"199 x\r\n", "malformed"},
    {"600 x\r\n", "malformed"},
    {"Ok 250\r\n", "malformed"},
    {"250 " + std::string(500, 'x') + "\r\n220 y\r\n",
     "250 " + std::string(ReplyParser::kLineKept - 4, 'x') + "|220 y|"},
    {"250 " + std::string(ReplyParser::kLineKept - 4, 'x') + "\r\n",  // CR just outside
     "250 " + std::string(ReplyParser::kLineKept - 4, 'x') + "|"},
    {"250 " + std::string(ReplyParser::kLineMax, 'x') + "\r\n", "malformed"},
    {"250 unfinished", ""},
};

TEST(ReplyParserTest, ReadsWholeReplies) {
  for (const Sample& sample : kSamples) EXPECT_EQ(events({sample.bytes}), sample.events);
}

TEST(ReplyParserTest, AnySplitGivesTheSame) {
  for (const Sample& sample : kSamples) {
    const std::string_view bytes = sample.bytes;
    std::vector<std::string_view> singles;
    for (std::size_t at = 0; at < bytes.size(); ++at) singles.push_back(bytes.substr(at, 1));
    EXPECT_EQ(events(singles), sample.events);
    for (std::size_t at = 0; at <= bytes.size(); ++at) {
      EXPECT_EQ(events({bytes.substr(0, at), bytes.substr(at)}), sample.events) << at;
      // And a second cut a little further on.
      const std::string_view rest = bytes.substr(at);
      for (std::size_t gap : {1, 2, 3}) {
        if (gap > rest.size()) break;
        EXPECT_EQ(events({bytes.substr(0, at), rest.substr(0, gap), rest.substr(gap)}),
                  sample.events);
      }
    }
  }
}

TEST(ReplyParserTest, AReplyHasAnEnd) {
  std::string endless;
  for (std::uint32_t i = 0; i <= ReplyParser::kLinesMax; ++i) endless += "250-x\r\n";
  const std::string seen = events({endless});
  EXPECT_TRUE(seen.ends_with("malformed"));
}

}  // namespace
}  // namespace mxring::smtp
