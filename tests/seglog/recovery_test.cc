// Recovery: logs cut at every byte, torn in the middle of a batch, damaged, poisoned, mutated at
// random. Most of it in memory, because what is tested is the judgement, not the disk.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "seglog/verify.h"
#include "tests/seglog/log_fixture.h"
#include "tests/seglog/mutation.h"

namespace mxring::seglog::test {
namespace {

WriterOptions in_memory(const fs::path& directory) {
  WriterOptions options;
  options.directory = directory;
  options.segment_bytes = 64 << 10;
  options.record_bytes_max = 16 << 10;
  options.sync = Sync::kNone;
  return options;
}

// What a writer that was killed leaves of one segment: the bytes of its file, not sealed.
class KilledLog : public LogTest {
 protected:
  // Commits batches of these sizes; the file as it is then. All in one segment.
  std::string build(const std::vector<std::size_t>& batches, std::size_t bytes_max = 600) {
    WriterOptions options = small();
    options.segment_bytes = 1 << 20;
    Writer writer = open_or_die(options);
    for (const std::size_t count : batches) append(writer, count, 0, bytes_max);
    std::string bytes = read_file(directory() / segment_name(0));
    records_ = records_in(bytes);
    bytes.resize(records_.back().position + records_.back().header.span_bytes + 8192);
    return bytes;
  }

  // A log directory in memory that holds this one segment, and nothing else.
  fs::path place(const std::string& bytes) {
    const fs::path directory = memory_.path() / "log";
    fs::remove_all(directory);
    fs::create_directory(directory);
    write_file(directory / segment_name(0), bytes);
    return directory;
  }

  void add_state(Offset durable, bool poisoned) {
    StateFields fields;
    fields.durable = durable;
    fields.flags = poisoned ? kStatePoisoned : 0;
    fields.crc = state_crc(fields);
    std::string page(kStateBytes, '\0');
    std::memcpy(page.data(), &fields, sizeof fields);
    write_file(memory_.path() / "log" / kStateName, page);
  }

