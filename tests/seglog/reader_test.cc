// The reader: positions, time, index, logs without a writer, damage, and what mail can do to it.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "seglog/verify.h"
#include "tests/seglog/log_fixture.h"

namespace mxring::seglog::test {
namespace {

using std::chrono::milliseconds;

class ReaderTest : public LogTest {
 protected:
  fs::path segment(Offset base) const { return directory() / segment_name(base); }

  LogReader reader() const {
    auto opened = LogReader::open(directory());
    if (!opened) throw std::runtime_error(opened.error().message);
    return std::move(*opened);
  }

  static Offset next_offset_of(LogReader& reader) {
    const auto record = reader.next();
    if (!record || !*record) return UINT64_MAX;
    EXPECT_EQ((*record)->message, message_of((*record)->offset, 0));
    return (*record)->offset;
  }
};

TEST_F(ReaderTest, NotALog) {
  const auto missing = LogReader::open(temp_.path() / "nothing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, LogErrorKind::kNotALog);
  const auto empty = LogReader::open(temp_.path());
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().kind, LogErrorKind::kNotALog);
}

TEST_F(ReaderTest, SeekToEveryOffset) {
  Writer writer = open_or_die(small());
  for (int i = 0; i < 30; ++i) append(writer, 10);
  for (int closed = 0; closed < 2; ++closed) {
    LogReader log = reader();
    for (Offset offset = 0; offset < 300; ++offset) {
      const Offset wanted = (offset * 7) % 300;
      ASSERT_TRUE(log.seek(wanted));
      ASSERT_EQ(next_offset_of(log), wanted);
    }
    ASSERT_TRUE(log.seek(300));
    EXPECT_EQ(next_offset_of(log), UINT64_MAX);
    writer.close();
  }
}

// A reader that comes back to a log that was made anew must not wait until it is as long as before.
TEST_F(ReaderTest, SeekBeyondTheEndIsAnErrorAndMovesNothing) {
  Writer writer = open_or_die(small());
  append(writer, 5);
  LogReader log = reader();
  ASSERT_TRUE(log.seek(3));
  const auto beyond = log.seek(12);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().kind, LogErrorKind::kBeyondEnd);
  EXPECT_EQ(beyond.error().offset, 12U);
  EXPECT_EQ(next_offset_of(log), 3U);
  EXPECT_TRUE(log.seek(5));
  EXPECT_FALSE(log.wait(milliseconds(5)));
  append(writer, 5);
  EXPECT_TRUE(log.wait(milliseconds(0)));
  EXPECT_EQ(next_offset_of(log), 5U);
}

// The same for one that has stayed: its folder's files are others now.
TEST_F(ReaderTest, ALogMadeAnewUnderAReaderIsAnError) {
  std::optional<Writer> writer = open_or_die(small());
  append(*writer, 50);
  LogReader log = reader();
  ASSERT_TRUE(log.seek(50));
  EXPECT_TRUE(log.next());
  const LogId before = log.log_id();
  EXPECT_TRUE(before.known());
  writer.reset();
  for (const auto& entry : fs::directory_iterator(directory())) fs::remove_all(entry);
  writer = open_or_die(small());
  append(*writer, 10);
  const auto next = log.next();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().kind, LogErrorKind::kBeyondEnd);
  EXPECT_NE(log.log_id(), before);
}

