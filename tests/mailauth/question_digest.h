// The same number for the same question in every run, for tests that make answers of it.
#pragma once

#include <cstdint>

#include "dns/question.h"

namespace mxring::test {

inline std::uint64_t digest_of(const dns::Question& question) {
  std::uint64_t digest = 0xCBF29CE484222325ULL ^ static_cast<std::uint64_t>(question.type);
  for (const char c : question.name.wire()) {
    digest = (digest ^ static_cast<std::uint8_t>(c)) * 0x100000001B3ULL;
  }
  return digest ^ digest >> 29;
}

}  // namespace mxring::test
