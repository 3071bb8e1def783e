// Every file operation of a short run fails once, in every way: no commit is ever called good that
// is not readable afterwards, nothing is synced again after a failed sync, and the next run carries
// on from what was durable.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>
#include <memory>

#include "base/clock.h"
#include "seglog/verify.h"
#include "tests/seglog/log_fixture.h"

namespace mxring::seglog::test {
namespace {

using uring::FaultPlan;
using uring::FaultPoint;
using uring::FaultRule;

struct Outcome {
  bool opened = false;
  bool failed = false;   // a commit answered kFailed
  bool refused = false;  // a commit answered kNoSpace or kNoResources
  Offset acknowledged = 0;
  std::size_t last_batch = 0;
};

constexpr std::size_t kBatches[] = {1, 6, 20, 3, 90, 2};
constexpr Offset kRecords = 122;  // their sum

class FaultTest : public LogTest {
 protected:
  WriterOptions options(FaultPlan* plan) const {
    WriterOptions made;
    made.directory = directory();
    made.segment_bytes = 24 << 10;
    made.record_bytes_max = 8 << 10;
    made.faults = plan;
    return made;
  }

  // Six batches, the fifth over several segments. A batch refused for lack of space or of
  // descriptors is tried again once, as a server would.
  Outcome run(FaultPlan& plan) {
    fs::remove_all(directory());
    Outcome outcome;
    auto writer = Writer::open(options(&plan));
    if (!writer) {
      EXPECT_FALSE(writer.error().message.empty());
      return outcome;
    }
    outcome.opened = true;
    for (const std::size_t count : kBatches) {
      if (outcome.failed) break;
      outcome.last_batch = count;
      const Batch batch(writer->next_offset(), count);
      for (int attempt = 0; attempt < 2; ++attempt) {
        const auto first = writer->commit(batch.records());
        if (first) {
          EXPECT_EQ(*first, outcome.acknowledged);
          outcome.acknowledged += count;
          break;
        }
        EXPECT_EQ(writer->next_offset(), outcome.acknowledged);
        if (first.error() == CommitError::kFailed) {
          outcome.failed = true;
          check_poisoned(*writer, plan);
          break;
        }
        outcome.refused = true;
        EXPECT_FALSE(writer->poisoned());
      }
      if (!outcome.failed) check_readers(outcome.acknowledged);
    }
    return outcome;
  }

  void check_readers(Offset acknowledged) const {
    const auto reader = LogReader::open(directory());
    ASSERT_TRUE(reader);
    EXPECT_EQ(reader->end(), acknowledged) << "readers see what was acknowledged";
  }

  void check_poisoned(Writer& writer, const FaultPlan& plan) const {
    EXPECT_TRUE(writer.poisoned());
    EXPECT_FALSE(writer.failure().empty());
    const std::uint64_t writes = plan.count(FaultPoint::kFileWrite);
    const std::uint64_t syncs = plan.count(FaultPoint::kFileSync);
    const Batch another(writer.next_offset(), 2);
    const auto again = writer.commit(another.records());
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error(), CommitError::kFailed);
    check_readers(writer.next_offset());
    writer.close();
    EXPECT_EQ(plan.count(FaultPoint::kFileWrite), writes) << "nothing more is written";
    EXPECT_EQ(plan.count(FaultPoint::kFileSync), syncs) << "a failed sync is never asked again";
  }

  // After the run: a reader on the dead log, recovery, and going on.
  void check_after(const Outcome& outcome) {
    Offset end = 0;
    if (const auto reader = LogReader::open(directory())) {
      const Reading reading = read_all(directory());
      EXPECT_TRUE(reading.errors.empty()) << reading.errors[0].message;
      end = reading.end;
      expect_messages(reading, 0, end);
      EXPECT_GE(end, outcome.acknowledged);
      // The first segments of a batch that rolled may be durable; more cannot be.
      EXPECT_LE(end, outcome.acknowledged + (outcome.failed ? outcome.last_batch : 0));
      if (outcome.failed && outcome.last_batch < 20) {
        EXPECT_EQ(end, outcome.acknowledged);
      }
    }
    auto writer = Writer::open(options(nullptr));
    ASSERT_TRUE(writer) << writer.error().message;
    EXPECT_EQ(writer->recovery().was_poisoned, outcome.failed);
    EXPECT_EQ(writer->recovery().damaged_records, 0U);
    const Offset next = writer->next_offset();
    EXPECT_EQ(next, end);
    append(*writer, 5, 1);
    writer->close();
    const Reading reading = read_all(directory());
    EXPECT_TRUE(reading.errors.empty()) << reading.errors[0].message;
    expect_messages(reading, 0, next);
    expect_messages(reading, next, next + 5, 1);
    const auto report = verify(directory());
    EXPECT_TRUE(report && report->ok());
  }

