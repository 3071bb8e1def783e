#include "seglog/format.h"

#include <charconv>
#include <cstring>
#include <system_error>

#include "base/crc32c.h"

namespace mxring::seglog {

namespace {

constexpr std::size_t kNameDigits = 20;
constexpr std::string_view kSegmentSuffix = ".seg";
constexpr std::string_view kIndexSuffix = ".idx";
constexpr std::string_view kDamagedSuffix = ".damaged-";

template <class T>
std::uint32_t crc_between(const T& object, std::size_t begin, std::size_t end, std::uint32_t seed) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &object, sizeof(T));
  return base::crc32c(seed, bytes + begin, end - begin);
}

// Of everything but the CRC itself. The magic is part of it: one bit tells a record from a seal.
std::uint32_t record_header_crc(const RecordHeader& header, std::uint32_t salt) {
  constexpr std::size_t kCrcAt = offsetof(RecordHeader, crc);
  const std::uint32_t magic = crc_between(header, 0, kCrcAt, salt);
  return crc_between(header, kCrcAt + sizeof header.crc, sizeof header, magic);
}

std::string numbered(std::uint64_t base_offset, std::string_view suffix) {
  std::string name(kNameDigits, '0');
  for (std::size_t i = kNameDigits; i-- > 0 && base_offset > 0; base_offset /= 10) {
    name[i] = static_cast<char>('0' + base_offset % 10);
  }
  return name.append(suffix);
}

std::optional<std::uint64_t> parse_numbered(std::string_view name, std::string_view suffix) {
  if (name.size() != kNameDigits + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
  std::uint64_t value = 0;
  for (char c : name.substr(0, kNameDigits)) {
    if (c < '0' || c > '9') return std::nullopt;
    std::uint64_t next = 0;
    if (__builtin_mul_overflow(value, std::uint64_t{10}, &next) ||
        __builtin_add_overflow(next, static_cast<std::uint64_t>(c - '0'), &value)) {
      return std::nullopt;
    }
  }
  if (value > kOffsetMax) return std::nullopt;
  return value;
}

}  // namespace

std::optional<SegmentHeader> decode_segment_header(std::string_view block, HeaderFault* fault) {
  *fault = HeaderFault::kDamaged;
  for (std::uint64_t at : {std::uint64_t{0}, kHeaderCopyAt}) {
    if (block.size() < at + sizeof(SegmentHeader)) break;
    SegmentHeader header;
    std::memcpy(&header, block.data() + at, sizeof header);
    if (header.magic != kSegmentMagic) continue;
    if (crc_between(header, 0, offsetof(SegmentHeader, crc), 0) != header.crc) continue;
    if (header.version != kFormatVersion) {
      *fault = HeaderFault::kVersion;
      return std::nullopt;
    }
    *fault = HeaderFault::kNone;
    return header;
  }
  return std::nullopt;
}

void encode_segment_header(SegmentHeader header, char* block) {
  header.crc = crc_between(header, 0, offsetof(SegmentHeader, crc), 0);
  std::memset(block, 0, kHeaderBlockBytes);
  std::memcpy(block, &header, sizeof header);
  std::memcpy(block + kHeaderCopyAt, &header, sizeof header);
}

std::optional<RecordHeader> decode_record_header(const char* bytes, SegmentKey key) {
  RecordHeader header;
  std::memcpy(&header, bytes, sizeof header);
  // The cheap comparisons come first: looking for the next record after damage asks this at every
  // multiple of 16.
  if (header.magic != kRecordMagic && header.magic != kSealMagic) return std::nullopt;
  if (header.epoch != key.epoch) return std::nullopt;
  if (record_header_crc(header, key.salt) != header.crc) return std::nullopt;
  if (header.offset > kOffsetMax || header.durable_before > header.offset) return std::nullopt;
  const std::uint64_t used = kRecordHeaderBytes + header.payload_bytes();
  if (header.span_bytes % kRecordAlign != 0 || header.span_bytes < used ||
      header.span_bytes - used >= kBatchAlign + kRecordAlign) {
    return std::nullopt;
  }
  if (header.is_seal() && header.span_bytes != kRecordHeaderBytes) return std::nullopt;
  return header;
}

void finish_record_header(RecordHeader& header, SegmentKey key) {
  header.epoch = key.epoch;
  header.crc = record_header_crc(header, key.salt);
}

std::uint32_t payload_crc(const char* message, std::size_t message_bytes, const char* metadata,
                          std::size_t metadata_bytes) {
  return base::crc32c(base::crc32c(0, message, message_bytes), metadata, metadata_bytes);
}

std::uint32_t state_crc(const StateFields& fields) {
  return crc_between(fields, offsetof(StateFields, durable), offsetof(StateFields, crc), 0);
}

std::uint32_t index_head_crc(const IndexHead& head) {
  return crc_between(head, offsetof(IndexHead, epoch), sizeof head, head.version);
}

std::uint32_t index_entry_crc(const IndexEntry& entry, std::uint64_t epoch) {
  return crc_between(entry, 0, offsetof(IndexEntry, crc), static_cast<std::uint32_t>(epoch));
}

std::string segment_name(std::uint64_t base_offset) {
  return numbered(base_offset, kSegmentSuffix);
}

std::string index_name(std::uint64_t base_offset) {
  return numbered(base_offset, kIndexSuffix);
}

std::optional<std::uint64_t> parse_segment_name(std::string_view name) {
  return parse_numbered(name, kSegmentSuffix);
}

std::optional<std::uint64_t> parse_index_name(std::string_view name) {
  return parse_numbered(name, kIndexSuffix);
}

std::string damaged_name(DamagedName name) {
  return numbered(name.base_offset, kDamagedSuffix) + std::to_string(name.number);
}

std::optional<DamagedName> parse_damaged_name(std::string_view name) {
  const std::size_t digits_at = kNameDigits + kDamagedSuffix.size();
  if (name.size() <= digits_at) return std::nullopt;
  const auto base = parse_numbered(name.substr(0, digits_at), kDamagedSuffix);
  DamagedName parsed{base.value_or(0), 0};
  const char* end = name.data() + name.size();
  const auto number = std::from_chars(name.data() + digits_at, end, parsed.number);
  // Only what damaged_name() gives: no sign, no leading zero.
  if (!base || number.ec != std::errc() || number.ptr != end || damaged_name(parsed) != name) {
    return std::nullopt;
  }
  return parsed;
}

}  // namespace mxring::seglog
