// Every reply the session gives by itself, in one table: code, enhanced code (RFC 3463, 5248) and
// text, without CRLF. A code of another layer's policy (storage, verification) is not here: it
// comes in through refuse(), finish(), discard() and terminate().
#pragma once

#include <string_view>

namespace mxring::smtp::replies {

// Done.
constexpr std::string_view kBye = "221 2.0.0 Bye";
constexpr std::string_view kReset = "250 2.0.0 Ok";
constexpr std::string_view kNoop = "250 2.0.0 Ok";
constexpr std::string_view kMailOk = "250 2.1.0 Ok";
constexpr std::string_view kRecipientOk = "250 2.1.5 Ok";
constexpr std::string_view kCannotVerify = "252 2.0.0 Cannot VRFY, send some mail and see";
constexpr std::string_view kHelp =
    "214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT; see RFC 5321";
constexpr std::string_view kStartTls = "220 2.0.0 Ready to start TLS";
constexpr std::string_view kStartData = "354 End data with <CR><LF>.<CR><LF>";

// Temporary.
constexpr std::string_view kTooManyRecipients = "452 4.5.3 Too many recipients";
constexpr std::string_view kTooManyMessages = "421 4.7.0 Too many messages on this connection";
constexpr std::string_view kTooManyErrors = "421 4.7.0 Too many errors";

// The line itself.
constexpr std::string_view kLineTooLong = "500 5.5.2 Line too long";
constexpr std::string_view kLineNotCrlf = "500 5.5.2 Lines end in CR LF";
constexpr std::string_view kControlByte = "500 5.5.2 Control character in a command";
constexpr std::string_view kEmptyLine = "500 5.5.2 Empty command";
constexpr std::string_view kUnknownCommand = "500 5.5.1 Command not recognised";
constexpr std::string_view kNotOffered = "502 5.5.1 Command not implemented";

// Order.
constexpr std::string_view kNeedHello = "503 5.5.1 Say EHLO or HELO first";
constexpr std::string_view kNeedMail = "503 5.5.1 MAIL first";
constexpr std::string_view kNestedMail = "503 5.5.1 A transaction is open already";
constexpr std::string_view kTlsAlready = "503 5.5.1 TLS is active already";
constexpr std::string_view kNoValidRecipients = "554 5.5.1 No valid recipients";

// Arguments.
constexpr std::string_view kNoArguments = "501 5.5.4 This command takes no arguments";
constexpr std::string_view kNeedArgument = "501 5.5.4 Argument missing";
constexpr std::string_view kBadDomain = "501 5.5.4 Domain name or address literal expected";
constexpr std::string_view kNeedFrom = "501 5.5.4 Syntax: MAIL FROM:<address>";
constexpr std::string_view kNeedTo = "501 5.5.4 Syntax: RCPT TO:<address>";
constexpr std::string_view kBadSender = "501 5.1.7 Bad sender address syntax";
constexpr std::string_view kBadRecipient = "501 5.1.3 Bad recipient address syntax";
constexpr std::string_view kSenderTooLong = "501 5.1.7 Sender address too long";
constexpr std::string_view kRecipientTooLong = "501 5.1.3 Recipient address too long";
constexpr std::string_view kNeedSmtpUtf8 = "553 5.6.7 Address needs SMTPUTF8";
constexpr std::string_view kBadParameter = "501 5.5.4 Bad parameter value";
constexpr std::string_view kUnknownParameter = "555 5.5.4 Parameter not recognised or given twice";

// Size and content.
constexpr std::string_view kMessageTooLarge = "552 5.3.4 Message too large";
constexpr std::string_view kBareCr = "550 5.5.2 Bare CR in message";
constexpr std::string_view kBareLf = "550 5.5.2 Bare LF in message";
constexpr std::string_view kNul = "550 5.5.2 NUL in message";
constexpr std::string_view kMessageLineTooLong = "550 5.6.0 Line in message too long";

// Protocol abuse; the connection is closed.
constexpr std::string_view kEarlyTalker = "554 5.5.0 You spoke before the banner";
constexpr std::string_view kEarlyData = "554 5.5.0 Data sent before 354";
constexpr std::string_view kNotHttp = "554 5.5.0 This is a mail server";

}  // namespace mxring::smtp::replies
