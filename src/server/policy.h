// What this receiver takes and what it refuses, beyond the protocol's own rules. Pure functions of
// the configuration and the message: replies are values.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "mail/header_index.h"
#include "mailauth/dmarc/author.h"
#include "server/access.h"
#include "server/block_list.h"
#include "server/config.h"
#include "server/recipients.h"
#include "smtp/data_scanner.h"
#include "smtp/reply.h"

namespace mxring::server {

// Memory that checks reuse between messages; one per shard.
struct PolicyScratch {
  std::string from;
  mailauth::dmarc::AuthorScratch author;
  std::string reply;
};

// A header section over one of its limits, or nothing: said of it when it arrives, and when the
// message is complete.
std::optional<smtp::Reply> over_limit(mail::HeaderStatus status);

class Policy {
 public:
  explicit Policy(const Config& config);

  // A refusal for this recipient, or nothing. Access rules come first, then block lists, then who
  // is served. Words of a rule's own lie in this object.
  struct Ruling {
    std::optional<smtp::Reply> refusal;
    bool lists_count = true;  // no rule allows it, and it is not postmaster's (RFC 5321 4.5.1)
  };
  Ruling access(const AccessQuestion& question) const;
  // For a client that a list names.
  static smtp::Reply listed(const BlockList& list, std::string_view client, std::string& text);
  std::optional<smtp::Reply> served(std::string_view recipient) const;
  // A journal address: nothing is refused there for good.
  bool insists(std::string_view recipient) const;
  // All of it where there are no lists, or none names the client.
  std::optional<smtp::Reply> recipient(const AccessQuestion& question) const;
  // A refusal for a message whose header section is complete, or nothing. `from` is the value of
  // its first From field; `bounce`: the reverse-path is null. The refusal may lie in `scratch`.
  std::optional<smtp::Reply> header(const mail::HeaderIndex& header, std::string_view from,
                                    bool bounce, PolicyScratch& scratch) const;
  // A refusal for binary content whose first such byte lies in the header section: readers differ
  // on where its lines end, so a field could be hidden there.
  static std::optional<smtp::Reply> binary_header(const mail::HeaderIndex& header,
                                                  const smtp::DataScanner& data);

 private:
  bool is_whole(const mail::HeaderIndex& header) const;

  std::shared_ptr<const PolicyFiles> files_;
  std::optional<Recipients> journal_;  // recipients.journal, if any
  std::uint32_t received_fields_max_;
  bool vouches_;  // the message gets an Authentication-Results field
  bool one_from_;
  NoAuthor on_no_author_;
  bool accept_without_header_;
};

}  // namespace mxring::server
