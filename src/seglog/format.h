// The layout of a log on disk (FORMAT.md) and its pure encoding and decoding. Nothing here does
// I/O; every byte that is decoded may come from a damaged or hostile file.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mxring::seglog {

static_assert(std::endian::native == std::endian::little, "the format is written as it lies");

constexpr std::uint32_t kFormatVersion = 1;

constexpr std::uint64_t kSegmentMagic = 0x314745534752584DULL;  // "MXRGSEG1"
constexpr std::uint64_t kStateMagic = 0x314154534752584DULL;    // "MXRGSTA1"
constexpr std::uint64_t kIndexMagic = 0x315844494752584DULL;    // "MXRGIDX1"
constexpr std::uint32_t kRecordMagic = 0x3172786D;              // "mxr1"
constexpr std::uint32_t kSealMagic = 0x3173786D;                // "mxs1"

constexpr std::uint64_t kHeaderBlockBytes = 4096;  // records begin after it
constexpr std::uint64_t kHeaderCopyAt = 2048;      // second copy, in another sector
constexpr std::uint64_t kBatchAlign = 4096;        // a commit begins here: one page of the cache
constexpr std::uint64_t kRecordAlign = 16;
constexpr std::uint64_t kStateBytes = 4096;

constexpr std::uint64_t kOffsetMax = 1ULL << 62;  // greater ones are damage: sums cannot overflow

constexpr std::uint32_t kSegmentUnsynced = 1;  // SegmentHeader::flags
constexpr std::uint64_t kStatePoisoned = 1;    // StateFields::flags
constexpr std::uint64_t kStateRecovering = 2;  // a writer has the lock, and looks for the end
constexpr std::uint64_t kStateWakes = 4;       // the writer calls FUTEX_WAKE on the sequence

struct SegmentHeader {
  std::uint64_t magic = kSegmentMagic;
  std::uint32_t version = kFormatVersion;
  std::uint32_t flags = 0;
  std::uint64_t epoch = 0;
  std::uint64_t base_offset = 0;
  std::int64_t created_at_us = 0;
  std::uint32_t salt = 0;
  std::uint8_t log_id[16] = {};  // all zero: written before there were log ids
  std::uint32_t crc = 0;
};

struct RecordHeader {
  std::uint32_t magic = kRecordMagic;
  std::uint32_t crc = 0;
  std::uint64_t epoch = 0;
  std::uint64_t offset = 0;
  std::int64_t received_at_us = 0;
  std::uint64_t durable_before = 0;
  std::uint32_t span_bytes = 0;
  std::uint32_t message_bytes = 0;
  std::uint32_t metadata_bytes = 0;
  std::uint32_t payload_crc = 0;
  std::uint64_t reserved = 0;

  bool is_seal() const { return magic == kSealMagic; }
  std::uint64_t payload_bytes() const { return std::uint64_t{message_bytes} + metadata_bytes; }
};

struct StateFields {
  std::uint64_t magic = kStateMagic;
  std::uint64_t sequence = 0;
  std::uint64_t durable = 0;
  std::uint64_t segment = 0;
  std::uint64_t position = 0;
  std::uint64_t epoch = 0;
  std::uint64_t flags = 0;
  std::uint32_t crc = 0;
  std::uint32_t reserved = 0;

  bool poisoned() const { return (flags & kStatePoisoned) != 0; }
  bool recovering() const { return (flags & kStateRecovering) != 0; }
};

struct IndexHead {
  std::uint64_t magic = kIndexMagic;
  std::uint32_t version = kFormatVersion;
  std::uint32_t crc = 0;  // of epoch and reserved
  std::uint64_t epoch = 0;
  std::uint64_t reserved = 0;
};

struct IndexEntry {
  std::uint64_t offset = 0;
  std::uint64_t position = 0;
  std::int64_t newest_before_us = 0;  // greatest time of the segment's records before this one
  std::uint32_t crc = 0;
  std::uint32_t reserved = 0;
};

static_assert(sizeof(SegmentHeader) == 64 && sizeof(RecordHeader) == 64);
static_assert(sizeof(StateFields) == 64 && sizeof(IndexHead) == 32 && sizeof(IndexEntry) == 32);
static_assert(offsetof(SegmentHeader, epoch) == 16 && offsetof(SegmentHeader, salt) == 40);
static_assert(offsetof(SegmentHeader, log_id) == 44 && offsetof(SegmentHeader, crc) == 60);
static_assert(offsetof(RecordHeader, epoch) == 8 && offsetof(RecordHeader, durable_before) == 32);
static_assert(offsetof(RecordHeader, span_bytes) == 40 &&
              offsetof(RecordHeader, payload_crc) == 52);
static_assert(offsetof(StateFields, durable) == 16 && offsetof(StateFields, crc) == 56);
static_assert(offsetof(IndexEntry, crc) == 24);
static_assert(sizeof(SegmentHeader) <= kHeaderCopyAt && kHeaderCopyAt * 2 == kHeaderBlockBytes);
static_assert(kHeaderBlockBytes % kBatchAlign == 0 && kBatchAlign % kRecordAlign == 0);
static_assert(sizeof(RecordHeader) % kRecordAlign == 0);

constexpr std::uint64_t kRecordHeaderBytes = sizeof(RecordHeader);

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

// What a reader must know to tell a record of this segment from any other bytes.
struct SegmentKey {
  std::uint64_t epoch = 0;
  std::uint32_t salt = 0;
};

enum class HeaderFault : std::uint8_t { kNone, kDamaged, kVersion };

// `block` is the first kHeaderBlockBytes of the file. Either copy will do.
std::optional<SegmentHeader> decode_segment_header(std::string_view block, HeaderFault* fault);
// Fills the whole block: both copies and the zeros.
void encode_segment_header(SegmentHeader header, char* block);

// A good header of a record or seal of this segment, with sizes that agree with each other. `bytes`
// has at least kRecordHeaderBytes.
std::optional<RecordHeader> decode_record_header(const char* bytes, SegmentKey key);
// Sets the CRC; everything else is the caller's.
void finish_record_header(RecordHeader& header, SegmentKey key);

std::uint32_t payload_crc(const char* message, std::size_t message_bytes, const char* metadata,
                          std::size_t metadata_bytes);

std::uint32_t state_crc(const StateFields& fields);
std::uint32_t index_head_crc(const IndexHead& head);
std::uint32_t index_entry_crc(const IndexEntry& entry, std::uint64_t epoch);

// "00000000000000000000.seg"; the offset of such a name.
std::string segment_name(std::uint64_t base_offset);
std::string index_name(std::uint64_t base_offset);
std::optional<std::uint64_t> parse_segment_name(std::string_view name);
std::optional<std::uint64_t> parse_index_name(std::string_view name);

// "00000000000000000000.damaged-1": a segment that recovery has set aside.
struct DamagedName {
  std::uint64_t base_offset = 0;
  std::uint64_t number = 0;  // from 1; tells apart those of one base offset
};
std::string damaged_name(DamagedName name);
std::optional<DamagedName> parse_damaged_name(std::string_view name);

constexpr const char* kStateName = "state";
constexpr const char* kLockName = "LOCK";
constexpr const char* kLogIdName = "log-id";
constexpr const char* kGroupsName = "groups";

}  // namespace mxring::seglog
