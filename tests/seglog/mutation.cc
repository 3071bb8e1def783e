#include "tests/seglog/mutation.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "seglog/verify.h"
#include "tests/seglog/log_fixture.h"

namespace mxring::seglog::test {

namespace {

// Takes the script's bytes one by one; zeros when they are used up.
class Script {
 public:
  explicit Script(std::string_view bytes) : bytes_(bytes) {}
  std::size_t byte() {
    if (bytes_.empty()) return 0;
    const auto value = static_cast<unsigned char>(bytes_.front());
    bytes_.remove_prefix(1);
    return value;
  }
  std::size_t below(std::size_t bound) { return (byte() << 8 | byte()) % bound; }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

struct Range {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// A segment of batches as the writer lays them out under sync = "commit".
std::string make_segment(Script& script, std::vector<Placed>& records) {
  SegmentHeader header;
  header.epoch = (1ULL << 32) + 4711;
  header.salt = 815;
  std::string bytes(kHeaderBlockBytes, '\0');
  encode_segment_header(header, bytes.data());
  const std::size_t batches = 1 + script.byte() % 5;
  Offset offset = 0;
  for (std::size_t i = 0; i < batches; ++i) {
    const Offset durable_before = offset;
    const std::size_t count = 1 + script.byte() % 4;
    for (std::size_t k = 0; k < count; ++k, ++offset) {
      const std::string message = message_of(offset, 0);
      const std::string metadata = metadata_of(offset);
      RecordHeader record;
      record.offset = offset;
      record.received_at_us = time_of(offset);
      record.durable_before = durable_before;
      record.message_bytes = static_cast<std::uint32_t>(message.size());
      record.metadata_bytes = static_cast<std::uint32_t>(metadata.size());
      record.payload_crc =
          payload_crc(message.data(), message.size(), metadata.data(), metadata.size());
      const std::uint64_t used = kRecordHeaderBytes + record.payload_bytes();
      std::uint64_t span = align_up(used, kRecordAlign);
      if (k + 1 == count) span = align_up(bytes.size() + span, kBatchAlign) - bytes.size();
      record.span_bytes = static_cast<std::uint32_t>(span);
      finish_record_header(record, {header.epoch, header.salt});
      records.push_back({record, bytes.size()});
      bytes.append(reinterpret_cast<const char*>(&record), sizeof record);
      bytes.append(message).append(metadata).append(span - used, '\0');
    }
  }
  bytes.append(8192, '\0');
  return bytes;
}

std::vector<Range> damage(Script& script, std::string& bytes, std::size_t records_end) {
  std::vector<Range> ranges;
  while (!script.empty() && ranges.size() < 6) {
    const std::size_t kind = script.byte() % 4;
    const std::size_t at = kHeaderBlockBytes + script.below(records_end - kHeaderBlockBytes);
    std::size_t size = 1;
    if (kind == 0) {
      bytes[at] = static_cast<char>(bytes[at] ^ (1 + script.byte() % 255));
    } else if (kind == 1) {  // garbage
      size = std::min(1 + script.below(2000), bytes.size() - at);
      for (std::size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<char>(i * 31 + at);
    } else if (kind == 2) {  // pages that were never written
      size = std::min(std::size_t{4096}, bytes.size() - at);
      bytes.replace(at, size, size, '\0');
    } else {  // the file ends here
      size = bytes.size() - at;
      bytes.resize(at);
      ranges.push_back({at, at + size});
      break;
    }
    ranges.push_back({at, at + size});
  }
  return ranges;
}

// The state page a writer would have left; sometimes there is none, sometimes it is older.
void write_state(Script& script, const fs::path& directory, Offset durable) {
  const std::size_t choice = script.byte() % 3;
  if (choice == 0) return;
  StateFields fields;
  fields.durable = choice == 1 ? durable : durable / 2;
  fields.crc = state_crc(fields);
  std::string page(kStateBytes, '\0');
  std::memcpy(page.data(), &fields, sizeof fields);
  write_file(directory / kStateName, page);
}

struct Found {
  std::map<Offset, std::string> messages;
  Offset end = 0;
  std::string wrong;
};

Found read_log(const fs::path& directory) {
  Found found;
  auto reader = LogReader::open(directory);
  if (!reader) {
    found.wrong = "cannot be opened: " + reader.error().message;
    return found;
  }
  found.end = reader->end();
  Offset expected = reader->first();
  while (true) {
    const auto record = reader->next();
    if (!record) {
      if (record.error().offset < expected || record.error().records == 0) {
        found.wrong = "damage that does not move forward: " + record.error().message;
        return found;
      }
      expected = record.error().offset + record.error().records;
      continue;
    }
    if (!*record) break;
    if ((*record)->offset != expected) {
      found.wrong = "offset " + std::to_string((*record)->offset) + " unannounced";
      return found;
    }
    found.messages.emplace(expected++, (*record)->message);
  }
  if (expected != found.end) found.wrong = "stops before its end";
  return found;
}

}  // namespace

std::string write_mutate_recover(std::string_view bytes) {
  Script script(bytes);
  std::vector<Placed> records;
  std::string segment = make_segment(script, records);
  const MemoryDir memory;
  const fs::path directory = memory.path();
  // Without a state page, what the last batch's headers say is durable is all that is known.
  const Offset acknowledged = records.back().header.durable_before;
  write_state(script, directory, acknowledged);
  const std::size_t records_end = records.back().position + records.back().header.span_bytes;
  const std::vector<Range> ranges = damage(script, segment, records_end);
  write_file(directory / segment_name(0), segment);

  const auto intact = [&](const Placed& placed) {
    const std::uint64_t end = placed.position + kRecordHeaderBytes + placed.header.payload_bytes();
    return std::none_of(ranges.begin(), ranges.end(), [&](const Range& range) {
      return range.begin < end && range.end > placed.position;
    });
  };
  // What must be readable: intact records, as far as it can be known that they were acknowledged,
  // and intact ones before any damage.
  Offset durable = 0;
  for (const Placed& placed : records) {
    if (intact(placed)) durable = std::max(durable, placed.header.durable_before);
  }
  bool unbroken = true;
  std::vector<Offset> required;
  for (const Placed& placed : records) {
    unbroken = unbroken && intact(placed);
    if (intact(placed) && (unbroken || placed.header.offset < durable)) {
      required.push_back(placed.header.offset);
    }
  }

  WriterOptions options;
  options.directory = directory;
  options.segment_bytes = 64 << 10;
  options.record_bytes_max = 16 << 10;
  options.sync = Sync::kNone;
  const Found before = read_log(directory);
  if (!before.wrong.empty()) return "before recovery: " + before.wrong;
  auto writer = Writer::open(options);
  if (!writer) return "open: " + writer.error().message;
  const Offset next = writer->next_offset();
  if (next != before.end) return "reader and recovery disagree about the end";
  const Batch batch(next, 3, 1);
  if (!writer->commit(batch.records())) return "commit failed";
  writer->close();
  const Found after = read_log(directory);
  if (!after.wrong.empty()) return "after recovery: " + after.wrong;
  if (after.end != next + 3) return "the end is not behind what was appended";

  for (const Offset offset : required) {
    if (!before.messages.contains(offset)) return "lost " + std::to_string(offset) + " (reader)";
    if (!after.messages.contains(offset)) return "lost " + std::to_string(offset);
  }
  for (const auto* found : {&before, &after}) {
    for (const auto& [offset, message] : found->messages) {
      const bool appended = offset >= next;
      if (message != message_of(offset, appended ? 1 : 0)) {
        return "record " + std::to_string(offset) + " shows wrong bytes";
      }
    }
  }
  for (Offset offset = next; offset < next + 3; ++offset) {
    if (!after.messages.contains(offset)) return "appended record is missing";
  }
  const auto report = verify(directory);
  if (!report || report->records != after.messages.size()) return "verify counts otherwise";
  return "";
}

}  // namespace mxring::seglog::test
