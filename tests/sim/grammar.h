// Dialogues at random, as groups of commands that are sent together. Each message bears a mark that
// no other has, and its fate is known from how it was made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/dice.h"
#include "tests/sim/model.h"
#include "tests/sim/policy.h"

namespace mxring::sim {

struct Mail {
  std::string mark;
  std::string content;  // as it must stand in the log
  std::string from;     // without brackets
  Fate fate = Fate::kAccept;
};

struct Command {
  Act act = Act::kNoop;
  std::string bytes = {};              // with everything that goes with it
  std::size_t mail = ~std::size_t{0};  // of kMail, kContent, kChunk, kLastChunk
  std::string word = {};               // the recipient, or the name at EHLO
  std::string ip = {};                 // of kXclient: whom it names
  Ns sent_at = 0;
};

struct Script {
  std::vector<Mail> mails;
  // Sent group after group; a group ends where the client has to wait for its replies.
  std::vector<std::vector<Command>> groups;
};

struct Wishes {
  std::uint64_t life = 0;
  std::uint64_t client = 0;
  std::uint64_t message_bytes_max = 64 * 1024;  // the server's limit
  std::uint64_t body_bytes_max = 20'000;
  std::uint64_t messages_max = 4;
  bool orderly = false;  // nothing wrong, nothing odd
  bool verdicts = true;
  bool guesses = false;    // recipients, and sends nothing
  bool believed = false;   // XCLIENT
  bool encrypted = false;  // from the first byte
  bool starttls = false;   // is offered
  const PolicyBook* policy = nullptr;
};

Script make_script(Dice& dice, const Wishes& wishes);

}  // namespace mxring::sim
