// The SMTP dialogue on one connection as a machine without I/O (RFC 5321 with 2920 PIPELINING,
// 1870 SIZE, 6152 8BITMIME, 2034 ENHANCEDSTATUSCODES, 6531 SMTPUTF8, 3461 DSN, 9422 LIMITS, 3030
// CHUNKING and BINARYMIME, 3207 STARTTLS, 8689 REQUIRETLS; and XCLIENT, where it is allowed).
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
// them keeps the buffer. Any split of the input gives the same events and the same replies (runs
// of content are cut where the input is; a split right behind a DATA line looks like a client that
// waited).
//
// Only CRLF ends a command line. A bare LF gets 500 5.5.2 at once, and so does whatever follows it
// up to the next CRLF: no part of such a line is ever carried out.
//
// A message comes by DATA or in chunks (BDAT), with the same events. The octets of a chunk are
// never read as commands: of a refused BDAT they are skipped, exactly, and its reply is given after
// them; where their number cannot be known the connection is closed. Once a chunk is refused, so
// are the others of its message, with the same reply.
//
// Errors (replies 5xx that this class gives to a command) are counted towards the soft and hard
// limit until a message is accepted. Not counted: what follows from a MAIL that the owner refused,
// and recipients, so that a list with bad addresses reaches the good ones.
//
// Thread: the owner's. Allocates only when an envelope outgrows what earlier ones needed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "smtp/data_scanner.h"
#include "smtp/envelope.h"
#include "smtp/path.h"
#include "smtp/reply_buffer.h"
#include "smtp/xclient.h"

namespace mxring::smtp {

enum class Event : std::uint8_t {
  kNeedInput,   // the input is used up; a partial command line is kept inside
  kOutputFull,  // less than kReplyBytesMax free: send what is there, then step() again
  kSlowDown,    // soft error limit: the reply is written; wait error_delay before the next step()
  kMail,        // a well-formed MAIL: answer with accept() or refuse() before the next step()
  kRecipient,   // a well-formed RCPT, see offered_recipient(): accept() or refuse()
  kData,        // DATA, or the first BDAT, with recipients: accept() starts the message (and writes
                // 354 for DATA); or refuse()
  kContent,     // Step::run is the next run of message content
  kDiscard,     // the message will be refused (fault or size): drop what was kept; no more
                // kContent follows, and kRefused comes at its end
  kMessage,     // end of data: the envelope and every kContent since kData are the message.
                // Answer with finish(), now or later; until then step() returns kWaiting
  kRefused,     // end of data of a message that was discarded, or refused at its first BDAT; the
                // reply is written already
  kWaiting,     // finish() is outstanding; nothing was consumed
  kStartTls,    // STARTTLS: accept() writes 220; then drop all input behind it, unread, and call
                // start_tls(). Or refuse()
  kXclient,  // XCLIENT, see offered_client(): accept() begins the session anew with its banner; or
             // refuse() or terminate()
  kReset,    // the transaction ended without a message (RSET, a new EHLO/HELO); in the middle of
             // one sent in chunks too: drop what was kept
  kClose,    // a final reply is written: send it, then close
};

struct Input {
  std::string_view bytes;
  // More received bytes are queued behind these. With bytes left in `bytes` after a DATA line it
  // means that the client did not wait for 354.
  bool more_behind = false;
  // The bytes are the caller's own memory, and content in them may be moved (see DataScanner).
  bool rewritable = false;
};

// The reply to a message for what its bytes are.
ReplyId reply_for(DataFault fault);

struct Step {
  Event event = Event::kNeedInput;
  std::size_t consumed = 0;
  std::string_view run;
};

struct SessionOptions {
  std::string hostname;  // our name in the banner and EHLO reply
  base::Limits limits;
  Leniency leniency;      // all off
  bool starttls = false;  // offer it where there is no TLS yet
  // A SIZE that is too large is no matter of MAIL: whoever answers RCPT refuses it there.
  bool size_at_rcpt = false;
};

enum class State : std::uint8_t;  // command_table.h
struct Handlers;                  // handlers.h

class Session {
 public:
  // `options` outlives the session; it is shared by all sessions of a shard.
  explicit Session(const SessionOptions& options);
  explicit Session(SessionOptions&&) = delete;

