#include "relay/nats_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace mxring::relay {

namespace {

template <class T>
T load_at(const seglog::CursorFields& fields, std::size_t at) {
  T value;
  std::memcpy(&value, fields.sink + at, sizeof value);
  return value;
}

template <class T>
void store_at(seglog::CursorFields& fields, std::size_t at, T value) {
  std::memcpy(fields.sink + at, &value, sizeof value);
}

}  // namespace

NatsMemory NatsMemory::load(const seglog::CursorFields& fields) {
  NatsMemory memory;
  memory.created_ns = load_at<std::int64_t>(fields, 0);
  memory.last_sequence = load_at<std::uint64_t>(fields, 8);
  memory.begin = load_at<std::uint64_t>(fields, 16);
  memory.next = load_at<std::uint64_t>(fields, 24);
  memory.moved = fields.sink[seglog::kSinkMovedAt] != 0;
  return memory;
}

void NatsMemory::store(seglog::CursorFields& fields) const {
  store_at(fields, 0, created_ns);
  store_at(fields, 8, last_sequence);
  store_at(fields, 16, begin);
  store_at(fields, 24, next);
  fields.sink[seglog::kSinkMovedAt] = moved ? 1 : 0;
}

std::expected<NatsPlace, std::string> place_of(const NatsStream& stream, const NatsMemory& memory,
                                               Offset committed, Offset log_first) {
  NatsPlace place;
  place.expected_sequence = stream.last_sequence;
  const bool known = memory.created_ns == stream.created_ns;
  if (stream.messages > 0) {
    const auto last = parse_id(stream.last_id);
    if (!last) {
      return std::unexpected(fmt::format(
          "the stream's last message has the id \"{}\": another publisher writes to it; a stream "
          "belongs to one log",
          base::escaped(stream.last_id)));
    }
    place.expected_id = stream.last_id;
    place.next = memory.moved ? committed : last->next;
    place.why = memory.moved ? "the group was moved by hand" : "the stream's last message";
    return place;
  }
  if (memory.moved || memory.created_ns == 0) {  // nothing has been published by this group
    place.next = committed;
    place.why = "the stream is empty";
  } else if (known) {  // consumed or purged: what it has acknowledged does not come again
    place.next = std::max(committed, memory.next);
    place.why = "the stream was emptied by those who read it";
  } else {
    place.next = std::max(memory.begin, log_first);
    place.why = "the stream was made anew and is filled again";
  }
  return place;
}

}  // namespace mxring::relay
