// Who may write to whom, as an operator of a life has written it down: recipients, access rules,
// block lists and rates, the files that say so, and a walk down the rules that tells what RCPT is
// answered. Shares no code with src/server.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/config.h"
#include "tests/sim/resolver.h"
#include "tests/sim/world.h"

namespace mxring::sim {

// Whom a command speaks for.
struct Asker {
  std::string ip;
  std::string helo;
  std::string sender;
};

// One state of both files. A life has several: the operator writes them anew.
struct PolicyText {
  struct Rule {
    std::string action;  // allow, deny, tempfail
    std::string kind;    // client, helo, sender, recipient
    std::string what;
    std::string text;
  };
  std::vector<std::string> domains;
  bool has_recipients = false;
  std::vector<std::string> recipients;
  std::vector<Rule> rules;

  static PolicyText draw(Dice& dice);
  std::string recipients_file() const;
  std::string access_file() const;

  struct Ruling {
    std::string refusal;       // "" when no rule refuses
    bool lists_count = false;  // block lists decide next
  };
  Ruling access(const Asker& asker, std::string_view recipient) const;
  std::string served(std::string_view recipient) const;  // "250 2.1.5", or the refusal
};

// What a life's block lists answer.
struct ListZone {
  enum class Kind : std::uint8_t {
    kNames,      // every fourth client
    kNamesPart,  // likewise, but only half of them with an address that counts
    kWorld,      // everybody, and the test address
    kRefuses,    // 127.255.255.254
    kSold,       // an address of a web server
    kSilent,
  };
  Kind kind = Kind::kNames;
  std::string zone;

  std::string entry() const { return kind == Kind::kNamesPart ? zone + "=127.0.0.2/31" : zone; }
  bool lists(std::string_view ip) const;
};

class PolicyBook {
 public:
  PolicyBook(World& world, std::uint64_t seed) : world_(world), dice_(seed) {}

  void draw(server::Config& config, SimResolver& resolver);
  const PolicyText& written() const { return states_.back().text; }
  // The operator writes anew. What is in force is known only to who looks at in_force().
  void write_anew();
  void took_force();
  // A process starts with what is written.
  void begin_anew();

  // Which states may hold for a connection that began between the two.
  std::vector<std::size_t> in_force(Ns from, Ns until) const;
  // Every right answer to RCPT.
  std::set<std::string> answers(const std::vector<std::size_t>& states, const Asker& asker,
                                std::string_view recipient, bool dns_fails) const;
  std::string draw_recipient(Dice& dice, std::size_t mail, std::uint64_t i) const;
  std::string describe() const;
  bool active() const { return active_; }
  const std::vector<ListZone>& lists() const { return lists_; }

 private:
  struct State {
    PolicyText text;
    Ns begins = 0;  // when it may first have held
    Ns ends = -1;   // and last; negative: it still does
  };
  World& world_;
  Dice dice_;
  bool active_ = false;
  std::vector<State> states_;
  std::vector<ListZone> lists_;
};

// How much a client has sent, as the judge of rates counts it.
class RateBook {
 public:
  // Of commands that were sent, or answered well. One client of one process of the receiver.
  using Who = std::pair<int, std::string>;
  void sent(const Who& who, bool recipient) { ++counts_[{who, recipient}].sent; }
  // False: so many in a minute that the limit cannot have been kept.
  bool taken(const Who& who, bool recipient, Ns sent_at, Ns heard_at, std::uint32_t limit);
  // Whether one may have been too many.
  bool may_be_too_many(const Who& who, bool recipient, std::uint32_t limit) const;

 private:
  struct Count {
    std::uint64_t sent = 0;
    std::vector<std::pair<Ns, Ns>> taken;  // sent, heard
  };
  std::map<std::pair<Who, bool>, Count> counts_;
};

}  // namespace mxring::sim
