#include "mailauth/dmarc/author_readings.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "base/assert.h"
#include "base/text.h"
#include "mail/hidden_words.h"
#include "mailauth/dmarc/author_strict.h"

namespace mxring::mailauth::dmarc {

namespace {

// Nobody's mail has more, and each costs a conversion to A-labels at most.
constexpr std::size_t kAtSignsMax = 32;
// Of a value in broken syntax: it is read some thirty times over, and nobody's From is as long.
constexpr std::size_t kBrokenBytesMax = 4096;
constexpr std::string_view kEllipsis = "\xE2\x80\xA6";

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
bool is_high(char c) {
  return static_cast<unsigned char>(c) >= 0x80;
}
bool is_domain_byte(char c) {
  const char lower = base::ascii_lower(c);
  return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || is_high(c);
}

// The length of the comment at the start of `text`; 0 when it is open.
std::size_t comment_bytes(std::string_view text) {
  std::size_t depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '(') {
      ++depth;
    } else if (text[at] == ')' && --depth == 0) {
      return at + 1;
    }
  }
  return 0;
}

// The same for a quoted string.
std::size_t quoted_bytes(std::string_view text) {
  for (std::size_t at = 1; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return 0;
}

// Control characters other than tabs and folding.
bool has_controls(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\r' && at + 1 < text.size() && text[at + 1] == '\n') {
      ++at;
      if (at + 1 < text.size() && text[at + 1] != ' ' && text[at + 1] != '\t') return true;
    } else if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F) {
      return true;
    }
  }
  return false;
}

// Zero-width characters and other invisible ones: U+00AD, U+200B to U+200F, U+2060, U+FEFF.
std::size_t invisible_bytes(std::string_view text) {
  const char c = text[0];
  if ((static_cast<unsigned char>(c) < 0x20 && !is_space(c)) || c == 0x7F) return 1;
  if (text.starts_with("\xC2\xAD")) return 2;
  if (text.starts_with("\xE2\x80") && text.size() > 2) {
    const auto last = static_cast<unsigned char>(text[2]);
    return last >= 0x8B && last <= 0x8F ? 3 : 0;
  }
  return text.starts_with("\xE2\x81\xA0") || text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
}

// ---- Where the address is

// One address as it stands: between angle brackets, or the word around an at sign.
class Address {
 public:
  Address(std::string_view value, AuthorScratch& scratch) : value_(value), scratch_(scratch) {}

  // Its domain in scratch.author. All addresses that stand in the open must have the same one.
  std::optional<AuthorError> find() {
    scratch_.author.clear();
    if (const auto error = look(true)) return error;
    if (!scratch_.author.empty()) return std::nullopt;
    if (const auto error = look(false)) return error;
    return scratch_.author.empty() ? std::optional(AuthorError::kEmpty) : std::nullopt;
  }

 private:
  // Outside quoted strings and comments.
  std::optional<AuthorError> look(bool in_brackets) {
    for (std::size_t at = 0; at < value_.size();) {
      const char c = value_[at];
      std::size_t bytes = 1;
      if (c == '(') bytes = comment_bytes(value_.substr(at));
      if (c == '"') bytes = quoted_bytes(value_.substr(at));
      if (bytes == 0) return AuthorError::kSyntax;  // it swallows what follows
      std::optional<AuthorError> error;
      if (in_brackets && c == '<') error = take_brackets(at, bytes);
      if (!in_brackets && c == '@') error = take_word(at);
      if (error) return error;
      at += bytes;
    }
    return std::nullopt;
  }

  std::optional<AuthorError> take_brackets(std::size_t at, std::size_t& bytes) {
    const std::size_t end = value_.find_first_of("<>", at + 1);
    if (end == std::string_view::npos || value_[end] == '<') return AuthorError::kSyntax;
    bytes = end + 1 - at;
    return take(value_.substr(at + 1, end - at - 1));
  }

  std::optional<AuthorError> take_word(std::size_t at) {
    constexpr std::string_view kEnds = " \t\r\n,;:()<>[]\"\\@";
    std::size_t begin = at;
    while (begin > 0 && !kEnds.contains(value_[begin - 1])) --begin;
    std::size_t end = at + 1;
    while (end < value_.size() && !kEnds.contains(value_[end])) ++end;
    return take(value_.substr(begin, end - begin));
  }

