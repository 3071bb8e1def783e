// LMTP (RFC 2033) as a client speaks it, without a socket: bytes of the peer go in, bytes for it
// come out, and at the end there is a reply for each recipient. Commands are pipelined (RFC 2920)
// where the peer takes that; content goes by BDAT (RFC 3030) where it takes that, and binary
// content in no other way.
//
// Parser: a reply is consumed when its last line is complete; a line over 2 KiB or a reply over 64
// KiB, or one that is not expected, is a protocol error, after which the connection is of no use.
// Any split of the input gives the same.
//
// Thread: one. One transaction at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "relay/item.h"

namespace mxring::relay {

struct LmtpReply {
  int code = 0;      // 0: none came
  std::string text;  // "550 5.1.1 No such user", on one line
  bool good() const { return code >= 200 && code < 300; }
  bool for_good() const { return code >= 500 && code < 600; }
};

struct LmtpExtensions {
  bool pipelining = false;
  bool eight_bit = false;
  bool chunking = false;
  bool binary = false;
  bool smtputf8 = false;
  bool dsn = false;
  bool size = false;
  std::uint64_t size_max = 0;  // 0 = not said
};

class LmtpClient {
 public:
  explicit LmtpClient(std::string hello) : hello_(std::move(hello)) {}

  enum class State : std::uint8_t {
    kGreeting,
    kHello,
    kReady,     // for a transaction
    kEnvelope,  // MAIL and RCPT are answered
    kData,      // 354 is waited for
    kContent,   // one reply for each recipient that was taken
    kReset,
    kBroken,  // to be closed
  };
  State state() const { return state_; }
  bool ready() const { return state_ == State::kReady; }
  bool broken() const { return state_ == State::kBroken; }
  const std::string& trouble() const { return trouble_; }  // why it is broken
  const LmtpExtensions& extensions() const { return extensions_; }

  // Why this peer can never have this message, for example "554 5.6.1 ..."; empty: it can.
  std::string objection(const Record& record) const;
  // `to`: addresses, each with the record's recipient it stands for. The record stays until
  // finished(). `content` is the message as it is to be delivered.
  struct To {
    std::string_view address;
    const Recipient* asked = nullptr;  // for what it asked of notifications; may be null
  };
  void begin(const Record& record, std::vector<To> to, std::string content);
  bool under_way() const { return !to_.empty(); }
  // Every recipient has a reply, or the connection is broken. take() ends the transaction; a
  // recipient without a reply has code 0.
  bool finished() const;
  // Of the transaction under way, by recipient: those that have come.
  const std::vector<LmtpReply>& replies() const { return replies_; }
  std::vector<LmtpReply> take();
  void quit();

  void receive(std::string_view bytes);
  void closed(std::string_view why);
  // What is to be sent; the sender says how much it has sent.
  std::string_view to_send() const { return std::string_view(out_).substr(sent_); }
  void sent(std::size_t bytes);

 private:
  void line(std::string_view text);
  void reply(LmtpReply reply);
  void hello_line(std::string_view text);
  void start_hello();
  void send_envelope();
  void send_content();
  void send_bdat();
  void after_envelope();
  void fail(std::string_view why);
  void set_state(State state);

  State state_ = State::kGreeting;
  std::string hello_;
  std::string trouble_;
  LmtpExtensions extensions_;
  std::string in_;
  std::string partial_;  // of a reply of several lines
  std::string out_;
  std::size_t sent_ = 0;

  std::vector<To> to_;
  std::vector<LmtpReply> replies_;
  std::vector<std::size_t> taken_;  // recipients that the peer took, in their order
  std::string mail_line_;
  std::string content_;
  bool use_bdat_ = false;
  bool content_sent_ = false;
  std::size_t next_command_ = 0;  // of MAIL and RCPTs: sent so far, when not pipelined
  std::size_t next_reply_ = 0;    // of MAIL and RCPTs: answered so far
  std::size_t next_content_ = 0;  // of taken_
};

}  // namespace mxring::relay
