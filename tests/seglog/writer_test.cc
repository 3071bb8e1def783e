// The writer on a real directory: batches, rolling, locks, file systems, retention, and what a
// commit costs.
#include "seglog/writer.h"

#include <sys/stat.h>

#include <algorithm>
#include <thread>

#include "base/clock.h"
#include "seglog/verify.h"
#include "tests/seglog/log_fixture.h"
#include "tests/support/allocation_count.h"

namespace mxring::seglog::test {
namespace {

class WriterTest : public LogTest {
 protected:
  std::vector<std::string> files(std::string_view suffix) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory())) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(suffix)) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  // Waits for the thread that prepares segments.
  void wait_for_spare() const {
    for (int i = 0; i < 2000 && files(".ready").empty(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_EQ(files(".ready").size(), 1U);
  }
};

TEST_F(WriterTest, WhatIsCommittedIsReadWhileTheWriterLivesAndAfter) {
  Writer writer = open_or_die(small());
  EXPECT_EQ(read_all(directory()).messages.size(), 0U);
  append(writer, 1);
  append(writer, 5);
  append(writer, 40);
  const Reading live = read_all(directory());
  EXPECT_TRUE(live.errors.empty());
  EXPECT_EQ(live.messages.size(), 46U);
  expect_messages(live, 0, 46);
  writer.close();
  const Reading after = read_all(directory());
  EXPECT_TRUE(after.errors.empty());
  EXPECT_EQ(after.messages, live.messages);
}

TEST_F(WriterTest, EmptyBatchesAndEmptyMessages) {
  Writer writer = open_or_die(small());
  EXPECT_EQ(writer.commit({}), 0U);
  Append nothing;
  const auto first = writer.commit({&nothing, 1});
  EXPECT_EQ(first, 0U);
  auto reader = LogReader::open(directory());
  const auto record = reader->next();
  ASSERT_TRUE(record && *record);
  EXPECT_EQ((*record)->message, "");
  EXPECT_EQ((*record)->rcpt_to.size(), 0U);
}

TEST_F(WriterTest, EveryCommitBeginsOnAPage) {
  Writer writer = open_or_die(small());
  for (std::size_t count : {1, 3, 2}) append(writer, count);
  writer.close();
  const auto placed = records_in(read_file(directory() / segment_name(0)));
  ASSERT_EQ(placed.size(), 6U);
  for (std::size_t first : {0, 1, 4}) EXPECT_EQ(placed[first].position % kBatchAlign, 0U);
  EXPECT_EQ(placed[0].header.durable_before, 0U);
  EXPECT_EQ(placed[3].header.durable_before, 1U);
  EXPECT_EQ(placed[5].header.durable_before, 4U);
}

TEST_F(WriterTest, SegmentsRoll) {
  Writer writer = open_or_die(small());
  for (int i = 0; i < 60; ++i) append(writer, 12);
  EXPECT_GT(writer.totals().segments_rolled, 3U);
  const Reading reading = read_all(directory());
  EXPECT_TRUE(reading.errors.empty());
  expect_messages(reading, 0, 720);
  EXPECT_GT(files(".seg").size(), 3U);
  writer.close();
  const auto report = verify(directory());
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->ok());
  EXPECT_EQ(report->records, 720U);
}

TEST_F(WriterTest, OneBatchMayFillSeveralSegments) {
  Writer writer = open_or_die(small());
  append(writer, 3);
  append(writer, 700);
  EXPECT_GE(writer.totals().segments_rolled, 3U);
  append(writer, 2);
  const Reading reading = read_all(directory());
  EXPECT_TRUE(reading.errors.empty());
  expect_messages(reading, 0, 705);
}

