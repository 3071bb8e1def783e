// Domain names (RFC 1035 2.3.4, 3.1; RFC 4343 for case): labels of 1 to 63 bytes, at most 255 bytes
// on the wire, held in lower case inside the object, so that equal names are equal bytes and a copy
// allocates nothing.
//
// A label may contain any byte, a dot or a NUL too. Such bytes never leave raw: to_text() writes
// them as \DDD, and it is the only form for logs, headers, replies and terminals.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip_address.h"

namespace mxring::dns {

class Name {
 public:
  static constexpr std::size_t kLabelBytesMax = 63;
  static constexpr std::size_t kWireBytesMax = 255;  // with the root's zero byte
  static constexpr std::size_t kTextBytesMax = 253;  // without the last dot

  Name() {}  // the root
  // Names are copied all the time and mostly short: only what means anything is copied.
  Name(const Name& other) { *this = other; }
  Name& operator=(const Name& other) {
    std::memmove(bytes_.data(), other.bytes_.data(), other.size_);
    size_ = other.size_;
    return *this;
  }

  // Labels separated by dots, every other byte taken as it is; one dot may follow the last label,
  // and "." is the root. Nothing for an empty label, a label or a name that is too long.
  static std::optional<Name> parse(std::string_view text);
  // The same, with \DDD and \X understood: what to_text() writes and people type.
  static std::optional<Name> parse_escaped(std::string_view text);
  // d.c.b.a.in-addr.arpa, or nibbles under ip6.arpa (RFC 1035 3.5, RFC 3596 2.5).
  static Name reverse(const base::IpAddress& address);

  // Adds a label at the right end. False, and nothing is changed, when it does not fit.
  [[nodiscard]] bool append_label(std::string_view label);

  bool is_root() const { return size_ == 0; }
  std::size_t labels() const;
  // The name itself or one below it. Every name is within the root.
  bool is_within(const Name& ancestor) const;
  // Letters, digits, hyphens and underscores only, and not the root: safe to hand on as it is.
  bool is_host_name() const;

  // Escaped, without a dot at the end; the root is ".".
  std::string to_text() const;
  // The labels joined with dots, nothing escaped: for macros and for building further names.
  std::string to_raw_text() const;
  // The same into a string whose memory is used again.
  void to_raw_text(std::string& text) const;
  // Length-prefixed labels without the root's zero byte.
  std::string_view wire() const& { return {bytes_.data(), size_}; }
  std::string_view wire() const&& = delete;

  friend bool operator==(const Name& a, const Name& b) { return a.wire() == b.wire(); }

 private:
  std::array<char, kWireBytesMax - 1> bytes_;  // only the first size_ of them mean anything
  std::uint8_t size_ = 0;
};

}  // namespace mxring::dns
