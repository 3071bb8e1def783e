// Canonicalization written down as RFC 6376 3.4 says it, on whole texts, with no thought of speed:
// what the streaming code is compared with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mailauth/dkim/body_canon.h"

namespace mxring::test {

inline std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find("\r\n", at);
    if (end == std::string_view::npos) {
      lines.emplace_back(text.substr(at));
      break;
    }
    lines.emplace_back(text.substr(at, end - at));
    at = end + 2;
  }
  return lines;
}

// Runs of spaces and tabs become one space; those at the end go.
inline std::string squeezed(std::string_view line) {
  std::string out;
  for (const char c : line) {
    if (c != ' ' && c != '\t') {
      out += c;
    } else if (out.empty() || out.back() != ' ') {
      out += ' ';
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

inline std::string reference_body(mailauth::dkim::Canonicalization how, std::string_view body) {
  const bool relaxed = how == mailauth::dkim::Canonicalization::kRelaxed;
  std::vector<std::string> lines = lines_of(body);
  if (relaxed) {
    for (std::string& line : lines) line = squeezed(line);
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  if (lines.empty()) return relaxed ? "" : "\r\n";
  std::string out;
  for (const std::string& line : lines) out += line + "\r\n";
  return out;
}

// Name and value, the value without its last line end.
inline std::string reference_relaxed_field(std::string_view name, std::string_view value) {
  std::string out;
  for (const char c : name) out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  std::string unfolded;
  for (const std::string& line : lines_of(value)) unfolded += line;
  unfolded = squeezed(unfolded);
  if (unfolded.starts_with(' ')) unfolded.erase(0, 1);
  return out + ":" + unfolded + "\r\n";
}

// Collects what a canonicalizer gives out.
class CollectingSink final : public mailauth::dkim::PieceSink {
 public:
  void take(std::string_view piece) override {
    bytes += piece;
    ++pieces;
  }
  std::string bytes;
  std::size_t pieces = 0;
};

}  // namespace mxring::test
