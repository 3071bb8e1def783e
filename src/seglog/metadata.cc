// Encoding and decoding of metadata. Decoding is strict about sizes (an integer has exactly its
// size, a recipient fits its field) and lenient about order and unknown tags.
#include "seglog/metadata.h"

#include <cstring>

#include "base/assert.h"

namespace mxring::seglog {

namespace {

constexpr std::size_t kHeadBytes = 6;      // tag u16, size u32
constexpr std::size_t kRecipientHead = 3;  // notify u8, path size u16
constexpr std::size_t kRangeBytes = 16;    // begin u64, end u64

template <class T>
void append(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

template <class T>
T load(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

bool decode_recipient(std::string_view value, Record& record) {
  if (value.size() < kRecipientHead) return false;
  const auto path_bytes = load<std::uint16_t>(value, 1);
  if (value.size() - kRecipientHead < path_bytes) return false;
  Recipient& recipient = record.rcpt_to.emplace_back();
  recipient.notify = static_cast<std::uint8_t>(value[0]);
  recipient.address = value.substr(kRecipientHead, path_bytes);
  recipient.original = value.substr(kRecipientHead + path_bytes);
  return true;
}

// Ranges are ascending and do not overlap, so that delivering is one walk.
bool decode_leave_out(std::string_view value, Record& record) {
  if (value.size() != kRangeBytes) return false;
  const ByteRange range{load<std::uint64_t>(value, 0), load<std::uint64_t>(value, 8)};
  if (range.begin > range.end) return false;
  if (!record.leave_out.empty() && range.begin < record.leave_out.back().end) return false;
  record.leave_out.push_back(range);
  return true;
}

std::string_view* text_member(MetadataTag tag, Record& record) {
  switch (tag) {
    case MetadataTag::kClientIp:
      return &record.client_ip;
    case MetadataTag::kHelo:
      return &record.helo;
    case MetadataTag::kClientName:
      return &record.client_name;
    case MetadataTag::kTls:
      return &record.tls;
    case MetadataTag::kProtocol:
      return &record.protocol;
    case MetadataTag::kMailFrom:
      return &record.mail_from;
    case MetadataTag::kEnvelopeId:
      return &record.envelope_id;
    case MetadataTag::kDsnReturn:
      return &record.dsn_return;
    case MetadataTag::kBodyType:
      return &record.body_type;
    case MetadataTag::kSpf:
      return &record.spf;
    case MetadataTag::kDkim:
      return &record.dkim;
    case MetadataTag::kDmarc:
      return &record.dmarc;
    case MetadataTag::kDisposition:
      return &record.disposition;
    case MetadataTag::kTrace:
      return &record.trace;
    case MetadataTag::kMessageId:
      return &record.message_id;
    case MetadataTag::kHeaderFrom:
      return &record.header_from;
    case MetadataTag::kSubject:
      return &record.subject;
    case MetadataTag::kQueueId:
      return &record.queue_id;
    case MetadataTag::kVia:
      return &record.via;
    default:
      return nullptr;
  }
}

bool decode_field(MetadataTag tag, std::string_view value, Record& record) {
  if (std::string_view* member = text_member(tag, record)) {
    *member = value;
    return true;
  }
  switch (tag) {
    case MetadataTag::kClientPort:
      if (value.size() != 2) return false;
      record.client_port = load<std::uint16_t>(value, 0);
      return true;
    case MetadataTag::kFlags: {
      if (value.size() != 4) return false;
      const auto flags = load<std::uint32_t>(value, 0);
      record.smtputf8 = (flags & kFlagSmtpUtf8) != 0;
      record.has_long_line = (flags & kFlagLongLine) != 0;
      record.requiretls = (flags & kFlagRequireTls) != 0;
      record.is_binary = (flags & kFlagBinary) != 0;
      return true;
    }
    case MetadataTag::kRecipient:
      return decode_recipient(value, record);
    case MetadataTag::kLeaveOut:
      return decode_leave_out(value, record);
    default:
      return true;  // from a later version
  }
}

// Everything metadata can set, so that a record that is used again keeps nothing.
void clear_fields(Record& record) {
  for (auto tag = std::uint16_t{1}; tag <= static_cast<std::uint16_t>(MetadataTag::kLast); ++tag) {
    if (std::string_view* member = text_member(static_cast<MetadataTag>(tag), record)) *member = {};
  }
  record.client_port = 0;
  record.smtputf8 = false;
  record.has_long_line = false;
  record.requiretls = false;
  record.is_binary = false;
  record.rcpt_to.clear();
  record.leave_out.clear();
}

}  // namespace

void MetadataWriter::head(MetadataTag tag, std::size_t size) {
  append(out_, static_cast<std::uint16_t>(tag));
  append(out_, static_cast<std::uint32_t>(size));
}

void MetadataWriter::text(MetadataTag tag, std::string_view value) {
  if (value.empty()) return;
  head(tag, value.size());
  out_.append(value);
}

void MetadataWriter::u16(MetadataTag tag, std::uint16_t value) {
  head(tag, sizeof value);
  append(out_, value);
}

void MetadataWriter::u32(MetadataTag tag, std::uint32_t value) {
  head(tag, sizeof value);
  append(out_, value);
}

void MetadataWriter::recipient(std::string_view path, std::string_view original,
                               std::uint8_t notify) {
  MXRING_ASSERT(path.size() <= 0xFFFF);  // the parser's limit on a command line is far below
  head(MetadataTag::kRecipient, kRecipientHead + path.size() + original.size());
  append(out_, notify);
  append(out_, static_cast<std::uint16_t>(path.size()));
  out_.append(path).append(original);
}

void MetadataWriter::leave_out(std::uint64_t begin, std::uint64_t end) {
  head(MetadataTag::kLeaveOut, kRangeBytes);
  append(out_, begin);
  append(out_, end);
}

bool decode_metadata(std::string_view bytes, Record& record) {
  clear_fields(record);
  while (!bytes.empty()) {
    if (bytes.size() < kHeadBytes) return false;
    const auto tag = static_cast<MetadataTag>(load<std::uint16_t>(bytes, 0));
    const auto size = load<std::uint32_t>(bytes, 2);
    bytes.remove_prefix(kHeadBytes);
    if (size > bytes.size()) return false;
    if (!decode_field(tag, bytes.substr(0, size), record)) return false;
    bytes.remove_prefix(size);
  }
  return true;
}

}  // namespace mxring::seglog
