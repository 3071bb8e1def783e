// An envelope address as given on the command line, in which %d stands for the message's number:
// "user%d@example.org".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mxring::load {

class AddressPattern {
 public:
  // Nothing when it cannot be sent as an address: no @, more than one %d, longer than 254 octets
  // (RFC 5321 4.5.3.1.3), or with spaces, control characters or angle brackets in it. "" and "<>"
  // are the null reverse-path (RFC 5321 4.5.5) where `null_allowed`; "<a@b>" is a@b.
  static std::optional<AddressPattern> parse(std::string_view text, bool null_allowed);

  void append(std::string& out, std::uint64_t number) const;
  bool is_null() const { return before_.empty() && !has_number_; }
  std::size_t size_max() const { return before_.size() + after_.size() + (has_number_ ? 20 : 0); }

 private:
  std::string before_;
  std::string after_;
  bool has_number_ = false;
};

}  // namespace mxring::load
