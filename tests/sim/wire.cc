#include "tests/sim/wire.h"

#include <fmt/format.h>
#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "tests/sim/world.h"

namespace mxring::sim {

struct TlsWire::Body {
  WOLFSSL* ssl = nullptr;
  std::string from_server;
  std::string plaintext;
  std::string* to_server = nullptr;
  State state = State::kHandshake;
};

namespace {

struct Ends {
  std::string* in;
  std::string* out;
};

int take(WOLFSSL*, char* to, int size, void* context) {
  std::string& in = *static_cast<Ends*>(context)->in;
  if (in.empty()) return WOLFSSL_CBIO_ERR_WANT_READ;
  const std::size_t taken = std::min(in.size(), static_cast<std::size_t>(size));
  std::memcpy(to, in.data(), taken);
  in.erase(0, taken);
  return static_cast<int>(taken);
}

int give(WOLFSSL*, char* from, int size, void* context) {
  static_cast<Ends*>(context)->out->append(from, static_cast<std::size_t>(size));
  return size;
}

WOLFSSL_CTX* context_of(bool only_12) {
  static std::array<WOLFSSL_CTX*, 2> made{};
  WOLFSSL_CTX*& context = made[only_12 ? 1 : 0];
  if (context != nullptr) return context;
  wolfSSL_Init();
  context = wolfSSL_CTX_new(only_12 ? wolfTLSv1_2_client_method() : wolfTLS_client_method());
  if (context == nullptr) convict("no TLS for the clients");
  wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, nullptr);
  wolfSSL_CTX_SetIORecv(context, &take);
  wolfSSL_CTX_SetIOSend(context, &give);
  return context;
}

bool waits(WOLFSSL* ssl, int result) {
  const int error = wolfSSL_get_error(ssl, result);
  return error == WOLFSSL_ERROR_WANT_READ || error == WOLFSSL_ERROR_WANT_WRITE;
}

}  // namespace

TlsWire::TlsWire(bool only_12) : body_(std::make_unique<Body>()) {
  body_->ssl = wolfSSL_new(context_of(only_12));
  body_->to_server = &to_server;
  auto* ends = new Ends{&body_->from_server, &to_server};  // as long as the life
  wolfSSL_SetIOReadCtx(body_->ssl, ends);
  wolfSSL_SetIOWriteCtx(body_->ssl, ends);
  step();
}

TlsWire::~TlsWire() {
  wolfSSL_free(body_->ssl);
}

TlsWire::State TlsWire::state() const {
  return body_->state;
}

void TlsWire::step() {
  if (body_->state == State::kHandshake) {
    const int result = wolfSSL_connect(body_->ssl);
    if (result == WOLFSSL_SUCCESS) {
      body_->state = State::kOpen;
    } else if (!waits(body_->ssl, result)) {
      body_->state = State::kFailed;
    }
  }
  while (body_->state == State::kOpen) {
    char bytes[4096];
    const int got = wolfSSL_read(body_->ssl, bytes, sizeof bytes);
    if (got > 0) {
      body_->plaintext.append(bytes, static_cast<std::size_t>(got));
      continue;
    }
    if (waits(body_->ssl, got)) break;
    const bool goodbye = wolfSSL_get_error(body_->ssl, got) == WOLFSSL_ERROR_ZERO_RETURN;
    body_->state = goodbye ? State::kClosed : State::kFailed;
  }
}

void TlsWire::receive(std::string_view ciphertext) {
  body_->from_server += ciphertext;
  step();
}

void TlsWire::write(std::string_view plaintext) {
  if (body_->state != State::kOpen) return;
  const int size = static_cast<int>(plaintext.size());
  if (wolfSSL_write(body_->ssl, plaintext.data(), size) != size) body_->state = State::kFailed;
}

std::string TlsWire::read() {
  return std::exchange(body_->plaintext, {});
}

void TlsWire::say_goodbye() {
  if (body_->state == State::kOpen) wolfSSL_shutdown(body_->ssl);
}

void TlsWire::renew_keys() {
  if (body_->state == State::kOpen) wolfSSL_update_keys(body_->ssl);
}

}  // namespace mxring::sim
