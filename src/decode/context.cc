#include "decode/context.h"

#include <charconv>

#include "base/assert.h"
#include "base/text.h"
#include "mail/encoded_word.h"

namespace mxring::decode {

namespace {

void append_number(std::string& out, std::uint64_t number) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}

bool has(const std::vector<Text>& notes, std::string_view note) {
  for (const Text& known : notes) {
    if (known == note) return true;
  }
  return false;
}

class StringSink final : public mail::ByteSink {
 public:
  StringSink(std::string& out, std::uint64_t most) : out_(out), most_(most) {}
  bool take(std::string_view bytes) override {
    MXRING_ASSERT(out_.size() <= most_);
    full_ = bytes.size() > most_ - out_.size();
    out_.append(bytes.substr(0, most_ - out_.size()));
    return !full_;
  }
  bool full() const { return full_; }

 private:
  std::string& out_;
  std::uint64_t most_;
  bool full_ = false;
};

}  // namespace

Text Context::keep_lower(std::string_view text) {
  scratch_.text.assign(text);
  for (char& c : scratch_.text) c = base::ascii_lower(c);
  return keep(scratch_.text);
}

Text Context::header_text(std::string_view value, std::string_view field_name) {
  scratch_.text.clear();
  const mail::HeaderTextNotes notes =
      mail::decode_header_text(value, scratch_.charsets, scratch_.text);
  if (notes.unknown_charset)
    defect(field_name, "an encoded word in an unknown charset, left as is");
  if (notes.replaced > 0) defect(field_name, "bytes that are no characters became U+FFFD");
  return keep(scratch_.text);
}

Text Context::plain_text(std::string_view value, std::string_view field_name) {
  std::string& text = scratch_.text;
  text.clear();
  scratch_.charsets.begin("utf-8");
  for (std::string_view rest = value; !rest.empty();) {
    const std::size_t end = std::min(rest.find_first_of("\r\n"), rest.size());
    scratch_.charsets.take(rest.substr(0, end), text);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  scratch_.charsets.end(text);
  if (scratch_.charsets.replaced() > 0) {
    defect(field_name, "bytes that are no characters became U+FFFD");
  }
  return keep(text);
}

void Context::limit(std::string_view what) {
  if (!has(scratch_.limits, what)) scratch_.limits.push_back(keep(what));
}

void Context::derived(std::string_view what, std::string_view from) {
  if (scratch_.derived.size() >= budget().notes) return limit("notes");
  std::string& note = scratch_.note;
  note.assign(what).append(" from ").append(from);
  if (!has(scratch_.derived, note)) scratch_.derived.push_back(keep(note));
}

void Context::defect(std::string_view where, std::string_view what) {
  if (scratch_.defects.size() >= budget().notes) return limit("notes");
  std::string& note = scratch_.note;
  note.assign(where).append(": ").append(what);
  if (!has(scratch_.defects, note)) scratch_.defects.push_back(keep(note));
}

void Context::reason(std::string_view why) {
  if (!out_.reason) out_.reason = keep(why);
}

void Context::finish() {
  const mail::MimeLimits& hit = scratch_.walker.limits();
  if (hit.depth) limit("depth");
  if (hit.parts) limit("parts");
  if (hit.header_bytes) limit("header_bytes");
  if (hit.header_fields) limit("header_fields");
  if (hit.parameters) limit("parameters");
  out_.derived = out_.arena.copy(scratch_.derived);
  out_.limits = out_.arena.copy(scratch_.limits);
  out_.defects = out_.arena.copy(scratch_.defects);
}

std::string_view Context::content(const mail::MimePart& part, std::string& room) {
  const std::string_view body = scratch_.walker.body(part);
  if (part.encoding == mail::TransferEncoding::kIdentity ||
      part.encoding == mail::TransferEncoding::kUnknown) {
    note_encoding(part, {});
    return body;
  }
  room.clear();
  StringSink sink(room, bytes_left());
  const mail::DecodeNotes notes = mail::decode_transfer(part.encoding, body, sink);
  use_bytes(room.size());
  if (sink.full()) limit("decoded_bytes");
  note_encoding(part, notes);
  return room;
}

std::string_view Context::name_of(const mail::MimePart& part) {
  std::string& name = scratch_.part_name;
  name.assign("part ");
  append_number(name, static_cast<std::uint64_t>(&part - walker().parts().data()));
  name.append(" (").append(part.type.type);
  if (!part.type.subtype.empty()) name.append("/").append(part.type.subtype);
  name += ')';
  return name;
}

void Context::note_encoding(const mail::MimePart& part, const mail::DecodeNotes& notes) {
  if (part.encoding == mail::TransferEncoding::kUnknown) {
    defect(name_of(part), "unknown transfer encoding, taken as it is");
  }
  if (notes.clean()) return;
  if (notes.foreign_bytes > 0) defect(name_of(part), "bytes that are not base64 were passed over");
  if (notes.after_end > 0) defect(name_of(part), "data after the end of its encoding left out");
  if (notes.bad_escapes > 0) defect(name_of(part), "\"=\" that is no quoted-printable left as is");
  if (notes.cut_short) defect(name_of(part), "its encoding ends early");
}

}  // namespace mxring::decode
