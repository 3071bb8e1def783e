// How a connection becomes encrypted: the handshakes of a shard wait in line and are given a share
// of each loop turn, so that a flood of them delays only itself.

#include "base/json.h"
#include "server/certificates.h"
#include "server/shard.h"

namespace mxring::server {

namespace {

// Of one loop turn, before everybody else goes on: about one step with an ECDSA key. One with an RSA
// key takes longer.
constexpr std::int64_t kHandshakesNs = base::kNsPerMs / 5;

std::string to_json(const net::TlsFacts& facts, const std::string& server_name) {
  base::JsonWriter json;
  json.begin_object();
  json.key("version").value(facts.version);
  json.key("cipher").value(facts.cipher);
  json.key("sni");
  server_name.empty() ? json.null() : json.value(server_name);
  json.key("resumed").value(facts.resumed);
  json.end_object();
  return std::move(json).text();
}

}  // namespace

void Shard::begin_tls(Client& client) {
  client.phase = Client::Phase::kHandshake;
  // Whatever came behind STARTTLS came in the clear, from the client or from somebody in between:
  // it is never looked at (RFC 3207 5).
  client.connection.drop_input();
  client.input_paused = false;
  client.connection.start_tls(shared_.certificates->current());
  client.session.start_tls();
  client.handshake_deadline_ns = now_.mono.ns + shared_.config.limits.tls_handshake_ns;
  set_timer(client);
  mark_dirty(client);
}

void Shard::queue_handshake(Client& client) {
  if (client.phase != Client::Phase::kHandshake || client.handshake_hook.linked()) return;
  if (client.connection.handshake_ready()) handshakes_.push_back(client);
}

void Shard::run_handshakes() {
  if (handshakes_.empty()) return;
  const std::int64_t end_ns = base::read_clocks().mono.ns + kHandshakesNs;
  while (Client* client = handshakes_.front()) {
    handshakes_.remove(*client);
    step_handshake(*client);
    if (base::read_clocks().mono.ns >= end_ns) return;
  }
}

void Shard::step_handshake(Client& client) {
  mark_dirty(client);
  if (client.phase != Client::Phase::kHandshake) return;
  switch (client.connection.handshake()) {
    case net::TlsState::kHello:
    case net::TlsState::kHandshake:
      return;
    case net::TlsState::kOpen:
      on_encrypted(client);
      return;
    case net::TlsState::kClosed:
    case net::TlsState::kFailed:
      end_untrusted(client);
      return;
  }
}

void Shard::on_encrypted(Client& client) {
  net::Connection& connection = client.connection;
  const net::TlsFacts facts = connection.tls().facts();
  counters_.add(obs::Counter::kTlsHandshakes);
  if (facts.resumed) counters_.add(obs::Counter::kTlsResumed);
  client.facts.tls = to_json(facts, connection.tls().hello().server_name);
  client.facts.tls_cipher = facts.cipher;
  client.phase = Client::Phase::kTalking;
  decrypt_waiting(client);
  if (client.phase != Client::Phase::kTalking) return;
  if (!client.greeted) {
    greet(client, connection.chunks() > 0);
  } else {
    pump(client);
  }
  set_timer(client);
}

// What came behind the handshake, or waited for a free buffer.
void Shard::decrypt_waiting(Client& client) {
  const bool enough = client.connection.decrypt();
  if (client.connection.tls().state() == net::TlsState::kFailed) {
    end_untrusted(client);
  } else if (!enough && !client.starved_hook.linked()) {
    counters_.add(obs::Counter::kRecvStarved);
    starved_.push_back(client);
  }
}

// The alert that says why is written already.
void Shard::end_untrusted(Client& client) {
  if (client.phase != Client::Phase::kTalking && client.phase != Client::Phase::kHandshake) return;
  counters_.add(obs::Counter::kTlsFailures);
  give_up(client);
  client.phase = Client::Phase::kLastWords;
  client.connection.drop_input();
  set_timer(client);
  mark_dirty(client);
}

}  // namespace mxring::server
