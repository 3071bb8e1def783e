// The part of the evaluator that compares: mechanisms against the client's address and names
// (RFC 7208 5), and the values of macros (7).
#include <algorithm>

#include "mailauth/spf/evaluator.h"

namespace mxring::mailauth::spf {

namespace {

// How many names are asked for at once: the answers arrive together, and little is asked in vain
// when an early one matches.
constexpr std::size_t kAhead = 4;

bool same_prefix(const base::IpAddress& a, const base::IpAddress& b, unsigned bits) {
  const unsigned whole = bits / 8;
  if (!std::equal(a.bytes().begin(), a.bytes().begin() + whole, b.bytes().begin())) return false;
  if (bits % 8 == 0) return true;
  return (a.bytes()[whole] ^ b.bytes()[whole]) >> (8 - bits % 8) == 0;
}

}  // namespace

bool Evaluator::matches(const Term& term, const base::IpAddress& address) const {
  if (address.is_v4() != client_.is_v4()) return false;
  if (term.mechanism == Mechanism::kIp6 && address.is_v4()) return false;
  return same_prefix(client_, address, client_.is_v4() ? term.prefix4_bits : term.prefix6_bits);
}

Evaluator::Match Evaluator::match_a(const Term& term, const dns::Name& name) {
  const dns::Answer* answer = need(name, address_type());
  if (answer == nullptr) return without();
  if (answer->is_failure()) return end_without_answer(*answer, name);
  if (answer->is_void()) return count_void() ? Match::kNo : Match::kEnded;
  const bool any = std::ranges::any_of(answer->addresses,
                                       [&](const auto& address) { return matches(term, address); });
  return any ? Match::kYes : Match::kNo;
}

Evaluator::Match Evaluator::match_exists(const dns::Name& name) {
  // A records whatever the client's family (RFC 7208 5.7).
  const dns::Answer* answer = need(name, dns::Type::kA);
  if (answer == nullptr) return without();
  if (answer->is_failure()) return end_without_answer(*answer, name);
  if (answer->is_void()) return count_void() ? Match::kNo : Match::kEnded;
  return Match::kYes;
}

Evaluator::Match Evaluator::match_mx(const Term& term, const dns::Name& name) {
  const dns::Answer* answer = need(name, dns::Type::kMx);
  if (answer == nullptr) return without();
  if (answer->is_failure()) return end_without_answer(*answer, name);
  if (answer->is_void()) return count_void() ? Match::kNo : Match::kEnded;
  const auto& exchangers = answer->exchangers;
  if (exchangers.size() > kNamesMax) {
    return end(Result::kPermerror, "more than 10 mail exchangers at", name.to_text());
  }
  std::size_t hosts = 0;
  bool found = false;
  for (std::size_t i = 0; i < exchangers.size(); ++i) {
    if (exchangers[i].name.is_root()) continue;  // null MX
    ++hosts;
    const dns::Answer* host = need(exchangers[i].name, address_type());
    if (host == nullptr) {
      const std::size_t end = std::min(i + kAhead, exchangers.size());
      for (std::size_t next = i + 1; next < end && !done_; ++next) {
        if (!exchangers[next].name.is_root()) need(exchangers[next].name, address_type());
      }
      return without();
    }
    if (host->is_failure()) return end_without_answer(*host, exchangers[i].name);
    found = found || !host->is_void();
    for (const base::IpAddress& address : host->addresses) {
      if (matches(term, address)) return Match::kYes;
    }
  }
  if (hosts != 0 && !found && !count_void()) return Match::kEnded;
  return Match::kNo;
}

// The names of the client that may be looked at: the first ten, without those that no macro, log or
// header should have to carry. False when they must be waited for.
bool Evaluator::client_names(ClientNames& names) {
  const dns::Answer* answer = need(dns::Name::reverse(client_), dns::Type::kPtr);
  if (answer == nullptr) return false;
  // RFC 7208 5.5 goes on without what DNS does not say; what was not asked may be otherwise.
  if (answer->not_asked) {
    end_without_answer(*answer, dns::Name::reverse(client_));
    return false;
  }
  names.is_void = answer->is_void();
  const std::size_t count = std::min(answer->names.size(), kNamesMax);
  for (std::size_t i = 0; i < count; ++i) {
    if (answer->names[i].is_host_name()) names.storage[names.count++] = answer->names[i];
  }
  return true;
}

Evaluator::Match Evaluator::confirm(std::span<const dns::Name> names, std::size_t at) {
  const dns::Answer* answer = need(names[at], address_type());
  if (answer == nullptr) {
    const std::size_t end = std::min(at + kAhead, names.size());
    for (std::size_t next = at + 1; next < end && !done_; ++next) need(names[next], address_type());
    return without();
  }
  if (answer->not_asked) return end_without_answer(*answer, names[at]);
  // A name without an answer is skipped (RFC 7208 5.5).
  const bool leads_back = std::ranges::find(answer->addresses, client_) != answer->addresses.end();
  return leads_back ? Match::kYes : Match::kNo;
}

Evaluator::Match Evaluator::match_ptr(const dns::Name& domain) {
  ClientNames found;
  if (!client_names(found)) return without();
  if (found.is_void && !count_void()) return Match::kEnded;
  // Only a name in the domain can match, so only those are asked for.
  const auto elsewhere = [&](const dns::Name& name) { return !name.is_within(domain); };
  const std::span all = found.names();
  const std::span names(all.begin(), std::ranges::remove_if(all, elsewhere).begin());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Match match = confirm(names, i);
    if (match != Match::kNo) return match;
  }
  return Match::kNo;
}

