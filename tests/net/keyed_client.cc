#include "tests/net/keyed_client.h"

#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/curve25519.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <algorithm>
#include <random>
#include <utility>

#include "base/assert.h"

namespace mxring::net {

namespace {

using Bytes = std::string_view;

const byte* in(Bytes bytes) {
  return reinterpret_cast<const byte*>(bytes.data());
}
byte* out(std::string& bytes) {
  return reinterpret_cast<byte*>(bytes.data());
}
word32 count(Bytes bytes) {
  return static_cast<word32>(bytes.size());
}

std::string number(std::uint64_t value, std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = bytes; i-- > 0; value >>= 8) text[i] = static_cast<char>(value & 0xFF);
  return text;
}
std::size_t read_number(Bytes bytes) {
  std::size_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<std::uint8_t>(c);
  return value;
}
// With its length in `bytes` bytes before it.
std::string vector(std::size_t bytes, Bytes content) {
  return number(content.size(), bytes).append(content);
}
std::string extension(std::uint16_t type, Bytes content) {
  return number(type, 2) + vector(2, content);
}
std::string message(std::uint8_t type, Bytes body) {
  return number(type, 1) + vector(3, body);
}

std::string sha256(Bytes bytes) {
  std::string digest(WC_SHA256_DIGEST_SIZE, '\0');
  wc_Sha256Hash(in(bytes), count(bytes), out(digest));
  return digest;
}
std::string hmac(Bytes key, Bytes bytes) {
  Hmac state{};
  std::string digest(WC_SHA256_DIGEST_SIZE, '\0');
  MXRING_ASSERT(wc_HmacInit(&state, nullptr, INVALID_DEVID) == 0);
  wc_HmacSetKey(&state, WC_SHA256, in(key), count(key));
  wc_HmacUpdate(&state, in(bytes), count(bytes));
  wc_HmacFinal(&state, out(digest));
  wc_HmacFree(&state);
  return digest;
}
// HKDF-Extract is one HMAC, and so is HKDF-Expand of up to 32 bytes (RFC 5869).
std::string expand_label(Bytes secret, Bytes label, Bytes context, std::size_t bytes) {
  const std::string info =
      number(bytes, 2) + vector(1, "tls13 " + std::string(label)) + vector(1, context) + '\x01';
  return hmac(secret, info).substr(0, bytes);
}
std::string prf(Bytes secret, Bytes label, Bytes seed, std::size_t bytes) {
  const std::string start = std::string(label).append(seed);
  std::string result;
  for (std::string a = hmac(secret, start); result.size() < bytes; a = hmac(secret, a)) {
    result += hmac(secret, a + start);
  }
  return result.substr(0, bytes);
}

constexpr std::size_t kTag = 16;

std::string encrypt(bool chacha, Bytes key, Bytes nonce, Bytes additional, Bytes plaintext) {
  std::string sealed(plaintext.size() + kTag, '\0');
  byte* const tag = out(sealed) + plaintext.size();
  if (chacha) {
    wc_ChaCha20Poly1305_Encrypt(in(key), in(nonce), in(additional), count(additional),
                                in(plaintext), count(plaintext), out(sealed), tag);
    return sealed;
  }
  Aes aes{};
  MXRING_ASSERT(wc_AesInit(&aes, nullptr, INVALID_DEVID) == 0);
  wc_AesGcmSetKey(&aes, in(key), count(key));
  wc_AesGcmEncrypt(&aes, out(sealed), in(plaintext), count(plaintext), in(nonce), count(nonce), tag,
                   kTag, in(additional), count(additional));
  wc_AesFree(&aes);
  return sealed;
}

// False: not what its tag says.
bool decrypt(bool chacha, Bytes key, Bytes nonce, Bytes additional, Bytes sealed,
             std::string& plaintext) {
  if (sealed.size() < kTag) return false;
  plaintext.assign(sealed.size() - kTag, '\0');
  const byte* const tag = in(sealed) + plaintext.size();
  if (chacha) {
    return wc_ChaCha20Poly1305_Decrypt(in(key), in(nonce), in(additional), count(additional),
                                       in(sealed), count(Bytes(plaintext)), tag,
                                       out(plaintext)) == 0;
  }
  Aes aes{};
  MXRING_ASSERT(wc_AesInit(&aes, nullptr, INVALID_DEVID) == 0);
  wc_AesGcmSetKey(&aes, in(key), count(key));
  const int result = wc_AesGcmDecrypt(&aes, out(plaintext), in(sealed), count(plaintext), in(nonce),
                                      count(nonce), tag, kTag, in(additional), count(additional));
  wc_AesFree(&aes);
  return result == 0;
}

}  // namespace

