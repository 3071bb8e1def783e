// Where in the log a stream stands: from its last message, from what the cursor remembers of it,
// and from whether it is the same stream at all. Pure.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "relay/item.h"
#include "seglog/cursor_file.h"

namespace mxring::relay {

// What the cursor's 56 bytes hold for a stream.
struct NatsMemory {
  std::int64_t created_ns = 0;  // of the stream; 0 = none yet
  std::uint64_t last_sequence = 0;
  Offset begin = 0;    // where the group began: a stream that is made anew is filled from there
  Offset next = 0;     // one past what the stream has acknowledged
  bool moved = false;  // by hand: what follows the place goes out again

  static NatsMemory load(const seglog::CursorFields& fields);
  void store(seglog::CursorFields& fields) const;
};

// A stream as its server describes it.
struct NatsStream {
  std::int64_t created_ns = 0;
  std::uint64_t messages = 0;
  std::uint64_t last_sequence = 0;
  std::string last_id;  // Nats-Msg-Id of its last message
};

struct NatsPlace {
  Offset next = 0;          // publishing goes on here
  std::string expected_id;  // of the message before; empty: the sequence is expected instead
  std::uint64_t expected_sequence = 0;
  std::string why;
};

// The error says why nothing may be published: the stream has messages that are none of this log's.
std::expected<NatsPlace, std::string> place_of(const NatsStream& stream, const NatsMemory& memory,
                                               Offset committed, Offset log_first);

}  // namespace mxring::relay
