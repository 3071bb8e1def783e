// Hashing many messages at once, on every path the processor has, against wolfCrypt.
#include "crypto/sha256_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/crypto/sha256_reference.h"

namespace mxring::crypto {
namespace {

using test::reference_sha256;

std::string random_bytes(std::mt19937& random, std::size_t size) {
  std::string bytes(size, '\0');
  for (char& octet : bytes) octet = static_cast<char>(random());
  return bytes;
}

std::size_t below(std::mt19937& random, std::size_t end) {
  return random() % end;
}

// One message on its way into a batch.
struct Sending {
  explicit Sending(std::string bytes) : message(std::move(bytes)) {}

  std::string message;
  std::size_t sent = 0;
  bool finished = false;
  Sha256Stream stream;
};

// Nothing: all paths together, chosen by the batch.
class Sha256BatchTest : public testing::TestWithParam<std::optional<Sha256Path>> {
 protected:
  void SetUp() override {
    if (!GetParam()) return;
    const auto paths = sha256_paths();
    if (std::ranges::find(paths, *GetParam()) == paths.end()) {
      GTEST_SKIP() << "this processor has no " << word(*GetParam());
    }
    only_ = {*GetParam()};
  }

  std::unique_ptr<Sha256Batch> make_batch() const { return std::make_unique<Sha256Batch>(only_); }

  Sha256Digest hash_one(std::string_view message) const {
    const auto batch = make_batch();
    Sha256Stream stream;
    batch->append(stream, message);
    batch->finish(stream);
    batch->flush();
    EXPECT_TRUE(stream.finished());
    return stream.digest();
  }

