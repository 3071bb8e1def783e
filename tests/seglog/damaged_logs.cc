// Makes logs, damages each under a seed, and says what the C++ readers show of it: a line a log,
// which damaged_logs_test.py compares with what the Python reader shows of the same files.
//
//   seglog_damaged_logs DIRECTORY FIRST COUNT    logs FIRST to FIRST + COUNT - 1, one folder each
//
// A line: SEED END ENTRY..., and an entry is OFFSET:CRC32C of message and metadata (the bytes as
// hexadecimal), -FIRST:NEXT:WHY for a gap, or E for an error that ends the reading. What must hold
// of any log is checked here: both readers show the same, every byte is one that was written, and
// each offset is a record or in a gap.
#include <cstdio>
#include <cstdlib>
#include <random>

#include "seglog/group_reader.h"
#include "tests/seglog/log_fixture.h"

namespace mxring::seglog::test {
namespace {

constexpr std::size_t kRecords = 60;

[[noreturn]] void fail(std::uint64_t seed, const std::string& what) {
  std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed), what.c_str());
  std::exit(1);
}

using Files = std::map<std::string, std::string>;

Files files_of(const fs::path& directory) {
  Files files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(".seg") || name.ends_with(".idx") || name == kStateName) {
      files[name] = read_file(entry.path());
    }
  }
  return files;
}

// Three segments or more; `closed`: with a seal at the end, else as a crash leaves it.
Files sample(const fs::path& directory, bool closed, std::uint64_t salt) {
  fs::create_directories(directory);
  WriterOptions options;
  options.directory = directory;
  options.segment_bytes = 64 << 10;
  options.record_bytes_max = 16 << 10;
  options.sync = Sync::kNone;
  auto writer = Writer::open(options);
  if (!writer) fail(0, writer.error().message);
  std::size_t count = 1;
  for (Offset offset = 0; offset < kRecords; offset += count) {
    count = std::min<std::size_t>(1 + (offset * 7 + salt) % 5, kRecords - offset);
    const Batch batch(offset, count, 0, 4000);
    if (!writer->commit(batch.records())) fail(0, "commit failed");
  }
  if (closed) writer->close();
  Files files = files_of(directory);
  return files;
}

class Damage {
 public:
  explicit Damage(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t bound) { return random_() % bound; }

  // What stands for a file that cannot be read although it opens.
  static constexpr const char* kFolder = "folder";

  void one(Files& files) {
    auto at = files.begin();
    std::advance(at, static_cast<long>(below(files.size())));
    std::string& bytes = at->second;
    const bool segment = at->first.ends_with(".seg");
    if (!segment || bytes.size() <= kHeaderBlockBytes) {
      // The state page and the index: small, and nobody may be misled by them.
      if (below(4) == 0 || bytes.empty()) {
        files.erase(at);
      } else {
        flip(bytes, below(std::min<std::size_t>(bytes.size(), 128)));
      }
      return;
    }
    std::size_t used = bytes.find_last_not_of('\0') + 1;
    used = std::max(used, kHeaderBlockBytes + 1);
    const std::size_t place = kHeaderBlockBytes + below(used - kHeaderBlockBytes);
    switch (below(14)) {
      case 0:
      case 1:
      case 2:
        return flip(bytes, place);
      case 3:
        for (int i = 0; i < 5; ++i) {
          flip(bytes, kHeaderBlockBytes + below(used - kHeaderBlockBytes));
        }
        return;
      case 4:
        return overwrite(bytes, place, 1 + below(3000), true);
      case 5:
        return overwrite(bytes, place, 1 + below(6000), false);
      case 6:
        bytes.resize(place);
        return;
      case 7:
        return flip(bytes, below(kHeaderBlockBytes));
      case 8:
        return flip(bytes, used - 1 - below(std::min<std::size_t>(200, used - 1)));
      case 9: {  // an earlier record's bytes, in another place
        const std::string part = bytes.substr(kHeaderBlockBytes, 64 + below(600));
        const std::size_t to = place / 16 * 16;
        const std::size_t size = std::min(part.size(), bytes.size() - to);
        bytes.replace(to, size, part.substr(0, size));
        return;
      }
      case 10:
        bytes.resize(below(kHeaderBlockBytes));
        return;
      case 11: {  // the bytes of a segment under the name of another
        const std::string other = bytes;
        auto next = std::next(at) == files.end() ? files.begin() : std::next(at);
        if (next->first.ends_with(".seg")) next->second = other;
        return;
      }
      case 12:
        if (files.size() > 3) files.erase(at);
        return;
      default:
        if (below(3) == 0) {
          bytes = kFolder;
        } else {
          for (int i = 0; i < 2; ++i) flip(bytes, place);
        }
        return;
    }
  }

 private:
  void flip(std::string& bytes, std::size_t at) {
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
  }
  void overwrite(std::string& bytes, std::size_t at, std::size_t size, bool noise) {
    for (std::size_t i = at; i < std::min(bytes.size(), at + size); ++i) {
      bytes[i] = noise ? static_cast<char>(random_()) : '\0';
    }
  }

  std::mt19937_64 random_;
};

void write_files(const fs::path& directory, const Files& files) {
  fs::create_directories(directory);
  for (const auto& [name, bytes] : files) {
    if (bytes == Damage::kFolder) {
      fs::create_directory(directory / name);
    } else {
      write_file(directory / name, bytes);
    }
  }
}

