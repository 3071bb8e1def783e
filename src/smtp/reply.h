// Every reply this program gives over SMTP, in one table, and the value that stands for one on its
// way to the client. A reply is said through one door (ReplyBuffer::say), which tells a
// ReplyListener of it: counters and journal hang there. Nothing anywhere else looks at the text of
// a reply to find out what it means.
//
// What the labels of metrics are (refusal_labels) and whether a reply is a refusal come from the
// table too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mxring::smtp {

enum class ReplyId : std::uint8_t {
  // Done.
  kBanner,
  kHello,
  kBye,
  kReset,
  kNoop,
  kMailOk,
  kRecipientOk,
  kAccepted,
  kCannotVerify,
  kHelp,
  kStartTls,
  kStartData,
  kChunkOk,
  // The connection and what it may ask for.
  kDraining,
  kTooManyConnections,
  kCommandTimeout,
  kTooSlow,
  kDataTimeout,
  kTooManyMessages,
  kTooManyErrors,
  kTooManyCommands,
  kTooManyRecipients,
  kBadProxyHeader,
  // Shortage and trouble of ours.
  kStorageLow,
  kMemoryLow,
  kStorageError,
  kMemoryTaken,
  // The line itself.
  kLineTooLong,
  kLineNotCrlf,
  kControlByte,
  kEmptyLine,
  kUnknownCommand,
  kNotOffered,
  // Order.
  kNeedHello,
  kNeedMail,
  kNestedMail,
  kTlsAlready,
  kNoValidRecipients,
  kMessageBegun,
  kNeedChunks,
  // Arguments.
  kNoArguments,
  kNeedArgument,
  kBadDomain,
  kNeedFrom,
  kNeedTo,
  kNeedChunkSize,
  kBadSender,
  kBadRecipient,
  kSenderTooLong,
  kRecipientTooLong,
  kNeedSmtpUtf8,
  kBadXclient,
  kBadParameter,
  kUnknownParameter,
  // Who may send to whom, and how much.
  kXclientDenied,
  kNotOurs,
  kUnknownRecipient,
  kAccessDenied,
  kAccessDeferred,
  kTooManyPerMinute,
  // Size, header section and content.
  kMessageTooLarge,
  kBareCr,
  kBareLf,
  kNul,
  kMessageLineTooLong,
  kHeaderTooLarge,
  kTooManyFields,
  kNoField,
  kLoop,
  kNoAuthor,
  // DMARC.
  kDmarcReject,
  kDmarcNotAsked,
  kDmarcNoPolicy,
  kDmarcNoAlignment,
  // Protocol abuse; the connection is closed.
  kEarlyTalker,
  kEarlyData,
  kNotHttp,
};

struct ReplyRow {
  ReplyId id;
  std::string_view line;  // code, enhanced code (RFC 3463, 5248) where there is one, text
};

