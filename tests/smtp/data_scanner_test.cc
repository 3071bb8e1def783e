#include "smtp/data_scanner.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/smtp/reference_unstuff.h"

namespace mxring::smtp {
namespace {

struct Limits {
  std::uint32_t flag = 998;
  std::uint32_t max = 65536;
};

struct Scanned {
  std::string content;
  std::size_t end = std::string_view::npos;
  std::size_t runs = 0;
  DataFault fault = DataFault::kNone;
  std::uint64_t content_bytes = 0;
  bool long_line = false;
  bool eight_bit = false;
};

// Feeds each piece from memory of its own size, so that a read past it is seen by a sanitizer.
Scanned scan(const std::vector<std::string_view>& pieces, Limits limits, bool rewritable = false) {
  DataScanner scanner(limits.flag, limits.max);
  Scanned result;
  std::size_t position = 0;
  for (const std::string_view piece : pieces) {
    const auto memory = std::make_unique<char[]>(piece.size());
    std::copy(piece.begin(), piece.end(), memory.get());
    std::string_view rest(memory.get(), piece.size());
    while (!rest.empty() && result.end == std::string_view::npos) {
      const DataScanner::Output output = scanner.next(rest, rewritable);
      EXPECT_LE(output.consumed, rest.size());
      position += output.consumed;
      if (output.kind == DataScanner::Output::Kind::kEndOfData) result.end = position;
      if (output.kind == DataScanner::Output::Kind::kNeedInput) {
        EXPECT_EQ(output.consumed, rest.size());
      }
      if (output.kind == DataScanner::Output::Kind::kRun) {
        EXPECT_FALSE(output.run.empty());
        EXPECT_GE(output.run.data(), rest.data());
        if (rewritable) {
          EXPECT_LE(output.run.data() + output.run.size(), rest.data() + output.consumed);
        } else {
          EXPECT_EQ(output.run.data() + output.run.size(), rest.data() + output.consumed);
        }
        result.content += output.run;
        ++result.runs;
      }
      rest.remove_prefix(output.consumed);
    }
  }
  result.fault = scanner.fault();
  result.content_bytes = scanner.content_bytes();
  result.long_line = scanner.has_long_line();
  result.eight_bit = scanner.has_8bit();
  return result;
}

void expect_same(const Scanned& scanned, const ReferenceUnstuffed& wanted,
                 std::string_view stream) {
  ASSERT_EQ(scanned.content, wanted.content) << testing::PrintToString(stream);
  ASSERT_EQ(scanned.end, wanted.end) << testing::PrintToString(stream);
  ASSERT_EQ(scanned.fault, wanted.fault) << testing::PrintToString(stream);
  ASSERT_EQ(scanned.content_bytes, wanted.content.size());
  ASSERT_EQ(scanned.long_line, wanted.long_line) << testing::PrintToString(stream);
  ASSERT_EQ(scanned.eight_bit, wanted.eight_bit) << testing::PrintToString(stream);
}

std::string random_stream(std::mt19937& random, std::size_t size, unsigned density) {
  // Of 100 bytes, `density` are special ones; whole sequences make real ends and stuffed dots.
  constexpr std::string_view kSpecial("\r\n.\0\x80", 5);
  const std::vector<std::string_view> sequences{"\r\n", "\r\n.", "\r\n..", "\r\n.\r\n", "\r\n.\r"};
  std::string stream;
  while (stream.size() < size) {
    const auto dice = random() % 100;
    if (dice < density) {
      stream += kSpecial[random() % kSpecial.size()];
    } else if (dice < density + density / 4 + 1) {
      stream += sequences[random() % sequences.size()];
    } else {
      stream += static_cast<char>('a' + random() % 26);
    }
  }
  return stream;
}

std::vector<std::string_view> random_pieces(std::mt19937& random, std::string_view stream,
                                            std::size_t piece_max) {
  std::vector<std::string_view> pieces;
  while (!stream.empty()) {
    const std::size_t size = 1 + random() % std::min(stream.size(), piece_max);
    pieces.push_back(stream.substr(0, size));
    stream.remove_prefix(size);
  }
  return pieces;
}

// One instruction set after the other, as far as this machine has them.
class EveryTarget : public testing::TestWithParam<std::int64_t> {
 public:
  static std::vector<std::int64_t> targets() {
    std::vector<std::int64_t> found;
    for (std::int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
      found.push_back(left & -left);
    }
    return found;
  }
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam());
    hwy::GetChosenTarget().DeInit();
  }
  void TearDown() override {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().DeInit();
  }
};