struct Shown {
  std::string text;
  Offset next = 0;
  bool failed = false;
};

void add_gap(std::vector<RecordGap>& gaps, const RecordGap& gap) {
  if (!gaps.empty() && gaps.back().next == gap.first && gaps.back().removed == gap.removed) {
    gaps.back().next = gap.next;
  } else {
    gaps.push_back(gap);
  }
}

class Line {
 public:
  void record(const Record& record) {
    flush();
    const std::uint32_t crc = base::crc32c(0, record.bytes.data(), record.bytes.size());
    char text[64];
    std::snprintf(text, sizeof text, " %llu:%08x", static_cast<unsigned long long>(record.offset),
                  crc);
    text_ += text;
  }
  void gap(const RecordGap& gap) { add_gap(gaps_, gap); }
  void error() {
    flush();
    text_ += " E";
  }
  std::string text() {
    flush();
    return text_;
  }

 private:
  void flush() {
    for (const RecordGap& gap : gaps_) {
      text_ += " -" + std::to_string(gap.first) + ":" + std::to_string(gap.next) + ":" +
               (gap.removed ? "removed" : "damaged");
    }
    gaps_.clear();
  }
  std::string text_;
  std::vector<RecordGap> gaps_;
};

void check_record(std::uint64_t seed, const Record& record) {
  if (record.message != message_of(record.offset, 0, 4000) ||
      record.received_at_us != time_of(record.offset)) {
    fail(seed, "record " + std::to_string(record.offset) + " shows wrong bytes");
  }
}

Shown by_log_reader(const fs::path& directory, std::uint64_t seed) {
  Shown shown;
  Line line;
  auto reader = LogReader::open(directory);
  if (!reader) {
    line.error();
    return {line.text(), 0, true};
  }
  reader->include_refusals(true);
  shown.next = reader->first();
  for (std::size_t steps = 0; steps < 1000; ++steps) {
    const auto record = reader->next();
    if (!record) {
      const LogError& error = record.error();
      if (error.kind != LogErrorKind::kDamaged && error.kind != LogErrorKind::kGone) {
        line.error();
        return {line.text(), shown.next, true};
      }
      if (error.offset != shown.next || error.records == 0) fail(seed, "a gap out of place");
      line.gap({error.offset, error.offset + error.records, error.kind == LogErrorKind::kGone});
      shown.next = error.offset + error.records;
      continue;
    }
    if (!*record) {
      if (shown.next != reader->end()) fail(seed, "it stops before its end");
      shown.text = line.text();
      return shown;
    }
    if ((*record)->offset != shown.next) fail(seed, "an offset unannounced");
    check_record(seed, **record);
    line.record(**record);
    shown.next = (*record)->offset + 1;
  }
  fail(seed, "the reader does not come to an end");
}

Shown by_group_reader(const fs::path& directory, std::uint64_t seed) {
  Line line;
  GroupOptions options;
  options.refusals = true;
  const base::Now now = base::read_clocks();
  auto reader = GroupReader::open(directory, "g", options, now);
  if (!reader) {
    line.error();
    return {line.text(), 0, true};
  }
  for (std::size_t steps = 0; steps < 1000; ++steps) {
    const auto step = reader->next();
    if (!step) {
      line.error();
      return {line.text(), reader->position(), true};
    }
    if (step->gap) {
      line.gap(*step->gap);
    } else if (step->record) {
      check_record(seed, *step->record);
      line.record(*step->record);
    } else {
      return {line.text(), reader->position(), false};
    }
  }
  fail(seed, "the group's reader does not come to an end");
}

void one_log(const std::vector<Files>& samples, const fs::path& directory, std::uint64_t seed) {
  Files files = samples[seed % samples.size()];
  Damage damage(seed);
  const std::size_t times = seed < samples.size() ? 0 : 1 + damage.below(3);
  for (std::size_t i = 0; i < times && !files.empty(); ++i) damage.one(files);
  write_files(directory, files);
  const Shown shown = by_log_reader(directory, seed);
  const Shown grouped = by_group_reader(directory, seed);
  // The group's reader may stop one entry earlier, or never begin, where the system refuses.
  if (!shown.failed && shown.text != grouped.text) {
    fail(seed, "the readers differ:\n" + shown.text + "\n" + grouped.text);
  }
  if (shown.failed && !grouped.failed) fail(seed, "only one reader meets the error");
  std::error_code ignored;
  fs::remove_all(directory / "groups", ignored);
  std::printf("%llu %llu%s\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(shown.next), shown.text.c_str());
}

int run(const fs::path& directory, std::uint64_t first, std::uint64_t count) {
  std::vector<Files> samples;
  for (std::uint64_t i = 0; i < 4; ++i) {
    const fs::path place = directory / ("sample" + std::to_string(i));
    samples.push_back(sample(place, i % 2 == 0, i));
    fs::remove_all(place);
  }
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    one_log(samples, directory / std::to_string(seed), seed);
  }
  return 0;
}

}  // namespace
}  // namespace mxring::seglog::test

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  return mxring::seglog::test::run(argv[1], std::strtoull(argv[2], nullptr, 10),
                                   std::strtoull(argv[3], nullptr, 10));
}
