// Finds the fields of a header section while it arrives (RFC 5322 2.2). Keeps positions, not text:
// the text stays in the receive buffers.
//
// Contract: feed() takes consecutive pieces of the message from its first byte; it consumes
// everything and never rescans; any split gives the same index. After kComplete (the empty line
// has been seen) or an error further pieces are ignored. Lines end in CRLF (the SMTP layer has
// refused anything else). A message without an empty line is a header section to its end: call
// finish() at end of data. A line that is neither a field, a continuation nor empty ends the header
// section where it begins (what follows is body), as the mail that is really out there needs.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace mxring::mail {

// The fields somebody above asks for by name; all others are kOther.
enum class FieldName : std::uint8_t {
  kOther,
  kFrom,
  kSender,
  kReplyTo,
  kTo,
  kCc,
  kBcc,
  kDate,
  kSubject,
  kMessageId,
  kReceived,
  kReturnPath,
  kDkimSignature,
  kAuthenticationResults,
  kArcSeal,
  kArcMessageSignature,
  kArcAuthenticationResults,
  kListId,
  kMimeVersion,
  kContentType,
  kContentTransferEncoding,
  kCount
};

struct Field {
  std::uint32_t begin = 0;      // of the name, in bytes from the start of the message
  std::uint32_t name_bytes = 0; // white space before the colon (obsolete syntax) not included
  std::uint32_t value = 0;      // first byte after the colon
  std::uint32_t end = 0;        // after the field's last CRLF
  FieldName name = FieldName::kOther;
};

enum class HeaderStatus : std::uint8_t { kMore, kComplete, kTooLarge, kTooManyFields };

class HeaderIndex {
 public:
  HeaderIndex(std::uint32_t header_bytes_max, std::uint32_t fields_max);

  HeaderStatus feed(std::string_view piece);
  HeaderStatus finish();
  void reset();  // keeps the memory

  HeaderStatus status() const { return status_; }
  std::span<const Field> fields() const { return fields_; }
  std::uint32_t count(FieldName name) const;
  const Field* first(FieldName name) const;
  std::uint32_t header_bytes() const { return header_bytes_; }  // header section, empty line not incl.
  std::uint32_t body_begin() const { return body_begin_; }      // first byte after the empty line

 private:
  // (scanner state: see header_index.cc)
  std::vector<Field> fields_;
  std::uint32_t header_bytes_max_;
  std::uint32_t fields_max_;
  std::uint32_t header_bytes_ = 0;
  std::uint32_t body_begin_ = 0;
  HeaderStatus status_ = HeaderStatus::kMore;
};

}  // namespace mxring::mail
