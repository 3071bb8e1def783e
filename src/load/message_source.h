// Where a worker's messages come from: generated ones, each unique, or the files of --message.
//
// compose() fills an OutgoingMessage with slices that lie in the source (bodies, files) and in the
// message's own buffer (the header section), ready for sendmsg(2): dots doubled, the end of data
// included. Nothing is allocated once the buffers have grown to their size.
//
// Thread: built before the run; compose() is const and may be called by all workers at once. An
// OutgoingMessage belongs to one connection and stays untouched while a send of it is in flight.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "load/address_pattern.h"
#include "load/header_template.h"
#include "load/size_distribution.h"
#include "load/text_pool.h"

namespace mxring::load {

struct OutgoingMessage {
  std::string header;
  std::string from;  // address for MAIL FROM, empty for the null reverse-path
  std::string to;    // first recipient, for the header
  std::vector<iovec> pieces;
  msghdr message{};
  std::uint64_t content_bytes = 0;  // as the receiver counts: unstuffed, without the end of data
  std::uint64_t wire_bytes = 0;
  bool eight_bit = false;  // the content needs 8BITMIME (RFC 6152)

  OutgoingMessage() = default;
  OutgoingMessage(const OutgoingMessage&) = delete;
  OutgoingMessage& operator=(const OutgoingMessage&) = delete;
  OutgoingMessage(OutgoingMessage&&) = default;
  OutgoingMessage& operator=(OutgoingMessage&&) = default;
};

class MessageSource {
 public:
  struct Options {
    SizeDistribution size = SizeDistribution::fixed(10 * 1024);
    std::vector<AddressPattern> mail_from;  // none: the generated senders' own
    std::vector<AddressPattern> rcpt_to;    // at least one
    std::string run_id;                     // letters and digits
    std::uint64_t seed = 1;
  };
  // Reads the files at `paths`; a folder stands for the files in it, in order of name. The error is
  // one line for a person.
  static std::expected<MessageSource, std::string> create(const Options& options,
                                                          const std::vector<std::string>& paths);

  void compose(std::uint64_t number, std::string_view date, OutgoingMessage& out) const;

 private:
  struct StoredMessage {
    std::string wire;  // CRLF line ends, stuffed, with the end of data
    std::uint64_t content_bytes = 0;
    bool eight_bit = false;
  };
  explicit MessageSource(const Options& options);
  std::expected<void, std::string> check_sizes() const;
  std::expected<void, std::string> add(const std::string& path);
  static StoredMessage prepare(std::string_view file);

  Options options_;
  std::vector<StoredMessage> stored_;  // when not empty, these are sent and nothing is generated
  std::uint64_t stored_bytes_ = 0;
  TextPool text_;
  std::vector<Sender> senders_;
  HeaderTemplate compact_;
};

}  // namespace mxring::load
