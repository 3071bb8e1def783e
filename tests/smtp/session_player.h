// Plays received bytes, in any pieces, to a Session and writes down all that comes of it. Each
// piece lies in memory of its own, freed once it is used up, so that a view kept too long is seen
// by a sanitizer.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "smtp/session.h"

namespace mxring::smtp {

// The owner's decisions. Empty = accept.
struct OwnerPolicy {
  std::map<std::string, std::string, std::less<>> refuse_mail;  // reverse-path to reply
  std::map<std::string, std::string, std::less<>> refuse_rcpt;  // forward-path to reply
  std::string refuse_data;
  bool xclient = false;                            // is believed
  std::string refuse_xclient;                      // and answered so
  std::string finish;                              // instead of "250 2.0.0 Ok <number>"
  std::uint64_t discard_after_bytes = UINT64_MAX;  // of content, with discard_reply
  std::string discard_reply;
};

struct ReceivedMessage {
  std::string mail_from;
  std::vector<std::string> rcpt_to;
  std::string parameters;  // of MAIL and RCPT, in words
  std::string content;
  friend bool operator==(const ReceivedMessage&, const ReceivedMessage&) = default;
};

struct Transcript {
  std::string replies;
  std::vector<ReceivedMessage> messages;
  unsigned refused = 0;   // kRefused
  unsigned discards = 0;  // kDiscard
  unsigned resets = 0;
  unsigned slow = 0;
  unsigned encrypted = 0;  // STARTTLS carried out
  std::string named;       // by XCLIENT, each in words
  bool closed = false;

  friend bool operator==(const Transcript&, const Transcript&) = default;
};

// "552 5.3.4 Message too large" as a reply of the table: the one with this very line, or the first
// one with its codes. Views `line`.
Reply reply_from(std::string_view line);

// How many replies of each code a text of reply lines has; a reply of several lines is one.
std::map<unsigned, unsigned> replies_by_code(std::string_view lines);

class SessionPlayer final : ReplyListener {
 public:
  // `output_bytes`: the reply buffer's size; small ones make the session stop for output.
  SessionPlayer(const SessionOptions& options, const OwnerPolicy& policy,
                std::size_t output_bytes = 1U << 16);

  void greet();
  // One group of bytes that the client sends without waiting, cut into `pieces`.
  void play(const std::vector<std::string_view>& pieces);
  void play(std::string_view bytes) { play(std::vector<std::string_view>{bytes}); }

  Session& session() { return session_; }
  const Transcript& transcript() const { return transcript_; }
  // The replies since the last call.
  std::string take_replies();
  // What was heard at the door through which replies are said: how many of each code.
  const std::map<unsigned, unsigned>& said_by_code() const { return said_; }

 private:
  void said(const Reply& reply, Stage stage) override;
  void play_piece(std::string_view piece, bool more_behind);
  void answer_mail(ReplyBuffer& out);
  void answer_recipient(ReplyBuffer& out);
  void answer_xclient(ReplyBuffer& out);
  void end_message(ReplyBuffer& out);
  void flush();

  const OwnerPolicy policy_;
  Session session_;
  std::vector<char> memory_;
  ReplyBuffer out_;
  Transcript transcript_;
  std::map<unsigned, unsigned> said_;
  std::size_t replies_taken_ = 0;
  std::string content_;
};

// Cuts `bytes` in pieces of `size` (the last may be shorter).
std::vector<std::string_view> cut_every(std::string_view bytes, std::size_t size);

}  // namespace mxring::smtp
