#include "mail/header_index.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::mail {

namespace {

struct NamedField {
  std::string_view text;
  FieldName name;
};

// By length, so that a name is compared with three candidates at most.
constexpr std::array kNamedFields{
    NamedField{"To", FieldName::kTo},
    NamedField{"Cc", FieldName::kCc},
    NamedField{"Bcc", FieldName::kBcc},
    NamedField{"From", FieldName::kFrom},
    NamedField{"Date", FieldName::kDate},
    NamedField{"Sender", FieldName::kSender},
    NamedField{"Subject", FieldName::kSubject},
    NamedField{"List-Id", FieldName::kListId},
    NamedField{"Received", FieldName::kReceived},
    NamedField{"Reply-To", FieldName::kReplyTo},
    NamedField{"ARC-Seal", FieldName::kArcSeal},
    NamedField{"Message-ID", FieldName::kMessageId},
    NamedField{"Return-Path", FieldName::kReturnPath},
    NamedField{"MIME-Version", FieldName::kMimeVersion},
    NamedField{"Content-Type", FieldName::kContentType},
    NamedField{"DKIM-Signature", FieldName::kDkimSignature},
    NamedField{"ARC-Message-Signature", FieldName::kArcMessageSignature},
    NamedField{"Authentication-Results", FieldName::kAuthenticationResults},
    NamedField{"Content-Transfer-Encoding", FieldName::kContentTransferEncoding},
    NamedField{"ARC-Authentication-Results", FieldName::kArcAuthenticationResults},
};
static_assert(kNamedFields.size() + 1 == static_cast<std::size_t>(FieldName::kCount));

constexpr std::size_t kLongestName = kNamedFields.back().text.size();
static_assert(kLongestName <= kFieldNameBytesMax);

// kFirstOfLength[n] to kFirstOfLength[n + 1]: the names of n letters.
constexpr auto kFirstOfLength = [] {
  std::array<std::uint8_t, kLongestName + 2> first{};
  for (std::size_t length = 0; length < first.size(); ++length) {
    std::size_t i = 0;
    while (i < kNamedFields.size() && kNamedFields[i].text.size() < length) ++i;
    first[length] = static_cast<std::uint8_t>(i);
  }
  return first;
}();
static_assert(std::is_sorted(kNamedFields.begin(), kNamedFields.end(),
                             [](const NamedField& a, const NamedField& b) {
                               return a.text.size() < b.text.size();
                             }));

// RFC 5322 3.6.8: ftext.
bool is_name_byte(char c) {
  return c > ' ' && c <= '~' && c != ':';
}
bool is_space(char c) {
  return c == ' ' || c == '\t';
}
// Readers that fold by "any white space" take these for a continuation as well.
bool is_wide_space(char c) {
  return is_space(c) || c == '\v' || c == '\f';
}

}  // namespace

FieldName find_field_name(std::string_view name) {
  if (name.size() > kLongestName) return FieldName::kOther;
  for (std::size_t i = kFirstOfLength[name.size()]; i < kFirstOfLength[name.size() + 1]; ++i) {
    if (base::ascii_iequals(name, kNamedFields[i].text)) return kNamedFields[i].name;
  }
  return FieldName::kOther;
}

HeaderIndex::HeaderIndex(std::uint32_t header_bytes_max, std::uint32_t fields_max, bool from_line)
    : header_bytes_max_(header_bytes_max), fields_max_(fields_max), from_line_(from_line) {
  static_assert(sizeof name_ > kLongestName);
}

void HeaderIndex::reset() {
  fields_.clear();
  tally_ = {};
  field_ = {};
  position_ = line_begin_ = header_bytes_ = body_begin_ = from_line_bytes_ = 0;
  status_ = HeaderStatus::kMore;
  end_ = HeaderEnd::kMessageEnd;
  at_ = At::kLineStart;
  in_field_ = false;
}

