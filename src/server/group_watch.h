// Tells the operator when a group begins to need him, and when it no longer does: one that cannot
// go on, and one whose reader is far behind the log. `/metrics` has the figures.
//
// Thread: one at a time; looks at facts that somebody else has read.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "server/group_facts.h"

namespace mxring::server {

class GroupWatch {
 public:
  // As long as the alert rule waits (tuning/observe/alerts.yml).
  static constexpr double kLateSeconds = 900;
  // Lines of one look; the others come with the next.
  static constexpr int kLinesMax = 10;

  using Notice = std::function<void(const std::string&)>;
  GroupWatch(std::string log, Notice notice) : log_(std::move(log)), notice_(std::move(notice)) {}

  void look(const std::vector<GroupFacts>& groups);

 private:
  enum class Trouble { kNone, kLate, kStopped };
  static Trouble trouble_of(const GroupFacts& facts);
  std::string in_words(const GroupFacts& facts, Trouble trouble) const;

  const std::string log_;
  const Notice notice_;
  std::map<std::string, Trouble> said_;  // of groups that are there and in trouble
};

}  // namespace mxring::server
