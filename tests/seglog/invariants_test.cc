// What holds of writer, recovery, retention and group reader between two calls, broken piece by
// piece. What is inside writer and recovery is told to nobody, so these are copies of them.
#include "seglog/group_reader.h"
#include "seglog/recovery.cc"
#include "seglog/writer.cc"
#include "tests/seglog/log_fixture.h"
#include "tests/support/broken_invariant.h"

namespace mxring::seglog {
namespace {

using mxring::test::expect_fires;

class InvariantsDeathTest : public test::LogTest {};

MXRING_REVEAL(ImplOf, &Writer::impl_);
MXRING_REVEAL(PositionOf, &SegmentWriter::position_);
MXRING_REVEAL(DroppedToOf, &SegmentWriter::dropped_to_);
MXRING_REVEAL(LookAtSegment, &SegmentWriter::invariants);
MXRING_REVEAL(KeptBytesOf, &KeptSegments::bytes_);
MXRING_REVEAL(LookAtKept, &KeptSegments::invariants);

TEST_F(InvariantsDeathTest, Writer) {
  auto writer = Writer::open(small());
  ASSERT_TRUE(writer.has_value());
  const test::Batch batch(0, 3);
  ASSERT_TRUE(writer->commit(batch.records()));
  auto& impl = *((*writer).*member_of(ImplOf{}));
  impl.invariants();
  const auto expect = [&impl](const char* condition, auto break_it) {
    expect_fires(condition, [&] {
      break_it();
      impl.invariants();
    });
  };
  auto& header = const_cast<SegmentHeader&>(impl.active->header());
  expect("active->header().base_offset <= next_offset()", [&] { header.base_offset = 99; });
  expect("active->header().epoch == epoch", [&] { ++impl.epoch; });
  expect("marks.told().next == marks.durable().next", [&] {
    impl.marks.write(Written{9});
    impl.marks.sync(Durable{9});
  });
  expect("marks.durable().next == marks.written().next", [&] { impl.marks.write(Written{9}); });
  expect("taken.empty()", [&] { impl.taken.emplace_back(); });
  expect(
      "kept->segments().empty() || "
      "kept->segments().back().base_offset <= active->header().base_offset",
      [&] { impl.kept->add({.base_offset = 2}); });
  expect(
      "(active->position() == kHeaderBlockBytes) == "
      "(active->header().base_offset == next_offset())",
      [&] { header.base_offset = impl.next_offset(); });
}

TEST_F(InvariantsDeathTest, SegmentAndKeptSegments) {
  auto writer = Writer::open(small());
  ASSERT_TRUE(writer.has_value());
  const test::Batch batch(0, 3);
  ASSERT_TRUE(writer->commit(batch.records()));
  auto& impl = *((*writer).*member_of(ImplOf{}));
  SegmentWriter& segment = *impl.active;
  const auto expect = [&segment](const char* condition, auto break_it) {
    expect_fires(condition, [&] {
      break_it();
      (segment.*member_of(LookAtSegment{}))();
    });
  };
  expect("position_ >= kHeaderBlockBytes && position_ + kSealRoomBytes <= file_bytes_",
         [&] { segment.*member_of(PositionOf{}) = 0; });
  expect("position_ % (place_.sync == Sync::kCommit ? kBatchAlign : kRecordAlign) == 0",
         [&] { ++(segment.*member_of(PositionOf{})); });
  expect("dropped_to_ <= position_",
         [&] { segment.*member_of(DroppedToOf{}) = segment.position() + 1; });
  expect_fires("bytes == bytes_", [&] {
    ++(*impl.kept.*member_of(KeptBytesOf{}));
    (*impl.kept.*member_of(LookAtKept{}))();
  });
}

MXRING_REVEAL(AllowedOf, &Retention::allowed_);
MXRING_REVEAL(TrustOf, &Retention::trust_);
MXRING_REVEAL(AnchoredOf, &Retention::anchored_);
MXRING_REVEAL(LookAtRetention, &Retention::invariants);

TEST(RetentionDeathTest, EachInvariantFires) {
  Retention retention({.bytes = 1000, .age_ns = base::kNsPerSecond});
  const base::Now now{{base::kNsPerSecond}, {1'700'000'000'000'000}};
  retention.begin(now, now.wall.us);
  retention.look(now);
  const auto expect = [&retention](const char* condition, auto break_it) {
    expect_fires(condition, [&] {
      break_it();
      (retention.*member_of(LookAtRetention{}))();
    });
  };
  using Trust = std::remove_reference_t<decltype(retention.*member_of(TrustOf{}))>;
  expect("allowed_ >= 0 && allowed_ <= kPerFilled",
         [&] { retention.*member_of(AllowedOf{}) = Retention::kPerFilled + 1; });
  expect("trust_ == Trust::kProbation || allowed_ == 0",
         [&] { retention.*member_of(AllowedOf{}) = 1; });
  expect("trust_ != Trust::kNone || seen_.mono < trusted_again_",
         [&] { retention.*member_of(TrustOf{}) = static_cast<Trust>(0); });
  expect("seen_.mono >= anchored_",
         [&] { retention.*member_of(AnchoredOf{}) = now.mono + base::kNsPerSecond; });
}

MXRING_REVEAL(FoundOf, &Recovery::found_);
MXRING_REVEAL(UnreadableOf, &Recovery::unreadable_);
MXRING_REVEAL(LookAtRecovery, &Recovery::invariants);

TEST(RecoveryDeathTest, EachInvariantFires) {
  const WriterOptions options;
  uring::File directory;
  const std::optional<StateFields> state{StateFields{.durable = 5}};
  const std::function<void(double)> progress;
  Recovery recovery(options, directory, state, progress);
  Recovered& found = recovery.*member_of(FoundOf{});
  found.next_offset = 10;
  found.segments = {{.base_offset = 2}, {.base_offset = 7}};
  (recovery.*member_of(LookAtRecovery{}))();
  const auto expect = [&recovery](const char* condition, auto break_it) {
    expect_fires(condition, [&] {
      break_it();
      (recovery.*member_of(LookAtRecovery{}))();
    });
  };
  expect("found_.next_offset >= durable()", [&] { found.next_offset = 4; });
  expect("segment.base_offset >= last", [&] { found.segments.front().base_offset = 8; });
  expect("segment.base_offset <= found_.next_offset",
         [&] { found.segments.back().base_offset = 11; });
  expect("(unreadable_.empty()) == (found_.report.unreadable_segments == 0)",
         [&] { recovery.*member_of(UnreadableOf{}) = "one"; });
}

MXRING_REVEAL(CommittedOf, &GroupReader::committed_);
MXRING_REVEAL(IdsOf, &GroupReader::ids_);
MXRING_REVEAL(LookAtReader, &GroupReader::invariants);

TEST_F(InvariantsDeathTest, GroupReader) {
  {
    auto writer = Writer::open(small());
    ASSERT_TRUE(writer.has_value());
  }
  const base::Now now{{base::kNsPerSecond}, {1'700'000'000'000'000}};
  auto reader = GroupReader::open(directory(), "g", {}, now);
  ASSERT_TRUE(reader.has_value());
  ASSERT_TRUE(reader->next().has_value());
  expect_fires("committed_ <= done_ && done_ <= position_ && handed_ <= position_", [&] {
    ++((*reader).*member_of(CommittedOf{}));
    ((*reader).*member_of(LookAtReader{}))();
  });
  expect_fires("!ids_.empty() && ids_.front().offset == 0", [&] {
    ((*reader).*member_of(IdsOf{})).clear();
    ((*reader).*member_of(LookAtReader{}))();
  });
}

}  // namespace
}  // namespace mxring::seglog
