// Logs with contents that can be checked without remembering them: everything about record n is a
// function of n and of a salt that tells apart two lives of one offset.
#pragma once

#include <gtest/gtest.h>
#include <mxring/log_reader.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "seglog/format.h"
#include "seglog/metadata.h"
#include "seglog/writer.h"
#include "tests/support/temp_dir.h"

namespace mxring::seglog::test {

namespace fs = std::filesystem;

inline std::string message_of(Offset offset, std::uint64_t salt, std::size_t bytes_max = 600) {
  std::uint64_t state = offset * 0x9E3779B97F4A7C15ULL + salt * 0xD1B54A32D192ED03ULL + 1;
  const auto random = [&state] {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  };
  std::string text = "Subject: " + std::to_string(offset) + "/" + std::to_string(salt) + "\r\n\r\n";
  const std::size_t size = text.size() + random() % (bytes_max + 1);
  while (text.size() < size) {
    // Eight printable bytes at once: some tests make very many messages.
    const std::uint64_t word = (random() & 0x3F3F3F3F3F3F3F3FULL) + 0x3030303030303030ULL;
    text.append(reinterpret_cast<const char*>(&word), std::min<std::size_t>(8, size - text.size()));
  }
  return text;
}

inline std::string metadata_of(Offset offset) {
  std::string bytes;
  MetadataWriter metadata(bytes);
  metadata.text(MetadataTag::kHelo, "host-" + std::to_string(offset));
  metadata.recipient("rcpt-" + std::to_string(offset % 7) + "@example.org", "", 0);
  return bytes;
}

inline std::int64_t time_of(Offset offset) {
  return 1'700'000'000'000'000 + static_cast<std::int64_t>(offset) * 1000;
}

// The records of one batch with all their memory.
class Batch {
 public:
  Batch(Offset first, std::size_t count, std::uint64_t salt = 0, std::size_t bytes_max = 600) {
    texts_.reserve(count * 2);
    slices_.reserve(count * 2);
    for (Offset offset = first; offset < first + count; ++offset) {
      texts_.push_back(message_of(offset, salt, bytes_max));
      std::string& message = texts_.back();
      texts_.push_back(metadata_of(offset));
      const std::string& metadata = texts_.back();
      // Two pieces, as a message that crosses a buffer's end.
      const std::size_t cut = message.size() / 3;
      slices_.push_back({message.data(), cut});
      slices_.push_back({message.data() + cut, message.size() - cut});
      Append record;
      record.message = {slices_.end().base() - 2, 2};
      record.message_bytes = message.size();
      record.message_crc32c = base::crc32c(0, message.data(), message.size());
      record.metadata = metadata;
      record.received_at_us = time_of(offset);
      records_.push_back(record);
    }
  }
  std::span<const Append> records() const { return records_; }

 private:
  std::vector<std::string> texts_;
  std::vector<iovec> slices_;
  std::vector<Append> records_;
};

struct Reading {
  std::map<Offset, std::string> messages;
  std::vector<LogError> errors;
  Offset first = 0;
  Offset end = 0;
};

// Everything a reader returns. Also checks what must hold of any log whatever has happened to it:
// offsets ascend, errors move forward, and metadata and time belong to the offset.
inline Reading read_all(const fs::path& directory) {
  Reading reading;
  auto reader = LogReader::open(directory);
  if (!reader) {
    reading.errors.push_back(reader.error());
    return reading;
  }
  reading.first = reader->first();
  reading.end = reader->end();
  Offset expected = reading.first;
  for (std::uint64_t steps = 0; steps < 10'000'000; ++steps) {
    const auto record = reader->next();
    if (!record) {
      EXPECT_GE(record.error().offset, expected) << record.error().message;
      EXPECT_GT(record.error().records, 0U) << record.error().message;
      expected = record.error().offset + record.error().records;
      reading.errors.push_back(record.error());
      continue;
    }
    if (!*record) {
      EXPECT_EQ(expected, reading.end) << "what was neither read nor reported has been lost";
      return reading;
    }
    const Record& found = **record;
    EXPECT_EQ(found.offset, expected);
    EXPECT_EQ(found.received_at_us, time_of(found.offset));
    EXPECT_EQ(found.helo, "host-" + std::to_string(found.offset));
    EXPECT_EQ(found.rcpt_to.size(), 1U);
    reading.messages.emplace(found.offset, found.message);
    expected = found.offset + 1;
  }
  ADD_FAILURE() << "the reader does not come to an end";
  return reading;
}

inline std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const fs::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Where the records of a segment lie, taken from the file itself.
struct Placed {
  RecordHeader header;
  std::uint64_t position = 0;
};
inline std::vector<Placed> records_in(std::string_view segment) {
  std::vector<Placed> placed;
  HeaderFault fault = HeaderFault::kNone;
  const auto header = decode_segment_header(segment.substr(0, kHeaderBlockBytes), &fault);
  if (!header) return placed;
  std::uint64_t at = kHeaderBlockBytes;
  while (at + kRecordHeaderBytes <= segment.size()) {
    const auto record = decode_record_header(segment.data() + at, {header->epoch, header->salt});
    if (!record || record->is_seal()) break;
    placed.push_back({*record, at});
    at += record->span_bytes;
  }
  return placed;
}

// A folder in memory for tests that do not need durability but very many files.
class MemoryDir {
 public:
  MemoryDir() {
    std::string pattern = "/dev/shm/mxring-test-XXXXXX";
    if (::access("/dev/shm", W_OK) != 0) pattern = (fs::current_path() / "mxring-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  MemoryDir(const MemoryDir&) = delete;
  MemoryDir& operator=(const MemoryDir&) = delete;
  ~MemoryDir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class LogTest : public ::testing::Test {
 protected:
  fs::path directory() const { return temp_.path() / "log"; }

  // Small segments, so that tests roll often.
  WriterOptions small() const {
    WriterOptions options;
    options.directory = directory();
    options.segment_bytes = 64 << 10;
    options.record_bytes_max = 16 << 10;
    return options;
  }

  void SetUp() override {
    auto probe = Writer::open(small());
    if (!probe && probe.error().kind == OpenErrorKind::kFileSystem) {
      GTEST_SKIP() << "skipped: needs a build folder on a local disk: " << probe.error().message;
    }
    ASSERT_TRUE(probe) << probe.error().message;
    probe->close();
    fs::remove_all(directory());
  }

  static Writer open_or_die(const WriterOptions& options) {
    auto writer = Writer::open(options);
    if (!writer) throw std::runtime_error(writer.error().message);
    return std::move(*writer);
  }

  // Commits `count` records and expects success.
  static void append(Writer& writer, std::size_t count, std::uint64_t salt = 0,
                     std::size_t bytes_max = 600) {
    const Offset next = writer.next_offset();
    const Batch batch(next, count, salt, bytes_max);
    const auto first = writer.commit(batch.records());
    ASSERT_TRUE(first) << writer.failure();
    EXPECT_EQ(*first, next);
  }

  static void expect_messages(const Reading& reading, Offset first, Offset next,
                              std::uint64_t salt = 0, std::size_t bytes_max = 600) {
    for (Offset offset = first; offset < next; ++offset) {
      const auto found = reading.messages.find(offset);
      ASSERT_NE(found, reading.messages.end()) << "record " << offset << " is not readable";
      ASSERT_EQ(found->second, message_of(offset, salt, bytes_max)) << "record " << offset;
    }
  }

  mxring::test::TempDir temp_;
};

}  // namespace mxring::seglog::test
