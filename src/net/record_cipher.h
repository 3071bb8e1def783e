// AES-GCM for TLS records, faster than Debian's wolfSSL does it: wolfSSL hands every AES-GCM
// operation of a connection to a crypto callback, which lets Intel's multi-buffer library
// (libipsec-mb: AES-NI, VAES) carry it out where the program was built with it. The processor
// decides at run time; without the library, and for anything but AES-GCM, wolfSSL's own code runs.
//
// Whichever it is, this callback sees the plaintext of a record before wolfSSL reads it, and has
// the connection's RecordRules judge it: what they refuse fails like a record with a wrong tag, and
// the alert that wolfSSL then sends is changed to the one that says why.
//
// The same callback gives connections their random bytes from one generator a thread, which spares
// every handshake the opening of /dev/urandom.
//
// Thread: any. Failure: none that is not an authentication failure of the record.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "net/record_rules.h"

namespace mxring::net {

// Expanded AES keys of one connection, one for each direction. Wiped at the end.
class RecordKeys {
 public:
  RecordKeys();
  ~RecordKeys();
  RecordKeys(const RecordKeys&) = delete;
  RecordKeys& operator=(const RecordKeys&) = delete;

  struct Expanded;
  // The expansion of `key` (16 or 32 bytes) for the cipher object `owner`; made anew when the key
  // has changed.
  const Expanded& expand(const void* owner, const unsigned char* key, std::size_t key_bytes);
  std::size_t bytes_held() const;

 private:
  std::array<std::unique_ptr<Expanded>, 2> slots_;
  std::uint8_t next_ = 0;
};

// Which keys the calling thread's cipher operations belong to, while it is inside wolfSSL, and
// which rules the records are under; without rules everything is taken.
class RecordKeysInUse {
 public:
  explicit RecordKeysInUse(RecordKeys* keys, RecordRules* rules = nullptr);
  ~RecordKeysInUse();
  RecordKeysInUse(const RecordKeysInUse&) = delete;
  RecordKeysInUse& operator=(const RecordKeysInUse&) = delete;

 private:
  RecordKeys* keys_before_;
  RecordRules* rules_before_;
};

// From the calling thread's generator. False when the kernel gave it no seed.
bool fill_random(std::span<unsigned char> out);
void wipe_secret(std::span<unsigned char> secret);

// The device to give to wolfSSL (wolfSSL_CTX_SetDevId). Registers it the first time.
int record_cipher_device();
// Whether AES-GCM runs in libipsec-mb here.
bool has_fast_gcm();
// For tests and comparisons: leaves everything to wolfSSL. Not while connections exist.
void use_fast_gcm(bool on);

}  // namespace mxring::net
