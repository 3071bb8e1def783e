#include "smtp/command.h"

#include <array>

#include "base/text.h"
#include "smtp/parameters.h"
#include "smtp/reply.h"

namespace mxring::smtp {

namespace {

// A verb's four letters as one number, letter case cleared. Clearing bit 5 of any other byte never
// makes a capital letter, so only the verb itself compares equal.
constexpr std::uint32_t folded(std::string_view four) {
  std::uint32_t number = 0;
  for (const char c : four.substr(0, 4))
    number = number << 8 | (static_cast<std::uint8_t>(c) & 0xDF);
  return number;
}

struct NamedVerb {
  std::uint32_t name;
  Verb verb;
};

constexpr std::array kNamedVerbs{
    NamedVerb{folded("MAIL"), Verb::kMail}, NamedVerb{folded("RCPT"), Verb::kRcpt},
    NamedVerb{folded("DATA"), Verb::kData}, NamedVerb{folded("EHLO"), Verb::kEhlo},
    NamedVerb{folded("HELO"), Verb::kHelo}, NamedVerb{folded("RSET"), Verb::kRset},
    NamedVerb{folded("QUIT"), Verb::kQuit}, NamedVerb{folded("NOOP"), Verb::kNoop},
    NamedVerb{folded("VRFY"), Verb::kVrfy}, NamedVerb{folded("HELP"), Verb::kHelp},
};

// Known to SMTP, not to us: 502 tells a client that the spelling was right.
constexpr std::array<std::string_view, 10> kNotOfferedVerbs{"EXPN", "AUTH", "BDAT", "ETRN", "TURN",
                                                            "ATRN", "SEND", "SOML", "SAML", "LHLO"};

constexpr std::array<std::string_view, 9> kHttpVerbs{
    "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE"};

Verb find_verb(std::string_view word, bool has_argument) {
  if (word.size() == 4) {
    const std::uint32_t name = folded(word);
    for (const NamedVerb& named : kNamedVerbs) {
      if (name == named.name) return named.verb;
    }
  }
  if (base::ascii_iequals(word, "STARTTLS")) return Verb::kStartTls;
  for (const std::string_view name : kNotOfferedVerbs) {
    if (base::ascii_iequals(word, name)) return Verb::kNotOffered;
  }
  for (const std::string_view name : kHttpVerbs) {
    if (has_argument && word == name) return Verb::kHttp;
  }
  return Verb::kUnknown;
}

// Removes "FROM:" or "TO:" in any case.
bool take_keyword(std::string_view& text, std::string_view keyword) {
  if (text.size() < keyword.size()) return false;
  if (!base::ascii_iequals(text.substr(0, keyword.size()), keyword)) return false;
  text.remove_prefix(keyword.size());
  return true;
}

}  // namespace

bool takes_parameters(std::string_view start) {
  if (start.size() < 5 || start[4] != ' ') return false;
  const std::uint32_t name = folded(start);
  return name == folded("MAIL") || name == folded("RCPT");
}

CommandLine parse_command(std::string_view line) {
  while (line.ends_with(' ')) line.remove_suffix(1);
  const std::size_t space = line.find(' ');
  const std::string_view word = line.substr(0, space);
  const bool has_argument = space != std::string_view::npos;
  CommandLine command;
  command.verb = find_verb(word, has_argument);
  if (has_argument) {
    command.arguments = line.substr(space + 1);
    // Only MAIL and RCPT are strict about their spaces.
    if (command.verb != Verb::kMail && command.verb != Verb::kRcpt) {
      while (command.arguments.starts_with(' ')) command.arguments.remove_prefix(1);
    }
  }
  return command;
}

std::expected<MailArguments, ReplyId> parse_mail(std::string_view arguments,
                                                 const Extensions& extensions) {
  if (!take_keyword(arguments, "FROM:")) return std::unexpected(replies::kNeedFrom);
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
    const ParameterError outcome = apply_mail_parameter(*parameter, reader.seen, mail);
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
  if (!take_keyword(arguments, "TO:")) return std::unexpected(replies::kNeedTo);
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
    const ParameterError outcome = apply_rcpt_parameter(*parameter, reader.seen, recipient);
    if (outcome != ParameterError::kNone) return std::unexpected(reply_for(outcome));
  }
  if (reader.failed()) return std::unexpected(replies::kBadParameter);
  if (reader.utf8() && !extensions.smtputf8) return std::unexpected(replies::kBadParameter);
  return recipient;
}

}  // namespace mxring::smtp
