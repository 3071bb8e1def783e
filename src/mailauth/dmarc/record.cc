#include "mailauth/dmarc/record.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"

namespace mxring::mailauth::dmarc {

namespace {

constexpr char kRecordSetTag = 0;  // its address
constexpr std::string_view kVersion = "DMARC1";

bool is_space(char c) {
  return c == ' ' || c == '\t';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return base::ascii_lower(c) >= 'a' && base::ascii_lower(c) <= 'z';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// The tag at the start of `text` up to its semicolon, removed from it.
std::string_view take_tag(std::string_view& text) {
  const std::size_t end = std::min(text.find(';'), text.size());
  const std::string_view tag = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return tag;
}

// Without the blank space and the line ends that zone files and forms leave behind the last tag.
std::string_view without_end(std::string_view text) {
  const auto is_blank = [](char c) { return is_space(c) || c == '\r' || c == '\n'; };
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_version_tag(std::string_view tag) {
  // Nothing may come before the v, not even a space.
  if (tag.empty() || base::ascii_lower(tag[0]) != 'v') return false;
  tag = trimmed(tag.substr(1));
  if (!tag.starts_with('=')) return false;
  return trimmed(tag.substr(1)) == kVersion;
}

enum class Tag : std::uint8_t { kP, kSp, kNp, kT, kPsd, kAdkim, kAspf, kFo, kRua, kRuf, kCount };
constexpr std::array<std::string_view, static_cast<std::size_t>(Tag::kCount)> kTagNames{
    "p", "sp", "np", "t", "psd", "adkim", "aspf", "fo", "rua", "ruf"};

template <class Value>
struct Word {
  std::string_view text;
  Value value;
};
constexpr std::array kPolicies{Word<Policy>{"none", Policy::kNone},
                               Word<Policy>{"quarantine", Policy::kQuarantine},
                               Word<Policy>{"reject", Policy::kReject}};
constexpr std::array kModes{Word<Alignment>{"r", Alignment::kRelaxed},
                            Word<Alignment>{"s", Alignment::kStrict}};
constexpr std::array kSuffixWords{Word<PublicSuffix>{"u", PublicSuffix::kUnknown},
                                  Word<PublicSuffix>{"y", PublicSuffix::kYes},
                                  Word<PublicSuffix>{"n", PublicSuffix::kNo}};
constexpr std::array kYesNo{Word<bool>{"y", true}, Word<bool>{"n", false}};

// RFC 3986: a scheme, a colon and something behind it, of the characters a URI may have. Commas and
// exclamation marks end it before it gets here, so they must be written as %2C and %21.
bool is_uri(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return false;
  const auto is_scheme_byte = [](char c) {
    return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
  };
  if (!is_letter(text[0]) || !std::ranges::all_of(text.substr(0, colon), is_scheme_byte)) {
    return false;
  }
  constexpr std::string_view kMarks = "-._~:/?#[]@$&'()*+=";
  const auto is_hex = [](char c) {
    return is_digit(c) || (base::ascii_lower(c) >= 'a' && base::ascii_lower(c) <= 'f');
  };
  for (std::size_t i = colon + 1; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size() || !is_hex(text[i + 1]) || !is_hex(text[i + 2])) return false;
      i += 2;
    } else if (!is_letter(c) && !is_digit(c) && (c == '\0' || !kMarks.contains(c))) {
      return false;
    }
  }
  return true;
}

// "!" 1*DIGIT [unit]: what older records put behind a URI.
bool is_size_limit(std::string_view text) {
  if (!text.empty() && std::string_view("kmgt").contains(base::ascii_lower(text.back()))) {
    text.remove_suffix(1);
  }
  return !text.empty() && std::ranges::all_of(text, is_digit);
}

class Parser {
 public:
  explicit Parser(std::string_view text) { record_.text = text; }

  Record run() {
    std::string_view rest = record_.text;
    take_tag(rest);  // the version
    while (!rest.empty()) take(take_tag(rest));
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      const Seen& seen = seen_[i];
      if (seen.count == 0 || seen.contradictory) continue;
      seen_[i].valid = apply(static_cast<Tag>(i), record_.part(seen.value));
    }
    settle_policies();
    return std::move(record_);
  }

 private:
  struct Seen {
    Part value;
    std::uint32_t count = 0;
    bool contradictory = false;  // given again, with another value
    bool valid = false;
  };

  Seen& seen(Tag tag) { return seen_[static_cast<std::size_t>(tag)]; }
  Part part_of(std::string_view view) const {
    return {static_cast<std::uint32_t>(view.data() - record_.text.data()),
            static_cast<std::uint32_t>(view.size())};
  }
  void note(std::string_view problem) {
    if (record_.problem.empty()) record_.problem = problem;
  }

  void take(std::string_view tag) {
    const std::size_t equals = tag.find('=');
    if (equals == std::string_view::npos) {
      if (!trimmed(tag).empty()) note("a tag without a value");
      return;
    }
    const std::string_view name = trimmed(tag.substr(0, equals));
    const std::string_view value = trimmed(tag.substr(equals + 1));
    const auto known = std::ranges::find_if(kTagNames, [&](std::string_view candidate) {
      return base::ascii_iequals(candidate, name);
    });
    if (known == kTagNames.end()) return;
    Seen& entry = seen_[static_cast<std::size_t>(known - kTagNames.begin())];
    if (entry.count++ == 0) {
      entry.value = part_of(value);
    } else if (!base::ascii_iequals(record_.part(entry.value), value)) {
      entry.contradictory = true;
      note("a tag given twice, with different values");
    }
  }

