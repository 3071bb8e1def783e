#include "load/address_pattern.h"

#include <fmt/format.h>

#include <algorithm>

namespace mxring::load {

namespace {

constexpr std::size_t kAddressMax = 254;
constexpr std::string_view kNumber = "%d";

bool can_stand_in_an_address(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > ' ' && byte < 0x7F && c != '<' && c != '>';
}

}  // namespace

std::optional<AddressPattern> AddressPattern::parse(std::string_view text, bool null_allowed) {
  if (text.starts_with('<') && text.ends_with('>')) text = text.substr(1, text.size() - 2);
  AddressPattern pattern;
  if (text.empty()) return null_allowed ? std::optional(pattern) : std::nullopt;
  const std::size_t at = text.rfind('@');
  const bool has_both_sides = at != std::string_view::npos && at > 0 && at + 1 < text.size();
  if (!has_both_sides || !std::ranges::all_of(text, can_stand_in_an_address)) return std::nullopt;
  const std::size_t number = text.find(kNumber);
  pattern.before_ = text.substr(0, number);
  if (number != std::string_view::npos) {
    pattern.has_number_ = true;
    pattern.after_ = text.substr(number + kNumber.size());
    if (pattern.after_.find(kNumber) != std::string::npos) return std::nullopt;
  }
  if (pattern.size_max() > kAddressMax) return std::nullopt;
  return pattern;
}

void AddressPattern::append(std::string& out, std::uint64_t number) const {
  out += before_;
  if (!has_number_) return;
  const fmt::format_int digits(number);
  out.append(digits.data(), digits.size());
  out += after_;
}

}  // namespace mxring::load