// Rows in the order of the enum. The text of some is only what they say by default: Reply::with().
constexpr std::array kReplies{
    ReplyRow{ReplyId::kBanner, "220 ESMTP mxring"},  // with our name
    ReplyRow{ReplyId::kHello, "250 Hello"},          // with our name, and the extensions
    ReplyRow{ReplyId::kBye, "221 2.0.0 Bye"},
    ReplyRow{ReplyId::kReset, "250 2.0.0 Ok"},
    ReplyRow{ReplyId::kNoop, "250 2.0.0 Ok"},
    ReplyRow{ReplyId::kMailOk, "250 2.1.0 Ok"},
    ReplyRow{ReplyId::kRecipientOk, "250 2.1.5 Ok"},
    ReplyRow{ReplyId::kAccepted, "250 2.0.0 Ok"},  // with the record's offset
    ReplyRow{ReplyId::kCannotVerify, "252 2.0.0 Cannot VRFY, send some mail and see"},
    ReplyRow{ReplyId::kHelp, "214 2.0.0 See RFC 5321"},  // with the commands
    ReplyRow{ReplyId::kStartTls, "220 2.0.0 Ready to start TLS"},
    ReplyRow{ReplyId::kStartData, "354 End data with <CR><LF>.<CR><LF>"},
    ReplyRow{ReplyId::kChunkOk, "250 2.0.0 Ok"},

    ReplyRow{ReplyId::kDraining, "421 4.3.2 Shutting down, try again later"},
    ReplyRow{ReplyId::kTooManyConnections, "421 4.7.0 Too many connections, try again later"},
    ReplyRow{ReplyId::kCommandTimeout, "421 4.4.2 Timed out waiting for a command"},
    ReplyRow{ReplyId::kTooSlow, "421 4.4.2 Data arrives too slowly"},
    ReplyRow{ReplyId::kDataTimeout, "421 4.4.2 Timed out waiting for the message"},
    ReplyRow{ReplyId::kTooManyMessages, "421 4.7.0 Too many messages on this connection"},
    ReplyRow{ReplyId::kTooManyErrors, "421 4.7.0 Too many errors"},
    ReplyRow{ReplyId::kTooManyCommands, "421 4.7.0 Too many commands and no mail"},
    ReplyRow{ReplyId::kTooManyRecipients, "452 4.5.3 Too many recipients"},
    ReplyRow{ReplyId::kBadProxyHeader, "421 4.3.0 No PROXY header where listen.proxy requires one"},

    ReplyRow{ReplyId::kStorageLow, "452 4.3.1 Insufficient system storage"},
    ReplyRow{ReplyId::kMemoryLow, "452 4.3.1 Too many messages in flight, try again later"},
    ReplyRow{ReplyId::kStorageError, "451 4.3.0 Storage error, the message was not accepted"},
    ReplyRow{ReplyId::kMemoryTaken,
             "421 4.3.2 This connection holds too much memory, try again later"},

    ReplyRow{ReplyId::kLineTooLong, "500 5.5.2 Line too long"},
    ReplyRow{ReplyId::kLineNotCrlf, "500 5.5.2 Lines end in CR LF"},
    ReplyRow{ReplyId::kControlByte, "500 5.5.2 Control character in a command"},
    ReplyRow{ReplyId::kEmptyLine, "500 5.5.2 Empty command"},
    ReplyRow{ReplyId::kUnknownCommand, "500 5.5.1 Command not recognised"},
    ReplyRow{ReplyId::kNotOffered, "502 5.5.1 Command not implemented"},

    ReplyRow{ReplyId::kNeedHello, "503 5.5.1 Say EHLO or HELO first"},
    ReplyRow{ReplyId::kNeedMail, "503 5.5.1 MAIL first"},
    ReplyRow{ReplyId::kNestedMail, "503 5.5.1 A transaction is open already"},
    ReplyRow{ReplyId::kTlsAlready, "503 5.5.1 TLS is active already"},
    ReplyRow{ReplyId::kNoValidRecipients, "554 5.5.1 No valid recipients"},
    ReplyRow{ReplyId::kMessageBegun, "503 5.5.1 BDAT began the message: send the rest, or RSET"},
    ReplyRow{ReplyId::kNeedChunks, "503 5.5.1 BODY=BINARYMIME needs BDAT"},

    ReplyRow{ReplyId::kNoArguments, "501 5.5.4 This command takes no arguments"},
    ReplyRow{ReplyId::kNeedArgument, "501 5.5.4 Argument missing"},
    ReplyRow{ReplyId::kBadDomain, "501 5.5.4 Domain name or address literal expected"},
    ReplyRow{ReplyId::kNeedFrom, "501 5.5.4 Syntax: MAIL FROM:<address>"},
    ReplyRow{ReplyId::kNeedTo, "501 5.5.4 Syntax: RCPT TO:<address>"},
    ReplyRow{ReplyId::kNeedChunkSize, "501 5.5.4 Syntax: BDAT octets [LAST]"},
    ReplyRow{ReplyId::kBadSender, "501 5.1.7 Bad sender address syntax"},
    ReplyRow{ReplyId::kBadRecipient, "501 5.1.3 Bad recipient address syntax"},
    ReplyRow{ReplyId::kSenderTooLong, "501 5.1.7 Sender address too long"},
    ReplyRow{ReplyId::kRecipientTooLong, "501 5.1.3 Recipient address too long"},
    ReplyRow{ReplyId::kNeedSmtpUtf8, "553 5.6.7 Address needs SMTPUTF8"},
    ReplyRow{ReplyId::kBadXclient, "501 5.5.4 Bad XCLIENT attribute"},
    ReplyRow{ReplyId::kBadParameter, "501 5.5.4 Bad parameter value"},
    ReplyRow{ReplyId::kUnknownParameter, "555 5.5.4 Parameter not recognised or given twice"},

    ReplyRow{ReplyId::kXclientDenied, "550 5.7.0 XCLIENT is not believed from your address"},
    ReplyRow{ReplyId::kNotOurs, "550 5.7.1 We do not accept mail for this domain"},
    ReplyRow{ReplyId::kUnknownRecipient, "550 5.1.1 No such recipient here"},
    ReplyRow{ReplyId::kAccessDenied, "554 5.7.1 Access denied"},               // by whom, why
    ReplyRow{ReplyId::kAccessDeferred, "450 4.7.1 Not now, try again later"},  // why
    ReplyRow{ReplyId::kTooManyPerMinute,
             "450 4.7.0 Too much from you in a minute, try again later"},

    ReplyRow{ReplyId::kMessageTooLarge, "552 5.3.4 Message too large"},
    ReplyRow{ReplyId::kBareCr, "550 5.5.2 Bare CR in message"},
    ReplyRow{ReplyId::kBareLf, "550 5.5.2 Bare LF in message"},
    ReplyRow{ReplyId::kNul, "550 5.5.2 NUL in message"},
    ReplyRow{ReplyId::kMessageLineTooLong, "550 5.6.0 Line in message too long"},
    ReplyRow{ReplyId::kHeaderTooLarge, "552 5.3.4 Header section too large"},
    ReplyRow{ReplyId::kTooManyFields, "552 5.3.4 Too many header fields"},
    ReplyRow{ReplyId::kNoField, "550 5.6.0 A line of the header section is no header field"},
    ReplyRow{ReplyId::kLoop, "554 5.4.6 Too many Received fields, this looks like a loop"},
    ReplyRow{ReplyId::kNoAuthor, "550 5.6.0 The message has no single author"},  // with the fault

    // With the domain.
    ReplyRow{ReplyId::kDmarcReject,
             "550 5.7.26 Refused: neither SPF nor DKIM vouches for the author"},
    ReplyRow{ReplyId::kDmarcNotAsked,
             "451 4.4.5 Too many DNS questions under way to judge this mail, try again later"},
    ReplyRow{ReplyId::kDmarcNoPolicy,
             "451 4.4.3 DNS did not answer about the DMARC policy, try again later"},
    ReplyRow{ReplyId::kDmarcNoAlignment,
             "451 4.7.5 DNS did not answer whether SPF or DKIM vouches, try again later"},

    ReplyRow{ReplyId::kEarlyTalker, "554 5.5.0 You spoke before the banner"},
    ReplyRow{ReplyId::kEarlyData, "554 5.5.0 Data sent before 354"},
    ReplyRow{ReplyId::kNotHttp, "554 5.5.0 This is a mail server"},
};