TEST_F(ReaderTest, IndexLeadsIntoLargeSegments) {
  WriterOptions options = small();
  options.segment_bytes = 4 << 20;
  {
    Writer writer = open_or_die(options);
    for (int i = 0; i < 60; ++i) append(writer, 100);
  }
  ASSERT_GT(fs::file_size(directory() / index_name(0)), sizeof(IndexHead) + 3 * sizeof(IndexEntry));
  const std::string good = read_file(directory() / index_name(0));
  // Whatever becomes of the index, every seek finds its record.
  for (int damage = 0; damage < 4; ++damage) {
    std::string bytes = good;
    if (damage == 1) bytes[sizeof(IndexHead) + 40] ^= 1;
    if (damage == 2) bytes.resize(50);
    if (damage == 3) bytes.clear();
    write_file(directory() / index_name(0), bytes);
    LogReader log = reader();
    for (Offset wanted : {0, 999, 1000, 1001, 3500, 5999}) {
      ASSERT_TRUE(log.seek(wanted));
      ASSERT_EQ(next_offset_of(log), wanted) << "damage " << damage;
      ASSERT_TRUE(log.seek_time(time_of(wanted)));
      ASSERT_EQ(next_offset_of(log), wanted) << "damage " << damage;
    }
  }
}

TEST_F(ReaderTest, SeekByTime) {
  Writer writer = open_or_die(small());
  for (int i = 0; i < 40; ++i) append(writer, 10);
  LogReader log = reader();
  for (Offset wanted : {0, 1, 57, 200, 399}) {
    ASSERT_TRUE(log.seek_time(time_of(wanted)));
    EXPECT_EQ(next_offset_of(log), wanted);
    ASSERT_TRUE(log.seek_time(time_of(wanted) - 1));
    EXPECT_EQ(next_offset_of(log), wanted);
  }
  ASSERT_TRUE(log.seek_time(0));
  EXPECT_EQ(next_offset_of(log), 0U);
  ASSERT_TRUE(log.seek_time(time_of(400)));
  EXPECT_EQ(next_offset_of(log), UINT64_MAX);
  append(writer, 1);
  EXPECT_EQ(next_offset_of(log), 400U);
}

TEST_F(ReaderTest, TimesThatGoBackAreFoundInOffsetOrder) {
  Writer writer = open_or_die(small());
  for (const std::int64_t time : {100, 300, 200, 400}) {
    Append record;
    record.received_at_us = time;
    ASSERT_TRUE(writer.commit({&record, 1}));
  }
  LogReader log = reader();
  ASSERT_TRUE(log.seek_time(150));
  EXPECT_EQ((*log.next())->offset, 1U);
  ASSERT_TRUE(log.seek_time(350));
  EXPECT_EQ((*log.next())->offset, 3U);
}

