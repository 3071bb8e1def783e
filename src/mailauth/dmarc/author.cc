#include "mailauth/dmarc/author.h"

#include <algorithm>
#include <optional>

#include "base/ip_address.h"
#include "base/text.h"
#include "dns/name.h"

namespace mxring::mailauth::dmarc {

namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Goes through a value that mail::parse_single_mailbox has taken, so that every comment, quoted
// string and angle bracket in it is closed.
class Scan {
 public:
  explicit Scan(std::string_view text) : text_(text) {}

  // A mark against the address itself: what stands between the angle brackets, or all of the value.
  std::optional<AuthorError> run() {
    const std::size_t bracket = find_bracket();
    at_ = bracket == std::string_view::npos ? 0 : bracket + 1;
    // Around the address comments and spaces are fine; inside the brackets only spaces are.
    const bool bracketed = at_ != 0;
    if (skip_around() && bracketed) return AuthorError::kCommentInside;
    if (at_ < text_.size() && (text_[at_] == '@' || text_[at_] == ',')) return AuthorError::kRoute;
    while (at_ < text_.size() && !is_space(text_[at_]) && text_[at_] != '(' && text_[at_] != '>') {
      skip_one();
    }
    if (skip_around() && bracketed) return AuthorError::kCommentInside;
    const bool at_end = at_ == text_.size() || (bracketed && text_[at_] == '>');
    return at_end ? std::nullopt : std::optional(AuthorError::kCommentInside);
  }

 private:
  // The opening angle bracket, outside comments and quoted strings.
  std::size_t find_bracket() {
    for (at_ = 0; at_ < text_.size();) {
      if (text_[at_] == '<') return at_;
      if (text_[at_] == '(') {
        skip_comment();
      } else {
        skip_one();
      }
    }
    return std::string_view::npos;
  }

  // White space and comments; true when there was a comment.
  bool skip_around() {
    bool comment = false;
    while (at_ < text_.size() && (is_space(text_[at_]) || text_[at_] == '(')) {
      if (text_[at_] == '(') {
        comment = true;
        skip_comment();
      } else {
        ++at_;
      }
    }
    return comment;
  }

  void skip_comment() {
    int depth = 0;
    do {
      if (text_[at_] == '(') ++depth;
      if (text_[at_] == ')') --depth;
      at_ += text_[at_] == '\\' ? 2 : 1;
    } while (depth != 0 && at_ < text_.size());
  }

