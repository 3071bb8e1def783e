// DNS block lists (`access.dnsbl`, RFC 5782): a client's address, turned round and put before the
// zone's name, has an A record when the list names it. Asked when the client connects; answered at
// RCPT. A list that does not answer, or answers what only a list does that is gone or blocks us,
// costs nobody a message.
//
//   "zone"                any address in 127.0.0.0/8 is a listing
//   "zone=127.0.0.2/31"   only these are
//
// Never a listing: what lies outside 127/8 (a zone that was sold answers every question with an
// address of its own), and 127.255.255.0/24 (how lists say that they refuse to answer us). A list
// that names 127.0.0.1 lists the world (RFC 5782 5) and counts as gone while it does.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"
#include "dns/client.h"

namespace mxring::server {

// One entry of `access.dnsbl`. Immutable.
class BlockList {
 public:
  enum class Reading : std::uint8_t {
    kNotListed,
    kListed,
    kNoUse,  // no answer, or one that says nothing of the client
  };

  // The message says what is wrong with the entry.
  static std::expected<BlockList, std::string> parse(std::string_view entry);

  const std::string& zone() const { return zone_; }
  // Nothing when the name would be too long.
  std::optional<dns::Question> question(const base::IpAddress& client) const;
  Reading read(const dns::Answer& answer) const;

 private:
  std::string zone_;
  std::uint32_t network_ = 0x7F000000;
  std::uint32_t mask_ = 0xFF000000;
};

// The lists of a configuration; shared by all shards, immutable but for what has been said.
class BlockLists {
 public:
  using Notice = std::function<void(const std::string&)>;
  static constexpr std::size_t kListsMax = 16;

  BlockLists(std::vector<BlockList> lists, Notice notice);

  bool empty() const { return lists_.empty(); }
  std::span<const BlockList> all() const { return lists_; }
  // Loopback, private and link-local addresses are on nobody's list.
  static bool is_asked_about(const base::IpAddress& client);
  // Says once, until it is of use again, that a list is of none. Any thread.
  void heard(std::size_t list, bool of_use);

 private:
  std::vector<BlockList> lists_;
  Notice notice_;
  std::unique_ptr<std::atomic<bool>[]> silent_;
};

// Told that the answers for a client are complete.
class BlockListOwner {
 public:
  virtual void block_lists_answered(std::uint64_t token) = 0;

 protected:
  ~BlockListOwner() = default;
};

// What the lists say of one client.
//
// Thread: the shard's. Bounded: two questions for each list.
class BlockListCheck final : private dns::Waiter {
 public:
  BlockListCheck(dns::Client& client, BlockListOwner& owner) : client_(client), owner_(owner) {}

  // `token` comes back to the owner, from a later turn, when something had to be waited for.
  void begin(BlockLists& lists, const base::IpAddress& client, std::uint64_t token,
             base::MonoTime now);
  void stop();
  bool under_way() const { return waiting(); }
  // Nothing more is waited for: what is known decides.
  void give_up() { cancel(); }
  // The first list, in the order of the configuration, that names the client.
  const BlockList* listed() const;

 private:
  struct State {
    std::optional<dns::Question> asked;
    std::optional<dns::Question> control;  // about 127.0.0.1
    std::optional<BlockList::Reading> client;
    std::optional<BlockList::Reading> loopback;

    bool is_listed() const {
      return client == BlockList::Reading::kListed && loopback != BlockList::Reading::kListed;
    }
  };

  void on_answer(const dns::Question& question, const dns::AnswerPtr& answer) override;
  void take(const dns::Question& question, const dns::Answer& answer);

  dns::Client& client_;
  BlockListOwner& owner_;
  BlockLists* lists_ = nullptr;
  std::vector<State> states_;
  std::uint64_t token_ = 0;
};

}  // namespace mxring::server