  // Runs once for every operation of this kind, with `rule` for the n-th.
  template <class Check>
  void at_every_index(FaultRule rule, Check&& check) {
    FaultPlan count;
    const Outcome whole = run(count);
    ASSERT_EQ(whole.acknowledged, kRecords);
    // The thread that prepares segments opens and allocates at times of its own.
    const std::uint64_t operations = count.count(rule.point);
    ASSERT_GT(operations, 0U);
    for (std::uint64_t nth = 0; nth < operations; ++nth) {
      SCOPED_TRACE(std::string(uring::name(rule.point)) + " " + std::to_string(nth) + " errno " +
                   std::to_string(rule.error));
      FaultPlan plan;
      rule.nth = nth;
      plan.add(rule);
      const Outcome outcome = run(plan);
      check(outcome);
      check_after(outcome);
      if (HasFailure()) return;
    }
  }
};

TEST_F(FaultTest, EveryWriteFails) {
  for (const int error : {EIO, ENOSPC, ECANCELED}) {
    at_every_index({.point = FaultPoint::kFileWrite, .error = error}, [](const Outcome& outcome) {
      // Also ENOSPC: a prepared segment has room, so this is no ordinary full disk. Only the seal
      // of a clean end may fail unnoticed: everything is durable without it.
      EXPECT_TRUE(!outcome.opened || outcome.failed || outcome.acknowledged == kRecords);
    });
  }
}

TEST_F(FaultTest, EverySyncFails) {
  for (const int error : {EIO, ECANCELED}) {
    at_every_index({.point = FaultPoint::kFileSync, .error = error}, [](const Outcome& outcome) {
      EXPECT_TRUE(!outcome.opened || outcome.failed || outcome.acknowledged == kRecords);
    });
  }
}

TEST_F(FaultTest, EveryAllocationIsRefusedForLackOfSpace) {
  at_every_index({.point = FaultPoint::kFileAllocate, .error = ENOSPC}, [](const Outcome& outcome) {
    if (!outcome.opened) return;
    EXPECT_FALSE(outcome.failed);
    EXPECT_EQ(outcome.acknowledged, kRecords) << "the second attempt succeeds";
  });
}

TEST_F(FaultTest, EveryOpenFailsForLackOfDescriptorsOrMemory) {
  for (const int error : {EMFILE, ENFILE, ENOMEM, EAGAIN}) {
    at_every_index({.point = FaultPoint::kFileOpen, .error = error}, [](const Outcome& outcome) {
      if (!outcome.opened) return;
      EXPECT_FALSE(outcome.failed) << "it passes: nothing is wrong with the disk";
      EXPECT_EQ(outcome.acknowledged, kRecords) << "the second attempt succeeds";
    });
  }
}

TEST_F(FaultTest, EveryOpenFailsForAnotherReason) {
  at_every_index({.point = FaultPoint::kFileOpen, .error = EIO},
                 [](const Outcome& outcome) { EXPECT_TRUE(!outcome.failed || outcome.opened); });
}

// Not injected: the process really has no descriptor left.
TEST_F(FaultTest, WithoutDescriptorsItRefusesAndThenGoesOn) {
  auto writer = Writer::open(options(nullptr));
  ASSERT_TRUE(writer);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  int refused = 0;
  for (int i = 0; i < 60 && refused < 3; ++i) {  // one segment is prepared already
    const Batch batch(writer->next_offset(), 10);
    const auto first = writer->commit(batch.records());
    if (first) continue;
    ++refused;
    EXPECT_EQ(first.error(), CommitError::kNoResources);
    EXPECT_FALSE(writer->poisoned()) << writer->failure();
    EXPECT_NE(writer->refusal().find("Too many open files"), std::string::npos)
        << writer->refusal();
    writer->maintain(base::read_clocks());
  }
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(refused, 3);
  for (int i = 0; i < 20; ++i) append(*writer, 10);
  const Offset end = writer->next_offset();
  writer->close();
  const Reading reading = read_all(directory());
  EXPECT_TRUE(reading.errors.empty());
  expect_messages(reading, 0, end);
}

TEST_F(FaultTest, ShortWritesAreContinued) {
  for (const std::uint64_t bytes : {1000ULL, 4095ULL}) {
    FaultPlan plan;
    plan.add({.point = FaultPoint::kFileWrite, .every_from_nth = true, .shorten_to = bytes});
    const Outcome outcome = run(plan);
    EXPECT_EQ(outcome.acknowledged, kRecords);
    check_after(outcome);
  }
  for (std::uint64_t nth = 0; nth < 8; ++nth) {
    FaultPlan plan;
    plan.add({.point = FaultPoint::kFileWrite, .nth = nth, .shorten_to = 1});
    const Outcome outcome = run(plan);
    EXPECT_EQ(outcome.acknowledged, kRecords);
    check_after(outcome);
  }
}

// A quota is a lack of room, told by its name, and no reason to stop.
TEST_F(FaultTest, AQuotaRefusesUntilThereIsRoomAgain) {
  for (const auto& [error, why] :
       {std::pair{EDQUOT, NoRoom::kQuota}, std::pair{EFBIG, NoRoom::kFileSize},
        std::pair{ENOSPC, NoRoom::kDisk}}) {
    fs::remove_all(directory());
    FaultPlan plan;
    auto writer = Writer::open(options(&plan));
    ASSERT_TRUE(writer);
    plan.add({.point = FaultPoint::kFileAllocate, .every_from_nth = true, .error = error});
    int refused = 0;
    for (int i = 0; i < 60 && refused == 0; ++i) {
      const Batch batch(writer->next_offset(), 10);
      const auto first = writer->commit(batch.records());
      if (first) continue;
      ++refused;
      EXPECT_EQ(first.error(), CommitError::kNoSpace);
      EXPECT_EQ(writer->no_room(), why);
      EXPECT_FALSE(writer->poisoned());
    }
    EXPECT_EQ(refused, 1);
    const Offset end = writer->next_offset();
    writer->close();
    expect_messages(read_all(directory()), 0, end);
  }
}

TEST_F(FaultTest, AShortWriteThenAnErrorIsAnError) {
  FaultPlan plan;
  plan.add({.point = FaultPoint::kFileWrite, .nth = 3, .shorten_to = 700});
  plan.add({.point = FaultPoint::kFileWrite, .nth = 4, .error = ENOSPC});
  const Outcome outcome = run(plan);
  EXPECT_TRUE(outcome.failed);
  check_after(outcome);
}

TEST_F(FaultTest, WritingNothingIsAnError) {
  FaultPlan plan;
  plan.add({.point = FaultPoint::kFileWrite, .nth = 2, .shorten_to = 0});
  const Outcome outcome = run(plan);
  EXPECT_TRUE(outcome.failed);
  check_after(outcome);
}

TEST_F(FaultTest, AFullDiskRefusesUntilThereIsRoomAgain) {
  auto plan = std::make_unique<FaultPlan>();
  auto writer = Writer::open(options(plan.get()));
  ASSERT_TRUE(writer);
  append(*writer, 2);
  // From now on nothing can be allocated; what is prepared already may still be used.
  const std::uint64_t now = plan->count(FaultPoint::kFileAllocate);
  plan->add({.point = FaultPoint::kFileAllocate,
             .nth = now + 1,
             .every_from_nth = true,
             .error = ENOSPC});
  Offset acknowledged = 2;
  int refused = 0;
  for (int i = 0; i < 60 && refused < 5; ++i) {
    const Batch batch(acknowledged, 10);
    const auto first = writer->commit(batch.records());
    if (first) {
      acknowledged += 10;
      continue;
    }
    ASSERT_EQ(first.error(), CommitError::kNoSpace);
    EXPECT_FALSE(writer->poisoned());
    ++refused;
    // A small record still fits where a batch does not, or is refused as well.
    const Batch single(acknowledged, 1, 0, 0);
    if (writer->commit(single.records())) {
      const auto reader = LogReader::open(directory());
      EXPECT_EQ(reader->end(), ++acknowledged);
      break;
    }
  }
  EXPECT_GT(refused, 0);
  writer->close();
  Outcome outcome;
  outcome.acknowledged = acknowledged;
  auto again = Writer::open(options(nullptr));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->next_offset(), acknowledged);
  append(*again, 100);
}

