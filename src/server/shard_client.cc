// The dialogue with one client: received chunks into the session, its events into messages, replies
// back, and the steps to a closed connection.

#include <fmt/compile.h>
#include <fmt/format.h>

#include <array>

#include "base/assert.h"
#include "server/result_counters.h"
#include "server/shard.h"
#include "smtp/reply.h"

namespace mxring::server {

namespace {

// Unparsed chunks a client may have queued (while its message is committed, or its replies are not
// read) before its bytes are left in the kernel.
constexpr std::size_t kChunksMax = 4;
constexpr std::int64_t kLingerNs = 2 * base::kNsPerSecond;

namespace replies = smtp::replies;

// The answer to a message whose commit was decided; `text` holds its words.
smtp::Reply decided(const Message& message, std::array<char, 32>& text) {
  switch (message.outcome) {
    case CommitOutcome::kDurable: {
      if (message.is_refused()) return message.refusal();
      const auto end = fmt::format_to(text.data(), FMT_COMPILE("Ok {}"), message.offset);
      return smtp::Reply(replies::kAccepted)
          .with({text.data(), static_cast<std::size_t>(end - text.data())});
    }
    case CommitOutcome::kNoSpace:
      return replies::kStorageLow;
    case CommitOutcome::kPending:
    case CommitOutcome::kNoResources:
    case CommitOutcome::kFailed:
      break;
  }
  return replies::kStorageError;
}

}  // namespace

void Shard::mark_dirty(Client& client) {
  if (!client.dirty_hook.linked()) dirty_.push_back(client);
}

void Shard::on_receive(Client& client, const uring::Completion& completion) {
  const std::uint64_t before = client.connection.bytes_received();
  const net::ReceiveOutcome outcome = client.connection.on_receive(completion);
  const std::uint64_t received = client.connection.bytes_received() - before;
  counters_.add(obs::Counter::kBytesReceived, received);
  mark_dirty(client);
  switch (outcome) {
    case net::ReceiveOutcome::kData:
      if (client.phase != Client::Phase::kTalking) {
        client.connection.drop_input();
        break;
      }
      client.rate.add(received);
      pump(client);
      if (client.session.receiving() && client.message != nullptr && memory_short()) {
        pause_for_memory(client);
      }
      break;
    case net::ReceiveOutcome::kStarved:
      counters_.add(obs::Counter::kRecvStarved);
      if (!client.starved_hook.linked()) starved_.push_back(client);
      if (client.connection.chunks() > 0) pump(client);  // decrypted before the buffers ran out
      break;
    case net::ReceiveOutcome::kBroken:
      shut(client);
      break;
    case net::ReceiveOutcome::kHandshake:
      queue_handshake(client);
      break;
    case net::ReceiveOutcome::kUntrusted:
      end_untrusted(client);
      break;
    case net::ReceiveOutcome::kEndOfFile:
    case net::ReceiveOutcome::kStopped:
      break;
  }
}

void Shard::on_send(Client& client, const uring::Completion& completion) {
  mark_dirty(client);
  if (!client.connection.on_send(completion)) {
    shut(client);
    return;
  }
  counters_.add(obs::Counter::kBytesSent, static_cast<std::uint64_t>(completion.result));
  if (client.output_full) {
    client.output_full = false;
    pump(client);
  }
}

void Shard::pump(Client& client) {
  const obs::InStage stage(stages_, obs::Stage::kParse);
  net::Connection& connection = client.connection;
  while (client.phase == Client::Phase::kTalking && !client.waiting() && !client.output_full &&
         !client.slowed && connection.chunks() > 0) {
    const uring::BufferId buffer = connection.front().buffer;
    const smtp::Input input{connection.front_bytes(), connection.chunks() > 1};
    smtp::ReplyBuffer out(connection.output(), &client.replies);
    if (out.free() < smtp::kReplyBytesMax) {
      // What fills the block are replies of earlier steps; on_send() comes back here.
      client.output_full = true;
      break;
    }
    const smtp::Step step = client.session.step(input, out);
    const bool go_on = handle(client, step, out);
    connection.wrote(out.size());
    if (step.event == smtp::Event::kStartTls) begin_tls(client);
    if (client.phase != Client::Phase::kTalking) break;
    if (step.consumed == input.bytes.size() && client.message != nullptr) {
      client.message->settle(buffer);
    }
    connection.consume(step.consumed);
    if (!go_on) break;
  }
  if (connection.chunks() >= kChunksMax && connection.receive_armed()) {
    client.input_paused = true;
    connection.pause_receiving();
  }
  mark_dirty(client);
}

// False: stop parsing this client for now.
bool Shard::handle(Client& client, const smtp::Step& step, smtp::ReplyBuffer& out) {
  switch (step.event) {
    case smtp::Event::kNeedInput:
      return true;
    case smtp::Event::kReset:
      give_up(client);
      return true;
    case smtp::Event::kOutputFull:
      client.output_full = true;
      return false;
    case smtp::Event::kSlowDown:
      client.slowed = true;
      return false;
    case smtp::Event::kMail:
      on_mail(client, out);
      return client.phase == Client::Phase::kTalking;
    case smtp::Event::kRecipient:
      if (const auto refusal = shared_.policy.recipient(client.session.offered_recipient().path)) {
        client.session.refuse(*refusal, out);
      } else {
        client.session.accept(out);
      }
      return true;
    case smtp::Event::kData:
      on_data(client, out);
      return true;
    case smtp::Event::kStartTls:
      client.session.accept(out);
      return false;  // pump() begins with TLS once the reply is written
    case smtp::Event::kContent:
      on_content(client, step.run);
      return true;
    case smtp::Event::kDiscard:
      give_up(client);
      return true;
    case smtp::Event::kMessage:
      on_message(client, out);
      return true;
    case smtp::Event::kRefused:
      MXRING_ASSERT(client.message == nullptr && client.check == nullptr);
      counters_.add(obs::Counter::kMessagesRefused);
      return true;
    case smtp::Event::kWaiting:
      return false;
    case smtp::Event::kClose:
      client.phase = Client::Phase::kLastWords;
      return false;
  }
  return false;
}

void Shard::on_mail(Client& client, smtp::ReplyBuffer& out) {
  if (draining_) {
    client.session.terminate(replies::kDraining, out);
    client.phase = Client::Phase::kLastWords;
  } else if (shared_.writer.storage_low()) {
    client.session.refuse(replies::kStorageLow, out);
  } else if (memory_short() || delivery_->is_full()) {
    client.session.refuse(replies::kMemoryLow, out);
  } else {
    client.session.accept(out);
    begin_check(client);
  }
}

void Shard::on_data(Client& client, smtp::ReplyBuffer& out) {
  if (memory_short() || delivery_->is_full()) {
    client.session.refuse(replies::kMemoryLow, out);
    return;
  }
  client.session.accept(out);
  if (!client.session.receiving()) return;  // the client had not waited for 354
  MXRING_ASSERT(client.message == nullptr);
  client.message = delivery_->begin(client.ref);
  client.rate.restart();
}

void Shard::on_content(Client& client, std::string_view run) {
  if (client.message == nullptr) return;  // given up: the rest is discarded
  client.message->append(run, client.connection.front().buffer);
  if (client.check != nullptr) touch(*client.check);
  if (const auto refusal = over_limit(client.message->header().status())) {
    give_up(client);
    client.session.discard(refusal->id());
  }
}

// Whoever gives a message up, and why ever: its check goes with it, and with that the hashes, the
// questions under way and their time limit. A check that outlived its message would wait for bytes
// that never come.
void Shard::give_up(Client& client) {
  drop_check(client);
  if (client.message == nullptr) return;
  delivery_->abandon(client.message);
  client.message = nullptr;
  end_memory_pause(client);
}

void Shard::on_message(Client& client, smtp::ReplyBuffer& out) {
  MXRING_ASSERT(client.message != nullptr);
  client.message->header().finish();
  const mail::HeaderIndex& header = client.message->header();
  const mail::Field* from = header.first(mail::FieldName::kFrom);
  const std::string_view from_value =
      from == nullptr ? std::string_view()
                      : client.message->bytes_between(from->value, from->end, policy_scratch_.from);
  if (const auto refusal = shared_.policy.header(header, from_value, policy_scratch_)) {
    give_up(client);
    client.session.finish(*refusal, out);
    counters_.add(obs::Counter::kMessagesRefused);
    return;
  }
  if (client.check != nullptr) {
    client.awaiting_check = true;  // settle() goes on, at the end of this turn at the earliest
    touch(*client.check);
    return;
  }
  if (!deliver(client, mailauth::Disposition::kAccept)) {
    client.session.finish(replies::kMemoryLow, out);
    counters_.add(obs::Counter::kMessagesRefused);
  }
}

// False: there are too many on their way to the log, and this one has been dropped.
bool Shard::deliver(Client& client, mailauth::Disposition disposition) {
  const obs::InStage stage(stages_, obs::Stage::kCommit);
  if (delivery_->is_full()) {
    give_up(client);
    return false;
  }
  Verdicts verdicts;
  verdicts.disposition = disposition;
  if (client.name != nullptr) verdicts.client_name = client.name->name();
  if (client.check != nullptr) verdicts.evaluation = &client.check->evaluation();
  delivery_->submit(client.message, client.session, client.facts, verdicts, now_);
  client.message = nullptr;
  end_memory_pause(client);
  client.awaiting_commit = true;
  drop_check(client);
  return true;
}

// A message that was complete, and waited for its verdict.
void Shard::refuse_complete(Client& client, const smtp::Reply& reply) {
  give_up(client);
  // It fits: kReplyBytesMax were free before DATA, and only 354 was written since.
  smtp::ReplyBuffer out(client.connection.output(), &client.replies);
  client.session.finish(reply, out);
  client.connection.wrote(out.size());
  counters_.add(obs::Counter::kMessagesRefused);
  pump(client);
}

void Shard::on_decided(Message& message) {
  Client* client = clients_->find(message.client);
  // The client may have gone: its message is kept all the same, only the reply is lost.
  if (client != nullptr && client->phase == Client::Phase::kTalking) {
    std::array<char, 32> text{};
    // It fits: kReplyBytesMax were free before DATA, and only 354 was written since.
    smtp::ReplyBuffer out(client->connection.output(), &client->replies);
    client->session.finish(decided(message, text), out);
    client->connection.wrote(out.size());
    client->awaiting_commit = false;
    pump(*client);
  }
  if (message.is_refused()) {
    counters_.add(obs::Counter::kMessagesRefused);
    counters_.add(message.refusal().is_temporary() ? obs::Counter::kMessagesDeferredDmarc
                                                   : obs::Counter::kMessagesRefusedDmarc);
  } else if (message.outcome == CommitOutcome::kDurable) {
    counters_.add(obs::Counter::kMessagesAccepted);
    counters_.add(obs::Counter::kMessageBytes, message.bytes());
    const std::int64_t waited_us = now_.wall.us - message.received_at.us;
    durable_ns_.record(static_cast<std::uint64_t>(std::max<std::int64_t>(waited_us, 0)) * 1000);
  } else {
    counters_.add(obs::Counter::kMessagesRefused);
  }
  delivery_->recycle(&message);
}

void Shard::say_last_words(Client& client, const smtp::Reply& reply) {
  if (client.phase == Client::Phase::kHandshake) {
    shut(client);  // nothing can be said to it
    mark_dirty(client);
  }
  if (client.phase != Client::Phase::kTalking) return;
  give_up(client);
  smtp::ReplyBuffer out(client.connection.output(), &client.replies);
  // A client that does not read its replies will not read this one either.
  if (out.free() >= smtp::kReplyBytesMax) {
    client.session.terminate(reply, out);
    client.connection.wrote(out.size());
  }
  client.phase = Client::Phase::kLastWords;
  client.connection.drop_input();
  set_timer(client);
  mark_dirty(client);
}

void Shard::on_timer(Client& client) {
  switch (client.phase) {
    case Client::Phase::kShut:
      return;
    case Client::Phase::kLastWords:
    case Client::Phase::kLingering:
      shut(client);
      mark_dirty(client);
      return;
    case Client::Phase::kHandshake:
      counters_.add(obs::Counter::kTimeouts);
      shut(client);
      mark_dirty(client);
      return;
    case Client::Phase::kTalking:
      break;
  }
  if (client.slowed) {
    client.slowed = false;
    pump(client);
    set_timer(client);
    return;
  }
  const base::Limits& limits = shared_.config.limits;
  if (client.waiting() || client.memory_paused) {
    client.rate.restart();  // it is we who are slow
    set_timer(client);
    return;
  }
  if (client.session.receiving()) {
    const std::uint64_t bytes_min = limits.data_rate_bytes *
                                    static_cast<std::uint64_t>(limits.data_rate_window_ns) /
                                    base::kNsPerSecond;
    if (client.rate.turn(bytes_min)) {
      counters_.add(obs::Counter::kTimeouts);
      say_last_words(client, replies::kTooSlow);
    } else {
      set_timer(client);
    }
    return;
  }
  if (client.timer_ticks) {
    // Set while data arrived; the data ended in this very turn, and its reply waits to be sent.
    client.timer_ticks = false;
    set_timer(client);
    return;
  }
  counters_.add(obs::Counter::kTimeouts);
  if (client.connection.has_unsent()) {
    shut(client);  // it has not read our replies for all this time
    mark_dirty(client);
  } else {
    say_last_words(client, replies::kCommandTimeout);
  }
}

void Shard::set_timer(Client& client) {
  const base::Limits& limits = shared_.config.limits;
  std::int64_t wait_ns = limits.command_wait_ns;
  if (client.phase == Client::Phase::kHandshake) {
    wait_ns = client.handshake_deadline_ns - now_.mono.ns;
  } else if (client.phase != Client::Phase::kTalking) {
    wait_ns = kLingerNs;
  } else if (client.slowed) {
    wait_ns = limits.error_delay_ns;
  } else if (client.session.receiving()) {
    wait_ns = limits.data_rate_window_ns / static_cast<std::int64_t>(RateWindow::kParts);
  }
  timers_->set(client.timer, now_.mono + wait_ns);
}

// Everything that waits until all completions of the turn are handled: one send for all replies,
// and the decision whether to go on, wait or close.
void Shard::end_of_turn(Client& client) {
  net::Connection& connection = client.connection;
  count_session(client);
  if (client.phase == Client::Phase::kShut) {
    if (connection.try_close()) destroy(client);
    return;
  }
  if (client.phase == Client::Phase::kLastWords) connection.end_tls();
  connection.flush();
  const bool all_sent = !connection.has_unsent();
  switch (client.phase) {
    case Client::Phase::kHandshake:
      if (connection.end_of_file()) {
        shut(client);
        break;
      }
      if (connection.handshake_full()) {
        connection.pause_receiving();
      } else if (!client.starved_hook.linked()) {
        connection.resume_receiving();
      }
      return;
    case Client::Phase::kTalking: {
      if (client.input_paused && connection.chunks() == 0) client.input_paused = false;
      const bool idle = connection.chunks() == 0 && !client.waiting() && !client.slowed;
      if (connection.end_of_file() && idle && all_sent) {
        shut(client);
        break;
      }
      if (draining_ && idle && !client.session.in_transaction()) {
        say_last_words(client, replies::kDraining);
        return;
      }
      const bool wanted =
          !client.input_paused && !client.memory_paused && !client.starved_hook.linked();
      if (wanted) connection.resume_receiving();
      // While data arrives the timer ticks through the rate window on its own.
      const bool ticks = client.session.receiving() || client.slowed;
      if (!ticks || !client.timer.armed() || !client.timer_ticks) set_timer(client);
      client.timer_ticks = ticks;
      return;
    }
    case Client::Phase::kLastWords:
      connection.drop_input();
      if (!all_sent) return;
      if (connection.end_of_file() || client.session.said_goodbye()) {
        shut(client);
        break;
      }
      // Closing with unread bytes in the kernel would send a reset that may overtake the reply.
      connection.finish_sending();
      ++direct_system_calls_;
      connection.resume_receiving();
      client.phase = Client::Phase::kLingering;
      set_timer(client);
      return;
    case Client::Phase::kLingering:
      connection.drop_input();
      if (!connection.end_of_file()) {
        if (!client.starved_hook.linked()) connection.resume_receiving();
        return;
      }
      shut(client);
      break;
    case Client::Phase::kShut:
      break;
  }
  if (connection.try_close()) destroy(client);
}

void Shard::shut(Client& client) {
  if (client.phase == Client::Phase::kShut) return;
  client.phase = Client::Phase::kShut;
  give_up(client);
  client.connection.shut();
}

void Shard::destroy(Client& client) {
  counters_.add(obs::Counter::kConnectionsClosed);
  give_up(client);
  drop_name(client);
  if (client.dirty_hook.linked()) dirty_.remove(client);
  if (client.starved_hook.linked()) starved_.remove(client);
  if (client.handshake_hook.linked()) handshakes_.remove(client);
  timers_->cancel(client.timer);
  shared_.gate.leave(client.address);
  clients_->release(client.ref);
}

void Shard::count_session(Client& client) {
  const std::uint64_t commands = client.session.commands();
  counters_.add(obs::Counter::kCommands, commands - client.counted_commands);
  client.counted_commands = commands;
  const std::uint64_t copied = client.session.line_bytes_copied();
  if (copied != client.counted_copies) {
    counters_.add(obs::Counter::kBytesCopiedLine, copied - client.counted_copies);
    client.counted_copies = copied;
  }
  if (client.connection.has_tls()) {
    const std::uint64_t decrypted = client.connection.tls().bytes_copied();
    counters_.add(obs::Counter::kBytesCopiedTls, decrypted - client.counted_tls_copies);
    client.counted_tls_copies = decrypted;
  }
}

}  // namespace mxring::server