  std::vector<Placed> records_;
  MemoryDir memory_;
};

// The last 64 KiB, one slice of it per shard so that they run side by side.
class CutTest : public KilledLog, public ::testing::WithParamInterface<int> {
 public:
  static constexpr int kShards = 8;
};

TEST_P(CutTest, AtEveryByteOfTheLast64KiB) {
  constexpr std::size_t kBytesMax = 4000;
  std::string bytes = build({1, 3, 5, 7, 9, 11, 13}, kBytesMax);
  bytes.resize(records_.back().position + records_.back().header.span_bytes);
  ASSERT_GT(bytes.size(), 64U << 10);
  const std::size_t first_cut = bytes.size() - (64 << 10);
  for (std::size_t cut = first_cut + GetParam(); cut < bytes.size(); cut += kShards) {
    const fs::path log = place(bytes.substr(0, cut));
    // Whole are the records whose message and metadata lie before the cut.
    const auto lost = std::find_if(records_.begin(), records_.end(), [cut](const Placed& placed) {
      return placed.position + kRecordHeaderBytes + placed.header.payload_bytes() > cut;
    });
    const auto whole = static_cast<Offset>(lost - records_.begin());
    // A later batch shows that everything before it had been acknowledged; here nothing is later.
    const Reading before = read_all(log);
    ASSERT_TRUE(before.errors.empty()) << "cut at " << cut;
    ASSERT_EQ(before.end, whole) << "cut at " << cut;
    expect_messages(before, 0, whole, 0, kBytesMax);

    Writer writer = open_or_die(in_memory(log));
    ASSERT_EQ(writer.next_offset(), whole) << "cut at " << cut;
    EXPECT_EQ(writer.recovery().records, whole);
    EXPECT_EQ(writer.recovery().damaged_records, 0U);
    append(writer, 3, 1);
    writer.close();
    const Reading after = read_all(log);
    ASSERT_TRUE(after.errors.empty()) << "cut at " << cut << ": " << after.errors[0].message;
    ASSERT_EQ(after.end, whole + 3);
    expect_messages(after, 0, whole, 0, kBytesMax);
    expect_messages(after, whole, whole + 3, 1);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(, CutTest, ::testing::Range(0, CutTest::kShards));

TEST_F(KilledLog, WhatIsMissingBelowTheStatePageIsReportedAndItsOffsetsStayUnused) {
  std::string bytes = build({5, 5, 5});
  bytes.resize(records_[7].position + 10);
  const fs::path log = place(bytes);
  add_state(15, false);
  const Reading before = read_all(log);
  ASSERT_EQ(before.errors.size(), 1U);
  EXPECT_EQ(before.errors[0].offset, 7U);
  EXPECT_EQ(before.errors[0].records, 8U);
  Writer writer = open_or_die(in_memory(log));
  EXPECT_EQ(writer.next_offset(), 15U);
  EXPECT_EQ(writer.recovery().damaged_records, 8U);
  append(writer, 2, 1);
  const Reading after = read_all(log);
  ASSERT_EQ(after.errors.size(), 1U);
  EXPECT_EQ(after.errors[0].records, 8U);
  expect_messages(after, 0, 7);
  expect_messages(after, 15, 17, 1);
}

TEST_F(KilledLog, ATornBatchIsCutAlthoughItsLaterRecordsAreWhole) {
  std::string bytes = build({4, 4, 6});
  bytes[records_[9].position + 70] ^= 1;  // second of the last batch; the four behind it are whole
  const fs::path log = place(bytes);
  EXPECT_EQ(read_all(log).end, 9U);
  Writer writer = open_or_die(in_memory(log));
  EXPECT_EQ(writer.next_offset(), 9U);
  EXPECT_EQ(writer.recovery().damaged_records, 0U);
  EXPECT_EQ(writer.recovery().torn_bytes,
            records_[13].position + records_[13].header.span_bytes - records_[9].position);
  EXPECT_NE(writer.recovery().text, "");
  // Shorter than what was cut: the whole records behind it must not come back.
  append(writer, 1, 1);
  writer.close();
  const Reading after = read_all(log);
  EXPECT_TRUE(after.errors.empty());
  EXPECT_EQ(after.end, 10U);
  expect_messages(after, 0, 9);
  expect_messages(after, 9, 10, 1);
}

TEST_F(KilledLog, ALostHeaderAtTheStartOfTheTornBatch) {
  std::string bytes = build({4, 4, 6});
  bytes.replace(records_[8].position, 64, 64, '\0');
  const fs::path log = place(bytes);
  Writer writer = open_or_die(in_memory(log));
  EXPECT_EQ(writer.next_offset(), 8U);
  EXPECT_EQ(writer.recovery().damaged_records, 0U);
}

TEST_F(KilledLog, DamageBeforeTheLastBatchIsKeptInPlace) {
  std::string bytes = build({4, 4, 6});
  bytes[records_[2].position + 70] ^= 1;
  bytes[records_[5].position + 8] ^= 1;
  const fs::path log = place(bytes);
  Writer writer = open_or_die(in_memory(log));
  EXPECT_EQ(writer.next_offset(), 14U);
  EXPECT_EQ(writer.recovery().damaged_records, 2U);
  EXPECT_EQ(writer.recovery().records, 12U);
  EXPECT_EQ(writer.recovery().torn_bytes, 0U);
  append(writer, 2, 1);
  writer.close();
  EXPECT_EQ(read_file(log / segment_name(0)).substr(0, records_[13].position),
            bytes.substr(0, records_[13].position))
      << "damage is never repaired or cut";
  const Reading after = read_all(log);
  EXPECT_EQ(after.errors.size(), 2U);
  EXPECT_EQ(after.messages.size(), 14U);
}

TEST_F(KilledLog, RealDamageThatRunsIntoATornEnd) {
  std::string bytes = build({4, 4, 6});
  // Records 6 to 10: 6 and 7 had been acknowledged, 8 to 10 not; 11 to 13 are whole.
  const std::uint64_t begin = records_[6].position;
  bytes.replace(begin, records_[11].position - begin, records_[11].position - begin, '\x5A');
  const fs::path log = place(bytes);
  const Reading before = read_all(log);
  EXPECT_EQ(before.end, 8U);
  Writer writer = open_or_die(in_memory(log));
  EXPECT_EQ(writer.next_offset(), 8U);
  EXPECT_EQ(writer.recovery().damaged_records, 2U);
  append(writer, 1, 1);
  writer.close();
  const Reading after = read_all(log);
  ASSERT_EQ(after.errors.size(), 1U);
  EXPECT_EQ(after.errors[0].offset, 6U);
  EXPECT_EQ(after.errors[0].records, 2U);
  expect_messages(after, 0, 6);
  expect_messages(after, 8, 9, 1);
}

TEST_F(KilledLog, APoisonedLogEndsAtItsDurableOffsetWhateverFollows) {
  const std::string bytes = build({4, 4, 6});
  const fs::path log = place(bytes);
  add_state(8, true);
  EXPECT_EQ(read_all(log).end, 8U);
  Writer writer = open_or_die(in_memory(log));
  EXPECT_TRUE(writer.recovery().was_poisoned);
  EXPECT_EQ(writer.next_offset(), 8U);
  append(writer, 1, 1);
  writer.close();
  const Reading after = read_all(log);
  EXPECT_TRUE(after.errors.empty());
  EXPECT_EQ(after.end, 9U);
  expect_messages(after, 0, 8);
  expect_messages(after, 8, 9, 1);
  EXPECT_FALSE(open_or_die(in_memory(log)).recovery().was_poisoned);
}

// A group may have been made before the first mail: another id would stop it.
TEST_F(KilledLog, ALogThatNeverHadARecordKeepsItsIdOverStarts) {
  { const Writer writer = open_or_die(small()); }
  const auto first = LogReader::open(directory());
  ASSERT_TRUE(first);
  const LogId id = first->log_id();
  EXPECT_TRUE(id.known());
  for (int i = 0; i < 2; ++i) {
    { const Writer writer = open_or_die(small()); }
    const auto again = LogReader::open(directory());
    ASSERT_TRUE(again);
    EXPECT_EQ(again->log_id(), id);
  }
  fs::remove(directory() / kStateName);  // as after a power cut
  { const Writer writer = open_or_die(small()); }
  EXPECT_EQ(LogReader::open(directory())->log_id(), id);
  // One that somebody has emptied is a new one.
  Writer writer = open_or_die(small());
  append(writer, 3, 1);
  writer.close();
  fs::remove(directory() / segment_name(0));
  fs::remove(directory() / kStateName);
  { const Writer emptied = open_or_die(small()); }
  const auto after = LogReader::open(directory());
  ASSERT_TRUE(after);
  EXPECT_NE(after->log_id(), id);
}

// Else a power cut brings the old page back, and recovery cuts what was acknowledged since.
TEST_F(KilledLog, ThatALogIsPoisonedNoLongerIsDurableBeforeAnythingIsTaken) {
  const fs::path from = place(build({4, 4, 6}));
  add_state(8, true);
  const fs::path log = directory() / "again";  // where a sync means something
  const auto place_again = [&] {
    fs::remove_all(log);
    fs::copy(from, log);
  };
  place_again();
  uring::FaultPlan plan;
  plan.set_trace(true);
  WriterOptions options = small();
  options.directory = log;
  options.faults = &plan;
  { const Writer writer = open_or_die(options); }
  const std::vector<std::string> lines = plan.trace();
  std::uint64_t syncs = 0;
  std::optional<std::uint64_t> of_page;
  for (std::size_t i = 0; i + 1 < lines.size() && !of_page; ++i) {
    if (lines[i].starts_with("file_sync ")) ++syncs;
    const bool opens = lines[i].starts_with("file_open ") &&
                       lines[i].find((log / kStateName).string()) != std::string::npos;
    if (opens && lines[i + 1] == "file_sync data -> ok") of_page = syncs;
  }
  ASSERT_TRUE(of_page);
  place_again();
  uring::FaultPlan failing;
  failing.add({.point = uring::FaultPoint::kFileSync, .nth = *of_page, .error = EIO});
  options.faults = &failing;
  const auto refused = Writer::open(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, OpenErrorKind::kIo);
}

TEST_F(KilledLog, AnUnreadableHeaderOfTheNewestSegment) {
  std::string bytes = build({4, 4});
  bytes.replace(0, kHeaderBlockBytes, kHeaderBlockBytes, '\x11');
  fs::path log = place(bytes);
  const auto refused = Writer::open(in_memory(log));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, OpenErrorKind::kDamaged);
  EXPECT_EQ(read_file(log / segment_name(0)), bytes) << "nothing may be changed";
  log = place(bytes);
  add_state(8, false);  // knows which offsets the segment used
  Writer writer = open_or_die(in_memory(log));
  EXPECT_EQ(writer.next_offset(), 8U);
  EXPECT_EQ(writer.recovery().damaged_records, 8U);
  append(writer, 1, 1);
  const Reading after = read_all(log);
  ASSERT_EQ(after.errors.size(), 1U);
  EXPECT_EQ(after.errors[0].records, 8U);
  expect_messages(after, 8, 9, 1);
}

// After a crash of the machine the state page may be older than the segment it knows nothing of.
TEST_F(KilledLog, ANewestSegmentWithADamagedHeaderIsSetAsideNeverReplaced) {
  std::string bytes = build({4, 4});
  bytes.replace(0, kHeaderBlockBytes, kHeaderBlockBytes, '\x11');
  const fs::path log = place(bytes);
  add_state(0, false);
  const fs::path aside = log / damaged_name({0, 1});
  Writer writer = open_or_die(in_memory(log));
  EXPECT_EQ(read_file(aside), bytes);
  EXPECT_EQ(writer.recovery().set_aside, aside.filename().string());
  EXPECT_NE(writer.recovery().text.find(aside.filename().string()), std::string::npos)
      << writer.recovery().text;
  EXPECT_EQ(writer.next_offset(), 8U) << "offsets it may have given are not given again";
  append(writer, 3, 1);
  writer.close();
  const Reading after = read_all(log);
  EXPECT_TRUE(after.errors.empty());
  EXPECT_EQ(after.messages.size(), 3U);
  expect_messages(after, 8, 11, 1);
  const auto report = verify(log);
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->ok());
  ASSERT_EQ(report->damaged.size(), 1U);
  EXPECT_TRUE(report->damaged[0].set_aside);
  EXPECT_EQ(report->damaged[0].segment, aside.filename().string());
  EXPECT_EQ(report->damaged[0].bytes, bytes.size());

  {
    const Writer again = open_or_die(in_memory(log));
    EXPECT_EQ(again.recovery().set_aside, "") << "said once, at the start that did it";
    EXPECT_EQ(again.next_offset(), 11U);
    EXPECT_TRUE(fs::exists(aside));
  }
  // As if that start had been the last thing before another crash.
  for (const Offset base : {8, 11}) fs::remove(log / segment_name(base));
  add_state(0, false);
  EXPECT_EQ(open_or_die(in_memory(log)).next_offset(), 8U);
}

TEST_F(KilledLog, NothingRecognisableAndTheSameOffsetAgain) {
  const std::string bytes(64 << 10, '\x5A');
  fs::path log = place(bytes);
  add_state(0, false);
  {
    Writer writer = open_or_die(in_memory(log));
    EXPECT_EQ(writer.next_offset(), 0U);
    append(writer, 2, 1);
  }
  const std::string second(8 << 10, '\x33');
  write_file(log / segment_name(0), second);
  add_state(0, false);
  Writer writer = open_or_die(in_memory(log));
  EXPECT_EQ(writer.recovery().set_aside, damaged_name({0, 2}));
  EXPECT_EQ(read_file(log / damaged_name({0, 1})), bytes);
  EXPECT_EQ(read_file(log / damaged_name({0, 2})), second);
  append(writer, 2, 1);
  expect_messages(read_all(log), 0, 2, 1);
}

TEST_F(KilledLog, OffsetsBelowTheSegmentThatWasSetAsideStayAsTheyAre) {
  const fs::path log = memory_.path() / "log";
  std::vector<std::uint64_t> bases;
  {
    Writer writer = open_or_die(in_memory(log));
    for (int i = 0; i < 30; ++i) append(writer, 12);
    for (const auto& segment : LogReader::open(log)->segments()) bases.push_back(segment.first);
  }
  ASSERT_GT(bases.size(), 2U);
  std::string bytes = read_file(log / segment_name(bases.back()));
  bytes.replace(0, bytes.size(), bytes.size(), '\x11');
  write_file(log / segment_name(bases.back()), bytes);
  add_state(bases[1], false);  // older than the last two segments
  WriterOptions options = in_memory(log);
  {
    Writer writer = open_or_die(options);
    EXPECT_EQ(writer.next_offset(), bases.back());
    append(writer, 40, 1);
    const Reading reading = read_all(log);
    EXPECT_TRUE(reading.errors.empty());
    expect_messages(reading, 0, bases.back());
    expect_messages(reading, bases.back(), bases.back() + 40, 1);
  }
  // It counts for retention like any segment, and goes before those behind it.
  options.retain_bytes = 300 << 10;
  const fs::path aside = log / damaged_name({bases.back(), 1});
  Writer writer = open_or_die(options);
  EXPECT_TRUE(fs::exists(aside));
  Offset first = 0;
  for (int i = 0; i < 200 && fs::exists(aside); ++i) {
    append(writer, 12, 1);
    first = LogReader::open(log)->first();
    if (fs::exists(aside)) {
      EXPECT_LE(first, bases.back());
    }
  }
  EXPECT_FALSE(fs::exists(aside));
  EXPECT_GE(first, bases.back());
}

TEST_F(KilledLog, RecoveryWritesAnIndexThatReadersUse) {
  const std::string bytes = build(std::vector<std::size_t>(50, 60), 0);
  const fs::path log = place(bytes);
  { const Writer writer = open_or_die(in_memory(log)); }
  EXPECT_EQ(fs::file_size(log / index_name(0)), sizeof(IndexHead) + 2 * sizeof(IndexEntry));
  auto reader = LogReader::open(log);
  ASSERT_TRUE(reader->seek(2500));
  EXPECT_EQ((*reader->next())->offset, 2500U);
}

TEST_F(KilledLog, RecoveryOnARealDiskIsFinal) {
  const std::string bytes = build({4, 4, 6});
  fs::remove_all(directory());
  fs::create_directory(directory());
  std::string torn = bytes;
  torn[records_[9].position + 70] ^= 1;
  write_file(directory() / segment_name(0), torn);
  for (int run = 0; run < 3; ++run) {
    Writer writer = open_or_die(small());
    EXPECT_EQ(writer.next_offset(), 9U);
    EXPECT_EQ(writer.recovery().torn_bytes > 0, run == 0);
  }
  EXPECT_EQ(fs::file_size(directory() / segment_name(0)),
            records_[9].position + kRecordHeaderBytes);
}

TEST(Mutation, RandomDamageNeverShowsWrongBytesAndLosesNothingElse) {
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    std::string bytes(64, '\0');
    std::uint64_t state = seed;
    for (char& c : bytes) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      c = static_cast<char>(state >> 56);
    }
    const std::string verdict = write_mutate_recover(bytes);
    ASSERT_EQ(verdict, "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace mxring::seglog::test
