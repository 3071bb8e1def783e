#include "server/policy.h"

#include <algorithm>

#include "base/text.h"
#include "mail/idna.h"
#include "server/replies.h"

namespace mxring::server {

namespace {

constexpr std::string_view kNotOurs = "550 5.7.1 We do not accept mail for this domain";
constexpr std::string_view kTooManyFields = "552 5.3.4 Too many header fields";
constexpr std::string_view kNoField = "550 5.6.0 A line of the header section is no header field";
constexpr std::string_view kLoop = "554 5.4.6 Too many Received fields, this looks like a loop";
// RFC 9989 5.3.1.
std::string_view refuse_author(mailauth::dmarc::AuthorError error, std::string& reply) {
  reply.assign("550 5.6.0 The message has ").append(mailauth::dmarc::describe(error));
  return reply;
}

}  // namespace

Policy::Policy(const Config& config)
    : domains_(config.recipients.domains.begin(), config.recipients.domains.end()),
      received_fields_max_(config.limits.received_fields),
      vouches_(config.auth.spf || config.auth.dkim || config.auth.dmarc),
      one_from_(config.auth.dmarc),
      accept_without_author_(config.auth.on_no_author == mailauth::Disposition::kAccept) {}

std::optional<std::string_view> Policy::recipient(std::string_view path) const {
  if (domains_.empty()) return std::nullopt;
  const std::size_t at = path.rfind('@');
  if (at == std::string_view::npos) return std::nullopt;  // <postmaster>: always ours
  // RFC 6531 3.2: a U-label and its A-label are one name.
  mail::DomainBuffer buffer;
  const auto name = mail::to_a_labels(path.substr(at + 1), buffer);
  if (!name) return kNotOurs;
  std::string domain(*name);
  std::ranges::transform(domain, domain.begin(), base::ascii_lower);
  if (domains_.contains(domain)) return std::nullopt;
  return kNotOurs;
}

// Behind a line that is no field many readers go on to the empty line, and find there what nobody
// has looked at here: another From, results in our name.
bool Policy::is_whole(mail::HeaderEnd end) const {
  switch (end) {
    case mail::HeaderEnd::kEmptyLine:
    case mail::HeaderEnd::kMessageEnd:
      return true;
    case mail::HeaderEnd::kNoField:
      return !vouches_;
    case mail::HeaderEnd::kFirstSpace:
      break;  // it would continue the trace fields we put on top
  }
  return false;
}

std::optional<std::string_view> Policy::header(const mail::HeaderIndex& header,
                                               std::string_view from,
                                               PolicyScratch& scratch) const {
  if (header.status() == mail::HeaderStatus::kTooLarge) return replies::kHeaderTooLarge;
  if (header.status() == mail::HeaderStatus::kTooManyFields) return kTooManyFields;
  if (header.count(mail::FieldName::kReceived) > received_fields_max_) return kLoop;
  if (!is_whole(header.end())) return kNoField;
  if (!one_from_) return std::nullopt;
  const std::uint32_t froms = header.count(mail::FieldName::kFrom);
  using Error = mailauth::dmarc::AuthorError;
  // No domain is named, so none can be pretended to; an encoded word might hide one.
  const bool nobody = froms == 0 || (froms == 1 && !from.contains('@') && !from.contains("=?"));
  if (nobody && accept_without_author_) return std::nullopt;
  if (froms != 1) {
    return refuse_author(froms == 0 ? Error::kNoField : Error::kSeveralFields, scratch.reply);
  }
  const auto author = mailauth::dmarc::parse_author_domain(from, scratch.author);
  if (!author) return refuse_author(author.error(), scratch.reply);
  return std::nullopt;
}

}  // namespace mxring::server
