// Content transfer encodings (RFC 2045 6): identity, base64, quoted-printable, and uuencode as old
// mail has it. What comes out goes to a sink in pieces of at most kDecodedPieceBytes, so that a
// body of any size needs no memory.
//
// Lenient as RFC 2045 says: bytes outside the base64 alphabet are passed over, a pad ends the data,
// a "=" that begins no escape stands for itself, white space at the end of a line is not part of
// it. DecodeNotes counts what was not as it should be. Pure, linear time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mxring::mail {

enum class TransferEncoding : std::uint8_t {
  kIdentity,  // 7bit, 8bit, binary, or none given
  kBase64,
  kQuotedPrintable,
  kUuencode,  // x-uuencode and its other names
  kUnknown,   // the body is left as it is
};

TransferEncoding find_transfer_encoding(std::string_view field_value);

constexpr std::size_t kDecodedPieceBytes = 16 * 1024;

struct DecodeNotes {
  std::uint64_t foreign_bytes = 0;  // base64: neither digit nor white space
  std::uint64_t after_end = 0;      // base64: digits after the pad; uuencode: after "end"
  std::uint64_t bad_escapes = 0;    // quoted-printable: "=" with neither hex nor a line end
  bool cut_short = false;           // base64: digits that make no whole byte; uuencode: no "end"
  bool clean() const {
    return foreign_bytes == 0 && after_end == 0 && bad_escapes == 0 && !cut_short;
  }
};

// Where decoded bytes go. False: enough, stop.
class ByteSink {
 public:
  virtual bool take(std::string_view bytes) = 0;

 protected:
  ~ByteSink() = default;
};

DecodeNotes decode_transfer(TransferEncoding encoding, std::string_view body, ByteSink& sink);

}  // namespace mxring::mail
