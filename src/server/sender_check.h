// SPF for one transaction: begun at MAIL FROM so that its answers arrive while the message does.
// Pooled by the shard; between begin() and stop() it belongs to one client.
//
// Thread: the shard's. Failure: none; what cannot be found out in time is temperror.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/intrusive_list.h"
#include "base/ip_address.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/slot_pool.h"
#include "dns/client.h"
#include "mailauth/spf/evaluator.h"

namespace mxring::server {

class SenderCheck {
 public:
  // `decided` is called when the outcome is there later than begin(): from the DNS client's answers
  // or give_up(), never from inside begin().
  SenderCheck(const base::Limits& limits, dns::Client& client,
              std::function<void(SenderCheck&)> decided);

  void begin(const mailauth::spf::Request& request, base::SlotRef owner, base::Now now);
  // The transaction is over, one way or another; ready for the next.
  void stop();
  // The time for DNS is up: temperror.
  void give_up();

  bool decided() const { return decided_; }
  base::SlotRef owner() const { return owner_; }
  base::MonoTime deadline() const { return deadline_; }
  // The record's `spf`: {"result":...,"identity":...,"domain":...}; empty until decided.
  std::string_view json() const { return decided_ ? std::string_view(json_.text()) : ""; }

  base::ListHook running_hook;  // of those under way, the oldest first

 private:
  // One outstanding question.
  class Ask final : public dns::Waiter {
   public:
    explicit Ask(SenderCheck& check) : check_(check) {}
    void on_answer(const dns::Question& question, const dns::AnswerPtr& answer) override {
      check_.on_answer(question, answer);
    }

   private:
    SenderCheck& check_;
  };

  void advance(base::MonoTime now);
  void on_answer(const dns::Question& question, const dns::AnswerPtr& answer);
  void conclude();

  dns::Client& client_;
  std::function<void(SenderCheck&)> on_decided_;
  std::int64_t time_ns_;
  mailauth::spf::Evaluator evaluator_;
  std::vector<std::unique_ptr<Ask>> asks_;
  base::JsonWriter json_;
  base::SlotRef owner_;
  base::MonoTime deadline_;
  std::size_t missing_ = 0;
  bool beginning_ = false;
  bool decided_ = false;
};

}  // namespace mxring::server
