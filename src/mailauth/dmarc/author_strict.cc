#include "mailauth/dmarc/author_strict.h"

#include <optional>

#include "base/assert.h"
#include "base/ip_address.h"
#include "dns/name.h"
#include "mail/hidden_words.h"

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

std::expected<std::string_view, AuthorError> judge(const mail::Mailbox& mailbox,
                                                   AuthorScratch& scratch) {
  if (mail::has_encoded_word(mailbox.local_part) || mail::has_encoded_word(mailbox.domain)) {
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

}  // namespace

StrictAuthor parse_strict_author(std::string_view value, AuthorScratch& scratch) {
  const auto parsed = mail::parse_single_mailbox(value, scratch.mailbox);
  if (!parsed) return {std::unexpected(from_address_error(parsed.error())), false};
  if (const auto error = Scan(value).run()) return {std::unexpected(*error), true};
  const auto domain = judge(**parsed, scratch);
  MXRING_ASSERT(!domain || !domain->empty());
  return {domain, true};
}

}  // namespace mxring::mailauth::dmarc
