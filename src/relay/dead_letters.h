// What a sink refused for good: <log>/groups/G.dead/<offset>.eml, the message as received,
// and <offset>.json, what happened and what the record was stored with. Both are on disk,
// and the folder synced, before add() returns; only then may the cursor move. `mxring groups dead`
// lists, drops, and asks for another attempt with a file <offset>.retry.
//
// Failure: errno values; EFBIG when `bytes_max` would be passed. Thread: one.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/owned_fd.h"
#include "relay/item.h"
#include "relay/sink.h"

namespace mxring::relay {

struct Death {
  std::string reply;
  std::uint32_t attempts = 0;
  base::WallTime first;
  base::WallTime last;
  std::vector<Refusal> refused;  // empty: nobody has it
};

class DeadLetters {
 public:
  // The folder is made when the first letter comes.
  DeadLetters(int groups_fd, const std::string& group, std::uint64_t bytes_max);

  std::expected<void, int> add(const Item& item, const Death& death);
  // Those with a .retry file, ascending.
  const std::vector<Offset>& to_retry() const { return to_retry_; }
  // False: its files cannot be read as what add() writes.
  bool load(Offset offset, Item& item) const;
  std::uint32_t attempts(Offset offset) const;
  // It has been delivered.
  std::expected<void, int> remove(Offset offset);
  // It stays one.
  void stop_retrying(Offset offset);

  std::uint64_t count() const { return count_; }
  std::uint64_t bytes() const { return bytes_; }
  bool is_full() const { return bytes_ >= bytes_max_; }

 private:
  std::expected<void, int> make_folder();
  void look();
  std::expected<std::string, int> read(const std::string& name) const;

  int groups_fd_;
  std::string name_;
  std::uint64_t bytes_max_;
  base::OwnedFd folder_;
  std::vector<Offset> to_retry_;
  std::uint64_t count_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace mxring::relay