TEST_F(ReaderTest, FollowsAWriter) {
  Writer writer = open_or_die(small());
  LogReader log = reader();
  EXPECT_EQ(next_offset_of(log), UINT64_MAX);
  EXPECT_FALSE(log.wait(milliseconds(3)));
  std::thread later([&writer] {
    for (int i = 0; i < 50; ++i) append(writer, 9);
  });
  for (Offset offset = 0; offset < 450; ++offset) {
    ASSERT_TRUE(log.wait(milliseconds(10'000)));
    ASSERT_EQ(next_offset_of(log), offset);
  }
  later.join();
  EXPECT_EQ(log.end(), 450U);
}

TEST_F(ReaderTest, FollowsOverRestartsOfTheWriter) {
  LogReader* log = nullptr;
  std::optional<LogReader> held;
  Offset expected = 0;
  for (int run = 0; run < 4; ++run) {
    Writer writer = open_or_die(small());
    if (!held) held.emplace(reader());
    log = &*held;
    for (int i = 0; i < run * 5; ++i) append(writer, 8);
    while (expected < writer.next_offset()) ASSERT_EQ(next_offset_of(*log), expected++);
    EXPECT_EQ(next_offset_of(*log), UINT64_MAX);
  }
  EXPECT_GT(expected, 200U);
}

TEST_F(ReaderTest, ReadsACopyWithoutStateOrLockInAReadOnlyDirectory) {
  Writer writer = open_or_die(small());
  for (int i = 0; i < 20; ++i) append(writer, 10);
  const fs::path copy = temp_.path() / "copy";
  fs::create_directory(copy);
  for (const auto& entry : fs::directory_iterator(directory())) {
    if (entry.path().extension() == ".seg") {
      fs::copy_file(entry.path(), copy / entry.path().filename());
    }
  }
  fs::permissions(copy, fs::perms::owner_read | fs::perms::owner_exec);
  const Reading reading = read_all(copy);
  fs::permissions(copy, fs::perms::owner_all);
  EXPECT_TRUE(reading.errors.empty());
  EXPECT_EQ(reading.end, 200U);
  expect_messages(reading, 0, 200);
}

TEST_F(ReaderTest, SegmentsAreDescribed) {
  Writer writer = open_or_die(small());
  for (int i = 0; i < 40; ++i) append(writer, 10);
  for (int closed = 0; closed < 2; ++closed) {
    const auto segments = reader().segments();
    ASSERT_GT(segments.size(), 2U);
    Offset next = 0;
    for (const SegmentInfo& info : segments) {
      EXPECT_EQ(info.file, segment_name(next));
      EXPECT_EQ(info.first, next);
      EXPECT_EQ(info.records, info.next - info.first);
      EXPECT_EQ(info.first_received_at_us, time_of(info.first));
      EXPECT_EQ(info.last_received_at_us, time_of(info.next - 1));
      EXPECT_GT(info.bytes, kHeaderBlockBytes);
      EXPECT_LE(info.bytes, info.file_bytes);
      EXPECT_EQ(info.file_bytes, fs::file_size(directory() / info.file));
      next = info.next;
    }
    EXPECT_EQ(next, 400U);
    writer.close();
  }
}

TEST_F(ReaderTest, GoneIsSaidOnceAndReadingGoesOn) {
  WriterOptions options = small();
  options.retain_bytes = 150 << 10;
  Writer writer = open_or_die(options);
  append(writer, 10);
  LogReader log = reader();
  LogReader idle = reader();
  EXPECT_EQ(next_offset_of(log), 0U);
  while (reader().first() == 0) append(writer, 12);
  // The open reader either still holds the old file or is told; it never sees anything else.
  Offset expected = 1;
  int gone = 0;
  while (expected < writer.next_offset()) {
    const auto record = log.next();
    if (!record) {
      EXPECT_EQ(record.error().kind, LogErrorKind::kGone) << record.error().message;
      ++gone;
      expected = record.error().offset + record.error().records;
      continue;
    }
    ASSERT_TRUE(*record);
    ASSERT_EQ((*record)->offset, expected);
    ASSERT_EQ((*record)->message, message_of(expected, 0));
    ++expected;
  }
  EXPECT_LE(gone, 1);
  const auto said = idle.next();
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().kind, LogErrorKind::kGone);
  EXPECT_EQ(said.error().offset, 0U);
  EXPECT_EQ(next_offset_of(idle), idle.first());
  const auto sought = idle.seek(0);
  ASSERT_FALSE(sought);
  EXPECT_EQ(sought.error().kind, LogErrorKind::kGone);
  EXPECT_EQ(next_offset_of(idle), idle.first());
}

// Five batches of four small records, sealed or left as a killed writer leaves them.
class DamageTest : public ReaderTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    ReaderTest::SetUp();
    if (IsSkipped()) return;
    Writer writer = open_or_die(small());
    for (int i = 0; i < 5; ++i) {
      const Batch batch(writer.next_offset(), 4, 0, 30);
      ASSERT_TRUE(writer.commit(batch.records()));
    }
    if (GetParam()) {
      writer.close();
      good_ = read_file(segment(0));
    } else {
      good_ = read_file(segment(0));
      writer.close();
      fs::remove(directory() / kStateName);
    }
    write_file(segment(0), good_);
    records_ = records_in(good_);
    ASSERT_EQ(records_.size(), 20U);
  }

  // Reads with these bytes changed, expects the given records damaged in one report, all others
  // good.
  void expect_damage(const std::string& bytes, Offset first, Offset next, const std::string& why) {
    write_file(segment(0), bytes);
    const Reading reading = read_all(directory());
    ASSERT_EQ(reading.errors.size(), first == next ? 0U : 1U) << why;
    if (first != next) {
      EXPECT_EQ(reading.errors[0].kind, LogErrorKind::kDamaged) << why;
      EXPECT_EQ(reading.errors[0].offset, first) << why;
      EXPECT_EQ(reading.errors[0].records, next - first) << why;
      EXPECT_EQ(reading.errors[0].segment, segment_name(0)) << why;
      EXPECT_EQ(reading.errors[0].position, records_[first].position) << why;
    }
    for (Offset offset = 0; offset < 20; ++offset) {
      if (offset >= first && offset < next) {
        EXPECT_FALSE(reading.messages.contains(offset)) << why;
        continue;
      }
      ASSERT_TRUE(reading.messages.contains(offset)) << why << ", record " << offset;
      EXPECT_EQ(reading.messages.at(offset), message_of(offset, 0, 30)) << why;
    }
  }

  std::string good_;
  std::vector<Placed> records_;
};