TEST_F(WriterTest, ARecordLargerThanASegmentGetsOneToItself) {
  Writer writer = open_or_die(small());
  append(writer, 2);
  std::string large(300'000, 'L');
  const iovec slice{large.data(), large.size()};
  Append record;
  record.message = {&slice, 1};
  record.message_bytes = large.size();
  record.message_crc32c = base::crc32c(0, large.data(), large.size());
  const Append batch[] = {record, record};
  ASSERT_EQ(writer.commit(batch), 2U);
  auto reader = LogReader::open(directory());
  ASSERT_TRUE(reader->seek(2));
  for (int i = 0; i < 2; ++i) {
    const auto found = reader->next();
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->message, large);
  }
}

TEST_F(WriterTest, MoreSlicesThanOneSystemCallTakes) {
  Writer writer = open_or_die(small());
  std::string text(5000, 'x');
  std::vector<iovec> slices;
  for (char& c : text) slices.push_back({&c, 1});
  Append record;
  record.message = slices;
  record.message_bytes = text.size();
  record.message_crc32c = base::crc32c(0, text.data(), text.size());
  ASSERT_TRUE(writer.commit({&record, 1}));
  auto reader = LogReader::open(directory());
  const auto found = reader->next();
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->message, text);
}

TEST_F(WriterTest, OffsetsContinueOverRestarts) {
  Offset next = 0;
  for (int run = 0; run < 5; ++run) {
    Writer writer = open_or_die(small());
    EXPECT_EQ(writer.next_offset(), next);
    EXPECT_EQ(writer.recovery().text, "");
    EXPECT_EQ(writer.recovery().records, 0U) << "a clean end needs no scan";
    for (int i = 0; i < run; ++i) append(writer, 7);
    next = writer.next_offset();
    writer.close();
    writer.close();
  }
  const Reading reading = read_all(directory());
  EXPECT_TRUE(reading.errors.empty());
  EXPECT_EQ(reading.messages.size(), 70U);
  // Runs that wrote nothing leave no segments behind.
  EXPECT_EQ(files(".seg").size(), 4U);
}

TEST_F(WriterTest, EpochsAscend) {
  std::uint64_t last = 0;
  for (int run = 0; run < 3; ++run) {
    Writer writer = open_or_die(small());
    for (int i = 0; i < 30; ++i) append(writer, 12);
  }
  for (const std::string& name : files(".seg")) {
    HeaderFault fault = HeaderFault::kNone;
    const auto header = decode_segment_header(read_file(directory() / name), &fault);
    ASSERT_TRUE(header);
    EXPECT_GT(header->epoch >> 32, last >> 32);
    last = header->epoch;
  }
}

TEST_F(WriterTest, ClosedWriterRefuses) {
  Writer writer = open_or_die(small());
  writer.close();
  const Batch batch(0, 1);
  EXPECT_FALSE(writer.commit(batch.records()));
}

TEST_F(WriterTest, OneWriterAtATime) {
  Writer writer = open_or_die(small());
  const auto second = Writer::open(small());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, OpenErrorKind::kLocked);
  EXPECT_NE(second.error().message.find("pid " + std::to_string(::getpid())), std::string::npos)
      << second.error().message;
  writer.close();
  EXPECT_TRUE(Writer::open(small()));
}

// A clock that jumps ahead for three seconds deletes nothing, then or later.
TEST_F(WriterTest, AClockThatJumpsDeletesNothing) {
  WriterOptions options = small();
  options.retain_age_ns = 30 * 24 * 3600 * base::kNsPerSecond;
  Writer writer = open_or_die(options);
  for (int i = 0; i < 60; ++i) append(writer, 12);
  const auto before = files(".seg");
  ASSERT_GT(before.size(), 5U);
  base::Now now = base::read_clocks();
  const auto pass = [&](std::int64_t seconds) {
    now = {now.mono + seconds * base::kNsPerSecond, {now.wall.us + seconds * 1'000'000}};
    writer.maintain(now);
  };
  constexpr std::int64_t kAheadUs = 400 * 86'400'000'000;
  pass(1);
  EXPECT_FALSE(writer.take_clock_moved_us());
  now.wall.us += kAheadUs;
  for (int i = 0; i < 3; ++i) pass(1);
  EXPECT_EQ(files(".seg"), before);
  const auto moved = writer.take_clock_moved_us();
  ASSERT_TRUE(moved);
  EXPECT_NEAR(static_cast<double>(*moved), static_cast<double>(kAheadUs), 10.0);
  // A segment filled meanwhile removes nothing either.
  for (int i = 0; i < 12; ++i) append(writer, 12);
  ASSERT_GT(files(".seg").size(), before.size());
  EXPECT_EQ(files(".seg")[0], before[0]);
  now.wall.us -= kAheadUs;
  pass(1);
  pass(3700);
  pass(1);
  EXPECT_EQ(files(".seg")[0], before[0]);
}