// %{p}: the domain itself if the client has that name, else one below it, else any
// (RFC 7208 7.3). False when answers are missing.
bool Evaluator::validated_name(const dns::Name& domain, std::string& name) {
  ClientNames found;
  if (!client_names(found)) return false;
  const std::span names = found.names();
  auto placed = names.begin();
  const auto bring_forward = [&](auto&& wanted) {
    for (auto name_at = placed; name_at != names.end(); ++name_at) {
      if (wanted(*name_at)) std::rotate(placed++, name_at, name_at + 1);
    }
  };
  bring_forward([&](const dns::Name& candidate) { return candidate == domain; });
  bring_forward([&](const dns::Name& candidate) { return candidate.is_within(domain); });
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Match match = confirm(names, i);
    if (match == Match::kNeedsAnswers || match == Match::kEnded) return false;
    if (match == Match::kYes) {
      names[i].to_raw_text(name);
      return true;
    }
  }
  name = "unknown";
  return true;
}

// RFC 8616 4: DNS has no labels for a local part that is not ASCII, so what needs one matches
// nothing.
bool Evaluator::cannot_match(std::string_view text) const {
  return !local_part_is_ascii_ && (uses_letter(text, 'l') || uses_letter(text, 's'));
}

// The values for expanding `text` in this frame. False when answers are missing.
bool Evaluator::expand_ready(const Frame& frame, std::string_view text, MacroValues& values) {
  if (uses_letter(text, 'p') && !validated_name(frame.domain, client_name_)) return false;
  frame.domain.to_raw_text(domain_text_);
  sender_ = local_part_;
  sender_ += '@';
  sender_ += sender_domain_;
  values = {.sender = sender_,
            .local_part = local_part_,
            .sender_domain = sender_domain_,
            .domain = domain_text_,
            .client = client_,
            .client_name = client_name_,
            .helo = helo_,
            .receiver = receiver_,
            .now_unix_s = now_unix_s_};
  return true;
}

Evaluator::Target Evaluator::target_of(const Frame& frame, Part spec, std::int32_t name) {
  if (spec.size == 0) return {TargetState::kReady, frame.domain};
  const Record& record = frame.policy->record();
  if (name >= 0) return {TargetState::kReady, record.names[static_cast<std::size_t>(name)]};
  const std::string_view text = record.part(spec);
  const bool has_macros = text.find('%') != std::string_view::npos;
  if (has_macros) {
    for (const char letter : {'s', 'l', 'h'}) repeatable_ &= !uses_letter(text, letter);
  }
  if (cannot_match(text)) return {TargetState::kNoMatch, {}};
  MacroValues values;
  if (has_macros && !expand_ready(frame, text, values)) return {TargetState::kWait, {}};
  const auto expanded = expand_name(text, values);
  return expanded ? Target{TargetState::kReady, *expanded} : Target{TargetState::kInvalid, {}};
}

}  // namespace mxring::mailauth::spf
