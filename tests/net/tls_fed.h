// A server's connection without a socket, for the tests of this folder: fed from strings, as if
// they had been received in pieces.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/tls_connection.h"
#include "uring/buffer_pool.h"

namespace mxring::net {

// A connection that is fed from a string.
class Fed {
 public:
  Fed(uring::BufferPool& buffers, std::shared_ptr<const TlsServer> server)
      : buffers_(buffers), output_(outputs_) {
    connection_.emplace(std::move(server), buffers_, outputs_, output_);
  }
  ~Fed() {
    connection_.reset();
    drop_chunks();
  }

  // As if received in pieces of these sizes, the last one repeated.
  void feed(std::string_view bytes, std::vector<std::size_t> sizes) {
    for (std::size_t i = 0; !bytes.empty(); ++i) {
      const std::size_t size = std::min({sizes[std::min(i, sizes.size() - 1)], bytes.size(),
                                         std::size_t{buffers_.options().buffer_bytes}});
      receive(bytes.substr(0, size));
      bytes.remove_prefix(size);
      while (connection_->handshake_ready() && connection_->state() == TlsState::kHandshake) {
        connection_->handshake();
      }
      if (connection_->state() == TlsState::kOpen) {
        ASSERT_TRUE(connection_->decrypt(chunks_));
      }
      for (const Chunk& part : chunks_) {
        plaintext.append(buffers_.data(part.buffer) + part.begin, part.end - part.begin);
      }
      drop_chunks();
      held_most = std::max(held_most, buffers_.held_buffers() - held_before_);
    }
  }

  // One receive, and no step of the handshake.
  void receive(std::string_view bytes) {
    Chunk chunk;
    ASSERT_TRUE(buffers_.take(&chunk.buffer));
    std::memcpy(buffers_.data(chunk.buffer), bytes.data(), bytes.size());
    chunk.end = static_cast<std::uint32_t>(bytes.size());
    connection_->add(chunk);
    connection_->invariants();
  }

  std::string sent() {
    std::string out;
    while (output_.has_unsent()) {
      const std::string_view piece = output_.unsent();
      out += piece;
      output_.sent(piece.size());
    }
    return out;
  }

  void say(std::string_view text) {
    const std::span<char> room = connection_->room();
    ASSERT_LE(text.size(), room.size());
    std::memcpy(room.data(), text.data(), text.size());
    connection_->wrote(text.size());
    connection_->seal();
  }

  TlsConnection& operator*() { return *connection_; }
  TlsConnection* operator->() { return &*connection_; }

  std::string plaintext;
  std::uint32_t held_most = 0;  // buffers, between two receives

 private:
  void drop_chunks() {
    for (const Chunk& chunk : chunks_) buffers_.release(chunk.buffer);
    chunks_.clear();
  }

  uring::BufferPool& buffers_;
  const std::uint32_t held_before_ = buffers_.held_buffers();
  OutputPool outputs_;
  OutputQueue output_;
  std::vector<Chunk> chunks_;
  std::optional<TlsConnection> connection_;
};

}  // namespace mxring::net