// A clock that stays ahead costs two segments for each that is filled, after an hour of none.
TEST_F(WriterTest, AClockThatStaysAheadIsBelievedSlowly) {
  WriterOptions options = small();
  options.retain_age_ns = 30 * 24 * 3600 * base::kNsPerSecond;
  Writer writer = open_or_die(options);
  for (int i = 0; i < 200; ++i) append(writer, 12);
  base::Now now = base::read_clocks();
  now.wall.us += 400 * 86'400'000'000;
  writer.maintain(now);
  const auto later = [&](std::int64_t seconds) {
    now = {now.mono + seconds * base::kNsPerSecond, {now.wall.us + seconds * 1'000'000}};
    writer.maintain(now);
  };
  const auto before = files(".seg").size();
  later(3599);
  EXPECT_EQ(files(".seg").size(), before);
  later(2);
  EXPECT_EQ(files(".seg").size(), before) << "none has been filled";
  const std::uint64_t rolled = writer.totals().segments_rolled;
  while (writer.totals().segments_rolled == rolled) append(writer, 12);
  later(1);
  later(1);
  EXPECT_EQ(files(".seg").size(), before + 1 - 2);
  while (!writer.take_removals().empty()) {
  }
}

TEST_F(WriterTest, DirectoryWithoutAParentOrNotADirectory) {
  WriterOptions options = small();
  options.directory = temp_.path() / "no" / "such";
  const auto missing = Writer::open(options);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, OpenErrorKind::kDirectory);
  EXPECT_NE(missing.error().message.find("no directory " + (temp_.path() / "no").string() +
                                         "; as root: install -d"),
            std::string::npos)
      << missing.error().message;
  options.directory = temp_.path() / "file";
  write_file(options.directory, "x");
  const auto file = Writer::open(options);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().kind, OpenErrorKind::kDirectory);
}

TEST_F(WriterTest, TmpfsIsRefusedUnlessNothingIsPromised) {
  const MemoryDir memory;
  if (!memory.path().string().starts_with("/dev/shm")) GTEST_SKIP() << "skipped: no /dev/shm here";
  WriterOptions options = small();
  options.directory = memory.path() / "log";
  const auto refused = Writer::open(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, OpenErrorKind::kFileSystem);
  EXPECT_NE(refused.error().message.find("tmpfs"), std::string::npos);
  EXPECT_NE(refused.error().message.find("sync = \"none\""), std::string::npos);
  options.sync = Sync::kNone;
  Writer writer = open_or_die(options);
  for (int i = 0; i < 40; ++i) append(writer, 12);
  const Reading reading = read_all(options.directory);
  EXPECT_TRUE(reading.errors.empty());
  expect_messages(reading, 0, 480);
}

TEST_F(WriterTest, RetentionByBytes) {
  WriterOptions options = small();
  options.retain_bytes = 200 << 10;
  Writer writer = open_or_die(options);
  for (int i = 0; i < 200; ++i) append(writer, 12);
  const Reading reading = read_all(directory());
  EXPECT_TRUE(reading.errors.empty());
  EXPECT_GT(reading.first, 0U);
  expect_messages(reading, reading.first, 2400);
  std::uint64_t bytes = 0;
  for (const auto& segment : LogReader::open(directory())->segments()) bytes += segment.bytes;
  EXPECT_LE(bytes, options.retain_bytes + options.segment_bytes);
  for (const std::string& name : files(".idx")) {
    EXPECT_TRUE(fs::exists(directory() / (name.substr(0, 20) + ".seg"))) << name;
  }
}

