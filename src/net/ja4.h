// JA4, the fingerprint of a TLS client by its ClientHello (FoxIO's public method for TLS clients):
// "t13d1516h2_8daaf6152771_e5627efa2ab1". It says which program opened a connection, whatever
// address and name that came with, since extensions and cipher suites are compared in sorted order
// and GREASE values (RFC 8701) are left out.
//
// Pure; a hash of some hundred bytes, no allocation. A hello with more cipher suites or signature
// algorithms than anybody has gets no fingerprint rather than an expensive one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace mxring::net {

// Of a ClientHello, as it stands there; numbers are big-endian, two bytes each.
struct HelloShape {
  std::uint16_t version = 0;             // legacy_version
  std::string_view suites;               // numbers
  std::string_view versions;             // numbers, of supported_versions; empty without it
  std::string_view algorithms;           // numbers, of signature_algorithms; empty without it
  std::string_view protocol;             // the first of ALPN; empty without it
  std::span<const std::uint16_t> types;  // of its extensions, in their order
};

struct Ja4 {
  static constexpr std::size_t kBytes = 36;
  std::array<char, kBytes> text{};
  std::string_view view() const {
    return text[0] == '\0' ? std::string_view() : std::string_view(text.data(), text.size());
  }
};

// Numbers in a list that are looked at; a hello with more has no fingerprint.
constexpr std::size_t kJa4ListMax = 512;

Ja4 ja4(const HelloShape& hello);

}  // namespace mxring::net
