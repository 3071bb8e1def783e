// One connected client: its connection, the SMTP session on it and the message it sends, from the
// banner to the closed descriptor. Receives completions, timers and verdicts; what it does about
// them happens in two places of a turn, each once for every conversation that is marked dirty:
//
//   parse()        received chunks into the session, its events into messages and replies
//   end_of_turn()  one send for all replies; go on, wait or close
//
// State is three things and no more. `Phase`: how far the connection is. `Hold`: why nothing is
// parsed, one reason at a time. `PauseSet`: why nothing is received, any number of reasons.
//
// Memory must stay small: most clients of a bulk receiver are idle most of the time.
//
// Thread: the shard's. Failure: a dead or hostile peer ends in kShut, never in an exception. The
// owner frees it once end_of_turn() says that it is closed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/ip_address.h"
#include "base/slot_pool.h"
#include "net/connection.h"
#include "net/proxy_header.h"
#include "server/block_list_check.h"
#include "server/check_batch.h"
#include "server/client_name.h"
#include "server/data_pace.h"
#include "server/delivery.h"
#include "server/journal.h"
#include "server/memory_gate.h"
#include "server/message.h"
#include "server/message_check.h"
#include "server/result_counters.h"
#include "server/trace.h"
#include "server/turn_context.h"
#include "smtp/session.h"
#include "uring/timer_wheel.h"