TEST_F(FaultTest, RecoveryItselfMayFailAndBeTriedAgain) {
  FaultPlan count;
  for (std::uint64_t nth = 0; nth < 4; ++nth) {
    for (const FaultPoint point : {FaultPoint::kFileSync, FaultPoint::kFileWrite}) {
      fs::remove_all(directory());
      {
        Writer writer = open_or_die(options(nullptr));
        append(writer, 10);
        writer.close();
      }
      // As a killed writer leaves it: without the seal.
      const fs::path file = directory() / segment_name(0);
      std::string bytes = read_file(file);
      bytes.replace(bytes.size() - kRecordHeaderBytes, kRecordHeaderBytes, 4096, '\0');
      write_file(file, bytes);
      FaultPlan plan;
      plan.add({.point = point, .nth = nth, .error = EIO});
      const auto refused = Writer::open(options(&plan));
      if (!refused) {
        EXPECT_EQ(refused.error().kind, OpenErrorKind::kIo);
      }
      const Reading reading = read_all(directory());
      EXPECT_TRUE(reading.errors.empty());
      EXPECT_EQ(reading.end, 10U);
      if (refused) continue;
      Writer writer = open_or_die(options(nullptr));
      EXPECT_EQ(writer.next_offset(), 10U);
      append(writer, 3);
    }
  }
}

}  // namespace
}  // namespace mxring::seglog::test