TEST_P(DamageTest, EveryByteOfAMiddleRecord) {
  const Placed& middle = records_[10];
  const std::uint64_t used = kRecordHeaderBytes + middle.header.payload_bytes();
  ASSERT_LT(used, middle.header.span_bytes);
  for (std::uint64_t i = 0; i < middle.header.span_bytes; ++i) {
    for (const int flip : {0x01, 0x80, 0xFF}) {
      std::string bytes = good_;
      char& changed = bytes[middle.position + i];
      changed = static_cast<char>(changed ^ flip);
      const std::string why = "byte " + std::to_string(i) + " flip " + std::to_string(flip);
      // Zeros behind the payload belong to no record: nothing is lost with them.
      const bool lost = i < used;
      expect_damage(bytes, 10, lost ? 11 : 10, why);
      if (HasFatalFailure()) return;
    }
    const auto report = verify(directory());
    ASSERT_TRUE(report);
    ASSERT_EQ(report->damaged.size(), 1U) << "byte " << i;
    EXPECT_EQ(report->damaged[0].offset, 10U);
    EXPECT_EQ(report->damaged[0].position, middle.position);
    EXPECT_EQ(report->damaged[0].records, i < used ? 1U : 0U);
    EXPECT_EQ(report->records, i < used ? 19U : 20U);
  }
}

TEST_P(DamageTest, ADamagedRegionIsReportedOnce) {
  std::string bytes = good_;
  const std::uint64_t begin = records_[5].position;
  const std::uint64_t end = records_[9].position + 20;
  bytes.replace(begin, end - begin, end - begin, '\xA5');
  expect_damage(bytes, 5, 10, "a stretch of garbage");
}

TEST_P(DamageTest, TheFirstRecord) {
  std::string bytes = good_;
  bytes[kHeaderBlockBytes + 3] ^= 1;
  expect_damage(bytes, 0, 1, "first header");
}

TEST_P(DamageTest, TheLastRecordOfASealedSegmentIsDamageAndElseATornTail) {
  std::string bytes = good_;
  bytes[records_[19].position + 70] ^= 1;
  if (GetParam()) {
    expect_damage(bytes, 19, 20, "last record");
  } else {
    write_file(segment(0), bytes);
    const Reading reading = read_all(directory());
    EXPECT_TRUE(reading.errors.empty());
    EXPECT_EQ(reading.end, 19U);
    const auto report = verify(directory());
    ASSERT_TRUE(report && report->torn_tail);
    EXPECT_TRUE(report->ok());
    EXPECT_EQ(report->torn_tail->position, records_[19].position);
    EXPECT_EQ(report->torn_tail->bytes, records_[19].header.span_bytes);
  }
}

