#include "mailauth/spf/record.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "mailauth/spf/macro.h"

namespace mxring::mailauth::spf {

namespace {

constexpr std::string_view kVersion = "v=spf1";
constexpr char kPolicyTag = 0;  // its address

enum class Argument : std::uint8_t { kNo, kMay, kMust, kNetwork };

struct MechanismRow {
  std::string_view name;
  Mechanism mechanism;
  Argument argument;  // the domain-spec behind the colon
  bool prefix;        // may end in prefix lengths
};

constexpr std::array<MechanismRow, 8> kMechanisms{{
    {"all", Mechanism::kAll, Argument::kNo, false},
    {"include", Mechanism::kInclude, Argument::kMust, false},
    {"a", Mechanism::kA, Argument::kMay, true},
    {"mx", Mechanism::kMx, Argument::kMay, true},
    {"ptr", Mechanism::kPtr, Argument::kMay, false},
    {"ip4", Mechanism::kIp4, Argument::kNetwork, true},
    {"ip6", Mechanism::kIp6, Argument::kNetwork, true},
    {"exists", Mechanism::kExists, Argument::kMust, false},
}};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Digits at the end of `text` behind `mark` are a prefix length: removed, and put into `bits`.
// False when they are one, but not a valid one. Without them nothing changes.
bool take_prefix(std::string_view& text, std::string_view mark, unsigned bits_max,
                 std::uint8_t& bits) {
  std::size_t digits = 0;
  while (digits < text.size() && is_digit(text[text.size() - 1 - digits])) ++digits;
  const std::string_view before = text.substr(0, text.size() - digits);
  if (digits == 0 || !before.ends_with(mark)) return true;
  const std::string_view number = text.substr(text.size() - digits);
  if (digits > 3 || (digits > 1 && number[0] == '0')) return false;
  unsigned value = 0;
  for (const char c : number) value = value * 10 + static_cast<unsigned>(c - '0');
  if (value > bits_max) return false;
  bits = static_cast<std::uint8_t>(value);
  text = before.substr(0, before.size() - mark.size());
  return true;
}

// Reads one record term by term.
class Parser {
 public:
  explicit Parser(std::string_view text) { record_.text = text; }

  std::expected<Record, SyntaxError> run() {
    const std::string_view text = record_.text;
    std::size_t at = kVersion.size();
    while (at < text.size()) {
      if (text[at] == ' ') {
        ++at;
        continue;
      }
      const std::size_t end = std::min(text.find(' ', at), text.size());
      const std::string_view term = text.substr(at, end - at);
      if (const char* what = take_term(term)) {
        return std::unexpected(SyntaxError{what, std::string(term)});
      }
      at = end;
    }
    return std::move(record_);
  }

 private:
  Part part_of(std::string_view view) const {
    return {static_cast<std::uint32_t>(view.data() - record_.text.data()),
            static_cast<std::uint32_t>(view.size())};
  }

  // The error, or nullptr.
  const char* take_term(std::string_view term) {
    // A modifier is a name with `=` right behind it, before any `:` or `/`.
    const std::size_t end = term.find_first_of(":/=");
    if (end != std::string_view::npos && term[end] == '=') {
      return take_modifier(term.substr(0, end), term.substr(end + 1));
    }
    return take_mechanism(term);
  }

  const char* take_modifier(std::string_view name, std::string_view value) {
    const auto is_letter = [](char c) {
      return base::ascii_lower(c) >= 'a' && base::ascii_lower(c) <= 'z';
    };
    const auto is_name_byte = [&](char c) {
      return is_letter(c) || is_digit(c) || c == '-' || c == '_' || c == '.';
    };
    if (name.empty() || !is_letter(name[0]) || !std::ranges::all_of(name, is_name_byte)) {
      return "not the name of a modifier";
    }
    const bool redirect = base::ascii_iequals(name, "redirect");
    if (redirect || base::ascii_iequals(name, "exp")) {
      if (!is_domain_spec(value)) return "not a domain";
      std::optional<Part>& slot = redirect ? record_.redirect : record_.explanation;
      if (slot) return "a modifier that may appear only once";
      slot = part_of(value);
      return nullptr;
    }
    return is_macro_string(value, MacroPlace::kDomain) ? nullptr : "malformed macro";
  }