  bool apply(Tag tag, std::string_view value) {
    switch (tag) {
      case Tag::kP:
        return apply_word(kPolicies, value, record_.policy);
      case Tag::kSp:
        return apply_word(kPolicies, value, record_.subdomain_policy);
      case Tag::kNp:
        return apply_word(kPolicies, value, record_.nonexistent_policy);
      case Tag::kT:
        return apply_word(kYesNo, value, record_.testing);
      case Tag::kPsd:
        return apply_word(kSuffixWords, value, record_.public_suffix);
      case Tag::kAdkim:
        return apply_word(kModes, value, record_.dkim_alignment);
      case Tag::kAspf:
        return apply_word(kModes, value, record_.spf_alignment);
      case Tag::kFo:
        return apply_failure_options(value);
      case Tag::kRua:
        return apply_uris(value, record_.aggregate_uris);
      case Tag::kRuf:
        return apply_uris(value, record_.failure_uris);
      case Tag::kCount:
        break;
    }
    return false;
  }

  template <class Value, std::size_t kWords>
  bool apply_word(const std::array<Word<Value>, kWords>& words, std::string_view text,
                  Value& value) {
    for (const Word<Value>& word : words) {
      if (!base::ascii_iequals(word.text, text)) continue;
      value = word.value;
      return true;
    }
    note("a tag with a value it cannot have");
    return false;
  }

  bool apply_failure_options(std::string_view value) {
    std::string_view rest = value;
    std::array<int, 4> counts{};  // of 0, 1, d, s
    for (;;) {
      const std::size_t end = std::min(rest.find(':'), rest.size());
      const std::string_view option = trimmed(rest.substr(0, end));
      constexpr std::string_view kOptions = "01ds";
      const std::size_t at =
          option.size() == 1 ? kOptions.find(base::ascii_lower(option[0])) : std::string_view::npos;
      if (at == std::string_view::npos || ++counts[at] > 1) {
        note("a tag with a value it cannot have");
        return false;
      }
      if (end == rest.size()) break;
      rest.remove_prefix(end + 1);
    }
    if (counts[0] != 0 && counts[1] != 0) {
      note("a tag with a value it cannot have");
      return false;
    }
    record_.failure = {counts[0] != 0, counts[1] != 0, counts[2] != 0, counts[3] != 0};
    return true;
  }

  // True when there is one that can be used.
  bool apply_uris(std::string_view value, std::vector<Part>& uris) {
    while (!value.empty()) {
      const std::size_t end = std::min(value.find(','), value.size());
      std::string_view uri = trimmed(value.substr(0, end));
      value.remove_prefix(std::min(end + 1, value.size()));
      const std::size_t mark = uri.find('!');
      const bool limited = mark != std::string_view::npos;
      const bool sound = !limited || is_size_limit(uri.substr(mark + 1));
      if (limited) uri = uri.substr(0, mark);
      if (sound && is_uri(uri)) {
        uris.push_back(part_of(uri));
      } else {
        note("a report address that is no URI");
      }
    }
    return !uris.empty();
  }

  // RFC 9989 4.7 (the defaults) and 4.10.1 (what an invalid one means).
  void settle_policies() {
    const auto broken = [&](Tag tag) { return seen(tag).count != 0 && !seen(tag).valid; };
    if (broken(Tag::kP) || broken(Tag::kSp) || broken(Tag::kNp)) {
      record_.policy = record_.subdomain_policy = record_.nonexistent_policy = Policy::kNone;
      record_.usable = !record_.aggregate_uris.empty();
      note("a policy that is none of the three");
      return;
    }
    if (seen(Tag::kP).count == 0) note("no p tag, which is p=none");
    if (!seen(Tag::kSp).valid) record_.subdomain_policy = record_.policy;
    if (!seen(Tag::kNp).valid) record_.nonexistent_policy = record_.subdomain_policy;
  }

  Record record_;
  std::array<Seen, static_cast<std::size_t>(Tag::kCount)> seen_{};
};

}  // namespace

bool is_dmarc_record(std::string_view text) {
  text = without_end(text);
  return is_version_tag(take_tag(text));
}

std::optional<Record> parse(std::string_view text) {
  if (!is_dmarc_record(text)) return std::nullopt;
  return Parser(without_end(text)).run();
}

Policy weakened(Policy policy) {
  return policy == Policy::kReject ? Policy::kQuarantine : Policy::kNone;
}

RecordSet::RecordSet(const std::vector<std::string>& texts) : ParsedForm(&kRecordSetTag) {
  const std::string* found = nullptr;
  for (const std::string& text : texts) {
    if (!is_dmarc_record(text)) continue;
    if (found != nullptr) {
      state_ = State::kSeveral;
      return;
    }
    found = &text;
  }
  if (found == nullptr) return;
  record_ = *parse(*found);
  state_ = State::kOne;
}

std::shared_ptr<const RecordSet> RecordSet::of(const dns::Answer& answer) {
  if (auto kept = answer.parsed(&kRecordSetTag)) {
    return std::static_pointer_cast<const RecordSet>(kept);
  }
  auto made = std::make_shared<const RecordSet>(answer.texts);
  answer.set_parsed(made);
  return made;
}

std::size_t RecordSet::bytes() const {
  return sizeof *this + record_.text.capacity() +
         (record_.aggregate_uris.capacity() + record_.failure_uris.capacity()) * sizeof(Part);
}

}  // namespace mxring::mailauth::dmarc
