// The client's side of one SMTP session (RFC 5321 3.1 to 3.3, RFC 3207) that delivers letters one
// after the other, as a machine without I/O:
//
//   receive(bytes)         what the server said
//   take_output()          what is to be sent to it; may be empty
//   wants_tls()            STARTTLS was agreed: make the handshake, then tls_done()
//   over()                 nothing more will be said; close
//
// A letter's fate is written into it as soon as it is known. Letters that are still undecided when
// the session is over may be tried elsewhere; problem() says what ended it.
//
// Contract: any split of the received bytes gives the same session. Bytes behind the reply to
// STARTTLS were sent in the clear by whoever sits between, and end the session.
//
// Thread: one. Ownership: the letters are the owner's and must stay where they are.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "report/letter.h"
#include "smtp/reply_parser.h"

namespace mxring::report {

enum class TlsUse : std::uint8_t {
  kNever,
  kOffered,   // when the server offers it
  kRequired,  // or nothing is sent
};

class ClientDialogue {
 public:
  // `helo` names this host. `letters` are undecided.
  ClientDialogue(std::string helo, TlsUse tls, std::vector<Letter*> letters);

  void receive(std::string_view bytes);
  std::string take_output() { return std::exchange(output_, {}); }
  bool wants_tls() const { return at_ == At::kHandshake; }
  // The handshake is done; everything from now on goes through TLS. `facts`: version and cipher.
  void tls_done(std::string_view facts);
  // The peer has closed, the time is up, or an operation failed.
  void broke(std::string_view problem);

  bool over() const { return at_ == At::kOver; }
  // All letters decided; only the farewell is still to come.
  bool said_goodbye() const { return at_ == At::kQuit; }
  // The message is out, or being sent: its reply may take longer than others.
  bool awaits_verdict() const { return at_ == At::kContent; }
  // Whole replies so far, and the handshake as one of them.
  std::uint64_t replies() const { return replies_; }
  const std::string& problem() const { return problem_; }
  int problem_code() const { return problem_code_; }

 private:
  enum class At : std::uint8_t {
    kBanner,
    kHello,
    kOldHello,
    kStartTls,
    kHandshake,
    kMail,
    kRecipient,
    kData,
    kContent,
    kReset,
    kQuit,
    kOver,
  };

  Letter& letter() { return *letters_[current_]; }
  void on_line(std::string_view text);
  void on_reply(int code, std::string_view text);
  void on_session_reply(int code, std::string_view text);
  void on_letter_reply(int code, std::string_view text);
  void greet();
  void hello_done();
  void begin_letter();
  void decide(Fate fate, int code, std::string_view text);
  void say(At next, std::string_view line);
  void end(std::string_view problem, int code = 0);

  std::string helo_;
  TlsUse tls_;
  std::vector<Letter*> letters_;
  std::size_t current_ = 0;
  At at_ = At::kBanner;
  smtp::ReplyParser parser_;
  std::string output_;
  std::string problem_;
  int problem_code_ = 0;
  std::uint64_t replies_ = 0;
  std::string tls_facts_;  // empty: in the clear
  bool offers_tls_ = false;
  bool offers_size_ = false;
  std::uint64_t size_max_ = 0;  // 0: the server names none
};

// Dots at the start of lines doubled, and the final dot.
std::string stuffed(std::string_view content);

}  // namespace mxring::report
