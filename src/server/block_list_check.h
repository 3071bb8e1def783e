// What the block lists say of a shard's clients. The questions go out when a client connects, or is
// named by a balancer; what they were answered decides at RCPT. A list that does not answer, or
// answers what only a list does that is gone or blocks us, costs nobody a message, and the operator
// hears of it once.
//
// Thread: the shard's; BlockListHealth any. Bounded: two questions for each list, answered within
// dns.timeout.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"
#include "dns/client.h"
#include "server/block_list.h"

namespace mxring::server {

// Tells the operator which lists are of no use, and of use again: once for all shards, over
// reloads, and not more than every ten minutes of the same list.
class BlockListHealth {
 public:
  using Notice = std::function<void(const std::string&)>;

  explicit BlockListHealth(Notice notice) : notice_(std::move(notice)) {}
  void heard(const std::string& zone, bool of_use, base::MonoTime now);

 private:
  static constexpr std::int64_t kQuietNs = 600 * base::kNsPerSecond;
  struct List {
    bool of_use = true;
    bool said = false;  // that it is of none
    base::MonoTime said_at;
  };

  Notice notice_;
  std::mutex mutex_;
  std::map<std::string, List> lists_;
};

// Told that the answers for a client are complete.
class BlockListOwner {
 public:
  virtual void block_lists_answered() = 0;

 protected:
  ~BlockListOwner() = default;
};

class BlockListBatch;

class BlockListCheck {
 public:
  explicit BlockListCheck(BlockListBatch& batch) : batch_(batch) {}

  bool under_way() const { return missing_ > 0; }
  // The first list, in the order of the configuration, that names the client.
  const BlockList* listed() const;

 private:
  friend class BlockListBatch;
  class Ask final : public dns::Waiter {
   public:
    explicit Ask(BlockListCheck& check) : check_(check) {}
    void on_answer(const dns::Question& question, const dns::AnswerPtr& answer) override {
      check_.on_answer(*this, question, answer);
    }
    std::optional<BlockList::Reading> reading;

   private:
    BlockListCheck& check_;
  };
  struct Asked {
    explicit Asked(BlockListCheck& check) : client(check), control(check) {}
    Ask client;
    Ask control;

    bool is_listed() const {
      return client.reading == BlockList::Reading::kListed &&
             control.reading != BlockList::Reading::kListed;
    }
  };

  void begin(std::span<const BlockList> lists, const base::IpAddress& client, bool claimed,
             BlockListOwner& owner, base::MonoTime now);
  void stop();
  void ask(Ask& ask, const std::optional<dns::Question>& question, const dns::Asker& asker,
           base::MonoTime now);
  void take(Ask& ask, const dns::Answer& answer);
  void on_answer(Ask& ask, const dns::Question& question, const dns::AnswerPtr& answer);

  BlockListBatch& batch_;
  BlockListOwner* owner_ = nullptr;
  std::span<const BlockList> lists_;
  std::vector<std::unique_ptr<Asked>> asked_;  // of each list; more of them stay for later
  std::size_t missing_ = 0;
};

// The checks of a shard.
class BlockListBatch {
 public:
  BlockListBatch(dns::Client& dns, BlockListHealth& health) : dns_(dns), health_(health) {}

  // `lists` outlive the check. `claimed`: a balancer said that the client has this address.
  BlockListCheck& begin(std::span<const BlockList> lists, const base::IpAddress& client,
                        bool claimed, BlockListOwner& owner, base::MonoTime now);
  void drop(BlockListCheck& check);

 private:
  friend class BlockListCheck;
  void heard(const BlockList& list, bool of_use, base::MonoTime now);

  dns::Client& dns_;
  BlockListHealth& health_;
  std::map<std::string, bool, std::less<>> of_use_;  // as last told
  std::vector<std::unique_ptr<BlockListCheck>> idle_;
};

}  // namespace mxring::server
