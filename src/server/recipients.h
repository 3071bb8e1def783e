// Who is received for: `recipients.domains`, and the lines of `recipients.file`.
//
//   joe@example.org     this address, and joe+anything@ while `extension` is "+"
//   @example.org        everybody there
//   @.example.org       everybody in the domains below example.org, not in itself
//   # comment           also after a line's address
//
// Nothing configured: every domain is served (a sink). Domains without a file: everybody in them.
// With a file each recipient needs a line of it, and a domain is served when it is in `domains` or
// in the file. <postmaster>, and postmaster at a served domain, are always received (RFC
// 5321 4.5.1).
//
// Made by one thread, then immutable: find() is for any number of threads and allocates nothing for
// names in ASCII.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "server/address_key.h"
#include "server/key_table.h"
#include "server/line_file.h"

namespace mxring::server {

class Recipients {
 public:
  enum class Answer : std::uint8_t {
    kServed,
    kNotOurs,  // 550 5.7.1
    kUnknown,  // 550 5.1.1
  };

  // Lines of more than this are mistakes: no address is so long.
  static constexpr std::size_t kLineBytesMax = 1024;

  Recipients() = default;
  Recipients(std::span<const std::string> domains, std::string_view extension);

  // Of these entries alone, each as a line of the file.
  static std::expected<Recipients, std::string> of(std::span<const std::string> entries,
                                                   std::string_view extension);

  // The next line of the file, without its line end. After an error the object is of no use.
  std::expected<void, FileError> add_line(std::string_view line);
  // Reads a whole file. `path` empty: there is none.
  std::expected<void, FileError> read(const std::string& path);

  // `mailbox` as the session has it: local@domain, or "postmaster".
  Answer find(std::string_view mailbox) const;
  // Whether this one line decides for the address: for `mxring policy check`, which wants its
  // number.
  static bool line_matches(std::string_view line, std::string_view mailbox,
                           std::string_view extension);

  std::uint64_t addresses() const { return addresses_.size(); }
  std::uint64_t domains() const { return domains_.size(); }
  bool has_file() const { return has_file_; }
  std::size_t memory_bytes() const { return addresses_.memory_bytes() + domains_.memory_bytes(); }

 private:
  std::expected<void, std::string> add_entry(std::string_view entry);

  KeyTable addresses_;
  KeyTable domains_;  // with flags
  std::string extension_;
  std::uint64_t lines_ = 0;
  bool has_file_ = false;
  bool serves_all_ = true;  // nothing was configured
};

}  // namespace mxring::server
