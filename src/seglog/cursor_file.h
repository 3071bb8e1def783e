// A group's cursor on disk (FORMAT.md, "Groups"): two slots written in turn, so that a write that
// is torn leaves the one before.
//
// Failure: errno values. Thread: one per object.
#pragma once

#include <mxring/record.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "seglog/format.h"
#include "seglog/log_directory.h"

namespace mxring::seglog {

constexpr std::uint64_t kCursorMagic = 0x315255434752584DULL;  // "MXRGCUR1"
constexpr std::uint64_t kCursorBytes = 8192;
constexpr std::uint64_t kCursorSlotAt = 4096;  // the second one; the first is at 0

enum CursorFlag : std::uint32_t { kCursorHolds = 1, kCursorPaused = 2 };

// The byte of CursorFields::sink that a sink must not use: not 0 when the group was moved by hand,
// so that what a sink has of records after the place is to be delivered to it again.
constexpr std::size_t kSinkMovedAt = 55;

struct CursorFields {
  std::uint64_t magic = kCursorMagic;
  std::uint64_t generation = 0;
  std::uint8_t log_id[16] = {};
  std::uint64_t next = 0;
  std::int64_t committed_at_us = 0;
  std::uint32_t flags = 0;
  std::uint32_t dead = 0;
  std::uint64_t handed_over = 0;
  std::uint8_t sink[56] = {};
  std::uint32_t reserved = 0;
  std::uint32_t crc = 0;

  bool holds() const { return (flags & kCursorHolds) != 0; }
  bool paused() const { return (flags & kCursorPaused) != 0; }
  LogId id() const;
  void set_id(const LogId& id);
};
static_assert(sizeof(CursorFields) == 128 && offsetof(CursorFields, next) == 32);
static_assert(offsetof(CursorFields, sink) == 64 && offsetof(CursorFields, crc) == 124);

// "G": letters, digits, - and _, 1 to 64 of them.
bool is_group_name(std::string_view name);
std::string cursor_name(std::string_view group);  // "G.cursor"
std::optional<std::string> parse_cursor_name(std::string_view name);

// The valid slot with the greater generation. Nothing: neither is valid.
std::expected<std::optional<CursorFields>, int> read_cursor(int fd);

// Whether somebody holds the lock of an open cursor file.
bool cursor_is_owned(int fd);
// The pid that the owner wrote beside it; 0 = unknown.
std::int64_t owner_pid(int groups_fd, const std::string& group);

// One group's cursor, owned: locked for as long as the object lives.
class CursorFile {
 public:
  struct Refusal {
    int error = 0;          // errno; 0: another owner has it
    std::string owner_pid;  // as it wrote it; empty when unknown
  };

  // `groups_fd` is the folder; it is not kept. ENOENT when there is no such group.
  static std::expected<CursorFile, Refusal> open(int groups_fd, const std::string& group);
  // A new group: the file appears whole and durable under its name. EEXIST when there is one.
  static std::expected<CursorFile, Refusal> create(int groups_fd, const std::string& group,
                                                   CursorFields fields);

  // What it says; nothing: it is damaged.
  const std::optional<CursorFields>& fields() const { return fields_; }
  // Makes these the group's fields, durably. The generation is set here. errno on failure: the slot
  // before counts.
  std::expected<void, int> write(CursorFields fields);
  bool same_file(int groups_fd, const std::string& group) const;  // not deleted meanwhile

 private:
  std::expected<void, Refusal> lock(int groups_fd, const std::string& group);

  ReadFile file_;  // opened for writing too
  std::optional<CursorFields> fields_;
};

}  // namespace mxring::seglog
