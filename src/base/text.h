// Text from the network on its way to a person: every such value passes through here before it
// enters a log line or a terminal.
#pragma once

#include <string>
#include <string_view>

namespace mxring::base {

// Appends `text` with control characters, backslash, DEL, characters that steer text and bytes
// that are not valid UTF-8 as \xNN, so that the result is one line of printable UTF-8.
void append_escaped(std::string& out, std::string_view text);
std::string escaped(std::string_view text);

// The same for text in which every value has been escaped already, a complaint for example:
// backslash and line ends are left alone, so that nothing is escaped twice.
std::string without_controls(std::string_view text);

// Whether the valid UTF-8 sequence at the start of `text` makes a terminal show other text than is
// there: C1 controls (U+0080 to U+009F), bidirectional controls (U+061C, U+200E, U+200F, U+202A to
// U+202E, U+2066 to U+206F) and the separators of lines and paragraphs (U+2028, U+2029).
bool steers_text(std::string_view text);

// ASCII only; bytes above 127 are left alone, whatever the locale.
constexpr char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
bool ascii_iequals(std::string_view a, std::string_view b);

// Length in bytes of the valid UTF-8 sequence (RFC 3629: shortest form, no surrogates) at the
// start of `text`; 0 when there is none.
std::size_t utf8_sequence(std::string_view text);
bool is_valid_utf8(std::string_view text);

// The candidate nearest to `word` by edit distance, or empty when none is near: for "did you mean".
// One letter in three may be wrong.
template <class Range>
std::string_view nearest(std::string_view word, const Range& candidates);
// Letters put in, left out, put for another, or two neighbours swapped.
std::size_t edit_distance(std::string_view a, std::string_view b);

template <class Range>
std::string_view nearest(std::string_view word, const Range& candidates) {
  std::string_view best;
  std::size_t best_distance = 0;
  for (std::string_view candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    const std::size_t longer = word.size() > candidate.size() ? word.size() : candidate.size();
    if (distance > (longer + 1) / 3) continue;
    if (best.empty() || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace mxring::base