namespace mxring::server {

class Conversation;

struct ConversationTimer : uring::Timer {
  Conversation* conversation = nullptr;
};

class Conversation final : public ConversationMarks,
                           public MemoryHolder,
                           private CheckSubject,
                           private BlockListOwner,
                           private smtp::ReplyListener {
 public:
  enum class Phase : std::uint8_t {
    kTalking,    // the first one, also before the banner
    kHandshake,  // TLS is being set up; the session has not begun, or forgets what it knew
    kLastWords,  // the final reply is being sent
    kLingering,  // sent; waiting for the peer to close so that it can read the reply
    kShut,       // winding up ring operations
  };
  enum class Hold : std::uint8_t {
    kNone,
    kVerdict,  // the message is here, its verdict is not
    kCommit,   // the writer has the message
    kOutput,   // no room for a reply until the send in flight is done
    kSlowed,   // soft error limit: until the timer
    kLists,    // a recipient waits for what block lists say of the client
    kHeader,   // the balancer's PROXY header is not whole; before anything else is said or read
  };
  enum class Pause : std::uint8_t {
    kChunks = 1,     // too many are unparsed
    kMemory = 2,     // MemoryGate says so
    kStarved = 4,    // no buffer was free; it is in TurnContext::starved
    kHandshake = 8,  // a step has more than it needs
  };
  // For who looks on, in the order of the counters connections_by_activity.
  enum class Activity : std::uint8_t {
    kHandshake,
    kIdle,      // between transactions
    kEnvelope,  // MAIL was taken
    kData,
    kVerdict,
    kCommit,
    kSlowed,
    kClosing,
    kCount
  };
  class PauseSet {
   public:
    void add(Pause why) { bits_ |= static_cast<std::uint8_t>(why); }
    void remove(Pause why) { bits_ &= static_cast<std::uint8_t>(~static_cast<unsigned>(why)); }
    bool has(Pause why) const { return (bits_ & static_cast<std::uint8_t>(why)) != 0; }
    bool empty() const { return bits_ == 0; }

   private:
    std::uint8_t bits_ = 0;
  };

  // Unparsed chunks (while its message is committed, or its replies are not read) before its bytes
  // are left in the kernel.
  static constexpr std::size_t kChunksMax = 4;
  static constexpr std::int64_t kLingerNs = 2 * base::kNsPerSecond;

  Conversation(TurnContext& context, net::Connection::Context& connection, int fd,
               const base::Endpoint& peer, const base::SlotRef& self);
  ~Conversation();

  struct Arrival {
    ConnectionGate::Place place{};
    bool implicit_tls = false;
    bool sends_header = false;  // a PROXY header comes first
    bool spoke_early = false;   // bytes are there already
  };
  // Right after it is made.
  void begin(const Arrival& arrival);

  // What the ring, the clock, the writer and the operator bring. Each marks it dirty.
  void on_receive(const uring::Completion& completion);
  void on_send(const uring::Completion& completion);
  void on_timer();
  void on_decided(const Message& message);
  void on_buffers();  // some are free again: it has been taken off TurnContext::starved
  void step_handshake();
  void say_last_words(const smtp::Reply& reply);
  void cut_off(CutOff why);  // without a word

  // The turn. A conversation that parses in one turn does so once or twice.
  void parse();
  bool end_of_turn();

  Phase phase() const { return phase_; }
  Hold hold() const { return hold_; }
  const PauseSet& pauses() const { return pauses_; }
  Activity activity() const;
  bool wants_buffer() const;  // of those starved: not for decryption, but to receive into
  bool is_waiting() const { return hold_ == Hold::kVerdict || hold_ == Hold::kCommit; }
  bool in_handshake() const;  // of TLS, or waiting for what stands before it
  bool may_end_handshake() const {
    return in_handshake() && context_.now.mono.ns < context_.handshakes_end_ns;
  }
  bool in_transaction() const { return session_.in_transaction() || is_waiting(); }
  base::SlotRef ref() const { return ref_; }
  const base::IpAddress& client() const { return facts_.address; }
  const ConnectionGate::Place& place() const { return place_; }
  const net::Connection& connection() const { return connection_; }
  const smtp::Session& session() const { return session_; }
  void invariants() const;

  // MemoryHolder.
  HeldBytes held() const override;
  std::uint64_t message_bytes() const override;
  void set_memory_pause(bool on) override;
  void give_up_for_memory() override;
  void cut_off_for_memory() override;

 private:
  // CheckSubject.
  Message* message_to_check() override { return message_; }
  bool message_complete() const override { return hold_ == Hold::kVerdict; }
  void on_verdict() override;

  // conversation_journal.cc. ReplyListener: every reply, once.
  void said(const smtp::Reply& reply, smtp::Stage stage) override;
  void journal_reply(const smtp::Reply& reply, smtp::Stage stage);
  void journal_cut_off(CutOff why);
  JournalLine journal_line() const;

  // conversation_client.cc: whom it speaks for.
  void await_header(bool implicit_tls);
  void read_header();
  void take_header(const net::ProxyHeader& header);
  void refuse_balancer(std::string_view problem);
  void welcome(bool implicit_tls, bool spoke_early);
  bool stand_for(const base::Endpoint& client, std::string_view protocol);
  bool on_xclient(smtp::ReplyBuffer& out);
  void begin_name();
  std::string_view client_name() const;
  // conversation_watch.cc
  void heard(std::string_view line) override;
  TraceMarks& trace_marks();
  void meet_sender(const Tracer& tracer, TraceMarks::Mark& mark) const;
  static void meet_recipient(const Tracer& tracer, TraceMarks::Mark& mark,
                             std::string_view recipient);
  static void meet_reply(const Tracer& tracer, TraceMarks::Mark& mark, const smtp::Reply& reply);
  void trace_begin(Tracer& tracer);
  void trace_reply(const smtp::Reply& reply, smtp::Stage stage);
  void trace_event(std::string_view event, const std::function<void(base::JsonWriter&)>& members);
  void trace_tls(std::string_view result);
  void trace_message();
  void trace_verdict(mailauth::Disposition disposition);
  void trace_end();

  void enter(Phase next);
  void hold(Hold why);
  void release(Hold why);
  void pause(Pause why);
  void mark();

  // The dialogue. False: nothing more is parsed for now.
  bool handle(const smtp::Step& step, smtp::ReplyBuffer& out);
  void greet(bool spoke_early);
  void on_mail(smtp::ReplyBuffer& out);
  bool on_recipient(smtp::ReplyBuffer& out);
  bool judge_recipient(smtp::ReplyBuffer& out);
  bool answer_recipient(std::optional<smtp::Reply> refusal, smtp::ReplyBuffer& out);
  void refuse_recipient(const smtp::Reply& reply, smtp::ReplyBuffer& out);
  void begin_lists();
  void drop_lists();
  void block_lists_answered() override;
  bool in_time(RateKind kind, std::uint32_t limit);
  void on_data(smtp::ReplyBuffer& out);
  void on_content(std::string_view run);
  void on_message(smtp::ReplyBuffer& out);
  bool deliver(mailauth::Disposition disposition);
  void finish(const smtp::Reply& reply);
  void give_up();
  bool is_short() const;

  // conversation_end.cc: time, and the way to a closed connection.
  void shut();
  void cut_off();
  void on_rate_tick();
  void set_timer();
  std::int64_t command_wait_ns();
  bool command_overdue() const;
  bool close_if_done();
  bool go_on();
  bool end_last_words();
  void count();

  // conversation_tls.cc
  void begin_tls();
  void queue_handshake();
  void on_encrypted();
  void decrypt_waiting();
  void end_untrusted();
  void starve();

  TurnContext& context_;
  const std::shared_ptr<const Rules> rules_;  // those in force when it came in
  net::Connection connection_;
  smtp::Session session_;
  ClientFacts facts_;
  const base::Endpoint peer_;  // of the TCP connection
  ConnectionGate::Place place_;
  const base::SlotRef ref_;

  Message* message_ = nullptr;       // under reception, or waiting for its verdict
  ClientName* name_ = nullptr;       // being looked up, or found; none where nothing asks DNS
  BlockListCheck* lists_ = nullptr;  // what block lists say of the client
  std::size_t line_waiting_ = 0;     // Hold::kLists: bytes of the RCPT, not consumed yet
  MessageCheck* check_ = nullptr;    // SPF, DKIM and DMARC of this transaction
  Phase phase_ = Phase::kTalking;
  Hold hold_ = Hold::kNone;
  PauseSet pauses_;
  std::uint32_t guesses_ = 0;  // unknown recipients since the last known one
  bool greeted_ = false;       // the banner was sent, in the clear or under TLS
  bool parse_due_ = false;     // something may be parsed that could not before
  bool timer_ticks_ = false;   // it measures the data rate (or the slow-down), not idleness
  bool no_lingering_ = false;  // what it holds is needed

  ConversationTimer timer_;
  DataPace pace_;
  std::uint64_t swallowed_ = 0;  // commands, when the pace of octets that are no message's began
  // Of the command line that has begun to arrive: when, and how many came before it.
  std::int64_t command_began_ns_ = 0;
  std::uint64_t command_number_ = 0;
  std::int64_t handshake_deadline_ns_ = 0;
  struct HeaderIntake {
    std::string bytes;  // of it, that came in earlier chunks
    std::int64_t deadline_ns = 0;
    bool implicit_tls = false;
  };
  std::unique_ptr<HeaderIntake> header_;           // during Hold::kHeader
  std::unique_ptr<const std::string> given_name_;  // of the client, by XCLIENT; empty: it has none
  std::unique_ptr<TraceMarks> trace_;              // once somebody follows dialogues
  // For the journal.
  const std::uint64_t session_id_;
  std::string_view offered_to_journal_;  // while a line is written
  struct Judged {
    std::string_view spf;
    std::string_view dmarc;
  } judged_;  // of this transaction, in the words of RFC 8601
  // Of the session's figures, what has been counted.
  std::uint64_t counted_tls_copies_ = 0;
  std::uint64_t counted_commands_ = 0;
  std::uint64_t counted_copies_ = 0;
};

}  // namespace mxring::server