constexpr const ReplyRow& row(ReplyId id) {
  return kReplies[static_cast<std::size_t>(id)];
}

// The codes of each row with 4 in the place of 5: "452 4.3.4" for "552 5.3.4".
constexpr auto kCodesForNow = [] {
  std::array<std::array<char, 12>, kReplies.size()> all{};
  for (std::size_t id = 0; id < all.size(); ++id) {
    const std::string_view line = kReplies[id].line;
    for (std::size_t i = 0; i < all[id].size() && i < line.size(); ++i) {
      all[id][i] = (i == 0 || i == 4) && line[i] == '5' ? '4' : line[i];
    }
  }
  return all;
}();

// One reply, ready to be said. Where with() gave it a text of its own, whoever made the reply keeps
// that text until the reply was said.
class Reply {
 public:
  // A row is a reply: replies::kBye may stand where a Reply is wanted.
  constexpr Reply(ReplyId id) : id_(id), text_(row(id).line.substr(text_begin(row(id).line))) {}

  // The same reply in other words: without CR and LF, and cut off where a reply line ends.
  constexpr Reply with(std::string_view text) const {
    Reply reply = *this;
    reply.text_ = text;
    return reply;
  }

  // A refusal for good as one for now: 552 5.3.4 becomes 452 4.3.4, in the same words.
  constexpr Reply for_now() const {
    Reply reply = *this;
    reply.for_now_ = is_permanent();
    return reply;
  }