TEST_F(WriterTest, RetentionByAgeKeepsTheSegmentInUse) {
  WriterOptions options = small();
  options.retain_age_ns = 3'600'000'000'000;
  Writer writer = open_or_die(options);
  for (int i = 0; i < 60; ++i) append(writer, 12);
  ASSERT_GT(files(".seg").size(), 2U);
  // Segments remember their own making, which is now.
  const base::Now now = base::read_clocks();
  const auto after = [&](std::int64_t minutes) {
    return base::Now{now.mono + minutes * 60 * base::kNsPerSecond,
                     {now.wall.us + minutes * 60'000'000}};
  };
  writer.maintain(after(59));
  EXPECT_GT(files(".seg").size(), 2U);
  EXPECT_TRUE(writer.take_removals().empty());
  const auto segments = files(".seg").size();
  writer.maintain(after(61));
  EXPECT_EQ(files(".seg").size(), 1U);
  EXPECT_EQ(writer.next_offset(), 720U);
  const auto removals = writer.take_removals();
  ASSERT_EQ(removals.size(), 1U);
  EXPECT_EQ(removals[0].why, RemovedFor::kAge);
  EXPECT_EQ(removals[0].segments, segments - 1);
  EXPECT_EQ(removals[0].first_offset, 0U);
  EXPECT_EQ(segment_name(removals[0].next_offset), files(".seg")[0]);
  EXPECT_TRUE(writer.take_removals().empty());
  append(writer, 3);
  writer.close();
  Writer again = open_or_die(options);
  EXPECT_EQ(again.next_offset(), 723U);
}

// Damage is kept, and so is what only this start could not read.
TEST_F(WriterTest, RetentionByAgeGoesByTheFileWhereASegmentCannotBeRead) {
  WriterOptions options = small();
  options.retain_age_ns = 3'600'000'000'000;
  {
    Writer writer = open_or_die(options);
    for (int i = 0; i < 60; ++i) append(writer, 12);
  }
  const std::vector<std::string> names = files(".seg");
  ASSERT_GT(names.size(), 3U);
  const fs::path damaged = directory() / names[0];
  std::string bytes = read_file(damaged);
  bytes.replace(0, kHeaderBlockBytes, kHeaderBlockBytes, '\x11');
  write_file(damaged, bytes);
  const fs::path unopenable = directory() / names[1];
  fs::remove(unopenable);
  fs::create_symlink(names[1], unopenable);  // leads to itself, and has no time either
  const base::Now now = base::read_clocks();
  {
    Writer writer = open_or_die(options);
    EXPECT_EQ(writer.recovery().unreadable_segments, 2U);
    const std::string& text = writer.recovery().text;
    EXPECT_NE(text.find("2 segments cannot be read"), std::string::npos) << text;
    EXPECT_NE(text.find(names[0]), std::string::npos) << text;
    writer.maintain(now);
    EXPECT_EQ(read_file(damaged), bytes);
    EXPECT_TRUE(fs::is_symlink(unopenable));
  }
  fs::last_write_time(damaged, fs::file_time_type::clock::now() - std::chrono::hours(2));
  Writer writer = open_or_die(options);
  writer.maintain(now);
  EXPECT_FALSE(fs::exists(damaged)) << "older than retain_age";
  EXPECT_TRUE(fs::is_symlink(unopenable));
}

