// Answers, typed. Aliases (CNAME) have been followed by whoever made the answer; the strings of one
// TXT record have been joined without spaces.
//
// An answer is shared, read-only, by the cache and everybody it was handed to, all on one thread.
// Beside it there is one slot for its parsed form (an SPF record, a key, a policy), so that a
// record is parsed once for as long as it stays in the cache.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip_address.h"
#include "dns/name.h"
#include "dns/question.h"

namespace mxring::dns {

enum class Status : std::uint8_t {
  kAnswer,         // at least one record of the type asked for
  kNoData,         // the name exists, such records do not
  kNoName,         // no such name
  kServerFailure,  // the resolver answered, but had no answer for us or a malformed one
  kTimeout,        // nothing was heard in time, or the resolver could not be reached
};

std::string_view status_word(Status status);  // "answer", "no-data", "no-such-name", ...
bool status_from_word(std::string_view word, Status& status);

struct Exchanger {
  std::uint16_t preference = 0;
  Name name;  // the root: the domain takes no mail (RFC 7505)
  friend bool operator==(const Exchanger&, const Exchanger&) = default;
};

// Whatever a user of an answer makes of it. `tag` is an address of that user's own, so that one
// user never takes another's form for its own.
class ParsedForm {
 public:
  explicit ParsedForm(const void* tag) : tag_(tag) {}
  ParsedForm(const ParsedForm&) = delete;
  ParsedForm& operator=(const ParsedForm&) = delete;
  virtual ~ParsedForm() = default;
  virtual std::size_t bytes() const = 0;  // of memory, for the cache's bound
  const void* tag() const { return tag_; }

 private:
  const void* tag_;
};

// Told when an answer in a cache takes more memory than before.
class GrowthListener {
 public:
  virtual void answer_grew(std::size_t bytes) = 0;

 protected:
  ~GrowthListener() = default;
};

struct Answer {
  // Records kept of one answer: names are 256 bytes each, and nobody looks at more of them.
  static constexpr std::size_t kNamesMax = 64;
  static constexpr std::size_t kAliasesMax = 16;

  Status status = Status::kServerFailure;
  std::uint32_t ttl_s = 0;                 // the smallest of those it was made from
  std::vector<base::IpAddress> addresses;  // A, AAAA
  std::vector<std::string> texts;          // TXT
  std::vector<Name> names;                 // PTR, CNAME
  std::vector<Exchanger> exchangers;       // MX, in the order they came
  std::vector<Name> aliases;               // what the name asked for is an alias of, one by one
  // A failure that says nothing about the name: too many questions were under way to ask this one.
  bool not_asked = false;

  std::size_t bytes() const;

  // Logically not part of the answer, hence usable on a const one.
  std::shared_ptr<const ParsedForm> parsed(const void* tag) const;
  void set_parsed(std::shared_ptr<const ParsedForm> form) const;
  void set_growth_listener(GrowthListener* listener) const { listener_ = listener; }

  bool is_void() const { return status == Status::kNoData || status == Status::kNoName; }
  bool is_failure() const { return status == Status::kServerFailure || status == Status::kTimeout; }

 private:
  mutable std::shared_ptr<const ParsedForm> parsed_;
  mutable GrowthListener* listener_ = nullptr;
};

using AnswerPtr = std::shared_ptr<const Answer>;

AnswerPtr make_failure(Status status);

}  // namespace mxring::dns