  constexpr ReplyId id() const { return id_; }
  constexpr unsigned code() const {
    const std::string_view digits = codes();
    return static_cast<unsigned>((digits[0] - '0') * 100 + (digits[1] - '0') * 10 +
                                 (digits[2] - '0'));
  }
  // "552 5.3.4"; "354" where there is no enhanced code.
  constexpr std::string_view codes() const {
    const std::string_view line = row(id_).line;
    const std::size_t size = text_begin(line) - 1;
    if (!for_now_) return line.substr(0, size);
    return std::string_view(kCodesForNow[static_cast<std::size_t>(id_)].data(), size);
  }
  constexpr std::string_view text() const { return text_; }

  constexpr bool is_success() const { return code() / 100 == 2; }
  constexpr bool is_temporary() const { return code() / 100 == 4; }
  constexpr bool is_permanent() const { return code() / 100 == 5; }
  constexpr bool is_refusal() const { return code() >= 400; }

 private:
  static constexpr std::size_t text_begin(std::string_view line) {
    const bool enhanced = line[5] == '.';
    return enhanced ? line.find(' ', 4) + 1 : 4;
  }

  ReplyId id_;
  bool for_now_ = false;
  std::string_view text_;
};

// "552 5.3.4 Message too large".
std::string to_text(const Reply& reply);

// Where in the dialogue a reply was given.
enum class Stage : std::uint8_t {
  kConnect,
  kHello,
  kStartTls,
  kMail,
  kRecipient,
  kData,     // DATA itself
  kMessage,  // its content
  kCommand,  // any other command, or none
};
std::string_view word(Stage stage);  // "connect", "rcpt", ...

// Hears of every reply, once, when it is said; `reply` views memory that may be gone afterwards.
class ReplyListener {
 public:
  virtual void said(const Reply& reply, Stage stage) = 0;
  // A command line before it is looked at, as it came, with its line end; of one that was too long,
  // what was kept. Called where ReplyBuffer::hears() says so.
  virtual void heard(std::string_view) {}

 protected:
  ~ReplyListener() = default;
};

// The codes of all refusals ("452 4.3.1"), each once, in the order of the table; and which of them
// a reply has.
std::span<const std::string_view> refusal_labels();
std::size_t refusal_label(const Reply& refusal);

constexpr bool replies_in_order() {
  for (std::size_t i = 0; i < kReplies.size(); ++i) {
    if (static_cast<std::size_t>(kReplies[i].id) != i || kReplies[i].line.size() < 8) return false;
  }
  return static_cast<std::size_t>(ReplyId::kNotHttp) + 1 == kReplies.size();
}
static_assert(replies_in_order());

// Short names for the rows: replies::kBye.
namespace replies {
using enum ReplyId;
}

}  // namespace mxring::smtp
