// Dialogues as text (dialogues/*.txt). Lines:
//
//   # ...                     a remark
//   @hostname NAME            before the first C or S line; also:
//   @limit NAME NUMBER        a member of base::Limits
//   @starttls                 STARTTLS is offered; what is said after it is under TLS
//   @xclient                  XCLIENT is believed; with a REPLY the owner refuses it so
//   @strict                   every member of smtp::Leniency off
//   @lenient NAME             one of them on
//   @refuse mail|rcpt PATH REPLY    the owner's answers; "<>" is the null path
//   @refuse data REPLY
//   @finish REPLY             to every message, instead of "250 2.0.0 Ok <number from 0>"
//   @discard BYTES REPLY      when more content than that has come
//   C: TEXT                   the client sends TEXT and CRLF
//   C> TEXT                   ... and nothing behind it
//   C*N> TEXT                 ... TEXT N times
//   C*N: TEXT                 ... TEXT and CRLF N times
//   S: TEXT                   the server's reply line; S*N: the same N times
//   @closed                   the server has closed here
//   @message FROM TO...       at the end: the messages in order, paths in "<>"
//   @parameters WORDS         of the last @message
//   @content TEXT             its content
//   @named WORDS              what XCLIENT said, each attribute as "addr=192.0.2.7"
//   @count WHAT NUMBER        refused discards resets slow encrypted
//
// In TEXT: \r \n \0 \\ \s (space) and \xNN. Consecutive C lines are sent in one group, without
// waiting.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/smtp/session_player.h"

namespace mxring::smtp {

struct Dialogue {
  struct Turn {
    std::string sent;     // one group; empty = the banner
    std::string replies;  // what must come back
    bool closed = false;
  };
  SessionOptions options;
  OwnerPolicy policy;
  std::vector<Turn> turns;
  Transcript expected;  // but for replies and closed
  std::string error;    // what is wrong with the file
};

Dialogue read_dialogue(const std::filesystem::path& file);

}  // namespace mxring::smtp
