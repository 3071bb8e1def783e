// What happens when message memory runs short: reading pauses, youngest messages first, and if that
// does not help in time they are given up with 452 (design, limits: memory for messages in flight).
//
// Every message under reception holds memory and none can be finished without more of it, so some
// must be let through: the oldest is never paused, and the others resume in order of age.

#include <algorithm>

#include "smtp/reply.h"
#include "server/shard.h"

namespace mxring::server {

namespace {

namespace replies = smtp::replies;

// Buffers a resumed client may fill before it is looked at again.
constexpr std::uint32_t kBuffersPerResume = 32;

}  // namespace

bool Shard::memory_short() const {
  return buffers_->free_buffers() < memory_low_buffers_;
}

Client* Shard::client_of(const Message& message) {
  return clients_->find(message.client);
}

void Shard::pause_for_memory(Client& client) {
  if (client.memory_paused || client.message == delivery_->oldest()) return;
  client.memory_paused = true;
  client.paused_since_ns = now_.mono.ns;
  client.connection.pause_receiving();
  ++memory_paused_;
  counters_.add(obs::Counter::kReadPauses);
}

// The client receives again at the end of the turn, unless something else speaks against it.
void Shard::end_memory_pause(Client& client) {
  if (!client.memory_paused) return;
  client.memory_paused = false;
  --memory_paused_;
  mark_dirty(client);
}

void Shard::evict(Message& message) {
  Client& client = *client_of(message);
  counters_.add(obs::Counter::kMemoryEvictions);
  if (client.awaiting_check) {
    refuse_complete(client, replies::kMemoryLow);
    return;
  }
  give_up(client);
  client.session.discard(replies::kMemoryLow);
  mark_dirty(client);
}

void Shard::relieve_memory() {
  if (memory_paused_ == 0 && !memory_short()) return;
  if (memory_short()) {
    // Nothing is on its way to the log that would free memory, and not even the oldest can go on.
    const bool stuck =
        delivery_->in_flight() == 0 && buffers_->free_buffers() < buffers_->options().offered;
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
      while (delivery_->receiving() > 1 && buffers_->free_buffers() < memory_low_buffers_ * 2) {
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
    end_memory_pause(client);
  }
}

// Each of them once a turn. Those that want to receive may take a buffer at once: no more of them
// than there are buffers on offer. They do so at the end of the next turn, if nothing else speaks
// against it by then.
void Shard::resume_starved() {
  std::uint32_t grants = buffers_->offered_buffers();
  for (std::size_t left = starved_.size(); left > 0 && grants > 0; --left) {
    Client& client = *starved_.front();
    starved_.remove(client);
    if (client.connection.decrypt_starved() && client.phase == Client::Phase::kTalking) {
      const std::size_t chunks = client.connection.chunks();
      decrypt_waiting(client);
      const bool more = client.connection.chunks() > chunks || !client.starved_hook.linked();
      if (client.phase == Client::Phase::kTalking && more) pump(client);
      continue;
    }
    --grants;
    mark_dirty(client);
  }
}

}  // namespace mxring::server