  // The banner, "220 <hostname> ESMTP mxring".
  void greet(ReplyBuffer& out);
  // Instead of greet(): the client spoke before the banner. 554 5.5.0, then close.
  void refuse_early_talker(ReplyBuffer& out);

  Step step(const Input& input, ReplyBuffer& out);

  // The peer is a proxy whose XCLIENT is believed. Before greet().
  void allow_xclient();

  // Answers to kMail, kRecipient, kData, kStartTls and kXclient.
  void accept(ReplyBuffer& out);
  void refuse(const Reply& reply, ReplyBuffer& out);
  // The answer to kMessage. Ends the transaction.
  void finish(const Reply& reply, ReplyBuffer& out);
  // The owner gives up on the message being received (header section too large, memory, policy):
  // the rest is consumed and dropped, and `reply` is given at end of data. No kDiscard follows.
  // Without effect when the message is being discarded already: the first reason stays.
  void discard(ReplyId reply);
  // From here to its end the transaction's message is refused for now only: a 5xx is said as 4xx.
  void insist() { insists_ = true; }
  bool insists() const { return insists_; }

  // The connection is encrypted from here on: what the client said before is forgotten (RFC 3207
  // 4.2). Right after accept() of kStartTls, or before greet() where TLS is implicit.
  void start_tls();

  // Timeouts and draining: writes the reply (if it fits); the owner then sends and closes. In the
  // middle of data too (RFC 5321 3.8).
  void terminate(const Reply& reply, ReplyBuffer& out);

  const Envelope& envelope() const& { return envelope_; }
  const Envelope& envelope() const&& = delete;
  // Between kRecipient and its answer; views the input, which must still be there.
  const Envelope::Recipient& offered_recipient() const& { return offered_; }
  const Envelope::Recipient& offered_recipient() const&& = delete;
  // After kXclient, until the next.
  const XclientFacts& offered_client() const& { return xclient_->offered; }
  const XclientFacts& offered_client() const&& = delete;
  std::string_view helo() const& { return helo_; }  // as given; empty before EHLO/HELO
  std::string_view helo() const&& = delete;
  bool esmtp() const { return esmtp_; }
  // Whether the client that a proxy speaks for said EHLO, else as esmtp().
  bool client_esmtp() const {
    return xclient_ != nullptr && xclient_->esmtp ? *xclient_->esmtp : esmtp_;
  }
  bool tls() const { return tls_; }
  bool in_transaction() const { return envelope_.active(); }
  // Between 354 and end of data, or within a chunk.
  bool receiving() const { return phase_ == Phase::kContent || phase_ == Phase::kChunk; }
  // ... and within one that was refused, outside any message.
  bool swallowing() const { return phase_ == Phase::kChunk && intake_ == Intake::kNone; }
  bool message_open() const { return intake_ != Intake::kNone; }  // ... and between chunks
  bool waiting() const { return phase_ == Phase::kWaiting; }      // finish() is outstanding
  // A final reply was written; said_goodbye(): to QUIT, so that the client closes.
  bool closed() const { return phase_ == Phase::kClosed || phase_ == Phase::kGoodbye; }
  bool said_goodbye() const { return phase_ == Phase::kGoodbye; }
  bool has_partial_line() const { return line_bytes_ > 0; }
  const DataScanner& data() const& { return scanner_; }
  const DataScanner& data() const&& = delete;
  std::uint32_t messages() const { return messages_; }  // ends of data seen, refused ones too
  std::uint32_t errors() const { return errors_; }
  std::uint64_t commands() const { return commands_; }
  std::uint64_t line_bytes_copied() const { return line_bytes_copied_; }
  std::size_t memory_bytes() const;  // on the heap

 private:
  friend struct Handlers;

  // What the next byte is.
  enum class Phase : std::uint8_t {
    kCommand,
    kAnswer,   // accept() or refuse() is outstanding
    kContent,  // of a message sent by DATA
    kChunk,    // octets of a BDAT
    kWaiting,
    kClosed,
    kGoodbye,
  };
  // What becomes of the message under way.
  enum class Intake : std::uint8_t {
    kNone,  // there is none; octets of a chunk are skipped for refusal_
    kKept,
    kFaulty,   // refused for what the scanner found
    kRefused,  // refused with refusal_
  };
  enum class Transfer : std::uint8_t { kData, kChunks };
  struct Chunk {
    std::uint64_t octets_left = 0;
    bool last = false;
    // One byte of the input was dealt with but not consumed (the line's LF, or the last octet), so
    // that there is input for the step that ends the chunk.
    bool held = false;
    bool error = false;  // Intake::kNone: refusal_ counts as an error
  };
  // Whether to go on with the next line or to return an event first.
  struct Outcome {
    bool stop = false;
    Event event = Event::kNeedInput;
    bool hold = false;  // see Chunk::held
  };

