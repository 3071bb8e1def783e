// TLS under a session of the courier (RFC 3207). Between mail servers it is tried wherever it is
// offered, and a server that offers it but cannot do it gets its mail in the clear over a new
// connection (RFC 7435), unless TLS is required.
#include <fmt/format.h>

#include "report/courier.h"
#include "report/courier_session.h"

namespace mxring::report {

using net::TlsStatus;

// The server has agreed: what it says next is a handshake message.
void Courier::begin_tls(Session& session) {
  // What was said in the clear and not sent yet stays in the clear.
  session.pending += session.dialogue->take_output();
  session.tls = std::make_unique<net::TlsClientLink>(*tls_client_, session.here().name);
  if (session.tls->stream == nullptr) return fail(session, "no memory for TLS");
  on_ciphertext(session, {});
}

void Courier::on_ciphertext(Session& session, std::string_view bytes) {
  net::TlsClientLink& tls = *session.tls;
  tls.inward = bytes;
  if (session.dialogue->wants_tls()) {
    const TlsStatus status = tls.stream->handshake();
    if (status == TlsStatus::kWantInput) return;
    if (status != TlsStatus::kDone) {
      return fail(session, fmt::format("TLS: {}", tls.stream->error_text()));
    }
    const net::TlsFacts facts = tls.stream->facts();
    session.dialogue->tls_done(fmt::format("{} {}", facts.version, facts.cipher));
  }
  while (!session.dialogue->over()) {
    std::size_t got = 0;
    switch (tls.stream->read(plaintext_, got)) {
      case TlsStatus::kDone:
        session.heard_over_tls = true;
        session.dialogue->receive({plaintext_.data(), got});
        break;
      case TlsStatus::kWantInput:
        return;
      case TlsStatus::kClosed:
        return fail(session, kServerClosed);
      case TlsStatus::kFailed:
        return fail(session, fmt::format("TLS: {}", tls.stream->error_text()));
    }
  }
}

// What the dialogue has to say, and what TLS has, becomes bytes to be sent. False: it has failed.
bool Courier::collect_output(Session& session) {
  const std::string said = session.dialogue->take_output();
  if (session.tls == nullptr) {
    session.pending += said;
    return true;
  }
  if (!said.empty() && session.tls->stream->write(said) != TlsStatus::kDone) {
    fail(session, fmt::format("TLS: {}", session.tls->stream->error_text()));
    return false;
  }
  session.pending += session.tls->outward;
  session.tls->outward.clear();
  return true;
}

// Whether the connection that is about to be given up is made once more without TLS: TLS was tried,
// nothing was heard through it, and it is not the dialogue that has ended the session.
bool Courier::falls_back(const Session& session) const {
  return options_.tls == TlsUse::kOffered && session.tls != nullptr && !session.heard_over_tls &&
         !session.dialogue->over() && session.patience_ends > now_.mono;
}

}  // namespace mxring::report
