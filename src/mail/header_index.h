// Finds the fields of a header section while it arrives (RFC 5322 2.2). Keeps positions, not text:
// the text stays in the receive buffers.
//
// Contract: feed() takes consecutive pieces of the message from its first byte; it consumes
// everything and never rescans; any split gives the same index. After kComplete (the empty line
// has been seen) or an error further pieces are ignored. Lines end in CRLF (the SMTP layer has
// refused anything else; a bare CR or LF is an ordinary byte here). A message without an empty line
// is a header section to its end: call finish() at end of data. A line that is neither a field, a
// continuation nor empty ends the header section where it begins (what follows is body), as the
// mail that is really out there needs. So does a continuation line with no field before it, and a
// field name of more than kFieldNameBytesMax. end() says so: other readers skip such a line and go
// on to the empty one, and see fields that are not in this index.
//
// A field is in fields() once its end is known, that is when the line after it has begun.
//
// Thread: the owner's. Grows one vector, which reset() keeps.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/assert.h"

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

constexpr std::uint32_t kFieldNameBytesMax = 998;  // a line's length, RFC 5322 2.1.1

// Any case; kOther when it is none of the above.
FieldName find_field_name(std::string_view name);

struct Field {
  std::uint32_t begin = 0;       // of the name, in bytes from the start of the message
  std::uint32_t name_bytes = 0;  // white space before the colon (obsolete syntax) not included
  std::uint32_t value = 0;       // first byte after the colon
  std::uint32_t end = 0;         // after the field's last CRLF
  FieldName name = FieldName::kOther;
};

enum class HeaderStatus : std::uint8_t { kMore, kComplete, kTooLarge, kTooManyFields };

// What ended a complete header section.
enum class HeaderEnd : std::uint8_t {
  kEmptyLine,
  kMessageEnd,  // there is no body
  kNoField,     // a line that is neither a field nor a continuation
  kFirstSpace,  // the same, at the very start of the message and with white space first: whatever
                // is put on top of the message is continued by it
};

class HeaderIndex {
 public:
  // `from_line`: a first line "From " or ">From ", as it stands between the messages of an mbox, is
  // passed over; never when only blanks stand before its colon, which makes it a field (RFC
  // 5322 4.5).
  HeaderIndex(std::uint32_t header_bytes_max, std::uint32_t fields_max, bool from_line = false);

  HeaderStatus feed(std::string_view piece);
  HeaderStatus finish();
  void reset();  // keeps the memory

  HeaderStatus status() const { return status_; }
  HeaderEnd end() const { return end_; }  // once the status is kComplete
  std::span<const Field> fields() const& { return fields_; }
  std::span<const Field> fields() const&& = delete;
  std::uint32_t count(FieldName name) const { return tally_[static_cast<std::size_t>(name)].count; }
  std::uint32_t from_line_bytes() const { return from_line_bytes_; }  // with its CRLF; 0 = none
  const Field* first(FieldName name) const&;                          // null when there is none
  const Field* first(FieldName name) const&& = delete;
  // Both once the status is kComplete: of a header section that is refused there is no end.
  std::uint32_t header_bytes() const {  // header section, empty line not included
    MXRING_ASSERT(status_ == HeaderStatus::kComplete);
    return header_bytes_;
  }
  std::uint32_t body_begin() const {  // first byte after the empty line
    MXRING_ASSERT(status_ == HeaderStatus::kComplete);
    return body_begin_;
  }

 private:
  // Where the next byte lies.
  enum class At : std::uint8_t {
    kLineStart,    // first byte of a line
    kEmptyLineCr,  // after a CR at the start of a line
    kName,
    kNameSpace,  // white space between name and colon
    kValue,
    kValueCr,     // in a value, after a CR
    kFromLine,    // after "From " on top
    kFromLineCr,  // in it, after a CR
  };
  struct Tally {
    std::uint32_t count = 0;
    std::uint32_t first = 0;  // index in fields_
  };

  // Each takes bytes of one part of a line and returns how many.
  std::size_t take_line_start(std::string_view piece);
  std::size_t take_name(std::string_view piece);
  std::size_t take_value(std::string_view piece);
  std::size_t take_from_line(std::string_view piece);
  bool is_from_line() const;
  bool end_field();  // false when it was one too many
  void begin_value(std::string_view name_piece);
  void complete(HeaderEnd end, std::uint32_t body_begin);

  std::vector<Field> fields_;
  std::array<Tally, static_cast<std::size_t>(FieldName::kCount)> tally_{};
  Field field_;                  // the one being read
  std::array<char, 32> name_{};  // of a name that straddles pieces; longer ones are kOther
  std::uint32_t position_ = 0;   // of the next byte, from the start of the message
  std::uint32_t line_begin_ = 0;
  std::uint32_t header_bytes_max_;
  std::uint32_t fields_max_;
  std::uint32_t header_bytes_ = 0;
  std::uint32_t body_begin_ = 0;
  std::uint32_t from_line_bytes_ = 0;
  HeaderStatus status_ = HeaderStatus::kMore;
  HeaderEnd end_ = HeaderEnd::kMessageEnd;
  At at_ = At::kLineStart;
  bool from_line_ = false;
  bool in_field_ = false;  // field_ has its name and value, its end is open
};

}  // namespace mxring::mail
