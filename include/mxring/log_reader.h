// Reads a mxring log: any number of processes may read while one server writes. A reader sees only
// records that are durable, each whole and checked (CRC32C), in offset order.
//
//   auto reader = mxring::LogReader::open("/var/lib/mxring/log");
//   if (!reader) { ... reader.error().message ... }
//   while (true) {
//     auto record = reader->next();
//     if (!record) { damaged or failed: record.error(); next() goes on after it }
//     else if (!*record) { end for now; call wait() or stop }
//     else use(**record);
//   }
//
// Thread: one at a time per reader.
#pragma once

#include <mxring/record.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mxring {

enum class LogErrorKind : std::uint8_t {
  kNotALog,    // the directory is missing or holds no log
  kIo,         // the operating system refused; `message` says what
  kDamaged,    // bytes that fail their check; next() continues at the next good record
  kGone,       // the wanted offset has been removed by retention; first() is where the log begins
  kVersion,    // written by a newer format
  kBeyondEnd,  // no record has had this offset yet: the log was made anew or restored, or it is
               // another one
};

struct LogError {
  LogErrorKind kind = LogErrorKind::kIo;
  std::string message;
  Offset offset = 0;           // first record affected, where known
  std::uint64_t records = 0;   // how many are affected, where known
  std::string segment;         // file name, where known
  std::uint64_t position = 0;  // byte in that file
};

struct SegmentInfo {
  std::string file;
  Offset first = 0;
  Offset next = 0;  // one past its last record
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;  // in use, not preallocated
  std::uint64_t file_bytes = 0;
  std::int64_t first_received_at_us = 0;
  std::int64_t last_received_at_us = 0;
};

class LogReader {
 public:
  static std::expected<LogReader, LogError> open(const std::filesystem::path& directory);
  LogReader(LogReader&&) noexcept;
  LogReader& operator=(LogReader&&) noexcept;
  ~LogReader();

  // The next record, or nothing when the reader has reached the durable end.
  std::expected<std::optional<Record>, LogError> next() &;
  std::expected<std::optional<Record>, LogError> next() && = delete;  // its views would dangle

  // Records of refused mail (Record::is_refusal) are left out unless this is set.
  void include_refusals(bool wanted);

  // Continue at this offset (first() if it has been removed: kGone is returned once). Beyond end()
  // it is an error, kBeyondEnd, and the reader stays where it is.
  std::expected<void, LogError> seek(Offset offset);
  // Continue at the first record received at or after this time.
  std::expected<void, LogError> seek_time(std::int64_t unix_us);

  // Blocks until next() may have more or the time is up. True when there is more.
  bool wait(std::chrono::milliseconds at_most);

  // What next() looks for next: one past the latest record or error, refusals passed over included.
  Offset position() const;
  // Continue at this offset, whatever has become of it: removed records are told by next().
  std::expected<void, LogError> stay_at(Offset offset);

  LogId log_id() const;  // that new records get; not known() in a log older than log ids
  Offset first() const;  // of the oldest record still kept
  Offset end() const;    // one past the newest durable record
  std::vector<SegmentInfo> segments() const;

 private:
  struct Impl;
  explicit LogReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mxring
