// Checks a whole log: every CRC, every offset, every byte of padding. What readers skip, and what
// they do not even notice, is listed with its place. Changes nothing; a writer may be at work.
#pragma once

#include <mxring/log_reader.h>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mxring::seglog {

struct Damage {
  std::string segment;         // file name
  std::uint64_t position = 0;  // byte in it
  std::uint64_t bytes = 0;
  Offset offset = 0;          // first record affected
  std::uint64_t records = 0;  // how many are lost; 0: none, only bytes around them are wrong
  std::string what;
  bool set_aside = false;  // a whole segment, by recovery: nobody knows which records are in it
};

struct TornTail {
  std::string segment;
  std::uint64_t position = 0;  // where the log ends
  std::uint64_t bytes = 0;     // after it, of a batch nobody was told of
};

struct VerifyReport {
  bool ok() const { return damaged.empty(); }
  Offset first = 0;
  Offset next = 0;
  std::uint64_t records = 0;  // good ones
  std::uint64_t bytes = 0;    // read
  std::vector<Damage> damaged;
  std::optional<TornTail> torn_tail;  // no damage: the next start of the writer cuts it
  bool stopped = false;               // `pace` has ended it: the rest was not looked at
};

// `progress` (may be empty) is called now and then with a fraction 0 to 1. `pace` (may be empty) is
// called after each record with the bytes read for it, may take its time, and ends the look with
// false. What is removed or begun meanwhile is left out.
std::expected<VerifyReport, LogError> verify(const std::filesystem::path& directory,
                                             const std::function<void(double)>& progress = {},
                                             const std::function<bool(std::uint64_t)>& pace = {});

}  // namespace mxring::seglog