KeyedClient::KeyedClient(Options options) : options_(options) {
  std::mt19937_64 random(options.seed);
  for (auto& each : private_) each = static_cast<unsigned char>(random());
  for (int i = 0; i < 32; ++i) client_random_ += static_cast<char>(random());
  private_[0] &= 248;
  private_[31] = static_cast<unsigned char>((private_[31] & 127) | 64);
  public_.assign(CURVE25519_KEYSIZE, '\0');
  const int made =
      wc_curve25519_make_pub(CURVE25519_KEYSIZE, out(public_), CURVE25519_KEYSIZE, private_.data());
  MXRING_ASSERT(made == 0);
}

std::string KeyedClient::hello() {
  const bool tls13 = options_.version == 13;
  const std::uint16_t suite = tls13 ? 0x1301 : options_.chacha ? 0xCCA9 : 0xC02B;
  std::string extensions = extension(10, vector(2, number(29, 2))) +      // X25519
                           extension(13, vector(2, number(0x0403, 2))) +  // ECDSA P-256
                           extension(11, vector(1, number(0, 1))) +       // uncompressed
                           extension(0, vector(2, number(0, 1) + vector(2, "mx.example")));
  if (tls13) {
    extensions += extension(43, vector(1, number(0x0304, 2))) +
                  extension(51, vector(2, number(29, 2) + vector(2, public_)));
  }
  const std::string hello =
      message(1, number(0x0303, 2) + client_random_ + vector(1, std::string(32, 's')) +
                     vector(2, number(suite, 2)) + vector(1, number(0, 1)) + vector(2, extensions));
  transcript_ += hello;
  return clear(22, hello);
}

std::string KeyedClient::clear(std::uint8_t type, std::string_view body) {
  return number(type, 1) + number(0x0303, 2) + vector(2, body);
}

std::string KeyedClient::transcript_hash() const {
  return sha256(transcript_);
}

std::string KeyedClient::shared_secret(std::string_view peer) const {
  curve25519_key ours{};
  curve25519_key theirs{};
  wc_curve25519_init(&ours);
  wc_curve25519_init(&theirs);
  std::string secret(CURVE25519_KEYSIZE, '\0');
  word32 bytes = CURVE25519_KEYSIZE;
  WC_RNG rng{};
  wc_InitRng(&rng);
#ifdef WOLFSSL_CURVE25519_BLINDING
  wc_curve25519_set_rng(&ours, &rng);
#endif
  int result = wc_curve25519_import_private_ex(private_.data(), CURVE25519_KEYSIZE, &ours,
                                               EC25519_LITTLE_ENDIAN);
  if (result == 0) {
    result = wc_curve25519_import_public_ex(in(peer), count(peer), &theirs, EC25519_LITTLE_ENDIAN);
  }
  if (result == 0) {
    result =
        wc_curve25519_shared_secret_ex(&ours, &theirs, out(secret), &bytes, EC25519_LITTLE_ENDIAN);
  }
  wc_curve25519_free(&ours);
  wc_curve25519_free(&theirs);
  wc_FreeRng(&rng);
  MXRING_ASSERT(result == 0);
  return secret;
}

void KeyedClient::set_traffic_keys(Keys& keys, const std::string& secret) {
  keys = {.secret = secret,
          .key = expand_label(secret, "key", "", 16),
          .nonce = expand_label(secret, "iv", "", 12),
          .number = 0,
          .on = true};
}

