// Arbitrary bytes as a segment, with a valid header in front of them unless the first byte is odd,
// and with their CRCs set right where the second byte is odd: so the fuzzer gets past the checks.
// Whatever comes, reader, verification and recovery agree and come to an end.
#include <mxring/log_reader.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "seglog/verify.h"
#include "tests/seglog/log_fixture.h"

namespace {

using namespace mxring;
using namespace mxring::seglog;

constexpr SegmentKey kKey{(1ULL << 32) + 7, 99};

void mend_crcs(std::string& bytes) {
  for (std::size_t at = 0; at + kRecordHeaderBytes <= bytes.size(); at += kRecordAlign) {
    RecordHeader header;
    std::memcpy(&header, bytes.data() + at, sizeof header);
    if (header.magic != kRecordMagic && header.magic != kSealMagic) continue;
    const std::size_t payload = at + kRecordHeaderBytes;
    if (payload + header.payload_bytes() <= bytes.size()) {
      header.payload_crc =
          payload_crc(bytes.data() + payload, header.message_bytes,
                      bytes.data() + payload + header.message_bytes, header.metadata_bytes);
    }
    finish_record_header(header, kKey);
    std::memcpy(bytes.data() + at, &header, sizeof header);
  }
}

// Reads to the end; the number of good records.
std::uint64_t read_all(LogReader& reader, Offset* end) {
  std::uint64_t records = 0;
  Offset expected = reader.first();
  while (true) {
    const auto record = reader.next();
    if (!record) {
      if (record.error().offset < expected || record.error().records == 0) std::abort();
      expected = record.error().offset + record.error().records;
      continue;
    }
    if (!*record) break;
    if ((*record)->offset != expected) std::abort();
    ++expected;
    ++records;
    const std::string delivered = (*record)->delivered();
    if (delivered.size() > (*record)->trace.size() + (*record)->message.size()) std::abort();
  }
  *end = expected;
  return records;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const bool with_header = data[0] % 2 == 0;
  const bool mend = data[1] % 2 == 1;
  std::string body(reinterpret_cast<const char*>(data) + 2, size - 2);
  if (mend) mend_crcs(body);
  std::string segment;
  if (with_header) {
    SegmentHeader header;
    header.epoch = kKey.epoch;
    header.salt = kKey.salt;
    segment.resize(kHeaderBlockBytes);
    encode_segment_header(header, segment.data());
  }
  segment += body;

  const seglog::test::MemoryDir memory;
  seglog::test::write_file(memory.path() / segment_name(0), segment);
  auto reader = LogReader::open(memory.path());
  if (!reader) std::abort();
  Offset end = 0;
  const std::uint64_t records = read_all(*reader, &end);
  if (end != reader->end() && end != 0) std::abort();
  (void)reader->seek(end / 2);
  (void)reader->next();
  (void)reader->seek_time(static_cast<std::int64_t>(size));
  (void)reader->next();
  (void)reader->segments();
  const auto report = verify(memory.path());
  if (!report || report->records != records) std::abort();

  WriterOptions options;
  options.directory = memory.path();
  options.segment_bytes = 64 << 10;
  options.record_bytes_max = 16 << 10;
  options.sync = Sync::kNone;
  const auto writer = Writer::open(options);
  if (writer && writer->next_offset() != end) std::abort();
  return 0;
}