  std::optional<AuthorError> take(std::string_view text) {
    while (!text.empty() && (is_space(text.back()) || text.back() == '.')) text.remove_suffix(1);
    scratch_.address.assign("<").append(text).append(">");
    const StrictAuthor author = parse_strict_author(scratch_.address, scratch_);
    if (!author.domain) return author.domain.error();
    if (scratch_.author.empty()) {
      scratch_.author = *author.domain;
    } else if (scratch_.author != *author.domain) {
      return AuthorError::kSeveralMailboxes;
    }
    return std::nullopt;
  }

  std::string_view value_;
  AuthorScratch& scratch_;
};

// ---- What else it may be read as

// Compares what stands after the at signs of a reading with the author's domain.
class Comparison {
 public:
  explicit Comparison(std::string_view author) : author_(author) {}

  // Where a domain goes on after white space: nowhere, beside a dot (RFC 5322 4.4), or, as Python's
  // parser has it, in whatever word follows. The last one of texts as they are sent only.
  enum class Join : std::uint8_t { kNone, kAtDots, kWords };

  bool only_author(std::string_view reading, Join widest) {
    for (std::size_t at = 0; at < reading.size();) {
      const std::size_t sign = mail::at_sign(reading.substr(at));
      at += std::max<std::size_t>(sign, 1);
      if (sign == 0) continue;
      if (++at_signs_ > kAtSignsMax) return false;
      const std::string_view rest = reading.substr(at);
      if (!is_author(rest, Join::kNone) || !is_author(rest, Join::kAtDots)) return false;
      if (widest == Join::kWords && !is_author(rest, widest)) return false;
    }
    at_signs_ = 0;
    return true;
  }

 private:
  // The bytes of a domain at the start of `text`.
  static std::size_t domain_bytes(std::string_view text, Join join) {
    std::size_t at = 0;
    while (at < text.size()) {
      const std::string_view rest = text.substr(at);
      if (mail::at_sign(rest) != 0 || rest.starts_with(kEllipsis)) break;
      if (is_domain_byte(rest[0])) {
        ++at;
        continue;
      }
      if (join == Join::kNone || !is_space(rest[0])) break;
      std::size_t next = at;
      while (next < text.size() && is_space(text[next])) ++next;
      const bool after_dot = at > 0 && text[at - 1] == '.';
      if (next == text.size() || !is_domain_byte(text[next])) break;
      if (join == Join::kAtDots && !after_dot && text[next] != '.') break;
      at = next;
    }
    return at;
  }

  bool is_author(std::string_view text, Join join) {
    while (!text.empty() && is_space(text[0])) text.remove_prefix(1);
    const std::size_t bytes = domain_bytes(text, join);
    std::string_view domain = text.substr(0, bytes);
    // "me@shop.exa...": the name of an address that did not fit.
    const bool cut = domain.ends_with("..") || text.substr(bytes).starts_with(kEllipsis);
    text_.clear();
    for (const char c : domain) {
      if (!is_space(c)) text_ += c;
    }
    domain = text_;
    while (domain.starts_with('.')) domain.remove_prefix(1);
    while (domain.ends_with('.')) domain.remove_suffix(1);
    return is_no_domain(domain) || same(domain, cut);
  }

  // A single label, or a number: nobody has a policy there.
  static bool is_no_domain(std::string_view domain) {
    if (std::ranges::any_of(domain, is_high)) return false;
    const std::size_t dot = domain.rfind('.');
    if (dot == std::string_view::npos) return true;
    return std::ranges::all_of(domain.substr(dot + 1), [](char c) { return c >= '0' && c <= '9'; });
  }

  bool same(std::string_view domain, bool cut) {
    const auto converted = mail::to_a_labels(domain, buffer_);
    if (!converted) return false;
    std::string_view name = *converted;
    while (name.ends_with('.')) name.remove_suffix(1);
    if (name.find('.') == std::string_view::npos) return true;
    if (base::ascii_iequals(name, author_)) return true;
    return cut && name.size() < author_.size() &&
           base::ascii_iequals(name, author_.substr(0, name.size()));
  }

  std::string_view author_;
  std::size_t at_signs_ = 0;
  std::string text_;
  mail::DomainBuffer buffer_;
};

// One text without some of what programs take out, in all combinations that differ.
class Readings {
 public:
  Readings(std::string_view author, std::string& scratch)
      : comparison_(author), reading_(scratch) {}

