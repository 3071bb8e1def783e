// What is inside dmarc::Evaluator: the questions it has asked, the From domain's walk, and the
// domains that may be aligned. Private to this folder; machine.cc decides, account.cc tells people.
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

  struct Asked {
    dns::Question question;
    dns::AnswerPtr answer;
    std::shared_ptr<const RecordSet> records;  // of a TXT answer
  };
  struct Identifier {
    Authenticated::Method method = Authenticated::Method::kSpf;
    bool undecided = false;
    std::string domain;
    std::optional<TreeWalk> walk;
  };

  explicit Machine(const base::Limits& l) : limits(l) {}

  // Asking.
  const Asked* find(const dns::Name& name, dns::Type type) const;
  bool want(const dns::Name& name, dns::Type type);
  Finding look(std::string_view domain, const Record*& record) const;
  Finding advance(TreeWalk& walk) const;
  bool ask(const TreeWalk& walk, std::size_t end);

  // The phases.
  void discover();
  Finding find_existence();
  void settle_policy();
  void ask_expected();
  void align();
  bool align_all(bool undecided);
  Match match(Identifier& identifier);
  void finish(Result result, std::string_view problem = {}, std::string_view where = {});

  // The account for people.
  std::vector<WalkStep> walk() const;
  void describe_walk(std::string_view domain, std::vector<WalkStep>& steps) const;
  std::string note(const TreeWalk& walk, std::size_t step, const Asked& asked,
                   const Record* record) const;

  base::Limits limits;
  std::vector<Asked> asked;
  std::vector<dns::Question> wanted;
  std::size_t missing = 0;

  std::string from;
  std::optional<TreeWalk> from_walk;
  const Record* applied = nullptr;  // the record that applies
  bool discovered = false;
  bool organization_known = false;
  Existence existence = Existence::kYes;

  // The first ones of each count; the rest keep their memory for the next message.
  std::vector<std::string> expected;
  std::size_t expected_count = 0;
  std::vector<Identifier> identifiers;
  std::size_t identifier_count = 0;

  bool authenticated = false;    // the identifiers are known
  bool gave_up = false;          // nothing more is asked
  bool aligned_unknown = false;  // some identifier may be aligned
  bool done = false;
  Outcome outcome;
};

}  // namespace mxring::mailauth::dmarc
