#include "mailauth/dmarc/author.h"

#include "mail/hidden_words.h"
#include "mailauth/dmarc/author_readings.h"
#include "mailauth/dmarc/author_strict.h"

namespace mxring::mailauth::dmarc {

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
  const StrictAuthor strict = parse_strict_author(value, scratch);
  if (strict.parsed || strict.domain) return strict.domain;
  return read_broken_value(value, strict.domain.error(), scratch);
}

bool names_no_domain(std::string_view value, AuthorScratch& scratch) {
  return !mail::may_have_at_sign(value, scratch.decoded, scratch.reading);
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
