#include "decode/field_rules.h"

#include <charconv>

#include "mail/header_fields.h"

namespace mxring::decode {

namespace {

// UTF-8 of a code point; nothing when it is none.
void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0U | (code >> 6U));
    out += static_cast<char>(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0U | (code >> 12U));
    out += static_cast<char>(0x80U | ((code >> 6U) & 0x3FU));
    out += static_cast<char>(0x80U | (code & 0x3FU));
  } else {
    out += static_cast<char>(0xF0U | (code >> 18U));
    out += static_cast<char>(0x80U | ((code >> 12U) & 0x3FU));
    out += static_cast<char>(0x80U | ((code >> 6U) & 0x3FU));
    out += static_cast<char>(0x80U | (code & 0x3FU));
  }
}

// utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 3): "\x{1F431}".
void decode_utf8_address(std::string_view text, std::string& out) {
  out.clear();
  while (!text.empty()) {
    const std::size_t begin = text.find("\\x{");
    out += text.substr(0, begin);
    if (begin == std::string_view::npos) return;
    text.remove_prefix(begin);
    std::uint32_t code = 0;
    const std::size_t end = text.substr(0, 12).find('}');
    const char* last = text.data() + (end == std::string_view::npos ? 3 : end);
    const auto [stop, error] = std::from_chars(text.data() + 3, last, code, 16);
    const bool good = end != std::string_view::npos && error == std::errc() && stop == last &&
                      code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF) && code >= 0x20;
    if (!good) {
      out += text.substr(0, 3);
      text.remove_prefix(3);
      continue;
    }
    append_utf8(out, code);
    text.remove_prefix(end + 1);
  }
}

bool is_original(const mail::MimePart& part) {
  const std::string& subtype = part.type.subtype;
  if (part.type.type == "message") {
    return subtype == "rfc822" || subtype == "global" || subtype == "global-headers" ||
           subtype == "rfc822-headers";
  }
  return part.type.type == "text" && (subtype == "rfc822-headers" || subtype == "rfc822");
}

}  // namespace

std::string_view without_comment(std::string_view text) {
  text = mail::trimmed(text);
  while (text.starts_with('(')) {
    const std::size_t close = text.find(')');
    if (close == std::string_view::npos) return text;
    text = mail::trimmed(text.substr(close + 1));
  }
  const std::size_t open = text.find('(');
  return open == 0 ? text : mail::trimmed(text.substr(0, open));
}

TypedValue read_typed(Context& context, const mail::HeaderField& field) {
  TypedValue typed;
  std::string_view value = mail::trimmed(field.value);
  const std::size_t semicolon = value.find(';');
  std::string_view type;
  if (semicolon != std::string_view::npos) {
    type = without_comment(value.substr(0, semicolon));
    // A type is one atom; a semicolon further on is the text's own.
    if (type.empty() || type.find_first_of(" \t\r\n<>@:,") != std::string_view::npos) {
      type = {};
    } else {
      typed.type = context.keep_lower(type);
      value = mail::trimmed(value.substr(semicolon + 1));
    }
  }
  const bool recipient = base::ascii_iequals(field.name, "Final-Recipient") ||
                         base::ascii_iequals(field.name, "Original-Recipient");
  if (!recipient) {
    typed.value = context.header_text(value, field.name);
    return typed;
  }
  value = without_brackets(value);
  if (base::ascii_iequals(type, "utf-8")) {
    std::string& address = context.scratch().compact;
    decode_utf8_address(value, address);
    typed.value = context.plain_text(address, field.name);
  } else {
    typed.value = context.plain_text(value, field.name);
  }
  return typed;
}

Text keep_without_white(Context& context, std::string_view value) {
  std::string& text = context.scratch().text;
  text.clear();
  for (const char c : value) {
    if (c != ' ' && c != '\t' && c != '\r' && c != '\n') text += c;
  }
  return context.keep(text);
}

NamedValue read_extension(Context& context, const mail::HeaderField& field) {
  std::string& key = context.scratch().text;
  key.clear();
  append_key(key, field.name);
  NamedValue extension;
  extension.name = context.keep(key);
  extension.value = context.header_text(field.value, field.name);
  return extension;
}

std::optional<Original> read_original(Context& context, std::uint32_t after) {
  const auto parts = context.walker().parts();
  const mail::MimePart* found = nullptr;
  for (std::uint32_t i = 0; i < parts.size(); ++i) {
    if (parts[i].message != 0 || i == 0 || !is_original(parts[i])) continue;
    if (found == nullptr ||
        (i > after && static_cast<std::uint32_t>(found - parts.data()) < after)) {
      found = &parts[i];
    }
  }
  Scratch& s = context.scratch();
  s.original_fields.clear();
  if (found == nullptr) return std::nullopt;
  const std::string_view text = context.content(*found, s.original);
  Original original;
  if (mail::trimmed(text).empty()) return std::nullopt;
  original.size = text.size();
  original.headers_only = found->type.type == "text" || found->type.subtype.ends_with("headers");
  std::string_view section = text;
  while (section.starts_with('\r') || section.starts_with('\n')) section.remove_prefix(1);
  if (section.starts_with("From ")) section.remove_prefix(mail::first_line(section).size());
  const mail::HeaderSection header =
      mail::scan_header(section, context.budget().mime.part_header, s.original_fields);
  if (header.over_bytes) context.limit("header_bytes");
  if (header.over_fields) context.limit("header_fields");
  for (const mail::HeaderField& field : s.original_fields) {
    const auto is = [&](std::string_view name) { return base::ascii_iequals(field.name, name); };
    if (is("Message-ID") && !original.message_id) {
      original.message_id = read_message_id(context, field.value);
    } else if (is("From") && !original.from) {
      original.from = context.header_text(field.value, "original From");
    } else if (is("To") && !original.to) {
      original.to = context.header_text(field.value, "original To");
    } else if (is("Subject") && !original.subject) {
      original.subject = context.header_text(field.value, "original Subject");
    } else if (is("Date") && !original.date) {
      original.date = read_date(context, field.value, "original Date");
    } else if (is("Return-Path") && !original.return_path) {
      original.return_path = context.header_text(without_brackets(field.value), "Return-Path");
    }
  }
  return original;
}

}  // namespace mxring::decode
