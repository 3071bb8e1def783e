// The connections of a run with --tls: the handshake, and encryption under the dialogue. Several
// commands never wait here, so one send at a time is enough; what is written meanwhile goes next.
#include "load/worker.h"

namespace mxring::load {

using uring::Operation;

// The client speaks TLS from here on; the server's next word is a handshake message.
void Worker::begin_tls(Client& client) {
  client.at = At::kTls;
  client.tls = std::make_unique<net::TlsClientLink>(*options_.tls_client);
  if (client.tls->stream == nullptr) return fail(client, Loss::kLocal);
  on_tls_bytes(client, {});
}

void Worker::on_tls_bytes(Client& client, std::string_view bytes) {
  const std::uint32_t generation = client.generation;
  net::TlsClientLink& tls = *client.tls;
  tls.inward = bytes;
  if (client.at == At::kTls) {
    const net::TlsStatus status = tls.stream->handshake();
    send_encrypted(client);
    if (status == net::TlsStatus::kWantInput) return;
    if (status != net::TlsStatus::kDone) {
      note_failure("TLS: " + tls.stream->error_text());
      return fail(client, Loss::kTls);
    }
    on_tls_open(client);
  }
  while (client.generation == generation && client.fd >= 0 && client.at != At::kClosing) {
    std::size_t got = 0;
    switch (tls.stream->read(plaintext_, got)) {
      case net::TlsStatus::kDone:
        on_bytes(client, {plaintext_.data(), got});
        break;
      case net::TlsStatus::kWantInput:
        return;
      case net::TlsStatus::kClosed:
        return on_end(client, 0);
      case net::TlsStatus::kFailed:
        return fail(client, Loss::kTls);
    }
  }
}

// Implicit TLS: the banner comes now. STARTTLS: all is said again (RFC 3207 4.2).
void Worker::on_tls_open(Client& client) {
  if (options_.tls == Tls::kImplicit) {
    client.at = At::kBanner;
    set_timer(client, options_.reply_timeout_ns);
    return;
  }
  client.offers_pipelining = client.offers_size = client.offers_8bit = false;
  client.at = At::kHello;
  say_hello(client);
}

void Worker::encrypt(Client& client, std::string_view plaintext) {
  // A failure shows when the server's answer does not come, or cannot be read.
  client.tls->stream->write(plaintext);
  send_encrypted(client);
}

void Worker::encrypt_content(Client& client) {
  // One after the other in one place: the pieces of a message are smaller than a record.
  content_.clear();
  for (const iovec& piece : client.message.pieces) {
    content_.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  encrypt(client, content_);
}

void Worker::send_encrypted(Client& client) {
  net::TlsClientLink& tls = *client.tls;
  if (client.sending || tls.outward.empty()) return;
  client.ciphertext.swap(tls.outward);
  tls.outward.clear();
  ring_->send(client.fd, client.ciphertext.data(),
              static_cast<std::uint32_t>(client.ciphertext.size()), client.tag(Operation::kSend));
  client.sending = true;
  set_timer(client, options_.reply_timeout_ns);
}

}  // namespace mxring::load
