// How a connection becomes encrypted: the handshakes of a shard wait in line and are given a share
// of each loop turn (Shard::run_handshakes), so that a flood of them delays only itself.
#include <utility>

#include "base/assert.h"
#include "base/json.h"
#include "base/probe.h"
#include "server/certificates.h"
#include "server/conversation.h"

namespace mxring::server {

namespace {

void write_text_or_null(base::JsonWriter& json, std::string_view text) {
  text.empty() ? json.null() : json.value(text);
}

std::string to_json(const net::TlsFacts& facts, const net::ClientHello& hello) {
  base::JsonWriter json;
  json.begin_object();
  json.key("version").value(facts.version);
  json.key("cipher").value(facts.cipher);
  json.key("sni");
  write_text_or_null(json, hello.server_name);
  json.key("resumed").value(facts.resumed);
  json.key("group");
  write_text_or_null(json, facts.group);
  json.key("ja4");
  write_text_or_null(json, hello.fingerprint.view());
  json.end_object();
  return std::move(json).text();
}

obs::Counter group_counter(std::string_view group) {
  if (group == "x25519") return obs::Counter::kGroupX25519;
  if (group == "secp256r1") return obs::Counter::kGroupP256;
  if (group == "secp384r1") return obs::Counter::kGroupP384;
  if (group == "X25519MLKEM768") return obs::Counter::kGroupX25519MlKem768;
  return obs::Counter::kGroupNone;
}

}  // namespace

void Conversation::begin_tls() {
  MXRING_ASSERT(context_.certificates != nullptr);
  MXRING_ASSERT(hold_ == Hold::kNone && message_ == nullptr);
  enter(Phase::kHandshake);
  // Whatever came behind STARTTLS came in the clear, from the client or from somebody in between:
  // it is never looked at (RFC 3207 5). What comes after a balancer's header is TLS.
  if (connection_.chunks() > 0 && greeted_) MXRING_PROBE("STARTTLS: what came after it is dropped");
  if (greeted_) connection_.drop_input();
  pauses_.remove(Pause::kChunks);
  connection_.start_tls(context_.certificates->current());
  session_.start_tls();
  handshake_deadline_ns_ = context_.now.mono.ns + rules_->config.limits.tls_handshake_ns;
  queue_handshake();
  set_timer();
  mark();
}

void Conversation::queue_handshake() {
  if (phase_ != Phase::kHandshake || handshake_hook.linked()) return;
  MXRING_ASSERT(connection_.has_tls());
  if (connection_.handshake_ready()) context_.handshakes.push_back(*this);
}

void Conversation::step_handshake() {
  mark();
  MXRING_ASSERT(phase_ == Phase::kHandshake);
  switch (connection_.handshake()) {
    case net::TlsState::kHello:
    case net::TlsState::kHandshake:
      return;
    case net::TlsState::kOpen:
      on_encrypted();
      return;
    case net::TlsState::kClosed:
    case net::TlsState::kFailed:
      end_untrusted();
      return;
  }
}

void Conversation::on_encrypted() {
  MXRING_PROBE("TLS: encrypted");
  const net::TlsFacts facts = connection_.tls().facts();
  context_.counters.add(obs::Counter::kTlsHandshakes);
  if (facts.resumed) MXRING_PROBE("TLS: a session is resumed");
  if (facts.resumed) context_.counters.add(obs::Counter::kTlsResumed);
  context_.counters.add(facts.version.ends_with("1.3") ? obs::Counter::kTls13
                                                       : obs::Counter::kTls12);
  context_.counters.add(group_counter(facts.group));
  facts_.tls = to_json(facts, connection_.tls().hello());
  facts_.tls_cipher = facts.cipher;
  trace_tls("encrypted");
  enter(Phase::kTalking);
  pauses_.remove(Pause::kHandshake);
  decrypt_waiting();
  if (phase_ != Phase::kTalking) return;
  if (!greeted_) {
    greet(connection_.chunks() > 0);
  } else {
    parse_due_ = true;
  }
  set_timer();
}

// What came behind the handshake, or waited for a free buffer.
void Conversation::decrypt_waiting() {
  const bool enough = connection_.decrypt();
  if (connection_.tls().state() == net::TlsState::kFailed) {
    end_untrusted();
  } else if (!enough) {
    MXRING_PROBE("TLS: no buffer to decrypt into");
    starve();
  }
}

void Conversation::starve() {
  context_.counters.add(obs::Counter::kRecvStarved);
  if (starved_hook.linked()) return;
  pauses_.add(Pause::kStarved);
  context_.starved.push_back(*this);
}

bool Conversation::wants_buffer() const {
  return !connection_.decrypt_starved() || phase_ != Phase::kTalking;
}

void Conversation::on_buffers() {
  MXRING_ASSERT(!starved_hook.linked());
  pauses_.remove(Pause::kStarved);
  if (!wants_buffer()) {
    decrypt_waiting();
    parse_due_ = true;
  }
  mark();
}

// The alert that says why is written already.
void Conversation::end_untrusted() {
  if (phase_ != Phase::kTalking && phase_ != Phase::kHandshake) return;
  MXRING_PROBE("TLS: a connection is not trusted");
  context_.counters.add(obs::Counter::kTlsFailures);
  journal_cut_off(CutOff::kTlsFailed);
  trace_tls("failed");
  give_up();
  enter(Phase::kLastWords);
  connection_.drop_input();
  set_timer();
  mark();
}

}  // namespace mxring::server
