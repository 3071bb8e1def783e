#include "dns/question.h"

#include <array>
#include <cstring>
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

std::uint64_t hash_of(const Question& question) {
  // Eight bytes at a time; multiplication and a fold spread them. Names come from strangers, but
  // what they could win by colliding is bounded by the cache's size.
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15ULL;
  std::string_view rest = question.name.wire();
  std::uint64_t hash = (static_cast<std::uint64_t>(question.type) << 8 | rest.size()) * kOdd;
  while (!rest.empty()) {
    std::uint64_t word = 0;
    const std::size_t bytes = rest.size() < 8 ? rest.size() : 8;
    std::memcpy(&word, rest.data(), bytes);
    hash = (hash ^ word) * kOdd;
    hash ^= hash >> 29;
    rest.remove_prefix(bytes);
  }
  return hash ^ (hash >> 32);
}

}  // namespace mxring::dns
