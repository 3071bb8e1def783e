#include "server/policy.h"

#include <utility>

#include "base/assert.h"
#include "base/text.h"
#include "server/policy_files.h"
#include "smtp/reply.h"
#include "smtp/session.h"

namespace mxring::server {

namespace {

namespace replies = smtp::replies;

// RFC 9989 5.3.1.
smtp::Reply refuse_author(mailauth::dmarc::AuthorError error, std::string& text) {
  text.assign("The message has ").append(mailauth::dmarc::describe(error));
  return smtp::Reply(replies::kNoAuthor).with(text);
}

// A configuration that was not loaded from a file has domains only.
std::shared_ptr<const PolicyFiles> without_files(const Config& config) {
  const auto files = std::make_shared<PolicyFiles>();
  files->recipients = Recipients(config.recipients.domains, config.recipients.extension);
  return files;
}

// At any domain, or at none (RFC 5321 4.5.1).
bool is_postmaster(std::string_view recipient) {
  return base::ascii_iequals(recipient.substr(0, recipient.rfind('@')), "postmaster");
}

// Their entries were checked when the configuration was read.
std::optional<Recipients> journal_of(const Config::Recipients& recipients) {
  if (recipients.journal.empty()) return std::nullopt;
  auto entries = Recipients::of(recipients.journal, recipients.extension);
  MXRING_ASSERT(entries.has_value());
  return std::move(*entries);
}

}  // namespace

Policy::Policy(const Config& config)
    : files_(config.policy_files != nullptr ? config.policy_files : without_files(config)),
      journal_(journal_of(config.recipients)),
      received_fields_max_(config.limits.received_fields),
      vouches_(config.auth.spf || config.auth.dkim || config.auth.dmarc),
      one_from_(config.auth.dmarc),
      on_no_author_(config.auth.on_no_author),
      accept_without_header_(config.syntax.no_header) {}

Policy::Ruling Policy::access(const AccessQuestion& question) const {
  const Access::Rule* rule = files_->access.find(question);
  const bool allowed = rule != nullptr && rule->action == AccessAction::kAllow;
  if (rule == nullptr || allowed) {
    return {std::nullopt, !allowed && !is_postmaster(question.recipient)};
  }
  const std::string_view text = files_->access.text(*rule);
  const smtp::Reply reply =
      rule->action == AccessAction::kDeny ? replies::kAccessDenied : replies::kAccessDeferred;
  return {text.empty() ? reply : reply.with(text), false};
}

smtp::Reply Policy::listed(const BlockList& list, std::string_view client, std::string& text) {
  text.assign("Access denied: ").append(client).append(" is listed by ").append(list.zone());
  return smtp::Reply(replies::kAccessDenied).with(text);
}

std::optional<smtp::Reply> Policy::recipient(const AccessQuestion& question) const {
  const Ruling ruling = access(question);
  return ruling.refusal ? ruling.refusal : served(question.recipient);
}

bool Policy::insists(std::string_view recipient) const {
  if (!journal_ || is_postmaster(recipient)) return false;
  return journal_->find(recipient) == Recipients::Answer::kServed;
}

std::optional<smtp::Reply> Policy::served(std::string_view recipient) const {
  MXRING_ASSERT(files_ != nullptr);
  if (insists(recipient)) return std::nullopt;
  switch (files_->recipients.find(recipient)) {
    case Recipients::Answer::kServed:
      return std::nullopt;
    case Recipients::Answer::kNotOurs:
      return replies::kNotOurs;
    case Recipients::Answer::kUnknown:
      return replies::kUnknownRecipient;
  }
  return std::nullopt;
}

// Behind a line that is no field many readers go on to the empty line, and find there what nobody
// has looked at here: another From, results in our name.
bool Policy::is_whole(const mail::HeaderIndex& header) const {
  switch (header.end()) {
    case mail::HeaderEnd::kEmptyLine:
    case mail::HeaderEnd::kMessageEnd:
      return true;
    case mail::HeaderEnd::kNoField:
      // Without any field there is nothing behind which one could hide.
      return !vouches_ || (accept_without_header_ && header.fields().empty());
    case mail::HeaderEnd::kFirstSpace:
      break;  // it would continue the trace fields we put on top
  }
  return false;
}

std::optional<smtp::Reply> over_limit(mail::HeaderStatus status) {
  if (status == mail::HeaderStatus::kTooLarge) return replies::kHeaderTooLarge;
  if (status == mail::HeaderStatus::kTooManyFields) return replies::kTooManyFields;
  return std::nullopt;
}

std::optional<smtp::Reply> Policy::binary_header(const mail::HeaderIndex& header,
                                                 const smtp::DataScanner& data) {
  using smtp::DataFault;
  if (header.status() != mail::HeaderStatus::kComplete) return std::nullopt;  // header() refuses it
  const DataFault fault = data.fault();
  if (fault == DataFault::kNone || fault == DataFault::kLineTooLong) return std::nullopt;
  MXRING_ASSERT(fault == DataFault::kBareCr || fault == DataFault::kBareLf ||
                fault == DataFault::kNul);
  if (data.fault_at() >= header.body_begin()) return std::nullopt;
  return smtp::reply_for(fault);
}

std::optional<smtp::Reply> Policy::header(const mail::HeaderIndex& header, std::string_view from,
                                          bool bounce, PolicyScratch& scratch) const {
  if (const auto refusal = over_limit(header.status())) return refusal;
  if (header.count(mail::FieldName::kReceived) > received_fields_max_) return replies::kLoop;
  if (!is_whole(header)) return replies::kNoField;
  if (!one_from_) return std::nullopt;
  MXRING_ASSERT(header.status() == mail::HeaderStatus::kComplete);
  const std::uint32_t froms = header.count(mail::FieldName::kFrom);
  using Error = mailauth::dmarc::AuthorError;
  // No domain is named, so none can be pretended to.
  const bool wanted =
      on_no_author_ == NoAuthor::kAccept || (on_no_author_ == NoAuthor::kBounces && bounce);
  if (wanted &&
      (froms == 0 || (froms == 1 && mailauth::dmarc::names_no_domain(from, scratch.author)))) {
    return std::nullopt;
  }
  if (froms != 1) {
    return refuse_author(froms == 0 ? Error::kNoField : Error::kSeveralFields, scratch.reply);
  }
  const auto author = mailauth::dmarc::parse_author_domain(from, scratch.author);
  if (!author) return refuse_author(author.error(), scratch.reply);
  return std::nullopt;
}

}  // namespace mxring::server
