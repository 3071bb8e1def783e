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

struct CommandRow;  // command_table.h

// The row of the command that a line begins with; one that stands for all others when it is none of
// ours. Some bytes of the line's beginning suffice: the verb and the space after it.
const CommandRow& find_command(std::string_view line);

struct CommandLine {
  const CommandRow& row;
  std::string_view arguments;  // after the verb and its space; trailing spaces removed
};
CommandLine parse_command(std::string_view line);
template <std::same_as<std::string> Temporary>
CommandLine parse_command(Temporary&& line) = delete;

// The arguments of BDAT (RFC 3030 2): how many octets follow the line, and whether they are the
// last ones of the message.
struct ChunkArguments {
  enum class Size : std::uint8_t {
    kKnown,
    kBeyond,   // a number larger than can be counted
    kUnknown,  // no number: nobody knows where the next command begins
  };
  Size size = Size::kUnknown;
  std::uint64_t octets = 0;
  bool last = false;
  bool well_formed = false;  // false with a known size: something else follows it
};
ChunkArguments parse_chunk(std::string_view arguments);

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
