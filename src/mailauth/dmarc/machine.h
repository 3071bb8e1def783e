// What is inside dmarc::Evaluator: the questions it has asked, the From domain's walk, and the
// domains that may be aligned. Private to this folder; machine.cc decides, explain.cc tells people.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mailauth/dmarc/evaluator.h"
#include "mailauth/dmarc/tree_walk.h"

namespace mxring::mailauth::dmarc {

// "_dmarc." and the domain. Nothing when that is longer than a name can be; then there is nothing
// there either.
std::optional<dns::Name> policy_name(std::string_view domain);

struct Machine {
  enum class Finding : std::uint8_t { kKnown, kWait, kFailed };
  enum class Match : std::uint8_t { kNo, kYes, kUnknown, kWait };
  enum class Existence : std::uint8_t { kYes, kNo, kUnknown };
  enum class Stage : std::uint8_t { kDiscovering, kDiscovered, kDone };
  // Why something is not known, the worse the later: DNS has no answer, or we did not ask.
  enum class Doubt : std::uint8_t { kNone, kDns, kNotAsked };

  struct Asked {
    dns::Question question;
    dns::AnswerPtr answer;
    std::shared_ptr<const RecordSet> records;  // of a TXT answer
  };
  struct Identifier {
    Authenticated::Method method = Authenticated::Method::kSpf;
    Doubt doubt = Doubt::kNone;  // not a pass, but may have been one
    std::string domain;
    std::optional<TreeWalk> walk;
  };
  // All that begins anew with each message, apart from what keeps its memory.
  struct Round {
    Stage stage = Stage::kDiscovering;
    bool authenticated = false;       // the identifiers are known
    bool gave_up = false;             // nothing more is asked
    const Record* applied = nullptr;  // the record that applies
    std::string_view organization;    // a part of `from`; the best that is known
    std::size_t first_missed = 0;     // the step of the From domain's walk without an answer
    Doubt walk_doubt = Doubt::kNone;  // of the From domain's walk
    Existence existence = Existence::kYes;
    Doubt existence_doubt = Doubt::kNone;
    Doubt alignment_doubt = Doubt::kNone;  // some identifier may be aligned
    std::size_t missing = 0;               // answers
    // The first ones of each vector; the rest keep their memory for the next message.
    std::size_t expected_count = 0;
    std::size_t identifier_count = 0;
  };

  explicit Machine(const base::Limits& l) : limits(l) {}

  // Between two calls from outside.
  void invariants() const;
  void enter(Stage stage);

  // Asking.
  const Asked* find(const dns::Name& name, dns::Type type) const;
  bool want(const dns::Name& name, dns::Type type);
  Doubt why_not_asked() const { return round.gave_up ? Doubt::kDns : Doubt::kNotAsked; }
  Finding look(std::string_view domain, const Record*& record, Doubt& doubt) const;
  void walk_from();
  Finding advance(Identifier& identifier, Doubt& doubt) const;
  bool ask(const TreeWalk& walk, std::size_t end);

  // The phases.
  void discover();
  Finding find_existence();
  void settle_policy();
  void ask_expected();
  void align();
  bool align_all(bool doubtful);
  Match match(Identifier& identifier, Doubt& doubt);
  void finish(Result result, std::string_view problem = {}, std::string_view where = {});
  void finish_undecided(Doubt doubt, std::string_view problem, std::string_view where = {});

  // For people.
  std::vector<WalkStep> walk() const;
  void describe_walk(std::string_view domain, std::vector<WalkStep>& steps) const;
  std::string note(const TreeWalk& walk, std::size_t step, const Asked& asked,
                   const Record* record) const;

  base::Limits limits;
  std::vector<Asked> asked;
  std::vector<dns::Question> wanted;
  std::string from;
  std::optional<TreeWalk> from_walk;
  std::vector<std::string> expected;
  std::vector<Identifier> identifiers;
  Round round;
  Outcome outcome;
};

}  // namespace mxring::mailauth::dmarc
