// All that a shard checks about messages: SPF, DKIM, ARC and DMARC of every transaction, hashed and
// verified together, within what one turn of the loop may spend.
//
// Of a turn: body and header bytes that go to the hashes, public-key operations by their size, and
// the time that all of it takes. A check that has more to do than its turn allows goes on in the
// next; no loop goes round without having hashed, verified or settled something.
//
// A check belongs to the subject it was begun for until drop(), which takes along its hashes, its
// questions and its time limit. Whoever gives a message up drops its check.
//
// Thread: the shard's. Failure: none; what cannot be found out in time is temperror.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/intrusive_list.h"
#include "crypto/rsa.h"
#include "crypto/sha256_batch.h"
#include "mailauth/spf/outcome_cache.h"
#include "obs/stage_clock.h"
#include "server/client_name.h"
#include "server/message_check.h"

namespace mxring::server {

class CheckBatch final : private CheckOwner {
 public:
  // What one turn spends at most, so that mail made to be expensive does not hold up everybody else
  // on the shard. The last check begun may go beyond.
  static constexpr std::uint64_t kTurnHashBytes = 512 * 1024;  // at 100 MB/s, 5 ms
  static constexpr std::uint64_t kTurnShareBytesMin = 32 * 1024;
  static constexpr std::size_t kTurnUnits = 256;  // crypto::verify_units: 64 of RSA-2048
  static constexpr std::int64_t kTurnNs = 8 * base::kNsPerMs;
  static constexpr std::size_t kTurnRounds = 64;  // each looks at all that is touched

  struct Setup {
    const base::Limits& limits;
    mailauth::EvaluationOptions options;
    dns::Client& dns;
    obs::StageClock& stages;
  };

  explicit CheckBatch(const Setup& setup);
  ~CheckBatch();

  // A transaction begins; SPF's questions go out. `claimed`: the client's address was said by a
  // balancer, which exempts from nothing.
  MessageCheck& begin(CheckSubject& subject, const mailauth::spf::Request& request, base::Now now,
                      bool claimed = false);
  // It is over, one way or another.
  void drop(MessageCheck& check);
  // It has something new to look at in this turn.
  void touch(MessageCheck& check);
  // The client's name, looked up from the beginning of its connection.
  ClientName& begin_name(const base::IpAddress& address, base::MonoTime now, bool claimed = false);
  void drop_name(ClientName& name);

  // Once a turn. Subjects are told of their verdicts here, and drop the check then.
  void run(base::Now now);
  // The time for DNS of those that have waited longest is up.
  void end_overdue(base::MonoTime now);

  std::size_t touched() const { return touched_.size(); }
  std::size_t live() const { return live_; }
  // Looks at every check under way.
  void invariants();

 private:
  struct Budget {
    std::uint64_t hash_bytes = kTurnHashBytes;
    std::size_t units = kTurnUnits;
    std::int64_t end_ns = 0;
    bool spent = false;  // the time is up
    bool left() const { return hash_bytes > 0 && units > 0 && !spent; }
  };

  void check_answered(MessageCheck& check) override { touch(check); }
  bool round(Budget& budget, base::Now now);
  void take_touched(Budget& budget, base::Now now);
  void look_at_clock(Budget& budget);
  void restart_time(MessageCheck& check);

  const Setup setup_;
  crypto::Sha256Batch hashes_;
  crypto::RsaVerifier rsa_;
  mailauth::spf::OutcomeCache spf_outcomes_;
  std::vector<std::unique_ptr<MessageCheck>> idle_;
  std::vector<std::unique_ptr<ClientName>> idle_names_;
  std::size_t live_ = 0;
  // Of those whose time for DNS runs, the oldest deadline first; all that are live, but for the
  // overdue.
  base::IntrusiveList<MessageCheck, &MessageCheck::running_hook> running_;
  base::IntrusiveList<MessageCheck, &MessageCheck::touched_hook> touched_;
  // Of one round.
  std::vector<MessageCheck*> taken_;
  std::vector<MessageCheck*> verified_;
  std::vector<crypto::RsaCheck*> signatures_;
};

}  // namespace mxring::server
