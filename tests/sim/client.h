// A client of a life: plays its script over a simulated stream, in pieces of its own choosing, and
// judges each reply as it comes. What was promised to it is kept in the ledger.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/grammar.h"
#include "tests/sim/model.h"
#include "tests/sim/net.h"
#include "tests/sim/policy.h"
#include "tests/sim/wire.h"

namespace mxring::sim {

// What the clients of a life know about their mail.
struct Promise {
  std::string content;
  std::string from;
  std::vector<std::string> recipients;  // that were answered 250
  Fate fate = Fate::kAccept;
  bool complete = false;     // its end was sent
  std::int64_t offset = -1;  // 250
  std::string refused;       // any other answer
  bool faults = false;       // there were some while it was under way
  bool dns = false;
  std::string ip;  // of the client it came from
  bool tls = false;
  bool in_log = false;  // the judge has found it
};

struct Ledger {
  std::map<std::string, Promise> mails;  // by mark
  std::map<std::uint64_t, std::string> by_offset;
  RateBook rates;
  const PolicyBook* policy = nullptr;
  base::Limits limits;
  bool removes = false;  // retention may
  bool lied = false;     // the disk has: offsets may be given again
  // Of the receiver that runs.
  Ns drain_began = -1;                // by its operator
  bool log_may_fail = false;          // there are faults of the disk in this life
  std::uint64_t refusals_heard = 0;   // since it started
  std::uint64_t promised_before = 0;  // offsets
};

// As whom a client comes.
struct Person {
  sockaddr_storage address{};
  std::string ip;        // that the connection speaks for
  std::string header;    // of a balancer, before everything else
  bool proxy = false;    // whose XCLIENT is believed
  bool refused = false;  // 421 4.3.0: the header is wrong, or is none
  int process = 0;       // of the receiver
  bool implicit_tls = false;
  bool tls_12 = false;
};

struct Manners {
  enum class Pieces : std::uint8_t { kWhole, kRandom, kBytes } pieces = Pieces::kWhole;
  Ns pause_max = 5 * kMs;
  bool reads = true;
  Ns read_pause_max = 0;
  std::size_t gives_up_after = ~std::size_t{0};  // bytes
  enum class End : std::uint8_t { kClose, kReset, kSilence, kHalfClose } end = End::kClose;
  bool waits_for_banner = true;
};

class Client : public std::enable_shared_from_this<Client> {
 public:
  Client(World& world, Ledger& ledger, std::string name, Script script, Manners manners,
         Tolerance tolerance);
  // False when nobody listens.
  bool connect(std::uint16_t port, const Person& person);

  bool over() const { return over_; }
  Tolerance& tolerance() { return tolerance_; }
  std::string describe() const;

 private:
  void pump();
  void read_replies();
  void take_line(std::string line);
  void on_reply(const std::string& reply, const std::string& last_word);
  // `command`: what is answered, if anything was asked.
  void judge_time(const Command* command, const std::string& reply, bool draining);
  void begin_group();
  void send_some();
  void note_all_sent();
  void start_tls();
  bool send_ciphertext();
  void give_up();
  void end(const char* why);
  void note_sent(const Command& command);
  void note_reply(const Command& command, const std::string& reply);
  std::set<std::string> right_replies(const Command& command);
  void note_end_of_mail(const Command& command, const std::string& reply,
                        const std::string& last_word);
  void schedule(Ns delay);

  World& world_;
  Ledger& ledger_;
  Dice dice_;
  std::string name_;
  Script script_;
  Manners manners_;
  Tolerance tolerance_;
  StreamPtr stream_;
  Model model_;
  std::size_t next_group_ = 0;
  std::deque<Command> waiting_;  // for their replies
  std::string unsent_;
  std::vector<std::pair<std::size_t, Command>> ends_;  // of commands, in bytes sent
  std::size_t sent_ = 0;
  std::unique_ptr<TlsWire> wire_;
  std::size_t in_record_ = 0;    // bytes that the ciphertext on its way holds
  std::size_t record_left_ = 0;  // of that ciphertext
  std::size_t ciphertext_sent_ = 0;
  std::size_t queued_ = 0;
  std::string heard_;
  std::string first_line_;
  bool skip_content_ = false;
  bool given_up_ = false;
  bool over_ = false;
  bool scheduled_ = false;
  std::vector<std::string> recipients_;  // of the transaction
  Person person_;
  Asker asker_;
  std::string named_hello_;          // by XCLIENT, whatever EHLO says
  std::vector<std::size_t> states_;  // of the policy, that may hold here
  Ns connected_at_ = 0;
  Ns last_reply_at_ = 0;
  bool told_of_drain_ = false;  // by the last line
};

}  // namespace mxring::sim