INSTANTIATE_TEST_SUITE_P(DataScanner, EveryTarget, testing::ValuesIn(EveryTarget::targets()),
                         [](const auto& target) { return hwy::TargetName(target.param); });

TEST_P(EveryTarget, AgreesWithTheReferenceAtEverySplit) {
  std::mt19937 random(1);
  const std::vector<Limits> limits{{998, 65536}, {70, 130}, {64, 64}, {3, 5}};
  for (int round = 0; round < 1000; ++round) {
    const std::string stream =
        random_stream(random, 1 + random() % 260, static_cast<unsigned>(2 + random() % 60));
    const Limits limit = limits[round % limits.size()];
    const ReferenceUnstuffed wanted = reference_unstuff(stream, limit.flag, limit.max);
    const Scanned whole = scan({stream}, limit);
    ASSERT_NO_FATAL_FAILURE(expect_same(whole, wanted, stream));
    ASSERT_EQ(whole.runs, wanted.runs) << testing::PrintToString(stream);
    for (std::size_t cut = 1; cut < stream.size(); ++cut) {
      const std::string_view view(stream);
      ASSERT_NO_FATAL_FAILURE(
          expect_same(scan({view.substr(0, cut), view.substr(cut)}, limit), wanted, stream))
          << "cut at " << cut;
    }
  }
}

TEST_P(EveryTarget, AgreesWithTheReferenceInRandomPieces) {
  std::mt19937 random(2);
  for (int round = 0; round < 3000; ++round) {
    const std::string stream =
        random_stream(random, 1 + random() % 2000, static_cast<unsigned>(random() % 30));
    const Limits limit = round % 2 == 0
                             ? Limits{}
                             : Limits{.flag = static_cast<std::uint32_t>(64 + random() % 200),
                                      .max = static_cast<std::uint32_t>(64 + random() % 400)};
    const ReferenceUnstuffed wanted = reference_unstuff(stream, limit.flag, limit.max);
    const auto pieces = random_pieces(random, stream, 1 + random() % 300);
    ASSERT_NO_FATAL_FAILURE(expect_same(scan(pieces, limit), wanted, stream));
    ASSERT_NO_FATAL_FAILURE(expect_same(scan(pieces, limit, true), wanted, stream));
  }
}

// Lines of which most begin with a dot, moved together or not, at every cut.
TEST_P(EveryTarget, LinesOfDotsMayBeMovedTogether) {
  std::mt19937 random(5);
  const std::vector<std::string_view> lines{"..\r\n", "...\r\n",    "..a\r\n",   "a\r\n",
                                            "\r\n",   "..\x80\r\n", "..\rb\r\n", ".\ra",
                                            "..\n",   "..a\0b\r\n"};
  std::size_t dense = 0;
  for (int round = 0; round < 600; ++round) {
    std::string stream;
    const std::size_t kinds = round % 3 == 0 ? lines.size() : 6;
    const std::size_t size = 40 + random() % 400;
    while (stream.size() < size) {
      stream += lines[random() % kinds];
      if (random() % 40 == 0) stream += std::string(random() % 200, 'x');
    }
    if (random() % 2 == 0) stream += "\r\n.\r\nQUIT\r\n";
    const Limits limit = round % 2 == 0 ? Limits{} : Limits{.flag = 64, .max = 100};
    const ReferenceUnstuffed wanted = reference_unstuff(stream, limit.flag, limit.max);
    const Scanned whole = scan({stream}, limit, true);
    ASSERT_NO_FATAL_FAILURE(expect_same(whole, wanted, stream));
    if (whole.runs < wanted.runs) ++dense;
    for (std::size_t cut = 1; cut < stream.size(); ++cut) {
      const std::string_view view(stream);
      ASSERT_NO_FATAL_FAILURE(
          expect_same(scan({view.substr(0, cut), view.substr(cut)}, limit, true), wanted, stream))
          << "cut at " << cut;
    }
  }
  EXPECT_GT(dense, 200U);  // or nothing of this was tried
}

