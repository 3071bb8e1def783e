// A TLS client for tests that holds its keys and makes its records by hand, so that it can say what
// no library would: TLS 1.3 with X25519 and AES-128-GCM (RFC 8446), TLS 1.2 with ECDHE-ECDSA and
// AES-128-GCM or ChaCha20 (RFC 5246, 7905). It checks no certificate and no Finished of the server.
//
//   KeyedClient client({.version = 13});
//   send(client.hello());
//   ... client.receive(bytes) until client.ready();
//   send(client.finished()); send(client.data("EHLO a\r\n"));
//
// Between them anything may be sent: seal() encrypts any inner plaintext under the keys of the
// moment, clear() frames any bytes without.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::net {

class KeyedClient {
 public:
  struct Options {
    int version = 13;     // or 12
    bool chacha = false;  // TLS 1.2 only
    std::uint64_t seed = 1;
  };
  explicit KeyedClient(Options options);

  // The ClientHello as one record.
  std::string hello();
  // Bytes from the server. Those it could not read are dropped.
  void receive(std::string_view bytes);
  // Everything that finished() needs is here.
  bool ready() const { return ready_; }
  // TLS 1.3: a Finished record. 1.2: ClientKeyExchange, ChangeCipherSpec, Finished.
  std::string finished();
  // The same in parts, for what comes between them. 1.2 only.
  std::string key_exchange();
  std::string change_cipher();
  std::string finished_record();
  // The handshake message itself, for other records than usual.
  std::string finished_message();
  // From here on seal() uses the keys of the data.
  void switch_keys();

  // A record around `body` without encryption.
  static std::string clear(std::uint8_t type, std::string_view body);
  // TLS 1.3: `inner` with content type and padding; 1.2: the fragment of this type.
  std::string seal(std::string_view inner, std::uint8_t outer_type = 23);
  // Data as it should be.
  std::string data(std::string_view text);
  std::string alert(std::uint8_t level, std::uint8_t code);
  // TLS 1.3: the message; what seal() makes after it is under the new key.
  std::string key_update(bool ask = false);

  // What the server said under its keys, and the alert it said last (0: none).
  const std::string& heard() const { return heard_; }
  int alert_level() const { return alert_level_; }
  int alert_code() const { return alert_code_; }

 private:
  struct Keys {
    std::string secret;  // TLS 1.3
    std::string key;
    std::string nonce;
    std::uint64_t number = 0;
    bool on = false;
  };

  std::string transcript_hash() const;
  void on_record(std::uint8_t type, std::string_view header, std::string body);
  void on_plaintext(std::uint8_t type, std::string_view plaintext);
  void on_message(std::string_view message);
  void on_server_hello(std::string_view body);
  void keys_13(const std::string& shared);
  void keys_12();
  void set_traffic_keys(Keys& keys, const std::string& secret);
  std::string nonce_of(const Keys& keys, std::string_view explicit_part) const;
  std::string shared_secret(std::string_view peer) const;

  Options options_;
  std::array<unsigned char, 32> private_{};
  std::string public_;
  std::string client_random_;
  std::string server_random_;
  std::string transcript_;  // handshake messages
  std::string received_;
  std::string messages_;  // of the server, not whole yet
  std::string server_share_;
  std::string handshake_secret_;
  std::string finished_key_;
  std::string server_data_secret_;
  std::string client_data_secret_;
  std::string master_;  // TLS 1.2
  Keys out_;
  Keys in_;
  Keys next_in_;
  bool ready_ = false;
  std::string heard_;
  int alert_level_ = 0;
  int alert_code_ = 0;
};

}  // namespace mxring::net