  // Each takes something from the front of `rest`; `more` bytes are queued after it.
  Outcome take_command(std::string_view& rest, bool more, ReplyBuffer& out);
  Outcome take_content(std::string_view& rest, bool rewritable, std::string_view& run,
                       ReplyBuffer& out);
  Outcome take_chunk(std::string_view& rest, std::string_view& run, ReplyBuffer& out);
  // Takes bytes up to and including the next LF, or all of them. True when a line is complete, and
  // then `line` holds it with its line end unless it was too long to keep.
  bool take_line(std::string_view& rest, std::string_view& line);
  Outcome end_line(std::string_view line, const Input& behind, ReplyBuffer& out);
  Outcome run_command(std::string_view line, const Input& behind, ReplyBuffer& out);
  std::string_view with_tabs_as_spaces(std::string_view line);
  void look_at_start(std::string_view piece);
  bool line_ends_in_crlf(std::string_view line) const;
  void forget_line();
  void trim_line();  // the memory an idle session need not keep

  // Replies.
  Outcome answer(const Reply& reply, ReplyBuffer& out);  // and go on
  Outcome error(const Reply& reply, ReplyBuffer& out);   // counted
  Outcome close(const Reply& reply, ReplyBuffer& out);
  Outcome bad_recipient(ReplyId reply, ReplyBuffer& out);
  bool follows_a_refusal(ReplyId reply) const;
  State state() const;
  Outcome bad_line(ReplyId reply, std::string_view line, ReplyBuffer& out);
  Outcome ask(Event event);  // the owner answers
  // Chunks.
  Outcome begin_chunk(std::string_view arguments, ReplyBuffer& out);
  Outcome refuse_chunks(ReplyId refusal, ReplyBuffer& out);
  Outcome discard_chunks();
  Outcome end_chunk(ReplyBuffer& out);
  bool scanner_objects() const;
  ReplyId content_refusal() const;
  Reply as_meant(const Reply& reply) const { return insists_ ? reply.for_now() : reply; }
  void end_message();
  void end_transaction();

  void take_named_client();

  // Where XCLIENT is allowed: what it said so far.
  struct Xclient {
    XclientFacts offered;
    std::string helo;  // empty: none was named
    std::optional<bool> esmtp;
  };

  const SessionOptions& options_;
  DataScanner scanner_;
  Envelope envelope_;
  Envelope::Recipient offered_;
  std::unique_ptr<Xclient> xclient_;
  std::string helo_;
  std::string partial_line_;  // bytes of a line that straddles inputs; stale once line_bytes_ is 0
  std::uint64_t commands_ = 0;
  std::uint64_t line_bytes_copied_ = 0;
  std::uint32_t line_bytes_ = 0;  // seen of the current line, kept or not; saturates
  std::uint32_t messages_ = 0;
  std::uint32_t errors_ = 0;
  Phase phase_ = Phase::kCommand;
  Event asked_ = Event::kNeedInput;  // kAnswer: which event
  Stage stage_ = Stage::kConnect;    // of the next reply
  Intake intake_ = Intake::kNone;
  Transfer transfer_ = Transfer::kData;
  ReplyId refusal_{};
  bool insists_ = false;  // of this transaction: its message is refused for now only
  Chunk chunk_;
  std::uint32_t commands_without_mail_ = 0;  // since the last message
  std::uint32_t bad_recipients_ = 0;         // of this transaction
  bool esmtp_ = false;
  bool tls_ = false;
  bool mail_refused_ = false;  // the last MAIL was refused by the owner
  bool tainted_ = false;       // the last line ended in a bare LF: nothing counts up to CRLF
  bool after_cr_ = false;      // the last byte of a line not kept was CR
  bool payload_line_ = false;  // a line not kept began as a BDAT does
};

}  // namespace mxring::smtp
