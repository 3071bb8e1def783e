#include "dns/question.h"

#include <array>
#include <utility>

#include "base/text.h"

namespace mxring::dns {

namespace {

constexpr std::array<std::pair<Type, std::string_view>, 6> kWords{{
    {Type::kA, "A"},
    {Type::kAaaa, "AAAA"},
    {Type::kMx, "MX"},
    {Type::kTxt, "TXT"},
    {Type::kPtr, "PTR"},
    {Type::kCname, "CNAME"},
}};

}  // namespace

std::string_view type_word(Type type) {
  for (const auto& [known, word] : kWords) {
    if (known == type) return word;
  }
  return "NS";
}

std::optional<Type> type_from_word(std::string_view word) {
  for (const auto& [type, known] : kWords) {
    if (base::ascii_iequals(known, word)) return type;
  }
  return std::nullopt;
}

}  // namespace mxring::dns
