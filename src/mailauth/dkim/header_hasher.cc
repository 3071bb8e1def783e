#include "mailauth/dkim/header_hasher.h"

#include "base/assert.h"
#include "mailauth/dkim/header_canon.h"

namespace mxring::mailauth::dkim {

namespace {

// A buffer above this is given back when the message is done.
constexpr std::size_t kKeptBytes = 32 * 1024;

}  // namespace

void HeaderHasher::begin(std::string_view header, std::span<const mail::Field> fields) {
  header_ = header;
  fields_ = fields;
  index_.build(header, fields);
  forms_.assign(fields.size(), {});
  used_ = 0;
  // Every field once as a signed one and once as a signature's own.
  const std::size_t wanted = 2 * (header.size() + fields.size() * kSlackBytes);
  if (wanted <= buffer_bytes_) return;
  buffer_ = std::make_unique_for_overwrite<char[]>(wanted);
  buffer_bytes_ = wanted;
}

void HeaderHasher::release() {
  if (buffer_bytes_ <= kKeptBytes) return;
  buffer_.reset();
  buffer_bytes_ = 0;
}

std::string_view HeaderHasher::name_of(const mail::Field& field) const {
  MXRING_ASSERT(field.begin + field.name_bytes <= header_.size());
  return header_.substr(field.begin, field.name_bytes);
}

// Without its line end.
std::string_view HeaderHasher::value_of(const mail::Field& field) const {
  MXRING_ASSERT(field.value <= field.end && field.end <= header_.size());
  std::string_view value = header_.substr(field.value, field.end - field.value);
  if (value.ends_with("\r\n")) value.remove_suffix(2);
  return value;
}

std::string_view HeaderHasher::relaxed(std::uint32_t field) {
  MXRING_ASSERT(field < forms_.size() && forms_.size() == fields_.size());
  Form& form = forms_[field];
  if (form.bytes == 0) {
    char* begin = buffer_.get() + used_;
    const char* end = relax_field(name_of(fields_[field]), value_of(fields_[field]), begin);
    form = {static_cast<std::uint32_t>(used_), static_cast<std::uint32_t>(end - begin)};
    used_ += form.bytes;
    MXRING_ASSERT(used_ <= buffer_bytes_);
  }
  return {buffer_.get() + form.at, form.bytes};
}

void HeaderHasher::append(crypto::Sha256Stream& stream, std::string_view piece) {
  if (piece.empty()) return;
  if (!pending_.empty() && pending_.data() + pending_.size() == piece.data()) {
    pending_ = {pending_.data(), pending_.size() + piece.size()};
    return;
  }
  append_pending(stream);
  pending_ = piece;
}

void HeaderHasher::append_pending(crypto::Sha256Stream& stream) {
  if (!pending_.empty()) hashes_.append(stream, pending_);
  pending_ = {};
}

void HeaderHasher::add(const Signature& signature, std::uint32_t own,
                       crypto::Sha256Stream& stream) {
  const bool simple = signature.header == Canonicalization::kSimple;
  const auto field_text = [this](std::uint32_t i) {
    return header_.substr(fields_[i].begin, fields_[i].end - fields_[i].begin);
  };
  index_.begin_selection();
  ColonList names(signature.signed_fields);
  std::string_view name;
  while (names.next(name)) {
    if (name.empty()) continue;
    // A name without a field left stands for nothing, and so forbids adding one (RFC 6376 5.4.2).
    const auto field = index_.take(name, own);
    if (!field) continue;
    if (simple) {
      append(stream, field_text(*field));
      if (!field_text(*field).ends_with("\r\n")) append(stream, "\r\n");
    } else {
      append(stream, relaxed(*field));
    }
  }
  if (simple) {
    const SimpleField text = simple_own_field(field_text(own), signature.signature_raw);
    append(stream, text.before);
    append(stream, text.after);
  } else {
    char* begin = buffer_.get() + used_;
    const char* end = relax_own_field(name_of(fields_[own]), value_of(fields_[own]),
                                      signature.signature_raw, begin);
    const auto bytes = static_cast<std::size_t>(end - begin);
    used_ += bytes;
    MXRING_ASSERT(used_ <= buffer_bytes_);
    append(stream, {begin, bytes});
  }
  append_pending(stream);
  hashes_.finish(stream);
}

}  // namespace mxring::mailauth::dkim
