// What is looked up and verified about a message: begun at MAIL FROM, waited for at end of data,
// ended by the time limit for DNS. A message is never refused for want of an answer.

#include "server/shard.h"

namespace mxring::server {

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
// next commands be parsed, which may touch a check again.
void Shard::run_checks() {
  const obs::InStage stage(stages_, obs::Stage::kEvaluate);
  while (!touched_checks_.empty()) {
    for (MessageCheck* check = touched_checks_.front(); check != nullptr;
         check = touched_checks_.next(*check)) {
      Client* client = clients_->find(check->client());
      if (client == nullptr || client->message == nullptr) continue;
      if (!check->take(*client->message, client->awaiting_check, now_)) continue;
      if (check->running_hook.linked()) running_checks_.remove(*check);
      running_checks_.push_back(*check);
    }
    {
      const obs::InStage hashing(stages_, obs::Stage::kHash);
      hashes_.flush();
    }
    collected_checks_.clear();
    signature_checks_.clear();
    while (MessageCheck* check = touched_checks_.front()) {
      touched_checks_.remove(*check);
      if (check->decided()) {
        settle(*check);
      } else if (check->collect(signature_checks_)) {
        collected_checks_.push_back(check);
      }
    }
    if (!signature_checks_.empty()) rsa_.verify(signature_checks_);
    for (MessageCheck* check : collected_checks_) {
      check->conclude(now_.mono);
      if (check->decided()) settle(*check);
    }
  }
}

void Shard::settle(MessageCheck& check) {
  Client* client = clients_->find(check.client());
  if (client == nullptr || !client->awaiting_check) return;
  client->awaiting_check = false;
  const Config::Auth& auth = shared_.config.auth;
  deliver(*client, mailauth::decide(check.evaluation().dmarc(),
                                    {.on_reject = auth.on_dmarc_reject,
                                     .on_quarantine = auth.on_dmarc_quarantine}));
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
