// What must hold for any input: the result is valid JSON text, and a decoder that has seen other
// messages says the same as a fresh one.
#pragma once

#include <string>
#include <string_view>

#include "base/assert.h"
#include "base/text.h"
#include "decode/decode.h"
#include "decode/facts_json.h"

namespace mxring::decode {

inline std::string json_of(const Facts& facts) {
  base::JsonWriter json;
  write_json(facts, json);
  return std::move(json).text();
}

inline Kind check_decode(std::string_view message, const Options& options = {}) {
  static Decoder used;
  static Facts again;
  used.decode(message, options, again);
  const std::string text = json_of(again);
  MXRING_ASSERT(base::is_valid_utf8(text));
  MXRING_ASSERT(text == json_of(decode(message, options)));
  MXRING_ASSERT(again.derived.size() <= options.budget.notes);
  MXRING_ASSERT(again.defects.size() <= options.budget.notes);
  return again.kind;
}

// A multipart whose second part is `part`, of that type.
inline std::string with_part(std::string_view type, std::string_view part) {
  std::string text =
      "From: a@b\r\nContent-Type: multipart/mixed; "
      "boundary=\"=_\"\r\n\r\n--=_\r\n\r\nx\r\n--=_\r\n";
  text.append("Content-Type: ").append(type).append("\r\n\r\n").append(part);
  return text.append("\r\n--=_--\r\n");
}

}  // namespace mxring::decode