// RFC 8446 7.1.
void KeyedClient::keys_13(const std::string& shared) {
  const std::string zeros(32, '\0');
  const std::string early = hmac(zeros, zeros);
  handshake_secret_ = hmac(expand_label(early, "derived", sha256(""), 32), shared);
  const std::string hash = transcript_hash();
  const std::string client = expand_label(handshake_secret_, "c hs traffic", hash, 32);
  set_traffic_keys(out_, client);
  set_traffic_keys(in_, expand_label(handshake_secret_, "s hs traffic", hash, 32));
  finished_key_ = expand_label(client, "finished", "", 32);
}

// RFC 5246 6.3 and 8.1.
void KeyedClient::keys_12() {
  master_ = prf(shared_secret(server_share_), "master secret", client_random_ + server_random_, 48);
  const std::size_t key = options_.chacha ? 32 : 16;
  const std::size_t nonce = options_.chacha ? 12 : 4;
  const std::string block =
      prf(master_, "key expansion", server_random_ + client_random_, 2 * key + 2 * nonce);
  out_.key = block.substr(0, key);
  next_in_.key = block.substr(key, key);
  out_.nonce = block.substr(2 * key, nonce);
  next_in_.nonce = block.substr(2 * key + nonce, nonce);
  next_in_.on = true;
}

std::string KeyedClient::nonce_of(const Keys& keys, std::string_view explicit_part) const {
  if (options_.version == 12 && !options_.chacha) return keys.nonce + std::string(explicit_part);
  std::string nonce = keys.nonce;
  const std::string sequence = number(keys.number, 12);
  for (std::size_t i = 0; i < nonce.size(); ++i)
    nonce[i] = static_cast<char>(nonce[i] ^ sequence[i]);
  return nonce;
}

std::string KeyedClient::seal(std::string_view inner, std::uint8_t outer_type) {
  std::string body;
  if (options_.version == 13) {
    const std::string header =
        number(outer_type, 1) + number(0x0303, 2) + number(inner.size() + kTag, 2);
    body = encrypt(false, out_.key, nonce_of(out_, {}), header, inner);
  } else {
    const std::string sequence = number(out_.number, 8);
    const std::string header =
        sequence + number(outer_type, 1) + number(0x0303, 2) + number(inner.size(), 2);
    body = encrypt(options_.chacha, out_.key, nonce_of(out_, sequence), header, inner);
    if (!options_.chacha) body = sequence + body;
  }
  ++out_.number;
  return clear(outer_type, body);
}

std::string KeyedClient::data(std::string_view text) {
  return options_.version == 13 ? seal(std::string(text) + '\x17') : seal(text);
}

std::string KeyedClient::alert(std::uint8_t level, std::uint8_t code) {
  const std::string alert = number(level, 1) + number(code, 1);
  return options_.version == 13 ? seal(alert + '\x15') : seal(alert, 21);
}

std::string KeyedClient::key_update(bool ask) {
  const std::string record = seal(message(24, number(ask ? 1 : 0, 1)) + '\x16');
  set_traffic_keys(out_, expand_label(out_.secret, "traffic upd", "", 32));
  return record;
}

std::string KeyedClient::key_exchange() {
  const std::string exchange = message(16, vector(1, public_));
  transcript_ += exchange;
  keys_12();
  return clear(22, exchange);
}

std::string KeyedClient::change_cipher() {
  out_.on = true;
  out_.number = 0;
  return clear(20, "\x01");
}

std::string KeyedClient::finished_message() {
  if (options_.version == 13) return message(20, hmac(finished_key_, transcript_hash()));
  return message(20, prf(master_, "client finished", transcript_hash(), 12));
}

std::string KeyedClient::finished_record() {
  const std::string finished = finished_message();
  return options_.version == 13 ? seal(finished + '\x16') : seal(finished, 22);
}

void KeyedClient::switch_keys() {
  if (options_.version == 13) set_traffic_keys(out_, client_data_secret_);
}

std::string KeyedClient::finished() {
  std::string flight;
  if (options_.version == 12) flight = key_exchange() + change_cipher();
  flight += finished_record();
  switch_keys();
  return flight;
}

void KeyedClient::receive(std::string_view bytes) {
  received_ += bytes;
  while (received_.size() >= 5) {
    const std::size_t body = read_number(Bytes(received_).substr(3, 2));
    if (received_.size() < 5 + body) return;
    const std::string record = received_.substr(0, 5 + body);
    received_.erase(0, record.size());
    on_record(static_cast<std::uint8_t>(record[0]), record.substr(0, 5), record.substr(5));
  }
}

