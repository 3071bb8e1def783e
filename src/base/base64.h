// Base64 (RFC 4648 4), in the two ways mail uses it: whole quads, and with white space anywhere
// between the digits (RFC 6376 2.10).
//
// Pure, on any thread. Bits that the last digit has too many must be zero in both ways, so that no
// two texts of the same digits' count stand for the same bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mxring::base {

enum class Base64 : std::uint8_t {
  kStrict,  // digits and padding only, a multiple of four of them
  kFolded,  // spaces, tabs, CR and LF are skipped; padding may be missing, but not be wrong
};

// Replaces `out`, whose memory is kept. False when `text` is not base64; `out` then holds nothing
// of use.
[[nodiscard]] bool decode_base64(std::string_view text, Base64 how, std::string& out);

// With padding, on one line.
std::string encode_base64(std::string_view bytes);
void append_base64(std::string& out, std::string_view bytes);

}  // namespace mxring::base
