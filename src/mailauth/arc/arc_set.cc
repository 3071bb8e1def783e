#include "mailauth/arc/arc_set.h"

#include <algorithm>

#include "base/text.h"
#include "mail/lexer.h"

namespace mxring::mailauth::arc {

std::optional<ChainStatus> chain_status_from(std::string_view word) {
  if (base::ascii_iequals(word, "none")) return ChainStatus::kNone;
  if (base::ascii_iequals(word, "pass")) return ChainStatus::kPass;
  if (base::ascii_iequals(word, "fail")) return ChainStatus::kFail;
  return std::nullopt;
}

std::optional<std::uint32_t> parse_instance(std::string_view text) {
  if (text.empty() || text.size() > 2) return std::nullopt;
  std::uint32_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint32_t>(c - '0');
  }
  if (value == 0 || value > kSetsMax) return std::nullopt;
  return value;
}

std::optional<std::uint32_t> instance_of_results(std::string_view value) {
  mail::Lexer lexer(value);
  if (!lexer.skip_blank() || !base::ascii_iequals(lexer.word("=;"), "i")) return std::nullopt;
  if (!lexer.skip_blank() || !lexer.take('=') || !lexer.skip_blank()) return std::nullopt;
  const auto instance = parse_instance(lexer.word("=;"));
  if (!instance || !lexer.skip_blank() || !lexer.take(';')) return std::nullopt;
  return instance;
}

std::string_view value_of(std::string_view header_section, const mail::Field& field) {
  std::string_view value = header_section.substr(field.value, field.end - field.value);
  if (value.ends_with("\r\n")) value.remove_suffix(2);
  return value;
}

std::optional<std::uint32_t> Chain::instance_of_tags(std::string_view value) {
  if (dkim::parse_tag_list(value, tags_)) return std::nullopt;
  const dkim::Tag* tag = dkim::find_tag(tags_, "i");
  return tag == nullptr ? std::nullopt : parse_instance(tag->value);
}

std::optional<std::string_view> Chain::collect(std::string_view header_section,
                                               std::span<const mail::Field> fields) {
  std::uint32_t newest = 0;
  std::uint32_t count = 0;
  sets_.fill({});
  size_ = 0;
  for (std::uint32_t i = 0; i < fields.size(); ++i) {
    std::uint32_t ArcSet::*member = nullptr;
    if (fields[i].name == mail::FieldName::kArcAuthenticationResults) member = &ArcSet::results;
    if (fields[i].name == mail::FieldName::kArcMessageSignature) {
      member = &ArcSet::message_signature;
    }
    if (fields[i].name == mail::FieldName::kArcSeal) member = &ArcSet::seal;
    if (member == nullptr) continue;
    if (++count > 3 * kSetsMax) return "more ARC fields than 50 sets have";
    const std::string_view value = value_of(header_section, fields[i]);
    const auto instance =
        member == &ArcSet::results ? instance_of_results(value) : instance_of_tags(value);
    if (!instance) return "an ARC field without a valid instance";
    std::uint32_t& place = sets_[*instance - 1].*member;
    if (place != ArcSet::kMissing) return "two ARC fields of one kind with the same instance";
    place = i;
    newest = std::max(newest, *instance);
  }
  size_ = newest;
  if (count == 0) return std::nullopt;
  if (count != 3 * newest) return "an ARC set is missing, or one of its fields";
  return check_statuses(header_section, fields);
}

// The first seal says that there was no chain before it, all others that it was sound.
std::optional<std::string_view> Chain::check_statuses(std::string_view header_section,
                                                      std::span<const mail::Field> fields) {
  for (std::uint32_t instance = size_; instance >= 1; --instance) {
    const mail::Field& seal = fields[set(instance).seal];
    // It has been parsed before, for its instance.
    static_cast<void>(dkim::parse_tag_list(value_of(header_section, seal), tags_));
    const dkim::Tag* tag = dkim::find_tag(tags_, "cv");
    const auto status = tag == nullptr ? std::nullopt : chain_status_from(tag->value);
    if (status == ChainStatus::kFail) return "a seal says that the chain had failed before it";
    if (status != (instance == 1 ? ChainStatus::kNone : ChainStatus::kPass)) {
      return "a seal with a wrong cv=";
    }
    // RFC 8617 4.1.3: a seal chooses no fields; one that says it does is not what it seems.
    if (dkim::find_tag(tags_, "h") != nullptr) return "a seal with h=";
  }
  return std::nullopt;
}

}  // namespace mxring::mailauth::arc