  // One character, or a whole quoted string.
  void skip_one() {
    if (text_[at_++] != '"') return;
    while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
    ++at_;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool has_encoded_word(std::string_view text) {
  const std::size_t begin = text.find("=?");
  return begin != std::string_view::npos && text.find("?=", begin + 2) != std::string_view::npos;
}

// The value with its one address at the end, in angle brackets, as strict syntax would have it;
// nothing when it is another kind of value or has a second meaning. The result lies in `value` or
// in `plain`.
std::optional<std::string_view> in_strict_syntax(std::string_view value, std::string& plain) {
  value = trimmed(value);
  if (value.ends_with(',')) value = trimmed(value.substr(0, value.size() - 1));
  const std::size_t open = value.find('<');
  if (!value.ends_with('>') || open == std::string_view::npos) return std::nullopt;
  const std::string_view phrase = trimmed(value.substr(0, open));
  const std::string_view address = value.substr(open);
  if (base::ascii_iequals(phrase, address.substr(1, address.size() - 2))) return address;
  constexpr std::string_view kSpecials = "[],;.";
  if (phrase.find_first_of(kSpecials) == std::string_view::npos) return value;
  // What programs make addresses of that split the value at a comma, stop at a bracket, or decode
  // encoded words first.
  const bool only_one =
      value.find('<', open + 1) == std::string_view::npos && value.find('>') == value.size() - 1;
  const bool empty_first = phrase.starts_with(',') || phrase.starts_with(';');
  if (!only_one || empty_first || phrase.find_first_of("@:") != std::string_view::npos ||
      has_encoded_word(phrase)) {
    return value;
  }
  plain.assign(phrase);
  for (char& c : plain) {
    if (kSpecials.contains(c)) c = 'x';
  }
  plain.append(address);
  return plain;
}

AuthorError from_address_error(mail::AddressError error) {
  switch (error) {
    case mail::AddressError::kEmpty:
      return AuthorError::kEmpty;
    case mail::AddressError::kTooMany:
      return AuthorError::kSeveralMailboxes;
    case mail::AddressError::kGroup:
      return AuthorError::kGroup;
    case mail::AddressError::kSyntax:
      break;
  }
  return AuthorError::kSyntax;
}

// RFC 5321 4.1.3, in lower case: "[192.0.2.1]" or "[ipv6:2001:db8::1]".
bool is_address_literal(std::string_view text) {
  text = text.substr(1, text.size() - 2);
  constexpr std::string_view kTag = "ipv6:";
  const bool v6 = text.starts_with(kTag);
  if (v6) text.remove_prefix(kTag.size());
  const auto address = base::IpAddress::parse(text);
  return address && (text.find(':') != std::string_view::npos) == v6;
}

}  // namespace

std::string_view describe(AuthorError error) {
  switch (error) {
    case AuthorError::kNoField:
      return "no From field";
    case AuthorError::kSeveralFields:
      return "more than one From field";
    case AuthorError::kEmpty:
      return "no address in the From field";
    case AuthorError::kSeveralMailboxes:
      return "more than one address in the From field";
    case AuthorError::kGroup:
      return "a group in the From field";
    case AuthorError::kSyntax:
      return "a From field that is no address";
    case AuthorError::kRoute:
      return "a route in the From address";
    case AuthorError::kCommentInside:
      return "a comment or white space inside the From address";
    case AuthorError::kEncodedWord:
      return "an encoded word in the From address";
    case AuthorError::kQuotedMarks:
      return "a quoted local part with marks of address syntax in the From address";
    case AuthorError::kDomain:
      return "a From address whose domain is no domain name";
  }
  return "";
}

std::expected<std::string_view, AuthorError> parse_author_domain(std::string_view value,
                                                                 AuthorScratch& scratch) {
  auto parsed = mail::parse_single_mailbox(value, scratch.mailbox);
  if (!parsed) {
    const AuthorError error = from_address_error(parsed.error());
    const auto strict = in_strict_syntax(value, scratch.plain);
    if (!strict) return std::unexpected(error);
    value = *strict;
    parsed = mail::parse_single_mailbox(value, scratch.mailbox);
    if (!parsed) return std::unexpected(error);
  }
  if (const auto error = Scan(value).run()) return std::unexpected(*error);
  const mail::Mailbox& mailbox = **parsed;
  if (has_encoded_word(mailbox.local_part) || has_encoded_word(mailbox.domain)) {
    return std::unexpected(AuthorError::kEncodedWord);
  }
  if (mailbox.local_part.find_first_of("@<>()[],;:\\\"") != std::string::npos) {
    return std::unexpected(AuthorError::kQuotedMarks);
  }
  if (mailbox.domain.starts_with('[')) {
    if (!is_address_literal(mailbox.domain)) return std::unexpected(AuthorError::kDomain);
    return mailbox.domain;
  }
  const auto domain = mail::to_a_labels(mailbox.domain, scratch.domain);
  if (!domain) return std::unexpected(AuthorError::kDomain);
  const auto name = dns::Name::parse(*domain);
  if (!name || !name->is_host_name()) return std::unexpected(AuthorError::kDomain);
  return domain->ends_with('.') ? domain->substr(0, domain->size() - 1) : *domain;
}

std::expected<std::string_view, AuthorError> find_author_domain(std::string_view header_section,
                                                                std::span<const mail::Field> fields,
                                                                AuthorScratch& scratch) {
  const mail::Field* found = nullptr;
  for (const mail::Field& field : fields) {
    if (field.name != mail::FieldName::kFrom) continue;
    if (found != nullptr) return std::unexpected(AuthorError::kSeveralFields);
    found = &field;
  }
  if (found == nullptr) return std::unexpected(AuthorError::kNoField);
  return parse_author_domain(header_section.substr(found->value, found->end - found->value),
                             scratch);
}

}  // namespace mxring::mailauth::dmarc
