#include "smtp/command.h"

#include <array>
#include <limits>

#include "base/text.h"
#include "smtp/command_table.h"
#include "smtp/parameters.h"
#include "smtp/reply.h"

namespace mxring::smtp {

namespace {

// Known to SMTP, not to us: 502 tells a client that the spelling was right.
constexpr std::array<std::string_view, 9> kNotOfferedVerbs{"EXPN", "AUTH", "ETRN", "TURN", "ATRN",
                                                           "SEND", "SOML", "SAML", "LHLO"};

constexpr std::array<std::string_view, 9> kHttpVerbs{
    "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE"};

const CommandRow& find_row(std::string_view word, bool has_argument) {
  if (word.size() <= kVerbBytesMax) {
    const std::uint64_t name = folded(word);
    for (std::size_t i = 0; i < kCommandTable.size(); ++i) {
      if (name == kFoldedVerbs[i] && word.size() == kCommandTable[i].verb.size()) {
        return kCommandTable[i];
      }
    }
  }
  for (const std::string_view name : kNotOfferedVerbs) {
    if (base::ascii_iequals(word, name)) return kNotOfferedRow;
  }
  for (const std::string_view name : kHttpVerbs) {
    if (has_argument && word == name) return kHttpRow;
  }
  return kUnknownRow;
}

// Removes "FROM:" or "TO:" in any case, with spaces around the colon where they are allowed.
bool take_keyword(std::string_view& text, std::string_view keyword, const Leniency& leniency) {
  std::string_view rest = text;
  const auto skip_spaces = [&] {
    while (leniency.spaces_in_paths && rest.starts_with(' ')) rest.remove_prefix(1);
  };
  skip_spaces();
  if (!base::ascii_iequals(rest.substr(0, keyword.size()), keyword)) return false;
  rest.remove_prefix(keyword.size());
  skip_spaces();
  if (!rest.starts_with(':')) return false;
  text = rest.substr(1);
  return true;
}

}  // namespace

const CommandRow& find_command(std::string_view line) {
  const std::size_t space = line.find(' ');
  return find_row(line.substr(0, space), space != std::string_view::npos);
}

CommandLine parse_command(std::string_view line) {
  while (line.ends_with(' ')) line.remove_suffix(1);
  CommandLine command{find_command(line), {}};
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return command;
  command.arguments = line.substr(space + 1);
  if ((command.row.flags & kStrictSpaces) == 0) {
    while (command.arguments.starts_with(' ')) command.arguments.remove_prefix(1);
  }
  return command;
}

ChunkArguments parse_chunk(std::string_view arguments) {
  ChunkArguments chunk;
  std::size_t at = 0;
  bool beyond = false;
  for (; at < arguments.size() && arguments[at] >= '0' && arguments[at] <= '9'; ++at) {
    const auto digit = static_cast<std::uint64_t>(arguments[at] - '0');
    if (chunk.octets > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) beyond = true;
    chunk.octets = chunk.octets * 10 + digit;
  }
  if (at == 0 || (at < arguments.size() && arguments[at] != ' ')) return chunk;
  chunk.size = beyond ? ChunkArguments::Size::kBeyond : ChunkArguments::Size::kKnown;
  arguments.remove_prefix(at);
  while (arguments.starts_with(' ')) arguments.remove_prefix(1);
  chunk.last = base::ascii_iequals(arguments, "LAST");
  chunk.well_formed = chunk.last || arguments.empty();
  return chunk;
}

std::expected<MailArguments, ReplyId> parse_mail(std::string_view arguments,
                                                 const Extensions& extensions) {
  if (!take_keyword(arguments, "FROM", extensions.leniency))
    return std::unexpected(replies::kNeedFrom);
  PathError error{};
  const auto path = parse_path(arguments, PathKind::kReverse, extensions.leniency, error);
  if (!path) {
    return std::unexpected(error == PathError::kTooLong ? replies::kSenderTooLong
                                                        : replies::kBadSender);
  }
  if (!arguments.empty() && arguments[0] != ' ') return std::unexpected(replies::kBadSender);
  MailArguments mail;
  mail.reverse_path = path->mailbox;
  ParameterReader reader(arguments);
  while (const auto parameter = reader.next()) {
    if (!extensions.esmtp) return std::unexpected(replies::kUnknownParameter);
    const ParameterError outcome =
        apply_mail_parameter(*parameter, extensions.leniency, reader.seen, mail);
    if (outcome != ParameterError::kNone) return std::unexpected(reply_for(outcome));
  }
  if (reader.failed()) return std::unexpected(replies::kBadParameter);
  if (mail.requiretls && !extensions.tls) return std::unexpected(replies::kUnknownParameter);
  if (reader.utf8() && !mail.smtputf8) return std::unexpected(replies::kBadParameter);
  if (path->utf8 && !mail.smtputf8) return std::unexpected(replies::kNeedSmtpUtf8);
  return mail;
}

std::expected<Envelope::Recipient, ReplyId> parse_rcpt(std::string_view arguments,
                                                       const Extensions& extensions) {
  if (!take_keyword(arguments, "TO", extensions.leniency)) return std::unexpected(replies::kNeedTo);
  PathError error{};
  const auto path = parse_path(arguments, PathKind::kForward, extensions.leniency, error);
  if (!path) {
    return std::unexpected(error == PathError::kTooLong ? replies::kRecipientTooLong
                                                        : replies::kBadRecipient);
  }
  if (!arguments.empty() && arguments[0] != ' ') return std::unexpected(replies::kBadRecipient);
  if (path->utf8 && !extensions.smtputf8) return std::unexpected(replies::kNeedSmtpUtf8);
  Envelope::Recipient recipient;
  recipient.path = path->mailbox;
  ParameterReader reader(arguments);
  while (const auto parameter = reader.next()) {
    if (!extensions.esmtp) return std::unexpected(replies::kUnknownParameter);
    const ParameterError outcome =
        apply_rcpt_parameter(*parameter, extensions.leniency, reader.seen, recipient);
    if (outcome != ParameterError::kNone) return std::unexpected(reply_for(outcome));
  }
  if (reader.failed()) return std::unexpected(replies::kBadParameter);
  if (reader.utf8() && !extensions.smtputf8) return std::unexpected(replies::kBadParameter);
  return recipient;
}

}  // namespace mxring::smtp