TEST_P(DamageTest, BothCopiesOfTheSegmentHeader) {
  std::string bytes = good_;
  bytes[16] ^= 1;
  expect_damage(bytes, 0, 0, "one copy");
  const auto one = verify(directory());
  ASSERT_TRUE(one);
  ASSERT_EQ(one->damaged.size(), 1U);
  EXPECT_EQ(one->damaged[0].records, 0U);
  bytes[kHeaderCopyAt + 16] ^= 1;
  write_file(segment(0), bytes);
  Reading reading = read_all(directory());
  EXPECT_TRUE(reading.messages.empty());
  if (GetParam()) {  // the state page knows how many there were
    ASSERT_EQ(reading.errors.size(), 1U);
    EXPECT_EQ(reading.errors[0].records, 20U);
  }
}

INSTANTIATE_TEST_SUITE_P(, DamageTest, ::testing::Bool(),
                         [](const auto& run) { return run.param ? "Sealed" : "Killed"; });

TEST_F(ReaderTest, AMessageThatContainsARecordIsNeverTakenForOne) {
  // The sender has seen the whole log and knows offset, time and layout; what it cannot know is the
  // epoch's random half and the salt.
  Writer writer = open_or_die(small());
  append(writer, 2);
  std::string forged;
  for (std::uint64_t guess = 0; guess < 16; ++guess) {
    RecordHeader header;
    header.offset = 3;
    header.received_at_us = time_of(3);
    header.message_bytes = 0;
    header.span_bytes = kRecordHeaderBytes;
    finish_record_header(header, {(1ULL << 32) + guess, static_cast<std::uint32_t>(guess)});
    forged.append(reinterpret_cast<const char*>(&header), sizeof header);
  }
  const iovec slice{forged.data(), forged.size()};
  Append record;
  record.message = {&slice, 1};
  record.message_bytes = forged.size();
  record.message_crc32c = base::crc32c(0, forged.data(), forged.size());
  record.received_at_us = time_of(2);
  ASSERT_TRUE(writer.commit({&record, 1}));
  append(writer, 3);
  writer.close();
  std::string bytes = read_file(segment(0));
  bytes[records_in(bytes)[2].position] ^= 1;  // the reader must look for the next record now
  write_file(segment(0), bytes);
  const Reading reading = read_all(directory());
  ASSERT_EQ(reading.errors.size(), 1U);
  EXPECT_EQ(reading.errors[0].records, 1U);
  expect_messages(reading, 3, 6);
}

TEST_F(ReaderTest, AMissingSegmentIsReportedAndSkipped) {
  Writer writer = open_or_die(small());
  for (int i = 0; i < 40; ++i) append(writer, 10);
  writer.close();
  const auto segments = reader().segments();
  ASSERT_GT(segments.size(), 2U);
  fs::remove(directory() / segments[1].file);
  const Reading reading = read_all(directory());
  ASSERT_EQ(reading.errors.size(), 1U);
  EXPECT_EQ(reading.errors[0].offset, segments[1].first);
  EXPECT_EQ(reading.errors[0].records, segments[1].records);
  expect_messages(reading, 0, segments[1].first);
  expect_messages(reading, segments[1].next, 400);
  const auto report = verify(directory());
  ASSERT_TRUE(report);
  EXPECT_EQ(report->damaged.size(), 1U);
}

TEST_F(ReaderTest, ASegmentOfALaterVersion) {
  {
    Writer writer = open_or_die(small());
    append(writer, 3);
  }
  std::string bytes = read_file(segment(0));
  SegmentHeader header;
  header.version = kFormatVersion + 1;
  encode_segment_header(header, bytes.data());
  write_file(segment(0), bytes);
  LogReader log = reader();
  const auto record = log.next();
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().kind, LogErrorKind::kVersion);
  const auto writer = Writer::open(small());
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().kind, OpenErrorKind::kDamaged);
  EXPECT_EQ(read_file(segment(0)), bytes) << "nothing may be changed";
}

}  // namespace
}  // namespace mxring::seglog::test
