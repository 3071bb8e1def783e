// The two canonicalization algorithms of RFC 6376 3.4, by name.
#pragma once

#include <cstdint>
#include <string_view>

namespace mxring::mailauth::dkim {

enum class Canonicalization : std::uint8_t { kSimple, kRelaxed };

constexpr std::string_view word(Canonicalization canonicalization) {
  return canonicalization == Canonicalization::kSimple ? "simple" : "relaxed";
}

}  // namespace mxring::mailauth::dkim