  std::vector<Sha256Path> only_;
};

TEST_P(Sha256BatchTest, PublishedExamples) {
  EXPECT_EQ(to_hex(hash_one("")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(hash_one("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(hash_one("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(hash_one("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
                            "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu")),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(to_hex(hash_one(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_P(Sha256BatchTest, EveryLengthOfOneAndTwoBlocks) {
  std::mt19937 random(1);
  const std::string bytes = random_bytes(random, 300);
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    const std::string_view message = std::string_view(bytes).substr(0, size);
    ASSERT_EQ(hash_one(message), reference_sha256(message)) << size;
  }
}

TEST_P(Sha256BatchTest, AnySplitInTwoGivesTheSameDigest) {
  std::mt19937 random(2);
  const std::string message = random_bytes(random, 5 * 64 + 9);
  const Sha256Digest whole = reference_sha256(message);
  const auto batch = make_batch();
  for (const bool flush_between : {false, true}) {
    for (std::size_t cut = 0; cut <= message.size(); ++cut) {
      Sha256Stream stream;
      batch->append(stream, std::string_view(message).substr(0, cut));
      if (flush_between) batch->flush();
      batch->append(stream, std::string_view(message).substr(cut));
      batch->finish(stream);
      batch->flush();
      ASSERT_EQ(stream.digest(), whole) << cut;
    }
  }
}

// The n-th message has a length of its own, so lanes end and are refilled one by one.
TEST_P(Sha256BatchTest, OneToSixtyFourStreamsInOneFlush) {
  std::mt19937 random(3);
  const auto batch = make_batch();
  for (std::size_t streams = 1; streams <= 64; ++streams) {
    std::deque<Sending> sendings;
    for (std::size_t i = 0; i < streams; ++i) {
      const std::size_t limit = below(random, 8) == 0 ? 20'000 : 1'500;
      Sending& sending = sendings.emplace_back(random_bytes(random, below(random, limit)));
      batch->append(sending.stream, sending.message);
      batch->finish(sending.stream);
    }
    EXPECT_FALSE(batch->empty());
    batch->flush();
    EXPECT_TRUE(batch->empty());
    for (const Sending& sending : sendings) {
      ASSERT_TRUE(sending.stream.finished());
      ASSERT_EQ(sending.stream.digest(), reference_sha256(sending.message)) << streams;
    }
  }
}

// Messages of all sorts, in pieces of all sizes, over several flushes, some given up on the way;
// each piece is a copy that dies at the flush, as the contract allows.
TEST_P(Sha256BatchTest, RandomMixesAgreeWithTheReference) {
  std::mt19937 random(4);
  for (int mix = 0; mix < 60; ++mix) {
    const auto batch = make_batch();
    const std::size_t streams = 1 + below(random, 40);
    const std::size_t piece_end = std::size_t{2} << below(random, 12);
    const std::size_t message_end = piece_end * (1 + below(random, 40));
    int resets_left = 5;
    std::deque<Sending> open;
    std::deque<std::string> pieces;
    for (std::size_t i = 0; i < streams; ++i) {
      open.emplace_back(random_bytes(random, below(random, message_end)));
    }
    std::size_t finished = 0;
    while (finished < streams) {
      Sending& sending = open[below(random, streams)];
      const std::size_t dice = below(random, 1000);
      if (dice < 5 && resets_left > 0) {
        --resets_left;
        sending.stream.reset();
        finished -= sending.finished ? 1 : 0;
        sending.finished = false;
        sending.sent = 0;
      } else if (dice < 15) {
        batch->flush();
        pieces.clear();
      } else if (sending.sent < sending.message.size()) {
        const std::string& piece =
            pieces.emplace_back(sending.message, sending.sent, below(random, piece_end));
        batch->append(sending.stream, piece);
        sending.sent += piece.size();
      } else if (!sending.finished) {
        batch->finish(sending.stream);
        sending.finished = true;
        ++finished;
      }
    }
    batch->flush();
    for (const Sending& sending : open) {
      ASSERT_TRUE(sending.stream.finished());
      ASSERT_EQ(sending.stream.digest(), reference_sha256(sending.message)) << mix;
    }
  }
}

TEST_P(Sha256BatchTest, AFewLongStreamsAmongManyShort) {
  std::mt19937 random(5);
  const auto batch = make_batch();
  std::deque<Sending> sendings;
  for (std::size_t i = 0; i < 50; ++i) {
    sendings.emplace_back(random_bytes(random, i % 17 == 3 ? 300'000 + i * 64 : 10 * i));
  }
  for (Sending& sending : sendings) {
    batch->append(sending.stream, sending.message);
    batch->finish(sending.stream);
  }
  batch->flush();
  for (const Sending& sending : sendings) {
    EXPECT_EQ(sending.stream.digest(), reference_sha256(sending.message));
  }
}

// Messages that end in one flush, are empty, or only finish.
TEST_P(Sha256BatchTest, StreamsThatOnlyFinish) {
  const auto batch = make_batch();
  std::deque<Sha256Stream> streams(20);
  for (Sha256Stream& stream : streams) batch->finish(stream);
  batch->flush();
  for (const Sha256Stream& stream : streams) {
    EXPECT_TRUE(stream.finished());
    EXPECT_EQ(stream.digest(), reference_sha256(""));
  }

  const std::string message(128, 'x');
  Sha256Stream later;
  batch->append(later, message);
  batch->flush();
  EXPECT_FALSE(later.finished());
  batch->finish(later);
  EXPECT_FALSE(later.finished());
  batch->flush();
  EXPECT_EQ(later.digest(), reference_sha256(message));
}

TEST_P(Sha256BatchTest, ForgottenStreamsLeaveTheOthersAlone) {
  std::mt19937 random(6);
  const auto batch = make_batch();
  std::deque<Sending> kept;
  for (int i = 0; i < 20; ++i) {
    Sending& sending = kept.emplace_back(random_bytes(random, 500 + 64 * i));
    auto forgotten = std::make_unique<Sha256Stream>();
    auto destroyed = std::make_unique<Sha256Stream>();
    const auto piece = std::make_unique<std::string>(random_bytes(random, 700));
    batch->append(*forgotten, *piece);
    batch->append(sending.stream, sending.message);
    batch->append(*destroyed, *piece);
    if (i % 2 == 0) batch->finish(*forgotten);
    batch->finish(sending.stream);
    batch->forget(*forgotten);
    EXPECT_FALSE(forgotten->finished());
  }
  batch->flush();
  for (const Sending& sending : kept) {
    EXPECT_EQ(sending.stream.digest(), reference_sha256(sending.message));
  }
}

TEST_P(Sha256BatchTest, ABatchOfForgottenStreamsIsEmpty) {
  const auto batch = make_batch();
  Sha256Stream stream;
  batch->append(stream, std::string(1000, 'a'));  // gone before the flush, which may not look
  batch->forget(stream);
  EXPECT_TRUE(batch->empty());
  batch->flush();
  EXPECT_FALSE(stream.finished());

  stream.reset();
  batch->append(stream, "abc");
  batch->finish(stream);
  batch->flush();
  EXPECT_EQ(stream.digest(), reference_sha256("abc"));
}

TEST_P(Sha256BatchTest, AStreamIsUsedAgainAfterReset) {
  const auto batch = make_batch();
  Sha256Stream stream;
  for (int i = 0; i < 100; ++i) {
    const std::string message(static_cast<std::size_t>(i) * 7, 'm');
    stream.reset();
    EXPECT_FALSE(stream.finished());
    batch->append(stream, message);
    batch->finish(stream);
    batch->flush();
    ASSERT_EQ(stream.digest(), reference_sha256(message));
  }
}

TEST_P(Sha256BatchTest, StreamsMayOutliveTheirBatch) {
  Sha256Stream stream;
  const std::string message(1000, 'z');
  {
    const auto batch = make_batch();
    batch->append(stream, message);
    batch->finish(stream);
  }
  EXPECT_FALSE(stream.finished());
  const auto other = make_batch();
  stream.reset();
  other->append(stream, message);
  other->finish(stream);
  other->flush();
  EXPECT_EQ(stream.digest(), reference_sha256(message));
}

// More short pieces and more streams than a batch has room for: it flushes by itself.
TEST_P(Sha256BatchTest, MoreThanThereIsRoomFor) {
  std::mt19937 random(7);
  const auto batch = make_batch();
  const std::string message = random_bytes(random, 500'000);
  Sha256Stream by_line;
  for (std::size_t at = 0; at < message.size(); at += 77) {
    batch->append(by_line, std::string_view(message).substr(at, 77));
  }
  batch->finish(by_line);

  std::deque<Sending> many;
  for (int i = 0; i < 10'000; ++i) {
    Sending& sending = many.emplace_back(random_bytes(random, below(random, 400)));
    batch->append(sending.stream, sending.message);
    batch->finish(sending.stream);
  }

  // Two streams in turns, whose stretches cannot be joined.
  Sha256Stream even;
  Sha256Stream odd;
  for (std::size_t at = 0; at < message.size(); at += 100) {
    const std::string_view piece = std::string_view(message).substr(at, 100);
    batch->append(even, piece);
    batch->append(odd, piece);
  }
  std::deque<Sha256Stream> long_runs(2);
  for (int i = 0; i < 5000; ++i) {
    for (Sha256Stream& stream : long_runs) {
      batch->append(stream, std::string_view(message).substr(i % 100, 256));
    }
  }
  for (Sha256Stream* stream : {&even, &odd, &long_runs[0], &long_runs[1]}) batch->finish(*stream);
  batch->flush();

  const Sha256Digest whole = reference_sha256(message);
  EXPECT_EQ(by_line.digest(), whole);
  EXPECT_EQ(even.digest(), whole);
  EXPECT_EQ(odd.digest(), whole);
  for (const Sending& sending : many) {
    ASSERT_EQ(sending.stream.digest(), reference_sha256(sending.message));
  }
  std::string joined;
  for (int i = 0; i < 5000; ++i) joined += message.substr(i % 100, 256);
  for (const Sha256Stream& stream : long_runs) EXPECT_EQ(stream.digest(), reference_sha256(joined));
}

INSTANTIATE_TEST_SUITE_P(Paths, Sha256BatchTest,
                         testing::Values(std::nullopt, Sha256Path::kPortable, Sha256Path::kLanes8,
                                         Sha256Path::kShaNi, Sha256Path::kShaNiPair,
                                         Sha256Path::kLanes16),
                         [](const testing::TestParamInfo<std::optional<Sha256Path>>& tested) {
                           if (!tested.param) return std::string("All");
                           std::string name;
                           for (const char c : word(*tested.param)) {
                             if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
                           }
                           return name;
                         });

}  // namespace
}  // namespace mxring::crypto
