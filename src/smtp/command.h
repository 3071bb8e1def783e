// One command line, parsed in place (RFC 5321 4.1.1 with the parameters of 1870 SIZE, 6152
// 8BITMIME, 6531 SMTPUTF8 and 3461 DSN).
//
// Contract: a parser gets one whole line without its CRLF and free of control bytes, and returns
// values whose views point into that line. Nothing is allocated. An error is the reply to give
// (reply.h); nothing else is to be known about a refused line.
#pragma once

#include <concepts>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "smtp/envelope.h"
#include "smtp/path.h"
#include "smtp/reply.h"

namespace mxring::smtp {

enum class Verb : std::uint8_t {
  kEhlo,
  kHelo,
  kMail,
  kRcpt,
  kData,
  kRset,
  kNoop,
  kVrfy,
  kHelp,
  kQuit,
  kStartTls,
  kNotOffered,  // a command of some RFC that this server does not have
  kHttp,        // not SMTP at all: a web client or an attack through one
  kUnknown,
};
constexpr std::size_t kVerbs = static_cast<std::size_t>(Verb::kUnknown) + 1;

// What decides how many octets a line may have (RFC 5321 4.5.3.1.4; parameters of MAIL and RCPT
// come on top). `start` is the line's beginning, five bytes suffice.
bool takes_parameters(std::string_view start);

struct CommandLine {
  Verb verb = Verb::kUnknown;
  std::string_view arguments;  // after the verb and its space; trailing spaces removed
};
CommandLine parse_command(std::string_view line);
template <std::same_as<std::string> Temporary>
CommandLine parse_command(Temporary&& line) = delete;

// Which extensions are in force.
struct Extensions {
  bool esmtp = false;     // EHLO was said: parameters are allowed
  bool tls = false;       // REQUIRETLS may be asked for
  bool smtputf8 = false;  // given at MAIL: RCPT may have UTF-8 too
  Leniency leniency;
};

struct MailArguments {
  std::string_view reverse_path;
  std::string_view envelope_id;
  std::uint64_t declared_size = 0;
  BodyType body = BodyType::kUnstated;
  DsnReturn dsn_return = DsnReturn::kUnstated;
  bool smtputf8 = false;
  bool requiretls = false;
};

// `arguments` is CommandLine::arguments: "FROM:<...> ...".
std::expected<MailArguments, ReplyId> parse_mail(std::string_view arguments,
                                                 const Extensions& extensions);
template <std::same_as<std::string> Temporary>
std::expected<MailArguments, ReplyId> parse_mail(Temporary&& arguments,
                                                 const Extensions& extensions) = delete;
// "TO:<...> ...".
std::expected<Envelope::Recipient, ReplyId> parse_rcpt(std::string_view arguments,
                                                       const Extensions& extensions);
template <std::same_as<std::string> Temporary>
std::expected<Envelope::Recipient, ReplyId> parse_rcpt(Temporary&& arguments,
                                                       const Extensions& extensions) = delete;

}  // namespace mxring::smtp
