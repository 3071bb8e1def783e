// How the fields of a machine-readable part (RFC 3464 2, RFC 5965 3) become members of a struct:
// one table for each kind of record, used by the reader and by the JSON writer, so that a name
// stands once. A JSON key is the field's own name in lower case with "_" for "-".
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/text.h"
#include "decode/addresses.h"
#include "decode/context.h"
#include "decode/message.h"

namespace mxring::decode {

enum class Shape : std::uint8_t {
  kText,     // as a person reads it
  kTyped,    // "type; value" (RFC 3464 2.1.2)
  kAddress,  // without brackets
  kWord,     // one word, lower case; a comment after it is told as an extension
  kCode,     // one word as it stands, likewise
  kBase64,   // as it stands, without white space
  kTime,
};

template <class T>
struct FieldRule {
  std::string_view name;
  Shape shape = Shape::kText;
  OptText T::*text = nullptr;
  OptText T::*type = nullptr;
  OptTime T::*time = nullptr;
};

enum class Filled : std::uint8_t { kDone, kAgain, kUnknown };

// "Remote-MTA" -> "remote_mta"
inline void append_key(std::string& out, std::string_view field_name) {
  for (const char c : field_name) out += c == '-' ? '_' : base::ascii_lower(c);
}

// Without comments (RFC 5322 3.2.2) that stand after it or before it.
std::string_view without_comment(std::string_view text);

struct TypedValue {
  OptText type;
  Text value;
};
// Type in lower case; no type when there is no semicolon. The addresses of RFC 6533 3 (utf-8) have
// their \x{...} decoded.
TypedValue read_typed(Context& context, const mail::HeaderField& field);

Text keep_without_white(Context& context, std::string_view value);

// Reads the field into the record when a rule has its name.
template <class T, std::size_t N>
Filled fill(Context& context, const std::array<FieldRule<T>, N>& rules,
            const mail::HeaderField& field, T& record) {
  for (const FieldRule<T>& rule : rules) {
    if (!base::ascii_iequals(rule.name, field.name)) continue;
    if (rule.time != nullptr) {
      if (record.*rule.time) return Filled::kAgain;
      record.*rule.time = read_date(context, field.value, rule.name);
      return Filled::kDone;
    }
    OptText& text = record.*rule.text;
    if (text) return Filled::kAgain;
    const std::string_view value = field.value;
    if (mail::trimmed(value).empty()) return Filled::kDone;  // as if it were not there
    switch (rule.shape) {
      case Shape::kTyped: {
        const TypedValue typed = read_typed(context, field);
        text = typed.value;
        record.*rule.type = typed.type;
        break;
      }
      case Shape::kAddress:
        text = context.plain_text(without_brackets(value), rule.name);
        break;
      case Shape::kWord:
        text = context.keep_lower(without_comment(value));
        break;
      case Shape::kCode:
        text = context.header_text(without_comment(value), rule.name);
        break;
      case Shape::kBase64:
        text = keep_without_white(context, value);
        break;
      case Shape::kText:
      case Shape::kTime:
        text = context.header_text(value, rule.name);
        break;
    }
    return Filled::kDone;
  }
  return Filled::kUnknown;
}

// What has no rule of its own, or comes a second time.
NamedValue read_extension(Context& context, const mail::HeaderField& field);

// Original of a bounce, complaint or journal report: the first such part of the message itself
// after part `after`, else the first there is. `fields` of it are in scratch().original_fields.
std::optional<Original> read_original(Context& context, std::uint32_t after);

}  // namespace mxring::decode
