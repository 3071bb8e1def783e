// What happens when message memory runs short: reading pauses, youngest messages first, and if that
// does not help in time they are given up with 452 (design, limits: memory for messages in flight).
//
// Every message under reception holds memory and none can be finished without more of it, so some
// must be let through: the oldest is never paused, and the others resume in order of age.

#include <algorithm>

#include "server/replies.h"
#include "server/shard.h"

namespace mxring::server {

namespace {

// Buffers a resumed client may fill before it is looked at again.
constexpr std::uint32_t kBuffersPerResume = 32;

}  // namespace

bool Shard::memory_short() const { return buffers_->free_buffers() < memory_low_buffers_; }

Client* Shard::client_of(const Message& message) { return clients_->find(message.client); }

void Shard::pause_for_memory(Client& client) {
  if (client.memory_paused || client.message == delivery_->oldest()) return;
  client.memory_paused = true;
  client.paused_since_ns = now_.mono.ns;
  client.connection.pause_receiving();
  ++memory_paused_;
  counters_.add(obs::Counter::kReadPauses);
}

void Shard::evict(Message& message) {
  Client& client = *client_of(message);
  counters_.add(obs::Counter::kMemoryEvictions);
  drop_message(client);
  if (client.awaiting_check) {
    // All of it was here; it had only to wait for DNS.
    smtp::ReplyBuffer out(client.connection.output());
    client.session.finish(replies::kMemoryLow, out);
    client.connection.wrote(out.size());
    client.awaiting_check = false;
    drop_check(client);
    counters_.add(obs::Counter::kMessagesRefused);
  } else {
    client.session.discard(replies::kMemoryLow);
  }
  if (client.memory_paused) {
    client.memory_paused = false;
    --memory_paused_;
  }
  mark_dirty(client);
}

void Shard::relieve_memory() {
  if (memory_paused_ == 0 && !memory_short()) return;
  if (memory_short()) {
    // Nothing is on its way to the log that would free memory, and not even the oldest can go on.
    const bool stuck = delivery_->in_flight() == 0 &&
                       buffers_->free_buffers() < buffers_->options().offered;
    bool overdue = false;
    for (Message* m = delivery_->oldest(); m != nullptr; m = delivery_->younger_than(*m)) {
      const Client& client = *client_of(*m);
      if (client.memory_paused &&
          now_.mono.ns - client.paused_since_ns > shared_.config.limits.memory_wait_ns) {
        overdue = true;
        break;
      }
    }
    if (stuck || overdue) {
      while (delivery_->receiving() > 1 &&
             buffers_->free_buffers() < memory_low_buffers_ * 2) {
        evict(*delivery_->youngest());
      }
    }
  }
  resume_paused();
}

void Shard::resume_paused() {
  const std::uint32_t free = buffers_->free_buffers();
  std::uint32_t grants =
      free > memory_low_buffers_ ? (free - memory_low_buffers_) / kBuffersPerResume : 0;
  // The oldest goes on in any case: it is the one whose end frees memory.
  grants = std::max(grants, 1U);
  for (Message* message = delivery_->oldest(); message != nullptr && grants > 0;
       message = delivery_->younger_than(*message), --grants) {
    Client& client = *client_of(*message);
    if (!client.memory_paused) continue;
    client.memory_paused = false;
    --memory_paused_;
    mark_dirty(client);
  }
}

void Shard::resume_starved() {
  // Each may take a buffer at once: no more of them than there are buffers on offer.
  std::uint32_t grants = buffers_->offered_buffers();
  while (grants-- > 0) {
    Client* client = starved_.front();
    if (client == nullptr) return;
    starved_.remove(*client);
    if (client->connection.decrypt_starved() && client->phase == Client::Phase::kTalking) {
      decrypt_waiting(*client);
      if (client->phase == Client::Phase::kTalking) pump(*client);
      continue;
    }
    client->connection.resume_receiving();
  }
}

}  // namespace mxring::server
