// The SMTP dialogue on one connection as a machine without I/O (RFC 5321 with 2920 PIPELINING,
// 1870 SIZE, 6152 8BITMIME, 2034 ENHANCEDSTATUSCODES, 6531 SMTPUTF8, 3461 DSN, 9422 LIMITS).
//
// The owner feeds received bytes to step() and acts on the event it returns, removing
// Step::consumed bytes from the front of its input each time, until kNeedInput:
//
//   for (;;) {
//     Step s = session.step(input, out);
//     input.bytes.remove_prefix(s.consumed);
//     switch (s.event) { ... }
//   }
//
// Command lines are parsed where they lie; only a line that straddles two inputs is copied (its
// bytes are counted in line_bytes_copied()). Content runs are views into the input: whoever keeps
// them keeps the buffer. Any split of the input gives the same events and the same replies.
//
// Thread: the owner's. Allocates only when an envelope outgrows what earlier ones needed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "smtp/data_scanner.h"
#include "smtp/envelope.h"
#include "smtp/reply_buffer.h"

namespace mxring::smtp {

enum class Event : std::uint8_t {
  kNeedInput,   // the input is used up; a partial command line is kept inside
  kOutputFull,  // less than kReplyBytesMax free: send what is there, then step() again
  kSlowDown,    // soft error limit: the reply is written; wait error_delay before the next step()
  kMail,        // a well-formed MAIL: answer with accept() or refuse() before the next step()
  kRecipient,   // a well-formed RCPT, see offered_recipient(): accept() or refuse()
  kData,        // DATA with recipients: accept() writes 354 and starts the message; or refuse()
  kContent,     // Step::run is the next run of message content
  kDiscard,     // the message will be refused (fault or size): drop what was kept; no more
                // kContent follows, and kRefused comes at its end
  kMessage,     // end of data: the envelope and every kContent since kData are the message.
                // Answer with finish(), now or later; until then step() returns kWaiting
  kRefused,     // end of data of a discarded message; the reply is written already
  kWaiting,     // finish() is outstanding; nothing was consumed
  kReset,       // the transaction ended without a message (RSET, a new EHLO/HELO)
  kClose,       // a final reply is written: send it, then close
};

struct Input {
  std::string_view bytes;
  // More received bytes are queued behind these. With bytes left in `bytes` after a DATA line it
  // means that the client did not wait for 354.
  bool more_behind = false;
};

struct Step {
  Event event = Event::kNeedInput;
  std::size_t consumed = 0;
  std::string_view run;
};

struct SessionOptions {
  std::string hostname;            // our name in the banner and EHLO reply
  base::Limits limits;
};

class Session {
 public:
  // `options` outlives the session; it is shared by all sessions of a shard.
  explicit Session(const SessionOptions& options);

  // The banner, "220 <hostname> ESMTP mxring".
  void greet(ReplyBuffer& out);
  // Instead of greet(): the client spoke before the banner. 554 5.5.0, then close.
  void refuse_early_talker(ReplyBuffer& out);

  Step step(const Input& input, ReplyBuffer& out);

  // Answers to kMail, kRecipient and kData. `reply` is one reply line without CRLF, its code
  // first: "452 4.3.1 Insufficient system storage".
  void accept(ReplyBuffer& out);
  void refuse(std::string_view reply, ReplyBuffer& out);
  // The answer to kMessage. Ends the transaction.
  void finish(std::string_view reply, ReplyBuffer& out);
  // The owner gives up on the message being received (header section too large, memory, policy):
  // the rest is consumed and dropped, and `reply` is given at end of data. No kDiscard follows.
  void discard(std::string_view reply);

  // Timeouts and draining: writes the reply; the owner then sends and closes. In the middle of
  // data too (RFC 5321 3.8).
  void terminate(std::string_view reply, ReplyBuffer& out);

  const Envelope& envelope() const { return envelope_; }
  const Envelope::Recipient& offered_recipient() const { return offered_; }
  std::string_view helo() const { return helo_; }     // as given; empty before EHLO/HELO
  bool esmtp() const { return esmtp_; }
  bool in_transaction() const { return envelope_.active(); }
  bool receiving() const;          // between 354 and end of data
  bool waiting() const;            // finish() is outstanding
  bool has_partial_line() const;
  const DataScanner& data() const { return scanner_; }
  std::uint32_t messages() const { return messages_; }
  std::uint64_t commands() const { return commands_; }
  std::uint64_t line_bytes_copied() const { return line_bytes_copied_; }

 private:
  // (the command handlers named in command_table.h, and the state below)
  const SessionOptions& options_;
  DataScanner scanner_;
  Envelope envelope_;
  Envelope::Recipient offered_;
  std::string helo_;
  std::string partial_line_;
  std::uint64_t commands_ = 0;
  std::uint64_t line_bytes_copied_ = 0;
  std::uint32_t messages_ = 0;
  std::uint32_t errors_ = 0;
  bool esmtp_ = false;
};

}  // namespace mxring::smtp
