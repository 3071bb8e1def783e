#include "net/connection.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/assert.h"
#include "base/probe.h"
#include "net/checked.h"

namespace mxring::net {

using uring::Operation;

Connection::Connection(Context& context, int fd, std::uint32_t slot, std::uint32_t generation)
    : context_(context), fd_(fd), slot_(slot), generation_(generation), output_(context.outputs) {}

Connection::~Connection() {
  drop_input();
}

void Connection::resume_receiving() {
  const Checked checked(*this);
  if (receive_armed_ || shut_ || end_of_file_) return;
  context_.ring.receive_multishot(fd_, kBufferGroup, tag(Operation::kReceive));
  receive_armed_ = true;
  cancel_sent_ = false;
}

void Connection::pause_receiving() {
  const Checked checked(*this);
  if (!receive_armed_ || cancel_sent_) return;
  context_.ring.cancel(tag(Operation::kReceive), uring::Tag{});
  cancel_sent_ = true;
}

ReceiveOutcome Connection::on_receive(const uring::Completion& completion) {
  const Checked checked(*this);
  if (!completion.more) receive_armed_ = false;
  if (completion.has_buffer) {
    context_.buffers.adopt(completion.buffer_id);
    if (completion.result <= 0 || shut_) {
      MXRING_PROBE("receive: bytes after the end");
      context_.buffers.release(completion.buffer_id);
      return ReceiveOutcome::kStopped;
    }
    const auto size = static_cast<std::uint32_t>(completion.result);
    bytes_received_ += size;
    const Chunk chunk{completion.buffer_id, 0, size};
    if (tls_ != nullptr) return on_ciphertext(chunk);
    chunks_.push_back(chunk);
    return ReceiveOutcome::kData;
  }
  switch (completion.result) {
    case 0:
      end_of_file_ = true;
      return ReceiveOutcome::kEndOfFile;
    case -ENOBUFS:
      return ReceiveOutcome::kStarved;
    case -ECANCELED:
      return ReceiveOutcome::kStopped;
    default:
      return shut_ ? ReceiveOutcome::kStopped : ReceiveOutcome::kBroken;
  }
}

ReceiveOutcome Connection::on_ciphertext(const Chunk& chunk) {
  const bool handshaking =
      tls_->state() == TlsState::kHello || tls_->state() == TlsState::kHandshake;
  tls_->add(chunk);
  if (handshaking) return ReceiveOutcome::kHandshake;
  if (!decrypt()) return ReceiveOutcome::kStarved;
  if (chunks() > 0 || !end_of_file_) {
    return tls_->state() == TlsState::kFailed ? ReceiveOutcome::kUntrusted : ReceiveOutcome::kData;
  }
  return ReceiveOutcome::kEndOfFile;
}

void Connection::start_tls(std::shared_ptr<const TlsServer> server) {
  const Checked checked(*this);
  MXRING_ASSERT(tls_ == nullptr);
  tls_ = std::make_unique<TlsConnection>(std::move(server), context_.buffers, context_.outputs,
                                         output_);
  MXRING_ASSERT(!shut_ && !decrypt_starved_);
  for (std::size_t i = front_; i < chunks_.size(); ++i) tls_->add(chunks_[i]);
  chunks_.clear();
  front_ = 0;
}

bool Connection::decrypt() {
  const Checked checked(*this);
  MXRING_ASSERT(tls_ != nullptr);
  decrypt_starved_ = !tls_->decrypt(chunks_);
  // close_notify is TLS's end of file; a bare FIN means the same to us, since no message ends
  // there.
  if (tls_->state() == TlsState::kClosed) end_of_file_ = true;
  return !decrypt_starved_;
}

std::string_view Connection::front_bytes() const {
  if (chunks() == 0) return {};
  const Chunk& chunk = chunks_[front_];
  return {context_.buffers.data(chunk.buffer) + chunk.begin, chunk.end - chunk.begin};
}

bool Connection::consume(std::size_t n) {
  const Checked checked(*this);
  if (n == 0) return false;
  MXRING_ASSERT(chunks() > 0);
  Chunk& chunk = chunks_[front_];
  MXRING_ASSERT(n <= chunk.end - chunk.begin);
  chunk.begin += static_cast<std::uint32_t>(n);
  if (chunk.begin < chunk.end) return false;
  context_.buffers.release(chunk.buffer);
  if (++front_ == chunks_.size()) {
    chunks_.clear();
    front_ = 0;
  }
  return true;
}

void Connection::drop_input() {
  if (tls_ != nullptr) tls_->stop_reading();
  while (chunks() > 0) consume(chunks_[front_].end - chunks_[front_].begin);
}

std::span<char> Connection::output() {
  return tls_ != nullptr ? tls_->room() : output_.room();
}

void Connection::wrote(std::size_t n) {
  tls_ != nullptr ? tls_->wrote(n) : output_.wrote(n);
}

bool Connection::has_unsent() const {
  return output_.has_unsent() || (tls_ != nullptr && tls_->has_unsent());
}

void Connection::flush() {
  const Checked checked(*this);
  if (send_in_flight_) return;
  if (tls_ != nullptr) tls_->seal();
  output_.release_sent();
  const std::string_view unsent = output_.unsent();
  if (unsent.empty() || shut_) return;
  context_.ring.send(fd_, unsent.data(), static_cast<unsigned>(unsent.size()),
                     tag(Operation::kSend));
  send_in_flight_ = true;
}

bool Connection::on_send(const uring::Completion& completion) {
  const Checked checked(*this);
  MXRING_ASSERT(send_in_flight_);
  send_in_flight_ = false;
  if (completion.result <= 0) return false;
  bytes_sent_ += static_cast<std::uint64_t>(completion.result);
  output_.sent(static_cast<std::size_t>(completion.result));
  if (tls_ != nullptr) tls_->seal();  // makes room for replies
  return true;
}

void Connection::end_tls() {
  if (tls_ != nullptr && !half_closed_ && !shut_) tls_->close_notify();
}

void Connection::finish_sending() {
  if (half_closed_ || shut_) return;
  MXRING_PROBE("half-closed");
  half_closed_ = true;
  MXRING_ASSERT(fd_ >= 0 && !send_in_flight_);
  ::shutdown(fd_, SHUT_WR);
}

void Connection::shut() {
  const Checked checked(*this);
  if (shut_) return;
  shut_ = true;
  drop_input();
  // The cancelled operations' completions let try_close() go on.
  if (receive_armed_ && !cancel_sent_) context_.ring.cancel(tag(Operation::kReceive), uring::Tag{});
  if (send_in_flight_) {
    MXRING_PROBE("shut with a send in flight");
    context_.ring.cancel(tag(Operation::kSend), uring::Tag{});
  }
  cancel_sent_ = true;
}

void Connection::invariants() const {
  MXRING_ASSERT(front_ < chunks_.size() || (front_ == 0 && chunks_.empty()));
  for (std::size_t i = front_; i < chunks_.size(); ++i) {
    MXRING_ASSERT(chunks_[i].begin < chunks_[i].end && chunks_[i].end <= buffer_bytes());
  }
  output_.invariants();
  if (send_in_flight_) MXRING_ASSERT(output_.has_unsent() && fd_ >= 0);
  if (receive_armed_) MXRING_ASSERT(fd_ >= 0);
  if (fd_ < 0) MXRING_ASSERT(shut_);
  if (decrypt_starved_) MXRING_ASSERT(tls_ != nullptr);
  if (tls_ != nullptr) tls_->invariants();
}

std::size_t Connection::buffers_held() const {
  return chunks() + (tls_ != nullptr ? tls_->buffers_held() : 0);
}

std::size_t Connection::heap_held() const {
  return chunks_.capacity() * sizeof(Chunk) + output_.bytes_held() +
         (tls_ != nullptr ? tls_->heap_held() : 0);
}

bool Connection::try_close() {
  const Checked checked(*this);
  if (!shut_ || receive_armed_ || send_in_flight_) return false;
  if (fd_ >= 0) context_.ring.close(fd_, uring::Tag{});
  fd_ = -1;
  return true;
}

}  // namespace mxring::net