void KeyedClient::on_record(std::uint8_t type, std::string_view header, std::string body) {
  if (type == 20) {
    if (options_.version == 12) in_ = std::exchange(next_in_, {});
    return;
  }
  if (!in_.on || (options_.version == 13 && type != 23)) {
    on_plaintext(type, body);
    return;
  }
  std::string plaintext;
  if (options_.version == 13) {
    if (!decrypt(false, in_.key, nonce_of(in_, {}), header, body, plaintext)) return;
    while (plaintext.ends_with('\0')) plaintext.pop_back();
    if (plaintext.empty()) return;
    type = static_cast<std::uint8_t>(plaintext.back());
    plaintext.pop_back();
  } else {
    const std::size_t explicit_bytes = options_.chacha ? 0 : 8;
    if (body.size() < explicit_bytes + kTag) return;
    const std::string additional = number(in_.number, 8) + std::string(header.substr(0, 3)) +
                                   number(body.size() - explicit_bytes - kTag, 2);
    if (!decrypt(options_.chacha, in_.key, nonce_of(in_, Bytes(body).substr(0, explicit_bytes)),
                 additional, Bytes(body).substr(explicit_bytes), plaintext)) {
      return;
    }
  }
  ++in_.number;
  on_plaintext(type, plaintext);
}

void KeyedClient::on_plaintext(std::uint8_t type, std::string_view plaintext) {
  if (type == 23) heard_ += plaintext;
  if (type == 21 && plaintext.size() == 2) {
    alert_level_ = plaintext[0];
    alert_code_ = plaintext[1];
  }
  if (type != 22) return;
  messages_ += plaintext;
  while (messages_.size() >= 4) {
    const std::size_t whole = 4 + read_number(Bytes(messages_).substr(1, 3));
    if (messages_.size() < whole) return;
    const std::string one = messages_.substr(0, whole);
    messages_.erase(0, whole);
    on_message(one);
  }
}

void KeyedClient::on_message(std::string_view whole) {
  if (ready_) {
    // A new key of the server; tickets, and its Finished in TLS 1.2, are nothing to us.
    if (options_.version == 13 && whole[0] == 24) {
      set_traffic_keys(in_, expand_label(in_.secret, "traffic upd", "", 32));
    }
    return;
  }
  transcript_ += whole;
  const std::string_view body = whole.substr(4);
  switch (whole[0]) {
    case 2:
      on_server_hello(body);
      break;
    case 12:  // ServerKeyExchange: named curve, its number, the point
      server_share_ = std::string(body.substr(4, static_cast<std::uint8_t>(body[3])));
      break;
    case 14:  // ServerHelloDone
      ready_ = true;
      break;
    case 20: {
      if (options_.version != 13) break;
      const std::string zeros(32, '\0');
      const std::string master =
          hmac(expand_label(handshake_secret_, "derived", sha256(""), 32), zeros);
      client_data_secret_ = expand_label(master, "c ap traffic", transcript_hash(), 32);
      server_data_secret_ = expand_label(master, "s ap traffic", transcript_hash(), 32);
      set_traffic_keys(in_, server_data_secret_);
      ready_ = true;
      break;
    }
    default:
      break;
  }
}

void KeyedClient::on_server_hello(std::string_view body) {
  server_random_ = std::string(body.substr(2, 32));
  if (options_.version != 13) return;
  std::string_view rest = body.substr(34);
  rest.remove_prefix(1 + static_cast<std::size_t>(static_cast<std::uint8_t>(rest[0])) + 3);
  std::string_view extensions = rest.substr(2);
  while (extensions.size() >= 4) {
    const std::size_t type = read_number(extensions.substr(0, 2));
    const std::size_t bytes = read_number(extensions.substr(2, 2));
    if (type == 51) server_share_ = std::string(extensions.substr(8, bytes - 4));
    extensions.remove_prefix(4 + bytes);
  }
  keys_13(shared_secret(server_share_));
}

}  // namespace mxring::net
