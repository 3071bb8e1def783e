#include "net/tls_ticket_keys.h"

#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

#include <algorithm>
#include <string>

#include "base/assert.h"
#include "net/record_cipher.h"

namespace mxring::net {

namespace {

// What is authenticated beside the ticket.
std::string bound_to(std::span<const unsigned char, TlsTicketKeys::kNameBytes> key_name,
                     std::string_view server_name) {
  return std::string(key_name.begin(), key_name.end()).append(server_name);
}

const unsigned char* bytes_of(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

TlsTicketKeys::TlsTicketKeys(std::int64_t rotation_ns) : rotation_ns_(rotation_ns) {}

TlsTicketKeys::~TlsTicketKeys() {
  for (Key* key : {&current_, &previous_}) wipe_secret(key->secret);
}

// False when there is no current key.
bool TlsTicketKeys::rotate(base::MonoTime now) {
  const auto outlived = [&](const Key& key, int rotations) {
    return key.live && now - key.made >= rotations * rotation_ns_;
  };
  if (outlived(previous_, 2)) {
    previous_.live = false;
    wipe_secret(previous_.secret);
  }
  if (outlived(current_, 1)) {
    wipe_secret(previous_.secret);
    previous_ = current_;
    previous_.live = !outlived(current_, 2);
    wipe_secret(current_.secret);
    current_.live = false;
  }
  if (current_.live) return true;
  if (!fill_random(current_.name) || !fill_random(current_.secret)) return false;
  MXRING_ASSERT(!current_.live);
  current_.made = now;
  current_.live = true;
  return true;
}

bool TlsTicketKeys::encrypt(std::string_view server_name, std::span<unsigned char> ticket,
                            std::span<unsigned char, kNameBytes> name,
                            std::span<unsigned char, kNonceBytes> nonce,
                            std::span<unsigned char, kTagBytes> tag, base::MonoTime now) {
  MXRING_ASSERT(!ticket.empty());
  const std::lock_guard lock(mutex_);
  // A random nonce repeats by chance only; a million handshakes a second for a day are 2^36 of
  // them, and make that 2^-25 likely.
  if (!rotate(now) || !fill_random(nonce)) return false;
  std::ranges::copy(current_.name, name.begin());
  const std::string bound = bound_to(current_.name, server_name);
  return wc_ChaCha20Poly1305_Encrypt(current_.secret.data(), nonce.data(), bytes_of(bound),
                                     static_cast<word32>(bound.size()), ticket.data(),
                                     static_cast<word32>(ticket.size()), ticket.data(),
                                     tag.data()) == 0;
}

bool TlsTicketKeys::decrypt(std::string_view server_name, std::span<unsigned char> ticket,
                            std::span<const unsigned char, kNameBytes> name,
                            std::span<const unsigned char, kNonceBytes> nonce,
                            std::span<const unsigned char, kTagBytes> tag, base::MonoTime now) {
  const std::lock_guard lock(mutex_);
  if (!rotate(now)) return false;
  for (const Key* key : {&current_, &previous_}) {
    if (!key->live || !std::ranges::equal(key->name, name)) continue;
    const std::string bound = bound_to(name, server_name);
    return wc_ChaCha20Poly1305_Decrypt(
               key->secret.data(), nonce.data(), bytes_of(bound), static_cast<word32>(bound.size()),
               ticket.data(), static_cast<word32>(ticket.size()), tag.data(), ticket.data()) == 0;
  }
  return false;
}

}  // namespace mxring::net
