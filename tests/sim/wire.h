// The client's side of TLS, over wolfSSL itself and nothing of src/net: plaintext on one side,
// ciphertext on the other. What it draws at random comes from the life's dice.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace mxring::sim {

class TlsWire {
 public:
  enum class State { kHandshake, kOpen, kClosed, kFailed };

  explicit TlsWire(bool only_12);
  ~TlsWire();
  TlsWire(const TlsWire&) = delete;
  TlsWire& operator=(const TlsWire&) = delete;

  std::string to_server;  // ciphertext; who sends it takes it away
  void receive(std::string_view ciphertext);
  void write(std::string_view plaintext);
  std::string read();  // what was decrypted
  void say_goodbye();  // close_notify
  void renew_keys();
  State state() const;

 private:
  struct Body;
  void step();
  std::unique_ptr<Body> body_;
};

}  // namespace mxring::sim
