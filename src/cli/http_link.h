// One accepted connection of `log serve`, in clear or under TLS, for a thread that waits: for bytes
// or room, until a moment, until the client has gone, or until everything is to stop.
//
// Thread: one. Failure: a status; nothing is to be had from the
// connection afterwards.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/owned_fd.h"
#include "net/tls_server.h"
#include "net/tls_stream.h"

namespace mxring::cli {

class HttpLink final : private net::TlsTransport {
 public:
  enum class Status : std::uint8_t { kDone, kGone, kLate, kStopped };

  // `stop_fd` stays readable once everything ends. `tls`: null = in clear.
  HttpLink(base::OwnedFd fd, int stop_fd, std::shared_ptr<const net::TlsServer> tls);

  // The handshake, where there is one.
  Status open(base::MonoTime until);
  // Appends what has come, at least one byte.
  Status read(std::string& into, base::MonoTime until);
  // All of it; the client takes something every `silence_ns`, and the last of it by `until`.
  Status write(std::string_view bytes, std::int64_t silence_ns, base::MonoTime until);
  // Until `fd` (-1: none) is readable or the moment has come: kDone.
  Status wait_for(int fd, base::MonoTime until);
  // Says that there will be no more, and reads what the client may still be sending, for a moment:
  // closing on unread bytes would take the answer away from it.
  void close();

  int fd() const { return fd_.get(); }

 private:
  Status wait(short events, int other_fd, base::MonoTime until);
  Status receive(base::MonoTime until);
  Status send(std::string_view bytes, std::int64_t silence_ns, base::MonoTime until);
  Status flush(std::int64_t silence_ns, base::MonoTime until);
  Status read_hello(base::MonoTime until);
  std::size_t take(std::span<char> into) override;
  void put(std::string_view ciphertext) override { outward_ += ciphertext; }
  std::size_t begin_record();

  base::OwnedFd fd_;
  int stop_fd_;
  std::shared_ptr<const net::TlsServer> tls_;
  std::string inward_;   // received, not read by the stream yet; without TLS received just now
  std::string outward_;  // encrypted, on its way
  std::size_t record_left_ = 0;
  net::ClientHello hello_;
  std::unique_ptr<net::TlsStream> stream_;  // looks at the hello for as long as it lives
};

}  // namespace mxring::cli
