// The few pieces of DER (X.690) that keys are made of, definite lengths only; one reader and one
// writer. Nothing is copied by the reader. Read as kStrict nothing is accepted twice: what it takes
// is the one encoding of its value. kLenient is for public keys of strangers, which everybody else
// reads with OpenSSL: lengths in longer forms, needless zeros in front of numbers, and numbers
// without the zero that keeps their first bit from being a sign.
//
// Thread: any. Ownership: readers and what they return are views of the caller's bytes. Failure:
// nullopt, and the reader must not be used further.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mxring::crypto {

enum class DerTag : std::uint8_t {
  kInteger = 0x02,
  kBitString = 0x03,
  kOctetString = 0x04,
  kNull = 0x05,
  kObjectId = 0x06,
  kSequence = 0x30,
};

class DerReader {
 public:
  enum class Rules : std::uint8_t { kStrict, kLenient };
  explicit DerReader(std::string_view bytes, Rules rules = Rules::kStrict)
      : rest_(bytes), rules_(rules) {}

  bool at_end() const { return rest_.empty(); }
  // The tag of the next element as it stands, 0 at the end.
  std::uint8_t next_tag() const { return rest_.empty() ? 0 : static_cast<std::uint8_t>(rest_[0]); }

  // The content of the next element, which must have this tag.
  std::optional<std::string_view> take(DerTag tag);
  std::optional<std::string_view> take(std::uint8_t tag);
  // A non-negative INTEGER as big-endian magnitude without leading zeros; empty for zero.
  std::optional<std::string_view> take_unsigned();
  // A BIT STRING of whole octets.
  std::optional<std::string_view> take_octets_of_bits();

 private:
  std::string_view rest_;
  Rules rules_;
};

// Appends one element.
void append_der(std::string& out, DerTag tag, std::string_view content);

}  // namespace mxring::crypto
