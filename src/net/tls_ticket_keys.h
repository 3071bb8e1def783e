// The keys that session tickets are encrypted with (RFC 5077, RFC 8446 4.6.1), shared by all
// shards and all certificates: a session may be resumed on any of them. A key encrypts for one
// rotation and decrypts for another one after that; then it is wiped, and what was recorded of
// sessions under it can no longer be read by anybody.
//
// Thread: any; a lock, taken about once a handshake. Time is an argument.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <span>
#include <string_view>

#include "base/clock.h"

namespace mxring::net {

class TlsTicketKeys {
 public:
  static constexpr std::size_t kNameBytes = 16;
  static constexpr std::size_t kNonceBytes = 12;
  static constexpr std::size_t kTagBytes = 16;

  explicit TlsTicketKeys(std::int64_t rotation_ns);
  ~TlsTicketKeys();
  TlsTicketKeys(const TlsTicketKeys&) = delete;
  TlsTicketKeys& operator=(const TlsTicketKeys&) = delete;

  // Both work in place and are false when they cannot: no randomness; a key that is gone, or a
  // ticket that is not ours or was made for another server name: a session is not resumed under
  // another (RFC 6066 3). `server_name` is the one that the client asked for, "" if none.
  bool encrypt(std::string_view server_name, std::span<unsigned char> ticket,
               std::span<unsigned char, kNameBytes> name,
               std::span<unsigned char, kNonceBytes> nonce, std::span<unsigned char, kTagBytes> tag,
               base::MonoTime now);
  bool decrypt(std::string_view server_name, std::span<unsigned char> ticket,
               std::span<const unsigned char, kNameBytes> name,
               std::span<const unsigned char, kNonceBytes> nonce,
               std::span<const unsigned char, kTagBytes> tag, base::MonoTime now);

  std::int64_t rotation_ns() const { return rotation_ns_; }

 private:
  struct Key {
    std::array<unsigned char, kNameBytes> name{};
    std::array<unsigned char, 32> secret{};
    base::MonoTime made;
    bool live = false;
  };
  bool rotate(base::MonoTime now);

  const std::int64_t rotation_ns_;
  std::mutex mutex_;
  Key current_;
  Key previous_;
};

}  // namespace mxring::net
