// SPF, DKIM and DMARC for one transaction: begun at MAIL FROM so that answers arrive while the
// message does, fed with the message's bytes once per loop turn, and decided when the message and
// the last answer are there. Pooled by CheckBatch; between begin() and stop() it belongs to one
// subject.
//
// CheckBatch drives all of them together, so that hashes and signatures of many messages advance in
// the same lanes:
//
//   for each touched: take(message, complete, max_bytes);   the batch is flushed;
//   for each touched: collect(), next_signature();          signatures are verified;
//   for each without signatures left: conclude();           subjects are told of those decided
//
// Thread: the shard's. Failure: none; what cannot be found out in time is temperror.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/intrusive_list.h"
#include "base/limits.h"
#include "dns/client.h"
#include "mailauth/evaluation.h"
#include "server/message.h"

namespace mxring::server {

class MessageCheck;

// Told that answers for a check have come: it wants to be looked at in this turn.
class CheckOwner {
 public:
  virtual void check_answered(MessageCheck& check) = 0;

 protected:
  ~CheckOwner() = default;
};

// Whose transaction is checked.
class CheckSubject {
 public:
  virtual Message* message_to_check() = 0;  // none before DATA
  virtual bool message_complete() const = 0;
  virtual void on_verdict() = 0;  // the check is decided; drops it

 protected:
  ~CheckSubject() = default;
};

class MessageCheck {
 public:
  struct Setup {
    const base::Limits& limits;
    mailauth::EvaluationOptions options;
    crypto::Sha256Batch& hashes;
    mailauth::spf::OutcomeCache& spf_outcomes;
    dns::Client& dns;
    CheckOwner& owner;
  };

  explicit MessageCheck(const Setup& setup);

  // `claimed`: the client's address was said by a balancer, see dns::Quota.
  void begin(const mailauth::spf::Request& request, CheckSubject& subject, base::Now now,
             bool claimed);
  // The transaction is over, one way or another; ready for the next.
  void stop();
  // The time for DNS is up: what is missing stays so. Nothing happens when nothing is missing.
  void give_up();

  // What has come of the message since the last time goes to the hashes, at most `max_bytes` of its
  // body; the slices must stay as they are until the batch's flush. Returns the bytes. The time for
  // DNS begins anew with the header section and with the end of the message, because the questions
  // that come of them are new, and a client must not be able to use it up by dawdling before.
  std::uint64_t take(Message& message, bool complete, std::uint64_t max_bytes, base::Now now);
  // True while take() has left something of what is there.
  bool behind() const { return behind_; }
  // True when the signatures can be verified: the message is complete and hashed, the keys are
  // there. Each is given out once, in as many turns as it takes; conclude() when all are verified.
  bool collect();
  bool signatures_left() const { return signatures_given_ < signatures_.size(); }
  crypto::RsaCheck* next_signature();
  void conclude(base::MonoTime now);

  bool decided() const { return stage_ == Stage::kDecided; }
  const mailauth::Evaluation& evaluation() const { return evaluation_; }
  CheckSubject& subject() const { return *subject_; }
  base::MonoTime deadline() const { return deadline_; }
  std::size_t memory_bytes() const;

  base::ListHook running_hook;  // of those whose time for DNS runs, the oldest deadline first
  base::ListHook touched_hook;  // of those to be looked at in this turn

 private:
  enum class Stage : std::uint8_t {
    kIdle,
    kReceiving,  // the message is not complete
    kComplete,   // it is, and handed to the hashes; keys may be missing
    kVerifying,  // all there; signatures are given out
    kConcluded,  // signatures are decided; alignment may have questions
    kDecided,
  };
  // One outstanding question.
  class Ask final : public dns::Waiter {
   public:
    explicit Ask(MessageCheck& check) : check_(check) {}
    void on_answer(const dns::Question& question, const dns::AnswerPtr& answer) override {
      check_.on_answer(*this, question, answer);
    }
    mailauth::Part part = mailauth::Part::kSpf;

   private:
    MessageCheck& check_;
  };

  void take_header(Message& message, base::Now now);
  void advance(mailauth::Part part, base::MonoTime now);
  void on_answer(Ask& ask, const dns::Question& question, const dns::AnswerPtr& answer);
  Ask& idle_ask();
  std::uint32_t& missing(mailauth::Part part) { return missing_[static_cast<std::size_t>(part)]; }
  bool answers_missing() const;

  dns::Client& dns_;
  mailauth::spf::OutcomeCache& spf_outcomes_;
  CheckOwner& owner_;
  std::int64_t time_ns_;
  std::uint16_t account_ = dns::Asker::kNobody;
  mailauth::Evaluation evaluation_;
  std::vector<std::unique_ptr<Ask>> asks_;
  std::array<std::uint32_t, mailauth::kParts.size()> missing_{};
  std::vector<std::string_view> runs_;
  std::string header_scratch_;
  std::uint64_t taken_bytes_ = 0;
  std::vector<crypto::RsaCheck*> signatures_;  // of a message being verified
  std::size_t signatures_given_ = 0;
  CheckSubject* subject_ = nullptr;
  base::MonoTime deadline_;
  Stage stage_ = Stage::kIdle;
  bool header_taken_ = false;
  bool behind_ = false;
};

}  // namespace mxring::server