const Field* HeaderIndex::first(FieldName name) const& {
  MXRING_ASSERT(name < FieldName::kCount);
  const Tally& tally = tally_[static_cast<std::size_t>(name)];
  MXRING_ASSERT(tally.count == 0 ||
                (tally.first < fields_.size() && fields_[tally.first].name == name));
  return tally.count == 0 ? nullptr : &fields_[tally.first];
}

HeaderStatus HeaderIndex::feed(std::string_view piece) {
  while (!piece.empty() && status_ == HeaderStatus::kMore) {
    std::size_t taken = 0;
    switch (at_) {
      case At::kLineStart:
      case At::kEmptyLineCr:
        taken = take_line_start(piece);
        break;
      case At::kName:
      case At::kNameSpace:
        taken = take_name(piece);
        break;
      case At::kValue:
      case At::kValueCr:
        taken = take_value(piece);
        break;
      case At::kFromLine:
      case At::kFromLineCr:
        taken = take_from_line(piece);
        break;
    }
    MXRING_ASSERT(taken <= piece.size());
    piece.remove_prefix(taken);
  }
  return status_;
}

HeaderStatus HeaderIndex::finish() {
  if (status_ != HeaderStatus::kMore) return status_;
  // A value's last line belongs to its field, ended or not.
  const bool whole = at_ == At::kValue || at_ == At::kValueCr || at_ == At::kLineStart;
  if (whole) line_begin_ = position_;
  if (end_field()) complete(whole ? HeaderEnd::kMessageEnd : HeaderEnd::kNoField, line_begin_);
  return status_;
}

std::size_t HeaderIndex::take_line_start(std::string_view piece) {
  const char c = piece[0];
  if (at_ == At::kEmptyLineCr) {
    if (!end_field()) return 1;
    if (c == '\n') {
      complete(HeaderEnd::kEmptyLine, position_ + 1);
    } else {
      complete(HeaderEnd::kNoField, line_begin_);
    }
    return 1;
  }
  line_begin_ = position_;
  if (c == '\r') {
    at_ = At::kEmptyLineCr;
    ++position_;
    return 1;
  }
  if (is_space(c) && in_field_) {
    at_ = At::kValue;
    return 0;
  }
  if (!end_field()) return 0;
  if (!is_name_byte(c)) {
    const bool first_space = line_begin_ == from_line_bytes_ && is_wide_space(c);
    complete(first_space ? HeaderEnd::kFirstSpace : HeaderEnd::kNoField, line_begin_);
    return 0;
  }
  field_ = {};
  field_.begin = position_;
  at_ = At::kName;
  return 0;
}

std::size_t HeaderIndex::take_name(std::string_view piece) {
  std::size_t at = 0;
  if (at_ == At::kName) {
    while (at < piece.size() && is_name_byte(piece[at])) ++at;
    const std::uint32_t before = field_.name_bytes;
    const std::size_t bytes = before + at;
    if (bytes > kFieldNameBytesMax) {
      complete(HeaderEnd::kNoField, line_begin_);
      return at;
    }
    field_.name_bytes = static_cast<std::uint32_t>(bytes);
    // It straddles pieces, or may be no field at all.
    if (at == piece.size() || before != 0 || line_begin_ == 0) {
      if (bytes <= name_.size()) std::memcpy(name_.data() + before, piece.data(), at);
      // Longer than any known name, it is found to be none of them by its length alone.
      field_.name = find_field_name({name_.data(), std::min(bytes, name_.size())});
    } else {
      field_.name = find_field_name(piece.substr(0, at));
    }
    position_ += static_cast<std::uint32_t>(at);
    if (at == piece.size()) return at;
    at_ = At::kNameSpace;
  }
  const std::size_t space = at;
  while (at < piece.size() && is_space(piece[at])) ++at;
  position_ += static_cast<std::uint32_t>(at - space);
  if (position_ - field_.begin > kFieldNameBytesMax) {
    complete(HeaderEnd::kNoField, line_begin_);
    return at;
  }
  if (at == piece.size()) return at;
  if (piece[at] != ':') {
    if (is_from_line()) {
      at_ = At::kFromLine;
      return at;
    }
    complete(HeaderEnd::kNoField, line_begin_);
    return at;
  }
  field_.value = ++position_;
  in_field_ = true;
  at_ = At::kValue;
  if (position_ > header_bytes_max_) status_ = HeaderStatus::kTooLarge;
  return at + 1;
}

