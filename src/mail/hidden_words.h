// What encoded words (RFC 2047) may hide from whoever looks at a text as it stands, as lenient
// programs decode them (for what people read see mail/encoded_word): wherever "=?charset?q?...?="
// stands, also inside quoted strings and with raw spaces in it; one without an end goes to the end
// of the text; what is no valid base64 or hexadecimal is passed over. Charsets are not converted:
// the bytes come out as they are encoded.
//
// Pure; linear; `out` keeps its memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mxring::mail {

bool has_encoded_word(std::string_view text);

// Whether the white space between two encoded words goes (RFC 2047 6.2) or stays.
enum class BetweenWords : std::uint8_t { kDropped, kKept };
// `text` with its encoded words decoded, into `out`.
void decode_words(std::string_view text, BetweenWords between, std::string& out);

// Whether there is an @ in the text, or what is shown as one or becomes one: full width (U+FF20)
// and small (U+FE6B), also in the charsets that encoded words name, and whatever a charset hides
// that does not have ASCII's bytes (UTF-7, EBCDIC). Encoded words are decoded, twice if need be.
bool may_have_at_sign(std::string_view text, std::string& scratch, std::string& more_scratch);

// The length of an at sign at the start of the text: @, U+FF20 or U+FE6B in UTF-8; else 0.
std::size_t at_sign(std::string_view text);

}  // namespace mxring::mail
