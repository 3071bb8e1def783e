// What is looked up and verified about a message: begun at MAIL FROM, waited for at end of data,
// ended by the time limit for DNS. A message is never refused for want of an answer.

#include <algorithm>

#include "base/assert.h"
#include "server/result_counters.h"
#include "server/shard.h"
#include "smtp/reply.h"

namespace mxring::server {

namespace {

namespace replies = smtp::replies;

// What one turn judges at most, so that mail made to be expensive does not hold up everybody else
// on the shard: at the 100 MB/s that the worst body can be canonicalised with, 5 ms.
constexpr std::uint64_t kTurnBodyBytes = 512 * 1024;
constexpr std::uint64_t kTurnShareBytesMin = 32 * 1024;  // of one message when many have come
constexpr std::size_t kTurnSignatures = 64;
constexpr std::size_t kTurnRounds = 64;  // each takes all that is touched

}  // namespace

void Shard::begin_name(Client& client) {
  if (resolver_ == nullptr) return;
  if (idle_names_.empty()) {
    names_.push_back(std::make_unique<ClientName>(resolver_->client()));
    idle_names_.reserve(names_.size());
    idle_names_.push_back(names_.back().get());
  }
  client.name = idle_names_.back();
  idle_names_.pop_back();
  client.name->begin(client.address, now_.mono);
}

void Shard::drop_name(Client& client) {
  if (client.name == nullptr) return;
  client.name->stop();
  idle_names_.push_back(client.name);
  client.name = nullptr;
}

void Shard::begin_check(Client& client) {
  const obs::InStage stage(stages_, obs::Stage::kEvaluate);
  drop_check(client);
  if (resolver_ == nullptr) return;
  if (idle_checks_.empty()) {
    const Config::Auth& auth = shared_.config.auth;
    checks_.push_back(std::make_unique<MessageCheck>(
        MessageCheck::Setup{.limits = shared_.config.limits,
                            .options = {.spf = auth.spf, .dkim = auth.dkim, .dmarc = auth.dmarc},
                            .hashes = hashes_,
                            .spf_outcomes = spf_outcomes_,
                            .dns = resolver_->client(),
                            .owner = *this}));
    idle_checks_.reserve(checks_.size());
    idle_checks_.push_back(checks_.back().get());
  }
  client.check = idle_checks_.back();
  idle_checks_.pop_back();
  running_checks_.push_back(*client.check);
  client.check->begin({.client = client.address,
                       .mail_from = client.session.envelope().reverse_path(),
                       .helo = client.session.helo(),
                       .receiver = shared_.config.hostname,
                       .now_unix_s = now_.wall.us / 1'000'000},
                      client.ref, now_);
}

void Shard::drop_check(Client& client) {
  client.awaiting_check = false;
  if (client.check == nullptr) return;
  client.check->stop();
  if (client.check->running_hook.linked()) running_checks_.remove(*client.check);
  if (client.check->touched_hook.linked()) touched_checks_.remove(*client.check);
  idle_checks_.push_back(client.check);
  client.check = nullptr;
}

void Shard::touch(MessageCheck& check) {
  if (!check.touched_hook.linked()) touched_checks_.push_back(check);
}

// Once per turn, for everything the turn brought: the bytes of all messages are hashed together,
// then the signatures of all that are complete are verified together. A refusal lets its client's
// next commands be parsed, which may touch a check again. What is beyond a turn's measure stays
// touched, after those that were touched meanwhile. Each round hashes some bytes, verifies some
// signatures or leaves fewer checks touched; one that did none of these is the last.
void Shard::run_checks() {
  const obs::InStage stage(stages_, obs::Stage::kEvaluate);
  std::uint64_t bytes_left = kTurnBodyBytes;
  std::size_t signatures = 0;
  for (std::size_t round = 0; round < kTurnRounds; ++round) {
    if (touched_checks_.empty() || bytes_left == 0 || signatures >= kTurnSignatures) return;
    const std::uint64_t before = bytes_left;
    std::size_t moved = 0;
    take_touched(bytes_left);
    {
      const obs::InStage hashing(stages_, obs::Stage::kHash);
      hashes_.flush();
    }
    collected_checks_.clear();
    signature_checks_.clear();
    for (MessageCheck* check : taken_checks_) {
      if (check->decided()) {
        settle(*check);
        ++moved;
      } else if (check->behind() || signatures + signature_checks_.size() >= kTurnSignatures) {
        touch(*check);
      } else if (check->collect(signature_checks_)) {
        collected_checks_.push_back(check);
      } else {
        ++moved;  // it waits for answers, or for more of its message
      }
    }
    if (!signature_checks_.empty()) rsa_.verify(signature_checks_);
    signatures += signature_checks_.size();
    for (MessageCheck* check : collected_checks_) {
      check->conclude(now_.mono);
      if (check->decided()) settle(*check);
    }
    if (bytes_left == before && moved == 0 && collected_checks_.empty()) return;
  }
}

void Shard::take_touched(std::uint64_t& bytes_left) {
  const std::uint64_t share_bytes =
      std::max(kTurnShareBytesMin, bytes_left / touched_checks_.size());
  taken_checks_.clear();
  while (bytes_left > 0 && !touched_checks_.empty()) {
    MessageCheck& check = *touched_checks_.front();
    touched_checks_.remove(check);
    taken_checks_.push_back(&check);
    Client* client = clients_->find(check.client());
    // A check goes with its client and its message.
    MXRING_ASSERT(client != nullptr && client->check == &check);
    if (client->message == nullptr) {
      MXRING_ASSERT(!check.behind() && !client->awaiting_check);
      continue;  // SPF has its answers before DATA
    }
    const base::MonoTime deadline = check.deadline();
    bytes_left -= std::min(bytes_left,
                           check.take(*client->message, client->awaiting_check, share_bytes, now_));
    if (check.deadline() == deadline) continue;
    if (check.running_hook.linked()) running_checks_.remove(check);
    running_checks_.push_back(check);
  }
}

void Shard::settle(MessageCheck& check) {
  Client* client = clients_->find(check.client());
  if (client == nullptr || !client->awaiting_check) return;
  client->awaiting_check = false;
  const Config::Auth& auth = shared_.config.auth;
  count_results(counters_, check.evaluation(), auth);
  const mailauth::Disposition disposition =
      mailauth::decide(check.evaluation().dmarc(), {.on_reject = auth.on_dmarc_reject,
                                                    .on_quarantine = auth.on_dmarc_quarantine,
                                                    .on_temperror = auth.on_dmarc_temperror});
  if (!deliver(*client, disposition)) refuse_complete(*client, replies::kMemoryLow);
  mark_dirty(*client);
}

void Shard::end_overdue_checks() {
  // All are given the same time, so the one that began first is due first.
  for (MessageCheck* check = running_checks_.front();
       check != nullptr && check->deadline() <= now_.mono; check = running_checks_.front()) {
    running_checks_.remove(*check);
    check->give_up();
  }
}

}  // namespace mxring::server
