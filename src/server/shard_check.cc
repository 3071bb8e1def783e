// What is looked up about a sender: begun at MAIL FROM, waited for at end of data, ended by the time
// limit for DNS. A message is never refused for want of an answer.

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
    checks_.push_back(std::make_unique<SenderCheck>(
        shared_.config.limits, resolver_->client(),
        [this](SenderCheck& check) { on_checked(check); }));
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
  running_checks_.remove(*client.check);
  idle_checks_.push_back(client.check);
  client.check = nullptr;
}

void Shard::on_checked(SenderCheck& check) {
  Client* client = clients_->find(check.owner());
  if (client == nullptr || !client->awaiting_check) return;
  client->awaiting_check = false;
  deliver(*client);
  mark_dirty(*client);
}

void Shard::end_overdue_checks() {
  // All are given the same time, so the oldest is due first. Those that are decided and wait for
  // their message stay in the list; giving up on them changes nothing.
  for (SenderCheck* check = running_checks_.front();
       check != nullptr && check->deadline() <= now_.mono;) {
    SenderCheck* next = running_checks_.next(*check);
    check->give_up();
    check = next;
  }
}

}  // namespace mxring::server
