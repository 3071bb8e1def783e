// A header field's value as one line (RFC 5322 2.2.3).
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace mxring::mail {

// Appends at most `max` bytes of the value: without the line ends of its folding, and without white
// space at both ends.
inline void append_unfolded(std::string& out, std::string_view value, std::size_t max) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!value.empty() && is_space(value.front())) value.remove_prefix(1);
  while (!value.empty() && is_space(value.back())) value.remove_suffix(1);
  const std::size_t end = out.size() + max;
  while (!value.empty() && out.size() < end) {
    const std::size_t piece =
        std::min({value.find_first_of("\r\n"), value.size(), end - out.size()});
    out.append(value.substr(0, piece));
    value.remove_prefix(piece);
    while (!value.empty() && (value.front() == '\r' || value.front() == '\n')) {
      value.remove_prefix(1);
    }
  }
}

}  // namespace mxring::mail