// After a name and its blanks. name_ has the name only when it straddled pieces, so its bytes are
// kept for the first line (take_name).
bool HeaderIndex::is_from_line() const {
  if (!from_line_ || line_begin_ != 0 || position_ == field_.name_bytes) return false;
  const std::string_view name(name_.data(), std::min<std::size_t>(field_.name_bytes, name_.size()));
  return name == "From" || name == ">From";
}

std::size_t HeaderIndex::take_from_line(std::string_view piece) {
  MXRING_ASSERT(from_line_ && !in_field_ && fields_.empty());
  std::size_t at = 0;
  bool ended = false;
  while (at < piece.size() && !ended) {
    const char c = piece[at++];
    ended = at_ == At::kFromLineCr && c == '\n';
    at_ = c == '\r' ? At::kFromLineCr : At::kFromLine;
  }
  if (at > header_bytes_max_ - position_) {
    status_ = HeaderStatus::kTooLarge;
    return at;
  }
  position_ += static_cast<std::uint32_t>(at);
  if (ended) {
    from_line_bytes_ = position_;
    at_ = At::kLineStart;
  }
  return at;
}

std::size_t HeaderIndex::take_value(std::string_view piece) {
  MXRING_ASSERT(in_field_ && field_.value > field_.begin);
  std::size_t at = 0;
  bool ended = false;
  if (at_ == At::kValueCr && piece[0] == '\n') {
    at = 1;
    ended = true;
  }
  while (!ended && at < piece.size()) {
    const auto* lf =
        static_cast<const char*>(std::memchr(piece.data() + at, '\n', piece.size() - at));
    if (lf == nullptr) {
      at = piece.size();
      break;
    }
    const auto lf_at = static_cast<std::size_t>(lf - piece.data());
    ended = lf_at > 0 && piece[lf_at - 1] == '\r';
    at = lf_at + 1;
  }
  at_ = ended ? At::kLineStart : piece[at - 1] == '\r' ? At::kValueCr : At::kValue;
  // A value that goes beyond the limit, by however much: the position shall not depend on splits.
  if (at > header_bytes_max_ - position_) {
    status_ = HeaderStatus::kTooLarge;
    return at;
  }
  position_ += static_cast<std::uint32_t>(at);
  return at;
}

// What ends a field is the beginning of the next line that does not continue it.
bool HeaderIndex::end_field() {
  if (!in_field_) return true;
  in_field_ = false;
  if (fields_.size() >= fields_max_) {
    status_ = HeaderStatus::kTooManyFields;
    return false;
  }
  field_.end = line_begin_;
  MXRING_ASSERT(field_.begin < field_.value && field_.value <= field_.end);
  Tally& tally = tally_[static_cast<std::size_t>(field_.name)];
  if (tally.count++ == 0) tally.first = static_cast<std::uint32_t>(fields_.size());
  MXRING_ASSERT(fields_.empty() || fields_.back().end <= field_.begin);
  fields_.push_back(field_);
  return true;
}

void HeaderIndex::complete(HeaderEnd end, std::uint32_t body_begin) {
  MXRING_ASSERT(status_ == HeaderStatus::kMore && line_begin_ <= body_begin && !in_field_);
  end_ = end;
  header_bytes_ = line_begin_;
  body_begin_ = body_begin;
  status_ = HeaderStatus::kComplete;
}

}  // namespace mxring::mail
