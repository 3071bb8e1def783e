// Where a worker's messages come from: generated ones, each unique, or the files of --message.
//
// compose() fills an OutgoingMessage with slices that lie in the source (bodies, files) and in the
// message's own buffer (the header section), ready for sendmsg(2): dots doubled, the end of data
// included, or as it is for BDAT. Nothing is allocated once the buffers have grown to their size.
//
// With --sign, so many messages are signed before the run starts, and then sent in turn, each under
// a number of its own in a field above the signature: a generator that signed while it sends would
// measure itself. Files are signed as they are read.
//
// Thread: built before the run; compose() is const and may be called by all workers at once. An
// OutgoingMessage belongs to one connection and stays untouched while a send of it is in flight.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "load/address_pattern.h"
#include "load/header_template.h"
#include "load/size_distribution.h"
#include "load/text_pool.h"

namespace mxring::mailauth::dkim {
class Signer;
}

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

struct Signing {
  std::string key_pem;
  std::string domain;
  std::string selector;
  std::uint64_t messages = 1000;  // different ones, of those generated
};

class MessageSource {
 public:
  struct Options {
    SizeDistribution size = SizeDistribution::fixed(10 * 1024);
    std::vector<AddressPattern> mail_from;  // none: the generated senders' own
    std::vector<AddressPattern> rcpt_to;    // at least one
    std::string run_id;                     // letters and digits
    std::uint64_t seed = 1;
    std::optional<Signing> sign;
    bool chunks = false;  // for BDAT: no dots doubled, no end of data
  };
  // Reads the files at `paths`; a folder stands for those files in it that are messages, in order
  // of name. The error is one line for a person.
  static std::expected<MessageSource, std::string> create(const Options& options,
                                                          const std::vector<std::string>& paths);

  void compose(std::uint64_t number, std::string_view date, OutgoingMessage& out) const;

  // Messages that bear a signature of ours; 0 without --sign.
  std::uint64_t signed_messages() const { return signed_messages_; }
  // "3 files were skipped: PATH has NUL bytes in it", of folders; empty when none was.
  std::string skipped() const;

 private:
  struct StoredMessage {
    std::string wire;  // CRLF line ends, stuffed, with the end of data
    std::uint64_t content_bytes = 0;
    bool eight_bit = false;
  };
  struct Signature {
    std::string field;
    bool compact = false;  // the message has the shortest header section
  };
  explicit MessageSource(const Options& options);
  std::expected<void, std::string> check_sizes(std::size_t signature_bytes) const;
  struct Unfit {
    std::string why;     // one line, with the file
    bool fatal = false;  // nothing to do with this file
  };
  std::expected<void, Unfit> add(const std::string& path, mailauth::dkim::Signer* signer);
  std::expected<void, std::string> sign_all(mailauth::dkim::Signer& signer);
  const Sender& sender_of(std::uint64_t number) const;
  // The generated message `number`, under a signature if there is one. `sent_as` goes above that.
  void generate(std::uint64_t number, std::string_view date, const Signature* signature,
                std::uint64_t sent_as, OutgoingMessage& out) const;
  void address(std::uint64_t number, OutgoingMessage& out) const;
  StoredMessage prepare(std::string_view content) const;

  Options options_;
  std::vector<StoredMessage> stored_;  // when not empty, these are sent and nothing is generated
  std::uint64_t stored_bytes_ = 0;
  TextPool text_;
  std::vector<Sender> senders_;
  HeaderTemplate compact_;
  std::vector<Signature> signatures_;  // of the messages 0, 1, ...
  std::string signed_date_;            // the Date of those messages
  std::uint64_t signed_messages_ = 0;
  std::uint64_t files_skipped_ = 0;
  std::string first_skipped_;  // why
};

}  // namespace mxring::load
