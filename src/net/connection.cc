#include "net/connection.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/assert.h"

namespace mxring::net {

using uring::Operation;

Connection::Connection(Context& context, int fd, std::uint32_t slot, std::uint32_t generation)
    : context_(context), fd_(fd), slot_(slot), generation_(generation) {}

Connection::~Connection() {
  drop_input();
  if (output_ != nullptr) context_.outputs.release(output_);
}

void Connection::resume_receiving() {
  if (receive_armed_ || shut_ || end_of_file_) return;
  context_.ring.receive_multishot(fd_, kBufferGroup, tag(Operation::kReceive));
  receive_armed_ = true;
  cancel_sent_ = false;
}

void Connection::pause_receiving() {
  if (!receive_armed_ || cancel_sent_) return;
  context_.ring.cancel(tag(Operation::kReceive), uring::Tag{});
  cancel_sent_ = true;
}

ReceiveOutcome Connection::on_receive(const uring::Completion& completion) {
  if (!completion.more) receive_armed_ = false;
  if (completion.has_buffer) {
    context_.buffers.adopt(completion.buffer_id);
    if (completion.result <= 0 || shut_) {
      context_.buffers.release(completion.buffer_id);
      return ReceiveOutcome::kStopped;
    }
    const auto size = static_cast<std::uint32_t>(completion.result);
    bytes_received_ += size;
    chunks_.push_back({completion.buffer_id, 0, size});
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

std::string_view Connection::front_bytes() const {
  if (chunks() == 0) return {};
  const Chunk& chunk = chunks_[front_];
  return {context_.buffers.data(chunk.buffer) + chunk.begin, chunk.end - chunk.begin};
}

bool Connection::consume(std::size_t n) {
  if (n == 0) return false;
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
  while (chunks() > 0) consume(chunks_[front_].end - chunks_[front_].begin);
}

std::span<char> Connection::output() {
  if (output_ == nullptr) output_ = context_.outputs.acquire();
  return {output_->bytes + output_->filled, OutputBlock::kBytes - output_->filled};
}

void Connection::wrote(std::size_t n) {
  if (output_ == nullptr) return;
  output_->filled += static_cast<std::uint32_t>(n);
}

bool Connection::has_unsent() const {
  return output_ != nullptr && output_->sent < output_->filled;
}

void Connection::flush() {
  if (output_ == nullptr || send_in_flight_) return;
  if (output_->sent == output_->filled) {
    context_.outputs.release(output_);
    output_ = nullptr;
    return;
  }
  if (shut_) return;
  context_.ring.send(fd_, output_->bytes + output_->sent, output_->filled - output_->sent,
                     tag(Operation::kSend));
  send_in_flight_ = true;
}

bool Connection::on_send(const uring::Completion& completion) {
  MXRING_ASSERT(send_in_flight_);
  send_in_flight_ = false;
  if (completion.result <= 0) return false;
  bytes_sent_ += static_cast<std::uint64_t>(completion.result);
  output_->sent += static_cast<std::uint32_t>(completion.result);
  if (output_->sent == output_->filled) {
    context_.outputs.release(output_);
    output_ = nullptr;
  }
  return true;
}

void Connection::finish_sending() {
  if (half_closed_ || shut_) return;
  half_closed_ = true;
  ::shutdown(fd_, SHUT_WR);
}

void Connection::shut() {
  if (shut_) return;
  shut_ = true;
  drop_input();
  // The cancelled operations' completions let try_close() go on.
  if (receive_armed_ && !cancel_sent_) context_.ring.cancel(tag(Operation::kReceive), uring::Tag{});
  if (send_in_flight_) context_.ring.cancel(tag(Operation::kSend), uring::Tag{});
  cancel_sent_ = true;
}

bool Connection::try_close() {
  if (!shut_ || receive_armed_ || send_in_flight_) return false;
  if (fd_ >= 0) context_.ring.close(fd_, uring::Tag{});
  fd_ = -1;
  return true;
}

}  // namespace mxring::net