  bool only_author(std::string_view text, bool as_sent = false) {
    using Join = Comparison::Join;
    if (!comparison_.only_author(text, as_sent ? Join::kWords : Join::kAtDots)) return false;
    for (unsigned without = 1; without <= kAll; ++without) {
      if (!remove(text, without)) continue;
      const bool words = as_sent && without == kComments;
      if (!comparison_.only_author(reading_, words ? Join::kWords : Join::kAtDots)) return false;
    }
    return true;
  }

 private:
  enum Without : unsigned { kQuotes = 1, kComments = 2, kInvisible = 4, kAll = 7 };

  // False when there is something to take out that is not there: another combination is the same.
  bool remove(std::string_view text, unsigned without) {
    reading_.clear();
    unsigned removed = 0;
    while (!text.empty()) {
      std::size_t bytes = 0;
      if ((without & kQuotes) != 0 && (text[0] == '"' || text[0] == '\\')) {
        bytes = 1;
        removed |= kQuotes;
      } else if ((without & kComments) != 0 && text[0] == '(' && !open_comment_) {
        bytes = comment_bytes(text);
        open_comment_ = bytes == 0;  // so are all further ones, none of which is looked through
        if (bytes != 0) removed |= kComments;
      } else if ((without & kInvisible) != 0) {
        bytes = invisible_bytes(text);
        if (bytes != 0) removed |= kInvisible;
      }
      if (bytes == 0) {
        reading_ += text[0];
        bytes = 1;
      }
      text.remove_prefix(bytes);
    }
    open_comment_ = false;
    return removed == without;
  }

  Comparison comparison_;
  std::string& reading_;
  bool open_comment_ = false;
};

// A well-formed list says that there are several authors, whatever their domains.
std::optional<AuthorError> several_authors(std::string_view value, AuthorError refused) {
  const auto list = mail::parse_address_list(value);
  if (!list) return std::nullopt;
  if (refused == AuthorError::kGroup) return refused;
  return list->size() > 1 ? std::optional(AuthorError::kSeveralMailboxes) : std::nullopt;
}

// Programs that look for brackets first find some in quoted strings and comments, and take what is
// around and between them together.
bool only_author_without_brackets(std::string_view value, Readings& readings,
                                  std::string& scratch) {
  for (std::size_t at = 0; at < value.size();) {
    std::size_t bytes = 1;
    if (value[at] == '(') bytes = comment_bytes(value.substr(at));
    if (value[at] == '"') bytes = quoted_bytes(value.substr(at));
    MXRING_ASSERT(bytes != 0);  // it would have swallowed the address
    const std::string_view inside = value.substr(at, bytes);
    if (bytes > 1 && inside.find_first_of("<>") != std::string_view::npos) {
      scratch.clear();
      std::ranges::copy_if(inside, std::back_inserter(scratch),
                           [](char c) { return c != '<' && c != '>'; });
      if (!readings.only_author(scratch)) return false;
    }
    at += bytes;
  }
  return true;
}

bool only_author_anywhere(std::string_view value, AuthorScratch& scratch) {
  Readings readings(scratch.author, scratch.reading);
  if (!readings.only_author(value, true)) return false;
  if (!only_author_without_brackets(value, readings, scratch.decoded)) return false;
  if (!mail::has_encoded_word(value)) return true;
  for (const auto between : {mail::BetweenWords::kDropped, mail::BetweenWords::kKept}) {
    mail::decode_words(value, between, scratch.decoded);
    if (!readings.only_author(scratch.decoded)) return false;
    if (!mail::has_encoded_word(scratch.decoded)) continue;
    mail::decode_words(scratch.decoded, between, scratch.address);
    if (!readings.only_author(scratch.address)) return false;
  }
  return true;
}

}  // namespace

std::expected<std::string_view, AuthorError> read_broken_value(std::string_view value,
                                                               AuthorError refused,
                                                               AuthorScratch& scratch) {
  if (value.size() > kBrokenBytesMax) return std::unexpected(refused);
  if (refused == AuthorError::kEmpty || has_controls(value)) return std::unexpected(refused);
  if (const auto several = several_authors(value, refused)) return std::unexpected(*several);
  if (const auto error = Address(value, scratch).find()) {
    const bool telling = *error != AuthorError::kSyntax && *error != AuthorError::kEmpty;
    return std::unexpected(telling ? *error : refused);
  }
  if (!only_author_anywhere(value, scratch)) return std::unexpected(refused);
  return std::string_view(scratch.author);
}

}  // namespace mxring::mailauth::dmarc
