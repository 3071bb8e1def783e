// The author domain of a From value in the strict syntax of mail::parse_single_mailbox, where no
// program reads anything else.
#pragma once

#include <expected>
#include <string_view>

#include "mailauth/dmarc/author.h"

namespace mxring::mailauth::dmarc {

struct StrictAuthor {
  std::expected<std::string_view, AuthorError> domain;
  bool parsed = false;  // the syntax is right; an error is then one of what it says
};

StrictAuthor parse_strict_author(std::string_view value, AuthorScratch& scratch);

}  // namespace mxring::mailauth::dmarc
