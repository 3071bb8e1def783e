// The metadata of a record: everything we know about a message beside its bytes, as a sequence of
// {tag: u16, size: u32, bytes} in ascending or repeated tags (FORMAT.md). Readers skip tags they do
// not know, so later versions add fields without a new format.
//
// Pure; MetadataWriter appends to a caller's buffer whose memory is reused between messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mxring/record.h"

namespace mxring::seglog {

enum class MetadataTag : std::uint16_t {
  kClientIp = 1,    // text
  kClientPort = 2,  // u16
  kHelo = 3,
  kClientName = 4,
  kTls = 5,
  kProtocol = 6,
  kMailFrom = 7,
  kRecipient = 8,  // notify u8, path size u16, path, original; repeated
  kEnvelopeId = 9,
  kDsnReturn = 10,
  kBodyType = 11,
  kFlags = 12,  // u32: MetadataFlag bits
  kSpf = 13,
  kDkim = 14,
  kDmarc = 15,
  kDisposition = 16,
  kTrace = 17,
  kLeaveOut = 18,  // begin u64, end u64; repeated
  kMessageId = 19,
  kHeaderFrom = 20,
  kSubject = 21,
  kQueueId = 22,
  kVia = 23,
  kLast = kVia,
};

enum MetadataFlag : std::uint32_t {
  kFlagSmtpUtf8 = 1,
  kFlagLongLine = 2,
  kFlagRequireTls = 4,
  kFlagBinary = 8
};

class MetadataWriter {
 public:
  explicit MetadataWriter(std::string& out) : out_(out) {}
  void text(MetadataTag tag, std::string_view value);  // empty values are not written
  void u16(MetadataTag tag, std::uint16_t value);
  void u32(MetadataTag tag, std::uint32_t value);
  void recipient(std::string_view path, std::string_view original, std::uint8_t notify);
  void leave_out(std::uint64_t begin, std::uint64_t end);

 private:
  void head(MetadataTag tag, std::size_t size);
  std::string& out_;
};

// Fills the metadata members of `record` with views into `bytes`. False when `bytes` is malformed.
bool decode_metadata(std::string_view bytes, Record& record);

}  // namespace mxring::seglog
