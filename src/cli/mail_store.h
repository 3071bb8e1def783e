// Where `mxring log export` puts messages: a directory of .eml files, an mbox file, a Maildir or a
// file of JSON lines. Nothing is seen under its final name before it is complete and on disk, and
// nothing that exists is overwritten unless that was asked for.
//
// Thread: one. Failure: one line for a person; what was stored before it stays.
#pragma once

#include <mxring/record.h>

#include <expected>
#include <memory>
#include <string>
#include <string_view>

namespace mxring::cli {

enum class StoreFormat : std::uint8_t { kEml, kMbox, kMaildir, kJsonLines };

using Stored = std::expected<void, std::string>;

class MailStore {
 public:
  struct Options {
    StoreFormat format = StoreFormat::kEml;
    std::string path;
    bool replace = false;  // existing files
  };
  static std::expected<std::unique_ptr<MailStore>, std::string> create(const Options& options);

  MailStore() = default;
  MailStore(const MailStore&) = delete;
  MailStore& operator=(const MailStore&) = delete;
  virtual ~MailStore() = default;

  // `message` is the form to store: as delivered or as received.
  virtual Stored add(const Record& record, std::string_view message) = 0;
  // Makes everything durable and visible. Nothing may be added afterwards.
  virtual Stored finish() = 0;
};

}  // namespace mxring::cli