// Every stream of up to seven bytes over the five that matter.
TEST(DataScanner, AgreesWithTheReferenceOnAllShortStreams) {
  constexpr std::string_view kBytes("\r\n.\0a", 5);
  for (std::size_t size = 1; size <= 7; ++size) {
    std::size_t streams = 1;
    for (std::size_t i = 0; i < size; ++i) streams *= kBytes.size();
    for (std::size_t number = 0; number < streams; ++number) {
      std::string stream;
      for (std::size_t i = 0, left = number; i < size; ++i, left /= kBytes.size()) {
        stream += kBytes[left % kBytes.size()];
      }
      std::vector<std::string_view> bytes;
      for (const char& c : stream) bytes.emplace_back(&c, 1);
      for (const Limits limit : {Limits{}, Limits{.flag = 1, .max = 2}}) {
        const ReferenceUnstuffed wanted = reference_unstuff(stream, limit.flag, limit.max);
        ASSERT_NO_FATAL_FAILURE(expect_same(scan({stream}, limit), wanted, stream));
        ASSERT_NO_FATAL_FAILURE(expect_same(scan(bytes, limit), wanted, stream));
      }
    }
  }
}

TEST(DataScanner, AMessageWithoutStuffedDotsIsOneRun) {
  std::string message;
  while (message.size() < 20'000) message += "A line of ordinary mail, with dots . inside.\r\n";
  const Scanned scanned = scan({message + ".\r\n"}, {});
  EXPECT_EQ(scanned.runs, 1U);
  EXPECT_EQ(scanned.content, message);
  EXPECT_EQ(scanned.end, message.size() + 3);
}

TEST(DataScanner, EmptyMessage) {
  const Scanned scanned = scan({".\r\n"}, {});
  EXPECT_EQ(scanned.end, 3U);
  EXPECT_EQ(scanned.runs, 0U);
}

TEST(DataScanner, ConsumesNothingBehindTheEnd) {
  const Scanned scanned = scan({"x\r\n.\r\nQUIT\r\n"}, {});
  EXPECT_EQ(scanned.end, 6U);
  EXPECT_EQ(scanned.content, "x\r\n");
}

TEST(DataScanner, LineLengthsAtTheirLimits) {
  for (const std::size_t length : {997U, 998U, 999U, 65535U, 65536U, 65537U}) {
    for (const std::string_view before : {"", "..", "x\r\n"}) {
      const std::string stream = std::string(before) + std::string(length, 'a') + "\r\n.\r\n";
      const Scanned scanned = scan({stream}, {});
      const std::size_t line = length + (before == ".." ? 1 : 0);
      EXPECT_EQ(scanned.long_line, line > 998) << line;
      EXPECT_EQ(scanned.fault, line > 65536 ? DataFault::kLineTooLong : DataFault::kNone) << line;
    }
  }
}

TEST(DataScanner, ResetForgetsTheMessage) {
  DataScanner scanner(998, 65536);
  scanner.next(std::string_view("\n\x80\0", 3));
  EXPECT_EQ(scanner.fault(), DataFault::kBareLf);
  scanner.reset();
  EXPECT_EQ(scanner.fault(), DataFault::kNone);
  EXPECT_EQ(scanner.content_bytes(), 0U);
  EXPECT_FALSE(scanner.has_8bit());
  EXPECT_EQ(scanner.next(".\r\n").kind, DataScanner::Output::Kind::kEndOfData);
}

}  // namespace
}  // namespace mxring::smtp
