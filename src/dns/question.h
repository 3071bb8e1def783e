// What is asked: a name and a type of record, class IN.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/keyed_hash.h"
#include "dns/name.h"

namespace mxring::dns {

// The numbers of RFC 1035 3.2.2 and RFC 3596 2.1.
enum class Type : std::uint16_t {
  kA = 1,
  kNs = 2,  // asked for by the client's own probe only; its records are not kept
  kCname = 5,
  kPtr = 12,
  kMx = 15,
  kTxt = 16,
  kAaaa = 28,
};

std::string_view type_word(Type type);                      // "A", "AAAA", ...
std::optional<Type> type_from_word(std::string_view word);  // in any case; not NS

struct Question {
  Name name;
  Type type = Type::kA;
  friend bool operator==(const Question&, const Question&) = default;
};

// For tables by question; each has a key of its own, as strangers choose the names.
struct QuestionHash {
  std::size_t operator()(const Question& question) const {
    return hash(question.name.wire(), static_cast<std::uint64_t>(question.type));
  }
  base::KeyedHash hash = {};
};

}  // namespace mxring::dns