TEST_F(WriterTest, AFileUsedAgainNeverShowsItsOldBytes) {
  WriterOptions options = small();
  options.retain_bytes = 130 << 10;
  Writer writer = open_or_die(options);
  std::map<ino_t, int> lives;
  std::string last_newest;
  for (int i = 0; i < 400; ++i) {
    append(writer, 12, 0);
    const auto names = files(".seg");
    if (names.back() != last_newest) {
      last_newest = names.back();
      struct stat status {};
      ASSERT_EQ(::stat((directory() / last_newest).c_str(), &status), 0);
      ++lives[status.st_ino];
      const Reading reading = read_all(directory());
      EXPECT_TRUE(reading.errors.empty());
      expect_messages(reading, reading.first, writer.next_offset());
    }
  }
  const bool used_again =
      std::any_of(lives.begin(), lives.end(), [](const auto& life) { return life.second > 1; });
  EXPECT_TRUE(used_again) << "no file was used twice: the test tested nothing";
  // Without a seal and without the state page, the old life's whole records lie behind the end.
  const fs::path copy = temp_.path() / "copy";
  fs::create_directory(copy);
  for (const std::string& name : files(".seg")) fs::copy_file(directory() / name, copy / name);
  const Reading reading = read_all(copy);
  EXPECT_TRUE(reading.errors.empty());
  EXPECT_EQ(reading.end, writer.next_offset());
  expect_messages(reading, reading.first, writer.next_offset());
}

TEST_F(WriterTest, LeftoversOfAnEarlierRunAreCleared) {
  fs::create_directory(directory());
  write_file(directory() / "spare-7.tmp", "half");
  write_file(directory() / "spare-3.ready", "wrong size");
  write_file(directory() / "00000000000000000099.idx", "orphan");
  write_file(directory() / "notes.txt", "not ours");
  Writer writer = open_or_die(small());
  wait_for_spare();
  EXPECT_TRUE(files(".tmp").empty());
  EXPECT_EQ(files(".idx").size(), 1U);
  EXPECT_EQ(files(".txt").size(), 1U);
}

TEST_F(WriterTest, SpareIsKeptForTheNextStart) {
  {
    Writer writer = open_or_die(small());
    wait_for_spare();
  }
  struct stat before {};
  struct stat after {};
  const std::string name = files(".ready").at(0);
  ASSERT_EQ(::stat((directory() / name).c_str(), &before), 0);
  Writer writer = open_or_die(small());
  ASSERT_EQ(::stat((directory() / name).c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(WriterTest, TheDiskReserveIsLeftToWhatIsNeeded) {
  WriterOptions options = small();
  options.reserve_percent = 100;
  Writer writer = open_or_die(options);
  for (int i = 0; i < 60; ++i) {
    append(writer, 12);
    writer.maintain(base::read_clocks());
    ASSERT_TRUE(files(".tmp").empty() && files(".ready").empty());
  }
  EXPECT_GT(writer.totals().segments_rolled, 3U);
}

TEST_F(WriterTest, SpaceIsKnown) {
  Writer writer = open_or_die(small());
  EXPECT_GT(writer.free_bytes(), 0U);
  EXPECT_GE(writer.file_system_bytes(), writer.free_bytes());
}

TEST_F(WriterTest, ACommitAllocatesNothingAndCostsTwoSystemCalls) {
  WriterOptions options = small();
  options.segment_bytes = 8 << 20;
  Writer writer = open_or_die(options);
  std::vector<Batch> batches;
  for (Offset i = 0; i < 40; ++i) batches.emplace_back(i * 16, 16);
  for (std::size_t i = 0; i < 5; ++i) ASSERT_TRUE(writer.commit(batches[i].records()));
  const std::uint64_t before = mxring::test::allocation_count();
  const std::uint64_t calls_before = writer.totals().system_calls;
  for (std::size_t i = 5; i < 40; ++i) ASSERT_TRUE(writer.commit(batches[i].records()));
  EXPECT_EQ(mxring::test::allocation_count(), before);
  EXPECT_EQ(writer.totals().system_calls - calls_before, 35U * 2);
}

}  // namespace
}  // namespace mxring::seglog::test
