// What an LMTP peer has confirmed and the cursor does not say yet: <log>/groups/G.notes, so that a
// recipient who has a message is not given it again. A note is written as soon as a reply is there,
// which survives the end of the process; it is synced with the cursor, which survives the host's.
//
//   at 0   magic "MXRGNOT1"   at 8   the id that the cursor's 56 bytes begin with   at 16   notes
//   a note: offset u64, recipient u32 (all: 0xFFFFFFFF), CRC32C u32 of the id and these 12 bytes
//
// A file with another id is of a place that the group has been moved from, and is begun anew. The
// first note that fails its check ends the file. Failure: errno values. Thread: one.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <set>
#include <string>

#include "base/owned_fd.h"
#include "seglog/cursor_file.h"

namespace mxring::relay {

class LmtpNotes {
 public:
  static constexpr std::uint32_t kAll = 0xFFFFFFFF;

  // Notes of records below `committed` are forgotten. The id in `fields` is made if there is none;
  // it reaches the disk with the cursor's next write.
  static std::expected<LmtpNotes, int> open(int groups_fd, const std::string& group,
                                            seglog::CursorFields& fields, Offset committed);

  std::expected<void, int> add(Offset offset, std::uint32_t recipient);
  bool has(Offset offset, std::uint32_t recipient) const;
  std::expected<void, int> sync();
  // Below this the cursor speaks. Rewrites the file when it is mostly old.
  std::expected<void, int> committed(Offset next);

 private:
  std::expected<void, int> begin_anew();
  std::string entry(Offset offset, std::uint32_t recipient) const;

  int groups_fd_ = -1;
  std::string name_;
  std::uint64_t id_ = 0;
  base::OwnedFd file_;
  std::map<Offset, std::set<std::uint32_t>> notes_;
  std::uint64_t written_ = 0;
  bool unsynced_ = false;
};

}  // namespace mxring::relay