  const char* take_mechanism(std::string_view text) {
    Term term;
    constexpr std::string_view kQualifiers = "+-~?";
    constexpr std::array<Result, 4> kResults{Result::kPass, Result::kFail, Result::kSoftfail,
                                             Result::kNeutral};
    const std::size_t qualifier = kQualifiers.find(text[0]);
    if (qualifier != std::string_view::npos) {
      term.result = kResults[qualifier];
      text.remove_prefix(1);
    }
    term.text = part_of(text);
    const std::size_t end = std::min(text.find_first_of(":/"), text.size());
    const auto row = std::ranges::find_if(kMechanisms, [&](const MechanismRow& known) {
      return base::ascii_iequals(known.name, text.substr(0, end));
    });
    if (row == kMechanisms.end()) return "unknown mechanism";
    term.mechanism = row->mechanism;
    std::string_view rest = text.substr(end);
    const char* error = row->argument == Argument::kNetwork ? take_network(rest, term)
                                                            : take_spec(rest, *row, term);
    if (error == nullptr) record_.terms.push_back(term);
    return error;
  }

  const char* take_network(std::string_view rest, Term& term) {
    const bool v4 = term.mechanism == Mechanism::kIp4;
    const bool prefix = v4 ? take_prefix(rest, "/", 32, term.prefix4_bits)
                           : take_prefix(rest, "/", 128, term.prefix6_bits);
    if (!prefix) return "not a prefix length";
    if (!rest.starts_with(':')) return "an address is missing";
    rest.remove_prefix(1);
    // Which of the two it is, is decided by how it is written: ::ffff:192.0.2.1 is an ip6.
    const bool colons = rest.find(':') != std::string_view::npos;
    const auto address = base::IpAddress::parse(rest);
    if (!address || colons == v4) return "not an address";
    // A mapped IPv4 address stays IPv4 here, and then matches nothing: no IPv6 client has it, and
    // IPv4 clients are compared with ip4 only (RFC 7208 5, 5.6).
    term.network = *address;
    return nullptr;
  }

  static const char* check_spec(std::string_view spec) {
    if (spec.empty()) return "a domain is missing";
    return is_domain_spec(spec) ? nullptr : "not a domain";
  }

  const char* take_spec(std::string_view rest, const MechanismRow& row, Term& term) {
    if (row.prefix && (!take_prefix(rest, "//", 128, term.prefix6_bits) ||
                       !take_prefix(rest, "/", 32, term.prefix4_bits))) {
      return "not a prefix length";
    }
    if (rest.empty()) return row.argument == Argument::kMust ? "a domain is missing" : nullptr;
    if (rest[0] != ':' || row.argument == Argument::kNo) return "nothing may follow the name";
    rest.remove_prefix(1);
    term.spec = part_of(rest);
    if (rest.find('%') == std::string_view::npos && record_.names.size() < Record::kNamesMax) {
      if (const auto name = dns::Name::parse(rest)) {
        term.name = static_cast<std::int32_t>(record_.names.size());
        record_.names.push_back(*name);
      }
    }
    return check_spec(rest);
  }

  Record record_;
};

}  // namespace

bool is_spf_record(std::string_view text) {
  return text.size() >= kVersion.size() &&
         base::ascii_iequals(text.substr(0, kVersion.size()), kVersion) &&
         (text.size() == kVersion.size() || text[kVersion.size()] == ' ');
}

std::expected<Record, SyntaxError> parse(std::string_view text) {
  if (!is_spf_record(text)) {
    return std::unexpected(SyntaxError{"does not begin with v=spf1", std::string(text)});
  }
  return Parser(text).run();
}

Policy::Policy(const std::vector<std::string>& texts) : ParsedForm(&kPolicyTag) {
  const std::string* found = nullptr;
  for (const std::string& text : texts) {
    if (!is_spf_record(text)) continue;
    if (found != nullptr) {
      state_ = State::kSeveral;
      return;
    }
    found = &text;
  }
  if (found == nullptr) return;
  auto parsed = parse(*found);
  state_ = parsed ? State::kOne : State::kMalformed;
  if (parsed) {
    record_ = std::move(*parsed);
  } else {
    error_ = std::move(parsed.error());
  }
}

std::shared_ptr<const Policy> Policy::of(const dns::Answer& answer) {
  if (auto kept = answer.parsed(&kPolicyTag)) return std::static_pointer_cast<const Policy>(kept);
  auto made = std::make_shared<const Policy>(answer.texts);
  answer.set_parsed(made);
  return made;
}

std::size_t Policy::bytes() const {
  return sizeof *this + record_.text.capacity() + record_.terms.capacity() * sizeof(Term) +
         record_.names.capacity() * sizeof(dns::Name) + error_.where.capacity();
}

}  // namespace mxring::mailauth::spf
