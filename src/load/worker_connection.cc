// How a client's connection is opened, read, and brought to its end.
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "load/worker.h"

namespace mxring::load {

using uring::Operation;

namespace {

constexpr std::int64_t kRestMinNs = 50 * base::kNsPerMs;  // after a failure, doubled each time
constexpr std::int64_t kRestMaxNs = base::kNsPerSecond;

Loss loss_of(int error) {
  switch (error) {
    case ECONNREFUSED:
      return Loss::kRefused;
    case ECONNRESET:
    case EPIPE:
      return Loss::kReset;
    case ETIMEDOUT:
      return Loss::kTimeout;
    case EADDRNOTAVAIL:
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return Loss::kLocal;
    default:
      return Loss::kNoRoute;
  }
}

}  // namespace

void Worker::open(Client& client) {
  client.generation = (client.generation + 1) & 0xFFFFFF;
  client.messages_here = 0;
  client.parser.reset();
  client.offers_pipelining = client.offers_size = client.offers_8bit = false;
  client.offers_starttls = false;
  client.tls.reset();
  client.at = At::kConnecting;
  client.fd = ::socket(address_.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  if (client.fd < 0) {
    note_failure(std::strerror(errno));
    return fail(client, Loss::kLocal);
  }
  ++sockets_;
  const int on = 1;
  ::setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ring_->connect(client.fd, &address_, address_bytes_, client.tag(Operation::kConnect));
  client.connecting = true;
  set_timer(client, options_.connect_timeout_ns);
}

void Worker::on_connect(Client& client, int result) {
  if (client.at == At::kClosing) return finish_closing(client);
  if (result < 0) {
    note_failure(result == -ECONNREFUSED ? "nothing listens there (connection refused)"
                                         : std::strerror(-result));
    return fail(client, loss_of(-result));
  }
  client.at = At::kBanner;
  ring_->receive_multishot(client.fd, buffers_->options().group, client.tag(Operation::kReceive));
  client.receiving = true;
  set_timer(client, options_.reply_timeout_ns);
  if (options_.tls == Tls::kImplicit) begin_tls(client);
}

void Worker::on_receive(Client& client, const uring::Completion& completion) {
  const std::uint32_t generation = client.generation;
  if (!completion.more) client.receiving = false;
  if (completion.has_buffer) {
    buffers_->adopt(completion.buffer_id);
    if (completion.result > 0 && client.at != At::kClosing) {
      const std::string_view bytes(buffers_->data(completion.buffer_id),
                                   static_cast<std::size_t>(completion.result));
      client.tls != nullptr ? on_tls_bytes(client, bytes) : on_bytes(client, bytes);
    }
    buffers_->release(completion.buffer_id);
  }
  // The bytes may have ended the connection, and the client may have opened its next one.
  if (client.generation != generation || client.fd < 0) return;
  if (client.at == At::kClosing) return finish_closing(client);
  if (completion.more) return;
  if (completion.result > 0 || completion.result == -ENOBUFS) {
    ring_->receive_multishot(client.fd, buffers_->options().group, client.tag(Operation::kReceive));
    client.receiving = true;
    return;
  }
  on_end(client, completion.result);
}

// The server will send no more: 0, or an error as a negative number.
void Worker::on_end(Client& client, int result) {
  if (client.at == At::kQuit || client.at == At::kIdle || client.at == At::kSettling) {
    return drop(client);  // it owed us nothing any more
  }
  fail(client, result == 0 ? Loss::kClosed : loss_of(-result));
}

// The connection is of no further use; the message it worked for, if any, is lost.
void Worker::fail(Client& client, Loss loss) {
  note_failure(std::string(describe(loss)));
  if (client.has_message) {
    tally_.lose(loss);
    decided(client);
  }
  if (client.messages_here == 0) ++client.failures;
  if (failing_since_ns_ == 0) failing_since_ns_ = now_.mono.ns;
  drop(client);
}

void Worker::reject(Client& client, int code, std::string_view text) {
  tally_.reject(code, text);
  decided(client);
}

void Worker::decided(Client& client) {
  client.has_message = false;
  --in_flight_;
  last_decision_ns_ = now_.mono.ns;
}

void Worker::drop(Client& client) {
  if (client.at == At::kClosing || client.at == At::kClosed || client.at == At::kResting) return;
  if (client.at == At::kIdle && client.hook.linked()) idle_.remove(client);
  client.at = At::kClosing;
  timers_->cancel(client.timer);
  // The cancelled operations' completions let finish_closing() go on.
  for (const auto& [busy, operation] : {std::pair(client.connecting, Operation::kConnect),
                                        std::pair(client.receiving, Operation::kReceive),
                                        std::pair(client.sending, Operation::kSend)}) {
    if (busy) ring_->cancel(client.tag(operation), {Operation::kNone, 0, client.slot});
  }
  finish_closing(client);
}

void Worker::finish_closing(Client& client) {
  if (client.connecting || client.receiving || client.sending) return;
  if (client.fd >= 0) {
    ring_->close(client.fd, {Operation::kNone, 0, client.slot});
    client.fd = -1;
    --sockets_;
  }
  if (client.opening) {
    client.opening = false;
    --opening_;
  }
  if (client.failures == 0) return become_available(client);
  client.at = At::kResting;
  const unsigned doublings = std::min(client.failures - 1, 8U);
  set_timer(client, std::min(kRestMinNs << doublings, kRestMaxNs));
}

void Worker::become_available(Client& client) {
  client.at = At::kClosed;
  if (phase_ == Phase::kRunning && !options_.rate && take_message(client)) return open(client);
  closed_.push_back(client);
}

void Worker::on_timer(Client& client) {
  switch (client.at) {
    case At::kResting:
      return become_available(client);
    case At::kClosed:
    case At::kClosing:
    case At::kIdle:
      return;
    case At::kQuit:
    case At::kSettling:
      return drop(client);
    default:
      return fail(client, Loss::kTimeout);
  }
}

void Worker::set_timer(Client& client, std::int64_t after_ns) {
  timers_->set(client.timer, now_.mono + after_ns);
}

// Kept for the case that the run cannot begin: then this is why.
void Worker::note_failure(std::string text) {
  if (tally_.first_failure.empty()) tally_.first_failure = std::move(text);
}

}  // namespace mxring::load
